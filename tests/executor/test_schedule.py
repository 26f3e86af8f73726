"""The schedule: every fetch starts when the last one that it waits for has ended, and none outlives the execution."""

import asyncio
from dataclasses import replace

import pytest

from tests.executor.shop import Canned, leaf, plan
from trifolio.conditions import Condition
from trifolio.executor import execute, prepare
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
