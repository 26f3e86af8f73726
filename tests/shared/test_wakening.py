"""Who waits for a topic is woken by whoever commits a change of it, in this process and in another."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from subgraphs.shared import database as database_module
from subgraphs.shared.database import WAKES_BYTES_MAX, Connection, Database, _payloads
from subgraphs.shared.wakening import Wakening

PATIENCE_S = 10.0
SHORT_S = 0.05


async def wake(database: Database, *topics: str) -> None:
    """A transaction that wakes topics."""

    async def work(connection: Connection) -> None:
        connection.wakes.update(topics)

    await database.write(work)


@pytest.fixture
async def replicas(empty_database_url: str, database_kind: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' views of one database, both of which hear wakes."""
    opened = Database.open(empty_database_url), Database.open(empty_database_url)
    loops = []
    for each in opened:
        # What begins to listen wakes everybody.
        with each.wakening.waiting("listening") as waiter:
            loops.append(asyncio.ensure_future(each.carry_wakes()))
            if database_kind == "postgresql":
                assert await waiter.wait(PATIENCE_S)
    yield opened
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    for each in opened:
        await each.close()


async def test_a_wake_reaches_those_who_wait_for_its_topic() -> None:
    """A waiter of several topics is woken by any of them; one of another topic is not."""
    wakening = Wakening()
    with wakening.waiting("a", "b") as both, wakening.waiting("c") as other:
        wakening.wake(["b"])
        assert await both.wait(PATIENCE_S)
        assert not await other.wait(SHORT_S)
        assert not await both.wait(SHORT_S), "a wake ends one wait"
    assert wakening.waiters == 0


async def test_a_wake_that_comes_while_the_reader_reads_is_kept() -> None:
    """Between two waits nothing is lost."""
    wakening = Wakening()
    with wakening.waiting("a") as waiter:
        wakening.wake(["a"])
        wakening.wake(["a"])
        assert await waiter.wait(PATIENCE_S)
        assert not await waiter.wait(SHORT_S)


async def test_a_commit_wakes_and_a_rollback_does_not(replicas: tuple[Database, Database]) -> None:
    """Readers hear of what is committed, and of nothing else."""
    database, _ = replicas

    async def fail(connection: Connection) -> None:
        connection.wakes.add("a")
        raise LookupError("no")

    with database.wakening.waiting("a") as waiter:
        with pytest.raises(LookupError):
            await database.write(fail)
        assert not await waiter.wait(SHORT_S)
        await wake(database, "a")
        assert await waiter.wait(PATIENCE_S)
        assert not await waiter.wait(SHORT_S), "it does not hear itself"


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_another_replica_hears_of_a_commit(replicas: tuple[Database, Database]) -> None:
    """On PostgreSQL a wake reaches the readers of other processes, with many topics at once as with one."""
    here, there = replicas
    many = [f"topic {number}" for number in range(2_000)]
    with there.wakening.waiting("a") as one, there.wakening.waiting(many[-1]) as last:
        await wake(here, "a")
        assert await one.wait(PATIENCE_S)
        await wake(here, *many)
        assert await last.wait(PATIENCE_S)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_connection_that_was_lost_is_made_again(
    replicas: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server ends the listening connection, everybody is woken once, for what was missed, and then as ever."""
    monkeypatch.setattr(database_module, "WAKES_RETRY_S", 0.01)
    here, there = replicas

    async def end_listeners(connection: Connection) -> None:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()"
            )
        )

    with there.wakening.waiting("a") as waiter:
        await here.write(end_listeners)
        assert await waiter.wait(PATIENCE_S), "it cannot know what it has missed"
        for _ in range(100):
            await wake(here, "a")
            if await waiter.wait(0.1):
                return
    raise AssertionError("no wake arrives any more")


def test_payloads_are_as_long_as_postgresql_takes() -> None:
    """Many topics are told in several notifications, each of which names its sender."""
    topics = {f"{number:036}" for number in range(1_000)}
    payloads = _payloads("me", topics)
    assert max(len(each) for each in payloads) <= WAKES_BYTES_MAX + 100
    assert all(each.startswith("me\n") for each in payloads)
    assert {line for each in payloads for line in each.split("\n")[1:]} == topics
    assert _payloads("me", set()) == []
