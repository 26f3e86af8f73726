"""Programs under measurement: started in a session of their own, so that they and all that they start can be counted
and stopped. What they cost is read from /proc, so this runs on Linux alone."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_POLL_S = 0.005
STOP_TIMEOUT_S = 8.0


class NotMeasured(SystemExit):
    """Something could not be measured. The text is for the user, and the program ends with 1."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A process at one moment."""

    pid: int
    session: int
    is_gone: bool
    cpu_s: float
    """Of the process, all its threads, and of children that have ended and were waited for."""
    rss_bytes: int

    @classmethod
    def read(cls, pid: int) -> "Stat | None":
        """None where there is no such process any more."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The program's name, in brackets, may hold blanks; proc(5) numbers the field after it 3.
        fields = dict(enumerate(stat.rpartition(")")[2].split(), start=3))
        ticks = sum(int(fields[n]) for n in (14, 15, 16, 17))
        return cls(pid, int(fields[6]), fields[3] == "Z", ticks / _TICKS_PER_S, int(fields[24]) * _PAGE_BYTES)


def cpu_seconds(pids: Iterable[int]) -> float:
    """What processes have used so far, user and system."""
    return sum(stat.cpu_s for stat in map(Stat.read, pids) if stat is not None)


def rss_bytes(pids: Iterable[int]) -> int:
    """What processes hold of the machine's memory."""
    return sum(stat.rss_bytes for stat in map(Stat.read, pids) if stat is not None)


class Program:
    """A command that runs, and every process that it has started and that has not left its session."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pids(self) -> list[int]:
        """Its processes, first of all its own."""
        stats = (Stat.read(int(name)) for name in os.listdir("/proc") if name.isdigit())
        return [stat.pid for stat in stats if stat and stat.session == self._process.pid and not stat.is_gone]

    @property
    def pid(self) -> int:
        """The command's own process."""
        return self._process.pid

    def raise_if_ended(self) -> None:
        """Raises NotMeasured, with the end of the log, if it has ended."""
        if self._process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise NotMeasured(f"{self._process.args!r} ended with {self._process.returncode}:\n{tail}")

    async def wait_for_port(self, port: int, timeout_s: float = 60.0) -> None:
        """Waits until something listens there."""
        deadline = time.monotonic() + timeout_s
        while not _listens(port):
            self.raise_if_ended()
            if time.monotonic() > deadline:
                raise NotMeasured(f"{self._process.args!r} does not listen on port {port}; see {self.log}")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """SIGTERM to each of its processes, then SIGKILL to those that do not end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while time.monotonic() < deadline:
                if self._process.poll() is not None and not self.pids:
                    return
                await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def running(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> AsyncIterator[Program]:
    """Starts a command for as long as the block lasts; what it says goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing is served here that could have to wait
            command,
            env=None if environment is None else {**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        await program.stop()


def free_port(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens on, below those that outgoing connections take."""
    for port in range(20_000 + os.getpid() % 600 * 20, 32_768 - count, count):
        if not any(_listens(each) for each in range(port, port + count)):
            return port
    raise NotMeasured("no port is free")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
