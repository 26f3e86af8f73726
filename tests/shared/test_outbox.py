"""Every owner's events are numbered in the order of the commits, without gaps, and reach whoever follows them."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from sqlalchemy import MetaData, delete
from sqlalchemy.schema import CreateTable

from subgraphs.shared import outbox as outbox_module
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import INVALID_CURSOR, Refusal
from subgraphs.shared.outbox import DAY_MS, EVENTS_PER_READ_MAX, Change, Event, Outbox
from subgraphs.shared.pagination import encode_cursor
from subgraphs.shared.wakening import Waiter

OUTBOX = Outbox(MetaData(), "test events")
NOW = 1_800_000_000_000
PATIENCE_S = 10.0


class Clock:
    """The time, as a test sets it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        """Milliseconds since the epoch."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The database's clock."""
    return Clock()


@pytest.fixture
async def database(empty_database_url: str, clock: Clock) -> AsyncIterator[Database]:
    """An open database with the two tables."""
    database = Database.open(empty_database_url, clock=clock)

    async def create(connection: Connection) -> None:
        for table in (OUTBOX.events, OUTBOX.counters):
            await connection.execute(CreateTable(table))

    await database.write(create)
    yield database
    await database.close()


async def change(database: Database, *noted: tuple[str, str, str]) -> None:
    """One transaction that notes changes: owner, kind, entity."""

    async def work(connection: Connection) -> None:
        now = await connection.now()
        for owner, kind, entity in noted:
            OUTBOX.note(connection, owner, kind, entity, now)

    await database.write(work)


async def told(database: Database, owner: str, after: int = 0) -> list[Event]:
    """The owner's events."""
    async with database.reading() as connection:
        return await OUTBOX.after(connection, owner, after)


async def load(ids: Collection[str]) -> dict[str, str]:
    """Entities whose ids are upper case; `gone` is not among them."""
    return {each: each.upper() for each in ids if each != "gone"}


class Follower:
    """What one subscriber gets."""

    def __init__(self, database: Database, owner: str = "ann", kind: str = "order", after: int | None = None) -> None:
        self._changes = OUTBOX.follow(database, owner, kind, after, load)

    async def next(self) -> Change[str]:
        """The next change."""
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._changes)

    async def close(self) -> None:
        """Ends the subscription."""
        await self._changes.aclose()


def at(number: int, entity: str | None, *, missed: bool = False) -> Change[Any]:
    """A change as a follower gets it."""
    return Change(encode_cursor("test events", number), entity, missed)


async def test_a_transactions_events_are_written_with_it(database: Database) -> None:
    """Each owner has numbers of their own, and one entity that changes twice in a transaction is told of once."""
    await change(database, ("ann", "order", "o1"), ("bob", "order", "o1"), ("ann", "order", "o1"))
    await change(database, ("ann", "order", "o2"), ("ann", "holding", "h1"))
    assert await told(database, "ann") == [
        Event(1, "order", "o1"),
        Event(2, "order", "o2"),
        Event(3, "holding", "h1"),
    ]
    assert await told(database, "bob") == [Event(1, "order", "o1")]


async def test_what_is_rolled_back_has_no_event_and_no_number(database: Database) -> None:
    """A transaction that fails after its last work leaves neither an event nor a gap."""
    await change(database, ("ann", "order", "o1"))

    class Fails:
        async def finish(self, _connection: Connection) -> None:
            raise LookupError("no")

    async def work(connection: Connection) -> None:
        OUTBOX.note(connection, "ann", "order", "lost", NOW)
        connection.last[self] = Fails()

    self = object()
    with pytest.raises(LookupError):
        await database.write(work)
    await change(database, ("ann", "order", "o2"))
    assert await told(database, "ann") == [Event(1, "order", "o1"), Event(2, "order", "o2")]


async def test_concurrent_transactions_leave_no_gap(database: Database) -> None:
    """Of thirty at once, each of which changes something of two owners, every owner has thirty numbers in a row."""
    pairs = [("ann", "bob"), ("bob", "ann")] * 15
    await asyncio.gather(
        *(
            change(database, (one, "order", f"o{number}"), (other, "order", f"o{number}"))
            for number, (one, other) in enumerate(pairs)
        )
    )
    for owner in ("ann", "bob"):
        events = await told(database, owner)
        assert [event.number for event in events] == list(range(1, 31))
        assert {event.entity_id for event in events} == {f"o{number}" for number in range(30)}


