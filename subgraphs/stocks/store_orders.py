"""Every SQL statement about orders and their fills. Private rows are filtered by their viewer here, in SQL."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from subgraphs.shared.database import Connection, insert_or_ignore
from subgraphs.shared.driving import LEASE_MS, WAIT_MS_MAX
from subgraphs.stocks.rules import Quote
from subgraphs.stocks.rules_orders import (
    CANCELLABLE_STATES,
    UNDRIVEN_STATES,
    Fill,
    Order,
    OrderFilter,
    OrderState,
    OrderStatus,
    OrderType,
    Rejection,
    Side,
    TimeInForce,
    states_of,
)
from subgraphs.stocks.rules_pricing import FeeRates, Settlement
from subgraphs.stocks.store import row_of, rows_of
from subgraphs.stocks.tables import broker_orders, fills, orders, ticks

_ORDER_COLUMNS = (
    orders.c.id,
    orders.c.user_id,
    orders.c.placed_by,
    orders.c.authorization_id,
    orders.c.authorization_ends_at,
    orders.c.stock_id,
    orders.c.symbol,
    orders.c.currency,
    orders.c.side,
    orders.c.type,
    orders.c.time_in_force,
    orders.c.quantity,
    orders.c.limit_price,
    orders.c.stop_price,
    orders.c.expires_at,
    orders.c.client_order_id,
    orders.c.state,
    orders.c.reason,
    orders.c.reason_detail,
    orders.c.fee_rate_ppm,
    orders.c.fee_minimum,
    orders.c.broker_rate_ppm,
    orders.c.hold_amount,
    orders.c.price,
    orders.c.price_seq,
    orders.c.after_seq,
    orders.c.stop_seq,
    orders.c.holding_id,
    orders.c.rollover_id,
    orders.c.fingerprint,
    orders.c.answer,
    orders.c.created_at,
    orders.c.updated_at,
    orders.c.executed_at,
    orders.c.settled_at,
    orders.c.attempts,
    orders.c.placed_by_registered_at,
    fills.c.price,
    fills.c.seq,
    fills.c.cost,
    fills.c.fee,
    fills.c.broker_fee,
    fills.c.executed_at,
)
_FILL = len(_ORDER_COLUMNS) - 6
_SELECT_ORDER = select(*_ORDER_COLUMNS).outerjoin_from(orders, fills)
_BY_KEY: BindParameter[Any] = bindparam("key")
# Built once, as in `store`.
_ORDER_BY_ID = _SELECT_ORDER.where(orders.c.id == _BY_KEY)
_LOCK_ORDER = select(orders.c.id).where(orders.c.id == _BY_KEY).with_for_update()
_VIEWER: BindParameter[Any] = bindparam("viewer_id")
_IS_VIEWED = or_(orders.c.user_id == _VIEWER, orders.c.placed_by == _VIEWER)
"""The investor whose order it is, and the broker who placed it."""
_VIEWED_ORDER = _ORDER_BY_ID.where(_IS_VIEWED)
_LOCK_VIEWED_ORDER = _LOCK_ORDER.where(_IS_VIEWED)
_UPDATE_ORDER = update(orders).where(orders.c.id == _BY_KEY)
_MOVE_ORDER = _UPDATE_ORDER.where(orders.c.state == bindparam("left_state"))
_INSERT_FILL = insert(fills)

OrderKey = tuple[int, str]
"""Orders are listed newest first, by (created_at, id)."""


async def insert_order(connection: Connection, order: Order, *, lease_until: int) -> bool:
    """Inserts a new order; False when its id is there already, which means the same request came before."""
    values = {
        **{column: getattr(order, column) for column in _COPIED},
        "side": order.side.value,
        "type": order.type.value,
        "time_in_force": order.time_in_force.value,
        "state": order.state.value,
        "reason": order.rejection.code if order.rejection else None,
        "reason_detail": order.rejection.detail if order.rejection else None,
        "fee_rate_ppm": order.rates.rate_ppm,
        "fee_minimum": order.rates.minimum,
        "broker_rate_ppm": order.rates.broker_rate_ppm,
        "next_attempt_at": order.created_at,
        "lease_until": lease_until,
    }
    return bool((await connection.execute(insert_or_ignore(connection, orders), values)).rowcount)


_COPIED = (
    "id",
    "user_id",
    "placed_by",
    "authorization_id",
    "authorization_ends_at",
    "stock_id",
    "symbol",
    "currency",
    "quantity",
    "limit_price",
    "stop_price",
    "expires_at",
    "client_order_id",
    "hold_amount",
    "price",
    "price_seq",
    "after_seq",
    "stop_seq",
    "holding_id",
    "rollover_id",
    "fingerprint",
    "answer",
    "created_at",
    "updated_at",
    "executed_at",
    "settled_at",
    "attempts",
    "placed_by_registered_at",
)


async def order_by_id(connection: Connection, order_id: str) -> Order | None:
    """An order, whoever owns it: for its saga."""
    row = await row_of(connection, _ORDER_BY_ID, {"key": order_id})
    return None if row is None else _order(row)


async def lock_order(connection: Connection, order_id: str) -> Order | None:
    """An order, locked: who holds the lock decides its next state."""
    if connection.dialect == "postgresql":
        await connection.execute(_LOCK_ORDER, {"key": order_id})
    return await order_by_id(connection, order_id)


async def lock_viewed_order(connection: Connection, order_id: str, viewer_id: str) -> Order | None:
    """An order that the viewer owns or placed, locked; any other is neither found nor locked."""
    keys = {"key": order_id, "viewer_id": viewer_id}
    if connection.dialect == "postgresql":
        await connection.execute(_LOCK_VIEWED_ORDER, keys)
    row = await row_of(connection, _VIEWED_ORDER, keys)
    return None if row is None else _order(row)


async def save_order(connection: Connection, order_id: str, state: OrderState, now: int, **values: object) -> None:
    """Moves a (locked) order to `state` and writes `values`; what waited for a retry is due at once."""
    changes = {"key": order_id, "state": state.value, "updated_at": now, "attempts": 0, "next_attempt_at": now}
    await connection.execute(_UPDATE_ORDER, {**changes, **values})


async def move_order(
    connection: Connection, order_id: str, left: OrderState, state: OrderState, now: int, **values: object
) -> bool:
    """Moves an order from the state `left` to `state` and writes `values`; False when it is in another state.

    The row is locked to the end of the transaction, as `lock_order` does, and one statement has looked and written.
    """
    changes = {"state": state.value, "updated_at": now, "attempts": 0, "next_attempt_at": now, **values}
    moved = await connection.execute(_MOVE_ORDER, {"key": order_id, "left_state": left.value, **changes})
    return moved.rowcount == 1


async def count_broker_order(connection: Connection, root_id: str, minute: int) -> int:
    """Counts an order of a mandate's family in a minute; how many it has with it. Concurrent ones wait."""
    dialect = sqlite if connection.dialect == "sqlite" else postgresql
    row = dialect.insert(broker_orders).values(root_id=root_id, minute=minute, count=1)
    counted = row.on_conflict_do_update(
        index_elements=[broker_orders.c.root_id, broker_orders.c.minute], set_={"count": broker_orders.c.count + 1}
    )
    count: int = (await connection.execute(counted.returning(broker_orders.c.count))).scalar_one()
    return count


