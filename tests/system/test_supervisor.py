"""The supervisor: it starts processes, says when all are ready and which one failed, and leaves none behind."""

import asyncio
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from brokerage.supervisor import ProcessFailed, ProcessSpec, busy_ports, supervise
from tests.system.brokerages import ROOT, free_port

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("serving", flush=True)
server.serve_forever()
"""
FAILING = "import sys; print('the disk is full'); sys.exit(3)"

MakeSpec = Callable[[str, str], ProcessSpec]


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """Makes a process of a Python program, which gets a free port as its argument."""

    def make(name: str, program: str) -> ProcessSpec:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-c", program, str(port)]
        return ProcessSpec(name, command, os.environ, f"http://127.0.0.1:{port}/", tmp_path / f"{name}.log")

    return make


def children() -> set[str]:
    """The processes that this one started and that still run."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def nothing() -> None:
    """What a caller does who does not care."""


async def test_ctrl_c_stops_all(make_spec: MakeSpec) -> None:
    """Once all are ready the caller is told; SIGINT then ends every process, and that is no failure."""
    before, told = children(), []

    async def interrupt() -> None:
        told.append(len(children() - before))
        os.kill(os.getpid(), signal.SIGINT)

    await supervise(
        [make_spec("first", SERVER), make_spec("second", SERVER)], when_ready=interrupt, when_failed=pytest.fail
    )
    assert told == [2]
    assert children() == before


async def test_one_that_fails_is_named_and_the_others_stop(make_spec: MakeSpec) -> None:
    """A process that ends by itself stops the rest; the error names it, its exit code and its last lines."""
    before = children()
    with pytest.raises(ProcessFailed, match=r"(?s)broken ended by itself with exit code 3.*the disk is full"):
        await supervise(
            [make_spec("steady", SERVER), make_spec("broken", FAILING)], when_ready=nothing, when_failed=pytest.fail
        )
    assert children() == before


async def test_one_that_dies_later_is_named_and_the_others_go_on(make_spec: MakeSpec) -> None:
    """A process killed after all were ready is named at once; the rest serve on until they are stopped."""
    before, failures, left = children(), list[str](), set[str]()

    async def kill_one() -> None:
        os.kill(int(max(children() - before, key=int)), signal.SIGKILL)

    def hear(failure: str) -> None:
        failures.append(failure)
        left.update(children() - before)
        os.kill(os.getpid(), signal.SIGINT)

    specs = [make_spec("first", SERVER), make_spec("second", SERVER)]
    await supervise(specs, when_ready=kill_one, when_failed=hear)
    assert [failure.splitlines()[0].partition(". ")[0] for failure in failures] == [
        "second ended by itself with exit code -9"
    ]
    assert len(left) == 1
    assert children() == before


async def test_one_that_is_never_ready_is_named(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs but does not answer is named when the time is over."""
    monkeypatch.setattr("brokerage.supervisor.READY_TIMEOUT_S", 0.3)
    mute = "import time; time.sleep(60)"
    with pytest.raises(ProcessFailed, match=r"mute was not ready within 0.3 s"):
        await asyncio.wait_for(
            supervise([make_spec("mute", mute)], when_ready=nothing, when_failed=pytest.fail), timeout=20
        )


def test_busy_ports_are_found() -> None:
    """A port that somebody listens on is busy; a free one is not."""
    with socket.socket() as listening, socket.socket() as free:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        free.bind(("127.0.0.1", 0))
        free_port = free.getsockname()[1]
        free.close()
        assert busy_ports("127.0.0.1", [listening.getsockname()[1], free_port]) == [listening.getsockname()[1]]


SUPERVISOR = """
import asyncio, fcntl, sys
from pathlib import Path
from brokerage.supervisor import ProcessSpec, supervise

async def main():
    lock = open(sys.argv[1] + "/lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    command = [sys.executable, "-m", "brokerage.tether", "http.server", "--bind", "127.0.0.1", sys.argv[2]]
    spec = ProcessSpec("one", command, {}, f"http://127.0.0.1:{sys.argv[2]}/", Path(sys.argv[1], "one.log"))
    async def told():
        print("ready", flush=True)
    await supervise([spec], when_ready=told, when_failed=print, held=[lock.fileno()])

asyncio.run(main())
"""


def test_a_killed_supervisor_takes_its_processes_with_it(tmp_path: Path) -> None:
    """After kill -9 of the supervisor its process ends by itself, and holds the supervisor's lock until then."""
    port = free_port()
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path), str(port)]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        assert supervisor.stdout.readline() == "ready\n"
        [child] = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        handle = os.pidfd_open(int(child))
        os.kill(int(child), signal.SIGSTOP)
        supervisor.kill()
        supervisor.wait()
        with (tmp_path / "lock").open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.kill(int(child), signal.SIGCONT)
            fcntl.flock(lock, fcntl.LOCK_EX)
    assert select.select([handle], [], [], 15)[0], "the process outlived its supervisor"
    os.close(handle)
