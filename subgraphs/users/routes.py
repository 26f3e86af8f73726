"""The REST face of the users service, by the routes of its documentation."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field, SecretStr

from subgraphs.shared.app import (
    AnyCaller,
    ClientAddress,
    IdempotencyKeyHeader,
    UserCaller,
    add_idempotency_headers,
    add_next_link,
)
from subgraphs.shared.bodies import DecimalText, IdText, PageBody, RequestBody, ResponseBody, TimestampText
from subgraphs.shared.errors import (
    EXPIRED_TOKEN,
    FORBIDDEN,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_CURSOR,
    INVALID_TOKEN,
    NOT_FOUND,
    PRECONDITION_FAILED,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    UNAVAILABLE,
)
from subgraphs.shared.etags import format_etag, parse_if_match
from subgraphs.shared.keys import JWK, VerifyingKey, jwk_set
from subgraphs.shared.problems import problem_responses
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.users.rules import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    INVALID_REFRESH_TOKEN,
    PROFILE_NOT_YOURS,
    Authorization,
    AuthorizationType,
    Role,
    Session,
    Status,
    User,
    checked_profile,
    checked_registration,
)
from subgraphs.users.service import UsersService

SIGNED_IN = (UNAUTHENTICATED, INVALID_TOKEN, EXPIRED_TOKEN, FORBIDDEN, UNAVAILABLE)
JWKS_AGE_S = 300


class RegisterBody(RequestBody):
    """A new user."""

    name: str = Field(examples=["Alice Example"])
    email: str = Field(examples=["alice@example.com"])
    password: SecretStr = Field(description="12 to 128 characters.", examples=["correct horse battery"])
    type: Role = Field(description="Chosen once; it never changes.")


class LoginBody(RequestBody):
    """A user's credentials."""

    email: str = Field(examples=["alice@example.com"])
    password: SecretStr = Field(examples=["correct horse battery"])


class RefreshBody(RequestBody):
    """A refresh token; it works once."""

    refresh_token: SecretStr


class ProfileUpdateBody(RequestBody):
    """The whole new profile. To change the password send the current and the new one."""

    name: str = Field(examples=["Alice Example"])
    email: str = Field(examples=["alice@example.com"])
    current_password: SecretStr | None = None
    new_password: SecretStr | None = None


class UserBody(ResponseBody):
    """What everybody may know of a user. Names are not verified."""

    id: IdText
    name: str
    type: Role
    registered_at: TimestampText


class ProfileBody(UserBody):
    """A user's own profile."""

    email: str


class SessionBody(ResponseBody):
    """Tokens. Send the access token as `Authorization: Bearer <token>`."""

    access_token: str
    token_type: str = Field(examples=["Bearer"])
    expires_in: int = Field(description="Seconds until the access token expires.", examples=[900])
    refresh_token: str = Field(description="Works once: POST /users/refresh returns the next one.")
    user: ProfileBody


class AuthorizationBody(ResponseBody):
    """A mandate as one of its parties sees it. The broker does not see which holding it is on, only the stock."""

    id: IdText
    type: AuthorizationType
    status: Status
    investor: UserBody
    broker: UserBody
    currency: str | None
    stock_id: IdText | None
    stockholding_id: IdText | None
    amount: DecimalText
    starts_at: TimestampText
    ends_at: TimestampText | None
    created_at: TimestampText
    parent_id: IdText | None = Field(description="The authorization whose order rolled over into this one.")
    failure_code: str | None = Field(description="Why it failed, if it did.")


class VerifiedAuthorizationBody(ResponseBody):
    """A mandate as stocks verifies it before a broker's order."""

    id: str
    root_id: str
    type: AuthorizationType
    status: Status
    investor_id: str
    broker_id: str
    currency: str | None
    stockholding_id: str | None
    stock_id: str | None
    starts_at: str
    ends_at: str | None


IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag that was read; a newer version answers 412.")
]
Limit = Annotated[int | None, Field(description="Items per page, 20 if absent, at most 100.")]
After = Annotated[str | None, Field(description="The nextCursor of the page before.")]


def routes_of(service: UsersService, published_keys: dict[str, VerifyingKey]) -> APIRouter:
    """The routes of the users service over one service object."""
    routes = APIRouter()
    routes.include_router(_account_routes(service))
    routes.include_router(_user_routes(service))
    routes.include_router(_authorization_routes(service))
    routes.include_router(_key_routes(published_keys))
    return routes


def _account_routes(service: UsersService) -> APIRouter:
    routes = APIRouter(tags=["Accounts"])

    @routes.post(
        "/users/register",
        status_code=201,
        summary="Registers a user in the system",
        responses=problem_responses(EMAIL_TAKEN, IDEMPOTENCY_KEY_REUSED, TOO_MANY_REQUESTS, UNAVAILABLE),
    )
    async def register(
        body: RegisterBody, address: ClientAddress, response: Response, idempotency_key: IdempotencyKeyHeader = None
    ) -> ProfileBody:
        registration = checked_registration(
            name=body.name, email=body.email, role=body.type, password=body.password.get_secret_value()
        )
        outcome = await service.register(registration, key=idempotency_key, address=address)
        add_idempotency_headers(response, outcome)
        response.headers["Location"] = f"/users/{outcome.value.id}"
        response.headers["ETag"] = format_etag(outcome.value.version)
        return _profile_body(outcome.value)

    @routes.post(
        "/users/login",
        summary="Logins a user in the system",
        responses=problem_responses(INVALID_CREDENTIALS, TOO_MANY_REQUESTS, UNAVAILABLE),
    )
    async def login(body: LoginBody, address: ClientAddress, response: Response) -> SessionBody:
        session = await service.login(body.email, body.password.get_secret_value(), address=address)
        return _session_body(session, response)

    @routes.post(
        "/users/refresh",
        summary="Exchanges a refresh token for fresh tokens",
        responses=problem_responses(INVALID_REFRESH_TOKEN, UNAVAILABLE),
    )
    async def refresh(body: RefreshBody, response: Response) -> SessionBody:
        return _session_body(await service.refresh(body.refresh_token.get_secret_value()), response)

    return routes


