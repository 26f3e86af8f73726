"""Work that several wait for at the same time: the first who asks does it, the others get what it came to.

The problem. When many clients ask the same at the same moment, each asks the subgraphs again for what is on its way
already.

The idea. What is under way is found by a key that everything in its result follows from. Who comes with a key that is
not there does the work, in the task that asks; whoever comes with the same key meanwhile waits for that. When it is
done, the key is gone: nothing is kept, so nothing can be out of date.

Why it is right. (1) Nobody gets a result that was complete before they asked: the key is there only while the work is
under way. (2) Who has written reads what was written: `part` takes all keys away when a write ends, so that what began
before it is not joined after it. (3) Who gives up takes nobody along: when the one who does the work is cancelled, the
first of the others begins it again. (4) A failure is everybody's, as it would be if each had asked.

What it costs. A look-up and a list per piece of work, a future for each who joins; as many keys as there are pieces
under way.

Worked example. A, B and C ask for the key k. A does the work; B and C wait. A's client goes away: A is cancelled, B
wakes, finds no k and does the work; C wakes, finds B's k and waits again. B is done: C has the same result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")

_Outcome = tuple[Result, Exception | None] | None
"""The result, or why there is none; None where whoever did the work gave up."""


class Sharing(Generic[Result]):
    """Pieces of work that are under way, by key. It belongs to one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, list[asyncio.Future[_Outcome[Result]]]] = {}

    def __len__(self) -> int:
        """How many pieces of work can be joined."""
        return len(self._under_way)

    async def share(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        """The result for `key`, and whether another did the work for it. Raises whatever the work raises."""
        while True:
            waiting = self._under_way.get(key)
            if waiting is None:
                return await self._do(key, work), False
            turn: asyncio.Future[_Outcome[Result]] = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            outcome = await turn
            if outcome is not None:
                result, failure = outcome
                if failure is not None:
                    raise failure
                return result, True

    def part(self) -> None:
        """From here on nobody joins what is under way: something was written that it may not have seen."""
        self._under_way = {}

    async def _do(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> Result:
        waiting: list[asyncio.Future[_Outcome[Result]]] = []
        self._under_way[key] = waiting
        outcome: tuple[Result | None, Exception | None] | None = None
        try:
            result = await work()
            outcome = result, None
            return result
        except Exception as failure:
            outcome = None, failure
            raise
        finally:
            if self._under_way.get(key) is waiting:
                del self._under_way[key]
            for turn in waiting:
                if not turn.done():
                    turn.set_result(outcome)  # type: ignore[arg-type]  # without a failure there is a result
