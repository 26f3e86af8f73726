"""Automated orders: what triggers them, at which price, exactly once, and how they end."""

from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.feed import SyntheticSource
from subgraphs.stocks.feeder import Feeder
from subgraphs.stocks.saga import SWEEPER_LOCK
from tests.stocks.conftest import START_MS, STOCKS, Clock, Desk, DeskFactory, investor


async def working(desk: Desk, caller: Caller, **changes: Any) -> str:
    """Places an order that starts working; its id."""
    response = await desk.place(caller, **changes)
    assert (response.status_code, response.json()["status"]) == (201, "working"), response.text
    order_id: str = response.json()["id"]
    return order_id


BUY_LIMIT = {"type": "limit", "limitPrice": "80"}
SELL_LIMIT = {"side": "sell", "type": "limit", "limitPrice": "90"}
BUY_STOP = {"type": "stop", "stopPrice": "90"}
SELL_STOP = {"side": "sell", "type": "stop", "stopPrice": "80"}
BUY_STOP_LIMIT = {"type": "stop_limit", "stopPrice": "90", "limitPrice": "92"}
SELL_STOP_LIMIT = {"side": "sell", "type": "stop_limit", "stopPrice": "80", "limitPrice": "78"}

# Each begins at bid 83.9580 and ask 84.0420: the order, the prices that follow, the fill's price, and the rejection.
CASES: list[tuple[str, dict[str, str], list[tuple[str, str]], str | None, str | None]] = [
    ("buy limit waits", BUY_LIMIT, [("79.9", "80.0001")], None, None),
    ("buy limit fills at the better ask", BUY_LIMIT, [("78", "79")], "79.0000", None),
    ("sell limit waits", SELL_LIMIT, [("89.9999", "91")], None, None),
    ("sell limit fills at the better bid", SELL_LIMIT, [("95", "96")], "95.0000", None),
    ("buy stop waits", BUY_STOP, [("88", "89.9999")], None, None),
    ("buy stop fills at the ask", BUY_STOP, [("90", "91")], "91.0000", None),
    ("buy stop beyond its hold", BUY_STOP, [("94", "94.5001")], None, "price-moved"),
    ("sell stop fills at the bid, however low", SELL_STOP, [("60", "61")], "60.0000", None),
    ("stop_limit becomes a limit", BUY_STOP_LIMIT, [("94", "95")], None, None),
    ("stop_limit fills later", BUY_STOP_LIMIT, [("94", "95"), ("91", "92")], "92.0000", None),
    ("stop_limit is no limit before its stop", BUY_STOP_LIMIT, [("88", "89"), ("87", "88")], None, None),
    ("stop_limit at once", BUY_STOP_LIMIT, [("90", "91")], "91.0000", None),
    ("sell stop_limit fills later", SELL_STOP_LIMIT, [("77", "78"), ("78.5", "79")], "78.5000", None),
]


async def test_ticks_trigger_what_they_cross(desk: Desk, subtests: pytest.Subtests) -> None:
    """Each kind of order fires at its condition and at no other price; what it set aside is used or given back."""
    for name, body, ticks, price, reason in CASES:
        with subtests.test(name):
            await desk.tick("83.9580", "84.0420")
            alice = investor()
            await desk.bought(alice, "10")
            order_id = await working(desk, alice, quantity="2", timeInForce="gtc", **body)
            for bid, ask in ticks:
                await desk.tick(bid, ask)
                await desk.settle()
            order = await desk.order(alice, order_id)
            assert (order["price"], order["reason"]) == (price, reason)
            expected = "completed" if price else "rejected" if reason else "working"
            assert order["status"] == expected
            if expected == "working":
                await desk.send(alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"})
            balance, holding = await desk.balance(alice), await desk.holding(alice)
            assert (balance["held"], holding["reservedQuantity"]) == ("0.00", "0")
            await desk.check_books()


async def test_an_order_that_the_last_price_meets_is_executed_at_once(desk: Desk) -> None:
    """A limit above the ask is met when the order is placed: it completes within its request, at the ask."""
    alice = investor()
    await desk.deposit(alice)
    response = await desk.place(alice, type="limit", limitPrice="100", quantity="2")
    assert (response.status_code, response.json()["status"]) == (201, "completed")
    assert response.json()["price"] == "84.0420"
    assert (await desk.balance(alice))["held"] == "0.00"


async def test_a_tick_triggers_an_order_once(desk: Desk) -> None:
    """The tick names the orders it triggers; the same tick again, or a later one, triggers none."""
    alice = investor()
    await desk.deposit(alice)
    order_id = await working(desk, alice, type="limit", limitPrice="80")
    stored = await desk.tick("78", "79")
    assert stored["triggered"] == [order_id]
    again = await desk.tick("70", "71", seq=stored["seq"])
    assert (again["triggered"], again["ask"]) == ([], "79.0000")
    assert (await desk.tick("70", "71"))["triggered"] == []
    await desk.settle()
    assert (await desk.order(alice, order_id))["price"] == "79.0000"
    assert (await desk.holding(alice))["quantity"] == "1"


async def test_an_order_ignores_ticks_from_before_it(desk: Desk) -> None:
    """A price that was gone when the order was placed does not trigger it."""
    alice = investor()
    await desk.deposit(alice)
    await desk.tick("70", "71")
    await desk.tick("83", "84")
    await working(desk, alice, type="limit", limitPrice="80")


async def test_ticks_missed_before_the_order_worked_are_looked_at_in_order(desk: Desk) -> None:
    """While the wallet is down prices pass by; the order then takes the first one that met its condition."""
    alice = investor()
    await desk.deposit(alice)
    desk.network.cut("wallet")
    response = await desk.place(alice, type="limit", limitPrice="80", timeInForce="gtc")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    for bid, ask in (("81", "82"), ("78", "79"), ("70", "71"), ("90", "91")):
        await desk.tick(bid, ask)
    desk.network.mend()
    await desk.settle()
    order = await desk.order(alice, response.json()["id"])
    assert (order["status"], order["price"]) == ("completed", "79.0000")
    await desk.check_books()


async def test_a_missed_stop_limit_takes_stop_and_limit_in_order(desk: Desk) -> None:
    """Of the prices missed, the first that reaches the stop makes it a limit, and only later ones can fill it."""
    alice = investor()
    await desk.deposit(alice)
    desk.network.cut("wallet")
    response = await desk.place(alice, type="stop_limit", stopPrice="90", limitPrice="88", timeInForce="gtc")
    for bid, ask in (("86", "87"), ("90", "91"), ("88", "89"), ("86", "87.5")):
        await desk.tick(bid, ask)
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, response.json()["id"]))["price"] == "87.5000"


