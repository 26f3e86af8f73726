"""What other services' books are compared with: every authorization and where it stands, and unanswered requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select

from subgraphs.shared.database import Database
from subgraphs.shared.idempotency import unanswered_keys
from subgraphs.users.rules_authorizations import AuthorizationType, State
from subgraphs.users.tables import authorizations, idempotency_keys, rollovers


@dataclass(frozen=True, slots=True)
class UsersSummary:
    """What users knows that other services' books must agree with."""

    authorizations: Mapping[str, tuple[AuthorizationType, State]]
    """Every authorization, by id."""
    rollovers: Mapping[str, str] = field(default_factory=dict)
    """The authorization that each broker's order rolled over to, by the order's id."""
    unanswered: tuple[str, ...] = ()
    """Where requests were sent whose final answer is not stored: caller and route."""


async def summarize(database: Database) -> UsersSummary:
    """What other services' books are compared with."""
    statement = select(authorizations.c.id, authorizations.c.type, authorizations.c.state)
    async with database.reading() as connection:
        rows = (await connection.execute(statement)).all()
        rolled_over = (await connection.execute(_ROLLOVERS)).all()
        unanswered = await unanswered_keys(connection, idempotency_keys)
    return UsersSummary(
        {row.id: (row.type, row.state) for row in rows},
        {row.order_id: row.authorization_id for row in rolled_over},
        tuple(unanswered),
    )


_ROLLOVERS = select(rollovers.c.order_id, rollovers.c.authorization_id).where(rollovers.c.authorization_id.is_not(None))
