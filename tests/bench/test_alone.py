"""Every workload of the router alone, with a handful of requests, so that none of them rots."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.alone import (
    ANSWERS,
    CONNECTIONS,
    ENTITIES,
    LARGE,
    NAMED,
    NEW,
    SIZES,
    SMALL,
    Figure,
    Workload,
    items,
    measure_memory,
    measure_pace,
    measure_start,
    records,
)
from bench.load import Clients
from bench.processes import NotMeasured, Stat, cpu_seconds, rss_bytes
from bench.targets import OURS, SHARING, Mocks, Router, mocks, serving
from bench.worlds import WORLDS

pytestmark = pytest.mark.no_cover

FETCHES = {"s": 3, "named": 3, "new": 3, "l": 6, "d": 3, "x": 3}
"""How many requests to subgraphs an answer takes; where answers are shared, fewer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where logs and supergraphs go."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
async def subgraphs(folder: Path) -> AsyncIterator[Mocks]:
    """The mocks."""
    async with mocks(folder) as running:
        yield running


async def fetches_of(workload: Workload, router: Router, subgraphs: Mocks, times: int) -> float:
    """How many requests to subgraphs each answer takes, of so many, each of which is compared."""
    before = await subgraphs.count()
    async with Clients(router.url, workload.question, min(workload.clients, times)) as clients:
        load = await clients.closed(requests=times)
    assert load.requests == times
    return (await subgraphs.count() - before) / times


async def test_every_workload_is_answered(subgraphs: Mocks) -> None:
    """Of every world one router answers all workloads, right, with as many fetches as each is said to take; and what
    it spends is seen. Equal questions at the same time share fetches where that is configured, and an answer that is
    not as it has to be ends the measurement."""
    workloads = [*ANSWERS, CONNECTIONS[0], *ENTITIES, *SIZES]
    for world in WORLDS:
        chosen = [each for each in workloads if each.world == world]
        async with serving(OURS, world, subgraphs, chosen[0].question, settings=SHARING) as router:
            assert rss_bytes(router.program.pids) > 10_000_000
            for workload in chosen:
                # One after the other shares nothing.
                alone = replace(workload, clients=1)
                times = 1 if workload.size > 500 else 3
                expected = {"entities": 2, "size": 1, "clients": 3, "shared": 3, **FETCHES}[workload.name]
                assert await fetches_of(alone, router, subgraphs, times) == expected, workload.title
            assert cpu_seconds(router.program.pids) > 0
            if world == "waiting":
                assert await fetches_of(replace(chosen[0], clients=10), router, subgraphs, 30) < 3
            if world == "failing":
                await refuse_wrong_answers(router)


async def refuse_wrong_answers(router: Router) -> None:
    """Ask what is answered with an error, as if there had to be none, and what is refused."""
    for question, problem in ((SMALL, "not 0 errors"), (LARGE, "not 0 errors")):
        async with Clients(router.url, question, 1) as clients:
            with pytest.raises(NotMeasured, match=problem):
                await clients.closed(requests=1)


async def test_pace_memory_and_start_are_measured(subgraphs: Mocks) -> None:
    """What takes its own course has its figures: two paces, memory step by step, start and import."""
    figures: list[Figure] = []
    await measure_pace(subgraphs, 0.1, figures.append, fixed_per_s=50)
    await measure_memory(subgraphs, 20, figures.append, steps=2)
    await measure_start(subgraphs, 1, figures.append)
    assert [figure["part"] for figure in figures] == ["pace"] * 2 + ["memory"] * 3 + ["start"] * 2
    assert figures[1]["requests"] == 5
    assert [figure["requests"] for figure in figures[2:5]] == [0, 10, 20]


def test_questions_say_what_is_wrong() -> None:
    """An answer is right by its data alone, in any order of fields; a number of another request's is wrong."""
    question = items(1)
    right = b'{"data":{"items":[{"price":{"currency":"EUR","amount":0},"name":"item 0","id":"i0"}]}}'
    assert question.problem(0, 200, right) == ""
    assert question.problem(0, 200, right.replace(b"item 0", b"item 1")) == "other data than expected"
    assert question.problem(0, 200, right[:-1] + b',"errors":[{}]}') == "not 0 errors"
    assert question.problem(0, 500, right) == "status 500"
    assert question.problem(0, 200, b"<html>") == "no JSON"
    assert NEW.expected(7) != NEW.expected(8)
    assert NEW.body(7) != NEW.body(8)
    assert (NAMED.body(7) != NAMED.body(8), NAMED.expected(7)) == (True, NAMED.expected(8))
    assert len(records(13).expected(0)["records"]) == 13


def test_a_process_that_is_gone_costs_nothing() -> None:
    """Processes may end while they are looked at."""
    assert Stat.read(2**22 + 1) is None
    assert (cpu_seconds([2**22 + 1]), rss_bytes([2**22 + 1])) == (0, 0)
