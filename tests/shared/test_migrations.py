"""The migrations of every service lead to the schema that its tables describe."""

import asyncio
from importlib import import_module
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from subgraphs.shared.database import asyncpg_url
from subgraphs.shared.migrations import migrate
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
