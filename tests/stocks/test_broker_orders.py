"""Brokers' orders under authorizations: what they may do, where money and shares go, and how the mandate rolls over."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import update

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection
from subgraphs.shared.peers import PeerUnavailable
from subgraphs.shared.transport import PeerRequest, PeerResponse, TransportFailed
from subgraphs.stocks import tables
from subgraphs.stocks.rules_orders import Order
from subgraphs.users.rules import Role
from tests.in_memory import host_of, operation_of
from tests.stocks.conftest import ALBA, HANA, Desk, DeskFactory, broker

PASSWORD = "correct horse battery"


async def register(desk: Desk, role: Role) -> Caller:
    """A user whom the users service knows."""
    email = f"{uuid.uuid4()}@example.com"
    body = {"name": "Somebody", "email": email, "password": PASSWORD, "type": role}
    response = await desk.send(None, "POST", "/users/register", body, service="users")
    assert response.status_code == 201, response.text
    return Caller(kind="user", id=response.json()["id"], role=role)


async def authorize(desk: Desk, alice: Caller, bob: Caller, **terms: object) -> dict[str, Any]:
    """An authorization that alice gave bob: 1000 EUR of capital from now on, unless `terms` say otherwise."""
    body = {"type": "capital", "currency": "EUR", "amount": "1000.00", "brokerId": bob.id, **terms}
    body = {name: value for name, value in body.items() if value is not None}
    expected = "scheduled" if "startsAt" in terms else "active"
    response = await desk.send(alice, "POST", "/authorizations", body, service="users")
    assert (response.status_code, response.json()["status"]) == (201, expected), response.text
    found: dict[str, Any] = response.json()
    return found


async def over_shares(desk: Desk, alice: Caller, bob: Caller, amount: str = "10") -> dict[str, Any]:
    """An active authorization over that many of alice's ALBA."""
    holding = await desk.holding(alice)
    terms = {"type": "stockholding", "stockholdingId": holding["id"], "amount": amount, "currency": None}
    return await authorize(desk, alice, bob, **terms)


async def parties(desk: Desk) -> tuple[Caller, Caller]:
    """An investor with 10,000 EUR, and a broker."""
    alice, bob = await register(desk, "investor"), await register(desk, "broker")
    await desk.deposit(alice, "10000.00")
    return alice, bob


async def revoke(desk: Desk, alice: Caller, authorization: Mapping[str, Any]) -> httpx.Response:
    """PUT /authorizations/{id}/revoke."""
    path = f"/authorizations/{authorization['id']}/revoke"
    return await desk.send(alice, "PUT", path, service="users")


async def mandates_of(desk: Desk, user: Caller) -> dict[str, dict[str, Any]]:
    """The user's authorizations by id."""
    answer = await desk.send(user, "GET", "/authorizations", service="users")
    return {item["id"]: item for item in answer.json()["items"]}


async def remaining(desk: Desk, viewer: Caller, authorization_id: str) -> str | None:
    """What stocks says remains of a mandate's shares."""
    answer = await desk.graphql(
        viewer,
        "query($r: [_Any!]!) { _entities(representations: $r) { ... on Authorization { remainingQuantity } } }",
        r=[{"__typename": "Authorization", "id": authorization_id}],
    )
    found: str | None = answer["data"]["_entities"][0]["remainingQuantity"]
    return found


