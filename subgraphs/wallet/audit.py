"""Whether the wallet's books are right: invariants I1, I2 and I7, checked by SQL over the whole journal.

I1  every operation sums to zero per currency, so all accounts do; every balance is the sum of its postings;
    every user's list of transactions adds up to what the user has;
I2  no account of a user is negative, and no closed one holds money;
I7  every request has the answer stored that a repetition gets.

Each check is one statement and so sees one state of the database, even while the wallet is being used. `summarize`
states what other services' books can be compared with once all is quiet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, Label, and_, case, cast, func, or_, select, union_all

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.idempotency import unanswered_keys
from subgraphs.shared.invariants import Violation
from subgraphs.wallet.rules import UNDERDRAWN_KINDS
from subgraphs.wallet.rules_operations import OPERATION_NAMES
from subgraphs.wallet.tables import IS_OPEN, accounts, idempotency_keys, operations, postings, transactions


@dataclass(frozen=True, slots=True)
class Settlement:
    """An operation that ended an order with money moving: what the market and the fees account gained, minor units."""

    op: str
    market: int
    fees: int


@dataclass(frozen=True, slots=True)
class WalletSummary:
    """What the wallet knows that other services' books must agree with. Amounts are minor units."""

    pending_holds: Mapping[str, int]
    """Order id -> money still held for it."""
    settlements: Mapping[str, tuple[Settlement, ...]]
    """Order id -> its posts and credits."""
    open_commitments: Mapping[str, int]
    """Authorization id -> what remains of it."""
    market: Mapping[str, int]
    """Currency -> balance of the market account."""
    fees: Mapping[str, int]
    """Currency -> balance of the fees account."""


async def audit(database: Database) -> tuple[Violation, ...]:
    """Every violation of I1, I2 and I7 in the wallet's database; none means that the books are right."""
    async with database.reading() as connection:
        return (
            *await _unbalanced_operations(connection),
            *await _wrong_balances(connection),
            *await _wrong_signs(connection),
            *await _wrong_lists(connection),
            *await _missing_answers(connection),
        )


async def summarize(database: Database) -> WalletSummary:
    """What other services' books are compared with."""
    held = select(accounts.c.id, accounts.c.balance).where(accounts.c.kind == "hold", IS_OPEN)
    committed = select(accounts.c.authorization_id, accounts.c.balance).where(accounts.c.kind == "commitment", IS_OPEN)
    outside = select(accounts.c.kind, accounts.c.currency, accounts.c.balance).where(
        accounts.c.kind.in_(("market", "fees"))
    )
    async with database.reading() as connection:
        holds = {row.id.removeprefix("hold:"): row.balance for row in (await connection.execute(held)).all()}
        commitments = {row.authorization_id: row.balance for row in (await connection.execute(committed)).all()}
        house = (await connection.execute(outside)).all()
        settlements = await _settlements(connection)
    return WalletSummary(
        pending_holds=holds,
        settlements=settlements,
        open_commitments=commitments,
        market={row.currency: row.balance for row in house if row.kind == "market"},
        fees={row.currency: row.balance for row in house if row.kind == "fees"},
    )


async def _settlements(connection: Connection) -> dict[str, tuple[Settlement, ...]]:
    def gained(kind: str) -> Label[int]:
        amount = case((accounts.c.kind == kind, postings.c.amount), else_=0)
        return cast(func.coalesce(func.sum(amount), 0), BigInteger).label(kind)

    statement = (
        select(operations.c.id, operations.c.op, gained("market"), gained("fees"))
        .outerjoin(postings, and_(postings.c.operation_id == operations.c.id, postings.c.op == operations.c.op))
        .outerjoin(accounts, accounts.c.id == postings.c.account_id)
        .where(operations.c.op.in_(("post", "credit")), operations.c.refusal.is_(None))
        .group_by(operations.c.id, operations.c.op)
        .order_by(operations.c.id, operations.c.op)
    )
    found: dict[str, tuple[Settlement, ...]] = {}
    for row in (await connection.execute(statement)).all():
        found[row.id] = (*found.get(row.id, ()), Settlement(row.op, row.market, row.fees))
    return found


async def _unbalanced_operations(connection: Connection) -> list[Violation]:
    total = func.sum(postings.c.amount).label("total")
    statement = (
        select(postings.c.operation_id, postings.c.op, accounts.c.currency, total)
        .join(accounts, accounts.c.id == postings.c.account_id)
        .group_by(postings.c.operation_id, postings.c.op, accounts.c.currency)
        .having(func.sum(postings.c.amount) != 0)
    )
    return [
        Violation("I1", f"{row.op} {row.operation_id}", f"sums to {row.total} {row.currency}")
        for row in (await connection.execute(statement)).all()
    ]


async def _wrong_balances(connection: Connection) -> list[Violation]:
    total = func.coalesce(func.sum(postings.c.amount), 0)
    statement = (
        select(accounts.c.id, accounts.c.balance, total.label("total"))
        .outerjoin(postings, postings.c.account_id == accounts.c.id)
        .group_by(accounts.c.id, accounts.c.balance)
        .having(total != accounts.c.balance)
    )
    return [
        Violation("I1", row.id, f"balance {row.balance}, postings sum to {row.total}")
        for row in (await connection.execute(statement)).all()
    ]


async def _wrong_signs(connection: Connection) -> list[Violation]:
    negative = and_(accounts.c.kind.not_in(UNDERDRAWN_KINDS), accounts.c.balance < 0)
    closed_with_money = and_(accounts.c.state != "open", accounts.c.balance != 0)
    statement = select(accounts.c.id, accounts.c.state, accounts.c.balance).where(or_(negative, closed_with_money))
    return [
        Violation("I2", row.id, f"{row.state} with balance {row.balance}")
        for row in (await connection.execute(statement)).all()
    ]


async def _wrong_lists(connection: Connection) -> list[Violation]:
    sign = case((transactions.c.direction == "in", -1), (transactions.c.direction == "out", 1), else_=0)
    both = union_all(
        select(accounts.c.owner_id.label("user_id"), accounts.c.currency, accounts.c.balance.label("amount")).where(
            accounts.c.owner_id.is_not(None)
        ),
        select(transactions.c.user_id, transactions.c.currency, (sign * transactions.c.amount).label("amount")),
    ).subquery()
    difference = func.sum(both.c.amount)
    statement = (
        select(both.c.user_id, both.c.currency, difference.label("difference"))
        .group_by(both.c.user_id, both.c.currency)
        .having(difference != 0)
    )
    return [
        Violation("I1", f"user {row.user_id}", f"has {row.difference} {row.currency} more than the transactions say")
        for row in (await connection.execute(statement)).all()
    ]


async def _missing_answers(connection: Connection) -> list[Violation]:
    statement = select(operations.c.id, operations.c.op).where(
        operations.c.op.in_(OPERATION_NAMES), operations.c.answer.is_(None), operations.c.refusal.is_(None)
    )
    unanswered = [f"{row.op} {row.id}" for row in (await connection.execute(statement)).all()]
    keys = [f"a key of {namespace}" for namespace in await unanswered_keys(connection, idempotency_keys)]
    return [Violation("I7", subject, "has no stored answer") for subject in (*unanswered, *keys)]
