"""All three databases at one instant, while the brokerage runs, and back again.

The problem: money and shares are in different databases, and writes that span them are under way at every moment.
Copies that are made one after the other, in whatever order, can disagree in ways that no crash leaves behind: an order
that was settled, out of a wallet that had not paid. Only copies of one instant are a state that the sagas recover from:
the one that a kill -9 of everything would have left.

The instant: every database is locked against writers, in each a transaction begins that sees what is committed now,
and the locks are given back. That takes milliseconds, in which writers wait. Copying takes as long as it takes, out of
those transactions, and keeps nobody waiting. A service never holds one database while it waits for another, so taking
the locks one by one cannot wait for ever; what is not had soon is given back, and tried again.

    users.db wallet.db stocks.db     SQLite files, also where the brokerage is on PostgreSQL: one kind of backup, which
                                     `restore` puts into either
    backup.json                      when it was made, and each file's checksum and schema

A backup is as private as the data, and holds no keys: those of `secrets/` are kept like any other secret.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from sqlalchemy import make_url

from brokerage import SERVICE_NAMES
from brokerage.failures import CommandFailed, explained
from brokerage.services import migrate_service
from subgraphs.shared.database import is_sqlite
from subgraphs.shared.migrations import Revisions, WrongSchema, revisions_of

MANIFEST = "backup.json"
FORMAT = 1
FOLDER_MODE = 0o700
LOCK_WAIT_MS = (100, 250, 500, 1_000, 2_000, 2_000, 2_000, 2_000)
"""How long each attempt waits for one database's writers to make room. The first ones end before PostgreSQL looks for
deadlocks, so that no transaction of a service is ended for a backup's sake; the last ones outlast an automatic vacuum.
"""
LOCK_POLL_S = 0.001
ROWS_AT_A_TIME = 1_000
CONNECT_TIMEOUT_S = 10.0


class _Locked(Exception):
    """Writers did not make room in time."""


class _Source(Protocol):
    """One database that is copied."""

    def locked(self, wait_ms: int) -> contextlib.AbstractAsyncContextManager[None]:
        """Keeps every writer out for as long as the block lasts. Raises _Locked when they do not make room in time."""

    async def pin(self) -> None:
        """From now on `copy` sees what is committed at this moment, whatever comes after."""

    async def copy(self, target: Path) -> None:
        """Writes all of it to a new SQLite file."""

    async def close(self) -> None:
        """Gives back what it holds."""


async def back_up(urls: Mapping[str, str], folder: Path) -> None:
    """Copies the databases, by service, as they are at one instant, into a new folder. Raises CommandFailed."""
    # Under its own name there is a whole backup, or none.
    with explained("the backup"):
        partial = _begin_folder(folder)
    try:
        async with contextlib.AsyncExitStack() as stack:
            sources: dict[str, _Source] = {}
            for service in SERVICE_NAMES:
                with explained(service):
                    sources[service] = await _open_source(service, urls[service])
                    stack.push_async_callback(sources[service].close)
            made_at = await _pin_all(sources)
            for service, source in sources.items():
                with explained(service):
                    await source.copy(partial / f"{service}.db")
        with explained("the backup"):
            _write_manifest(partial, made_at)
            _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


async def restore(folder: Path, urls: Mapping[str, str]) -> None:
    """Puts a backup into databases, by service, that hold nothing; all of it or nothing. Raises CommandFailed.

    A backup of an earlier version is brought to the newest schema on the way.
    """
    for service in SERVICE_NAMES:
        with explained(service):
            await _require_empty(service, urls[service])
    _check_backup(folder)
    with explained("the folder to restore to"):
        work = _begin_work(urls, folder)
    try:
        for service in SERVICE_NAMES:
            with explained(f"the backup of {service}"):
                copied = work / f"{service}.db"
                shutil.copyfile(folder / copied.name, copied)
                migrate_service(service, f"sqlite:///{copied}")
        async with contextlib.AsyncExitStack() as stack:
            loads = []
            for service in SERVICE_NAMES:
                with explained(service):
                    if not is_sqlite(urls[service]):
                        loads.append(await _Load.begin(service, urls[service], work / f"{service}.db", stack))
            for load in loads:
                await load.commit()
        for service in SERVICE_NAMES:
            if is_sqlite(urls[service]):
                _publish(work / f"{service}.db", _file_of(urls[service]))
    finally:
        shutil.rmtree(work, ignore_errors=True)


# ---- the instant ----


async def _pin_all(sources: Mapping[str, _Source]) -> datetime:
    """Pins all sources at one instant, which it returns."""
    for wait_ms in LOCK_WAIT_MS:
        try:
            async with contextlib.AsyncExitStack() as locks:
                for source in sources.values():
                    await locks.enter_async_context(source.locked(wait_ms))
                now = datetime.now(UTC)
                for source in sources.values():
                    await source.pin()
                return now
        except _Locked:
            await asyncio.sleep(wait_ms / 1_000)
    raise CommandFailed("the databases are written to all the time, or something holds one of them; try again")


async def _open_source(service: str, url: str) -> "_Source":
    revisions = revisions_of(f"subgraphs.{service}")
    if is_sqlite(url):
        return _SqliteSource.open(_file_of(url), revisions)
    return await _PostgresSource.open(service, _postgres_url(url), revisions)


class _SqliteSource:
    """A SQLite file: BEGIN IMMEDIATE keeps writers out; a transaction that has read sees that state to its end."""

    def __init__(self, locker: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._locker = locker
        self._reader = reader

    @classmethod
    def open(cls, file: Path, revisions: Revisions) -> "_SqliteSource":
        if not file.exists():
            raise CommandFailed(f"there is no {file}")
        locker, reader = _connect(file), _connect(file)
        _require_known(_revision_of(reader), revisions)
        return cls(locker, reader)

    @contextlib.asynccontextmanager
    async def locked(self, wait_ms: int) -> AsyncIterator[None]:
        deadline = time.monotonic() + wait_ms / 1_000
        while True:
            try:
                self._locker.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise _Locked from None
            # Writers leave short gaps: the pauses of SQLite's own waiting are longer than those.
            await asyncio.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            self._locker.execute("ROLLBACK")

    async def pin(self) -> None:
        self._reader.execute("BEGIN")
        self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()

    async def copy(self, target: Path) -> None:
        with contextlib.closing(sqlite3.connect(target)) as copied:
            self._reader.backup(copied)
            _finish_file(copied)
        _sync(target)

    async def close(self) -> None:
        self._reader.close()
        self._locker.close()


class _PostgresSource:
    """A PostgreSQL database: table locks that conflict with writing alone, then a snapshot that lasts."""

    def __init__(self, service: str, locker: Any, reader: Any, tables: Mapping[str, list[str]]) -> None:
        self._service = service
        self._locker = locker
        self._reader = reader
        self._tables = tables

    @classmethod
    async def open(cls, service: str, url: str, revisions: Revisions) -> "_PostgresSource":
        locker = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        reader = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        tables = await _tables_of(reader)
        found = await reader.fetchval("SELECT version_num FROM alembic_version") if _VERSION in tables else None
        fault = revisions.fault(found)
        if fault is not None:
            raise WrongSchema(fault)
        return cls(service, locker, reader, tables)

    @contextlib.asynccontextmanager
    async def locked(self, wait_ms: int) -> AsyncIterator[None]:
        names = ", ".join(_quoted(name) for name in self._tables)
        transaction = self._locker.transaction()
        await transaction.start()
        try:
            await self._locker.execute(f"SET LOCAL lock_timeout = {wait_ms}")
            await self._locker.execute(f"LOCK TABLE {names} IN SHARE MODE")
            yield
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            raise _Locked from None
        finally:
            await transaction.rollback()

    async def pin(self) -> None:
        await self._reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await self._reader.fetchval("SELECT pg_export_snapshot()")

    async def copy(self, target: Path) -> None:
        # Alembic's own engine, so that the file has the schema and the revision that a SQLite brokerage has.
        await asyncio.to_thread(migrate_service, self._service, f"sqlite:///{target}")
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copied:
            copied.execute("PRAGMA synchronous = OFF")
            copied.execute("BEGIN")
            for table, columns in self._tables.items():
                if table != _VERSION:
                    await self._copy_table(table, columns, copied)
            copied.execute("COMMIT")
            _finish_file(copied)
        _sync(target)

    async def _copy_table(self, table: str, columns: list[str], copied: sqlite3.Connection) -> None:
        names = ", ".join(_quoted(column) for column in columns)
        places = ", ".join("?" for _ in columns)
        copied.execute(f"DELETE FROM {_quoted(table)}")  # noqa: S608  # names out of the catalogue, quoted
        insert = f"INSERT INTO {_quoted(table)} ({names}) VALUES ({places})"  # noqa: S608  # the same
        statement = await self._reader.prepare(f"SELECT {names} FROM {_quoted(table)}")  # noqa: S608  # the same
        cursor = await statement.cursor()
        while rows := await cursor.fetch(ROWS_AT_A_TIME):
            copied.executemany(insert, [tuple(row) for row in rows])

    async def close(self) -> None:
        for connection in (self._reader, self._locker):
            await connection.close(timeout=CONNECT_TIMEOUT_S)


# ---- into databases ----


@dataclass(frozen=True, slots=True)
class _Load:
    """A file's rows in a transaction of a PostgreSQL database, which nobody sees before it is committed."""

    connection: Any

    @classmethod
    async def begin(cls, service: str, url: str, file: Path, stack: contextlib.AsyncExitStack) -> "_Load":
        await asyncio.to_thread(migrate_service, service, url)
        connection = await asyncpg.connect(_postgres_url(url), timeout=CONNECT_TIMEOUT_S)
        stack.push_async_callback(connection.close, timeout=CONNECT_TIMEOUT_S)
        await connection.execute("BEGIN")
        tables = await _tables_of(connection)
        with contextlib.closing(_connect(file)) as rows:
            for table in await _referenced_first(connection, tables):
                columns = tables[table]
                names = ", ".join(_quoted(column) for column in columns)
                found = rows.execute(f"SELECT {names} FROM {_quoted(table)}")  # noqa: S608  # out of the catalogue
                # One COPY is one statement: rows may refer to rows of the same table that come later.
                await connection.copy_records_to_table(table, records=found, columns=columns)
        for table, column, sequence in await connection.fetch(_SEQUENCES):
            last = f"(SELECT max({_quoted(column)}) FROM {_quoted(table)})"  # noqa: S608  # out of the catalogue
            await connection.execute(f"SELECT setval('{sequence}', coalesce({last}, 1), {last} IS NOT NULL)")
        return cls(connection)

    async def commit(self) -> None:
        await self.connection.execute("COMMIT")


