"""The three services as real processes that a test can kill -9 at a chosen point and start again in milliseconds."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.crash_points import Control

SERVICES = ("users", "wallet", "stocks")
ROOT = Path(__file__).parents[2]
LOG_LINES_TOLD = 30


def service_of(replica: str) -> str:
    """The service that a process is of: `wallet` of `wallet/2`."""
    return replica.partition("/")[0]


class Zygote:
    """The test's handle on the forking process; one serves a whole test session."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
            )
        assert self._channel.recv(64) == b"ready", "the zygote could not import the services"

    def build(self, kind: str, urls: Mapping[str, str]) -> None:
        """Builds the services over a kind of database, with empty ones of that kind to write to."""
        self._channel.send(json.dumps({"kind": kind, "urls": urls}).encode())
        assert self._channel.recv(64) == b"built", "the zygote could not build the services"

    def start(self, message: Mapping[str, object], listening: socket.socket) -> int:
        """Forks a service as `message` says; returns its process id."""
        socket.send_fds(self._channel, [json.dumps(message).encode()], [listening.fileno()])
        return int(self._channel.recv(64))

    def close(self) -> None:
        """Ends the zygote and every service that it forked."""
        self._channel.close()
        self._process.wait(timeout=10)


@dataclass
class Process:
    """One running (or dead) service process."""

    pid: int
    _pidfd: int = field(init=False)

    def __post_init__(self) -> None:
        self._pidfd = os.pidfd_open(self.pid)

    @property
    def ended(self) -> bool:
        """Whether the process is gone, by its own end or by a kill."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    async def wait(self) -> None:
        """Returns once the process is gone."""
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not gone.done():
                gone.set_result(None)

        loop.add_reader(self._pidfd, tell)
        try:
            await gone
        finally:
            loop.remove_reader(self._pidfd)

    def terminate(self) -> None:
        """What stops a service in production: SIGTERM, which lets it end what it has begun."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kills the process if it still runs, and forgets it."""
        self.kill()
        os.close(self._pidfd)


class World:
    """Three services over one set of databases: addresses that stay, processes that come and go.

    `processes` are the services by name, and whatever replicas have been started beside them; `restarts` counts what
    `kept` did.
    """

    def __init__(self, zygote: Zygote, folder: Path, databases: Mapping[str, str]) -> None:
        self._zygote = zygote
        self._folder = folder
        self.databases = databases
        self.control = Control(folder / "control")
        self.sockets = {service: _listening_socket() for service in SERVICES}
        self.processes: dict[str, Process] = {}
        self.restarts = 0

    def url(self, service: str) -> str:
        """Where a service answers, whichever process serves it at the moment."""
        return "http://{}:{}".format(*self.sockets[service].getsockname())

    def clock(self) -> int:
        """The world's time, in milliseconds since the epoch."""
        return self.control.now_ms

    def start(self, replica: str, *, kill_at: int | None = None) -> Process:
        """Starts a service, to be killed at its `kill_at`th point, or never.

        Args:
            replica: a service, or one process more of it on the same database and address, as in `wallet/2`.
        """
        service = service_of(replica)
        message = {
            "service": service,
            "database": self.databases[service],
            "urls": {name: self.url(name) for name in SERVICES},
            "control": str(self._folder / "control"),
            "trace": str(self._folder / f"{service}.trace"),
            "log": str(self._folder / f"{service}.log"),
            "kill_at": kill_at,
        }
        if replica in self.processes:
            self.processes[replica].close()
        self.processes[replica] = Process(self._zygote.start(message, self.sockets[service]))
        return self.processes[replica]

    @contextlib.asynccontextmanager
    async def kept(self, replica: str) -> AsyncIterator[None]:
        """Within the block a service is started again whenever it has ended, a death before the block included.

        Who looks whether a process is dead may look too early: it can be killed, or about to kill itself, unnoticed.
        """
        keeping = asyncio.create_task(self._keep(replica))
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self, replica: str) -> None:
        while True:
            await self.processes[replica].wait()
            self.restarts += 1
            self.start(replica)

    def points(self, service: str) -> list[str]:
        """The labels of the points that a service reached while the world was armed, in order."""
        trace = self._folder / f"{service}.trace"
        return [line.split(" ", 1)[1] for line in trace.read_text().splitlines()] if trace.exists() else []

    def last_words(self) -> str:
        """What a failure is told with: which services run, and the last that each of them logged."""
        words = [f"{name}: {'ended' if process.ended else 'runs'}" for name, process in self.processes.items()]
        for log in sorted(self._folder.glob("*.log")):
            words += [f"{log.name}: {line}" for line in log.read_text().splitlines()[-LOG_LINES_TOLD:]]
        return "\n".join(words)

    def close(self) -> None:
        """Kills what still runs and frees the addresses."""
        for process in self.processes.values():
            process.close()
        for listening in self.sockets.values():
            listening.close()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    """A zygote that ends with the block."""
    parent = Zygote()
    try:
        yield parent
    finally:
        parent.close()


def _listening_socket() -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    return listening
