"""The GraphQL face of the users service.

`python -m subgraphs.users.schema` writes `schema.graphql` beside this file; a test proves that it is up to date.
"""

from collections.abc import Callable
from enum import Enum
from typing import Self, TypeVar

import strawberry

from subgraphs.shared.errors import NOT_FOUND, Refusal
from subgraphs.shared.graphql import RequestContext, SubgraphSchema, once_per_operation, write_sdl
from subgraphs.shared.graphql_types import (
    Connection,
    DecimalText,
    MutationError,
    Timestamp,
    attempt,
    connection,
    invalid_key,
    keys_of,
)
from subgraphs.users import rules
from subgraphs.users.service import UsersService

E = TypeVar("E")
T = TypeVar("T")
Info = strawberry.Info[RequestContext[UsersService], None]


@strawberry.enum(description="What a user does here; chosen at registration.")
class UserType(Enum):
    """A user's role."""

    INVESTOR = "investor"
    BROKER = "broker"


@strawberry.enum(description="What an authorization is over.")
class AuthorizationType(Enum):
    """Money of one currency, or shares of one stock."""

    CAPITAL = "capital"
    STOCKHOLDING = "stockholding"


@strawberry.enum(description="Where an authorization stands.")
class AuthorizationStatus(Enum):
    """The public statuses."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    REVOKING = "revoking"
    REVOKED = "revoked"
    EXPIRED = "expired"


@strawberry.federation.type(keys=["id"], description="A user. Names are not verified: tell users apart by id.")
class User:
    """A user; e-mail address, version and authorizations are the user's own to see."""

    id: strawberry.ID
    name: str
    type: UserType
    registered_at: Timestamp
    own: strawberry.Private[rules.User | None]

    @classmethod
    def of(cls, user: rules.User) -> Self:
        """The GraphQL type of an entity, as its viewer got it."""
        return cls(
            id=strawberry.ID(user.id),
            name=user.name,
            type=UserType(user.type),
            registered_at=Timestamp(user.registered_at),
            own=user if user.email is not None else None,
        )

    @strawberry.field(description="Visible to the user alone.")
    def email(self) -> str | None:
        """The e-mail address."""
        return self._mine().email

    @strawberry.field(
        description="What `expectedVersion` of updateProfile is compared with; visible to the user alone."
    )
    def version(self) -> int | None:
        """The profile's version."""
        return self._mine().version

    @strawberry.field(description="The mandates this user gave or received, newest first; visible to the user alone.")
    async def authorizations(
        self,
        info: Info,
        status: AuthorizationStatus | None = None,
        type: AuthorizationType | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> "Connection[Authorization] | None":
        """The user's own authorizations."""
        self._mine()
        context = info.context
        page = await context.service.authorizations.authorizations(
            context.caller,
            status=None if status is None else status.value,
            kind=None if type is None else type.value,
            limit=first,
            after=after,
        )
        return connection(page, Authorization.of, after=after)

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, object]]
    ) -> list[Self | Refusal | None]:
        """The users of these representations, all in one statement."""
        ids = keys_of(representations, "id")
        found = await info.context.service.users_by_id(info.context.caller, [each for each in ids if each is not None])
        return [_slot(each, found, cls.of) for each in ids]

    def _mine(self) -> rules.User:
        if self.own is None:
            raise Refusal(NOT_FOUND, "Only the user himself may see this.")
        return self.own


@strawberry.federation.type(keys=["id"], description="A mandate that an investor gives a broker.")
class Authorization:
    """An authorization, visible to its two parties alone."""

    id: strawberry.ID
    type: AuthorizationType
    status: AuthorizationStatus
    investor: User
    broker: User
    currency: str | None = strawberry.field(description="Of a capital authorization.")
    amount: DecimalText = strawberry.field(description="What was granted in all: money, or a number of shares.")
    starts_at: Timestamp
    ends_at: Timestamp | None
    created_at: Timestamp
    failure_code: str | None = strawberry.field(description="Why it failed, if it did.")
    parent_id: strawberry.ID | None = strawberry.field(
        description="The authorization whose order rolled over into this one."
    )

    @classmethod
    def of(cls, authorization: rules.Authorization) -> Self:
        """The GraphQL type of an entity."""
        parent_id, failure = authorization.parent_id, authorization.failure_code
        return cls(
            id=strawberry.ID(authorization.id),
            type=AuthorizationType(authorization.type),
            status=AuthorizationStatus(authorization.status),
            investor=User.of(authorization.investor),
            broker=User.of(authorization.broker),
            currency=authorization.currency,
            amount=DecimalText(authorization.granted),
            starts_at=Timestamp(authorization.starts_at),
            ends_at=None if authorization.ends_at is None else Timestamp(authorization.ends_at),
            created_at=Timestamp(authorization.created_at),
            failure_code=None if failure is None else failure.replace("-", "_").upper(),
            parent_id=None if parent_id is None else strawberry.ID(parent_id),
        )

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, object]]
    ) -> list[Self | Refusal | None]:
        """The authorizations of these representations that the viewer is a party of, all in one statement."""
        ids = keys_of(representations, "id")
        service, caller = info.context.service.authorizations, info.context.caller
        found = await service.authorizations_by_id(caller, [each for each in ids if each is not None])
        return [_slot(each, found, cls.of) for each in ids]


