"""The six system operations, one by one, on both databases."""

import pytest

from subgraphs.shared.auth import ANONYMOUS, Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import Refusal
from subgraphs.wallet.audit import Settlement, audit, summarize
from subgraphs.wallet.rules import Balance, Commitment
from subgraphs.wallet.rules_operations import Close, Commit, Credit, Hold, Operation, Post, Void
from subgraphs.wallet.service import WalletService
from tests.wallet.conftest import STOCKS, USERS, broker, investor, new_id


async def funded(wallet: WalletService, amount: str = "1000.00") -> Caller:
    """An investor with `amount` USD available."""
    caller = investor()
    await wallet.move(caller, "deposit", "USD", amount, key=None)
    return caller


async def send(wallet: WalletService, operation: Operation) -> tuple[str, int, str]:
    """Sends an operation as the service that may; its status, amount and target."""
    caller = USERS if isinstance(operation, Commit | Close) else STOCKS
    result = (await wallet.apply(caller, operation)).result
    return result.status, result.amount, result.target


async def refused(wallet: WalletService, operation: Operation) -> str:
    """Sends an operation that must be refused; its code."""
    with pytest.raises(Refusal) as caught:
        await send(wallet, operation)
    return caught.value.code.code


async def test_hold_and_post_pay_the_market_and_the_fees_and_give_the_rest_back(
    wallet: WalletService, database: Database
) -> None:
    """A posted hold pays cost, fee and the broker's fee; the remainder is available again."""
    alice, bob, order = await funded(wallet), broker(), new_id()
    assert await send(wallet, Hold(order, alice.id, "USD", 60_000)) == ("held", 60_000, "hold")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=40_000, held=60_000)
    post = Post(order, alice.id, "USD", 50_000, 250, 500, bob.id)
    assert await send(wallet, post) == ("posted", 9_250, "available")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=49_250)
    assert await wallet.balance(bob, "USD") == Balance("USD", available=500)
    summary = await summarize(database)
    assert (summary.market, summary.fees) == ({"USD": 50_000}, {"USD": 250})
    assert summary.settlements == {order: (Settlement("post", 50_000, 250),)}
    assert await audit(database) == ()


async def test_void_gives_a_hold_back_once(wallet: WalletService, database: Database) -> None:
    """A voided hold is available again; a repeated void gives the same answer and moves nothing."""
    alice, order = await funded(wallet), new_id()
    await send(wallet, Hold(order, alice.id, "USD", 60_000))
    void = Void(order, alice.id, "USD")
    assert await send(wallet, void) == ("voided", 60_000, "available")
    assert (await wallet.apply(STOCKS, void)).replayed
    assert await wallet.balance(alice, "USD") == Balance("USD", available=100_000)
    assert await audit(database) == ()


async def test_a_hold_above_what_is_available_is_refused_for_good(wallet: WalletService) -> None:
    """A refused hold stays refused after money came in, and its void gives nothing back."""
    alice, order = await funded(wallet), new_id()
    hold = Hold(order, alice.id, "USD", 100_001)
    assert await refused(wallet, hold) == "insufficient-funds"
    await wallet.move(alice, "deposit", "USD", "500.00", key=None)
    assert await refused(wallet, hold) == "insufficient-funds"
    assert await send(wallet, Void(order, alice.id, "USD")) == ("voided", 0, "available")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=150_000)


async def test_a_void_before_its_hold_refuses_the_late_hold(wallet: WalletService, database: Database) -> None:
    """A void leaves a tombstone, so that a hold that was overtaken takes no money."""
    alice, order = await funded(wallet), new_id()
    assert await send(wallet, Void(order, alice.id, "USD")) == ("voided", 0, "available")
    assert await refused(wallet, Hold(order, alice.id, "USD", 100)) == "hold-voided"
    assert await wallet.balance(alice, "USD") == Balance("USD", available=100_000)
    assert await audit(database) == ()