async def test_a_day_order_ends_with_the_day(desk: Desk) -> None:
    """After its last moment an order is expired and everything is given back; no later price triggers it."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    order_id = await working(desk, alice, type="limit", limitPrice="80")
    desk.clock.advance(86_400)
    assert (await desk.tick("70", "71"))["triggered"] == []
    await desk.settle()
    order = await desk.order(alice, order_id)
    assert (order["status"], order["reason"]) == ("expired", None)
    assert (await desk.balance(alice))["available"] == "1000.00"
    answer = await desk.send(alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["code"]) == (409, "order-final")


async def test_a_triggered_order_is_over_when_nobody_executes_it(desk: Desk) -> None:
    """What no driver has executed when its last moment is over is expired: everything goes back, nothing is filled."""
    alice = investor()
    await desk.bought(alice, "10")
    before = await desk.balance(alice)
    buying = await working(desk, alice, type="limit", limitPrice="80")
    selling = await working(desk, alice, side="sell", quantity="4", type="stop", stopPrice="79")
    triggered = (await desk.tick("78", "79"))["triggered"]
    assert sorted(triggered) == sorted([buying, selling])
    desk.clock.advance(86_400)
    await desk.settle()
    for order_id in (buying, selling):
        order = await desk.order(alice, order_id)
        assert (order["status"], order["cost"], order["executedAt"]) == ("expired", None, None)
        assert order["settledAt"] is not None
    assert await desk.balance(alice) == before
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["freeQuantity"]) == ("10", "10")
    await desk.check_books()


async def test_one_replica_at_a_time_ends_what_is_overdue(desk: Desk) -> None:
    """While another sweeps, a replica leaves overdue orders to it, and drives what is due all the same."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    over = await working(desk, alice, type="limit", limitPrice="80")
    desk.network.cut("wallet")
    stale = (await desk.place(alice)).json()["id"]
    desk.network.mend()
    desk.clock.advance(86_400)
    driver = desk.stocks.state.saga.driver
    async with desk.databases["stocks"].advisory_lock(SWEEPER_LOCK) as lock:
        assert lock.held
        assert await driver.step() == 1
        assert (await desk.order(alice, over))["status"] == "working"
    assert (await desk.order(alice, stale))["reason"] == "stale-price"
    await driver.step()
    assert (await desk.order(alice, over))["status"] == "expired"
    await desk.settle()
    await desk.check_books()


