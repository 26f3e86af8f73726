"""Both databases keep the same promises."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from subgraphs.shared.database import Connection, Database, insert_or_ignore, locked

METADATA = MetaData()
COUNTERS = Table(
    "counters", METADATA, Column("name", String(20), primary_key=True), Column("value", BigInteger, nullable=False)
)


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """An open database with one table."""
    database = Database.open(empty_database_url)

    async def create(connection: Connection) -> None:
        await connection.execute(text("CREATE TABLE counters (name VARCHAR(20) PRIMARY KEY, value BIGINT NOT NULL)"))

    await database.write(create)
    yield database
    await database.close()


async def value_of(database: Database, name: str) -> int | None:
    """The committed value of a counter."""
    async with database.reading() as connection:
        found = (await connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == name))).scalar_one_or_none()
        return None if found is None else int(found)


async def test_a_returned_write_is_committed_and_a_raised_one_is_not(database: Database) -> None:
    """A transaction ends with its work: commit on return, rollback on an exception, which passes through."""

    async def keep(connection: Connection) -> str:
        await connection.execute(insert(COUNTERS).values(name="a", value=1))
        return "kept"

    async def fail(connection: Connection) -> None:
        await connection.execute(insert(COUNTERS).values(name="b", value=1))
        raise LookupError("no")

    assert await database.write(keep) == "kept"
    with pytest.raises(LookupError):
        await database.write(fail)
    assert (await value_of(database, "a"), await value_of(database, "b")) == (1, None)


async def test_a_failed_statement_does_not_show_its_parameters(database: Database) -> None:
    """What an error says may be logged, so it names the statement and not the data."""

    async def fail(connection: Connection) -> None:
        await connection.execute(insert(COUNTERS).values(name="somebody's secret", value=None))

    with pytest.raises(IntegrityError) as caught:
        await database.write(fail)
    assert "INSERT INTO counters" in str(caught.value)
    assert "somebody" not in str(caught.value)


async def test_insert_or_ignore_says_whether_it_inserted(database: Database) -> None:
    """The second insert of a key changes nothing and counts no row."""

    async def add(connection: Connection) -> int:
        return (await connection.execute(insert_or_ignore(connection, COUNTERS).values(name="a", value=7))).rowcount

    assert [await database.write(add), await database.write(add)] == [1, 0]


async def test_concurrent_increments_are_all_kept(database: Database) -> None:
    """Insert-or-lock, then decide: twenty read-modify-writes at once lose none."""

    async def increment(connection: Connection) -> None:
        await connection.execute(insert_or_ignore(connection, COUNTERS).values(name="n", value=0))
        row = (await connection.execute(locked(select(COUNTERS.c.value), connection))).one()
        await asyncio.sleep(0)
        await connection.execute(update(COUNTERS).values(value=row.value + 1))

    await asyncio.gather(*(database.write(increment) for _ in range(20)))
    assert await value_of(database, "n") == 20


async def test_a_reader_sees_commits_and_nothing_else(database: Database) -> None:
    """An open transaction is invisible to readers, also while a reading connection stays open."""
    async with database.reading() as reader:

        async def peek() -> object:
            return (await reader.execute(select(COUNTERS.c.value))).scalar_one_or_none()

        async def add(connection: Connection) -> None:
            await connection.execute(insert(COUNTERS).values(name="a", value=1))
            assert await peek() is None

        await database.write(add)
        assert await peek() == 1


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_deadlocked_writers_both_succeed(database: Database) -> None:
    """Two transactions that lock two rows in opposite order both commit: the victim runs again."""
    barrier = asyncio.Barrier(2)
    met: set[str] = set()

    async def add(connection: Connection, name: str) -> None:
        await connection.execute(update(COUNTERS).where(COUNTERS.c.name == name).values(value=COUNTERS.c.value + 1))

    async def touch(connection: Connection, first: str, second: str) -> None:
        await add(connection, first)
        if first not in met:
            met.add(first)
            await barrier.wait()
        await add(connection, second)

    async def fill(connection: Connection) -> None:
        await connection.execute(insert(COUNTERS), [{"name": "a", "value": 0}, {"name": "b", "value": 0}])

    await database.write(fill)
    await asyncio.gather(
        database.write(partial(touch, first="a", second="b")), database.write(partial(touch, first="b", second="a"))
    )
    assert (await value_of(database, "a"), await value_of(database, "b")) == (2, 2)


async def test_work_that_one_replica_does_is_passed_over_by_others(database: Database) -> None:
    """While somebody is at work under a name nobody else begins, or waits; work that fails leaves the name free."""
    done: list[str] = []

    async def outer() -> None:
        done.append("outer")
        assert not await database.run_alone("sweeper", inner)
        assert await database.run_alone("another", inner)

    async def inner() -> None:
        done.append("inner")

    async def failing() -> None:
        raise LookupError

    assert await database.run_alone("sweeper", outer)
    with pytest.raises(LookupError):
        await database.run_alone("sweeper", failing)
    assert await database.run_alone("sweeper", inner)
    assert done == ["outer", "inner", "inner"]


async def test_advisory_lock_has_one_holder(empty_database_url: str, database: Database) -> None:
    """The second asker is told no at once, and yes after the first has left."""
    async with (
        database.advisory_lock("sweeper") as first,
        database.advisory_lock("sweeper") as second,
        database.advisory_lock("feeder") as other,
    ):
        assert (first.held, second.held, other.held) == (True, False, True)
    async with database.advisory_lock("sweeper") as again:
        assert again.held


async def test_time_is_the_injected_clocks(empty_database_url: str) -> None:
    """A test's clock replaces the database's time."""
    database = Database.open(empty_database_url, clock=lambda: 1234)
    async with database.reading() as connection:
        assert await connection.now() == 1234
    await database.close()


async def test_time_is_milliseconds(database: Database) -> None:
    """Without an injected clock the time is that of this century, in milliseconds."""
    async with database.reading() as connection:
        assert 1_700_000_000_000 < await connection.now() < 4_000_000_000_000


async def test_a_foreign_lock_on_the_file_is_waited_out(tmp_path: Path) -> None:
    """A writer waits, without blocking the loop, for another process that holds the SQLite file."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    holder, waiter = Database.open(url), Database.open(url)
    order: list[str] = []

    async def hold(connection: Connection) -> None:
        await asyncio.sleep(0.05)
        order.append("holder")

    async def follow(connection: Connection) -> None:
        order.append("waiter")

    async with asyncio.TaskGroup() as group:
        group.create_task(holder.write(hold))
        await asyncio.sleep(0.01)
        group.create_task(waiter.write(follow))
    assert order == ["holder", "waiter"]
    await holder.close()
    await waiter.close()