def _user_routes(service: UsersService) -> APIRouter:
    routes = APIRouter(tags=["Users"])

    @routes.get(
        "/users",
        summary="Returns a list of users in the system",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def users(
        caller: UserCaller,
        request: Request,
        response: Response,
        type: Role | None = None,
        limit: Limit = None,
        after: After = None,
    ) -> PageBody[UserBody]:
        page = await service.users(caller, role=type, limit=limit, after=after)
        add_next_link(request, response, page.next_cursor)
        return PageBody(items=[_user_body(user) for user in page.items], next_cursor=page.next_cursor)

    @routes.get(
        "/users/{user_id}",
        summary="Returns a user's profile by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def user(caller: UserCaller, user_id: str, response: Response) -> ProfileBody | UserBody:
        found = await service.user(caller, user_id)
        response.headers["ETag"] = format_etag(found.version)
        return _user_body(found) if found.email is None else _profile_body(found)

    @routes.put(
        "/users/{user_id}",
        summary="Updates user's profile details",
        responses=problem_responses(*SIGNED_IN, PROFILE_NOT_YOURS, NOT_FOUND, EMAIL_TAKEN, PRECONDITION_FAILED),
    )
    async def update(
        caller: UserCaller, user_id: str, body: ProfileUpdateBody, response: Response, if_match: IfMatch = None
    ) -> ProfileBody:
        profile = checked_profile(
            name=body.name,
            email=body.email,
            current_password=_revealed(body.current_password),
            new_password=_revealed(body.new_password),
        )
        updated = await service.update_profile(caller, user_id, profile, expected_version=parse_if_match(if_match))
        response.headers["ETag"] = format_etag(updated.version)
        return _profile_body(updated)

    return routes


def _authorization_routes(service: UsersService) -> APIRouter:
    routes = APIRouter(tags=["Authorizations"])

    @routes.get(
        "/authorizations",
        summary="Returns a user's authorizations list",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def authorizations(
        caller: UserCaller,
        request: Request,
        response: Response,
        status: Status | None = None,
        type: AuthorizationType | None = None,
        limit: Limit = None,
        after: After = None,
    ) -> PageBody[AuthorizationBody]:
        page = await service.authorizations.authorizations(caller, status=status, kind=type, limit=limit, after=after)
        add_next_link(request, response, page.next_cursor)
        items = [_authorization_body(each, caller.id) for each in page.items]
        return PageBody(items=items, next_cursor=page.next_cursor)

    @routes.get(
        "/authorizations/{authorization_id}",
        summary="Returns authorization's details by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
        response_model=AuthorizationBody,
    )
    async def authorization(caller: AnyCaller, authorization_id: str) -> Response:
        if caller.kind == "service":
            verified = await service.authorizations.verified_authorization(caller, authorization_id)
            return _json(_verified_body(verified))
        found = await service.authorizations.authorization(caller, authorization_id)
        return _json(_authorization_body(found, caller.id))

    return routes


def _key_routes(published_keys: dict[str, VerifyingKey]) -> APIRouter:
    routes = APIRouter(tags=["Keys"])
    document = jwk_set(published_keys.values())

    @routes.get("/.well-known/jwks.json", summary="The public keys that verify access tokens (RFC 7517)")
    async def jwks(response: Response) -> dict[str, list[JWK]]:
        response.headers["Cache-Control"] = f"public, max-age={JWKS_AGE_S}"
        return document

    return routes


def _json(body: ResponseBody) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _user_body(user: User) -> UserBody:
    return UserBody(id=user.id, name=user.name, type=user.type, registered_at=format_timestamp(user.registered_at))


def _profile_body(user: User) -> ProfileBody:
    assert user.email is not None, "a profile is its owner's"
    return ProfileBody(
        id=user.id,
        name=user.name,
        type=user.type,
        registered_at=format_timestamp(user.registered_at),
        email=user.email,
    )


def _session_body(session: Session, response: Response) -> SessionBody:
    response.headers["Cache-Control"] = "no-store"
    return SessionBody(
        access_token=session.access_token,
        token_type="Bearer",  # noqa: S106  # the scheme's name
        expires_in=session.expires_in_s,
        refresh_token=session.refresh_token,
        user=_profile_body(session.user),
    )


def _authorization_body(authorization: Authorization, viewer_id: str) -> AuthorizationBody:
    is_investor = viewer_id == authorization.investor.id
    return AuthorizationBody(
        id=authorization.id,
        type=authorization.type,
        status=authorization.status,
        investor=_user_body(authorization.investor),
        broker=_user_body(authorization.broker),
        currency=authorization.currency,
        stock_id=authorization.stock_id,
        stockholding_id=authorization.stockholding_id if is_investor else None,
        amount=authorization.granted,
        starts_at=format_timestamp(authorization.starts_at),
        ends_at=None if authorization.ends_at is None else format_timestamp(authorization.ends_at),
        created_at=format_timestamp(authorization.created_at),
        parent_id=authorization.parent_id,
        failure_code=authorization.failure_code,
    )


def _verified_body(authorization: Authorization) -> VerifiedAuthorizationBody:
    return VerifiedAuthorizationBody(
        id=authorization.id,
        root_id=authorization.root_id,
        type=authorization.type,
        status=authorization.status,
        investor_id=authorization.investor.id,
        broker_id=authorization.broker.id,
        currency=authorization.currency,
        stockholding_id=authorization.stockholding_id,
        stock_id=authorization.stock_id,
        starts_at=format_timestamp(authorization.starts_at),
        ends_at=None if authorization.ends_at is None else format_timestamp(authorization.ends_at),
    )
