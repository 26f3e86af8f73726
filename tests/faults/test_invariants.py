"""The invariants over all three services: right books pass, and each contradiction between them is named."""

from dataclasses import replace
from typing import Any

import pytest

from brokerage.audit import compare, settled_part
from subgraphs.stocks.audit import OrderSummary, StocksSummary
from subgraphs.stocks.rules_orders import OrderState, Side
from subgraphs.users.audit import UsersSummary
from subgraphs.wallet.audit import Settlement, WalletSummary

BOUGHT = OrderSummary(Side.BUY, OrderState.COMPLETED, "USD", hold_amount=110, cost=100, fee=1)
SOLD = OrderSummary(Side.SELL, OrderState.COMPLETED, "USD", hold_amount=0, cost=60, fee=2)
WORKING = OrderSummary(Side.BUY, OrderState.WORKING, "USD", hold_amount=50, cost=0, fee=0)
USERS = UsersSummary({"capital": ("capital", "ACTIVE"), "shares": ("stockholding", "ACTIVE")})
WALLET = WalletSummary(
    pending_holds={"working": 50},
    settlements={"bought": (Settlement("post", 100, 1),), "sold": (Settlement("credit", -60, 2),)},
    open_commitments={"capital": 10},
    market={"USD": 40},
    fees={"USD": 3},
)
STOCKS = StocksSummary(orders={"bought": BOUGHT, "sold": SOLD, "working": WORKING}, open_commitments={"shares": 5})


def test_books_that_agree_have_no_violation() -> None:
    """Completed orders, a working one and two mandates agree in all three services."""
    assert compare(USERS, WALLET, STOCKS) == ()


def with_order(order_id: str, **changes: object) -> StocksSummary:
    changed = replace(STOCKS.orders[order_id], **changes)  # type: ignore[arg-type]  # the field's own type
    return replace(STOCKS, orders={**STOCKS.orders, order_id: changed})


@pytest.mark.parametrize(
    ("users", "wallet", "stocks", "expected"),
    [
        (USERS, WALLET, with_order("working", state=OrderState.RESERVED), {"I4 order working"}),
        (USERS, WALLET, with_order("working", hold_amount=51), {"I4 order working"}),
        (USERS, replace(WALLET, pending_holds={}), STOCKS, {"I4 order working"}),
        (USERS, replace(WALLET, pending_holds={"working": 50, "bought": 1}), STOCKS, {"I4 order bought"}),
        (UsersSummary({**USERS.authorizations, "x": ("capital", "PENDING")}), WALLET, STOCKS, {"I5 authorization x"}),
        (
            UsersSummary({**USERS.authorizations, "capital": ("capital", "REVOKED")}),
            WALLET,
            STOCKS,
            {"I5 authorization capital"},
        ),
        (
            replace(USERS, unanswered=("u POST /authorizations",)),
            WALLET,
            STOCKS,
            {"I7 a key of u POST /authorizations"},
        ),
        (USERS, replace(WALLET, open_commitments={}), STOCKS, {"I5 authorization capital"}),
        (USERS, WALLET, replace(STOCKS, open_commitments={}), {"I5 authorization shares"}),
        (
            USERS,
            replace(WALLET, settlements={"sold": WALLET.settlements["sold"]}),
            STOCKS,
            {"I6 order bought"},
        ),
        (
            USERS,
            replace(WALLET, settlements={**WALLET.settlements, "bought": WALLET.settlements["bought"] * 2}),
            STOCKS,
            {"I6 order bought"},
        ),
        (
            USERS,
            replace(WALLET, settlements={**WALLET.settlements, "working": (Settlement("post", 1, 0),)}),
            STOCKS,
            {"I6 order working"},
        ),
        (
            USERS,
            replace(WALLET, settlements={**WALLET.settlements, "unknown": (Settlement("credit", 1, 0),)}),
            STOCKS,
            {"I6 order unknown"},
        ),
        (USERS, WALLET, with_order("bought", fee=2), {"I6 order bought", "I6 account fees USD"}),
        (USERS, replace(WALLET, market={"USD": 41}), STOCKS, {"I6 account market USD"}),
        (USERS, replace(WALLET, fees={"USD": 3, "EUR": 1}), STOCKS, {"I6 account fees EUR"}),
    ],
)
def test_each_contradiction_is_named(
    users: UsersSummary, wallet: WalletSummary, stocks: StocksSummary, expected: set[str]
) -> None:
    """One thing changed in one service is reported, and nothing else is."""
    found = {f"{violation.invariant} {violation.subject}" for violation in compare(users, wallet, stocks)}
    assert found == expected


NEW = OrderSummary(Side.BUY, OrderState.NEW, "USD", hold_amount=70, cost=0, fee=0)
EXECUTED = OrderSummary(Side.BUY, OrderState.EXECUTED, "USD", hold_amount=70, cost=60, fee=1)
AFTER_A_KILL = (
    UsersSummary(
        {**USERS.authorizations, "rolled": ("stockholding", "ACTIVE"), "opening": ("capital", "PENDING")},
        rollovers={"executed": "rolled"},
        unanswered=("u POST /authorizations",),
    ),
    replace(
        WALLET,
        pending_holds={**WALLET.pending_holds, "new": 70},
        settlements={**WALLET.settlements, "executed": (Settlement("post", 60, 1),)},
        open_commitments={**WALLET.open_commitments, "opening": 5},
        market={"USD": 100},
        fees={"USD": 4},
    ),
    replace(STOCKS, orders={**STOCKS.orders, "new": NEW, "executed": EXECUTED}),
)
"""Books of one instant: an order is held and not reserved, one is paid and not settled, a mandate is being opened."""


def test_what_is_under_way_is_left_out() -> None:
    """Of books of one instant the sagas under way are counted, and everything that they touch is left out."""
    assert compare(*AFTER_A_KILL) != ()
    under_way, settled = settled_part(*AFTER_A_KILL)
    assert under_way == 3
    assert compare(*settled) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pending_holds": {"new": 70}}, {"I4 order working"}),
        ({"settlements": {"executed": (Settlement("post", 60, 1),)}}, {"I6 order bought", "I6 order sold"}),
        ({"market": {"USD": 101}}, {"I6 account market USD"}),
        ({"fees": {"USD": 3}}, {"I6 account fees USD"}),
        ({"open_commitments": {"opening": 5}}, {"I5 authorization capital"}),
    ],
)
def test_what_is_over_is_compared_all_the_same(changes: dict[str, Any], expected: set[str]) -> None:
    """Sagas under way hide no contradiction between what is over."""
    users, wallet, stocks = AFTER_A_KILL
    _, settled = settled_part(users, replace(wallet, **changes), stocks)
    assert {f"{violation.invariant} {violation.subject}" for violation in compare(*settled)} == expected
