"""What is under way and not waited for: how its end is told, and how it is ended by whoever began it."""

from collections.abc import Callable
from typing import Protocol


class InFlight(Protocol):
    """Something that was begun, and whose end will be told."""

    def cancel(self) -> object:
        """End it: nobody is told anything of it any more."""


HasEnded = Callable[[BaseException | None], None]
"""Is called once when a fetch that was begun is over: None where its answer was merged, or why there is none; else the
bug that was met."""
