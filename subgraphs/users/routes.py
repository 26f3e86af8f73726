"""The REST face of accounts and keys, by the documented routes; those of authorizations are `routes_authorizations`."""

from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import SecretStr

from subgraphs.shared.app import (
    AnyCaller,
    ClientAddress,
    IdempotencyKeyHeader,
    UserCaller,
    add_idempotency_headers,
    add_next_link,
)
from subgraphs.shared.bodies import PageBody, body_of, read_body
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    NOT_FOUND,
    PRECONDITION_FAILED,
    TOO_MANY_REQUESTS,
)
from subgraphs.shared.etags import format_etag, parse_if_match
from subgraphs.shared.keys import JWK, VerifyingKey, jwk_set
from subgraphs.shared.problems import SIGNED_IN, problem_responses
from subgraphs.shared.routing import ID_SCHEMA, After, IfMatch, Limit, ServiceRouter
from subgraphs.users.bodies import (
    EndedSessionBody,
    LoginBody,
    LogoutBody,
    OpenSessionBody,
    ProfileBody,
    ProfileUpdateBody,
    RefreshBody,
    RegisterBody,
    SessionBody,
    UserBody,
    open_session_body,
    profile_body,
    user_body,
)
from subgraphs.users.routes_authorizations import authorization_routes
from subgraphs.users.rules import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    INVALID_REFRESH_TOKEN,
    PROFILE_NOT_YOURS,
    ProfileUpdate,
    Role,
    Session,
    User,
    checked_profile,
    checked_registration,
)
from subgraphs.users.service import UseCases
from subgraphs.users.service_users import UsersService

JWKS_AGE_S = 300

UserId = Annotated[str, Path(alias="userId", description="The user's id.", json_schema_extra=ID_SCHEMA)]
SessionId = Annotated[str, Path(alias="sessionId", description="The session's id.", json_schema_extra=ID_SCHEMA)]
OfType = Annotated[Role | None, Query(description="Only users of this kind.")]


def routes_of(use_cases: UseCases, published_keys: dict[str, VerifyingKey]) -> ServiceRouter:
    """The routes of the users service over its use cases."""
    return ServiceRouter().join(
        _account_routes(use_cases.accounts),
        _session_routes(use_cases.accounts),
        _user_routes(use_cases.accounts),
        authorization_routes(use_cases),
        _key_routes(published_keys),
    )


def _account_routes(service: UsersService) -> ServiceRouter:
    routes = ServiceRouter("Accounts")

    @routes.post(
        "/users/register",
        status_code=201,
        summary="Registers a user in the system",
        responses=problem_responses(
            EMAIL_TAKEN, IDEMPOTENCY_KEY_REUSED, INVALID_IDEMPOTENCY_KEY, TOO_MANY_REQUESTS, reads_body=True
        ),
    )
    async def register(
        body: RegisterBody, address: ClientAddress, response: Response, idempotency_key: IdempotencyKeyHeader = None
    ) -> ProfileBody:
        """An investor or a broker, chosen for good. A repetition answers alike, with `Idempotent-Replayed: true`."""
        registration = checked_registration(
            name=body.name, email=body.email, role=body.type, password=body.password.get_secret_value()
        )
        outcome = await service.register(registration, key=idempotency_key, address=address)
        add_idempotency_headers(response, outcome)
        response.headers["Location"] = f"/users/{outcome.value.id}"
        response.headers["ETag"] = format_etag(outcome.value.version)
        return profile_body(outcome.value)

    @routes.post(
        "/users/login",
        summary="Logs a user in to the system",
        responses=problem_responses(INVALID_CREDENTIALS, TOO_MANY_REQUESTS, reads_body=True),
    )
    async def login(body: LoginBody, address: ClientAddress, response: Response) -> SessionBody:
        """Starts a session: an access token for 15 minutes, and a refresh token to get the next one with."""
        session = await service.login(body.email, body.password.get_secret_value(), address=address)
        return _session_body(session, response)

    @routes.post(
        "/users/refresh",
        summary="Exchanges a refresh token for fresh tokens",
        responses=problem_responses(INVALID_REFRESH_TOKEN, reads_body=True),
    )
    async def refresh(body: RefreshBody, response: Response) -> SessionBody:
        """Goes on with a session. A refresh token works once; shown again after ten seconds, it ends its session."""
        return _session_body(await service.refresh(body.refresh_token.get_secret_value()), response)

    return routes


