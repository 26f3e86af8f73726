"""Connections without a network: the protocol under test, a transport that keeps what is written, an application."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from trifolio.errors import RouterError
from trifolio.limits import Limits
from trifolio.server.connections import Connections, connections_of
from trifolio.server.edge import RawHeaders, plain_refusal
from trifolio.server.http import Receive, Scope, Send
from trifolio.server.protocol import HttpProtocol

HIGH_WATER = 65_536


class Wire(asyncio.Transport):
    """A transport whose other end reads when the test says so."""

    def __init__(self, client: str = "192.0.2.1") -> None:
        super().__init__({"peername": (client, 50_000), "sockname": ("192.0.2.254", 4000)})
        self.written = b""
        self.unread = 0
        """Bytes that the client has not read; nothing while `reads`."""
        self.reads = True
        self.is_paused = False
        self.eof = False
        self.aborted = False
        self.closed = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: Any) -> None:
        assert not self.eof, "written behind the end"
        self.written += bytes(data)
        if not self.reads:
            was_over = self.unread > HIGH_WATER
            self.unread += len(data)
            if self.unread > HIGH_WATER and not was_over:
                assert isinstance(self.protocol, asyncio.Protocol)
                self.protocol.pause_writing()

    def read(self, number: int) -> None:
        """The client reads so many bytes."""
        was_over = self.unread > HIGH_WATER
        self.unread = max(0, self.unread - number)
        if was_over and self.unread <= HIGH_WATER // 4:
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._lose()

    def abort(self) -> None:
        self.aborted = True
        self._lose()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def _lose(self) -> None:
        if not self.closed:
            self.closed = True
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.connection_lost(None)

    @property
    def is_over(self) -> bool:
        """Whether the server has ended its side."""
        return self.eof or self.closed


Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class Echo:
    """An application that tells what it was handed, and what the protocol asks beside ASGI."""

    limits: Limits = field(default_factory=Limits)
    draining: bool = False
    trusted_proxies: int = 0
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[RawHeaders] = field(default_factory=list)
    refused: list[RouterError] = field(default_factory=list)
    own: Application | None = None

    def wants_body(self, method: str, path: str) -> bool:
        return method == "POST" and path != "/nowhere"

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        self.refused.append(refusal)
        status, headers, body = plain_refusal(refusal)
        return status, (*headers, (b"x-request-id", (request_id_given or "made").encode())), body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.own is not None:
            await self.own(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            body += message["body"]
            if not message["more_body"]:
                break
        self.asked.append((scope["method"], scope["path"], body))
        self.headers.append(tuple(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"%s:%d" % (scope["path"].encode(), len(body))})


class Server:
    """What connections to one server share."""

    def __init__(self, app: Echo, **settings: Any) -> None:
        self.app = app
        self.state = ServerState()
        settings = {"ws": "none", **settings}
        self.config = uvicorn.Config(
            app, interface="asgi3", lifespan="off", proxy_headers=False, log_config=None, **settings
        )
        self.config.load()

    @property
    def connections(self) -> Connections:
        """All of them, with the clock."""
        return connections_of(self.state, self.app)

    def connect(self, client: str = "192.0.2.1", *, reads: bool = True) -> Wire:
        """A new connection."""
        wire = Wire(client)
        wire.reads = reads
        protocol = HttpProtocol(self.config, self.state, {})
        wire.protocol = protocol
        protocol.connection_made(wire)
        return wire

    async def send(self, wire: Wire, *parts: bytes) -> bytes:
        """Let bytes arrive in these parts, and everything follow from them; returns what was written since."""
        before = len(wire.written)
        for part in parts:
            if isinstance(wire.protocol, asyncio.Protocol) and not wire.closed:
                wire.protocol.data_received(part)
            await settle()
        return wire.written[before:]

    async def exchange(self, *parts: bytes) -> tuple[bytes, Wire]:
        """The same on a new connection."""
        wire = self.connect()
        return await self.send(wire, *parts), wire

    async def pass_time(self, milliseconds: int) -> None:
        """The clock goes on, and two ticks more, which it may be late."""
        for _ in range(milliseconds // 250 + 2):
            self.connections.advance()
            await settle()


async def settle() -> None:
    """Let all that can run now do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def statuses(received: bytes) -> list[int]:
    """The status of every response in the bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def bodies(received: bytes) -> list[bytes]:
    """What `Echo` said in every response in the bytes."""
    return re.findall(rb"\r\n\r\n([/*][^:]*:\d+)", received)


def head(*lines: str, start: str = "POST /a HTTP/1.1") -> bytes:
    """A request's head."""
    return "\r\n".join([start, *lines]).encode("latin-1") + b"\r\n\r\n"


def post(body: bytes, *lines: str, path: str = "/a") -> bytes:
    """A whole request with a body."""
    return head("host: x", f"content-length: {len(body)}", *lines, start=f"POST {path} HTTP/1.1") + body


def chunked(*chunks: bytes, trailers: bytes = b"", path: str = "/a") -> bytes:
    """A whole request with a body in chunks."""
    written = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return (
        head("host: x", "transfer-encoding: chunked", start=f"POST {path} HTTP/1.1")
        + written
        + b"0\r\n"
        + trailers
        + b"\r\n"
    )


def get(path: str = "/a", *lines: str) -> bytes:
    """A whole request without a body."""
    return head("host: x", *lines, start=f"GET {path} HTTP/1.1")
