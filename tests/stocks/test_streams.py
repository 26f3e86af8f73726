"""Subscriptions of the three subgraphs: to their owner alone, in order, once, and to the token's end."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from subgraphs.shared import streaming
from subgraphs.shared.auth import USER_TOKEN_LIFETIME_S, Caller, user_token
from subgraphs.shared.pagination import encode_cursor
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.users.settings import Settings as UsersSettings
from tests.stocks.conftest import USERS, Desk, DeskFactory, broker, investor
from tests.stocks.test_broker_orders import authorize, parties

PATIENCE_S = 20.0
ORDERS = "subscription($after: String) { orderChanged(after: $after) { cursor missed order { id status settledAt } } }"
HOLDINGS = "subscription { holdingChanged { cursor holding { quantity freeQuantity stock { symbol } } } }"
BALANCES = "subscription { balanceChanged { cursor missed balance { currency available held } } }"
MANDATES = "subscription { authorizationChanged { cursor authorization { id status } } }"
OWN = {"stocks": (ORDERS, HOLDINGS), "wallet": (BALANCES,), "users": (MANDATES,)}
EVERY_OWN = [(service, query) for service, queries in OWN.items() for query in queries]
TICKS = "subscription($symbols: [String!]) { priceTicked(symbols: $symbols) { symbol price } }"

Answers = AsyncGenerator[dict[str, Any] | None, None]


def subscribe(desk: Desk, service: str, caller: Caller | None, query: str, **variables: object) -> Answers:
    """The answers of a subscription at a service, in memory."""
    authorization = desk.bearer(caller, service).get("authorization")
    answers: Answers = desk.network.apps[service].state.subgraph.subscribe(
        query, variables, authorization=authorization, client_address="192.0.2.1"
    )
    return answers


class Listener:
    """One subscriber, who listens from the moment that `listening` has returned."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._next: asyncio.Task[dict[str, Any] | None] = asyncio.ensure_future(self._read())

    async def _read(self) -> dict[str, Any] | None:
        async for answer in self._answers:
            if answer is not None:
                return answer
        return None

    async def next(self) -> dict[str, Any] | None:
        """The next answer, None at the end."""
        async with asyncio.timeout(PATIENCE_S):
            answer = await asyncio.shield(self._next)
        self._next = asyncio.ensure_future(self._read())
        return answer

    async def event(self, field: str) -> dict[str, Any]:
        """What the next answer has under a field; it has no errors."""
        answer = await self.next()
        assert answer is not None
        assert "errors" not in answer, answer
        event: dict[str, Any] = answer["data"][field]
        return event

    @property
    def has_heard(self) -> bool:
        """Whether there is an answer that was not asked for."""
        return self._next.done()

    async def close(self) -> None:
        """Ends it."""
        self._next.cancel()
        await asyncio.gather(self._next, return_exceptions=True)
        await self._answers.aclose()


async def listening(desk: Desk, service: str, caller: Caller | None, query: str, **variables: object) -> Listener:
    """A subscriber who hears whatever is committed from now on."""
    return await listener_of(desk, service, subscribe(desk, service, caller, query, **variables))


async def listener_of(desk: Desk, service: str, answers: Answers) -> Listener:
    """Who reads those answers, and waits for the first."""
    waiting = desk.databases[service].wakening
    before = waiting.waiters
    listener = Listener(answers)
    async with asyncio.timeout(PATIENCE_S):
        while waiting.waiters == before and not listener.has_heard:  # noqa: ASYNC110  # nothing says so
            await asyncio.sleep(0.005)
    return listener


async def code_of(desk: Desk, service: str, caller: Caller | None, query: str, **variables: object) -> str:
    """The code of what refuses a subscription, which ends with that."""
    async with aclosing(subscribe(desk, service, caller, query, **variables)) as answers:
        (answer,) = [answer async for answer in answers]
    assert answer is not None
    assert answer["data"] is None
    (error,) = answer["errors"]
    code: str = error["extensions"]["code"]
    return code


async def test_an_order_from_its_placing_to_its_settlement(desk: Desk) -> None:
    """Its investor hears each change once and in order; a stranger and a broker of another hear nothing."""
    buyer = investor()
    await desk.deposit(buyer)
    async with AsyncExitStack() as stack:
        own, other, trader = [await listening(desk, "stocks", each, ORDERS) for each in (buyer, investor(), broker())]
        shares = await listening(desk, "stocks", buyer, HOLDINGS)
        money = await listening(desk, "wallet", buyer, BALANCES)
        for each in (own, other, trader, shares, money):
            stack.push_async_callback(each.close)
        placed = (await desk.place(buyer, quantity="2")).json()
        events = [await own.event("orderChanged") for _ in range(3)]
        assert {event["order"]["id"] for event in events} == {placed["id"]}
        # An entity is shown as it stands when it is told of.
        assert {event["order"]["status"] for event in events} <= {"PENDING", "COMPLETED"}
        assert events[-1]["order"]["status"] == "COMPLETED"
        assert events[-1]["order"]["settledAt"] is not None
        assert len({event["cursor"] for event in events}) == 3
        for _ in range(2):
            holding = (await shares.event("holdingChanged"))["holding"]
        assert holding == {"quantity": "2", "freeQuantity": "2", "stock": {"symbol": "ALBA"}}
        for _ in range(2):
            event = await money.event("balanceChanged")
        assert event["balance"]["held"] == "0.00"
        assert not any(each.has_heard for each in (own, other, trader, shares, money))


