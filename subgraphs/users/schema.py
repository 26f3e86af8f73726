"""The GraphQL face of the users service: what can be asked and changed.

`python -m subgraphs.users.schema` writes `schema.graphql` beside this file; a test proves that it is up to date.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from subgraphs.shared.graphql import RequestContext, SubgraphSchema, once_per_operation, write_sdl
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
    FirstOrDefault,
    MutationError,
    Timestamp,
    attempt,
    attempt_once,
    connection,
    mutation_errors,
)
from subgraphs.shared.idempotency import Outcome
from subgraphs.users import rules
from subgraphs.users.rules_authorizations import checked_mandate
from subgraphs.users.schema_users import Authorization, AuthorizationType, Info, OpenSession, Session, User, UserType
from subgraphs.users.service import UseCases
from subgraphs.users.service_authorizations import Creation


@strawberry.type(description="What became of a registration.")
class RegisterPayload:
    """The registered user, or why there is none."""

    user: User | None = strawberry.field(description="The new user; null where it was refused.")
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a login or a refresh.")
class SessionPayload:
    """The session, or why there is none."""

    session: Session | None = strawberry.field(description="The tokens; null where it was refused.")
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a logout.")
class LogoutPayload:
    """Why nothing ended, if so."""

    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a change of the profile.")
class UpdateProfilePayload:
    """The updated user, or why nothing was changed."""

    user: User | None = strawberry.field(description="The user as changed; null where it was refused.")
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a new authorization.")
class CreateAuthorizationPayload:
    """The authorization and, if it failed, why; or why there is none."""

    authorization: Authorization | None = strawberry.field(
        description="The authorization, beside its error where it is FAILED; null where there is none."
    )
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a revocation.")
class RevokeAuthorizationPayload:
    """The authorization, or why it is as it was."""

    authorization: Authorization | None = strawberry.field(
        description="The ended authorization; null where that was refused."
    )
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.input(description="A new user.")
class RegisterInput:
    """What `register` takes."""

    name: str = strawberry.field(description="1 to 100 printable characters; everybody sees it.")
    email: str = strawberry.field(description="Names the user at login; nobody else sees it. One user per address.")
    password: str = strawberry.field(description="12 to 128 characters.")
    type: UserType = strawberry.field(description="Chosen once; it never changes.")
    idempotency_key: str = strawberry.field(description=IDEMPOTENCY_KEY)


@strawberry.input(description="A user's credentials.")
class LoginInput:
    """What `login` takes."""

    email: str = strawberry.field(description="As registered, in capital or small letters.")
    password: str = strawberry.field(description="The current one.")


@strawberry.input(description="What to change of one's own profile; what is left out stays.")
class UpdateProfileInput:
    """What `updateProfile` takes."""

    name: str | None = strawberry.field(default=None, description="1 to 100 printable characters.")
    email: str | None = strawberry.field(
        default=None, description="The new address; it needs the current password, and ends all other sessions."
    )
    current_password: str | None = strawberry.field(
        default=None, description="Needed to change the password or the e-mail address."
    )
    new_password: str | None = strawberry.field(
        default=None, description="12 to 128 characters; it needs the current password, and ends all other sessions."
    )
    expected_version: int | None = strawberry.field(
        default=None,
        description="The profile's version as it was read; another one is refused. Without it, any is right.",
    )


@strawberry.input(description="A mandate for a broker, over money (`currency`) or over shares (`stockholdingId`).")
class CreateAuthorizationInput:
    """What `createAuthorization` takes."""

    type: AuthorizationType = strawberry.field(description="What it is over.")
    broker_id: strawberry.ID = strawberry.field(description="The id of the broker who may use it.")
    currency: str | None = strawberry.field(
        default=None, description="ISO 4217 code; of a capital authorization, and of no other."
    )
    stockholding_id: strawberry.ID | None = strawberry.field(
        default=None, description="One of the caller's own; of a stockholding authorization, and of no other."
    )
    amount: DecimalText = strawberry.field(
        description="Above zero: money in whole units of the currency, or a number of shares."
    )
    starts_at: Timestamp | None = strawberry.field(default=None, description="At once, if absent.")
    ends_at: Timestamp | None = strawberry.field(default=None, description="Until revoked, if absent.")
    idempotency_key: str = strawberry.field(description=IDEMPOTENCY_KEY)


@strawberry.input(description="Which mandate to end.")
class RevokeAuthorizationInput:
    """What `revokeAuthorization` takes."""

    id: strawberry.ID = strawberry.field(description="One that the caller gave.")
    cascade: bool = strawberry.field(
        default=True, description="Also end what the broker's orders turned it into; false keeps those."
    )


@strawberry.type(description=READS)
class Query:
    """What can be read."""

    @strawberry.field(description="The user who asks; null, with an error, without a token.")
    async def me(self, info: Info) -> User | None:
        """The viewer."""
        caller = info.context.user
        return User.of(await info.context.service.accounts.user(caller, caller.id))

    @strawberry.field(description="A user by id; null, with NOT_FOUND, where there is none. For any user.")
    async def user(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The user's id.")]
    ) -> User | None:
        """One user."""
        return User.of(await info.context.service.accounts.user(info.context.user, id))

    @strawberry.field(description="All users, the earliest registered first. For any user.")
    async def users(
        self,
        info: Info,
        type: Annotated[
            UserType | None, strawberry.argument(description="Of this type alone; without it, of both.")
        ] = None,
        first: FirstOrDefault = None,
        after: After = None,
    ) -> Connection[User] | None:
        """A page of users."""
        role: rules.Role | None = None if type is None else type.value
        page = await info.context.service.accounts.users(info.context.user, role=role, limit=first, after=after)
        return connection(page, User.of, after=after)

    @strawberry.field(
        description="An authorization that the viewer gave or received; null, with NOT_FOUND, where there is none."
    )
    async def authorization(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The authorization's id.")],
    ) -> Authorization | None:
        """One authorization."""
        return Authorization.of(await info.context.service.authorizations.authorization(info.context.user, id))

    @strawberry.field(description="The viewer's logins that go on, the one used last first.")
    async def sessions(self, info: Info) -> list[OpenSession] | None:
        """One's own sessions."""
        caller = info.context.user
        return [OpenSession.of(each, caller.session) for each in await info.context.service.accounts.sessions(caller)]