async def _require_empty(service: str, url: str) -> None:
    """Raises CommandFailed for a database that has anything in it."""
    if is_sqlite(url):
        for file in _files_of(url):
            if file.exists():
                raise CommandFailed(f"{file} is there already; a backup is put into a new folder or empty databases")
        return
    connection = await asyncpg.connect(_postgres_url(url), timeout=CONNECT_TIMEOUT_S)
    try:
        tables = await _tables_of(connection)
        for table in tables.keys() - {_VERSION}:
            if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {_quoted(table)})"):  # noqa: S608  # the same
                raise CommandFailed(f"its database has rows in {table}; a backup is put into empty databases")
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


_VERSION = "alembic_version"
_TABLES = """
    SELECT relname, array_agg(attname::text ORDER BY attnum) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped
    GROUP BY relname ORDER BY relname"""
_REFERENCES = """
    SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND connamespace = current_schema()::regnamespace AND conrelid <> confrelid"""
_SEQUENCES = """
    SELECT relname, attname, pg_get_serial_sequence(quote_ident(relname), attname)
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped
    AND pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL"""


async def _tables_of(connection: Any) -> dict[str, list[str]]:
    """The columns of every table."""
    return {name: list(columns) for name, columns in await connection.fetch(_TABLES)}


async def _referenced_first(connection: Any, tables: Mapping[str, list[str]]) -> list[str]:
    """The tables with rows of a service, each after those that it refers to."""
    references = {table: set[str]() for table in tables}
    for table, referenced in await connection.fetch(_REFERENCES):
        references[table.strip('"')].add(referenced.strip('"'))
    ordered: list[str] = []
    while len(ordered) < len(references):
        ordered += [table for table in references if table not in ordered and references[table] <= set(ordered)]
    return [table for table in ordered if table != _VERSION]


