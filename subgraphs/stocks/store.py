"""Every SQL statement about stocks, ticks, holdings and share commitments. Orders stand in `store_orders`.

Rows leave as entities of `rules`. Private rows are filtered by their owner here, in SQL. Writers lock in one order:
stock, order, holdings by id, commitments by id.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Executable

from subgraphs.shared.database import Connection, insert_or_ignore, locked
from subgraphs.stocks.rules import (
    INTERVAL_MS,
    MARKET,
    Bar,
    Commitment,
    CommitmentState,
    Day,
    Holding,
    Interval,
    Quote,
    Stock,
    holding_id_of,
)
from subgraphs.stocks.tables import (
    bars,
    commitment_operations,
    day_bars,
    holdings,
    outbox,
    share_commitments,
    stocks,
    ticks,
)

HOLDING_EVENT = "holding"
"""What events of holdings are called."""

STORED_INTERVALS = (Interval.MINUTE, Interval.HOUR)
"""The intervals of `bars`; a day's bar is a trading day."""

_STOCK_COLUMNS = (
    stocks.c.id,
    stocks.c.symbol,
    stocks.c.name,
    stocks.c.currency,
    stocks.c.issued,
    stocks.c.seq,
    stocks.c.bid,
    stocks.c.ask,
    stocks.c.last,
    stocks.c.quoted_at,
    stocks.c.day,
    stocks.c.day_open,
    stocks.c.day_high,
    stocks.c.day_low,
    stocks.c.day_close,
    stocks.c.previous_close,
)
_HOLDING_COLUMNS = (
    holdings.c.id,
    holdings.c.user_id,
    holdings.c.free,
    holdings.c.committed,
    holdings.c.reserved,
    holdings.c.cost,
    holdings.c.version,
)
_COMMITMENT_COLUMNS = (
    share_commitments.c.authorization_id,
    share_commitments.c.investor_id,
    share_commitments.c.broker_id,
    share_commitments.c.holding_id,
    share_commitments.c.state,
    share_commitments.c.remaining,
)
_SELECT_STOCK = select(*_STOCK_COLUMNS)
_SELECT_HOLDING = select(*_HOLDING_COLUMNS, *_STOCK_COLUMNS).join_from(holdings, stocks)
_SELECT_COMMITMENT = select(*_COMMITMENT_COLUMNS)
_BY_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_BY_KEY: BindParameter[Any] = bindparam("key")
_BY_OWNER: BindParameter[Any] = bindparam("owner_id")
_HELD = holdings.c.free + holdings.c.committed + holdings.c.reserved > 0

# The statements of an order's way, and of a price's, are built once: that spares two thirds of what they cost.
_STOCK_BY_ID = _SELECT_STOCK.where(stocks.c.id == _BY_KEY)
_STOCK_BY_SYMBOL = _SELECT_STOCK.where(stocks.c.symbol == _BY_KEY)
# On PostgreSQL the weaker lock does not make new orders wait, whose foreign keys look at the stock.
_LOCKED_STOCK: Mapping[tuple[str, bool], Executable] = {
    ("sqlite", False): _STOCK_BY_ID,
    ("sqlite", True): _STOCK_BY_SYMBOL,
    ("postgresql", False): _STOCK_BY_ID.with_for_update(key_share=True),
    ("postgresql", True): _STOCK_BY_SYMBOL.with_for_update(key_share=True),
}
_SEQS_BY_SYMBOL = select(stocks.c.symbol, stocks.c.seq)
_UPDATE_STOCK = update(stocks).where(stocks.c.id == _BY_KEY)
_INSERT_TICK = insert(ticks)
_UPDATE_DAY = update(day_bars).where(day_bars.c.stock_id == _BY_KEY, day_bars.c.day == bindparam("date"))
_INSERT_DAY = insert(day_bars)
_STOCKS_BY_ID = _SELECT_STOCK.where(stocks.c.id.in_(_BY_IDS))
_HOLDING_TO_LOCK = _SELECT_HOLDING.where(holdings.c.id == _BY_KEY)
_HOLDINGS_TO_LOCK = _SELECT_HOLDING.where(holdings.c.id.in_(_BY_IDS)).order_by(holdings.c.id)
_LOCKED_HOLDING: Mapping[str, Executable] = {
    "sqlite": _HOLDING_TO_LOCK,
    "postgresql": _HOLDING_TO_LOCK.with_for_update(of=holdings),
}
_LOCKED_HOLDINGS: Mapping[str, Executable] = {
    "sqlite": _HOLDINGS_TO_LOCK,
    "postgresql": _HOLDINGS_TO_LOCK.with_for_update(of=holdings),
}
_LOCKED_OWN_HOLDING: Mapping[str, Executable] = {
    "sqlite": _HOLDING_TO_LOCK.where(holdings.c.user_id == _BY_OWNER),
    "postgresql": _HOLDING_TO_LOCK.where(holdings.c.user_id == _BY_OWNER).with_for_update(of=holdings),
}
_HOLDINGS_OF = _SELECT_HOLDING.where(holdings.c.user_id == _BY_KEY, _HELD).order_by(stocks.c.symbol)
_UPDATE_HOLDING = update(holdings).where(holdings.c.id == _BY_KEY)
_SHIFT_HOLDING = (
    _UPDATE_HOLDING.where(holdings.c.free + bindparam("by_free") >= 0)
    .values(
        free=holdings.c.free + bindparam("by_free"),
        committed=holdings.c.committed + bindparam("by_committed"),
        reserved=holdings.c.reserved + bindparam("by_reserved"),
        cost=holdings.c.cost + bindparam("by_cost"),
        version=holdings.c.version + 1,
        updated_at=bindparam("now"),
    )
    .returning(holdings.c.user_id)
)
_UPDATE_COMMITMENT = update(share_commitments).where(share_commitments.c.authorization_id == _BY_KEY)


