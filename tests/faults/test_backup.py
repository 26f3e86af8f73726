"""Backups of one instant: made in a storm, put into new databases, recovered from as from a kill -9 of all."""

import os

from tests.faults.crashes import Stage

BACKUPS = int(os.environ.get("TRIFOLIO_BACKUPS", "2"))
SECONDS_PER_BACKUP = 1.0
SEED = int(os.environ.get("TRIFOLIO_STORM_SEED", "20261122"))


async def test_a_backup_in_a_storm_is_whole(stage: Stage, figures: list[str]) -> None:
    """Every backup that is made while orders run and services are killed is right when restored, and recovers.

    Right is: no invariant is broken, with what was under way left out. Recovered is: nothing is under way, and no
    invariant is broken. The storm itself loses nothing by being copied.
    """
    weather, backups = await stage.storm_with_backups(BACKUPS, seconds=BACKUPS * SECONDS_PER_BACKUP, seed=SEED)
    under_way = [report.under_way for report, _ in backups]
    figures.append(f"{stage.kind}: {len(backups)} backups, {under_way} orders and authorizations under way; {weather}")
    assert sum(under_way) > 0
    assert [(report.violations, violations) for report, violations in backups] == [((), ())] * BACKUPS
    assert (weather.violations, weather.unfinished) == ((), [])
