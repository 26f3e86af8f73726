"""A block that has to be done by a time."""

import asyncio

import pytest

from trifolio.deadline import Deadline


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


async def test_what_is_done_in_time_is_left_alone() -> None:
    """A block that ends before its deadline ends as without one, and nothing comes later."""
    with Deadline(now() + 60):
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError), Deadline(now() + 60):
        raise ZeroDivisionError
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_late_ends() -> None:
    """A block that waits beyond its deadline ends with TimeoutError, and its task goes on."""
    with pytest.raises(TimeoutError), Deadline(now()):
        await asyncio.Event().wait()
    await asyncio.sleep(0)


async def test_another_cancellation_is_no_timeout() -> None:
    """Who cancels the task gets a cancelled task, also where the deadline comes at the same moment."""
    loop = asyncio.get_running_loop()

    async def wait(task_is_cancelled_with_it: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        when = now() if task_is_cancelled_with_it else now() + 60
        with Deadline(when):
            loop.call_at(when if task_is_cancelled_with_it else now(), task.cancel)
            await asyncio.Event().wait()

    for both in (False, True):
        waiting = asyncio.ensure_future(wait(both))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert waiting.cancelled()


async def test_of_two_deadlines_the_first_counts() -> None:
    """A deadline within another: what ends the outer block is no timeout of the inner one."""
    came: list[str] = []

    async def wait() -> None:
        try:
            with Deadline(now() + 60):
                await asyncio.Event().wait()
        except TimeoutError:
            came.append("inner")

    with pytest.raises(TimeoutError), Deadline(now()):
        await wait()
    assert came == []
    with pytest.raises(TimeoutError), Deadline(now() + 60), Deadline(now()):
        await asyncio.Event().wait()


def test_without_a_task_there_is_none() -> None:
    """Outside a task there is nothing to cancel."""

    async def enter() -> None:
        failures: list[RuntimeError] = []

        def call() -> None:
            try:
                with Deadline(now()):
                    pass
            except RuntimeError as error:
                failures.append(error)

        asyncio.get_running_loop().call_soon(call)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert failures

    asyncio.run(enter())
