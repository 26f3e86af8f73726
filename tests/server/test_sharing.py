"""Equal work that is under way at the same time: who shares it, who must not, and what it counts as."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.executor.peers import server
from tests.server.conftest import SUPERGRAPH, listening
from tests.server.subgraphs import people, places
from trifolio.config import Config, HeadersConfig, MetricsConfig, SharingConfig, SubgraphConfig
from trifolio.executor.local import LocalTransport
from trifolio.executor.pool import Exchanged, PooledTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.gateway import Router
from trifolio.plugins import Plugin, RequestContext
from trifolio.sharing import Sharing

ME = "{ me { name } }"
RENAME = 'mutation { rename(name: "X") { name } }'


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


# ---- by itself ----


@dataclass
class Asked:
    """One who asked, and what had been written by then."""

    key: str
    written: int
    task: "asyncio.Task[tuple[tuple[str, int], bool]]"


@dataclass
class World:
    """Somebody writes, others read what was written; each read takes until its gate opens."""

    sharing: Sharing[tuple[str, int]] = field(default_factory=Sharing)
    written: int = 0
    gates: list["asyncio.Future[None]"] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def ask(self, key: str) -> None:
        """Somebody wants the result for a key."""

        async def work() -> tuple[str, int]:
            read = key, self.written
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            await gate
            return read

        self.asked.append(Asked(key, self.written, asyncio.ensure_future(self.sharing.share(key, work))))

    def write(self) -> None:
        """A write has ended."""
        self.written += 1
        self.sharing.part()

    def end(self, failure: Exception | None) -> None:
        """The work that was begun first ends."""
        for gate in self.gates:
            if not gate.done():
                if failure is None:
                    gate.set_result(None)
                else:
                    gate.set_exception(failure)
                return


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("ab")),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.booleans()),
        st.tuples(st.just("write"), st.none()),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=30,
)


@given(STEPS)
def test_everybody_gets_what_they_could_have_read(steps: list[tuple[str, object]]) -> None:
    """Whoever asks, gives up, fails and writes, in whatever order: each result is that of its own key, has all that was
    written before it was asked for, and nobody waits for ever or is cancelled with another."""

    async def play() -> None:
        world = World()
        cancelled: set[int] = set()
        for step, value in steps:
            if step == "ask":
                world.ask(str(value))
            elif step == "cancel" and isinstance(value, int) and value < len(world.asked):
                if world.asked[value].task.cancel():
                    cancelled.add(value)
            elif step == "end":
                world.end(OSError("broken") if value else None)
            elif step == "write":
                world.write()
            else:
                await settle()
        for _ in range(2 * len(world.asked) + 1):
            await settle()
            world.end(None)
        await settle()
        for number, asked in enumerate(world.asked):
            assert asked.task.done()
            assert asked.task.cancelled() == (number in cancelled)
            if not asked.task.cancelled() and asked.task.exception() is None:
                (key, read), _ = asked.task.result()
                assert key == asked.key
                assert read >= asked.written
        assert len(world.sharing) == 0

    asyncio.run(play())


async def test_one_does_the_work() -> None:
    """Of three who ask for the same, one does the work, and each is told whether it was they."""
    world = World()
    for key in "aab":
        world.ask(key)
    await settle()
    world.ask("a")
    await settle()
    assert len(world.gates) == 2
    world.end(None)
    await settle()
    assert [asked.task.result()[1] for asked in world.asked if asked.key == "a"] == [False, True, True]
    world.end(None)
    await settle()


async def test_who_gives_up_takes_nobody_along() -> None:
    """When the one who does the work is cancelled, the first of the others does it."""
    world = World()
    for _ in range(3):
        world.ask("a")
    await settle()
    world.asked[0].task.cancel()
    await settle()
    assert [gate.cancelled() for gate in world.gates] == [True, False]
    world.gates[1].set_result(None)
    await settle()
    assert [asked.task.result() for asked in world.asked[1:]] == [(("a", 0), False), (("a", 0), True)]


# ---- requests to a subgraph ----


@asynccontextmanager
async def subgraph() -> AsyncIterator[tuple[str, list[bytes], asyncio.Event]]:
    """A subgraph that answers everything when its gate is open."""
    gate = asyncio.Event()

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        body = b'{"data": {"me": {"name": "Ada"}}}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)

    async with server(respond) as (url, seen):
        yield url, seen, gate


async def asked_together(
    url: str, gate: asyncio.Event, *requests: SubgraphRequest, sharing: Sharing[Exchanged] | None
) -> list[SubgraphResponse]:
    """The responses to requests that are under way at the same time."""
    transport = PooledTransport(url, sharing=sharing)
    try:
        sending = [asyncio.ensure_future(transport.send(request)) for request in requests]
        await settle()
        gate.set()
        return await asyncio.gather(*sending)
    finally:
        await transport.close()


def request(token: str = "t", kind: str = "query", **variables: object) -> SubgraphRequest:
    """One request."""
    operation = {"query": ME, "mutation": RENAME}[kind]
    return SubgraphRequest("people", kind, operation, variables, {"authorization": token, "x-own": token})  # type: ignore[arg-type]  # one of its words


async def test_equal_fetches_are_one() -> None:
    """The same operation, variables and forwarded headers go out once; each response can be changed by itself."""
    async with subgraph() as (url, seen, gate):
        first, second = await asked_together(url, gate, request(n=1), request(n=1), sharing=Sharing())
    assert len(seen) == 1
    assert first.body == second.body
    assert (first.is_shared, second.is_shared) == (False, True)


@pytest.mark.parametrize(
    "other",
    [request("u", n=1), request(n=2), request(n=1.0), request(), request("t", "mutation", n=1)],
    ids=["another caller", "another variable", "a variable of another type", "no variable", "a mutation"],
)
async def test_others_are_not(other: SubgraphRequest) -> None:
    """Whatever differs in what the subgraph is sent goes out by itself."""
    async with subgraph() as (url, seen, gate):
        responses = await asked_together(url, gate, request(n=1), other, sharing=Sharing())
    assert len(seen) == 2
    assert not any(response.is_shared for response in responses)


async def test_equal_mutations_are_two() -> None:
    """A mutation is sent as often as it was asked for."""
    async with subgraph() as (url, seen, gate):
        await asked_together(url, gate, request(kind="mutation"), request(kind="mutation"), sharing=Sharing())
    assert len(seen) == 2


async def test_without_the_setting_all_go_out() -> None:
    """Nothing is shared by default."""
    async with subgraph() as (url, seen, gate):
        await asked_together(url, gate, request(), request(), sharing=None)
    assert len(seen) == 2
    router = Router(SUPERGRAPH)
    assert all(isinstance(each, PooledTransport) and each._sharing is None for each in router.transports.values())


async def test_a_subgraph_may_have_its_own_setting() -> None:
    """`share_fetches` of a subgraph overrides `sharing.fetches`."""
    for every, own in ((True, False), (False, True)):
        config = Config(sharing=SharingConfig(fetches=every), subgraphs={"people": SubgraphConfig(share_fetches=own)})
        router = Router(SUPERGRAPH, config=config)
        shares = {
            name: isinstance(each, PooledTransport) and each._sharing is not None
            for name, each in router.transports.items()
        }
        assert shares == {"people": own, "places": every}


# ---- queries of clients ----


class Gated:
    """A subgraph over HTTP, as far as a router can tell, that answers when its gate is open."""

    def __init__(self, forwarded_headers: tuple[str, ...]) -> None:
        self.forwarded_headers = forwarded_headers
        self.requests: list[SubgraphRequest] = []
        self._arrived: list[tuple[int, asyncio.Event]] = []
        self.gate = asyncio.Event()
        self._local = LocalTransport(people())

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Wait for the gate."""
        self.requests.append(request)
        for count, arrived in self._arrived:
            if len(self.requests) >= count:
                arrived.set()
        if request.kind == "query":
            await self.gate.wait()
        return await self._local.send(request)

    async def has_got(self, count: int) -> None:
        """Wait until so many requests have come."""
        arrived = asyncio.Event()
        self._arrived.append((count, arrived))
        if len(self.requests) < count:
            await arrived.wait()

    async def close(self) -> None:
        """Nothing to close."""


