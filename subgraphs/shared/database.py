"""SQLite and PostgreSQL behind one interface, for SQLAlchemy Core statements.

How it works. A service reads through `Database.reading()` (each statement sees what is committed when it runs) and
writes through `Database.write(work)`: one transaction, committed when `work` returns, rolled back when it raises.
`work` may run twice, so it touches nothing but the database.

SQLite: the synchronous driver is called inline on the event loop, because its short indexed statements take 6 to 120
microseconds and a thread or a queue costs ten times that. There is one reading connection and one writing connection
per process. Writers queue at one in-process lock and then BEGIN IMMEDIATE, so that none of them ever waits inside
SQLite and blocks the loop; only another process holding the file (a backup, a second server, an audit that repairs the
write-ahead log of one that was killed) makes BEGIN or opening the file fail, which is retried without blocking until
`SQLITE_BUSY_MS_MAX`.

What passes or can be mended from outside is no fault of a request: a full or broken disk, a file that was damaged, a
schema that was not migrated, a server that is away. Then every use is refused as `unavailable`, and the log says why,
once. The next use tries again, on a new connection, so that nothing has to be restarted when it is mended.
`require_usable` tells whether it is: after a failure it writes, for nothing else knows whether the disk has room.

PostgreSQL: asyncpg under READ COMMITTED. There a guarded UPDATE alone does not stop two transactions that each write
what the other one checked, so a decision first locks the row it rests on: `insert_or_ignore`, then `locked(select)`.
Serialization failures and deadlocks are retried. A server that restarts is waited for: what has to connect waits until
`POSTGRES_AWAY_MS_MAX` after it was first found away, and a transaction that lost its connection before its commit runs
again. So a restart fails only what was reading, or committing, when it began. A server that stays away is not waited
for by every request anew; and `/ready` says so at once.

Wakes (`wakening`). What a transaction asks to be woken is woken once it is committed. On PostgreSQL other replicas hear
of it by NOTIFY, which a connection of its own sends, with all that was committed meanwhile in one statement, after the
commits and not within them: a transaction that notifies holds a lock of the whole server while it commits, so orders
would wait for one another's disks. A process that is killed between the two has woken nobody, and readers find what it
did when they next look.
"""

import asyncio
import functools
import logging
import random
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar
from zlib import crc32

from sqlalchemy import URL, Engine, RootTransaction, create_engine, event, func, make_url, select, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.schema import Table
from sqlalchemy.sql import Executable, Select

from subgraphs.shared.errors import UNAVAILABLE, Refusal
from subgraphs.shared.statements import Executed, Parameters, Statements
from subgraphs.shared.wakening import Wakening

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
SelectT = TypeVar("SelectT", bound=Select[Any])
Clock = Callable[[], int]

SQLITE_BUSY_MS_MAX = 5_000
"""How long to wait for another process that holds the SQLite file; our own transactions take milliseconds."""
SQLITE_BUSY_RETRY_MS = 5
WRITE_ATTEMPTS_MAX = 8
"""Runs of one transaction before a serialization failure or deadlock is given up; two in a row are already rare."""
POSTGRES_POOL_SIZE = 10
POSTGRES_LOCK_TIMEOUT_MS = 5_000
"""No transaction here is long: a row lock awaited longer than this belongs to a stuck peer, and the caller retries."""

POSTGRES_AWAY_MS_MAX = 5_000
"""How long after a server was found away it is waited for: a restart takes a second or two."""
POSTGRES_AWAY_RETRY_MS = 50
POSTGRES_CONNECT_TIMEOUT_S = 5
"""Of a host that does not even refuse; the driver's own is a minute."""

WAKES_CHANNEL = "trifolio_wakes"
WAKES_BYTES_MAX = 7_000
"""What one NOTIFY carries: PostgreSQL takes less than 8,000 bytes. A user's topic has 37."""
WAKES_RETRY_S = 1.0
"""How long after its end the connection that carries wakes is made again."""

