"""The brokerage on one machine: `python -m brokerage up`, and the commands that go with it.

up [--in-process]     migrate, start everything, seed the demo data once, print addresses and a token
seed                  the demo data again, into a running brokerage
token NAME            a fresh access token of a demo user
audit [--watch]       check the books of all services
backup FOLDER         all databases as they are at one instant, while everything runs
restore FOLDER        a backup into a new data folder, or into empty databases
migrate               all databases to their newest schemas
secrets FOLDER        the secret files that docker-compose.yml reads
"""

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from brokerage import SERVICE_NAMES
from brokerage.audit import AuditReport, Scope, examine
from brokerage.backup import back_up, restore
from brokerage.demo import DEMO_USERS, fetch_token, seed
from brokerage.development import (
    DEFAULT_FOLDER,
    DEFAULT_HOST,
    DEFAULT_PORT,
    SUPERGRAPH,
    Development,
    read_urls,
)
from brokerage.failures import CommandFailed, explained
from brokerage.one_process import OneProcess
from brokerage.secret_files import write_database_urls, write_keys
from brokerage.services import PRIVATE_UMASK, create_service, migrate_service, read_settings, serve_until_stopped
from brokerage.supervisor import busy_ports, refuse_address, supervise
from subgraphs.shared.database import Database
from subgraphs.shared.migrations import require_newest_schema

LAST_PORT = 65_535
WATCH_SECONDS_MAX = 86_400


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 it failed and said why, 2 the command line is at fault."""
    options = _parser().parse_args(arguments)
    os.umask(PRIVATE_UMASK)
    try:
        code: int = options.run(options)
    except CommandFailed as failure:
        print(f"brokerage: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m brokerage", description="The Trifolio brokerage on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--data", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="databases and keys (default: %(default)s)"
    )
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--host", default=DEFAULT_HOST, help="the address to listen on (default: %(default)s)")

    command = commands.add_parser("up", parents=[data, place], help="start everything")
    command.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="the router's; the services take the next three (default: 4000)",
    )
    command.add_argument("--in-process", action="store_true", help="everything in one process, on one port")
    command.set_defaults(run=_up)

    command = commands.add_parser("seed", parents=[data], help="put the demo data into a running brokerage")
    command.set_defaults(run=_seed)

    command = commands.add_parser("token", parents=[data], help="print a fresh access token of a demo user")
    command.add_argument("name", choices=sorted(DEMO_USERS), metavar="NAME", help=", ".join(sorted(DEMO_USERS)))
    command.set_defaults(run=_token)

    command = commands.add_parser("audit", parents=[data], help="check the books of all services")
    command.add_argument(
        "--quiet", action="store_true", help="while it runs: compare the services too, as nobody sends requests"
    )
    command.add_argument(
        "--watch", type=_seconds, nargs="?", const=60.0, metavar="SECONDS", help="again and again (default: 60)"
    )
    command.set_defaults(run=_audit)

    command = commands.add_parser("backup", parents=[data], help="copy all databases as they are at one instant")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder for the backup")
    command.set_defaults(run=_backup)

    command = commands.add_parser("restore", parents=[data], help="put a backup into databases that hold nothing")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the backup")
    command.set_defaults(run=_restore)

    command = commands.add_parser("migrate", parents=[data], help="bring all databases to their newest schemas")
    command.set_defaults(run=_migrate)

    command = commands.add_parser("secrets", help="make the secret files that docker-compose.yml reads")
    command.add_argument("folder", type=Path)
    command.set_defaults(run=_secrets)
    return parser


def _port(text: str) -> int:
    """The router's port: the next three must exist too."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= LAST_PORT - len(SERVICE_NAMES):
        return int(text)
    raise argparse.ArgumentTypeError(f"choose a port from 1 to {LAST_PORT - len(SERVICE_NAMES)}")


def _seconds(text: str) -> float:
    """A pause."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= WATCH_SECONDS_MAX:
            return float(text)
    raise argparse.ArgumentTypeError(f"choose seconds above 0, and at most {WATCH_SECONDS_MAX}")


# ---- up ----


def _up(options: argparse.Namespace) -> int:
    development = Development(options.data.resolve(), options.host, options.port, in_process=options.in_process)
    refuse_address(options.host, options.port)
    busy = busy_ports(options.host, sorted(set(development.ports.values())))
    if busy:
        taken = ", ".join(str(port) for port in busy)
        print(f"brokerage: port {taken} of {options.host} is in use; choose another with --port", file=sys.stderr)
        return 1
    with development.locked() as lock:
        with explained("the data folder"):
            development.prepare()
        _migrate_all(development)
        run = uvloop.run if development.in_process else asyncio.run
        run(_run(development, lock))
    print("Stopped.")
    return 0


def _migrate_all(development: Development) -> None:
    for service in SERVICE_NAMES:
        with explained(service):
            migrate_service(service, development.database_url(service))


async def _run(development: Development, lock: int) -> None:
    async def welcome() -> None:
        await seed(development.urls)
        print(_welcome_text(development, await fetch_token(development.urls, "alice")), flush=True)

    if development.in_process:
        await _serve_in_process(development, welcome)
    else:
        specs = development.process_specs()
        await supervise(specs, when_ready=welcome, when_failed=_complain, held=(lock,))


def _complain(failure: str) -> None:
    print(f"brokerage: {failure}\nThe others go on; Ctrl-C stops them.", file=sys.stderr, flush=True)


async def _serve_in_process(development: Development, when_ready: Callable[[], Awaitable[None]]) -> None:
    services = {name: create_service(read_settings(name, development.settings(name))) for name in SERVICE_NAMES}
    app = OneProcess(services, SUPERGRAPH.read_text(), development.router_config())
    log = development.folder / "logs" / "one_process.log"
    await serve_until_stopped(app, host=development.host, port=development.port, log=log, when_ready=when_ready)


def _welcome_text(development: Development, token: str) -> str:
    urls = development.urls
    pages = {name: f"{urls[name]}/docs{f'/{name}' if development.in_process else ''}" for name in SERVICE_NAMES}
    users = "\n".join(f"  {user.name:9} {user.email}, password {user.password}" for user in DEMO_USERS.values())
    option = "" if development.folder == DEFAULT_FOLDER.resolve() else f" --data {development.folder}"
    # As one calls it from here: another Python than this one may lack the packages.
    program = f"{os.path.relpath(sys.executable)} -m brokerage"
    return f"""
