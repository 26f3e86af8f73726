"""Orders of investors: what is executed, what is refused through both faces, and what a repetition is answered."""

import asyncio
from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.stocks.companies import COMPANIES
from tests.stocks.conftest import ALBA, HANA, Desk, DeskFactory, broker, investor

NOBODY = "00000000-0000-4000-8000-000000000000"
PLACE = """mutation Place($input: PlaceOrderInput!) {
  placeOrder(input: $input) { replayed order { id status reason price } errors { code field } } }"""


async def place_by_graphql(desk: Desk, caller: Caller, key: str, body: dict[str, object]) -> Any:
    """The same order through `placeOrder`."""
    enums = {"side", "type", "timeInForce"}
    given = {name: str(value).upper() if name in enums else value for name, value in body.items()}
    return await desk.graphql(caller, PLACE, input={**given, "idempotencyKey": key})


async def test_a_market_order_to_buy_is_executed_at_once(desk: Desk) -> None:
    """A buyer pays the ask and the fee, gets the shares, and has nothing left on hold."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    response = await desk.place(alice, quantity="10")
    assert response.status_code == 201, response.text
    order = response.json()
    assert (order["status"], order["placedBy"], order["userId"]) == ("completed", alice.id, alice.id)
    assert (order["price"], order["cost"], order["fee"], order["brokerFee"]) == ("84.0420", "840.42", "4.21", "0.00")
    assert response.headers["location"] == f"/orders/{order['id']}"
    assert response.headers["idempotency-key"]
    balance = await desk.balance(alice)
    assert (balance["available"], balance["held"], balance["total"]) == ("155.37", "0.00", "155.37")
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["freeQuantity"], holding["averagePrice"]) == ("10", "10", "84.0420")
    await desk.check_books()


async def test_a_market_order_to_sell_is_executed_at_once(desk: Desk) -> None:
    """A seller gets the bid less the fee; what is left keeps its average price."""
    alice = investor()
    await desk.bought(alice, "10")
    before = await desk.balance(alice)
    response = await desk.place(alice, side="sell", quantity="5")
    assert response.status_code == 201, response.text
    order = response.json()
    assert (order["price"], order["cost"], order["fee"]) == ("83.9580", "419.79", "2.10")
    after = await desk.balance(alice)
    assert float(after["available"]) - float(before["available"]) == pytest.approx(419.79 - 2.10)
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["averagePrice"]) == ("5", "84.0420")
    assert (holding["marketValue"], holding["profitLoss"]) == ("419.79", "-0.42")
    await desk.check_books()


async def test_orders_in_a_currency_without_decimals(desk: Desk) -> None:
    """Yen have no decimals, in costs and fees as in balances."""
    alice = investor()
    await desk.deposit(alice, "100000", "JPY")
    order = (await desk.place(alice, stockId=HANA, quantity="1.5")).json()
    assert (order["currency"], order["price"], order["cost"], order["fee"]) == ("JPY", "4822.4100", "7234", "100")
    assert (await desk.balance(alice, "JPY"))["available"] == "92666"


LIMIT = {"type": "limit", "limitPrice": "80"}
REFUSALS: list[tuple[str, dict[str, Any], int, str]] = [
    ("zero quantity", {"quantity": "0"}, 422, "invalid-quantity"),
    ("negative quantity", {"quantity": "-1"}, 422, "invalid-quantity"),
    ("over-precise quantity", {"quantity": "1.0000001"}, 422, "invalid-quantity"),
    ("worth less than a cent", {"quantity": "0.000001"}, 422, "invalid-request"),
    ("worth too much", {"quantity": "100000000", "type": "limit", "limitPrice": "999999"}, 422, "invalid-request"),
    ("unknown stock", {"stockId": NOBODY}, 422, "unknown-stock"),
    ("over-precise price", {**LIMIT, "limitPrice": "80.00001"}, 422, "invalid-price"),
    ("zero price", {**LIMIT, "limitPrice": "0"}, 422, "invalid-price"),
    ("limit without its price", {"type": "limit"}, 422, "invalid-request"),
    ("market with a price", {"limitPrice": "80"}, 422, "invalid-request"),
    ("gtd in the past", {**LIMIT, "timeInForce": "gtd", "expiresAt": "2020-01-01T00:00:00Z"}, 422, "invalid-request"),
    ("gtd without a date", {**LIMIT, "timeInForce": "gtd"}, 422, "invalid-request"),
    ("short of funds", {"quantity": "20"}, 422, "insufficient-funds"),
    ("short of funds by the fee", {"quantity": "11.67"}, 422, "insufficient-funds"),
    ("short of shares", {"side": "sell", "quantity": "11"}, 422, "insufficient-shares"),
    ("shares of another stock", {"side": "sell", "stockId": HANA}, 422, "insufficient-shares"),
    ("more than was issued", {"quantity": "4000001"}, 422, "insufficient-liquidity"),
    ("another currency", {"stockId": HANA, "quantity": "1"}, 422, "insufficient-funds"),
    ("automated with authorizationId", {**LIMIT, "authorizationId": NOBODY}, 422, "automated-order-invalid"),
    ("investor with authorizationId", {"authorizationId": NOBODY}, 422, "authorization-not-allowed"),
]


async def test_a_refused_order_says_why_and_changes_nothing(desk: Desk, subtests: pytest.Subtests) -> None:
    """Each refusal has its status and code through both faces; money and shares are as before."""
    alice = investor()
    await desk.deposit(alice, "1842.63")
    assert (await desk.place(alice, quantity="10")).status_code == 201
    before, holding = await desk.balance(alice), await desk.holding(alice)
    assert before["available"] == "998.00"
    for name, body, status, code in REFUSALS:
        with subtests.test(name):
            response = await desk.place(alice, **body)
            assert (response.status_code, response.json()["code"]) == (status, code), response.text
            assert response.headers["content-type"] == "application/problem+json"
            wanted: dict[str, object] = {"stockId": ALBA, "side": "buy", "quantity": "1", **body}
            payload = (await place_by_graphql(desk, alice, name, wanted))["data"]["placeOrder"]
            assert [error["code"] for error in payload["errors"]] == [code.replace("-", "_").upper()]
            assert await desk.balance(alice) == before
            now = await desk.holding(alice)
            assert {**now, "version": 0} == {**holding, "version": 0}
    await desk.check_books()


async def test_a_rejected_order_is_kept_with_its_reason(desk: Desk) -> None:
    """A rejection after the order was accepted carries the order's id, and the order shows it."""
    alice = investor()
    response = await desk.place(alice)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "insufficient-funds")
    order = await desk.order(alice, problem["orderId"])
    assert (order["status"], order["reason"], order["price"]) == ("rejected", "insufficient-funds", None)
    assert order["settledAt"] is not None


