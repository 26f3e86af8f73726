"""The append-only record of who did what on whose behalf, written in the transaction that does it.

It never holds a token, a password or a full e-mail address. The database itself refuses to change or delete an entry:
see `make_append_only` in `migrations`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from sqlalchemy import BigInteger, Column, Index, Insert, Integer, MetaData, String, Table, Text, insert

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act: `action` such as `user.login`, `subject` an object's id, `on_behalf_of` whom a broker acted for."""

    action: str
    actor: Caller
    subject: str = ""
    on_behalf_of: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


def audit_table(metadata: MetaData) -> Table:
    """The table `audit_log` of a service."""
    return Table(
        "audit_log",
        metadata,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("at", BigInteger, nullable=False),
        Column("action", String(60), nullable=False),
        Column("actor_kind", String(20), nullable=False),
        Column("actor_id", String(36), nullable=False),
        Column("on_behalf_of", String(36), nullable=False),
        Column("subject", String(36), nullable=False),
        Column("details", Text, nullable=False),
        Index("audit_log_actor", "actor_id", "id"),
        Index("audit_log_subject", "subject", "id"),
    )


async def record(connection: Connection, table: Table, entry: AuditEntry, *, at: int | None = None) -> None:
    """Appends an entry at the database's time. Its details may hold dataclasses, which are written as objects.

    Args:
        at: the database's time, where the transaction has asked for it.
    """
    row = {
        "at": await connection.now() if at is None else at,
        "action": entry.action,
        "actor_kind": entry.actor.kind,
        "actor_id": entry.actor.id,
        "on_behalf_of": entry.on_behalf_of,
        "subject": entry.subject,
        "details": orjson.dumps(dict(entry.details), option=orjson.OPT_SORT_KEYS).decode(),
    }
    await connection.execute(_insert(table), row)


@functools.cache
def _insert(table: Table) -> Insert:
    """The table's INSERT, built once: SQLAlchemy remembers with it how it compiles."""
    return insert(table)
