"""Every subscription and every REST stream of the three services, heard by every kind of caller while Alice's things
change: who hears what, and nobody another's."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.pagination import encode_cursor
from subgraphs.stocks.schema import schema as stocks_schema
from subgraphs.users.schema import schema as users_schema
from subgraphs.wallet.schema import schema as wallet_schema
from tests.stocks.conftest import COMPANY, STOCKS, USERS, Desk
from tests.stocks.test_broker_orders import authorize, parties, register, revoke
from tests.stocks.test_streams import TICKS, Listener, code_of, listening, read_events
from tests.stocks.test_visibility import WALLET
from tests.walked_routes import routes_of

SCHEMAS: Final = {"users": users_schema, "wallet": wallet_schema, "stocks": stocks_schema}
BOTHS, ALICES, PUBLIC = "alice and her broker", "alice", "everybody"
SUBSCRIPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("stocks", "orderChanged"): BOTHS,
    ("stocks", "holdingChanged"): ALICES,
    ("wallet", "balanceChanged"): ALICES,
    ("users", "authorizationChanged"): BOTHS,
    ("stocks", "priceTicked"): PUBLIC,
}
"""Service and field, and who hears when something of Alice's changes."""
REST: Final[Mapping[tuple[str, str], str]] = {
    ("stocks", "/orders/stream"): BOTHS,
    ("stocks", "/stocks/ticks/stream"): PUBLIC,
}
OWN: Final = {key: who for key, who in SUBSCRIPTIONS.items() if who != PUBLIC}
SERVICES: Final = {field: service for service, field in OWN}
QUERIES: Final = {
    "orderChanged": "order { id }",
    "holdingChanged": "holding { id }",
    "balanceChanged": "balance { available }",
    "authorizationChanged": "authorization { id }",
}
NOT_USERS: Final[Mapping[str, Caller | None]] = {"anonymous": None, "users": USERS, "wallet": WALLET, "stocks": STOCKS}
BRNO: Final = COMPANY["BRNO"].stock_id
MUCH: Final = 1_000
"""Alice has more than that, and nobody else who listens."""


@dataclass(frozen=True, slots=True)
class Own:
    """The last that happens to somebody: when it is heard, all is heard that was before."""

    order: str
    mandate: str
    holding: str | None
    """None of brokers, who have no shares."""


def query_of(field: str) -> str:
    """A subscription, from now on or from a cursor."""
    return f"subscription($after: String) {{ {field}(after: $after) {{ cursor missed {QUERIES[field]} }} }}"


def told_by(event: Mapping[str, Any]) -> str:
    """What an event is about: its entity's id, or the amount of a balance."""
    (entity,) = [value for name, value in event.items() if name not in ("cursor", "missed")]
    return str(next(iter(entity.values())))


def test_every_subscription_is_walked() -> None:
    """A subscription that is added to one of the schemas has to be listed here, with who hears it."""
    found = set()
    for service, schema in SCHEMAS.items():
        subscription = schema._schema.subscription_type
        assert subscription is not None
        found |= {(service, field) for field in subscription.fields}
    assert found == set(SUBSCRIPTIONS)
    assert {field for _, field in OWN} == set(QUERIES)


async def test_every_rest_stream_is_walked(desk: Desk) -> None:
    """So has a route whose answer is a stream, by what its document says of it and by its name."""
    documented, named = set(), set()
    for service, app in desk.network.apps.items():
        named |= {(service, path) for _, path in routes_of(app) if path.endswith("/stream")}
        for path, methods in app.openapi()["paths"].items():
            answers = methods.get("get", {}).get("responses", {}).values()
            if any("text/event-stream" in answer.get("content", {}) for answer in answers):
                documented.add((service, path))
    assert documented == named == set(REST)


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice, whoever may listen, and what is told of hers by service and field."""

    people: Mapping[str, Caller]
    order: str
    """Alice's own."""
    brokers_order: str
    mandates: tuple[str, ...]
    """The one that her broker has used, and what it has become."""
    holding: str


async def cast(desk: Desk) -> Mapping[str, Caller]:
    """Alice has a broker without a mandate yet, one whose mandate is revoked and one whose has expired."""
    alice, bob = await parties(desk)
    people = {"alice": alice, "another investor": await register(desk, "investor"), "her broker": bob}
    for kind in ("her broker, revoked", "her broker, expired", "another broker"):
        people[kind] = await register(desk, "broker")
    revoked = await authorize(desk, alice, people["her broker, revoked"], amount="100.00")
    assert (await revoke(desk, alice, revoked)).status_code == 200
    await authorize(desk, alice, people["her broker, expired"], amount="100.00", endsAt="2027-01-15T09:00:00Z")
    desk.clock.advance(3_600)
    await desk.settle_users()
    return people


async def perform(desk: Desk, people: Mapping[str, Caller]) -> Scene:
    """All that can change of Alice's: money, an order of hers, a mandate, an order under it, and its end."""
    alice, bob = people["alice"], people["her broker"]
    await desk.deposit(alice, "5000.00")
    own = (await desk.place(alice)).json()["id"]
    mandate = await authorize(desk, alice, bob)
    placed = await desk.place(bob, authorizationId=mandate["id"], quantity="5")
    assert placed.status_code == 201, placed.text
    items = (await desk.send(bob, "GET", "/authorizations", service="users")).json()["items"]
    assert (await revoke(desk, alice, mandate)).status_code == 200
    mandates = tuple(item["id"] for item in items)
    return Scene(people, own, placed.json()["id"], mandates, (await desk.holding(alice))["id"])


