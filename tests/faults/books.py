"""What the three databases say once all is quiet: to compare two runs, and to know that nothing moves any more."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, or_, select

from brokerage.audit import audit
from subgraphs.shared.database import Database
from subgraphs.shared.outbox import Outbox
from subgraphs.stocks import tables as stocks_tables
from subgraphs.stocks.rules_orders import UNDRIVEN_STATES, OrderState
from subgraphs.users import tables as users_tables
from subgraphs.users.rules_authorizations import State
from subgraphs.wallet import tables as wallet_tables

TABLES: Mapping[str, tuple[Table, ...]] = {
    "users": (users_tables.authorizations, users_tables.rollovers, users_tables.outbox.events),
    "wallet": (
        wallet_tables.accounts,
        wallet_tables.operations,
        wallet_tables.postings,
        wallet_tables.transactions,
        wallet_tables.outbox.events,
    ),
    "stocks": (
        stocks_tables.stocks,
        stocks_tables.holdings,
        stocks_tables.share_commitments,
        stocks_tables.orders,
        stocks_tables.fills,
        stocks_tables.outbox.events,
    ),
}
OUTBOXES: Mapping[str, Outbox] = {
    "users": users_tables.outbox,
    "wallet": wallet_tables.outbox,
    "stocks": stocks_tables.outbox,
}
PASSING_COLUMNS = frozenset(
    {"position", "attempts", "drive_attempts", "drive_at", "lease_owner", "version", "lease_until", "number", "at"}
)
"""Columns that say when or how often something was tried, not what came of it; so do all whose names end in `_at`. The
number of an event says which of two changes came first: that the numbers have no gaps, `gaps` says."""
POLL_S = 0.02
STEADY_AUTHORIZATIONS: frozenset[State] = frozenset({"ACTIVE", "FAILED", "REVOKED", "EXPIRED"})

FATES = ("users.authorizations", "stocks.orders", "stocks.fills")
"""The tables that say what became of orders and authorizations."""

Row = tuple[tuple[str, Any], ...]
Books = Mapping[str, tuple[Row, ...]]
"""Table name -> its rows in one order, without what depends on the time."""


async def read_books(databases: Mapping[str, Database]) -> Books:
    """Everything that two runs of one scenario must agree on."""
    books: dict[str, tuple[Row, ...]] = {}
    for service, tables in TABLES.items():
        for table in tables:
            columns = [c for c in table.c if c.name not in PASSING_COLUMNS and not c.name.endswith("_at")]
            async with databases[service].reading() as connection:
                rows = (await connection.execute(select(*columns))).all()
            named = (tuple(zip((c.name for c in columns), row, strict=True)) for row in rows)
            books[f"{service}.{table.name}"] = tuple(sorted(named, key=repr))
    return books


def difference(wanted: Books, found: Books) -> list[str]:
    """The rows that only one of two books has."""
    lines = []
    for table in wanted:
        lines += [f"missing in {table}: {dict(row)}" for row in wanted[table] if row not in found[table]]
        lines += [f"too many in {table}: {dict(row)}" for row in found[table] if row not in wanted[table]]
    return lines


async def is_quiet(databases: Mapping[str, Database], now_ms: int) -> bool:
    """Whether no saga is under way: every order is final or working, every authorization steady.

    Args:
        now_ms: the services' time; what waits for a last moment that is over is not quiet either.
    """
    orders, mandates = stocks_tables.orders.c, users_tables.authorizations.c
    order_overdue = and_(orders.state == OrderState.WORKING, orders.expires_at <= now_ms)
    mandate_overdue = and_(mandates.state == "ACTIVE", mandates.ends_at <= now_ms)
    return not (
        await _any_row(databases["stocks"], or_(orders.state.not_in(UNDRIVEN_STATES), order_overdue))
        or await _any_row(databases["users"], or_(mandates.state.not_in(STEADY_AUTHORIZATIONS), mandate_overdue))
    )


async def _any_row(database: Database, condition: ColumnElement[bool]) -> bool:
    async with database.reading() as connection:
        return bool((await connection.execute(select(exists().where(condition)))).scalar_one())


async def at_rest(databases: Mapping[str, Database], clock: Callable[[], int], within_s: float = 20.0) -> None:
    """Waits until all is quiet; an AssertionError when that takes longer than any promise allows."""
    deadline = time.monotonic() + within_s
    while not await is_quiet(databases, clock()):
        assert time.monotonic() < deadline, "the services never came to rest"
        await asyncio.sleep(POLL_S)


async def violations_of(databases: Mapping[str, Database]) -> tuple[str, ...]:
    """Every broken invariant of a brokerage at rest."""
    found = await audit(databases["users"], databases["wallet"], databases["stocks"], quiet=True)
    return (*(str(violation) for violation in found), *await gaps(databases))


async def gaps(databases: Mapping[str, Database]) -> tuple[str, ...]:
    """The owners whose events are not numbered from 1 to the last one's number."""
    found: list[str] = []
    for service, outbox in OUTBOXES.items():
        events, numbers = outbox.events.c, defaultdict[str, list[int]](list)
        async with databases[service].reading() as connection:
            for row in (await connection.execute(select(events.owner_id, events.number))).all():
                numbers[row.owner_id].append(row.number)
            for row in (await connection.execute(select(outbox.counters.c.owner_id))).all():
                numbers.setdefault(row.owner_id, [])
            last = {owner: await outbox.latest(connection, owner) for owner in numbers}
        found += [
            f"{service}: the events of {owner} are not 1 to {last[owner]}"
            for owner in sorted(numbers)
            if sorted(numbers[owner]) != list(range(1, last[owner] + 1))
        ]
    return tuple(found)
