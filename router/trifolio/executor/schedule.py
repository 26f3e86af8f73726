"""Running a plan's fetches: each starts the moment the last fetch that it waits for has ended, however it ended.

The schedule knows the DAG and nothing of what a fetch does. A fetch is begun where that can be done without waiting:
then its end is a call, which starts what has waited for it, and nothing else of the program has to run for that. Where
it cannot, it is performed: in the task that asks, if that has nothing else to do, else in a task of its own. So most
plans need no task. (`asyncio.TaskGroup`, which does the same for any coroutines, would cost a third of all that an
engine does for them.)

Whatever ends the execution (a bug, the client that goes away) ends every fetch in flight with it, and none outlives
`run`.

Worked example. Fetch 0 brings what 1 and 2 ask with. 0 is begun, and the task that asks waits. 0 ends: 1 is begun in
that very call; for 2 there is no connection, so the waiting task is woken to perform it. Whichever of the two ends last
lets the task return.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from trifolio.executor.in_flight import HasEnded, InFlight
from trifolio.executor.prepare import PreparedFetch, PreparedPlan

Perform = Callable[[PreparedFetch], Awaitable[None]]
"""Does one fetch from its inputs to the merged tree; raises only what is a bug."""


Begin = Callable[[PreparedFetch, HasEnded], InFlight | None]
"""Begins one fetch, whose end is told later and never within this call; None where it has to be performed. What it
calls, or raises, comes in the context of the task that asks."""


async def run(prepared: PreparedPlan, perform: Perform, begin: Begin | None = None) -> None:
    """Do every fetch of the plan once, in the order of their dependencies and otherwise at the same time."""
    schedule = _Schedule(prepared, perform, begin)
    try:
        await schedule.follow()
    except BaseException as failure:
        if schedule.is_alone:
            raise
        raise await schedule.give_up(failure) from None
    finally:
        schedule.forget()


class _Schedule:
    """What has ended and what has not, of one execution."""

    __slots__ = (
        "_begin",
        "_beside",
        "_bug",
        "_has_cancelled",
        "_in_flight",
        "_left",
        "_perform",
        "_prepared",
        "_to_perform",
        "_waiting",
        "_wakes",
        "asking",
    )

    def __init__(self, prepared: PreparedPlan, perform: Perform, begin: Begin | None) -> None:
        self._prepared = prepared
        self._perform = perform
        self._begin = begin
        self._waiting = [*prepared.waits]
        """For every fetch, how many of those that it waits for have not ended."""
        self._left = len(self._waiting)
        """How many fetches have not ended."""
        self.asking: asyncio.Task[object] | None = None
        """The task that asks, from the first fetch on that it performs."""
        self._wakes: asyncio.Future[None] | None = None
        """What the task that asks waits for, when it does."""
        self._to_perform: int | None = None
        """What it is to perform when it wakes."""
        self._in_flight: dict[int, InFlight] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None
        """The first that was met elsewhere than in the task that asks."""
        self._has_cancelled = False
        """Whether that task was cancelled for it."""

    @property
    def is_alone(self) -> bool:
        """Whether nothing runs, or has run into a bug, but the task that asks."""
        return not self._in_flight and not self._beside and self._bug is None

    async def follow(self) -> None:
        """Start the fetches that wait for none, perform what has to be performed, and wait for the last to end."""
        mine = self._start(self._prepared.first)
        while self._left or self._beside:
            if mine is None:
                mine = await self._handed_over()
            else:
                self.asking = asyncio.current_task()
                await self._perform(self._prepared.fetches[mine])
                mine = self._start(self._release(mine))

    async def _handed_over(self) -> int | None:
        """Wait until there is a fetch to perform, or nothing left; raises a bug that was met before or meanwhile."""
        if self._bug is not None:  # what was performed has swallowed that it was cancelled
            raise self._bug
        self._wakes = asyncio.get_running_loop().create_future()
        try:
            await self._wakes
        finally:
            self._wakes = None
        if self._bug is not None:
            raise self._bug
        mine, self._to_perform = self._to_perform, None
        return mine

    def _wake(self) -> None:
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)

    async def give_up(self, failure: BaseException) -> BaseException:
        """End what is under way, now that `failure` has ended the rest; returns what is to be raised."""
        if self._has_cancelled and self.asking is not None and self.asking.uncancel() == 0:
            failure = self._bug or failure  # else somebody else cancelled it as well
        self.asking = None  # a bug that is met from here on cancels nobody
        for task in self._beside:
            task.cancel()
        while self._in_flight or self._beside:
            for each in self._in_flight.values():
                each.cancel()
            self._in_flight.clear()
            try:
                if self._beside:
                    await asyncio.wait(self._beside)
            except asyncio.CancelledError as again:
                failure = again
        return failure

    def forget(self) -> None:
        """Know neither the task nor a bug any more: both know the schedule, by a traceback, which would be a circle."""
        self.asking = self._bug = None

    # ---- what starts ----

    def _start(self, ready: Sequence[int]) -> int | None:
        """Begin these fetches; returns one that could not be begun, which is the caller's to perform. The others are
        performed beside it."""
        mine: int | None = None
        begin, fetches = self._begin, self._prepared.fetches
        for index in ready:
            if begin is not None:
                begun = begin(fetches[index], partial(self._has_ended, index))
                if begun is not None:
                    self._in_flight[index] = begun
                    continue
            if mine is None:
                mine = index
            else:
                self._perform_beside(index)
        return mine

    def _perform_beside(self, index: int) -> None:
        task = asyncio.get_running_loop().create_task(self._beside_from(index))
        self._beside.add(task)
        task.add_done_callback(self._beside_has_ended)

    async def _beside_from(self, index: int) -> None:
        """Perform a fetch, then what waited for it and cannot be begun."""
        mine: int | None = index
        while mine is not None:
            await self._perform(self._prepared.fetches[mine])
            mine = self._start(self._release(mine))

    # ---- what ends ----

    def _has_ended(self, index: int, bug: BaseException | None) -> None:
        """A fetch that was begun is over."""
        del self._in_flight[index]
        if bug is not None:
            self._fail(bug)
            return
        try:
            left = self._start(self._release(index))
            if left is not None:
                self._hand_over(left)
            elif not self._left:
                self._wake()
        except BaseException as found:  # noqa: BLE001  # raised where the task that asks can be reached
            self._fail(found)

    def _hand_over(self, index: int) -> None:
        """Have a fetch performed: by the task that asks, if it does nothing else."""
        if self._wakes is None or self._wakes.done():
            self._perform_beside(index)
        else:
            self._to_perform = index
            self._wakes.set_result(None)

    def _beside_has_ended(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        bug = asyncio.CancelledError() if task.cancelled() else task.exception()
        if bug is not None:  # that it was cancelled, too, unless we have: then nobody waits for it any more
            self._fail(bug)
        elif not self._left and not self._beside:
            self._wake()

    def _fail(self, bug: BaseException) -> None:
        """End the execution with a bug."""
        if self._bug is not None:
            return
        self._bug = bug
        if self._wakes is not None:
            self._wake()
        elif self.asking is not None:
            self._has_cancelled = self.asking.cancel()

    def _release(self, ended: int) -> Sequence[int]:
        """The fetches that waited for this one alone."""
        self._left -= 1
        dependants = self._prepared.dependants[ended]
        if not dependants:
            return dependants
        waiting = self._waiting
        ready: list[int] = []
        for dependant in dependants:
            waiting[dependant] -= 1
            if not waiting[dependant]:
                ready.append(dependant)
        return ready
