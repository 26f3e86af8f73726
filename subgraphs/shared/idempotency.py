"""One effect per Idempotency-Key: the key's row and what it caused are written in the same transaction.

A service claims the key first and does the work only if the claim is fresh:

    async def work(connection):
        stored = await claim(connection, table, key)
        if stored is not None:
            return stored                         # replay: the answer of the first time, or None inside while not final
        ...insert the object...
        await store_answer(connection, table, key, StoredAnswer(201, body))

A key lives as long as the object it created, so there is nothing to expire.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    select,
    update,
)

from subgraphs.shared.database import Connection, insert_or_ignore, locked
from subgraphs.shared.errors import IDEMPOTENCY_KEY_REUSED, INVALID_IDEMPOTENCY_KEY, Refusal

T = TypeVar("T")

KEY_CHARACTERS_MAX = 255
"""What the Idempotency-Key draft and payment providers accept."""

_OBJECT_IDS = uuid.UUID("3f4b6c62-9d0e-5d6f-8a55-0d4f9b1c7e21")
"""Namespace of every id derived from a key."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key in its namespace (caller and route), with the fingerprint of the request that it came with."""

    namespace: str
    key: str
    fingerprint: str

    @property
    def object_id(self) -> str:
        """The id of the object this key creates: every repetition derives the same one."""
        return str(uuid.uuid5(_OBJECT_IDS, f"{self.namespace}\n{self.key}"))


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that a key got: an HTTP status and a JSON body. `status` is None while the answer is not final."""

    status: int | None
    body: str


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a creating request led to, and whether it was a repetition; `key` is the client's or the one made for it."""

    value: T
    key: str
    replayed: bool


def idempotency_key(caller_id: str, route: str, key: str | None, request: object) -> IdempotencyKey:
    """The key of one request.

    Args:
        caller_id: who asks; the same text means another key for another caller.
        route: what is asked, such as `"POST /orders"`, the same for the REST and the GraphQL face.
        key: the client's key; None makes a new one, and the request is then never a repetition.
        request: the request as JSON values, without secrets; another one under the same key is refused.

    Raises:
        Refusal: `invalid-idempotency-key`.
    """
    if key is not None and not (0 < len(key) <= KEY_CHARACTERS_MAX and key.isprintable()):
        raise Refusal(INVALID_IDEMPOTENCY_KEY, f"Send 1 to {KEY_CHARACTERS_MAX} printable characters, such as a UUID.")
    digest = hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return IdempotencyKey(namespace=f"{caller_id} {route}", key=key or str(uuid.uuid4()), fingerprint=digest)


def idempotency_table(metadata: MetaData) -> Table:
    """The table `idempotency_keys` of a service."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("namespace", String(120), primary_key=True),
        Column("key", String(KEY_CHARACTERS_MAX), primary_key=True),
        Column("fingerprint", String(64), nullable=False),
        Column("status", Integer),
        Column("body", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )


async def claim(connection: Connection, table: Table, key: IdempotencyKey) -> StoredAnswer | None:
    """Takes the key for this transaction: None if it is fresh, else what it was answered.

    A concurrent request with the same key waits here until the first one has committed or rolled back.

    Raises:
        Refusal: `idempotency-key-reused` when the key came with another request before.
    """
    row = {"namespace": key.namespace, "key": key.key, "fingerprint": key.fingerprint, "body": ""}
    insert = insert_or_ignore(connection, table).values(**row, created_at=await connection.now())
    if (await connection.execute(insert)).rowcount:
        return None
    stored = (await connection.execute(locked(select(table).where(_is(table, key)), connection))).one()
    return _checked(stored, key)


async def stored_answer(connection: Connection, table: Table, key: IdempotencyKey) -> StoredAnswer | None:
    """What a key was answered before, without claiming it; None if it is fresh.

    For what must not happen twice but cannot be part of the transaction, such as asking a peer.

    Raises:
        Refusal: `idempotency-key-reused`, as `claim` does.
    """
    stored = (await connection.execute(select(table).where(_is(table, key)))).one_or_none()
    return None if stored is None else _checked(stored, key)


async def store_answer(
    connection: Connection, table: Table, key: IdempotencyKey, answer: StoredAnswer, *, only_if_open: bool = False
) -> None:
    """Keeps the final answer of a claimed key, in the transaction that makes it final.

    Args:
        only_if_open: leaves an answer that is final already as it is.
    """
    statement = update(table).where(_is(table, key)).values(status=answer.status, body=answer.body)
    await connection.execute(statement.where(table.c.status.is_(None)) if only_if_open else statement)


async def unanswered_keys(connection: Connection, table: Table) -> list[str]:
    """The namespace (caller and route) of every key whose answer is not final, oldest first, for an audit."""
    statement = select(table.c.namespace).where(table.c.status.is_(None)).order_by(table.c.created_at)
    return list((await connection.execute(statement)).scalars())


def _checked(stored: Row[Any], key: IdempotencyKey) -> StoredAnswer:
    if stored.fingerprint != key.fingerprint:
        raise Refusal(IDEMPOTENCY_KEY_REUSED)
    return StoredAnswer(status=stored.status, body=stored.body)


def _is(table: Table, key: IdempotencyKey) -> ColumnElement[bool]:
    return and_(table.c.namespace == key.namespace, table.c.key == key.key)
