"""The JSON bodies of the stocks service's REST face, and how entities are written in them.

What is answered is written straight into plain values: an order costs less than through the models, which document it.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, RootModel

from subgraphs.shared.bodies import (
    DecimalText,
    IdText,
    MomentText,
    QuantityText,
    RequestBody,
    ResponseBody,
    TimestampText,
)
from subgraphs.shared.errors import INVALID_REQUEST, FieldError, Refusal
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.money import (
    PRICE_PATTERN,
    QUANTITY_OR_ZERO_PATTERN,
    format_amount,
    format_price,
    format_quantity,
    parse_quantity,
)
from subgraphs.shared.problems import Problem
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.stocks.rules import Commitment, CommitmentAnswer, Day, Holding, Quote, Stock
from subgraphs.stocks.rules_intents import CLIENT_ORDER_ID_CHARACTERS_MAX
from subgraphs.stocks.rules_orders import Order, OrderStatus, OrderType, Side, TimeInForce
from subgraphs.stocks.rules_statements import Statement, Trade, TradingTotals

Document = dict[str, object]
Uuid = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
Price = Annotated[
    str,
    Field(
        examples=["12.3000"],
        description="A price above zero with up to 4 decimals, as a string.",
        json_schema_extra={"pattern": PRICE_PATTERN},
    ),
]
CurrencyCode = Annotated[str, Field(examples=["EUR"], description="ISO 4217 code.")]
ClientOrderId = Annotated[
    str,
    Field(
        examples=["monthly-07"],
        description="The client's own name for the order, printable.",
        json_schema_extra={"minLength": 1, "maxLength": CLIENT_ORDER_ID_CHARACTERS_MAX},
    ),
]
CommittedText = Annotated[
    str,
    Field(
        examples=["4"],
        description="A quantity as a string, with up to 6 decimals; 0 frees all of it.",
        json_schema_extra={"pattern": QUANTITY_OR_ZERO_PATTERN},
    ),
]


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


class QuoteBody(ResponseBody):
    """One of a stock's prices, as it was at its time."""

    seq: int = Field(description="Counts the stock's prices.")
    bid: Price = Field(description="What a seller got.")
    ask: Price = Field(description="What a buyer paid.")
    last: Price = Field(description="The last price.")
    at: TimestampText


class HoldingBody(ResponseBody):
    """A user's shares of one stock: quantity = free + committed + reserved."""

    id: IdText
    user_id: IdText
    stock_id: IdText
    symbol: str
    currency: CurrencyCode
    quantity: DecimalText
    free_quantity: DecimalText
    commited_amount: DecimalText = Field(
        description="Shares set aside for brokers. It is written with one t here, and `committedAmount` in GraphQL."
    )
    reserved_quantity: DecimalText = Field(description="Shares set aside for orders.")
    average_price: Price | None = Field(description="What a share now held has cost on average, without fees.")
    market_value: DecimalText = Field(description="Bid x quantity.")
    profit_loss: DecimalText = Field(description="Market value less cost.")
    version: int


class RemainingSharesBody(ResponseBody):
    """What remains of the shares set aside under a stockholding authorization."""

    authorization_id: IdText
    stock_id: IdText
    symbol: str
    remaining: DecimalText = Field(description="How many shares the broker may still sell.")
    status: Literal["open", "closed"] = Field(description="Closed for good when the authorization has ended.")


class CommitmentBody(RequestBody):
    """The new amount of one open commitment of the holding, by one of its two spellings."""

    authorization_id: Uuid
    commited_amount: CommittedText | None = Field(
        None, description="The amount, as the route's documentation spells it."
    )
    committed_amount: CommittedText | None = Field(None, description="The same; send one of the two.")

    def amount(self) -> int:
        """The amount in units of a quantity; errors name it as it was spelled.

        Raises:
            Refusal: `invalid-quantity`, or `invalid-request` unless it is there once.
        """
        given = {"commitedAmount": self.commited_amount, "committedAmount": self.committed_amount}
        spelled = [(field, text) for field, text in given.items() if text is not None]
        if len(spelled) != 1:
            message = "Send the amount once, as commitedAmount or as committedAmount."
            raise Refusal(INVALID_REQUEST, fields=[FieldError("commitedAmount", message)])
        field, text = spelled[0]
        return parse_quantity(text, field=field, zero_allowed=True)


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
    quantity: QuantityText = Field(
        description="Of a broker's order so many that fees take at most 5 %: see `smallestQuantity` of order-too-small."
    )
    time_in_force: Annotated[TimeInForce, Field(strict=False)] = TimeInForce.DAY
    limit_price: Price | None = Field(None, description="Of limit and stop_limit orders, and of no other.")
    stop_price: Price | None = Field(None, description="Of stop and stop_limit orders, and of no other.")
    expires_at: MomentText | None = Field(None, description="With timeInForce gtd, and no other; within 366 days.")
    authorization_id: Uuid | None = Field(None, description="For brokers: the investor's authorization.")
    client_order_id: ClientOrderId | None = None


