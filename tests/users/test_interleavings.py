"""Pairs of steps that race on PostgreSQL: every preemption ends as if one had come after the other."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import insert, select

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import Refusal
from subgraphs.users.rules_authorizations import MandateRequest, Rollover
from subgraphs.users.service_authorizations import AuthorizationsService
from subgraphs.users.steps import AuthorizationSteps
from subgraphs.users.tables import authorizations, users
from tests.faults.interleaving import LaneDatabase, interleave, preemptions

STEPS_MAX = 12
"""No step takes more statements, its commit included."""
STOCKS = Caller(kind="service", id="stocks")
OWNER = "the driver"

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@dataclass(frozen=True, slots=True)
class Parties:
    """The names that a race is about, new for every run."""

    alice: Caller = field(default_factory=lambda: Caller("user", str(uuid.uuid4()), "investor"))
    bob: Caller = field(default_factory=lambda: Caller("user", str(uuid.uuid4()), "broker"))
    order: str = field(default_factory=lambda: str(uuid.uuid4()))
    other: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def request(self) -> MandateRequest:
        """Alice's request for a mandate for Bob."""
        return MandateRequest("capital", self.bob.id, "EUR", None, 100, None, None)


Act = Callable[[AuthorizationsService, Parties], Awaitable[str]]


def mandate_of(service: AuthorizationsService, parties: Parties) -> str:
    """The id of the mandate that Alice's key makes."""
    return service.creation_key(parties.alice, parties.request, "key").object_id


def steps_of(service: AuthorizationsService) -> AuthorizationSteps:
    """The steps of a driver on the same replica."""
    return AuthorizationSteps(service._database)


async def create(service: AuthorizationsService, parties: Parties) -> str:
    """Requests the mandate."""
    key = service.creation_key(parties.alice, parties.request, "key")
    creation = await service.create(parties.alice, parties.request, None, key, OWNER)
    return f"created, replayed {creation.replayed}"


async def open_it(service: AuthorizationsService, parties: Parties) -> str:
    """The driver, whose call to the wallet went well, makes the mandate active."""
    steps = steps_of(service)
    authorization = await steps.load(mandate_of(service, parties))
    return f"opened {await steps.settle(authorization, OWNER, 'ACTIVE')}"


async def give_up(service: AuthorizationsService, parties: Parties) -> str:
    """The driver, whose call to the wallet was refused, makes the mandate failed."""
    steps = steps_of(service)
    authorization = await steps.load(mandate_of(service, parties))
    return f"failed {await steps.settle(authorization, OWNER, 'FAILED', 'insufficient-funds')}"


async def revoke(service: AuthorizationsService, parties: Parties) -> str:
    """Alice revokes the mandate with its family."""
    ended = await service.revoke(parties.alice, mandate_of(service, parties), "a request", cascade=True)
    return f"revoked {len(ended)}"


async def roll_over(
    service: AuthorizationsService, parties: Parties, *, currency: str = "USD", order: str | None = None
) -> str:
    """Stocks reports what an order brought."""
    used = mandate_of(service, parties)
    rollover = Rollover(order or parties.order, used, "capital", currency, None, None, 40)
    answer = (await service.roll_over(STOCKS, rollover)).authorization_id
    return "none" if answer is None else ("the root" if answer == used else "a child")


async def roll_over_other(service: AuthorizationsService, parties: Parties) -> str:
    """Stocks reports another order of the same currency."""
    return await roll_over(service, parties, order=parties.other)


async def roll_over_root(service: AuthorizationsService, parties: Parties) -> str:
    """Stocks reports an order that brought the mandate's own currency."""
    return await roll_over(service, parties, currency="EUR", order=parties.other)


# Each race: what happened before, and the two steps.
RACES: dict[str, tuple[tuple[Act, ...], Act, Act]] = {
    "the same creation twice": ((), create, create),
    "an opening against a revoke": ((create,), open_it, revoke),
    "a failure against a revoke": ((create,), give_up, revoke),
    "an opening against a failure": ((create,), open_it, give_up),
    "a revoke twice": ((create, open_it), revoke, revoke),
    "a rollover into a child against a revoke": ((create, open_it), roll_over, revoke),
    "a rollover into the root against a revoke": ((create, open_it), roll_over_root, revoke),
    "a rollover into an active child against a revoke": ((create, open_it, roll_over), roll_over_other, revoke),
    "two rollovers into one child": ((create, open_it), roll_over, roll_over_other),
    "the same rollover twice": ((create, open_it), roll_over, roll_over),
}


async def perform(service: AuthorizationsService, parties: Parties, act: Act) -> str:
    """What it returned, or the code of the refusal."""
    try:
        return await act(service, parties)
    except Refusal as refusal:
        return refusal.code.code


async def outcome(database: Database, parties: Parties) -> tuple[object, ...]:
    """Alice's mandates: asset, state and amount of each, the same for any ids."""
    columns = (authorizations.c.asset, authorizations.c.state, authorizations.c.amount)
    statement = select(*columns).where(authorizations.c.investor_id == parties.alice.id).order_by(*columns)
    async with database.reading() as connection:
        return tuple(tuple(row) for row in await connection.execute(statement))


async def prepare(database: Database, before: tuple[Act, ...]) -> Parties:
    """New parties, and what happened before."""
    parties = Parties()

    async def work(connection: Connection) -> None:
        for caller in (parties.alice, parties.bob):
            row = {"id": caller.id, "name": "x", "email": caller.id, "type": caller.role, "password_hash": ""}
            await connection.execute(insert(users).values(**row, registered_at=0, version=1))

    await database.write(work)
    for act in before:
        await perform(AuthorizationsService(database), parties, act)
    return parties


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database on which races are prepared and watched."""
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def lanes(database_url: str) -> AsyncIterator[tuple[LaneDatabase, LaneDatabase]]:
    """Two replicas' databases over the same tables."""
    first, second = LaneDatabase.open(database_url), LaneDatabase.open(database_url)
    assert isinstance(first, LaneDatabase)
    assert isinstance(second, LaneDatabase)
    yield first, second
    await first.close()
    await second.close()


@pytest.mark.parametrize("race", RACES)
async def test_every_preemption_ends_like_one_after_the_other(
    race: str, database: Database, lanes: tuple[LaneDatabase, LaneDatabase]
) -> None:
    """Whatever the interleaving, answers and mandates are those of some order."""
    before, first, second = RACES[race]
    serial = set()
    service = AuthorizationsService(database)
    for order in (1, -1):
        parties = await prepare(database, before)
        answers = [await perform(service, parties, act) for act in (first, second)[::order]]
        serial.add((*answers[::order], await outcome(database, parties)))
    replicas = AuthorizationsService(lanes[0]), AuthorizationsService(lanes[1])
    for schedule in preemptions(STEPS_MAX):
        parties = await prepare(database, before)
        works = perform(replicas[0], parties, first), perform(replicas[1], parties, second)
        raced = await interleave(lanes, works, schedule, database)
        assert (*raced, await outcome(database, parties)) in serial, f"schedule {schedule}"
