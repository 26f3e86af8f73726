"""The REST face of orders."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from subgraphs.shared.app import IdempotencyKeyHeader, UserCaller
from subgraphs.shared.bodies import PageBody
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_PRICE,
    INVALID_QUANTITY,
    NOT_FOUND,
    RESULT_TOO_LARGE,
    TOO_MANY_REQUESTS,
    ErrorCode,
)
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.money import parse_price, parse_quantity
from subgraphs.shared.months import parse_month
from subgraphs.shared.outbox import Change
from subgraphs.shared.problems import SIGNED_IN, problem_for, problem_responses
from subgraphs.shared.routing import ID_SCHEMA, After, Limit, ServiceRouter, json_response, page_response
from subgraphs.shared.server_sent_events import EVENTS_RESPONSE, EventStream, LastEventId, events_response
from subgraphs.shared.tables_as_csv import CSV_RESPONSE, MonthText, csv_response, wants_csv
from subgraphs.shared.timestamps import parse_timestamp
from subgraphs.stocks.bodies import (
    STATEMENT_COLUMNS,
    NewOrderBody,
    OrderBody,
    OrderChangeBody,
    StatementBody,
    order_document,
    statement_rows,
)
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    AUTHORIZATION_MISMATCH,
    AUTHORIZATION_NOT_ALLOWED,
    AUTHORIZATION_REQUIRED,
    AUTOMATED_ORDER_INVALID,
    CURRENCY_MISMATCH,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_LIQUIDITY,
    INSUFFICIENT_SHARES,
    MARKET_CLOSED,
    ORDER_COMPLETED,
    ORDER_FINAL,
    ORDER_TOO_SMALL,
    PRICE_MOVED,
    STALE_PRICE,
    UNKNOWN_AUTHORIZATION,
    UNKNOWN_STOCK,
)
from subgraphs.stocks.rules_intents import CLIENT_ORDER_ID_CHARACTERS_MAX, OrderIntent, checked
from subgraphs.stocks.rules_orders import Order, OrderFilter, OrderStatus, Side
from subgraphs.stocks.service import PlacedOrder, UseCases

PLACING_CODES: tuple[ErrorCode, ...] = (
    AUTHORIZATION_INACTIVE,
    AUTHORIZATION_MISMATCH,
    AUTHORIZATION_NOT_ALLOWED,
    AUTHORIZATION_REQUIRED,
    AUTOMATED_ORDER_INVALID,
    CURRENCY_MISMATCH,
    IDEMPOTENCY_KEY_REUSED,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_LIQUIDITY,
    INSUFFICIENT_SHARES,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_PRICE,
    INVALID_QUANTITY,
    MARKET_CLOSED,
    ORDER_TOO_SMALL,
    PRICE_MOVED,
    STALE_PRICE,
    TOO_MANY_REQUESTS,
    UNKNOWN_AUTHORIZATION,
    UNKNOWN_STOCK,
)
OrderId = Annotated[str, Path(alias="orderId", description="The order's id.", json_schema_extra=ID_SCHEMA)]
OfStatus = Annotated[OrderStatus | None, Query(description="Only orders that stand so.")]
OfStock = Annotated[
    str | None, Query(alias="stockId", description="Only orders of this stock.", pattern=f"^{ID_PATTERN}$")
]
OfSide = Annotated[Side | None, Query(description="Only orders to buy, or to sell.")]
OfClientOrderId = Annotated[
    str | None,
    Query(
        alias="clientOrderId",
        description="Only orders that their client called so.",
        min_length=1,
        max_length=CLIENT_ORDER_ID_CHARACTERS_MAX,
    ),
]
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": OrderBody,
        "description": "Not final yet: follow Location until `settledAt` is set.",
    }
}


def order_routes(use_cases: UseCases) -> ServiceRouter:
    """The routes under /orders."""
    router = ServiceRouter("Orders", prefix="/orders")

    @router.get(
        "",
        summary="Returns a user's order list",
        response_model=PageBody[OrderBody],
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_orders(
        request: Request,
        caller: UserCaller,
        status: OfStatus = None,
        stock_id: OfStock = None,
        side: OfSide = None,
        client_order_id: OfClientOrderId = None,
        after: After = None,
        limit: Limit = None,
    ) -> Response:
        """The orders that the caller owns or, as a broker, has placed; newest first."""
        wanted = OrderFilter(status=status, stock_id=stock_id, side=side, client_order_id=client_order_id)
        page = await use_cases.orders.orders(caller, wanted, after=after, limit=limit)
        return page_response(request, [order_document(order) for order in page.items], page.next_cursor)

    @router.get(
        "/statement",
        summary="Returns a user's statement of a month",
        response_model=StatementBody,
        responses={**problem_responses(*SIGNED_IN, RESULT_TOO_LARGE), **CSV_RESPONSE},
    )
    async def get_statement(request: Request, response: Response, caller: UserCaller, month: MonthText) -> Any:
        """The trades of the caller's own orders in the month, first one first, and what they come to."""
        statement = await use_cases.orders.statement(caller, parse_month(month))
        if wants_csv(request):
            return csv_response(f"trades-{month}.csv", STATEMENT_COLUMNS, statement_rows(statement))
        response.headers["Vary"] = "Accept"
        return StatementBody.of(statement)

    @router.get(
        "/stream",
        summary="Returns a user's orders as they change, as a stream",
        response_class=EventStream,
        responses={**problem_responses(*SIGNED_IN, INVALID_CURSOR, TOO_MANY_REQUESTS), **EVENTS_RESPONSE},
    )
    async def stream_orders(request: Request, caller: UserCaller, last_event_id: LastEventId = None) -> Response:
        """Server-sent events `order`, each an order that the caller owns or has placed, as it stands, when it changes.

        With `Last-Event-ID` comes first all that has changed since, once and in order; where some of it is no longer
        kept, an event `missed` says so: read anew what you show. The stream ends with its token, with an event `end`
        that has a `code`. In GraphQL this is `orderChanged`.
        """

        async def write(change: Change[Order]) -> tuple[str, str, object]:
            if change.entity is None:
                return change.cursor, "missed", {}
            return change.cursor, "order", order_document(change.entity)

        return events_response(request, caller, use_cases.orders.changes(caller, last_event_id), write)

    @router.get(
        "/{orderId}",
        summary="Returns a user's order by id",
        response_model=OrderBody,
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_order(caller: UserCaller, order_id: OrderId) -> Response:
        """An order that the caller owns or has placed; any other is as if it did not exist."""
        return json_response(order_document(await use_cases.orders.order(caller, order_id)))

    @router.post(
        "",
        status_code=201,
        summary="Creates an order to buy or sell stocks",
        response_model=OrderBody,
        responses={**problem_responses(*SIGNED_IN, *PLACING_CODES, reads_body=True), **_ACCEPTED},
    )
    async def place_order(
        request: Request,
        caller: UserCaller,
        body: NewOrderBody,
        key: IdempotencyKeyHeader = None,
    ) -> Response:
        """Places an order. Brokers name an `authorizationId`; only investors place automated orders, for themselves.

        201 when it is completed or working, 422 with `orderId` when it was rejected, 202 while it is neither. A
        repetition with the same key and body gets the same final answer, with `Idempotent-Replayed: true`. A broker's
        order whose fees would take too large a share is `order-too-small`, with the `smallestQuantity` that would do.
        """
        return _placed(request, await use_cases.place_order(caller, _intent(body), key))

    @router.put(
        "/{orderId}",
        summary="Updates an order's status: cancels it",
        response_model=OrderBody,
        responses={
            **problem_responses(
                *SIGNED_IN, NOT_FOUND, ORDER_COMPLETED, ORDER_FINAL, AUTHORIZATION_INACTIVE, reads_body=True
            ),
            **_ACCEPTED,
        },
    )
    async def update_order(caller: UserCaller, order_id: OrderId, _body: OrderChangeBody) -> Response:
        """Cancels an order that is not completed yet; a repetition answers alike."""
        order = await use_cases.saga.cancel(caller, order_id)
        if order.terminal:
            return json_response(order_document(order))
        return json_response(order_document(order), status=202, headers={"Location": f"/orders/{order.id}"})

    return router


def _intent(body: NewOrderBody) -> OrderIntent:
    return checked(
        OrderIntent(
            stock_id=body.stock_id,
            side=body.side,
            type=body.type,
            quantity=parse_quantity(body.quantity),
            time_in_force=body.time_in_force,
            limit_price=None if body.limit_price is None else parse_price(body.limit_price, field="limitPrice"),
            stop_price=None if body.stop_price is None else parse_price(body.stop_price, field="stopPrice"),
            expires_at=None if body.expires_at is None else parse_timestamp(body.expires_at, field="expiresAt"),
            authorization_id=body.authorization_id,
            client_order_id=body.client_order_id,
        )
    )


def _placed(request: Request, placed: PlacedOrder) -> Response:
    """The final answer, or 202 with the order as it stands."""
    order = placed.order
    if placed.rejection is not None:
        response = problem_for(request, placed.rejection)
    else:
        response = json_response(order_document(placed.answered), status=202 if order.answer is None else 201)
    response.headers["Location"] = f"/orders/{order.id}"
    response.headers["Idempotency-Key"] = placed.key
    if placed.replayed and response.status_code != 202:
        response.headers["Idempotent-Replayed"] = "true"
    return response
