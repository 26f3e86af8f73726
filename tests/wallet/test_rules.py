"""The wallet's pure rules."""

import pytest

from subgraphs.shared.errors import Refusal
from subgraphs.wallet.bodies import SystemOperationBody
from subgraphs.wallet.rules import (
    BALANCE_MINOR_MAX,
    PERMITTED_OPERATIONS,
    Balance,
    Direction,
    Transaction,
    available_account,
    balances_of,
    move_money,
    outside_account,
    postings_of,
)
from subgraphs.wallet.rules_operations import OPERATION_NAMES


def movement(direction: Direction, amount: int) -> Transaction:
    kind = "deposit" if direction == "in" else "withdraw"
    return Transaction("id", "alice", kind, direction, "USD", amount)  # type: ignore[arg-type]  # one of the two kinds


@pytest.mark.parametrize(
    ("direction", "amount", "available", "code"),
    [
        ("in", 1, BALANCE_MINOR_MAX, "balance-limit"),
        ("in", BALANCE_MINOR_MAX, 1, "balance-limit"),
        ("out", 1, 0, "insufficient-funds"),
        ("out", 101, 100, "insufficient-funds"),
    ],
)
def test_a_movement_beyond_the_limits_is_refused(direction: Direction, amount: int, available: int, code: str) -> None:
    """Nobody withdraws more than they have, or deposits beyond what one user may have; the text says how much it is."""
    with pytest.raises(Refusal) as caught:
        move_money(movement(direction, amount), available)
    assert caught.value.code.code == code
    assert "USD" in caught.value.detail


@pytest.mark.parametrize(("direction", "amount", "available"), [("in", BALANCE_MINOR_MAX, 0), ("out", 100, 100)])
def test_a_movement_up_to_the_limits_sums_to_zero(direction: Direction, amount: int, available: int) -> None:
    """What leaves the user enters the outside, and the other way round."""
    moved = move_money(movement(direction, amount), available)
    signed = amount if direction == "in" else -amount
    assert {posting.account.id: posting.amount for posting in moved.postings} == {
        "available:alice:USD": signed,
        "external:USD": -signed,
    }


def test_postings_are_merged_and_in_the_order_of_locks() -> None:
    """One posting per account that changes, sorted by account id."""
    alice, bob = available_account("alice", "USD"), available_account("bob", "USD")
    moves = [(outside_account("market", "USD"), -5), (bob, 7), (alice, 3), (bob, -7), (alice, 2)]
    assert [(posting.account.id, posting.amount) for posting in postings_of(moves)] == [
        ("available:alice:USD", 5),
        ("market:USD", -5),
    ]


def test_balances_stand_in_the_order_of_currencies() -> None:
    """Sums of accounts become one balance per currency, whose total is all of it."""
    balances = balances_of([("hold", "USD", 3), ("available", "USD", 1), ("commitment", "EUR", 2)])
    assert balances == (Balance("EUR", committed=2), Balance("USD", available=1, held=3))
    assert [balance.total for balance in balances] == [2, 4]


def test_every_operation_has_exactly_one_sender() -> None:
    """Between them, stocks and users may send each operation, and never the same."""
    permitted = [name for names in PERMITTED_OPERATIONS.values() for name in names]
    assert sorted(permitted) == sorted(OPERATION_NAMES)


def test_every_operation_has_a_body() -> None:
    """PUT /balance reads each operation, and nothing else."""
    read = SystemOperationBody.model_json_schema()["discriminator"]["mapping"]
    assert sorted(read) == sorted(OPERATION_NAMES)
