"""The schedule: every fetch starts when the last one that it waits for has ended, and none outlives the execution."""

import asyncio
import gc
import weakref
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.executor.shop import Canned, leaf, plan
from trifolio.conditions import Condition
from trifolio.deadline import Deadline
from trifolio.executor import execute, prepare
from trifolio.executor.in_flight import HasEnded
from trifolio.executor.prepare import PreparedFetch, PreparedPlan
from trifolio.executor.schedule import run
from trifolio.query_plan import Entry, Fetch, Plan, Selection


def prepared(*depends_on: tuple[int, ...]) -> PreparedPlan:
    """A plan of fetches that only depend on one another."""
    fetches = tuple(
        Fetch(number, "s", "query", "{ x }", (Entry(),), depends_on=others) for number, others in enumerate(depends_on)
    )
    return prepare(Plan(kind="query", fetches=fetches, selection=Selection(())))


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_fetch_starts_when_its_own_inputs_are_there() -> None:
    """Of 0 -> 1, 0 -> 2, {1, 2} -> 3 and a lone 4: each waits for its own inputs and for nothing else."""
    gates = [asyncio.Event() for _ in range(5)]
    started: list[int] = []

    async def perform(item: PreparedFetch) -> None:
        started.append(item.fetch.id)
        await gates[item.fetch.id].wait()

    running = asyncio.ensure_future(run(prepared((), (0,), (0,), (1, 2), ()), perform))
    await settle()
    assert started == [0, 4]
    gates[0].set()
    await settle()
    assert started == [0, 4, 1, 2]
    gates[2].set()
    gates[4].set()
    await settle()
    assert started == [0, 4, 1, 2]
    gates[1].set()
    await settle()
    assert started == [0, 4, 1, 2, 3]
    gates[3].set()
    await running


async def test_cancelling_ends_every_fetch_in_flight() -> None:
    """A client that goes away takes its fetches along."""
    ended: list[int] = []

    async def perform(item: PreparedFetch) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item.fetch.id)

    running = asyncio.ensure_future(run(prepared((), (), ()), perform))
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(ended) == [0, 1, 2]


async def test_bug_in_one_fetch_ends_the_others() -> None:
    """An exception that is nobody's answer reaches the caller, and nothing runs on behind its back."""
    ended: list[int] = []

    async def perform(item: PreparedFetch) -> None:
        if item.fetch.id == 1:
            raise ZeroDivisionError
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item.fetch.id)

    with pytest.raises(ZeroDivisionError):
        await run(prepared((), ()), perform)
    assert ended == [0]


class Begun:
    """A fetch that a test ends."""

    def __init__(self, has_ended: HasEnded) -> None:
        self.has_ended = has_ended
        self.is_cancelled = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.is_cancelled = True


class Doing:
    """Does fetches as it is told: those of `to_perform` wait for their gates, the others are begun."""

    def __init__(self, *to_perform: int) -> None:
        self.to_perform = to_perform
        self.begun: dict[int, Begun] = {}
        self.gates: dict[int, asyncio.Event] = {}
        self.started: list[int] = []
        self.tasks: dict[int, asyncio.Task[Any] | None] = {}
        self.ended: list[int] = []
        self.bug: BaseException | None = None

    def begin(self, item: PreparedFetch, has_ended: HasEnded) -> Begun | None:
        """Begin a fetch, if that can be done."""
        number = item.fetch.id
        if self.bug is not None:
            raise self.bug
        if number in self.to_perform:
            return None
        self.started.append(number)
        self.begun[number] = Begun(has_ended)
        return self.begun[number]

    async def perform(self, item: PreparedFetch) -> None:
        """Perform one."""
        number = item.fetch.id
        self.started.append(number)
        self.tasks[number] = asyncio.current_task()
        self.gates[number] = asyncio.Event()
        try:
            await self.gates[number].wait()
        finally:
            self.ended.append(number)

    def end(self, number: int, bug: BaseException | None = None) -> None:
        """Let one end."""
        if number in self.begun:
            self.begun[number].has_ended(bug)
        else:
            self.gates[number].set()


