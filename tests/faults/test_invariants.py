"""The invariants over all three services: right books pass, and each contradiction between them is named."""

from dataclasses import replace

import pytest

from brokerage.audit import compare
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