@strawberry.type(description="Tokens. Send the access token as `Authorization: Bearer <token>`.")
class Session:
    """A fresh pair of tokens."""

    access_token: str
    expires_in: int = strawberry.field(description="Seconds until the access token expires.")
    refresh_token: str = strawberry.field(description="Works once: `refresh` returns the next one.")
    user: User

    @classmethod
    def of(cls, session: rules.Session) -> Self:
        """The GraphQL type of an entity."""
        return cls(
            access_token=session.access_token,
            expires_in=session.expires_in_s,
            refresh_token=session.refresh_token,
            user=User.of(session.user),
        )


@strawberry.type
class RegisterPayload:
    """The registered user, or why there is none."""

    user: User | None
    errors: list[MutationError]


@strawberry.type
class SessionPayload:
    """The session, or why there is none."""

    session: Session | None
    errors: list[MutationError]


@strawberry.type
class UpdateProfilePayload:
    """The updated user, or why nothing was changed."""

    user: User | None
    errors: list[MutationError]


@strawberry.input
class RegisterInput:
    """A new user."""

    name: str
    email: str
    password: str = strawberry.field(description="12 to 128 characters.")
    type: UserType
    idempotency_key: str = strawberry.field(description="Repeat it to repeat the request safely.")


@strawberry.input
class LoginInput:
    """A user's credentials."""

    email: str
    password: str


@strawberry.input
class UpdateProfileInput:
    """What to change of one's own profile; what is left out stays."""

    name: str | None = None
    email: str | None = None
    current_password: str | None = strawberry.field(default=None, description="Needed to choose a new one.")
    new_password: str | None = None
    expected_version: int | None = strawberry.field(default=None, description="Refused if the version is another.")


@strawberry.type
class Query:
    """What can be read."""

    @strawberry.field(description="The user who asks; null, with an error, without a token.")
    async def me(self, info: Info) -> User | None:
        """The viewer."""
        caller = info.context.user
        return User.of(await info.context.service.user(caller, caller.id))

    @strawberry.field(description="A user by id.")
    async def user(self, info: Info, id: strawberry.ID) -> User | None:
        """One user."""
        return User.of(await info.context.service.user(info.context.user, id))

    @strawberry.field(description="All users, the earliest registered first.")
    async def users(
        self,
        info: Info,
        type: UserType | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> Connection[User] | None:
        """A page of users."""
        role: rules.Role | None = None if type is None else type.value
        page = await info.context.service.users(info.context.user, role=role, limit=first, after=after)
        return connection(page, User.of, after=after)

    @strawberry.field(description="An authorization that the viewer gave or received, by id.")
    async def authorization(
        self,
        info: Info,
        id: strawberry.ID,
    ) -> Authorization | None:
        """One authorization."""
        return Authorization.of(await info.context.service.authorizations.authorization(info.context.user, id))


@strawberry.type
class Mutation:
    """What can be changed."""

    @strawberry.mutation(description="Registers a user. One register, login or refresh per operation.")
    async def register(self, info: Info, input: RegisterInput) -> RegisterPayload:
        """Registers a user."""
        user, errors = await attempt(_register(info.context, input))
        return RegisterPayload(user=user, errors=errors)

    @strawberry.mutation(description="Starts a session with a password.")
    async def login(self, info: Info, input: LoginInput) -> SessionPayload:
        """Logs a user in."""
        work = info.context.service.login(input.email, input.password, address=info.context.client_address)
        session, errors = await attempt(work)
        return SessionPayload(session=None if session is None else Session.of(session), errors=errors)

    @strawberry.mutation(description="Exchanges a refresh token for fresh tokens.")
    async def refresh(self, info: Info, refresh_token: str) -> SessionPayload:
        """Keeps a user logged in."""
        session, errors = await attempt(info.context.service.refresh(refresh_token))
        return SessionPayload(session=None if session is None else Session.of(session), errors=errors)

    @strawberry.mutation(description="Changes the viewer's own profile.")
    async def update_profile(
        self,
        info: Info,
        input: UpdateProfileInput,
    ) -> UpdateProfilePayload:
        """Changes a profile."""
        user, errors = await attempt(_update_profile(info.context, input))
        return UpdateProfilePayload(user=user, errors=errors)


async def _register(context: RequestContext[UsersService], given: RegisterInput) -> User:
    registration = rules.checked_registration(
        name=given.name, email=given.email, role=given.type.value, password=given.password
    )
    key, address = given.idempotency_key, context.client_address
    return User.of((await context.service.register(registration, key=key, address=address)).value)


async def _update_profile(context: RequestContext[UsersService], given: UpdateProfileInput) -> User:
    caller = context.user
    current = await context.service.user(caller, caller.id)
    assert current.email is not None, "a profile is its owner's"
    profile = rules.checked_profile(
        name=current.name if given.name is None else given.name,
        email=current.email if given.email is None else given.email,
        current_password=given.current_password,
        new_password=given.new_password,
    )
    # Without an expected version the fields left out still must not undo a change made since they were read here.
    expected = current.version if given.expected_version is None else given.expected_version
    return User.of(await context.service.update_profile(caller, caller.id, profile, expected_version=expected))


def _slot(key: str | None, found: dict[str, E], of: Callable[[E], T]) -> T | Refusal | None:
    """What stands in a representation's slot of `_entities`."""
    if key is None:
        return invalid_key("id")
    return of(found[key]) if key in found else None


schema = SubgraphSchema(
    Query, mutation=Mutation, types=[User, Authorization], rules=[once_per_operation("register", "login", "refresh")]
)

if __name__ == "__main__":
    write_sdl(schema, __file__)
