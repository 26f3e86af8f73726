"""Subscriptions in `Router.stream`: events joined with other subgraphs' fields, their errors, limits and ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from tests.subscriptions.world import TICKED, World
from trifolio.config import Config, SubscriptionsConfig
from trifolio.errors import ErrorCode, Refused, SubgraphError
from trifolio.executor.httpx import HttpxTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits
from trifolio.plugins import FetchContext, OperationContext, Plugin, RequestContext, ResponseContext, SendFetch
from trifolio.response import ResponsePart

Parts = AsyncGenerator[ResponsePart, None]


async def begin(world: World, query: str = TICKED, *, count: int = 1, **more: Any) -> tuple[Parts, Any]:
    """A stream that is subscribed, and the task that waits for its first part."""
    parts = world.router.stream(query, **more)
    first = asyncio.ensure_future(anext(parts))
    await world.exchange.has(count)
    return parts, first


def codes(part: ResponsePart) -> list[str]:
    """The codes of a part's errors."""
    return [error.own_code or error.code.name for error in part.errors]


async def test_an_event_is_joined_with_other_subgraphs() -> None:
    """Each event is answered like a query that begins with it, by the interpreter and by generated code."""
    world = World()
    parts, first = await begin(world)
    for price in range(5):
        world.exchange.tell("B", float(price))
    found = [await first, *[await anext(parts) for _ in range(4)]]
    assert [part.data for part in found] == [
        {"ticked": {"symbol": "B", "price": float(price), "company": "Beta"}} for price in range(5)
    ]
    assert all(part.has_next and not part.errors for part in found)
    assert [each.subgraph for each in world.told.fetches] == ["companies"] * 5
    await parts.aclose()
    world.holds_nothing()


async def test_the_end_of_the_subgraph_is_the_end() -> None:
    """What came before is delivered, then the stream is over, and the operation has ended once."""
    world = World()
    parts, first = await begin(world)
    world.exchange.tell()
    world.exchange.end()
    assert (await first).data
    assert [part async for part in parts] == []
    world.holds_nothing()
    [ended] = world.told.ended
    assert (ended.kind, ended.codes) == ("subscription", ())


async def test_who_stops_reading_ends_the_subscription() -> None:
    """Closing the generator, also while it waits for an event, releases the subgraph."""
    world = World()
    async with aclosing(world.router.stream(TICKED)) as parts:
        waiting = asyncio.ensure_future(anext(parts))
        await world.exchange.has(1)
        waiting.cancel()
        await asyncio.wait({waiting})
    world.holds_nothing()


async def test_an_error_of_an_event_stays_in_it() -> None:
    """A value that does not fit, or a subgraph that cannot be asked, costs its event and no other."""

    class Sometimes:
        """Answers every second request."""

        asked = 0

        async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
            """Fail first."""
            self.asked += 1
            if self.asked % 2:
                raise SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "companies")
            return SubgraphResponse(body=b'{"data":{"_entities":[{"company":"Beta"}]}}')

        async def close(self) -> None:
            """Nothing is held."""

    world = World(transports={"companies": Sometimes()})
    parts, first = await begin(world)
    world.exchange.tell("B")
    world.exchange.tell("B", price=object())
    world.exchange.tell("B")
    world.exchange.tell("B")
    one, two, three, four = await first, await anext(parts), await anext(parts), await anext(parts)
    assert one.data == {"ticked": {"symbol": "B", "price": 1.0, "company": None}}
    assert [error.path for error in one.errors] == [("ticked", "company")]
    assert two.data == {"ticked": {"symbol": "B", "price": None, "company": "Beta"}}
    assert [error.path for error in two.errors] == [("ticked", "price")]
    assert (codes(three), codes(four)) == (["SUBGRAPH_UNREACHABLE"], [])
    await parts.aclose()
    world.holds_nothing()


async def test_null_at_the_root_is_an_event() -> None:
    """A field that may not be null takes its event's data away, and the stream goes on."""
    world = World()
    parts, first = await begin(world, "subscription { strict { exact } }")
    world.exchange.tell(price=None)
    world.exchange.tell(price=2.0)
    failed, fine = await first, await anext(parts)
    assert failed.data is None
    assert failed.errors
    assert failed.has_next
    assert fine.data == {"strict": {"exact": 2.0}}
    await parts.aclose()


