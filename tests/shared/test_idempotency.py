"""A key has one effect, whatever happens around it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateTable

from subgraphs.shared import errors
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import ErrorCode, FieldError, Refusal
from subgraphs.shared.idempotency import (
    REFUSALS_PER_MINUTE_MAX,
    StoredAnswer,
    claim,
    forget_refusals,
    idempotency_key,
    idempotency_table,
    keep_refusal,
    store_result,
)

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
        await store_result(connection, TABLE, KEY, "made")
        return StoredAnswer("made")

    answers = await asyncio.gather(*(database.write(work) for _ in range(10)))
    assert (effects, set(answers)) == (1, {StoredAnswer("made")})


async def test_a_failed_attempt_leaves_the_key_fresh(database: Database) -> None:
    """A fault rolls the claim back: the same key may succeed later."""

    async def fail(connection: Connection) -> None:
        assert await claim(connection, TABLE, KEY) is None
        raise LookupError("no")

    async def succeed(connection: Connection) -> StoredAnswer | None:
        return await claim(connection, TABLE, KEY)

    with pytest.raises(LookupError):
        await database.write(fail)
    assert await database.write(succeed) is None
    assert await database.write(succeed) == StoredAnswer(None)


async def refused(database: Database, refusal: Refusal, key: str = "k") -> Refusal:
    """The refusal that a request with the key ends in, when its work is refused so."""

    async def work(connection: Connection) -> None:
        await claim(connection, TABLE, asked)
        raise refusal

    asked = idempotency_key("u1", "POST /things", key, {"a": 1, "b": 2})
    try:
        await database.write(work)
    except Refusal as final:
        with pytest.raises(Refusal) as caught:
            await keep_refusal(database, TABLE, asked, final)
        return caught.value
    raise AssertionError("the work is refused")


async def test_a_refusal_is_the_answer_from_then_on(database: Database) -> None:
    """Every repetition gets the first no with all its words, whatever the work would say now."""
    fields, extra = [FieldError("amount", "Too much.")], {"orderId": "o1"}
    first = await refused(database, Refusal(errors.INVALID_AMOUNT, "No.", fields=fields, extra=extra))
    assert (first.replayed, first.key) == (False, "k")
    again = await refused(database, Refusal(errors.UNKNOWN_CURRENCY))
    assert (again.replayed, again.key) == (True, "k")
    for name in ("code", "detail", "fields", "extra"):
        assert getattr(again, name) == getattr(first, name)


@pytest.mark.parametrize(
    "code",
    [errors.MALFORMED_REQUEST, errors.INVALID_TOKEN, errors.FORBIDDEN, errors.TOO_MANY_REQUESTS, errors.UNAVAILABLE],
    ids=lambda code: code.code,
)
async def test_what_is_not_about_the_request_is_not_kept(database: Database, code: ErrorCode) -> None:
    """Who asks, how often, in which form, and a fault that passes: the same request may succeed later."""
    assert not (await refused(database, Refusal(code))).replayed
    assert await database.write(lambda connection: claim(connection, TABLE, KEY)) is None


async def test_a_request_that_came_between_gives_the_answer(database: Database) -> None:
    """Where another request with the key succeeded before the refusal was stored, its answer is the one."""

    async def succeed(connection: Connection) -> None:
        await claim(connection, TABLE, KEY)
        await store_result(connection, TABLE, KEY, "made")

    await database.write(succeed)
    refusal = Refusal(errors.INVALID_AMOUNT)
    assert await keep_refusal(database, TABLE, KEY, refusal) == StoredAnswer("made")


async def test_of_concurrent_refusals_one_is_the_answer(database: Database) -> None:
    """Two that are refused at once for different reasons both say the same."""
    codes = [errors.INVALID_AMOUNT, errors.UNKNOWN_CURRENCY, errors.INVALID_PRICE, errors.INVALID_QUANTITY]
    found = await asyncio.gather(*(refused(database, Refusal(code)) for code in codes))
    assert len({each.code for each in found}) == 1
    assert [each.replayed for each in found].count(False) == 1


async def test_a_caller_leaves_a_bounded_number_of_refusals(database: Database) -> None:
    """Beyond the limit of a minute a refusal is not stored, and the caller is told to wait."""
    for number in range(REFUSALS_PER_MINUTE_MAX):
        await refused(database, Refusal(errors.INVALID_AMOUNT), str(number))
    limited = await refused(database, Refusal(errors.INVALID_AMOUNT), "one more")
    assert (limited.code.code, limited.retry_after_s) == ("too-many-requests", 60)
    assert (await refused(database, Refusal(errors.INVALID_PRICE), "0")).code == errors.INVALID_AMOUNT


async def test_refusals_are_forgotten_when_their_days_are_over(empty_database_url: str) -> None:
    """A refusal is kept for its days, an answered request for ever."""
    now = 1_800_000_000_000
    database = Database.open(empty_database_url, clock=lambda: now)
    made = idempotency_key("u1", "POST /things", "made", {})

    async def prepare(connection: Connection) -> None:
        await connection.execute(CreateTable(TABLE))
        await claim(connection, TABLE, made, result="made")

    await database.write(prepare)
    await refused(database, Refusal(errors.INVALID_AMOUNT))
    now += 30 * 86_400_000
    await forget_refusals(database, TABLE, days=30)
    assert (await refused(database, Refusal(errors.INVALID_PRICE))).code == errors.INVALID_AMOUNT
    now += 1
    await forget_refusals(database, TABLE, days=30)
    assert (await refused(database, Refusal(errors.INVALID_PRICE))).code == errors.INVALID_PRICE
    assert await database.write(lambda connection: claim(connection, TABLE, made)) == StoredAnswer("made")
    await database.close()


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
