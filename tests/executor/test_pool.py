"""The pooled transport: when a connection is used again, how many there are, and what a response can be made of."""

import asyncio
import gc
import gzip
import socket
import ssl
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.executor.peers import Respond, reply, server
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor import pool
from trifolio.executor.connection import Connection
from trifolio.executor.httpx import HttpxTransport
from trifolio.executor.pool import PooledTransport, _default_tls
from trifolio.executor.transport import SubgraphRequest

QUERY = SubgraphRequest("users", "query", "{ me }", headers={"authorization": "Bearer x"})
MUTATION = replace(QUERY, kind="mutation", operation="mutation { change }")
BODY = b'{"data": {"me": 1}}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WHOLE = OK + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


@asynccontextmanager
async def pooled(url: str, **options: Any) -> AsyncIterator[PooledTransport]:
    """A transport that is closed at the end."""
    transport = PooledTransport(url, **options)
    try:
        yield transport
    finally:
        await transport.close()


def raw(*parts: bytes, then_close: bool = False) -> Respond:
    """Sends these bytes, each in a packet of its own as far as the peer lets it."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if then_close:
            writer.close()

    return respond


class Connections:
    """A subgraph that answers as `respond` does, and counts connections: all of them, and the most at once."""

    def __init__(self, respond: Callable[[int], Respond]) -> None:
        self._respond = respond
        self._seen: dict[Any, int] = {}
        self.requests = 0
        self.busy = self.most_busy = 0

    @property
    def opened(self) -> int:
        """How many connections brought a request."""
        return len(self._seen)

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        """Answers one request; `respond` is told which of its connection it is."""
        peer = writer.get_extra_info("peername")
        self._seen[peer] = self._seen.get(peer, 0) + 1
        self.requests += 1
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        await self._respond(self._seen[peer])(request, writer)
        self.busy -= 1


async def code_of(sending: Awaitable[object]) -> ErrorCode | None:
    """The code of the error that it ends with, or None."""
    try:
        await sending
    except SubgraphError as error:
        failure = error
    else:
        return None
    assert "127.0.0.1" not in str(failure), "clients are not told addresses"
    return failure.code


# ---- what a response can be made of ----

COMPRESSED = gzip.compress(BODY, mtime=0)
CHUNKED = b"13\r\n" + BODY + b"\r\n0\r\n"
RESPONSES: dict[str, bytes] = {
    "a length": WHOLE,
    "no body's bytes": OK + b"content-length: 0\r\n\r\n",
    "chunks": OK + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED + b"\r\n",
    "chunks of one byte": OK
    + b"transfer-encoding: chunked\r\n\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    + b"0\r\n\r\n",
    "trailers": OK + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED + b"content-type: text/html\r\n\r\n",
    "early hints before it": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + WHOLE,
    "a header without a value": OK + b"x-empty:\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY,
    "gzip": OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(COMPRESSED) + COMPRESSED,
    "an error status": b"HTTP/1.1 503 Busy\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nno",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "two lengths": OK + b"content-length: 19\r\ncontent-length: 18\r\n\r\n" + BODY,
    "a bad chunk": OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
    "an end in the head": OK,
    "an end in the body": WHOLE[:-3],
    "an end in the chunks": OK + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED[:-5],
    "an end that ends it": OK + b"\r\n" + BODY,
    "early hints alone": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
    "a transfer coding that nobody asked for": OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNKED + b"\r\n",
    "a redirect in a coding that nobody asked for": b"HTTP/1.1 301 Moved\r\ncontent-encoding: br\r\n"
    b"location: /\r\ncontent-length: 1\r\n\r\nx",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "byte by byte"])
async def test_a_response_means_what_it_means_to_httpx(name: str, in_pieces: bool) -> None:
    """However a response is framed and cut, both clients see the same answer, or fail with the same code."""
    response = RESPONSES[name]
    parts = [response[at : at + 1] for at in range(len(response))] if in_pieces else [response]
    outcomes: list[tuple[object, ...]] = []
    for kind in (PooledTransport, HttpxTransport):
        async with server(raw(*parts, then_close=True)) as (url, _):
            transport = kind(url)
            try:
                answer = await transport.send(QUERY)
                outcomes.append((answer.body, answer.payload, answer.headers.get("content-type")))
            except SubgraphError as error:
                outcomes.append((error.code, str(error), None))
            await transport.close()
    assert outcomes[0] == outcomes[1]


async def test_a_response_with_two_framings_is_refused() -> None:
    """A length beside chunks is how one response is passed off as two (RFC 9112, section 6.1)."""
    both = OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED + b"\r\n"
    async with server(raw(both)) as (url, _), pooled(url) as transport:
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_RESPONSE_MALFORMED


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY[:5], mtime=0) + gzip.compress(BODY[5:], mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY, wbits=-15)),
        ("identity", BODY),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY), mtime=0)),
    ],
)
async def test_content_codings(coding: str, body: bytes) -> None:
    """What was asked for is read, several members and several codings too."""
    async with server(reply(body, extra=f"content-encoding: {coding}\r\n")) as (url, _), pooled(url) as transport:
        assert (await transport.send(QUERY)).body == BODY


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)[:-4]),
        ("gzip", b"no gzip"),
        ("deflate", b"?"),
        ("br", b"x"),
        ("gzip", gzip.compress(b"", mtime=0) * 100_000),
        ("gzip, gzip, gzip, gzip", BODY),
    ],
)
async def test_unreadable_content_codings(coding: str, body: bytes) -> None:
    """A body that ends too early, is something else, is coded as nobody asked or in far too many parts is no answer."""
    async with server(reply(body, extra=f"content-encoding: {coding}\r\n")) as (url, _), pooled(url) as transport:
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_RESPONSE_MALFORMED


@pytest.mark.parametrize("body", [b"x" * 2_000, b"{}"], ids=["too large", "whole"])
async def test_a_connection_that_has_ended_leaves_nothing(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is given back at once, not when garbage is looked for, and a connection that is kept keeps none."""
    made: list[weakref.ref[Connection]] = []

    def make(*arguments: Any, **options: Any) -> Connection:
        connection = Connection(*arguments, **options)
        made.append(weakref.ref(connection))
        return connection

    monkeypatch.setattr(pool, "Connection", make)
    gc.collect()
    gc.disable()
    try:
        async with server(reply(body)) as (url, _):
            async with pooled(url, response_bytes_max=1_000) as transport:
                code = None
                try:
                    await transport.send(QUERY)
                except SubgraphError as error:
                    code = error.code
                assert code is (ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE if len(body) > 1_000 else None)
                kept = [each() for each in made]
                assert [each._body for each in kept if each is not None] in ([], [b""])
                del kept
            for _ in range(20):
                await asyncio.sleep(0)
            assert [each() for each in made] == [None]
    finally:
        gc.enable()


