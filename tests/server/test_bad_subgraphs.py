"""A subgraph that misbehaves on the wire: the client gets the rest of the data and a code, the log the cause."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.server.conftest import Served, serving
from trifolio.config import Config, SubgraphConfig
from trifolio.limits import Limits
from trifolio.server.log import JsonFormatter

QUERY = "{ me { name homes { city } } }"
NAME_ONLY = {"me": {"name": "Ada", "homes": None}}


@asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[str]:
    """A server that answers every request with these bytes and closes; with None it keeps silent."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            for each in answers:
                if each is None:
                    await ended.wait()
                else:
                    writer.write(each)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the router gave up first, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    """An HTTP response, with a content-length that may lie."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def with_places_at(url: str, limits: Limits) -> AsyncIterator[Served]:
    """A router whose second subgraph is at `url`, over HTTP, while the first one is well."""
    config = Config(subgraphs={"places": SubgraphConfig(url=url, timeout_ms=300)}, limits=limits)
    async with serving(config, over_http={"places"}) as served:
        yield served


def entities(value: object) -> bytes:
    return http(json.dumps({"data": {"_entities": value}}).encode())


MALFORMED = "SUBGRAPH_RESPONSE_MALFORMED"
ANSWERS: dict[str, tuple[tuple[bytes | None, ...], str]] = {
    "HTML": ((http(b"<html>hello</html>", kind="text/html"),), MALFORMED),
    "HTML and an error": (
        (http(b"<h1>502 nginx/1.2</h1>", status="502 Bad Gateway", kind="text/html"),),
        "SUBGRAPH_HTTP_ERROR",
    ),
    "a redirect": (
        (b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.9/\r\ncontent-length: 0\r\n\r\n",),
        "SUBGRAPH_HTTP_ERROR",
    ),
    "no body": ((http(b""),), MALFORMED),
    "half a body": ((http(b'{"data": {"_ent', length=500),), MALFORMED),
    "a length and chunks": (
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",),
        MALFORMED,
    ),
    "JSON cut off": ((http(b'{"data": {"_ent'),), MALFORMED),
    "not UTF-8": ((http(b'{"data": {"_entities": [{"homes": "\xff"}]}}'),), MALFORMED),
    "a number": ((http(b"1"),), MALFORMED),
    "an empty object": ((http(b"{}"),), MALFORMED),
    "nesting without end": ((http(b"[" * 200_000),), MALFORMED),
    "no HTTP": ((b"SSH-2.0-OpenSSH_9.6\r\n",), MALFORMED),
    "nothing at all": ((), "SUBGRAPH_UNREACHABLE"),
    "silence": ((None,), "SUBGRAPH_TIMEOUT"),
    "a head and silence": ((http(b"", length=10), None), "SUBGRAPH_TIMEOUT"),
    "more than allowed": ((http(b" " * 300_000),), "SUBGRAPH_RESPONSE_TOO_LARGE"),
    "too few entities": ((entities([]),), "SUBGRAPH_ENTITY_MISSING"),
    "entities that are none": ((entities("all of them"),), MALFORMED),
    "an entity that is none": ((entities([7]),), MALFORMED),
    "null in a non-null field": ((entities([{"homes": [{"city": None}]}]),), "NULL_IN_NON_NULL"),
    "an object for a text": ((entities([{"homes": [{"city": {"a": 1}}]}]),), "VALUE_NOT_COERCIBLE"),
    "a text for a list": ((entities([{"homes": "London"}]),), "VALUE_NOT_COERCIBLE"),
}


@pytest.mark.parametrize(("answers", "code"), ANSWERS.values(), ids=ANSWERS)
async def test_the_rest_of_the_answer_stands(
    answers: tuple[bytes | None, ...], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes back, the status is 200, the other subgraph's data is there, and the missing part has a code."""
    limits = Limits(fetch_response_bytes_max=250_000)
    async with answering(*answers) as url, with_places_at(url, limits) as served:
        response = await served.post(QUERY, headers={"x-request-id": "request-0001"})
    assert response.status_code == 200
    body = response.json()
    assert body["data"] == NAME_ONLY
    [error] = body["errors"]
    assert error["extensions"]["code"] == code
    assert error["path"][:2] == ["me", "homes"]
    assert not any(secret in response.text for secret in ("127.0.0.1", "10.0.0.9", "nginx", "Traceback", "httpx"))
    for record in caplog.records:
        if record.name.startswith("trifolio."):
            assert json.loads(JsonFormatter().format(record))["request_id"] == "request-0001"


async def test_more_entities_than_asked_are_ignored() -> None:
    """What nobody asked for does no harm."""
    answer = entities([{"homes": [{"city": "Rome", "mayor": "x"}]}, {"homes": []}, None])
    async with answering(answer) as url, with_places_at(url, Limits()) as served:
        response = await served.post(QUERY)
    assert response.json() == {"data": {"me": {"name": "Ada", "homes": [{"city": "Rome"}]}}}


async def test_a_subgraphs_own_error_keeps_its_message_and_code() -> None:
    """An error that the subgraph itself reports is the client's to read, at the client's path, even beside HTTP 500."""
    own = {"message": "Not for you.", "path": ["_entities", 0, "homes"], "extensions": {"code": "FORBIDDEN", "x": "y"}}
    body = json.dumps({"data": {"_entities": [{"homes": None}]}, "errors": [own]}).encode()
    for status in ("200 OK", "500 Internal Server Error"):
        async with answering(http(body, status=status)) as url, with_places_at(url, Limits()) as served:
            response = await served.post(QUERY)
        assert response.json() == {
            "data": NAME_ONLY,
            "errors": [
                {
                    "message": "Not for you.",
                    "path": ["me", "homes"],
                    "extensions": {"x": "y", "code": "FORBIDDEN", "subgraph": "places"},
                }
            ],
        }
