"""A router whose clients and subgraphs are in this process, and a counter of what its code does for a request.

Times depend on the machine and on what else it does; the number of instructions that the interpreter executes in the
router's own code does not. What C does for one of them (parsing JSON, a system call) is not in it, so the calls into C
are counted beside.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.server import ServerState

import trifolio
from tests.server.wire import Wire
from trifolio.composer import Subgraph, compose
from trifolio.gateway import Router
from trifolio.server.protocol import HttpProtocol

OWN = str(Path(trifolio.__file__).parent)
GENERATED = "<plan"
"""How the file names of generated code begin."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the router's own code did for one request."""

    instructions: int
    """Instructions of the interpreter in it."""
    calls: int
    """Functions of Python and of C that it called."""


class Subgraphs:
    """Answers requests by their path; what it is asked otherwise does not matter."""

    def __init__(self, responses: Mapping[str, bytes]) -> None:
        self._responses = responses
        self.requests = 0

    async def connect(self, factory: Callable[[], Any], host: str, port: int, ssl: object = None) -> tuple[Any, Any]:
        """In place of the loop's `create_connection`."""
        protocol = factory()
        wire = _SubgraphWire(self)
        wire.protocol = protocol
        protocol.connection_made(wire)
        return wire, protocol

    def respond(self, wire: "_SubgraphWire", request: bytes) -> None:
        """Let the response arrive with the loop's next round."""
        self.requests += 1
        path = request.split(b" ", 2)[1].decode()
        asyncio.get_running_loop().call_soon(wire.protocol.data_received, self._responses[path])  # type: ignore[union-attr]  # it has one


class _SubgraphWire(Wire):
    def __init__(self, subgraphs: Subgraphs) -> None:
        super().__init__()
        self._subgraphs = subgraphs

    def write(self, data: Any) -> None:
        self._subgraphs.respond(self, bytes(data))


class Client(Wire):
    """A client that waits for one response at a time."""

    answered: "asyncio.Future[bytes]"

    def write(self, data: Any) -> None:
        self.answered.set_result(bytes(data))

    async def ask(self, request: bytes) -> bytes:
        """The response to a request."""
        self.answered = asyncio.get_running_loop().create_future()
        assert isinstance(self.protocol, asyncio.Protocol)
        self.protocol.data_received(request)
        return await self.answered


def connect(sdl_by_path: Mapping[str, str], responses: Mapping[str, bytes]) -> tuple[Client, Subgraphs]:
    """A client of a router over these subgraphs; within a running loop, whose connections all lead to them."""
    subgraphs = [Subgraph(path.strip("/"), f"http://127.0.0.1:1{path}", sdl) for path, sdl in sdl_by_path.items()]
    composed = compose(subgraphs)
    assert composed.supergraph is not None, composed.diagnostics
    answering = Subgraphs(responses)
    asyncio.get_running_loop().create_connection = answering.connect  # type: ignore[method-assign, assignment]  # no sockets
    app = Router(composed.supergraph).asgi()
    config = uvicorn.Config(app, interface="asgi3", lifespan="off", ws="none", proxy_headers=False, log_config=None)
    config.load()
    client = Client()
    client.protocol = HttpProtocol(config, ServerState(), {})
    client.protocol.connection_made(client)
    return client, answering


async def cost_of(act: Callable[[], Awaitable[object]]) -> Cost:
    """What the router's own code does while something is awaited."""
    instructions = calls = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal instructions
        if not _is_own(frame):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        instructions += event == "opcode"
        return trace

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call") and _is_own(frame)

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    try:
        await act()
        sys.settrace(None)
        sys.setprofile(profile)
        await act()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return Cost(instructions, calls)


def _is_own(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith((OWN, GENERATED))
