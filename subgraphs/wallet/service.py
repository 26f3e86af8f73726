"""What the wallet does for its callers. Both faces and the system route come here; each method decides who may.

Writes are one transaction each. `apply` carries out the system operations of `rules_operations`; the order in which it
takes locks is the same for all of them: the operation's own row, its gate, then accounts in the order of their ids.
"""

import hashlib
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Literal

import orjson

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller, require_service, require_user
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import NOT_FOUND, ONLY_THE_USER, RESULT_TOO_LARGE, ErrorCode, Refusal
from subgraphs.shared.idempotency import (
    IdempotencyKey,
    StoredAnswer,
    claim,
    forget_refusals,
    idempotency_key,
    keep_refusal,
    store_result,
)
from subgraphs.shared.money import decimals_of, format_amount, parse_amount
from subgraphs.shared.months import LINES_MAX, Month
from subgraphs.shared.outbox import Change
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.wallet import store
from subgraphs.wallet.rules import (
    OPERATION_REUSED,
    PERMITTED_OPERATIONS,
    WALLET_CODES,
    Balance,
    Commitment,
    Direction,
    Transaction,
    TransactionKind,
    available_account,
    balances_of,
    move_money,
    require_permitted,
)
from subgraphs.wallet.rules_operations import (
    Decision,
    Operation,
    Result,
    Standing,
    accounts_to_lock,
    decide,
    gate_of,
    hold_id_of,
)
from subgraphs.wallet.rules_statements import Statement, statement_of
from subgraphs.wallet.tables import audit_log, idempotency_keys, outbox

CREATE_ROUTE = "POST /transactions"
"""The namespace of idempotency keys: the same key means the same transaction through either face."""

TRANSACTION_LIST = "transactions"
"""The list's name in its cursors."""

_CODES = {code.code: code for code in WALLET_CODES}


@dataclass(frozen=True, slots=True)
class Answered:
    """An operation's result, and whether it is the stored one of an earlier request."""

    result: Result
    replayed: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """A deposit or withdrawal that was carried out, the key it was sent under, and whether it is a repetition."""

    transaction: Transaction
    key: str
    replayed: bool


