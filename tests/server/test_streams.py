"""The command line's standard streams: full, closed, in another encoding, or read by somebody who leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import SUPERGRAPH
from trifolio.command import main

UNREAD = 'explorer_title: "é"\nlimits: {"größe": 1}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a supergraph, an operation, and settings with a mistake that is not ASCII."""
    (tmp_path / "supergraph.graphql").write_text(SUPERGRAPH)
    (tmp_path / "op.graphql").write_text("{ me { name } }")
    (tmp_path / "router.yaml").write_text(UNREAD, encoding="utf-8")
    return tmp_path


PLAN = "plan --supergraph supergraph.graphql --operation op.graphql"


def shell(folder: Path, command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run `trifolio` from a shell, `$@` in `command`; with exit code and all that it says."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "bash", sys.executable, "-m", "trifolio"],
        cwd=folder,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
@pytest.mark.parametrize("arguments", [PLAN, "config schema"])
def test_a_full_disk_is_told(folder: Path, arguments: str) -> None:
    """Output that cannot be written is one line on standard error, and ends with 1."""
    done = shell(folder, f'"$@" {arguments} > /dev/full')
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_good_as_none(folder: Path, streams: str) -> None:
    """A process that was started without standard streams does its work, and what fits no stream is dropped."""
    done = shell(folder, f'"$@" {PLAN} {streams}')
    assert done.returncode == 0
    assert done.stderr == b""


def test_errors_never_get_into_the_output(folder: Path) -> None:
    """With standard error closed, what belongs there goes nowhere, and not into the file that is being made."""
    done = shell(folder, '"$@" plan --supergraph nothing --operation op.graphql 2>&-')
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_output_is_utf_8_whatever_the_locale(folder: Path, locale: dict[str, str]) -> None:
    """What commands print has the encoding of what they read."""
    done = shell(folder, '"$@" config check --settings router.yaml', **locale)
    assert done.returncode == 1
    assert "unknown key 'größe'" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("arguments", [PLAN, "--help"])
def test_who_stops_reading_gets_no_complaint(folder: Path, arguments: str) -> None:
    """A reader that has gone ends a command as SIGPIPE would, in silence."""
    done = shell(folder, f'"$@" {arguments} | true')
    assert done.stderr == b""
    assert done.returncode in {0, 141}


def test_an_interrupt_while_importing_is_no_traceback(folder: Path) -> None:
    """Ctrl-C before the first command is even looked at ends with 130, in silence."""
    (folder / "sitecustomize.py").write_text(
        "import sys, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it else
        "class Interrupt:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'trifolio.command.plan':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    done = shell(folder, f'"$@" {PLAN}', PYTHONPATH=str(folder))
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, b"")


WRONG = {
    "a port of many digits": ("--port", "9" * 5000, "is no port"),
    "workers of many digits": ("--workers", "9" * 5000, "is no number"),
    "no host": ("--host", "", "is no address"),
    "a blank host": ("--host", " ", "is no address"),
    "a host in no encoding": ("--host", "\udcff", "is no address"),
}


@pytest.mark.parametrize(("option", "value", "problem"), WRONG.values(), ids=WRONG)
def test_serve_refuses_what_it_cannot_listen_on(
    option: str, value: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address or a number that is none ends with 2 and a line of readable length."""
    with pytest.raises(SystemExit) as end:
        main(["serve", "--supergraph", "nothing", option, value])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert problem in told
    assert len(told) < 1000