async def rows_of(
    connection: Connection, statement: Executable, parameters: Mapping[str, object] | None = None
) -> Sequence[Sequence[Any]]:
    """The rows of a statement, by position."""
    return (await connection.execute(statement, parameters)).all()


async def row_of(
    connection: Connection, statement: Executable, parameters: Mapping[str, object] | None = None
) -> Sequence[Any] | None:
    """The one row of a statement, or None."""
    return (await connection.execute(statement, parameters)).one_or_none()


async def stocks_after(connection: Connection, symbol: str | None, limit: int) -> list[Stock]:
    """Up to `limit` stocks by symbol, after `symbol`."""
    statement = _SELECT_STOCK.order_by(stocks.c.symbol).limit(limit)
    if symbol is not None:
        statement = statement.where(stocks.c.symbol > symbol)
    return [_stock(row) for row in await rows_of(connection, statement)]


async def all_stocks(connection: Connection) -> dict[str, Stock]:
    """Every stock, by symbol."""
    return {row[1]: _stock(row) for row in await rows_of(connection, _SELECT_STOCK)}


async def stock_by_id(connection: Connection, stock_id: str) -> Stock | None:
    """A stock with its latest price."""
    row = await row_of(connection, _STOCK_BY_ID, {"key": stock_id})
    return None if row is None else _stock(row)


async def stocks_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Stock]:
    """The stocks of those ids that there are."""
    rows = await rows_of(connection, _STOCKS_BY_ID, {"ids": list(ids)})
    return {row[0]: _stock(row) for row in rows}


async def stocks_by_symbol(connection: Connection, symbols: Iterable[str]) -> dict[str, Stock]:
    """The stocks of those symbols that there are."""
    rows = await rows_of(connection, _SELECT_STOCK.where(stocks.c.symbol.in_(list(symbols))))
    return {row[1]: _stock(row) for row in rows}


async def lock_stock(connection: Connection, *, symbol: str | None = None, stock_id: str | None = None) -> Stock | None:
    """The stock, locked: nobody stores a tick of it, and no automated order on it starts working, meanwhile."""
    statement = _LOCKED_STOCK[connection.dialect, symbol is not None]
    row = await row_of(connection, statement, {"key": stock_id if symbol is None else symbol})
    return None if row is None else _stock(row)


async def stored_seqs(connection: Connection) -> dict[str, int]:
    """Each symbol's last stored tick."""
    return {row[0]: row[1] for row in await rows_of(connection, _SEQS_BY_SYMBOL)}


async def latest_seqs(connection: Connection) -> dict[str, int]:
    """Each stock's last stored tick, by the stock's id."""
    return {row[0]: row[1] for row in await rows_of(connection, select(stocks.c.id, stocks.c.seq))}


async def insert_listing(connection: Connection, stock: Stock, now: int) -> bool:
    """Lists a stock with its first price, all of it in the market's holding; False when it was listed before."""
    values = {
        "id": stock.id,
        "symbol": stock.symbol,
        "name": stock.name,
        "currency": stock.currency,
        "issued": stock.issued,
        "previous_close": stock.previous_close,
        **_quote_values(stock.quote, stock.day),
    }
    inserted = (await connection.execute(insert_or_ignore(connection, stocks).values(values))).rowcount
    if inserted:
        await _insert_tick(connection, stock.id, stock.quote)
        await _save_bars(connection, stock.id, stock.quote)
        await _save_day(connection, stock.id, stock.day)
        await insert_holding(connection, holding_id_of(MARKET, stock.id), MARKET, stock.id, stock.issued, now)
    return bool(inserted)


