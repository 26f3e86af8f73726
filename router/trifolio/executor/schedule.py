"""Running a plan's fetches: each starts the moment the last fetch that it waits for has ended, however it ended.

The schedule knows the DAG and nothing of what a fetch does. Whatever ends it (a bug, the client that goes away) ends
every fetch in flight with it, and none outlives `run`. A chain of fetches runs in the task that asks, from a fetch to
the first that waited for it; only what runs beside it costs a task of its own. So most plans need one task or none, and
`asyncio.TaskGroup`, which does the same for any coroutines, would cost a third of all that an engine does for them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from trifolio.executor.prepare import PreparedFetch, PreparedPlan

Perform = Callable[[PreparedFetch], Awaitable[None]]
"""Does one fetch from its inputs to the merged tree; raises only what is a bug."""


async def run(prepared: PreparedPlan, perform: Perform) -> None:
    """Perform every fetch of the plan once, in the order of their dependencies and otherwise at the same time."""
    chains = _Chains(prepared, perform)
    try:
        await chains.follow(prepared.first)
        if chains.beside:
            await chains.all_ended()
    except BaseException as failure:
        if chains.asking is None:
            raise
        raise await chains.give_up(chains.asking, failure) from None


class _Chains:
    """What the tasks of one execution share."""

    __slots__ = ("_bug", "_last_one", "_perform", "_prepared", "_waiting", "asking", "beside")

    def __init__(self, prepared: PreparedPlan, perform: Perform) -> None:
        self._prepared = prepared
        self._perform = perform
        self._waiting = [*prepared.waits]
        """For every fetch, how many of those that it waits for have not ended."""
        self._bug: BaseException | None = None
        """The first that a task beside has ended with."""
        self._last_one: asyncio.Future[None] | None = None
        """What waits for the last task beside to end."""
        self.asking: asyncio.Task[object] | None = None
        """The task of `run`, from the first task beside it on."""
        self.beside: set[asyncio.Task[None]] = set()

    async def follow(self, ready: Sequence[int]) -> None:
        """Perform the first fetch of `ready` here and the others beside it, then what waited for the first."""
        while ready:
            if len(ready) > 1:
                for other in ready[1:]:
                    self._start(other)
            await self._perform(self._prepared.fetches[ready[0]])
            ready = self._release(ready[0])

    async def all_ended(self) -> None:
        """Wait for the tasks beside."""
        while self.beside:
            self._last_one = asyncio.get_running_loop().create_future()
            await self._last_one

    async def give_up(self, asking: asyncio.Task[object], failure: BaseException) -> BaseException:
        """End what runs beside, now that `failure` has ended the rest; returns what is to be raised."""
        for task in self.beside:
            task.cancel()
        bug = self._bug
        if bug is not None and asking.uncancel() == 0:  # else somebody else cancelled it as well
            failure = bug
        while self.beside:
            try:
                await self.all_ended()
            except asyncio.CancelledError as again:
                failure = again
        return failure

    def _start(self, index: int) -> None:
        if self.asking is None:
            self.asking = asyncio.current_task()
        task = asyncio.get_running_loop().create_task(self.follow([index]))
        self.beside.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.beside.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None and self._bug is None:
            self._bug = bug
            if self.asking is not None:
                self.asking.cancel()
        if not self.beside and self._last_one is not None and not self._last_one.done():
            self._last_one.set_result(None)

    def _release(self, ended: int) -> list[int]:
        """The fetches that waited for this one alone."""
        waiting = self._waiting
        ready: list[int] = []
        for dependant in self._prepared.dependants[ended]:
            waiting[dependant] -= 1
            if not waiting[dependant]:
                ready.append(dependant)
        return ready
