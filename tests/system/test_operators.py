"""What an operator meets: folders and addresses that are no good, and what is kept from others on the machine."""

import contextlib
import os
import select
import shutil
import signal
import sqlite3
import stat
import subprocess
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from brokerage import services
from brokerage.__main__ import main
from brokerage.development import Development
from brokerage.secret_files import write_keys
from brokerage.services import SettingsRefused, read_settings
from tests.system.brokerages import PROGRAM, Brokerage, free_port, read_welcome, running_brokerage
from tests.system.conftest import STILL_MARKET

SECRET = "quite-a-long-router-secret-0815"  # opens nothing
COMMANDS = (["up", "--port", "4000"], ["migrate"], ["audit"], ["seed"], ["token", "alice"])
"""Every command that works on a data folder."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command ended with."""

    code: int
    output: str
    errors: str

    def assert_told(self, *words: str) -> None:
        """It failed with one line that says so, and no traceback."""
        assert self.code == 1
        assert self.errors.startswith("brokerage: ")
        assert len(self.errors.splitlines()) == 1, self.errors
        for word in words:
            assert word in self.errors


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs commands in this process, whose umask stays as it was."""

    def run_here(*arguments: str) -> Done:
        capsys.readouterr()
        code = main(arguments)
        return Done(code, *capsys.readouterr())

    before = os.umask(0o022)
    yield run_here
    os.umask(before)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_folder_that_cannot_be_is_told(run: Run, tmp_path: Path, command: list[str]) -> None:
    """Below a file there is no folder: every command says so in a line."""
    (tmp_path / "file").write_text("")
    command = [str(free_port()) if word == "4000" else word for word in command]
    run(*command, "--data", str(tmp_path / "file" / "data")).assert_told("file")


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["four processes", "one process"])
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 70])
def test_a_foreign_address_is_told(run: Run, tmp_path: Path, host: str, options: list[str]) -> None:
    """An address of another machine, or of none, is refused as what it is, and nothing is written."""
    done = run("up", "--host", host, "--port", str(free_port()), "--data", str(tmp_path / "data"), *options)
    done.assert_told(host)
    assert "in use" not in done.errors
    assert not (tmp_path / "data").exists()


def test_a_folder_of_other_things_is_left_alone(run: Run, tmp_path: Path) -> None:
    """A folder that holds other things stays readable for whom it was: `up` refuses it."""
    tmp_path.chmod(0o755)
    (tmp_path / "letters.txt").write_text("")
    run("up", "--port", str(free_port()), "--data", str(tmp_path)).assert_told(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_nobody_else_may_read_the_data(brokerage: Brokerage) -> None:
    """The data folder is its owner's alone, and so are the databases and logs in it."""
    assert stat.S_IMODE(brokerage.folder.stat().st_mode) == 0o700
    files = [*brokerage.folder.glob("*.db*"), *brokerage.folder.glob("logs/*")]
    assert len(files) >= 4
    assert [each for each in files if each.stat().st_mode & 0o077] == []


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    """What an earlier version left readable for all is taken from others when the folder is next used."""
    folder = tmp_path / "data"
    write_keys(folder / "secrets")
    (folder / "users.db").write_text("")
    for path in (folder, folder / "users.db"):
        path.chmod(0o755)
    with Development(folder).locked():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "users.db").stat().st_mode) == 0o600


def test_a_folder_is_in_use_as_long_as_one_process_of_it_runs(run: Run, tmp_path: Path) -> None:
    """kill -9 of `up` ends its processes; while one has not ended, a second start on the folder is refused."""
    folder = tmp_path / "data"
    command = [*PROGRAM, "up", "--data", str(folder), "--port", str(free_port())]
    variables = {**os.environ, **STILL_MARKET}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as supervisor:
        read_welcome(supervisor)
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        handles = [os.pidfd_open(int(pid)) for pid in children]
        os.kill(int(children[0]), signal.SIGSTOP)
        supervisor.kill()
    second = run("up", "--port", str(free_port()), "--data", str(folder))
    os.kill(int(children[0]), signal.SIGCONT)
    assert len(handles) == 4
    for handle in handles:
        assert select.select([handle], [], [], 15)[0], "a process outlived its supervisor"
        os.close(handle)
    second.assert_told(f"another brokerage uses {folder}")
    assert not Development(folder).in_use()