async def test_a_source_that_fails_ends_the_stream_with_its_error() -> None:
    """A bug in a subgraph's generator is the last part; its text is not for clients."""
    world = World()
    parts, first = await begin(world)
    world.exchange.tell()
    world.exchange.end(ValueError("the secret"))
    await first
    [last] = [part async for part in parts]
    assert not last.has_next
    assert last.data is None
    assert codes(last) == ["INTERNAL_SERVER_ERROR"]
    assert "secret" not in last.errors[0].message
    world.holds_nothing()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { ticked { nothing } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticked { symbol } strict { symbol } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticked { symbol ... @defer { company } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($s: [ID!]!) { ticked(symbols: $s) { symbol } }", "BAD_USER_INPUT"),
    ],
)
async def test_what_is_refused_is_one_part(query: str, code: str) -> None:
    """A subscription that cannot be is answered like a query that cannot be."""
    world = World()
    [part] = [part async for part in world.router.stream(query)]
    assert code in codes(part)
    assert not part.has_next
    assert world.exchange.begun == 0


async def test_execute_refuses_subscriptions() -> None:
    """One answer is not what a subscription has."""
    world = World()
    response = await world.router.execute(TICKED)
    assert response.errors[0].code is ErrorCode.SUBSCRIPTION_NEEDS_STREAM
    assert world.exchange.begun == 0


async def test_a_subgraph_without_events_is_told() -> None:
    """Over single requests there are no events, which is said at once."""
    transport = HttpxTransport("http://127.0.0.1:1/graphql")
    world = World(transports={"prices": transport})
    [part] = [part async for part in world.router.stream(TICKED)]
    assert codes(part) == ["SUBSCRIPTION_NOT_SUPPORTED"]
    await transport.close()


async def test_a_field_that_is_shut_has_no_events() -> None:
    """Who may not see the field gets one answer that says so, and nothing is subscribed."""
    world = World()
    [part] = [part async for part in world.router.stream("subscription { private { symbol } }")]
    assert part.data == {"private": None}
    assert codes(part) == ["UNAUTHORIZED_FIELD_OR_TYPE"]
    assert world.exchange.begun == 0


async def test_variables_and_headers_go_to_the_subgraph() -> None:
    """The subscription is sent as a fetch is."""
    world = World()
    query = "subscription ($s: [ID!]) { ticked(symbols: $s) { symbol } }"
    parts, first = await begin(world, query, variables={"s": ["A"]}, headers={"Authorization": "t"}, context=7)
    [context] = world.exchange.contexts
    assert (context.variables, context.headers["authorization"], context.context) == ({"s": ["A"]}, "t", 7)
    assert context.kind == "subscription"
    first.cancel()
    await asyncio.wait({first})
    await parts.aclose()
    world.holds_nothing()


# ---- slow clients ----


def config(when_full: str = "end", **limits: int) -> Config:
    """So much room, and no patience to speak of."""
    return Config(
        subscriptions=SubscriptionsConfig(when_full=when_full),
        limits=Limits(**{"subscription_patience_ms": 1, **limits}),
    )


async def flood(world: World, count: int) -> None:
    """So many events, read by the router as far as it does."""
    for price in range(count):
        world.exchange.tell(price=float(price))
    for channel in world.exchange.channels:
        channel.idle.clear()
        channel.arrived.set()
        asked, gone = asyncio.ensure_future(channel.idle.wait()), asyncio.ensure_future(world.exchange.has(0))
        async with asyncio.timeout(20):
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        gone.cancel()


def price_of(part: ResponsePart) -> object:
    """The price in an event."""
    assert part.data is not None
    ticked = part.data["ticked"]
    assert isinstance(ticked, Mapping)
    return ticked["price"]


@pytest.mark.parametrize(("when_full", "waiting"), [("conflate", [8.0]), ("drop", [0.0, 1.0, 2.0, 3.0])])
async def test_who_does_not_read_is_told_what_is_missing(when_full: str, waiting: list[float]) -> None:
    """What waits is bounded; the next event says how many before it did not come."""
    world = World(config(when_full, subscription_events_waiting_max=4))
    parts, first = await begin(world, "subscription { ticked { price } }")
    world.exchange.tell(price=-1.0)
    await first
    await flood(world, 9)
    found = [await anext(parts) for _ in waiting]
    world.exchange.tell(price=99.0)
    found.append(await anext(parts))
    await parts.aclose()
    assert [price_of(part) for part in found] == [*waiting, 99.0][-len(found) :]
    missed = [missed_before(part) for part in found]
    assert sum(missed) + len(found) == 10
    assert sum(missed) == world.router.state.events_missed
    assert missed.index(sum(missed)) == (0 if when_full == "conflate" else 4)
    assert world.router.state.events == len(found) + 1


