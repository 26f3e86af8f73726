"""Running a scenario while one service is killed at a chosen point, and what must hold afterwards.

A *stage* is one kind of database with the scenarios prepared on it: templates that every run copies. A run starts the
three services on fresh copies with the points armed, acts, lets the victim die at its point, may do something else
meanwhile (`interference`), starts the victim again, waits until all is quiet, and reads the books.
"""

import asyncio
import random
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url

from brokerage.audit import AuditReport, Scope, examine
from brokerage.backup import back_up, restore
from subgraphs.shared.database import Database
from tests.conftest import DatabaseFactory, fresh_urls
from tests.faults.books import FATES, POLL_S, Books, Row, at_rest, is_quiet, read_books, violations_of
from tests.faults.crash_points import Control
from tests.faults.listeners import listening
from tests.faults.people import Clients, Person
from tests.faults.processes import SERVICES, World, Zygote, service_of
from tests.faults.restarts import Load, OnceMore, Restart, endure, service_restarts
from tests.faults.routers import running_router
from tests.faults.scenarios import (
    ACTED_AT_MS,
    BASE_AT_MS,
    PREPARED_AT_MS,
    Ids,
    Scenario,
    prepare_base,
    register_everybody,
)
from tests.faults.storm import Weather, rage

SECOND = ("wallet/2", "stocks/2")
"""What a storm on PostgreSQL has two of; a SQLite file has one process."""
DEATH_WITHIN_S = 5.0
DOWN_S = 0.3
"""How long a service stays down for an interference; what needs that very service is waiting at its door by then."""


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
class Undisturbed:
    """A scenario's run without faults: its end, what it changed, and every point that it went through."""

    books: Books
    violations: tuple[str, ...]
    points: tuple[Point, ...]
    touched: Mapping[str, frozenset[Row]]
    """The rows, of the tables that say what became of orders and authorizations, that the run made or changed."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What an interference has in its hands: all orders and mandates of the undisturbed run, with whose they are.

    The same requests make the same ids in every run; some may not exist yet.
    """

    clients: Clients
    control: Control
    orders: Mapping[str, str]
    mandates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Interference:
    """What else happens while a service is down; `begins_at_ms` is the world's time when the run begins."""

    act: Callable[[Meanwhile], Coroutine[Any, Any, None]]
    begins_at_ms: int = ACTED_AT_MS


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
    _base: "list[asyncio.Task[Prepared]]" = field(default_factory=list)
    _prepared: "dict[str, asyncio.Task[Prepared]]" = field(default_factory=dict)
    _undisturbed: "dict[str, asyncio.Task[Undisturbed]]" = field(default_factory=dict)

    async def base(self) -> Prepared:
        """What every scenario starts from, made once."""
        if not self._base:
            self._base.append(asyncio.create_task(self._prepare_base()))
        return await self._base[0]

    async def prepared(self, scenario: Scenario) -> Prepared:
        """The scenario's template, made once."""
        if scenario.name not in self._prepared:
            self._prepared[scenario.name] = asyncio.create_task(self._prepare(scenario))
        return await self._prepared[scenario.name]

    async def undisturbed(self, scenario: Scenario) -> Undisturbed:
        """The scenario without faults, run once."""
        if scenario.name not in self._undisturbed:
            self._undisturbed[scenario.name] = asyncio.create_task(self._trace(scenario))
        return await self._undisturbed[scenario.name]

    async def _trace(self, scenario: Scenario) -> Undisturbed:
        async with self._world(await self.prepared(scenario), ACTED_AT_MS) as (world, clients, databases, prepared):
            before = await read_books(databases)
            world.control.arm(True)
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            await scenario.act(clients, prepared.ids)
            await at_rest(databases, world.clock)
            world.control.arm(False)
            books = await read_books(databases)
            points = tuple(
                Point(service, number, label)
                for service in SERVICES
                for number, label in enumerate(world.points(service), start=1)
            )
            touched = {table: frozenset(books[table]) - frozenset(before[table]) for table in FATES}
            return Undisturbed(books, await violations_of(databases), points, touched)

    async def crash(
        self,
        scenario: Scenario,
        point: Point,
        *,
        interference: Interference | None = None,
        patient: bool = True,
    ) -> Outcome:
        """One run with `point.service` killed at its point. An impatient client sends its request once."""
        begins_at_ms = ACTED_AT_MS if interference is None else interference.begins_at_ms
        async with self._world(await self.prepared(scenario), begins_at_ms) as (world, clients, databases, prepared):
            world.control.arm(True)
            for service in SERVICES:
                world.start(service, kill_at=point.number if service == point.service else None)
            actor = clients if patient else clients.impatient()
            acting = asyncio.create_task(_act(clients, scenario, actor, prepared.ids))
            await _death(world, point.service, acting, databases)
            world.control.arm(False)
            meddling = None
            if interference is not None:
                books, people = (await self.undisturbed(scenario)).books, prepared.people
                orders = _owners(books["stocks.orders"], "user_id", people)
                mandates = _owners(books["users.authorizations"], "investor_id", people)
                meanwhile = Meanwhile(clients, world.control, orders, mandates)
                meddling = asyncio.create_task(interference.act(meanwhile))
                await asyncio.wait({meddling}, timeout=DOWN_S)
            restarted = time.monotonic()
            async with world.kept(point.service):
                if patient and meddling is None:
                    await acting
                await at_rest(databases, world.clock)
                recovery_s = time.monotonic() - restarted
                if meddling is not None:
                    await meddling
                with suppress(AssertionError, KeyError):  # what was disturbed, or sent once, may have any answer
                    await acting
                await at_rest(databases, world.clock)
            killed = bool(world.restarts)
            return Outcome(await read_books(databases), await violations_of(databases), recovery_s, killed)

    async def crash_heard(self, scenario: Scenario, point: Point) -> tuple[bool, list[str]]:
        """One such run while everybody listens to all subscriptions: whether it was killed, and what was misheard."""
        async with self._world(await self.prepared(scenario), ACTED_AT_MS) as (world, clients, databases, prepared):
            urls = {service: world.url(service) for service in SERVICES}
            async with listening(urls, databases, prepared.people) as audience:
                world.control.arm(True)
                for service in SERVICES:
                    world.start(service, kill_at=point.number if service == point.service else None)
                acting = asyncio.create_task(_act(clients, scenario, clients, prepared.ids))
                await _death(world, point.service, acting, databases)
                world.control.arm(False)
                async with world.kept(point.service):
                    await acting
                    await at_rest(databases, world.clock)
                    misheard = await audience.misheard()
                return bool(world.restarts), misheard

    async def storm(self, *, seconds: float, seed: int) -> Weather:
        """Many clients and random kills for `seconds`, on the base that every scenario starts from."""
        async with self._world(await self.base(), ACTED_AT_MS) as (world, clients, databases, _):
            self._start_replicas(world)
            await _answering(clients)
            return await rage(world, clients, databases, seconds=seconds, seed=seed)

    async def restarts(self, restarts: Mapping[str, Restart], *, seconds: float, seed: int) -> Load:
        """A load while every process, and before them what `restarts` names, is restarted; and everybody listens.

        They listen to all subscriptions at the services, and at a router that is killed in its turn.
        """
        async with self._world(await self.base(), ACTED_AT_MS) as (world, clients, databases, prepared):
            self._start_replicas(world)
            await _answering(clients)
            urls = {service: world.url(service) for service in SERVICES}
            async with AsyncExitStack() as stack:
                careful = OnceMore(urls, prepared.people, Load(seed))
                await stack.enter_async_context(careful)
                router = await stack.enter_async_context(running_router(urls, self.folder))
                joined = dict.fromkeys(SERVICES, router.url)
                audiences = [
                    await stack.enter_async_context(listening(places, databases, prepared.people))
                    for places in (urls, joined)
                ]
                every = {**restarts, "the router (crash)": router.crash, **service_restarts(world)}
                load = await endure(world, careful, databases, every, seconds=seconds)
                load.misheard = [each for audience in audiences for each in await audience.misheard()]
                load.heard = sum(len(each.heard) for audience in audiences for each in audience.listeners)
                return load

    async def storm_with_backups(
        self, number: int, *, seconds: float, seed: int
    ) -> tuple[Weather, list[tuple[AuditReport, tuple[str, ...]]]]:
        """A storm during which backups are made; what is wrong in each when restored, and after its recovery.

        Every second one is made while the wallet is down, so that orders are under way.
        """
        chance = random.Random(seed)
        async with self._world(await self.base(), ACTED_AT_MS) as (world, clients, databases, prepared):
            self._start_replicas(world)
            await _answering(clients)
            storm = asyncio.create_task(rage(world, clients, databases, seconds=seconds, seed=seed))
            backups = [self.folder / f"backup_{uuid.uuid4().hex}" for _ in range(number)]
            for turn, backup in enumerate(backups):
                await asyncio.sleep(chance.uniform(0, seconds / number))
                wallets = [name for name in world.processes if service_of(name) == "wallet"]
                if turn % 2 == 0:
                    for wallet in wallets:
                        world.processes[wallet].kill()
                    await asyncio.sleep(DOWN_S)
                # In a loop of its own: in this one the clients would wait for it.
                await asyncio.to_thread(asyncio.run, back_up(world.databases, backup))
                if turn % 2 == 0:
                    for wallet in wallets:
                        world.start(wallet)
            weather, now = await storm, world.clock()
        return weather, [await self._recovered(backup, prepared, now) for backup in backups]

    def _start_replicas(self, world: World) -> None:
        """Starts every service, and where several processes may serve one database, a second one of some."""
        for replica in (*SERVICES, *(SECOND if self.kind != "sqlite" else ())):
            world.start(replica)

    async def _recovered(
        self, backup: Path, prepared: Prepared, begins_at_ms: int
    ) -> tuple[AuditReport, tuple[str, ...]]:
        urls = {service: self._new_url(url) for service, url in prepared.urls.items()}
        if self.kind != "sqlite":
            names = [_database_of(url) for url in urls.values()]
            await _administer(prepared.urls["stocks"], [f"CREATE DATABASE {name}" for name in names])
        await restore(backup, urls)
        restored = Prepared(urls, prepared.ids, prepared.people)
        # Time has gone on since: in a world of the past, what is due later would be waited for.
        async with self._world(restored, begins_at_ms, copied=False) as (world, clients, databases, _):
            report = await examine(**databases, scope=Scope.STOPPED)
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            await at_rest(databases, world.clock)
            violations = await violations_of(databases)
        await self._drop(urls)
        shutil.rmtree(backup)
        return report, violations

    async def _prepare_base(self) -> Prepared:
        await asyncio.to_thread(self.zygote.build, self.kind, await self._migrated())
        urls = await self._migrated()
        people: dict[str, Person] = {}
        prepared = Prepared(urls, {}, people)
        async with self._world(prepared, BASE_AT_MS, copied=False) as (world, clients, databases, _):
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            people.update(await register_everybody(clients))
            ids = await prepare_base(clients)
            await at_rest(databases, world.clock)
        return Prepared(urls, ids, people)

    async def _prepare(self, scenario: Scenario) -> Prepared:
        base = await self.base()
        urls = await self._copies(base.urls)
        prepared = Prepared(urls, base.ids, base.people)
        async with self._world(prepared, PREPARED_AT_MS, copied=False) as (world, clients, databases, _):
            for service in SERVICES:
                world.start(service)
            await _answering(clients)
            ids = await scenario.prepare(clients)
            await at_rest(databases, world.clock)
        return Prepared(urls, {**base.ids, **ids}, base.people)

    @asynccontextmanager
    async def _world(
        self, prepared: Prepared, begins_at_ms: int, *, copied: bool = True
    ) -> AsyncIterator[tuple[World, Clients, Mapping[str, Database], Prepared]]:
        urls = await self._copies(prepared.urls) if copied else prepared.urls
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        async with AsyncExitStack() as stack:
            world = World(self.zygote, folder, urls)
            stack.callback(world.close)
            world.control.set_clock(begins_at_ms)
            databases = {service: Database.open(url) for service, url in urls.items()}
            for database in databases.values():
                stack.push_async_callback(database.close)
            addresses = {service: world.url(service) for service in SERVICES}
            clients = await stack.enter_async_context(Clients(addresses, prepared.people))
            try:
                yield world, clients, databases, prepared
            except Exception as failure:
                failure.add_note(world.last_words())
                raise
        if copied:
            await self._drop(urls)
            shutil.rmtree(folder)

    async def _migrated(self) -> dict[str, str]:
        return await asyncio.to_thread(fresh_urls, self.factory)

    async def _copies(self, urls: Mapping[str, str]) -> dict[str, str]:
        targets = {service: self._new_url(url) for service, url in urls.items()}
        if self.kind == "sqlite":
            for service, url in urls.items():
                _copy_files(_database_of(url), _database_of(targets[service]))
        else:
            template = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"
            pairs = ((_database_of(targets[service]), _database_of(url)) for service, url in urls.items())
            await _administer(urls["stocks"], [template.format(*pair) for pair in pairs])
        return targets

    def _new_url(self, url: str) -> str:
        name = f"run_{uuid.uuid4().hex}"
        if self.kind == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        return make_url(url).set(database=name).render_as_string(hide_password=False)

    async def _drop(self, urls: Mapping[str, str]) -> None:
        databases = [_database_of(url) for url in urls.values()]
        if self.kind == "sqlite":
            for database in databases:
                _delete_files(database)
        else:
            await _administer(urls["stocks"], [f"DROP DATABASE {database} WITH (FORCE)" for database in databases])


