"""Whether the stocks service's books are right, and what other services' books are compared with.

I3  per stock, all holdings together, the market's included, are what was issued; nothing is negative (the tables' own
    constraints refuse that).
I5  what a holding shows as committed is the sum of its open commitments.
I6  an order has a fill exactly when it is executed, and what a holding shows as reserved is what its unfinished orders
    have set aside.

Each check is one statement or compares the results of a few; run it when all is quiet, or on a copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.invariants import Violation
from subgraphs.stocks.rules import MARKET, CommitmentState, holding_id_of
from subgraphs.stocks.rules_orders import TERMINAL_STATES, OrderState, Side
from subgraphs.stocks.store import rows_of, share_totals
from subgraphs.stocks.tables import fills, holdings, orders, share_commitments

EXECUTED_STATES = (OrderState.EXECUTED, OrderState.COMPLETED)


@dataclass(frozen=True, slots=True)
class StocksSummary:
    """What stocks knows that other services' books must agree with. Amounts are minor units."""

    order_states: Mapping[str, str]
    """Order id -> its saga's state (`rules_orders.OrderState`)."""
    unfinished: tuple[str, ...]
    """Ids of orders that are neither terminal nor WORKING: none once all is quiet (I4)."""
    holds: Mapping[str, int]
    """Id of a WORKING order to buy -> what the wallet must hold for it (I4)."""
    settlements: Mapping[str, str]
    """Id of a COMPLETED order -> what the wallet must have done for it, exactly once: `post` or `credit` (I6)."""
    market: Mapping[str, int]
    """Currency -> what the wallet's market account must have, from all COMPLETED orders (I6)."""
    fees: Mapping[str, int]
    """Currency -> what the wallet's fee account must have (I6)."""
    open_commitments: Mapping[str, int]
    """Authorization id -> shares that remain of it; each must be ACTIVE (I5)."""


async def audit(database: Database) -> tuple[Violation, ...]:
    """Every violation of I3, I5 and I6 in the stocks database; none means that the books are right."""
    async with database.reading() as connection:
        return (
            *await _wrong_totals(connection),
            *await _wrong_commitments(connection),
            *await _wrong_reservations(connection),
            *await _wrong_fills(connection),
        )


async def summarize(database: Database) -> StocksSummary:
    """What other services' books are compared with."""
    async with database.reading() as connection:
        columns = (orders.c.id, orders.c.state, orders.c.side, orders.c.hold_amount)
        rows = await rows_of(connection, select(*columns))
        settled = await rows_of(
            connection,
            select(orders.c.currency, orders.c.side, fills.c.cost, fills.c.fee)
            .join_from(orders, fills)
            .where(orders.c.state == OrderState.COMPLETED.value),
        )
        opened = await rows_of(
            connection,
            select(share_commitments.c.authorization_id, share_commitments.c.remaining).where(
                share_commitments.c.state == CommitmentState.OPEN.value
            ),
        )
    quiet = {state.value for state in TERMINAL_STATES} | {OrderState.WORKING.value}
    market: dict[str, int] = {}
    fees: dict[str, int] = {}
    for currency, side, cost, fee in settled:
        market[currency] = market.get(currency, 0) + (cost if side == Side.BUY.value else -cost)
        fees[currency] = fees.get(currency, 0) + fee
    return StocksSummary(
        order_states={row[0]: row[1] for row in rows},
        unfinished=tuple(row[0] for row in rows if row[1] not in quiet),
        holds={row[0]: row[3] for row in rows if row[1] == OrderState.WORKING.value and row[2] == Side.BUY.value},
        settlements={
            row[0]: "post" if row[2] == Side.BUY.value else "credit"
            for row in rows
            if row[1] == OrderState.COMPLETED.value
        },
        market=market,
        fees=fees,
        open_commitments={row[0]: row[1] for row in opened},
    )


async def _wrong_totals(connection: Connection) -> list[Violation]:
    return [
        Violation("I3", f"stock {stock_id}", f"issued {issued}, held {held}")
        for stock_id, issued, held in await rows_of(connection, share_totals())
        if issued != held
    ]


async def _wrong_commitments(connection: Connection) -> list[Violation]:
    total = func.coalesce(func.sum(share_commitments.c.remaining), 0)
    statement = (
        select(holdings.c.id, holdings.c.committed, total)
        .outerjoin_from(holdings, share_commitments, share_commitments.c.holding_id == holdings.c.id)
        .group_by(holdings.c.id, holdings.c.committed)
        .having(total != holdings.c.committed)
    )
    return [
        Violation("I5", f"holding {holding_id}", f"shows {shown} committed, its open commitments sum to {committed}")
        for holding_id, shown, committed in await rows_of(connection, statement)
    ]


async def _wrong_reservations(connection: Connection) -> list[Violation]:
    """The reserved shares of every holding against the orders that have set them aside."""
    unfinished = select(orders.c.user_id, orders.c.stock_id, orders.c.side, orders.c.state, orders.c.quantity).where(
        orders.c.state.not_in([state.value for state in TERMINAL_STATES])
    )
    expected: dict[str, int] = {}
    for user_id, stock_id, side, state, quantity in await rows_of(connection, unfinished):
        executed = state == OrderState.EXECUTED.value
        if executed and side == Side.SELL.value:
            continue
        seller = MARKET if side == Side.BUY.value and not executed else user_id
        holding_id = holding_id_of(seller, stock_id)
        expected[holding_id] = expected.get(holding_id, 0) + quantity
    reserved = await rows_of(connection, select(holdings.c.id, holdings.c.reserved).where(holdings.c.reserved > 0))
    found = {row[0]: row[1] for row in reserved}
    return [
        Violation("I6", f"holding {key}", f"reserves {found.get(key, 0)}, its orders {expected.get(key, 0)}")
        for key in sorted(found.keys() | expected.keys())
        if found.get(key, 0) != expected.get(key, 0)
    ]


async def _wrong_fills(connection: Connection) -> list[Violation]:
    statement = select(orders.c.id, orders.c.state, fills.c.order_id).outerjoin_from(orders, fills)
    executed = {state.value for state in EXECUTED_STATES}
    return [
        Violation("I6", f"order {order_id}", f"is {state} {'with' if fill_id else 'without'} a fill")
        for order_id, state, fill_id in await rows_of(connection, statement)
        if (state in executed) is not (fill_id is not None)
    ]
