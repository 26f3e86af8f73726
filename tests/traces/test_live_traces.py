"""`trifolio-trace: live`: fetches are told as they begin and end, and all else is as without."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest

from tests.parts.world import DEFER, DOWN, INCREMENTAL, Served, World, complaints, serving
from tests.server.conftest import listening
from tests.subscriptions.world import TICKED
from tests.subscriptions.world import World as EventsWorld
from trifolio.config import Config, SharingConfig
from trifolio.executor import Watch
from trifolio.executor.transport import SubgraphResponse
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.plugins import FetchContext, Plugin, RequestContext, ResponseContext, SendFetch
from trifolio.server import app as server
from trifolio.server.live_answers import LiveAnswer
from trifolio.traces import TRACE_HEADER

QUERY = "{ me { name homes { city } owed } }"
LIVE = {TRACE_HEADER: "live"}
ONCE = {TRACE_HEADER: "1"}
PERMITTED = Config(traces=True)
SSE = "text/event-stream,application/json"
EVENTS = "multipart/mixed;subscriptionSpec=1.0,application/json"
JSON = "application/graphql-response+json"


class Messages(Protocol):
    """What a response says, message by message."""

    async def next(self) -> Any:
        """The next message's JSON."""

    async def rest(self) -> list[Any]:
        """All others."""


class ServerSent:
    """Server-sent events of a response; the name of each must fit what it holds."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.has_ended = False

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(20):
            name = ""
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                if name == "complete":
                    self.has_ended = True
                    return None
                if line.startswith("data: {"):
                    told = json.loads(line.removeprefix("data: "))
                    assert name == ("next" if told.keys() & {"data", "errors"} else "trace")
                    return told
        raise AssertionError("it was broken off")

    async def rest(self) -> list[Any]:
        """Every other message."""
        found = []
        while (message := await self.next()) is not None:
            found.append(message)
        return found


@asynccontextmanager
async def asking(
    served: Served, query: str, accept: str, headers: Mapping[str, str] = LIVE
) -> AsyncIterator[tuple[httpx.Response, Messages]]:
    """Ask, and read the messages as they come."""
    if not accept.startswith("text/event-stream"):
        async with served.asking(query, accept=accept, headers=headers) as stream:
            yield stream.response, stream
        return
    body = {"query": query}
    sent = {"accept": accept, **headers}
    async with served.client.stream("POST", "/graphql", json=body, headers=sent) as response:
        yield response, ServerSent(response)


def read(message: Any) -> Any:
    """A message without its envelope, which is that of Apollo's protocol."""
    return message.get("payload", message)


def told_by(message: Any) -> Any:
    """The trace that a message has."""
    return read(message)["extensions"]["trace"]


def ends(told: Any) -> dict[str, bool]:
    """Which subgraphs' fetches it tells of, and whether they have ended."""
    return {each["subgraph"]: each["ended"] for each in told["fetches"]}


async def until(messages: Messages, subgraph: str) -> list[Any]:
    """The messages up to the one that tells of a fetch, and how it stands then."""
    found: list[Any] = []
    while not found or subgraph not in ends(told_by(found[-1])):
        found.append(await messages.next())
    return found


@pytest.mark.parametrize("accept", [SSE, EVENTS, DEFER, INCREMENTAL])
async def test_a_fetch_is_told_before_its_subgraph_has_answered(accept: str) -> None:
    """What waits is told as it waits, with what it asks; then its end; then the answer, which is that of any request,
    with the whole trace."""
    async with serving(PERMITTED) as served:
        async with asking(served, QUERY, accept) as (response, messages):
            assert response.status_code == 200
            assert response.headers["x-accel-buffering"] == "no"
            before = await until(messages, "places")
            assert served.world.places.in_flight == 1
            assert all("data" not in read(each) for each in before)
            assert [each["subgraph"] for each in told_by(before[0])["plan"]] == ["people", "places", "debts"]
            assert [each for each in before[1:] if "plan" in told_by(each)] == []
            [waiting] = [each for each in told_by(before[-1])["fetches"] if each["subgraph"] == "places"]
            assert (waiting["ended"], waiting["entities"], waiting["requests"]) == (False, 1, 1)
            assert waiting["variables"] == {"representations": [{"__typename": "Person", "id": "1"}]}
            served.world.places.open.set()
            rest = await messages.rest()
        answer = read(rest[-1])
        assert all("data" not in read(each) for each in rest[:-1])
        assert ends(told_by(rest[-1])) == {"people": True, "places": True, "debts": True}
        plain = (await served.post(QUERY, accept=JSON)).json()
        assert answer["data"] == plain["data"]
        assert "errors" not in answer
        assert len(told_by(rest[-1])["plan"]) == 3


