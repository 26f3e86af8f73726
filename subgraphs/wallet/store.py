"""The SQL statements of the wallet. Functions take the connection of the caller's transaction and decide nothing.

A transaction asks for the time once and hands it down as `at`: on PostgreSQL each question is a round trip.

What a user may see is filtered here: each function that reads for a viewer takes the viewer's id into its WHERE.
Statements are built once, with bound parameters: SQLAlchemy then remembers how each compiles, which makes running one
three to seven times cheaper than building it anew. `audit.py` has the statements that check the books.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Row, Text, and_, bindparam, case, cast, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from subgraphs.shared.database import Connection
from subgraphs.wallet.rules import (
    Account,
    AccountKind,
    AccountState,
    Commitment,
    Posting,
    Transaction,
    TransactionKind,
    commitment_account_id,
)
from subgraphs.wallet.tables import IS_OPEN, accounts, operations, outbox, postings, transactions

BALANCE_EVENT = "balance"
"""What events of balances are called; a currency's code is the entity's id."""

# ---- operations ----


@dataclass(frozen=True, slots=True)
class StoredOperation:
    """An operation that came before: what was asked, and the result as JSON text or the code of the refusal."""

    fingerprint: str
    answer: str | None
    refusal: str | None


_CLAIM = {
    "sqlite": sqlite.insert(operations).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(operations).on_conflict_do_nothing(),
}
_OPERATION = and_(operations.c.id == bindparam("operation_id"), operations.c.op == bindparam("operation"))
_SELECT_OPERATION = select(operations.c.fingerprint, operations.c.answer, operations.c.refusal).where(_OPERATION)
_STORE_ANSWER = (
    update(operations)
    .where(_OPERATION)
    .values(answer=bindparam("new_answer", type_=Text), refusal=bindparam("new_refusal", type_=Text))
)


async def claim_operation(
    connection: Connection, operation_id: str, op: str, *, actor: str, fingerprint: str, at: int
) -> bool:
    """Inserts the operation's row; False when it was there. A concurrent duplicate waits here for the first to end."""
    values = {
        "id": operation_id,
        "op": op,
        "actor": actor,
        "fingerprint": fingerprint,
        "created_at": at,
    }
    return (await connection.execute(_CLAIM[connection.dialect], values)).rowcount == 1


async def stored_operation(connection: Connection, operation_id: str, op: str) -> StoredOperation:
    """The operation that `claim_operation` found."""
    parameters = {"operation_id": operation_id, "operation": op}
    row = (await connection.execute(_SELECT_OPERATION, parameters)).one()
    return StoredOperation(row.fingerprint, row.answer, row.refusal)


async def store_answer(
    connection: Connection, operation_id: str, op: str, *, answer: str | None, refusal: str | None
) -> None:
    """Stores what every repetition of the operation gets: the result as JSON text, or the refusal's code."""
    parameters = {"operation_id": operation_id, "operation": op, "new_answer": answer, "new_refusal": refusal}
    await connection.execute(_STORE_ANSWER, parameters)


# ---- accounts and postings ----

_ACCOUNT_COLUMNS = (
    accounts.c.id,
    accounts.c.kind,
    accounts.c.currency,
    accounts.c.owner_id,
    accounts.c.authorization_id,
    accounts.c.broker_id,
    accounts.c.state,
    accounts.c.balance,
)
_INSERT_ACCOUNT = {
    "sqlite": sqlite.insert(accounts).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(accounts).on_conflict_do_nothing(),
}
_FIND_ACCOUNT = select(*_ACCOUNT_COLUMNS).where(accounts.c.id == bindparam("account_id"))
_READ_ACCOUNTS = (
    select(*_ACCOUNT_COLUMNS).where(accounts.c.id.in_(bindparam("account_ids", expanding=True))).order_by(accounts.c.id)
)
_LOCK_ACCOUNTS = {"sqlite": _READ_ACCOUNTS, "postgresql": _READ_ACCOUNTS.with_for_update()}
_ADD = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(balance=accounts.c.balance + bindparam("delta", type_=BigInteger))
)
_SET_STATE = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(
        state=bindparam("new_state", type_=Text),
        closed_at=func.coalesce(accounts.c.closed_at, bindparam("at", type_=BigInteger)),
    )
)
_INSERT_POSTINGS = insert(postings)


