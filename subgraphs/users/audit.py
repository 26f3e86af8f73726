"""What other services' books are compared with: every authorization and where it stands, and unanswered requests."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from subgraphs.shared.database import Database
from subgraphs.shared.idempotency import unanswered_keys
from subgraphs.users.rules_authorizations import AuthorizationType, State
from subgraphs.users.tables import authorizations, idempotency_keys


@dataclass(frozen=True, slots=True)
class UsersSummary:
    """What users knows that other services' books must agree with."""

    authorizations: Mapping[str, tuple[AuthorizationType, State]]
    """Every authorization, by id."""
    unanswered: tuple[str, ...] = ()
    """Where requests were sent whose final answer is not stored: caller and route."""


async def summarize(database: Database) -> UsersSummary:
    """What other services' books are compared with."""
    statement = select(authorizations.c.id, authorizations.c.type, authorizations.c.state)
    async with database.reading() as connection:
        rows = (await connection.execute(statement)).all()
        unanswered = await unanswered_keys(connection, idempotency_keys)
    return UsersSummary({row.id: (row.type, row.state) for row in rows}, tuple(unanswered))
