"""Transports: HTTP against a real server on the loopback, and schemas in the same process."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import strawberry
from graphql import build_schema

from router.errors import ErrorCode, SubgraphError
from router.executor.httpx import HttpxTransport
from router.executor.local import LocalTransport
from router.executor.transport import SubgraphRequest, SubgraphResponse

REQUEST = SubgraphRequest(
    subgraph="users",
    kind="query",
    operation="query ($id: ID) { user(id: $id) }",
    variables={"id": 10**30, "text": "ü"},
    headers={"authorization": "Bearer x", "cookie": "secret"},
)

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(respond: Respond) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads requests and hands them to `respond`; yields its URL and what it read."""
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
                seen.append(head + body)
                await respond(head + body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/graphql", seen


def reply(body: bytes, *, status: str = "200 OK", content_type: str = "application/json", extra: str = "") -> Respond:
    """Always the same response."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return respond


async def send(respond: Respond, **options: Any) -> tuple[SubgraphResponse, list[bytes]]:
    async with server(respond) as (url, seen):
        transport = HttpxTransport(url, headers={"x-router-secret": "s"}, **options)
        try:
            return await transport.send(REQUEST), seen
        finally:
            await transport.close()


async def test_request_carries_operation_variables_and_chosen_headers() -> None:
    """Variables arrive exactly, integers of any size too; of the client's headers only those that may go on."""
    response, seen = await send(reply(b'{"data": {}}'))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert response.body == b'{"data": {}}'
    assert b'"id":1000000000000000000000000000000' in body
    assert "ü".encode() in body
    assert b"authorization: bearer x" in head.lower()
    assert b"x-router-secret: s" in head.lower()
    assert b"cookie" not in head.lower()


async def test_connection_is_kept_alive() -> None:
    """Two requests in a row use one connection."""
    connections = set()

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        connections.add(writer.get_extra_info("peername"))
        await reply(b'{"data": {}}')(request, writer)

    async with server(respond) as (url, _):
        transport = HttpxTransport(url)
        await transport.send(REQUEST)
        await transport.send(REQUEST)
        await transport.close()
    assert len(connections) == 1


async def test_compressed_responses_are_read() -> None:
    """A gzip body is decoded."""
    body = gzip.compress(b'{"data": {"user": 1}}')
    response, _ = await send(reply(body, extra="content-encoding: gzip\r\n"))
    assert response.body == b'{"data": {"user": 1}}'


async def test_graphql_errors_are_read_whatever_the_status() -> None:
    """A JSON body with errors is the subgraph's answer, also under status 400."""
    body = orjson.dumps({"errors": [{"message": "No."}]})
    response, _ = await send(reply(body, status="400 Bad Request", content_type="application/graphql-response+json"))
    assert response.payload == {"errors": [{"message": "No."}]}


FAILURES: list[tuple[Respond, dict[str, int], ErrorCode]] = [
    (reply(b"<html>", content_type="text/html"), {}, ErrorCode.SUBGRAPH_RESPONSE_MALFORMED),
    (reply(b"<html>", content_type="text/html", status="502 Bad Gateway"), {}, ErrorCode.SUBGRAPH_HTTP_ERROR),
    (reply(b"{}", status="500 Internal Server Error"), {}, ErrorCode.SUBGRAPH_HTTP_ERROR),
    (reply(b"", status="307 Temporary Redirect", extra="location: /x\r\n"), {}, ErrorCode.SUBGRAPH_HTTP_ERROR),
    (reply(b"x" * 10_001), {"response_bytes_max": 10_000}, ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE),
    (
        reply(gzip.compress(b" " * 5_000_000), extra="content-encoding: gzip\r\n"),
        {"response_bytes_max": 100_000},
        ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE,
    ),
]


@pytest.mark.parametrize(("respond", "options", "code"), FAILURES)
async def test_responses_that_are_no_answer(respond: Respond, options: dict[str, int], code: ErrorCode) -> None:
    """HTML, error statuses, redirects and bodies beyond the limit fail the fetch with a code and no address."""
    with pytest.raises(SubgraphError) as failure:
        await send(respond, **options)
    assert failure.value.code is code
    assert "127.0.0.1" not in str(failure.value)


async def test_half_a_body_is_unreachable() -> None:
    """A connection that ends before the body does is an error, never a short answer."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"data')
        await writer.drain()
        writer.close()

    with pytest.raises(SubgraphError) as failure:
        await send(respond)
    assert failure.value.code is ErrorCode.SUBGRAPH_UNREACHABLE


async def test_silence_is_a_timeout() -> None:
    """A subgraph that takes the request and says nothing ends with the timeout."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SubgraphError) as failure:
        await send(respond, timeout_ms=50)
    assert failure.value.code is ErrorCode.SUBGRAPH_TIMEOUT


async def test_nobody_listens() -> None:
    """A refused connection is an unreachable subgraph."""
    async with server(reply(b"")) as (url, _):
        pass
    transport = HttpxTransport(url)
    with pytest.raises(SubgraphError) as failure:
        await transport.send(REQUEST)
    await transport.close()
    assert failure.value.code is ErrorCode.SUBGRAPH_UNREACHABLE


# ---- in memory ----


async def test_local_graphql_core_schema() -> None:
    """A graphql-core schema gets the request as its context; its errors keep message and path."""
    schema = build_schema("type Query { user(id: ID): String fails: Int }")
    assert schema.query_type is not None
    schema.query_type.fields["user"].resolve = lambda _, info, id: f"{info.context.headers['authorization']} {id}"
    schema.query_type.fields["fails"].resolve = lambda *_: 1 / 0
    request = SubgraphRequest(
        "users", "query", "query ($id: ID) { user(id: $id) fails }", {"id": "7"}, headers={"authorization": "me"}
    )
    response = await LocalTransport(schema).send(request)
    assert response.payload == {
        "data": {"user": "me 7", "fails": None},
        "errors": [{"message": "division by zero", "locations": [{"line": 1, "column": 33}], "path": ["fails"]}],
    }


async def test_local_strawberry_schema() -> None:
    """A Strawberry schema is executed the same way, with a context of the caller's making."""

    @strawberry.type
    class Query:
        @strawberry.field
        async def user(self, info: strawberry.Info, id: str) -> str:
            return f"{info.context['token']} {id}"

    schema = strawberry.Schema(query=Query)
    transport = LocalTransport(schema, context_factory=lambda request: {"token": request.headers["authorization"]})
    request = SubgraphRequest("users", "query", '{ user(id: "7") }', headers={"authorization": "me"})
    assert (await transport.send(request)).payload == {"data": {"user": "me 7"}}


async def test_local_timeout() -> None:
    """A schema that never answers ends with the timeout."""
    schema = build_schema("type Query { user: String }")
    assert schema.query_type is not None

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    schema.query_type.fields["user"].resolve = never
    with pytest.raises(SubgraphError) as failure:
        await LocalTransport(schema, timeout_ms=20).send(SubgraphRequest("users", "query", "{ user }"))
    assert failure.value.code is ErrorCode.SUBGRAPH_TIMEOUT
