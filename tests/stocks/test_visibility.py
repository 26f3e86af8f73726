"""Every route and every root field of stocks, walked by every kind of caller: who gets what of alice's."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection
from subgraphs.shared.errors import Refusal
from subgraphs.shared.pagination import encode_cursor
from subgraphs.stocks import store, store_orders
from subgraphs.stocks.schema import schema
from tests.stocks.conftest import ALBA, STOCKS, USERS, Desk
from tests.stocks.test_broker_orders import over_shares, parties, register, revoke
from tests.walked_routes import routes_of

WALLET = Caller(kind="service", id="wallet")
OK, MISSING = "ok", "not-found"
ANONYMOUS, SERVICE = "unauthenticated", "forbidden"


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice's things, by id, and everybody who may ask for them."""

    holding: str
    mandate: str
    own_order: str
    brokers_order: str
    alice: Caller
    callers: dict[str, Caller | None]


BROKERS = ("her broker", "her broker, revoked", "her broker, expired")
CALLERS = ("anonymous", "alice", "another investor", *BROKERS, "another broker", "users", "wallet", "stocks")


async def set_scene(desk: Desk, caller: str) -> Scene:
    """Alice holds 10 ALBA, 4 of them under bob's mandate; each has placed an order on them."""
    alice, bob = await parties(desk)
    holding = await desk.bought(alice, "10")
    mandate = (await over_shares(desk, alice, bob, "4"))["id"]
    own = (await desk.place(alice, side="sell", type="limit", limitPrice="500", timeInForce="gtc")).json()["id"]
    placed = (await desk.place(bob, side="sell", authorizationId=mandate)).json()["id"]
    if caller == "her broker, revoked":
        assert (await revoke(desk, alice, {"id": mandate})).status_code == 200
    if caller == "her broker, expired":
        short = await desk.send(
            alice,
            "POST",
            "/authorizations",
            {
                "type": "stockholding",
                "stockholdingId": holding["id"],
                "amount": "2",
                "brokerId": bob.id,
                "endsAt": "2027-01-15T09:00:00Z",
            },
            service="users",
        )
        mandate = short.json()["id"]
        desk.clock.advance(3_600)
    people: dict[str, Caller | None] = {
        "anonymous": None,
        "alice": alice,
        "another investor": await register(desk, "investor"),
        "another broker": await register(desk, "broker"),
        "users": USERS,
        "wallet": WALLET,
        "stocks": STOCKS,
        **dict.fromkeys(BROKERS, bob),
    }
    return Scene(holding["id"], mandate, own, placed, alice, people)


PUBLIC = dict.fromkeys(CALLERS, OK)
OWN_LISTS = {**PUBLIC, "anonymous": ANONYMOUS, "users": SERVICE, "wallet": SERVICE, "stocks": SERVICE}
ALICES = {**OWN_LISTS, **dict.fromkeys(("another investor", "another broker", *BROKERS), MISSING)}
PLACED = {
    **OWN_LISTS,
    "alice": "authorization-not-allowed",
    "another investor": "authorization-not-allowed",
    "another broker": "unknown-authorization",
    "her broker, revoked": "authorization-inactive",
    "her broker, expired": "authorization-inactive",
}
BOTHS = {**ALICES, **dict.fromkeys(BROKERS, OK)}

NEW_ORDER = {"stockId": ALBA, "side": "sell", "quantity": "1", "authorizationId": "{mandate}"}
ROUTES: dict[tuple[str, str], tuple[dict[str, str] | None, dict[str, str]]] = {
    ("GET", "/stocks"): (None, PUBLIC),
    ("GET", "/stocks/ticks/stream"): (None, PUBLIC),
    ("GET", "/stocks/{stockId}"): (None, PUBLIC),
    ("GET", "/stocks/{stockId}/ticks"): (None, PUBLIC),
    ("GET", "/stockholdings"): (None, OWN_LISTS),
    ("GET", "/stockholdings/{stockholdingId}"): (None, {**ALICES, "users": OK}),
    ("GET", "/stockholdings/commitments/{authorizationId}"): (None, BOTHS),
    ("PUT", "/stockholdings/{stockholdingId}"): (
        {"authorizationId": "{mandate}", "commitedAmount": "3"},
        {**ALICES, "users": "invalid-request"},
    ),
    ("GET", "/orders"): (None, OWN_LISTS),
    ("GET", "/orders/statement"): (None, OWN_LISTS),
    ("GET", "/orders/stream"): (None, OWN_LISTS),
    ("GET", "/orders/{orderId}"): (None, BOTHS),
    ("POST", "/orders"): (NEW_ORDER, PLACED),
    ("PUT", "/orders/{orderId}"): ({"status": "cancelled"}, ALICES),
    ("POST", "/market/ticks"): (
        {"symbol": "ALBA", "bid": "83.9580", "ask": "84.0420"},
        {**dict.fromkeys(CALLERS, SERVICE), "anonymous": ANONYMOUS, "stocks": OK},
    ),
    ("GET", "/health"): (None, PUBLIC),
    ("GET", "/ready"): (None, PUBLIC),
    ("GET", "/metrics"): (None, PUBLIC),
}


