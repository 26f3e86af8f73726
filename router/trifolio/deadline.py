"""A time by which a block of code has to be done, for what is done once per request.

`asyncio.timeout_at` does the same and costs three times as much: its `async with` makes two coroutines, and it can be
moved, which nobody needs here.
"""

import asyncio
from types import TracebackType


class Deadline:
    """A block of the running task that is cancelled at the loop's time `when`, and then ends with TimeoutError.

    `with Deadline(loop.time() + 2): await something()`. A cancellation from elsewhere passes through as it is.
    """

    __slots__ = ("_cancellations", "_has_come", "_task", "_timer", "_when")

    def __init__(self, when: float) -> None:
        self._when = when
        self._has_come = False

    def __enter__(self) -> None:
        """From here on; raises RuntimeError outside a task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for a task")
        self._task = task
        self._cancellations = task.cancelling()
        self._timer = asyncio.get_running_loop().call_at(self._when, self._come)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The block is done; raises TimeoutError where it was cancelled for the deadline alone."""
        self._timer.cancel()
        task = self._task
        del self._task  # a failure's traceback may know this, and the task would know the failure: a circle
        is_ours = self._has_come and task.uncancel() <= self._cancellations
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _come(self) -> None:
        self._has_come = True
        self._task.cancel()
