"""The REST face: stocks for everybody, holdings for their users, and the market's system route."""

from dataclasses import replace
from typing import Annotated

from fastapi import Path, Query, Request, Response

from subgraphs.shared.app import AnyCaller, UserCaller
from subgraphs.shared.auth import ANONYMOUS, Caller, require_service, require_user
from subgraphs.shared.bodies import MomentText, PageBody, body_of, read_body
from subgraphs.shared.errors import (
    INVALID_CURSOR,
    INVALID_QUANTITY,
    NOT_FOUND,
    PRECONDITION_FAILED,
    TOO_MANY_REQUESTS,
)
from subgraphs.shared.etags import format_etag, parse_if_match
from subgraphs.shared.money import format_price, parse_price, parse_quantity
from subgraphs.shared.problems import SIGNED_IN, problem_responses
from subgraphs.shared.routing import ID_SCHEMA, After, IfMatch, Limit, ServiceRouter, json_response, page_response
from subgraphs.shared.server_sent_events import EVENTS_RESPONSE, EventStream, LastEventId, events_response
from subgraphs.shared.timestamps import format_timestamp, parse_timestamp
from subgraphs.stocks.bodies import (
    CommitmentBody,
    Document,
    HoldingBody,
    OpenBody,
    OperationBody,
    QuoteBody,
    RemainingSharesBody,
    StockBody,
    StoredTickBody,
    TickBody,
    commitment_document,
    holding_document,
    quote_document,
    remaining_document,
    stock_document,
    tick_document,
)
from subgraphs.stocks.routes_orders import order_routes
from subgraphs.stocks.rules import COMMITMENT_CLOSED, INSUFFICIENT_SHARES, UNKNOWN_AUTHORIZATION, UNKNOWN_STOCK, Holding
from subgraphs.stocks.service import UseCases
from subgraphs.stocks.service_market import PriceChange
from subgraphs.stocks.service_stocks import CommitmentRequest

StockId = Annotated[str, Path(alias="stockId", description="The stock's id.", json_schema_extra=ID_SCHEMA)]
StockholdingId = Annotated[
    str, Path(alias="stockholdingId", description="The stockholding's id.", json_schema_extra=ID_SCHEMA)
]
AuthorizationId = Annotated[
    str, Path(alias="authorizationId", description="The authorization's id.", json_schema_extra=ID_SCHEMA)
]
InvestorId = Annotated[str | None, Query(alias="investorId", include_in_schema=False)]
"""Users asks for the holding of the investor who gives a mandate."""
Symbols = Annotated[
    str | None,
    Query(
        description="The stocks with these symbols alone, with commas between them; without it, all.",
        json_schema_extra={"pattern": "^[A-Z]+(,[A-Z]+)*$"},
    ),
]
From = Annotated[
    MomentText | None, Query(alias="from", description="The first moment whose prices are wanted, RFC 3339.")
]
To = Annotated[MomentText | None, Query(alias="to", description="The first moment after those, RFC 3339.")]


def routes(use_cases: UseCases) -> ServiceRouter:
    """The service's routes over its use cases."""
    return ServiceRouter().join(
        _stock_routes(use_cases),
        _holding_routes(use_cases),
        order_routes(use_cases),
        _market_routes(use_cases),
    )


def _stock_routes(use_cases: UseCases) -> ServiceRouter:
    router = ServiceRouter("Stocks", prefix="/stocks")

    @router.get(
        "",
        summary="Returns a list of stocks in the system",
        response_model=PageBody[StockBody],
        responses=problem_responses(INVALID_CURSOR),
    )
    async def list_stocks(request: Request, after: After = None, limit: Limit = None) -> Response:
        """All stocks by symbol, with their latest prices. Public."""
        page = await use_cases.stocks.stocks(after=after, limit=limit)
        return page_response(request, [stock_document(stock) for stock in page.items], page.next_cursor)

    @router.get(
        "/ticks/stream",
        summary="Returns prices as they move, as a stream",
        response_class=EventStream,
        responses={**problem_responses(INVALID_CURSOR, UNKNOWN_STOCK, TOO_MANY_REQUESTS), **EVENTS_RESPONSE},
    )
    async def stream_ticks(request: Request, symbols: Symbols = None, last_event_id: LastEventId = None) -> Response:
        """Server-sent events `tick`, each a price with its `stockId` and `symbol`. Public.

        Of several moves of a price while nobody reads, the last is told. With `Last-Event-ID` come first the prices
        that have moved since. In GraphQL this is `priceTicked`.
        """
        wanted = None if symbols is None else symbols.split(",")
        changes = await use_cases.market.ticked(wanted, after=last_event_id)

        async def write(change: PriceChange) -> tuple[str, str, object]:
            return change.cursor, "tick", tick_document(change.stock)

        return events_response(request, ANONYMOUS, changes, write)

    @router.get(
        "/{stockId}",
        summary="Returns a stock by its id",
        response_model=StockBody,
        responses=problem_responses(NOT_FOUND),
    )
    async def get_stock(stock_id: StockId) -> Response:
        """A stock by its id, with its latest price. Public."""
        return json_response(stock_document(await use_cases.stocks.stock(stock_id)))

    @router.get(
        "/{stockId}/ticks",
        summary="Returns a list of a stock's prices",
        response_model=PageBody[QuoteBody],
        responses=problem_responses(INVALID_CURSOR, NOT_FOUND),
    )
    async def list_ticks(
        request: Request,
        stock_id: StockId,
        since: From = None,
        until: To = None,
        after: After = None,
        limit: Limit = None,
    ) -> Response:
        """A stock's prices, newest first, as far back as they are kept. Public."""
        page = await use_cases.stocks.ticks(
            stock_id,
            since=None if since is None else parse_timestamp(since, field="from"),
            until=None if until is None else parse_timestamp(until, field="to"),
            after=after,
            limit=limit,
        )
        return page_response(request, [quote_document(quote) for quote in page.items], page.next_cursor)

    return router


