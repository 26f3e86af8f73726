"""Stocks, holdings and share commitments: what may be read, and how a commitment is opened, changed and closed.

Every private read names its viewer, and the store filters by the viewer. A commitment is decided under the locks of its
holding and of its own row, taken in that order.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import orjson

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller, require_service, require_user
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_REQUEST,
    NOT_FOUND,
    ONLY_THE_USER,
    PRECONDITION_FAILED,
    FieldError,
    Refusal,
)
from subgraphs.shared.money import format_quantity, parse_quantity
from subgraphs.shared.outbox import Change
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.stocks import store
from subgraphs.stocks.rules import (
    COMMITMENT_CLOSED,
    INSUFFICIENT_SHARES,
    UNKNOWN_AUTHORIZATION,
    Bar,
    Commitment,
    CommitmentAnswer,
    CommitmentState,
    Day,
    Holding,
    Interval,
    Quote,
    Stock,
)
from subgraphs.stocks.rules_sessions import start_of
from subgraphs.stocks.tables import audit_log, outbox

DAYS_MAX = 30
"""Trading days of a stock's history that one answer carries."""

BARS_MAX = 500
"""Bars of a chart that one answer carries: more than a screen shows."""

STOCK_LIST = "stocks"
HOLDING_LIST = "stockholdings"
TICK_LIST = "ticks"
"""The lists' names in their cursors."""


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What users asks for when an authorization is given or ends; `amount` is in quantity units, 0 for a close."""

    authorization_id: str
    holding_id: str
    investor_id: str
    broker_id: str
    amount: int = 0


class StocksService:
    """The use cases of stocks and holdings; those of orders and of the market stand beside it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stocks(self, *, after: str | None, limit: int | None) -> Page[Stock]:
        """The stocks by symbol, page by page; public."""
        count = page_limit(limit)
        symbol = str(decode_cursor(after, STOCK_LIST, str)[0]) if after is not None else None
        async with self._database.reading() as connection:
            found = await store.stocks_after(connection, symbol, count + 1)
        return page_of(found, [encode_cursor(STOCK_LIST, stock.symbol) for stock in found], count)

    async def stock(self, stock_id: str) -> Stock:
        """One stock; public. Raises Refusal `not-found`."""
        found = await self.stocks_by_id([stock_id])
        if stock_id not in found:
            raise Refusal(NOT_FOUND)
        return found[stock_id]

    async def stocks_by_id(self, ids: Iterable[str]) -> dict[str, Stock]:
        """The stocks of those ids; public."""
        async with self._database.reading() as connection:
            return await store.stocks_by_id(connection, ids)

    async def stocks_by_symbol(self, symbols: Iterable[str]) -> dict[str, Stock]:
        """The stocks of those symbols; public."""
        async with self._database.reading() as connection:
            return await store.stocks_by_symbol(connection, symbols)

    async def days(self, stock_id: str, limit: int) -> list[Day]:
        """The latest trading days of a stock, newest first; public."""
        async with self._database.reading() as connection:
            return await store.day_bars_of(connection, stock_id, min(limit, DAYS_MAX))

    async def history(self, stock_id: str, interval: Interval, limit: int) -> list[Bar]:
        """The latest bars of a stock, newest first; public."""
        count = min(limit, BARS_MAX)
        async with self._database.reading() as connection:
            if interval is not Interval.DAY:
                return await store.bars_of(connection, stock_id, interval, count)
            days = await store.day_bars_of(connection, stock_id, count)
        return [Bar(start_of(day.date), day.open, day.high, day.low, day.close) for day in days]

    async def ticks(
        self, stock_id: str, *, since: int | None, until: int | None, after: str | None, limit: int | None
    ) -> Page[Quote]:
        """A stock's prices, newest first, page by page; public.

        Args:
            since: milliseconds, the first moment whose prices are wanted.
            until: milliseconds, the first moment after those.

        Raises:
            Refusal: `not-found`; `invalid-request` where `since` is not before `until`.
        """
        count = page_limit(limit)
        if since is not None and until is not None and since >= until:
            message = "Name a time after `from`."
            raise Refusal(INVALID_REQUEST, message, fields=(FieldError("to", message),))
        below = int(decode_cursor(after, TICK_LIST, int)[0]) if after is not None else None
        await self.stock(stock_id)
        async with self._database.reading() as connection:
            found = await store.ticks_of(connection, stock_id, since=since, until=until, below=below, limit=count + 1)
        return page_of(found, [encode_cursor(TICK_LIST, tick.seq) for tick in found], count)

    async def holdings(self, caller: Caller, *, after: str | None, limit: int | None) -> Page[Holding]:
        """The caller's holdings by symbol, page by page; empty ones are left out."""
        user, count = require_user(caller), page_limit(limit)
        symbol = str(decode_cursor(after, HOLDING_LIST, str)[0]) if after is not None else None
        async with self._database.reading() as connection:
            found = await store.holdings_of(connection, user.id, after=symbol, limit=count + 1)
        return page_of(found, [encode_cursor(HOLDING_LIST, holding.stock.symbol) for holding in found], count)

    async def all_holdings(self, caller: Caller, user_id: str) -> list[Holding]:
        """Every holding of a user that is not empty; there are no more of them than stocks.

        Raises:
            Refusal: `not-found` for anybody but that user.
        """
        if require_user(caller).id != user_id:
            raise Refusal(NOT_FOUND, ONLY_THE_USER)
        async with self._database.reading() as connection:
            return await store.holdings_of(connection, user_id)

    async def holding(self, caller: Caller, holding_id: str, *, investor_id: str | None = None) -> Holding:
        """One holding: the caller's own; users asks for an investor's before a broker is authorized.

        Args:
            investor_id: whose holding it has to be; users alone may say so, and without it asks for anybody's.
        """
        if caller.kind == "service" or investor_id is not None:
            require_service(caller, "users")
            owner = investor_id
        else:
            owner = require_user(caller).id
        async with self._database.reading() as connection:
            found = await store.holdings_by_id(connection, [holding_id], owner)
        if holding_id not in found:
            raise Refusal(NOT_FOUND)
        return found[holding_id]

    async def holdings_by_id(self, caller: Caller, ids: Iterable[str]) -> dict[str, Holding]:
        """Those of the holdings that are the caller's own."""
        user = require_user(caller)
        async with self._database.reading() as connection:
            return await store.holdings_by_id(connection, ids, user.id)

    def changes(self, caller: Caller, after: str | None) -> AsyncGenerator[Change[Holding], None]:
        """The caller's holdings, each when it changes, for ever: see `Outbox.follow`.

        Args:
            after: the cursor of the last change that the caller knows; without it, from now on.

        Raises:
            Refusal: `unauthenticated`, `forbidden`, `invalid-cursor`, at once.
        """
        user = require_user(caller)
        load = partial(self.holdings_by_id, user)
        return outbox.follow(self._database, user.id, store.HOLDING_EVENT, outbox.position(after), load)

    async def commitment(self, caller: Caller, authorization_id: str) -> tuple[Commitment, Stock]:
        """What remains of a mandate over shares, for its two parties; raises Refusal `not-found` for any other."""
        found = await self.commitments(caller, [authorization_id])
        if authorization_id not in found:
            raise Refusal(NOT_FOUND)
        return found[authorization_id]

    async def commitments(self, caller: Caller, ids: Iterable[str]) -> Mapping[str, tuple[Commitment, Stock]]:
        """What remains under those authorizations, and of which stock, for their investor and their broker."""
        user = require_user(caller)
        async with self._database.reading() as connection:
            found = await store.commitments_by_id(connection, ids, user.id)
            of_holding = await store.stocks_of_holdings(connection, {item.holding_id for item in found.values()})
        return {
            key: (item, of_holding[item.holding_id]) for key, item in found.items() if item.holding_id in of_holding
        }

    async def set_commitment(
        self, caller: Caller, holding_id: str, authorization_id: str, amount: int, *, expected_version: int | None
    ) -> Holding:
        """Sets what an open commitment of the caller's holding amounts to; the difference comes from or goes to free.

        Raises:
            Refusal: `not-found`, `precondition-failed` when the holding is not at `expected_version`,
                `unknown-authorization`, `commitment-closed`, `insufficient-shares`.
        """
        user = require_user(caller)

        async def work(connection: Connection) -> Holding:
            holding = await store.lock_own_holding(connection, holding_id, user.id)
            if holding is None:
                raise Refusal(NOT_FOUND)
            if expected_version is not None and expected_version != holding.version:
                raise Refusal(PRECONDITION_FAILED)
            commitment = await store.lock_commitment_over(connection, holding_id, authorization_id)
            changed = _recommitted(holding, commitment, amount)
            now = await connection.now()
            await store.save_commitment(connection, changed, now)
            details = {"authorizationId": authorization_id, "amount": format_quantity(amount)}
            entry = AuditEntry("commitment.set", user, holding_id, details=details)
            await record(connection, audit_log, entry)
            assert commitment is not None
            return await _move_committed(connection, holding, amount - commitment.remaining, now)

        return await self._database.write(work)

    async def open_commitment(self, caller: Caller, request: CommitmentRequest) -> CommitmentAnswer:
        """Sets shares aside under a new authorization, once; for users.

        Raises:
            Refusal: `not-found` (no such holding of that investor), `insufficient-shares`, `commitment-closed` (its
                end came first), `idempotency-key-reused` (the same authorization, another request).
        """
        require_service(caller, "users")

        async def work(connection: Connection) -> CommitmentAnswer:
            holding = await store.lock_own_holding(connection, request.holding_id, request.investor_id)
            if holding is None:
                raise Refusal(NOT_FOUND)
            done = await _receipt(connection, request, "open")
            if done is not None:
                return done
            now = await connection.now()
            inserted, commitment = await store.insert_or_lock_commitment(connection, _opened(request), now)
            if not inserted:
                raise Refusal(COMMITMENT_CLOSED)
            if request.amount > holding.free:
                raise Refusal(
                    INSUFFICIENT_SHARES,
                    f"Only {format_quantity(holding.free)} more are free. {INSUFFICIENT_SHARES.remedy}",
                )
            await _move_committed(connection, holding, request.amount, now)
            answer = _answer(commitment, holding.stock, set_aside=request.amount)
            await _leave_receipt(connection, request, "open", answer, now)
            await record(connection, audit_log, _entry("commitment.open", caller, request))
            return answer

        return await self._database.write(work)

    async def close_commitment(self, caller: Caller, request: CommitmentRequest) -> CommitmentAnswer:
        """Ends a commitment for ever and frees what remains of it; for users.

        A close that comes before its opening leaves a tombstone, which refuses the opening.
        """
        require_service(caller, "users")

        async def work(connection: Connection) -> CommitmentAnswer:
            holding = await store.lock_holding(connection, request.holding_id)
            done = await _receipt(connection, request, "close")
            if done is not None:
                return done
            now = await connection.now()
            tombstone = replace(_opened(request), state=CommitmentState.CLOSED, remaining=0)
            _, commitment = await store.insert_or_lock_commitment(connection, tombstone, now)
            if commitment.holding_id != request.holding_id:
                raise Refusal(NOT_FOUND)
            await store.save_commitment(connection, replace(tombstone, holding_id=commitment.holding_id), now)
            if holding is not None and commitment.remaining:
                await _move_committed(connection, holding, -commitment.remaining, now)
            stock = None if holding is None else holding.stock
            answer = _answer(tombstone, stock, returned=commitment.remaining)
            await _leave_receipt(connection, request, "close", answer, now)
            await record(connection, audit_log, _entry("commitment.close", caller, request))
            return answer

        return await self._database.write(work)


