"""Every SQL statement about authorizations."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    Select,
    case,
    insert,
    literal,
    null,
    or_,
    select,
    tuple_,
)

from subgraphs.shared.database import Connection
from subgraphs.shared.pagination import CursorKey
from subgraphs.users.rules import Authorization, AuthorizationType, State, User
from subgraphs.users.tables import authorizations, users

_investor = users.alias("investor")
_broker = users.alias("broker")
_USER_FIELDS = ("id", "name", "type", "registered_at", "version", "email")


async def insert_authorization(connection: Connection, row: Mapping[str, object]) -> None:
    """Inserts a row of the table `authorizations`, by its column names."""
    await connection.execute(insert(authorizations).values(dict(row)))


async def find_authorizations(
    connection: Connection, viewer_id: str | None, ids: Sequence[str]
) -> dict[str, Authorization]:
    """The authorizations of these ids that the viewer is a party of, by id; `viewer_id` None sees all (a service)."""
    rows = await connection.execute(_viewed(viewer_id).where(authorizations.c.id.in_(ids)))
    return {row.id: _authorization(row) for row in rows}


async def list_authorizations(
    connection: Connection,
    viewer_id: str,
    states: Sequence[State],
    kind: AuthorizationType | None,
    after: CursorKey | None,
    limit: int,
) -> list[Authorization]:
    """Up to `limit` of the viewer's authorizations, given or received, newest first, after the cursor (created_at, id).

    `states` filters by internal state; none means all.
    """
    newest = (authorizations.c.created_at.desc(), authorizations.c.id.desc())
    statement = _viewed(viewer_id).order_by(*newest).limit(limit)
    if states:
        statement = statement.where(authorizations.c.state.in_(states))
    if kind is not None:
        statement = statement.where(authorizations.c.type == kind)
    if after is not None:
        created_at, authorization_id = after
        last = tuple_(literal(created_at, BigInteger), literal(authorization_id))
        statement = statement.where(tuple_(authorizations.c.created_at, authorizations.c.id) < last)
    return [_authorization(row) for row in await connection.execute(statement)]


def _viewed(viewer_id: str | None) -> Select[Any]:
    investor, broker = _party_columns(_investor, "investor", viewer_id), _party_columns(_broker, "broker", viewer_id)
    statement = (
        select(authorizations, *investor, *broker)
        .join(_investor, _investor.c.id == authorizations.c.investor_id)
        .join(_broker, _broker.c.id == authorizations.c.broker_id)
    )
    if viewer_id is None:
        return statement
    is_party = or_(authorizations.c.investor_id == viewer_id, authorizations.c.broker_id == viewer_id)
    return statement.where(is_party)


def _party_columns(party: FromClause, prefix: str, viewer_id: str | None) -> list[ColumnElement[Any]]:
    public = [party.c[name].label(f"{prefix}_{name}") for name in ("name", "type", "registered_at", "version")]
    email = case((party.c.id == viewer_id, party.c.email), else_=null())
    return [*public, email.label(f"{prefix}_email")]


def _authorization(row: Row[Any]) -> Authorization:
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
    )


def _party(row: Row[Any], prefix: str) -> User:
    values = row._mapping
    return User(**{name: values[f"{prefix}_{name}"] for name in _USER_FIELDS})
