"""One zygote for the whole session, a stage per kind of database, and the figures of all runs at the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatabaseFactory
from tests.faults.crashes import Stage
from tests.faults.processes import Zygote
from tests.faults.processes import zygote as started_zygote

FIGURES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what the fault tests did: how many kills, orders and violations, and how long recovery took."""
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("faults")
        for line in figures:
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its figures to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The process that prints takes what a worker hands over."""
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("faults", []))


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the summary at the end of the session."""
    return pytestconfig.stash.setdefault(FIGURES, [])


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
    request: pytest.FixtureRequest,
    stages: dict[str, Stage],
    database_kind: str,
    zygote: Zygote,
    sqlite_folder: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stage:
    """The scenarios on SQLite, then on PostgreSQL; their databases last as long as the session."""
    if database_kind not in stages:
        name = "sqlite_factory" if database_kind == "sqlite" else "postgres_factory"
        factory: DatabaseFactory = request.getfixturevalue(name)
        folder = (sqlite_folder or tmp_path_factory.mktemp("stages")) / f"stage-{database_kind}"
        folder.mkdir()
        stages[database_kind] = Stage(database_kind, zygote, folder, factory)
    return stages[database_kind]
