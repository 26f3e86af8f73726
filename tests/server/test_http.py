"""GraphQL over HTTP on a real socket: methods, media types, status codes, and what is refused."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server.conftest import Served, serving
from trifolio.config import Config, CorsConfig
from trifolio.limits import Limits
from trifolio.server.http import client_address

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
PREFLIGHT = {"apollo-require-preflight": "1"}
ME = "{ me { name } }"
ADA = {"data": {"me": {"name": "Ada"}}}


def code_of(response: httpx.Response) -> str:
    errors = response.json()["errors"]
    code: str = errors[0]["extensions"]["code"]
    return code


# ---- what is answered ----


async def test_a_query_is_answered_across_subgraphs(served: Served) -> None:
    """One POST brings what two subgraphs know of one person."""
    response = await served.post("query Home($n: Int) { me { name homes(first: $n) { city } } }", variables={"n": 1})
    assert response.json() == {"data": {"me": {"name": "Ada", "homes": [{"city": "London"}]}}}
    assert response.headers["cache-control"] == "no-store"


ACCEPTED = {
    "no Accept": (None, JSON),
    "anything": ("*/*", JSON),
    "any application": ("application/*", JSON),
    "JSON": (JSON, JSON),
    "GraphQL": (GRAPHQL, GRAPHQL),
    "both": (f"{JSON}, {GRAPHQL}", GRAPHQL),
    "GraphQL, then anything": (f"{GRAPHQL}, */*;q=0.1", GRAPHQL),
    "JSON preferred": (f"{GRAPHQL};q=0.5, {JSON}", JSON),
    "GraphQL refused": (f"{GRAPHQL};q=0, {JSON};q=0.1", JSON),
    "in capitals, with a charset": ("APPLICATION/JSON; CHARSET=utf-8", JSON),
}


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED.values(), ids=ACCEPTED)
async def test_the_media_type_is_negotiated(served: Served, accept: str | None, media_type: str) -> None:
    """The answer has the media type that the Accept header prefers, JSON where it leaves the choice."""
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, headers={"accept": accept or ""}) as client:
        if accept is None:
            client.headers.pop("accept")
        response = await client.post("/graphql", json={"query": ME})
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.json() == ADA


async def test_a_query_is_answered_over_get(served: Served) -> None:
    """GET takes query, variables and operationName from the query string."""
    parameters = {
        "query": "query A($n: Int) { me { homes(first: $n) { city } } } query B { caller }",
        "variables": '{"n": 1}',
        "operationName": "A",
    }
    response = await served.client.get("/graphql", params=parameters, headers=PREFLIGHT)
    assert response.json() == {"data": {"me": {"homes": [{"city": "London"}]}}}


async def test_the_authorization_header_goes_on_to_the_subgraph(served: Served) -> None:
    """A subgraph sees the caller's Authorization."""
    response = await served.post("{ caller }", headers={"Authorization": "Bearer abc"})
    assert response.json() == {"data": {"caller": "Bearer abc"}}


async def test_parameters_that_are_null_or_unknown_are_ignored(served: Served) -> None:
    """null means left out, and a parameter that the specification does not know is no error."""
    body = {"query": ME, "variables": None, "operationName": None, "extensions": {"a": 1}, "id": 7}
    response = await served.client.post("/graphql", json=body)
    assert response.json() == ADA


# ---- what is refused: (method, body or parameters, headers) -> status, code ----