_UNDEFINED_TABLE = "42P01"
_PRIMARY_CODE = 0xFF
"""The bits of an extended SQLite code that are its primary code."""
_RETRIED_SQLSTATES = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected."""
_PASSING_SQLSTATES = _RETRIED_SQLSTATES | {"55P03"}
"""Also lock_not_available."""
_BROKEN_SQLSTATES = ("08", "28", "3D000", "25006", "42501", "53", "55000", "57P", "58", "XX001", "XX002")
"""How the codes of a server begin that is away, full, damaged or read-only, or does not let this service in."""
_AWAY_SQLSTATES = frozenset({"57P01", "57P02", "57P03"})
"""admin_shutdown, crash_shutdown, cannot_connect_now."""
_SCHEMA_SQLSTATES = ("42P01", "42703")
_BROKEN_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
_DAMAGED_SQLITE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
PROBE_BYTES = 1_048_576
"""What a trial write takes on disk and gives back: room for many transactions, or the next one fails again."""
RETRY_AFTER_S = 1


class UnusableUrl(ValueError):
    """A database's URL that is none, or another kind's. The text shows nothing of a password."""


class LastWork(Protocol):
    """What a transaction does when all else is done, right before its commit."""

    async def finish(self, connection: "Connection", /) -> None:
        """Does it."""
        ...


class Connection(Protocol):
    """One connection inside `reading()` or `write()`. Times are milliseconds since the epoch, UTC."""

    dialect: Literal["sqlite", "postgresql"]
    last: dict[object, LastWork]
    """What a transaction does last, by whoever put it there."""
    wakes: set[str]
    """The topics that are woken once the transaction is committed."""

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> Executed:
        """Runs one statement. Consume the result before the next await."""
        ...

    async def now(self) -> int:
        """The database's time in milliseconds, or the injected clock's."""
        ...


class AdvisoryLock(Protocol):
    """A lock that replicas ask for and do not wait for."""

    @property
    def held(self) -> bool:
        """Whether it is held here, and still is."""
        ...


def insert_or_ignore(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """`INSERT ... ON CONFLICT DO NOTHING` in the connection's dialect; `rowcount` is 0 when the row was there."""
    return _insert_or_ignore(connection.dialect, table)