def _holding_routes(use_cases: UseCases) -> ServiceRouter:
    router = ServiceRouter("Stockholdings", prefix="/stockholdings")

    @router.get(
        "",
        summary="Returns a user's stockholding list",
        response_model=PageBody[HoldingBody],
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_stockholdings(
        request: Request, caller: UserCaller, after: After = None, limit: Limit = None
    ) -> Response:
        """The caller's holdings by symbol."""
        page = await use_cases.stocks.holdings(caller, after=after, limit=limit)
        return page_response(request, [holding_document(holding) for holding in page.items], page.next_cursor)

    @router.get(
        "/{stockholdingId}",
        summary="Returns a user's stockholding by id",
        response_model=HoldingBody,
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_stockholding(
        caller: AnyCaller, stockholding_id: StockholdingId, investor_id: InvestorId = None
    ) -> Response:
        """One of the caller's holdings; another user's is as if it did not exist."""
        return _holding(await use_cases.stocks.holding(caller, stockholding_id, investor_id=investor_id))

    @router.get(
        "/commitments/{authorizationId}",
        summary="Returns what remains of a stockholding authorization",
        response_model=RemainingSharesBody,
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_commitment(caller: UserCaller, authorization_id: AuthorizationId) -> Response:
        """The shares that an authorization has set aside, for its investor and its broker.

        Any other is as if it did not exist, as is one of which nothing has been set aside. The authorization itself is
        at users' `GET /authorizations/{authorizationId}`; in GraphQL this is its `remainingQuantity`.
        """
        return json_response(remaining_document(*await use_cases.stocks.commitment(caller, authorization_id)))

    @router.put(
        "/{stockholdingId}",
        summary="Updates commitedAmount, what is set aside for a broker",
        response_model=HoldingBody,
        responses=problem_responses(
            *SIGNED_IN,
            NOT_FOUND,
            PRECONDITION_FAILED,
            COMMITMENT_CLOSED,
            INSUFFICIENT_SHARES,
            INVALID_QUANTITY,
            UNKNOWN_AUTHORIZATION,
            reads_body=True,
        ),
        openapi_extra=body_of(CommitmentBody),
    )
    async def update_stockholding(
        caller: AnyCaller,
        request: Request,
        stockholding_id: StockholdingId,
        if_match: IfMatch = None,
    ) -> Response:
        """Sets the new amount of one open commitment of the caller's holding; the free shares must suffice."""
        if caller.kind == "service":
            return json_response(await _operate(use_cases, caller, stockholding_id, request))
        require_user(caller)
        body = await read_body(request, CommitmentBody, system_member="op")
        changed = await use_cases.stocks.set_commitment(
            caller, stockholding_id, body.authorization_id, body.amount(), expected_version=parse_if_match(if_match)
        )
        return _holding(changed)

    return router


async def _operate(use_cases: UseCases, caller: Caller, holding_id: str, request: Request) -> Document:
    """What users sends to the same route: open or close a commitment."""
    require_service(caller, "users")
    body = (await read_body(request, OperationBody)).root
    wanted = CommitmentRequest(body.authorization_id, holding_id, body.investor_id, body.broker_id)
    if isinstance(body, OpenBody):
        wanted = replace(wanted, amount=parse_quantity(body.amount, field="amount"))
        return commitment_document(await use_cases.stocks.open_commitment(caller, wanted))
    return commitment_document(await use_cases.stocks.close_commitment(caller, wanted))


def _holding(holding: Holding) -> Response:
    response = json_response(holding_document(holding))
    response.headers["ETag"] = format_etag(holding.version, bytes(response.body))
    return response


def _market_routes(use_cases: UseCases) -> ServiceRouter:
    router = ServiceRouter(prefix="/market", documented=False)

    @router.post("/ticks")
    async def post_tick(caller: AnyCaller, request: Request) -> StoredTickBody:
        require_service(caller, "stocks")
        body = await read_body(request, TickBody)
        bid, ask = parse_price(body.bid, field="bid"), parse_price(body.ask, field="ask")
        last = (bid + ask) // 2 if body.last is None else parse_price(body.last, field="last")
        stored = await use_cases.market.post_tick(caller, body.symbol, bid=bid, ask=ask, last=last, seq=body.seq)
        quote = stored.quote
        return StoredTickBody(
            symbol=stored.symbol,
            seq=quote.seq,
            bid=format_price(quote.bid),
            ask=format_price(quote.ask),
            last=format_price(quote.last),
            at=format_timestamp(quote.at),
            triggered=list(stored.triggered),
        )

    return router
