"""Transports: HTTP against a real server on the loopback, by either client, and schemas in the same process."""

import asyncio
import copy
import gzip
from typing import Any

import orjson
import pytest
import strawberry
from graphql import build_schema

from tests.executor.peers import Respond, reply, server
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.httpx import HttpxTransport
from trifolio.executor.local import LocalContext, LocalTransport
from trifolio.executor.pool import PooledTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse

REQUEST = SubgraphRequest(
    subgraph="users",
    kind="query",
    operation="query ($id: ID) { user(id: $id) }",
    variables={"id": 10**30, "text": "ü"},
    headers={"authorization": "Bearer x", "cookie": "secret"},
)

Http = type[HttpxTransport] | type[PooledTransport]


@pytest.fixture(params=[HttpxTransport, PooledTransport], ids=["httpx", "pooled"])
def http(request: pytest.FixtureRequest) -> Http:
    """The two ways over HTTP, which keep the same promises."""
    kind: Http = request.param
    return kind


async def send(http: Http, respond: Respond, **options: Any) -> tuple[SubgraphResponse, list[bytes]]:
    async with server(respond) as (url, seen):
        transport = http(url, headers={"x-router-secret": "s"}, **options)
        try:
            return await transport.send(REQUEST), seen
        finally:
            await transport.close()


async def test_request_carries_operation_variables_and_chosen_headers(http: Http) -> None:
    """Variables arrive exactly, integers of any size too; of the client's headers only those that may go on."""
    response, seen = await send(http, reply(b'{"data": {}}'))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert response.body == b'{"data": {}}'
    assert b'"id":1000000000000000000000000000000' in body
    assert "ü".encode() in body
    assert b"authorization: bearer x" in head.lower()
    assert b"x-router-secret: s" in head.lower()
    assert b"cookie" not in head.lower()


async def test_connection_is_kept_alive(http: Http) -> None:
    """Two requests in a row use one connection."""
    connections = set()

    async def respond(request: bytes, writer: asyncio.StreamWriter) -> None:
        connections.add(writer.get_extra_info("peername"))
        await reply(b'{"data": {}}')(request, writer)

    async with server(respond) as (url, _):
        transport = http(url)
        await transport.send(REQUEST)
        await transport.send(REQUEST)
        await transport.close()
    assert len(connections) == 1


async def test_compressed_responses_are_read(http: Http) -> None:
    """A gzip body is decoded."""
    body = gzip.compress(b'{"data": {"user": 1}}')
    response, _ = await send(http, reply(body, extra="content-encoding: gzip\r\n"))
    assert response.body == b'{"data": {"user": 1}}'


async def test_graphql_errors_are_read_whatever_the_status(http: Http) -> None:
    """A JSON body with errors is the subgraph's answer, also under status 400."""
    body = orjson.dumps({"errors": [{"message": "No."}]})
    response, _ = await send(
        http, reply(body, status="400 Bad Request", content_type="application/graphql-response+json")
    )
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
async def test_responses_that_are_no_answer(
    http: Http, respond: Respond, options: dict[str, int], code: ErrorCode
) -> None:
    """HTML, error statuses, redirects and bodies beyond the limit fail the fetch with a code and no address."""
    with pytest.raises(SubgraphError) as failure:
        await send(http, respond, **options)
    assert failure.value.code is code
    assert "127.0.0.1" not in str(failure.value)


async def test_half_a_body_is_malformed(http: Http) -> None:
    """A connection that ends before the body does is an error, never a short answer."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"data')
        await writer.drain()
        writer.close()

    with pytest.raises(SubgraphError) as failure:
        await send(http, respond)
    assert failure.value.code is ErrorCode.SUBGRAPH_RESPONSE_MALFORMED


async def test_silence_is_a_timeout(http: Http) -> None:
    """A subgraph that takes the request and says nothing ends with the timeout."""

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SubgraphError) as failure:
        await send(http, respond, timeout_ms=50)
    assert failure.value.code is ErrorCode.SUBGRAPH_TIMEOUT


async def test_nobody_listens(http: Http) -> None:
    """A refused connection is an unreachable subgraph."""
    async with server(reply(b"")) as (url, _):
        pass
    transport = http(url)
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


async def test_a_resolver_finds_the_request_in_memory_as_behind_http() -> None:
    """Without a context factory, `info.context["request"].headers` has the client's headers, names in any case."""

    @strawberry.type
    class Query:
        @strawberry.field
        def seen(self, info: strawberry.Info) -> list[str]:
            headers = info.context["request"].headers
            return [
                headers.get("Accept-Language", "none"),
                headers["accept-language"],
                headers.get("x-other", "none"),
                str("ACCEPT-LANGUAGE" in headers),
                info.context.headers["accept-language"],
                info.context.subgraph,
                str(info.context.context),
                str(info.context.get("response")),
            ]

        @strawberry.field
        def response(self, info: strawberry.Info) -> str | None:
            return str(info.context["response"])

    request = SubgraphRequest(
        "users", "query", "{ seen response }", headers={"accept-language": "fi", "authorization": "s3cret"}, context=7
    )
    response = await LocalTransport(strawberry.Schema(query=Query)).send(request)
    assert isinstance(response.payload, dict)
    assert response.payload["data"] == {
        "seen": ["fi", "fi", "none", "True", "fi", "users", "7", "None"],
        "response": None,
    }


