"""The pure parts: prices and fees, sessions, the invented market, and which orders fit together."""

import csv
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraphs.shared.errors import Refusal
from subgraphs.shared.money import CURRENCIES
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.feed import ManualSource, ReplaySource, SyntheticSource, synthetic_tick
from subgraphs.stocks.rules import Quote, Tick
from subgraphs.stocks.rules_intents import OrderIntent, checked, hold_amount, last_moment
from subgraphs.stocks.rules_orders import (
    PUBLIC_STATUS,
    UNDRIVEN_STATES,
    OrderState,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    limit_met,
    stop_reached,
)
from subgraphs.stocks.rules_pricing import (
    FeeRates,
    average_price,
    cost_of_sold,
    settle_buy,
    settle_sell,
    spread_around,
    value_minor,
    with_slippage,
)
from subgraphs.stocks.rules_sessions import DAY_MS, Sessions, date_of, sessions_from
from subgraphs.stocks.saga import MOVES

RATES = FeeRates(rate_ppm=5_000, minimum=100, broker_rate_ppm=10_000)
SHARE = 1_000_000
MONDAY = 4 * DAY_MS  # 1970-01-05


def intent(**changes: object) -> OrderIntent:
    """A market order to buy one share, with changes."""
    values: dict[str, object] = {
        "stock_id": COMPANIES[0].stock_id,
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": SHARE,
        "time_in_force": TimeInForce.DAY,
        "limit_price": None,
        "stop_price": None,
        "expires_at": None,
        "authorization_id": None,
        "client_order_id": None,
        **changes,
    }
    return OrderIntent(**values)  # type: ignore[arg-type]  # the values are right by the test


def test_a_purchase_pays_cost_and_fees_rounded_as_documented() -> None:
    """The cost rounds half-even, fees round up, the house's fee has a minimum."""
    settlement = settle_buy(3 * SHARE, 123_456, "EUR", RATES)
    assert (settlement.cost, settlement.fee, settlement.broker_fee, settlement.paid) == (3704, 100, 38, 3842)
    assert settle_buy(SHARE, 50, "EUR", RATES).cost == 0
    assert settle_buy(3 * SHARE, 50, "EUR", RATES).cost == 2


