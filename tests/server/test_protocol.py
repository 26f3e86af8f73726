"""Bytes on a connection: what is a request, what is refused, and what ends when."""

import asyncio
import gc
import random
import weakref
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.wire import (
    Echo,
    Server,
    bodies,
    chunked,
    get,
    head,
    post,
    settle,
    statuses,
)
from trifolio.errors import ErrorCode
from trifolio.limits import Limits
from trifolio.server.exchange import Exchange, exchange_of
from trifolio.server.http import Message, Receive, Scope, Send


@pytest.fixture
async def server() -> Server:
    """A server with the limits that everybody has."""
    return Server(Echo())


def serving(**limits: Any) -> Server:
    """A server with other limits."""
    return Server(Echo(limits=Limits(**limits)))


def running(own: Any, **limits: Any) -> Server:
    """A server whose application does something else."""
    return Server(Echo(limits=Limits(**limits), own=own))


# ---- what is served ----

OFFER = ("upgrade: h2c", "connection: Upgrade, HTTP2-Settings", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
SERVED = {
    "a GET": (get("/a"), b"/a:0"),
    "a POST": (post(b"hello"), b"/a:5"),
    "chunks": (chunked(b"hel", b"lo"), b"/a:5"),
    "a chunk with an extension": (
        head("host: x", "transfer-encoding: chunked") + b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b"/a:5",
    ),
    "a coding in capitals": (head("host: x", "transfer-encoding: Chunked") + b"5\r\nhello\r\n0\r\n\r\n", b"/a:5"),
    "an offer of HTTP/2 with a POST": (post(b"hello", *OFFER), b"/a:5"),
    "an offer of HTTP/2 with chunks": (
        head("host: x", *OFFER, "transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        b"/a:5",
    ),
    "an offer of a WebSocket": (get("/a", "upgrade: websocket", "connection: upgrade"), b"/a:0"),
    "an offer of TLS": (post(b"hello", "upgrade: TLS/1.0", "connection: upgrade"), b"/a:5"),
    "an empty line before": (b"\r\n" + get("/a"), b"/a:0"),
    "a URL with a host": (head("host: y", start="GET http://x:80/a?b HTTP/1.1"), b"/a:0"),
    "a POST to a URL with a host": (
        head("host: y", "content-length: 5", start="POST http://x:80/a?b HTTP/1.1") + b"hello",
        b"/a:5",
    ),
    "a path in percent": (get("/%61"), b"/a:0"),
    "no path": (head("host: x", start="GET ?b=c HTTP/1.1"), None),
    "all of the server": (head("host: x", start="OPTIONS * HTTP/1.1"), b"*:0"),
    "HTTP/1.0 without a host": (head(start="GET /a HTTP/1.0"), b"/a:0"),
    "an empty host": (head("host:", start="GET /a HTTP/1.1"), b"/a:0"),
    "an address in brackets": (head("host: [::1]:4000", start="GET /a HTTP/1.1"), b"/a:0"),
    "another method": (head("host: x", start="DELETE /a HTTP/1.1"), b"/a:0"),
}


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("parts", ["whole", "byte by byte", "head and body"])
async def test_a_request_is_served(server: Server, name: str, parts: str) -> None:
    """However its bytes arrive, a request is handed over once, whole."""
    sent, said = SERVED[name]
    start, _, rest = sent.partition(b"\r\n\r\n")
    pieces = {
        "whole": [sent],
        "byte by byte": [sent[i : i + 1] for i in range(len(sent))],
        "head and body": [start + b"\r\n\r\n", rest] if rest else [start, b"\r\n\r\n"],
    }[parts]
    received, wire = await server.exchange(*pieces)
    if said is None:
        assert statuses(received) == [400]
        return
    assert statuses(received) == [200]
    assert bodies(received) == [said]
    assert len(server.app.asked) == 1
    assert wire.is_over is (name.startswith("HTTP/1.0"))


@pytest.mark.parametrize(
    "parts", [[get("/a")], [post(b"hello")[:-2]], [get("/a")[:-2]], [b"no HTTP"], [post(b"x" * 70_000, *OFFER)]]
)
async def test_a_connection_that_has_ended_leaves_nothing(server: Server, parts: list[bytes]) -> None:
    """Wherever it ends, the memory of a connection is given back at once, not when garbage is looked for."""
    gc.collect()
    gc.disable()
    try:
        _, wire = await server.exchange(*parts)
        protocol = weakref.ref(wire.protocol)
        wire.abort()
        await settle()
        wire.protocol = None
        await settle()
        assert protocol() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("start_line", ["GET /a HTTP/1.1", "POST /nowhere HTTP/1.1"])
async def test_what_needs_no_body_does_not_wait_for_it(start_line: str) -> None:
    """A request that is answered by its head is so at once, as the last one, and the rest of it is dropped."""
    sent = head("host: x", "content-length: 99", start=start_line)
    for parts, length in (((sent,), 0), ((sent + b"a",), 0), ((sent + b"a" * 99,), 99)):
        server = serving()
        wire = server.connect()
        received = await server.send(wire, *parts)
        path = start_line.split()[1].encode()
        assert bodies(received) == [b"%s:%d" % (path, length)]
        assert wire.is_over is (length == 0)
        if length == 0:
            assert await server.send(wire, b"a" * 98 + get("/smuggled")) == b""
            await server.pass_time(2000)
            assert wire.closed
        assert len(server.app.asked) == 1


async def test_fields_come_in_order(server: Server) -> None:
    """The application sees the head's fields as they came, names in lower case, and none twice."""
    await server.exchange(get("/a", "X-A: 1", "x-b:  2 ", "X-A: 3"))
    assert server.app.headers == [((b"host", b"x"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3"))]


async def test_the_offer_itself_is_dropped(server: Server) -> None:
    """An upgrade that is not served is not shown to the application, whatever it was."""
    await server.exchange(post(b"hello", *OFFER))
    assert {name for name, _ in server.app.headers[0]} == {b"host", b"content-length", b"connection"}


async def test_trailers_are_dropped(server: Server) -> None:
    """What comes behind the body is no header: not for a login, not for an address."""
    await server.exchange(chunked(b"hello", trailers=b"authorization: Bearer x\r\nx-forwarded-for: 1.2.3.4\r\n"))
    assert server.app.headers == [((b"host", b"x"), (b"transfer-encoding", b"chunked"))]


async def test_a_body_is_asked_for_where_the_client_waits(server: Server) -> None:
    """100 Continue comes before a body that is waited for, and not where the body came already."""
    wire = server.connect()
    sent = post(b"hello", "expect: 100-continue")
    assert await server.send(wire, sent[:-5]) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(await server.send(wire, sent[-5:])) == [200]
    assert statuses(await server.send(wire, sent)) == [200]


async def test_no_body_is_asked_for_that_is_refused() -> None:
    """A client that asks first learns that its body is too large instead."""
    received, wire = await serving(body_bytes_max=4).exchange(post(b"hello", "expect: 100-continue")[:-5])
    assert statuses(received) == [413]
    assert wire.is_over


class Socket(asyncio.Protocol):
    """What serves a WebSocket in place of a library."""

    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        self.received = b""
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


OFFER_OF_SOCKET = ("upgrade: WebSocket", "connection: keep-alive, Upgrade", "sec-websocket-key: x")


@pytest.mark.parametrize("size", [1 << 20, 1])
async def test_a_websocket_is_handed_over(size: int) -> None:
    """Where the server has a WebSocket protocol the connection becomes its, with every byte from the request on."""
    server = serving()
    server.config.ws_protocol_class = Socket
    wire = server.connect()
    sent = get("/a", *OFFER_OF_SOCKET) + b"frame"
    for start_of_part in range(0, len(sent), size):
        assert isinstance(wire.protocol, asyncio.Protocol)
        wire.protocol.data_received(sent[start_of_part : start_of_part + size])
    assert isinstance(wire.protocol, Socket)
    assert wire.protocol.received == sent
    assert wire.protocol.transport is wire
    assert wire.written == b""
    assert (len(server.connections), len(server.state.connections), server.app.asked) == (0, 0, [])
    await server.pass_time(200_000)
    assert not wire.is_over


async def test_a_websocket_behind_another_request_is_a_request() -> None:
    """While an answer is due the connection stays HTTP's."""
    server = serving()
    server.config.ws_protocol_class = Socket
    received, _ = await server.exchange(get("/a") + get("/b", *OFFER_OF_SOCKET))
    assert bodies(received) == [b"/a:0", b"/b:0"]


# ---- what is refused ----

REFUSED = {
    "no host": (head("content-length: 0"), 400),
    "two hosts": (head("host: x", "host: x", "content-length: 0"), 400),
    "a host that is none": (head("host: a b/c@", "content-length: 0"), 400),
    "a host with a path": (head("host: a/b", "content-length: 0"), 400),
    "a length and a coding": (head("host: x", "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n", 400),
    "a coding and a length": (head("host: x", "transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\n", 400),
    "two lengths": (head("host: x", "content-length: 5", "content-length: 6") + b"hello", 400),
    "the same length twice": (head("host: x", "content-length: 5", "content-length: 5") + b"hello", 400),
    "a list of lengths": (head("host: x", "content-length: 5, 5") + b"hello", 400),
    "a length with a sign": (head("host: x", "content-length: +5") + b"hello", 400),
    "a negative length": (head("host: x", "content-length: -5") + b"hello", 400),
    "a length in hexadecimal": (head("host: x", "content-length: 0x5") + b"hello", 400),
    "an empty length": (head("host: x", "content-length:") + b"hello", 400),
    "an endless length": (head("host: x", "content-length: " + "9" * 40) + b"hello", 400),
    "gzip, then chunks": (head("host: x", "transfer-encoding: gzip, chunked") + b"0\r\n\r\n", 400),
    "chunks, then gzip": (head("host: x", "transfer-encoding: chunked, gzip") + b"0\r\n\r\n", 400),
    "chunks twice": (head("host: x", "transfer-encoding: chunked, chunked") + b"0\r\n\r\n", 400),
    "two codings": (head("host: x", "transfer-encoding: gzip", "transfer-encoding: chunked") + b"0\r\n\r\n", 400),
    "a coding nobody knows": (head("host: x", "transfer-encoding: xchunked") + b"0\r\n\r\n", 400),
    "identity": (head("host: x", "transfer-encoding: identity") + b"0\r\n\r\n", 400),
    "an empty coding": (head("host: x", "transfer-encoding:") + b"0\r\n\r\n", 400),
    "a coding after a vertical tab": (head("host: x", "transfer-encoding: \x0bchunked") + b"0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (head("host: x", "transfer-encoding: chunked", start="POST /a HTTP/1.0") + b"0\r\n\r\n", 400),
    "a folded line": (head("host: x", "a: b", " c", "content-length: 0"), 400),
    "a folded first line": (head(" host: x", "host: x", "content-length: 0"), 400),
    "a bare line feed": (b"GET /a HTTP/1.1\r\nhost: x\na: b\r\n\r\n", 400),
    "bare line feeds": (b"GET /a HTTP/1.1\nhost: x\n\n", 400),
    "a bare carriage return": (b"GET /a HTTP/1.1\r\nhost: x\ra: b\r\n\r\n", 400),
    "a blank before the colon": (head("host: x", "content-length : 5") + b"hello", 400),
    "a zero byte": (head("host: x", "a: b\0c"), 400),
    "a control character": (head("host: x", "a: b\x01c"), 400),
    "a name with a bracket": (head("host: x", "a(b: c"), 400),
    "no name": (head("host: x", ": c"), 400),
    "no colon": (head("host: x", "abc"), 400),
    "a chunk's size with a sign": (head("host: x", "transfer-encoding: chunked") + b"+5\r\nhello\r\n0\r\n\r\n", 400),
    "a chunk's size in hexadecimal": (
        head("host: x", "transfer-encoding: chunked") + b"0x5\r\nhello\r\n0\r\n\r\n",
        400,
    ),
    "a chunk's size with a blank": (head("host: x", "transfer-encoding: chunked") + b"5 \r\nhello\r\n0\r\n\r\n", 400),
    "a chunk that is longer": (head("host: x", "transfer-encoding: chunked") + b"4\r\nhello\r\n0\r\n\r\n", 400),
    "a chunk's size that overflows": (head("host: x", "transfer-encoding: chunked") + b"f" * 20 + b"\r\n", 400),
    "chunks with bare line feeds": (head("host: x", "transfer-encoding: chunked") + b"5\nhello\n0\n\n", 400),
    "HTTP/0.9": (b"GET /a\r\n\r\n", 400),
    "HTTP/1.2": (head("host: x", start="GET /a HTTP/1.2"), 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
    "a tunnel": (head("host: x", start="CONNECT x:80 HTTP/1.1"), 405),
    "a method in small letters": (head("host: x", start="get /a HTTP/1.1"), 400),
    "a blank in the URL": (head("host: x", start="GET /a b HTTP/1.1"), 400),
    "a URL that is not ASCII": ("GET /é HTTP/1.1\r\nhost: x\r\n\r\n".encode(), 400),
    "a long URL": (get("/" + "a" * 20_000), 414),
    "a longer URL than the parser takes apart": (get("/" + "a" * 100_000), 414),
    "long fields": (get("/a", "a: " + "b" * 40_000), 431),
    "many fields": (get("/a", *(f"a{n}: b" for n in range(200))), 431),
    "a long body": (post(b"a" * 2_000_001), 413),
    "a long body in chunks": (chunked(*[b"a" * 65_536] * 40), 413),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("size", [1 << 20, 1000, 1], ids=["whole", "in pieces", "byte by byte"])
async def test_a_request_is_refused(server: Server, name: str, size: int) -> None:
    """What two servers could read differently, or is too much, is answered with a code; nothing behind it is read."""
    sent, status = REFUSED[name]
    if size == 1 and len(sent) > 10_000:
        size = 700
    sent += get("/smuggled")
    received, wire = await server.exchange(*(sent[i : i + size] for i in range(0, len(sent), size)))
    assert statuses(received) == [status]
    assert server.app.asked == []
    assert b"connection: close\r\n" in received
    assert b"x-request-id: made\r\n" in received
    assert [refusal.status for refusal in server.app.refused] == [status]
    assert wire.is_over


async def test_a_refusal_names_the_request(server: Server) -> None:
    """The id that a client gave its request stands in the refusal."""
    received, _ = await server.exchange(head("x-request-id: from-the-client", "content-length: 0"))
    assert b"x-request-id: from-the-client\r\n" in received


# ---- several requests on a connection ----


@given(st.data())
def test_requests_are_answered_in_order_however_they_arrive(data: st.DataObject) -> None:
    """Requests one behind the other are each answered once, in order, wherever the bytes are cut."""
    kinds = [
        lambda n: get(f"/{n}"),
        lambda n: post(b"b" * n, path=f"/{n}"),
        lambda n: chunked(b"c" * n, b"d", path=f"/{n}"),
        lambda n: post(b"b" * n, *OFFER, path=f"/{n}"),
        lambda n: post(b"b" * n, "expect: 100-continue", path=f"/{n}"),
        lambda n: chunked(b"c", trailers=b"a: b\r\n", path=f"/{n}"),
    ]
    chosen = data.draw(st.lists(st.sampled_from(range(len(kinds))), min_size=1, max_size=6))
    sent = b"".join(kinds[kind](n + 1) for n, kind in enumerate(chosen))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=8)))
    parts = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

    async def run() -> None:
        server = Server(Echo())
        received, wire = await server.exchange(*parts)
        assert [status for status in statuses(received) if status != 100] == [200] * len(chosen)
        assert [path for _, path, _ in server.app.asked] == [f"/{n + 1}" for n in range(len(chosen))]
        assert not wire.is_over
        assert not wire.is_paused
        assert server.connections.held_bytes == 0

    asyncio.run(run())


async def test_a_long_body_is_no_head(server: Server) -> None:
    """The bytes of a body are not counted as the head that begins behind them."""
    second = get("/b")
    received, _ = await server.exchange(post(b"a" * 60_000) + second[:8], second[8:])
    assert bodies(received) == [b"/a:60000", b"/b:0"]


async def test_what_waits_is_bounded() -> None:
    """Of more requests than may wait the first ones are answered, and the last answer says that it is the last."""
    server = serving(pipelined_requests_max=3)
    received, wire = await server.exchange(b"".join(get(f"/{n}") for n in range(10)))
    assert bodies(received) == [b"/0:0", b"/1:0", b"/2:0", b"/3:0"]
    assert received.count(b"connection: close") == 1
    assert received.index(b"connection: close") > received.index(b"/2:0")
    assert wire.is_over


async def test_reading_stops_while_requests_wait() -> None:
    """While a request waits for its turn nothing more is read."""
    turn = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await turn.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = running(wait)
    _, wire = await server.exchange(get("/a") + get("/b"))
    assert wire.is_paused
    turn.set()
    await settle()
    assert statuses(wire.written) == [200, 200]
    assert not wire.is_paused


async def test_a_refusal_waits_for_its_turn() -> None:
    """Answers that are due come first, then the refusal of what came behind."""
    turn = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await turn.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = running(wait)
    received, wire = await server.exchange(get("/a") + get("/b") + b"nonsense\r\n\r\n" + get("/c"))
    assert received == b""
    turn.set()
    await settle()
    assert statuses(wire.written) == [200, 200, 400]
    assert wire.is_over


async def test_nothing_follows_the_last_request(server: Server) -> None:
    """Behind a request that closes the connection anything may come, and none of it is a request."""
    received, wire = await server.exchange(get("/a", "connection: close") + get("/b") + b"\0\0\0")
    assert bodies(received) == [b"/a:0"]
    assert wire.is_over


# ---- responses ----


def answering(*messages: dict[str, Any]) -> Any:
    """An application that sends these messages."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return answer


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The message that begins a response."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    """The message with a part of its body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


RESPONSES = {
    "in one piece": (
        [start(), piece(b"hello")],
        get("/a"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        False,
    ),
    "in one piece, for HEAD": (
        [start(200, (b"content-length", b"5")), piece(b"hello")],
        head("host: x", start="HEAD /a HTTP/1.1"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        False,
    ),
    "in pieces": (
        [start(), piece(b"hel", more=True), piece(b"", more=True), piece(b"lo")],
        get("/a"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        False,
    ),
    "in pieces, for HEAD": (
        [start(), piece(b"hel", more=True), piece(b"lo")],
        head("host: x", start="HEAD /a HTTP/1.1"),
        b"HTTP/1.1 200 OK\r\n\r\n",
        False,
    ),
    "in pieces, with a length": (
        [start(200, (b"content-length", b"5")), piece(b"hel", more=True), piece(b"lo")],
        get("/a"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        False,
    ),
    "in pieces, for HTTP/1.0": (
        [start(), piece(b"hel", more=True), piece(b"lo")],
        head(start="GET /a HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
        True,
    ),
    "kept, for HTTP/1.0": (
        [start(), piece(b"hello")],
        head("connection: keep-alive", start="GET /a HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
        False,
    ),
    "no content": ([start(204), piece(b"")], get("/a"), b"HTTP/1.1 204 No Content\r\n\r\n", False),
    "not modified": (
        [start(304, (b"etag", b'"a"')), piece(b"")],
        get("/a"),
        b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n',
        False,
    ),
    "the application's own end": (
        [start(200, (b"connection", b"close")), piece(b"hello")],
        get("/a"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        True,
    ),
    "the client's end": (
        [start(), piece(b"hello")],
        get("/a", "connection: close"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        True,
    ),
    "less than promised": (
        [start(200, (b"content-length", b"9")), piece(b"hello")],
        get("/a"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        True,
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_response_is_delimited(name: str) -> None:
    """Every response says where it ends, in the way that its client understands."""
    messages, sent, expected, ends = RESPONSES[name]
    received, wire = await running(answering(*messages)).exchange(sent)
    assert received == expected
    assert wire.is_over is ends


FIELDS: list[tuple[tuple[bytes, bytes], ...]] = [
    (),
    ((b"content-type", b"application/json"), (b"cache-control", b"no-store")),
    ((b"a", b"b"), (b"a", b"c")),
    ((b"connection", b"close"),),
    ((b"transfer-encoding", b"chunked"), (b"a", b"b")),
    ((b"content-length", b"5"),),
    ((b"a", b"b\r\nset-cookie: c"),),
    ((b"a\n", b"b"),),
]


@pytest.mark.parametrize("fields", FIELDS, ids=range(len(FIELDS)))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_response_in_one_call_is_the_same(
    fields: tuple[tuple[bytes, bytes], ...], method: str, version: str
) -> None:
    """`respond` sends what two calls of `send` do, and keeps or ends the connection as they do."""

    async def in_two(scope: Scope, receive: Receive, send: Send) -> None:
        length = [] if status in (204, 304) else [(b"content-length", b"5")]
        await send(start(status, *fields, (b"x-request-id", b"id"), *length))
        await send(piece(b"" if status in (204, 304) else b"hello"))

    async def in_one(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        assert exchange is not None
        if not exchange.respond(status, fields, b"id", b"" if status in (204, 304) else b"hello"):
            await in_two(scope, receive, send)

    for status, is_kept, is_draining in product((200, 204, 304, 404, 599), (False, True), (False, True)):
        sent = head(*["connection: keep-alive"] * is_kept, "host: x", start=f"{method} /a HTTP/{version}")
        told = []
        for application in (in_two, in_one):
            server = running(application)
            server.app.draining = is_draining
            received, wire = await server.exchange(sent)
            told.append((received, wire.is_over))
        assert told[0] == told[1], (status, is_kept, is_draining)


def test_what_stands_between_is_no_exchange() -> None:
    """An application that is handed other functions than an exchange's own has to use them."""
    exchange = Exchange({"type": "http"}, keeps_alive=True)

    async def send(message: Message) -> None:
        await exchange.send(message)

    assert exchange_of(exchange.send) is exchange_of(exchange.receive) is exchange
    assert exchange_of(send) is None
    assert exchange_of(partial(exchange.send)) is None


async def test_a_response_in_one_call_is_the_only_one() -> None:
    """Nothing can be sent behind it, nor it behind something."""

    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        assert exchange is not None
        assert exchange.respond(200, (), b"id", b"hello")
        assert not exchange.respond(200, (), b"id", b"again")
        with pytest.raises(RuntimeError):
            await send(start())

    received, wire = await running(twice).exchange(get("/a"))
    assert statuses(received) == [200]
    assert received.endswith(b"hello")
    assert not wire.is_over


async def test_a_body_is_taken_once() -> None:
    """By one call, or by the first `receive`; what comes next is that the client goes."""

    async def take(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(receive)
        assert exchange is not None
        if scope["path"] == "/receives":
            assert await receive() == {"type": "http.request", "body": b"hello", "more_body": False}
        else:
            assert exchange.take_body() == b"hello"
        assert exchange.take_body() == b""
        exchange.respond(200, (), b"id", b"hello")
        assert await receive() == {"type": "http.disconnect"}

    for path in ("/receives", "/takes"):
        received, _ = await running(take).exchange(post(b"hello", path=path))
        assert statuses(received) == [200]


async def test_who_is_called_when_a_client_goes_is_called_once_and_in_time() -> None:
    """`on_gone` is called when the client goes before the response is whole, and not afterwards."""
    gone: list[str] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(receive)
        assert exchange is not None
        exchange.on_gone = partial(gone.append, scope["path"])
        if scope["path"] == "/waits":
            await receive()
            await receive()
        else:
            exchange.on_gone = None
            exchange.respond(200, (), b"id", b"hello")

    for path in ("/waits", "/answers"):
        _, wire = await running(wait).exchange(get(path))
        wire.close()
        await settle()
        assert gone == ["/waits"]


BROKEN = {
    "an exception": None,
    "nothing": [],
    "a head alone": [start()],
    "a body alone": [piece(b"hello")],
    "two heads": [start(), start(), piece(b"hello")],
    "a line break in a header": [start(200, (b"a", b"b\r\nset-cookie: c")), piece(b"hello")],
    "a line break in a name": [start(200, (b"a\r\nb", b"c")), piece(b"hello")],
    "a zero byte in a header": [start(200, (b"a", b"b\0")), piece(b"hello")],
    "a length that is none": [start(200, (b"content-length", b"five")), piece(b"hello")],
    "more than promised": [start(200, (b"content-length", b"1")), piece(b"hello")],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_application_that_fails_is_a_500(name: str) -> None:
    """Where the application sends no response, the client gets one all the same, and the connection ends."""
    messages = BROKEN[name]

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    received, wire = await running(fail if messages is None else answering(*messages)).exchange(get("/a"))
    assert statuses(received) == [500]
    assert b"INTERNAL_SERVER_ERROR" in received
    assert b"set-cookie" not in received
    assert wire.is_over


@pytest.mark.parametrize("name", ["stops", "fails", "sends too much"])
async def test_a_response_that_breaks_off_is_seen(name: str) -> None:
    """A response that has begun and cannot be ended ends with the connection, so that nobody takes it for whole."""

    async def break_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"6")) if name == "sends too much" else start())
        await send(piece(b"hel", more=True))
        if name == "fails":
            raise ZeroDivisionError
        if name == "sends too much":
            await send(piece(b"lololo"))

    received, wire = await running(break_off).exchange(get("/a"))
    assert received.endswith(b"hel" if name == "sends too much" else b"3\r\nhel\r\n")
    assert wire.aborted


# ---- clocks ----

HEAD_OF_CHUNKS = head("host: x", "transfer-encoding: chunked")
HEAD, BODY, IDLE = "header_timeout_ms", "body_timeout_ms", "keep_alive_timeout_ms"
CLOCKS = {HEAD: 3000, BODY: 5000, IDLE: 9000}
# What is sent, what goes on being sent, the clock that ends it, the status of the answer to it.
HELD = {
    "nothing": (b"", b"", HEAD, None),
    "empty lines": (b"\r\n", b"\r\n", HEAD, None),
    "a part of a method": (b"PO", b"", HEAD, None),
    "a part of a head": (b"POST /a HTTP/1.1\r\nhost: ", b"x", HEAD, 408),
    "fields": (b"POST /a HTTP/1.1\r\n", b"a: b\r\n", HEAD, 408),
    "a head": (head("host: x", "content-length: 99"), b"", BODY, 408),
    "a head and a body": (head("host: x", "content-length: 99"), b"a", BODY, 408),
    "a head that offers HTTP/2": (head("host: x", "content-length: 99", *OFFER), b"a", BODY, 408),
    "chunks": (HEAD_OF_CHUNKS, b"1\r\na\r\n", BODY, 408),
    "an extension": (HEAD_OF_CHUNKS + b"1;", b"a", BODY, 408),
    "trailers": (HEAD_OF_CHUNKS + b"1\r\na\r\n0\r\n", b"a: b\r\n", BODY, 408),
    "a request": (get("/a"), b"", IDLE, None),
    "a request and a byte": (get("/a") + b"G", b"", HEAD, None),
    "a request and empty lines": (get("/a") + b"\r\n", b"\r\n", IDLE, None),
    "a request and a half": (get("/a") + get("/b")[:-2], b"a: b\r\n", HEAD, 408),
}


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
@pytest.mark.parametrize("name", HELD)
async def test_every_wait_has_an_end(name: str, drips: bool) -> None:
    """Whatever a connection has sent, and whether or not it goes on sending, it ends when its time is over."""
    sent, drip, clock, status = HELD[name]
    server = serving(**CLOCKS)
    wire = server.connect()
    before = len(await server.send(wire, sent))
    for _ in range(CLOCKS[clock] // 1000 - 1):
        await server.pass_time(250)
        await server.send(wire, *([drip] if drips and drip else []))
    assert not wire.is_over
    await server.pass_time(CLOCKS[clock])
    assert wire.is_over
    assert statuses(wire.written[before:]) == ([status] if status else [])
    await server.pass_time(2000)
    assert wire.closed


async def test_an_application_has_no_more_time_than_a_request() -> None:
    """An application that does not answer is stopped, and the client is told."""
    stopped = []

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            stopped.append(scope["path"])
            raise

    server = running(hang, request_timeout_ms=60_000)
    _, wire = await server.exchange(get("/a") + get("/b"))
    await server.pass_time(50_000)
    assert not wire.is_over
    await server.pass_time(10_000)
    assert statuses(wire.written) == [504]
    assert stopped == ["/a"]
    assert wire.is_over


async def test_a_stream_goes_on() -> None:
    """An answer that comes in pieces has no end but the application's, as long as the client reads."""
    more = asyncio.Queue[bytes]()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        while body := await more.get():
            await send(piece(body, more=True))
        await send(piece(b""))

    server = running(stream, request_timeout_ms=10_000)
    _, wire = await server.exchange(get("/a"))
    for _ in range(5):
        more.put_nowait(b"tick")
        await server.pass_time(9_000)
    assert wire.written.count(b"tick") == 5
    more.put_nowait(b"")
    await settle()
    assert wire.written.endswith(b"0\r\n\r\n")
    await server.pass_time(70_000)
    assert not wire.is_over
    await server.pass_time(10_000)
    assert wire.is_over


async def test_a_client_that_does_not_read_is_left() -> None:
    """An answer that nobody reads is given up in time, and with it the memory that it takes."""
    server = running(answering(start(), piece(b"a" * 1_000_000)), send_timeout_ms=5_000)
    wire = server.connect(reads=False)
    await server.send(wire, get("/a"))
    await server.pass_time(4_000)
    assert not wire.closed
    await server.pass_time(1_000)
    assert wire.aborted


async def test_a_client_that_reads_slowly_is_served() -> None:
    """Who reads a part in time gets all of it, even of the last answer on its connection."""
    server = running(answering(start(200, (b"connection", b"close")), piece(b"a" * 1_000_000)), send_timeout_ms=5_000)
    wire = server.connect(reads=False)
    await server.send(wire, get("/a"))
    for _ in range(14):
        await server.pass_time(3_000)
        assert not wire.closed
        wire.read(70_000)
    wire.read(1_000_000)
    await server.pass_time(10_000)
    assert wire.closed


async def test_a_client_that_does_not_read_sends_no_more() -> None:
    """While an answer waits for its reader no further request is read or begun."""
    server = running(answering(start(), piece(b"a" * 100_000)), send_timeout_ms=5_000)
    wire = server.connect(reads=False)
    await server.send(wire, get("/a") + get("/b"))
    assert len(statuses(wire.written)) == 1
    assert wire.is_paused
    wire.reads = True
    wire.read(1_000_000)
    await settle()
    assert len(statuses(wire.written)) == 2
    assert not wire.is_paused


async def test_an_application_waits_for_its_reader() -> None:
    """A stream is made no faster than it is read."""
    sent = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for n in range(20):
            await send(piece(b"a" * 50_000, more=True))
            sent.append(n)
        await send(piece(b""))

    server = running(stream)
    wire = server.connect(reads=False)
    await server.send(wire, get("/a"))
    assert len(sent) == 1
    while len(sent) < 20:
        before = len(sent)
        wire.read(1_000_000)
        await settle()
        assert len(sent) > before


async def test_a_client_that_goes_is_noticed() -> None:
    """An application that waits for it learns that its client has gone, and what it sends then goes nowhere."""
    told = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])
        told.append((await receive())["type"])
        await send(start())
        await send(piece(b"hello", more=True))
        await send(piece(b""))

    server = running(wait)
    _, wire = await server.exchange(get("/a"))
    assert told == ["http.request"]
    wire.close()
    await settle()
    assert told == ["http.request", "http.disconnect"]
    assert wire.written == b""
    assert len(server.connections) == 0


# ---- bytes ----


async def test_trailers_have_an_end(server: Server) -> None:
    """Trailer fields without end are counted, in number and in bytes."""
    begun = chunked(b"a")[:-2]
    for line in (b"a: b\r\n", b"a: " + b"b" * 200 + b"\r\n", b"b" * 1000):
        wire = server.connect()
        await server.send(wire, begun)
        for _ in range(1000):
            await server.send(wire, line * 10)
            if wire.is_over:
                break
        assert statuses(wire.written) == [431]
        assert server.app.asked == []


async def test_what_stands_beside_a_body_is_counted(server: Server) -> None:
    """Extensions of chunks are bounded by what the chunks carry; the smallest chunks are not."""
    start_of_chunks = head("host: x", "transfer-encoding: chunked")
    extension = b"1;" + b"a" * 1000 + b"\r\na\r\n"
    received, _ = await server.exchange(start_of_chunks, *[extension] * 100)
    assert statuses(received) == [431]
    received, _ = await server.exchange(start_of_chunks, *[b"1\r\na\r\n" * 100] * 300, b"0\r\n\r\n")
    assert bodies(received) == [b"/a:30000"]


async def test_halves_of_bodies_are_bounded_together() -> None:
    """Bodies that have not arrived whole may take so much of the process, and no more; what is whole does not count."""
    server = serving(held_bytes_max=100_000)
    half = post(b"a" * 60_000)[:-1]
    first, second = server.connect(), server.connect()
    assert await server.send(first, half) == b""
    assert statuses(await server.send(second, half)) == [503]
    assert statuses((await server.exchange(post(b"a" * 60_000)))[0]) == [200]
    assert statuses(await server.send(first, b"a")) == [200]
    assert server.connections.held_bytes == 0


async def test_bytes_behind_a_refusal_are_read_for_a_while_and_dropped(server: Server) -> None:
    """A client that is still sending can read why it was refused; one that never stops is cut off."""
    wire = server.connect()
    await server.send(wire, head("host: x", "content-length: 999999999"))
    assert statuses(wire.written) == [413]
    for _ in range(100):
        await server.send(wire, b"a" * 65_536)
    assert not wire.closed
    for _ in range(100):
        await server.send(wire, b"a" * 65_536)
    assert wire.aborted


# ---- how many ----


async def test_an_address_has_so_many_connections() -> None:
    """One address cannot take all places; what is too many is told and closed, and others come in."""
    server = serving(connections_per_address_max=3)
    wires = [server.connect("192.0.2.1") for _ in range(4)]
    assert [wire.closed for wire in wires] == [False, False, False, True]
    assert statuses(wires[3].written) == [503]
    other = server.connect("192.0.2.2")
    assert not other.closed
    wires[0].close()
    assert not server.connect("192.0.2.1").closed
    assert server.connect("192.0.2.1").closed
    assert server.connections.refused == 2


async def test_behind_proxies_addresses_do_not_count() -> None:
    """Where all clients come through a proxy its address says nothing."""
    server = Server(Echo(limits=Limits(connections_per_address_max=1), trusted_proxies=1))
    wires = [server.connect() for _ in range(5)]
    assert not any(wire.closed for wire in wires)


async def test_who_waits_longest_makes_room() -> None:
    """When all places are taken a new client gets that of the connection that has waited longest, never a request's."""
    turn = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await turn.wait()
        await send(start())
        await send(piece(b""))

    server = running(wait, connections_max=4)
    busy = server.connect()
    await server.send(busy, get("/a"))
    half_head, half_body, silent = (server.connect() for _ in range(3))
    await server.send(half_head, b"POST /a HT")
    await server.send(half_body, post(b"hello")[:-1])
    newcomers = [server.connect() for _ in range(3)]
    assert [wire.closed for wire in (busy, half_head, half_body, silent)] == [False, True, True, True]
    assert len(server.connections) == 4
    for wire in newcomers:
        await server.send(wire, get("/a"))
    assert server.connect().closed
    turn.set()
    await settle()
    assert statuses(busy.written) == [200]
    assert not server.connect().closed


# ---- the end of the server ----


async def test_a_server_that_drains_says_so() -> None:
    """While the process is about to end every answer closes its connection, and idle ones stay until then."""
    server = Server(Echo())
    idle = server.connect()
    server.app.draining = True
    received, wire = await server.exchange(get("/a"))
    assert b"connection: close\r\n" in received
    assert wire.is_over
    assert not idle.is_over
    assert statuses(await server.send(idle, get("/a"))) == [200]


async def test_a_server_that_stops_answers_what_it_has() -> None:
    """Requests under way get their answers, halves of them too; only connections without one end at once."""
    turn = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await turn.wait()
        await send(start())
        await send(piece(b""))

    server = running(wait)
    busy, half, idle = (server.connect() for _ in range(3))
    await server.send(busy, get("/a"))
    await server.send(half, get("/a")[:-2])
    for connection in list(server.state.connections):
        connection.shutdown()
    await settle()
    assert [wire.is_over for wire in (busy, half, idle)] == [False, False, True]
    await server.send(half, b"\r\n")
    turn.set()
    await settle()
    for wire in (busy, half):
        assert statuses(wire.written) == [200]
        assert b"connection: close\r\n" in wire.written
        assert wire.is_over


async def test_a_request_that_is_stopped_is_a_503() -> None:
    """A server that has waited long enough cancels what runs; the client may try elsewhere."""

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().create_future()

    server = running(hang)
    _, wire = await server.exchange(get("/a"))
    for task in server.state.tasks:
        task.cancel()
    await settle()
    assert statuses(wire.written) == [503]
    assert server.app.refused[0].code is ErrorCode.OVERLOADED
    assert wire.is_over


# ---- anything ----


def test_any_bytes_are_survived() -> None:
    """Damaged requests, cut anywhere, never raise, and leave nothing behind when the connection is over."""
    seed = 20_261_127
    chance = random.Random(seed)
    whole = [sent for sent, _ in SERVED.values()] + [sent for sent, _ in REFUSED.values() if len(sent) < 2000]

    async def run(round_number: int) -> None:
        server = Server(Echo())
        sent = bytearray(b"".join(chance.choices(whole, k=chance.randint(1, 4))))
        for _ in range(chance.randint(0, 6)):
            place = chance.randrange(len(sent))
            sent[place : place + chance.randint(0, 3)] = chance.choice(
                [b"\r\n", b"\n", b"\0", b":", b" ", b"0", b"\xff", bytes(sent[:40]), b"", b"chunked", b"\r\n\r\n"]
            )
        wire = server.connect()
        place = 0
        while place < len(sent):
            step = chance.randint(1, len(sent))
            await server.send(wire, bytes(sent[place : place + step]))
            place += step
        found = [status for status in statuses(wire.written) if status != 100]
        assert found.count(200) == len(server.app.asked), f"seed {seed}, round {round_number}"
        assert set(found[:-1]) <= {200}, f"seed {seed}, round {round_number}: {found}"
        await server.pass_time(200_000)
        assert wire.closed, f"seed {seed}, round {round_number}"
        assert len(server.connections) == 0
        assert server.connections.held_bytes == 0

    async def all_rounds() -> None:
        for round_number in range(60):
            await run(round_number)

    asyncio.run(all_rounds())
