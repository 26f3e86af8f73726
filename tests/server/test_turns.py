"""Work is counted up to its budget, and long computations let the event loop run between their slices."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from itertools import pairwise

import pytest

from trifolio.errors import ErrorCode, RouterError
from trifolio.turns import SLICE_S, Turns
from trifolio.work import PAUSE_UNITS, Work, WorkExceeded


def test_work_up_to_the_budget_is_done() -> None:
    """The budget itself may be spent, one unit more is refused, and stays refused."""
    work = Work(10)
    work.spend(10)
    for _ in range(2):
        with pytest.raises(WorkExceeded) as refusal:
            work.spend()
        assert (refusal.value.code, refusal.value.status) == (ErrorCode.OPERATION_TOO_COSTLY, 400)


@pytest.mark.parametrize("step", [1, 7, PAUSE_UNITS, 10 * PAUSE_UNITS])
def test_pauses_come_often(step: int) -> None:
    """Between two pauses lies no more than one step beyond the distance that is promised."""
    at: list[int] = [0]
    work = Work(1_000_000, lambda: at.append(work.spent))
    for _ in range(5 * PAUSE_UNITS // step + 5):
        work.spend(step)
    assert len(at) > 3
    assert all(later - earlier <= PAUSE_UNITS + step for earlier, later in pairwise(at))


class Clock:
    """A clock that computations move by working."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def computing(self, name: str, slices: int, log: list[str]) -> Callable[[Work], str]:
        """A computation that takes so many slices."""

        def compute(work: Work) -> str:
            for _ in range(slices):
                log.append(name)
                self.now += SLICE_S * 1.5
                work.spend(PAUSE_UNITS + 1)
            return name

        return compute


@pytest.fixture
def clock() -> Clock:
    """A clock at zero."""
    return Clock()


async def _rounds(log: list[str], number: int) -> None:
    for _ in range(number):
        log.append("|")
        await asyncio.sleep(0)


async def test_the_loop_runs_between_slices(clock: Clock) -> None:
    """Of computations side by side, one slice is computed in a round of the loop, in turn."""
    log: list[str] = []
    turns = Turns(computations_max=10, long_computations_max=10, clock=clock)
    computations = [turns.run(clock.computing(name, 3, log), 1_000_000) for name in "abc"]
    *results, _ = await asyncio.gather(*computations, _rounds(log, 40))
    assert results == ["a", "b", "c"]
    slices = "".join(log).split("|")
    assert "".join(slices) == "aabcabcbc"  # the first goes on waiting before the others have come
    assert max(map(len, slices)) == 1


async def test_short_computations_share_a_slice(clock: Clock) -> None:
    """What is short does not wait for a round of its own, and many of them still let the loop run."""
    log: list[str] = []
    turns = Turns(computations_max=100, long_computations_max=10, clock=clock)

    def short(work: Work) -> None:
        log.append("s")
        clock.now += SLICE_S / 4

    await asyncio.gather(*(turns.run(short, 100) for _ in range(10)), _rounds(log, 20))
    assert "".join(log).split("|")[0] == "ssss"
    assert log.count("s") == 10


async def test_a_budget_ends_a_computation(clock: Clock) -> None:
    """Who spends more than the budget is refused, in whichever slice that is, and others go on."""
    turns, log = Turns(computations_max=10, long_computations_max=10, clock=clock), list[str]()
    with pytest.raises(WorkExceeded):
        await turns.run(clock.computing("a", 5, log), 3 * PAUSE_UNITS)
    assert await turns.run(clock.computing("b", 1, log), 3 * PAUSE_UNITS) == "b"


async def test_a_failure_is_the_callers(clock: Clock) -> None:
    """What a computation raises, its caller gets."""

    def fail(work: Work) -> None:
        raise ZeroDivisionError

    turns = Turns(computations_max=10, long_computations_max=10, clock=clock)
    with pytest.raises(ZeroDivisionError):
        await turns.run(fail, 100)
    assert await turns.run(clock.computing("b", 2, []), 1_000_000) == "b"


async def test_a_request_that_is_given_up_ends_its_computation(clock: Clock) -> None:
    """Cancelled between two slices, a computation is unwound and computes no further."""
    log: list[str] = []
    turns = Turns(computations_max=10, long_computations_max=10, clock=clock)

    def compute(work: Work) -> None:
        try:
            clock.computing("a", 100, log)(work)
        finally:
            log.append("unwound")

    running = asyncio.create_task(turns.run(compute, 1_000_000))
    for _ in range(100):
        if log.count("a") < 3:
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log == ["a"] * 3 + ["unwound"]
    assert await turns.run(clock.computing("b", 2, log), 1_000_000) == "b"


