"""Work under the eye of a counter: how many steps lie between two counts, and how much was counted in all.

A step is the call of a function, whether it is written in Python or in C. Unlike time, their number is the same on
every machine. `CountingTurns` stands in for the turns that a router gives its computations: it computes everything in
one go, with a `CountingWork`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, TypeVar

from trifolio.work import Work

STEPS_PER_UNIT: Final = 25
"""A unit is about a microsecond, in which C makes some 25 calls at most."""

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Steps:
    """What was seen of one computation."""

    since: int = 0
    """Steps since something was counted."""
    announced: int = 0
    """Units that were counted then."""
    worst: int = 0
    """The most steps between two counts, beyond those that the first one announced."""
    place: str = ""
    """Where the second one stands."""

    def look_back(self, caller: FrameType | None) -> None:
        """Take note of how many steps lie behind, and begin again."""
        beyond = self.since - self.announced * STEPS_PER_UNIT
        if beyond > self.worst:
            self.worst = beyond
            self.place = "the end" if caller is None else f"{caller.f_code.co_filename}:{caller.f_lineno}"
        self.since = 0

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """What the interpreter calls for every step."""
        if event in {"call", "c_call"}:
            self.since += 1


class CountingWork(Work):
    """A budget that takes note of the steps between two counts."""

    __slots__ = ("steps",)

    def __init__(self, units_max: int, steps: Steps | None = None) -> None:
        super().__init__(units_max)
        self.steps = steps or Steps()

    def spend(self, units: int = 1) -> None:
        """Count work, and look how many steps lie behind."""
        self.steps.look_back(sys._getframe(1))
        self.steps.announced = units
        super().spend(units)

    def half(self) -> "Work":
        """Half of what is left, under the same eye."""
        return CountingWork(self.left // 2, self.steps)

    def count(self, compute: Callable[[Work], _Result]) -> _Result:
        """What `compute` returns or raises, counted."""
        outer = sys.getprofile()
        sys.setprofile(self.steps.profile)
        try:
            return compute(self)
        finally:
            sys.setprofile(outer)
            self.steps.look_back(None)


class CountingTurns:
    """Computes in one go, and keeps what was counted."""

    def __init__(self) -> None:
        self.runs: list[CountingWork] = []

    async def go_on(self, compute: Callable[[Work], _Result], units_max: int) -> _Result:
        """The same, for a request that was let in already."""
        return await self.run(compute, units_max)

    async def run(self, compute: Callable[[Work], _Result], units_max: int) -> _Result:
        """What `compute` returns or raises."""
        work = CountingWork(units_max)
        self.runs.append(work)
        return work.count(compute)