async def end(desk: Desk, person: Caller) -> Own:
    """Something of somebody's own, in every service; nobody but Alice and her kind has much money."""
    await desk.deposit(person, "400.00")
    if person.role == "broker":
        client = await register(desk, "investor")
        await desk.deposit(client)
        mandate = (await authorize(desk, client, person))["id"]
        order = (await desk.place(person, authorizationId=mandate)).json()["id"]
        return Own(order, mandate, None)
    mandate = (await authorize(desk, person, await register(desk, "broker"), amount="1.00"))["id"]
    order = (await desk.place(person, stockId=BRNO)).json()["id"]
    return Own(order, mandate, (await desk.holding(person, BRNO))["id"])


async def heard_until(listener: Listener, field: str, last: str) -> list[str]:
    """What a listener hears, up to the first that is about `last`, or has that cursor."""
    found: list[str] = []
    while True:
        event = await listener.event(field)
        assert event["missed"] is False
        found.append(told_by(event))
        if last in (found[-1], event["cursor"]):
            return found


async def cursor_of_now(desk: Desk, field: str, person: Caller) -> str:
    """Who asks for what never was is told where the events are now."""
    gone = encode_cursor(f"{SERVICES[field]} events", 10**6)
    listener = await listening(desk, SERVICES[field], person, query_of(field), after=gone)
    event = await listener.event(field)
    await listener.close()
    assert event["missed"] is True
    cursor: str = event["cursor"]
    return cursor


def expected_of(scene: Scene, kind: str, field: str) -> set[str]:
    """What somebody hears of Alice's, beside what is their own."""
    heard = {"alice": (BOTHS, ALICES), "her broker": (BOTHS,)}.get(kind, ())
    entities = {
        "orderChanged": {scene.brokers_order, *([scene.order] if kind == "alice" else [])},
        "authorizationChanged": set(scene.mandates),
        "holdingChanged": {scene.holding},
    }
    return entities[field] if OWN[SERVICES[field], field] in heard else set()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_nobody_hears_anothers(desk: Desk) -> None:
    """While Alice's things change, and again for who catches up: she hears all, her broker of the mandate and of the
    orders under it, and everybody else, brokers of hers whose mandates have ended as well, of their own alone."""
    people = await cast(desk)
    keys = [(kind, field) for kind in people for field in SERVICES]
    starts = {(kind, field): await cursor_of_now(desk, field, people[kind]) for kind, field in keys}
    async with AsyncExitStack() as stack:

        async def listen(kind: str, field: str, **after: str) -> Listener:
            listener = await listening(desk, SERVICES[field], people[kind], query_of(field), **after)
            stack.push_async_callback(listener.close)
            return listener

        live = {(kind, field): await listen(kind, field) for kind, field in keys}
        scene = await perform(desk, people)
        lasts = {kind: await end(desk, person) for kind, person in people.items()}
        orders: dict[str, list[str]] = {}
        silent: dict[str, tuple[Listener, Listener]] = {}
        for kind, field in keys:
            listeners = (live[kind, field], await listen(kind, field, after=starts[kind, field]))
            if field == "balanceChanged":
                last = await cursor_of_now(desk, field, people[kind])
                heard = [await heard_until(each, field, last) for each in listeners]
                assert {float(amount) > MUCH for each in heard for amount in each} == {kind == "alice"}, kind
                assert len(heard[0]) == len(heard[1]), kind
                continue
            own = {
                "orderChanged": lasts[kind].order,
                "authorizationChanged": lasts[kind].mandate,
                "holdingChanged": lasts[kind].holding,
            }[field]
            if own is None:
                silent[kind] = listeners
                continue
            heard = [await heard_until(each, field, own) for each in listeners]
            assert set(heard[0]) - {own} == expected_of(scene, kind, field), (kind, field)
            assert heard[1] == heard[0], (kind, field)
            if field == "orderChanged":
                orders[kind] = heard[0]
        for kind, person in people.items():
            start = starts[kind, "orderChanged"]
            events = await read_events(desk, person, "/orders/stream", start, len(orders[kind]))
            assert [orjson.loads(data.removeprefix("data: "))["id"] for _, _, data in events] == orders[kind], kind
        assert silent.keys() == {kind for kind, person in people.items() if person.role == "broker"}
        assert not [kind for kind, listeners in silent.items() for each in listeners if each.has_heard]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_who_is_no_user_hears_nothing_of_anybodys(desk: Desk) -> None:
    """What is somebody's own is refused at once to whoever shows no token, and to every service."""
    for caller, who in NOT_USERS.items():
        for service, field in OWN:
            code = await code_of(desk, service, who, query_of(field))
            # users and wallet are called by others alone: a token of their own is none there.
            expected = "INVALID_TOKEN" if caller == service != "stocks" else "FORBIDDEN"
            assert code == ("UNAUTHENTICATED" if who is None else expected), (caller, field)
        for (service, path), hearers in REST.items():
            if hearers != PUBLIC:
                refused = await desk.send(who, "GET", path, service=service)
                assert refused.status_code == (401 if who is None else 403), (caller, path)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_is_for_everybody_is_heard_by_everybody(desk: Desk) -> None:
    """A price reaches every kind of caller, over both faces."""
    callers = {**NOT_USERS, **await cast(desk)}
    async with AsyncExitStack() as stack:
        listeners = {}
        for caller, who in callers.items():
            listeners[caller] = await listening(desk, "stocks", who, TICKS, symbols=["ALBA"])
            stack.push_async_callback(listeners[caller].close)
        await desk.tick("90.0000", "90.2000", last="90.1000")
        for caller, listener in listeners.items():
            assert await listener.event("priceTicked") == {"symbol": "ALBA", "price": "90.1000"}, caller
    for caller, who in callers.items():
        begun = await desk.send(who, "HEAD", "/stocks/ticks/stream")
        assert begun.status_code == 200, caller