REFUSED: dict[str, tuple[str, bytes | dict[str, str], dict[str, str], int, str]] = {
    "malformed JSON": ("POST", b'{"query": ', {}, 400, "BAD_REQUEST"),
    "not UTF-8": ("POST", b'{"query": "{ me \xff }"}', {}, 400, "BAD_REQUEST"),
    "no body": ("POST", b"", {}, 400, "BAD_REQUEST"),
    "a batch": ("POST", b'[{"query": "{ me { name } }"}]', {}, 400, "BAD_REQUEST"),
    "a text": ("POST", b'"{ me { name } }"', {}, 400, "BAD_REQUEST"),
    "no query": ("POST", b'{"variables": {}}', {}, 400, "BAD_REQUEST"),
    "query is a number": ("POST", b'{"query": 1}', {}, 400, "BAD_REQUEST"),
    "variables are a list": ("POST", b'{"query": "{ me { name } }", "variables": []}', {}, 400, "BAD_REQUEST"),
    "variables are a text": ("POST", b'{"query": "{ me { name } }", "variables": "{}"}', {}, 400, "BAD_REQUEST"),
    "operationName is a number": ("POST", b'{"query": "{ me { name } }", "operationName": 1}', {}, 400, "BAD_REQUEST"),
    "extensions are a text": ("POST", b'{"query": "{ me { name } }", "extensions": ""}', {}, 400, "BAD_REQUEST"),
    "deeply nested JSON": ("POST", b"[" * 100_000, {}, 400, "BAD_REQUEST"),
    "deeply nested variables": (
        "POST",
        b'{"query": "{ me { name } }", "variables": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        {},
        400,
        "BAD_REQUEST",
    ),
    "a form": (
        "POST",
        b"query={me{name}}",
        {"content-type": "application/x-www-form-urlencoded"},
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "plain text": ("POST", b'{"query": "{me{name}}"}', {"content-type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "no content type": ("POST", b'{"query": "{me{name}}"}', {"content-type": ""}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "another charset": (
        "POST",
        b'{"query": "{me{name}}"}',
        {"content-type": "application/json; charset=utf-16"},
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "compressed": ("POST", b"\x1f\x8b", {"content-encoding": "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "only HTML accepted": ("POST", b'{"query": "{me{name}}"}', {"accept": "text/html"}, 406, "NOT_ACCEPTABLE"),
    "JSON refused": ("POST", b'{"query": "{me{name}}"}', {"accept": "*/*;q=0"}, 406, "NOT_ACCEPTABLE"),
    "GET without a query": ("GET", {}, PREFLIGHT, 400, "BAD_REQUEST"),
    "GET with broken variables": ("GET", {"query": ME, "variables": "{"}, PREFLIGHT, 400, "BAD_REQUEST"),
    "GET with variables in a list": ("GET", {"query": ME, "variables": "[]"}, PREFLIGHT, 400, "BAD_REQUEST"),
    "GET that a browser sends by itself": ("GET", {"query": ME}, {}, 400, "CSRF_REJECTED"),
    "GET with a form's content type": ("GET", {"query": ME}, {"content-type": "text/plain"}, 400, "CSRF_REJECTED"),
    "GET with an empty preflight header": (
        "GET",
        {"query": ME},
        {"apollo-require-preflight": ""},
        400,
        "CSRF_REJECTED",
    ),
    "GET of a mutation": (
        "GET",
        {"query": 'mutation { rename(name: "x") { id } }'},
        PREFLIGHT,
        405,
        "MUTATION_OVER_GET",
    ),
    "GET of a mutation by a browser": (
        "GET",
        {"query": 'mutation { rename(name: "x") { id } }'},
        {},
        400,
        "CSRF_REJECTED",
    ),
    "GET of nonsense by a browser": ("GET", {"query": "{"}, {}, 400, "CSRF_REJECTED"),
    "PUT": ("PUT", b"{}", {}, 405, "METHOD_NOT_ALLOWED"),
    "DELETE": ("DELETE", b"", {}, 405, "METHOD_NOT_ALLOWED"),
    "a long URL": ("GET", {"query": ME, "extensions": "x" * 20_000}, PREFLIGHT, 414, "URL_TOO_LONG"),
    "large headers": ("POST", b"{}", {"x-large": "x" * 33_000}, 431, "HEADERS_TOO_LARGE"),
    "many headers": ("POST", b"{}", {f"x-{n}": "x" for n in range(101)}, 431, "HEADERS_TOO_LARGE"),
    "5 MB": ("POST", b" " * 5_000_000, {}, 413, "BODY_TOO_LARGE"),
}


@pytest.mark.parametrize(("method", "sent", "headers", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_graphql_request_is_refused(
    served: Served, method: str, sent: Any, headers: dict[str, str], status: int, code: str
) -> None:
    """Whatever is wrong with the HTTP request has its status and code, whichever JSON is accepted; nothing happens."""
    for accept in (JSON, GRAPHQL):
        if method == "GET":
            response = await served.client.get("/graphql", params=sent, headers={"accept": accept, **headers})
        else:
            given = {"accept": accept, "content-type": JSON, **headers}
            response = await served.client.request(method, "/graphql", content=sent, headers=given)
        assert (response.status_code, code_of(response)) == (status, code)
        if status == 405:
            assert "POST" in response.headers["allow"]
    assert served.renames.count == 0


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "a syntax error": ({"query": "{ me"}, "GRAPHQL_PARSE_FAILED"),
    "an unknown field": ({"query": "{ me { nothing } }"}, "GRAPHQL_VALIDATION_FAILED"),
    "a wrong type": ({"query": "{ me { homes(first: true) { city } } }"}, "GRAPHQL_VALIDATION_FAILED"),
    "no such operation": ({"query": "query A { me { id } }", "operationName": "B"}, "OPERATION_RESOLUTION_FAILURE"),
    "several operations": ({"query": "query A { caller } query B { caller }"}, "OPERATION_RESOLUTION_FAILURE"),
    "a variable of a wrong type": (
        {"query": "query ($n: Int) { me { homes(first: $n) { city } } }", "variables": {"n": "many"}},
        "BAD_USER_INPUT",
    ),
    "a required variable left out": (
        {"query": "mutation ($n: String!) { rename(name: $n) { id } }"},
        "BAD_USER_INPUT",
    ),
    "a variable nested too deeply": (
        {
            "query": "query ($f: Filter) { find(filter: $f) { id } }",
            "variables": {"f": json.loads('{"any":[' * 60 + "{}" + "]}" * 60)},
        },
        "BAD_USER_INPUT",
    ),
    "10,000 aliases": ({"query": "{ " + " ".join(f"a{n}: caller" for n in range(10_000)) + " }"}, "TOO_MANY_TOKENS"),
    "1,000 levels": ({"query": "{ me " + "{ a " * 1_000 + "}" * 1_001}, "DOCUMENT_TOO_DEEP"),
}


@pytest.mark.parametrize(("body", "code"), INVALID.values(), ids=INVALID)
async def test_what_cannot_be_executed_is_refused(served: Served, body: dict[str, object], code: str) -> None:
    """A well-formed request for something impossible has its code and no data: 200 as JSON, else 400."""
    for accept, status in ((JSON, 200), (GRAPHQL, 400)):
        response = await served.client.post("/graphql", json=body, headers={"accept": accept})
        assert (response.status_code, code_of(response)) == (status, code)
        assert "data" not in response.json()
    assert served.renames.count == 0


async def test_hidden_names_are_not_suggested(served: Served) -> None:
    """A misspelt @inaccessible field is as unknown as any other: no message names it."""
    response = await served.post("{ me { passportNumbe } }")
    assert code_of(response) == "GRAPHQL_VALIDATION_FAILED"
    assert "passportNumber" not in response.text


@pytest.mark.parametrize("header", ["apollo-require-preflight", "x-apollo-operation-name"])
async def test_a_header_that_browsers_ask_about_lets_a_get_through(served: Served, header: str) -> None:
    """A GET with a header off the browsers' safelist cannot come from a stranger's page."""
    response = await served.client.get("/graphql", params={"query": ME}, headers={header: "x"})
    assert response.json() == ADA


async def test_csrf_protection_can_be_switched_off() -> None:
    """An operator whose clients cannot send a header may do without."""
    async with serving(Config(csrf_protection=False)) as served:
        response = await served.client.get("/graphql", params={"query": ME})
        assert response.json() == ADA


# ---- bodies that arrive in pieces ----


async def exchange(url: str, head: str, *chunks: bytes) -> bytes:
    """Write a request byte for byte, and read until the server closes or answers."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.replace("\n", "\r\n").encode())
        if chunks:
            writer.write(b"\r\n\r\n")
        for chunk in chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


CHUNKED = "POST /graphql HTTP/1.1\nhost: x\ncontent-type: application/json\ntransfer-encoding: chunked"


async def test_a_body_in_chunks_is_cut_off_at_the_limit() -> None:
    """A body without a length is refused once it passes the limit, though its end never comes."""
    async with serving(Config(limits=Limits(body_bytes_max=1_000))) as served:
        answer = await exchange(served.url, CHUNKED, b" " * 600, b" " * 600)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_in_chunks_is_read(served: Served) -> None:
    """A body in pieces is one body."""

    async def pieces() -> Any:
        for piece in (b'{"query": ', b'"{ me ', b'{ name } }"}'):
            yield piece

    response = await served.client.post("/graphql", content=pieces(), headers={"content-type": JSON})
    assert response.json() == ADA


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    """A client that stops in the middle of its body gets 408."""
    async with serving(Config(limits=Limits(body_timeout_ms=30))) as served:
        answer = await exchange(served.url, CHUNKED, b'{"query"')
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_headers_without_end_are_cut_off(served: Served) -> None:
    """Headers that never end are refused once they pass the limit, before they fill the memory."""
    answer = await exchange(served.url, "POST /graphql HTTP/1.1\nx: " + "x" * 60_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"POST /graphql HTTP/1.1\r\nhost: x", b"HTTP/1.1 408 ")],
    ids=["nothing", "half a head"],
)
async def test_a_head_that_does_not_arrive_is_given_up(sent: bytes, answer: bytes) -> None:
    """A connection that sends nothing, or only a part of its headers, is closed when the time is over."""
    async with serving(Config(limits=Limits(header_timeout_ms=30))) as served:
        parts = urlsplit(served.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(sent)
        received = await reader.read()
        assert received[: len(answer)] == answer
        assert bool(received) == bool(answer)
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_leaves_harms_nobody(served: Served) -> None:
    """After a connection that ended in the middle of a body the next request is served."""
    parts = urlsplit(served.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(CHUNKED.replace("\n", "\r\n").encode() + b"\r\n\r\n5\r\n{    \r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await served.post(ME)).json() == ADA


# ---- request id ----


async def test_a_request_keeps_its_id(served: Served) -> None:
    """A well-formed x-request-id comes back; a missing or unfit one is replaced by one of ours."""
    given = "0123abcd-0123"
    assert (await served.post(ME, headers={"x-request-id": given})).headers["x-request-id"] == given
    made = {
        (await served.post(ME, headers={"x-request-id": unfit})).headers["x-request-id"]
        for unfit in ("short", "x" * 129, 'quote"quote', "")
    }
    assert len(made) == 4
    assert all(len(each) == 32 for each in made)


ADDRESSES = {
    "no proxy": (0, "6.6.6.6", "127.0.0.1"),
    "one proxy": (1, "6.6.6.6, 10.0.0.1", "10.0.0.1"),
    "two proxies": (2, "6.6.6.6, 10.0.0.1, 192.168.0.1", "10.0.0.1"),
    "a proxy that adds nothing": (1, "", "127.0.0.1"),
}


@pytest.mark.parametrize(("proxies", "header", "address"), ADDRESSES.values(), ids=ADDRESSES)
async def test_a_clients_address_is_not_the_clients_to_say(proxies: int, header: str, address: str) -> None:
    """What a client writes into X-Forwarded-For is believed no further than the proxies in front vouch for it."""
    scope = {"client": ("127.0.0.1", 5)}
    assert client_address(scope, {"x-forwarded-for": header}, proxies) == address


# ---- CORS ----

ORIGIN = "https://app.example.com"
PREFLIGHT_REQUEST = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


async def test_no_other_origin_is_allowed_by_default(served: Served) -> None:
    """Without configuration no page of another origin may read an answer."""
    for response in (
        await served.client.options("/graphql", headers={"origin": ORIGIN, **PREFLIGHT_REQUEST}),
        await served.post(ME, headers={"origin": ORIGIN}),
    ):
        assert "access-control-allow-origin" not in response.headers


async def test_a_configured_origin_is_allowed_and_no_other() -> None:
    """The configured origin is echoed, to preflights and answers, refusals too; any other gets nothing."""
    cors = CorsConfig(origins=(ORIGIN,), credentials=True)
    async with serving(Config(cors=cors)) as served:
        preflight = await served.client.options("/graphql", headers={"origin": ORIGIN, **PREFLIGHT_REQUEST})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "content-type" in preflight.headers["access-control-allow-headers"]
        refused = await served.client.post("/graphql", content=b"{", headers={"origin": ORIGIN, "content-type": JSON})
        for response in (await served.post(ME, headers={"origin": ORIGIN}), refused):
            assert response.headers["access-control-allow-origin"] == ORIGIN
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["vary"] == "origin"
        stranger = await served.post(ME, headers={"origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in stranger.headers
        assert stranger.headers["vary"] == "origin"


async def test_all_origins_can_be_allowed() -> None:
    """The origin * allows every page, without credentials."""
    async with serving(Config(cors=CorsConfig(origins=("*",)))) as served:
        response = await served.post(ME, headers={"origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers
