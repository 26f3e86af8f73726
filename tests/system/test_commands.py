"""The commands of `python -m brokerage`, and what the running brokerage does when a part of it is away."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.brokerages import PORTFOLIO, PROGRAM, Brokerage, free_port, running_brokerage
from tests.system.conftest import STILL_MARKET


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)


def test_token_is_fresh_and_works(brokerage: Brokerage) -> None:
    """`token bob` prints a token, another one each time, that speaks for bob."""
    first, second = brokerage.fresh_token("bob"), brokerage.fresh_token("bob")
    assert first != second
    assert brokerage.ask("{ me { name } }", second) == {"data": {"me": {"name": "Bob"}}}


def test_welcome_tells_what_one_needs(brokerage: Brokerage) -> None:
    """When ready it prints the addresses, the demo users, a token, the data folder and how to reset it."""
    for text in (*brokerage.urls.values(), "alice-demo-password", str(brokerage.folder), f"rm -r {brokerage.folder}"):
        assert text in brokerage.welcome
    assert len(re.findall(r"^ey\S+$", brokerage.welcome, flags=re.MULTILINE)) == 1


def test_books_are_right(brokerage: Brokerage) -> None:
    """`audit --quiet` finds no broken invariant in the demo data."""
    done = run("audit", "--quiet", "--data", str(brokerage.folder))
    assert (done.returncode, done.stdout) == (0, "0 broken invariants; checked: all services\n")


def test_seeding_again_changes_nothing(brokerage: Brokerage) -> None:
    """`seed` on a seeded brokerage adds nothing."""
    alice = brokerage.fresh_token("alice")
    before = brokerage.ask(PORTFOLIO, alice)
    assert run("seed", "--data", str(brokerage.folder)).returncode == 0
    assert brokerage.ask(PORTFOLIO, alice) == before


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["four processes", "one process"])
def test_busy_port_is_named_with_its_cure(tmp_path: Path, options: list[str]) -> None:
    """A port that is taken stops the start before anything else happens, and the message names it and --port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--port", port, "--data", str(tmp_path / "data"), *options)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("port", ["0", "65533", "70000", "-1", "http"])
def test_port_that_cannot_be_is_refused(tmp_path: Path, port: str) -> None:
    """A number that is no port, or leaves none for the services, is a fault of the command line that is explained."""
    done = run("up", f"--port={port}", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert done.stderr.endswith("argument --port: choose a port from 1 to 65532\n")


def test_one_folder_serves_one_brokerage(brokerage: Brokerage) -> None:
    """A second start on the same folder is refused: two writers would be at one database."""
    done = run("up", "--port", str(free_port()), "--data", str(brokerage.folder))
    assert done.returncode == 1
    assert f"another brokerage uses {brokerage.folder}" in done.stderr


def test_commands_say_where_there_is_no_brokerage(tmp_path: Path) -> None:
    """`token`, `seed` and `audit` on a folder without a brokerage say how to start one."""
    for command in (("token", "alice"), ("seed",), ("audit",)):
        done = run(*command, "--data", str(tmp_path))
        assert done.returncode == 1
        assert "python -m brokerage up" in done.stderr


def test_no_secret_is_readable_by_others(four_processes: Brokerage) -> None:
    """The keys lie in a folder that only its owner can enter, and are no two alike."""
    folder = four_processes.folder / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    texts = [path.read_text() for path in folder.iterdir()]
    assert len(texts) == len(set(texts)) == 9


# ---- a service away ----


@pytest.fixture(scope="module")
def without_wallet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """A brokerage whose wallet was killed."""
    folder = tmp_path_factory.mktemp("faults") / "data"
    with running_brokerage(folder, environment=STILL_MARKET) as brokerage:
        os.kill(child(brokerage.process.pid, "wallet"), signal.SIGKILL)
        assert brokerage.process.stdout is not None
        heard = iter(brokerage.process.stdout.readline, "")
        assert any("wallet ended by itself with exit code -9" in line for line in heard)
        yield brokerage


def child(parent: int, service: str) -> int:
    """The process of a service, by its command line."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if service.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return int(pid)
    raise AssertionError(f"{service} does not run")


def test_the_others_still_answer(without_wallet: Brokerage) -> None:
    """Without the wallet the query brings profile and holdings; balances are null, with a path and a code."""
    answer = without_wallet.ask(PORTFOLIO, without_wallet.printed_token)
    me = answer["data"]["me"]
    assert me["name"] == "Alice"
    assert me["balances"] is None
    assert len(me["holdings"]) == 4
    [error] = answer["errors"]
    assert error["path"] == ["me", "balances"]
    assert re.fullmatch(r"[A-Z_]+", error["extensions"]["code"])


def test_nothing_leaks_about_the_one_that_is_away(without_wallet: Brokerage) -> None:
    """The error names no address, no port and no exception."""
    text = str(without_wallet.ask(PORTFOLIO, without_wallet.printed_token)["errors"])
    for leak in (
        "127.0.0.1",
        without_wallet.urls["wallet"].rpartition(":")[2],
        "http://",
        "Traceback",
        "Errno",
        "httpx",
    ):
        assert leak not in text
