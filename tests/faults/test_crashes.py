"""Nothing is lost wherever a service dies: every commit and every call of every scenario, killed before and after."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.faults.books import FATES, Books, difference
from tests.faults.crashes import Interference, Meanwhile, Outcome, Point, Stage, Undisturbed
from tests.faults.scenarios import ENDS_AT_MS, SCENARIOS, SYMBOL, Scenario

WORLDS_AT_ONCE = {"sqlite": min(16, 5 * len(os.sched_getaffinity(0))), "postgresql": 4}
"""Runs wait most of the time, so several share a core; a PostgreSQL server has connections for fewer."""
RECOVERED_WITHIN_S = 5.0
SEED = 20261122
ALL_INTERFERENCES = os.environ.get("TRIFOLIO_INTERFERENCES") == "all"
"""Every kind of interference at every point, instead of one chosen by the seed."""


Run = Callable[[Stage, Scenario, Point], Awaitable[list[str]]]
"""One run at one point; returns what went wrong."""
InCampaign = Callable[[Run], Awaitable[list[str]]]


@dataclass
class Matrix:
    """The figures of all runs of one kind of database, printed at the end."""

    points: int = 0
    killed: int = 0
    slowest_s: float = 0.0
    violations: int = 0

    def add(self, outcome: Outcome) -> None:
        """Counts one run."""
        self.points += 1
        self.killed += outcome.killed
        self.slowest_s = max(self.slowest_s, outcome.recovery_s)
        self.violations += len(outcome.violations)

    def __str__(self) -> str:
        counts = f"{self.points} points, {self.killed} kills, {self.violations} violations"
        return f"{counts}, slowest recovery {self.slowest_s:.2f} s"


class Campaign:
    """Runs one kind of test at every point of scenario after scenario on one database.

    The last runs of a scenario mostly wait for leases to end, so the next scenario begins before: its runs take the
    places that become free.
    """

    def __init__(self, stage: Stage, run: Run) -> None:
        self._stage = stage
        self._run = run
        self._places = asyncio.Semaphore(WORLDS_AT_ONCE[stage.kind])
        self._begun: dict[str, asyncio.Task[list[str]]] = {}

    async def failures(self, scenario: Scenario, following: Scenario | None) -> list[str]:
        """What went wrong in the runs of one scenario; those of the following one have begun then."""
        this = self._begin(scenario)
        await self._stage.undisturbed(scenario)
        if following is not None:
            self._begin(following)
        return await this

    def _begin(self, scenario: Scenario) -> "asyncio.Task[list[str]]":
        if scenario.name not in self._begun:
            self._begun[scenario.name] = asyncio.create_task(self._run_all(scenario))
        return self._begun[scenario.name]

    async def _run_all(self, scenario: Scenario) -> list[str]:
        points = (await self._stage.undisturbed(scenario)).points
        found = await asyncio.gather(*(self._run_one(scenario, point) for point in points))
        return [f"{point}: {failure}" for point, failures in zip(points, found, strict=True) for failure in failures]

    async def _run_one(self, scenario: Scenario, point: Point) -> Sequence[str]:
        async with self._places:
            try:
                return await self._run(self._stage, scenario, point)
            except AssertionError as failure:
                return ["\n".join((repr(failure), *failure.__notes__))]


@pytest.fixture(scope="module")
def matrices(figures: list[str]) -> Iterator[dict[str, Matrix]]:
    """Figures by kind of test and database, summed over the scenarios."""
    found: dict[str, Matrix] = defaultdict(Matrix)
    yield found
    figures += [f"{name}: {matrix}" for name, matrix in found.items()]


@pytest.fixture(scope="module")
def campaigns() -> dict[tuple[str, str], Campaign]:
    """The campaigns by test and database."""
    return {}


@pytest.fixture
def campaign(
    request: pytest.FixtureRequest, stage: Stage, scenario: Scenario, campaigns: dict[tuple[str, str], Campaign]
) -> InCampaign:
    """What runs the requested test's scenario, and then begins the next test's."""
    test = request.node.originalname
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    params = [item.callspec.params for item in items if item.originalname == test]
    scenarios = [each["scenario"] for each in params if each["database_kind"] == stage.kind]
    following = next(iter(scenarios[scenarios.index(scenario) + 1 :]), None)
    assert following is None or isinstance(following, Scenario)

    async def failures(run: Run) -> list[str]:
        if (test, stage.kind) not in campaigns:
            campaigns[test, stage.kind] = Campaign(stage, run)
        return await campaigns[test, stage.kind].failures(scenario, following)

    return failures


at_every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
in_one_loop = pytest.mark.asyncio(loop_scope="module")


@at_every_scenario
@in_one_loop
async def test_crash_leaves_no_trace(
    stage: Stage, scenario: Scenario, campaign: InCampaign, matrices: dict[str, Matrix]
) -> None:
    """Whichever service dies at whichever point, a patient client ends with the books of an undisturbed run."""
    matrix = matrices[f"crashes, {stage.kind}"]

    async def run(stage: Stage, scenario: Scenario, point: Point) -> list[str]:
        undisturbed = await stage.undisturbed(scenario)
        outcome = await stage.crash(scenario, point)
        matrix.add(outcome)
        return [*outcome.violations, *difference(undisturbed.books, outcome.books)]

    assert (await stage.undisturbed(scenario)).violations == ()
    assert await campaign(run) == []


@at_every_scenario
@on_sqlite
@in_one_loop
async def test_client_gone(stage: Stage, campaign: InCampaign, matrices: dict[str, Matrix]) -> None:
    """A client that sends its request once and goes leaves nothing unfinished: the loops end it within five seconds."""
    matrix = matrices[f"client gone, {stage.kind}"]

    async def run(stage: Stage, scenario: Scenario, point: Point) -> list[str]:
        outcome = await stage.crash(scenario, point, patient=False)
        matrix.add(outcome)
        slow = [f"at rest after {outcome.recovery_s:.2f} s"] if outcome.recovery_s > RECOVERED_WITHIN_S else []
        return [*outcome.violations, *slow]

    assert await campaign(run) == []


async def _revokes(meanwhile: Meanwhile) -> None:
    mandates = meanwhile.mandates.items()
    await asyncio.gather(*(meanwhile.clients.revoke(person, mandate) for mandate, person in mandates))


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


@at_every_scenario
@on_sqlite
@in_one_loop
async def test_interference(
    stage: Stage, campaign: InCampaign, matrices: dict[str, Matrix], effects: dict[str, Effect]
) -> None:
    """What else happens while a service is down changes who gets what, and never how much there is."""
    matrix = matrices[f"interference, {stage.kind}"]

    async def run(stage: Stage, scenario: Scenario, point: Point) -> list[str]:
        undisturbed = await stage.undisturbed(scenario)
        chosen = random.Random(f"{SEED} {scenario.name} {point}").choice(sorted(INTERFERENCES))
        failures: list[str] = []
        for kind in INTERFERENCES if ALL_INTERFERENCES else (chosen,):
            outcome = await stage.crash(scenario, point, interference=INTERFERENCES[kind])
            matrix.add(outcome)
            effects[kind].add(undisturbed, outcome.books)
            failures += [f"{kind}: {violation}" for violation in outcome.violations]
        return failures

    assert await campaign(run) == []


@pytest.mark.parametrize("kind", INTERFERENCES)
def test_interference_is_felt(kind: str, effects: dict[str, Effect]) -> None:
    """Each kind of interference changed the end of most of the runs before that it was part of."""
    assert effects[kind].felt * 2 >= effects[kind].runs, str(effects[kind])
