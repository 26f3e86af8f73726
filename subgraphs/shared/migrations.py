"""Brings a service's database to the newest schema with the Alembic scripts beside its tables.

A service's `migrations/env.py` is two lines that call `run_migrations`, so `alembic -c` works as anywhere else:

    alembic revision --autogenerate        with DATABASE_URL set, from the folder that holds alembic.ini
"""

import asyncio
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from subgraphs.shared.database import Database, asyncpg_url, is_sqlite

MIGRATION_LOCK_KEY = 0x7472_6966
"""PostgreSQL advisory lock under which replicas that start together migrate one after another."""


class WrongSchema(Exception):
    """A database's schema is not the one that this program works with. The text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """The schemas of one service that this program knows, by revision; `newest` is the one that it works with."""

    newest: str
    known: frozenset[str]

    def fault(self, found: str | None) -> str | None:
        """Why a database of that revision cannot be worked with, and what to do about it; None where it can."""
        if found == self.newest:
            return None
        if found is None:
            return "it has no tables; run: python -m brokerage migrate"
        if found in self.known:
            return "its schema is older than this program; run: python -m brokerage migrate"
        return "its schema is newer than this program; run the version that made it, or a newer one"


def revisions_of(package: str) -> Revisions:
    """The revisions of `package`, such as `"subgraphs.users"`."""
    scripts = ScriptDirectory.from_config(alembic_config(package))
    newest = scripts.get_current_head()
    assert newest is not None
    return Revisions(newest, frozenset(script.revision for script in scripts.walk_revisions()))


async def require_newest_schema(database: Database, package: str) -> None:
    """Raises WrongSchema unless the database has the newest schema of `package`."""
    fault = revisions_of(package).fault(await database.revision())
    if fault is not None:
        raise WrongSchema(fault)


def migrate(url: str, package: str) -> None:
    """Upgrades the database at `url` to the newest revision of `package`, such as `"subgraphs.users"`.

    Every pending revision runs in one transaction. Call it outside an event loop, before the service starts.
    """
    if is_sqlite(url):
        engine = create_engine(url)
        with engine.begin() as connection:
            _upgrade(connection, package)
        engine.dispose()
    else:
        asyncio.run(_migrate_postgres(url, package))


def run_migrations(context: EnvironmentContext, metadata: MetaData) -> None:
    """The body of every `migrations/env.py`: runs the chosen revisions on the connection that `migrate` opened."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()


def make_append_only(connection: Connection, table: str) -> None:
    """Makes the database refuse every change of the table's rows but new ones; for a revision's `upgrade`.

    The table has the integer key `id`. What this does to a database stays as it is, because revisions are never
    changed: another way of doing it gets another name. Who may alter the table can undo it, and leaves traces there.
    """
    for statement in _APPEND_ONLY[connection.dialect.name]:
        connection.execute(text(statement.format(table=table)))


def allow_changes(connection: Connection, table: str) -> None:
    """Takes `make_append_only` back; for a revision's `downgrade`."""
    for statement in _CHANGES_ALLOWED[connection.dialect.name]:
        connection.execute(text(statement.format(table=table)))


# SQLite calls no trigger for rows that INSERT OR REPLACE takes away, so a known id is refused as well.
_APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER {table}_keeps_rows BEFORE DELETE ON {table}"
        " BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
        "CREATE TRIGGER {table}_keeps_values BEFORE UPDATE ON {table}"
        " BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
        "CREATE TRIGGER {table}_keeps_ids BEFORE INSERT ON {table}"
        " WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)"
        " BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$",
        "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()",
    ),
}
_CHANGES_ALLOWED = {
    "sqlite": tuple(f"DROP TRIGGER {{table}}_keeps_{kept}" for kept in ("rows", "values", "ids")),
    "postgresql": ("DROP TRIGGER {table}_append_only ON {table}", "DROP FUNCTION {table}_append_only()"),
}


def alembic_config(package: str) -> Config:
    """Alembic's configuration of one service: its script folder is `<package>/migrations`."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files(package))) / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, package: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK_KEY})
    config = alembic_config(package)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _migrate_postgres(url: str, package: str) -> None:
    engine = create_async_engine(asyncpg_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade, package)
    await engine.dispose()