def verdict(response: httpx.Response) -> str:
    """What the caller got: ok, or the problem's code."""
    code: str = OK if response.is_success else response.json()["code"]
    return code


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_knows_its_callers(desk: Desk, caller: str) -> None:
    """Each route gives each caller an answer or a refusal of its own, and nobody another's object."""
    scene = await set_scene(desk, caller)
    assert routes_of(desk.stocks) == set(ROUTES)
    for (method, path), (body, expected) in ROUTES.items():
        order = scene.brokers_order if method == "GET" else scene.own_order
        ids = {"stockholdingId": scene.holding, "orderId": order, "authorizationId": scene.mandate}
        target = path.format(stockId=ALBA, **ids)
        given = body and {name: value.format(mandate=scene.mandate) for name, value in body.items()}
        query = "?month=2026-01" if path.endswith("/statement") else ""
        # Of a stream the beginning is enough: its headers, without what never ends.
        asked = "HEAD" if path.endswith("/stream") and expected[caller] == OK else method
        response = await desk.send(scene.callers[caller], asked, target + query, given)
        assert verdict(response) == expected[caller], (method, path, response.text)


async def test_a_broker_does_not_see_the_investors_own_orders(desk: Desk) -> None:
    """Bob's mandate opens the orders that bob placed, and no other of alice's."""
    scene = await set_scene(desk, "her broker")
    bob = scene.callers["her broker"]
    assert (await desk.send(bob, "GET", f"/orders/{scene.own_order}")).status_code == 404
    listed = (await desk.send(bob, "GET", "/orders")).json()["items"]
    assert [order["id"] for order in listed] == [scene.brokers_order]


async def test_a_row_is_locked_for_its_viewers_alone(desk: Desk) -> None:
    """The statements that lock an order, a holding or a commitment to change it find nothing of anybody else's."""
    scene = await set_scene(desk, "her broker")
    alice, bob, eve = (scene.callers[name] for name in ("alice", "her broker", "another investor"))
    assert alice is not None
    assert bob is not None
    assert eve is not None

    async def work(connection: Connection) -> None:
        for viewer, orders in ((alice, (True, True)), (bob, (False, True)), (eve, (False, False))):
            found = [
                await store_orders.lock_viewed_order(connection, order_id, viewer.id) is not None
                for order_id in (scene.own_order, scene.brokers_order)
            ]
            assert tuple(found) == orders
            holding = await store.lock_own_holding(connection, scene.holding, viewer.id)
            assert (holding is not None) == (viewer is alice)
        assert await store.lock_commitment_over(connection, scene.holding, scene.mandate) is not None
        assert await store.lock_commitment_over(connection, scene.mandate, scene.mandate) is None

    await desk.databases["stocks"].write(work)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nobody_waits_for_what_is_anothers(desk: Desk) -> None:
    """While Alice's holding and her order are being changed, others hear that there are none, and wait for no lock."""
    scene = await set_scene(desk, "her broker")
    change = {"authorizationId": scene.mandate, "commitedAmount": "3"}

    async def work(connection: Connection) -> None:
        await store_orders.lock_order(connection, scene.own_order)
        await store.lock_holding(connection, scene.holding)
        for stranger in ("her broker", "another investor"):
            caller = scene.callers[stranger]
            answer = await desk.send(caller, "PUT", f"/stockholdings/{scene.holding}", change)
            assert (answer.status_code, answer.json()["code"]) == (404, MISSING)
            with pytest.raises(Refusal) as refused:
                await desk.stocks.state.service.orders.cancel(caller, scene.own_order)
            assert refused.value.code.code == MISSING

    await desk.databases["stocks"].write(work)


