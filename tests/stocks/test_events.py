"""Whoever may see an order, a holding, a balance or a mandate has an event of every change that shows there."""

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.outbox import Outbox
from subgraphs.stocks.tables import outbox as stocks_outbox
from subgraphs.users.tables import outbox as users_outbox
from subgraphs.wallet.tables import outbox as wallet_outbox
from tests.stocks.conftest import Desk, investor
from tests.stocks.test_broker_orders import authorize, parties, revoke


async def kinds(database: Database, outbox: Outbox, user: Caller, after: int = 0) -> list[str]:
    """The kinds of a user's events, in order; that they are numbered without a gap is checked beside."""
    async with database.reading() as connection:
        events = await outbox.after(connection, user.id, after)
    assert [event.number for event in events] == list(range(after + 1, after + 1 + len(events)))
    return [event.kind for event in events]


async def test_an_order_is_told_at_each_step_that_shows(desk: Desk) -> None:
    """A purchase: placed, executed and settled, each with the shares that move then; money twice, after its deposit."""
    buyer = investor()
    holding = await desk.bought(buyer)
    assert await kinds(desk.databases["stocks"], stocks_outbox, buyer) == [
        "order",
        *("holding", "order"),
        *("holding", "order"),
    ]
    assert await kinds(desk.databases["wallet"], wallet_outbox, buyer) == ["balance"] * 3
    response = await desk.place(buyer, side="sell", quantity=holding["quantity"])
    assert response.status_code == 201
    assert await kinds(desk.databases["stocks"], stocks_outbox, buyer, after=5) == [
        *("order", "holding"),
        *("holding", "order"),
        "order",
    ]
    assert await kinds(desk.databases["wallet"], wallet_outbox, buyer, after=3) == ["balance"]


async def test_a_refused_order_is_told_once_for_each_transaction(desk: Desk) -> None:
    """Without money: placed, rejected, and over when nothing is set aside any more; no balance has changed."""
    poor = investor()
    assert (await desk.place(poor)).status_code == 422
    assert await kinds(desk.databases["stocks"], stocks_outbox, poor) == ["order"] * 3
    assert await kinds(desk.databases["wallet"], wallet_outbox, poor) == []


async def test_a_brokers_order_is_told_to_both_and_shares_to_one(desk: Desk) -> None:
    """The broker hears of the order and of the mandate, never of the investor's shares; of money, the own fee."""
    alice, bob = await parties(desk)
    await desk.deposit(alice)
    mandate = await authorize(desk, alice, bob)
    response = await desk.place(bob, authorizationId=mandate["id"], quantity="5")
    assert response.status_code == 201, response.text
    assert await kinds(desk.databases["stocks"], stocks_outbox, bob) == ["order"] * 3
    ours = await kinds(desk.databases["stocks"], stocks_outbox, alice)
    assert (ours.count("order"), ours.count("holding")) == (3, 2)
    assert await kinds(desk.databases["wallet"], wallet_outbox, bob) == ["balance"]
    # Asked for, given; and the one that goes on with the shares.
    for party in (alice, bob):
        assert await kinds(desk.databases["users"], users_outbox, party) == ["authorization"] * 3
    assert (await revoke(desk, alice, mandate)).status_code == 200
    # Both of the family are ended, and have ended.
    for party in (alice, bob):
        assert await kinds(desk.databases["users"], users_outbox, party, after=3) == ["authorization"] * 4
