"""Long computations in turns: whoever computes for long does it in slices of 10 ms, and the event loop runs between.

The problem. A plan for a large operation takes up to a quarter of a second, and while the loop's thread computes it,
nobody else is served. A thread would not help: Python code in it holds the interpreter. A process would need the
supergraph a second time, and the plan carried back.

The idea. The computation runs in a greenlet: a stack of its own in the same thread, that can be left in the middle and
entered again. It counts its work (`work.py`), and where a slice is over, counting leaves it. The coroutine that waits
for it then lets the loop run, and enters again.

Why it is right. Nothing runs at the same time: a computation is left only where it counts, and sees its own data alone.
Turns are given in order, and between two looks of the loop at its sockets all computations together have one slice,
however many there are: who comes when it is used up, waits. So the loop's delay is a slice and what one step between
two counts takes, and every computation gets on.

What they hold. A large plan under way is some ten megabytes of small objects. Were hundreds under way, they would fill
the memory, and looking through it for garbage would stop the loop for a second. So only a few long ones are under way
at a time. Whether one is long, its first slice shows: what is not done then, and finds no room, is given up, waits with
nothing but its request, and is begun again. That repeats one slice at most, and is why `compute` must leave nothing
behind before it returns.

What it costs. Starting a greenlet takes about a microsecond; a computation that is done within its first slice never
leaves, and pays nothing else.

    turns = Turns(computations_max=1_000, long_computations_max=4)
    plan = await turns.run(lambda work: make_plan(document, work), units_max=250_000)
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import copy_context
from time import perf_counter
from typing import Final, TypeVar

from greenlet import getcurrent, greenlet

from trifolio.errors import ErrorCode, RouterError
from trifolio.work import Work

SLICE_S: Final = 0.01
"""10 ms: what a client of something else waits longer, which nobody notices."""

_Result = TypeVar("_Result")


class _NoRoomError(Exception):
    """A computation is a long one, and as many as may be are under way."""


class Turns:
    """Gives the computations of one event loop their turns."""

    def __init__(
        self, *, computations_max: int, long_computations_max: int, clock: Callable[[], float] = perf_counter
    ) -> None:
        """At most `computations_max` wait or are under way, of long ones so many are; `clock` is in seconds."""
        self._computations_max = computations_max
        self._room = asyncio.Semaphore(long_computations_max)
        self._clock = clock
        self._computations = 0
        self._used_s = 0.0
        self._ends_round = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def go_on(self, compute: Callable[[Work], _Result], units_max: int) -> _Result:
        """As `run`, for a request that was let in already: its answer is not refused, however many are computed."""
        return await self._run(compute, units_max)

    async def run(self, compute: Callable[[Work], _Result], units_max: int) -> _Result:
        """What `compute` returns, or raises; it is handed the work that it has to count.

        It may be given up and called again, with its work uncounted.

        Raises:
            WorkExceeded: it counted more than `units_max`.
            RouterError: OVERLOADED, as too many computations are under way already.
        """
        if self._computations >= self._computations_max:
            raise RouterError(ErrorCode.OVERLOADED)
        self._computations += 1
        try:
            async with AsyncExitStack() as room:
                try:
                    return await self._run(compute, units_max, room)
                except _NoRoomError:
                    await room.enter_async_context(self._room)
                return await self._run(compute, units_max)
        finally:
            self._computations -= 1

    async def _run(
        self, compute: Callable[[Work], _Result], units_max: int, room: AsyncExitStack | None = None
    ) -> _Result:
        """Compute in slices; where `room` is to be taken after the first one and there is none, raise _NoRoomError."""
        outcome: list[_Result] = []
        entered, loops = 0.0, getcurrent()

        def pause() -> None:
            if self._clock() - entered >= SLICE_S:
                loops.switch()

        def body() -> None:
            outcome.append(compute(Work(units_max, pause)))

        runner = greenlet(body)
        runner.gr_context = copy_context()
        await self._turn()
        try:
            while True:
                entered = self._clock()
                runner.parent = loops = getcurrent()
                try:
                    runner.switch()
                finally:
                    self._used(self._clock() - entered)
                if runner.dead:
                    return outcome[0]
                if room is not None:
                    if self._room.locked():
                        raise _NoRoomError
                    await room.enter_async_context(self._room)
                    room = None
                await self._turn()
        finally:
            if not runner.dead:  # it was given up
                runner.parent = getcurrent()
                runner.throw()

    async def _turn(self) -> None:
        """Wait until this round has time left."""
        if self._used_s < SLICE_S and not self._waiting:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._end_round_later()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _used(self, seconds: float) -> None:
        self._used_s += seconds
        self._end_round_later()

    def _end_round_later(self) -> None:
        if not self._ends_round:
            self._ends_round = True
            asyncio.get_running_loop().call_soon(self._end_round)

    def _end_round(self) -> None:
        """The loop has looked at its sockets: there is a new slice, for who has waited longest."""
        self._ends_round = False
        self._used_s = 0.0
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                if self._waiting:
                    self._end_round_later()
                return
