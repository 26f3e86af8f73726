"""One answer per Idempotency-Key, yes or no: the key's row and what it caused are written in the same transaction.

A service claims the key first and does the work only if the claim is fresh. A refusal rolls everything back, the claim
too, and is then stored under the key in a transaction of its own:

    async def work(connection):
        stored = await claim(connection, table, key)
        if stored is not None:
            return stored                         # a repetition: the answer of the first time, or none while not final
        ...insert the object...
        await store_result(connection, table, key, result)

    try:
        return await database.write(work)
    except Refusal as refusal:
        return await keep_refusal(database, table, key, refusal)   # raises it, or returns what came before it

Between the two another request with the key may succeed; then that is the one answer, and both get it. What says
nothing final about the request is not kept: who asks, how often, in which form, and what passes by itself
(`FINAL_KINDS`).

A key lives as long as the object that it created. A refusal created nothing: it is kept for `refusal_retention_days`,
and one caller leaves at most `REFUSALS_PER_MINUTE_MAX` on one route.
"""

import functools
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from subgraphs.shared.database import Connection, Database, insert_or_ignore, locked
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_IDEMPOTENCY_KEY,
    TOO_MANY_REQUESTS,
    ErrorCode,
    FieldError,
    Kind,
    Refusal,
)

T = TypeVar("T")

KEY_CHARACTERS_MAX = 255
"""What the Idempotency-Key draft and payment providers accept."""

_OBJECT_IDS = uuid.UUID("3f4b6c62-9d0e-5d6f-8a55-0d4f9b1c7e21")
"""Namespace of every id derived from a key."""


FINAL_KINDS = frozenset({Kind.NOT_FOUND, Kind.CONFLICT, Kind.REFUSED})
"""Refusals that are a final answer to a request."""

REFUSALS_PER_MINUTE_MAX = 120
"""Refusals that one caller may have stored on one route in a minute; a client that is not broken has a few a day."""

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key in its namespace (caller and route), with the fingerprint of the request that it came with.

    `made` for a request that came without one: nobody knows the key, so nobody can repeat the request.
    """

    namespace: str
    key: str
    fingerprint: str
    made: bool = False

    @property
    def object_id(self) -> str:
        """The id of the object this key creates: every repetition derives the same one."""
        return str(uuid.uuid5(_OBJECT_IDS, f"{self.namespace}\n{self.key}"))


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a key was answered, as its service writes it; None while that is not final. A refusal is raised instead."""

    result: str | None


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
    namespace = f"{caller_id} {route}"
    return IdempotencyKey(namespace, key or str(uuid.uuid4()), digest, made=key is None)


