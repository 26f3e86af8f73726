"""Every SQL statement about authorizations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
    tuple_,
    update,
)

from subgraphs.shared.database import Connection, insert_or_ignore, locked
from subgraphs.shared.driving import WAIT_MS_MAX
from subgraphs.shared.pagination import CursorKey
from subgraphs.users.rules import User
from subgraphs.users.rules_authorizations import (
    DRIVEN_STATES,
    Authorization,
    AuthorizationType,
    RolledOver,
    Rollover,
    State,
    StatusFilter,
    begins_later,
)
from subgraphs.users.tables import authorizations, outbox, rollovers, users

AUTHORIZATION_EVENT = "authorization"
"""What events of authorizations are called; both parties get them."""

_investor = users.alias("investor")
_broker = users.alias("broker")
_USER_FIELDS = ("id", "name", "type", "registered_at", "version", "email")


def _party_columns(party: FromClause, prefix: str) -> list[ColumnElement[Any]]:
    """A party's public columns, and its e-mail address if the party is the viewer."""
    public = [party.c[name].label(f"{prefix}_{name}") for name in ("name", "type", "registered_at", "version")]
    email = case((party.c.id == bindparam("viewer_id"), party.c.email), else_=null())
    return [*public, email.label(f"{prefix}_email")]


_PARTIES = (authorizations.c.investor_id, authorizations.c.broker_id)

