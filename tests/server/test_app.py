"""The application around the endpoint: health, metrics, explorer, logs, mounting, and what happens when things fail."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.conftest import SUPERGRAPH, Served, listening, serving
from tests.server.subgraphs import people, places
from tests.server.wire import Echo, Server, post
from trifolio.config import Config, CorsConfig, MetricsConfig, SubgraphConfig
from trifolio.executor.httpx import HttpxTransport
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.server.explorer import ASSETS, CONTENT_SECURITY_POLICY, FILES, load_explorer
from trifolio.server.http import Receive, Scope, Send
from trifolio.server.log import JsonFormatter

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = "{ me { name homes { city } } }"


# ---- health, readiness, metrics ----


@pytest.mark.parametrize(("path", "status"), [("/health", "ok"), ("/ready", "ready")])
async def test_health_and_readiness_answer(served: Served, path: str, status: str) -> None:
    """A router that serves says so to GET and HEAD, and to nothing else."""
    response = await served.client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": status})
    assert (await served.client.head(path)).status_code == 200
    assert (await served.client.post(path)).status_code == 405


async def test_a_draining_router_is_not_ready_but_answers() -> None:
    """Once it drains, /ready is a 503 while requests still get their answers."""
    router = Router(SUPERGRAPH, transports={"people": LocalTransport(people()), "places": LocalTransport(places())})
    app = router.asgi()
    async with listening(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        app.drain()
        ready = await client.get("/ready")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert (await client.post("/graphql", json={"query": "{ me { name } }"})).status_code == 200


async def test_an_unknown_path_is_not_found(served: Served) -> None:
    """A path that nothing serves is a 404 with a code, as JSON."""
    response = await served.client.get("/nothing")
    assert response.status_code == 404
    assert response.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_metrics_count_what_happened() -> None:
    """Responses, operations, fetches, errors and plan cache hits are counted in Prometheus' text form."""
    async with serving(Config(metrics=MetricsConfig(public=True))) as served:
        for _ in range(2):
            await served.post(BOTH)
        await served.post("{ nothing }")
        response = await served.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    for line in (
        'router_http_responses_total{status="200"} 3',
        'router_operation_seconds_count{kind="query"} 2',
        'router_operation_seconds_count{kind="unknown"} 1',
        'router_fetch_seconds_count{subgraph="people"} 2',
        'router_fetch_seconds_count{subgraph="places"} 2',
        'router_fetch_seconds_bucket{subgraph="places",le="+Inf"} 2',
        'router_errors_total{code="GRAPHQL_VALIDATION_FAILED"} 1',
        'router_plan_cache_total{result="hit"} 1',
        'router_plan_cache_total{result="miss"} 2',
        "router_planning_seconds_count 1",
        "router_plan_cache_entries 1",
        "router_refusal_cache_entries 1",
        "router_code_fallbacks_total 0",
        "router_http_connections 1",
        "router_http_connections_refused_total 0",
        "router_http_held_bytes 0",
    ):
        assert line in lines
    series = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.]+')
    assert all(line.startswith("# ") or series.fullmatch(line) for line in lines)


async def test_metrics_are_not_public_by_default(served: Served) -> None:
    """Unless it is switched on, the endpoint's port has no /metrics."""
    assert (await served.client.get("/metrics")).status_code == 404


async def test_every_response_has_the_headers_for_security() -> None:
    """No response may be guessed at, kept, or tell where it was linked from; none says which server it is."""
    origin = {"origin": "https://a.example"}
    config = Config(
        introspection=True, explorer=True, metrics=MetricsConfig(public=True), cors=CorsConfig((origin["origin"],))
    )
    page = {"accept": "text/html"}
    async with serving(config) as served:
        client = served.client
        responses = [
            await served.post("{ me { name } }", headers=origin),
            await served.post("{ nothing }"),
            await served.post("{", headers={"accept": "application/graphql-response+json"}),
            await served.post("{ me { name } }", headers={"accept": "multipart/mixed;deferSpec=20220824"}),
            await served.post("{ me { name } }", headers={"accept": "image/png"}),
            *[await client.request(method, "/graphql") for method in ("OPTIONS", "PUT", "GET", "HEAD")],
            *[await client.get(path) for path in ("/health", "/ready", "/metrics", "/nothing")],
            await client.post("/graphql", content=b"{}", headers={"content-type": "text/plain"}),
            await client.get("/health", headers={"x-large": "x" * 40_000}),
        ]
        for response in responses:
            assert response.headers["cache-control"] == "no-store", response.request.url
        found = await client.get("/graphql", headers=page)
        kept = {**page, "if-none-match": found.headers["etag"]}
        responses += [found, await client.get("/graphql", headers=kept), await client.get(f"/{ASSETS}/explorer.json")]
    assert {response.status_code for response in responses} >= {200, 204, 304, 400, 404, 405, 406, 415, 431}
    for response in responses:
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "server" not in response.headers
        assert len(response.content) < 1_000 or response.status_code == 200