async def delete_broker_orders_before(connection: Connection, minute: int) -> None:
    """Forgets the counts of minutes that are over."""
    await connection.execute(delete(broker_orders).where(broker_orders.c.minute < minute))


async def insert_fill(connection: Connection, order: Order, fill: Fill, *, basis: int | None) -> None:
    """Writes the one execution of an order; `basis` is what the shares of a sale had cost."""
    values = {
        "order_id": order.id,
        "stock_id": order.stock_id,
        "quantity": order.quantity,
        "price": fill.price,
        "seq": fill.seq,
        "cost": fill.settlement.cost,
        "fee": fill.settlement.fee,
        "broker_fee": fill.settlement.broker_fee,
        "basis": basis,
        "executed_at": fill.executed_at,
    }
    await connection.execute(_INSERT_FILL, values)


async def orders_by_id(connection: Connection, ids: Iterable[str], viewer_id: str) -> dict[str, Order]:
    """The orders of those ids that the viewer may see."""
    statement = _SELECT_ORDER.where(orders.c.id.in_(list(ids)), _IS_VIEWED)
    return {row[0]: _order(row) for row in await rows_of(connection, statement, {"viewer_id": viewer_id})}


async def orders_after(
    connection: Connection, viewer_id: str, wanted: OrderFilter, after: OrderKey | None, limit: int
) -> list[Order]:
    """Up to `limit` orders that the viewer owns or placed, newest first, behind `after`."""
    statement = _SELECT_ORDER.where(_IS_VIEWED, *_conditions(wanted))
    if after is not None:
        statement = statement.where(tuple_(orders.c.created_at, orders.c.id) < after)
    statement = statement.order_by(orders.c.created_at.desc(), orders.c.id.desc()).limit(limit)
    return [_order(row) for row in await rows_of(connection, statement, {"viewer_id": viewer_id})]


