"""Databases that fail under a running service: it says so, serves on when they are mended, and loses nothing."""

import contextlib
import logging
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import event, make_url
from sqlalchemy.pool import Pool

from tests.faults.in_process import Brokerage, Person, running

DEPOSIT = {"type": "deposit", "currency": "USD", "amount": "1.00"}
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture
async def brokerage(urls: dict[str, str]) -> AsyncIterator[Brokerage]:
    """The three services, to be disturbed."""
    async with running(urls) as brokerage:
        yield brokerage


@pytest.fixture
async def alice(brokerage: Brokerage) -> Person:
    """An investor with one deposit."""
    person = await brokerage.person("investor", "alice")
    assert (await deposit(brokerage, person, "first")).status_code == 201
    return person


async def deposit(brokerage: Brokerage, person: Person, key: str) -> httpx.Response:
    """One more dollar."""
    return await brokerage.send(person, "wallet", "POST", "/transactions", DEPOSIT, key=key)


async def state(brokerage: Brokerage) -> tuple[int, int]:
    """What the wallet says of itself: the statuses of /ready and /health."""
    ready, health = [await brokerage.http.get(f"http://wallet{path}") for path in ("/ready", "/health")]
    return ready.status_code, health.status_code


async def assert_refused(brokerage: Brokerage, person: Person, key: str) -> None:
    """A write is refused as what may be tried again soon, /ready says no, and the process is well."""
    refused = await deposit(brokerage, person, key)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable"), refused.text
    assert int(refused.headers["Retry-After"]) >= 1
    assert await state(brokerage) == (503, 200)


async def assert_recovered(brokerage: Brokerage, person: Person, *keys: str) -> None:
    """/ready says yes without a restart; what was refused succeeds when sent again, once; and the books are right."""
    assert await state(brokerage) == (200, 200)
    for key in keys:
        assert (await deposit(brokerage, person, key)).status_code == 201
        again = await deposit(brokerage, person, key)
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    [balance] = (await brokerage.send(person, "wallet", "GET", "/balance")).json()["balances"]
    assert balance["total"] == f"{1 + len(keys)}.00"
    assert await brokerage.violations() == ()


# ---- SQLite ----


def file_of(brokerage: Brokerage) -> Path:
    """The wallet's database."""
    return Path(str(make_url(brokerage.urls["wallet"]).database))


@contextlib.contextmanager
def no_more_pages(brokerage: Brokerage) -> Iterator[None]:
    """A disk that is full: no page can be added, on whichever connection."""
    pages = file_of(brokerage).stat().st_size // 4096

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    event.listen(Pool, "connect", limit)
    try:
        yield
    finally:
        event.remove(Pool, "connect", limit)


@contextlib.contextmanager
def no_longer_files(brokerage: Brokerage) -> Iterator[None]:
    """A limit on the size of files, which the operating system enforces."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(brokerage: Brokerage) -> Iterator[None]:
    """A file that can be read alone."""

    def forbid(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON").close()

    event.listen(Pool, "connect", forbid)
    try:
        yield
    finally:
        event.remove(Pool, "connect", forbid)


@contextlib.contextmanager
def damaged(brokerage: Brokerage) -> Iterator[None]:
    """Everything after the file's first page is noise, and later the file that was there is put in its place."""
    file = file_of(brokerage)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = Path(shutil.copyfile(file, file.with_suffix(".kept")))
    with file.open("r+b") as opened:
        size = len(opened.read())
        opened.seek(4096)
        opened.write(b"\xa5" * (size - 4096))
    yield
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    kept.replace(file)


Fault = Callable[[Brokerage], AbstractContextManager[None]]


@SQLITE
@pytest.mark.parametrize("fault", [no_more_pages, no_longer_files, read_only, damaged])
async def test_a_faulty_disk_is_waited_out(brokerage: Brokerage, alice: Person, fault: Fault) -> None:
    """A full disk, a read-only and a damaged file: writes are refused with 503 until it is mended, and then done."""
    # Opened anew, as after a start, so that the fault is there from the first statement on.
    await brokerage.databases["wallet"].close()
    keys = []
    with fault(brokerage):
        for number in range(200):
            keys.append(f"deposit {number}")
            if (await deposit(brokerage, alice, keys[-1])).status_code != 201:
                break
        await assert_refused(brokerage, alice, keys[-1])
        await assert_refused(brokerage, alice, keys[-1])
        done = len(keys) - 1
    assert await state(brokerage) == (200, 200)
    assert (await deposit(brokerage, alice, keys[-1])).status_code == 201
    for key in keys:
        assert (await deposit(brokerage, alice, key)).headers["Idempotent-Replayed"] == "true"
    [balance] = (await brokerage.send(alice, "wallet", "GET", "/balance")).json()["balances"]
    assert balance["total"] == f"{done + 2}.00"
    assert await brokerage.violations() == ()