async def test_a_broker_buys_with_the_investors_committed_money(desk: Desk) -> None:
    """Cost and fees come out of the commitment, the shares go to the child mandate, the broker gets the fee."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    response = await desk.place(bob, quantity="5", authorizationId=capital["id"])
    assert response.status_code == 201, response.text
    order = response.json()
    assert (order["status"], order["userId"], order["placedBy"]) == ("completed", alice.id, bob.id)
    assert (order["cost"], order["fee"], order["brokerFee"]) == ("420.21", "2.11", "4.21")
    balance = await desk.balance(alice)
    assert (balance["available"], balance["committed"], balance["held"]) == ("9000.00", "573.47", "0.00")
    assert (await desk.balance(bob))["available"] == "4.21"
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["freeQuantity"], holding["commitedAmount"]) == ("5", "0", "5")
    child = (await mandates_of(desk, bob))[order["rolloverAuthorizationId"]]
    assert (child["type"], child["status"], child["parentId"]) == ("stockholding", "active", capital["id"])
    assert await remaining(desk, bob, child["id"]) == "5"
    await desk.check_books()


async def test_an_order_says_since_when_its_broker_has_an_account(desk: Desk) -> None:
    """Beside the broker's id stands the registration date, for both parties; an order of one's own has none.

    Orders of before the date was kept are read as they were.
    """
    alice, bob = await parties(desk)
    registered = (await desk.send(alice, "GET", f"/users/{bob.id}", service="users")).json()["registeredAt"]
    capital = await authorize(desk, alice, bob)
    desk.clock.advance(60)
    placed = (await desk.place(bob, quantity="2", authorizationId=capital["id"])).json()
    own = (await desk.place(alice)).json()
    assert (placed["placedBy"], placed["placedByRegisteredAt"]) == (bob.id, registered)
    assert (own["placedBy"], own["placedByRegisteredAt"]) == (alice.id, None)
    for viewer in (alice, bob):
        assert await desk.order(viewer, placed["id"]) == placed

    async def forget(connection: Connection) -> None:
        await connection.execute(update(tables.orders).values(placed_by_registered_at=None))

    await desk.databases["stocks"].write(forget)
    assert await desk.order(alice, placed["id"]) == {**placed, "placedByRegisteredAt": None}


def cut_unless(desk: Desk, let_through: Callable[[PeerRequest], bool]) -> None:
    """Lets no call to the wallet or to stocks through but those."""

    async def before(request: PeerRequest) -> PeerResponse | None:
        if host_of(request) != "users" and not let_through(request):
            raise TransportFailed("cut")
        return None

    desk.network.before = before


async def test_a_purchase_that_waited_is_rejected_after_a_revoke(desk: Desk) -> None:
    """An order whose hold comes after the revoke, and before the wallet has heard of that, is rejected all the same."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    before = await desk.balance(alice)
    desk.network.cut("wallet")
    order = (await desk.place(bob, key="k", authorizationId=capital["id"])).json()
    assert order["status"] == "pending"
    assert (await revoke(desk, alice, capital)).status_code == 202
    cut_unless(desk, lambda request: operation_of(request) in ("hold", "void"))
    await desk.settle()
    rejected = await desk.order(alice, order["id"])
    assert (rejected["status"], rejected["reason"]) == ("rejected", "authorization-inactive")
    balance = await desk.balance(alice)
    assert (balance["committed"], balance["held"]) == (before["committed"], "0.00")
    again = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (again.status_code, again.json()["code"]) == (422, "authorization-inactive")
    desk.network.mend()
    await desk.settle_users()
    assert (await desk.balance(alice))["available"] == "10000.00"
    await desk.check_books()


async def test_a_sale_that_waited_is_rejected_after_a_revoke(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sale that a crash left as new is not reserved under a mandate that has been revoked; the shares go back."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    shares = await over_shares(desk, alice, bob, "4")
    saga = desk.stocks.state.saga

    async def crash(order: Order) -> Order:
        raise PeerUnavailable("crashed")

    with monkeypatch.context() as crashed:
        crashed.setattr(saga.steps, "start", crash)
        order = (await desk.place(bob, side="sell", quantity="3", authorizationId=shares["id"])).json()
    assert order["status"] == "pending"
    assert (await desk.holding(alice))["reservedQuantity"] == "3"
    desk.network.cut("stocks")
    assert (await revoke(desk, alice, shares)).status_code == 202
    await desk.settle()
    assert (await desk.order(alice, order["id"]))["reason"] == "authorization-inactive"
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["commitedAmount"], holding["reservedQuantity"]) == ("10", "4", "0")
    desk.network.mend()
    await desk.settle_users()
    assert (await desk.holding(alice))["freeQuantity"] == "10"
    await desk.check_books()


async def test_an_order_that_waited_for_users_as_well_goes_on(desk: Desk) -> None:
    """While nobody can say whether the mandate stands an order stays pending; it completes when users says it does."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    desk.network.cut("wallet")
    order = (await desk.place(bob, authorizationId=capital["id"])).json()
    desk.network.cut("users")
    for _ in range(3):
        desk.clock.advance(2.1)
        await desk.stocks.state.saga.driver.step()
    assert (await desk.order(alice, order["id"]))["status"] == "pending"
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, order["id"]))["status"] == "completed"
    await desk.check_books()


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_mandate_is_verified_once_where_nothing_is_late(desk: Desk, side: str) -> None:
    """An order that is reserved at the first attempt has asked users once whether its mandate stands."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    mandate = await (authorize(desk, alice, bob) if side == "buy" else over_shares(desk, alice, bob))
    desk.network.calls.clear()
    assert (await desk.place(bob, side=side, quantity="2", authorizationId=mandate["id"])).status_code == 201
    assert [call for call in desk.network.calls if call[:2] == ("users", "GET")] == [
        ("users", "GET", f"/authorizations/{mandate['id']}")
    ]


