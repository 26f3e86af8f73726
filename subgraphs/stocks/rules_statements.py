"""A user's month of trades: what was bought and sold, what fees took, and what sales gained.

A sale gains what it brings less what its shares had cost on average, fees left out: those stand beside it, in full.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from subgraphs.shared.months import Month
from subgraphs.stocks.rules_orders import Side


@dataclass(frozen=True, slots=True)
class Trade:
    """The execution of an order. `cost` is what its shares were worth, `basis` what a sale's had cost; minor units."""

    order_id: str
    executed_at: int
    stock_id: str
    symbol: str
    side: Side
    quantity: int
    price: int
    currency: str
    cost: int
    fee: int
    broker_fee: int
    basis: int | None

    @property
    def profit(self) -> int | None:
        """What a sale gained, before fees; None for a purchase."""
        return None if self.basis is None else self.cost - self.basis


@dataclass(frozen=True, slots=True)
class TradingTotals:
    """One currency's trades together, in minor units."""

    currency: str
    bought: int
    sold: int
    fees: int
    broker_fees: int
    profit: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A user's month: its trades in the order of their execution, and their sums per currency."""

    user_id: str
    month: Month
    totals: tuple[TradingTotals, ...]
    trades: tuple[Trade, ...]


def statement_of(user_id: str, month: Month, trades: Iterable[Trade]) -> Statement:
    """The statement of a month's trades."""
    made = tuple(trades)
    totals = (
        _totals(currency, [trade for trade in made if trade.currency == currency])
        for currency in sorted({trade.currency for trade in made})
    )
    return Statement(user_id, month, tuple(totals), made)


def _totals(currency: str, trades: list[Trade]) -> TradingTotals:
    return TradingTotals(
        currency,
        bought=sum(trade.cost for trade in trades if trade.side is Side.BUY),
        sold=sum(trade.cost for trade in trades if trade.side is Side.SELL),
        fees=sum(trade.fee for trade in trades),
        broker_fees=sum(trade.broker_fee for trade in trades),
        profit=sum(trade.profit or 0 for trade in trades),
    )