async def insert_account(connection: Connection, account: Account, *, at: int) -> bool:
    """Inserts an empty account; False when it was there, after waiting for a transaction that is inserting it."""
    values = _account_values(account, at)
    return (await connection.execute(_INSERT_ACCOUNT[connection.dialect], values)).rowcount == 1


async def find_account(connection: Connection, account_id: str) -> Account | None:
    """An account, unlocked: only what never changes may be relied on."""
    row = (await connection.execute(_FIND_ACCOUNT, {"account_id": account_id})).one_or_none()
    return None if row is None else _account(row)


async def lock_accounts(connection: Connection, account_ids: Sequence[str]) -> dict[str, Account]:
    """The accounts that exist, locked in the order of their ids until the transaction ends."""
    if not account_ids:
        return {}
    parameters = {"account_ids": list(account_ids)}
    rows = (await connection.execute(_LOCK_ACCOUNTS[connection.dialect], parameters)).all()
    return {row.id: _account(row) for row in rows}


async def record_postings(
    connection: Connection, operation_id: str, op: str, lines: Sequence[Posting], *, existing: Collection[str], at: int
) -> None:
    """Writes a journal entry and moves the balances, in the order of account ids.

    Accounts that are not among `existing` are opened first where they are missing.
    """
    if not lines:
        return
    opened = [_account_values(line.account, at) for line in lines if line.account.id not in existing]
    if opened:
        await connection.execute(_INSERT_ACCOUNT[connection.dialect], opened)
    await connection.execute(_ADD, [{"account": line.account.id, "delta": line.amount} for line in lines])
    await connection.execute(
        _INSERT_POSTINGS,
        [
            {"operation_id": operation_id, "op": op, "account_id": line.account.id, "amount": line.amount}
            for line in lines
        ],
    )
    for line in lines:
        if line.account.owner_id is not None:
            outbox.note(connection, line.account.owner_id, BALANCE_EVENT, line.account.currency, at)


async def set_state(connection: Connection, account_id: str, state: AccountState, *, at: int) -> None:
    """Shuts a hold or a commitment, which must be empty."""
    parameters = {"account": account_id, "new_state": state, "at": at}
    await connection.execute(_SET_STATE, parameters)


def _account_values(account: Account, at: int) -> dict[str, object]:
    return {
        "id": account.id,
        "kind": account.kind,
        "currency": account.currency,
        "owner_id": account.owner_id,
        "authorization_id": account.authorization_id,
        "broker_id": account.broker_id,
        "state": account.state,
        "created_at": at,
        "closed_at": None if account.is_open else at,
    }


def _account(row: Row[Any]) -> Account:
    columns: tuple[Any, ...] = tuple(row)
    return Account(*columns)


# ---- what users see ----


_BALANCE_SUMS = (
    select(accounts.c.kind, accounts.c.currency, cast(func.sum(accounts.c.balance), BigInteger).label("total"))
    .where(accounts.c.owner_id == bindparam("viewer_id"), IS_OPEN)
    .group_by(accounts.c.kind, accounts.c.currency)
)
_COMMITMENTS = select(accounts.c.authorization_id, accounts.c.currency, accounts.c.balance, accounts.c.state).where(
    accounts.c.id.in_(bindparam("account_ids", expanding=True)),
    or_(accounts.c.owner_id == bindparam("viewer_id"), accounts.c.broker_id == bindparam("viewer_id")),
)


async def balance_sums(connection: Connection, viewer_id: str) -> list[tuple[AccountKind, str, int]]:
    """The viewer's money: (kind of account, currency, minor units)."""
    rows = (await connection.execute(_BALANCE_SUMS, {"viewer_id": viewer_id})).all()
    return [(row.kind, row.currency, row.total) for row in rows]


async def commitments_by_id(
    connection: Connection, viewer_id: str, authorization_ids: Collection[str]
) -> dict[str, Commitment]:
    """Those of the authorizations' commitments that the viewer gave or was given, by the authorization's id."""
    account_ids = [commitment_account_id(key) for key in authorization_ids]
    rows = (await connection.execute(_COMMITMENTS, {"account_ids": account_ids, "viewer_id": viewer_id})).all()
    return {
        row.authorization_id: Commitment(row.authorization_id, row.currency, row.balance, row.state) for row in rows
    }


