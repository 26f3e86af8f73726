"""The migrations of every service lead to the schema that its tables describe."""

import asyncio
from importlib import import_module
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import ANONYMOUS
from subgraphs.shared.database import Connection as ServiceConnection
from subgraphs.shared.database import Database, asyncpg_url
from subgraphs.shared.migrations import alembic_config, migrate
from tests.conftest import DatabaseFactory

PACKAGES = ("subgraphs.users", "subgraphs.wallet", "subgraphs.stocks")


def differences(connection: Connection, package: str) -> list[Any]:
    """What a new migration would have to change."""
    metadata = import_module(f"{package}.tables").metadata
    found: list[Any] = compare_metadata(MigrationContext.configure(connection), metadata)
    return found


def differences_at(url: str, package: str) -> list[Any]:
    """The differences of the database at a URL."""
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            found = differences(connection, package)
        engine.dispose()
        return found

    async def compare() -> list[Any]:
        engine = create_async_engine(asyncpg_url(url))
        async with engine.connect() as connection:
            found = await connection.run_sync(differences, package)
        await engine.dispose()
        return found

    return asyncio.run(compare())


@pytest.mark.parametrize("package", PACKAGES)
def test_migrations_and_tables_agree(fresh_database: DatabaseFactory, package: str) -> None:
    """A migrated database needs no further migration, and migrating it again changes nothing."""
    url = fresh_database(package)
    assert differences_at(url, package) == []
    migrate(url, package)
    assert differences_at(url, package) == []


CHANGES = {
    "sqlite": (
        "UPDATE audit_log SET actor_id = 'somebody else'",
        "UPDATE audit_log SET at = at",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)",
        "INSERT OR REPLACE INTO audit_log SELECT id, at, 'user.nothing', '', '', '', '', '{}' FROM audit_log",
        "REPLACE INTO audit_log SELECT id, at, 'user.nothing', '', '', '', '', '{}' FROM audit_log",
    ),
    "postgresql": (
        "UPDATE audit_log SET actor_id = 'somebody else'",
        "UPDATE audit_log SET at = at",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log SELECT id, at, 'user.nothing', '', '', '', '', '{}' FROM audit_log"
        " ON CONFLICT (id) DO UPDATE SET action = excluded.action",
    ),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_audit_log_only_grows(fresh_database: DatabaseFactory, database_kind: str, package: str) -> None:
    """The database takes new entries, and refuses whatever would change an old one or take it away."""
    asyncio.run(try_changes(fresh_database(package), package, CHANGES[database_kind]))


async def try_changes(url: str, package: str, statements: tuple[str, ...]) -> None:
    """Tries each statement between new entries."""
    table = import_module(f"{package}.tables").audit_log
    database = Database.open(url)

    async def write(action: str) -> None:
        async def work(connection: ServiceConnection) -> None:
            await record(connection, table, AuditEntry(action, ANONYMOUS))

        await database.write(work)

    async def read() -> list[tuple[object, ...]]:
        async with database.reading() as connection:
            return [tuple(row) for row in (await connection.execute(table.select().order_by(table.c.id))).all()]

    async def change(statement: str) -> None:
        async def work(connection: ServiceConnection) -> None:
            await connection.execute(text(statement))

        await database.write(work)

    await write("user.first")
    await write("user.second")
    entries = await read()
    assert len(entries) == 2
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"):
            await change(statement)
        assert await read() == entries, statement
    await write("user.third")
    assert (await read())[:2] == entries
    await database.close()


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_latest_revision_can_be_taken_back(fresh_database: DatabaseFactory, package: str) -> None:
    """Down by one and up again: the schema is what it was, triggers included."""
    url = fresh_database(package)
    engine = create_engine(url)
    with engine.begin() as connection:
        before = connection.execute(text(_SCHEMA)).all()
        config = alembic_config(package)
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
        assert connection.execute(text(_SCHEMA)).all() != before
        command.upgrade(config, "head")
        assert connection.execute(text(_SCHEMA)).all() == before
    engine.dispose()


_SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