async def store_tick(connection: Connection, stock: Stock, quote: Quote, day: Day, previous_close: int | None) -> None:
    """Stores one tick of the (locked) stock: the tick itself, the stock's quote, and its day."""
    await _insert_tick(connection, stock.id, quote)
    values = {**_quote_values(quote, day), "previous_close": previous_close}
    await connection.execute(_UPDATE_STOCK, {"key": stock.id, **values})
    await _save_day(connection, stock.id, day)
    await _save_bars(connection, stock.id, quote)


async def _insert_tick(connection: Connection, stock_id: str, quote: Quote) -> None:
    tick = {"seq": quote.seq, "bid": quote.bid, "ask": quote.ask, "last": quote.last, "at": quote.at}
    await connection.execute(_INSERT_TICK, {"stock_id": stock_id, **tick})


async def _save_bars(connection: Connection, stock_id: str, quote: Quote) -> None:
    prices = dict.fromkeys(("open", "high", "low", "close"), quote.last)
    rows = [
        {"stock_id": stock_id, "interval": interval, "start": quote.at - quote.at % INTERVAL_MS[interval], **prices}
        for interval in STORED_INTERVALS
    ]
    await connection.execute(_save_bar(connection.dialect), rows)


@functools.cache
def _save_bar(dialect: str) -> Executable:
    """A bar's first price, or one more."""
    added = sqlite.insert(bars) if dialect == "sqlite" else postgresql.insert(bars)
    new = added.excluded
    high = case((new.high > bars.c.high, new.high), else_=bars.c.high)
    low = case((new.low < bars.c.low, new.low), else_=bars.c.low)
    changed = {"high": high, "low": low, "close": new.close}
    return added.on_conflict_do_update(index_elements=list(bars.primary_key), set_=changed)


async def bars_of(connection: Connection, stock_id: str, interval: Interval, limit: int) -> list[Bar]:
    """The latest `limit` bars of a stock, newest first; of days see `day_bars_of`."""
    of = and_(bars.c.stock_id == stock_id, bars.c.interval == interval)
    columns = (bars.c.start, bars.c.open, bars.c.high, bars.c.low, bars.c.close)
    statement = select(*columns).where(of).order_by(bars.c.start.desc()).limit(limit)
    return [Bar(*row) for row in await rows_of(connection, statement)]


async def delete_bars_before(connection: Connection, interval: Interval, start: int) -> int:
    """Deletes the bars of all stocks that began earlier; how many there were."""
    before = and_(bars.c.interval == interval, bars.c.start < start)
    return (await connection.execute(delete(bars).where(before))).rowcount


async def ticks_of(
    connection: Connection, stock_id: str, *, since: int | None, until: int | None, below: int | None, limit: int
) -> list[Quote]:
    """A stock's ticks, newest first: from `since` on, before `until` (milliseconds), numbered under `below`."""
    conditions = [ticks.c.stock_id == stock_id]
    conditions += [] if since is None else [ticks.c.at >= since]
    conditions += [] if until is None else [ticks.c.at < until]
    conditions += [] if below is None else [ticks.c.seq < below]
    columns = (ticks.c.seq, ticks.c.bid, ticks.c.ask, ticks.c.last, ticks.c.at)
    statement = select(*columns).where(*conditions).order_by(ticks.c.seq.desc()).limit(limit)
    return [Quote(*row) for row in await rows_of(connection, statement)]


async def _save_day(connection: Connection, stock_id: str, day: Day) -> None:
    bar = {"open": day.open, "high": day.high, "low": day.low, "close": day.close}
    if not (await connection.execute(_UPDATE_DAY, {"key": stock_id, "date": day.date, **bar})).rowcount:
        await connection.execute(_INSERT_DAY, {"stock_id": stock_id, "day": day.date, **bar})


def _quote_values(quote: Quote, day: Day) -> dict[str, Any]:
    return {
        "seq": quote.seq,
        "bid": quote.bid,
        "ask": quote.ask,
        "last": quote.last,
        "quoted_at": quote.at,
        "day": day.date,
        "day_open": day.open,
        "day_high": day.high,
        "day_low": day.low,
        "day_close": day.close,
    }


