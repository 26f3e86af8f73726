"""The REST face: /balance and /transactions for users, PUT /balance for the other services."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, RootModel

from subgraphs.shared.app import IdempotencyKeyHeader, UserCaller, add_next_link, caller_of
from subgraphs.shared.auth import require_service
from subgraphs.shared.bodies import DecimalText, IdText, PageBody, RequestBody, ResponseBody, TimestampText, read_body
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_AMOUNT,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    NOT_FOUND,
    UNKNOWN_CURRENCY,
)
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.money import decimals_of, format_amount, parse_amount
from subgraphs.shared.problems import SIGNED_IN, problem_responses
from subgraphs.shared.routing import After, Limit, ServiceRoute
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.wallet.operations import Close, Commit, Credit, Hold, Operation, Post, Result, Void
from subgraphs.wallet.rules import (
    BALANCE_LIMIT,
    INSUFFICIENT_FUNDS,
    PERMITTED_OPERATIONS,
    Balance,
    Direction,
    Transaction,
    TransactionKind,
)
from subgraphs.wallet.service import WalletService

# ---- bodies for users ----


class BalanceBody(ResponseBody):
    """A user's money in one currency."""

    currency: str = Field(examples=["USD"], description="ISO 4217.")
    available: DecimalText = Field(description="May be spent or withdrawn.")
    committed: DecimalText = Field(description="Set aside for brokers by capital authorizations.")
    held: DecimalText = Field(description="Set aside for orders that are not settled.")
    total: DecimalText = Field(description="All of it.")

    @classmethod
    def of(cls, balance: Balance) -> "BalanceBody":
        """A balance on the wire."""
        names = ("available", "committed", "held", "total")
        amounts = {name: format_amount(getattr(balance, name), balance.currency) for name in names}
        return cls(currency=balance.currency, **amounts)


class BalancesBody(ResponseBody):
    """A user's money in every currency they ever had."""

    balances: list[BalanceBody]


class TransactionBody(ResponseBody):
    """One line of a user's list. Lines `in` and `out` add up to the total balance; `within` moves inside it."""

    id: IdText
    type: Literal["deposit", "withdraw"] | None = Field(description="As it was created; null for what a trade caused.")
    kind: TransactionKind
    direction: Direction
    currency: str = Field(examples=["USD"])
    amount: DecimalText
    order_id: IdText | None
    authorization_id: IdText | None
    created_at: TimestampText

    @classmethod
    def of(cls, transaction: Transaction) -> "TransactionBody":
        """A transaction on the wire."""
        kind = transaction.kind
        return cls(
            id=transaction.id,
            type=kind if kind == "deposit" or kind == "withdraw" else None,
            kind=kind,
            direction=transaction.direction,
            currency=transaction.currency,
            amount=format_amount(transaction.amount, transaction.currency),
            order_id=transaction.order_id,
            authorization_id=transaction.authorization_id,
            created_at=format_timestamp(transaction.created_at),
        )


class NewTransactionBody(RequestBody):
    """A deposit or a withdrawal."""

    type: Literal["deposit", "withdraw"]
    currency: str = Field(examples=["USD"], description="ISO 4217.")
    amount: DecimalText


# ---- bodies of system operations ----

_Uuid = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]


class _OperationBody(RequestBody):
    id: _Uuid
    investor_id: _Uuid
    currency: str

    def minor(self, field: str, *, zero_allowed: bool = False) -> int:
        """The amount in that member, in minor units; errors name the member as JSON spells it."""
        alias = type(self).model_fields[field].alias or field
        return parse_amount(getattr(self, field), self.currency, field=alias, zero_allowed=zero_allowed)


class HoldBody(_OperationBody):
    """`hold`: set money aside for an order."""

    op: Literal["hold"]
    amount: str
    authorization_id: _Uuid | None = None

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Hold(self.id, self.investor_id, self.currency, self.minor("amount"), self.authorization_id)


class _PaidBody(_OperationBody):
    fee: str = "0"
    broker_fee: str = "0"
    broker_id: _Uuid | None = None

    def fees(self) -> tuple[int, int]:
        """The house's fee and the broker's, in minor units."""
        return self.minor("fee", zero_allowed=True), self.minor("broker_fee", zero_allowed=True)


