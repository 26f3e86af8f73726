"""A key has one effect, whatever happens around it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateTable

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import Refusal
from subgraphs.shared.idempotency import StoredAnswer, claim, idempotency_key, idempotency_table, store_answer

TABLE = idempotency_table(MetaData())
KEY = idempotency_key("u1", "POST /things", "k", {"a": 1, "b": 2})


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """An open database with the table of keys."""
    database = Database.open(empty_database_url)

    async def create(connection: Connection) -> None:
        await connection.execute(CreateTable(TABLE))

    await database.write(create)
    yield database
    await database.close()


async def test_concurrent_requests_with_one_key_do_the_work_once(database: Database) -> None:
    """Of ten at once one finds the key fresh, the others get its stored answer."""
    effects = 0

    async def work(connection: Connection) -> StoredAnswer:
        nonlocal effects
        stored = await claim(connection, TABLE, KEY)
        if stored is not None:
            return stored
        effects += 1
        answer = StoredAnswer(201, "made")
        await store_answer(connection, TABLE, KEY, answer)
        return answer

    answers = await asyncio.gather(*(database.write(work) for _ in range(10)))
    assert (effects, set(answers)) == (1, {StoredAnswer(201, "made")})


async def test_a_failed_attempt_leaves_the_key_fresh(database: Database) -> None:
    """A refusal rolls the claim back: the same key may succeed later."""

    async def fail(connection: Connection) -> None:
        assert await claim(connection, TABLE, KEY) is None
        raise LookupError("no")

    async def succeed(connection: Connection) -> StoredAnswer | None:
        return await claim(connection, TABLE, KEY)

    with pytest.raises(LookupError):
        await database.write(fail)
    assert await database.write(succeed) is None
    assert await database.write(succeed) == StoredAnswer(None, "")


async def test_another_request_under_the_key_is_refused(database: Database) -> None:
    """Another body is refused, another order of members is not another body, another caller has another key."""

    async def claimed(caller: str, request: dict[str, int]) -> StoredAnswer | None:
        key = idempotency_key(caller, "POST /things", "k", request)
        return await database.write(lambda connection: claim(connection, TABLE, key))

    assert await claimed("u1", {"a": 1, "b": 2}) is None
    assert await claimed("u1", {"b": 2, "a": 1}) is not None
    assert await claimed("u2", {"a": 9}) is None
    with pytest.raises(Refusal) as caught:
        await claimed("u1", {"a": 9})
    assert caught.value.code.code == "idempotency-key-reused"


def test_ids_derive_from_caller_route_and_key() -> None:
    """Repetitions derive the same object id; another caller, route or key another one."""
    ids = {
        idempotency_key(caller, route, key, {}).object_id
        for caller in ("u1", "u2")
        for route in ("POST /a", "POST /b")
        for key in ("1", "2")
    }
    assert len(ids) == 8
    assert idempotency_key("u1", "POST /a", "1", {"other": 1}).object_id in ids


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_unusable_keys_are_refused(key: str) -> None:
    """Empty, overlong and unprintable keys are the client's mistake."""
    with pytest.raises(Refusal) as caught:
        idempotency_key("u1", "POST /a", key, {})
    assert caught.value.code.code == "invalid-idempotency-key"


def test_a_missing_key_is_made() -> None:
    """Without a key each request has its own."""
    assert idempotency_key("u1", "POST /a", None, {}).key != idempotency_key("u1", "POST /a", None, {}).key
