"""Subscriptions to schemas in memory: their events, what refuses them, and their end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import strawberry
from graphql import GraphQLField, GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString

from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.httpx import HttpxTransport
from trifolio.executor.local import LocalContext, LocalTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, SubscribingTransport


class Source:
    """What is subscribed to: counts up, and knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False
        self.contexts: list[Any] = []
        self.starts = asyncio.Event()
        self.starts.set()

    async def count(self) -> AsyncGenerator[int, None]:
        """One, two, three, and so on."""
        try:
            number = 0
            while number < 1_000:
                number += 1
                yield number
        finally:
            self.is_closed = True


def core(source: Source) -> GraphQLSchema:
    """The schema of graphql-core."""

    async def subscribe(_: object, info: Any) -> AsyncGenerator[int, None]:
        source.contexts.append(info.context)
        await source.starts.wait()
        return source.count()

    def resolve(number: int, _: object) -> int:
        if number == 2:
            raise ValueError("two is too many")
        return number

    counted = GraphQLField(GraphQLInt, subscribe=subscribe, resolve=resolve)
    return GraphQLSchema(
        GraphQLObjectType("Query", {"a": GraphQLField(GraphQLString)}),
        subscription=GraphQLObjectType("Subscription", {"counted": counted}),
    )


def berry(source: Source) -> strawberry.Schema:
    """The same, of Strawberry."""

    @strawberry.type
    class Query:
        a: str | None = None

    async def counted(info: strawberry.Info) -> AsyncGenerator[int | None, None]:
        source.contexts.append(info.context)
        await source.starts.wait()
        numbers = source.count()
        try:
            async for number in numbers:
                yield number
        finally:
            await numbers.aclose()

    subscription = type("Subscription", (), {"counted": strawberry.subscription(resolver=counted)})
    return strawberry.Schema(Query, subscription=strawberry.type(subscription))


MAKERS = {"graphql-core": core, "Strawberry": berry}


def request(operation: str = "subscription { counted }", **more: Any) -> SubgraphRequest:
    """A subscription."""
    return SubgraphRequest("counter", "subscription", operation, **more)


async def first(events: AsyncIterator[SubgraphResponse], count: int) -> list[Any]:
    """So many events; then nobody listens any more."""
    found = []
    async for event in events:
        found.append(event.payload)
        if len(found) == count:
            break
    assert isinstance(events, AsyncGenerator)
    await events.aclose()
    return found


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_events_come_until_nobody_listens(make: Any) -> None:
    """Each event is an answer; closing the iterator closes what it came from."""
    source = Source()
    events = await first(LocalTransport(make(source)).subscribe(request()), 3)
    assert [event["data"] for event in events][0::2] == [{"counted": 1}, {"counted": 3}]
    assert source.is_closed


async def test_an_event_can_fail_and_the_next_comes() -> None:
    """An error of one event stands in it, and ends nothing."""
    events = await first(LocalTransport(core(Source())).subscribe(request()), 3)
    assert events[1]["data"] == {"counted": None}
    assert events[1]["errors"][0]["message"] == "two is too many"
    assert events[2] == {"data": {"counted": 3}}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_a_refusal_is_the_only_event(make: Any) -> None:
    """What is wrong with the subscription is said once, as an answer without data."""
    for wrong in ("subscription { nothing }", "subscription {"):
        [event] = await first(LocalTransport(make(Source())).subscribe(request(wrong)), 2)
        assert event["data"] is None
        assert event["errors"]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_resolvers_see_the_request(make: Any) -> None:
    """The context is the request, or what a factory makes of it."""
    source = Source()
    await first(LocalTransport(make(source)).subscribe(request(headers={"authorization": "t"})), 1)

    async def factory(asked: SubgraphRequest) -> Any:
        return {"asked": asked.subgraph}

    await first(LocalTransport(make(source), context_factory=factory).subscribe(request()), 1)
    plain, made = source.contexts
    assert isinstance(plain, LocalContext)
    assert plain.headers["Authorization"] == "t"
    assert made == {"asked": "counter"}


async def test_a_subscription_that_does_not_start_is_given_up() -> None:
    """The start has the transport's time; events have as much as they want."""
    source = Source()
    source.starts.clear()
    with pytest.raises(SubgraphError) as failure:
        await first(LocalTransport(core(source), timeout_ms=20).subscribe(request()), 1)
    assert failure.value.code is ErrorCode.SUBGRAPH_TIMEOUT


async def test_what_executes_alone_cannot_be_subscribed_to() -> None:
    """An object that only executes is told from one that subscribes."""

    class Executing:
        async def execute(self, *_: Any, **__: Any) -> Any:
            """Nothing."""

    with pytest.raises(SubgraphError) as failure:
        await first(LocalTransport(Executing()).subscribe(request()), 1)
    assert failure.value.code is ErrorCode.SUBGRAPH_UNREACHABLE


async def test_a_subscription_cannot_be_sent_elsewhere() -> None:
    """There is no URL in memory."""
    with pytest.raises(SubgraphError) as failure:
        await first(LocalTransport(core(Source())).subscribe(request(url="http://elsewhere.invalid")), 1)
    assert failure.value.code is ErrorCode.SUBGRAPH_UNREACHABLE


async def test_which_transports_can_subscribe() -> None:
    """In memory yes, by one HTTP request no."""
    over_http = HttpxTransport("http://127.0.0.1:1/graphql")
    assert isinstance(LocalTransport(core(Source())), SubscribingTransport)
    assert not isinstance(over_http, SubscribingTransport)
    await over_http.close()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_a_listener_that_is_cancelled_closes_the_source(make: Any) -> None:
    """The task that listens may end at any event."""
    source = Source()
    started = asyncio.Event()

    async def listen() -> None:
        events = LocalTransport(make(source)).subscribe(request())
        try:
            async for _ in events:
                started.set()
                await asyncio.Event().wait()
        finally:
            assert isinstance(events, AsyncGenerator)
            await events.aclose()

    listening = asyncio.ensure_future(listen())
    await started.wait()
    listening.cancel()
    await asyncio.wait({listening})
    assert source.is_closed