async def test_a_broker_sells_the_investors_committed_shares(desk: Desk) -> None:
    """The shares come out of the commitment, and the proceeds less fees go to the child mandate."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    before = await desk.balance(alice)
    shares = await over_shares(desk, alice, bob)
    response = await desk.place(bob, side="sell", quantity="4", authorizationId=shares["id"])
    assert response.status_code == 201, response.text
    order = response.json()
    assert (order["cost"], order["fee"], order["brokerFee"]) == ("335.83", "1.68", "3.36")
    after = await desk.balance(alice)
    assert (after["available"], after["committed"]) == (before["available"], "330.79")
    assert await remaining(desk, alice, shares["id"]) == "6"
    child = (await mandates_of(desk, alice))[order["rolloverAuthorizationId"]]
    assert (child["type"], child["currency"], child["parentId"]) == ("capital", "EUR", shares["id"])
    await desk.check_books()


async def test_a_mandate_rolls_over_and_back(desk: Desk) -> None:
    """Money to shares to money: the sale of the child's shares extends the root, not a grandchild."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    bought = (await desk.place(bob, quantity="5", authorizationId=capital["id"])).json()
    again = (await desk.place(bob, quantity="1", authorizationId=capital["id"])).json()
    assert again["rolloverAuthorizationId"] == bought["rolloverAuthorizationId"]
    child = bought["rolloverAuthorizationId"]
    assert await remaining(desk, bob, child) == "6"
    sold = (await desk.place(bob, side="sell", quantity="6", authorizationId=child)).json()
    assert sold["rolloverAuthorizationId"] == capital["id"]
    holdings = (await desk.send(alice, "GET", "/stockholdings")).json()["items"]
    assert holdings == []
    balance = await desk.balance(alice)
    assert (balance["available"], balance["held"]) == ("9000.00", "0.00")
    assert 970 < float(balance["committed"]) < 1000
    assert (await revoke(desk, alice, capital)).status_code == 200
    assert (await desk.balance(alice))["committed"] == "0.00"
    await desk.check_books()