@functools.cache
def _insert_or_ignore(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Built once per table: SQLAlchemy remembers with a statement how it compiles."""
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def locked(statement: SelectT, connection: Connection) -> SelectT:
    """The same SELECT with its rows locked to the end of the transaction (on SQLite the writer holds the only lock)."""
    return statement.with_for_update() if connection.dialect == "postgresql" else statement


class Database:
    """A service's database: one object per process, opened once and closed at shutdown."""

    def __init__(self, backend: "_SqliteBackend | _PostgresBackend") -> None:
        self._backend = backend
        self.wakening = Wakening()
        """Who waits for what transactions change; see `Connection.wakes`."""
        self._schema_fault: Callable[[str | None], str | None] | None = None
        self._schema_is_known = True
        self._broken: str | None = None
        """Why it could not be used, until a write succeeds."""
        self._logged: str | None = None

    def require_schema(self, fault: Callable[[str | None], str | None]) -> None:
        """From now on nothing is done while `fault` of the schema's revision says why it cannot be worked with."""
        self._schema_fault, self._schema_is_known = fault, False

    async def require_usable(self) -> None:
        """Raises Refusal `unavailable` while the service cannot work with its database; the log says why.

        It looks at the schema, and after something has failed it writes.
        """
        try:
            await self._check_schema(patient=False)
            if self._broken is not None:
                await self._backend.try_out()
            if self._logged is not None:
                self._mended()
        except Exception as error:
            await self._refuse_broken(error)
            raise

    async def _check_schema(self, *, patient: bool = True) -> None:
        """Raises _Unusable while the schema cannot be worked with."""
        if self._schema_fault is None:
            return
        found = self._schema_fault(await self._revision(patient=patient))
        self._schema_is_known = found is None
        if found is not None:
            raise _Unusable(found)

    async def _refuse_broken(self, error: Exception) -> None:
        """Raises Refusal `unavailable` for what passes, or can be mended from outside; returns for anything else."""
        found, code = _fault_in(error), _sqlite_code(error)
        if found is None and self._schema_fault is not None and _is_schema_fault(error):
            try:
                await self._check_schema()
            except _Unusable as fault:
                found = str(fault)
            except (OSError, SQLAlchemyError):
                return  # the statement's own error says as much
        if found is None:
            return
        if not _passes(error):
            self._broken = None if isinstance(error, _Unusable) else found
            if self._logged != found:
                self._logged = found
                LOGGER.error("the database cannot be used: %s", found)
            self._backend.reopen(damaged=code in _DAMAGED_SQLITE_CODES)
        raise Refusal(UNAVAILABLE, "The database does not answer.", retry_after_s=RETRY_AFTER_S) from error

    def _mended(self) -> None:
        if self._logged is not None:
            LOGGER.warning("the database can be used again")
        self._broken = self._logged = None

    @classmethod
    def open(cls, url: str, *, clock: Clock | None = None) -> "Database":
        """Opens `sqlite:///path/to.db` or `postgresql://...`; connects on first use.

        Args:
            url: the database's URL; an in-memory SQLite database is refused, its two connections would not meet.
            clock: milliseconds since the epoch, in place of the database's time; for tests.

        Raises:
            UnusableUrl: for any other URL.
        """
        parsed = _parsed(url)
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise UnusableUrl(
                    "An in-memory SQLite database has no use here: name a file, as in sqlite:///users.db."
                )
            return cls(_SqliteBackend(url, clock))
        return cls(_PostgresBackend(asyncpg_url(url), clock))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection for SELECTs; every statement sees what is committed when it runs.

        Raises:
            Refusal: `unavailable` when the database cannot be reached.
        """
        try:
            if not self._schema_is_known:
                await self._check_schema()
            async with self._backend.reading() as connection:
                yield connection
        except Exception as error:
            await self._refuse_broken(error)
            raise

    async def write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in one transaction and returns its result once committed. `work` may run more than once.

        Raises:
            Refusal: `unavailable` when the database cannot be reached or a lock is not given in time. The transaction
                may have been committed if the connection broke at its very end: repeat with the same idempotency key.
        """
        try:
            if not self._schema_is_known:
                await self._check_schema()
            result = await self._attempts(work)
        except Exception as error:
            await self._refuse_broken(error)
            raise
        if self._logged is not None:
            self._mended()
        return result

    async def _attempts(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        for attempt in range(1, WRITE_ATTEMPTS_MAX + 1):
            worked = False
            try:
                async with self._backend.writing() as connection:
                    result = await work(connection)
                    for last in connection.last.values():
                        await last.finish(connection)
                    worked = True
                if connection.wakes:
                    self.wakening.wake(connection.wakes)
                    self._backend.tell(connection.wakes)
                return result
            except DBAPIError as error:
                # Whether a commit was done whose connection broke, nobody knows here.
                lost = not worked and self._backend.has_lost(error)
                if attempt == WRITE_ATTEMPTS_MAX or not (lost or sqlstate_of(error) in _RETRIED_SQLSTATES):
                    raise
            await asyncio.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311  # spreads retries, no secret
        raise AssertionError("the last attempt returns or raises")

    async def carry_wakes(self) -> None:
        """Brings wakes to other replicas, and theirs here, for as long as it is let; it never raises by itself."""
        while True:
            try:
                await self._backend.carry_wakes(self.wakening)
            except Exception as error:
                if _fault_in(error) is None:
                    raise
                LOGGER.warning("wakes do not reach other replicas: %s", _fault_in(error))
            await asyncio.sleep(WAKES_RETRY_S)

    @asynccontextmanager
    async def advisory_lock(self, name: str) -> AsyncIterator[AdvisoryLock]:
        """A lock that one holder of `name` at a time has over all replicas; others are told at once that they have not.

        Who holds it for long asks again and again: it is lost with the connection to the server.
        """
        try:
            async with self._backend.advisory_lock(name) as lock:
                yield lock
        except Exception as error:
            await self._refuse_broken(error)
            raise

    async def run_alone(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Runs `work` unless a replica is at work under that name; whether it did. Nobody waits for another."""
        async with self.advisory_lock(name) as lock:
            if lock.held:
                await work()
            return lock.held

    async def revision(self) -> str | None:
        """The revision of the schema, as migrations have noted it; None for a database without tables.

        Raises:
            Refusal: `unavailable` when the database cannot be reached.
        """
        try:
            return await self._revision()
        except Exception as error:
            await self._refuse_broken(error)
            raise

    async def _revision(self, *, patient: bool = True) -> str | None:
        async with self._backend.reading(patient=patient) as connection:
            try:
                found: str | None = (await connection.execute(_REVISION)).scalar_one_or_none()
            except DBAPIError as error:
                if not _lacks_table(error):
                    raise
                return None
        return found

    async def close(self) -> None:
        """Closes every connection."""
        await self._backend.close()


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite file, and not a PostgreSQL database; raises UnusableUrl for any other."""
    return _parsed(url).get_backend_name() == "sqlite"


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        # What SQLAlchemy says of it may hold a part of the password.
        raise UnusableUrl("The database's URL is none: write sqlite:///FILE or postgresql://...") from None
    if backend not in ("sqlite", "postgresql"):
        raise UnusableUrl(f"Use a sqlite:/// or postgresql:// URL, not {backend}.")
    return parsed


def asyncpg_url(url: str) -> str:
    """The URL with the asyncpg driver named; SQLAlchemy takes bare `postgresql://` for another one."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def sqlstate_of(error: DBAPIError) -> str | None:
    """PostgreSQL's five-character code of a failed statement; None on SQLite."""
    code = getattr(error.orig, "sqlstate", None)
    return code if isinstance(code, str) else None


def _lacks_table(error: DBAPIError) -> bool:
    return sqlstate_of(error) == _UNDEFINED_TABLE or str(error.orig).startswith("no such table")


class _Unusable(Exception):
    """The schema is not one that the service works with."""


def _fault_in(error: Exception) -> str | None:
    """What has become of the database, in words for the log; None for an error that is the statement's."""
    if isinstance(error, _Unusable):
        return str(error)
    state = _sqlstate(error)
    if isinstance(error, DBAPIError):
        broken = error.connection_invalidated or _sqlite_code(error) in _BROKEN_SQLITE_CODES
        if broken or _passes(error) or state.startswith(_BROKEN_SQLSTATES):
            return str(error.orig).partition("\n")[0]
        return None
    if isinstance(error, OSError | PoolTimeoutError | sqlite3.DatabaseError):
        return str(error) or type(error).__name__
    if type(error).__module__.startswith("asyncpg."):  # not SQLAlchemy's yet, while it connects
        return str(error)
    return None


def _passes(error: Exception) -> bool:
    """Whether somebody else is in the way, who will not be for long."""
    if isinstance(error, DBAPIError) and _is_busy(error):
        return True
    return isinstance(error, PoolTimeoutError) or _sqlstate(error) in _PASSING_SQLSTATES


def _is_schema_fault(error: Exception) -> bool:
    missing = str(getattr(error, "orig", "")).startswith(("no such table", "no such column"))
    return missing or _sqlstate(error) in _SCHEMA_SQLSTATES


def _sqlstate(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "-")


def _sqlite_code(error: Exception) -> int:
    code: int = getattr(getattr(error, "orig", error), "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & _PRIMARY_CODE


class _SqliteConnection:
    dialect: Literal["sqlite", "postgresql"] = "sqlite"

    def __init__(self, connection: SyncConnection, statements: Statements, clock: Clock | None) -> None:
        self._connection = connection
        self._statements = statements
        self._clock = clock or _system_clock
        self.last: dict[object, LastWork] = {}
        self.wakes: set[str] = set()

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> Executed:
        return self._statements.execute(self._connection, statement, parameters)

    async def now(self) -> int:
        return self._clock()


@dataclass(frozen=True, slots=True)
class _FileLock:
    held: bool


class _SqliteBackend:
    """One reading and one writing connection to one file, shared by the process's event loop."""

    def __init__(self, url: str, clock: Clock | None) -> None:
        self._clock = clock
        self._reader_engine, self._writer_engine = _sqlite_engine(url), _sqlite_engine(url)
        # Each engine has its own dialect object, whose hook is empty; a listener's statement costs four times as much.
        self._writer_engine.dialect.do_begin = _begin_immediate  # type: ignore[assignment]  # the hook's place
        self._statements = Statements(self._reader_engine.dialect)
        self._file = str(make_url(url).database)
        self._reader: SyncConnection | None = None
        self._writer: SyncConnection | None = None
        self._writer_lock = asyncio.Lock()
        self._uses = 0
        self._reopens = False
        self._damaged = False
        self._advisory: set[str] = set()

    @asynccontextmanager
    async def reading(self, *, patient: bool = True) -> AsyncIterator[Connection]:
        self._uses += 1
        try:
            reader = self._reader
            if reader is None:
                reader = await _patiently(self._open_reader)
            yield _SqliteConnection(reader, self._statements, self._clock)
        finally:
            self._ended()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        async with self._writer_lock:
            self._uses += 1
            try:
                writer = self._writer
                if writer is None:
                    writer = await _patiently(self._open_writer)
                with await _patiently(functools.partial(_begin, writer)):
                    yield _SqliteConnection(writer, self._statements, self._clock)
            finally:
                self._ended()

    def has_lost(self, _error: DBAPIError) -> bool:
        """A file is not lost as a connection is."""
        return False

    def tell(self, topics: Collection[str]) -> None:
        """Nobody else writes to the file."""

    async def carry_wakes(self, _wakening: Wakening) -> None:
        """Waits for ever: all readers are here."""
        await asyncio.Event().wait()

    def reopen(self, *, damaged: bool) -> None:
        """Takes new connections as soon as nobody uses the old ones: the file may be another one by then."""
        self._reopens, self._damaged = True, self._damaged or damaged
        if self._uses == 0:
            self._close()

    def _ended(self) -> None:
        self._uses -= 1
        if self._reopens and self._uses == 0:
            self._close()

    async def try_out(self) -> None:
        """Takes room in the file, gives it back, and commits; of a file that was damaged it looks at every page."""
        if self._damaged:
            await asyncio.to_thread(_check_pages, self._file)
            self._damaged = False
        async with self.writing() as connection:
            for statement in _SQLITE_PROBE:
                await connection.execute(statement)

    def _open_reader(self) -> SyncConnection:
        if self._reader is None:  # or another reader was patient too, and opened it
            self._reader = self._reader_engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._reader

    def _open_writer(self) -> SyncConnection:
        self._writer = self._writer_engine.connect()
        return self._writer

    @asynccontextmanager
    async def advisory_lock(self, name: str) -> AsyncIterator[AdvisoryLock]:
        if name in self._advisory:
            yield _FileLock(held=False)
            return
        self._advisory.add(name)
        try:
            yield _FileLock(held=True)
        finally:
            self._advisory.discard(name)

    async def close(self) -> None:
        self._close()

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        self._reopens = False
        self._reader_engine.dispose()
        self._writer_engine.dispose()


class _PostgresConnection:
    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, connection: AsyncConnection, clock: Clock | None) -> None:
        self._connection = connection
        self._clock = clock
        self.last: dict[object, LastWork] = {}
        self.wakes: set[str] = set()

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> Executed:
        return await self._connection.execute(statement, parameters)

    async def now(self) -> int:
        if self._clock is not None:
            return self._clock()
        milliseconds: int = (await self._connection.execute(_POSTGRES_NOW)).scalar_one()
        return milliseconds


class _ServerLock:
    """A lock of a server's session: gone with its connection, which the driver notices without being asked."""

    def __init__(self, driver_connection: Any) -> None:
        self._driver_connection = driver_connection

    @property
    def held(self) -> bool:
        return self._driver_connection is not None and not self._driver_connection.is_closed()


class _PostgresBackend:
    """A pool of asyncpg connections; reads run in autocommit mode and spare BEGIN and ROLLBACK."""

    def __init__(self, url: str, clock: Clock | None) -> None:
        self._clock = clock
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=POSTGRES_POOL_SIZE,
            max_overflow=0,
            pool_pre_ping=False,
            hide_parameters=True,  # errors are logged, and parameters are people's data
            connect_args={
                "server_settings": {"lock_timeout": str(POSTGRES_LOCK_TIMEOUT_MS)},
                "timeout": POSTGRES_CONNECT_TIMEOUT_S,
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._wakes_engine = create_async_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": POSTGRES_CONNECT_TIMEOUT_S}
        ).execution_options(isolation_level="AUTOCOMMIT")
        self._origin = secrets.token_hex(4)
        """Who has sent a notification: what this process has woken itself, it does not wake again."""
        self._untold: set[str] = set()
        self._has_untold = asyncio.Event()
        self._carries = False
        self._reconnecting = asyncio.Lock()
        """Held by the one who looks whether a server that was away is back."""
        self._away_since: float | None = None
        self._reading_engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def reading(self, *, patient: bool = True) -> AsyncIterator[Connection]:
        async with AsyncExitStack() as closing_it:
            connection = await self._connected(self._reading_engine, patient=patient)
            closing_it.push_async_exit(connection)
            yield _PostgresConnection(connection, self._clock)

    @asynccontextmanager
    async def writing(self, *, patient: bool = True) -> AsyncIterator[Connection]:
        async with AsyncExitStack() as closing_it:
            connection = await self._connected(self._engine, patient=patient)
            closing_it.push_async_exit(connection)
            await closing_it.enter_async_context(connection.begin())
            yield _PostgresConnection(connection, self._clock)

    async def _connected(self, engine: AsyncEngine, *, patient: bool) -> AsyncConnection:
        """A connection; while the server restarts, one as soon as it is back. Who gets it closes it."""
        try:
            return await self._connect(engine)
        except Exception as error:
            if not (patient and _is_away(error) and self._away_briefly()):
                raise
        async with self._reconnecting:
            while True:
                try:
                    return await self._connect(engine)
                except Exception as error:
                    if not (_is_away(error) and self._away_briefly()):
                        raise
                await asyncio.sleep(POSTGRES_AWAY_RETRY_MS / 1_000)

    async def _connect(self, engine: AsyncEngine) -> AsyncConnection:
        connection = await engine.connect()
        self._away_since = None
        return connection

    def _away_briefly(self) -> bool:
        """Whether the server, which is away now, was there a moment ago."""
        if self._away_since is None:
            self._away_since = time.monotonic()
        return time.monotonic() - self._away_since < POSTGRES_AWAY_MS_MAX / 1_000

    def has_lost(self, error: DBAPIError) -> bool:
        """Whether the connection broke, so that whatever its transaction has done is undone."""
        return error.connection_invalidated or sqlstate_of(error) in _AWAY_SQLSTATES

    def tell(self, topics: Collection[str]) -> None:
        """Notes what other replicas are to be told of; while none of them can be, they look by themselves."""
        if self._carries:
            self._untold.update(topics)
            self._has_untold.set()

    async def carry_wakes(self, wakening: Wakening) -> None:
        """Tells and hears over one connection, until it ends."""

        def hear(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            origin, *topics = payload.split("\n")
            if origin != self._origin:
                wakening.wake(topics)

        async with self._wakes_engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.add_listener(WAKES_CHANNEL, hear)
            # What was committed while nobody listened may be anybody's.
            wakening.wake_all()
            self._carries = True
            driver.add_termination_listener(lambda _connection: self._has_untold.set())
            try:
                while not driver.is_closed():
                    await self._has_untold.wait()
                    self._has_untold.clear()
                    topics, self._untold = self._untold, set()
                    for payload in _payloads(self._origin, topics):
                        await connection.execute(_POSTGRES_NOTIFY, {"channel": WAKES_CHANNEL, "payload": payload})
            finally:
                self._carries = False
                self._untold.clear()

    @asynccontextmanager
    async def advisory_lock(self, name: str) -> AsyncIterator[AdvisoryLock]:
        key = crc32(name.encode())
        async with self._reading_engine.connect() as connection:
            taken: bool = (await connection.execute(select(func.pg_try_advisory_lock(key)))).scalar_one()
            driver = (await connection.get_raw_connection()).driver_connection
            try:
                yield _ServerLock(driver if taken else None)
            finally:
                if taken:
                    await self._unlock(connection, key)

    async def _unlock(self, connection: AsyncConnection, key: int) -> None:
        """Gives the lock back, if need be with its connection. It never raises what would hide why the work ended."""
        try:
            await connection.execute(select(func.pg_advisory_unlock(key)))
        except DBAPIError:
            await connection.invalidate()
        except asyncio.CancelledError:
            await connection.invalidate()
            raise

    def reopen(self, *, damaged: bool) -> None:
        """The pool gives up what is broken by itself."""

    async def try_out(self) -> None:
        """Commits a change that changes nothing."""
        async with self.writing(patient=False) as connection:
            await connection.execute(_POSTGRES_PROBE)

    async def close(self) -> None:
        await self._engine.dispose()
        await self._wakes_engine.dispose()


def _payloads(origin: str, topics: Collection[str]) -> list[str]:
    """What notifications say: the sender, and as many topics as one carries, each on a line."""
    payloads: list[str] = []
    lines, size = [origin], 0
    for topic in sorted(topics):
        if size + len(topic) + 1 > WAKES_BYTES_MAX:
            payloads.append("\n".join(lines))
            lines, size = [origin], 0
        lines.append(topic)
        size += len(topic) + 1
    return [*payloads, "\n".join(lines)] if len(lines) > 1 else payloads


def _refuse_closed(connection: Any, _record: object, _fairy: object) -> None:
    """Lets the pool replace a connection that the server has closed, which the driver knows without asking it."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _is_away(error: Exception) -> bool:
    """Whether nobody could connect as the server does not run, not yet, or no longer."""
    return isinstance(error, OSError) or _sqlstate(error) in _AWAY_SQLSTATES


_REVISION = text("SELECT version_num FROM alembic_version")
_POSTGRES_PROBE = text("UPDATE alembic_version SET version_num = version_num")
_SQLITE_PROBE = (
    text("CREATE TABLE probe (room BLOB)"),
    text(f"INSERT INTO probe VALUES (zeroblob({PROBE_BYTES}))"),  # noqa: S608  # a constant
    text("DROP TABLE probe"),
    text("UPDATE alembic_version SET version_num = version_num"),
)
_POSTGRES_NOTIFY = text("SELECT pg_notify(:channel, :payload)")
_POSTGRES_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=StaticPool,
        hide_parameters=True,  # errors are logged, and parameters are people's data
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 0},
    )
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def _check_pages(file: str) -> None:
    """Raises sqlite3.DatabaseError for a damaged file; it reads all of it."""
    with closing(sqlite3.connect(file)) as connection:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(str(found))


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Any) -> None:
    connection.execute("BEGIN IMMEDIATE").close()


def _begin(writer: SyncConnection) -> RootTransaction:
    try:
        return writer.begin()
    except DBAPIError:
        writer.rollback()
        raise


async def _patiently(work: Callable[[], T]) -> T:
    """Does what another process may be in the way of, once it no longer is."""
    deadline = time.monotonic() + SQLITE_BUSY_MS_MAX / 1_000
    while True:
        try:
            return work()
        except DBAPIError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(SQLITE_BUSY_RETRY_MS / 1_000)


def _is_busy(error: DBAPIError) -> bool:
    """Whether the file is held by another process: SQLITE_BUSY, or one of its extended codes that say by what."""
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return bool(code & _PRIMARY_CODE == sqlite3.SQLITE_BUSY)


def _system_clock() -> int:
    return time.time_ns() // 1_000_000
