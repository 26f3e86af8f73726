"""Orders: the states an order passes through, what it carries, and when a price triggers it.

Clients see one public status per state; `saga` drives an order from state to state. An automated order (limit, stop,
stop_limit) waits as WORKING until a tick crosses its condition.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from subgraphs.stocks.rules import Quote
from subgraphs.stocks.rules_pricing import (
    STOP_SLIPPAGE_PPM,
    FeeRates,
    Settlement,
    settle_buy,
    settle_sell,
    with_slippage,
)

MARKET_ORDER_AGE_MS_MAX = 30_000
"""A market order not executed within this time is rejected: its pinned price is stale."""


class Side(StrEnum):
    """A buyer pays the ask, a seller gets the bid."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """All but `market` are automated: they wait for their trigger."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    """How long an automated order works: until the trading day ends, cancelled (90 days), or a date."""

    DAY = "day"
    GTC = "gtc"
    GTD = "gtd"


class OrderStatus(StrEnum):
    """What clients see."""

    PENDING = "pending"
    WORKING = "working"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class OrderState(StrEnum):
    """Where an order's saga stands; `saga` holds the table of moves."""

    NEW = "new"
    RESERVED = "reserved"
    WORKING = "working"
    TRIGGERED = "triggered"
    EXECUTED = "executed"
    COMPLETED = "completed"
    REJECTING = "rejecting"
    REJECTED = "rejected"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRING = "expiring"
    EXPIRED = "expired"


PUBLIC_STATUS: Mapping[OrderState, OrderStatus] = MappingProxyType(
    {
        OrderState.NEW: OrderStatus.PENDING,
        OrderState.RESERVED: OrderStatus.PENDING,
        OrderState.WORKING: OrderStatus.WORKING,
        OrderState.TRIGGERED: OrderStatus.WORKING,
        OrderState.EXECUTED: OrderStatus.COMPLETED,
        OrderState.COMPLETED: OrderStatus.COMPLETED,
        OrderState.REJECTING: OrderStatus.REJECTED,
        OrderState.REJECTED: OrderStatus.REJECTED,
        OrderState.CANCELLING: OrderStatus.CANCELLED,
        OrderState.CANCELLED: OrderStatus.CANCELLED,
        OrderState.EXPIRING: OrderStatus.EXPIRED,
        OrderState.EXPIRED: OrderStatus.EXPIRED,
    }
)
"""A decision shows as soon as it is durable; `settledAt` says when everything was moved or given back."""

TERMINAL_STATES = frozenset({OrderState.COMPLETED, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED})
CANCELLABLE_STATES = frozenset({OrderState.NEW, OrderState.RESERVED, OrderState.WORKING, OrderState.TRIGGERED})
STALE_STATES = frozenset({OrderState.NEW, OrderState.RESERVED})
"""States in which a market order's price grows stale."""
UNDRIVEN_STATES = TERMINAL_STATES | {OrderState.WORKING}
"""States that the saga's driver leaves alone: the order is over, or a tick moves it on."""


def states_of(status: OrderStatus) -> tuple[OrderState, ...]:
    """The states that clients see as `status`, for filters."""
    return tuple(state for state, public in PUBLIC_STATUS.items() if public is status)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an order was refused: a code of the catalogue and words for the client."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fill:
    """The one execution of an order: at `price`, moved as `settlement`; `seq` is the tick whose quote it used."""

    price: int
    seq: int
    settlement: Settlement
    executed_at: int


@dataclass(frozen=True, slots=True)
class Order:
    """An order with everything its saga needs: the row is the log.

    `price` is the quote pinned for a market order, the triggering tick's quote for an automated one, else None.
    `after_seq`: ticks above it count for the order. `stop_seq` is the tick at which a stop_limit became a limit.
    `hold_amount` is what the wallet holds for a buyer. `holding_id` is the investor's holding (a seller's from the
    start, a buyer's from the fill on). `answer` is what the final
    answer to the request that placed it shows, set once there is one. `placed_by_registered_at` is the broker's, None
    where the investor placed the order, and where it was placed before this was kept.
    """

    id: str
    user_id: str
    placed_by: str
    authorization_id: str | None
    authorization_ends_at: int | None
    stock_id: str
    symbol: str
    currency: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: int
    limit_price: int | None
    stop_price: int | None
    expires_at: int | None
    client_order_id: str | None
    state: OrderState
    rejection: Rejection | None
    rates: FeeRates
    hold_amount: int
    price: int | None
    price_seq: int
    after_seq: int
    stop_seq: int | None
    holding_id: str | None
    fill: Fill | None
    rollover_id: str | None
    fingerprint: str
    answer: OrderStatus | None
    created_at: int
    updated_at: int
    executed_at: int | None
    settled_at: int | None
    attempts: int
    placed_by_registered_at: int | None = None

    @property
    def status(self) -> OrderStatus:
        """What clients see."""
        return PUBLIC_STATUS[self.state]

    @property
    def automated(self) -> bool:
        """Whether it waits, or waited, for a trigger."""
        return self.type is not OrderType.MARKET

    @property
    def by_broker(self) -> bool:
        """Whether a broker placed it under a mandate."""
        return self.authorization_id is not None

    @property
    def answered(self) -> "Order":
        """The order as the final answer shows it: one that worked then as working, whatever it does now."""
        if self.answer is not OrderStatus.WORKING:
            return self  # it was over then, and is as it was
        working = replace(self, state=OrderState.WORKING, rejection=None, fill=None, rollover_id=None)
        return replace(working, executed_at=None, settled_at=None)

    @property
    def terminal(self) -> bool:
        """Whether nothing will ever change about it."""
        return self.state in TERMINAL_STATES


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which of the viewer's orders to list; None means any."""

    status: OrderStatus | None = None
    stock_id: str | None = None
    side: Side | None = None
    client_order_id: str | None = None


def side_price(side: Side, quote: Quote) -> int:
    """The price at which `side` trades: a buyer's ask, a seller's bid."""
    return quote.ask if side is Side.BUY else quote.bid


def stop_reached(side: Side, price: int, stop: int) -> bool:
    """Whether a stop is reached: a buyer's from below, a seller's from above."""
    return price >= stop if side is Side.BUY else price <= stop


def limit_met(side: Side, price: int, limit: int) -> bool:
    """Whether a limit is met: a buyer pays no more, a seller gets no less."""
    return price <= limit if side is Side.BUY else price >= limit


def gap_beyond_hold(order: Order, price: int) -> bool:
    """Whether a triggered stop order to buy would cost more than its hold covers."""
    if order.type is not OrderType.STOP or order.side is not Side.BUY:
        return False
    assert order.stop_price is not None
    return price > with_slippage(order.stop_price, STOP_SLIPPAGE_PPM)


def settlement_of(order: Order, price: int) -> Settlement:
    """What the order's fill at `price` moves, at its pinned fee rates."""
    settle = settle_buy if order.side is Side.BUY else settle_sell
    return settle(order.quantity, price, order.currency, order.rates)


def brings_something(order: Order) -> bool:
    """Whether an executed order leaves something that a mandate can go on with: a sale may be eaten up by its fees."""
    assert order.fill is not None
    return order.side is Side.BUY or order.fill.settlement.received > 0