class OrderChangeBody(RequestBody):
    """The only change that an order takes."""

    status: Literal["cancelled"]


class OrderBody(ResponseBody):
    """An order. `completed` shows as soon as it is executed; `settledAt` when everything was moved or given back."""

    id: IdText
    user_id: IdText = Field(description="The investor whose order it is.")
    placed_by: IdText = Field(description="The investor, or the investor's broker.")
    placed_by_registered_at: TimestampText | None = Field(
        description="Since when that broker has an account: names are not verified. null where the investor placed it, "
        "and in a broker's order of before this was kept."
    )
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


class TradeBody(ResponseBody):
    """The execution of an order."""

    order_id: IdText
    executed_at: TimestampText
    stock_id: IdText
    symbol: str
    side: Side
    quantity: DecimalText
    price: Price
    currency: CurrencyCode
    cost: DecimalText = Field(description="Price x quantity.")
    fee: DecimalText
    broker_fee: DecimalText
    profit: DecimalText | None = Field(
        description="What a sale brought less what its shares had cost on average, before fees; null for a purchase."
    )

    @classmethod
    def of(cls, trade: Trade) -> "TradeBody":
        """A trade on the wire."""
        currency = trade.currency
        return cls(
            order_id=trade.order_id,
            executed_at=format_timestamp(trade.executed_at),
            stock_id=trade.stock_id,
            symbol=trade.symbol,
            side=trade.side,
            quantity=format_quantity(trade.quantity),
            price=format_price(trade.price),
            currency=currency,
            cost=format_amount(trade.cost, currency),
            fee=format_amount(trade.fee, currency),
            broker_fee=format_amount(trade.broker_fee, currency),
            profit=None if trade.profit is None else format_amount(trade.profit, currency),
        )


class TradingTotalsBody(ResponseBody):
    """One currency's trades of a month together."""

    currency: CurrencyCode
    bought: DecimalText = Field(description="What purchases cost, without fees.")
    sold: DecimalText = Field(description="What sales brought, before fees.")
    fees: DecimalText
    broker_fees: DecimalText
    profit: DecimalText = Field(description="What sales gained by average cost, before fees.")

    @classmethod
    def of(cls, totals: TradingTotals) -> "TradingTotalsBody":
        """Sums on the wire."""
        names = ("bought", "sold", "fees", "broker_fees", "profit")
        amounts = {name: format_amount(getattr(totals, name), totals.currency) for name in names}
        return cls(currency=totals.currency, **amounts)


class StatementBody(ResponseBody):
    """A user's month of trades."""

    month: str = Field(examples=["2026-01"], description="A month of UTC.")
    totals: list[TradingTotalsBody]
    trades: list[TradeBody]

    @classmethod
    def of(cls, statement: Statement) -> "StatementBody":
        """A statement on the wire."""
        return cls(
            month=statement.month.text,
            totals=[TradingTotalsBody.of(each) for each in statement.totals],
            trades=[TradeBody.of(each) for each in statement.trades],
        )


STATEMENT_COLUMNS = tuple(field.alias or name for name, field in TradeBody.model_fields.items())
"""The table of a statement as CSV: a trade's members."""


def statement_rows(statement: Statement) -> Iterator[tuple[object, ...]]:
    """The rows of that table, a trade each."""
    for trade in statement.trades:
        yield tuple(TradeBody.of(trade).model_dump(mode="json").values())


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


class OrderProblem(Problem):
    """An RFC 9457 problem document."""

    order_id: IdText | None = Field(None, description="The order that was rejected, if it came to one.")
    smallest_quantity: QuantityText | None = Field(
        None, description="Of order-too-small: the least quantity that would do at this price."
    )


