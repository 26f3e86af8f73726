"""What an order is bound to from its first moment: its fees, its last moment, its key, and its mandate as it was."""

from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from tests.stocks.conftest import ALBA, HANA, Desk, DeskFactory, investor
from tests.stocks.test_broker_orders import authorize, parties, revoke

ORDERS = """query($r: [_Any!]!, $after: String, $stock: ID) { _entities(representations: $r) { ... on User {
  orders(first: 2, after: $after, stockId: $stock) { edges { node { id } } pageInfo { hasNextPage endCursor } } } } }"""


async def orders_by_graphql(desk: Desk, caller: Caller, **variables: object) -> Any:
    """A page of `User.orders`."""
    asked = [{"__typename": "User", "id": caller.id}]
    answer = await desk.graphql(caller, ORDERS, r=asked, **variables)
    assert "errors" not in answer, answer
    return answer["data"]["_entities"][0]["orders"]


async def test_fees_are_those_of_the_day_it_was_placed(make_desk: DeskFactory) -> None:
    """Rates that were raised while an order waited do not touch it, so that its hold always covers it."""
    before, after = (
        await make_desk(),
        await make_desk(fee_rate_ppm=50_000, broker_fee_rate_ppm=50_000, fee_share_ppm_max=200_000),
    )
    alice = investor()
    await before.deposit(alice, "1000.00")
    placed = (await before.place(alice, type="limit", limitPrice="80", quantity="10")).json()
    assert (await before.balance(alice))["held"] == "804.00"
    await after.tick("70", "71")
    await after.settle()
    order = await after.order(alice, placed["id"])
    assert (order["status"], order["cost"], order["fee"]) == ("completed", "710.00", "3.55")
    later = (await after.place(alice, quantity="1")).json()
    assert (later["cost"], later["fee"]) == ("71.00", "3.55")
    await after.check_books()


LAST_MOMENTS: list[tuple[dict[str, str], str, float]] = [
    ({"timeInForce": "day"}, "2027-01-16T00:00:00.000Z", 0.7),
    ({"timeInForce": "gtc"}, "2027-04-15T08:00:00.000Z", 90),
    ({"timeInForce": "gtd", "expiresAt": "2027-01-20T10:30:00+02:00"}, "2027-01-20T08:30:00.000Z", 5.1),
]


@pytest.mark.parametrize(("terms", "expires_at", "days"), LAST_MOMENTS, ids=["day", "gtc", "gtd"])
async def test_an_automated_order_works_until_its_last_moment(
    desk: Desk, terms: dict[str, str], expires_at: str, days: float
) -> None:
    """The day's end, 90 days, or the date named: shown through both faces, and then expired with everything back."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    response = await desk.place(alice, type="limit", limitPrice="80", **terms)
    assert (response.status_code, response.json()["expiresAt"]) == (201, expires_at)
    query = "query($id: ID!) { order(id: $id) { status expiresAt timeInForce } }"
    shown = (await desk.graphql(alice, query, id=response.json()["id"]))["data"]["order"]
    assert shown == {"status": "WORKING", "expiresAt": expires_at, "timeInForce": terms["timeInForce"].upper()}
    desk.clock.advance(days * 86_400)
    await desk.settle()
    shown = (await desk.graphql(alice, query, id=response.json()["id"]))["data"]["order"]
    assert shown["status"] == "EXPIRED"
    assert (await desk.balance(alice))["available"] == "1000.00"


async def test_a_repetition_is_answered_before_anybody_is_asked(desk: Desk) -> None:
    """A broker's key is looked up first: the stored answer comes while users is away and the mandate is over."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    first = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (await revoke(desk, alice, capital)).status_code == 200
    desk.network.cut("users")
    again = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"


async def test_an_order_that_its_mandate_does_not_allow_stays_refused(desk: Desk) -> None:
    """There is no order, and the no is the key's answer for good; another request works when the mandate allows it."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob, startsAt="2027-01-15T08:05:00Z")
    early = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (early.status_code, early.json()["code"]) == (422, "authorization-inactive")
    assert capital["status"] == "scheduled"
    assert (await desk.send(bob, "GET", "/orders")).json()["items"] == []
    desk.clock.advance(300)
    again = await desk.place(bob, key="k", authorizationId=capital["id"])
    assert (again.status_code, again.json()["code"]) == (422, "authorization-inactive")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await desk.place(bob, key="l", authorizationId=capital["id"])).status_code == 201


async def test_a_broker_withdraws_what_was_earned_and_nothing_else(desk: Desk) -> None:
    """A broker may take out fees, but none of the investor's money that the mandate is over."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    await desk.place(bob, quantity="5", authorizationId=capital["id"])
    body = {"type": "withdraw", "currency": "EUR", "amount": "4.22"}
    answer = await desk.send(bob, "POST", "/transactions", body, service="wallet")
    assert (answer.status_code, answer.json()["code"]) == (422, "insufficient-funds")
    answer = await desk.send(bob, "POST", "/transactions", {**body, "amount": "4.21"}, service="wallet")
    assert answer.status_code == 201
    await desk.check_books()