RECOVERER = """
import fcntl, os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE counters (name TEXT, value INTEGER)")
database.execute("INSERT INTO counters VALUES ('a', 7)")
index = os.open(sys.argv[1] + "-shm", os.O_RDWR)
os.pwrite(index, bytes(136), 0)
fcntl.lockf(index, fcntl.LOCK_EX, 3, 120)
print("held", flush=True)
sys.stdin.read()
os._exit(0)
"""
"""Leaves a write-ahead log with a broken index, and holds the locks (SQLite's WAL format, 2.2) of who repairs it."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Another process at the repair of a database; it ends when it is let go."""

    url: str
    let_go: Callable[[], None]


@pytest.fixture
def recovery(tmp_path: Path) -> Iterator[Recovery]:
    """A SQLite database as after a kill, held by another process."""
    path = tmp_path / "killed.db"
    command = (sys.executable, "-c", RECOVERER, str(path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield Recovery(f"sqlite:///{path}", process.stdin.close)


@pytest.mark.parametrize("way", ["reading", "writing"])
async def test_a_foreign_recovery_is_waited_out(recovery: Recovery, way: str) -> None:
    """A SQLite file whose log another process just repairs, after a kill, is opened as soon as that is done."""
    database = Database.open(recovery.url)

    async def read(connection: Connection) -> int:
        return int((await connection.execute(select(COUNTERS.c.value))).scalar_one())

    opening = asyncio.create_task(value_of(database, "a") if way == "reading" else database.write(read))
    await asyncio.wait({opening}, timeout=0.02)
    assert not opening.done()
    recovery.let_go()
    assert await opening == 7
    await database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_unusable_urls_are_refused(url: str) -> None:
    """A database that would lose data or cannot be spoken to is refused at once."""
    with pytest.raises(ValueError, match="sqlite:///"):
        Database.open(url)
