"""The audit log of orders: who did what for whom, one line for each step that clients see, with the step itself."""

from typing import Any

import orjson
import pytest
from sqlalchemy import select

from subgraphs.shared.audit import record
from subgraphs.shared.auth import Caller
from subgraphs.stocks.rules_orders import OrderState
from subgraphs.stocks.tables import audit_log
from tests.stocks.conftest import Desk, investor
from tests.stocks.test_broker_orders import authorize, parties

Line = tuple[str, str, str]
"""Action, actor, on behalf of whom."""


async def lines_of(desk: Desk, order_id: str) -> list[Line]:
    """What the audit log has of an order, oldest first."""
    columns = (audit_log.c.action, audit_log.c.actor_id, audit_log.c.on_behalf_of)
    return [(row[0], row[1], row[2]) for row in await rows_of(desk, order_id, *columns)]


async def details_of(desk: Desk, order_id: str) -> dict[str, Any]:
    """The details of each line, by action."""
    rows = await rows_of(desk, order_id, audit_log.c.action, audit_log.c.details)
    return {row[0]: orjson.loads(row[1]) for row in rows}


async def rows_of(desk: Desk, order_id: str, *columns: Any) -> list[Any]:
    """Columns of the lines of an order."""
    statement = select(*columns).where(audit_log.c.subject == order_id).order_by(audit_log.c.id)
    async with desk.databases["stocks"].reading() as connection:
        return list((await connection.execute(statement)).all())


def by_stocks(alice: Caller, *actions: str) -> list[Line]:
    """Lines of the service's own acts."""
    return [(action, "stocks", alice.id) for action in actions]


async def test_a_completed_order_has_a_line_for_each_step(desk: Desk) -> None:
    """Placed by its user, then executed and completed by the service: with price, cost and fees as decimals."""
    alice = investor()
    await desk.deposit(alice)
    order_id = (await desk.place(alice, quantity="2")).json()["id"]
    placed = ("order.placed", alice.id, alice.id)
    assert await lines_of(desk, order_id) == [placed, *by_stocks(alice, "order.executed", "order.completed")]
    executed = (await details_of(desk, order_id))["order.executed"]
    amounts = {"cost": "168.08", "fee": "1.00", "brokerFee": "0.00"}
    assert executed == {"seq": 0, "price": "84.0420", "currency": "EUR", **amounts}


async def test_a_brokers_order_says_for_whom(desk: Desk) -> None:
    """The broker acted on behalf of the investor, and the last line says in which authorization the mandate went on."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob)
    order = (await desk.place(bob, quantity="5", authorizationId=capital["id"])).json()
    placed = ("order.placed", bob.id, alice.id)
    assert await lines_of(desk, order["id"]) == [placed, *by_stocks(alice, "order.executed", "order.completed")]
    details = await details_of(desk, order["id"])
    assert details["order.placed"]["authorizationId"] == capital["id"]
    assert details["order.completed"] == {"rolloverAuthorizationId": order["rolloverAuthorizationId"]}


async def test_a_rejection_says_why(desk: Desk) -> None:
    """Too few shares, too little money, a price that has run away: one line each, with the reason clients are told."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    no_shares = (await desk.place(alice, side="sell")).json()["orderId"]
    no_money = (await desk.place(alice, quantity="100")).json()["orderId"]
    gap = (await desk.place(alice, type="stop", stopPrice="90")).json()["id"]
    await desk.tick("99", "100")
    await desk.settle()
    for order_id, reason in (
        (no_shares, "insufficient-shares"),
        (no_money, "insufficient-funds"),
        (gap, "price-moved"),
    ):
        placed = ("order.placed", alice.id, alice.id)
        assert await lines_of(desk, order_id) == [placed, *by_stocks(alice, "order.rejected")], reason
        assert (await details_of(desk, order_id))["order.rejected"]["reason"] == reason


async def test_an_end_is_one_line(desk: Desk) -> None:
    """A cancellation is its caller's act and an expiry the service's; repeated, neither is written again."""
    alice = investor()
    await desk.deposit(alice)
    limit = {"type": "limit", "limitPrice": "80"}
    cancelled, expired = [(await desk.place(alice, **limit)).json()["id"] for _ in range(2)]
    for _ in range(2):
        answer = await desk.send(alice, "PUT", f"/orders/{cancelled}", {"status": "cancelled"})
        assert answer.status_code == 200
    desk.clock.advance(86_400)
    await desk.settle()
    await desk.stocks.state.saga.steps.expire(expired)
    placed = ("order.placed", alice.id, alice.id)
    assert await lines_of(desk, cancelled) == [placed, ("order.cancelled", alice.id, alice.id)]
    assert await lines_of(desk, expired) == [placed, *by_stocks(alice, "order.expired")]


@pytest.mark.parametrize("action", ["order.placed", "order.executed", "order.completed", "order.rejected"])
async def test_a_step_and_its_line_are_one(desk: Desk, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """Where the line cannot be written, the step is not made; it is made when its line can be written."""
    alice = investor()
    await desk.bought(alice, "10")
    before = await desk.holding(alice)

    async def failing(connection: Any, table: Any, entry: Any, **when: Any) -> None:
        if entry.action == action:
            raise FullLog
        await record(connection, table, entry, **when)

    monkeypatch.setattr("subgraphs.stocks.steps.record", failing)
    side = {"side": "sell", "quantity": "11" if action == "order.rejected" else "2"}
    assert (await desk.place(alice, key="k", **side)).status_code == 500
    monkeypatch.undo()
    if action in ("order.placed", "order.rejected"):
        assert (await desk.send(alice, "GET", "/orders?side=sell")).json()["items"] == []
        assert await desk.holding(alice) == before
    else:
        order_id = (await desk.send(alice, "GET", "/orders?side=sell")).json()["items"][0]["id"]
        left = OrderState.RESERVED if action == "order.executed" else OrderState.EXECUTED
        assert (await desk.stocks.state.saga.steps.load(order_id)).state is left
    await desk.settle()
    answer = await desk.place(alice, key="k", **side)
    order_id = answer.json().get("id") or answer.json()["orderId"]
    assert [line[0] for line in await lines_of(desk, order_id)].count(action) == 1
    await desk.check_books()


class FullLog(Exception):
    """No line can be written."""
