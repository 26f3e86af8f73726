"""Nothing is lost wherever a service dies: every commit and every call of every scenario, killed before and after."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.faults.books import FATES, Books, difference
from tests.faults.crashes import Interference, Meanwhile, Outcome, Point, Stage, Undisturbed
from tests.faults.scenarios import ENDS_AT_MS, SCENARIOS, SYMBOL, Scenario

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
    undisturbed = await stage.undisturbed(scenario)
    assert undisturbed.violations == ()
    matrix = matrices[f"crashes, {stage.kind}"]

    async def run(point: Point) -> None:
        outcome = await stage.crash(scenario, point)
        matrix.add(scenario.name, point, outcome, difference(undisturbed.books, outcome.books))

    await at_every_point(stage, undisturbed.points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_client_gone(stage: Stage, scenario: Scenario, matrices: dict[str, Matrix]) -> None:
    """A client that sends its request once and goes leaves nothing unfinished: the loops end it within five seconds."""
    undisturbed = await stage.undisturbed(scenario)
    matrix = matrices[f"client gone, {stage.kind}"]

    async def run(point: Point) -> None:
        outcome = await stage.crash(scenario, point, patient=False)
        slow = [f"at rest after {outcome.recovery_s:.2f} s"] if outcome.recovery_s > RECOVERED_WITHIN_S else []
        matrix.add(scenario.name, point, outcome, slow)

    await at_every_point(stage, undisturbed.points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []


async def _revokes(meanwhile: Meanwhile) -> None:
    mandates = (meanwhile.ids["capital"], meanwhile.ids["shares"])
    await asyncio.gather(*(meanwhile.clients.revoke("alice", mandate) for mandate in mandates))


async def _cancels(meanwhile: Meanwhile) -> None:
    orders = meanwhile.orders.items()
    await asyncio.gather(*(meanwhile.clients.cancel(person, order_id) for order_id, person in orders))


async def _time_passes(meanwhile: Meanwhile) -> None:
    """Every mandate's window ends, and every working order's last moment passes."""
    meanwhile.control.set_clock(max(ENDS_AT_MS, meanwhile.control.now_ms))


async def _ticks(meanwhile: Meanwhile) -> None:
    await meanwhile.clients.tick(SYMBOL, "69.0000", "69.2000", seq=3)


INTERFERENCES: dict[str, Interference] = {
    "revoke": Interference(_revokes),
    "cancel": Interference(_cancels),
    "expire": Interference(_time_passes, begins_at_ms=ENDS_AT_MS - 15_000),
    "tick": Interference(_ticks),
}
"""An expiry comes soon after the run's beginning: half a minute later a market order would be given up anyhow."""


@dataclass
class Effect:
    """How often a kind of interference did anything, and anything to the very orders and mandates that it met."""

    runs: int = 0
    felt: int = 0
    decisive: int = 0

    def add(self, undisturbed: Undisturbed, found: Books) -> None:
        """Counts one run by what it left behind."""
        self.runs += 1
        self.felt += any(undisturbed.books[table] != found[table] for table in FATES)
        self.decisive += any(rows - set(found[table]) for table, rows in undisturbed.touched.items())

    def __str__(self) -> str:
        return f"{self.felt} of {self.runs} took effect, {self.decisive} of them on what was under way"


@pytest.fixture(scope="module")
def effects(figures: list[str]) -> Iterator[dict[str, Effect]]:
    """Figures by kind of interference, summed over the scenarios."""
    found = {kind: Effect() for kind in INTERFERENCES}
    yield found
    figures += [f"interference by {kind}: {effect}" for kind, effect in found.items() if effect.runs]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_interference(
    stage: Stage, scenario: Scenario, matrices: dict[str, Matrix], effects: dict[str, Effect]
) -> None:
    """What else happens while a service is down changes who gets what, and never how much there is."""
    undisturbed = await stage.undisturbed(scenario)
    matrix = matrices[f"interference, {stage.kind}"]

    async def run(point: Point) -> None:
        chosen = random.Random(f"{SEED} {scenario.name} {point}").choice(sorted(INTERFERENCES))
        for kind in INTERFERENCES if ALL_INTERFERENCES else (chosen,):
            outcome = await stage.crash(scenario, point, interference=INTERFERENCES[kind])
            matrix.add(f"{scenario.name} with {kind}", point, outcome, ())
            effects[kind].add(undisturbed, outcome.books)

    await at_every_point(stage, undisturbed.points, run, matrix, scenario.name)
    assert matrix.taken_failures() == []


@pytest.mark.parametrize("kind", INTERFERENCES)
def test_interference_is_felt(kind: str, effects: dict[str, Effect]) -> None:
    """Each kind of interference changed the end of most of the runs before that it was part of."""
    assert effects[kind].felt * 2 >= effects[kind].runs, str(effects[kind])
