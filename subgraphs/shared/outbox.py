"""Events: who is to be told that something has changed, written in the transaction that changes it.

How it works. A transaction notes what it changes and for whom; its last statements, right before the commit, number the
events of each owner and write them: one statement for each. On PostgreSQL it locks the owner's counter; on SQLite a
transaction that writes is alone, so that the last event's number is enough. So the numbers of an owner have no gaps and
are in the order of the commits: who has read up to N has missed nothing with a lower number, whatever is under way. An
event that is rolled back never had a number, and a change that is committed has its event.

Readers read what comes after N, again whenever the owner's topic is woken (`wakening`). An event says what has changed
and not how: a reader shows the entity as it stands, which is at least as new as the event. Old events are deleted; a
reader that finds a gap where it goes on knows that it has missed some.

    events          (owner, number), what kind of entity, its id, when
    event_counters  the last number of each owner; on SQLite, of those whose last event is deleted

Locks: counters come last, in the order of the owners' ids, and nothing is waited for after them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Index,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import sqlite

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.pagination import decode_cursor, encode_cursor

T = TypeVar("T")

EVENTS_PER_READ_MAX = 100
"""100 events: what a reader takes at a time, with the entities that they are of."""
EVENTS_PER_PURGE_MAX = 1_000
"""1,000 events: what one transaction deletes; a short one lets orders in between."""
DAY_MS = 86_400_000

_OWNER: BindParameter[Any] = bindparam("owner")


@dataclass(frozen=True, slots=True)
class Event:
    """That an entity has changed: the `number`th of what its owner is told."""

    number: int
    kind: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What a subscriber gets of one event: where it stands then, and the entity as it is now.

    `missed` says that events before it are gone, and that is all that it says: there is no entity.
    """

    cursor: str
    entity: T | None
    missed: bool = False


class Outbox:
    """The events of one service: its two tables, and every statement on them."""

    def __init__(self, metadata: MetaData, name: str) -> None:
        """
        Args:
            name: what its cursors are marked with, so that those of another service are refused.
        """
        self._name = name
        self.events = Table(
            "events",
            metadata,
            Column("owner_id", String(36), primary_key=True),
            Column("number", BigInteger, primary_key=True, autoincrement=False),
            Column("kind", String(16), nullable=False),
            Column("entity_id", String(36), nullable=False),
            Column("at", BigInteger, nullable=False),
            Index("events_at", "at"),
        )
        self.counters = Table(
            "event_counters",
            metadata,
            Column("owner_id", String(36), primary_key=True),
            Column("number", BigInteger, nullable=False),
        )
        events, counters = self.events.c, self.counters.c
        counted = sqlite.insert(self.counters)
        self._keep_count = counted.on_conflict_do_update(
            index_elements=[counters.owner_id],
            set_={"number": func.max(counters.number, counted.excluded.number)},
        )
        self._latest = select(counters.number).where(counters.owner_id == _OWNER)
        self._after = (
            select(events.number, events.kind, events.entity_id)
            .where(events.owner_id == _OWNER, events.number > bindparam("after"))
            .order_by(events.number)
            .limit(EVENTS_PER_READ_MAX)
        )
        old = select(events.owner_id, events.number).where(events.at < bindparam("before")).order_by(events.at)
        key = tuple_(events.owner_id, events.number)
        purge = delete(self.events).where(key.in_(old.limit(EVENTS_PER_PURGE_MAX)))
        self._purge = purge.returning(events.owner_id, events.number)

    # ---- writing ----

    def note(self, connection: Connection, owner_id: str, kind: str, entity_id: str, at: int) -> None:
        """Has the transaction tell the owner that the entity has changed: once, however often it is noted."""
        noted = connection.last.get(self)
        if noted is None:
            noted = connection.last[self] = _Noted(self)
        assert isinstance(noted, _Noted)
        noted.add(owner_id, kind, entity_id, at)
        connection.wakes.add(owner_id)

    async def write(
        self, connection: Connection, owner_id: str, entities: Collection[tuple[str, str]], at: int
    ) -> None:
        """Writes events of one owner, each a kind and an entity's id, under the lock of the owner's counter."""
        values: dict[str, object] = {"owner": owner_id, "at": at}
        if connection.dialect == "postgresql":
            kinds, ids = zip(*entities, strict=True)
            values |= {"count": len(entities), "kinds": list(kinds), "ids": list(ids)}
            await connection.execute(_POSTGRES_WRITE, values)
        else:
            await connection.execute(_SQLITE_WRITE, {**values, "entities": orjson.dumps([*entities]).decode()})

    # ---- reading ----

    def position(self, after: str | None) -> int | None:
        """Where a cursor stands; None without one. Raises Refusal `invalid-cursor`."""
        return None if after is None else int(decode_cursor(after, self._name, int)[0])

    async def latest(self, connection: Connection, owner_id: str) -> int:
        """The number of the owner's last event, 0 before the first."""
        latest = self._latest if connection.dialect == "postgresql" else _SQLITE_LATEST
        number: int | None = (await connection.execute(latest, {"owner": owner_id})).scalar_one_or_none()
        return number or 0

    async def after(self, connection: Connection, owner_id: str, number: int) -> list[Event]:
        """The owner's next events, up to `EVENTS_PER_READ_MAX`; those that were deleted are not among them."""
        rows = (await connection.execute(self._after, {"owner": owner_id, "after": number})).all()
        return [Event(row.number, row.kind, row.entity_id) for row in rows]

    async def follow(
        self,
        database: Database,
        owner_id: str,
        kind: str,
        position: int | None,
        load: Callable[[Collection[str]], Awaitable[dict[str, T]]],
    ) -> AsyncGenerator[Change[T], None]:
        """What changes of that kind, for ever: from `position` on, or from now on without one.

        Where events behind the position are gone, or there is no such position, the first change says so, and the next
        ones go on from what there is.

        Args:
            load: the entities of those ids, as the owner may see them now. One that is missing is not told of.
        """
        with database.wakening.waiting(owner_id) as waiter:
            async with database.reading() as connection:
                latest = await self.latest(connection, owner_id)
                last = latest if position is None else position
                found = await self.after(connection, owner_id, last) if last < latest else []
            # Of a database that was put back to what it was earlier; or all that came since is deleted.
            if last > latest or (last < latest and not found):
                last = latest
                yield self._missed(last)
            while True:
                wanted = {event.entity_id for event in found if event.kind == kind}
                entities = await load(wanted) if wanted else {}
                for event in found:
                    if event.number > last + 1:
                        yield self._missed(event.number - 1)
                    last = event.number
                    if event.kind == kind and event.entity_id in entities:
                        yield Change(encode_cursor(self._name, last), entities[event.entity_id])
                if len(found) < EVENTS_PER_READ_MAX:
                    await waiter.wait()
                async with database.reading() as connection:
                    found = await self.after(connection, owner_id, last)

    def _missed(self, number: int) -> Change[Any]:
        return Change(encode_cursor(self._name, number), None, missed=True)

    async def purge(self, database: Database, *, days: int) -> None:
        """Deletes what is older than so many days."""

        async def work(connection: Connection) -> int:
            before = await connection.now() - days * DAY_MS
            gone = (await connection.execute(self._purge, {"before": before})).all()
            if gone and connection.dialect == "sqlite":
                last: dict[str, int] = {}
                for event in gone:
                    last[event.owner_id] = max(event.number, last.get(event.owner_id, 0))
                await connection.execute(self._keep_count, [{"owner_id": key, "number": last[key]} for key in last])
            return len(gone)

        while await database.write(work) == EVENTS_PER_PURGE_MAX:
            pass


