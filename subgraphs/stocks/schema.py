"""The GraphQL face: stocks, a user's holdings and orders, what remains of a mandate, and the mutations on orders."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from subgraphs.shared.errors import INVALID_REQUEST, Refusal
from subgraphs.shared.graphql import SubgraphSchema
from subgraphs.shared.graphql_types import (
    CHANGES,
    CURSOR,
    ERRORS,
    IDEMPOTENCY_KEY,
    MISSED,
    READS,
    REPLAYED,
    TELLS,
    After,
    AfterEvent,
    Connection,
    DecimalText,
    First,
    MutationError,
    Timestamp,
    attempt,
    attempt_once,
    connection,
    mutation_errors,
)
from subgraphs.shared.money import parse_price, parse_quantity
from subgraphs.stocks.rules import Holding
from subgraphs.stocks.rules_intents import OrderIntent, checked
from subgraphs.stocks.rules_orders import OrderType, Side, TimeInForce
from subgraphs.stocks.schema_orders import Order, User, order_nodes
from subgraphs.stocks.schema_statements import Statement
from subgraphs.stocks.schema_stocks import Authorization, Info, Stock, StockHolding, holding_node, stock_node
from subgraphs.stocks.service import PlacedOrder


@strawberry.type(description=READS)
class Query:
    """The root fields of stocks."""

    @strawberry.field(description="All stocks, by symbol. For everybody.")
    async def stocks(self, info: Info, first: First = 20, after: After = None) -> Connection[Stock] | None:
        """A page of stocks; public. Nullable, so that a client without an answer here still gets the others'."""
        page = await info.context.service.stocks.stocks(after=after, limit=first)
        return connection(page, stock_node, after=after)

    @strawberry.field(description="A stock, by its id or by its symbol; null where there is none. For everybody.")
    async def stock(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID | None, strawberry.argument(description="The stock's id; give it or `symbol`.")
        ] = None,
        symbol: Annotated[str | None, strawberry.argument(description="The stock's symbol; give it or `id`.")] = None,
    ) -> Stock | None:
        """One stock; public."""
        stocks = info.context.service.stocks
        if (id is None) is (symbol is None):
            raise Refusal(INVALID_REQUEST, "Name the stock by its id or by its symbol.")
        found = await (stocks.stocks_by_symbol([symbol]) if symbol is not None else stocks.stocks_by_id([str(id)]))
        stock = next(iter(found.values()), None)
        return None if stock is None else stock_node(stock)

    @strawberry.field(
        description="An order that the caller owns or has placed; null, with NOT_FOUND, where there is none."
    )
    async def order(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The order's id.")]
    ) -> Order | None:
        """One order; another's is not found."""
        order = await info.context.service.orders.order(info.context.user, id)
        return (await order_nodes(info, [order]))[order.id]

    @strawberry.field(
        description="One of the caller's holdings; null, with NOT_FOUND, where the caller has none of that id."
    )
    async def stockholding(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The holding's id.")]
    ) -> StockHolding | None:
        """One holding; another's is not found."""
        return holding_node(await info.context.service.stocks.holding(info.context.user, id))