def _recommitted(holding: Holding, commitment: Commitment | None, amount: int) -> Commitment:
    if commitment is None:
        raise Refusal(UNKNOWN_AUTHORIZATION, f"It commits no shares of this holding. {UNKNOWN_AUTHORIZATION.remedy}")
    if not commitment.open:
        raise Refusal(COMMITMENT_CLOSED)
    if amount - commitment.remaining > holding.free:
        raise Refusal(
            INSUFFICIENT_SHARES, f"Only {format_quantity(holding.free)} more are free. {INSUFFICIENT_SHARES.remedy}"
        )
    return replace(commitment, remaining=amount)


async def _move_committed(connection: Connection, holding: Holding, amount: int, now: int) -> Holding:
    """Moves `amount` from free to committed, back when negative; the holding as written."""
    moved = replace(holding, free=holding.free - amount, committed=holding.committed + amount)
    await store.save_holding(connection, moved, now)
    return replace(moved, version=holding.version + 1)


def _opened(request: CommitmentRequest) -> Commitment:
    return Commitment(
        authorization_id=request.authorization_id,
        investor_id=request.investor_id,
        broker_id=request.broker_id,
        holding_id=request.holding_id,
        state=CommitmentState.OPEN,
        remaining=request.amount,
    )


def _answer(commitment: Commitment, stock: Stock | None, **amounts: int) -> CommitmentAnswer:
    return CommitmentAnswer(
        authorization_id=commitment.authorization_id,
        stockholding_id=commitment.holding_id,
        stock_id=None if stock is None else stock.id,
        symbol=None if stock is None else stock.symbol,
        currency=None if stock is None else stock.currency,
        state=commitment.state,
        remaining=commitment.remaining,
        **amounts,
    )


