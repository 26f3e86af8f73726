"""A request to place an order has one answer, yes or no, on both faces and for good."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.transport import PeerRequest, PeerResponse
from tests.in_memory import operation_of
from tests.stocks.conftest import ALBA, HANA, Desk, DeskFactory, broker, investor
from tests.stocks.test_broker_orders import authorize, parties, revoke

PLACE = """mutation($input: PlaceOrderInput!) {
  placeOrder(input: $input) { order { id status } replayed errors { code message } } }"""

Change = Callable[[], Awaitable[object]]


async def check_kept(desk: Desk, caller: Caller, code: str, change: Change, **order: object) -> None:
    """An order is refused, the reason goes away, and the same request is refused all the same, on both faces."""
    first = await desk.place(caller, key="k", **order)
    assert (first.status_code, first.json()["code"]) == (422, code)
    assert "idempotent-replayed" not in first.headers
    await change()
    again = await desk.place(caller, key="k", **order)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (422, "true")
    assert {**again.json(), "requestId": ""} == {**first.json(), "requestId": ""}
    given = {"stockId": ALBA, "quantity": "1", **order, "side": "BUY", "idempotencyKey": "k"}
    answer = (await desk.graphql(caller, PLACE, input=given))["data"]["placeOrder"]
    assert (answer["replayed"], [error["code"] for error in answer["errors"]]) == (
        True,
        [code.replace("-", "_").upper()],
    )
    assert answer["errors"][0]["message"] == first.json()["detail"]
    other = await desk.place(caller, key="other", **order)
    assert other.status_code == 201, other.text


async def test_too_little_money_stays_too_little(desk: Desk) -> None:
    """A rejected order is not placed when it is sent again after a deposit."""
    alice = investor()
    await check_kept(desk, alice, "insufficient-funds", lambda: desk.deposit(alice))


async def test_a_closed_market_stays_closed(make_desk: DeskFactory) -> None:
    """An order refused at night is not placed when it arrives again in the morning."""
    desk, alice = await make_desk(market_sessions="09:00-17:30 mon-fri"), investor()
    await desk.deposit(alice)
    desk.clock.now = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 3_600_000

    async def morning() -> None:
        desk.clock.advance(9 * 3_600)

    await check_kept(desk, alice, "market-closed", morning)


async def test_an_unknown_mandate_stays_unknown(desk: Desk) -> None:
    """A broker's order under another's mandate, or an inactive one, is refused before anything is written, and kept."""
    alice, bob = await parties(desk)
    mandate = await authorize(desk, alice, bob)
    await revoke(desk, alice, mandate)
    first = await desk.place(bob, key="k", authorizationId=mandate["id"])
    again = await desk.place(bob, key="k", authorizationId=mandate["id"])
    assert (first.json()["code"], again.json()["code"]) == ("authorization-inactive", "authorization-inactive")
    assert ("idempotent-replayed" in first.headers, "idempotent-replayed" in again.headers) == (False, True)
    assert (await desk.place(bob, key="k", authorizationId=mandate["id"], stockId=HANA)).json()["code"] == (
        "idempotency-key-reused"
    )


async def test_what_could_not_be_verified_is_not_kept(desk: Desk) -> None:
    """While users is down a broker's order is 503; the same request is placed when users is back."""
    alice, bob = await parties(desk)
    mandate = await authorize(desk, alice, bob)
    desk.network.cut("users")
    assert (await desk.place(bob, key="k", authorizationId=mandate["id"])).status_code == 503
    desk.network.mend()
    placed = await desk.place(bob, key="k", authorizationId=mandate["id"])
    assert placed.status_code == 201, placed.text
    assert "idempotent-replayed" not in placed.headers


async def test_an_accepted_order_stays_accepted(desk: Desk) -> None:
    """A broker's order is found by its key when its mandate has long been revoked."""
    alice, bob = await parties(desk)
    mandate = await authorize(desk, alice, bob)
    first = await desk.place(bob, key="k", authorizationId=mandate["id"])
    await revoke(desk, alice, mandate)
    desk.network.cut("users")
    again = await desk.place(bob, key="k", authorizationId=mandate["id"])
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()


async def test_a_duplicate_during_a_rejection_names_the_reason(desk: Desk) -> None:
    """While the money of a rejected order is still to be given back, a duplicate is told what the first is told."""
    alice = investor()

    async def held_up(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) == "hold":
            return PeerResponse(422, orjson.dumps({"code": "insufficient-funds", "detail": ""}))
        return PeerResponse(503, b"{}")

    desk.network.before = held_up
    first = await desk.place(alice, key="k")
    second = await desk.place(alice, key="k")
    for response in (first, second):
        assert (response.status_code, response.json()["code"]) == (422, "insufficient-funds")
    given = {"stockId": ALBA, "side": "BUY", "quantity": "1", "idempotencyKey": "k"}
    answer = (await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"]
    assert [error["code"] for error in answer["errors"]] == ["INSUFFICIENT_FUNDS"]
    assert answer["order"]["status"] == "REJECTED"
    desk.network.mend()
    await desk.settle()
    final = (await desk.place(alice, key="k")).json()
    assert {**final, "requestId": ""} == {**first.json(), "requestId": ""}


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_duplicates_at_once_are_told_the_same(desk: Desk, face: str) -> None:
    """Of five that arrive together none is told that a refused order was accepted."""
    alice = investor()

    async def place() -> tuple[str, ...]:
        if face == "rest":
            response = await desk.place(alice, key="k")
            return (response.json().get("code", response.json().get("status", "")),)
        given = {"stockId": ALBA, "side": "BUY", "quantity": "1", "idempotencyKey": "k"}
        answer = (await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"]
        if answer["order"]["status"] == "PENDING":
            return ("pending",)
        return tuple(error["code"].lower().replace("_", "-") for error in answer["errors"])

    answers = await asyncio.gather(*(place() for _ in range(5)))
    assert set(answers) <= {("insufficient-funds",), ("pending",)}
    assert await place() == ("insufficient-funds",)


async def test_nobody_gets_the_refusal_of_another_caller(desk: Desk) -> None:
    """A key is its caller's own: a broker's refusal is nothing to another broker with the same key."""
    alice, bob = await parties(desk)
    mandate, carol = await authorize(desk, alice, bob), broker()
    refused = await desk.place(carol, key="k", authorizationId=mandate["id"])
    assert refused.json()["code"] == "unknown-authorization"
    assert (await desk.place(bob, key="k", authorizationId=mandate["id"])).status_code == 201
