"""The JSON bodies of the stocks service's REST face; `documents` builds what is answered."""

from typing import Annotated, Literal

from pydantic import Field, RootModel

from subgraphs.shared.bodies import DecimalText, IdText, RequestBody, ResponseBody, TimestampText
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.stocks.rules_orders import OrderStatus, OrderType, Side, TimeInForce

Uuid = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
Price = Annotated[str, Field(examples=["12.3000"], description="A price with up to 4 decimals, as a string.")]
CurrencyCode = Annotated[str, Field(examples=["EUR"], description="ISO 4217 code.")]


class DayBody(ResponseBody):
    """A trading day (UTC) of a stock."""

    date: str = Field(examples=["2026-01-31"])
    open: Price
    high: Price
    low: Price
    close: Price = Field(description="The last price so far while the day runs.")


class StockBody(ResponseBody):
    """A stock with its latest quote."""

    id: IdText
    symbol: str = Field(examples=["ALBA"])
    name: str
    currency: CurrencyCode
    price: Price = Field(description="The last price.")
    bid: Price = Field(description="What a seller gets.")
    ask: Price = Field(description="What a buyer pays.")
    quoted_at: TimestampText
    seq: int = Field(description="Counts the stock's prices.")
    day: DayBody
    previous_close: Price | None
    issued_quantity: DecimalText


class HoldingBody(ResponseBody):
    """A user's shares of one stock: quantity = free + committed + reserved."""

    id: IdText
    user_id: IdText
    stock_id: IdText
    symbol: str
    currency: CurrencyCode
    quantity: DecimalText
    free_quantity: DecimalText
    commited_amount: DecimalText = Field(description="Shares set aside for brokers.")
    reserved_quantity: DecimalText = Field(description="Shares set aside for orders.")
    average_price: Price | None = Field(description="What a share now held has cost on average, without fees.")
    market_value: DecimalText = Field(description="Bid x quantity.")
    profit_loss: DecimalText = Field(description="Market value less cost.")
    version: int


class CommitmentBody(RequestBody):
    """The new amount of one open commitment of the holding."""

    authorization_id: Uuid
    commited_amount: DecimalText


class OpenBody(RequestBody):
    """System: set shares aside under a new authorization."""

    op: Literal["open"]
    authorization_id: Uuid
    investor_id: Uuid
    broker_id: Uuid
    amount: DecimalText


class CloseBody(RequestBody):
    """System: end an authorization's commitment."""

    op: Literal["close"]
    authorization_id: Uuid
    investor_id: Uuid
    broker_id: Uuid


class OperationBody(RootModel[Annotated[OpenBody | CloseBody, Field(discriminator="op")]]):
    """System: what users does to a commitment."""


class NewOrderBody(RequestBody):
    """An order to buy or sell. Limit, stop and stop_limit orders are automated: they wait for their trigger."""

    stock_id: Uuid
    side: Annotated[Side, Field(strict=False)]
    type: Annotated[OrderType, Field(strict=False)] = OrderType.MARKET
    quantity: DecimalText
    time_in_force: Annotated[TimeInForce, Field(strict=False)] = TimeInForce.DAY
    limit_price: Price | None = None
    stop_price: Price | None = None
    expires_at: TimestampText | None = Field(None, description="For timeInForce gtd.")
    authorization_id: Uuid | None = Field(None, description="For brokers: the investor's authorization.")
    client_order_id: str | None = Field(None, max_length=64, description="The client's own name for the order.")


class OrderChangeBody(RequestBody):
    """The only change that an order takes."""

    status: Literal["cancelled"]


class OrderBody(ResponseBody):
    """An order. `completed` shows as soon as it is executed; `settledAt` when everything was moved or given back."""

    id: IdText
    user_id: IdText = Field(description="The investor whose order it is.")
    placed_by: IdText = Field(description="The investor, or the investor's broker.")
    authorization_id: IdText | None
    stock_id: IdText
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce | None = Field(description="null for market orders, which execute at once.")
    quantity: DecimalText
    limit_price: Price | None
    stop_price: Price | None
    expires_at: TimestampText | None
    client_order_id: str | None
    currency: CurrencyCode
    status: OrderStatus
    reason: str | None = Field(description="Why it was rejected: a stable code.", examples=["insufficient-funds"])
    price: Price | None = Field(description="What a share was traded at.")
    cost: DecimalText | None
    fee: DecimalText | None
    broker_fee: DecimalText | None
    rollover_authorization_id: IdText | None = Field(description="Where a broker's mandate goes on.")
    created_at: TimestampText
    executed_at: TimestampText | None
    settled_at: TimestampText | None


class TickBody(RequestBody):
    """System: a price posted by hand."""

    symbol: str = Field(max_length=12)
    bid: Price
    ask: Price
    last: Price | None = None
    seq: int | None = Field(None, ge=1)


class StoredTickBody(ResponseBody):
    """The stock's latest price, and the orders that this request's price has triggered."""

    symbol: str
    seq: int
    bid: Price
    ask: Price
    last: Price
    at: TimestampText
    triggered: list[IdText]
