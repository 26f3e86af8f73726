"""The WebSocket protocol alone: frames that are none, clients that are silent, slow or without end, and the clock."""

import asyncio
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.server.wire import Echo, Server, Wire, get, settle
from trifolio.limits import Limits
from trifolio.server.http import Receive, Scope, Send
from trifolio.server.websocket import FRAMES_MAX, WAITING_MAX

OFFER = (
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)
OWN = "trifolio.server.websocket:WebSocketProtocol"


class Told:
    """An application that keeps what it hears, and takes it when it may."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.scopes: list[Scope] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.refuses = False
        self.answer = b""
        self.sent = 0
        self.ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept, and hear to the end; each message is answered, if there is an answer."""
        self.scopes.append(scope)
        assert (await receive())["type"] == "websocket.connect"
        if self.refuses:
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept", "subprotocol": "x"})
        while True:
            await self.takes.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended = True
                self.heard.append(message["code"])
                return
            self.heard.append(message.get("text") or message.get("bytes"))
            if message.get("text") == "end":
                await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
            elif message.get("text") == "fail":
                raise ValueError("a bug")
            elif self.answer:
                await send({"type": "websocket.send", "bytes": self.answer})
                self.sent += 1


class World:
    """A server, and one client that has asked for a WebSocket."""

    def __init__(self, **limits: int) -> None:
        self.told = Told()
        self.server = Server(Echo(limits=Limits(**limits), own=self.told), ws=OWN)
        self.wire: Wire = self.server.connect()

    async def begin(self, path: str = "/a?b=c", *lines: str) -> bytes:
        """Shake hands; returns what was said."""
        return await self.server.send(self.wire, get(path, *OFFER, *lines))

    async def say(self, *frames: Frame | bytes) -> bytes:
        """Send frames, masked as a client has to; returns what was written since."""
        parts = [each if isinstance(each, bytes) else each.serialize(mask=True, extensions=[]) for each in frames]
        return await self.server.send(self.wire, *parts)


def text(data: bytes, *, fin: bool = True) -> Frame:
    """A text, or its beginning."""
    return Frame(Opcode.TEXT, data, fin)


def more(data: bytes, *, fin: bool = False) -> Frame:
    """What comes next of a message."""
    return Frame(Opcode.CONT, data, fin)


def code_in(written: bytes) -> int:
    """The code of the close frame that was written last."""
    at = written.rindex(b"\x88")
    return int.from_bytes(written[at + 2 : at + 4])


async def test_a_handshake_and_messages() -> None:
    """The application sees a request as ASGI has it, texts and bytes, and the client's end."""
    world = World()
    said = await world.begin("/a%20b?c=d", "sec-websocket-protocol: x, y")
    assert said.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in said
    assert b"sec-websocket-protocol: x\r\n" in said.lower()
    [scope] = world.told.scopes
    assert (scope["path"], scope["query_string"], scope["subprotocols"]) == ("/a b", b"c=d", ["x", "y"])
    assert (b"host", b"x") in scope["headers"]
    world.told.answer = b"heard"
    written = await world.say(
        text(b"one"), Frame(Opcode.BINARY, b"two"), text(b"th", fin=False), more(b"ree", fin=True)
    )
    assert world.told.heard == ["one", b"two", "three"]
    assert written.count(b"heard") == 3
    written = await world.say(Frame(Opcode.PING, b"are you there"))
    assert written == b"\x8a\x0dare you there"
    written = await world.say(Frame(Opcode.CLOSE, (1000).to_bytes(2)))
    assert code_in(written) == 1000
    assert world.told.ended
    assert world.wire.eof
    assert len(world.server.connections) == 1
    await world.server.pass_time(2_000)
    assert world.wire.closed
    assert len(world.server.connections) == 0
    assert world.server.connections.held_bytes == 0


