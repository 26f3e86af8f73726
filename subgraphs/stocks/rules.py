"""What the stocks service knows: stocks and their day, holdings, share commitments, and why a request is refused.

All values are integers as `subgraphs.shared.money` defines them: prices in 1e-4 of the currency's major unit,
quantities in 1e-6 of a share, money in minor units; times are milliseconds since the epoch, UTC. Orders stand in
`rules_orders`.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from subgraphs.shared.errors import COMMON_CODES, ErrorCode, Kind
from subgraphs.stocks.rules_pricing import average_price, value_minor

MARKET = "market"
"""The owner of every share that no user holds. Not a user id: those are UUIDs."""

HOLDING_NAMESPACE = uuid.UUID("0b2f4f0e-7c1a-5d7e-8f43-51c8b6a9d2e7")

UNKNOWN_STOCK = ErrorCode(
    "unknown-stock", Kind.REFUSED, "There is no such stock", "Choose one from the list of stocks."
)
UNKNOWN_AUTHORIZATION = ErrorCode(
    "unknown-authorization",
    Kind.REFUSED,
    "There is no such authorization for this caller",
    "Choose one from the list of authorizations.",
)
AUTHORIZATION_REQUIRED = ErrorCode(
    "authorization-required",
    Kind.REFUSED,
    "A broker's order needs an authorizationId",
    "Name the investor's authorization that it is placed under.",
)
AUTHORIZATION_NOT_ALLOWED = ErrorCode(
    "authorization-not-allowed", Kind.REFUSED, "An investor's own order takes no authorizationId", "Leave it out."
)
AUTHORIZATION_INACTIVE = ErrorCode(
    "authorization-inactive",
    Kind.REFUSED,
    "The authorization is not active at this time",
    "Choose an active one, or ask the investor for another.",
)
AUTHORIZATION_MISMATCH = ErrorCode(
    "authorization-mismatch",
    Kind.REFUSED,
    "The authorization is not for this order",
    "Name a capital authorization to buy, a stockholding authorization of the same stock to sell.",
)
AUTOMATED_ORDER_INVALID = ErrorCode(
    "automated-order-invalid",
    Kind.REFUSED,
    "Only investors place automated orders, for themselves",
    "Place a market order, or let the investor place it without authorizationId.",
)
CURRENCY_MISMATCH = ErrorCode(
    "currency-mismatch",
    Kind.REFUSED,
    "The authorization's currency is not the stock's",
    "Name an authorization in the stock's currency.",
)
INSUFFICIENT_FUNDS = ErrorCode(
    "insufficient-funds",
    Kind.REFUSED,
    "There is not enough money",
    "Order less, or add money: an order needs the highest price that it may cost, and the fees.",
)
INSUFFICIENT_SHARES = ErrorCode(
    "insufficient-shares",
    Kind.REFUSED,
    "There are not enough free shares",
    "Choose fewer, or free some that are committed to brokers or reserved for orders.",
)
INSUFFICIENT_LIQUIDITY = ErrorCode(
    "insufficient-liquidity",
    Kind.REFUSED,
    "The market does not have that many shares for sale",
    "Order fewer, or wait until others have sold theirs.",
)
MARKET_CLOSED = ErrorCode(
    "market-closed", Kind.REFUSED, "The market is closed", "Come back when it is open, or place an automated order."
)
ORDER_TOO_SMALL = ErrorCode(
    "order-too-small",
    Kind.REFUSED,
    "Fees would take too large a share of the order",
    "Order at least the smallest quantity that errors name.",
)
PRICE_MOVED = ErrorCode(
    "price-moved",
    Kind.REFUSED,
    "The price moved beyond what was set aside for the order",
    "Place it again with a stop price near the market's.",
)
STALE_PRICE = ErrorCode(
    "stale-price",
    Kind.REFUSED,
    "The order could not be executed while its price was fresh",
    "Place it again, under a new idempotency key.",
)
COMMITMENT_CLOSED = ErrorCode(
    "commitment-closed", Kind.CONFLICT, "The commitment is closed", "Its authorization has ended: create another one."
)
ORDER_COMPLETED = ErrorCode(
    "order-completed",
    Kind.CONFLICT,
    "The order is completed",
    "It cannot be cancelled any more; place an opposite one.",
)
ORDER_FINAL = ErrorCode(
    "order-final",
    Kind.CONFLICT,
    "The order has already come to an end",
    "Nothing is left to cancel; its status says how it ended.",
)

ERROR_CODES: tuple[ErrorCode, ...] = (
    *COMMON_CODES,
    UNKNOWN_STOCK,
    UNKNOWN_AUTHORIZATION,
    AUTHORIZATION_REQUIRED,
    AUTHORIZATION_NOT_ALLOWED,
    AUTHORIZATION_INACTIVE,
    AUTHORIZATION_MISMATCH,
    AUTOMATED_ORDER_INVALID,
    CURRENCY_MISMATCH,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_SHARES,
    INSUFFICIENT_LIQUIDITY,
    MARKET_CLOSED,
    ORDER_TOO_SMALL,
    PRICE_MOVED,
    STALE_PRICE,
    COMMITMENT_CLOSED,
    ORDER_COMPLETED,
    ORDER_FINAL,
)
"""Every code this service answers with; the documentation is made from it."""


@dataclass(frozen=True, slots=True)
class Quote:
    """One price of a stock: what a seller gets (`bid`), what a buyer pays (`ask`), what was traded (`last`)."""

    seq: int
    bid: int
    ask: int
    last: int
    at: int


@dataclass(frozen=True, slots=True)
class Tick:
    """One price of one stock. `seq` counts a stock's ticks from 1; `ts` is its time in milliseconds."""

    symbol: str
    seq: int
    bid: int
    ask: int
    last: int
    ts: int


