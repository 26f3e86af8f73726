"""The audit finds what it must: each kind of damage done to the books by hand."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from subgraphs.shared.database import Connection, Database
from subgraphs.wallet.audit import audit
from subgraphs.wallet.rules_operations import Commit, Hold
from subgraphs.wallet.service import WalletService
from tests.wallet.conftest import STOCKS, USERS, broker, investor, new_id


async def damage(database: Database, *statements: str) -> None:
    """Runs statements that no code of the wallet would."""

    async def work(connection: Connection) -> None:
        for statement in statements:
            await connection.execute(text(statement))

    await database.write(work)


async def books(wallet: WalletService) -> str:
    """An investor with 100.00, of which 30.00 are held and 20.00 committed; the investor's id."""
    alice = investor()
    await wallet.move(alice, "deposit", "USD", "100.00", key=None)
    await wallet.apply(STOCKS, Hold(new_id(), alice.id, "USD", 3_000))
    await wallet.apply(USERS, Commit(new_id(), alice.id, broker().id, "USD", 2_000))
    return alice.id


async def found(database: Database) -> list[tuple[str, str]]:
    return sorted({(violation.invariant, violation.subject.split(":")[0]) for violation in await audit(database)})


async def test_right_books_have_no_violation(wallet: WalletService, database: Database) -> None:
    """Ordinary use leaves nothing to report, nor does an empty database."""
    assert await audit(database) == ()
    await books(wallet)
    assert await audit(database) == ()


async def test_a_balance_that_is_not_its_postings_is_found(wallet: WalletService, database: Database) -> None:
    """Money made out of nothing shows on the account, and against the owner's list."""
    alice = await books(wallet)
    await damage(database, "UPDATE accounts SET balance = balance + 1 WHERE kind = 'available'")
    assert await found(database) == [("I1", "available"), ("I1", f"user {alice}")]


async def test_an_operation_that_does_not_sum_to_zero_is_found(wallet: WalletService, database: Database) -> None:
    """A posting changed together with its balance still leaves its operation unbalanced."""
    await books(wallet)
    await damage(
        database,
        "UPDATE postings SET amount = amount - 5 WHERE op = 'deposit' AND account_id = 'external:USD'",
        "UPDATE accounts SET balance = balance - 5 WHERE id = 'external:USD'",
    )
    violations = [str(violation) for violation in await audit(database)]
    assert len(violations) == 1
    assert violations[0].startswith("I1 deposit ")
    assert violations[0].endswith("sums to -5 USD")


async def test_a_transaction_missing_from_the_list_is_found(wallet: WalletService, database: Database) -> None:
    """A user's list that does not add up to what the user has is reported for that user."""
    alice = await books(wallet)
    await damage(database, "DELETE FROM transactions")
    assert await found(database) == [("I1", f"user {alice}")]


async def test_a_lost_answer_is_found(wallet: WalletService, database: Database) -> None:
    """An operation or a request whose repetition could not be answered is reported."""
    alice = await books(wallet)
    await damage(
        database, "UPDATE operations SET answer = NULL WHERE op = 'hold'", "UPDATE idempotency_keys SET result = NULL"
    )
    subjects = [subject.split(" ")[:2] for invariant, subject in await found(database) if invariant == "I7"]
    assert [words[0] for words in subjects] == ["a", "hold"]
    assert str(await audit(database)).count(f"a key of {alice} POST /transactions") == 1


async def test_the_database_itself_refuses_negative_balances(wallet: WalletService, database: Database) -> None:
    """No statement can make a user's account negative, or leave money in a closed one."""
    await books(wallet)
    for statement in (
        "UPDATE accounts SET balance = -1 WHERE kind = 'hold'",
        "UPDATE accounts SET state = 'closed' WHERE kind = 'commitment'",
    ):
        with pytest.raises(IntegrityError, match="accounts_"):
            await damage(database, statement)
