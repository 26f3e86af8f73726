"""The GraphQL types of orders and of the users who place them, and how entities become them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import strawberry

from subgraphs.shared.errors import NOT_FOUND, ONLY_THE_USER, UNAVAILABLE, Refusal
from subgraphs.shared.graphql_types import (
    FOR_THE_USER_ALONE,
    After,
    Connection,
    DecimalText,
    First,
    Money,
    Timestamp,
    amount_text,
    connection,
    describe_enum,
    invalid_key,
    keys_of,
)
from subgraphs.shared.money import decimals_of, parse_amount
from subgraphs.stocks import rules, rules_orders
from subgraphs.stocks.rules_orders import OrderFilter, OrderStatus, OrderType, Side, TimeInForce
from subgraphs.stocks.schema_stocks import (
    Authorization,
    Info,
    Stock,
    StockHolding,
    authorization_nodes,
    holding_node,
    price_text,
    quantity_text,
    stock_node,
)

describe_enum(
    Side,
    name="OrderSide",
    description="A buyer pays the ask, a seller gets the bid.",
    values={Side.BUY: "Buys shares for money.", Side.SELL: "Sells shares for money."},
)
describe_enum(
    OrderType,
    description="All but MARKET are automated: they wait for their trigger.",
    values={
        OrderType.MARKET: "Executes at once, at the price that there is.",
        OrderType.LIMIT: "Executes as soon as the price is at least as good as `limitPrice`.",
        OrderType.STOP: "Executes as soon as the price has reached `stopPrice`: a buyer's from below, a seller's "
        "from above.",
        OrderType.STOP_LIMIT: "Becomes a LIMIT order as soon as the price has reached `stopPrice`.",
    },
)
describe_enum(
    OrderStatus,
    description="COMPLETED shows as soon as an order is executed.",
    values={
        OrderStatus.PENDING: "It is being placed: what it may cost is set aside.",
        OrderStatus.WORKING: "It is automated and waits for its trigger.",
        OrderStatus.COMPLETED: "It is executed; `settledAt` says when all money and shares were moved. Final.",
        OrderStatus.REJECTED: "It was refused and nothing was traded; `reason` says why. Final.",
        OrderStatus.CANCELLED: "It was cancelled and nothing was traded. Final.",
        OrderStatus.EXPIRED: "Its time was over and nothing was traded. Final.",
    },
)
describe_enum(
    TimeInForce,
    description="How long an automated order works: the trading day, 90 days, or to a date.",
    values={
        TimeInForce.DAY: "Until the trading day ends.",
        TimeInForce.GTC: "Until cancelled, for 90 days at most.",
        TimeInForce.GTD: "Until `expiresAt`.",
    },
)


@strawberry.federation.type(keys=["id"], description="An order to buy or sell stocks.")
class Order:
    """`rules_orders.Order` in decimals; its investor sees it, and the broker who placed it."""

    id: strawberry.ID = strawberry.field(description="The order's id, a UUID.")
    investor: "User" = strawberry.field(description="Whose order it is.")
    placed_by: "User" = strawberry.field(
        description="The investor, or the broker: names are not verified, `id` and `registeredAt` tell brokers apart."
    )
    authorization: Authorization | None = strawberry.field(
        description="The mandate under which a broker placed it; null if the investor did."
    )
    rollover: Authorization | None = strawberry.field(
        description="The mandate that goes on with what the order brought; null where none does."
    )
    stock: Stock = strawberry.field(description="What is traded.")
    side: Side = strawberry.field(description="Whether it buys or sells.")
    type: OrderType = strawberry.field(description="When it executes.")
    time_in_force: TimeInForce | None = strawberry.field(
        description="How long it works; null for market orders, which execute at once."
    )
    quantity: DecimalText = strawberry.field(description="How many shares.")
    limit_price: DecimalText | None = strawberry.field(
        description="The worst price it may execute at; null unless it is LIMIT or STOP_LIMIT."
    )
    stop_price: DecimalText | None = strawberry.field(
        description="The price that triggers it; null unless it is STOP or STOP_LIMIT."
    )
    expires_at: Timestamp | None = strawberry.field(description="When it stops working; null for market orders.")
    client_order_id: str | None = strawberry.field(
        description="The client's own name for it; null if it was given none."
    )
    currency: str = strawberry.field(description="ISO 4217 code of the stock's currency, and of all amounts here.")
    status: OrderStatus = strawberry.field(description="Where it stands.")
    reason: str | None = strawberry.field(
        description="Why it was rejected: a stable code, such as INSUFFICIENT_FUNDS; null unless it is REJECTED."
    )
    price: DecimalText | None = strawberry.field(description="What a share was traded at; null unless it is executed.")
    cost: DecimalText | None = strawberry.field(
        description="Price x quantity, rounded once, without fees; null unless it is executed."
    )
    fee: DecimalText | None = strawberry.field(description="The house's fee; null unless it is executed.")
    broker_fee: DecimalText | None = strawberry.field(
        description="The fee of the broker who placed it, zero if none did; null unless it is executed."
    )
    created_at: Timestamp = strawberry.field(description="When it was placed.")
    executed_at: Timestamp | None = strawberry.field(description="When it was executed; null unless it is.")
    settled_at: Timestamp | None = strawberry.field(
        description="When everything was moved or given back; null before that."
    )

    @classmethod
    async def resolve_references(cls, info: Info, representations: list[dict[str, Any]]) -> list["Order | Refusal"]:
        """The orders that the viewer owns or has placed, with their stocks, by two statements."""
        keys = keys_of(representations, "id")
        found = await info.context.service.orders.orders_by_id(info.context.user, {key for key in keys if key})
        nodes = await order_nodes(info, found.values())
        return [invalid_key("id") if key is None else nodes.get(key, Refusal(NOT_FOUND)) for key in keys]


@strawberry.type(description="A user's money in one currency.")
class Balance:
    """What netWorth needs of the wallet's balances."""

    currency: str = strawberry.federation.field(external=True, description="ISO 4217 code.")
    total: DecimalText = strawberry.federation.field(
        external=True, description="All of it: available, committed and held together."
    )


