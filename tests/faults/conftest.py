"""One zygote for the whole session, and a stage per kind of database."""

from collections.abc import Iterator

import pytest

from tests.conftest import DatabaseFactory
from tests.faults.crashes import Stage
from tests.faults.processes import Zygote
from tests.faults.processes import zygote as started_zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The parent of every service process of this session."""
    with started_zygote() as parent:
        yield parent


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The stages made so far, by kind of database: their templates serve every test."""
    return {}


@pytest.fixture
def stage(
    stages: dict[str, Stage],
    database_kind: str,
    fresh_database: DatabaseFactory,
    zygote: Zygote,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stage:
    """The scenarios on SQLite, then on PostgreSQL."""
    if database_kind not in stages:
        folder = tmp_path_factory.mktemp(f"stage-{database_kind}")
        stages[database_kind] = Stage(database_kind, zygote, folder, fresh_database)
    return stages[database_kind]
