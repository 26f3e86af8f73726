"""The local steps of the saga of orders, and whose turn it is: each is one transaction.

A step moves its order on from the state it was called for, or leaves it as it is: cancel, expiry, trigger and execution
compete for the same row, and whoever comes second finds another state. Start, execute and settle get the order as their
driver has it and write only if its state still is that one: all else that they read was pinned before. The others lock
the order and look. A step that is repeated changes nothing. What calls other services, and which step follows which,
stands in `saga`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.driving import LEASE_MS
from subgraphs.shared.money import format_amount, format_price
from subgraphs.stocks import service_shares, store, store_orders
from subgraphs.stocks.rules import (
    PRICE_MOVED,
    STALE_PRICE,
)
from subgraphs.stocks.rules_orders import (
    CANCELLABLE_STATES,
    MARKET_ORDER_AGE_MS_MAX,
    Fill,
    Order,
    OrderState,
    OrderType,
    Rejection,
    Side,
    gap_beyond_hold,
    settlement_of,
    side_price,
)
from subgraphs.stocks.tables import audit_log, outbox

ORDER_IS_DUE = "an order is due"
"""What is woken when an order needs a driver at once."""
ORDER_EVENT = "order"
"""What events of orders are called: its investor gets them, and the broker who placed it."""

DRIVER = Caller(kind="service", id="stocks")
"""Who acts, in the audit log, where a driver moves an order on or time decides."""

ENDED_STATES = {
    OrderState.REJECTING: OrderState.REJECTED,
    OrderState.CANCELLING: OrderState.CANCELLED,
    OrderState.EXPIRING: OrderState.EXPIRED,
}
"""Deciding to give up, and having given everything back."""

DECISIONS = {
    OrderState.REJECTING: "order.rejected",
    OrderState.CANCELLING: "order.cancelled",
    OrderState.EXPIRING: "order.expired",
}
"""What the audit log calls the decision, which clients see at once. That all is given back is no act of anybody's."""


@dataclass(frozen=True, slots=True)
class Rollover:
    """What users answered to a broker's completed order: the authorization it went on in, or none."""

    authorization_id: str | None