@strawberry.type(description=CHANGES)
class Mutation:
    """What can be changed."""

    @strawberry.mutation(description="Registers a user. One register, login or refresh per operation.")
    async def register(
        self, info: Info, input: Annotated[RegisterInput, strawberry.argument(description="Who registers.")]
    ) -> RegisterPayload | None:
        """Registers a user."""
        outcome, errors, repeated = await attempt_once(_register(info.context, input))
        if outcome is None:
            return RegisterPayload(user=None, replayed=repeated, errors=errors)
        return RegisterPayload(user=User.of(outcome.value), replayed=outcome.replayed, errors=errors)

    @strawberry.mutation(description="Starts a session with a password.")
    async def login(
        self, info: Info, input: Annotated[LoginInput, strawberry.argument(description="Who logs in.")]
    ) -> SessionPayload | None:
        """Logs a user in."""
        work = info.context.service.accounts.login(input.email, input.password, address=info.context.client_address)
        session, errors = await attempt(work)
        return SessionPayload(session=None if session is None else Session.of(session), errors=errors)

    @strawberry.mutation(description="Exchanges a refresh token for fresh tokens.")
    async def refresh(
        self,
        info: Info,
        refresh_token: Annotated[
            str, strawberry.argument(description="The `refreshToken` that login or refresh returned last.")
        ],
    ) -> SessionPayload | None:
        """Keeps a user logged in."""
        session, errors = await attempt(info.context.service.accounts.refresh(refresh_token))
        return SessionPayload(session=None if session is None else Session.of(session), errors=errors)

    @strawberry.mutation(description="Ends the viewer's session, or all of them; access tokens end within seconds.")
    async def logout(
        self,
        info: Info,
        all: Annotated[
            bool, strawberry.argument(description="Whether to end every session of the viewer, and not this one alone.")
        ] = False,
    ) -> LogoutPayload | None:
        """Logs a user out."""
        _, errors = await attempt(info.context.service.accounts.logout(info.context.user, everywhere=all))
        return LogoutPayload(errors=errors)

    @strawberry.mutation(description="Ends one of the viewer's sessions.")
    async def end_session(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The session's id.")]
    ) -> LogoutPayload | None:
        """The same as DELETE /sessions/{id}."""
        _, errors = await attempt(info.context.service.accounts.end_session(info.context.user, id))
        return LogoutPayload(errors=errors)

    @strawberry.mutation(description="Changes the viewer's own profile.")
    async def update_profile(
        self,
        info: Info,
        input: Annotated[UpdateProfileInput, strawberry.argument(description="What to change.")],
    ) -> UpdateProfilePayload | None:
        """Changes a profile."""
        user, errors = await attempt(_update_profile(info.context, input))
        return UpdateProfilePayload(user=user, errors=errors)

    @strawberry.mutation(
        description="Gives a broker a mandate. PENDING in the answer means that it becomes ACTIVE or FAILED by itself."
    )
    async def create_authorization(
        self,
        info: Info,
        input: Annotated[
            CreateAuthorizationInput, strawberry.argument(description="The mandate, created once per key.")
        ],
    ) -> CreateAuthorizationPayload | None:
        """Creates an authorization; one that failed is shown beside its error."""
        creation, errors, repeated = await attempt_once(_create_authorization(info.context, input))
        if creation is None:
            return CreateAuthorizationPayload(authorization=None, replayed=repeated, errors=errors)
        refused = [] if creation.refusal is None else mutation_errors(creation.refusal)
        authorization = Authorization.of(creation.authorization)
        return CreateAuthorizationPayload(authorization=authorization, replayed=creation.replayed, errors=refused)

    @strawberry.mutation(description="Ends a mandate for good. It counts at once, also while REVOKING.")
    async def revoke_authorization(
        self,
        info: Info,
        input: Annotated[RevokeAuthorizationInput, strawberry.argument(description="Which one.")],
    ) -> RevokeAuthorizationPayload | None:
        """Revokes an authorization."""
        authorization, errors = await attempt(_revoke_authorization(info.context, input))
        return RevokeAuthorizationPayload(authorization=authorization, errors=errors)


