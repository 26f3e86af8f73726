"""Pairs of operations that race on PostgreSQL: every preemption ends as if one had come after the other."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import Refusal
from subgraphs.wallet.audit import audit
from subgraphs.wallet.rules_operations import Close, Commit, Credit, Hold, Operation, Post, Void
from subgraphs.wallet.service import WalletService
from tests.faults.interleaving import LaneDatabase, interleave, preemptions
from tests.wallet.conftest import STOCKS, USERS, broker, investor, new_id

STEPS_MAX = 12
"""No operation takes more statements, its commit included."""

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A withdrawal under a key."""

    amount: str
    key: str = "key"


Act = Operation | Withdraw


@dataclass(frozen=True, slots=True)
class Parties:
    """The names that a race is about, new for every run."""

    alice: Caller
    bob: Caller
    order: str
    other: str
    mandate: str

    def hold(self, amount: int = 60, *, order: str | None = None, mandate: bool = False) -> Hold:
        source = self.mandate if mandate else None
        return Hold(order or self.order, self.alice.id, "USD", amount, source)

    def post(self) -> Post:
        return Post(self.order, self.alice.id, "USD", 50, 1, 2, self.bob.id)

    def void(self) -> Void:
        return Void(self.order, self.alice.id, "USD")

    def credit(self) -> Credit:
        return Credit(self.order, self.alice.id, "USD", 50, 1, 2, self.bob.id, self.mandate)

    def commit(self) -> Commit:
        return Commit(self.mandate, self.alice.id, self.bob.id, "USD", 80)

    def close(self) -> Close:
        return Close(self.mandate, self.alice.id, self.bob.id, "USD")


# Alice has 1.00 USD. Each race: what happened before, and the two operations.
RACES: dict[str, tuple[Sequence[str], str, str]] = {
    "void against its hold": ((), "hold()", "void()"),
    "void against a mandate's hold": (("commit()",), "hold(mandate=True)", "void()"),
    "void against post": (("hold()",), "post()", "void()"),
    "hold against close": (("commit()",), "hold(mandate=True)", "close()"),
    "void against close": (("commit()", "hold(mandate=True)"), "void()", "close()"),
    "post against close": (("commit()", "hold(mandate=True)"), "post()", "close()"),
    "credit against close": ((), "credit()", "close()"),
    "credit to an open mandate against close": (("commit()",), "credit()", "close()"),
    "commit against close": ((), "commit()", "close()"),
    "two holds on one balance": ((), "hold()", "hold(order=parties.other)"),
    "two holds on one mandate": (("commit()",), "hold(mandate=True)", "hold(order=parties.other, mandate=True)"),
    "hold against commit": ((), "hold()", "commit()"),
    "the same hold twice": ((), "hold()", "hold()"),
    "the same post twice": (("hold()",), "post()", "post()"),
    "the same close twice": (("commit()",), "close()", "close()"),
    "hold against a withdrawal": ((), "hold()", "withdraw"),
    "the same withdrawal twice": ((), "withdraw", "withdraw"),
}


def act(parties: Parties, name: str) -> Act:
    """The operation that a race names."""
    if name == "withdraw":
        return Withdraw("0.60")
    operation: Operation = eval(f"parties.{name}", {"parties": parties})  # noqa: S307  # names from the table above
    return operation


async def perform(wallet: WalletService, parties: Parties, what: Act) -> str:
    """Sends it; status, amount and target, or the code of the refusal."""
    try:
        if isinstance(what, Withdraw):
            await wallet.move(parties.alice, "withdraw", "USD", what.amount, key=what.key)
            return "withdrawn"
        caller = USERS if isinstance(what, Commit | Close) else STOCKS
        result = (await wallet.apply(caller, what)).result
    except Refusal as refusal:
        return refusal.code.code
    return f"{result.status} {result.amount} {result.target}"


async def outcome(wallet: WalletService, parties: Parties) -> str:
    """What the race left: everybody's balance and what remains of the mandate."""
    alice, bob = [await wallet.balance(caller, "USD") for caller in (parties.alice, parties.bob)]
    found = (await wallet.commitments_by_id(parties.alice, [parties.mandate])).get(parties.mandate)
    return f"{alice} {bob} {found and (found.remaining, found.currency, found.state)}"


async def prepare(wallet: WalletService, names: Sequence[str]) -> Parties:
    """New parties, a dollar, and what happened before."""
    parties = Parties(investor(), broker(), new_id(), new_id(), new_id())
    await wallet.move(parties.alice, "deposit", "USD", "1.00", key=None)
    for name in names:
        await perform(wallet, parties, act(parties, name))
    return parties


@pytest.fixture
async def lanes(database_url: str) -> AsyncIterator[tuple[LaneDatabase, LaneDatabase]]:
    """Two services' databases over the same tables."""
    first, second = LaneDatabase.open(database_url), LaneDatabase.open(database_url)
    assert isinstance(first, LaneDatabase)
    assert isinstance(second, LaneDatabase)
    yield first, second
    await first.close()
    await second.close()


@pytest.mark.parametrize("race", RACES)
async def test_every_preemption_ends_like_one_after_the_other(
    race: str, wallet: WalletService, database: Database, lanes: tuple[LaneDatabase, LaneDatabase]
) -> None:
    """Whatever the interleaving, answers and balances are those of some order, and the books are right."""
    before, first, second = RACES[race]
    serial = set()
    for names in ((first, second), (second, first)):
        parties = await prepare(wallet, before)
        answers = [await perform(wallet, parties, act(parties, name)) for name in names]
        by_name = answers if names == (first, second) else answers[::-1]
        serial.add((*by_name, await outcome(wallet, parties)))
    services = WalletService(lanes[0]), WalletService(lanes[1])
    for schedule in preemptions(STEPS_MAX):
        parties = await prepare(wallet, before)
        works = tuple(
            perform(service, parties, act(parties, name))
            for service, name in zip(services, (first, second), strict=True)
        )
        raced = await interleave(lanes, (works[0], works[1]), schedule, database)
        assert (*raced, await outcome(wallet, parties)) in serial, f"schedule {schedule}"
    assert await audit(database) == ()
