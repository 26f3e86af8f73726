"""The loop of sagas works when there is something to do: it waits for a wake or for the next row's time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from subgraphs.shared import driving
from subgraphs.shared.driving import Driver
from subgraphs.shared.peers import PeerUnavailable
from subgraphs.shared.wakening import Wakening

TOPIC = "a row is due"
PATIENCE_S = 10.0


class Rows:
    """A saga of numbers, each of which one move ends; every round that looks for them is counted."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.next_ms: int | None = None
        self.rounds = 0
        self.moved: list[int] = []
        self.looked = asyncio.Event()
        self.stuck: set[int] = set()

    async def end_overdue(self) -> None:
        """Nothing is."""

    async def take_due(self, limit: int) -> Sequence[int]:
        """All that are due."""
        taken, self.due = self.due[:limit], self.due[limit:]
        return taken

    async def due_in_ms(self) -> int | None:
        """What the test says; it is asked once per round."""
        self.rounds += 1
        self.looked.set()
        return self.next_ms

    def needs_driver(self, row: int) -> bool:
        """Until it is moved."""
        return row not in self.moved

    async def move(self, row: int) -> int:
        """Ends it."""
        if row in self.stuck:
            raise PeerUnavailable("away")
        self.moved.append(row)
        return row

    async def postpone(self, row: int, pause_ms: int) -> None:
        """It is due at once, for the sake of the test."""
        self.stuck.discard(row)
        self.due.append(row)

    def key(self, row: int) -> str:
        """Its digits."""
        return str(row)

    def attempts(self, row: int) -> int:
        """None."""
        return 0

    def report(self, row: int, failure: Exception) -> None:
        """Says nothing."""

    async def next_round(self) -> int:
        """The number of the next round, when it is over."""
        self.looked.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.looked.wait()
        return self.rounds


@asynccontextmanager
async def looping(rows: Rows, wakening: Wakening) -> AsyncIterator[Driver[int]]:
    """A driver whose loop runs, and has made its first round."""
    driver = Driver(rows, wakening, TOPIC, request_drive_ms=0)
    loop = asyncio.ensure_future(driver.run())
    assert await rows.next_round() == 1
    yield driver
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_look_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wake the loop would not look again in the time of a test."""
    monkeypatch.setattr(driving, "LOOP_PAUSE_MS_MAX", 600_000)


async def test_a_wake_is_a_round() -> None:
    """What is due when the wake comes is driven then; nothing happens before, and no wake of others is one."""
    rows, wakening = Rows(), Wakening()
    async with looping(rows, wakening):
        rows.due = [1, 2]
        wakening.wake(["something else"])
        await asyncio.sleep(0.1)
        assert (rows.rounds, rows.moved) == (1, [])
        wakening.wake([TOPIC])
        assert (await rows.next_round(), rows.moved) == (2, [1, 2])
        await asyncio.sleep(0.1)
        assert rows.rounds == 2


async def test_the_next_rows_time_is_waited_for() -> None:
    """A row that is due in a moment is driven in a moment."""
    rows = Rows()
    rows.next_ms = 0
    async with looping(rows, Wakening()):
        rows.due = [1]
        rows.next_ms = None
        await rows.next_round()
        assert rows.moved == [1]


async def test_the_loop_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tells it of what a process that was killed has left: it looks after a pause in any case."""
    monkeypatch.setattr(driving, "LOOP_PAUSE_MS_MAX", 1)
    rows = Rows()
    async with looping(rows, Wakening()):
        rows.due = [1]
        await rows.next_round()
        assert rows.moved == [1]


async def test_what_a_request_leaves_wakes_the_loop() -> None:
    """A row that the request could not drive to its end is the loop's at once."""
    rows = Rows()
    rows.stuck = {7}
    async with looping(rows, Wakening()) as driver:
        await driver.drive_request(7)
        await rows.next_round()
        assert rows.moved == [7]