async def _register(context: RequestContext[UseCases], given: RegisterInput) -> Outcome[rules.User]:
    registration = rules.checked_registration(
        name=given.name, email=given.email, role=given.type.value, password=given.password
    )
    key, address = given.idempotency_key, context.client_address
    return await context.service.accounts.register(registration, key=key, address=address)


async def _update_profile(context: RequestContext[UseCases], given: UpdateProfileInput) -> User:
    caller = context.user
    current = await context.service.accounts.user(caller, caller.id)
    assert current.email is not None, "a profile is its owner's"
    profile = rules.checked_profile(
        name=current.name if given.name is None else given.name,
        email=current.email if given.email is None else given.email,
        current_password=given.current_password,
        new_password=given.new_password,
    )
    # Without an expected version the fields left out still must not undo a change made since they were read here.
    expected = current.version if given.expected_version is None else given.expected_version
    return User.of(await context.service.accounts.update_profile(caller, caller.id, profile, expected_version=expected))


async def _create_authorization(context: RequestContext[UseCases], given: CreateAuthorizationInput) -> Creation:
    caller = context.user  # who may not ask at all is told that first
    request = checked_mandate(
        type=given.type.value,
        broker_id=given.broker_id,
        currency=given.currency,
        stockholding_id=given.stockholding_id,
        amount=given.amount,
        starts_at=given.starts_at,
        ends_at=given.ends_at,
    )
    return await context.service.saga.create(caller, request, key=given.idempotency_key)


async def _revoke_authorization(context: RequestContext[UseCases], given: RevokeAuthorizationInput) -> Authorization:
    return Authorization.of(await context.service.saga.revoke(context.user, given.id, cascade=given.cascade))


@strawberry.type(description="That a mandate has changed.")
class AuthorizationEvent:
    """A change of a mandate that the caller gave or was given."""

    cursor: str = strawberry.field(description=CURSOR)
    missed: bool = strawberry.field(description=MISSED)
    authorization: Authorization | None = strawberry.field(description="The mandate as it stands; null if `missed`.")


@strawberry.type(description=TELLS)
class Subscription:
    """The subscriptions of users."""

    @strawberry.subscription(
        description="Each mandate that the caller gave or was given, when it changes. That its window begins is no "
        "event."
    )
    async def authorization_changed(
        self, info: Info, after: AfterEvent = None
    ) -> AsyncGenerator[AuthorizationEvent, None]:
        """The caller's mandates as they change."""
        async with aclosing(info.context.service.authorizations.changes(info.context.user, after)) as changes:
            async for change in changes:
                node = None if change.entity is None else Authorization.of(change.entity)
                yield AuthorizationEvent(cursor=change.cursor, missed=change.missed, authorization=node)


schema = SubgraphSchema(
    Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[User, Authorization],
    rules=[once_per_operation("register", "login", "refresh")],
)

if __name__ == "__main__":
    write_sdl(schema, __file__)