async def test_what_is_begun_needs_no_task() -> None:
    """Each end starts what has waited for it, within that call; the last lets the asking task return."""
    doing = Doing()
    before = asyncio.all_tasks()
    running = asyncio.ensure_future(run(prepared((), (0,), (0,), (1, 2)), doing.perform, doing.begin))
    await settle()
    assert doing.started == [0]
    doing.end(0)
    assert doing.started == [0, 1, 2]
    doing.end(2)
    assert doing.started == [0, 1, 2]
    doing.end(1)
    assert doing.started == [0, 1, 2, 3]
    assert asyncio.all_tasks() - before == {running}
    assert not running.done()
    doing.end(3)
    await running


async def test_what_cannot_be_begun_is_performed_by_who_waits() -> None:
    """By the task that asks, if it waits; what is to be performed beside that has a task of its own."""
    doing = Doing(1, 2, 4)
    running = asyncio.ensure_future(run(prepared((), (0,), (0,), (2,), (3,)), doing.perform, doing.begin))
    await settle()
    doing.end(0)
    await settle()
    assert doing.started[0] == 0
    assert sorted(doing.started) == [0, 1, 2]
    assert doing.tasks[1] is running
    assert doing.tasks[2] is not running
    doing.end(2)
    await settle()
    doing.end(1)
    await settle()
    assert doing.started[-1] == 3
    doing.end(3)
    await settle()
    assert doing.tasks[4] is running
    doing.end(4)
    await running


@pytest.mark.parametrize("waits_for", ["what is begun", "what is performed", "both"])
async def test_cancelling_ends_what_was_begun(waits_for: str) -> None:
    """A client that goes away takes along what was begun, and what is performed."""
    doing = Doing(*{"what is begun": (), "what is performed": (0, 1), "both": (1,)}[waits_for])
    running = asyncio.ensure_future(run(prepared((), ()), doing.perform, doing.begin))
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(each.is_cancelled for each in doing.begun.values())
    assert sorted([*doing.begun, *doing.ended]) == [0, 1]


@pytest.mark.parametrize("where", ["in an answer", "in beginning the next", "beside", "in the first"])
async def test_a_bug_ends_what_was_begun(where: str) -> None:
    """Wherever an exception is met, it reaches the caller, and nothing is left under way."""
    doing = Doing(*{"beside": (1,), "in an answer": (2,)}.get(where, ()))
    bug = ZeroDivisionError()
    if where == "in the first":
        doing.bug = bug
    asking = asyncio.ensure_future(run(prepared((), (), (0,)), doing.perform, doing.begin))
    await settle()
    if where == "in an answer":
        doing.end(0)
        await settle()
        doing.end(1, bug)
    elif where == "in beginning the next":
        doing.bug = bug
        doing.end(0)
    elif where == "beside":
        doing.end(0, bug)
    with pytest.raises(ZeroDivisionError):
        await asking
    assert asking.cancelling() == 0
    left = {number for number in doing.begun if not doing.begun[number].is_cancelled}
    assert left <= {0, 1}
    assert set(doing.ended) == set(doing.tasks)


async def test_a_bug_is_not_lost_where_what_is_cancelled_for_it_goes_on() -> None:
    """Something that was performed swallows that it was cancelled: what was met beside it is raised all the same."""

    async def perform(item: PreparedFetch) -> None:
        if item.fetch.id == 1:
            await asyncio.sleep(0)
            raise ZeroDivisionError
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(30):
            await run(prepared((), ()), perform)


@pytest.mark.parametrize("number", [0, 1])
async def test_what_cancels_itself_ends_the_execution(number: int) -> None:
    """A transport that lets out a cancellation of its own: nobody waits for what will never end, wherever it ran."""

    async def perform(item: PreparedFetch) -> None:
        if item.fetch.id == number:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    asking = asyncio.ensure_future(run(prepared((), ()), perform))
    async with asyncio.timeout(30):
        await asyncio.wait([asking])
    assert asking.cancelled()
    assert asking.cancelling() == 0


