"""The SQL statements of statements: a user's own trades in a time."""

from typing import Any

from sqlalchemy import bindparam, select

from subgraphs.shared.database import Connection
from subgraphs.stocks.rules_orders import Side
from subgraphs.stocks.rules_statements import Trade
from subgraphs.stocks.store import rows_of
from subgraphs.stocks.tables import fills, orders

_TRADES = (
    select(
        orders.c.id,
        fills.c.executed_at,
        orders.c.stock_id,
        orders.c.symbol,
        orders.c.side,
        fills.c.quantity,
        fills.c.price,
        orders.c.currency,
        fills.c.cost,
        fills.c.fee,
        fills.c.broker_fee,
        fills.c.basis,
    )
    .join_from(orders, fills)
    .where(
        orders.c.user_id == bindparam("viewer_id"),
        fills.c.executed_at >= bindparam("start"),
        fills.c.executed_at < bindparam("end"),
    )
    .order_by(fills.c.executed_at, fills.c.seq, orders.c.id)
    .limit(bindparam("count"))
)


async def trades(connection: Connection, viewer_id: str, *, start: int, end: int, limit: int) -> list[Trade]:
    """The executions of the viewer's own orders in a time, first one first; `end` is no longer in it."""
    parameters = {"viewer_id": viewer_id, "start": start, "end": end, "count": limit}
    return [_trade(tuple(row)) for row in await rows_of(connection, _TRADES, parameters)]


def _trade(columns: tuple[Any, ...]) -> Trade:
    order_id, executed_at, stock_id, symbol, side, *rest = columns
    return Trade(order_id, executed_at, stock_id, symbol, Side(side), *rest)