async def test_a_follower_hears_from_now_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cursor it gets what happens next, of its owner and its kind alone, with the entity."""
    await change(database, ("ann", "order", "before"))
    waits, wait = asyncio.Event(), Waiter.wait

    async def noticed(waiter: Waiter) -> bool:
        waits.set()
        return await wait(waiter)

    monkeypatch.setattr(Waiter, "wait", noticed)
    follower = Follower(database)
    first = asyncio.ensure_future(follower.next())
    await waits.wait()
    await change(database, ("bob", "order", "x"))
    await change(database, ("ann", "holding", "h"))
    await change(database, ("ann", "order", "o1"))
    assert await first == at(3, "O1")
    await change(database, ("ann", "order", "gone"))
    await change(database, ("ann", "order", "o2"))
    assert await follower.next() == at(5, "O2")
    await follower.close()
    assert database.wakening.waiters == 0


async def test_a_follower_catches_up_with_more_than_one_read(database: Database) -> None:
    """From a cursor on, every event comes once and in order, however many there are."""
    count = EVENTS_PER_READ_MAX * 2 + 5
    await change(database, *(("ann", "order", f"o{number}") for number in range(1, count + 1)))
    follower = Follower(database, after=3)
    found = [await follower.next() for _ in range(count - 3)]
    assert found == [at(number, f"O{number}") for number in range(4, count + 1)]
    await follower.close()


async def test_a_cursor_older_than_what_is_kept_is_told_so(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first change says that some are missing and has no entity; what is kept follows. The last old one is kept
    in mind even when none is left."""
    monkeypatch.setattr(outbox_module, "EVENTS_PER_PURGE_MAX", 2)
    few = Outbox(MetaData(), "test events")
    await change(database, *(("ann", "order", f"o{number}") for number in range(1, 6)))
    clock.now += 2 * DAY_MS
    await few.purge(database, days=1)
    assert await told(database, "ann") == []

    follower = Follower(database, after=2)
    assert await follower.next() == at(5, None, missed=True)
    await change(database, ("ann", "order", "o6"))
    assert await follower.next() == at(6, "O6")
    await follower.close()

    follower = Follower(database, after=2)
    assert [await follower.next(), await follower.next()] == [at(5, None, missed=True), at(6, "O6")]
    await follower.close()

    follower = Follower(database, after=5)
    assert await follower.next() == at(6, "O6")
    await follower.close()


async def test_a_hole_among_the_kept_is_told_where_it_is(database: Database) -> None:
    """A clock that was set back can have the purge take what stands between two events."""
    await change(database, *(("ann", "order", f"o{number}") for number in range(1, 5)))

    async def lose(connection: Connection) -> None:
        await connection.execute(delete(OUTBOX.events).where(OUTBOX.events.c.number.in_([2, 3])))

    await database.write(lose)
    follower = Follower(database, after=0)
    assert [await follower.next() for _ in range(3)] == [at(1, "O1"), at(3, None, missed=True), at(4, "O4")]
    await follower.close()


async def test_a_cursor_of_what_never_was_is_told_so(database: Database) -> None:
    """A database that was put back to an earlier state has fewer events than a client has seen."""
    await change(database, ("ann", "order", "o1"))
    follower = Follower(database, after=9)
    assert await follower.next() == at(1, None, missed=True)
    await change(database, ("ann", "order", "o2"))
    assert await follower.next() == at(2, "O2")
    await follower.close()


@pytest.mark.parametrize("cursor", ["", "7", "WyJ0ZXN0IGV2ZW50cyIsIngiXQ", encode_cursor("others", 1)])
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    """A text that is none of this service's cursors of events is invalid."""
    with pytest.raises(Refusal) as caught:
        OUTBOX.position(cursor)
    assert caught.value.code == INVALID_CURSOR
    assert (OUTBOX.position(None), OUTBOX.position(encode_cursor("test events", 7))) == (None, 7)
