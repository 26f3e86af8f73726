"""The REST face: /balance and /transactions for users, PUT /balance for the other services."""

from typing import Annotated, Any

import orjson
from fastapi import Path, Query, Request, Response

from subgraphs.shared.app import IdempotencyKeyHeader, UserCaller, add_next_link, caller_of
from subgraphs.shared.auth import require_service
from subgraphs.shared.bodies import PageBody, read_body
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_AMOUNT,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_REQUEST,
    NOT_FOUND,
    RESULT_TOO_LARGE,
    UNKNOWN_CURRENCY,
    FieldError,
    Refusal,
)
from subgraphs.shared.months import parse_month
from subgraphs.shared.problems import SIGNED_IN, problem_responses
from subgraphs.shared.routing import ID_SCHEMA, After, Limit, ServiceRouter
from subgraphs.shared.tables_as_csv import CSV_RESPONSE, MonthText, csv_response, wants_csv
from subgraphs.wallet.bodies import (
    STATEMENT_COLUMNS,
    BalanceBody,
    BalancesBody,
    CommitmentBody,
    NewTransactionBody,
    StatementBody,
    SystemOperationBody,
    TransactionBody,
    TransactionType,
    result_document,
    statement_rows,
)
from subgraphs.wallet.rules import (
    BALANCE_LIMIT,
    INSUFFICIENT_FUNDS,
    PERMITTED_OPERATIONS,
    TransactionKind,
)
from subgraphs.wallet.service import WalletService

TransactionId = Annotated[
    str, Path(alias="transactionId", description="The transaction's id.", json_schema_extra=ID_SCHEMA)
]
AuthorizationId = Annotated[
    str, Path(alias="authorizationId", description="The authorization's id.", json_schema_extra=ID_SCHEMA)
]
OfKind = Annotated[TransactionKind | None, Query(description="Only lines of this kind.")]
OfType = Annotated[TransactionType | None, Query(description="Only what was created so: `kind` by its other name.")]


def routes(service: WalletService) -> ServiceRouter:
    """The wallet's routes over its service."""
    return ServiceRouter().join(
        _balance_routes(service),
        _transaction_routes(service),
    )


def _balance_routes(service: WalletService) -> ServiceRouter:
    router = ServiceRouter("Balance")

    @router.get("/balance", summary="Returns a user's balance", responses=problem_responses(*SIGNED_IN))
    async def get_balance(caller: UserCaller) -> BalancesBody:
        """The caller's money per currency. The profile is at users' `GET /users/{userId}`; GraphQL joins the two."""
        balances = await service.balances(caller)
        return BalancesBody(balances=[BalanceBody.of(balance) for balance in balances])

    @router.get(
        "/balance/commitments/{authorizationId}",
        summary="Returns what remains of a capital authorization",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_commitment(caller: UserCaller, authorization_id: AuthorizationId) -> CommitmentBody:
        """The money that an authorization has set aside, for its investor and its broker.

        Any other is as if it did not exist, as is one of which nothing has been set aside. The authorization itself is
        at users' `GET /authorizations/{authorizationId}`; in GraphQL this is its `remainingCapital`.
        """
        return CommitmentBody.of(await service.commitment(caller, authorization_id))

    async def put_balance(request: Request) -> Response:
        caller = require_service(await caller_of(request), *PERMITTED_OPERATIONS)
        body = await read_body(request, SystemOperationBody)
        answered = await service.apply(caller, body.root.operation())
        headers = {"Idempotent-Replayed": "true"} if answered.replayed else None
        return Response(orjson.dumps(result_document(answered.result)), headers=headers, media_type="application/json")

    # A plain route: orders pay for it twice, and FastAPI's way to a handler costs a quarter of what the handler does.
    router.add_route("/balance", put_balance, methods=["PUT"], include_in_schema=False)
    return router


def _transaction_routes(service: WalletService) -> ServiceRouter:
    router = ServiceRouter("Transactions", prefix="/transactions")

    @router.get(
        "",
        summary="Returns a user's transaction list",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_transactions(
        request: Request,
        response: Response,
        caller: UserCaller,
        kind: OfKind = None,
        type: OfType = None,
        after: After = None,
        limit: Limit = None,
    ) -> PageBody[TransactionBody]:
        """The caller's transactions, newest first.

        `type` is what a transaction is created with, a deposit or a withdrawal. `kind` says it of every line, those
        too that trades and fees left. As filters they are one: with both, send the same.
        """
        if type is not None and kind not in (None, type):
            raise Refusal(INVALID_REQUEST, fields=[FieldError("type", "Send kind or type, or the same for both.")])
        page = await service.transactions(caller, kind=kind or type, after=after, limit=limit)
        add_next_link(request, response, page.next_cursor)
        items = [TransactionBody.of(transaction) for transaction in page.items]
        return PageBody[TransactionBody](items=items, next_cursor=page.next_cursor)

    @router.get(
        "/statement",
        summary="Returns a user's statement of a month",
        response_model=StatementBody,
        responses={**problem_responses(*SIGNED_IN, RESULT_TOO_LARGE), **CSV_RESPONSE},
    )
    async def get_statement(request: Request, response: Response, caller: UserCaller, month: MonthText) -> Any:
        """Opening and closing balance of every currency, and all bookings of the month, first one first."""
        statement = await service.statement(caller, parse_month(month))
        if wants_csv(request):
            return csv_response(f"wallet-{month}.csv", STATEMENT_COLUMNS, statement_rows(statement))
        response.headers["Vary"] = "Accept"
        return StatementBody.of(statement)

    @router.get(
        "/{transactionId}",
        summary="Returns a user's transaction by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_transaction(caller: UserCaller, transaction_id: TransactionId) -> TransactionBody:
        """One of the caller's transactions; another user's is as if it did not exist."""
        return TransactionBody.of(await service.transaction(caller, transaction_id))

    @router.post(
        "",
        status_code=201,
        summary="Creates a transaction: a deposit or a withdrawal",
        responses=problem_responses(
            *SIGNED_IN,
            INVALID_AMOUNT,
            UNKNOWN_CURRENCY,
            INSUFFICIENT_FUNDS,
            BALANCE_LIMIT,
            IDEMPOTENCY_KEY_REUSED,
            INVALID_IDEMPOTENCY_KEY,
            reads_body=True,
        ),
    )
    async def create_transaction(
        caller: UserCaller,
        body: NewTransactionBody,
        response: Response,
        key: IdempotencyKeyHeader = None,
    ) -> TransactionBody:
        """Deposits or withdraws the caller's money. A repetition answers alike, with `Idempotent-Replayed: true`."""
        moved = await service.move(caller, body.type, body.currency, body.amount, key=key)
        response.headers["Location"] = f"/transactions/{moved.transaction.id}"
        response.headers["Idempotency-Key"] = moved.key
        if moved.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return TransactionBody.of(moved.transaction)

    return router