@given(st.integers(1, 10**11), st.integers(1, 10**8), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_value_rounds_half_even_once(quantity: int, price: int, currency: str) -> None:
    """The value equals the exact product rounded half-even to the currency's minor unit."""
    exact = Decimal(quantity).scaleb(-6) * Decimal(price).scaleb(-4)
    expected = exact.quantize(Decimal(1).scaleb(-CURRENCIES[currency]), ROUND_HALF_EVEN).scaleb(CURRENCIES[currency])
    assert value_minor(quantity, price, currency) == int(expected)


def test_fees_of_a_sale_are_capped_at_the_proceeds_broker_first() -> None:
    """A sale never costs more than it brings; the broker's share is taken before the house's."""
    settlement = settle_sell(SHARE, 5_000, "EUR", RATES)
    assert (settlement.cost, settlement.broker_fee, settlement.fee, settlement.received) == (50, 1, 49, 0)


@given(
    quantity=st.integers(1, 10**12),
    price=st.integers(1, 10**8),
    higher=st.integers(0, 10**8),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_a_hold_covers_every_price_up_to_its_own(quantity: int, price: int, higher: int, currency: str) -> None:
    """What is paid at a price is never more than what is paid at a higher one, so a hold never falls short."""
    below = settle_buy(quantity, price, currency, RATES)
    above = settle_buy(quantity, price + higher, currency, RATES)
    assert below.paid <= above.paid


@given(quantity=st.integers(1, 10**12), cost=st.integers(0, 10**13), data=st.data())
def test_selling_everything_piece_by_piece_takes_the_whole_cost_away(
    quantity: int, cost: int, data: st.DataObject
) -> None:
    """A sale takes its share of the cost, between nothing and all, and the last one takes what is left."""
    sold = data.draw(st.integers(1, quantity))
    part = cost_of_sold(cost, quantity, sold)
    assert 0 <= part <= cost
    if sold < quantity:
        assert cost_of_sold(cost - part, quantity - sold, quantity - sold) == cost - part


def test_the_average_price_is_the_cost_of_a_share() -> None:
    """Cost by quantity in price units; an empty holding has none."""
    assert average_price(1_000, 3 * SHARE, "EUR") == 33_333
    assert average_price(1_000, 2 * SHARE, "JPY") == 5_000_000
    assert average_price(0, 0, "EUR") is None


@pytest.mark.parametrize(
    ("order", "currency", "held"),
    [
        (intent(), "EUR", 10_200 + 100),
        (intent(type=OrderType.LIMIT, limit_price=900_000), "EUR", 9_000 + 100),
        (intent(type=OrderType.STOP, stop_price=1_100_000), "EUR", 11_550 + 100),
        (intent(type=OrderType.STOP_LIMIT, stop_price=1_100_000, limit_price=1_120_000), "EUR", 11_200 + 100),
        (intent(side=Side.SELL), "EUR", 0),
    ],
)
def test_a_buyer_holds_what_the_order_can_cost_at_most(order: OrderIntent, currency: str, held: int) -> None:
    """Market: ask and 2 %; limit: the limit; stop: the stop and 5 %; fees on top; a seller holds nothing."""
    quote = Quote(seq=1, bid=999_000, ask=1_000_000, last=999_500, at=0)
    rates = FeeRates(rate_ppm=5_000, minimum=100, broker_rate_ppm=0)
    assert hold_amount(order, quote, currency, rates) == held


@pytest.mark.parametrize("quantity", [1, 4_999, 10**14])
def test_an_order_worth_nothing_or_too_much_is_refused(quantity: int) -> None:
    """A cost that rounds to nothing would give shares away; one beyond the maximum cannot be booked."""
    quote = Quote(seq=1, bid=10_000, ask=10_000 if quantity < 10**14 else 10**10, last=10_000, at=0)
    order = intent(quantity=quantity)
    with pytest.raises(Refusal) as refused:
        hold_amount(order, quote, "EUR", RATES)
    assert refused.value.code.code == "invalid-request"


def test_slippage_rounds_up() -> None:
    """A price with slippage is never below its exact value."""
    assert with_slippage(101, 20_000) == 104


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"type": OrderType.LIMIT}, {"limitPrice"}),
        ({"type": OrderType.STOP, "limit_price": 1}, {"limitPrice", "stopPrice"}),
        ({"limit_price": 1}, {"limitPrice"}),
        ({"time_in_force": TimeInForce.GTC}, {"timeInForce"}),
        ({"type": OrderType.LIMIT, "limit_price": 1, "time_in_force": TimeInForce.GTD}, {"expiresAt"}),
        ({"type": OrderType.LIMIT, "limit_price": 1, "expires_at": 5}, {"expiresAt"}),
        ({"client_order_id": "x" * 65}, {"clientOrderId"}),
        ({"client_order_id": ""}, {"clientOrderId"}),
        ({"client_order_id": "a\nb"}, {"clientOrderId"}),
        ({"stock_id": "s", "authorization_id": "../users"}, {"stockId", "authorizationId"}),
    ],
)
def test_parts_that_do_not_fit_together_are_named(changes: dict[str, object], fields: set[str]) -> None:
    """Every member that is missing or out of place is in the refusal."""
    with pytest.raises(Refusal) as refused:
        checked(intent(**changes))
    assert {error.field for error in refused.value.fields} == fields


def test_an_automated_order_ends_with_its_day_its_term_or_its_date() -> None:
    """day: the session's end; gtc: 90 days; gtd: the date, which must lie ahead and not too far."""
    limit = {"type": OrderType.LIMIT, "limit_price": 1}
    assert last_moment(intent(), 5, 100) is None
    assert last_moment(intent(**limit), 5, 100) == 100
    assert last_moment(intent(**limit, time_in_force=TimeInForce.GTC), 5, 100) == 5 + 90 * DAY_MS
    assert last_moment(intent(**limit, time_in_force=TimeInForce.GTD, expires_at=6), 5, 100) == 6
    for wrong in (5, 5 + 367 * DAY_MS):
        with pytest.raises(Refusal):
            last_moment(intent(**limit, time_in_force=TimeInForce.GTD, expires_at=wrong), 5, 100)


def test_conditions_look_from_the_right_side() -> None:
    """A buyer's stop is reached from below and the limit met from above; a seller's the other way round."""
    assert stop_reached(Side.BUY, 10, 10)
    assert not stop_reached(Side.BUY, 9, 10)
    assert stop_reached(Side.SELL, 9, 10)
    assert limit_met(Side.BUY, 9, 10)
    assert not limit_met(Side.BUY, 11, 10)
    assert limit_met(Side.SELL, 11, 10)