async def delete_ticks_below(connection: Connection, stock_id: str, seq: int) -> int:
    """Deletes the ticks of a stock with a lower number; how many there were."""
    below = and_(ticks.c.stock_id == stock_id, ticks.c.seq < seq)
    return (await connection.execute(delete(ticks).where(below))).rowcount


async def day_bars_of(connection: Connection, stock_id: str, limit: int) -> list[Day]:
    """The latest `limit` trading days of a stock, newest first."""
    columns = (day_bars.c.day, day_bars.c.open, day_bars.c.high, day_bars.c.low, day_bars.c.close)
    statement = select(*columns).where(day_bars.c.stock_id == stock_id).order_by(day_bars.c.day.desc()).limit(limit)
    return [Day(*row) for row in await rows_of(connection, statement)]


async def holdings_of(
    connection: Connection, user_id: str, *, after: str | None = None, limit: int | None = None
) -> list[Holding]:
    """A user's holdings that are not empty, by symbol; with `after`, those behind that symbol."""
    statement = _HOLDINGS_OF
    if after is not None:
        statement = statement.where(stocks.c.symbol > after)
    if limit is not None:
        statement = statement.limit(limit)
    return [_holding(row) for row in await rows_of(connection, statement, {"key": user_id})]


async def holdings_by_id(connection: Connection, ids: Iterable[str], user_id: str | None) -> dict[str, Holding]:
    """The holdings of those ids that belong to `user_id`; with None (a service asks) to any user."""
    owner = holdings.c.user_id != MARKET if user_id is None else holdings.c.user_id == user_id
    rows = await rows_of(connection, _SELECT_HOLDING.where(holdings.c.id.in_(list(ids)), owner))
    return {row[0]: _holding(row) for row in rows}


async def lock_holding(connection: Connection, holding_id: str) -> Holding | None:
    """A holding, locked; its stock is not."""
    row = await row_of(connection, _LOCKED_HOLDING[connection.dialect], {"key": holding_id})
    return None if row is None else _holding(row)


async def lock_own_holding(connection: Connection, holding_id: str, user_id: str) -> Holding | None:
    """A holding of that user's, locked; another user's is neither found nor locked."""
    keys = {"key": holding_id, "owner_id": user_id}
    row = await row_of(connection, _LOCKED_OWN_HOLDING[connection.dialect], keys)
    return None if row is None else _holding(row)


async def lock_holdings(connection: Connection, ids: Iterable[str]) -> dict[str, Holding]:
    """Those holdings, locked in id order; their stocks are not locked."""
    rows = await rows_of(connection, _LOCKED_HOLDINGS[connection.dialect], {"ids": list(ids)})
    return {row[0]: _holding(row) for row in rows}


async def insert_holding(
    connection: Connection, holding_id: str, user_id: str, stock_id: str, free: int, now: int
) -> bool:
    """Adds a holding with `free` shares and no cost; False when that user has one of that stock already."""
    values = {
        "id": holding_id,
        "user_id": user_id,
        "stock_id": stock_id,
        "free": free,
        "committed": 0,
        "reserved": 0,
        "cost": 0,
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }
    return bool((await connection.execute(insert_or_ignore(connection, holdings), values)).rowcount)


async def save_holding(connection: Connection, holding: Holding, now: int) -> None:
    """Writes a (locked) holding's shares and cost, and raises its version by one."""
    values = {
        "key": holding.id,
        "free": holding.free,
        "committed": holding.committed,
        "reserved": holding.reserved,
        "cost": holding.cost,
        "version": holding.version + 1,
        "updated_at": now,
    }
    await connection.execute(_UPDATE_HOLDING, values)
    _note(connection, holding.user_id, holding.id, now)