class WalletService:
    """The wallet's use cases over its database."""

    def __init__(self, database: Database, *, refusal_retention_days: int = 30, events_kept_days: int = 7) -> None:
        self._database = database
        self._refusal_retention_days = refusal_retention_days
        self._events_kept_days = events_kept_days

    # ---- reading ----

    async def balances(self, caller: Caller, *, of_user: str | None = None) -> tuple[Balance, ...]:
        """A user's money, one balance per currency they ever had.

        Args:
            of_user: whose money; anybody's but the caller's own raises Refusal `not-found`. None is the caller.
        """
        viewer = _require_self(caller, of_user)
        async with self._database.reading() as connection:
            return balances_of(await store.balance_sums(connection, viewer.id))

    async def balance(self, caller: Caller, currency: str, *, of_user: str | None = None) -> Balance:
        """A user's money in one currency, zero if there was none; raises Refusal `unknown-currency`, `not-found`."""
        decimals_of(currency)
        found = [balance for balance in await self.balances(caller, of_user=of_user) if balance.currency == currency]
        return found[0] if found else Balance(currency)

    def changes(self, caller: Caller, after: str | None) -> AsyncGenerator[Change[Balance], None]:
        """The caller's balances, each when it changes, for ever: see `Outbox.follow`.

        Args:
            after: the cursor of the last change that the caller knows; without it, from now on.

        Raises:
            Refusal: `unauthenticated`, `forbidden`, `invalid-cursor`, at once.
        """
        user = require_user(caller)

        async def load(_currencies: Collection[str]) -> dict[str, Balance]:
            return {balance.currency: balance for balance in await self.balances(user)}

        return outbox.follow(self._database, user.id, store.BALANCE_EVENT, outbox.position(after), load)

    async def transactions(
        self,
        caller: Caller,
        *,
        of_user: str | None = None,
        kind: TransactionKind | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[Transaction]:
        """A user's transactions, newest first. `after` is a cursor of an earlier page.

        Raises:
            Refusal: `invalid-cursor`, `invalid-request` for the limit, `not-found` for another user's list.
        """
        viewer, count = _require_self(caller, of_user), page_limit(limit)
        before = None if after is None else int(decode_cursor(after, TRANSACTION_LIST, int)[0])
        async with self._database.reading() as connection:
            found = await store.list_transactions(connection, viewer.id, kind=kind, before=before, limit=count + 1)
        return page_of(found, [encode_cursor(TRANSACTION_LIST, transaction.position) for transaction in found], count)

    async def transaction(self, caller: Caller, transaction_id: str) -> Transaction:
        """One of the caller's transactions; raises Refusal `not-found` for a missing one and another user's alike."""
        found = await self.transactions_by_id(caller, [transaction_id])
        if transaction_id not in found:
            raise Refusal(NOT_FOUND)
        return found[transaction_id]

    async def transactions_by_id(self, caller: Caller, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        """Those of the transactions that are the caller's, by id."""
        viewer = require_user(caller)
        async with self._database.reading() as connection:
            return await store.find_transactions(connection, viewer.id, transaction_ids)

    async def statement(self, caller: Caller, month: Month, *, of_user: str | None = None) -> Statement:
        """A user's month. Whatever is booked while it is read, its lines and its balances agree.

        Raises:
            Refusal: `not-found` for another user's; `result-too-large` for a month of more than `LINES_MAX` lines.
        """
        viewer = _require_self(caller, of_user)
        async with self._database.reading() as connection:
            lines = await store.month_transactions(
                connection, viewer.id, start=month.start, end=month.end, limit=LINES_MAX + 1
            )
            opening = await store.total_before(connection, viewer.id, month.start)
        if len(lines) > LINES_MAX:
            raise Refusal(
                RESULT_TOO_LARGE, f"This month has more than {LINES_MAX} lines. Read the list of transactions."
            )
        return statement_of(viewer.id, month, opening, lines)

    async def commitment(self, caller: Caller, authorization_id: str) -> Commitment:
        """What remains of a mandate over money, for its two parties; raises Refusal `not-found` for any other."""
        found = await self.commitments_by_id(caller, [authorization_id])
        if authorization_id not in found:
            raise Refusal(NOT_FOUND)
        return found[authorization_id]

    async def commitments_by_id(self, caller: Caller, authorization_ids: Collection[str]) -> dict[str, Commitment]:
        """Those of the authorizations' commitments that the caller gave or was given, by the authorization's id."""
        viewer = require_user(caller)
        async with self._database.reading() as connection:
            return await store.commitments_by_id(connection, viewer.id, authorization_ids)

    # ---- deposits and withdrawals ----

    async def move(
        self, caller: Caller, kind: Literal["deposit", "withdraw"], currency: str, amount: str, *, key: str | None
    ) -> Moved:
        """Deposits or withdraws the caller's money, once per Idempotency-Key `key`; None makes a new key.

        Raises:
            Refusal: `invalid-amount`, `unknown-currency`, `insufficient-funds`, `balance-limit`,
                `idempotency-key-reused`, `invalid-idempotency-key`.
        """
        user = require_user(caller)
        minor = parse_amount(amount, currency)
        request = {"type": kind, "currency": currency, "amount": minor}
        claimed = idempotency_key(user.id, CREATE_ROUTE, key, request)
        direction: Direction = "in" if kind == "deposit" else "out"
        asked = Transaction(claimed.object_id, user.id, kind, direction, currency, minor)
        try:
            transaction, replayed = await self._database.write(lambda opened: _move_once(opened, asked, claimed))
        except Refusal as refusal:
            stored = await keep_refusal(self._database, idempotency_keys, claimed, refusal)
            transaction, replayed = _read_transaction(stored), True
        return Moved(transaction, claimed.key, replayed)

    async def forget(self) -> None:
        """Deletes refusals and events that are kept no longer."""
        await outbox.purge(self._database, days=self._events_kept_days)
        await forget_refusals(self._database, idempotency_keys, days=self._refusal_retention_days)

    # ---- system operations ----

    async def apply(self, caller: Caller, operation: Operation) -> Answered:
        """Carries out a system operation once, whatever the number of requests; see `rules_operations.py`.

        Raises:
            Refusal: the operation's stored refusal; `operation-reused` for a known (id, op) with another body;
                `operation-forbidden` for a service that may not send it, `forbidden` for a user.
        """
        require_permitted(require_service(caller, *PERMITTED_OPERATIONS).id, operation.op)

        async def work(connection: Connection) -> tuple[Result | ErrorCode, bool]:
            return await _apply_once(connection, operation, caller)

        answer, replayed = await self._database.write(work)
        if isinstance(answer, ErrorCode):
            raise Refusal(answer)
        return Answered(answer, replayed)


async def _move_once(connection: Connection, asked: Transaction, key: IdempotencyKey) -> tuple[Transaction, bool]:
    stored = await claim(connection, idempotency_keys, key)
    if stored is not None:
        return _read_transaction(stored), True
    at = await connection.now()
    account = available_account(asked.user_id, asked.currency)
    await store.insert_account(connection, account, at=at)
    locked = await store.lock_accounts(connection, [account.id])
    movement = move_money(asked, locked[account.id].balance)
    await store.claim_operation(
        connection, asked.id, asked.kind, actor=asked.user_id, fingerprint=key.fingerprint, at=at
    )
    await store.record_postings(connection, asked.id, asked.kind, movement.postings, existing=locked.keys(), at=at)
    await store.add_transactions(connection, [movement.transaction], at=at)
    done = (await store.find_transactions(connection, asked.user_id, [asked.id]))[asked.id]
    await store_result(connection, idempotency_keys, key, orjson.dumps(done).decode())
    await record(connection, audit_log, _movement_entry(done))
    return done, False


def _read_transaction(stored: StoredAnswer) -> Transaction:
    assert stored.result is not None, "a transaction commits together with its answer"
    return Transaction(**orjson.loads(stored.result))


async def _apply_once(connection: Connection, operation: Operation, caller: Caller) -> tuple[Result | ErrorCode, bool]:
    fingerprint, at = fingerprint_of(operation), await connection.now()
    claimed = await store.claim_operation(
        connection, operation.id, operation.op, actor=caller.id, fingerprint=fingerprint, at=at
    )
    if not claimed:
        stored = await store.stored_operation(connection, operation.id, operation.op)
        if stored.fingerprint != fingerprint:
            raise Refusal(OPERATION_REUSED)
        return _read_answer(stored), True
    standing = await _lock(connection, operation, at)
    decision = decide(operation, standing)
    await _carry_out(connection, operation, decision, standing, at)
    await record(connection, audit_log, _operation_entry(caller, operation, decision.answer))
    return decision.answer, False


async def _lock(connection: Connection, operation: Operation, at: int) -> Standing:
    gate, hold_id = gate_of(operation), hold_id_of(operation)
    fresh = gate is not None and await store.insert_account(connection, gate, at=at)
    hold = None if hold_id is None else await store.find_account(connection, hold_id)
    return Standing(await store.lock_accounts(connection, accounts_to_lock(operation, hold)), fresh)


async def _carry_out(
    connection: Connection, operation: Operation, decision: Decision, standing: Standing, at: int
) -> None:
    existing = standing.accounts.keys()
    await store.record_postings(connection, operation.id, operation.op, decision.postings, existing=existing, at=at)
    for account_id, state in decision.shut:
        await store.set_state(connection, account_id, state, at=at)
    await store.add_transactions(connection, decision.transactions, at=at)
    answer, refusal = _write_answer(decision.answer)
    await store.store_answer(connection, operation.id, operation.op, answer=answer, refusal=refusal)


def _require_self(caller: Caller, of_user: str | None) -> Caller:
    """The caller, if what is asked for is the caller's own: another user's money is as if it did not exist."""
    viewer = require_user(caller)
    if of_user not in (None, viewer.id):
        raise Refusal(NOT_FOUND, ONLY_THE_USER)
    return viewer


def fingerprint_of(operation: Operation) -> str:
    """A digest of all that an operation asks; equal requests have equal digests."""
    return hashlib.sha256(orjson.dumps(operation)).hexdigest()


def _write_answer(answer: Result | ErrorCode) -> tuple[str | None, str | None]:
    if isinstance(answer, ErrorCode):
        return None, answer.code
    return orjson.dumps(answer).decode(), None


def _read_answer(stored: store.StoredOperation) -> Result | ErrorCode:
    if stored.refusal is not None:
        return _CODES[stored.refusal]
    assert stored.answer is not None, "an operation commits together with its answer"
    return Result(**orjson.loads(stored.answer))


def _movement_entry(transaction: Transaction) -> AuditEntry:
    amount = format_amount(transaction.amount, transaction.currency)
    return AuditEntry(
        action=f"transaction.{transaction.kind}",
        actor=Caller(kind="user", id=transaction.user_id),
        subject=transaction.id,
        details={"amount": amount, "currency": transaction.currency},
    )


def _operation_entry(caller: Caller, operation: Operation, answer: Result | ErrorCode) -> AuditEntry:
    refused = {"refused": answer.code} if isinstance(answer, ErrorCode) else {}
    return AuditEntry(
        action=f"balance.{operation.op}",
        actor=caller,
        subject=operation.id,
        on_behalf_of=operation.investor_id,
        details={"operation": operation, **refused},
    )
