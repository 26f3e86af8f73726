"""The GraphQL face: stocks, a user's holdings and orders, what remains of a mandate, and the mutations on orders."""

import strawberry

from subgraphs.shared.errors import INVALID_REQUEST, Refusal
from subgraphs.shared.graphql import SubgraphSchema
from subgraphs.shared.graphql_types import (
    REPLAYED,
    Connection,
    DecimalText,
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
from subgraphs.stocks.schema_stocks import After, Authorization, Info, Stock, StockHolding, holding_node, stock_node
from subgraphs.stocks.service import PlacedOrder


@strawberry.type
class Query:
    """The root fields of stocks."""

    @strawberry.field(description="The stocks in the system, by symbol.")
    async def stocks(self, info: Info, first: int = 20, after: After = None) -> Connection[Stock] | None:
        """A page of stocks; public. Nullable, so that a client without an answer here still gets the others'."""
        page = await info.context.service.stocks.stocks(after=after, limit=first)
        return connection(page, stock_node, after=after)

    @strawberry.field(description="A stock, by its id or its symbol.")
    async def stock(self, info: Info, id: strawberry.ID | None = None, symbol: str | None = None) -> Stock | None:
        """One stock; public."""
        stocks = info.context.service.stocks
        if (id is None) is (symbol is None):
            raise Refusal(INVALID_REQUEST, "Name the stock by its id or by its symbol.")
        found = await (stocks.stocks_by_symbol([symbol]) if symbol is not None else stocks.stocks_by_id([str(id)]))
        stock = next(iter(found.values()), None)
        return None if stock is None else stock_node(stock)

    @strawberry.field(description="An order that the caller owns or has placed.")
    async def order(self, info: Info, id: strawberry.ID) -> Order | None:
        """One order; another's is not found."""
        order = await info.context.service.orders.order(info.context.user, id)
        return (await order_nodes(info, [order]))[order.id]

    @strawberry.field(description="One of the caller's holdings.")
    async def stockholding(self, info: Info, id: strawberry.ID) -> StockHolding | None:
        """One holding; another's is not found."""
        return holding_node(await info.context.service.stocks.holding(info.context.user, id))


@strawberry.input(
    description="An order to buy or sell. All types but MARKET are automated: they wait for their trigger."
)
class PlaceOrderInput:
    """What `placeOrder` takes."""

    stock_id: strawberry.ID
    side: Side
    quantity: DecimalText = strawberry.field(
        description="Of a broker's order so many that fees take at most 5 %; ORDER_TOO_SMALL names the least."
    )
    idempotency_key: str = strawberry.field(description="The same key and order again has no second effect.")
    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    limit_price: DecimalText | None = None
    stop_price: DecimalText | None = None
    expires_at: Timestamp | None = strawberry.field(default=None, description="For GTD.")
    authorization_id: strawberry.ID | None = strawberry.field(
        default=None, description="For brokers: the investor's authorization."
    )
    client_order_id: str | None = strawberry.field(default=None, description="The client's own name for the order.")


@strawberry.type(description="What became of an order.")
class PlaceOrderPayload:
    """The order and, if it was rejected, why; or why there is no order."""

    order: Order | None
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError]


@strawberry.input(description="Which order to cancel.")
class CancelOrderInput:
    """What `cancelOrder` takes."""

    id: strawberry.ID


@strawberry.type(description="What became of a cancellation.")
class CancelOrderPayload:
    """The order, or why it is not cancelled."""

    order: Order | None
    errors: list[MutationError]


@strawberry.input(description="The new amount of one open commitment.")
class SetCommitmentInput:
    """What `setCommitment` takes."""

    stockholding_id: strawberry.ID
    authorization_id: strawberry.ID
    committed_amount: DecimalText
    expected_version: int | None = strawberry.field(
        default=None, description="The holding's version as it was read; another one is refused."
    )


@strawberry.type(description="What became of a change of a commitment.")
class SetCommitmentPayload:
    """The holding, or why it is as it was."""

    stockholding: StockHolding | None
    errors: list[MutationError]


@strawberry.type
class Mutation:
    """The mutations of stocks."""

    @strawberry.mutation(description="Places an order and executes it if it can be executed at once.")
    async def place_order(self, info: Info, input: PlaceOrderInput) -> PlaceOrderPayload | None:
        """An order, once per idempotency key."""
        placed, errors, repeated = await attempt_once(_place(info, input))
        if placed is None:
            return PlaceOrderPayload(order=None, replayed=repeated, errors=errors)
        nodes = await order_nodes(info, [placed.answered])
        refused = [] if placed.rejection is None else mutation_errors(placed.rejection)
        return PlaceOrderPayload(order=nodes[placed.order.id], replayed=placed.replayed, errors=refused)

    @strawberry.mutation(description="Cancels an order that is not completed yet.")
    async def cancel_order(self, info: Info, input: CancelOrderInput) -> CancelOrderPayload | None:
        """A cancellation; a repetition answers alike."""
        order, errors = await attempt(info.context.service.saga.cancel(info.context.user, input.id))
        if order is None:
            return CancelOrderPayload(order=None, errors=errors)
        return CancelOrderPayload(order=(await order_nodes(info, [order]))[order.id], errors=[])

    @strawberry.mutation(description="Sets what an open commitment of one of the caller's holdings amounts to.")
    async def set_commitment(self, info: Info, input: SetCommitmentInput) -> SetCommitmentPayload | None:
        """The same as PUT /stockholdings/{id}."""
        holding, errors = await attempt(_recommit(info, input))
        return SetCommitmentPayload(stockholding=None if holding is None else holding_node(holding), errors=errors)


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
    query=Query, mutation=Mutation, types=[User, Authorization, Stock, StockHolding, Order, Statement]
)