async def test_an_order_that_was_triggered_in_time_is_executed(desk: Desk) -> None:
    """A price of its last moment fills it, though the driver comes when the moment is over."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    ends = START_MS + 60_000
    order_id = await working(
        desk, alice, type="limit", limitPrice="80", timeInForce="gtd", expiresAt=format_timestamp(ends)
    )
    desk.clock.now = ends - 1
    assert (await desk.tick("78", "79"))["triggered"] == [order_id]
    desk.clock.now = ends
    await desk.stocks.state.saga.driver.step()
    order = await desk.order(alice, order_id)
    assert (order["status"], order["price"]) == ("completed", "79.0000")
    await desk.check_books()


@pytest.mark.parametrize("expiry_first", [True, False], ids=["expiry first", "execution first"])
async def test_expiry_and_execution_compete_for_one_outcome(desk: Desk, expiry_first: bool) -> None:
    """A driver that has read a triggered order and its expiry move the same row: whoever is second changes nothing."""
    alice = investor()
    await desk.bought(alice, "10")
    order_id = await working(desk, alice, side="sell", quantity="4", type="stop", stopPrice="79")
    await desk.tick("78", "79")
    steps = desk.stocks.state.saga.steps
    read = await steps.load(order_id)
    if expiry_first:
        decided = await steps.expire(order_id)
        assert await steps.execute(read) == decided
    else:
        decided = await steps.execute(read)
        assert await steps.expire(order_id) == decided
    await desk.settle()
    order = await desk.order(alice, order_id)
    assert order["status"] == ("expired" if expiry_first else "completed")
    assert (await desk.holding(alice))["quantity"] == ("10" if expiry_first else "6")
    await desk.check_books()


async def test_a_triggered_order_can_still_be_cancelled(desk: Desk) -> None:
    """Until it is executed an order can be cancelled, also when its trigger has come."""
    alice = investor()
    await desk.deposit(alice)
    order_id = await working(desk, alice, type="limit", limitPrice="80")
    await desk.tick("78", "79")
    answer = await desk.send(alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    await desk.settle()
    assert (await desk.order(alice, order_id))["status"] == "cancelled"
    await desk.check_books()


async def test_prices_make_a_trading_day(desk: Desk) -> None:
    """Open, high, low and close follow the prices; the next day opens anew and remembers the close."""
    for bid, ask in (("89", "91"), ("69", "71"), ("79", "81")):
        await desk.tick(bid, ask)
    path = f"/stocks/{next(company.stock_id for company in COMPANIES if company.symbol == 'ALBA')}"
    stock = (await desk.send(None, "GET", path)).json()
    prices = ("open", "high", "low", "close")
    assert [stock["day"][name] for name in prices] == ["84.0000", "90.0000", "70.0000", "80.0000"]
    desk.clock.advance(86_400)
    await desk.tick("59", "61")
    stock = (await desk.send(None, "GET", path)).json()
    assert [stock["day"][name] for name in prices] == ["60.0000"] * 4
    assert stock["previousClose"] == "80.0000"
    history = await desk.graphql(None, '{ stock(symbol: "ALBA") { days { date close } } }')
    assert [day["close"] for day in history["data"]["stock"]["days"]] == ["60.0000", "80.0000"]


async def test_old_ticks_are_deleted_unless_an_order_needs_them(desk: Desk) -> None:
    """Only the latest prices are kept, and all those since an order that waits for the wallet was placed."""
    market = desk.stocks.state.service.market
    alice = investor()
    await desk.deposit(alice)
    for price in range(70, 75):
        await desk.tick(str(price), str(price + 1))
    assert await market.delete_old_ticks(kept=2) == 4
    desk.network.cut("wallet")
    order_id = (await desk.place(alice, type="limit", limitPrice="70", timeInForce="gtc")).json()["id"]
    for price in (69, 80, 81, 82):
        await desk.tick(str(price), str(price + 1))
    assert await market.delete_old_ticks(kept=2) == 1
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, order_id))["price"] == "70.0000"
    assert await market.delete_old_ticks(kept=2) == 3


async def test_a_price_by_hand_needs_the_services_own_key(desk: Desk) -> None:
    """Users and other services may not post prices; a price that makes no sense is refused."""
    body = {"symbol": "ALBA", "bid": "1", "ask": "2"}
    assert (await desk.send(None, "POST", "/market/ticks", body)).status_code == 401
    assert (await desk.send(investor(), "POST", "/market/ticks", body)).status_code == 403
    users = Caller(kind="service", id="users")
    assert (await desk.send(users, "POST", "/market/ticks", body)).status_code == 403
    for changes, code in (({"bid": "3"}, "invalid-price"), ({"symbol": "NONE"}, "unknown-stock")):
        answer = await desk.send(STOCKS, "POST", "/market/ticks", {**body, **changes})
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_no_price_is_stored_while_the_market_is_closed(make_desk: DeskFactory) -> None:
    """A closed market refuses prices by hand, and its feeder waits."""
    desk = await make_desk(market_sessions="07:00-07:30", feed="synthetic")
    answer = await desk.send(STOCKS, "POST", "/market/ticks", {"symbol": "ALBA", "bid": "1", "ask": "2"})
    assert answer.json()["code"] == "market-closed"
    assert await desk.stocks.state.feeder.step() is None


async def test_the_feeder_stores_each_tick_once_and_goes_on_after_a_restart(make_desk: DeskFactory) -> None:
    """A second feeder over the same database continues where the first one stopped."""
    desk = await make_desk(feed="synthetic")
    first = [await desk.stocks.state.feeder.step() for _ in range(30)]
    market = desk.stocks.state.service.market
    source = SyntheticSource("trifolio", COMPANIES, Clock())
    restarted = Feeder(market, source, desk.databases["stocks"], interval_ms=1)
    second = [await restarted.step() for _ in range(18)]
    stored = [(tick.symbol, tick.quote.seq) for tick in (*first, *second) if tick is not None]
    # A restart begins its turn with the first company, so the six that were ahead stay ahead.
    assert len(stored) == len(set(stored)) == 48
    seqs = await market.stored_seqs()
    assert sum(seqs.values()) == 48
    assert set(seqs.values()) == {1, 2, 3}