async def test_who_waits_and_is_given_up_leaves_the_queue(clock: Clock) -> None:
    """A computation that never began does not begin when its request is gone."""
    log: list[str] = []
    turns = Turns(computations_max=10, long_computations_max=10, clock=clock)
    first = asyncio.create_task(turns.run(clock.computing("a", 5, log), 1_000_000))
    second = asyncio.create_task(turns.run(clock.computing("b", 1, log), 1_000_000))
    await asyncio.sleep(0)
    second.cancel()
    assert await first == "a"
    assert "b" not in log


async def test_only_so_many_wait(clock: Clock) -> None:
    """Who would be one too many is told at once that the router is busy."""
    turns = Turns(computations_max=3, long_computations_max=10, clock=clock)
    running = [asyncio.create_task(turns.run(clock.computing(str(n), 3, []), 1_000_000)) for n in range(4)]
    done = await asyncio.gather(*running, return_exceptions=True)
    refused = [each for each in done if isinstance(each, RouterError)]
    assert [each.code for each in refused] == [ErrorCode.OVERLOADED]
    assert len(done) == 4


async def test_only_a_few_long_ones_are_under_way(clock: Clock) -> None:
    """What is not done after its first slice waits where others are long, holds nothing meanwhile, and begins again."""
    log: list[str] = []
    held = dict.fromkeys("abcs", 0)
    most = 0
    turns = Turns(computations_max=10, long_computations_max=2, clock=clock)

    def computing(name: str, slices: int) -> Callable[[Work], str]:
        def compute(work: Work) -> str:
            nonlocal most
            held[name] += 1
            most = max(most, sum(held.values()))
            try:
                return clock.computing(name, slices, log)(work)
            finally:
                held[name] -= 1

        return compute

    slices = {"a": 4, "b": 4, "c": 4, "s": 1}
    found = await asyncio.gather(*(turns.run(computing(name, slices[name]), 1_000_000) for name in slices))
    assert found == ["a", "b", "c", "s"]
    assert most == 3  # two long ones and the one that shows what it is
    assert log.count("c") == 5  # its first slice was for nothing
    assert log.index("s") < log.index("a", log.index("c"))  # what is short does not wait for room


async def test_who_waits_for_room_and_is_given_up_takes_none(clock: Clock) -> None:
    """A long computation whose request has gone is not begun again, and the room is another's."""
    log: list[str] = []
    turns = Turns(computations_max=10, long_computations_max=1, clock=clock)
    running = {name: asyncio.create_task(turns.run(clock.computing(name, 4, log), 1_000_000)) for name in "abc"}
    for _ in range(100):
        if "c" not in log:
            await asyncio.sleep(0)
    running["b"].cancel()
    assert [await running["a"], await running["c"]] == ["a", "c"]
    assert log.count("b") == 1


async def test_who_was_let_in_goes_on(clock: Clock) -> None:
    """However many computations are under way, the answer to a request that was let in is computed."""
    turns = Turns(computations_max=1, long_computations_max=10, clock=clock)
    first = asyncio.create_task(turns.run(clock.computing("a", 3, []), 1_000_000))
    await asyncio.sleep(0)
    assert await turns.go_on(clock.computing("b", 3, []), 1_000_000) == "b"
    assert await first == "a"


async def test_a_computation_knows_whose_it_is(clock: Clock) -> None:
    """Context variables, such as the request's id for the log, are the caller's."""
    variable: ContextVar[str] = ContextVar("variable")
    turns = Turns(computations_max=10, long_computations_max=10, clock=clock)

    async def ask(name: str) -> str:
        variable.set(name)

        def compute(work: Work) -> str:
            clock.computing(name, 3, [])(work)
            return variable.get()

        return await turns.run(compute, 1_000_000)

    assert await asyncio.gather(*map(ask, "abc")) == ["a", "b", "c"]


def test_an_attempt_has_half_of_what_is_left() -> None:
    """What fails within its half leaves the other one, and pauses come in it too."""
    pauses: list[int] = []
    work = Work(10_000, lambda: pauses.append(1))
    work.spend(2_000)
    half = work.half()
    with pytest.raises(WorkExceeded):
        half.spend(4_001)
    pauses.clear()
    work.half().spend(3_000)
    assert pauses
    work.spend(half.units_max)
    work.spend(4_000)
    with pytest.raises(WorkExceeded):
        work.spend()
