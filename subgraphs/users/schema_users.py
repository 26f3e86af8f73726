"""The GraphQL types of the users subgraph, its entities included."""

from collections.abc import Callable
from enum import Enum
from typing import Self, TypeVar

import strawberry

from subgraphs.shared.errors import NOT_FOUND, ONLY_THE_USER, Refusal
from subgraphs.shared.graphql import RequestContext
from subgraphs.shared.graphql_types import (
    Connection,
    DecimalText,
    Timestamp,
    connection,
    invalid_key,
    keys_of,
)
from subgraphs.users import rules, rules_authorizations
from subgraphs.users.service import UseCases

E = TypeVar("E")
T = TypeVar("T")
Info = strawberry.Info[RequestContext[UseCases], None]


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
        accounts, caller = info.context.service.accounts, info.context.caller
        found = await accounts.users_by_id(caller, [each for each in ids if each is not None])
        return [_slot(each, found, cls.of) for each in ids]

    def _mine(self) -> rules.User:
        if self.own is None:
            raise Refusal(NOT_FOUND, ONLY_THE_USER)
        return self.own


@strawberry.type(description="A login that goes on.")
class OpenSession:
    """One of the viewer's own sessions."""

    id: strawberry.ID
    created_at: Timestamp = strawberry.field(description="When it began.")
    last_used_at: Timestamp = strawberry.field(description="When its tokens were last refreshed.")
    current: bool = strawberry.field(description="Whether the request's token belongs to it.")

    @classmethod
    def of(cls, session: rules.OpenSession, current: str | None) -> Self:
        """The GraphQL type of a session."""
        return cls(
            id=strawberry.ID(session.id),
            created_at=Timestamp(session.created_at),
            last_used_at=Timestamp(session.seen_at),
            current=session.id == current,
        )


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
    def of(cls, authorization: rules_authorizations.Authorization) -> Self:
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


def _slot(key: str | None, found: dict[str, E], of: Callable[[E], T]) -> T | Refusal | None:
    """What stands in a representation's slot of `_entities`."""
    if key is None:
        return invalid_key("id")
    return of(found[key]) if key in found else None
