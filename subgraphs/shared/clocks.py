"""Time that can be relied on: a clock on the wall may be set, back and forth, and nothing may stop or hurry for it.

Points in time are the database's. How long something has lasted here is measured on the monotonic clock, which is never
set; where both tell an age, the greater counts, so that a clock set back makes nothing young again.
"""

import time
from collections.abc import Callable

WAITING_MAX = 10_000
"""Rows whose waiting is measured at once; of more, the one that was seen first is measured anew."""

STEP_S = 5.0
"""A difference between wall and monotonic clock that is a step: slewing corrects less than a millisecond a second."""

Seconds = Callable[[], float]


class Patience:
    """How long each row has waited since this process first saw it wait."""

    def __init__(self, *, monotonic: Seconds = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def waited_ms(self, key: str) -> int:
        """The milliseconds since the first such question about the row."""
        now = self._monotonic()
        if key not in self._since and len(self._since) >= WAITING_MAX:
            del self._since[next(iter(self._since))]
        return int((now - self._since.setdefault(key, now)) * 1_000)

    def forget(self, key: str) -> None:
        """The row waits no longer."""
        self._since.pop(key, None)


class ClockWatch:
    """Counts the steps of the wall clock: each is a fault of the machine that somebody should know of."""

    def __init__(self, *, wall: Seconds = time.time, monotonic: Seconds = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self.steps = 0
        """Steps of more than `STEP_S`, back or forth, since the process began."""

    def look(self) -> float:
        """Compares the two clocks; the seconds of a step since the last look, 0 for none."""
        offset = self._wall() - self._monotonic()
        step = offset - self._offset
        self._offset = offset
        if abs(step) <= STEP_S:
            return 0.0
        self.steps += 1
        return step
