"""A brokerage on one machine for development: one folder that holds its databases, keys and logs.

    DATA/secrets/          made at the first start
    DATA/{service}.db      unless TRIFOLIO_{SERVICE}_DATABASE_URL (or ..._FILE) names another database
    DATA/logs/{name}.log   of the last start
    DATA/router.yaml       where the router finds the subgraphs
    DATA/urls.json         where everything was served at the last start
    DATA/README.txt        for whoever is about to copy the databases

Removing the folder resets everything.
"""

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from brokerage import SERVICE_NAMES
from brokerage.failures import CommandFailed, explained
from brokerage.secret_files import write_keys
from brokerage.supervisor import ProcessSpec
from subgraphs.shared.settings import PREFIX
from trifolio.config import Config, read_config

ROOT = Path(__file__).resolve().parents[1]
SUPERGRAPH = ROOT / "supergraph.graphql"
EXAMPLES = ROOT / "docs" / "examples"
DEFAULT_FOLDER = Path(".trifolio")
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4000
"""The router's; the services take the three that follow."""

README = """The data of a Trifolio brokerage.

Do not copy *.db while it runs: what was acknowledged last is in *.db-wal, and copies made one after the other can
contradict each other. For copies of one instant, also while it runs:

    python -m brokerage backup FOLDER --data THIS_FOLDER
"""

TETHERED = (sys.executable, "-m", "brokerage.tether")
"""How a module is run that ends with the supervisor."""

SECRET_FIELDS: Mapping[str, tuple[str, ...]] = {
    "users": ("router_secrets", "service_signing_key", "service_verifying_keys", "token_signing_key"),
    "wallet": ("router_secrets", "service_signing_key", "service_verifying_keys"),
    "stocks": ("router_secrets", "service_signing_key", "service_verifying_keys", "feed_seed"),
}
"""The settings that each service reads from files."""

PEERS: Mapping[str, tuple[str, ...]] = {
    "users": ("wallet", "stocks"),
    "wallet": ("users",),
    "stocks": ("users", "wallet"),
}
"""Which services each one calls, if only for the keys of user tokens."""


FOLDER_MODE = 0o700
DATABASE_MODE = 0o600
"""The folder holds names, addresses, password hashes and all money: it is its owner's alone."""
PARTS = frozenset({"secrets", "logs", "lock", "router.yaml", "urls.json", *(f"{name}.db" for name in SERVICE_NAMES)})
"""What a folder that is a brokerage's has some of."""


class FolderInUse(CommandFailed):
    """Another brokerage runs on the folder. The text is for the user."""