def _conditions(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        conditions.append(orders.c.state.in_([state.value for state in states_of(wanted.status)]))
    if wanted.stock_id is not None:
        conditions.append(orders.c.stock_id == wanted.stock_id)
    if wanted.side is not None:
        conditions.append(orders.c.side == wanted.side.value)
    if wanted.client_order_id is not None:
        conditions.append(orders.c.client_order_id == wanted.client_order_id)
    return conditions


# ---- driving ----


async def lease_due(connection: Connection, now: int, lease_until: int, limit: int) -> list[str]:
    """Leases up to `limit` unfinished orders that are due and leased by nobody, oldest first; their ids.

    One statement; on PostgreSQL a replica that loses the race for a row sees the new lease and passes over it.
    """
    due = _is_due(now)
    chosen = select(orders.c.id).where(due).order_by(orders.c.next_attempt_at).limit(limit)
    if connection.dialect == "postgresql":
        chosen = chosen.with_for_update(skip_locked=True)
    statement = (
        update(orders).where(orders.c.id.in_(chosen), due).values(lease_until=lease_until).returning(orders.c.id)
    )
    return [row[0] for row in await rows_of(connection, statement)]


async def any_due(connection: Connection, now: int) -> bool:
    """Whether `lease_due` would find an order."""
    statement = select(orders.c.id).where(_is_due(now)).limit(1)
    return await row_of(connection, statement) is not None


async def next_due_at(connection: Connection) -> int | None:
    """When the first of the orders that a driver has to move on is due and no longer leased; None without any."""
    lease, attempt = orders.c.lease_until, orders.c.next_attempt_at
    due_at = func.min(case((lease > attempt, lease), else_=attempt))
    row = await row_of(connection, select(due_at).where(orders.c.state.in_(_DRIVEN)))
    return None if row is None else row[0]


async def count_unfinished(connection: Connection) -> int:
    """How many orders a driver has still to move on."""
    statement = select(func.count()).select_from(orders).where(orders.c.state.in_(_DRIVEN))
    row = await row_of(connection, statement)
    assert row is not None, "a count is a row"
    return int(row[0])


def _is_due(now: int) -> ColumnElement[bool]:
    """Neither time is ever further away than `WAIT_MS_MAX`: one that is was written before the clock stepped back."""
    return and_(
        orders.c.state.in_(_DRIVEN),
        or_(orders.c.next_attempt_at <= now, orders.c.next_attempt_at > now + WAIT_MS_MAX),
        or_(orders.c.lease_until <= now, orders.c.lease_until > now + WAIT_MS_MAX),
    )


_DRIVEN = [state.value for state in OrderState if state not in UNDRIVEN_STATES]


async def postpone(connection: Connection, order_id: str, next_attempt_at: int) -> None:
    """Ends the lease of an order that could not be moved on, until `next_attempt_at`."""
    values = {"attempts": orders.c.attempts + 1, "next_attempt_at": next_attempt_at, "lease_until": 0}
    await connection.execute(update(orders).where(orders.c.id == order_id).values(values))


async def expired_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Automated orders whose time is over while they wait: for the wallet, for their trigger, for their execution.

    One that was triggered in time has a driver at once; only where none came for as long as a lease, it is over.
    """
    waiting = [state.value for state in CANCELLABLE_STATES]
    driven = and_(orders.c.state == OrderState.TRIGGERED.value, orders.c.updated_at > now - LEASE_MS)
    over = and_(orders.c.state.in_(waiting), orders.c.expires_at <= now, ~driven)
    statement = select(orders.c.id).where(over).limit(limit)
    return [row[0] for row in await rows_of(connection, statement)]


async def stale_ids(connection: Connection, placed_before: int, limit: int) -> list[str]:
    """Market orders placed before that time and still not executed."""
    waiting = [state.value for state in (OrderState.NEW, OrderState.RESERVED)]
    statement = select(orders.c.id).where(
        orders.c.state.in_(waiting), orders.c.type == OrderType.MARKET.value, orders.c.created_at < placed_before
    )
    return [row[0] for row in await rows_of(connection, statement.limit(limit))]


async def crossed_ids(connection: Connection, stock_id: str, quote: Quote) -> list[str]:
    """WORKING orders on a stock, placed before the tick and not over at its time, whose condition it crosses; by id."""
    tick = {"stock": stock_id, "seq": quote.seq, "at": quote.at, "bid": quote.bid, "ask": quote.ask}
    return [row[0] for row in await rows_of(connection, _CROSSED, tick)]


def _select_crossed() -> Select[Any]:
    bid, ask = bindparam("bid", type_=BigInteger), bindparam("ask", type_=BigInteger)
    buying, stop_hit = orders.c.side == Side.BUY.value, orders.c.stop_seq.is_not(None)
    limit_met = or_(and_(buying, orders.c.limit_price >= ask), and_(~buying, orders.c.limit_price <= bid))
    stop_reached = or_(and_(buying, orders.c.stop_price <= ask), and_(~buying, orders.c.stop_price >= bid))
    crossed = or_(
        and_(orders.c.type == OrderType.LIMIT.value, limit_met),
        and_(orders.c.type == OrderType.STOP.value, stop_reached),
        and_(
            orders.c.type == OrderType.STOP_LIMIT.value, or_(and_(~stop_hit, stop_reached), and_(stop_hit, limit_met))
        ),
    )
    statement = select(orders.c.id).where(
        orders.c.stock_id == bindparam("stock"),
        orders.c.state == OrderState.WORKING.value,
        orders.c.after_seq < bindparam("seq", type_=BigInteger),
        orders.c.expires_at > bindparam("at", type_=BigInteger),
        crossed,
    )
    return statement.order_by(orders.c.id)


_CROSSED = _select_crossed()


async def needed_seqs(connection: Connection) -> dict[str, int]:
    """By stock, the first tick that an order which has not begun to work may still have to look at."""
    statement = (
        select(orders.c.stock_id, func.min(orders.c.after_seq) + 1)
        .where(orders.c.state == OrderState.NEW.value)
        .group_by(orders.c.stock_id)
    )
    return {row[0]: row[1] for row in await rows_of(connection, statement)}


async def first_tick(
    connection: Connection, order: Order, *, from_seq: int, stop: int | None = None, limit: int | None = None
) -> Quote | None:
    """The first stored tick from `from_seq` on, before the order's end, that reaches `stop` or meets `limit`."""
    price = ticks.c.ask if order.side is Side.BUY else ticks.c.bid
    statement = (
        select(ticks.c.seq, ticks.c.bid, ticks.c.ask, ticks.c.last, ticks.c.at)
        .where(ticks.c.stock_id == order.stock_id, ticks.c.seq >= from_seq, ticks.c.at < order.expires_at)
        .order_by(ticks.c.seq)
        .limit(1)
    )
    if stop is not None:
        statement = statement.where(price >= stop if order.side is Side.BUY else price <= stop)
    if limit is not None:
        statement = statement.where(price <= limit if order.side is Side.BUY else price >= limit)
    row = await row_of(connection, statement)
    return None if row is None else Quote(*row)


def _order(row: Sequence[Any]) -> Order:
    values: list[Any] = [
        *row[:8],
        Side(row[8]),
        OrderType(row[9]),
        TimeInForce(row[10]),
        *row[11:16],
        OrderState(row[16]),
        None if row[17] is None else Rejection(row[17], row[18]),
        FeeRates(row[19], row[20], row[21]),
        *row[22:28],
        _fill(row[_FILL:]),
        *row[28:30],
        None if row[30] is None else OrderStatus(row[30]),
        *row[31:_FILL],
    ]
    return Order(*values)


def _fill(row: Sequence[Any]) -> Fill | None:
    if row[0] is None:
        return None
    return Fill(price=row[0], seq=row[1], settlement=Settlement(row[2], row[3], row[4]), executed_at=row[5])