class PostBody(_PaidBody):
    """`post`: spend an order's hold. A small order may cost less than the smallest amount of money: zero."""

    op: Literal["post"]
    cost: str

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Post(
            self.id,
            self.investor_id,
            self.currency,
            self.minor("cost", zero_allowed=True),
            *self.fees(),
            self.broker_id,
        )


class VoidBody(_OperationBody):
    """`void`: give an order's hold back."""

    op: Literal["void"]

    def operation(self) -> Operation:
        """The operation."""
        decimals_of(self.currency)
        return Void(self.id, self.investor_id, self.currency)


class CreditBody(_PaidBody):
    """`credit`: pay an order's proceeds, which may be zero as a post's cost may."""

    op: Literal["credit"]
    proceeds: str
    authorization_id: _Uuid | None = None

    def operation(self) -> Operation:
        """The operation in minor units."""
        proceeds, target = self.minor("proceeds", zero_allowed=True), self.authorization_id
        return Credit(self.id, self.investor_id, self.currency, proceeds, *self.fees(), self.broker_id, target)


class CommitBody(_OperationBody):
    """`commit`: set money aside for a broker."""

    op: Literal["commit"]
    broker_id: _Uuid
    amount: str

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Commit(self.id, self.investor_id, self.broker_id, self.currency, self.minor("amount"))


class CloseBody(_OperationBody):
    """`close`: give back what remains of a commitment."""

    op: Literal["close"]
    broker_id: _Uuid

    def operation(self) -> Operation:
        """The operation."""
        decimals_of(self.currency)
        return Close(self.id, self.investor_id, self.broker_id, self.currency)


class SystemOperationBody(
    RootModel[
        Annotated[HoldBody | PostBody | VoidBody | CreditBody | CommitBody | CloseBody, Field(discriminator="op")]
    ]
):
    """Any of the six; `op` says which."""


def result_document(result: Result) -> dict[str, str]:
    """An operation's answer on the wire, the same for every repetition."""
    return {
        "op": result.op,
        "id": result.id,
        "status": result.status,
        "currency": result.currency,
        "amount": format_amount(result.amount, result.currency),
        "target": result.target,
    }


def routes(service: WalletService) -> APIRouter:
    """The wallet's routes over its service."""
    router = APIRouter()
    router.include_router(_balance_routes(service))
    router.include_router(_transaction_routes(service))
    return router


def _balance_routes(service: WalletService) -> APIRouter:
    router = APIRouter(route_class=ServiceRoute, tags=["Balance"])

    @router.get("/balance", summary="Returns a user's balance", responses=problem_responses(*SIGNED_IN))
    async def get_balance(caller: UserCaller) -> BalancesBody:
        """The caller's money per currency. The profile is at users' `GET /users/{userId}`; GraphQL joins the two."""
        balances = await service.balances(caller)
        return BalancesBody(balances=[BalanceBody.of(balance) for balance in balances])

    async def put_balance(request: Request) -> Response:
        caller = require_service(await caller_of(request), *PERMITTED_OPERATIONS)
        body = await read_body(request, SystemOperationBody)
        answered = await service.apply(caller, body.root.operation())
        headers = {"Idempotent-Replayed": "true"} if answered.replayed else None
        return Response(orjson.dumps(result_document(answered.result)), headers=headers, media_type="application/json")

    # A plain route: orders pay for it twice, and FastAPI's way to a handler costs a quarter of what the handler does.
    router.add_route("/balance", put_balance, methods=["PUT"], include_in_schema=False)
    return router


def _transaction_routes(service: WalletService) -> APIRouter:
    router = APIRouter(route_class=ServiceRoute, prefix="/transactions", tags=["Transactions"])

    @router.get(
        "",
        summary="Returns a user's transaction list",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_transactions(
        request: Request,
        response: Response,
        caller: UserCaller,
        kind: Annotated[TransactionKind | None, Query(description="Only lines of this kind.")] = None,
        after: After = None,
        limit: Limit = None,
    ) -> PageBody[TransactionBody]:
        """The caller's transactions, newest first."""
        page = await service.transactions(caller, kind=kind, after=after, limit=limit)
        add_next_link(request, response, page.next_cursor)
        items = [TransactionBody.of(transaction) for transaction in page.items]
        return PageBody[TransactionBody](items=items, next_cursor=page.next_cursor)

    @router.get(
        "/{transaction_id}",
        summary="Returns a user's transaction by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_transaction(caller: UserCaller, transaction_id: str) -> TransactionBody:
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