@dataclass(frozen=True, slots=True)
class Development:
    """Where the parts are: the folder, and the router's address; in one process that is everybody's."""

    folder: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    in_process: bool = False

    @property
    def ports(self) -> dict[str, int]:
        """The port of the router and of each service."""
        names = ("router", *SERVICE_NAMES)
        return {name: self.port + (0 if self.in_process else offset) for offset, name in enumerate(names)}

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of the router and of each service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {name: f"http://{host}:{port}" for name, port in self.ports.items()}

    def database_url(self, service: str) -> str:
        """The database of a service: a file in the folder, unless the environment names another."""
        variable = f"{PREFIX}{service.upper()}_DATABASE_URL"
        named = os.environ.get(f"{variable}_FILE")
        if named:
            with explained(f"{variable}_FILE"):
                return Path(named).read_text().strip()
        return os.environ.get(variable) or f"sqlite:///{self.folder / service}.db"

    def database_urls(self) -> dict[str, str]:
        """The database of every service."""
        return {service: self.database_url(service) for service in SERVICE_NAMES}

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Makes the folder and keeps every other brokerage out of it: its databases have one writer each.

        The lock is that of the file descriptor it yields, and so of every process that has it: as long as one of them
        runs, the folder is in use. Raises FolderInUse, and CommandFailed where there can be no such folder.
        """
        with explained("the data folder"):
            self._make_private()
            file = (self.folder / "lock").open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderInUse(f"another brokerage uses {self.folder}; stop it, or name another --data") from None
            yield file.fileno()

    def in_use(self) -> bool:
        """Whether a brokerage runs on the folder."""
        try:
            with (self.folder / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def uses_files(self) -> bool:
        """Whether a database is a file in the folder."""
        return any(self._file(service) is not None for service in SERVICE_NAMES)

    def holds_databases(self) -> bool:
        """Whether each database that would be a file in the folder is there."""
        files = [file for service in SERVICE_NAMES if (file := self._file(service)) is not None]
        return all(file.exists() for file in files)

    def is_stopped(self) -> bool:
        """Whether it is known that nothing runs: the databases are the folder's, and the folder is not in use."""
        known = self.uses_files() or (self.folder / "lock").exists()
        return known and not self.in_use()

    def _file(self, service: str) -> Path | None:
        url, file = self.database_url(service), self.folder / f"{service}.db"
        return file if url == f"sqlite:///{file}" else None

    def _make_private(self) -> None:
        """Makes the folder, or takes the access of others from it; never from one that is not a brokerage's."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        found = {each.name for each in self.folder.iterdir()}
        if found and not found & PARTS:
            raise CommandFailed(f"{self.folder} holds other things than a brokerage; name a folder of its own")
        self.folder.chmod(FOLDER_MODE)
        for file in self.folder.glob("*.db*"):
            file.chmod(DATABASE_MODE)

    def prepare(self) -> None:
        """Makes what is missing of the keys, and the router's settings."""
        try:
            write_keys(self.folder / "secrets")
        except ValueError:
            raise CommandFailed(
                f"a key in {self.folder / 'secrets'} is damaged; put it back from where keys are kept"
            ) from None
        (self.folder / "README.txt").write_text(README)
        (self.folder / "router.yaml").write_text(self._router_settings())
        (self.folder / "urls.json").write_text(json.dumps(self.urls, indent=2) + "\n")

    def settings(self, service: str) -> dict[str, object]:
        """The service's settings by field name, the secrets read from their files."""
        # What the environment has goes before the files, as it does for a service in a process of its own.
        secrets: dict[str, object] = {
            field: path.read_text().strip()
            for field, path in self._secret_files(service).items()
            if _variable(field) not in os.environ
        }
        if "service_verifying_keys" in secrets:
            try:
                secrets["service_verifying_keys"] = json.loads(str(secrets["service_verifying_keys"]))
            except ValueError:
                raise CommandFailed(f"{self.folder / 'secrets' / 'service_verifying_keys'} is damaged") from None
        return {**self._plain_settings(service), **secrets, "in_process": self.in_process}

    def router_config(self) -> Config:
        """The router's settings where it stands in this process."""
        return read_config(self.folder / "router.yaml", environment=os.environ)

    def process_specs(self) -> list[ProcessSpec]:
        """The four processes in the order of their start."""
        return [*(self._service_spec(service) for service in SERVICE_NAMES), self._router_spec()]

    def _service_spec(self, service: str) -> ProcessSpec:
        place = ("--host", self.host, "--port", str(self.ports[service]))
        command = (*TETHERED, "brokerage.services", service, *place)
        plain = {_variable(field): value for field, value in self._plain_settings(service).items()}
        files = {f"{_variable(field)}_FILE": str(path) for field, path in self._secret_files(service).items()}
        return self._spec(service, command, {**plain, **files})

    def _router_spec(self) -> ProcessSpec:
        place = ("--host", self.host, "--port", str(self.port))
        files = ("--supergraph", str(SUPERGRAPH), "--settings", str(self.folder / "router.yaml"))
        command = (*TETHERED, "trifolio", "serve", *files, *place)
        return self._spec("router", command, {})

    def _spec(self, name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> ProcessSpec:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return ProcessSpec(name, command, environment, f"{self.urls[name]}/ready", self.folder / "logs" / f"{name}.log")

    def _plain_settings(self, service: str) -> dict[str, str]:
        urls = {f"{peer}_url": self.urls[peer] for peer in PEERS[service]}
        return {"mode": "development", "database_url": self.database_url(service), **urls}

    def _secret_files(self, service: str) -> dict[str, Path]:
        names = {
            "router_secrets": f"{service}_router_secret",
            "service_signing_key": f"{service}_service_key",
            "feed_seed": f"{service}_feed_seed",
        }
        return {field: self.folder / "secrets" / names.get(field, field) for field in SECRET_FIELDS[service]}

    def _router_settings(self) -> str:
        subgraphs = {
            service: {
                "url": f"{self.urls[service]}/graphql",
                "secret": {"file": str((self.folder / "secrets" / f"{service}_router_secret").resolve())},
                "subscriptions": {"protocol": "sse"},
            }
            for service in SERVICE_NAMES
        }
        # JSON is YAML.
        explorer = {"introspection": True, "explorer": True, "traces": True, "explorer_title": "Trifolio"}
        explorer["explorer_examples"] = str(EXAMPLES)
        # No load balancer is in front that would have to notice the end first.
        others: dict[str, object] = {"limits": {"lame_duck_ms": 1}, "metrics": {"public": True}}
        # What stands in front of the services stands in front of the router. What is no number the services refuse.
        proxies = os.environ.get(_variable("trusted_proxies"), "")
        if proxies.isdecimal():
            others["trusted_proxies"] = int(proxies)
        return json.dumps({"subgraphs": subgraphs, **others, **explorer}, indent=2) + "\n"


def read_urls(folder: Path) -> dict[str, str] | None:
    """Where everything was served at the last start, None where there was none. Raises ValueError if it is damaged."""
    try:
        text = (folder / "urls.json").read_text()
    except FileNotFoundError:
        return None
    urls = json.loads(text)
    if not isinstance(urls, dict) or urls.keys() != {"router", *SERVICE_NAMES}:
        raise ValueError("no addresses")
    return urls


def _variable(field: str) -> str:
    return "DATABASE_URL" if field == "database_url" else f"{PREFIX}{field.upper()}"