async def test_who_was_away_catches_up(desk: Desk) -> None:
    """With the last cursor everything since comes, once; with one of what is not kept, a word of that comes first."""
    buyer = investor()
    await desk.deposit(buyer)
    first = await listening(desk, "stocks", buyer, ORDERS)
    await desk.place(buyer)
    cursor = (await first.event("orderChanged"))["cursor"]
    await first.close()
    await desk.place(buyer)
    again = await listening(desk, "stocks", buyer, ORDERS, after=cursor)
    found = [await again.event("orderChanged") for _ in range(5)]
    assert [event["missed"] for event in found] == [False] * 5
    assert len({event["order"]["id"] for event in found}) == 2
    await again.close()
    lost = await listening(desk, "stocks", buyer, ORDERS, after=encode_cursor("stocks events", 99))
    told = await lost.event("orderChanged")
    assert (told["missed"], told["order"]) == (True, None)
    await lost.close()


async def test_a_mandate_and_a_brokers_order_are_told_to_both(desk: Desk) -> None:
    """Investor and broker hear of the mandate and of the order, the broker of neither shares nor the other's money."""
    alice, bob = await parties(desk)
    heard = [await listening(desk, "users", each, MANDATES) for each in (alice, bob)]
    heard += [await listening(desk, "stocks", each, ORDERS) for each in (alice, bob)]
    shares = await listening(desk, "stocks", bob, HOLDINGS)
    mandate = await authorize(desk, alice, bob)
    for each in heard[:2]:
        events = [(await each.event("authorizationChanged"))["authorization"] for _ in range(2)]
        assert events[-1] == {"id": mandate["id"], "status": "ACTIVE"}
    placed = await desk.place(bob, authorizationId=mandate["id"], quantity="5")
    for each in heard[2:]:
        assert (await each.event("orderChanged"))["order"]["id"] == placed.json()["id"]
    assert not shares.has_heard
    for each in (*heard, shares):
        await each.close()