async def test_endless_headers_are_too_large() -> None:
    """A head that does not end is given up at its limit."""
    endless = raw(OK, *(b"x-%d: %s\r\n" % (number, b"x" * 1_000) for number in range(50)))
    async with server(endless) as (url, _), pooled(url, header_bytes_max=20_000) as transport:
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE


@pytest.mark.parametrize("beside", [b"x: " + b"y" * 1_000, b"x: y\r\n" * 100], ids=["one trailer", "many trailers"])
async def test_endless_trailers_are_too_large(beside: bytes) -> None:
    """What follows a body is bounded as what precedes it."""
    endless = raw(OK + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED, *[beside] * 50)
    async with server(endless) as (url, _), pooled(url, header_bytes_max=20_000) as transport:
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE


# ---- which connection ----


@pytest.mark.parametrize(
    ("first", "connections"),
    [
        (WHOLE, 1),
        (WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), 2),
        (WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), 2),
        (WHOLE + b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nanother", 2),
        (WHOLE + b"surplus", 2),
    ],
    ids=["kept", "closed", "HTTP/1.0", "another response", "surplus"],
)
async def test_when_a_connection_is_used_again(first: bytes, connections: int) -> None:
    """Only after a whole response that leaves it open and has nothing behind it; the next answer is always its own."""
    own = b'{"data": {"me": 2}}'
    peer = Connections(lambda number: raw(first) if peer.requests == 1 else reply(own))
    async with server(peer) as (url, _), pooled(url) as transport:
        assert (await transport.send(QUERY)).body == BODY
        assert (await transport.send(QUERY)).body == own
    assert peer.opened == connections