def _session_routes(service: UsersService) -> ServiceRouter:
    routes = ServiceRouter("Sessions")

    @routes.post(
        "/users/logout",
        status_code=204,
        summary="Logs a user out of the system",
        responses=problem_responses(*SIGNED_IN, reads_body=True),
    )
    async def logout(caller: UserCaller, body: LogoutBody) -> None:
        """Ends this session, or with `all` every one of the caller's. Their access tokens end within seconds, too."""
        await service.logout(caller, everywhere=body.all)

    @routes.get("/sessions", summary="Returns a user's sessions", responses=problem_responses(*SIGNED_IN))
    async def list_sessions(caller: UserCaller) -> PageBody[OpenSessionBody]:
        """The caller's logins that go on, the one used last first; all on one page."""
        items = [open_session_body(session, caller.session) for session in await service.sessions(caller)]
        return PageBody(items=items, next_cursor=None)

    @routes.delete(
        "/sessions/{sessionId}",
        status_code=204,
        summary="Ends one of a user's sessions",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def end_session(caller: UserCaller, session_id: SessionId) -> None:
        """One of the caller's own; one that has ended stays so."""
        await service.end_session(caller, session_id)

    @routes.get("/sessions/ended", include_in_schema=False)
    async def ended(caller: AnyCaller, after: Annotated[int, Query(ge=0)] = 0) -> PageBody[EndedSessionBody]:
        items = [EndedSessionBody(id=each, ended_at=at) for each, at in await service.ended_for(caller, after)]
        return PageBody(items=items, next_cursor=None)

    return routes


def _user_routes(service: UsersService) -> ServiceRouter:
    routes = ServiceRouter("Users")

    @routes.get(
        "/users",
        summary="Returns a list of users in the system",
        responses=problem_responses(*SIGNED_IN, INVALID_CURSOR),
    )
    async def list_users(
        caller: UserCaller,
        request: Request,
        response: Response,
        type: OfType = None,
        limit: Limit = None,
        after: After = None,
    ) -> PageBody[UserBody]:
        """What everybody may know of all users, the earliest registered first; `type` limits them to one kind."""
        page = await service.users(caller, role=type, limit=limit, after=after)
        add_next_link(request, response, page.next_cursor)
        return PageBody(items=[user_body(user) for user in page.items], next_cursor=page.next_cursor)

    @routes.get(
        "/users/{userId}",
        summary="Returns a user's profile by id",
        responses=problem_responses(*SIGNED_IN, NOT_FOUND),
    )
    async def get_user(caller: UserCaller, user_id: UserId, response: Response) -> ProfileBody | UserBody:
        """One's own whole profile, or what everybody may know of another user."""
        found = await service.user(caller, user_id)
        if found.email is None:
            return user_body(found)  # without the version, which counts another user's changes
        response.headers["ETag"] = format_etag(found.version)
        return profile_body(found)

    @routes.put(
        "/users/{userId}",
        summary="Updates a user's profile details",
        responses=problem_responses(
            *SIGNED_IN,
            PROFILE_NOT_YOURS,
            NOT_FOUND,
            EMAIL_TAKEN,
            PRECONDITION_FAILED,
            TOO_MANY_REQUESTS,
            reads_body=True,
        ),
        openapi_extra=body_of(ProfileUpdateBody),
    )
    async def update_user(
        caller: UserCaller, user_id: UserId, request: Request, response: Response, if_match: IfMatch = None
    ) -> ProfileBody:
        """One's own profile alone; what is absent stays as it is.

        A new password or e-mail address needs the current password, and ends all other sessions.
        """
        current = await service.own_profile(caller, user_id)
        body = await read_body(request, ProfileUpdateBody)
        updated = await service.update_profile(
            caller, user_id, _changed(current, body), expected_version=_expected_version(current, body, if_match)
        )
        response.headers["ETag"] = format_etag(updated.version)
        return profile_body(updated)

    return routes


def _key_routes(published_keys: dict[str, VerifyingKey]) -> ServiceRouter:
    routes = ServiceRouter("Keys")
    document = jwk_set(published_keys.values())

    @routes.get(
        "/.well-known/jwks.json",
        summary="Returns the public keys that verify access tokens",
        responses=problem_responses(),
    )
    async def get_keys(response: Response) -> dict[str, list[JWK]]:
        """A JWK set (RFC 7517)."""
        response.headers["Cache-Control"] = f"public, max-age={JWKS_AGE_S}"
        return document

    return routes


def _changed(current: User, body: ProfileUpdateBody) -> ProfileUpdate:
    assert current.email is not None, "a profile is its owner's"
    return checked_profile(
        name=current.name if body.name is None else body.name,
        email=current.email if body.email is None else body.email,
        current_password=_revealed(body.current_password),
        new_password=_revealed(body.new_password),
    )


def _expected_version(current: User, body: ProfileUpdateBody, if_match: str | None) -> int | None:
    if if_match is None and (body.name is None or body.email is None):
        return current.version  # what the body leaves out must not undo a change made since it was read here
    return parse_if_match(if_match)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _session_body(session: Session, response: Response) -> SessionBody:
    response.headers["Cache-Control"] = "no-store"
    return SessionBody(
        access_token=session.access_token,
        token_type="Bearer",  # noqa: S106  # the scheme's name
        expires_in=session.expires_in_s,
        refresh_token=session.refresh_token,
        user=profile_body(session.user),
    )