def quote_document(quote: Quote) -> Document:
    """A `QuoteBody`."""
    return {
        "seq": quote.seq,
        "bid": format_price(quote.bid),
        "ask": format_price(quote.ask),
        "last": format_price(quote.last),
        "at": format_timestamp(quote.at),
    }


def tick_document(stock: Stock) -> Document:
    """A stock's latest quote, with what it is of."""
    return {"stockId": stock.id, "symbol": stock.symbol, **quote_document(stock.quote)}


def stock_document(stock: Stock) -> Document:
    """A stock with its latest quote and day."""
    return {
        "id": stock.id,
        "symbol": stock.symbol,
        "name": stock.name,
        "currency": stock.currency,
        "price": format_price(stock.quote.last),
        "bid": format_price(stock.quote.bid),
        "ask": format_price(stock.quote.ask),
        "quotedAt": format_timestamp(stock.quote.at),
        "seq": stock.quote.seq,
        "day": day_document(stock.day),
        "previousClose": None if stock.previous_close is None else format_price(stock.previous_close),
        "issuedQuantity": format_quantity(stock.issued),
    }


def day_document(day: Day) -> Document:
    """A trading day of a stock."""
    return {
        "date": day.date,
        "open": format_price(day.open),
        "high": format_price(day.high),
        "low": format_price(day.low),
        "close": format_price(day.close),
    }


def holding_document(holding: Holding) -> Document:
    """A holding; `commitedAmount` keeps the spelling of the documented route."""
    average, currency = holding.average_price, holding.stock.currency
    return {
        "id": holding.id,
        "userId": holding.user_id,
        "stockId": holding.stock.id,
        "symbol": holding.stock.symbol,
        "currency": currency,
        "quantity": format_quantity(holding.quantity),
        "freeQuantity": format_quantity(holding.free),
        "commitedAmount": format_quantity(holding.committed),
        "reservedQuantity": format_quantity(holding.reserved),
        "averagePrice": None if average is None else format_price(average),
        "marketValue": format_amount(holding.market_value, currency),
        "profitLoss": format_amount(holding.profit_loss, currency),
        "version": holding.version,
    }


def remaining_document(commitment: Commitment, stock: Stock) -> Document:
    """What a mandate's parties are told of it; which holding it is on is the investor's alone to know."""
    return {
        "authorizationId": commitment.authorization_id,
        "stockId": stock.id,
        "symbol": stock.symbol,
        "remaining": format_quantity(commitment.remaining),
        "status": commitment.state.value,
    }


def commitment_document(answer: CommitmentAnswer) -> Document:
    """What users is told of a commitment that it opened or closed."""
    amounts = {"amount": answer.set_aside, "returned": answer.returned}
    return {
        "authorizationId": answer.authorization_id,
        "stockholdingId": answer.stockholding_id,
        "stockId": answer.stock_id,
        "symbol": answer.symbol,
        "currency": answer.currency,
        "status": answer.state.value,
        "remaining": format_quantity(answer.remaining),
        **{name: format_quantity(amount) for name, amount in amounts.items() if amount is not None},
    }


def order_document(order: Order) -> Document:
    """An order as its investor and the broker who placed it see it."""
    fill = order.fill
    return {
        "id": order.id,
        "userId": order.user_id,
        "placedBy": order.placed_by,
        "placedByRegisteredAt": _time(order.placed_by_registered_at),
        "authorizationId": order.authorization_id,
        "stockId": order.stock_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.type.value,
        "timeInForce": order.time_in_force.value if order.automated else None,
        "quantity": format_quantity(order.quantity),
        "limitPrice": None if order.limit_price is None else format_price(order.limit_price),
        "stopPrice": None if order.stop_price is None else format_price(order.stop_price),
        "expiresAt": _time(order.expires_at),
        "clientOrderId": order.client_order_id,
        "currency": order.currency,
        "status": order.status.value,
        "reason": None if order.rejection is None else order.rejection.code,
        "price": None if fill is None else format_price(fill.price),
        "cost": None if fill is None else format_amount(fill.settlement.cost, order.currency),
        "fee": None if fill is None else format_amount(fill.settlement.fee, order.currency),
        "brokerFee": None if fill is None else format_amount(fill.settlement.broker_fee, order.currency),
        "rolloverAuthorizationId": order.rollover_id,
        "createdAt": format_timestamp(order.created_at),
        "executedAt": _time(order.executed_at),
        "settledAt": _time(order.settled_at),
    }


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else format_timestamp(milliseconds)