def test_every_state_is_public_and_has_a_driver_or_needs_none() -> None:
    """Each internal state shows as one public status, and the saga knows what to do in each."""
    assert set(PUBLIC_STATUS) == set(OrderState)
    assert set(PUBLIC_STATUS.values()) == set(OrderStatus)
    assert set(MOVES) | UNDRIVEN_STATES == set(OrderState)
    assert not set(MOVES) & UNDRIVEN_STATES


def test_sessions_open_and_close() -> None:
    """By default the market never closes and a day ends at midnight; hours and weekdays are configured."""
    always = sessions_from("always")
    assert always.is_open(0)
    assert always.day_end(5) == DAY_MS
    weekdays = sessions_from("09:00-17:30 mon-fri")
    nine, half_past_five = 9 * 3_600_000, 17 * 3_600_000 + 1_800_000
    assert not weekdays.is_open(MONDAY + nine - 1)
    assert weekdays.is_open(MONDAY + nine)
    assert not weekdays.is_open(MONDAY + half_past_five)
    assert not weekdays.is_open(MONDAY - DAY_MS + nine)
    assert weekdays.day_end(MONDAY) == MONDAY + half_past_five
    friday_evening = MONDAY + 4 * DAY_MS + half_past_five
    assert weekdays.day_end(friday_evening) == MONDAY + 7 * DAY_MS + half_past_five
    assert date_of(MONDAY) == "1970-01-05"


@pytest.mark.parametrize("text", ["", "nine to five", "17:00-09:00", "09:00-17:00 mon-xyz"])
def test_sessions_that_make_no_sense_are_refused(text: str) -> None:
    """A setting that cannot be read stops the service at its start."""
    with pytest.raises(ValueError, match=r".+"):
        sessions_from(text)
    with pytest.raises(ValueError, match="weekday"):
        Sessions(weekdays=frozenset())


# ---- the feed ----


def test_the_invented_market_is_the_same_everywhere() -> None:
    """The same seed and number give the same tick; its prices are pinned here."""
    tick = synthetic_tick("trifolio", COMPANIES[0], 1_000, 7)
    assert tick == Tick("ALBA", 1_000, bid=865_285, ask=866_149, last=865_717, ts=7)
    assert tick != synthetic_tick("another", COMPANIES[0], 1_000, 7)


@given(number=st.integers(0, 10**9), company=st.sampled_from(COMPANIES))
def test_invented_prices_stay_near_their_base(number: int, company: object) -> None:
    """However long it runs, a price is within 16 % of where it began, and the bid below the ask."""
    assert company in COMPANIES
    listed = next(item for item in COMPANIES if item is company)
    tick = synthetic_tick("seed", listed, number, 0)
    assert abs(tick.last - listed.price) * 100 <= listed.price * 16
    assert 0 < tick.bid < tick.last < tick.ask
    assert spread_around(tick.last) == (tick.bid, tick.ask)


async def first(
    source: SyntheticSource | ReplaySource | ManualSource, stored: Mapping[str, int], count: int
) -> list[Tick]:
    """The first ticks of a source."""
    ticks = []
    async for tick in source.ticks(stored):
        ticks.append(tick)
        if len(ticks) == count:
            break
    return ticks


async def test_the_invented_market_goes_on_where_it_stopped() -> None:
    """Each company continues from its own stored number, as if nothing had happened."""
    source = SyntheticSource("seed", COMPANIES[:2], lambda: 9)
    whole = await first(source, {}, 6)
    assert [(tick.symbol, tick.seq) for tick in whole[:3]] == [("ALBA", 1), ("BRNO", 1), ("ALBA", 2)]
    assert await first(source, {"ALBA": 1, "BRNO": 1}, 4) == whole[2:]


async def test_a_replay_skips_what_is_stored(tmp_path: Path) -> None:
    """The file's lines are numbered by symbol, and those that are stored are passed over."""
    path = tmp_path / "ticks.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["symbol", "bid", "ask", "last"])
        writer.writerows([["ALBA", "1", "3", "2"], ["BRNO", "5", "7", "6"], ["ALBA", "2", "4", "3.5"]])
    ticks = await first(ReplaySource(path, lambda: 9), {"ALBA": 1}, 10)
    assert ticks == [Tick("BRNO", 1, 50_000, 70_000, 60_000, 9), Tick("ALBA", 2, 20_000, 40_000, 35_000, 9)]


async def test_a_manual_market_has_no_ticks_of_its_own() -> None:
    """Its prices are posted one by one."""
    assert await first(ManualSource(), {}, 1) == []
