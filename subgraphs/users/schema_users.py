"""The GraphQL types of the users subgraph, its entities included."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Self, TypeVar

import strawberry

from subgraphs.shared.errors import NOT_FOUND, ONLY_THE_USER, Refusal
from subgraphs.shared.graphql import RequestContext
from subgraphs.shared.graphql_types import (
    FOR_THE_USER_ALONE,
    After,
    Connection,
    DecimalText,
    FirstOrDefault,
    Timestamp,
    connection,
    describe_enum,
    invalid_key,
    keys_of,
)
from subgraphs.users import rules, rules_authorizations
from subgraphs.users.service import UseCases

E = TypeVar("E")
T = TypeVar("T")
Info = strawberry.Info[RequestContext[UseCases], None]


class UserType(Enum):
    """A user's role."""

    INVESTOR = "investor"
    BROKER = "broker"


describe_enum(
    UserType,
    description="What a user does here; chosen at registration.",
    values={
        UserType.INVESTOR: "Trades with money of their own, and may give brokers mandates over it.",
        UserType.BROKER: "Trades for investors, under the mandates that they give.",
    },
)


class AuthorizationType(Enum):
    """Money of one currency, or shares of one stock."""

    CAPITAL = "capital"
    STOCKHOLDING = "stockholding"


describe_enum(
    AuthorizationType,
    description="What an authorization is over.",
    values={
        AuthorizationType.CAPITAL: "Money of one currency: to buy for the investor.",
        AuthorizationType.STOCKHOLDING: "Shares of one stock: to sell for the investor.",
    },
)


class AuthorizationStatus(Enum):
    """The public statuses."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    FAILED = "failed"
    REVOKING = "revoking"
    REVOKED = "revoked"
    EXPIRED = "expired"


describe_enum(
    AuthorizationStatus,
    description="Where an authorization stands.",
    values={
        AuthorizationStatus.PENDING: "Money or shares are being set aside; it becomes ACTIVE, SCHEDULED or "
        "FAILED by itself.",
        AuthorizationStatus.SCHEDULED: "They are set aside; the broker may use them from `startsAt`, when it becomes "
        "ACTIVE by itself.",
        AuthorizationStatus.ACTIVE: "They are set aside; the broker may use them until `endsAt`.",
        AuthorizationStatus.FAILED: "They could not be set aside; `failureCode` says why. Final.",
        AuthorizationStatus.REVOKING: "The investor has ended it: the broker may not use it, what is left is given "
        "back.",
        AuthorizationStatus.REVOKED: "The investor has ended it; what was left is given back. Final.",
        AuthorizationStatus.EXPIRED: "It is over since `endsAt`, and what was left is given back. Final.",
    },
)


@strawberry.federation.type(keys=["id"], description="A user. Names are not verified: tell users apart by id.")
class User:
    """A user; e-mail address, version and authorizations are the user's own to see."""

    id: strawberry.ID = strawberry.field(description="The user's id, a UUID.")
    name: str = strawberry.field(description="As the user has written it; not verified, and not unique.")
    type: UserType = strawberry.field(description="Chosen at registration; it never changes.")
    registered_at: Timestamp = strawberry.field(description="When the user registered.")
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

    @strawberry.field(description=f"The e-mail address, in lower case. {FOR_THE_USER_ALONE}")
    def email(self) -> str | None:
        """The e-mail address."""
        return self._mine().email

    @strawberry.field(
        description=f"Counts the profile's changes; `expectedVersion` of updateProfile is compared with it. "
        f"{FOR_THE_USER_ALONE}"
    )
    def version(self) -> int | None:
        """The profile's version."""
        return self._mine().version

    @strawberry.field(description=f"The mandates this user gave or received, newest first. {FOR_THE_USER_ALONE}")
    async def authorizations(
        self,
        info: Info,
        status: Annotated[
            AuthorizationStatus | None,
            strawberry.argument(description="Those that stand there alone; without it, all."),
        ] = None,
        type: Annotated[
            AuthorizationType | None, strawberry.argument(description="Those over that alone; without it, all.")
        ] = None,
        first: FirstOrDefault = None,
        after: After = None,
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

    id: strawberry.ID = strawberry.field(description="The session's id, a UUID; endSession takes it.")
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

    id: strawberry.ID = strawberry.field(description="The authorization's id, a UUID.")
    type: AuthorizationType = strawberry.field(description="What it is over.")
    status: AuthorizationStatus = strawberry.field(description="Where it stands.")
    investor: User = strawberry.field(description="Who gave it.")
    broker: User = strawberry.field(description="Who may use it.")
    currency: str | None = strawberry.field(
        description="ISO 4217 code of a capital authorization's money; null of a stockholding authorization."
    )
    amount: DecimalText = strawberry.field(description="What was granted in all: money, or a number of shares.")
    starts_at: Timestamp = strawberry.field(description="From when the broker may use it.")
    ends_at: Timestamp | None = strawberry.field(
        description="Until when the broker may use it; null if until it is revoked."
    )
    created_at: Timestamp = strawberry.field(description="When it was asked for.")
    failure_code: str | None = strawberry.field(
        description="Why it failed: a stable code, such as INSUFFICIENT_FUNDS; null unless it is FAILED."
    )
    parent_id: strawberry.ID | None = strawberry.field(
        description="The authorization whose order rolled over into this one; null of one that the investor gave."
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

    access_token: str = strawberry.field(description="Says who the user is. Nobody else may see it.")
    expires_in: int = strawberry.field(description="Seconds until the access token expires.")
    refresh_token: str = strawberry.field(
        description="Works once: `refresh` returns the next one. Nobody else may see it."
    )
    user: User = strawberry.field(description="Who is logged in.")

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