@strawberry.input(
    description="An order to buy or sell. All types but MARKET are automated: they wait for their trigger."
)
class PlaceOrderInput:
    """What `placeOrder` takes."""

    stock_id: strawberry.ID = strawberry.field(description="Which stock.")
    side: Side = strawberry.field(description="Whether to buy or to sell.")
    quantity: DecimalText = strawberry.field(
        description="How many shares, above zero, with at most 6 decimals. Of a broker's order so many that fees "
        "take at most 5 %; "
        "ORDER_TOO_SMALL names the least."
    )
    idempotency_key: str = strawberry.field(description=IDEMPOTENCY_KEY)
    type: OrderType = strawberry.field(
        default=OrderType.MARKET, description="When to execute it. Brokers place MARKET orders alone."
    )
    time_in_force: TimeInForce = strawberry.field(
        default=TimeInForce.DAY, description="How long an automated order works; a market order takes none but DAY."
    )
    limit_price: DecimalText | None = strawberry.field(
        default=None,
        description="The worst price to execute at, above zero; of LIMIT and STOP_LIMIT orders, and of no other.",
    )
    stop_price: DecimalText | None = strawberry.field(
        default=None,
        description="The price that triggers it, above zero; of STOP and STOP_LIMIT orders, and of no other.",
    )
    expires_at: Timestamp | None = strawberry.field(
        default=None, description="When a GTD order ends, within 366 days; of no other."
    )
    authorization_id: strawberry.ID | None = strawberry.field(
        default=None, description="The mandate that a broker acts under; of brokers' orders, and of no other."
    )
    client_order_id: str | None = strawberry.field(
        default=None,
        description="The client's own name for the order: 1 to 64 printable characters, need not be unique.",
    )


@strawberry.type(description="What became of an order.")
class PlaceOrderPayload:
    """The order and, if it was rejected, why; or why there is no order."""

    order: Order | None = strawberry.field(
        description="The order, beside its error where it is REJECTED; null where there is none."
    )
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.input(description="Which order to cancel.")
class CancelOrderInput:
    """What `cancelOrder` takes."""

    id: strawberry.ID = strawberry.field(description="An order that the caller owns or has placed.")


@strawberry.type(description="What became of a cancellation.")
class CancelOrderPayload:
    """The order, or why it is not cancelled."""

    order: Order | None = strawberry.field(description="The cancelled order; null where that was refused.")
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.input(description="The new amount of one open commitment.")
class SetCommitmentInput:
    """What `setCommitment` takes."""

    stockholding_id: strawberry.ID = strawberry.field(description="One of the caller's holdings.")
    authorization_id: strawberry.ID = strawberry.field(description="Whose commitment to change.")
    committed_amount: DecimalText = strawberry.field(
        description="How many shares the broker may still sell: zero or more, and no more than are free or "
        "committed there."
    )
    expected_version: int | None = strawberry.field(
        default=None,
        description="The holding's version as it was read; another one is refused. Without it, any is right.",
    )


@strawberry.type(description="What became of a change of a commitment.")
class SetCommitmentPayload:
    """The holding, or why it is as it was."""

    stockholding: StockHolding | None = strawberry.field(
        description="The holding as changed; null where that was refused."
    )
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description=CHANGES)
class Mutation:
    """The mutations of stocks."""

    @strawberry.mutation(description="Places an order and executes it if it can be executed at once.")
    async def place_order(
        self,
        info: Info,
        input: Annotated[PlaceOrderInput, strawberry.argument(description="The order, placed once per key.")],
    ) -> PlaceOrderPayload | None:
        """An order, once per idempotency key."""
        placed, errors, repeated = await attempt_once(_place(info, input))
        if placed is None:
            return PlaceOrderPayload(order=None, replayed=repeated, errors=errors)
        nodes = await order_nodes(info, [placed.answered])
        refused = [] if placed.rejection is None else mutation_errors(placed.rejection)
        return PlaceOrderPayload(order=nodes[placed.order.id], replayed=placed.replayed, errors=refused)

    @strawberry.mutation(description="Cancels an order that is not completed yet.")
    async def cancel_order(
        self, info: Info, input: Annotated[CancelOrderInput, strawberry.argument(description="Which one.")]
    ) -> CancelOrderPayload | None:
        """A cancellation; a repetition answers alike."""
        order, errors = await attempt(info.context.service.saga.cancel(info.context.user, input.id))
        if order is None:
            return CancelOrderPayload(order=None, errors=errors)
        return CancelOrderPayload(order=(await order_nodes(info, [order]))[order.id], errors=[])

    @strawberry.mutation(description="Sets what an open commitment of one of the caller's holdings amounts to.")
    async def set_commitment(
        self,
        info: Info,
        input: Annotated[SetCommitmentInput, strawberry.argument(description="Which one, and its new amount.")],
    ) -> SetCommitmentPayload | None:
        """The same as PUT /stockholdings/{id}."""
        holding, errors = await attempt(_recommit(info, input))
        return SetCommitmentPayload(stockholding=None if holding is None else holding_node(holding), errors=errors)


