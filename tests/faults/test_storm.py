"""Many clients at once, services killed at random: nothing is lost, and all is over soon after the last kill."""

import os

from tests.faults.crashes import Stage
from tests.faults.storm import COMPLETED_SHARE_MIN, RECOVERED_WITHIN_S, Weather

SECONDS = float(os.environ.get("TRIFOLIO_STORM_SECONDS", "8"))
SEED = int(os.environ.get("TRIFOLIO_STORM_SEED", "20261122"))


async def test_storm(stage: Stage, figures: list[str]) -> None:
    """After a storm of kills the books are right, every request has its answer, and enough orders were completed."""
    weather: Weather = await stage.storm(seconds=SECONDS, seed=SEED)
    figures.append(f"{stage.kind}: {weather}")
    assert weather.violations == ()
    assert weather.unfinished == []
    assert weather.kills > 0
    assert weather.completed_share >= COMPLETED_SHARE_MIN, str(weather)
    assert weather.recovery_s <= RECOVERED_WITHIN_S, str(weather)