Trifolio is ready. Ctrl-C stops it.

  GraphQL   {urls["router"]}/graphql      (in a browser: GraphiQL)
  users     {pages["users"]}
  wallet    {pages["wallet"]}
  stocks    {pages["stocks"]}

Demo users, for development only:
{users}

A token of alice's, good for 15 minutes; a fresh one: {program} token alice{option}

{token}

Data: {development.folder}
To reset it: stop, then rm -r {development.folder}
"""


# ---- the other commands ----


def _seed(options: argparse.Namespace) -> int:
    asyncio.run(seed(_running_urls(options.data)))
    print("The demo data is there.")
    return 0


def _token(options: argparse.Namespace) -> int:
    print(asyncio.run(fetch_token(_running_urls(options.data), options.name)))
    return 0


def _audit(options: argparse.Namespace) -> int:
    """Exit code 1 where an invariant is broken. What services must agree on is compared while nothing moves alone."""
    development = Development(options.data.resolve())
    with explained("the data folder"):
        if not development.holds_databases():
            raise _no_brokerage(options.data)
    code = 0
    while True:
        with explained("the data folder"):
            scope = Scope.QUIET if options.quiet else Scope.STOPPED if development.is_stopped() else Scope.RUNNING
        report = asyncio.run(_audit_databases(development, scope))
        for violation in report.violations:
            print(violation)
        print(f"{len(report.violations)} broken invariants; checked: {SCOPE_TEXTS[scope]}{_under_way_text(report)}")
        code = code or (1 if report.violations else 0)
        if options.watch is None:
            return code
        sys.stdout.flush()
        try:
            time.sleep(options.watch)
        except KeyboardInterrupt:
            return code


SCOPE_TEXTS = {
    Scope.RUNNING: "each service alone, as the brokerage is running",
    Scope.STOPPED: "all services",
    Scope.QUIET: "all services",
}


def _under_way_text(report: AuditReport) -> str:
    """What was left out as it is not over."""
    if not report.under_way:
        return ""
    return f"; {report.under_way} orders and authorizations are under way, and go on when the brokerage is started"


async def _audit_databases(development: Development, scope: Scope) -> AuditReport:
    async with contextlib.AsyncExitStack() as stack:
        databases = {}
        for name in SERVICE_NAMES:
            with explained(name):
                databases[name] = Database.open(development.database_url(name))
                stack.push_async_callback(databases[name].close)
                await require_newest_schema(databases[name], f"subgraphs.{name}")
        with explained("the databases"):
            return await examine(**databases, scope=scope)


def _running_urls(folder: Path) -> dict[str, str]:
    try:
        with explained("the data folder"):
            urls = read_urls(folder)
    except ValueError:
        raise CommandFailed(f"{folder / 'urls.json'} is damaged; the next start writes it anew") from None
    if urls is None:
        raise _no_brokerage(folder)
    return urls


def _no_brokerage(folder: Path) -> CommandFailed:
    return CommandFailed(f"{folder} holds no brokerage; start one with: python -m brokerage up --data {folder}")


def _backup(options: argparse.Namespace) -> int:
    development = Development(options.data.resolve())
    with explained("the data folder"):
        if not development.holds_databases():
            raise _no_brokerage(options.data)
    asyncio.run(back_up(development.database_urls(), options.folder.resolve()))
    print(f"The backup is in {options.folder}. It holds no keys: keep {options.data / 'secrets'} as well.")
    return 0


def _restore(options: argparse.Namespace) -> int:
    development = Development(options.data.resolve())
    with development.locked() if development.uses_files() else contextlib.nullcontext():
        asyncio.run(restore(options.folder.resolve(), development.database_urls()))
        report = asyncio.run(_audit_databases(development, Scope.STOPPED))
    for violation in report.violations:
        print(violation)
    print(f"The backup is restored; {len(report.violations)} broken invariants{_under_way_text(report)}")
    return 1 if report.violations else 0


def _migrate(options: argparse.Namespace) -> int:
    development = Development(options.data.resolve())
    with development.locked() if development.uses_files() else contextlib.nullcontext():
        _migrate_all(development)
    for service in SERVICE_NAMES:
        print(f"{service}: the schema is the newest")
    return 0


def _secrets(options: argparse.Namespace) -> int:
    with explained("the secrets"):
        write_keys(options.folder)
        write_database_urls(options.folder, host="postgres")
    print(f"The secrets are in {options.folder}. Keep them out of version control.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