@pytest.mark.parametrize(
    ("service", "query"), EVERY_OWN, ids=[query.split()[2].split("(")[0] for _, query in EVERY_OWN]
)
async def test_nobody_and_no_service_hears_anything_of_ones_own(desk: Desk, service: str, query: str) -> None:
    """Without a token it is refused, with a service's forbidden, with an invalid one that is said."""
    assert await code_of(desk, service, None, query) == "UNAUTHENTICATED"
    if service != "users":
        assert await code_of(desk, service, USERS, query) == "FORBIDDEN"
    answers = desk.network.apps[service].state.subgraph.subscribe(query, authorization="Bearer nonsense")
    (refused,) = [answer async for answer in answers]
    assert refused["errors"][0]["extensions"]["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize("after", ["", "nonsense", encode_cursor("wallet events", 1), encode_cursor("stocks", "ALBA")])
async def test_what_is_no_cursor_is_refused(desk: Desk, after: str) -> None:
    """A text that is none, or one of another list or another service."""
    assert await code_of(desk, "stocks", investor(), ORDERS, after=after) == "INVALID_CURSOR"


async def test_prices_are_for_everybody(desk: Desk) -> None:
    """Who names symbols hears of those, who names none of all; a price that is the same tick again is not told."""
    one = await listening(desk, "stocks", None, TICKS, symbols=["ALBA"])
    every = await listening(desk, "stocks", None, TICKS)
    await desk.tick("10.0000", "10.2000", "HANA", last="10.1000")
    await desk.tick("90.0000", "90.2000", last="90.1000", seq=7)
    assert await one.event("priceTicked") == {"symbol": "ALBA", "price": "90.1000"}
    assert {(await every.event("priceTicked"))["symbol"] for _ in range(2)} == {"ALBA", "HANA"}
    await desk.tick("90.0000", "90.2000", last="90.1000", seq=7)
    assert not one.has_heard
    for each in (one, every):
        await each.close()
    assert await code_of(desk, "stocks", None, TICKS, symbols=["NONE"]) == "UNKNOWN_STOCK"
    assert await code_of(desk, "stocks", None, TICKS, symbols=[]) == "INVALID_REQUEST"
    assert await code_of(desk, "stocks", None, TICKS, symbols=["ALBA"] * 101) == "INVALID_REQUEST"


async def test_a_stream_ends_with_its_token(desk: Desk) -> None:
    """Nothing is told after the token's end, and the last answer says why."""
    buyer = investor()
    await desk.deposit(buyer)
    listener = await listening(desk, "stocks", buyer, ORDERS)
    desk.clock.advance(USER_TOKEN_LIFETIME_S + 120)
    await desk.place(buyer)
    answer = await listener.next()
    assert answer is not None
    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["code"] == "EXPIRED_TOKEN"
    assert await listener.next() is None
    await listener.close()


async def test_a_stream_ends_with_its_session(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has logged out hears nothing more, at the next heartbeat at the latest."""
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.05)
    alice, session = investor(), str(uuid.uuid4())
    key = UsersSettings(mode="development", database_url=SecretStr("sqlite:///unused")).access_token_key()
    token = user_token(key, alice.id, "investor", now=desk.clock() / 1_000, session=session)
    answers = desk.stocks.state.subgraph.subscribe(ORDERS, authorization=f"Bearer {token}")
    listener = await listener_of(desk, "stocks", answers)
    desk.stocks.state.ended.add([session])
    answer = await listener.next()
    assert answer is not None
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_TOKEN"
    await listener.close()


async def test_streams_are_counted(make_desk: DeskFactory) -> None:
    """A caller has so many, a process so many; what ends makes room; and when all are ended, none begins."""
    desk = await make_desk(streams_max=3, streams_per_caller_max=2)
    buyer = investor()
    held = [await listening(desk, "stocks", buyer, query) for query in (ORDERS, HOLDINGS)]
    assert await code_of(desk, "stocks", buyer, ORDERS) == "TOO_MANY_REQUESTS"
    held.append(await listening(desk, "stocks", None, TICKS))
    assert await code_of(desk, "stocks", investor(), ORDERS) == "UNAVAILABLE"
    assert await desk.stocks.state.streams.count() == 3
    await held.pop().close()
    async with asyncio.timeout(PATIENCE_S):  # a read that is shared ends by itself, when its last reader has gone
        while desk.databases["stocks"].wakening.waiters == len(held) + 1:  # noqa: ASYNC110  # nothing says so
            await asyncio.sleep(0.005)
    held.append(await listening(desk, "stocks", investor(), ORDERS))
    desk.stocks.state.streams.end()
    assert [await each.next() for each in held] == [None] * 3
    assert await code_of(desk, "stocks", investor(), ORDERS) == "UNAVAILABLE"
    for each in held:
        await each.close()
    assert await desk.stocks.state.streams.count() == 0


async def test_the_router_is_answered_over_http(desk: Desk) -> None:
    """As server-sent events, which begin at once and end with a word; a query asked so is refused in one of them."""
    buyer = investor()
    headers = {
        **desk.bearer(buyer, "stocks"),
        "x-router-secret": DEVELOPMENT_ROUTER_SECRET,
        "accept": "text/event-stream",
    }
    body = {"query": ORDERS, "variables": {"after": encode_cursor("stocks events", 4)}}
    ending = asyncio.ensure_future(_end_soon(desk))
    response = await desk.http["stocks"].post("/graphql", json=body, headers=headers)
    await ending
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    first, last, empty = response.text.split("\n\n")
    name, data = first.split("\n")
    assert name == "event: next"
    told = orjson.loads(data.removeprefix("data: "))["data"]["orderChanged"]
    assert (told["missed"], told["order"]) == (True, None)
    assert (last, empty) == ("event: complete\ndata:", "")
    body = {"query": "{ stocks { edges { node { id } } } }"}
    refused = await desk.http["stocks"].post("/graphql", json=body, headers=headers)
    assert '"UNAVAILABLE"' in refused.text
    without = {name: value for name, value in headers.items() if name != "x-router-secret"}
    assert (await desk.http["stocks"].post("/graphql", json=body, headers=without)).status_code == 401


async def _end_soon(desk: Desk) -> None:
    while not desk.databases["stocks"].wakening.waiters:  # noqa: ASYNC110  # nothing says so
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    desk.stocks.state.streams.end()


@pytest.mark.parametrize(
    "query", ["{ stocks { edges { node { id } } } }", "subscription { nothing }", "subscription {"]
)
async def test_what_is_no_subscription_is_refused(desk: Desk, query: str) -> None:
    """A query, an unknown field, and half a text: one answer, and the end."""
    answers = [answer async for answer in subscribe(desk, "stocks", None, query)]
    assert len(answers) == 1
    assert answers[0] is not None
    assert answers[0]["errors"]
    plain = await desk.stocks.state.subgraph.execute(TICKS)
    assert plain["errors"][0]["extensions"]["code"] == "MALFORMED_REQUEST"


async def read_events(desk: Desk, caller: Caller | None, path: str, after: str | None, count: int) -> list[list[str]]:
    """The lines of so many events of a REST stream, without heartbeats; the client goes then."""
    response_start: list[dict[str, Any]] = []
    found: list[list[str]] = []
    gone, waits = asyncio.Event(), True

    async def receive() -> dict[str, Any]:
        nonlocal waits
        if waits:
            waits = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            response_start.append(message)
        blocks = message.get("body", b"").decode().split("\n\n")
        found.extend(block.split("\n") for block in blocks if block not in ("", ":"))
        if len(found) >= count:
            gone.set()

    headers = {"host": "stocks", **desk.bearer(caller, "stocks")}
    if after is not None:
        headers["last-event-id"] = after
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 5),
        "server": ("stocks", 80),
    }
    async with asyncio.timeout(PATIENCE_S):
        await desk.stocks(scope, receive, send)
    assert response_start[0]["status"] == 200, found
    assert (b"content-type", b"text/event-stream; charset=utf-8") in response_start[0]["headers"]
    return found[:count]


async def test_orders_over_rest(desk: Desk) -> None:
    """Each change has an id, from which a client goes on; who left has no place any more."""
    buyer = investor()
    await desk.deposit(buyer)
    orders = [(await desk.place(buyer)).json()["id"] for _ in range(2)]
    start = encode_cursor("stocks events", 0)
    found = await read_events(desk, buyer, "/orders/stream", start, 6)
    assert [event[1] for event in found] == ["event: order"] * 6
    told = [orjson.loads(event[2].removeprefix("data: "))["id"] for event in found]
    assert told == [orders[0]] * 3 + [orders[1]] * 3
    third = found[2][0].removeprefix("id: ")
    assert await read_events(desk, buyer, "/orders/stream", third, 3) == found[3:]
    ((_, name, data),) = await read_events(desk, buyer, "/orders/stream", encode_cursor("stocks events", 99), 1)
    assert (name, data) == ("event: missed", "data: {}")
    assert await desk.stocks.state.streams.count() == 0
    for path, after in (("/orders/stream", "nonsense"), ("/stocks/ticks/stream", start)):
        refused = await desk.send(buyer, "GET", path, headers={"last-event-id": after})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid-cursor")


async def test_prices_over_rest(desk: Desk) -> None:
    """After the last id that a client has come the prices that have moved since, of the stocks that it names."""
    before = await read_events_of_ticks(desk, "/stocks/ticks/stream?symbols=ALBA", None)
    desk.clock.advance(1)
    for symbol in ("ALBA", "HANA"):
        await desk.tick("90.0000", "90.2000", symbol, last="90.1000")
    ((id_, name, data),) = await read_events(desk, None, "/stocks/ticks/stream?symbols=ALBA,BRNO", before, 1)
    tick = orjson.loads(data.removeprefix("data: "))
    assert (name, tick["symbol"], tick["last"]) == ("event: tick", "ALBA", "90.1000")
    assert id_ != f"id: {before}"
    for query in ("?symbols=NONE", "?symbols="):
        assert (await desk.send(None, "GET", f"/stocks/ticks/stream{query}")).status_code == 422
    assert (await desk.send(None, "HEAD", "/stocks/ticks/stream")).status_code == 200


async def read_events_of_ticks(desk: Desk, path: str, after: str | None) -> str:
    """The id of the next tick, which is posted again and again until it is told."""
    reading = asyncio.ensure_future(read_events(desk, None, path, after, 1))
    while not reading.done():
        await desk.tick("80.0000", "80.2000", last="80.1000")
        await asyncio.wait({reading}, timeout=0.05)
    return reading.result()[0][0].removeprefix("id: ")


async def test_a_stream_over_rest_ends_with_its_token(desk: Desk) -> None:
    """A caller hears why; and one who has as many streams as one may is refused before anything begins."""
    buyer = investor()
    reading = asyncio.ensure_future(read_events(desk, buyer, "/orders/stream", None, 1))
    waiting = desk.databases["stocks"].wakening
    while not waiting.waiters:  # noqa: ASYNC110  # nothing says so
        await asyncio.sleep(0.005)
    desk.clock.advance(USER_TOKEN_LIFETIME_S + 120)
    waiting.wake_all()
    await desk.deposit(buyer)
    await desk.place(buyer)
    ((name, data),) = await reading
    assert (name, orjson.loads(data.removeprefix("data: "))["code"]) == ("event: end", "expired-token")


async def test_a_caller_without_a_place_is_refused_over_rest(make_desk: DeskFactory) -> None:
    """With its status, as nothing has begun."""
    desk = await make_desk(streams_max=1)
    held = await listening(desk, "stocks", None, TICKS)
    refused = await desk.send(investor(), "GET", "/orders/stream")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    await held.close()