async def test_a_mandate_is_committed_spent_and_closed(wallet: WalletService, database: Database) -> None:
    """Money set aside for a broker is held from the commitment, returns to it, and is given back by close."""
    alice, bob, mandate, order = await funded(wallet), broker(), new_id(), new_id()
    commit = Commit(mandate, alice.id, bob.id, "USD", 80_000)
    assert await send(wallet, commit) == ("committed", 80_000, "commitment")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=20_000, committed=80_000)
    await send(wallet, Hold(order, alice.id, "USD", 30_000, mandate))
    assert await wallet.balance(alice, "USD") == Balance("USD", available=20_000, committed=50_000, held=30_000)
    assert await send(wallet, Post(order, alice.id, "USD", 20_000, 100)) == ("posted", 9_900, "commitment")
    assert await wallet.commitment(bob, mandate) == Commitment(mandate, "USD", 59_900, "open")
    assert await send(wallet, Close(mandate, alice.id, bob.id, "USD")) == ("closed", 59_900, "available")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=79_900)
    assert await audit(database) == ()


async def test_a_hold_above_the_commitment_is_refused_though_available_would_do(wallet: WalletService) -> None:
    """A broker's order never reaches beyond its mandate."""
    alice, bob, mandate = await funded(wallet), broker(), new_id()
    await send(wallet, Commit(mandate, alice.id, bob.id, "USD", 10_000))
    assert await refused(wallet, Hold(new_id(), alice.id, "USD", 10_001, mandate)) == "insufficient-funds"
    unknown = Hold(new_id(), alice.id, "USD", 1, new_id())
    assert await refused(wallet, unknown) == "insufficient-funds"
    assert await send(wallet, Void(unknown.id, alice.id, "USD")) == ("voided", 0, "available")


async def test_a_commitment_above_what_is_available_is_refused_for_good(wallet: WalletService) -> None:
    """A refused commit stays refused, and its close gives nothing back."""
    alice, bob, mandate = await funded(wallet), broker(), new_id()
    commit = Commit(mandate, alice.id, bob.id, "USD", 100_001)
    assert await refused(wallet, commit) == "insufficient-funds"
    await wallet.move(alice, "deposit", "USD", "500.00", key=None)
    assert await refused(wallet, commit) == "insufficient-funds"
    assert await send(wallet, Close(mandate, alice.id, bob.id, "USD")) == ("closed", 0, "available")


async def test_a_close_before_its_commit_refuses_the_late_commit(wallet: WalletService) -> None:
    """A close leaves a tombstone, so that a commit that was overtaken sets nothing aside."""
    alice, bob, mandate = await funded(wallet), broker(), new_id()
    await send(wallet, Close(mandate, alice.id, bob.id, "USD"))
    assert await refused(wallet, Commit(mandate, alice.id, bob.id, "USD", 100)) == "commitment-closed"
    assert await wallet.balance(alice, "USD") == Balance("USD", available=100_000)


async def test_a_credit_reaches_available_or_the_childs_commitment(wallet: WalletService, database: Database) -> None:
    """Proceeds less fees go to available, to the named commitment, or past a closed one to available."""
    alice, bob, child, closed = await funded(wallet), broker(), new_id(), new_id()
    assert await send(wallet, Credit(new_id(), alice.id, "USD", 10_000, 50)) == ("credited", 9_950, "available")
    to_child = Credit(new_id(), alice.id, "USD", 10_000, 50, 100, bob.id, child)
    assert await send(wallet, to_child) == ("credited", 9_850, "commitment")
    await send(wallet, Close(closed, alice.id, bob.id, "USD"))
    late = Credit(new_id(), alice.id, "USD", 10_000, 50, 100, bob.id, closed)
    assert await send(wallet, late) == ("credited", 9_850, "available")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=119_800, committed=9_850)
    assert await wallet.balance(bob, "USD") == Balance("USD", available=200)
    assert await audit(database) == ()


async def test_an_order_worth_nothing_is_settled_all_the_same(wallet: WalletService, database: Database) -> None:
    """A tiny order may cost or bring less than the smallest amount: its hold returns whole, its credit is empty."""
    alice, order, sale = await funded(wallet), new_id(), new_id()
    await send(wallet, Hold(order, alice.id, "USD", 100))
    assert await send(wallet, Post(order, alice.id, "USD", 0)) == ("posted", 100, "available")
    assert await send(wallet, Credit(sale, alice.id, "USD", 0)) == ("credited", 0, "available")
    assert (await summarize(database)).settlements == {
        order: (Settlement("post", 0, 0),),
        sale: (Settlement("credit", 0, 0),),
    }
    assert await audit(database) == ()