async def test_the_first_fetch_of_all_is_told_as_well() -> None:
    """Nothing has come of any subgraph, and the client knows the plan and who is asked."""
    async with serving(PERMITTED) as served:
        served.world.people.open.clear()
        async with asking(served, QUERY, SSE) as (_, messages):
            first = told_by(await messages.next())
            assert served.world.people.in_flight == 1
            assert ends(first) == {"people": False}
            assert len(first["plan"]) == 3
            served.world.people.open.set()
            served.world.places.open.set()
            await messages.rest()
        await served.has_nothing_in_flight()
        assert len(served.world.told.ended) == 1


async def test_messages_are_of_what_is_new() -> None:
    """A fetch is told when it begins and when it ends, and not again in between."""
    async with serving(PERMITTED) as served:
        served.world.people.open.clear()
        async with asking(served, QUERY, DEFER) as (_, messages):
            await messages.next()
            served.world.people.open.set()
            before = await until(messages, "places")
            served.world.places.open.set()
            rest = await messages.rest()
        seen = [
            (each["id"], each["ended"]) for message in (*before, *rest[:-1]) for each in told_by(message)["fetches"]
        ]
        assert len(seen) == len(set(seen))
        assert len(seen) <= 2 * 3


@pytest.mark.parametrize("accept", [DEFER, INCREMENTAL])
async def test_parts_and_what_happens_between_them(accept: str) -> None:
    """A fetch of a deferred part that begins behind the first answer is told while it waits."""
    async with serving(PERMITTED) as served:
        served.world.debts.open.clear()
        query = "{ me { name homes { city } ... @defer { owed } } }"
        async with asking(served, query, accept) as (_, messages):
            served.world.places.open.set()
            found = [await messages.next()]
            while "data" not in found[-1]:
                found.append(await messages.next())
            assert found[-1]["data"] == {"me": {"name": "Ada", "homes": [{"city": "London"}]}}
            assert found[-1]["hasNext"] is True
            served.world.debts.open.set()
            rest = await messages.rest()
        assert [each["hasNext"] for each in (*found, *rest)][-2:] == [True, False]
        assert rest[-1]["incremental"][0]["data"] == {"owed": 1}
        assert all(ends(rest[-1]["incremental"][-1]["extensions"]["trace"]).values())
        assert len(served.world.told.ended) == 1


async def test_a_part_with_a_slow_fetch_is_told_between_the_parts() -> None:
    """One part is here, and the other's fetch ends later: its end is told although no part came with its beginning."""
    async with serving(PERMITTED) as served:
        served.world.debts.open.clear()
        query = (
            '{ me { name ... @defer(label: "a") { homes { city } } ... @defer(label: "b") { homes { street } owed } } }'
        )
        async with asking(served, query, DEFER) as (_, messages):
            found = await until(messages, "debts")
            while not any("data" in each for each in found):
                found.append(await messages.next())
            served.world.places.open.set()
            between = await until(messages, "places")
            while not ends(told_by(between[-1]))["places"]:
                between += await until(messages, "places")
            assert "data" not in between[-1]
            assert served.world.debts.in_flight == 1
            served.world.debts.open.set()
            rest = await messages.rest()
        assert rest[-1]["hasNext"] is False


@pytest.mark.parametrize("accept", [SSE, DEFER])
async def test_a_mutation_is_told_and_done_once(accept: str) -> None:
    """A mutation is told like a query."""
    async with serving(PERMITTED) as served:
        served.world.people.open.clear()
        async with asking(served, "mutation { rename { name } }", accept) as (_, messages):
            told = told_by(await messages.next())
            assert [each["kind"] for each in told["plan"]] == ["mutation"]
            assert ends(told) == {"people": False}
            served.world.people.open.set()
            rest = await messages.rest()
        assert read(rest[-1])["data"] == {"rename": {"name": "Ada"}}
        assert served.world.people.sent == 1


