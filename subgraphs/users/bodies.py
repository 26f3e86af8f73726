"""The JSON bodies of the users routes, and how entities are written in them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, SecretStr

from subgraphs.shared.bodies import (
    CurrencyText,
    DecimalText,
    IdText,
    MomentText,
    RequestBody,
    ResponseBody,
    TimestampText,
)
from subgraphs.shared.money import AMOUNT_OR_QUANTITY_PATTERN
from subgraphs.shared.problems import Problem
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.users.rules import (
    EMAIL_CHARACTERS_MAX,
    EMAIL_PATTERN,
    NAME_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MIN,
    OpenSession,
    Role,
    User,
)
from subgraphs.users.rules_authorizations import Authorization, AuthorizationType, RolledOver, Status, begins_later

COMMITMENT_PATHS: Mapping[AuthorizationType, str] = MappingProxyType(
    {"capital": "/balance/commitments", "stockholding": "/stockholdings/commitments"}
)
"""Where the owner of what remains shows it: the wallet of money, stocks of shares."""

NameText = Annotated[
    str,
    Field(
        examples=["Alice Example"],
        description="Printable. Spaces around it are taken off, several between words are one.",
        json_schema_extra={"minLength": 1, "maxLength": NAME_CHARACTERS_MAX, "pattern": r"\S"},
    ),
]
EmailText = Annotated[
    str,
    Field(
        examples=["alice@example.com"],
        description="Printable. Capitals are written small.",
        json_schema_extra={"maxLength": EMAIL_CHARACTERS_MAX, "pattern": f"^{EMAIL_PATTERN}$"},
    ),
]
NewPassword = Annotated[
    SecretStr,
    Field(
        examples=["correct horse battery"],
        description=f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters.",
        json_schema_extra={"minLength": PASSWORD_CHARACTERS_MIN, "maxLength": PASSWORD_CHARACTERS_MAX},
    ),
]


class RegisterBody(RequestBody):
    """A new user."""

    name: NameText
    email: EmailText
    password: NewPassword
    type: Role = Field(description="Chosen once; it never changes.")


class LoginBody(RequestBody):
    """A user's credentials."""

    email: str = Field(examples=["alice@example.com"])
    password: SecretStr = Field(examples=["correct horse battery"])


class RefreshBody(RequestBody):
    """A refresh token; it works once."""

    refresh_token: SecretStr


class ProfileUpdateBody(RequestBody):
    """The new profile; what is absent stays as it is. To change the password send the current and the new one."""

    name: NameText | None = None
    email: EmailText | None = None
    current_password: SecretStr | None = Field(None, description="Needed for a new password or e-mail address.")
    new_password: NewPassword | None = None


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


class LogoutBody(RequestBody):
    """Which sessions to end: this one, or all of one's own."""

    all: bool = False


class OpenSessionBody(ResponseBody):
    """A login that goes on."""

    id: IdText
    created_at: TimestampText
    last_used_at: TimestampText = Field(description="When its tokens were last refreshed.")
    current: bool = Field(description="Whether the request's token belongs to it.")


class EndedSessionBody(ResponseBody):
    """A session that has ended, as the other services hear of it; the time in milliseconds since the epoch."""

    id: str
    ended_at: int


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
    commitment_path: str = Field(
        description="Where what remains of it is read: a path at wallet (capital) or stocks (stockholding); 404 until "
        "something is set aside.",
        examples=["/balance/commitments/183b804f-fe17-5e6d-85fe-1777913a37e8"],
        json_schema_extra={"format": "uri-reference"},
    )


class VerifiedAuthorizationBody(ResponseBody):
    """A mandate as stocks verifies it before a broker's order."""

    id: str
    root_id: str
    type: AuthorizationType
    status: Status
    investor_id: str
    broker_id: str
    broker_registered_at: str
    currency: str | None
    stockholding_id: str | None
    stock_id: str | None
    starts_at: str | None
    ends_at: str | None