def test_the_context_in_memory_is_the_request() -> None:
    """What resolvers get is a SubgraphRequest with all of its fields; no token is in its headers' repr."""
    context = LocalContext.of(REQUEST)
    assert isinstance(context, SubgraphRequest)
    assert (context.operation, context.variables, context.headers) == (
        REQUEST.operation, REQUEST.variables, REQUEST.headers,
    )  # fmt: skip
    assert ("request" in context, "response" in context) == (True, False)
    assert "Bearer" not in repr(context.headers)


async def test_resolvers_share_what_they_put_into_the_context() -> None:
    """As in the dictionary of a framework's view, what one resolver keeps another finds, in the same request alone."""

    @strawberry.type
    class Query:
        @strawberry.field
        def kept(self, info: strawberry.Info) -> list[int]:
            info.context["first"] = info.context.get("first", 0) + 1
            return [info.context["first"], info.context.setdefault("second", 7), info.context["second"]]

    transport = LocalTransport(strawberry.Schema(query=Query))
    request = SubgraphRequest("users", "query", "{ one: kept two: kept }")
    for _ in range(2):
        assert (await transport.send(request)).payload == {"data": {"one": [1, 7, 7], "two": [2, 7, 7]}}


async def test_the_request_in_memory_has_cookies_and_is_an_attribute_too() -> None:
    """Resolvers written for Strawberry's views find the client's cookies, and `context.request` as under Django."""

    @strawberry.type
    class Query:
        @strawberry.field
        def session(self, info: strawberry.Info) -> list[str]:
            by_key, by_attribute = info.context["request"], info.context.request
            return [by_key.cookies["session"], by_attribute.cookies["tone"], by_attribute.headers["Cookie"][:7]]

    headers = {"cookie": 'session=a=b; tone="dark"; alone'}
    request = SubgraphRequest("users", "query", "{ session }", headers=headers)
    response = await LocalTransport(strawberry.Schema(query=Query)).send(request)
    assert response.payload == {"data": {"session": ["a=b", "dark", "session"]}}
    assert LocalContext.of(REQUEST).cookies == {}


@pytest.mark.parametrize("read", ["context['response']", "context.response", "context.user", "context['request'].META"])
async def test_what_is_not_in_a_context_in_memory_says_how_to_have_it(read: str) -> None:
    """A resolver that asks for what only a view could know fails with an error that names it and the remedy."""
    schema = build_schema("type Query { user: String }")
    assert schema.query_type is not None
    schema.query_type.fields["user"].resolve = lambda _, info: eval(read, {"context": info.context})  # noqa: S307  # a text above
    response = await LocalTransport(schema).send(SubgraphRequest("users", "query", "{ user }"))
    assert isinstance(response.payload, dict)
    [error] = response.payload["errors"]
    name = read.removesuffix("']").replace("'", ".").split(".")[-1]
    assert error["message"].startswith(f"a subgraph in memory has no {name!r} in its context")
    assert "context_factory" in error["message"]


async def test_a_schema_in_memory_gets_the_headers_that_are_forwarded() -> None:
    """With `forward_headers` the client's others stay away, as over HTTP; a plug-in's own always come."""
    schema = build_schema("type Query { names: [String] }")
    assert schema.query_type is not None
    schema.query_type.fields["names"].resolve = lambda _, info: sorted(info.context.headers)
    headers = {"authorization": "me", "cookie": "a=b"}
    request = SubgraphRequest("users", "query", "{ names }", headers=headers, own_headers={"x-own": "1"})
    response = await LocalTransport(schema, forward_headers=["Authorization"]).send(request)
    assert response.payload == {"data": {"names": ["authorization", "x-own"]}}
    response = await LocalTransport(schema).send(request)
    assert response.payload == {"data": {"names": ["authorization", "cookie", "x-own"]}}


def test_the_context_in_memory_can_be_copied() -> None:
    """A copy has what was put into it."""
    context = LocalContext.of(REQUEST)
    context["loader"] = 7
    assert copy.copy(context)["loader"] == 7
    assert (getattr(context, "user", None), hasattr(context, "_private")) == (None, False)


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
