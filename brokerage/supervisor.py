"""Starts a deployment's processes, waits until all are ready, and stops them all when the user says so.

Each process writes to a log file of its own. The children are in sessions of their own, so that Ctrl-C reaches the
supervisor alone and the order of stopping is its choice: the last one started, the router, goes first.

None outlives it: their standard input is a pipe that closes with the supervisor, whoever ends it, and what runs under
`brokerage.tether` ends then. Until they have, they hold what the supervisor was told to hold, such as a folder's lock.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from brokerage.failures import CommandFailed

READY_TIMEOUT_S = 30.0
"""From the start of the processes until all are ready; a cold start takes about two seconds."""
READY_POLL_S = 0.05
STOP_TIMEOUT_S = 10.0
"""From the request to stop until a process is killed: more than any request is allowed to take."""
LOG_TAIL_LINES = 15
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that was closed."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run: it is ready when `ready_url` answers 200."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str
    log: Path


class ProcessFailed(CommandFailed):
    """A process ended without being asked, or was not ready in time. The text is for the user."""


def busy_ports(host: str, ports: Sequence[int]) -> list[int]:
    """Those of the ports on which somebody else already listens."""
    return [port for port in ports if not _is_free(host, port)]


def refuse_address(host: str, port: int) -> None:
    """Raises CommandFailed for an address that this machine cannot listen on, which a busy port is not."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except UnicodeError:
        raise CommandFailed(f"{host} is no name of a machine") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise CommandFailed(f"cannot listen on {host}, port {port}: {error.strerror}") from None


async def supervise(
    specs: Sequence[ProcessSpec],
    *,
    when_ready: Callable[[], Awaitable[None]],
    when_failed: Callable[[str], None],
    held: Sequence[int] = (),
) -> None:
    """Runs the processes until the user stops them, by one of STOP_SIGNALS.

    `held` are file descriptors that every process keeps open to its end, so that a lock on one lasts as long.

    `when_ready` is awaited once, when every process is ready; one that fails before stops the start. One that ends
    later is told to `when_failed`, once, and the others go on: the graph answers what it still can. Raises
    ProcessFailed, when all are stopped, if the start failed or none is left.
    """
    async with contextlib.AsyncExitStack() as stack:
        asked = asyncio.create_task(_stop_request(stack).wait())
        lifeline = stack.enter_context(_lifeline())
        processes = [await _start(spec, stack, lifeline, held) for spec in specs]
        ends = {asyncio.create_task(process.wait()): spec for spec, process in zip(specs, processes, strict=True)}
        ready = asyncio.create_task(_get_ready(specs, when_ready))
        for task in (asked, ready, *ends):
            stack.callback(task.cancel)
        await asyncio.wait({asked, ready, *ends}, return_when=asyncio.FIRST_COMPLETED)
        while not asked.done():
            ended = [end for end in ends if end.done()]
            failures = [_ended_text(ends[end], end.result()) for end in ended]
            if not ready.done() or ready.result() is not None:
                raise ProcessFailed("\n".join(failures) or ready.result())
            for end in ended:
                del ends[end]
            for failure in failures:
                when_failed(failure)
            if not ends:
                raise ProcessFailed("no process is left")
            await asyncio.wait({asked, *ends}, return_when=asyncio.FIRST_COMPLETED)


@contextlib.asynccontextmanager
async def running(specs: Sequence[ProcessSpec]) -> AsyncIterator[None]:
    """The processes, ready, for as long as the block lasts. Raises ProcessFailed if one of them fails to start."""
    async with contextlib.AsyncExitStack() as stack:
        lifeline = stack.enter_context(_lifeline())
        processes = [await _start(spec, stack, lifeline) for spec in specs]
        ends = {asyncio.create_task(process.wait()): spec for spec, process in zip(specs, processes, strict=True)}
        ready = asyncio.create_task(_until_ready(specs))
        for task in (ready, *ends):
            stack.callback(task.cancel)
        await asyncio.wait({ready, *ends}, return_when=asyncio.FIRST_COMPLETED)
        failures = [_ended_text(spec, end.result()) for end, spec in ends.items() if end.done()]
        if failures or ready.result() is not None:
            raise ProcessFailed("\n".join(failures) or ready.result())
        yield


def _stop_request(stack: contextlib.AsyncExitStack) -> asyncio.Event:
    """An event that is set when the user asks to stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
        stack.callback(loop.remove_signal_handler, number)
    return stopping


def _ended_text(spec: ProcessSpec, exit_code: int) -> str:
    return f"{spec.name} ended by itself with exit code {exit_code}. {_last_lines(spec)}"


def _last_lines(spec: ProcessSpec) -> str:
    lines = spec.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join([f"Its last lines ({spec.log}):", *(f"  {line}" for line in lines)])


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """The reading end of a pipe; the other end is this process's alone, and closes with it at the latest."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


async def _start(
    spec: ProcessSpec, stack: contextlib.AsyncExitStack, lifeline: int, held: Sequence[int] = ()
) -> Process:
    """Starts a process, to be stopped when the stack unwinds: the last started first."""
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    with spec.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *spec.command,
            stdin=lifeline,
            stdout=log,
            stderr=log,
            env=dict(spec.environment),
            pass_fds=held,
            start_new_session=True,
        )
    stack.push_async_callback(_stop, process)
    return process


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _get_ready(specs: Sequence[ProcessSpec], when_ready: Callable[[], Awaitable[None]]) -> str | None:
    """None once every process answered and the caller was told; after the time limit, which of them did not."""
    failure = await _until_ready(specs)
    if failure is None:
        await when_ready()
    return failure


async def _until_ready(specs: Sequence[ProcessSpec]) -> str | None:
    """None once every process answered; after the time limit, which of them did not."""
    waiting = list(specs)
    deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while waiting and asyncio.get_running_loop().time() < deadline:
            waiting = [spec for spec in waiting if not await _is_ready(client, spec)]
            if waiting:
                await asyncio.sleep(READY_POLL_S)
    late = [f"{spec.name} was not ready within {READY_TIMEOUT_S:g} s. {_last_lines(spec)}" for spec in waiting]
    return "\n".join(late) or None


async def _is_ready(client: httpx.AsyncClient, spec: ProcessSpec) -> bool:
    try:
        return (await client.get(spec.ready_url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do it: a port whose last connections are only lingering counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