@pytest.mark.parametrize("name", ["wallet_service_key", "service_verifying_keys"])
def test_a_damaged_key_is_told(run: Run, tmp_path: Path, name: str) -> None:
    """A key that cannot be read stops the start with a sentence, and nothing of the key is shown."""
    folder = tmp_path / "data"
    write_keys(folder / "secrets")
    (folder / "secrets" / name).chmod(0o600)
    (folder / "secrets" / name).write_text("-----BEGIN k3yk3yk3y")
    done = run("up", "--in-process", "--port", str(free_port()), "--data", str(folder))
    done.assert_told("damaged", str(folder / "secrets"))
    assert "k3yk3y" not in done.errors


@pytest.mark.parametrize("command", ["up", "migrate", "audit", "backup", "restore"])
def test_a_server_that_is_away_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Nobody answers at the database's address: the service is named, and nothing of the URL's password."""
    for service in ("USERS", "WALLET", "STOCKS"):
        monkeypatch.setenv(f"TRIFOLIO_{service}_DATABASE_URL", "postgresql://role:pa55word@127.0.0.1:1/database")
    more = {"up": ["--port", str(free_port())], "backup": ["b"], "restore": ["b"]}.get(command, [])
    monkeypatch.chdir(tmp_path)
    done = run(command, *more, "--data", str(tmp_path / "data"))
    done.assert_told("users: ")
    assert "pa55word" not in done.errors


# ---- settings ----


@pytest.mark.parametrize(
    ("service", "variables", "named", "secrets"),
    [
        ("wallet", {"TRIFOLIO_ROUTER_SECRETS": "short-0815"}, "TRIFOLIO_SERVICE_SIGNING_KEY", ["short-0815"]),
        ("wallet", {"TRIFOLIO_ROUTER_SECRETS": SECRET}, "TRIFOLIO_SERVICE_SIGNING_KEY", ["0815"]),
        ("users", {"TRIFOLIO_TOKEN_SIGNING_KEY": "k3yk3yk3y"}, "SIGNING_KEY", ["k3yk3y"]),
        ("stocks", {"TRIFOLIO_SERVICE_SIGNING_KEY": "-----BEGIN k3yk3y"}, "Ed25519 private key", ["k3yk3y"]),
        ("stocks", {"TRIFOLIO_SERVICE_VERIFYING_KEYS": "{k3yk3y}"}, "service_verifying_keys", ["k3yk3y"]),
        ("stocks", {"TRIFOLIO_SERVICE_VERIFYING_KEYS": '{"users": "k3yk3y"}'}, "Ed25519", ["k3yk3y"]),
        ("wallet", {"DATABASE_URL": "postgresql://u:p@ss:w0rd@host/db"}, "URL", ["w0rd", "ss"]),
        ("wallet", {"DATABASE_URL": "mysql://u:w0rd@host/db"}, "not mysql", ["w0rd"]),
        ("wallet", {"DATABASE_URL_FILE": "no/such/file"}, "no/such/file", [SECRET]),
    ],
)
def test_settings_that_are_refused_show_nothing_of_a_secret(
    monkeypatch: pytest.MonkeyPatch, service: str, variables: dict[str, str], named: str, secrets: list[str]
) -> None:
    """A service that refuses its settings names what to set in a line; what was set is shown nowhere."""
    if "DATABASE_URL_FILE" not in variables:
        monkeypatch.setenv("DATABASE_URL", "sqlite:///unused.db")
    if "URL" in str([*variables]):
        monkeypatch.setenv("TRIFOLIO_MODE", "development")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o022)
    with pytest.raises(SystemExit) as caught:
        services.main([service, "--port", str(free_port())])
    os.umask(before)
    Done(1, "", str(caught.value.code)).assert_told(named)
    everything = "".join(traceback.format_exception(caught.value))
    assert [secret for secret in secrets if secret in everything] == []


def test_a_refusal_of_settings_carries_no_secret_to_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs the exception, with all that led to it, logs no secret either."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///unused.db")
    monkeypatch.setenv("TRIFOLIO_ROUTER_SECRETS", "short-0815")
    with pytest.raises(SettingsRefused) as caught:
        read_settings("wallet")
    assert "0815" not in "".join(traceback.format_exception(caught.value, limit=None))


# ---- backups ----


@pytest.fixture
def stopped(run: Run, tmp_path: Path) -> Path:
    """The data folder of a brokerage that is not running, with one user in it."""
    folder = tmp_path / "data"
    assert run("migrate", "--data", str(folder)).code == 0
    with sqlite3.connect(folder / "users.db") as database:
        user = ("x", "Xenia", "x@example.com", "investor", "hash", 1, 1)
        columns = "id, name, email, type, password_hash, registered_at, version"
        database.execute(f"INSERT INTO users ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", user)  # noqa: S608  # constant
    database.close()
    return folder


def test_a_backup_comes_back(run: Run, stopped: Path, tmp_path: Path) -> None:
    """What was backed up is there after `restore` into a new folder, as private as before, and found right."""
    assert run("backup", str(tmp_path / "backup"), "--data", str(stopped)).code == 0
    restored = tmp_path / "restored"
    assert run("restore", str(tmp_path / "backup"), "--data", str(restored)).code == 0
    database = sqlite3.connect(restored / "users.db")
    assert database.execute("SELECT name FROM users").fetchall() == [("Xenia",)]
    database.close()
    audited = run("audit", "--data", str(restored))
    assert (audited.code, audited.output) == (0, "0 broken invariants; checked: all services\n")
    for folder in (tmp_path / "backup", restored):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [each for each in folder.glob("*.db*") if each.stat().st_mode & 0o077] == []


def test_a_backup_overwrites_nothing(run: Run, stopped: Path, tmp_path: Path) -> None:
    """`backup` takes a new folder, and `restore` a brokerage that holds nothing; both say so and change nothing."""
    backup = tmp_path / "backup"
    assert run("backup", str(backup), "--data", str(stopped)).code == 0
    before = (backup / "users.db").read_bytes()
    run("backup", str(backup), "--data", str(stopped)).assert_told(str(backup), "not empty")
    run("restore", str(backup), "--data", str(stopped)).assert_told("users.db is there already")
    assert (backup / "users.db").read_bytes() == before


@pytest.mark.parametrize("name", ["users.db", "wallet.db", "stocks.db", "backup.json"])
@pytest.mark.parametrize("damage", [b"", b"\xa5" * 100])
def test_a_damaged_backup_is_refused_whole(run: Run, stopped: Path, tmp_path: Path, name: str, damage: bytes) -> None:
    """A backup of which a file was changed or cut is refused before anything is written."""
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    assert run("backup", str(backup), "--data", str(stopped)).code == 0
    (backup / name).write_bytes((backup / name).read_bytes()[:50] + damage)
    run("restore", str(backup), "--data", str(restored)).assert_told(name, "damaged")
    assert list(restored.glob("*.db")) == []


@pytest.mark.parametrize("command", ["up", "migrate", "audit", "backup"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [("newer", "newer than this program"), ("corrupt", "malformed"), ("text", "not a database")],
)
def test_a_database_that_is_no_good_is_told(
    run: Run, stopped: Path, tmp_path: Path, command: str, fault: str, words: str
) -> None:
    """A newer, a corrupt and a foreign file: every command names the service and what is wrong with its database."""
    spoil(stopped / "wallet.db", fault)
    more = {"up": ["--port", str(free_port())], "backup": [str(tmp_path / "backup")]}.get(command, [])
    run(command, *more, "--data", str(stopped)).assert_told("wallet: ", words)
    assert not (tmp_path / "backup").exists()


def spoil(file: Path, fault: str) -> None:
    """Makes a database what its fault says."""
    if fault == "newer":
        with sqlite3.connect(file) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
    elif fault == "corrupt":
        page_bytes = 4096
        whole = file.read_bytes()
        file.write_bytes(whole[:page_bytes] + b"\xa5" * (len(whole) - page_bytes))
    else:
        file.write_text("a shopping list\n" * 1000)


def test_a_backup_is_refused_where_there_is_none(run: Run, stopped: Path, tmp_path: Path) -> None:
    """No brokerage to copy, a place that cannot be, no backup to restore: each is told."""
    run("backup", str(tmp_path / "backup"), "--data", str(tmp_path / "none")).assert_told("holds no brokerage")
    (tmp_path / "file").write_text("")
    run("backup", str(tmp_path / "file" / "backup"), "--data", str(stopped)).assert_told("file")
    run("restore", str(tmp_path / "none"), "--data", str(tmp_path / "new")).assert_told("holds no backup")


def test_a_database_that_stays_locked_is_told(
    run: Run, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup does not wait for ever for whoever holds a database, and holds none itself afterwards."""
    monkeypatch.setattr("brokerage.backup.LOCK_WAIT_MS", (1, 1))
    holder = sqlite3.connect(stopped / "stocks.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    run("backup", str(tmp_path / "backup"), "--data", str(stopped)).assert_told("written to all the time")
    assert not (tmp_path / "backup").exists()
    holder.close()
    assert run("backup", str(tmp_path / "backup"), "--data", str(stopped)).code == 0


def test_a_watched_audit_goes_on(run: Run, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit --watch` looks again and again until it is interrupted, and remembers that something was wrong."""
    rounds = iter(("broken", "mended", "over"))

    def pause(seconds: float) -> None:
        assert seconds == 5
        match next(rounds):
            case "broken":
                statement = "INSERT INTO accounts VALUES ('m', 'market', 'USD', NULL, NULL, NULL, 'open', 5, 1, NULL)"
            case "mended":
                statement = "DELETE FROM accounts"
            case _:
                raise KeyboardInterrupt
        with sqlite3.connect(stopped / "wallet.db") as database:
            database.execute(statement)
        database.close()

    monkeypatch.setattr("brokerage.__main__.time.sleep", pause)
    done = run("audit", "--watch", "5", "--data", str(stopped))
    counts = [line.split()[0] for line in done.output.splitlines() if "broken invariants" in line]
    assert (done.code, len(counts), counts[0], counts[2]) == (1, 3, "0", "0")
    assert int(counts[1]) > 0


@pytest.mark.parametrize("options", [(), ("--in-process",)], ids=["four processes", "one process"])
def test_the_files_of_a_stopped_brokerage_are_whole(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Once it has ended as it was told to, no write-ahead log is left: copies of the databases alone have it all."""
    deposit = """mutation { deposit(input: {currency: "USD", amount: "1.00", idempotencyKey: "last"}) {
        transaction { id } errors { message } } }"""
    with running_brokerage(tmp_path / "data", *options, environment=STILL_MARKET) as brokerage:
        made = brokerage.ask(deposit, brokerage.printed_token)["data"]["deposit"]["transaction"]["id"]
        assert list((tmp_path / "data").glob("*.db-wal"))
    assert list((tmp_path / "data").glob("*.db-*")) == []
    copy = shutil.copy(tmp_path / "data" / "wallet.db", tmp_path)
    with contextlib.closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT count(*) FROM transactions WHERE id = ?", (made,)).fetchone() == (1,)