def missed_before(part: ResponsePart) -> int:
    """How many events before it did not come."""
    told = (part.extensions or {}).get("subscription", {"missed": 0})
    assert isinstance(told, Mapping)
    missed = told["missed"]
    assert isinstance(missed, int)
    return missed


async def test_the_stream_of_who_does_not_read_can_end() -> None:
    """What waited is delivered, then the reason, and the subgraph is left."""
    world = World(config(subscription_events_waiting_max=4))
    parts, first = await begin(world, "subscription { ticked { price } }")
    world.exchange.tell(price=-1.0)
    await first
    await flood(world, 10)
    found = [part async for part in parts]
    assert [price_of(part) for part in found[:-1]] == [0.0, 1.0, 2.0, 3.0]
    assert codes(found[-1]) == ["SUBSCRIPTION_TOO_SLOW"]
    assert not found[-1].has_next
    world.holds_nothing()


async def test_a_burst_is_only_late() -> None:
    """Who reads on gets every event of a burst that is larger than what may wait."""
    world = World(config(subscription_events_waiting_max=4, subscription_patience_ms=20_000))
    parts, first = await begin(world)
    for price in range(500):
        world.exchange.tell(price=float(price))
    found = [await first, *[await anext(parts) for _ in range(499)]]
    assert [price_of(part) for part in found] == [float(price) for price in range(500)]
    await parts.aclose()


# ---- ends ----


class LogsIn(Plugin):
    """Everybody is somebody whose token ends."""

    def __init__(self, expires: float, subject: str = "me") -> None:
        self.claims = {"sub": subject, "exp": expires}

    async def on_request(self, request: RequestContext) -> None:
        """Log in."""
        request.claims = self.claims


async def test_a_token_that_expires_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits: after the token's end nothing is delivered, and the client is told."""
    monkeypatch.setattr("trifolio.engine.time", SimpleNamespace(time=lambda: 1_000.0, perf_counter=time.perf_counter))
    world = World(plugins=[LogsIn(1_000.05)])
    [last] = [part async for part in world.router.stream(TICKED)]
    assert codes(last) == ["SUBSCRIPTION_EXPIRED"]
    assert world.exchange.begun == 1
    world.holds_nothing()


async def test_a_token_that_has_expired_begins_none() -> None:
    """It is refused at once."""
    world = World(plugins=[LogsIn(time.time() - 1)])
    [part] = [part async for part in world.router.stream(TICKED)]
    assert codes(part) == ["SUBSCRIPTION_EXPIRED"]
    assert world.exchange.begun == 0


async def test_a_subscription_has_a_longest_time() -> None:
    """Without a token, too."""
    world = World(config(subscription_lifetime_ms=20))
    _, first = await begin(world)
    assert codes(await first) == ["SUBSCRIPTION_EXPIRED"]
    world.holds_nothing()


async def test_there_is_a_number_of_subscriptions() -> None:
    """One too many is refused, for the process and for a client; when one ends there is room."""
    world = World(config(subscriptions_max=2, subscriptions_per_client_max=1))
    one, first = await begin(world, headers={"x-forwarded-for": "192.0.2.1"})
    [refused] = [part async for part in world.router.stream(TICKED, headers={"x-forwarded-for": "192.0.2.1"})]
    two, second = await begin(world, headers={"x-forwarded-for": "192.0.2.2"}, count=2)
    [refused_too] = [part async for part in world.router.stream(TICKED)]
    assert codes(refused) == codes(refused_too) == ["TOO_MANY_SUBSCRIPTIONS"]
    first.cancel()
    await asyncio.wait({first})
    await one.aclose()
    three, third = await begin(world, headers={"x-forwarded-for": "192.0.2.1"}, count=2)
    for parts, waiting in ((two, second), (three, third)):
        waiting.cancel()
        await asyncio.wait({waiting})
        await parts.aclose()
    world.holds_nothing()


