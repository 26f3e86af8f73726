"""Subscriptions over HTTP: server-sent events and multipart, as real clients read them from a socket."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.parts.world import Reader, complaints, whole
from tests.server.conftest import listening
from tests.subscriptions.test_stream import LogsIn
from tests.subscriptions.world import TICKED, World
from trifolio.config import Config
from trifolio.errors import Refused
from trifolio.limits import Limits
from trifolio.plugins import Plugin, RequestContext, ResponseContext
from trifolio.server.app import App
from trifolio.server.event_streams import EventsFormat
from trifolio.server.http import negotiate_events

SSE = "text/event-stream"
MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
ACCEPTED: dict[str, EventsFormat | None] = {
    "": None,
    "*/*": None,
    "text/*": None,
    "application/json": None,
    "text/event-stream;q=0": None,
    "multipart/mixed": None,
    "multipart/mixed;subscriptionSpec=2.0": None,
    "multipart/mixed;deferSpec=20220824": None,
    SSE: EventsFormat.SSE,
    "application/json, text/event-stream": EventsFormat.SSE,
    "TEXT/Event-Stream": EventsFormat.SSE,
    MULTIPART: EventsFormat.MULTIPART,
    'multipart/mixed;subscriptionSpec="1.0"': EventsFormat.MULTIPART,
    "multipart/mixed;subscriptionSpec=1.0;q=0.5, text/event-stream": EventsFormat.SSE,
    "text/event-stream;q=0.5, multipart/mixed;subscriptionSpec=1.0": EventsFormat.MULTIPART,
}


@pytest.mark.parametrize(("accept", "expected"), ACCEPTED.items())
def test_the_format_is_what_accept_asks_for_by_name(accept: str, expected: EventsFormat | None) -> None:
    """A wildcard asks for no stream; of two the one that is wanted more."""
    assert negotiate_events(accept) is expected


class Events:
    """Reads server-sent events as they come (HTML, section 9.2.6)."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.comments = 0

    async def next(self) -> tuple[str, Any]:
        """The next event: its name, and its data as JSON; None where there is none."""
        name, data = "message", ""
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line.startswith("event:"):
                    name = line[6:].strip()
                elif line.startswith("data:"):
                    data += line[5:].strip()
                elif line.startswith(":"):
                    self.comments += 1
                elif not line and name != "message":
                    return name, json.loads(data) if data else None
        raise AssertionError("the stream ended without an event that says so")

    async def beats(self, count: int) -> None:
        """Wait for so many comments."""
        self.comments = 0
        async with asyncio.timeout(20):
            while self.comments < count:
                line = await anext(self._lines)
                assert line in {"", ":"}
                self.comments += line == ":"

    async def rest(self) -> list[Any]:
        """The data of every event that is left; the stream ends after the one that says so."""
        found = []
        while (event := await self.next())[0] == "next":
            found.append(event[1])
        assert event == ("complete", None)
        async with asyncio.timeout(20):
            assert [line async for line in self._lines if line] == []
        return found


