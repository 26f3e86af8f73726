"""The wallet's entities and pure rules: accounts, postings, what a user sees, and the codes of what is refused.

Money never appears or vanishes: every operation is a set of postings over accounts that sums to zero per currency.

    available:<user>:<currency>     what a user may spend or withdraw             never negative
    commitment:<authorization>      set aside for a broker by a capital mandate   never negative
    hold:<order>                    set aside for an order that is not settled    never negative
    external:<currency>             the world outside: minus all that came in     may be negative
    market:<currency>               the counterparty of every trade               may be negative
    fees:<currency>                 what the house earned                         never negative

A stored balance is always the sum of the account's postings; `audit.py` checks it.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from subgraphs.shared.errors import ErrorCode, Kind, Refusal
from subgraphs.shared.money import format_amount

AccountKind = Literal["available", "commitment", "hold", "external", "market", "fees"]
AccountState = Literal["open", "closed", "posted", "voided"]
"""Holds end posted or voided, commitments end closed; all other accounts stay open."""
TransactionKind = Literal["deposit", "withdraw", "trade", "fee", "commission", "rollover"]
Direction = Literal["in", "out", "within"]

UNDERDRAWN_KINDS: tuple[AccountKind, ...] = ("external", "market")
"""The accounts that may be negative: they stand for the world outside."""
TRANSACTION_KINDS: tuple[TransactionKind, ...] = ("deposit", "withdraw", "trade", "fee", "commission", "rollover")

BALANCE_MINOR_MAX = 10**16
"""What one user may have available by deposits, in minor units: a thousand largest deposits, and far below 2**63."""

INSUFFICIENT_FUNDS = ErrorCode(
    "insufficient-funds", Kind.REFUSED, "There is not enough money", "Choose a smaller amount, or deposit money first."
)
BALANCE_LIMIT = ErrorCode(
    "balance-limit", Kind.REFUSED, "The balance would exceed what one user may have", "Deposit less."
)
HOLD_MISSING = ErrorCode("hold-missing", Kind.CONFLICT, "There is no hold for this order", "Send the hold first.")
HOLD_VOIDED = ErrorCode(
    "hold-voided", Kind.CONFLICT, "The order's hold was given back", "The order is over: send nothing more for it."
)
HOLD_POSTED = ErrorCode(
    "hold-posted",
    Kind.CONFLICT,
    "The order's hold was already spent",
    "The order is settled: send nothing more for it.",
)
HOLD_EXCEEDED = ErrorCode("hold-exceeded", Kind.REFUSED, "Cost and fees exceed the hold", "Post at most what is held.")
FEES_EXCEED_PROCEEDS = ErrorCode(
    "fees-exceed-proceeds", Kind.REFUSED, "The fees exceed the proceeds", "Cap them at the proceeds."
)
COMMITMENT_CLOSED = ErrorCode(
    "commitment-closed",
    Kind.CONFLICT,
    "The commitment is closed",
    "Its authorization has ended: send nothing more for it.",
)
COMMITMENT_EXISTS = ErrorCode(
    "commitment-exists", Kind.CONFLICT, "The authorization has a commitment already", "Commit once per authorization."
)
ACCOUNT_MISMATCH = ErrorCode(
    "account-mismatch",
    Kind.REFUSED,
    "The account has another investor, broker or currency",
    "Name those that it was opened with.",
)
OPERATION_REUSED = ErrorCode(
    "operation-reused",
    Kind.REFUSED,
    "The operation was sent before with another body",
    "Send it again with its first body, or another id.",
)
OPERATION_FORBIDDEN = ErrorCode(
    "operation-forbidden",
    Kind.FORBIDDEN,
    "This service may not send that operation",
    "Only the service that the operation belongs to may send it.",
)

WALLET_CODES: tuple[ErrorCode, ...] = (
    INSUFFICIENT_FUNDS,
    BALANCE_LIMIT,
    HOLD_MISSING,
    HOLD_VOIDED,
    HOLD_POSTED,
    HOLD_EXCEEDED,
    FEES_EXCEED_PROCEEDS,
    COMMITMENT_CLOSED,
    COMMITMENT_EXISTS,
    ACCOUNT_MISMATCH,
    OPERATION_REUSED,
    OPERATION_FORBIDDEN,
)

TRANSACTION_NAMESPACE = uuid.UUID("6d3f0c52-0f5e-5a4b-9a55-6b8c1f6b7a10")


# ---- accounts ----


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the journal. Amounts are minor units of `currency`.

    `owner_id` is the user whose money it holds (None for external, market and fees). `authorization_id` and `broker_id`
    are the mandate of a commitment; on a hold, `authorization_id` is the commitment that the money came from.
    """

    id: str
    kind: AccountKind
    currency: str
    owner_id: str | None = None
    authorization_id: str | None = None
    broker_id: str | None = None
    state: AccountState = "open"
    balance: int = 0

    @property
    def is_open(self) -> bool:
        """Whether money may still enter or leave."""
        return self.state == "open"


def available_account(user_id: str, currency: str) -> Account:
    """The account of what a user may spend or withdraw."""
    return Account(f"available:{user_id}:{currency}", "available", currency, owner_id=user_id)


