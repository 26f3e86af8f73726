"""The audit of stocks finds what it must: each kind of damage done to the books by hand."""

import pytest
from sqlalchemy import text

from subgraphs.shared.database import Connection
from subgraphs.stocks.audit import audit
from tests.stocks.conftest import Desk, investor


async def books(desk: Desk) -> dict[str, str]:
    """An investor with ten shares, one order that is completed, one that works, one that was rejected; the ids."""
    alice = investor()
    await desk.bought(alice, "10")
    completed = (await desk.place(alice, side="sell", quantity="1")).json()["id"]
    working = (await desk.place(alice, type="limit", limitPrice="80")).json()["id"]
    rejected = (await desk.place(alice, side="sell", quantity="100")).json()["orderId"]
    return {"completed": completed, "working": working, "rejected": rejected}


async def damage(desk: Desk, statement: str, **parameters: object) -> None:
    """Runs a statement that no code of the service would."""

    async def work(connection: Connection) -> None:
        await connection.execute(text(statement), parameters)

    await desk.databases["stocks"].write(work)


async def found(desk: Desk) -> list[str]:
    """The broken invariants, each with the kind of its subject."""
    violations = await audit(desk.databases["stocks"])
    return sorted(f"{violation.invariant} {violation.subject.split(' ')[0]}" for violation in violations)


async def test_right_books_have_no_violation(desk: Desk) -> None:
    """Ordinary use leaves nothing to report."""
    await books(desk)
    assert await found(desk) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE holdings SET free = free + 1 WHERE user_id != 'market'", ["I3 stock"]),
        ("UPDATE holdings SET free = free - 1, reserved = reserved + 1 WHERE user_id != 'market'", ["I4 holding"]),
        ("UPDATE orders SET state = 'COMPLETED' WHERE id = :working", ["I4 holding"]),
        ("UPDATE holdings SET free = free - 1, committed = committed + 1 WHERE user_id != 'market'", ["I5 holding"]),
        ("UPDATE orders SET answer = NULL WHERE id = :completed", ["I7 order"]),
        ("UPDATE orders SET answer = 'rejected' WHERE id = :completed", ["I7 order"]),
        ("UPDATE orders SET answer = 'cancelled' WHERE id = :completed", ["I7 order"]),
        ("UPDATE orders SET answer = NULL WHERE id = :working", ["I7 order"]),
        ("UPDATE orders SET reason = NULL WHERE id = :rejected", ["I7 order"]),
    ],
)
async def test_each_damage_is_found(desk: Desk, statement: str, expected: list[str]) -> None:
    """One thing changed by hand is reported under its invariant, and nothing else is."""
    ids = await books(desk)
    await damage(desk, statement, **{name: key for name, key in ids.items() if f":{name}" in statement})
    assert await found(desk) == expected