async def test_money_of_a_closed_mandate_returns_to_available(wallet: WalletService, database: Database) -> None:
    """A hold whose commitment closed in the meantime gives its remainder to available, by post and by void."""
    alice, bob, mandate, spent, dropped = await funded(wallet), broker(), new_id(), new_id(), new_id()
    await send(wallet, Commit(mandate, alice.id, bob.id, "USD", 80_000))
    await send(wallet, Hold(spent, alice.id, "USD", 30_000, mandate))
    await send(wallet, Hold(dropped, alice.id, "USD", 30_000, mandate))
    assert await send(wallet, Close(mandate, alice.id, bob.id, "USD")) == ("closed", 20_000, "available")
    assert await send(wallet, Post(spent, alice.id, "USD", 25_000)) == ("posted", 5_000, "available")
    assert await send(wallet, Void(dropped, alice.id, "USD")) == ("voided", 30_000, "available")
    assert await wallet.balance(alice, "USD") == Balance("USD", available=75_000)
    assert await audit(database) == ()


async def test_an_operation_with_another_body_is_refused(wallet: WalletService) -> None:
    """The same id and op with another amount is refused, and the first effect stays."""
    alice, order = await funded(wallet), new_id()
    await send(wallet, Hold(order, alice.id, "USD", 100))
    assert await refused(wallet, Hold(order, alice.id, "USD", 200)) == "operation-reused"
    assert await wallet.balance(alice, "USD") == Balance("USD", available=99_900, held=100)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Post("order", "alice", "USD", 100), "hold-missing"),
        (Credit("order", "alice", "USD", 100, fee=101), "fees-exceed-proceeds"),
        (Credit("order", "alice", "USD", 100, broker_fee=1), "invalid-request"),
        (Credit("order", "alice", "USD", 100, broker_fee=1, broker_id="alice"), "invalid-request"),
        (Credit("order", "alice", "USD", 100, authorization_id="child"), "invalid-request"),
    ],
)
async def test_an_operation_that_contradicts_itself_is_not_stored(
    wallet: WalletService, database: Database, operation: Operation, code: str
) -> None:
    """A wrong request is refused and leaves no trace, so the right one may follow."""
    assert await refused(wallet, operation) == code
    assert await send(wallet, Credit("order", "alice", "USD", 100)) == ("credited", 100, "available")
    assert await audit(database) == ()


async def test_an_operation_names_the_account_as_it_is(wallet: WalletService) -> None:
    """Another investor, currency or broker than the account's is refused and changes nothing."""
    alice, bob, mandate, order = await funded(wallet), broker(), new_id(), new_id()
    await send(wallet, Commit(mandate, alice.id, bob.id, "USD", 50_000))
    await send(wallet, Hold(order, alice.id, "USD", 100, mandate))
    wrong: list[Operation] = [
        Hold(new_id(), bob.id, "USD", 100, mandate),
        Hold(new_id(), alice.id, "EUR", 100, mandate),
        Void(order, bob.id, "USD"),
        Post(order, alice.id, "EUR", 100),
        Close(mandate, alice.id, alice.id, "USD"),
        Credit(new_id(), alice.id, "USD", 100, broker_id=alice.id, authorization_id=mandate),
    ]
    assert [await refused(wallet, operation) for operation in wrong] == ["account-mismatch"] * len(wrong)
    assert await refused(wallet, Post(order, alice.id, "USD", 101)) == "hold-exceeded"
    assert await send(wallet, Post(order, alice.id, "USD", 100)) == ("posted", 0, "commitment")
    assert await refused(wallet, Void(order, alice.id, "USD")) == "hold-posted"


async def test_each_service_sends_its_own_operations_only(wallet: WalletService) -> None:
    """The issuer of the token decides; users are no service, and nobody is no caller."""
    hold, close = Hold("order", "alice", "USD", 100), Close("mandate", "alice", "bob", "USD")
    for caller, operation, code in (
        (USERS, hold, "operation-forbidden"),
        (STOCKS, close, "operation-forbidden"),
        (Caller(kind="service", id="wallet"), hold, "forbidden"),
        (investor(), hold, "forbidden"),
        (ANONYMOUS, hold, "unauthenticated"),
    ):
        with pytest.raises(Refusal) as caught:
            await wallet.apply(caller, operation)
        assert caught.value.code.code == code
