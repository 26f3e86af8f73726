"""What clients and browsers do beside GET, POST, PUT and DELETE: conditions, HEAD, OPTIONS, and other origins."""

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from subgraphs.shared.auth import LocalKeys, user_token
from subgraphs.shared.etags import format_etag, is_known, parse_if_match
from subgraphs.wallet.app import create_app
from subgraphs.wallet.settings import Settings
from tests.conftest import DatabaseFactory
from tests.shared.test_routing import SERVICES, USERS, application

PAGE = "https://app.example.com"
DEPOSIT = {"type": "deposit", "currency": "USD", "amount": "5.00"}


def wallet(url: str, *origins: str) -> FastAPI:
    """A wallet that shares its answers with pages of those origins."""
    settings = Settings(mode="development", database_url=SecretStr(url), cors_origins=origins)
    return create_app(settings, user_keys=LocalKeys(USERS.published_keys()))


@pytest.fixture
async def client(sqlite_factory: DatabaseFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A user of a wallet that pages of one origin may use."""
    app = wallet(sqlite_factory("subgraphs.wallet"), PAGE)
    token = user_token(USERS.access_token_key(), str(uuid.uuid4()), "investor", now=time.time())
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://wallet", headers=headers
    ) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/balance", "/transactions", "/transactions/statement?month=2026-01"])
async def test_what_a_client_has_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    """The tag that came with an answer gets 304 and no body, until the answer is another."""
    first = await client.get(path)
    assert (first.status_code, first.headers["cache-control"]) == (200, "private, no-cache")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = await client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    assert (await client.get(path, headers={"if-none-match": '"x"'})).content == first.content
    if "month" not in path:
        await client.post("/transactions", json=DEPOSIT)
        changed = await client.get(path, headers={"if-none-match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag


async def test_one_object_has_a_tag(client: httpx.AsyncClient) -> None:
    """A transaction never changes, so its tag is known for good; a refusal has none."""
    path = (await client.post("/transactions", json=DEPOSIT)).headers["location"]
    tag = (await client.get(path)).headers["etag"]
    assert (await client.get(path, headers={"if-none-match": tag})).status_code == 304
    assert "etag" not in (await client.get("/transactions/none", headers={"if-none-match": "*"})).headers


async def test_the_forms_of_an_answer_have_tags_of_their_own(client: httpx.AsyncClient) -> None:
    """A statement as CSV is another text than as JSON, and both say what decides."""
    path = "/transactions/statement?month=2026-01"
    answers = [await client.get(path, headers={"accept": kind}) for kind in ("application/json", "text/csv")]
    assert len({answer.headers["etag"] for answer in answers}) == 2
    assert [answer.headers["vary"] for answer in answers] == ["Accept, Origin", "Accept, Origin"]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_get_is_a_head(tmp_path: Path, service: str) -> None:
    """HEAD answers each GET route with its status and headers and no body, errors too; others refuse it."""
    app = application(service, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for path, methods in app.openapi()["paths"].items():
            if "get" in methods:
                shown, head = await http.get(f"{path}?x=1"), await http.head(f"{path}?x=1")
                assert (head.status_code, head.content) == (shown.status_code, b""), path
                assert set(head.headers) == set(shown.headers)
                assert head.headers["content-length"] == shown.headers["content-length"]
            else:
                assert (await http.head(path)).status_code == 405


async def test_a_head_has_the_headers_of_what_is_there(client: httpx.AsyncClient) -> None:
    """The length and the tag are those of the GET, and a condition holds for both."""
    shown, head = await client.get("/balance"), await client.head("/balance")
    for name in ("etag", "content-length", "content-type"):
        assert head.headers[name] == shown.headers[name]
    assert head.content == b""
    known = {"if-none-match": head.headers["etag"]}
    assert (await client.head("/balance", headers=known)).status_code == 304


@pytest.mark.parametrize("service", SERVICES)
async def test_options_says_what_a_path_takes(tmp_path: Path, service: str) -> None:
    """204 with the documented methods, HEAD and OPTIONS, to anybody; a path that there is none of is 404."""
    app = application(service, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for path, methods in app.openapi()["paths"].items():
            answer = await http.options(path)
            documented = {method.upper() for method in methods}
            expected = documented | {"OPTIONS"} | ({"HEAD"} if "GET" in documented else set())
            assert (answer.status_code, answer.headers["allow"]) == (204, ", ".join(sorted(expected))), path
            assert (await http.patch(path)).headers["allow"] == answer.headers["allow"]
            assert "access-control-allow-origin" not in answer.headers
        assert (await http.options("/nothing")).status_code == 404


async def test_a_page_of_a_named_origin_reads_answers(client: httpx.AsyncClient) -> None:
    """Answers and refusals say so, and which headers the page may read; no other origin is told anything."""
    for path in ("/balance", "/transactions/none"):
        answer = await client.get(path, headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "etag" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://app.example.com.evil.example", "http://app.example.com", "null", f"{PAGE}:8443", ""):
        answer = await client.get("/balance", headers={"origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


async def test_a_browser_may_ask_before_it_sends(client: httpx.AsyncClient) -> None:
    """A preflight without a token gets methods and headers, for the named origin alone."""
    asked = {"origin": PAGE, "access-control-request-method": "POST", "authorization": ""}
    answer = await client.options("/transactions", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert {"authorization", "idempotency-key", "if-match"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    other = await client.options("/transactions", headers={**asked, "origin": "https://evil.example"})
    assert not [name for name in other.headers if name.startswith("access-control")]


async def test_without_the_setting_no_page_reads_anything(sqlite_factory: DatabaseFactory) -> None:
    """Nothing is said of origins unless somebody named one."""
    app = wallet(sqlite_factory("subgraphs.wallet"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wallet") as http:
        for answer in (
            await http.get("/balance", headers={"origin": PAGE}),
            await http.options("/balance", headers={"origin": PAGE, "access-control-request-method": "GET"}),
        ):
            assert "vary" not in answer.headers
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "app.example.com", f"{PAGE}/", f"{PAGE}:443", "http://a.example:80", "https://*.example.com",
     "https://App.example.com", "https://user@a.example", "ftp://a.example", "https://a.example:0", ""],
)  # fmt: skip
def test_an_origin_is_exact(origin: str) -> None:
    """What no browser sends as an origin would allow nothing, or too much."""
    with pytest.raises(ValidationError):
        wallet("sqlite:///none.db", origin)


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173", "http://[::1]:3000", f"{PAGE}:8443"])
def test_an_origin_is_what_browsers_send(origin: str) -> None:
    """Scheme, host and port, as a browser writes them."""
    assert wallet("sqlite:///none.db", origin).title == "Wallet"


def test_a_tag_of_a_version_is_asked_for_by_the_version() -> None:
    """Prices beside a holding change its tag and nothing that an update could lose."""
    assert parse_if_match(format_etag(3, b"text")) == parse_if_match(format_etag(3)) == 3
    assert format_etag(3, b"text") != format_etag(3, b"other")
    assert not is_known(format_etag(3, b"text"), format_etag(3))