MISFITS: list[tuple[dict[str, object], str]] = [
    ({"stockId": ALBA, "side": "buy"}, "quantity"),
    ({"stockId": ALBA, "side": "hold", "quantity": "1"}, "side"),
    ({"stockId": ALBA, "side": "buy", "quantity": 1}, "quantity"),
    ({"stockId": "x", "side": "buy", "quantity": "1"}, "stockId"),
    ({"stockId": ALBA, "side": "buy", "quantity": "1", "userId": NOBODY}, "userId"),
    ({"stockId": ALBA, "side": "buy", "quantity": "1", "type": "iceberg"}, "type"),
    ({"stockId": ALBA, "side": "buy", "quantity": "1", "expiresAt": "tomorrow"}, "expiresAt"),
]


async def test_a_body_that_does_not_fit_names_its_members(desk: Desk, subtests: pytest.Subtests) -> None:
    """Missing, mistyped and unknown members are each named."""
    for body, field in MISFITS:
        with subtests.test(str(body)):
            response = await desk.send(investor(), "POST", "/orders", body)
            assert response.status_code == 422
            assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_a_broker_needs_an_authorization_and_automates_nothing(desk: Desk) -> None:
    """A broker's order without authorizationId is refused; an automated one before anything else."""
    bob = broker()
    assert (await desk.place(bob)).json()["code"] == "authorization-required"
    assert (await desk.place(bob, authorizationId=None)).json()["code"] == "authorization-required"
    assert (await desk.place(bob, **LIMIT)).json()["code"] == "automated-order-invalid"
    assert (await desk.place(bob, authorizationId=NOBODY)).json()["code"] == "unknown-authorization"


