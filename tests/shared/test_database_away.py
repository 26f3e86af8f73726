"""A PostgreSQL server that restarts is waited for; one that stays away is not, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from subgraphs.shared import database as module
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import Refusal

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

END_ME = text("SELECT pg_terminate_backend(pg_backend_pid())")
COUNT = text("SELECT value FROM counters")
HOUR_MS = 3_600_000


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """An open database with one counter."""
    database = Database.open(empty_database_url)

    async def create(connection: Connection) -> None:
        await connection.execute(text("CREATE TABLE counters (value BIGINT NOT NULL)"))
        await connection.execute(text("INSERT INTO counters VALUES (0)"))

    await database.write(create)
    yield database
    await database.close()


async def count_of(database: Database) -> int:
    """The committed value of the counter."""
    async with database.reading() as connection:
        return int((await connection.execute(COUNT)).scalar_one())


async def end_connections(database: Database, operator: Database) -> None:
    """Ends two connections that the pool keeps, as the end of the server does; returns when their driver has heard."""
    heard = [asyncio.Event(), asyncio.Event()]
    own = text("SELECT pg_backend_pid()")
    async with database.reading() as first, database.reading() as second:
        pids = [(await each.execute(own)).scalar_one() for each in (first, second)]
        for each, event in zip((first, second), heard, strict=True):
            raw: Any = await each._connection.get_raw_connection()  # type: ignore[attr-defined]  # the driver's own
            raw.driver_connection.add_termination_listener(lambda _driver, event=event: event.set())
    async with operator.reading() as connection:
        for pid in pids:
            await connection.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer))"), {"pid": pid})
    for event in heard:
        await event.wait()


class Work:
    """Counts one up; the connection of its first run breaks there, or at the commit."""

    def __init__(self, *, breaks: bool = True) -> None:
        self.breaks, self.runs = breaks, 0

    async def __call__(self, connection: Connection) -> int:
        self.runs += 1
        await connection.execute(text("UPDATE counters SET value = value + 1"))
        if self.breaks and self.runs == 1:
            await connection.execute(END_ME)
        return int((await connection.execute(COUNT)).scalar_one())


async def test_a_transaction_that_lost_its_connection_runs_again(database: Database) -> None:
    """What it had done is undone with the connection, so its effect is there once."""
    work = Work()
    assert await database.write(work) == 1
    assert (work.runs, await count_of(database)) == (2, 1)


async def test_a_commit_that_lost_its_connection_is_left_to_the_key(database: Database) -> None:
    """Nobody knows whether it was done, so it is refused as unavailable and not done again here."""

    async def trap(connection: Connection) -> None:
        for statement in (
            "CREATE FUNCTION end_me() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON counters DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION end_me()",
        ):
            await connection.execute(text(statement))

    await database.write(trap)
    work = Work(breaks=False)
    with pytest.raises(Refusal) as refused:
        await database.write(work)
    assert refused.value.code.code == "unavailable"
    assert work.runs == 1


async def test_what_the_server_has_closed_is_not_used(
    database: Database, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections of the pool that ended meanwhile are replaced, and no request is refused for them."""
    operator = Database.open(empty_database_url)
    monkeypatch.setattr(module, "WRITE_ATTEMPTS_MAX", 1)
    await end_connections(database, operator)
    assert await count_of(database) == 0
    await end_connections(database, operator)
    assert await database.write(Work(breaks=False)) == 1
    await operator.close()


@asynccontextmanager
async def relay(server: str, folder: Path) -> AsyncIterator[None]:
    """Lets clients of the socket in `folder` through to the server; without it nobody listens there."""
    url = make_url(server)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if url.host:
            there = await asyncio.open_connection(url.host, url.port or 5432)
        else:
            there = await asyncio.open_unix_connection(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
        for one in (copy(reader, there[1]), copy(there[0], writer)):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listening = await asyncio.start_unix_server(serve, folder / ".s.PGSQL.5432")
    yield
    listening.close()
    for task in tasks:
        task.cancel()


def behind_relay(server: str, folder: Path) -> str:
    """The URL of the same database behind the relay in `folder`."""
    url = make_url(server).set(host=None, port=None).update_query_dict({"host": str(folder)})
    return url.render_as_string(hide_password=False)


async def test_a_server_that_starts_is_waited_for(empty_database_url: str, tmp_path: Path) -> None:
    """Reads and writes that come while it is away, however many, are answered once it is back."""
    database = Database.open(behind_relay(empty_database_url, tmp_path))

    async def ask() -> int:
        async with database.reading() as connection:
            return int((await connection.execute(text("SELECT 1"))).scalar_one())

    async def write(connection: Connection) -> int:
        return int((await connection.execute(text("SELECT 2"))).scalar_one())

    waiting = [asyncio.create_task(ask()) for _ in range(20)]
    waiting += [asyncio.create_task(database.write(write)) for _ in range(20)]
    done, _ = await asyncio.wait(waiting, timeout=3 * module.POSTGRES_AWAY_RETRY_MS / 1_000)
    assert done == set()
    async with relay(empty_database_url, tmp_path):
        assert await asyncio.gather(*waiting) == [1] * 20 + [2] * 20
        await database.close()


async def test_a_server_that_stays_away_is_not_waited_for(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it has been away for too long, every request is refused at its first attempt, until it is back."""
    tries = 0
    connect = module._PostgresBackend._connect

    async def counted(self: module._PostgresBackend, engine: AsyncEngine) -> AsyncConnection:
        nonlocal tries
        tries += 1
        return await connect(self, engine)

    monkeypatch.setattr(module._PostgresBackend, "_connect", counted)
    monkeypatch.setattr(module, "POSTGRES_AWAY_MS_MAX", 3 * module.POSTGRES_AWAY_RETRY_MS)
    database = Database.open(behind_relay(empty_database_url, tmp_path))
    with pytest.raises(Refusal):
        await database.write(Work())
    waited, tries = tries, 0
    for number in range(1, 4):
        with pytest.raises(Refusal):
            await database.revision()
        assert tries == number
    assert waited > 1
    async with relay(empty_database_url, tmp_path):
        assert await database.revision() is None
        await database.close()


async def test_readiness_is_told_at_once(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks whether the service can work does not wait for the server: 503 is the answer."""
    monkeypatch.setattr(module, "POSTGRES_AWAY_MS_MAX", HOUR_MS)
    database = Database.open(behind_relay(empty_database_url, tmp_path))
    database.require_schema(lambda _revision: None)
    for _ in range(2):
        with pytest.raises(Refusal):
            await database.require_usable()
    await database.close()


async def test_a_lock_is_lost_with_its_connection(database: Database, empty_database_url: str) -> None:
    """Its holder learns of it, another one may have it, and the end of the holder's work shows as what it was."""
    other = Database.open(empty_database_url)
    taken, lost = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.advisory_lock("feeder") as lock:
            assert lock.held
            taken.set()
            while lock.held:  # noqa: ASYNC110  # a loop as the feeder is one
                await asyncio.sleep(0.01)
            lost.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await taken.wait()
    async with other.reading() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
    await lost.wait()
    async with other.advisory_lock("feeder") as lock:
        assert lock.held
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder
    await other.close()