async def test_the_application_can_refuse() -> None:
    """Before it is one, a WebSocket is an HTTP request."""
    world = World()
    world.told.refuses = True
    assert (await world.begin()).startswith(b"HTTP/1.1 403 ")
    assert world.wire.is_over


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("host: x", *OFFER), b"400"),
        ((*OFFER[:2], OFFER[3]), b"400"),
        (OFFER[:3], b"400"),
        ((*OFFER[:3], "sec-websocket-version: 8"), b"400"),
        ((*OFFER, "x: " + "y" * 40_000), b"431"),
    ],
)
async def test_what_is_no_handshake_is_refused(lines: tuple[str, ...], status: bytes) -> None:
    """Two hosts, no key, no version or another, or too much."""
    world = World()
    said = await world.server.send(world.wire, get("/a", *lines))
    assert said.startswith(b"HTTP/1.1 " + status)
    assert world.told.scopes == []
    await world.server.pass_time(20_000)
    assert world.wire.closed


BROKEN: dict[str, tuple[tuple[Frame | bytes, ...], int]] = {
    "an unmasked frame": ((text(b"x").serialize(mask=False, extensions=[]),), 1002),
    "noise": ((b"\xff" * 20,), 1002),
    "an unknown opcode": ((b"\x83\x80\x00\x00\x00\x00",), 1002),
    "a reserved bit": ((b"\xc1\x80\x00\x00\x00\x00",), 1002),
    "the end of nothing": ((more(b"x", fin=True),), 1002),
    "a message in a message": ((text(b"x", fin=False), text(b"y")), 1002),
    "a long ping": ((b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,), 1002),
    "no UTF-8": ((text(b"\xff"),), 1007),
    "half a character": ((text("é".encode()[:1]),), 1007),
    "a long message": ((text(b"x" * 1_001),), 1009),
    "a long message in frames": ((text(b"x" * 600, fin=False), more(b"x" * 600)), 1009),
    "a message that says that it is long": ((b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",), 1009),
    "very many frames": ((text(b"", fin=False), *[more(b"")] * FRAMES_MAX), 1009),
}


@pytest.mark.parametrize(("frames", "code"), BROKEN.values(), ids=BROKEN)
async def test_what_is_no_message_ends_the_connection(frames: tuple[Frame | bytes, ...], code: int) -> None:
    """With WebSocket's code for it; the application is told the end, and nothing is left."""
    world = World(websocket_message_bytes_max=1_000)
    await world.begin()
    written = await world.say(*frames)
    assert code_in(written) == code
    assert world.told.ended
    await world.server.pass_time(2_000)
    assert world.wire.closed
    assert world.server.connections.held_bytes == 0


async def test_who_is_not_heard_is_asked_and_then_gone() -> None:
    """A ping after the limit's time; whoever answers it stays."""
    world = World(websocket_ping_ms=1_000)
    await world.begin()
    for _ in range(3):
        await world.server.pass_time(1_000)
        assert world.wire.written.endswith(b"\x89\x00")
        await world.say(Frame(Opcode.PONG, b""))
    await world.server.pass_time(2_500)
    assert world.wire.aborted
    assert world.told.heard == [1006]


async def test_a_message_that_never_ends_is_given_up() -> None:
    """Bytes alone keep nobody: what has begun comes whole between one ping and the next."""
    world = World(websocket_ping_ms=1_000)
    await world.begin()
    await world.say(text(b"x", fin=False))
    for _ in range(20):
        await world.say(more(b"x"))
        await world.server.pass_time(0)
    assert world.wire.aborted
    assert world.server.connections.held_bytes == 0


async def test_what_is_not_whole_is_bounded_for_all() -> None:
    """Bytes of messages that have begun count with those of bodies."""
    world = World(held_bytes_max=1_000)
    await world.begin()
    await world.say(text(b"x" * 600, fin=False))
    assert world.server.connections.held_bytes > 600
    assert code_in(await world.say(more(b"x" * 600))) == 1013


async def test_messages_that_are_not_taken_are_not_read() -> None:
    """Some wait, then the socket is left alone until the application goes on."""
    world = World()
    await world.begin()
    world.told.takes.clear()
    await world.say(text(b"first"))
    await world.say(*[text(b"x")] * (WAITING_MAX + 1))
    assert world.wire.is_paused
    world.told.takes.set()
    await settle()
    assert not world.wire.is_paused
    assert len(world.told.heard) == WAITING_MAX + 2


async def test_who_does_not_read_is_let_go() -> None:
    """The application waits, and when the time to read is over the connection ends."""
    world = World(send_timeout_ms=1_000)
    await world.begin()
    world.told.answer = b"x" * 50_000
    world.wire.reads = False
    await world.say(*[text(b"x")] * 4)
    assert world.told.sent < 4
    assert world.wire.is_paused
    await world.server.pass_time(1_000)
    assert world.wire.aborted
    assert world.told.ended
    assert len(world.server.connections) == 0


async def test_ends_are_sent_and_not_waited_for_long() -> None:
    """The application's, a bug's, and the server's: the client that says nothing is cut off."""
    for said, code in ((b"end", 4000), (b"fail", 1011)):
        world = World()
        await world.begin()
        assert code_in(await world.say(text(said))) == code
        assert not world.wire.closed
        await world.server.pass_time(2_000)
        assert world.wire.closed
    world = World()
    await world.begin()
    protocol: Any = world.wire.protocol
    protocol.shutdown()
    assert code_in(world.wire.written) == 1001
    await world.server.pass_time(2_000)
    assert world.wire.closed


async def test_who_breaks_off_is_gone() -> None:
    """Without a word, at any moment."""
    world = World()
    await world.begin()
    world.wire.abort()
    await settle()
    assert world.told.heard == [1006]
    assert len(world.server.connections) == 0


async def test_who_sends_no_more_and_does_not_read_is_gone() -> None:
    """The end of what a client sends is its end, whatever it has not read; nothing is sent behind it."""
    world = World(websocket_ping_ms=1_000)
    await world.begin()
    world.wire.reads = False
    protocol: Any = world.wire.protocol
    protocol.eof_received()
    await settle()
    assert world.told.heard == [1006]
    await world.server.pass_time(3_000)
    assert world.wire.closed
    assert len(world.server.connections) == 0


async def test_what_comes_before_it_is_accepted_waits() -> None:
    """Behind the handshake at once: nothing is answered before the handshake is, and then everything in its order."""
    world = World()
    masked = [each.serialize(mask=True, extensions=[]) for each in (Frame(Opcode.PING, b"x"), text(b"early"))]
    close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True, extensions=[])
    written = await world.server.send(world.wire, get("/", *OFFER) + b"".join(masked) + close)
    assert written.startswith(b"HTTP/1.1 101 ")
    frames = written.partition(b"\r\n\r\n")[2]
    assert frames == b"\x8a\x01x" + b"\x88\x02\x03\xe8"
    assert world.told.heard == ["early", 1000]


async def test_who_ends_before_it_is_accepted_is_gone() -> None:
    """Nothing is written behind the end of what the client sends."""
    world = World()
    protocol: Any = world.wire.protocol
    protocol.data_received(get("/", *OFFER))
    own: Any = world.wire.protocol
    own.eof_received()
    own.connection_lost(None)
    await settle()
    assert world.wire.written == b""
    assert len(world.server.connections) == 0


async def test_the_log_has_no_line_per_connection(caplog: pytest.LogCaptureFixture) -> None:
    """What the library tells of each is nothing that failed."""
    with caplog.at_level("INFO", "trifolio.error"):
        world = World()
        await world.begin()
        await world.say(Frame(Opcode.CLOSE, b""))
    assert caplog.records == []


async def test_an_address_has_so_many_connections() -> None:
    """WebSockets count with the others."""
    world = World(connections_per_address_max=1)
    await world.begin()
    assert len(world.server.connections) == 1
    other = world.server.connect()
    assert other.closed