async def test_market_orders_are_refused_while_the_market_is_closed(make_desk: DeskFactory) -> None:
    """Outside the session a market order is refused and an automated one waits."""
    desk = await make_desk(market_sessions="07:00-07:30")
    alice = investor()
    await desk.deposit(alice)
    response = await desk.place(alice)
    assert (response.status_code, response.json()["code"]) == (422, "market-closed")
    waiting = await desk.place(alice, type="limit", limitPrice="200")
    assert (waiting.status_code, waiting.json()["status"]) == (201, "working")


# ---- idempotency ----


async def test_a_repetition_gets_the_stored_answer(desk: Desk) -> None:
    """The same key and body: the same bytes, marked as a repetition, and one effect; through the other face too."""
    alice = investor()
    await desk.deposit(alice)
    first = await desk.place(alice, key="k1", quantity="2")
    assert "idempotent-replayed" not in first.headers
    await desk.tick("90", "91")
    again = await desk.place(alice, key="k1", quantity="2")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    payload = (await place_by_graphql(desk, alice, "k1", {"stockId": ALBA, "side": "buy", "quantity": "2"}))["data"][
        "placeOrder"
    ]
    assert (payload["replayed"], payload["order"]["id"]) == (True, first.json()["id"])
    assert (await desk.holding(alice))["quantity"] == "2"


async def test_a_repeated_rejection_is_the_same_rejection(desk: Desk) -> None:
    """An order short of funds stays rejected under its key, even when there is money by then."""
    alice = investor()
    first = await desk.place(alice, key="k1")
    await desk.deposit(alice)
    again = await desk.place(alice, key="k1")
    assert (again.status_code, again.json()["orderId"]) == (422, first.json()["orderId"])
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_working_order_is_the_final_answer_whatever_comes_later(desk: Desk) -> None:
    """The answer to an automated order is that it works; its later end does not change that answer."""
    alice = investor()
    await desk.deposit(alice)
    first = await desk.place(alice, key="k1", type="limit", limitPrice="80")
    assert (first.status_code, first.json()["status"]) == (201, "working")
    await desk.send(alice, "PUT", f"/orders/{first.json()['id']}", {"status": "cancelled"})
    again = await desk.place(alice, key="k1", type="limit", limitPrice="80")
    assert (again.status_code, again.content) == (201, first.content)


async def test_a_key_with_another_body_is_refused(desk: Desk) -> None:
    """One key names one order; and another user's key is another key."""
    alice, bob = investor(), investor()
    await desk.deposit(alice)
    await desk.deposit(bob)
    first = await desk.place(alice, key="k1")
    other = await desk.place(alice, key="k1", quantity="2")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    other = await desk.place(bob, key="k1")
    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]
    assert (await desk.place(alice, key="")).json()["code"] == "invalid-idempotency-key"