async def test_users_reads_the_holding_of_the_investor_it_names(desk: Desk) -> None:
    """Before a mandate over shares is given, users asks for that investor's holding; anybody else's is not there."""
    scene = await set_scene(desk, "her broker")
    alice, eve = scene.callers["alice"], scene.callers["another investor"]
    assert alice is not None
    assert eve is not None
    path = f"/stockholdings/{scene.holding}?investorId="
    assert (await desk.send(USERS, "GET", path + alice.id)).json()["stockId"] == ALBA
    assert verdict(await desk.send(USERS, "GET", path + eve.id)) == MISSING
    for caller in (alice, eve, STOCKS):
        assert verdict(await desk.send(caller, "GET", path + alice.id)) == SERVICE


UPPER = {code: code.replace("-", "_").upper() for code in (*PLACED.values(), *ALICES.values()) if code != OK}
GONE = encode_cursor("stocks events", 10**6)
"""A cursor that a subscription answers at once: what comes after it never was."""
FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "stocks": ("{ stocks { edges { node { id } } } }", PUBLIC),
    "stock": ('{ stock(symbol: "ALBA") { id } }', PUBLIC),
    "_service": ("{ _service { sdl } }", PUBLIC),
    "order": ("query($order: ID!) { order(id: $order) { id } }", BOTHS),
    "stockholding": ("query($holding: ID!) { stockholding(id: $holding) { id } }", ALICES),
    "_entities": (
        """query($representations: [_Any!]!) { _entities(representations: $representations) {
          ... on StockHolding { id } } }""",
        ALICES,
    ),
    "placeOrder": (
        """mutation($stock: ID!, $mandate: ID!) { placeOrder(input: {stockId: $stock, side: SELL, quantity: "1",
          authorizationId: $mandate, idempotencyKey: "k"}) { order { id } errors { code } } }""",
        PLACED,
    ),
    "cancelOrder": ("mutation($own: ID!) { cancelOrder(input: {id: $own}) { order { id } errors { code } } }", ALICES),
    "priceTicked": ("subscription { priceTicked { symbol } }", PUBLIC),
    "orderChanged": ("subscription($gone: String) { orderChanged(after: $gone) { missed } }", OWN_LISTS),
    "holdingChanged": ("subscription($gone: String) { holdingChanged(after: $gone) { missed } }", OWN_LISTS),
    "setCommitment": (
        """mutation($holding: ID!, $mandate: ID!) { setCommitment(input: {stockholdingId: $holding,
          authorizationId: $mandate, committedAmount: "3"}) { stockholding { id } errors { code } } }""",
        ALICES,
    ),
}


async def first_event(desk: Desk, caller: Caller | None, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """What a subscription tells first; of prices, one that is posted meanwhile."""
    authorization = desk.bearer(caller, "stocks").get("authorization")
    answers = desk.stocks.state.subgraph.subscribe(
        query, variables, authorization=authorization, client_address="192.0.2.1"
    )
    coming = asyncio.ensure_future(anext(answers))
    while "priceTicked" in query and not coming.done():
        await desk.tick("83.9580", "84.0420")
        await asyncio.wait({coming}, timeout=0.05)
    answer: dict[str, Any] = await coming
    await answers.aclose()
    return answer


def shown(answer: dict[str, Any], field: str) -> str:
    """What the caller got: ok, or the code of the first error, wherever it stands."""
    if "errors" in answer:
        code: str = answer["errors"][0]["extensions"]["code"]
        return code
    value = answer["data"][field]
    errors = value.get("errors") if isinstance(value, dict) else None
    return errors[0]["code"] if errors else OK


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("caller", CALLERS)
async def test_every_root_field_knows_its_callers(desk: Desk, caller: str) -> None:
    """Each root field gives each caller what REST gives."""
    scene = await set_scene(desk, caller)
    roots = [schema.query, schema.mutation, schema.subscription]
    names = {
        schema.config.name_converter.from_field(field)
        for root in roots
        for field in root.__strawberry_definition__.fields  # type: ignore[union-attr]  # both are there
    }
    assert names | {"_service", "_entities"} == set(FIELDS)
    variables: dict[str, Any] = {
        "order": scene.brokers_order,
        "own": scene.own_order,
        "holding": scene.holding,
        "mandate": scene.mandate,
        "stock": ALBA,
        "gone": GONE,
        "representations": [{"__typename": "StockHolding", "id": scene.holding}],
    }
    for field, (query, expected) in FIELDS.items():
        used = {name: value for name, value in variables.items() if f"${name}:" in query}
        if query.startswith("subscription"):
            answer = await first_event(desk, scene.callers[caller], query, used)
        else:
            answer = await desk.graphql(scene.callers[caller], query, **used)
        wanted = expected[caller]
        assert shown(answer, field) == UPPER.get(wanted, wanted), (field, answer)