# ---- what is answered as ever ----


@pytest.mark.parametrize(
    ("query", "status"),
    [("{ nothing }", 400), ("{ me {", 400), ("query ($a: Int!) { me { name } }", 400), ("{ __typename }", 200)],
)
@pytest.mark.parametrize("accept", [f"text/event-stream,{JSON}", f"multipart/mixed;deferSpec=20220824,{JSON}"])
async def test_what_fetches_nothing_is_answered_as_ever(query: str, status: int, accept: str) -> None:
    """A refusal has its status and its media type, as has an answer that the router knows by itself."""
    async with serving(PERMITTED) as served:
        live = await served.client.post("/graphql", json={"query": query}, headers={"accept": accept, **LIVE})
        plain = await served.client.post("/graphql", json={"query": query}, headers={"accept": accept})
        told, ever = live.json(), plain.json()
        assert (live.status_code, live.headers["content-type"]) == (status, plain.headers["content-type"])
        told.pop("extensions", None)
        assert told == ever


@pytest.mark.parametrize(
    ("config", "accept", "headers", "has_trace"),
    [
        (Config(), SSE, LIVE, False),
        (Config(), DEFER, LIVE, False),
        (PERMITTED, JSON, LIVE, True),
        (PERMITTED, SSE, ONCE, True),
        (PERMITTED, DEFER, {TRACE_HEADER: "live, live"}, False),
        (PERMITTED, SSE, {}, False),
    ],
)
async def test_nobody_else_is_told_before_the_answer(
    config: Config, accept: str, headers: Mapping[str, str], *, has_trace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where traces are off, the client takes one message only, or asks otherwise: one answer, and nothing is made for
    more than that."""
    made: list[LiveAnswer] = []

    class Counted(LiveAnswer):
        """It is seen."""

        def __init__(self, *arguments: Any) -> None:
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(server, "LiveAnswer", Counted)
    async with serving(config) as served:
        served.world.places.open.set()
        response = await served.client.post("/graphql", json={"query": QUERY}, headers={"accept": accept, **headers})
        assert response.headers["content-type"].startswith("application/")
        assert ("extensions" in response.json()) is has_trace
        assert made == []
        if config.traces:
            await served.client.post("/graphql", json={"query": QUERY}, headers={"accept": SSE, **LIVE})
            assert len(made) == 1


async def test_a_plugin_that_has_a_say_in_the_answer_keeps_it() -> None:
    """Where a plug-in may choose status and headers, these wait for it, and the trace comes with the answer."""

    class Decorating(Plugin):
        """It changes what can only be said first."""

        async def on_response(self, response: ResponseContext, /) -> None:
            """By a status and a header."""
            response.status = 202
            response.add_header("x-own", "yes")

    world = World()
    router = Router(
        world.router.supergraph, config=PERMITTED, transports=world.router.transports, plugins=(Decorating(),)
    )
    world.places.open.set()
    async with listening(router.asgi()) as url, httpx.AsyncClient(trust_env=False, timeout=20) as client:
        response = await client.post(f"{url}/graphql", json={"query": QUERY}, headers={"accept": DEFER, **LIVE})
    assert (response.status_code, response.headers["x-own"]) == (202, "yes")
    assert all(ends(told_by(response.json())).values())


async def test_what_plugins_do_to_fetches_is_told() -> None:
    """A plug-in around fetches, which has no say in the answer, is seen at work."""

    class Answering(Plugin):
        """It answers for one subgraph."""

        async def on_fetch(self, fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
            """By itself."""
            if fetch.subgraph == "debts":
                return SubgraphResponse(payload={"data": {"_entities": [{"owed": 3}]}})
            return await send(fetch)

    world = World()
    router = Router(
        world.router.supergraph, config=PERMITTED, transports=world.router.transports, plugins=(Answering(),)
    )
    async with (
        listening(router.asgi()) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
        asking(Served(world, url, client), QUERY, SSE) as (_, messages),
    ):
        found = await until(messages, "debts")
        world.places.open.set()
        found += await messages.rest()
    [spared] = [each for each in told_by(found[-1])["fetches"] if each["subgraph"] == "debts"]
    assert (spared["cached"], spared["requests"]) == (True, 0)
    assert found[-1]["data"]["me"]["owed"] == 3


async def test_a_subscription_has_its_events_as_ever() -> None:
    """What has many answers has a trace with each, and nothing else comes."""
    world = EventsWorld(PERMITTED)
    async with (
        listening(world.router.asgi()) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
        client.stream("POST", "/graphql", json={"query": TICKED}, headers={"accept": SSE, **LIVE}) as response,
    ):
        events = ServerSent(response)
        await world.exchange.has(1)
        world.exchange.tell("A", 2.0)
        told = await events.next()
        assert [each["ended"] for each in told_by(told)["fetches"]] == [True, True]
    await world.router.close()


async def test_a_live_trace_is_of_ones_own_request() -> None:
    """A query that could share another's answer is answered by itself."""
    world = World(replace(PERMITTED, sharing=SharingConfig(queries=True)))
    assert world.router.sharing_key(QUERY, None, None, LIVE) is None
    world.places.open.set()
    seen: list[int] = []
    watch = Watch(lambda: seen.append(1))
    await world.router.answer(QUERY, watch=watch)
    assert (seen, watch.take()) == ([], None)


# ---- failures ----


@pytest.mark.parametrize("accept", [SSE, EVENTS, DEFER, INCREMENTAL])
async def test_what_takes_too_long_is_said_in_the_answer(accept: str) -> None:
    """The status is out, so the refusal is the last message; its trace tells what took the time."""
    config = replace(PERMITTED, limits=Limits(operation_timeout_ms=200, fetch_timeout_ms=200))
    with complaints() as found:
        async with serving(config) as served:
            async with asking(served, QUERY, accept) as (response, messages):
                rest = await messages.rest()
            assert response.status_code == 200
            answer = read(rest[-1]) or rest[-1]
            assert "data" not in answer
            assert [each["extensions"]["code"] for each in answer["errors"]] == ["OPERATION_TIMEOUT"]
            await served.has_nothing_in_flight()
            assert served.world.places.cancelled == 1
    assert found == []


async def test_a_fetch_that_fails_ends_with_its_code() -> None:
    """The failure is told when it happens, before the answer that lacks it."""
    async with serving(PERMITTED) as served:
        served.world.places.failure = DOWN
        served.world.debts.open.clear()
        async with asking(served, QUERY, SSE) as (_, messages):
            await until(messages, "places")
            served.world.places.open.set()
            found = await until(messages, "places")
            [failed] = [each for each in told_by(found[-1])["fetches"] if each["subgraph"] == "places"]
            assert (failed["ended"], failed["code"]) == (True, "SUBGRAPH_UNREACHABLE")
            assert served.world.debts.in_flight == 1
            served.world.debts.open.set()
            rest = await messages.rest()
        assert rest[-1]["data"]["me"] == {"name": "Ada", "homes": None, "owed": 1}
        assert [each["extensions"]["code"] for each in rest[-1]["errors"]] == ["SUBGRAPH_UNREACHABLE"]


@pytest.mark.parametrize("accept", [SSE, DEFER])
async def test_who_leaves_ends_the_fetches(accept: str) -> None:
    """A socket that is closed while the bars grow cancels what is in flight for it."""
    with complaints() as found:
        async with serving(PERMITTED) as served:
            async with asking(served, QUERY, accept) as (_, messages):
                await until(messages, "places")
            await asyncio.wait_for(served.world.places.ended.wait(), 20)
            await served.has_nothing_in_flight()
            assert served.world.places.cancelled == 1
    assert found == []


async def test_who_leaves_before_anything_is_told_ends_the_request() -> None:
    """While there is no fetch yet, nothing was sent, and whoever goes takes the request along."""

    class Waiting(Plugin):
        """It lets no request through."""

        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.given_up = asyncio.Event()

        async def on_request(self, request: RequestContext, /) -> None:
            """Without end."""
            self.asked.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.given_up.set()
                raise

    world, waiting = World(), Waiting()
    router = Router(world.router.supergraph, config=PERMITTED, transports=world.router.transports, plugins=(waiting,))
    app = router.asgi()
    with complaints() as found:
        async with listening(app) as url, httpx.AsyncClient(trust_env=False, timeout=20) as client:
            body, headers = {"query": QUERY}, {"accept": SSE, **LIVE}
            asked = asyncio.ensure_future(client.post(f"{url}/graphql", json=body, headers=headers))
            await waiting.asked.wait()
            asked.cancel()
            await asyncio.wait({asked})
            await asyncio.wait_for(waiting.given_up.wait(), 20)
            async with asyncio.timeout(20):
                while app.requests_in_flight:  # noqa: ASYNC110 # a count has no event
                    await asyncio.sleep(0)
    assert (found, world.people.sent) == ([], 0)


async def test_who_leaves_between_parts_ends_the_fetches() -> None:
    """The parts that were to come are closed, whatever was waited for."""
    with complaints() as found:
        async with serving(PERMITTED) as served:
            async with asking(served, "{ me { name ... @defer { homes { city } } } }", DEFER) as (_, messages):
                while "data" not in await messages.next():
                    pass
                await served.world.places.asked.wait()
            await asyncio.wait_for(served.world.places.ended.wait(), 20)
            await served.has_nothing_in_flight()
            assert len(served.world.told.ended) == 1
    assert found == []


async def test_a_mutation_goes_on_when_its_client_has_left() -> None:
    """Effects are not half done because nobody looks on."""
    with complaints() as found:
        async with serving(PERMITTED) as served:
            served.world.people.open.clear()
            async with asking(served, "mutation { rename { name } }", SSE) as (_, messages):
                await messages.next()
            async with asyncio.timeout(20):
                while served.world.app.requests_in_flight:  # noqa: ASYNC110 # a count has no event
                    await asyncio.sleep(0)
            assert served.world.people.in_flight == 1
            served.world.people.open.set()
            await served.has_nothing_in_flight()
            assert (served.world.people.sent, served.world.people.cancelled) == (1, 0)
    assert found == []


class Client:
    """One ASGI conversation of a client that takes what is sent while it may."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.left = asyncio.Event()
        self.sent: list[Any] = []
        self._has_asked = False

    async def receive(self) -> dict[str, Any]:
        """The request, then its end."""
        if not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": json.dumps({"query": QUERY}).encode()}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a message."""
        await self.takes.wait()
        self.sent.append(message)

    async def ask(self, world: World) -> None:
        """Have the whole conversation."""
        names = {"content-type": "application/json", "accept": DEFER, **LIVE}
        headers = [(name.encode(), value.encode()) for name, value in names.items()]
        scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
        await world.app(scope, self.receive, self.send)


async def test_who_does_not_read_is_told_less() -> None:
    """What has happened while a client took nothing is not kept message by message: the answer has it."""
    world = World(PERMITTED)
    world.places.open.set()
    client = Client()
    asked = asyncio.ensure_future(client.ask(world))
    for _ in range(200):
        await asyncio.sleep(0)
    assert (client.sent, world.in_flight) == ([], 0)
    client.takes.set()
    await asked
    bodies = [each["body"] for each in client.sent if b'"extensions"' in each.get("body", b"")]
    assert len(bodies) == 1
    assert b'"data"' in bodies[0]


async def test_who_never_reads_is_given_up() -> None:
    """A client that takes nothing for `operation_timeout_ms` is as good as gone, and so is all that was for it."""
    world = World(replace(PERMITTED, limits=Limits(operation_timeout_ms=50)))
    client = Client()
    await asyncio.wait_for(client.ask(world), 20)
    assert (client.sent, world.in_flight, world.app.requests_in_flight) == ([], 0, 0)
    assert len(world.told.ended) == 1


async def test_what_is_kept_for_who_does_not_take_it_is_bounded() -> None:
    """However often it is told of a fetch, a watch has it once, as it is when it is taken."""
    world = World(PERMITTED)
    told: list[int] = []
    watch = Watch(lambda: told.append(1))
    world.places.open.set()
    await world.router.answer(QUERY, headers=LIVE, watch=watch)
    assert len(told) == 6
    news = watch.take()
    assert news is not None
    assert ends(news) == {"people": True, "places": True, "debts": True}
    assert watch.take() is None
