"""The GraphQL types of statements: what stocks adds to a user's month."""

from typing import Any

import strawberry

from subgraphs.shared.errors import Refusal
from subgraphs.shared.graphql_types import FOR_THE_USER_ALONE, DecimalText, Timestamp, amount_text, invalid_key, keys_of
from subgraphs.shared.months import month_of_id
from subgraphs.stocks import rules_statements
from subgraphs.stocks.rules_orders import Side
from subgraphs.stocks.schema_orders import Order, order_nodes
from subgraphs.stocks.schema_stocks import Info, price_text, quantity_text


@strawberry.type(description="The execution of an order.")
class Trade:
    """`rules_statements.Trade` in decimals."""

    order: Order = strawberry.field(description="What was executed.")
    executed_at: Timestamp = strawberry.field(description="When.")
    side: Side = strawberry.field(description="Whether shares were bought or sold.")
    quantity: DecimalText = strawberry.field(description="How many shares.")
    price: DecimalText = strawberry.field(description="What a share was traded at.")
    currency: str = strawberry.field(description="ISO 4217 code.")
    cost: DecimalText = strawberry.field(description="Price x quantity, rounded once, without fees.")
    fee: DecimalText = strawberry.field(description="The house's fee.")
    broker_fee: DecimalText = strawberry.field(
        description="The fee of the broker who placed the order, zero if none did."
    )
    profit: DecimalText | None = strawberry.field(
        description="What a sale brought less what its shares had cost on average, before fees; null for a purchase."
    )


@strawberry.type(description="One currency's trades of a month together.")
class TradingTotals:
    """`rules_statements.TradingTotals` in decimals."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    bought: DecimalText = strawberry.field(description="What purchases cost, without fees.")
    sold: DecimalText = strawberry.field(description="What sales brought, before fees.")
    fees: DecimalText = strawberry.field(description="The house's fees.")
    broker_fees: DecimalText = strawberry.field(description="The brokers' fees.")
    profit: DecimalText = strawberry.field(description="What sales gained by average cost, before fees.")


@strawberry.federation.type(keys=["id"], description="A user's month: bookings, trades, and what they add up to.")
class Statement:
    """What stocks adds to a statement; for its user alone."""

    id: strawberry.ID = strawberry.field(description="Made of the user's id and the month.")
    trades: list[Trade] | None = strawberry.field(
        description=f"Those of the user's own orders, first one first. {FOR_THE_USER_ALONE}"
    )
    trading: list[TradingTotals] | None = strawberry.field(
        description=f"The trades together, per currency. {FOR_THE_USER_ALONE}"
    )

    @classmethod
    async def resolve_references(cls, info: Info, representations: list[dict[str, Any]]) -> list["Statement | Refusal"]:
        """Months by user and name; another user's are not found."""
        keys = keys_of(representations, "id")
        return [invalid_key("id") if key is None else await _statement(info, key) for key in keys]


async def _statement(info: Info, key: str) -> Statement | Refusal:
    try:
        user_id, month = month_of_id(key)
        statement = await info.context.service.orders.statement(info.context.caller, month, of_user=user_id)
    except Refusal as refusal:
        return refusal
    orders = await info.context.service.orders.orders_by_id(
        info.context.user, {trade.order_id for trade in statement.trades}
    )
    nodes = await order_nodes(info, orders.values())
    return Statement(
        id=strawberry.ID(key),
        trades=[_trade(trade, nodes[trade.order_id]) for trade in statement.trades],
        trading=[_totals(each) for each in statement.totals],
    )


def _trade(trade: rules_statements.Trade, order: Order) -> Trade:
    return Trade(
        order=order,
        executed_at=Timestamp(trade.executed_at),
        side=trade.side,
        quantity=quantity_text(trade.quantity),
        price=price_text(trade.price),
        currency=trade.currency,
        cost=amount_text(trade.cost, trade.currency),
        fee=amount_text(trade.fee, trade.currency),
        broker_fee=amount_text(trade.broker_fee, trade.currency),
        profit=None if trade.profit is None else amount_text(trade.profit, trade.currency),
    )


def _totals(totals: rules_statements.TradingTotals) -> TradingTotals:
    return TradingTotals(
        currency=totals.currency,
        bought=amount_text(totals.bought, totals.currency),
        sold=amount_text(totals.sold, totals.currency),
        fees=amount_text(totals.fees, totals.currency),
        broker_fees=amount_text(totals.broker_fees, totals.currency),
        profit=amount_text(totals.profit, totals.currency),
    )
