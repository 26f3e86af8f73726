"""The REST face of authorizations, by the routes of the documentation."""

from typing import Annotated

from fastapi import Path, Query, Request, Response

from subgraphs.shared.app import (
    AnyCaller,
    IdempotencyKeyHeader,
    UserCaller,
    add_idempotency_headers,
    add_next_link,
)
from subgraphs.shared.auth import require_service, require_user
from subgraphs.shared.bodies import PageBody, ResponseBody, body_of, read_body
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_AMOUNT,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_QUANTITY,
    INVALID_REQUEST,
    NOT_FOUND,
    UNKNOWN_CURRENCY,
    FieldError,
    Refusal,
)
from subgraphs.shared.idempotency import Outcome
from subgraphs.shared.money import parse_amount, parse_quantity
from subgraphs.shared.problems import SIGNED_IN, problem_for, problem_responses
from subgraphs.shared.routing import ID_SCHEMA, After, Limit, ServiceRouter
from subgraphs.shared.timestamps import parse_timestamp
from subgraphs.users.bodies import (
    AuthorizationBody,
    CreateAuthorizationBody,
    RolloverBody,
    authorization_body,
    rolled_over_body,
    verified_body,
)
from subgraphs.users.rules_authorizations import (
    AUTHORIZATION_ENDED,
    AUTHORIZATION_TIMED_OUT,
    DRIVEN_STATES,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_SHARES,
    INVALID_WINDOW,
    INVESTORS_ONLY,
    NOT_THE_INVESTOR,
    SELF_AUTHORIZATION,
    UNKNOWN_BROKER,
    UNKNOWN_STOCKHOLDING,
    AuthorizationType,
    MandateRequest,
    Rollover,
    Status,
    checked_mandate,
)
from subgraphs.users.service import UseCases

CREATION_REFUSALS = (
    INVESTORS_ONLY,
    SELF_AUTHORIZATION,
    UNKNOWN_BROKER,
    UNKNOWN_STOCKHOLDING,
    UNKNOWN_CURRENCY,
    INVALID_AMOUNT,
    INVALID_QUANTITY,
    INVALID_WINDOW,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_SHARES,
    AUTHORIZATION_ENDED,
    AUTHORIZATION_TIMED_OUT,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_IDEMPOTENCY_KEY,
)

AuthorizationId = Annotated[
    str, Path(alias="authorizationId", description="The authorization's id.", json_schema_extra=ID_SCHEMA)
]
OfStatus = Annotated[Status | None, Query(description="Only those that stand so.")]
OfType = Annotated[AuthorizationType | None, Query(description="Only those over money, or over shares.")]
Cascade = Annotated[
    bool, Query(description="Also end what the broker's orders turned the mandate into; false keeps those.")
]


def authorization_routes(use_cases: UseCases) -> ServiceRouter:
    """The documented routes of authorizations; two of them also answer stocks."""
    return ServiceRouter().join(
        _reading_routes(use_cases),
        _changing_routes(use_cases),
    )