def _entry(action: str, caller: Caller, request: CommitmentRequest) -> AuditEntry:
    details = {"holdingId": request.holding_id, "brokerId": request.broker_id}
    return AuditEntry(action, caller, request.authorization_id, on_behalf_of=request.investor_id, details=details)


def _fingerprint(request: CommitmentRequest) -> str:
    parts = (request.holding_id, request.investor_id, request.broker_id, str(request.amount))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


async def _receipt(connection: Connection, request: CommitmentRequest, op: str) -> CommitmentAnswer | None:
    stored = await store.operation_receipt(connection, request.authorization_id, op)
    if stored is None:
        return None
    fingerprint, result = stored
    if fingerprint != _fingerprint(request):
        raise Refusal(IDEMPOTENCY_KEY_REUSED)
    return _read(orjson.loads(result))


async def _leave_receipt(
    connection: Connection, request: CommitmentRequest, op: str, answer: CommitmentAnswer, now: int
) -> None:
    text = orjson.dumps(_written(answer)).decode()
    await store.insert_receipt(connection, request.authorization_id, op, _fingerprint(request), text, now)


_AMOUNTS = ("remaining", "set_aside", "returned")


def _written(answer: CommitmentAnswer) -> dict[str, object]:
    """An answer as its receipt keeps it: quantities as decimals, and only those that there are."""
    values = {name: value for name, value in asdict(answer).items() if value is not None or name not in _AMOUNTS}
    return {**values, **{name: format_quantity(values[name]) for name in _AMOUNTS if name in values}}


def _read(values: dict[str, Any]) -> CommitmentAnswer:
    amounts = {name: parse_quantity(values[name], zero_allowed=True) for name in _AMOUNTS if name in values}
    return CommitmentAnswer(**{**values, **amounts, "state": CommitmentState(values["state"])})