async def test_what_remains_of_a_mandate_is_read_at_stocks(desk: Desk) -> None:
    """Both parties are told by stocks alone, which asks nobody; to anybody else it is as if it did not exist."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    capital, shares = await authorize(desk, alice, bob), await over_shares(desk, alice, bob, "4")
    path = shares["commitmentPath"]
    assert path == f"/stockholdings/commitments/{shares['id']}"
    for amount, status in (("4", "open"), ("3", "open"), ("0", "closed")):
        if amount == "3":
            assert (await desk.place(bob, side="sell", authorizationId=shares["id"])).status_code == 201
        if status == "closed":
            assert (await revoke(desk, alice, shares)).status_code == 200
        calls = len(desk.network.calls)
        for party in (alice, bob):
            shown = await desk.send(party, "GET", path)
            expected = {"authorizationId": shares["id"], "stockId": ALBA, "symbol": "ALBA"}
            assert (shown.status_code, shown.json()) == (200, {**expected, "remaining": amount, "status": status})
        assert len(desk.network.calls) == calls
    nothing = f"/stockholdings/commitments/{capital['id']}"
    refused = [await desk.send(caller, "GET", asked) for caller, asked in ((broker(), path), (alice, nothing))]
    assert [answer.status_code for answer in refused] == [404, 404]
    assert {**refused[0].json(), "requestId": ""} == {**refused[1].json(), "requestId": ""}


async def test_a_broker_is_refused_for_reasons_of_brokers(desk: Desk, subtests: pytest.Subtests) -> None:
    """Foreign, missing, ended, not begun, of the wrong kind, stock or currency, or too small: each has its code."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    stranger = broker()
    capital, shares = await authorize(desk, alice, bob), await over_shares(desk, alice, bob)
    await desk.deposit(alice, "100000", "JPY")
    yen = await authorize(desk, alice, bob, currency="JPY", amount="50000")
    ended = await authorize(desk, alice, bob)
    await revoke(desk, alice, ended)
    later = await authorize(desk, alice, bob, startsAt="2028-01-01T00:00:00Z")
    selling: dict[str, Any] = {"authorizationId": shares["id"], "side": "sell"}
    cases: list[tuple[str, Caller, dict[str, Any], str]] = [
        ("foreign", stranger, {"authorizationId": capital["id"]}, "unknown-authorization"),
        ("missing", bob, {"authorizationId": str(uuid.uuid4())}, "unknown-authorization"),
        ("revoked", bob, {"authorizationId": ended["id"]}, "authorization-inactive"),
        ("not begun", bob, {"authorizationId": later["id"]}, "authorization-inactive"),
        ("buying with shares", bob, {"authorizationId": shares["id"]}, "authorization-mismatch"),
        ("selling with capital", bob, {"authorizationId": capital["id"], "side": "sell"}, "authorization-mismatch"),
        (
            "another stock",
            bob,
            {"authorizationId": shares["id"], "side": "sell", "stockId": HANA},
            "authorization-mismatch",
        ),
        ("another currency", bob, {"authorizationId": yen["id"]}, "currency-mismatch"),
        ("too small", bob, {"authorizationId": capital["id"], "quantity": "12"}, "insufficient-funds"),
        ("too few", bob, {**selling, "quantity": "11"}, "insufficient-shares"),
        (
            "automated",
            bob,
            {"authorizationId": capital["id"], "type": "limit", "limitPrice": "1"},
            "automated-order-invalid",
        ),
        ("the investor in person", alice, {"authorizationId": capital["id"]}, "authorization-not-allowed"),
    ]
    before, holding = await desk.balance(alice), await desk.holding(alice)
    for name, caller, changes, code in cases:
        with subtests.test(name):
            response = await desk.place(caller, **changes)
            assert (response.status_code, response.json()["code"]) == (422, code), response.text
            given = {"stockId": ALBA, "side": "buy", "quantity": "1", **changes, "idempotencyKey": name}
            for enum in {"side", "type"} & given.keys():
                given[enum] = str(given[enum]).upper()
            payload = await desk.graphql(
                caller, "mutation($i: PlaceOrderInput!) { placeOrder(input: $i) { errors { code } } }", i=given
            )
            assert payload["data"]["placeOrder"]["errors"] == [{"code": code.replace("-", "_").upper()}]
            assert await desk.balance(alice) == before
            now = await desk.holding(alice)
            assert {**now, "version": 0} == {**holding, "version": 0}
    await desk.check_books()


async def test_a_mandates_window_is_checked_when_the_order_is_placed(desk: Desk) -> None:
    """An order before the end is executed; one after it is refused, also before the sweeper has come."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob, endsAt="2027-01-16T00:00:00Z")
    assert (await desk.place(bob, authorizationId=capital["id"])).status_code == 201
    desk.clock.advance(86_400)
    response = await desk.place(bob, authorizationId=capital["id"])
    assert (response.status_code, response.json()["code"]) == (422, "authorization-inactive")


async def test_without_users_a_brokers_order_writes_nothing(desk: Desk) -> None:
    """The mandate cannot be verified: 503 with Retry-After, and the same key is free for another attempt."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    desk.network.cut("users")
    response = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert (await desk.send(bob, "GET", "/orders")).json()["items"] == []
    desk.network.mend()
    assert (await desk.place(bob, key="k", authorizationId=capital["id"])).status_code == 201


async def test_a_404_without_its_code_is_no_answer_about_a_mandate(desk: Desk) -> None:
    """Something between the services answers 404: that says nothing about the authorization."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)

    async def strange(request: PeerRequest) -> PeerResponse | None:
        return PeerResponse(404, orjson.dumps({"detail": "no such route"}))

    desk.network.before = strange
    response = await desk.place(bob, authorizationId=capital["id"])
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


async def test_an_executed_order_completes_after_a_revoke_and_leaves_everything_free(desk: Desk) -> None:
    """Revoked between execution and rollover: no child, and shares and remainder are the investor's, free."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)

    async def lose_rollover(request: PeerRequest) -> PeerResponse | None:
        if host_of(request) == "users" and request.method == "POST":
            raise TransportFailed("lost")
        return None

    desk.network.before = lose_rollover
    response = await desk.place(bob, quantity="5", authorizationId=capital["id"])
    assert (response.status_code, response.json()["status"]) == (202, "completed")
    desk.network.mend()
    assert (await revoke(desk, alice, capital)).status_code == 200
    await desk.settle()
    order = await desk.order(alice, response.json()["id"])
    assert (order["status"], order["rolloverAuthorizationId"]) == ("completed", None)
    holding, balance = await desk.holding(alice), await desk.balance(alice)
    assert (holding["freeQuantity"], holding["commitedAmount"]) == ("5", "0")
    assert (balance["available"], balance["committed"], balance["held"]) == ("9573.47", "0.00", "0.00")
    await desk.check_books()