class Remote(LocalTransport):
    """A subgraph that a router takes for one over HTTP."""

    forwarded_headers = ()


@dataclass
class Shared:
    """A router that shares queries, over a subgraph with a gate."""

    client: httpx.AsyncClient
    people: Gated

    def ask(self, token: str = "t", query: str = ME, **body: object) -> "asyncio.Future[httpx.Response]":
        """A client's request; it is under way when this returns."""
        headers = {"authorization": token, "x-own": token}
        return asyncio.ensure_future(self.client.post("/graphql", json={"query": query, **body}, headers=headers))

    async def arrived(self, count: int) -> None:
        """Wait until so many requests are in flight at the router."""
        while f"router_http_requests_in_flight {count + 1}\n" not in await self.metrics():
            pass

    async def metrics(self) -> str:
        """The router's counters."""
        return (await self.client.get("/metrics")).text


@asynccontextmanager
async def sharing_router(*plugins: object, forward: tuple[str, ...] = ("authorization",)) -> AsyncIterator[Shared]:
    """On a socket; what it is asked here was planned before."""
    people_transport = Gated(forward)
    config = Config(
        sharing=SharingConfig(queries=True), metrics=MetricsConfig(public=True), headers=HeadersConfig(forward=forward)
    )
    transports: dict[str, Transport] = {"people": people_transport, "places": Remote(places())}
    router = Router(SUPERGRAPH, config=config, transports=transports, plugins=plugins)
    async with listening(router.asgi()) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        shared = Shared(client, people_transport)
        people_transport.gate.set()
        for query in (ME, "{ me { id } }", "query ($n: Int) { me { homes(first: $n) { city } } }"):
            await shared.ask(query=query)
        people_transport.gate.clear()
        people_transport.requests.clear()
        yield shared