def _reading_routes(use_cases: UseCases) -> ServiceRouter:
    routes = ServiceRouter("Authorizations")

    @routes.get(
        "/authorizations",
        summary="Returns a user's authorization list",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_authorizations(
        caller: UserCaller,
        request: Request,
        response: Response,
        status: OfStatus = None,
        type: OfType = None,
        limit: Limit = None,
        after: After = None,
    ) -> PageBody[AuthorizationBody]:
        """The mandates that the caller gave or, as a broker, was given; newest first."""
        page = await use_cases.authorizations.authorizations(caller, status=status, kind=type, limit=limit, after=after)
        add_next_link(request, response, page.next_cursor)
        items = [authorization_body(each, caller.id) for each in page.items]
        return PageBody(items=items, next_cursor=page.next_cursor)

    @routes.get(
        "/authorizations/{authorizationId}",
        summary="Returns an authorization's details by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
        response_model=AuthorizationBody,
    )
    async def get_authorization(caller: AnyCaller, authorization_id: AuthorizationId) -> Response:
        """A mandate that the caller gave or was given; any other is as if it did not exist."""
        if caller.kind == "service":
            verified = await use_cases.authorizations.verified_authorization(caller, authorization_id)
            return _json(verified_body(verified))
        found = await use_cases.authorizations.authorization(caller, authorization_id)
        return _json(authorization_body(found, caller.id))

    return routes


def _changing_routes(use_cases: UseCases) -> ServiceRouter:
    routes = ServiceRouter("Authorizations")

    @routes.post(
        "/authorizations",
        status_code=201,
        summary="Creates an authorization",
        response_model=AuthorizationBody,
        responses={
            202: {
                "model": AuthorizationBody,
                "description": "Accepted: by itself it becomes active, scheduled or failed.",
            },
            **problem_responses(*SIGNED_IN, *CREATION_REFUSALS, reads_body=True),
        },
        openapi_extra=body_of(CreateAuthorizationBody),
    )
    async def create_authorization(
        caller: AnyCaller, request: Request, idempotency_key: IdempotencyKeyHeader = None
    ) -> Response:
        """Sets money (`type` capital) or shares (stockholding) of the caller's aside for a broker to trade with.

        201 when it is active, or scheduled because `startsAt` is yet to come; 422 with `authorizationId` when it
        failed, 202 while it is none of these. A repetition with the same key and body gets the same final answer, with
        `Idempotent-Replayed: true`.
        """
        if caller.kind == "service":
            require_service(caller, "stocks")
            body = await read_body(request, RolloverBody)
            return _json(rolled_over_body(await use_cases.authorizations.roll_over(caller, _rollover(body))))
        require_user(caller)
        wanted = _mandate(await read_body(request, CreateAuthorizationBody, system_member="orderId"))
        creation = await use_cases.saga.create(caller, wanted, key=idempotency_key)
        if creation.refusal is not None:
            response = problem_for(request, creation.refusal)
        else:
            response = _json(authorization_body(creation.authorization, caller.id), 201 if creation.final else 202)
        response.headers["Location"] = f"/authorizations/{creation.authorization.id}"
        add_idempotency_headers(response, Outcome(None, creation.key, creation.replayed and creation.final))
        return response

    @routes.put(
        "/authorizations/{authorizationId}/revoke",
        summary="Revokes an authorization",
        response_model=AuthorizationBody,
        responses={
            202: {"model": AuthorizationBody, "description": "Revoked; what remains is given back by itself."},
            **problem_responses(*SIGNED_IN, NOT_FOUND, NOT_THE_INVESTOR),
        },
    )
    async def revoke_authorization(
        caller: UserCaller, authorization_id: AuthorizationId, cascade: Cascade = True
    ) -> Response:
        """Ends a mandate for good, with all that it rolled over into; what remains is the investor's again."""
        revoked = await use_cases.saga.revoke(caller, authorization_id, cascade=cascade)
        body = authorization_body(revoked, caller.id)
        if revoked.state not in DRIVEN_STATES:
            return _json(body)
        response = _json(body, 202)
        response.headers["Location"] = f"/authorizations/{revoked.id}"
        return response

    return routes


def _mandate(body: CreateAuthorizationBody) -> MandateRequest:
    return checked_mandate(
        type=body.type,
        broker_id=body.broker_id,
        currency=body.currency,
        stockholding_id=body.stockholding_id,
        amount=body.amount,
        starts_at=None if body.starts_at is None else parse_timestamp(body.starts_at, field="startsAt"),
        ends_at=None if body.ends_at is None else parse_timestamp(body.ends_at, field="endsAt"),
    )


def _rollover(body: RolloverBody) -> Rollover:
    """An order's rollover; one that brought nothing has the amount 0."""
    capital = body.type == "capital"
    if not capital and (body.stockholding_id is None or body.stock_id is None):
        raise Refusal(
            INVALID_REQUEST, fields=(FieldError("stockholdingId", "Shares belong to a holding and a stock."),)
        )
    if capital:
        amount = parse_amount(body.amount, body.currency, zero_allowed=True)
    else:
        amount = parse_quantity(body.amount, field="amount", zero_allowed=True)
    return Rollover(
        order_id=body.order_id,
        used_authorization_id=body.authorization_id,
        type=body.type,
        currency=body.currency if capital else None,
        stockholding_id=None if capital else body.stockholding_id,
        stock_id=None if capital else body.stock_id,
        amount=amount,
    )


def _json(body: ResponseBody, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")