class _Noted:
    """What one transaction has noted."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._entities: dict[str, dict[tuple[str, str], None]] = {}
        self._at = 0

    def add(self, owner_id: str, kind: str, entity_id: str, at: int) -> None:
        self._entities.setdefault(owner_id, {})[kind, entity_id] = None
        self._at = at

    async def finish(self, connection: Connection) -> None:
        for owner_id in sorted(self._entities):
            await self._outbox.write(connection, owner_id, self._entities[owner_id], self._at)


_POSTGRES_WRITE = text(
    """
    WITH counted AS (
        INSERT INTO event_counters (owner_id, number) VALUES (CAST(:owner AS varchar), CAST(:count AS bigint))
        ON CONFLICT (owner_id) DO UPDATE SET number = event_counters.number + excluded.number
        RETURNING owner_id, number - CAST(:count AS bigint) AS before
    )
    INSERT INTO events (owner_id, number, kind, entity_id, at)
    SELECT owner_id, before + noted.place, noted.kind, noted.entity_id, CAST(:at AS bigint)
    FROM counted, unnest(CAST(:kinds AS varchar[]), CAST(:ids AS varchar[]))
        WITH ORDINALITY AS noted (kind, entity_id, place)
    """
)
"""Counts and writes in one statement: on PostgreSQL each is a round trip."""

_LATEST_NUMBER = """max(
    coalesce((SELECT max(number) FROM events WHERE owner_id = :owner), 0),
    coalesce((SELECT number FROM event_counters WHERE owner_id = :owner), 0)
)"""
_SQLITE_LATEST = text(f"SELECT {_LATEST_NUMBER}")
_SQLITE_WRITE = text(
    f"""
    INSERT INTO events (owner_id, number, kind, entity_id, at)
    SELECT
        :owner,
        {_LATEST_NUMBER} + 1 + noted.key,
        json_extract(noted.value, '$[0]'),
        json_extract(noted.value, '$[1]'),
        :at
    FROM json_each(:entities) AS noted
    """  # noqa: S608  # both are constants of this module
)
"""The numbers are of the table as it was: what is inserted into a table that it is read from, SQLite reads first."""
