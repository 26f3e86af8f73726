"""Running a plan's fetches: each starts the moment the last fetch that it waits for has ended, however it ended.

The schedule knows the DAG and nothing of what a fetch does. Whatever ends it (an error of its own, the client that goes
away) ends every fetch in flight with it, and none outlives `run`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from router.executor.prepare import PreparedFetch, PreparedPlan

Perform = Callable[[PreparedFetch], Awaitable[None]]
"""Does one fetch from its inputs to the merged tree; raises only what is a bug."""


async def run(prepared: PreparedPlan, perform: Perform) -> None:
    """Perform every fetch of the plan once, in the order of their dependencies and otherwise at the same time."""
    waiting = [len(item.fetch.depends_on) for item in prepared.fetches]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    running: dict[asyncio.Task[None], int] = {}
    try:
        while ready or running:
            if len(ready) == 1 and not running:
                ended = ready
                await perform(prepared.fetches[ended[0]])
            else:
                running.update({asyncio.ensure_future(_performed(perform, prepared, index)): index for index in ready})
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                ended = sorted(running.pop(task) for task in done)
                for task in done:
                    task.result()
            ready = _release(prepared, ended, waiting)
    finally:
        await _cancel(list(running))


async def _performed(perform: Perform, prepared: PreparedPlan, index: int) -> None:
    await perform(prepared.fetches[index])


def _release(prepared: PreparedPlan, ended: Sequence[int], waiting: list[int]) -> list[int]:
    """The fetches that waited for nothing but those that ended."""
    ready: list[int] = []
    for index in ended:
        for dependant in prepared.dependants[index]:
            waiting[dependant] -= 1
            if waiting[dependant] == 0:
                ready.append(dependant)
    return ready


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