# Statements of every request are built once: building one costs more than running it.
_ANY = (
    select(authorizations, *_party_columns(_investor, "investor"), *_party_columns(_broker, "broker"))
    .join(_investor, _investor.c.id == authorizations.c.investor_id)
    .join(_broker, _broker.c.id == authorizations.c.broker_id)
)
_VIEWED = _ANY.where(
    or_(authorizations.c.investor_id == bindparam("viewer_id"), authorizations.c.broker_id == bindparam("viewer_id"))
)
_FIND_ANY = _ANY.where(authorizations.c.id.in_(bindparam("ids", expanding=True)))
_FIND_VIEWED = _VIEWED.where(authorizations.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Lease:
    """Who drives rows, from `now` until `until`; after that another may take over."""

    owner: str
    now: int
    until: int


async def insert_authorization(connection: Connection, row: Mapping[str, object]) -> None:
    """Inserts a row of the table `authorizations`, by its column names."""
    await connection.execute(insert(authorizations).values(dict(row)))
    _note(connection, str(row["id"]), (str(row["investor_id"]), str(row["broker_id"])), int(str(row["created_at"])))


def _note(connection: Connection, authorization_id: str, parties: tuple[str, str], now: int) -> None:
    for party in parties:
        outbox.note(connection, party, AUTHORIZATION_EVENT, authorization_id, now)


async def find_authorizations(
    connection: Connection, viewer_id: str | None, ids: Iterable[str]
) -> dict[str, Authorization]:
    """The authorizations of these ids that the viewer is a party of, by id; `viewer_id` None sees all (a service)."""
    statement = _FIND_ANY if viewer_id is None else _FIND_VIEWED
    rows = await connection.execute(statement, {"viewer_id": viewer_id, "ids": list(ids)})
    return {found.id: found for found in await _authorizations(connection, rows.all())}


async def list_authorizations(
    connection: Connection,
    viewer_id: str,
    status: StatusFilter | None,
    kind: AuthorizationType | None,
    after: CursorKey | None,
    limit: int,
) -> list[Authorization]:
    """Up to `limit` of the viewer's authorizations, newest first, after the cursor (created_at, id)."""
    newest = (authorizations.c.created_at.desc(), authorizations.c.id.desc())
    statement = _VIEWED.order_by(*newest).limit(limit)
    if status is not None:
        statement = statement.where(_stands(status, await connection.now()))
    if kind is not None:
        statement = statement.where(authorizations.c.type == kind)
    if after is not None:
        created_at, authorization_id = after
        last = tuple_(literal(created_at, BigInteger), literal(authorization_id))
        statement = statement.where(tuple_(authorizations.c.created_at, authorizations.c.id) < last)
    rows = await connection.execute(statement, {"viewer_id": viewer_id})
    return await _authorizations(connection, rows.all())


async def lock_root(connection: Connection, authorization_id: str) -> str | None:
    """The root of an authorization's family, locked: whatever changes a family's members decides under this lock.

    None if there is no such authorization.
    """
    of = select(authorizations.c.root_id).where(authorizations.c.id == authorization_id)
    root_id: str | None = (await connection.execute(of)).scalar_one_or_none()
    if root_id is not None:
        root = select(authorizations.c.id).where(authorizations.c.id == root_id)
        await connection.execute(locked(root, connection))
    return root_id


async def end_family(connection: Connection, root_id: str, only_id: str | None, lease: Lease) -> list[str]:
    """Moves what is pending or active in a family (or one member of it) to REVOKING; the ids, leased to the caller."""
    live = and_(authorizations.c.root_id == root_id, authorizations.c.state.in_(("PENDING", "ACTIVE")))
    if only_id is not None:
        live = and_(live, authorizations.c.id == only_id)
    values = {"state": "REVOKING", "version": authorizations.c.version + 1, "updated_at": lease.now, **_taken(lease)}
    ended = update(authorizations).where(live).values(values)
    rows = (await connection.execute(ended.returning(authorizations.c.id, *_PARTIES))).all()
    for row in sorted(rows):
        _note(connection, row.id, (row.investor_id, row.broker_id), lease.now)
    return sorted(row.id for row in rows)


async def expire(connection: Connection, authorization_id: str, now: int) -> str | None:
    """Moves an authorization whose end has come to EXPIRING; its investor's id, None if it has left its state."""
    over = and_(
        authorizations.c.id == authorization_id,
        authorizations.c.state.in_(("PENDING", "ACTIVE")),
        authorizations.c.ends_at <= now,
    )
    values = {"state": "EXPIRING", "version": authorizations.c.version + 1, "updated_at": now, "drive_at": now}
    ended = update(authorizations).where(over).values(values).returning(*_PARTIES)
    row = (await connection.execute(ended)).one_or_none()
    if row is None:
        return None
    _note(connection, authorization_id, (row.investor_id, row.broker_id), now)
    investor_id: str = row.investor_id
    return investor_id


async def over_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Authorizations whose end has come and that nobody has ended yet."""
    over = and_(authorizations.c.state.in_(("PENDING", "ACTIVE")), authorizations.c.ends_at <= now)
    statement = select(authorizations.c.id).where(over).order_by(authorizations.c.ends_at).limit(limit)
    return [row.id for row in await connection.execute(statement)]


async def due_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Authorizations that wait to be driven, the longest waiting first."""
    statement = select(authorizations.c.id).where(_due(now)).order_by(authorizations.c.drive_at).limit(limit)
    return [row.id for row in await connection.execute(statement)]


async def take_lease(connection: Connection, ids: Sequence[str], lease: Lease) -> dict[str, int]:
    """Leases those of the authorizations that are still due; their ids with the number of attempts made before."""
    statement = (
        update(authorizations)
        .where(authorizations.c.id.in_(ids), _due(lease.now))
        .values(_taken(lease))
        .returning(authorizations.c.id, authorizations.c.drive_attempts)
    )
    return {row.id: row.drive_attempts for row in await connection.execute(statement)}


async def postpone(connection: Connection, authorization_id: str, owner: str, drive_at: int) -> None:
    """Gives a lease back; the authorization is due again at `drive_at`."""
    values = {
        "lease_owner": None,
        "lease_until": 0,
        "drive_at": drive_at,
        "drive_attempts": authorizations.c.drive_attempts + 1,
    }
    await connection.execute(update(authorizations).where(_held(authorization_id, owner)).values(values))


async def settle(
    connection: Connection, authorization_id: str, owner: str, before: State, after: State, failure_code: str | None
) -> Row[Any] | None:
    """Compare-and-set of a leased authorization from one state to another.

    Returns what the answer to the request that created it is made of, as it is after the step; None if the lease or the
    state is lost.
    """
    held = and_(_held(authorization_id, owner), authorizations.c.state == before)
    values = {
        "state": after,
        "failure_code": failure_code,
        "version": authorizations.c.version + 1,
        "updated_at": await connection.now(),
        "lease_owner": None,
        "lease_until": 0,
        "drive_attempts": 0,
    }
    shown = (
        *_PARTIES,
        authorizations.c.idempotency_key,
        authorizations.c.amount,
        authorizations.c.version,
        authorizations.c.starts_at,
        authorizations.c.created_at,
        authorizations.c.updated_at,
    )
    row = (await connection.execute(update(authorizations).where(held).values(values).returning(*shown))).one_or_none()
    if row is not None:
        _note(connection, authorization_id, (row.investor_id, row.broker_id), row.updated_at)
    return row


async def insert_rollover(connection: Connection, rollover: Rollover, fingerprint: str, now: int) -> bool:
    """Takes an order's place among the rollovers; False if it has one."""
    statement = insert_or_ignore(connection, rollovers).values(
        order_id=rollover.order_id,
        fingerprint=fingerprint,
        used_authorization_id=rollover.used_authorization_id,
        amount=rollover.amount,
        created_at=now,
    )
    return bool((await connection.execute(statement)).rowcount)


async def find_rollover(connection: Connection, order_id: str) -> tuple[str, RolledOver]:
    """The fingerprint and the answer of an order's rollover."""
    statement = (
        select(
            rollovers.c.fingerprint,
            rollovers.c.authorization_id,
            authorizations.c.investor_id,
            authorizations.c.broker_id,
        )
        .join(authorizations, authorizations.c.id == rollovers.c.used_authorization_id)
        .where(rollovers.c.order_id == order_id)
    )
    row = (await connection.execute(statement)).one()
    return row.fingerprint, RolledOver(row.authorization_id, row.investor_id, row.broker_id)


async def answer_rollover(connection: Connection, order_id: str, authorization_id: str) -> None:
    """Stores which authorization an order went on in."""
    statement = update(rollovers).where(rollovers.c.order_id == order_id).values(authorization_id=authorization_id)
    await connection.execute(statement)


async def extend_active(connection: Connection, root_id: str, rollover: Rollover, now: int) -> str | None:
    """Adds the rollover's amount to the family's ACTIVE authorization over the same asset; its id, None without one."""
    same = and_(
        authorizations.c.root_id == root_id,
        authorizations.c.type == rollover.type,
        authorizations.c.asset == rollover.asset,
        authorizations.c.state == "ACTIVE",
    )
    values = {
        "amount": authorizations.c.amount + rollover.amount,
        "version": authorizations.c.version + 1,
        "updated_at": now,
    }
    statement = update(authorizations).where(same).values(values).returning(authorizations.c.id, *_PARTIES)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    _note(connection, row.id, (row.investor_id, row.broker_id), now)
    extended: str = row.id
    return extended


async def next_due_at(connection: Connection) -> int | None:
    """When the first of the authorizations that a driver has to move on is due and no longer leased."""
    lease, drive_at = authorizations.c.lease_until, authorizations.c.drive_at
    due_at = func.min(case((lease > drive_at, lease), else_=drive_at))
    statement = select(due_at).where(authorizations.c.state.in_(DRIVEN_STATES))
    found: int | None = (await connection.execute(statement)).scalar_one()
    return found


async def count_unfinished(connection: Connection) -> int:
    """How many authorizations a driver has still to open or to end."""
    statement = select(func.count()).select_from(authorizations).where(authorizations.c.state.in_(DRIVEN_STATES))
    count: int = (await connection.execute(statement)).scalar_one()
    return count


def _due(now: int) -> ColumnElement[bool]:
    """Neither time is ever further away than `WAIT_MS_MAX`: one that is was written before the clock stepped back."""
    drive_at, lease_until = authorizations.c.drive_at, authorizations.c.lease_until
    return and_(
        authorizations.c.state.in_(DRIVEN_STATES),
        or_(drive_at <= now, drive_at > now + WAIT_MS_MAX),
        or_(lease_until <= now, lease_until > now + WAIT_MS_MAX),
    )


def _held(authorization_id: str, owner: str) -> ColumnElement[bool]:
    return and_(authorizations.c.id == authorization_id, authorizations.c.lease_owner == owner)


def _taken(lease: Lease) -> dict[str, Any]:
    return {"lease_owner": lease.owner, "lease_until": lease.until, "drive_at": lease.now}


def has_begun(row: Row[Any], now: int) -> bool:
    """Whether the window of a row of `authorizations` has begun."""
    return not begins_later(row.starts_at, row.created_at) or row.starts_at <= now


def _waits(row: Row[Any]) -> bool:
    """Whether the time decides how a row stands; where it does not, PostgreSQL is spared the question."""
    return row.state == "ACTIVE" and begins_later(row.starts_at, row.created_at)


def _stands(status: StatusFilter, now: int) -> ColumnElement[bool]:
    """The rows that stand so at that time; `has_begun` in SQL."""
    state, starts_at = authorizations.c.state, authorizations.c.starts_at
    begun = or_(starts_at <= authorizations.c.created_at, starts_at <= now)
    if status.begun == status.waiting:
        return state.in_(status.begun)
    return or_(and_(begun, state.in_(status.begun)), and_(not_(begun), state.in_(status.waiting)))


async def _authorizations(connection: Connection, rows: Sequence[Row[Any]]) -> list[Authorization]:
    now = await connection.now() if any(_waits(row) for row in rows) else 0
    return [_authorization(row, now) for row in rows]


def _authorization(row: Row[Any], now: int) -> Authorization:
    return Authorization(
        id=row.id,
        root_id=row.root_id,
        parent_id=row.parent_id,
        type=row.type,
        state=row.state,
        investor=_party(row, "investor"),
        broker=_party(row, "broker"),
        currency=row.currency,
        stockholding_id=row.stockholding_id,
        stock_id=row.stock_id,
        amount=row.amount,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_at=row.created_at,
        version=row.version,
        failure_code=row.failure_code,
        begun=has_begun(row, now),
    )


def _party(row: Row[Any], prefix: str) -> User:
    values = row._mapping
    return User(**{name: values[f"{prefix}_{name}"] for name in _USER_FIELDS})