_TRANSACTION_COLUMNS = (
    transactions.c.id,
    transactions.c.user_id,
    transactions.c.kind,
    transactions.c.direction,
    transactions.c.currency,
    transactions.c.amount,
    transactions.c.created_at,
    transactions.c.order_id,
    transactions.c.authorization_id,
    transactions.c.position,
)
_INSERT_TRANSACTIONS = insert(transactions)
_MONTH_TRANSACTIONS = (
    select(*_TRANSACTION_COLUMNS)
    .where(
        transactions.c.user_id == bindparam("viewer_id"),
        transactions.c.created_at >= bindparam("start"),
        transactions.c.created_at < bindparam("end"),
    )
    .order_by(transactions.c.position)
    .limit(bindparam("count"))
)
_SIGNED = case(
    (transactions.c.direction == "in", transactions.c.amount),
    (transactions.c.direction == "out", -transactions.c.amount),
    else_=0,
)
_TOTAL_BEFORE = (
    select(transactions.c.currency, func.sum(_SIGNED).label("total"))
    .where(transactions.c.user_id == bindparam("viewer_id"), transactions.c.created_at < bindparam("moment"))
    .group_by(transactions.c.currency)
)
_FIND_TRANSACTIONS = select(*_TRANSACTION_COLUMNS).where(
    transactions.c.id.in_(bindparam("transaction_ids", expanding=True)),
    transactions.c.user_id == bindparam("viewer_id"),
)


async def add_transactions(connection: Connection, lines: Iterable[Transaction], *, at: int) -> None:
    """Appends lines to their users' lists."""
    rows = [line for line in lines if line.amount]
    if not rows:
        return
    await connection.execute(
        _INSERT_TRANSACTIONS,
        [
            {
                "id": line.id,
                "user_id": line.user_id,
                "kind": line.kind,
                "direction": line.direction,
                "currency": line.currency,
                "amount": line.amount,
                "order_id": line.order_id,
                "authorization_id": line.authorization_id,
                "created_at": at,
            }
            for line in rows
        ],
    )


async def list_transactions(
    connection: Connection, viewer_id: str, *, kind: TransactionKind | None, before: int | None, limit: int
) -> list[Transaction]:
    """The viewer's lines, newest first, up to `limit`; `before` is the position of the last line already seen."""
    statement = select(*_TRANSACTION_COLUMNS).where(transactions.c.user_id == viewer_id)
    if kind is not None:
        statement = statement.where(transactions.c.kind == kind)
    if before is not None:
        statement = statement.where(transactions.c.position < before)
    statement = statement.order_by(transactions.c.position.desc()).limit(limit)
    return [_transaction(row) for row in (await connection.execute(statement)).all()]


async def month_transactions(
    connection: Connection, viewer_id: str, *, start: int, end: int, limit: int
) -> list[Transaction]:
    """The viewer's lines of a time, first one first, up to `limit`; `end` is no longer in it."""
    parameters = {"viewer_id": viewer_id, "start": start, "end": end, "count": limit}
    return [_transaction(row) for row in (await connection.execute(_MONTH_TRANSACTIONS, parameters)).all()]


async def total_before(connection: Connection, viewer_id: str, moment: int) -> dict[str, int]:
    """What all the viewer's lines before that moment come to, in minor units per currency."""
    parameters = {"viewer_id": viewer_id, "moment": moment}
    rows = (await connection.execute(_TOTAL_BEFORE, parameters)).all()
    return {row.currency: int(row.total) for row in rows}


async def find_transactions(
    connection: Connection, viewer_id: str, transaction_ids: Collection[str]
) -> dict[str, Transaction]:
    """Those of the transactions that are the viewer's, by id."""
    parameters = {"transaction_ids": list(transaction_ids), "viewer_id": viewer_id}
    rows = (await connection.execute(_FIND_TRANSACTIONS, parameters)).all()
    return {row.id: _transaction(row) for row in rows}


def _transaction(row: Row[Any]) -> Transaction:
    columns: tuple[Any, ...] = tuple(row)
    return Transaction(*columns)