@strawberry.type(description="That an order has changed.")
class OrderEvent:
    """A change of an order that the caller owns or has placed."""

    cursor: str = strawberry.field(description=CURSOR)
    missed: bool = strawberry.field(description=MISSED)
    order: Order | None = strawberry.field(description="The order as it stands; null if `missed`.")


@strawberry.type(description="That a holding has changed.")
class HoldingEvent:
    """A change of one of the caller's holdings."""

    cursor: str = strawberry.field(description=CURSOR)
    missed: bool = strawberry.field(description=MISSED)
    holding: StockHolding | None = strawberry.field(
        description="The holding as it stands, empty or not; null if `missed`."
    )


@strawberry.type(description=TELLS)
class Subscription:
    """The subscriptions of stocks."""

    @strawberry.subscription(description="Each stock when its price has moved, with its newest price. For everybody.")
    async def price_ticked(
        self,
        info: Info,
        symbols: Annotated[
            list[str] | None,
            strawberry.argument(description="The stocks with these symbols alone, at most 100; without it, all."),
        ] = None,
    ) -> AsyncGenerator[Stock, None]:
        """Prices as they come; public."""
        async with aclosing(await info.context.service.market.ticked(symbols)) as ticked:
            async for change in ticked:
                yield stock_node(change.stock)

    @strawberry.subscription(description="Each order that the caller owns or has placed, when it changes.")
    async def order_changed(self, info: Info, after: AfterEvent = None) -> AsyncGenerator[OrderEvent, None]:
        """The caller's orders as they move on."""
        async with aclosing(info.context.service.orders.changes(info.context.user, after)) as changes:
            async for change in changes:
                order = change.entity
                node = None if order is None else (await order_nodes(info, [order]))[order.id]
                yield OrderEvent(cursor=change.cursor, missed=change.missed, order=node)

    @strawberry.subscription(description="Each of the caller's holdings, when shares of it come, go or are set aside.")
    async def holding_changed(self, info: Info, after: AfterEvent = None) -> AsyncGenerator[HoldingEvent, None]:
        """The caller's holdings as they change."""
        async with aclosing(info.context.service.stocks.changes(info.context.user, after)) as changes:
            async for change in changes:
                node = None if change.entity is None else holding_node(change.entity)
                yield HoldingEvent(cursor=change.cursor, missed=change.missed, holding=node)


async def _place(info: Info, input: PlaceOrderInput) -> PlacedOrder:
    caller, use_cases = info.context.user, info.context.service
    intent = OrderIntent(
        stock_id=input.stock_id,
        side=input.side,
        type=input.type,
        quantity=parse_quantity(input.quantity),
        time_in_force=input.time_in_force,
        limit_price=None if input.limit_price is None else parse_price(input.limit_price, field="limitPrice"),
        stop_price=None if input.stop_price is None else parse_price(input.stop_price, field="stopPrice"),
        expires_at=input.expires_at,
        authorization_id=input.authorization_id,
        client_order_id=input.client_order_id,
    )
    return await use_cases.place_order(caller, checked(intent), input.idempotency_key)


async def _recommit(info: Info, input: SetCommitmentInput) -> Holding:
    return await info.context.service.stocks.set_commitment(
        info.context.user,
        input.stockholding_id,
        input.authorization_id,
        parse_quantity(input.committed_amount, field="committedAmount", zero_allowed=True),
        expected_version=input.expected_version,
    )


schema = SubgraphSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[User, Authorization, Stock, StockHolding, Order, Statement],
)
