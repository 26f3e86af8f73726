"""What one request may cost: work in one currency, counted while it is done, with pauses in which others are served.

The problem. Parsing, validating, planning and completing are plain computation, and how much of it a document asks for
cannot be told from its length. A limit on each kind of thing in a document leaves the products of those limits open; a
clock would make the same request pass on one machine and fail on another.

The idea. Every phase counts what it does in units, as it does it: `work.spend(n)` before a step that costs about n
units. A unit is about a microsecond of this code on a server's core, so that one number bounds all phases together. A
request that has spent its budget is refused wherever it stands. And as every long computation passes here often, this
is where it can stand aside: `pause` is called every `PAUSE_UNITS`, and may let the event loop have a turn.

Why it is right. Units depend on the request alone: the same document costs the same everywhere, every time. Between two
calls a phase does no more than it announced, so both the budget and the time between pauses hold however the phases
are combined.

What it costs. A comparison and an addition per call. Callers count in bulk where a step is smaller than a unit.

    work = Work(1_000)
    for field in fields:
        work.spend(2)          # raises WorkExceeded at the five hundred and first field
        ...
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from trifolio.errors import ErrorCode, RequestError

_Result = TypeVar("_Result")

PAUSE_UNITS: Final = 1_000
"""1,000 units, about a millisecond, between two chances to stand aside: a tenth of what is a turn on the loop."""


class WorkExceeded(RequestError):
    """The request asks for more work than its budget: the client's fault, and true again whenever it is repeated."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.OPERATION_TOO_COSTLY)


class Work:
    """The work of one request. Not to be shared between requests."""

    __slots__ = ("_checkpoint", "_pause", "spent", "units_max")

    def __init__(self, units_max: int, pause: Callable[[], None] | None = None) -> None:
        """`units_max` is the budget; `pause` is called every `PAUSE_UNITS`, inside `spend`."""
        self.spent = 0
        """Units that were spent so far."""
        self.units_max = units_max
        """Units that may be spent."""
        self._pause = pause
        self._checkpoint = min(PAUSE_UNITS, units_max) if pause is not None else units_max

    @property
    def left(self) -> int:
        """Units that may still be spent."""
        return self.units_max - self.spent

    def spend(self, units: int = 1) -> None:
        """Count work that is about to be done. Raises WorkExceeded where it is beyond the budget."""
        self.spent += units
        if self.spent > self._checkpoint:
            self._look()

    def _look(self) -> None:
        if self.spent > self.units_max:
            raise WorkExceeded
        if self._pause is not None:
            self._checkpoint = min(self.spent + PAUSE_UNITS, self.units_max)
            self._pause()

    def half(self) -> "Work":
        """Half of what is left, for an attempt that may fail; what it has spent is to be counted when it ends."""
        return Work(self.left // 2, self._pause)


InTurns = Callable[[Callable[[Work], Any], int], Awaitable[Any]]
"""Hands a computation the work that it counts, up to so many units, and lets others have turns meanwhile."""


async def compute_in_turns(compute: Callable[[Work], _Result], units_max: int, in_turns: InTurns | None) -> _Result:
    """What `compute` returns or raises; it is computed at once where nobody gives turns."""
    if in_turns is None:
        return compute(Work(units_max))
    result: _Result = await in_turns(compute, units_max)
    return result
