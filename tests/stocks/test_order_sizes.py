"""R12: what a broker's orders may cost an investor in fees, and how many of them there may be."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from subgraphs.shared.money import format_quantity, parse_quantity
from subgraphs.stocks.rules_pricing import (
    FeeRates,
    FeeSchedule,
    fees_within,
    settle_buy,
    settle_sell,
    smallest_quantity,
)
from tests.stocks.conftest import ALBA, Desk, DeskFactory
from tests.stocks.test_broker_orders import authorize, over_shares, parties

SHARE_PPM = 50_000
PLACE = """mutation($input: PlaceOrderInput!) {
  placeOrder(input: $input) { order { id } errors { code field message } } }"""

settles = st.sampled_from((settle_buy, settle_sell))
currencies = st.sampled_from(("JPY", "EUR", "KWD"))
prices = st.integers(1, 10**9)
rates = st.builds(FeeRates, st.integers(0, 20_000), st.integers(0, 5_000), st.integers(0, 25_000))


@given(price=prices, currency=currencies, rates=rates, settle=settles, more=st.integers(0, 10**6))
def test_the_smallest_quantity_is_the_smallest(
    price: int, currency: str, rates: FeeRates, settle: Any, more: int
) -> None:
    """It would do itself, and what is worth a whole unit less would not; nothing it stands for is ever refused."""
    least = smallest_quantity(price, currency, rates, SHARE_PPM, settle)
    assert fees_within(settle(least, price, currency, rates), SHARE_PPM)
    cost = settle(least, price, currency, rates).cost
    below = least - 1 - more % least
    assume(settle(below, price, currency, rates).cost < cost)
    assert not fees_within(settle(below, price, currency, rates), SHARE_PPM)


@given(
    price=prices,
    currency=currencies,
    minimum=st.integers(0, 1_000),
    share=st.integers(15_001, 1_000_000),
    orders=st.lists(st.tuples(settles, st.integers(1, 10**12)), max_size=30),
)
def test_fees_never_take_more_than_their_share(
    price: int, currency: str, minimum: int, share: int, orders: list[tuple[Any, int]]
) -> None:
    """Over any orders of a broker at one price, each trade's fees are its share and a unit per fee at most."""
    schedule = FeeSchedule(5_000, 10_000, {currency: minimum}, share)
    rates = schedule.rates(currency, for_broker=True)
    traded = fees = placed = 0
    for settle, quantity in orders:
        done = settle(quantity, price, currency, rates)
        if not fees_within(done, schedule.share_ppm_max):
            continue
        assert (done.fee + done.broker_fee) * 1_000_000 <= done.cost * share
        traded, fees, placed = traded + done.cost, fees + done.fee + done.broker_fee, placed + 1
    assert fees * 1_000_000 <= traded * share + 2 * placed * 1_000_000


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_broker_cannot_turn_a_mandate_into_fees(desk: Desk, side: str) -> None:
    """Too small an order is refused before anything is written, with the quantity that would do; that one is placed."""
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    mandate = await (authorize(desk, alice, bob) if side == "buy" else over_shares(desk, alice, bob))
    before = await desk.balance(alice), await desk.holding(alice)
    for quantity in ("0.000001", "0.0001", "0.1", "0.29"):
        refused = await desk.place(bob, side=side, quantity=quantity, authorizationId=mandate["id"])
        assert (refused.status_code, refused.json()["code"]) == (422, "order-too-small"), refused.text
        assert refused.json()["errors"][0]["field"] == "quantity"
    assert (await desk.balance(alice), await desk.holding(alice)) == before
    least = refused.json()["smallestQuantity"]
    assert least in refused.json()["detail"]
    below = format_quantity(parse_quantity(least) - 1)
    assert (await desk.place(bob, side=side, quantity=below, authorizationId=mandate["id"])).status_code == 422
    placed = await desk.place(bob, side=side, quantity=least, authorizationId=mandate["id"])
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert Decimal(order["fee"]) + Decimal(order["brokerFee"]) <= Decimal(order["cost"]) * Decimal("0.05")
    await desk.check_books()


async def test_graphql_names_the_smallest_quantity(desk: Desk) -> None:
    """The payload's error is at the quantity, and says what would do."""
    alice, bob = await parties(desk)
    mandate = await authorize(desk, alice, bob)
    rest = (await desk.place(bob, quantity="0.1", authorizationId=mandate["id"])).json()
    given = {"stockId": ALBA, "side": "BUY", "quantity": "0.1"}
    given |= {"authorizationId": mandate["id"], "idempotencyKey": "k"}
    payload = (await desk.graphql(bob, PLACE, input=given))["data"]["placeOrder"]
    assert payload["order"] is None
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [("ORDER_TOO_SMALL", "quantity")]
    assert rest["smallestQuantity"] in payload["errors"][0]["message"]


async def test_an_investor_may_order_as_little_as_they_like(desk: Desk) -> None:
    """The limit protects from others: one's own small order is one's own affair."""
    alice, _ = await parties(desk)
    assert (await desk.place(alice, quantity="0.01")).status_code == 201


async def test_a_broker_places_so_many_orders_a_minute(make_desk: DeskFactory) -> None:
    """The orders of one mandate, and of what it rolled over into, are counted together; the next minute begins anew."""
    desk = await make_desk(broker_orders_per_minute_max=3)
    alice, bob = await parties(desk)
    mandate, other = await authorize(desk, alice, bob, amount="3000.00"), await authorize(desk, alice, bob)
    first = await desk.place(bob, quantity="1", authorizationId=mandate["id"])
    child = first.json()["rolloverAuthorizationId"]
    await desk.place(bob, side="sell", quantity="1", authorizationId=child)
    await desk.place(bob, key="third", quantity="1", authorizationId=mandate["id"])
    for changes in ({"side": "buy", "authorizationId": mandate["id"]}, {"side": "sell", "authorizationId": child}):
        limited = await desk.place(bob, key="fourth", quantity="1", **changes)
        assert (limited.status_code, limited.json()["code"]) == (429, "too-many-requests")
        assert 0 < int(limited.headers["retry-after"]) <= 60
    assert (await desk.place(bob, quantity="1", authorizationId=other["id"])).status_code == 201
    repeated = await desk.place(bob, key="third", quantity="1", authorizationId=mandate["id"])
    assert (repeated.status_code, repeated.headers["idempotent-replayed"]) == (201, "true")
    desk.clock.advance(int(limited.headers["retry-after"]))
    again = await desk.place(bob, key="fourth", side="sell", quantity="1", authorizationId=child)
    assert again.status_code == 201, again.text


async def test_a_burst_does_not_slip_past_the_limit(make_desk: DeskFactory) -> None:
    """Ten orders at once are three orders and seven refusals; refused ones are not counted."""
    desk = await make_desk(broker_orders_per_minute_max=3)
    alice, bob = await parties(desk)
    mandate = (await authorize(desk, alice, bob, amount="3000.00"))["id"]
    await desk.place(bob, quantity="0.1", authorizationId=mandate)
    answers = await asyncio.gather(*(desk.place(bob, quantity="1", authorizationId=mandate) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 7
    await desk.check_books()
