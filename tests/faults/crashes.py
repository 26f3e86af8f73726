"""Running a scenario while one service is killed at a chosen point, and what must hold afterwards.

A *stage* is one kind of database with the scenarios prepared on it: templates that every run copies. A run starts the
three services on fresh copies with the points armed, acts, lets the victim die at its point, may do something else
meanwhile (`interference`), starts the victim again, waits until all is quiet, and reads the books.
"""

import asyncio
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from subgraphs.shared.database import Database
from tests.conftest import DatabaseFactory
from tests.faults.books import POLL_S, Books, at_rest, is_quiet, read_books, violations_of
from tests.faults.people import Clients, Person
from tests.faults.processes import SERVICES, World, Zygote
from tests.faults.scenarios import Ids, Scenario, prepare_base, register_everybody
from tests.faults.storm import Weather, rage

DEATH_WITHIN_S = 5.0

Interference = Callable[[Clients, Ids], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario's databases as `prepare` left them, to be copied, and the ids that it made."""

    urls: Mapping[str, str]
    ids: Ids
    people: Mapping[str, Person]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a service is killed: its `number`th point. `label` says what that was when it was traced."""

    service: str
    number: int
    label: str

    def __str__(self) -> str:
        return f"{self.service} at {self.number} ({self.label})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind: the books, the violations of the invariants, and how long recovery took."""

    books: Books
    violations: tuple[str, ...]
    recovery_s: float
    killed: bool


@dataclass
class Stage:
    """Scenarios on one kind of database."""

    kind: str
    zygote: Zygote
    folder: Path
    factory: DatabaseFactory
    _base: Prepared | None = None
    _prepared: dict[str, Prepared] = field(default_factory=dict)

    async def prepared(self, scenario: Scenario) -> Prepared:
        """The scenario's template, made once."""
        if self._base is None:
            self._base = await self._prepare_base()
        if scenario.name not in self._prepared:
            self._prepared[scenario.name] = await self._prepare(scenario, self._base)
        return self._prepared[scenario.name]

    async def trace(self, scenario: Scenario) -> tuple[Outcome, list[Point]]:
        """The undisturbed run, and every point that it went through."""
        async with self._world(await self.prepared(scenario)) as (world, clients, databases, prepared):
            world.control.arm(True)
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            await scenario.act(clients, prepared.ids)
            await at_rest(databases)
            world.control.arm(False)
            books = await read_books(databases)
            points = [
                Point(service, number, label)
                for service in SERVICES
                for number, label in enumerate(world.points(service), start=1)
            ]
            return Outcome(books, await violations_of(databases), 0.0, killed=False), points

    async def crash(
        self,
        scenario: Scenario,
        point: Point,
        *,
        interference: Interference | None = None,
        patient: bool = True,
    ) -> Outcome:
        """One run with `point.service` killed at its point. An impatient client sends its request once."""
        async with self._world(await self.prepared(scenario)) as (world, clients, databases, prepared):
            world.control.arm(True)
            for service in SERVICES:
                world.start(service, kill_at=point.number if service == point.service else None)
            actor = clients if patient else clients.impatient()
            acting = asyncio.create_task(_act(clients, scenario, actor, prepared.ids))
            killed = await _death(world, point.service, acting, databases)
            world.control.arm(False)
            if interference is not None:
                await interference(clients.impatient(), prepared.ids)
            restarted = time.monotonic()
            if killed:
                world.start(point.service)
            if patient and interference is None:
                await acting
            await at_rest(databases)
            recovery_s = time.monotonic() - restarted
            with suppress(AssertionError, KeyError):  # what was disturbed, or sent once, may have any answer
                await acting
            await at_rest(databases)
            return Outcome(await read_books(databases), await violations_of(databases), recovery_s, killed)

    async def storm(self, *, seconds: float, seed: int) -> Weather:
        """Many clients and random kills for `seconds`, on the base that every scenario starts from."""
        if self._base is None:
            self._base = await self._prepare_base()
        async with self._world(self._base) as (world, clients, databases, _):
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            return await rage(world, clients, databases, seconds=seconds, seed=seed)

    async def _prepare_base(self) -> Prepared:
        urls = {service: await asyncio.to_thread(self.factory, f"subgraphs.{service}") for service in SERVICES}
        people: dict[str, Person] = {}
        prepared = Prepared(urls, {}, people)
        async with self._world(prepared, copied=False) as (world, clients, _databases, _):
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            people.update(await register_everybody(clients))
            ids = await prepare_base(clients)
            await at_rest(_databases)
        return Prepared(urls, ids, people)

    async def _prepare(self, scenario: Scenario, base: Prepared) -> Prepared:
        urls = await self._copies(base.urls)
        async with self._world(Prepared(urls, base.ids, base.people), copied=False) as (world, clients, databases, _):
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            ids = await scenario.prepare(clients)
            await at_rest(databases)
        return Prepared(urls, {**base.ids, **ids}, base.people)

    @asynccontextmanager
    async def _world(
        self, prepared: Prepared, *, copied: bool = True
    ) -> AsyncIterator[tuple[World, Clients, Mapping[str, Database], Prepared]]:
        urls = await self._copies(prepared.urls) if copied else prepared.urls
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        environments = {service: _environment(url) for service, url in urls.items()}
        async with AsyncExitStack() as stack:
            world = World(self.zygote, folder, environments)
            stack.callback(world.close)
            databases = {service: Database.open(url) for service, url in urls.items()}
            for database in databases.values():
                stack.push_async_callback(database.close)
            addresses = {service: world.url(service) for service in SERVICES}
            clients = await stack.enter_async_context(Clients(addresses, prepared.people))
            yield world, clients, databases, prepared
        if copied:
            await self._drop(urls)
            shutil.rmtree(folder)

    async def _copies(self, urls: Mapping[str, str]) -> dict[str, str]:
        return {service: await self._copy(url) for service, url in urls.items()}

    async def _copy(self, url: str) -> str:
        parsed = make_url(url)
        name = f"run_{uuid.uuid4().hex}"
        if self.kind == "sqlite":
            source, target = Path(str(parsed.database)), self.folder / f"{name}.db"
            shutil.copy(source, target)
            wal = source.with_name(source.name + "-wal")
            if wal.exists():
                shutil.copy(wal, target.with_name(target.name + "-wal"))
            return f"sqlite:///{target}"
        await _administer(url, f"CREATE DATABASE {name} TEMPLATE {parsed.database} STRATEGY file_copy")
        return parsed.set(database=name).render_as_string(hide_password=False)

    async def _drop(self, urls: Mapping[str, str]) -> None:
        for url in urls.values():
            database = str(make_url(url).database)
            if self.kind == "sqlite":
                _delete_files(database)
            else:
                await _administer(url, f"DROP DATABASE {database} WITH (FORCE)")


def _environment(url: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "TRIFOLIO_MODE": "development", "TRIFOLIO_FEED": "manual"}


async def _answering(clients: Clients) -> None:
    for service in SERVICES:
        await clients.send(service, "GET", "/ready")


async def _act(clients: Clients, scenario: Scenario, actor: Clients, ids: Ids) -> None:
    await _answering(clients)
    await scenario.act(actor, ids)


async def _death(world: World, victim: str, acting: "asyncio.Task[None]", databases: Mapping[str, Database]) -> bool:
    """Waits until the victim is dead; False when all came to an end without it."""
    dying = asyncio.create_task(world.processes[victim].wait())
    try:
        await asyncio.wait({dying, acting}, return_when=asyncio.FIRST_COMPLETED)
        deadline = time.monotonic() + DEATH_WITHIN_S
        while not dying.done() and time.monotonic() < deadline:
            if await is_quiet(databases):
                # The last points lie behind the last change that can be seen.
                await asyncio.wait({dying}, timeout=0.25)
                break
            await asyncio.wait({dying}, timeout=POLL_S)
        return dying.done()
    finally:
        dying.cancel()


def _delete_files(database: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(database + suffix).unlink(missing_ok=True)


async def _administer(url: str, statement: str) -> None:
    """Runs a statement beside the database that it is about."""
    connection = await asyncpg.connect(make_url(url).set(database="postgres").render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