@strawberry.federation.type(keys=["id"], description="A user. Names are not verified: tell users apart by id.")
class User:
    """What stocks knows of a user; everything in it is for that user alone and null with NOT_FOUND for others."""

    id: strawberry.ID = strawberry.field(description="The user's id, a UUID.")
    balances: list[Balance] | None = strawberry.federation.field(
        external=True,
        default=None,
        description=f"Money, one balance for each currency the user ever had. {FOR_THE_USER_ALONE}",
    )

    @strawberry.field(description=f"The shares the user holds, by symbol. {FOR_THE_USER_ALONE}")
    async def holdings(self, info: Info) -> list[StockHolding] | None:
        """All holdings that are not empty, with their stocks, by one statement."""
        holdings = await info.context.service.stocks.all_holdings(info.context.caller, self.id)
        return [holding_node(holding) for holding in holdings]

    @strawberry.field(
        description=f"The user's orders, newest first; a broker's are those placed for investors. {FOR_THE_USER_ALONE}"
    )
    async def orders(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        status: Annotated[
            OrderStatus | None, strawberry.argument(description="Those that stand there alone; without it, all.")
        ] = None,
        stock_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Those for this stock alone; without it, all.")
        ] = None,
        side: Annotated[
            Side | None, strawberry.argument(description="Those that buy, or those that sell; without it, all.")
        ] = None,
        client_order_id: Annotated[
            str | None, strawberry.argument(description="Those that the client named so; without it, all.")
        ] = None,
    ) -> Connection[Order] | None:
        """A page of orders, with their stocks."""
        if info.context.user.id != self.id:
            raise Refusal(NOT_FOUND, ONLY_THE_USER)
        wanted = OrderFilter(status=status, stock_id=stock_id, side=side, client_order_id=client_order_id)
        page = await info.context.service.orders.orders(info.context.user, wanted, after=after, limit=first)
        nodes = await order_nodes(info, page.items)
        return connection(page, lambda order: nodes[order.id], after=after)

    @strawberry.field(description=f"What the holdings would bring now before fees, per currency. {FOR_THE_USER_ALONE}")
    async def portfolio_value(self, info: Info) -> list[Money] | None:
        """The market value of all holdings, per currency."""
        return _money(await _market_values(info, self.id))

    @strawberry.federation.field(
        requires=["balances { currency total }"],
        description=f"All balances and what the holdings would bring now, added up per currency; nothing is "
        f"exchanged. {FOR_THE_USER_ALONE}",
    )
    async def net_worth(self, info: Info) -> list[Money] | None:
        """Balances plus the market value of all holdings, per currency."""
        totals = await _market_values(info, self.id)
        if self.balances is None:
            raise Refusal(
                UNAVAILABLE, "The balances cannot be read at the moment. Try again in a moment.", retry_after_s=1
            )
        for balance in self.balances:
            minor = parse_amount(balance.total, balance.currency, zero_allowed=True)
            totals[balance.currency] = totals.get(balance.currency, 0) + minor
        return _money(totals)

    @classmethod
    async def resolve_references(cls, _info: Info, representations: list[dict[str, Any]]) -> list["User | Refusal"]:
        """Users by id, with the balances that netWorth requires; nothing here is shown to another user."""
        keys = keys_of(representations, "id")
        return [
            invalid_key("id") if key is None else cls(id=strawberry.ID(key), balances=_balances(found.get("balances")))
            for key, found in zip(keys, representations, strict=True)
        ]