async def test_a_child_that_is_revoked_before_it_is_filled_leaves_everything_free(desk: Desk) -> None:
    """The child's close comes between rollover and settlement: its tombstone diverts the shares to free."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)

    async def lose_post(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) == "post":
            raise TransportFailed("lost")
        return None

    desk.network.before = lose_post
    response = await desk.place(bob, quantity="5", authorizationId=capital["id"])
    desk.network.mend()
    assert (await revoke(desk, alice, capital)).status_code == 200
    await desk.settle()
    order = await desk.order(alice, response.json()["id"])
    assert order["settledAt"] is not None
    holding, balance = await desk.holding(alice), await desk.balance(alice)
    assert (holding["freeQuantity"], holding["commitedAmount"]) == ("5", "0")
    assert (balance["available"], balance["committed"]) == ("9573.47", "0.00")
    await desk.check_books()


async def test_a_hold_after_the_revoke_rejects_the_order(desk: Desk) -> None:
    """Verified, then revoked before the money was set aside: the order is rejected and nothing moves."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)

    async def revoke_before_hold(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) == "hold":
            desk.network.before = None
            assert (await revoke(desk, alice, capital)).status_code == 200
        return None

    desk.network.before = revoke_before_hold
    response = await desk.place(bob, authorizationId=capital["id"])
    assert (response.status_code, response.json()["code"]) == (422, "authorization-inactive")
    assert (await desk.balance(alice))["available"] == "10000.00"
    await desk.check_books()


async def test_a_broker_sees_and_cancels_own_orders_while_the_mandate_lives(desk: Desk) -> None:
    """A broker sees the order that waits for the wallet; to cancel it takes an active mandate."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    desk.network.cut("wallet")
    orders = [(await desk.place(bob, authorizationId=capital["id"])).json()["id"] for _ in range(2)]
    listed = (await desk.send(bob, "GET", "/orders")).json()["items"]
    assert {order["id"] for order in listed} == set(orders)
    assert {order["id"] for order in (await desk.send(alice, "GET", "/orders")).json()["items"]} == set(orders)
    stranger = broker()
    assert (await desk.send(stranger, "PUT", f"/orders/{orders[0]}", {"status": "cancelled"})).status_code == 404
    desk.network.mend()
    answer = await desk.send(bob, "PUT", f"/orders/{orders[0]}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    await revoke(desk, alice, capital)
    answer = await desk.send(bob, "PUT", f"/orders/{orders[1]}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["code"]) == (422, "authorization-inactive")
    answer = await desk.send(bob, "PUT", f"/orders/{orders[0]}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    await desk.settle()
    await desk.check_books()


async def test_a_rollover_that_is_asked_for_twice_is_one_rollover(desk: Desk) -> None:
    """The reply of users is lost: asked again it answers the same mandate, extended once."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    asked = 0

    async def lose_first_reply(request: PeerRequest) -> None:
        nonlocal asked
        if host_of(request) == "users" and request.method == "POST":
            asked += 1
            if asked == 1:
                raise TransportFailed("lost")

    desk.network.after = lose_first_reply
    response = await desk.place(bob, quantity="5", authorizationId=capital["id"])
    assert response.status_code == 202
    await desk.settle()
    order = await desk.order(bob, response.json()["id"])
    assert asked == 2
    assert await remaining(desk, bob, order["rolloverAuthorizationId"]) == "5"
    assert len(await mandates_of(desk, bob)) == 2
    await desk.check_books()


async def test_a_sale_that_its_fees_eat_up_rolls_nothing_over(make_desk: DeskFactory) -> None:
    """Fees are capped at the proceeds; when nothing is left there is no child mandate."""
    desk = await make_desk(fee_share_ppm_max=1_000_000)
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    before = await desk.balance(alice)
    shares = await over_shares(desk, alice, bob)
    response = await desk.place(bob, side="sell", quantity="0.005", authorizationId=shares["id"])
    assert response.status_code == 201, response.text
    order = response.json()
    assert (order["cost"], order["brokerFee"], order["fee"]) == ("0.42", "0.01", "0.41")
    assert order["rolloverAuthorizationId"] is None
    assert await desk.balance(alice) == before
    await desk.check_books()
