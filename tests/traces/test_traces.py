"""`extensions.trace`: who is told, what, and that nobody else pays for it."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.parts.world import DEFER, INCREMENTAL
from tests.parts.world import World as PartsWorld
from tests.server.conftest import SUPERGRAPH, listening
from tests.server.subgraphs import SubgraphApp, people, places
from tests.subscriptions.world import TICKED
from tests.subscriptions.world import World as EventsWorld
from trifolio.config import Config, SharingConfig
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor import fetch as fetches
from trifolio.executor import traces
from trifolio.executor.local import LocalTransport
from trifolio.executor.pool import PooledTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.plugins import FetchContext, Plugin, SendFetch
from trifolio.response import Response

BOTH = "{ me { name homes { city } } }"
ASKING = {"Trifolio-Trace": "1"}
PERMITTED = Config(traces=True)


class Failing:
    """A transport that has nothing, or breaks."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    async def send(self, request: SubgraphRequest) -> SubgraphResponse:
        """It does not."""
        raise self._failure

    async def close(self) -> None:
        """Nothing is held."""


def router(config: Config = PERMITTED, plugins: tuple[object, ...] = (), **transports: Transport) -> Router:
    """Two subgraphs in memory, or others in their places."""
    own: dict[str, Transport] = {"people": LocalTransport(people()), "places": LocalTransport(places())}
    return Router(SUPERGRAPH, config=config, plugins=plugins, transports={**own, **transports})


def trace_of(response: Response) -> Any:
    """What the response says of its fetches."""
    assert response.extensions is not None
    return json.loads(response.encode())["extensions"]["trace"]


async def traced(own: Router, query: str = BOTH, variables: Mapping[str, object] | None = None) -> Any:
    """Ask for a trace."""
    return trace_of(await own.execute(query, variables=variables, headers=ASKING))


async def test_a_trace_has_the_plan_and_every_fetch() -> None:
    """The plan is that of the operation; each fetch says when it was, what it asked and for how many objects."""
    own = router()
    first, again = await traced(own), await traced(own)
    assert (first["planCached"], again["planCached"]) == (False, True)
    users, homes = first["plan"]
    assert (users["subgraph"], users["dependsOn"], users["entities"], users["paths"]) == ("people", [], False, [""])
    assert (homes["subgraph"], homes["dependsOn"], homes["entities"], homes["paths"]) == ("places", [0], True, ["me"])
    assert "_entities" in homes["operation"]
    asked, joined = first["fetches"]
    assert [asked["id"], joined["id"]] == [0, 1]
    assert (asked["requests"], asked["entities"], joined["entities"]) == (1, 0, 1)
    assert (asked["ended"], joined["ended"]) == (True, True)
    assert 0 <= asked["startMs"] <= asked["startMs"] + asked["durationMs"] <= joined["startMs"] + 0.002
    assert joined["startMs"] + joined["durationMs"] <= first["durationMs"] + 0.002
    [representations] = joined["variables"].values()
    assert [each["__typename"] for each in representations] == ["Person"]
    assert joined["variablesBytes"] == len(json.dumps(joined["variables"], separators=(",", ":")))


@pytest.mark.parametrize(
    ("config", "headers"),
    [
        (Config(), ASKING),
        (PERMITTED, {}),
        (PERMITTED, {"trifolio-trace": "0"}),
        (PERMITTED, {"trifolio-trace": "1, 1"}),
        (PERMITTED, {"trifolio-trace": ""}),
    ],
)
async def test_nobody_else_is_told(config: Config, headers: Mapping[str, str]) -> None:
    """Without the configuration's leave, and without the header, the answer is what it always was."""
    response = await router(config).execute(BOTH, headers=headers)
    assert response.extensions is None
    assert not response.errors