class OrderSteps:
    """What a driver does to an order in this service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, order_id: str) -> Order:
        """An order as it stands, for its saga."""
        async with self._database.reading() as connection:
            return await _found(connection, order_id)

    # ---- T2', T3, T6 ----

    async def start(self, order: Order) -> Order:
        """T2': NEW -> RESERVED; an automated order -> WORKING, or TRIGGERED by the first tick it has missed."""

        async def work(connection: Connection) -> Order:
            if order.automated:
                await store.lock_stock(connection, stock_id=order.stock_id)
                found = await _locked(connection, order.id)
                if found.state is not OrderState.NEW:
                    return found
                return await _set_working(connection, await _missed_tick(connection, found), await connection.now())
            now = await connection.now()
            if not await store_orders.move_order(connection, order.id, OrderState.NEW, OrderState.RESERVED, now):
                return await _found(connection, order.id)
            return replace(order, state=OrderState.RESERVED, updated_at=now)

        return await self._database.write(work)

    async def execute(self, order: Order) -> Order:
        """T3, the pivot: RESERVED or TRIGGERED -> EXECUTED; the shares change hands at the pinned price.

        A stale price, or a gap beyond what is held, turns the order to REJECTING instead.
        """
        if order.state not in (OrderState.RESERVED, OrderState.TRIGGERED):
            return order

        async def work(connection: Connection) -> Order:
            now = await connection.now()
            rejection = _too_late(order, now)
            state = OrderState.EXECUTED if rejection is None else OrderState.REJECTING
            moved = replace(order, state=state, rejection=rejection, updated_at=now)
            values: dict[str, object] = {"executed_at": now}
            if rejection is not None:
                moved = _answered(moved)
                values = {"answer": moved.answer, **_reason(rejection)}
            if not await store_orders.move_order(connection, order.id, order.state, state, now, **values):
                return await _found(connection, order.id)
            if rejection is not None:
                await record_act(connection, moved, DECISIONS[state], DRIVER, now, _reason(rejection))
                note_change(connection, order, now)
                return moved
            assert order.price is not None
            fill = Fill(order.price, order.price_seq, settlement_of(order, order.price), now)
            basis = await service_shares.exchange(connection, order, fill, now)
            await store_orders.insert_fill(connection, order, fill, basis=basis)
            await record_act(connection, order, "order.executed", DRIVER, now, _filled(order, fill))
            note_change(connection, order, now)
            return replace(moved, fill=fill, executed_at=now)

        return await self._database.write(work)

    async def settle(self, order: Order, rollover: Rollover | None) -> Order:
        """T6: EXECUTED -> COMPLETED; a buyer's shares become free, or go to the rollover's commitment if it is open."""
        if order.state is not OrderState.EXECUTED:
            return order

        async def work(connection: Connection) -> Order:
            now = await connection.now()
            rollover_id = None if rollover is None else rollover.authorization_id
            completed = _answered(
                replace(order, state=OrderState.COMPLETED, rollover_id=rollover_id, settled_at=now, updated_at=now)
            )
            values = _final_values(completed)
            if not await store_orders.move_order(connection, order.id, order.state, completed.state, now, **values):
                return await _found(connection, order.id)
            if order.side is Side.BUY:
                await service_shares.release(connection, order, rollover_id, now, opening=True)
            went_on = {} if rollover_id is None else {"rolloverAuthorizationId": rollover_id}
            await record_act(connection, order, "order.completed", DRIVER, now, went_on)
            note_change(connection, order, now)
            return completed

        return await self._database.write(work)

    # ---- T2x, Tc ----

    async def reject(self, order_id: str, rejection: Rejection) -> Order:
        """T2x: NEW or RESERVED -> REJECTING, with the reason."""
        return await self._give_up(order_id, OrderState.REJECTING, rejection)

    async def reject_stale(self, order_id: str) -> Order:
        """A market order that is still not executed after `MARKET_ORDER_AGE_MS_MAX` -> REJECTING."""
        return await self.reject(order_id, Rejection(STALE_PRICE.code, STALE_PRICE.detail))

    async def expire(self, order_id: str) -> Order:
        """Tc: an automated order whose time is over -> EXPIRING, unless it is executed first."""
        return await self._give_up(order_id, OrderState.EXPIRING, None, triggered=True)

    async def give_back(self, order_id: str) -> Order:
        """Ends an order that was given up: its shares go back, and its answer is final."""

        async def work(connection: Connection) -> Order:
            order = await _locked(connection, order_id)
            if order.state not in ENDED_STATES:
                return order
            now = await connection.now()
            await service_shares.give_back(connection, order, now)
            return await end(connection, order, now)

        return await self._database.write(work)

    async def _give_up(
        self, order_id: str, state: OrderState, rejection: Rejection | None, *, triggered: bool = False
    ) -> Order:
        async def work(connection: Connection) -> Order:
            order = await _locked(connection, order_id)
            if order.state not in CANCELLABLE_STATES or (order.state is OrderState.TRIGGERED and not triggered):
                return order
            return await turn(connection, order, state, await connection.now(), DRIVER, rejection)

        return await self._database.write(work)