async def test_concurrent_duplicates_have_one_effect(desk: Desk) -> None:
    """Eight equal requests at once make one order; each is answered with it, finally or as accepted."""
    alice = investor()
    await desk.deposit(alice)
    answers = await asyncio.gather(*(desk.place(alice, key="k1", quantity="3") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await desk.holding(alice))["quantity"] == "3"
    final = await asyncio.gather(*(desk.place(alice, key="k1", quantity="3") for _ in range(3)))
    assert {answer.status_code for answer in final} == {201}
    await desk.check_books()


async def test_concurrent_orders_never_sell_a_share_twice(desk: Desk) -> None:
    """Ten sales of all shares at once: exactly one goes through."""
    alice = investor()
    await desk.bought(alice, "5")
    answers = await asyncio.gather(*(desk.place(alice, side="sell", quantity="5") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 9
    await desk.check_books()


# ---- reading ----


async def test_orders_are_listed_newest_first_with_filters(desk: Desk) -> None:
    """Status, stock, side and clientOrderId narrow the list; pages follow one another without gaps."""
    alice = investor()
    await desk.deposit(alice, "100000.00")
    await desk.deposit(alice, "1000000", "JPY")
    made = []
    for number in range(5):
        desk.clock.advance(1)
        stock = HANA if number == 3 else ALBA
        answer = await desk.place(alice, stockId=stock, quantity="1", clientOrderId=f"c{number}")
        made.append(answer.json()["id"])
    desk.clock.advance(1)
    working = (await desk.place(alice, type="limit", limitPrice="90", side="sell", timeInForce="gtc")).json()["id"]
    listed = (await desk.send(alice, "GET", "/orders")).json()["items"]
    assert [order["id"] for order in listed] == [working, *made[::-1]]
    cases = {
        "status=completed": made[::-1],
        f"stockId={HANA}": [made[3]],
        "clientOrderId=c2": [made[2]],
        "side=sell&status=working": [working],
    }
    for query, expected in cases.items():
        found = [order["id"] for order in (await desk.send(alice, "GET", f"/orders?{query}")).json()["items"]]
        assert found == expected, query
    pages, path = [], "/orders?limit=2&status=completed"
    while path:
        page = await desk.send(alice, "GET", path)
        pages += [order["id"] for order in page.json()["items"]]
        path = page.headers.get("link", "").partition(";")[0].strip("<>")
    assert pages == made[::-1]


async def test_another_users_order_looks_like_a_missing_one(desk: Desk) -> None:
    """Reading and cancelling somebody else's order answer as if it did not exist, through both faces."""
    alice, bob = investor(), investor()
    await desk.deposit(alice)
    order = (await desk.place(alice, type="limit", limitPrice="1")).json()
    missing = await desk.send(bob, "GET", f"/orders/{NOBODY}")
    for method, body in (("GET", None), ("PUT", {"status": "cancelled"})):
        answer = await desk.send(bob, method, f"/orders/{order['id']}", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert {**answer.json(), "requestId": ""} == {**missing.json(), "requestId": ""}
    result = await desk.graphql(bob, "query($id: ID!) { order(id: $id) { id } }", id=order["id"])
    assert result["data"] == {"order": None}
    assert result["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    cancelled = await desk.graphql(
        bob, "mutation($id: ID!) { cancelOrder(input: {id: $id}) { order { id } errors { code } } }", id=order["id"]
    )
    assert cancelled["data"]["cancelOrder"] == {"order": None, "errors": [{"code": "NOT_FOUND"}]}


# ---- cancelling ----


async def test_cancelling_gives_everything_back(desk: Desk) -> None:
    """A working order to buy is cancelled: the money is available again; a repetition answers alike."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    order = (await desk.place(alice, type="limit", limitPrice="80", quantity="10")).json()
    held = await desk.balance(alice)
    assert (held["available"], held["held"]) == ("196.00", "804.00")
    first = await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert first.json()["settledAt"] is not None
    again = await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await desk.balance(alice))["available"] == "1000.00"
    await desk.check_books()


async def test_what_is_over_cannot_be_cancelled(desk: Desk) -> None:
    """A completed order answers 409 order-completed, a rejected one 409 order-final; other statuses are refused."""
    alice = investor()
    await desk.deposit(alice, "100.00")
    completed = (await desk.place(alice)).json()["id"]
    rejected = (await desk.place(alice, quantity="100")).json()["orderId"]
    for order_id, code in ((completed, "order-completed"), (rejected, "order-final")):
        answer = await desk.send(alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"})
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        payload = await desk.graphql(
            alice, "mutation($id: ID!) { cancelOrder(input: {id: $id}) { order { id } errors { code } } }", id=order_id
        )
        assert payload["data"]["cancelOrder"]["errors"] == [{"code": code.replace("-", "_").upper()}]
    for status in ("completed", "working"):
        answer = await desk.send(alice, "PUT", f"/orders/{completed}", {"status": status})
        assert answer.status_code == 422


async def test_shares_of_a_cancelled_sale_are_free_again(desk: Desk) -> None:
    """A working order to sell reserves the shares, and its cancellation frees them."""
    alice = investor()
    await desk.bought(alice, "10")
    order = (await desk.place(alice, side="sell", type="stop", stopPrice="70", quantity="4")).json()
    holding = await desk.holding(alice)
    assert (holding["freeQuantity"], holding["reservedQuantity"]) == ("6", "4")
    await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    holding = await desk.holding(alice)
    assert (holding["freeQuantity"], holding["reservedQuantity"]) == ("10", "0")
    await desk.check_books()


def test_every_listed_company_has_its_own_stock() -> None:
    """Symbols and ids are unique, and there are three currencies."""
    assert len({company.symbol for company in COMPANIES}) == len({company.stock_id for company in COMPANIES}) == 24
    assert {company.currency for company in COMPANIES} == {"EUR", "USD", "JPY"}
