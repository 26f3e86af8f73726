"""Nothing is lost wherever a service dies: every commit and every call of every scenario, killed before and after."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.faults.books import difference
from tests.faults.crashes import Interference, Outcome, Point, Stage
from tests.faults.people import Clients
from tests.faults.scenarios import SCENARIOS, SYMBOL, Ids, Scenario

WORLDS_AT_ONCE = {"sqlite": 12, "postgresql": 6}
"""Runs wait most of the time, so several share the cores; a PostgreSQL server has connections for fewer."""
RECOVERED_WITHIN_S = 5.0
SEED = 20261122
ALL_INTERFERENCES = os.environ.get("TRIFOLIO_INTERFERENCES") == "all"
"""Every kind of interference at every point, instead of one chosen by the seed."""


@dataclass
class Matrix:
    """The figures of all runs of one kind of database, printed at the end."""

    points: int = 0
    killed: int = 0
    slowest_s: float = 0.0
    violations: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, point: Point, outcome: Outcome, problems: Sequence[str]) -> None:
        """Counts one run."""
        self.points += 1
        self.killed += outcome.killed
        self.slowest_s = max(self.slowest_s, outcome.recovery_s)
        self.violations += len(outcome.violations)
        self.failures += [f"{name}, {point}: {problem}" for problem in (*problems, *outcome.violations)]

    def taken_failures(self) -> list[str]:
        """The failures since this was last asked."""
        failures, self.failures = self.failures, []
        return failures

    def __str__(self) -> str:
        counts = f"{self.points} points, {self.killed} kills, {self.violations} violations"
        return f"{counts}, slowest recovery {self.slowest_s:.2f} s"


async def at_every_point(
    stage: Stage, points: Sequence[Point], run: Callable[[Point], Awaitable[None]], matrix: Matrix, name: str
) -> None:
    """Runs `run` for every point, a few at once; a run that raises is a failure like any other."""
    places = asyncio.Semaphore(WORLDS_AT_ONCE[stage.kind])

    async def one(point: Point) -> None:
        async with places:
            try:
                await run(point)
            except AssertionError as failure:
                matrix.failures.append(f"{name}, {point}: {failure}")

    await asyncio.gather(*(one(point) for point in points))


@pytest.fixture(scope="module")
def matrices(figures: list[str]) -> Iterator[dict[str, Matrix]]:
    """Figures by kind of test and database, summed over the scenarios."""
    found: dict[str, Matrix] = defaultdict(Matrix)
    yield found
    figures += [f"{name}: {matrix}" for name, matrix in found.items()]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
async def test_crash_leaves_no_trace(stage: Stage, scenario: Scenario, matrices: dict[str, Matrix]) -> None:
    """Whichever service dies at whichever point, a patient client ends with the books of an undisturbed run."""
    undisturbed, points = await stage.trace(scenario)
    assert undisturbed.violations == ()
    matrix = matrices[f"crashes, {stage.kind}"]

    async def run(point: Point) -> None:
        outcome = await stage.crash(scenario, point)
        matrix.add(scenario.name, point, outcome, difference(undisturbed.books, outcome.books))

    await at_every_point(stage, points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_client_gone(stage: Stage, scenario: Scenario, matrices: dict[str, Matrix]) -> None:
    """A client that sends its request once and goes leaves nothing unfinished: the loops end it within five seconds."""
    _, points = await stage.trace(scenario)
    matrix = matrices[f"client gone, {stage.kind}"]

    async def run(point: Point) -> None:
        outcome = await stage.crash(scenario, point, patient=False)
        slow = [f"at rest after {outcome.recovery_s:.2f} s"] if outcome.recovery_s > RECOVERED_WITHIN_S else []
        matrix.add(scenario.name, point, outcome, slow)

    await at_every_point(stage, points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []


async def _revokes(clients: Clients, ids: Ids) -> None:
    for mandate in ("capital", "shares"):
        await clients.revoke("alice", ids[mandate])


async def _cancels(clients: Clients, ids: Ids) -> None:
    listed = await clients.send("stocks", "GET", "/orders", "alice")
    for order in listed.json().get("items", []) if listed.status_code == 200 else []:
        await clients.cancel("alice", order["id"])


async def _ticks(clients: Clients, _ids: Ids) -> None:
    await clients.tick(SYMBOL, "79.0000", "79.2000", seq=3)


INTERFERENCES: dict[str, Interference] = {"revoke": _revokes, "cancel": _cancels, "tick": _ticks}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_interference(stage: Stage, scenario: Scenario, matrices: dict[str, Matrix]) -> None:
    """What else happens while a service is down changes who gets what, and never how much there is."""
    _, points = await stage.trace(scenario)
    matrix = matrices[f"interference, {stage.kind}"]

    async def run(point: Point) -> None:
        chosen = random.Random(f"{SEED} {scenario.name} {point}").choice(sorted(INTERFERENCES))
        for kind in INTERFERENCES if ALL_INTERFERENCES else (chosen,):
            outcome = await stage.crash(scenario, point, interference=INTERFERENCES[kind])
            matrix.add(f"{scenario.name} with {kind}", point, outcome, ())

    await at_every_point(stage, points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []
