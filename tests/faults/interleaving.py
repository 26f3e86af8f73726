"""Forces the interleavings of two transactions on PostgreSQL, statement by statement.

A `LaneDatabase` is a service's database whose transactions stop before each statement and before the commit, until the
schedule gives their lane a turn. A statement that waits for a row lock of the other lane is seen in pg_stat_activity;
the schedule then goes on with the other lane. So a schedule is a fact and no hope: nothing here sleeps to be lucky.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from itertools import chain, cycle
from typing import Any, Literal, TypeVar

from sqlalchemy import func, select, text
from sqlalchemy.sql import Executable

from subgraphs.shared.database import Connection, Database, LastWork
from subgraphs.shared.statements import Executed, Parameters

T = TypeVar("T")

_WAITS_FOR_LOCK = text("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = :pid")
_POLL_S = 0.002


class Lane:
    """One of the two transactions: where it stands, and the permission to take one step."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.steps = 0
        self._granted = asyncio.Event()
        self._arrived = asyncio.Event()

    async def gate(self) -> None:
        """Waits for the turn."""
        self._arrived.set()
        await self._granted.wait()
        self._granted.clear()
        self.steps += 1

    def waits_for_its_turn(self) -> bool:
        return self._arrived.is_set()

    def grant(self) -> None:
        """Lets it take one step."""
        self._arrived.clear()
        self._granted.set()

    async def settle(self, task: "asyncio.Task[Any]", watcher: Database) -> None:
        """Returns when the step is done, the whole task is, or the step waits for the other lane's lock."""
        while not self.waits_for_its_turn() and not task.done():
            arrival = asyncio.ensure_future(self._arrived.wait())
            await asyncio.wait({arrival, task}, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
            arrival.cancel()
            if not self.waits_for_its_turn() and not task.done() and await self._is_locked_out(watcher):
                return

    async def _is_locked_out(self, watcher: Database) -> bool:
        async with watcher.reading() as connection:
            return bool((await connection.execute(_WAITS_FOR_LOCK, {"pid": self.pid})).scalar_one_or_none())


class _LaneConnection:
    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, connection: Connection, lane: Lane) -> None:
        self._connection = connection
        self._lane = lane
        self.last: dict[object, LastWork] = {}
        self.wakes = connection.wakes

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> Executed:
        await self._lane.gate()
        return await self._connection.execute(statement, parameters)

    async def now(self) -> int:
        return await self._connection.now()


class LaneDatabase(Database):
    """A PostgreSQL database whose writes move only when their lane has its turn."""

    lane: Lane

    async def write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """`Database.write`, one step per turn; the commit is a step too."""

        async def stepped(connection: Connection) -> T:
            self.lane.pid = (await connection.execute(select(func.pg_backend_pid()))).scalar_one()
            on_lane = _LaneConnection(connection, self.lane)
            result = await work(on_lane)
            for last in on_lane.last.values():
                await last.finish(on_lane)
            await self.lane.gate()
            return result

        return await super().write(stepped)


async def interleave(
    databases: tuple[LaneDatabase, LaneDatabase],
    works: tuple[Coroutine[Any, Any, T], Coroutine[Any, Any, T]],
    schedule: Iterable[int],
    watcher: Database,
) -> tuple[T | BaseException, T | BaseException]:
    """Runs two pieces of work, each on its lane's database, in the order of turns that `schedule` gives.

    Turns of a lane that is finished or locked out go to nobody; after the schedule the lanes alternate to the end.
    Returns what each returned or raised.
    """
    lanes = [Lane(), Lane()]
    for database, lane in zip(databases, lanes, strict=True):
        database.lane = lane
    tasks = [asyncio.ensure_future(work) for work in works]
    for lane, task in zip(lanes, tasks, strict=True):
        await lane.settle(task, watcher)
    for turn in chain(schedule, cycle((0, 1))):
        if all(task.done() for task in tasks):
            break
        if lanes[turn].waits_for_its_turn():
            lanes[turn].grant()
        if not tasks[turn].done():
            await lanes[turn].settle(tasks[turn], watcher)
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    return first, second


def preemptions(steps_max: int) -> Iterator[tuple[int, ...]]:
    """Schedules in which one lane takes k steps, then the other runs to its end, for every k and both lanes."""
    for leader in (0, 1):
        for steps in range(steps_max + 1):
            yield (leader,) * steps + (1 - leader,) * (steps_max + 1)