async def test_equal_queries_are_answered_once() -> None:
    """Ten equal queries of one user at the same moment: one fetch, ten equal answers, each counted."""
    async with sharing_router() as shared:
        asking = [shared.ask() for _ in range(10)]
        await shared.arrived(10)
        shared.people.gate.set()
        answers = [await each for each in asking]
        assert len(shared.people.requests) == 1
        assert {answer.content for answer in answers} == {answers[0].content}
        assert len({answer.headers["x-request-id"] for answer in answers}) == 10
        assert "router_shared_answers_total 9\n" in await shared.metrics()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"token": "u"}),
        ({}, {"query": "{ me { id } }"}),
        (
            {"query": "query ($n: Int) { me { homes(first: $n) { city } } }", "variables": {"n": 1}},
            {"query": "query ($n: Int) { me { homes(first: $n) { city } } }", "variables": {"n": 2}},
        ),
        ({}, {"query": RENAME}),
        ({"query": RENAME}, {"query": RENAME}),
        ({"query": "{ caller }"}, {"query": "{ caller }"}),
    ],
    ids=["another user", "another query", "other variables", "a mutation", "two mutations", "not planned yet"],
)
async def test_others_are_answered_by_themselves(one: dict[str, str], other: dict[str, str]) -> None:
    """What differs in text, variables or a forwarded header is answered by itself, and so are mutations."""
    async with sharing_router() as shared:
        asking = [shared.ask(**one), shared.ask(**other)]
        await shared.people.has_got(2)
        shared.people.gate.set()
        for each in asking:
            assert (await each).status_code == 200
        assert "router_shared_answers_total 0\n" in await shared.metrics()


async def test_headers_that_go_on_decide() -> None:
    """A header that no subgraph gets makes no difference; one that a subgraph gets does."""
    for forward, fetches in ((("authorization",), 1), (("authorization", "x-own"), 2)):
        async with sharing_router(forward=forward) as shared:
            asking = [
                asyncio.ensure_future(
                    shared.client.post(
                        "/graphql", json={"query": ME}, headers={"authorization": "t", "x-own": str(number)}
                    )
                )
                for number in range(2)
            ]
            await shared.arrived(2)
            await settle()
            shared.people.gate.set()
            for each in asking:
                await each
            assert len(shared.people.requests) == fetches


async def test_who_has_written_reads_it() -> None:
    """A query that is asked after a mutation has ended does not join one that began before it."""
    async with sharing_router() as shared:
        before = shared.ask()
        await shared.arrived(1)
        assert (await shared.ask(query=RENAME)).status_code == 200
        after = shared.ask()
        await shared.people.has_got(3)
        shared.people.gate.set()
        await asyncio.gather(before, after)
        assert "router_shared_answers_total 0\n" in await shared.metrics()


class Deciding(Plugin):
    """A plug-in that has a say in every request."""

    async def on_request(self, request: RequestContext) -> None:
        """It might refuse it."""


async def test_with_a_plug_in_nothing_is_shared() -> None:
    """A plug-in sees every request, and may answer each in its own way."""
    async with sharing_router(Deciding()) as shared:
        asking = [shared.ask() for _ in range(2)]
        await shared.people.has_got(2)
        shared.people.gate.set()
        for each in asking:
            await each


def keys() -> Iterator[tuple[str, dict[str, LocalTransport]]]:
    """Routers whose subgraphs see more of a request than its headers."""
    yield "both in memory", {"people": LocalTransport(people()), "places": LocalTransport(places())}
    yield "one in memory", {"people": Remote(people()), "places": LocalTransport(places())}


@pytest.mark.parametrize("transports", [each for _, each in keys()], ids=[name for name, _ in keys()])
async def test_subgraphs_in_memory_share_nothing(transports: dict[str, LocalTransport]) -> None:
    """A subgraph within the process can read whatever the caller handed in: its answers are each caller's own."""
    config = Config(sharing=SharingConfig(queries=True))
    async with Router(SUPERGRAPH, config=config, transports=transports) as router:
        await router.execute(ME)
        assert router.sharing_key(ME, None, None, {}) is None
    async with Router(
        SUPERGRAPH, config=config, transports={"people": Remote(people()), "places": Remote(places())}
    ) as router:
        assert router.sharing_key(ME, None, None, {}) is None
        await router.execute(ME)
        assert router.sharing_key(ME, None, None, {}) is not None