def outside_account(kind: Literal["external", "market", "fees"], currency: str) -> Account:
    """An account that belongs to no user."""
    return Account(f"{kind}:{currency}", kind, currency)


def hold_account_id(order_id: str) -> str:
    """The id of an order's hold account."""
    return f"hold:{order_id}"


def commitment_account_id(authorization_id: str) -> str:
    """The id of an authorization's commitment account."""
    return f"commitment:{authorization_id}"


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of a journal entry: `amount` minor units into the account, or out of it when negative."""

    account: Account
    amount: int


def postings_of(moves: Iterable[tuple[Account, int]]) -> tuple[Posting, ...]:
    """The postings of one operation: one per account that changes, in the order of account ids (the lock order)."""
    amounts: dict[str, int] = {}
    accounts: dict[str, Account] = {}
    for account, amount in moves:
        accounts[account.id] = account
        amounts[account.id] = amounts.get(account.id, 0) + amount
    assert sum(amounts.values()) == 0, "an operation that does not sum to zero"
    return tuple(Posting(accounts[key], amounts[key]) for key in sorted(amounts) if amounts[key] != 0)


# ---- what users see ----


@dataclass(frozen=True, slots=True)
class Balance:
    """A user's money in one currency, in minor units: total = available + committed + held."""

    currency: str
    available: int = 0
    committed: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        """All that is the user's, whatever it is set aside for."""
        return self.available + self.committed + self.held


@dataclass(frozen=True, slots=True)
class Commitment:
    """What remains of the money set aside under one capital authorization, in minor units.

    It is closed when its authorization has ended, and nothing remains of it.
    """

    authorization_id: str
    currency: str
    remaining: int
    state: AccountState


def balances_of(sums: Iterable[tuple[AccountKind, str, int]]) -> tuple[Balance, ...]:
    """A user's balances, by currency code, out of the sums of the user's accounts per kind and currency."""
    by_currency: dict[str, dict[AccountKind, int]] = {}
    for kind, currency, amount in sums:
        by_currency.setdefault(currency, {})[kind] = amount
    return tuple(
        Balance(currency, kinds.get("available", 0), kinds.get("commitment", 0), kinds.get("hold", 0))
        for currency, kinds in sorted(by_currency.items())
    )


@dataclass(frozen=True, slots=True)
class Transaction:
    """One line of a user's list. Lines with `in` and `out` add up to the user's total; `within` only moves inside it.

    deposit, withdraw   by the user          trade        what an order cost or brought
    fee                 to the house         commission   to the broker (and the broker's own line, `in`)
    rollover            a sale's proceeds that stay set aside for the broker (`within`)
    """

    id: str
    user_id: str
    kind: TransactionKind
    direction: Direction
    currency: str
    amount: int
    created_at: int = 0
    order_id: str | None = None
    authorization_id: str | None = None
    position: int = 0
    """Its place among all lines; lists are sorted by it, newest first."""


def transaction_id(operation_id: str, kind: TransactionKind, user_id: str) -> str:
    """The id of the line that an operation leaves in a user's list; the same for every repetition."""
    return str(uuid.uuid5(TRANSACTION_NAMESPACE, f"{operation_id}/{kind}/{user_id}"))


@dataclass(frozen=True, slots=True)
class Movement:
    """A deposit or a withdrawal, decided: its postings and the line it leaves."""

    postings: tuple[Posting, ...]
    transaction: Transaction


def move_money(transaction: Transaction, available: int) -> Movement:
    """Decides a deposit or withdrawal of the user who has `available` minor units in that currency.

    Raises:
        Refusal: `insufficient-funds` for a withdrawal above what is available, `balance-limit` for a deposit that
            lifts it above `BALANCE_MINOR_MAX`.
    """
    signed = transaction.amount if transaction.direction == "in" else -transaction.amount
    if available + signed < 0:
        raise Refusal(
            INSUFFICIENT_FUNDS, f"Only {_written(available, transaction)} is available. {INSUFFICIENT_FUNDS.remedy}"
        )
    if signed > 0 and available + signed > BALANCE_MINOR_MAX:
        raise Refusal(
            BALANCE_LIMIT,
            f"One user may have {_written(BALANCE_MINOR_MAX, transaction)} at most. {BALANCE_LIMIT.remedy}",
        )
    user = available_account(transaction.user_id, transaction.currency)
    outside = outside_account("external", transaction.currency)
    return Movement(postings_of(((user, signed), (outside, -signed))), transaction)


def _written(amount: int, transaction: Transaction) -> str:
    return f"{format_amount(amount, transaction.currency)} {transaction.currency}"


# ---- which service may send which operation ----

PERMITTED_OPERATIONS: Mapping[str, frozenset[str]] = {
    "stocks": frozenset({"hold", "post", "void", "credit"}),
    "users": frozenset({"commit", "close"}),
}
"""Issuer of a service token -> operations. The issuer is what the signature proves; no claim widens it."""


def require_permitted(issuer: str, op: str) -> None:
    """Raises Refusal `operation-forbidden` when that service may not send that operation."""
    if op not in PERMITTED_OPERATIONS.get(issuer, frozenset()):
        raise Refusal(OPERATION_FORBIDDEN, f"The service {issuer} may not send {op}. {OPERATION_FORBIDDEN.remedy}")