@SQLITE
async def test_the_log_has_the_reason_once(
    brokerage: Brokerage, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong is in the log when it begins, and that it is over; not at every request, and nothing is shown."""
    await brokerage.databases["wallet"].close()
    with caplog.at_level(logging.WARNING, logger="subgraphs.shared.database"):
        with read_only(brokerage):
            for _ in range(3):
                await assert_refused(brokerage, alice, "again")
            shown = (await deposit(brokerage, alice, "again")).text
        await assert_recovered(brokerage, alice, "again")
    [begun, over] = [record.getMessage() for record in caplog.records]
    assert "readonly" in begun
    assert "readonly" not in shown
    assert "again" in over


# ---- both ----


async def run_sql(url: str, *statements: str) -> None:
    """Statements of an operator, at the database or beside it."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with contextlib.closing(sqlite3.connect(str(parsed.database), isolation_level=None)) as file:
            for statement in statements:
                file.execute(statement)
        return
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("breaking", "mending"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "UPDATE alembic_version SET version_num = '{}'"),
        ("ALTER TABLE alembic_version RENAME TO hidden", "ALTER TABLE hidden RENAME TO alembic_version"),
    ],
    ids=["newer", "not migrated"],
)
async def test_a_schema_of_another_version_is_not_worked_with(
    brokerage: Brokerage, alice: Person, breaking: str, mending: str
) -> None:
    """A database that is newer than the service, or not migrated yet: nothing is read or written until it fits."""
    newest = await brokerage.databases["wallet"].revision()
    await run_sql(brokerage.urls["wallet"], breaking)
    assert await state(brokerage) == (503, 200)
    await assert_refused(brokerage, alice, "second")
    assert (await brokerage.send(alice, "wallet", "GET", "/balance")).status_code == 503
    await run_sql(brokerage.urls["wallet"], mending.format(newest))
    await assert_recovered(brokerage, alice, "second")


async def test_tables_that_vanish_are_no_fault_of_a_request(brokerage: Brokerage, alice: Person) -> None:
    """A statement that fails as the schema has changed beneath it is refused like everything after it."""
    await run_sql(brokerage.urls["wallet"], "ALTER TABLE alembic_version RENAME TO hidden")
    await run_sql(brokerage.urls["wallet"], "ALTER TABLE accounts RENAME TO hidden_accounts")
    await assert_refused(brokerage, alice, "second")
    await run_sql(brokerage.urls["wallet"], "ALTER TABLE hidden_accounts RENAME TO accounts")
    await run_sql(brokerage.urls["wallet"], "ALTER TABLE hidden RENAME TO alembic_version")
    await assert_recovered(brokerage, alice, "second")


# ---- PostgreSQL ----


def beside(url: str) -> tuple[str, str]:
    """A database's name, and the URL of the one from which it is administered."""
    parsed = make_url(url)
    return str(parsed.database), parsed.set(database="postgres").render_as_string(hide_password=False)


def terminate(name: str) -> str:
    """Ends every connection to a database, as the end of the server does."""
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608  # a test's


@POSTGRES
async def test_a_restart_of_the_server_costs_a_repetition_at_most(brokerage: Brokerage, alice: Person) -> None:
    """When all connections end at once, a request is refused with 503 or done; sent again, it is done."""
    name, administration = beside(brokerage.urls["wallet"])
    await run_sql(administration, terminate(name))
    first = await deposit(brokerage, alice, "second")
    assert first.status_code in (201, 503)
    assert (await deposit(brokerage, alice, "second")).status_code == 201
    assert await state(brokerage) == (200, 200)


@POSTGRES
async def test_a_server_that_is_away_is_waited_for(brokerage: Brokerage, alice: Person) -> None:
    """While nobody can connect every use is 503; afterwards all goes on."""
    name, administration = beside(brokerage.urls["wallet"])
    await run_sql(administration, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", terminate(name))
    for _ in range(3):
        await assert_refused(brokerage, alice, "second")
    await run_sql(administration, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await assert_recovered(brokerage, alice, "second")


@POSTGRES
async def test_a_standby_is_no_primary(brokerage: Brokerage, alice: Person) -> None:
    """After a failover to a server that only reads, /ready says no as soon as a write was refused, until it writes."""
    name, administration = beside(brokerage.urls["wallet"])
    await run_sql(administration, f"ALTER DATABASE {name} SET default_transaction_read_only = on", terminate(name))
    await deposit(brokerage, alice, "second")
    await assert_refused(brokerage, alice, "second")
    await run_sql(administration, f"ALTER DATABASE {name} RESET default_transaction_read_only", terminate(name))
    await state(brokerage)
    await assert_recovered(brokerage, alice, "second")


@POSTGRES
@pytest.mark.parametrize("code", ["53100", "53200", "53300", "58030", "57P03", "XX001"])
async def test_a_server_in_distress_is_waited_out(brokerage: Brokerage, alice: Person, code: str) -> None:
    """No disk, no memory, no connection, a broken disk, a start, damaged data: 503 while it lasts, and then done."""
    function = f"""
        CREATE FUNCTION distress() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'in distress' USING ERRCODE = '{code}'; END $$"""
    triggers = [
        f"CREATE TRIGGER distress BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION distress()"
        for table in ("operations", "alembic_version")
    ]
    await run_sql(brokerage.urls["wallet"], function, *triggers)
    await assert_refused(brokerage, alice, "second")
    await run_sql(brokerage.urls["wallet"], "DROP FUNCTION distress CASCADE")
    await assert_recovered(brokerage, alice, "second")


@POSTGRES
async def test_too_many_connections_are_waited_out(urls: dict[str, str]) -> None:
    """A role whose connections are all taken: 503 until one is free."""
    name, administration = beside(urls["wallet"])
    role = f"role_{name}"
    await run_sql(
        urls["wallet"],
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
    )
    limited = make_url(urls["wallet"]).set(username=role).render_as_string(hide_password=False)
    try:
        async with running({**urls, "wallet": limited}) as brokerage:
            alice = await brokerage.person("investor", "alice")
            await assert_refused(brokerage, alice, "first")
            await run_sql(administration, f"ALTER ROLE {role} CONNECTION LIMIT 5")
            assert await state(brokerage) == (200, 200)
            assert (await deposit(brokerage, alice, "first")).status_code == 201
    finally:
        await run_sql(urls["wallet"], f"DROP OWNED BY {role}", f"DROP ROLE {role}")