def idempotency_table(metadata: MetaData) -> Table:
    """The table `idempotency_keys` of a service."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("namespace", String(120), primary_key=True),
        Column("key", String(KEY_CHARACTERS_MAX), primary_key=True),
        Column("fingerprint", String(64), nullable=False),
        # At most one of the two is set, once the answer is final.
        Column("result", Text),
        Column("refusal", Text),
        Column("refused_at", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Index("idempotency_keys_refused", "refused_at"),
    )


async def claim(
    connection: Connection, table: Table, key: IdempotencyKey, *, result: str | None = None
) -> StoredAnswer | None:
    """Takes the key for this transaction: None if it is fresh, else what it was answered.

    A concurrent request with the same key waits here until the first one has committed or rolled back.

    Args:
        result: the final answer, where it is known before the work is done.

    Raises:
        Refusal: `idempotency-key-reused` when the key came with another request before; the stored refusal if that is
            what the key was answered.
    """
    row = {"namespace": key.namespace, "key": key.key, "fingerprint": key.fingerprint, "result": result}
    values = {**row, "created_at": await connection.now()}
    if (await connection.execute(insert_or_ignore(connection, table), values)).rowcount:
        return None
    stored = (await connection.execute(locked(_stored(table), connection), _of(key))).one()
    return _checked(stored, key)


async def stored_answer(connection: Connection, table: Table, key: IdempotencyKey) -> StoredAnswer | None:
    """What a key was answered before, without claiming it; None if it is fresh.

    For what must not happen twice but cannot be part of the transaction, such as asking a peer.

    Raises:
        Refusal: as `claim` does.
    """
    stored = (await connection.execute(_stored(table), _of(key))).one_or_none()
    return None if stored is None else _checked(stored, key)


async def store_result(
    connection: Connection, table: Table, key: IdempotencyKey, result: str, *, only_if_open: bool = False
) -> None:
    """Keeps the final result of a claimed key, in the transaction that makes it final.

    Args:
        only_if_open: leaves an answer that is final already as it is.
    """
    await connection.execute(_store_result(table, only_if_open=only_if_open), {**_of(key), "new_result": result})


async def keep_refusal(database: Database, table: Table, key: IdempotencyKey, refusal: Refusal) -> StoredAnswer:
    """Makes a refusal the key's final answer and raises it; returns the answer instead that another request got first.

    Raises:
        Refusal: the one that is the answer; `too-many-requests` where the caller has too many stored.
    """
    if refusal.replayed or refusal.code.kind not in FINAL_KINDS or refusal.code == IDEMPOTENCY_KEY_REUSED or key.made:
        raise refusal

    async def work(connection: Connection) -> StoredAnswer | None:
        earlier = await claim(connection, table, key)
        if earlier is None:
            now = await connection.now()
            await _check_rate(connection, table, key, now)
            values = {"refusal": _written(refusal), "refused_at": now}
            await connection.execute(update(table).where(_is(table)).values(values), _of(key))
        return earlier

    earlier = await database.write(work)
    if earlier is not None:
        return earlier
    refusal.key = key.key
    raise refusal


async def forget_refusals(database: Database, table: Table, *, days: int) -> None:
    """Deletes the refusals that are older than that; their keys are fresh again."""

    async def work(connection: Connection) -> None:
        before = await connection.now() - days * 24 * 60 * _MINUTE_MS
        await connection.execute(delete(table).where(table.c.refused_at < before))

    await database.write(work)


async def unanswered_keys(connection: Connection, table: Table) -> list[str]:
    """The namespace (caller and route) of every key whose answer is not final, oldest first, for an audit."""
    is_open = and_(table.c.result.is_(None), table.c.refusal.is_(None))
    statement = select(table.c.namespace).where(is_open).order_by(table.c.created_at)
    return list((await connection.execute(statement)).scalars())


async def _check_rate(connection: Connection, table: Table, key: IdempotencyKey, now: int) -> None:
    recent = and_(table.c.refused_at > now - _MINUTE_MS, table.c.namespace == key.namespace)
    stored = (await connection.execute(select(func.count()).select_from(table).where(recent))).scalar_one()
    if stored >= REFUSALS_PER_MINUTE_MAX:
        raise Refusal(TOO_MANY_REQUESTS, retry_after_s=_MINUTE_MS // 1_000)


def _checked(stored: Row[Any], key: IdempotencyKey) -> StoredAnswer:
    if stored.fingerprint != key.fingerprint:
        raise Refusal(IDEMPOTENCY_KEY_REUSED)
    if stored.refusal is not None:
        raise _read(stored.refusal, key.key)
    return StoredAnswer(stored.result)


def _written(refusal: Refusal) -> str:
    """A refusal with all that its answer shows, so that it stays the same whatever becomes of the catalogue."""
    code = refusal.code
    return orjson.dumps(
        {
            "code": [code.code, code.kind.name, code.title, code.remedy],
            "detail": refusal.detail,
            "fields": [[each.field, each.message] for each in refusal.fields],
            "extra": dict(refusal.extra),
        }
    ).decode()


def _read(text: str, key: str) -> Refusal:
    stored = orjson.loads(text)
    code, kind, title, remedy = stored["code"]
    return Refusal(
        ErrorCode(code, Kind[kind], title, remedy),
        stored["detail"],
        fields=[FieldError(*each) for each in stored["fields"]],
        extra=stored["extra"],
        key=key,
        replayed=True,
    )


# Built once per table: what is executed again is sent faster (`statements`).


@functools.cache
def _stored(table: Table) -> Select[Any]:
    return select(table).where(_is(table))


@functools.cache
def _store_result(table: Table, *, only_if_open: bool) -> Update:
    statement = update(table).where(_is(table)).values(result=bindparam("new_result", type_=Text))
    return statement.where(table.c.result.is_(None)) if only_if_open else statement


def _is(table: Table) -> ColumnElement[bool]:
    return and_(table.c.namespace == bindparam("in_namespace"), table.c.key == bindparam("of_key"))


def _of(key: IdempotencyKey) -> dict[str, str]:
    return {"in_namespace": key.namespace, "of_key": key.key}
