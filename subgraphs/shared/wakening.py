"""Who waits for something to change in the database is woken when it may have changed, and reads again.

A topic is a name that writers and readers agree on: a user's id, for whatever is that user's; a saga's name. A wake
says nothing of what has changed: the reader reads the tables, which alone are right. So a wake may come twice or for
nothing, and one that is lost only delays the reader until it looks by itself, which every reader does after `LOOK_S`.

    with wakening.waiting("the topic") as waiter:
        while True:
            ...                         # read; what is committed from here on wakes
            await waiter.wait()

A wake reaches readers of this process in memory; those of other processes it reaches through the database, where that
is PostgreSQL (`database`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_S = 10.0
"""10 seconds: how late a reader is at most that was not woken, as another process was killed between its commit and the
wake, or the connection that carries wakes was lost. A look is one statement."""


class Waiter:
    """One reader's wait. A wake that comes while the reader reads is kept for its next wait."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Ends the wait, or the next one."""
        self._woken.set()

    async def wait(self, timeout_s: float = LOOK_S) -> bool:
        """Waits for a wake, or so long; whether there was one."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Wakening:
    """The waiting readers of one process, by topic."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Waiter]] = {}

    def wake(self, topics: Collection[str]) -> None:
        """Wakes whoever waits for one of the topics."""
        for topic in topics:
            for waiter in self._waiting.get(topic, ()):
                waiter.wake()

    def wake_all(self) -> None:
        """Wakes everybody: nobody knows what was missed."""
        self.wake(tuple(self._waiting))

    @contextmanager
    def waiting(self, *topics: str) -> Iterator[Waiter]:
        """A waiter for these topics, from now to the end of the block."""
        waiter = Waiter()
        for topic in topics:
            self._waiting.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            for topic in topics:
                waiters = self._waiting[topic]
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[topic]

    @property
    def waiters(self) -> int:
        """How many readers wait, each counted once for each of its topics."""
        return sum(map(len, self._waiting.values()))


class SharedRead(Generic[T]):
    """What readers that are woken together read once, for all of them. It ends before the last of them has gone."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._coming: _Running[T] | None = None

    async def get(self) -> T:
        """What there is now: a read that begins after this call, or that another call has asked for and not begun."""
        running = self._coming
        if running is None:
            running = self._coming = _Running(asyncio.create_task(self._begin()))
        running.readers += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.readers -= 1
            if not running.readers and not running.task.done():
                if self._coming is running:
                    self._coming = None
                running.task.cancel()
                await asyncio.wait({running.task})

    async def _begin(self) -> T:
        await asyncio.sleep(0)  # whoever was woken as well asks by then
        self._coming = None
        return await self._read()


@dataclass(slots=True)
class _Running(Generic[T]):
    """A read, and how many wait for it."""

    task: asyncio.Task[T]
    readers: int = 0