# ---- the explorer ----


OPEN = Config(introspection=True, explorer=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def explored() -> AsyncIterator[Served]:
    """A router with its explorer."""
    async with serving(OPEN) as server:
        yield server


async def test_a_browser_gets_the_explorer(explored: Served) -> None:
    """GET with Accept: text/html is GraphiQL under a strict content-security-policy; its assets may be kept."""
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = await explored.client.get("/graphql", headers=browser)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert page.headers["cache-control"] == "no-cache"
    assets = re.findall(rf'"\./({ASSETS}/[^"]+)"', page.text)
    assert assets
    for name in assets:
        asset = await explored.client.get(f"/{name}")
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["x-content-type-options"] == "nosniff"
    assert (await explored.client.head("/graphql", headers=browser)).headers["etag"] == page.headers["etag"]
    kept = await explored.client.get("/graphql", headers={**browser, "if-none-match": page.headers["etag"]})
    assert (kept.status_code, kept.content) == (304, b"")


def _largest_asset() -> Path:
    """The script that most of the explorer's bytes are in."""
    return max((FILES / ASSETS).glob("*.js"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, GZIP;q=0.5", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("identity", None),
        ("", None),
        ("br;q=x", None),
    ],
)
async def test_the_explorers_files_come_compressed(
    explored: Served, accept_encoding: str, expected: str | None
) -> None:
    """A file comes in the smallest coding that the client takes, and says which; each has a tag of its own, by which
    the client is told that it has that one."""
    path = _largest_asset()
    suffix = {"br": ".br", "gzip": ".gz", None: ""}[expected]
    asked = {"accept-encoding": accept_encoding}
    async with explored.client.stream("GET", f"/{ASSETS}/{path.name}", headers=asked) as asset:
        sent = b"".join([piece async for piece in asset.aiter_raw()])
    assert asset.headers.get("content-encoding") == expected
    assert asset.headers["vary"] == "accept-encoding"
    assert asset.headers["content-type"] == "text/javascript; charset=utf-8"
    assert sent == path.with_name(path.name + suffix).read_bytes()
    tagged = {"if-none-match": asset.headers["etag"]}
    statuses = [
        (await explored.client.head(f"/{ASSETS}/{path.name}", headers={**each, **tagged})).status_code
        for each in (asked, {"accept-encoding": "br" if expected == "gzip" else "gzip"})
    ]
    assert statuses == [304, 200]


async def test_a_coded_file_has_no_address_of_its_own(explored: Served) -> None:
    """What the build has compressed is reached through the file that it is of."""
    assert (await explored.client.get(f"/{ASSETS}/{_largest_asset().name}.br")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["../index.html", "%2e%2e/index.html", "..%2f..%2fapp.py", "", "nothing.js", "/etc/passwd", "%00"],
)
async def test_only_the_explorers_own_files_are_served(explored: Served, path: str) -> None:
    """No path leads out of the folder of assets."""
    url = httpx.URL(explored.url).copy_with(raw_path=f"/{ASSETS}/{path}".encode())
    assert (await explored.client.get(url)).status_code == 404


async def test_the_explorer_is_off_by_default(served: Served) -> None:
    """Unless the explorer is switched on, a browser is a client like any other, and there are no assets."""
    assert (await served.client.get("/graphql", headers={"accept": "text/html"})).status_code == 406
    assert (await served.client.get(f"/{ASSETS}/explorer.json")).status_code == 404


async def test_without_its_files_the_page_says_what_this_is(tmp_path: Any) -> None:
    """An installation without the explorer's files tells a browser how to use the endpoint."""
    explorer = load_explorer(tmp_path)
    assert b"This is a GraphQL endpoint" in explorer.page.body
    assert explorer.assets == {}


# ---- when a subgraph fails ----


async def test_a_subgraph_that_is_down_costs_only_its_own_fields() -> None:
    """The others' data comes with HTTP 200; the missing part is null with path, subgraph and code, and no address."""
    down = HttpxTransport("http://127.0.0.1:1/graphql", timeout_ms=2_000)
    async with serving(transports={"places": down}) as served:
        response = await served.post(BOTH)
    assert response.status_code == 200
    assert response.json() == {
        "data": {"me": {"name": "Ada", "homes": None}},
        "errors": [
            {
                "message": "The subgraph cannot be reached.",
                "path": ["me", "homes"],
                "extensions": {"code": "SUBGRAPH_UNREACHABLE", "subgraph": "places"},
            }
        ],
    }
    assert "127.0.0.1" not in response.text


class Silent:
    """A transport to a subgraph that does not answer until it is released."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        self.asked.set()
        await self.released.wait()
        return SubgraphResponse(payload={"data": {"_entities": [None]}})

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_an_operation_that_takes_too_long_is_given_up(accept: str) -> None:
    """After `operation_timeout_ms` the client gets a 504 with a code."""
    config = Config(limits=Limits(operation_timeout_ms=400))
    async with serving(config, transports={"places": Silent()}) as served:
        response = await served.post(BOTH, headers={"accept": accept})
    assert response.status_code == 504
    assert response.json()["errors"][0]["extensions"]["code"] == "OPERATION_TIMEOUT"


async def test_more_requests_than_the_limit_are_turned_away() -> None:
    """Beyond `requests_in_flight_max` an operation is a 503 that says when to come again; health is answered."""
    silent = Silent()
    config = Config(limits=Limits(requests_in_flight_max=1))
    async with serving(config, transports={"places": silent}) as served:
        waiting = asyncio.ensure_future(served.post(BOTH))
        await silent.asked.wait()
        turned_away = await served.post("{ caller }")
        assert (await served.client.get("/health")).status_code == 200
        silent.released.set()
        assert (await waiting).status_code == 200
    assert (turned_away.status_code, turned_away.headers["retry-after"]) == (503, "1")
    assert turned_away.json()["errors"][0]["extensions"]["code"] == "OVERLOADED"


class Stuck:
    """A transport with a bug."""

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        raise ZeroDivisionError("the secret is hunter2")

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_bug_in_a_transport_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns a code; the log has the cause, with the request's id."""
    async with serving(transports={"places": Stuck()}) as served:
        response = await served.post(BOTH, headers={"x-request-id": "request-0001"})
    assert response.json()["data"] == {"me": {"name": "Ada", "homes": None}}
    assert "hunter2" not in response.text
    [record] = [each for each in caplog.records if each.name == "trifolio.error"]
    line = json.loads(JsonFormatter().format(record))
    assert (line["request_id"], line["subgraph"]) == ("request-0001", "places")
    assert "hunter2" in line["cause"]


async def test_a_bug_in_the_router_is_a_500_with_an_id(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the router itself does wrong, the client gets a fixed text, and the log the stack under the id."""

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("/srv/router/trifolio/engine.py")

    monkeypatch.setattr(served.router, "answer", broken)
    response = await served.post(BOTH)
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "/srv" not in response.text
    [record] = [each for each in caplog.records if each.name == "trifolio.error"]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == response.headers["x-request-id"]
    assert "ZeroDivisionError" in line["exception"]


# ---- the access log ----


async def test_the_access_log_has_what_is_needed_and_no_secret(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per request: id, method, path, status, time; no query string, header, variable or document."""
    caplog.set_level(logging.INFO, "trifolio.access")
    headers = {"authorization": "Bearer s3cret", "apollo-require-preflight": "1"}
    await served.client.get("/graphql", params={"query": "{ caller }", "variables": '{"s3cret": 1}'}, headers=headers)
    [record] = [each for each in caplog.records if each.name == "trifolio.access"]
    line = json.loads(JsonFormatter().format(record))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/graphql", 200)
    assert line["ms"] > 0
    assert "codes" not in line
    assert "s3cret" not in json.dumps(line)


async def test_the_access_log_has_the_codes_of_errors(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A request with errors is found by their codes."""
    caplog.set_level(logging.INFO, "trifolio.access")
    await served.post("{ nothing neither }")
    await served.client.put("/graphql")
    lines = [json.loads(JsonFormatter().format(each)) for each in caplog.records if each.name == "trifolio.access"]
    assert [line["codes"] for line in lines] == [["GRAPHQL_VALIDATION_FAILED"], ["METHOD_NOT_ALLOWED"]]


async def test_the_access_log_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    """An operator whose proxy logs already may do without."""
    caplog.set_level(logging.INFO, "trifolio.access")
    async with serving(Config(access_log=False)) as served:
        await served.post(BOTH)
    assert [each for each in caplog.records if each.name == "trifolio.access"] == []


# ---- embedding ----


async def test_it_mounts_in_another_application() -> None:
    """Under a mount the endpoint, the explorer and the health check are below the mount's path."""
    transports = {"people": LocalTransport(people()), "places": LocalTransport(places())}
    async with Router(SUPERGRAPH, config=OPEN, transports=transports) as router:
        host = Starlette(routes=[Mount("/api", router.asgi())])
        async with listening(host) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answer = await client.post("/api/graphql", json={"query": BOTH})
            assert answer.json()["data"]["me"]["name"] == "Ada"
            assert (await client.get("/api/health")).status_code == 200
            page = await client.get("/api/graphql", headers={"accept": "text/html"})
            asset = re.search(rf"\./({ASSETS}/[^\"]+)", page.text)
            assert asset
            assert (await client.get(f"/api/{asset[1]}")).status_code == 200


async def test_the_endpoint_can_stand_at_another_path() -> None:
    """`asgi(path=...)` moves the endpoint and nothing else."""
    async with serving(path="/") as served:
        answer = await served.client.post("/", json={"query": BOTH})
        assert answer.json()["data"]["me"]["name"] == "Ada"
        assert (await served.client.post("/graphql", json={"query": BOTH})).status_code == 404


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_endpoint_can_be_where_it_is_mounted(path: str) -> None:
    """With an empty path the endpoint is at the mount's own root, the explorer's files and the rest below it."""
    transports = {"people": LocalTransport(people()), "places": LocalTransport(places())}
    async with Router(SUPERGRAPH, config=OPEN, transports=transports) as router:
        host = Starlette(routes=[Mount("/graphql", router.asgi(path=path))])
        async with (
            listening(host) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, follow_redirects=True) as client,
        ):
            for place in ("/graphql", "/graphql/"):
                answer = await client.post(place, json={"query": BOTH})
                assert answer.json()["data"]["me"]["name"] == "Ada"
            assert (await client.get("/graphql/health")).status_code == 200
            page = await client.get("/graphql", headers={"accept": "text/html"})
            asset = re.search(rf"\./({ASSETS}/[^\"]+)", page.text)
            assert asset
            assert (await client.get(f"/graphql/{asset[1]}")).status_code == 200


NO_PATHS = {
    "graphql": "write '/graphql'",
    "health": "write '/health'",
    "/health": "is taken",
    "/ready": "is taken",
    "/metrics": "is taken",
    "/graphql?x": "no request has the path",
    "/graph%20ql": "no request has the path",
}


@pytest.mark.parametrize(("path", "cure"), NO_PATHS.items(), ids=NO_PATHS)
async def test_an_endpoint_that_nobody_reaches_is_refused(path: str, cure: str) -> None:
    """A path that no request has, or that something else has, is a ValueError with the cure."""
    async with Router(SUPERGRAPH) as router:
        with pytest.raises(ValueError, match=cure):
            router.asgi(path=path)


async def test_a_websocket_is_refused_but_at_the_endpoint() -> None:
    """Where there are no operations a websocket is closed before it opens."""
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with Router(SUPERGRAPH, config=Config(subgraphs={"people": SubgraphConfig()})) as router:
        for path in ("/health", "/nothing"):
            await router.asgi()({"type": "websocket", "path": path, "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}] * 2


# ---- a client that goes ----


class Waiting:
    """A subgraph that never answers, and tells what becomes of those who ask."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_asked = asyncio.Event()

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Wait until nobody waits any more."""
        self.seen.append("asked")
        self.is_asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("given up")
            raise
        raise AssertionError

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("when", ["before", "while it is asked"])
@pytest.mark.parametrize("hands_on", ["its own", "another"])
async def test_for_a_client_that_has_gone_nothing_is_done(when: str, hands_on: str) -> None:
    """Also where something in front of the application has taken its time, whose `receive` it hands on or wraps."""
    waiting = Waiting()
    router = Router(SUPERGRAPH, transports={"people": waiting, "places": waiting})
    app, passes = router.asgi(), asyncio.Event()

    async def behind_another(scope: Scope, receive: Receive, send: Send) -> None:
        await passes.wait()
        await app(scope, receive if hands_on == "its own" else partial(receive), send)

    server = Server(Echo(own=behind_another))
    body = b'{"query": "{ me { name } }"}'
    wire = server.connect()
    await server.send(wire, post(body, "content-type: application/json", path="/graphql"))
    if when == "before":
        wire.close()
        passes.set()
    else:
        passes.set()
        await waiting.is_asked.wait()
        wire.close()
    async with asyncio.timeout(30):
        while server.state.tasks:  # noqa: ASYNC110  # until nothing is done for it any more
            await asyncio.sleep(0)
    assert waiting.seen == ([] if when == "before" and hands_on == "its own" else ["asked", "given up"])
    assert wire.written == b""
    await router.close()