async def test_a_deadline_and_a_bug_in_one_round() -> None:
    """The deadline is what is told, and the task is cancelled for nothing else."""
    gate = asyncio.Event()

    async def perform(item: PreparedFetch) -> None:
        await gate.wait()
        if item.fetch.id == 1:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    deadline = Deadline(asyncio.get_running_loop().time() + 30)

    async def ask() -> None:
        with deadline:
            await run(prepared((), ()), perform)

    asking = asyncio.ensure_future(ask())
    await settle()
    gate.set()
    deadline._come()
    with pytest.raises(TimeoutError):
        await asking
    assert asking.cancelling() == 0


async def test_a_bug_leaves_nothing_for_the_collector() -> None:
    """What was raised, and all that its frames hold, is gone when nobody has it any more."""
    held = weakref.ref(doing := Doing())
    asking = asyncio.ensure_future(run(prepared(()), doing.perform, doing.begin))
    await settle()
    gc.collect()
    gc.disable()
    try:
        doing.begun.pop(0).has_ended(ZeroDivisionError())
        await asyncio.wait([asking])
        assert isinstance(asking.exception(), ZeroDivisionError)
        del asking, doing
        await settle()
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("seed", range(200))
async def test_random_plans_are_done_once_and_in_order(seed: int) -> None:
    """Some fetches begun, some performed, ended in any order, now and then cancelled: each once, behind its inputs."""
    random = Random(seed)
    size = random.randint(1, 9)
    depends_on = [tuple(sorted(random.sample(range(n), random.randint(0, min(n, 2))))) for n in range(size)]
    doing = Doing(*random.sample(range(size), random.randint(0, size)))
    running = asyncio.ensure_future(run(prepared(*depends_on), doing.perform, doing.begin))
    over: set[int] = set()
    gives_up_at = random.randrange(3 * size)
    for turn in range(size):
        await settle()
        assert set(doing.started) == {n for n in range(size) if over.issuperset(depends_on[n])}, f"seed {seed}"
        if turn == gives_up_at:
            running.cancel()
            break
        for _ in range(random.randint(1, 2)):
            waiting = sorted(set(doing.started) - over)
            if waiting:
                chosen = random.choice(waiting)
                over.add(chosen)
                doing.end(chosen)
        if len(over) == size:
            break
    if running.cancelling():
        with pytest.raises(asyncio.CancelledError):
            await running
        in_flight = {n for n in doing.begun if n not in over}
        assert {n for n in doing.begun if doing.begun[n].is_cancelled} == in_flight, f"seed {seed}"
    else:
        while len(over) < size:
            await settle()
            for number in sorted(set(doing.started) - over):
                over.add(number)
                doing.end(number)
        await running
        assert sorted(doing.started) == list(range(size)), f"seed {seed}"
    assert sorted(doing.ended) == sorted(doing.tasks), f"seed {seed}"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_condition_keeps_a_fetch_from_being_sent() -> None:
    """A fetch whose condition does not hold is not sent, and what it would have brought is no error."""
    made = plan(fields=(leaf("name"), replace(leaf("price", "Int"), condition=Condition.literal("on", True))))
    products, reviews = made.fetches
    made = replace(made, fetches=(products, replace(reviews, condition=Condition.literal("on", True))))
    row = {"__typename": "Product", "id": "1", "name": "Lamp", "weight": 1}
    for is_on, shown in ((False, {"name": "Lamp"}), (True, {"name": "Lamp", "price": 5})):
        reviewing = Canned({"data": {"_e": [{"price": 5}]}})
        answer = await execute(
            prepare(made),
            transports={"products": Canned({"data": {"products": [dict(row)]}}), "reviews": reviewing},
            coerced={"on": is_on},
        )
        assert answer.to_json() == {"data": {"products": [shown]}}
        assert len(reviewing.requests) == is_on