def _database_of(url: str) -> str:
    return str(make_url(url).database)


async def _answering(clients: Clients) -> None:
    for service in SERVICES:
        await clients.send(service, "GET", "/ready")


async def _act(clients: Clients, scenario: Scenario, actor: Clients, ids: Ids) -> None:
    await _answering(clients)
    await scenario.act(actor, ids)


def _owners(rows: Sequence[Row], column: str, people: Mapping[str, Person]) -> dict[str, str]:
    names = {person.id: name for name, person in people.items()}
    return {row["id"]: names[row[column]] for row in map(dict, rows)}


async def _death(world: World, victim: str, acting: "asyncio.Task[None]", databases: Mapping[str, Database]) -> None:
    """Waits until the victim is dead, or all seems to have come to an end without it."""
    dying = asyncio.create_task(world.processes[victim].wait())
    try:
        await asyncio.wait({dying, acting}, return_when=asyncio.FIRST_COMPLETED)
        deadline = time.monotonic() + DEATH_WITHIN_S
        while not dying.done() and time.monotonic() < deadline:
            if await is_quiet(databases, world.clock()):
                # The last points lie behind the last change that can be seen.
                await asyncio.wait({dying}, timeout=0.25)
                break
            await asyncio.wait({dying}, timeout=POLL_S)
    finally:
        dying.cancel()


def _copy_files(database: str, copy: str) -> None:
    for suffix in ("", "-wal"):
        if Path(database + suffix).exists():
            shutil.copy(database + suffix, copy + suffix)


def _delete_files(database: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(database + suffix).unlink(missing_ok=True)


async def _administer(url: str, statements: Sequence[str]) -> None:
    """Runs statements beside the databases that they are about."""
    connection = await asyncpg.connect(make_url(url).set(database="postgres").render_as_string(hide_password=False))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