def _note(connection: Connection, user_id: str, holding_id: str, now: int) -> None:
    if user_id != MARKET:
        outbox.note(connection, user_id, HOLDING_EVENT, holding_id, now)


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the parts of a holding change, in units of quantity, and its cost, in minor units."""

    free: int = 0
    committed: int = 0
    reserved: int = 0
    cost: int = 0


async def shift_holding(connection: Connection, holding_id: str, shift: Shift, now: int) -> bool:
    """Changes a holding and raises its version by one; False, and nothing, when too few of its shares are free.

    The row is locked to the end of the transaction. That any other part falls below zero is a mistake of ours, which
    the table's constraint refuses.
    """
    values = {
        "key": holding_id,
        "by_free": shift.free,
        "by_committed": shift.committed,
        "by_reserved": shift.reserved,
        "by_cost": shift.cost,
        "now": now,
    }
    row = await row_of(connection, _SHIFT_HOLDING, values)
    if row is None:
        return False
    _note(connection, row[0], holding_id, now)
    return True


async def commitments_by_id(connection: Connection, ids: Iterable[str], viewer_id: str) -> dict[str, Commitment]:
    """The commitments of those authorizations in which the viewer is the investor or the broker."""
    party = or_(share_commitments.c.investor_id == viewer_id, share_commitments.c.broker_id == viewer_id)
    statement = _SELECT_COMMITMENT.where(share_commitments.c.authorization_id.in_(list(ids)), party)
    return {row[0]: _commitment(row) for row in await rows_of(connection, statement)}


async def stocks_of_holdings(connection: Connection, holding_ids: Iterable[str]) -> dict[str, Stock]:
    """Holding id -> its stock, and nothing else about the holding: what a broker may know."""
    statement = _SELECT_HOLDING.where(holdings.c.id.in_(list(holding_ids)))
    return {row[0]: _stock(row[len(_HOLDING_COLUMNS) :]) for row in await rows_of(connection, statement)}


async def lock_commitment(connection: Connection, authorization_id: str) -> Commitment | None:
    """The commitment of an authorization, locked."""
    statement = _SELECT_COMMITMENT.where(share_commitments.c.authorization_id == authorization_id)
    row = await row_of(connection, locked(statement, connection))
    return None if row is None else _commitment(row)


async def lock_commitment_over(connection: Connection, holding_id: str, authorization_id: str) -> Commitment | None:
    """The commitment of an authorization over shares of that holding, locked; one over another holding is not found."""
    over = and_(share_commitments.c.authorization_id == authorization_id, share_commitments.c.holding_id == holding_id)
    row = await row_of(connection, locked(_SELECT_COMMITMENT.where(over), connection))
    return None if row is None else _commitment(row)


async def insert_or_lock_commitment(
    connection: Connection, commitment: Commitment, now: int
) -> tuple[bool, Commitment]:
    """Inserts the commitment unless its authorization has one; then whether it did, and the row, locked."""
    values = {
        "authorization_id": commitment.authorization_id,
        "investor_id": commitment.investor_id,
        "broker_id": commitment.broker_id,
        "holding_id": commitment.holding_id,
        "state": commitment.state.value,
        "remaining": commitment.remaining,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert_or_ignore(connection, share_commitments).values(values)
    inserted = bool((await connection.execute(statement)).rowcount)
    row = await lock_commitment(connection, commitment.authorization_id)
    assert row is not None
    return inserted, row


async def save_commitment(connection: Connection, commitment: Commitment, now: int) -> None:
    """Writes a (locked) commitment's state and what remains of it."""
    values = {"state": commitment.state.value, "remaining": commitment.remaining, "updated_at": now}
    await connection.execute(_UPDATE_COMMITMENT, {"key": commitment.authorization_id, **values})


async def operation_receipt(connection: Connection, authorization_id: str, op: str) -> tuple[str, str] | None:
    """Fingerprint and stored result of an operation on a commitment that was carried out before."""
    statement = select(commitment_operations.c.fingerprint, commitment_operations.c.result).where(
        commitment_operations.c.authorization_id == authorization_id, commitment_operations.c.op == op
    )
    row = await row_of(connection, statement)
    return None if row is None else (row[0], row[1])


async def insert_receipt(
    connection: Connection, authorization_id: str, op: str, fingerprint: str, result: str, now: int
) -> None:
    """Stores the result of an operation on a commitment, in its own transaction."""
    values = {
        "authorization_id": authorization_id,
        "op": op,
        "fingerprint": fingerprint,
        "result": result,
        "created_at": now,
    }
    await connection.execute(commitment_operations.insert().values(values))


def _stock(row: Sequence[Any]) -> Stock:
    quote = Quote(seq=row[5], bid=row[6], ask=row[7], last=row[8], at=row[9])
    day = Day(date=row[10], open=row[11], high=row[12], low=row[13], close=row[14])
    return Stock(row[0], row[1], row[2], row[3], row[4], quote, day, row[15])


def _holding(row: Sequence[Any]) -> Holding:
    return Holding(row[0], row[1], _stock(row[len(_HOLDING_COLUMNS) :]), row[2], row[3], row[4], row[5], row[6])


def _commitment(row: Sequence[Any]) -> Commitment:
    return Commitment(row[0], row[1], row[2], row[3], CommitmentState(row[4]), row[5])