@dataclass(frozen=True, slots=True)
class Day:
    """A trading day of one stock. `close` is the last price so far while the day runs."""

    date: str
    open: int
    high: int
    low: int
    close: int

    def with_price(self, last: int) -> "Day":
        """The day after one more price."""
        return Day(self.date, self.open, max(self.high, last), min(self.low, last), last)

    @staticmethod
    def opened(date: str, last: int) -> "Day":
        """A day whose first price is `last`."""
        return Day(date, last, last, last, last)


class Interval(StrEnum):
    """How long one bar of a chart lasts; days and hours begin in UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


INTERVAL_MS: dict[Interval, int] = {Interval.MINUTE: 60_000, Interval.HOUR: 3_600_000, Interval.DAY: 86_400_000}


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of the past is kept: the latest ticks of each stock, and bars by age. Bars of days are kept for ever."""

    ticks: int = 10_000
    minute_bar_days: int = 7
    hour_bar_days: int = 365


@dataclass(frozen=True, slots=True)
class Bar:
    """What a stock's price did from `start` (milliseconds) on, for one interval; one without a price has no bar."""

    start: int
    open: int
    high: int
    low: int
    close: int


@dataclass(frozen=True, slots=True)
class Stock:
    """A listed company's share with its latest quote and its latest trading day."""

    id: str
    symbol: str
    name: str
    currency: str
    issued: int
    quote: Quote
    day: Day
    previous_close: int | None


@dataclass(frozen=True, slots=True)
class Holding:
    """A user's shares of one stock: `quantity` = free + committed (to brokers) + reserved (for orders).

    `cost` is what the shares now held have cost, without fees, in minor units; a sale takes its share of it away.
    """

    id: str
    user_id: str
    stock: Stock
    free: int
    committed: int
    reserved: int
    cost: int
    version: int

    @property
    def quantity(self) -> int:
        """All shares held, whatever they are set aside for."""
        return self.free + self.committed + self.reserved

    @property
    def average_price(self) -> int | None:
        """The average cost of a share in price units, rounded half-even; None when none is held."""
        return average_price(self.cost, self.quantity, self.stock.currency)

    @property
    def market_value(self) -> int:
        """What the shares would bring now: bid x quantity, in minor units."""
        return value_minor(self.quantity, self.stock.quote.bid, self.stock.currency)

    @property
    def profit_loss(self) -> int:
        """Market value less cost, in minor units."""
        return self.market_value - self.cost


def holding_id_of(user_id: str, stock_id: str) -> str:
    """The id of a user's holding of a stock: there is one, and it has the same id whoever creates it first."""
    return str(uuid.uuid5(HOLDING_NAMESPACE, f"{user_id}|{stock_id}"))


class CommitmentState(StrEnum):
    """A commitment is open until its authorization ends; a closed one never opens again."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Commitment:
    """What remains of the shares set aside under one stockholding authorization.

    A row can be closed without ever having been open: the tombstone that refuses a late opening.
    """

    authorization_id: str
    investor_id: str
    broker_id: str
    holding_id: str
    state: CommitmentState
    remaining: int

    @property
    def open(self) -> bool:
        """Whether shares can be taken from it or given back to it."""
        return self.state is CommitmentState.OPEN


@dataclass(frozen=True, slots=True)
class CommitmentAnswer:
    """What users is told of a commitment, now and at every repetition.

    Of an opening what was set aside, of a close what came back. A close that found no holding knows no stock.
    """

    authorization_id: str
    stockholding_id: str
    stock_id: str | None
    symbol: str | None
    currency: str | None
    state: CommitmentState
    remaining: int
    set_aside: int | None = None
    returned: int | None = None