async def test_a_router_that_ends_says_so() -> None:
    """What waits is delivered, then the reason; new subscriptions are refused with it."""
    world = World()
    parts, first = await begin(world)
    world.exchange.tell()
    await first
    world.exchange.tell(price=2.0)
    await flood(world, 0)
    world.router.end_subscriptions()
    found = [part async for part in parts]
    assert price_of(found[0]) == 2.0
    assert codes(found[-1]) == ["SUBSCRIPTION_DRAINED"]
    [refused] = [part async for part in world.router.stream(TICKED)]
    assert codes(refused) == ["SUBSCRIPTION_DRAINED"]
    world.holds_nothing()


async def test_closing_the_router_ends_every_subscription() -> None:
    """Nothing is left, read or not."""
    world = World()
    _, first = await begin(world)
    await world.router.close()
    world.holds_nothing()
    assert codes(await first) == ["SUBSCRIPTION_DRAINED"]


# ---- plug-ins ----


class Records(Plugin):
    """Keeps what it is called for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails_at: object = None

    async def on_request(self, request: RequestContext) -> None:
        """Keep it."""
        self.calls.append("request")

    async def on_operation(self, operation: OperationContext) -> None:
        """Keep it."""
        self.calls.append(f"operation {operation.kind}")

    async def on_fetch(self, fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        """Keep it, and send a header."""
        self.calls.append(f"fetch {fetch.kind}")
        fetch.headers["x-signed"] = "yes"
        return await send(fetch)

    async def on_response(self, response: ResponseContext) -> None:
        """Keep it, or fail."""
        self.calls.append(f"response {response.is_first} {response.has_next}")
        if response.data is not None:
            response.extensions["seen"] = True
            if response.data["ticked"] == {"price": self.fails_at}:
                raise Refused("NOT_THIS", "Not this one.")


async def test_hooks_see_the_operation_once_and_each_event() -> None:
    """As for a query: the request and the operation once, each fetch, the beginning, and each event's answer."""
    plugin = Records()
    world = World(plugins=[plugin])
    parts, first = await begin(world)
    world.exchange.tell()
    assert (await first).extensions == {"seen": True}
    world.exchange.end()
    assert [part async for part in parts] == []
    assert plugin.calls == [
        "request",
        "operation subscription",
        "response True True",
        "fetch subscription",
        "fetch query",
        "response False True",
    ]
    [context] = world.exchange.contexts
    assert context.headers["x-signed"] == "yes"


async def test_a_hook_that_refuses_an_event_takes_that_event() -> None:
    """The next one is delivered."""
    plugin = Records()
    plugin.fails_at = 2.0
    world = World(plugins=[plugin])
    parts, first = await begin(world, "subscription { ticked { price } }")
    for price in (1.0, 2.0, 3.0):
        world.exchange.tell(price=price)
    found = [await first, await anext(parts), await anext(parts)]
    assert [codes(part) for part in found] == [[], ["NOT_THIS"], []]
    assert found[1].data is None
    assert found[1].has_next
    await parts.aclose()
    world.holds_nothing()


async def test_a_hook_that_refuses_the_beginning_ends_it() -> None:
    """Nothing is left of the subscription."""

    class Refuses(Plugin):
        """Refuses what begins."""

        async def on_response(self, response: ResponseContext) -> None:
            """Refuse."""
            if response.has_next:
                raise Refused("NO_STREAMS", "No streams.")

    world = World(plugins=[Refuses()])
    [part] = [part async for part in world.router.stream(TICKED)]
    assert codes(part) == ["NO_STREAMS"]
    world.holds_nothing()


async def test_a_hook_can_answer_in_the_subgraphs_place() -> None:
    """Its answer is the only event."""

    class Answers(Plugin):
        """Answers subscriptions."""

        async def on_fetch(self, fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
            """One event."""
            if fetch.kind == "subscription":
                return SubgraphResponse(payload={"data": {"ticked": {"symbol": "A", "price": 5.0}}})
            return await send(fetch)

    world = World(plugins=[Answers()])
    [part] = [part async for part in world.router.stream(TICKED)]
    assert part.data == {"ticked": {"symbol": "A", "price": 5.0, "company": "Alpha"}}
    assert world.exchange.begun == 0
    world.holds_nothing()
