"""The books stay right whatever arrives, in whatever order and however often."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import Refusal
from subgraphs.shared.money import format_amount
from subgraphs.wallet.audit import Settlement, audit, summarize
from subgraphs.wallet.rules_operations import Close, Commit, Credit, Hold, Operation, Post, Void
from subgraphs.wallet.service import WalletService
from tests.wallet.conftest import STOCKS, USERS

INVESTORS = ("alice", "carol")
BROKER = "bob"
ORDERS = ("order-1", "order-2", "order-3")
MANDATES = ("mandate-1", "mandate-2", "mandate-3")

# Money is short on purpose: about half of all holds and commits are refused.
amounts = st.integers(1, 120)
fees = st.integers(0, 9)


@dataclass(frozen=True, slots=True)
class Movement:
    """A user's deposit or withdrawal under an idempotency key."""

    investor_id: str
    kind: Literal["deposit", "withdraw"]
    amount: int
    key: str


def owner_of(name: str) -> str:
    """Each order and mandate belongs to one investor, or most messages would contradict one another."""
    return INVESTORS[int(name[-1]) % 2]


def mandates_of(order: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *(mandate for mandate in MANDATES if owner_of(mandate) == owner_of(order))])


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """Any of the six, with small amounts."""
    order, mandate = draw(st.sampled_from(ORDERS)), draw(st.sampled_from(MANDATES))
    buyer, giver = owner_of(order), owner_of(mandate)
    drawn: Operation = draw(
        st.one_of(
            st.builds(Hold, st.just(order), st.just(buyer), st.just("USD"), amounts, mandates_of(order)),
            st.builds(Post, st.just(order), st.just(buyer), st.just("USD"), amounts, fees, fees, st.just(BROKER)),
            st.just(Void(order, buyer, "USD")),
            st.builds(
                Credit,
                st.just(order),
                st.just(buyer),
                st.just("USD"),
                amounts,
                fees,
                fees,
                st.just(BROKER),
                mandates_of(order),
            ),
            st.builds(Commit, st.just(mandate), st.just(giver), st.just(BROKER), st.just("USD"), amounts),
            st.just(Close(mandate, giver, BROKER, "USD")),
        )
    )
    return drawn


movements = st.builds(
    Movement,
    st.sampled_from((*INVESTORS, BROKER)),
    st.sampled_from(("deposit", "withdraw")),
    amounts,
    st.sampled_from(("key-1", "key-2", "key-3", "key-4")),
)
# Few different messages and many deliveries: most arrive more than once, in every order.
deliveries = st.lists(operations() | movements, min_size=1, max_size=14).flatmap(
    lambda pool: st.lists(st.sampled_from(pool), min_size=1, max_size=30)
)


class Wallet:
    """One wallet, driven synchronously; every example uses names of its own in the same database."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = Database.open(url)
        self._service = WalletService(self.database)
        self.example = ""

    def close(self) -> None:
        self._runner.run(self.database.close())
        self._runner.close()

    def send(self, message: Operation | Movement) -> str:
        """Delivers a message; its answer as text, a refusal included."""
        return self._runner.run(self._send(message))

    def violations(self) -> tuple[str, ...]:
        return tuple(str(violation) for violation in self._runner.run(audit(self.database)))

    def total_of(self, name: str) -> tuple[int, int, int]:
        """Available, committed and held of a user."""
        balance = self._runner.run(self._service.balance(Caller("user", self.own(name)), "USD"))
        return balance.available, balance.committed, balance.held

    def settlements(self) -> dict[str, tuple[Settlement, ...]]:
        return dict(self._runner.run(summarize(self.database)).settlements)

    def own(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.example}/{name}"))

    async def _send(self, message: Operation | Movement) -> str:
        try:
            if isinstance(message, Movement):
                user = Caller("user", self.own(message.investor_id), "investor")
                amount = format_amount(message.amount, "USD")
                return str((await self._service.move(user, message.kind, "USD", amount, key=message.key)).transaction)
            caller = USERS if isinstance(message, Commit | Close) else STOCKS
            return str((await self._service.apply(caller, self._renamed(message))).result)
        except Refusal as refusal:
            return refusal.code.code

    def _renamed(self, operation: Operation) -> Operation:
        names: dict[str, Any] = {
            name: self.own(value)
            for name in ("id", "investor_id", "broker_id", "authorization_id")
            if (value := getattr(operation, name, None)) is not None
        }
        return replace(operation, **names)


@pytest.fixture
def wallet(database_url: str) -> Iterator[Wallet]:
    """A wallet in a fresh database of each kind."""
    driven = Wallet(database_url)
    yield driven
    driven.close()


# Answers that a later message may overturn, because nothing was stored.
UNSTORED = {"hold-missing", "hold-exceeded", "fees-exceed-proceeds", "account-mismatch", "operation-reused"}


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=deliveries)
def test_books_are_right_after_any_deliveries(wallet: Wallet, messages: list[Operation | Movement]) -> None:
    """I1 and I2 hold after any messages in any order; a repeated message gets its first final answer."""
    wallet.example = str(uuid.uuid4())
    answers: dict[Operation | Movement, str] = {}
    for message in messages:
        answer = wallet.send(message)
        refused_movement = isinstance(message, Movement) and not answer.startswith("Transaction")
        final = answers.get(message)
        assert final is None or answer == final, f"{message} answered {final}, then {answer}"
        if answer not in UNSTORED and not refused_movement:
            answers[message] = answer
    assert wallet.violations() == ()


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=deliveries)
def test_nothing_stays_set_aside_once_all_is_voided_and_closed(
    wallet: Wallet, messages: list[Operation | Movement]
) -> None:
    """After every order's void and every mandate's close, in whatever state, all of a user's money is available."""
    wallet.example = str(uuid.uuid4())
    for message in messages:
        wallet.send(message)
    closing: list[Operation] = [Void(order, owner_of(order), "USD") for order in ORDERS]
    closing += [Close(mandate, owner_of(mandate), BROKER, "USD") for mandate in MANDATES]
    for operation in closing:
        answer = wallet.send(operation)
        assert answer == "hold-posted" or answer.startswith("Result"), f"{operation} answered {answer}"
    # Late deliveries of everything find the gates shut.
    for message in messages:
        if isinstance(message, Hold | Commit | Void | Close):
            wallet.send(message)
    assert [wallet.total_of(name)[1:] for name in INVESTORS] == [(0, 0)] * len(INVESTORS)
    assert wallet.violations() == ()


def test_settlements_name_what_moved_money(wallet: Wallet) -> None:
    """A post and a credit appear in the summary once each, a void and a refused hold never."""
    wallet.example = "summary"
    wallet.send(Movement("alice", "deposit", 100, "key-1"))
    wallet.send(Hold("order-2", "alice", "USD", 50))
    wallet.send(Post("order-2", "alice", "USD", 50))
    wallet.send(Hold("order-1", "carol", "USD", 50))
    wallet.send(Void("order-1", "carol", "USD"))
    wallet.send(Credit("order-3", "carol", "USD", 20))
    wallet.send(Credit("order-3", "carol", "USD", 20))
    assert wallet.settlements() == {
        wallet.own("order-2"): (Settlement("post", 50, 0),),
        wallet.own("order-3"): (Settlement("credit", -20, 0),),
    }