class OrderQueue:
    """Which orders wait for a driver, or for their end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, limit: int) -> list[str]:
        """Leases up to `limit` orders that nobody drives and that are due; their ids."""

        async def work(connection: Connection) -> list[str]:
            now = await connection.now()
            return await store_orders.lease_due(connection, now, now + LEASE_MS, limit)

        return await self._database.write(work)

    async def overdue(self, limit: int) -> tuple[list[str], list[str]]:
        """Ids of automated orders whose time is over, and of market orders whose price is stale."""
        async with self._database.reading() as connection:
            now = await connection.now()
            expired = await store_orders.expired_ids(connection, now, limit)
            return expired, await store_orders.stale_ids(connection, now - MARKET_ORDER_AGE_MS_MAX, limit)

    async def has_due(self) -> bool:
        """Whether an order waits for a driver: a cheap look before taking a lease."""
        async with self._database.reading() as connection:
            return await store_orders.any_due(connection, await connection.now())

    async def due_in_ms(self) -> int | None:
        """How long it is until an order is due that nobody drives; None where no order needs a driver."""
        async with self._database.reading() as connection:
            due_at = await store_orders.next_due_at(connection)
            return None if due_at is None else max(due_at - await connection.now(), 0)

    async def count_unfinished(self) -> int:
        """How many orders a driver has still to move on, due or not."""
        async with self._database.reading() as connection:
            return await store_orders.count_unfinished(connection)

    async def postpone(self, order_id: str, delay_ms: int) -> None:
        """Gives an order back to the loop, not before `delay_ms` from here."""

        async def work(connection: Connection) -> None:
            await store_orders.postpone(connection, order_id, await connection.now() + delay_ms)

        await self._database.write(work)


async def _found(connection: Connection, order_id: str) -> Order:
    order = await store_orders.order_by_id(connection, order_id)
    assert order is not None, "orders are never deleted"
    return order


async def _locked(connection: Connection, order_id: str) -> Order:
    order = await store_orders.lock_order(connection, order_id)
    assert order is not None, "orders are never deleted"
    return order


async def _missed_tick(connection: Connection, order: Order) -> Order:
    """A starting order after the ticks since it was placed, in order: WORKING, or TRIGGERED by the first it crosses."""
    order, from_seq = replace(order, state=OrderState.WORKING), order.after_seq + 1
    if order.type is OrderType.STOP_LIMIT:
        stopped = await store_orders.first_tick(connection, order, from_seq=from_seq, stop=order.stop_price)
        if stopped is None:
            return order
        order, from_seq = replace(order, stop_seq=stopped.seq), stopped.seq
    stop, limit = (order.stop_price, None) if order.type is OrderType.STOP else (None, order.limit_price)
    crossed = await store_orders.first_tick(connection, order, from_seq=from_seq, stop=stop, limit=limit)
    if crossed is None:
        return order
    return replace(order, state=OrderState.TRIGGERED, price=side_price(order.side, crossed), price_seq=crossed.seq)


async def _set_working(connection: Connection, order: Order, now: int) -> Order:
    """Writes a starting order; if it waits for its trigger, that is the final answer to its POST."""
    order = replace(order, updated_at=now)
    if order.state is OrderState.WORKING:
        order = _answered(order)
    await store_orders.save_order(
        connection,
        order.id,
        order.state,
        now,
        price=order.price,
        price_seq=order.price_seq,
        stop_seq=order.stop_seq,
        answer=order.answer,
    )
    note_change(connection, order, now)
    return order


def _too_late(order: Order, now: int) -> Rejection | None:
    assert order.price is not None
    if not order.automated and now - order.created_at > MARKET_ORDER_AGE_MS_MAX:
        return Rejection(STALE_PRICE.code, STALE_PRICE.detail)
    if gap_beyond_hold(order, order.price):
        return Rejection(PRICE_MOVED.code, PRICE_MOVED.detail)
    return None


async def turn(
    connection: Connection,
    order: Order,
    state: OrderState,
    now: int,
    actor: Caller,
    rejection: Rejection | None = None,
    **lease: int,
) -> Order:
    """Gives a (locked) order up, as `actor` decides; what it set aside goes back in the steps that follow."""
    given_up = replace(order, state=state, rejection=rejection, updated_at=now)
    if rejection is not None:
        given_up = _answered(given_up)
    values = {"answer": given_up.answer, **_reason(rejection), **lease}
    await store_orders.save_order(connection, order.id, state, now, **values)
    await record_act(connection, order, DECISIONS[state], actor, now, _reason(rejection))
    note_change(connection, order, now)
    return given_up


async def record_act(
    connection: Connection, order: Order, action: str, actor: Caller, now: int, details: Mapping[str, object]
) -> None:
    """Writes what happens to an order into the audit log, in the transaction in which it does."""
    entry = AuditEntry(action, actor, order.id, on_behalf_of=order.user_id, details=details)
    await record(connection, audit_log, entry, at=now)


def note_change(connection: Connection, order: Order, now: int) -> None:
    """Tells whoever may see the order that it has changed, in what clients see of it."""
    for viewer_id in (order.user_id, order.placed_by):
        outbox.note(connection, viewer_id, ORDER_EVENT, order.id, now)


async def end(connection: Connection, order: Order, now: int) -> Order:
    """The terminal commit of an order that was given up, or REJECTED at T0."""
    state = ENDED_STATES.get(order.state, OrderState.REJECTED)
    final = _answered(replace(order, state=state, settled_at=now, updated_at=now))
    await store_orders.save_order(connection, order.id, state, now, **_final_values(final))
    note_change(connection, order, now)
    return final


def _final_values(order: Order) -> dict[str, object]:
    """What the terminal commit writes beside the state."""
    return {
        "rollover_id": order.rollover_id,
        "settled_at": order.settled_at,
        "answer": order.answer,
        "lease_until": 0,
        **_reason(order.rejection),
    }


def _filled(order: Order, fill: Fill) -> dict[str, object]:
    """A fill as the audit log tells it."""
    moved = fill.settlement
    amounts = {"cost": moved.cost, "fee": moved.fee, "brokerFee": moved.broker_fee}
    decimals = {name: format_amount(amount, order.currency) for name, amount in amounts.items()}
    return {"seq": fill.seq, "price": format_price(fill.price), "currency": order.currency, **decimals}


def _reason(rejection: Rejection | None) -> dict[str, str]:
    return {} if rejection is None else {"reason": rejection.code, "reason_detail": rejection.detail}


def _answered(order: Order) -> Order:
    """The order with the final answer to its POST, unless it has one: what clients saw of it when that was decided."""
    return order if order.answer is not None else replace(order, answer=order.status)