async def test_a_cancellation_by_mutation_answers_alike_when_repeated(desk: Desk) -> None:
    """Cancelled at once, and cancelled still; while the wallet is away it is cancelled and not yet settled."""
    alice = investor()
    await desk.deposit(alice)
    orders = [(await desk.place(alice, type="limit", limitPrice="80")).json()["id"] for _ in range(2)]
    mutation = """mutation($id: ID!) { cancelOrder(input: {id: $id}) {
      order { status settledAt } errors { code } } }"""
    first, again = [await desk.graphql(alice, mutation, id=orders[0]) for _ in range(2)]
    assert first == again
    assert first["data"]["cancelOrder"]["order"]["settledAt"] is not None
    desk.network.cut("wallet")
    accepted = (await desk.graphql(alice, mutation, id=orders[1]))["data"]["cancelOrder"]
    assert accepted == {"order": {"status": "CANCELLED", "settledAt": None}, "errors": []}


PLACE = """mutation($input: PlaceOrderInput!) { placeOrder(input: $input) {
  order { id status price settledAt } replayed errors { code } } }"""


@pytest.mark.parametrize("fate", ["cancelled", "completed"])
async def test_a_repeated_mutation_gets_the_first_answer(desk: Desk, fate: str) -> None:
    """That the order works was its final answer, over REST and here; what became of it since is asked of the order."""
    alice = investor()
    await desk.deposit(alice)
    limit = {"stockId": ALBA, "side": "BUY", "type": "LIMIT", "limitPrice": "80", "quantity": "1"}
    given = {**limit, "idempotencyKey": "k"}
    first = (await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"]
    assert (first["order"]["status"], first["replayed"]) == ("WORKING", False)
    if fate == "cancelled":
        await desk.send(alice, "PUT", f"/orders/{first['order']['id']}", {"status": "cancelled"})
    else:
        await desk.tick("70", "71")
        await desk.settle()
    assert (await desk.order(alice, first["order"]["id"]))["status"] == fate
    again = (await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"]
    assert again == {**first, "replayed": True}


async def test_an_order_that_is_not_final_is_pending_by_graphql(desk: Desk) -> None:
    """What REST answers with 202: the order as it stands, no error, and the same one for a repetition."""
    alice = investor()
    await desk.deposit(alice)
    desk.network.cut("wallet")
    given = {"stockId": ALBA, "side": "BUY", "quantity": "1", "idempotencyKey": "k"}
    first, again = [(await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"] for _ in range(2)]
    assert (first["order"]["status"], first["order"]["settledAt"]) == ("PENDING", None)
    assert (first["replayed"], first["errors"]) == (False, [])
    assert again == {**first, "replayed": True}
    desk.network.mend()
    await desk.settle()
    final = (await desk.graphql(alice, PLACE, input=given))["data"]["placeOrder"]
    assert (final["order"]["id"], final["order"]["status"]) == (first["order"]["id"], "COMPLETED")


async def test_the_orders_of_a_user_are_paged_and_filtered_by_graphql(desk: Desk) -> None:
    """Pages follow one another by endCursor without gaps; `stockId` narrows them."""
    alice = investor()
    await desk.deposit(alice)
    await desk.deposit(alice, "1000000", "JPY")
    made = []
    for number in range(5):
        desk.clock.advance(1)
        made.append((await desk.place(alice, stockId=HANA if number == 2 else ALBA)).json()["id"])
    seen, after = [], None
    for _ in range(3):
        page = await orders_by_graphql(desk, alice, after=after)
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert (seen, page["pageInfo"]["hasNextPage"]) == (made[::-1], False)
    page = await orders_by_graphql(desk, alice, stock=HANA)
    assert [edge["node"]["id"] for edge in page["edges"]] == [made[2]]