async def test_what_claims_to_have_no_body_is_the_last_on_its_connection() -> None:
    """After 204 the connection is not used again: a body that comes all the same is no answer to the next request."""
    peer = Connections(lambda _: raw(b"HTTP/1.1 204 No Content\r\n\r\n") if peer.requests == 1 else raw(WHOLE))
    async with server(peer) as (url, _), pooled(url) as transport:
        assert (await transport.send(QUERY)).body == b""
        assert (await transport.send(QUERY)).body == BODY
    assert peer.opened == 2


async def test_an_answer_before_the_request_is_sent_whole() -> None:
    """The rest of a large request is not in the way of the next: that goes out on another connection."""
    connections = 0

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE)
        await writer.drain()
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    listening = await asyncio.start_server(hasty, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with listening, pooled(url) as transport:
        large = replace(QUERY, variables={"text": "x" * 20_000_000})
        assert (await transport.send(large)).body == BODY
        assert (await transport.send(QUERY)).body == BODY
        gone.set()
    assert connections == 2


async def test_an_idle_connection_grows_too_old() -> None:
    """What was unused for longer than the limit is not used again."""
    peer = Connections(lambda _: raw(WHOLE))
    async with server(peer) as (url, _), pooled(url, idle_timeout_ms=-1) as transport:
        await transport.send(QUERY)
        await transport.send(QUERY)
    assert peer.opened == 2


async def test_there_are_never_more_connections_than_allowed() -> None:
    """Requests beyond the limit wait for their turn, and all are answered."""
    peer = Connections(lambda _: raw(b"", b"", b"", WHOLE))
    async with server(peer) as (url, _), pooled(url, connections_max=3) as transport:
        answers = await asyncio.gather(*(transport.send(QUERY) for _ in range(20)))
    assert {answer.body for answer in answers} == {BODY}
    assert (peer.opened, peer.most_busy) == (3, 3)


async def test_a_place_is_handed_on_when_a_connection_ends() -> None:
    """Who waits gets the place of a connection that is not kept."""
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    peer = Connections(lambda _: raw(b"", closing))
    async with server(peer) as (url, _), pooled(url, connections_max=2) as transport:
        await asyncio.gather(*(transport.send(QUERY) for _ in range(7)))
    assert (peer.opened, peer.most_busy) == (7, 2)


async def test_waiting_for_a_turn_is_part_of_the_timeout() -> None:
    """A request that gets no connection in time fails, and takes no place with it."""
    gate = asyncio.Event()

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await raw(WHOLE)(request, writer)

    async with server(respond) as (url, seen), pooled(url, connections_max=1, timeout_ms=500) as transport:
        codes = await asyncio.gather(*(code_of(transport.send(QUERY)) for _ in range(3)))
        assert codes == [ErrorCode.SUBGRAPH_TIMEOUT] * 3
        assert len(seen) == 1
        gate.set()
        assert (await transport.send(QUERY)).body == BODY


@pytest.mark.parametrize("cancelled", ["busy", "waiting"])
async def test_a_caller_that_gives_up_leaves_a_working_pool(cancelled: str) -> None:
    """Cancelled in the middle of a response or in the queue: the next request gets its own answer."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE[:-5])
        asked.set()
        await gate.wait()
        writer.write(WHOLE[-5:])
        await writer.drain()

    async with server(respond) as (url, _), pooled(url, connections_max=1) as transport:
        busy = asyncio.create_task(transport.send(QUERY))
        await asked.wait()
        waiting = asyncio.create_task(transport.send(QUERY))
        await asyncio.sleep(0)
        given_up, kept = (busy, waiting) if cancelled == "busy" else (waiting, busy)
        given_up.cancel()
        gate.set()
        assert (await kept).body == BODY
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await transport.send(QUERY)).body == BODY


async def test_many_callers_that_give_up_lose_no_place() -> None:
    """Whatever moment a caller is cancelled at, the pool has all its places afterwards."""
    async with server(raw(WHOLE)) as (url, _), pooled(url, connections_max=2) as transport:
        for rounds in range(40):
            tasks = [asyncio.create_task(transport.send(QUERY)) for _ in range(6)]
            for _ in range(rounds):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            unexpected = [each for each in outcomes[1::2] if isinstance(each, BaseException)]
            assert unexpected == [], f"after {rounds} rounds of the loop"
        assert all(answer.body == BODY for answer in await asyncio.gather(*(transport.send(QUERY) for _ in range(4))))


# ---- connections that the peer closed ----


@pytest.mark.parametrize(("request_", "code", "requests"), [(QUERY, None, 3), (MUTATION, "unreachable", 2)])
async def test_a_request_on_a_closed_connection(request_: SubgraphRequest, code: str | None, requests: int) -> None:
    """A kept connection that ends without a byte: a query is sent again on a new one, a mutation is not."""
    peer = Connections(lambda number: raw(WHOLE) if number == 1 else raw(then_close=True))
    async with server(peer) as (url, _), pooled(url) as transport:
        await transport.send(QUERY)
        wanted = None if code is None else ErrorCode.SUBGRAPH_UNREACHABLE
        assert await code_of(transport.send(request_)) is wanted
    assert peer.requests == requests


@pytest.mark.parametrize("connections_max", [1, 3])
async def test_no_query_is_sent_more_than_twice(connections_max: int) -> None:
    """However often it meets a closed connection, its second attempt is the last, and on a new one."""
    peer = Connections(lambda number: raw(WHOLE) if number == 1 else raw(then_close=True))
    async with server(peer) as (url, seen), pooled(url, connections_max=connections_max) as transport:
        queries = [replace(QUERY, operation=f"query Q{number} {{ me }}") for number in range(30)]
        codes = await asyncio.gather(*(code_of(transport.send(query)) for query in queries))
    sent = [sum(query.operation.encode() in request for request in seen) for query in queries]
    assert (set(codes), max(sent)) == ({None}, 2)


async def test_a_fresh_connection_that_is_closed_is_not_asked_again() -> None:
    """A subgraph that hangs up on everybody is unreachable, after one request."""
    peer = Connections(lambda _: raw(then_close=True))
    async with server(peer) as (url, _), pooled(url) as transport:
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_UNREACHABLE
    assert peer.requests == 1


async def test_a_connection_closed_while_idle_is_not_used() -> None:
    """A mutation after the peer's goodbye goes out on a new connection."""
    peer = Connections(lambda number: raw(WHOLE, then_close=number == 1))
    async with server(peer) as (url, _), pooled(url) as transport:
        await transport.send(QUERY)
        while transport._pool.idle:  # noqa: ASYNC110  # until the goodbye has arrived, which nothing tells of
            await asyncio.sleep(0)
        assert await code_of(transport.send(MUTATION)) is None
    assert peer.opened == 2


async def test_a_closed_transport_sends_nothing() -> None:
    """What is under way fails when it is closed, and so does what comes later."""
    asked = asyncio.Event()

    async def respond(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with server(respond) as (url, _):
        transport = PooledTransport(url)
        sending = asyncio.create_task(code_of(transport.send(QUERY)))
        await asked.wait()
        await transport.close()
        assert await sending is ErrorCode.SUBGRAPH_UNREACHABLE
        assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_UNREACHABLE


async def test_closing_while_connecting_sends_nothing() -> None:
    """A connection that is there only after the end is not used."""
    async with server(raw(WHOLE)) as (url, seen):
        transport = PooledTransport(url)
        sending = asyncio.create_task(code_of(transport.send(MUTATION)))
        await asyncio.sleep(0)
        await transport.close()
        assert await sending is ErrorCode.SUBGRAPH_UNREACHABLE
    assert seen == []


async def test_closing_makes_no_response_whole() -> None:
    """A body that ends with the connection is cut, and no answer, where this side ended it."""
    begun = asyncio.Event()

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n" + BODY)
        await writer.drain()
        begun.set()
        await asyncio.Event().wait()

    async with server(respond) as (url, _):
        transport = PooledTransport(url)
        sending = asyncio.create_task(code_of(transport.send(QUERY)))
        await begun.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        await transport.close()
        assert await sending is ErrorCode.SUBGRAPH_UNREACHABLE


async def test_connecting_has_a_timeout_of_its_own() -> None:
    """A host that takes no connection is given up before the whole request would be."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        async with pooled(f"http://127.0.0.1:{address[1]}/", connect_timeout_ms=50) as transport:
            assert await code_of(transport.send(QUERY)) is ErrorCode.SUBGRAPH_TIMEOUT
        for each in waiting:
            each.close()


# ---- what is sent ----


async def test_the_request_is_plain_http() -> None:
    """Target, host and headers as the URL and the configuration have them; a URL's user becomes credentials."""
    theirs = {"x-own": "theirs", "accept": "text/html", "authorization": "theirs"}
    async with server(raw(WHOLE)) as (url, seen):
        port = url.rpartition(":")[2].partition("/")[0]
        address = f"http://me:p%40ss@127.0.0.1:{port}/a b/graphql?x=1&y=ü"
        async with pooled(address, headers={"X-Own": "1"}, forward_headers=tuple(theirs)) as transport:
            await transport.send(replace(QUERY, headers=theirs))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b/graphql?x=1&y=%C3%BC HTTP/1.1"
    assert sorted(lines[1:]) == [
        "accept-encoding: gzip, deflate",
        "accept: application/graphql-response+json, application/json;q=0.9",
        "authorization: Basic bWU6cEBzcw==",
        f"content-length: {len(body)}",
        "content-type: application/json",
        f"host: 127.0.0.1:{port}",
        "x-own: 1",
    ]


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\nb", "a\0b"])
async def test_no_header_of_a_client_adds_a_line(value: str) -> None:
    """A forwarded value that would end its line is not sent."""
    async with server(raw(WHOLE)) as (url, seen), pooled(url) as transport:
        code = await code_of(transport.send(replace(QUERY, headers={"authorization": value})))
    assert (code, seen) == (ErrorCode.SUBGRAPH_UNREACHABLE, [])


async def test_a_clients_bytes_go_on_as_they_came() -> None:
    """A header outside ASCII is forwarded with the bytes that the server read; other text in UTF-8."""
    async with server(raw(WHOLE)) as (url, seen), pooled(url, forward_headers=("X-Name", "x-city")) as transport:
        await transport.send(replace(QUERY, headers={"x-name": "J\xfcrg", "x-city": "日本"}))
    assert b"x-name: J\xfcrg\r\n" in seen[0]
    assert "x-city: 日本\r\n".encode() in seen[0]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://host/", {}),
        ("http:///graphql", {}),
        ("http://host:port/", {}),
        ("http://a..b/", {}),
        ("http://a b/", {}),
        (f"http://{'a' * 64}.example/", {}),
        ("http://host\\@elsewhere/", {}),
        ("http://[fe80::1%25lo]/", {}),
        ("http://host/", {"headers": {"x y": "1"}}),
        ("http://host/", {"headers": {"x": "a\r\nb"}}),
        ("http://host/", {"forward_headers": ("content-length",)}),
        ("http://host/", {"forward_headers": ("Host",)}),
        ("http://host/", {"forward_headers": ("keep-alive",)}),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    """URLs that are none, and headers that are none or are the transport's own."""
    with pytest.raises(ValueError):  # noqa: PT011  # each kind has its words
        PooledTransport(url, **options)


@pytest.mark.parametrize("kind", [PooledTransport, HttpxTransport])
async def test_a_password_in_a_url_is_not_logged(kind: type[PooledTransport] | type[HttpxTransport]) -> None:
    """What a log shows of a subgraph that cannot be reached is its address, without the user."""
    transport = kind("http://me:secret@127.0.0.1:1/graphql")
    with pytest.raises(SubgraphError) as caught:
        await transport.send(QUERY)
    await transport.close()
    assert str(caught.value.internal).count("http://127.0.0.1:1/graphql") == 1
    assert "secret" not in str(caught.value.internal)


@pytest.mark.parametrize("url", ["ftp://me:secret@host/", "http://me:sec/ret@host/", "http://me:secret@a b/"])
def test_a_password_in_a_refused_url_is_not_shown(url: str) -> None:
    """The reason does not repeat the URL."""
    with pytest.raises(ValueError, match="its URL") as caught:
        PooledTransport(url)
    assert "sec" not in str(caught.value)


# ---- TLS ----


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def trust() -> Iterator[None]:
    """What is trusted is read again for this test, and for the next."""
    _default_tls.cache_clear()
    yield
    _default_tls.cache_clear()


@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_certificates_are_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool) -> None:
    """A subgraph that shows a trusted certificate is asked, any other is told nothing."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with server(raw(WHOLE), tls=tls) as (url, seen), pooled(url) as transport:
        code = await code_of(transport.send(QUERY))
        assert code is (None if is_trusted else ErrorCode.SUBGRAPH_UNREACHABLE)
        if is_trusted:
            await transport.send(QUERY)
    assert len(seen) == (2 if is_trusted else 0)
