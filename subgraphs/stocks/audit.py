"""Whether the books of stocks are right, checked by SQL over everything.

I3  per stock, the shares of all holdings, the market's included, are those issued;
I4  every reserved share belongs to an order that is not over;
I5  every committed share belongs to an open share commitment;
I7  every order that is working or over has the answer stored that a repetition of its request gets;
I8  a holding has cost what its purchases did, less what the shares of its sales had cost.

Each check is one statement and so sees one state of the database, even while the service is being used. `summarize`
states what other services' books can be compared with once all is quiet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Subquery, and_, case, func, or_, select, union_all

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.invariants import Violation
from subgraphs.stocks.rules import MARKET
from subgraphs.stocks.rules_orders import PUBLIC_STATUS, TERMINAL_STATES, OrderState, OrderStatus, Side
from subgraphs.stocks.tables import fills, holdings, orders, share_commitments, stocks

RESERVING_STATES = (
    OrderState.NEW,
    OrderState.RESERVED,
    OrderState.WORKING,
    OrderState.TRIGGERED,
    OrderState.REJECTING,
    OrderState.CANCELLING,
    OrderState.EXPIRING,
)
"""Before the pivot an order reserves the seller's shares (a buyer's order: the market's) until they are given back."""


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """An order as other services' books know it. Amounts are minor units; cost and fee are 0 without a fill."""

    side: Side
    state: OrderState
    currency: str
    hold_amount: int
    cost: int
    fee: int


@dataclass(frozen=True, slots=True)
class StocksSummary:
    """What stocks knows that other services' books must agree with."""

    orders: Mapping[str, OrderSummary]
    """Every order, by id."""
    open_commitments: Mapping[str, int]
    """Authorization id -> the shares that remain of it."""


async def audit(database: Database) -> tuple[Violation, ...]:
    """Every violation of I3, I4, I5, I7 and I8 in this database; none means that the books are right."""
    async with database.reading() as connection:
        return (
            *await _wrong_totals(connection),
            *await _wrong_reservations(connection),
            *await _wrong_commitments(connection),
            *await _wrong_answers(connection),
            *await _wrong_costs(connection),
        )


async def summarize(database: Database) -> StocksSummary:
    """What other services' books are compared with."""
    ordered = select(
        orders.c.id,
        orders.c.side,
        orders.c.state,
        orders.c.currency,
        orders.c.hold_amount,
        func.coalesce(fills.c.cost, 0).label("cost"),
        func.coalesce(fills.c.fee, 0).label("fee"),
    ).outerjoin_from(orders, fills)
    committed = select(share_commitments.c.authorization_id, share_commitments.c.remaining).where(
        share_commitments.c.state == "open"
    )
    async with database.reading() as connection:
        return StocksSummary(
            orders={
                row.id: OrderSummary(
                    Side(row.side), OrderState(row.state), row.currency, row.hold_amount, row.cost, row.fee
                )
                for row in (await connection.execute(ordered)).all()
            },
            open_commitments={
                row.authorization_id: row.remaining for row in (await connection.execute(committed)).all()
            },
        )


async def _wrong_totals(connection: Connection) -> list[Violation]:
    held = func.coalesce(func.sum(holdings.c.free + holdings.c.committed + holdings.c.reserved), 0)
    statement = (
        select(stocks.c.symbol, stocks.c.issued, held.label("held"))
        .outerjoin_from(stocks, holdings)
        .group_by(stocks.c.id, stocks.c.symbol, stocks.c.issued)
        .having(held != stocks.c.issued)
    )
    return [
        Violation("I3", f"stock {row.symbol}", f"{row.issued} issued, {row.held} held")
        for row in (await connection.execute(statement)).all()
    ]


async def _wrong_reservations(connection: Connection) -> list[Violation]:
    waiting, buys = orders.c.state.in_(RESERVING_STATES), orders.c.side == Side.BUY
    of_market = and_(holdings.c.stock_id == orders.c.stock_id, holdings.c.user_id == MARKET)
    bought = and_(buys, orders.c.state == OrderState.EXECUTED)
    both = union_all(
        select(holdings.c.id.label("id"), holdings.c.reserved.label("shares")),
        select(holdings.c.id, -orders.c.quantity).join_from(orders, holdings, of_market).where(buys, waiting),
        select(orders.c.holding_id, -orders.c.quantity).where(or_(and_(~buys, waiting), bought)),
    ).subquery()
    return await _differences(connection, "I4", both, "reserved shares without an order")


async def _wrong_commitments(connection: Connection) -> list[Violation]:
    both = union_all(
        select(holdings.c.id.label("id"), holdings.c.committed.label("shares")),
        select(share_commitments.c.holding_id, -share_commitments.c.remaining),
    ).subquery()
    return await _differences(connection, "I5", both, "committed shares without a commitment")


async def _wrong_costs(connection: Connection) -> list[Violation]:
    changed = case((orders.c.side == Side.BUY, fills.c.cost), else_=-func.coalesce(fills.c.basis, 0))
    both = union_all(
        select(holdings.c.id.label("id"), holdings.c.cost.label("shares")),
        select(orders.c.holding_id, -changed).join_from(orders, fills),
    ).subquery()
    return await _differences(connection, "I8", both, "of cost without a trade")


async def _wrong_answers(connection: Connection) -> list[Violation]:
    answered = [OrderState.WORKING, *TERMINAL_STATES]
    kept = (and_(orders.c.state == state, orders.c.answer == PUBLIC_STATUS[state]) for state in TERMINAL_STATES)
    reasoned = or_(orders.c.answer != OrderStatus.REJECTED, orders.c.reason.is_not(None))
    right = and_(or_(orders.c.answer == OrderStatus.WORKING, *kept), reasoned)
    statement = select(orders.c.id, orders.c.state).where(
        orders.c.state.in_(answered), func.coalesce(case((right, 1), else_=0), 0) == 0
    )
    return [
        Violation("I7", f"order {row.id}", f"is {row.state} and has no answer of its own")
        for row in (await connection.execute(statement)).all()
    ]


async def _differences(connection: Connection, invariant: str, both: Subquery, words: str) -> list[Violation]:
    difference = func.sum(both.c.shares)
    statement = select(both.c.id, difference.label("difference")).group_by(both.c.id).having(difference != 0)
    return [
        Violation(invariant, f"holding {row.id}", f"{row.difference} {words}")
        for row in (await connection.execute(statement)).all()
    ]