class CreateAuthorizationBody(RequestBody):
    """A mandate for a broker: over money (capital, with `currency`) or over shares (with `stockholdingId`)."""

    type: AuthorizationType
    broker_id: IdText
    currency: CurrencyText | None = Field(default=None, description="Of money (capital), and of nothing else.")
    stockholding_id: IdText | None = Field(default=None, description="Of shares (stockholding), and of nothing else.")
    amount: Annotated[
        str,
        Field(
            examples=["12.50"],
            description="Money in `currency`, or shares with up to 6 decimals; above zero, as a string.",
            json_schema_extra={"pattern": AMOUNT_OR_QUANTITY_PATTERN},
        ),
    ]
    starts_at: MomentText | None = Field(default=None, description="At once, if absent.")
    ends_at: MomentText | None = Field(default=None, description="Until revoked, if absent.")


class RolloverBody(RequestBody):
    """What stocks reports of a broker's completed order: the money or the shares that it brought."""

    order_id: str
    authorization_id: str
    type: AuthorizationType
    currency: str
    stockholding_id: str | None = None
    stock_id: str | None = None
    amount: str


class RolledOverBody(ResponseBody):
    """The mandate that a broker's order went on in, null if the used one had ended."""

    authorization_id: str | None
    investor_id: str
    broker_id: str


class AuthorizationProblem(Problem):
    """An RFC 9457 problem document."""

    authorization_id: IdText | None = Field(None, description="What was created and then failed, if anything was.")


def user_body(user: User) -> UserBody:
    """What everybody may know of a user."""
    return UserBody(id=user.id, name=user.name, type=user.type, registered_at=format_timestamp(user.registered_at))


def profile_body(user: User) -> ProfileBody:
    """A user's own profile."""
    assert user.email is not None, "a profile is its owner's"
    return ProfileBody(
        id=user.id,
        name=user.name,
        type=user.type,
        registered_at=format_timestamp(user.registered_at),
        email=user.email,
    )


def open_session_body(session: OpenSession, current: str | None) -> OpenSessionBody:
    """A session as its user sees it from the session `current`."""
    return OpenSessionBody(
        id=session.id,
        created_at=format_timestamp(session.created_at),
        last_used_at=format_timestamp(session.seen_at),
        current=session.id == current,
    )


def authorization_body(authorization: Authorization, viewer_id: str) -> AuthorizationBody:
    """A mandate as the viewer, one of its parties, sees it."""
    is_investor = viewer_id == authorization.investor.id
    return AuthorizationBody(
        id=authorization.id,
        type=authorization.type,
        status=authorization.status,
        investor=user_body(authorization.investor),
        broker=user_body(authorization.broker),
        currency=authorization.currency,
        stock_id=authorization.stock_id,
        stockholding_id=authorization.stockholding_id if is_investor else None,
        amount=authorization.granted,
        starts_at=format_timestamp(authorization.starts_at),
        ends_at=None if authorization.ends_at is None else format_timestamp(authorization.ends_at),
        created_at=format_timestamp(authorization.created_at),
        parent_id=authorization.parent_id,
        failure_code=authorization.failure_code,
        commitment_path=f"{COMMITMENT_PATHS[authorization.type]}/{authorization.id}",
    )


def verified_body(authorization: Authorization) -> VerifiedAuthorizationBody:
    """A mandate as stocks sees it; one that began at once has no beginning, whatever the clock says afterwards."""
    later = begins_later(authorization.starts_at, authorization.created_at)
    return VerifiedAuthorizationBody(
        id=authorization.id,
        root_id=authorization.root_id,
        type=authorization.type,
        status=authorization.status,
        investor_id=authorization.investor.id,
        broker_id=authorization.broker.id,
        broker_registered_at=format_timestamp(authorization.broker.registered_at),
        currency=authorization.currency,
        stockholding_id=authorization.stockholding_id,
        stock_id=authorization.stock_id,
        starts_at=format_timestamp(authorization.starts_at) if later else None,
        ends_at=None if authorization.ends_at is None else format_timestamp(authorization.ends_at),
    )


def rolled_over_body(rolled_over: RolledOver) -> RolledOverBody:
    """The answer to stocks."""
    return RolledOverBody(
        authorization_id=rolled_over.authorization_id,
        investor_id=rolled_over.investor_id,
        broker_id=rolled_over.broker_id,
    )
