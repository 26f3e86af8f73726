"""What an operator meets: folders and addresses that are no good, and what is kept from others on the machine."""

import os
import select
import signal
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
from tests.system.brokerages import PROGRAM, Brokerage, free_port, read_welcome
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
