"""Running a plan's fetches: each starts the moment the last fetch that it waits for has ended, however it ended.

The schedule knows the DAG and nothing of what a fetch does. Whatever ends it (a bug, the client that goes away) ends
every fetch in flight with it, and none outlives `run`. A chain of fetches runs in one task, from a fetch to the first
that waited for it; only what runs beside it costs a task of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable

from trifolio.executor.prepare import PreparedFetch, PreparedPlan

Perform = Callable[[PreparedFetch], Awaitable[None]]
"""Does one fetch from its inputs to the merged tree; raises only what is a bug."""


async def run(prepared: PreparedPlan, perform: Perform) -> None:
    """Perform every fetch of the plan once, in the order of their dependencies and otherwise at the same time."""
    waiting = [len(item.fetch.depends_on) for item in prepared.fetches]
    first = [index for index, count in enumerate(waiting) if count == 0]
    if not first:
        return
    try:
        async with asyncio.TaskGroup() as group:
            await _Chain(prepared, perform, waiting, group).follow(first)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


class _Chain:
    """What the tasks of one execution share."""

    __slots__ = ("_group", "_perform", "_prepared", "_waiting")

    def __init__(self, prepared: PreparedPlan, perform: Perform, waiting: list[int], group: asyncio.TaskGroup) -> None:
        self._prepared = prepared
        self._perform = perform
        self._waiting = waiting
        """For every fetch, how many of those that it waits for have not ended."""
        self._group = group

    async def follow(self, ready: list[int]) -> None:
        """Perform the first fetch of `ready` here and the others beside it, then what waited for the first."""
        while ready:
            for other in ready[1:]:
                self._group.create_task(self.follow([other]))
            await self._perform(self._prepared.fetches[ready[0]])
            ready = self._release(ready[0])

    def _release(self, ended: int) -> list[int]:
        """The fetches that waited for this one alone."""
        ready: list[int] = []
        for dependant in self._prepared.dependants[ended]:
            self._waiting[dependant] -= 1
            if self._waiting[dependant] == 0:
                ready.append(dependant)
        return ready
