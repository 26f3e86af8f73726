"""The JSON forms of stocks, holdings and orders: what REST answers, and what is stored as an order's final answer."""

from subgraphs.shared.money import format_amount, format_price, format_quantity
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.stocks.rules import Day, Holding, Stock
from subgraphs.stocks.rules_orders import Order

Document = dict[str, object]


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


def order_document(order: Order) -> Document:
    """An order as its investor and the broker who placed it see it."""
    fill = order.fill
    return {
        "id": order.id,
        "userId": order.user_id,
        "placedBy": order.placed_by,
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