class Parts:
    """Reads Apollo's multipart as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._reader = Reader(response.headers["content-type"])
        self._chunks = response.aiter_raw()
        self._waiting: list[bytes] = []
        self._tail = b""
        self.heartbeats = 0

    async def next(self) -> tuple[str, Any]:
        """The next answer."""
        while True:
            async with asyncio.timeout(20):
                while not self._waiting:
                    await self._read()
            part = json.loads(self._waiting.pop(0))
            if part:
                return "next", part["payload"] if part["payload"] is not None else {"errors": part["errors"]}
            self.heartbeats += 1

    async def beats(self, count: int) -> None:
        """Wait for so many empty parts."""
        async with asyncio.timeout(20):
            while len(self._waiting) < count:
                await self._read()
        assert {*self._waiting} == {b"{}"}

    async def _read(self) -> None:
        chunk = await anext(self._chunks)
        self._tail = (self._tail + chunk)[-20:]
        self._waiting += self._reader.feed(chunk)

    async def rest(self) -> list[Any]:
        """Every answer that is left."""
        found = []
        try:
            while True:
                found.append((await self.next())[1])
        except StopAsyncIteration:
            pass
        assert self._tail.endswith(b"\r\n--graphql--\r\n")
        return found


class Served:
    """The world on a socket."""

    def __init__(self, world: World, app: App, client: httpx.AsyncClient) -> None:
        self.world = world
        self.app = app
        self.client = client

    @asynccontextmanager
    async def subscribing(
        self, accept: str, query: str = TICKED, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Any]:
        """Subscribe, by POST."""
        async with self.client.stream(
            "POST", "/graphql", json={"query": query}, headers={"accept": accept, **(headers or {})}
        ) as response:
            assert response.status_code == 200
            is_sse = response.headers["content-type"] == SSE
            yield Events(response) if is_sse else Parts(response)

    async def is_left_alone(self) -> None:
        """Wait until nothing is left of any subscription."""
        async with asyncio.timeout(20):
            await self.world.exchange.has(0)
            while self.world.router.state.subscriptions:  # noqa: ASYNC110 # a count has no event
                await asyncio.sleep(0)
        self.world.holds_nothing()


@asynccontextmanager
async def serving(config: Config | None = None, plugins: tuple[object, ...] = ()) -> AsyncIterator[Served]:
    """The world on a free port."""
    world = World(config, plugins=plugins)
    app = world.router.asgi()
    async with (
        listening(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield Served(world, app, client)


BOTH = pytest.mark.parametrize("accept", [SSE, MULTIPART], ids=["sse", "multipart"])


@BOTH
async def test_events_come_as_they_happen(accept: str) -> None:
    """Each is read before the next happens; the subgraph's end is the protocol's."""
    with complaints() as found:
        async with serving() as served:
            async with served.subscribing(accept) as stream:
                await served.world.exchange.has(1)
                assert served.app.requests_in_flight == 0
                for price in range(5):
                    served.world.exchange.tell("B", float(price))
                    ticked = {"symbol": "B", "price": float(price), "company": "Beta"}
                    assert await stream.next() == ("next", {"data": {"ticked": ticked}})
                served.world.exchange.end()
                assert await stream.rest() == []
            await served.is_left_alone()
    assert found == []


@BOTH
async def test_who_leaves_ends_the_subscription(accept: str) -> None:
    """A socket that is closed releases the subgraph."""
    with complaints() as found:
        async with serving() as served:
            async with served.subscribing(accept):
                await served.world.exchange.has(1)
            await served.is_left_alone()
    assert found == []


@BOTH
async def test_an_error_of_an_event_stays_in_it(accept: str) -> None:
    """The stream goes on behind it."""
    async with serving() as served, served.subscribing(accept, "subscription { strict { exact } }") as stream:
        await served.world.exchange.has(1)
        served.world.exchange.tell(price=None)
        _, failed = await stream.next()
        assert failed["data"] is None
        assert failed["errors"][0]["extensions"]["subgraph"] == "prices"
        served.world.exchange.tell(price=2.0)
        assert await stream.next() == ("next", {"data": {"strict": {"exact": 2.0}}})


@BOTH
async def test_the_reason_of_an_end_is_the_last_answer(accept: str) -> None:
    """It has errors and no data, and is followed by the protocol's end."""
    async with serving() as served:
        async with served.subscribing(accept) as stream:
            await served.world.exchange.has(1)
            served.world.router.end_subscriptions()
            [last] = await stream.rest()
            assert last["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_DRAINED"
            assert "data" not in last
        await served.is_left_alone()


@BOTH
async def test_a_token_that_expires_ends_the_stream(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle, with its code."""
    monkeypatch.setattr("trifolio.engine.time", SimpleNamespace(time=lambda: 1_000.0, perf_counter=time.perf_counter))
    async with (
        serving(plugins=(LogsIn(1_000.05),)) as served,
        served.subscribing(accept) as stream,
    ):
        [last] = await stream.rest()
        assert last["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_EXPIRED"


@BOTH
async def test_something_is_sent_while_nothing_happens(accept: str) -> None:
    """Heartbeats come as the limit says, and between events."""
    async with (
        serving(Config(limits=Limits(subscription_heartbeat_ms=20))) as served,
        served.subscribing(accept) as stream,
    ):
        await served.world.exchange.has(1)
        for price in range(3):
            await stream.beats(2)
            served.world.exchange.tell(price=float(price))
            assert (await stream.next())[1]["data"]["ticked"]["price"] == price


async def test_a_query_can_be_one_event() -> None:
    """Who takes nothing else gets the answer to a query, or what is wrong with it, as one event."""
    async with serving() as served:
        async with served.subscribing(SSE, '{ price(symbol: "A") { company } }') as stream:
            assert await stream.rest() == [{"data": {"price": {"company": "Alpha"}}}]
        async with served.subscribing(SSE, "subscription { nothing }") as stream:
            [answer] = await stream.rest()
            assert answer["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        both = await served.client.post(
            "/graphql", json={"query": '{ price(symbol: "A") { company } }'}, headers={"accept": MULTIPART}
        )
        assert both.headers["content-type"].startswith("application/json")
        only = await served.client.post(
            "/graphql",
            json={"query": '{ price(symbol: "A") { company } }'},
            headers={"accept": "multipart/mixed;subscriptionSpec=1.0"},
        )
        assert whole(only.content, only.headers["content-type"]) == [
            {"payload": {"data": {"price": {"company": "Alpha"}}}}
        ]


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "*/*"])
async def test_one_answer_is_no_stream(accept: str) -> None:
    """Who takes no stream is told how to ask for one."""
    async with serving() as served:
        answer = await served.client.post("/graphql", json={"query": TICKED}, headers={"accept": accept})
        assert answer.status_code == (406 if "graphql-response" in accept else 200)
        [error] = answer.json()["errors"]
        assert error["extensions"]["code"] == "SUBSCRIPTION_NEEDS_STREAM"
        assert SSE in error["message"]
        assert served.world.exchange.begun == 0


async def test_a_page_can_use_event_source() -> None:
    """EventSource sends GET and no header of its own; without protection from forgery it gets its events."""
    async with (
        serving(Config(csrf_protection=False)) as served,
        served.client.stream("GET", "/graphql", params={"query": TICKED}, headers={"accept": SSE}) as response,
    ):
        stream = Events(response)
        await served.world.exchange.has(1)
        served.world.exchange.tell("A", 3.0)
        assert (await stream.next())[1]["data"]["ticked"]["price"] == 3.0
    async with serving() as served:
        refused = await served.client.get("/graphql", params={"query": TICKED}, headers={"accept": SSE})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["extensions"]["code"] == "CSRF_REJECTED"


async def test_a_refusal_with_a_status_is_no_stream() -> None:
    """What a plug-in or a limit refuses has its status, and its headers, whatever the client takes."""

    class Refuses(Plugin):
        """Lets nobody in."""

        async def on_request(self, request: RequestContext) -> None:
            """Refuse."""
            raise Refused("UNAUTHENTICATED", "Log in.", status=401, headers={"www-authenticate": "Bearer"})

    async with serving(plugins=(Refuses(),)) as served:
        answer = await served.client.post("/graphql", json={"query": TICKED}, headers={"accept": SSE})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    async with serving(Config(limits=Limits(subscriptions_per_client_max=1))) as served:
        async with served.subscribing(SSE):
            await served.world.exchange.has(1)
            answer = await served.client.post("/graphql", json={"query": TICKED}, headers={"accept": SSE})
            assert answer.status_code == 429
        await served.is_left_alone()


async def test_plugins_set_the_headers_of_a_stream() -> None:
    """The beginning is shown to them, before anything is sent."""

    class Names(Plugin):
        """Adds a header."""

        async def on_response(self, response: ResponseContext) -> None:
            """To the first."""
            if response.is_first:
                response.add_header("x-named", "yes")

    async with serving(plugins=(Names(),)) as served, served.subscribing(SSE) as stream:
        assert stream.response.headers["x-named"] == "yes"
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"


async def test_a_client_that_never_reads_is_let_go() -> None:
    """What it does not take is bounded, and after the time to read the connection ends, and the subscription."""
    limits = Limits(send_timeout_ms=250, subscription_patience_ms=1, subscription_events_waiting_max=2)
    async with serving(Config(limits=limits)) as served:
        reader, writer = await asyncio.open_connection(
            served.client.base_url.host, served.client.base_url.port, limit=1
        )
        body = json.dumps({"query": "subscription { ticked { symbol } }"}).encode()
        writer.write(
            b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await served.world.exchange.has(1)
        async with asyncio.timeout(20):
            while served.world.exchange.channels:
                served.world.exchange.tell("x" * 100_000)
                await asyncio.sleep(0)
        await served.is_left_alone()
        writer.transport.abort()
        del reader


async def test_the_log_has_a_line_per_stream(caplog: pytest.LogCaptureFixture) -> None:
    """When it ends: how many events were sent, and the codes of what went wrong."""
    with caplog.at_level(logging.INFO, "trifolio.access"):
        async with serving() as served:
            async with served.subscribing(SSE) as stream:
                await served.world.exchange.has(1)
                served.world.exchange.tell()
                served.world.exchange.tell(price=None, exact=1.0)
                await stream.next()
                await stream.next()
                served.world.router.end_subscriptions()
                await stream.rest()
            await served.is_left_alone()
            metrics = served.app.metrics_text()
    [line] = [record.fields for record in caplog.records if record.name == "trifolio.access"]  # type: ignore[attr-defined]  # its own
    assert (line["events"], line["codes"], line["status"]) == (2, ["SUBSCRIPTION_DRAINED"], 200)
    assert "router_subscription_events_total 2\n" in metrics
    assert "router_subscriptions 0\n" in metrics
    assert 'router_operation_seconds_count{kind="subscription"} 1\n' in metrics