async def test_who_does_not_ask_has_a_plain_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution that tells is made for a request that asks, and for no other."""
    made = []
    begin = traces.Trace.begin

    def count(self: traces.Trace, asked: Any) -> traces.FetchTrace:
        made.append(self)
        return begin(self, asked)

    monkeypatch.setattr(traces.Trace, "begin", count)
    own = router()
    await own.execute(BOTH)
    assert made == []
    await own.execute(BOTH, headers=ASKING)
    assert len(made) == 2
    assert issubclass(traces.TracedExecution, fetches.Execution)


async def test_data_and_errors_are_the_same_with_a_trace() -> None:
    """What is asked and what fails is answered as without."""
    failing = Failing(SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "places"))
    for own in (router(), router(places=failing), router(people=failing)):
        for query in (BOTH, 'mutation { rename(name: "X") { name homes { city } } }', "{ __typename }"):
            plain, told = await own.execute(query), await own.execute(query, headers=ASKING)
            assert (told.data, told.errors, told.refusal) == (plain.data, plain.errors, plain.refusal)
            assert told.extensions is not None


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "places"), "SUBGRAPH_TIMEOUT"),
        (RuntimeError("a bug"), "INTERNAL_SERVER_ERROR"),
    ],
)
async def test_a_fetch_that_fails_says_why(failure: Exception, code: str) -> None:
    """The code of the failure stands at its fetch, which is neither cached nor shared."""
    told = await traced(router(places=Failing(failure)))
    people_fetch, places_fetch = told["fetches"]
    assert people_fetch["code"] is None
    assert (places_fetch["code"], places_fetch["requests"], places_fetch["bytes"]) == (code, 1, None)
    assert (places_fetch["cached"], places_fetch["shared"], places_fetch["ended"]) == (False, False, True)


async def test_errors_of_a_subgraph_are_counted() -> None:
    """What the subgraph itself complains of is counted at its fetch, sent as text or handed over."""
    errors = [{"message": "no"}, {"message": "nor that"}]
    payload = {"data": {"_entities": [None]}, "errors": errors}
    for response in (SubgraphResponse(payload=payload), SubgraphResponse(body=json.dumps(payload).encode())):

        class Complaining(Failing):
            """It has its answer ready."""

            async def send(self, request: SubgraphRequest, own: SubgraphResponse = response) -> SubgraphResponse:
                """The same for everybody."""
                return replace(own)

        told = await traced(router(places=Complaining(RuntimeError())))
        assert [each["errors"] for each in told["fetches"]] == [0, 2]
        assert told["fetches"][1]["bytes"] == (None if response.body is None else len(response.body))


async def test_garbage_is_the_fetchs_own_trouble() -> None:
    """An answer that is no JSON is counted in bytes, and the response has the error that it always has."""

    class Garbling(Failing):
        """It does not speak JSON."""

        async def send(self, request: SubgraphRequest) -> SubgraphResponse:
            """What nobody can read."""
            return SubgraphResponse(body=b"<html>" + b"[" * 2000)

    response = await router(places=Garbling(RuntimeError())).execute(BOTH, headers=ASKING)
    assert [error.code for error in response.errors] == [ErrorCode.SUBGRAPH_RESPONSE_MALFORMED]
    assert trace_of(response)["fetches"][1]["bytes"] == 2006


class Answering(Plugin):
    """Answers for one subgraph by itself, or tries another again."""

    def __init__(self, subgraph: str, tries: int) -> None:
        self._subgraph = subgraph
        self._tries = tries

    async def on_fetch(self, fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        """By sending as often as it is told to."""
        if fetch.subgraph != self._subgraph:
            return await send(fetch)
        response = SubgraphResponse(payload={"data": {"_entities": [None]}})
        for _ in range(self._tries):
            response = await send(fetch)
        return response


@pytest.mark.parametrize(("tries", "cached"), [(0, True), (1, False), (3, False)])
async def test_what_a_plugin_does_is_seen(tries: int, *, cached: bool) -> None:
    """A plug-in that answers by itself sends no request, and one that tries again sends several."""
    told = await traced(router(plugins=(Answering("places", tries),)))
    assert [each["requests"] for each in told["fetches"]] == [1, tries]
    assert [each["cached"] for each in told["fetches"]] == [False, cached]


async def test_large_variables_are_left_out() -> None:
    """Variables beyond the limit are told by their size alone."""
    config = replace(PERMITTED, limits=Limits(trace_variables_bytes_max=10))
    told = await traced(router(config))
    root, joined = told["fetches"]
    assert (root["variables"], root["variablesBytes"]) == ({}, 2)
    assert joined["variables"] is None
    assert joined["variablesBytes"] > 10


async def test_what_is_refused_has_no_trace() -> None:
    """Where there is no plan there is nothing to tell."""
    response = await router().execute("{ nothing }", headers=ASKING)
    assert response.refusal is not None
    assert response.extensions is None


async def test_a_fetch_under_way_is_told_as_such() -> None:
    """Where the time is over, the trace says which fetch took it."""

    class Hanging(Failing):
        """It takes its time."""

        async def send(self, request: SubgraphRequest) -> SubgraphResponse:
            """Without end."""
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    config = replace(PERMITTED, limits=Limits(operation_timeout_ms=50, fetch_timeout_ms=50))
    response = await router(config, places=Hanging(RuntimeError())).execute(BOTH, headers=ASKING)
    assert response.refusal is not None
    assert [each["ended"] for each in trace_of(response)["fetches"]] == [True, False]


async def test_parts_tell_it_as_it_is_then() -> None:
    """Each part has the trace with the fetches by then; the plan is told once, and marks what is deferred."""
    world = PartsWorld(PERMITTED)
    query = '{ me { name ... @defer(label: "homes") { homes { city } } ... @defer(label: "owed") { owed } } }'
    async with aclosing(world.router.stream(query, headers=ASKING)) as stream:
        first = await anext(stream)
        await anext(stream)
        world.places.open.set()
        last = await anext(stream)
    told: list[Any] = [dict(part.extensions or {})["trace"] for part in (first, last)]
    assert [each["deferred"] for each in told[0]["plan"]] == [False, True, True]
    assert "plan" not in told[1]
    assert len(told[1]["fetches"]) == 3
    assert all(each["ended"] for each in told[1]["fetches"])


@pytest.mark.parametrize("accept", [DEFER, INCREMENTAL])
async def test_parts_tell_it_over_http(accept: str) -> None:
    """Both formats carry it: with the first part, and beside an increment."""
    world = PartsWorld(PERMITTED)
    world.places.open.set()
    query = "{ me { name ... @defer { homes { city } } } }"
    async with listening(world.router.asgi()) as url, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        response = await client.post(f"{url}/graphql", json={"query": query}, headers={**ASKING, "accept": accept})
    bodies = [json.loads(line) for line in response.text.splitlines() if line.startswith("{")]
    assert "plan" in bodies[0]["extensions"]["trace"]
    assert len(bodies[-1]["incremental"][-1]["extensions"]["trace"]["fetches"]) == 2


async def test_every_event_has_its_own() -> None:
    """An event's trace has the event itself, and the fetches that were made for it."""
    world = EventsWorld(PERMITTED)
    async with aclosing(world.router.stream(TICKED, headers=ASKING)) as stream:
        reading = asyncio.ensure_future(anext(stream))
        await world.exchange.has(1)
        world.exchange.tell("A", 2.0)
        first = await reading
        world.exchange.tell("B", 3.0)
        second = await anext(stream)
    for part in (first, second):
        told: Any = dict(part.extensions or {})["trace"]
        assert [each["subgraph"] for each in told["fetches"]] == ["prices", "companies"]
        assert (told["fetches"][0]["startMs"], told["fetches"][0]["durationMs"]) == (0, 0)
        assert told["fetches"][1]["entities"] == 1
    await world.router.close()


async def test_who_asks_gets_no_other_requests_answer() -> None:
    """A query that could share is answered by itself where it wants to be told how."""
    config = Config(traces=True, sharing=SharingConfig(queries=True))
    both = {"people": people(), "places": places()}
    async with AsyncExitStack() as running:
        urls = {
            name: await running.enter_async_context(listening(SubgraphApp(schema))) for name, schema in both.items()
        }
        own = Router(SUPERGRAPH, config=config, transports={name: PooledTransport(url) for name, url in urls.items()})
        await running.enter_async_context(own)
        await own.execute(BOTH)
        assert own.sharing_key(BOTH, None, None, {}) is not None
        assert own.sharing_key(BOTH, None, None, {"trifolio-trace": "1"}) is None