# ---- files ----


def _begin_folder(folder: Path) -> Path:
    """The folder in which a backup is made that will be `folder`. Raises CommandFailed where there is one."""
    if folder.exists() and any(folder.iterdir()):
        raise CommandFailed(f"{folder} is not empty; name a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=FOLDER_MODE, parents=True)
    return partial


def _begin_work(urls: Mapping[str, str], folder: Path) -> Path:
    """A folder for what is prepared: beside where files go, so that they get there by a rename."""
    files = [_file_of(url) for url in urls.values() if is_sqlite(url)]
    work = files[0].parent / ".restoring" if files else folder.with_name(f"{folder.name}.restoring")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=FOLDER_MODE)
    return work


def _publish(made: Path, target: Path) -> None:
    """Gives what is whole its name, when the disk has it; an empty folder of that name makes room."""
    _sync(made)
    made.replace(target)
    _sync(target.parent)


def _write_manifest(folder: Path, made_at: datetime) -> None:
    files = {}
    for service in SERVICE_NAMES:
        file = folder / f"{service}.db"
        with contextlib.closing(_connect(file)) as connection:
            files[service] = {"sha256": _checksum(file), "schema": _revision_of(connection)}
    manifest = {"format": FORMAT, "made_at": made_at.isoformat(timespec="milliseconds"), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    _sync(folder / MANIFEST)
    _sync(folder)


def _check_backup(folder: Path) -> None:
    """Raises CommandFailed unless the folder holds a whole backup that this program can read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = {service: manifest["files"][service] for service in SERVICE_NAMES}
        known = manifest["format"] == FORMAT
        said = {service: (file["sha256"], file["schema"]) for service, file in files.items()}
    except FileNotFoundError:
        raise CommandFailed(f"{folder} holds no backup: there is no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(f"{folder / MANIFEST} is damaged") from None
    if not known:
        raise CommandFailed(f"{folder} was made by a newer version")
    for service, (checksum, schema) in said.items():
        file = folder / f"{service}.db"
        with explained("the backup"):
            if _checksum(file) != checksum:
                raise CommandFailed(f"{file} is damaged: it is not what was written")
        if schema not in revisions_of(f"subgraphs.{service}").known:
            raise CommandFailed(f"the backup of {service} was made by a newer version")


def _require_known(found: str | None, revisions: Revisions) -> None:
    fault = revisions.fault(found)
    if found not in revisions.known and fault is not None:
        raise WrongSchema(fault)


def _connect(file: Path) -> sqlite3.Connection:
    """A connection in autocommit mode to a file that is there."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=1)


def _revision_of(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute(f"SELECT version_num FROM {_VERSION}").fetchone()  # noqa: S608  # a constant
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return None if row is None else str(row[0])


def _finish_file(copied: sqlite3.Connection) -> None:
    """Makes the copy one file that is whole by itself, and looks at every page of it. Raises sqlite3.DatabaseError."""
    copied.execute("PRAGMA journal_mode = DELETE")
    found = [row[0] for row in copied.execute("PRAGMA integrity_check").fetchall()]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(f"the database is damaged: {found[0]}")
    if copied.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise sqlite3.DatabaseError("the database is damaged: a row refers to none")


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Waits until the disk has it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_of(url: str) -> Path:
    return Path(str(make_url(url).database))


def _files_of(url: str) -> list[Path]:
    """The file of a SQLite database, and what may lie beside it and would be taken for a part of it."""
    file = _file_of(url)
    return [file, *(file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm", "-journal"))]


def _postgres_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
