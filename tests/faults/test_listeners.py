"""Whoever is killed between a commit and its event: every client has every event of its own once, and no other's."""

import os
import random

import pytest

from tests.faults.crashes import Point, Stage
from tests.faults.scenarios import SCENARIOS, Scenario

EVERY_POINT = bool(os.environ.get("TRIFOLIO_EVERY_POINT"))

# An investor and a broker, orders, shares, money and mandates: what changes most.
HEARD = [SCENARIOS[name] for name in (SCENARIOS if EVERY_POINT else ("broker buys", "sell"))]


def chosen(scenario: Scenario, points: tuple[Point, ...]) -> list[Point]:
    """The points at which a run is killed: all of them, or one behind a commit of each service, not told of yet."""
    if EVERY_POINT:
        return list(points)
    behind = [point for point in points if point.label == "after commit"]
    chance = random.Random(scenario.name)
    services = sorted({point.service for point in behind})
    return [chance.choice([point for point in behind if point.service == service]) for service in services]


@pytest.mark.parametrize("scenario", HEARD, ids=lambda scenario: scenario.name)
async def test_every_event_is_heard_once(stage: Stage, scenario: Scenario) -> None:
    """Two investors and two brokers listen to everything while a service dies and comes again."""
    points = chosen(scenario, (await stage.undisturbed(scenario)).points)
    assert points
    failures, kills = [], 0
    for point in points:
        killed, misheard = await stage.crash_heard(scenario, point)
        kills += killed
        failures += [f"{point}: {each}" for each in misheard]
    assert failures == []
    assert kills, "nothing was killed"