async def order_nodes(info: Info, orders: Iterable[rules_orders.Order]) -> dict[str, Order]:
    """Orders as their GraphQL type, by id, with their stocks and mandates by one statement each."""
    listed = list(orders)
    mandates = {key for order in listed for key in (order.authorization_id, order.rollover_id) if key is not None}
    authorizations = await authorization_nodes(info, mandates) if mandates else {}
    stocks = await info.context.service.stocks.stocks_by_id({order.stock_id for order in listed}) if listed else {}
    return {order.id: _order_node(order, stocks[order.stock_id], authorizations) for order in listed}


def _order_node(order: rules_orders.Order, stock: rules.Stock, mandates: Mapping[str, Authorization]) -> Order:
    def amount(minor: int | None) -> DecimalText | None:
        return None if minor is None else amount_text(minor, order.currency)

    fill = order.fill
    return Order(
        id=strawberry.ID(order.id),
        investor=User(id=strawberry.ID(order.user_id)),
        placed_by=User(id=strawberry.ID(order.placed_by)),
        authorization=mandates.get(order.authorization_id or ""),
        rollover=mandates.get(order.rollover_id or ""),
        stock=stock_node(stock),
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force if order.automated else None,
        quantity=quantity_text(order.quantity),
        limit_price=None if order.limit_price is None else price_text(order.limit_price),
        stop_price=None if order.stop_price is None else price_text(order.stop_price),
        expires_at=None if order.expires_at is None else Timestamp(order.expires_at),
        client_order_id=order.client_order_id,
        currency=order.currency,
        status=order.status,
        reason=None if order.rejection is None else order.rejection.code.replace("-", "_").upper(),
        price=None if fill is None else price_text(fill.price),
        cost=amount(fill.settlement.cost if fill else None),
        fee=amount(fill.settlement.fee if fill else None),
        broker_fee=amount(fill.settlement.broker_fee if fill else None),
        created_at=Timestamp(order.created_at),
        executed_at=None if order.executed_at is None else Timestamp(order.executed_at),
        settled_at=None if order.settled_at is None else Timestamp(order.settled_at),
    )


async def _market_values(info: Info, user_id: str) -> dict[str, int]:
    totals: dict[str, int] = {}
    for holding in await info.context.service.stocks.all_holdings(info.context.caller, user_id):
        currency = holding.stock.currency
        totals[currency] = totals.get(currency, 0) + holding.market_value
    return totals


def _money(totals: dict[str, int]) -> list[Money]:
    return [Money(currency=currency, amount=amount_text(minor, currency)) for currency, minor in sorted(totals.items())]


def _balances(value: object) -> list[Balance] | None:
    """The required balances of a representation; None unless they are what the wallet's schema says."""
    if not isinstance(value, list):
        return None
    balances = []
    for item in value:
        currency, total = (item.get("currency"), item.get("total")) if isinstance(item, dict) else (None, None)
        if not isinstance(currency, str) or not isinstance(total, str):
            return None
        decimals_of(currency)
        balances.append(Balance(currency=currency, total=DecimalText(total)))
    return balances
