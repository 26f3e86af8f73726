"""Authorizations: mandates that investors give to brokers, over money of one currency or over shares of one stock.

Entities, the rules that need no database, and error codes. Times are milliseconds since the epoch; an `amount` is in
minor units of the currency (capital) or in millionths of a share (stockholding).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from subgraphs.shared.errors import INVALID_REQUEST, ErrorCode, FieldError, Kind, Refusal
from subgraphs.shared.ids import id_errors
from subgraphs.shared.money import format_amount, format_quantity, parse_amount, parse_quantity
from subgraphs.users.rules import User

AuthorizationType = Literal["capital", "stockholding"]
State = Literal["PENDING", "ACTIVE", "FAILED", "REVOKING", "REVOKED", "EXPIRING", "EXPIRED"]
Status = Literal["pending", "scheduled", "active", "failed", "revoking", "revoked", "expired"]

INVESTORS_ONLY = ErrorCode(
    "investors-only", Kind.FORBIDDEN, "Only investors give authorizations", "Ask the investor to: brokers receive them."
)
NOT_THE_INVESTOR = ErrorCode(
    "not-the-investor", Kind.FORBIDDEN, "Only the investor may revoke an authorization", "Ask the investor to."
)
SELF_AUTHORIZATION = ErrorCode("self-authorization", Kind.REFUSED, "You cannot authorize yourself", "Name a broker.")
UNKNOWN_BROKER = ErrorCode(
    "unknown-broker", Kind.REFUSED, "There is no such broker", "Choose one from the list of users of that type."
)
UNKNOWN_STOCKHOLDING = ErrorCode(
    "unknown-stockholding", Kind.REFUSED, "You have no such stockholding", "Choose one from the list of your own."
)
INVALID_WINDOW = ErrorCode(
    "invalid-window",
    Kind.REFUSED,
    "The authorization would be over before it begins",
    "Choose an endsAt in the future and after startsAt.",
)
INSUFFICIENT_FUNDS = ErrorCode(
    "insufficient-funds", Kind.REFUSED, "There is not enough money", "Authorize less, or deposit money first."
)
INSUFFICIENT_SHARES = ErrorCode(
    "insufficient-shares",
    Kind.REFUSED,
    "There are not enough free shares",
    "Authorize fewer, or free some that are committed to brokers or reserved for orders.",
)
AUTHORIZATION_ENDED = ErrorCode(
    "authorization-ended",
    Kind.REFUSED,
    "The authorization was ended before it began",
    "Create another one, under a new idempotency key.",
)
AUTHORIZATION_TIMED_OUT = ErrorCode(
    "authorization-timed-out",
    Kind.REFUSED,
    "The authorization could not be opened in time",
    "Create another one, under a new idempotency key.",
)

FAILURES: Mapping[str, ErrorCode] = MappingProxyType(
    {
        "insufficient-funds": INSUFFICIENT_FUNDS,
        "insufficient-shares": INSUFFICIENT_SHARES,
        "not-found": UNKNOWN_STOCKHOLDING,
        "commitment-closed": AUTHORIZATION_ENDED,
        "account-mismatch": AUTHORIZATION_ENDED,
        AUTHORIZATION_TIMED_OUT.code: AUTHORIZATION_TIMED_OUT,
    }
)
"""What the peers' final refusals of a mandate mean to the investor."""

PENDING_MS_MAX = 30_000
"""A mandate that could not be opened for this long is given up."""

PUBLIC_STATUS: Mapping[State, Status] = MappingProxyType(
    {
        "PENDING": "pending",
        "ACTIVE": "active",
        "FAILED": "failed",
        "REVOKING": "revoking",
        "REVOKED": "revoked",
        "EXPIRING": "expired",
        "EXPIRED": "expired",
    }
)
"""What a client sees of each internal state. An expiring mandate is over for everybody but its owner's books."""

STATUS_BEFORE: Mapping[State, Status] = MappingProxyType({**PUBLIC_STATUS, "ACTIVE": "scheduled"})
"""The same while the mandate's window has not begun: what is set aside waits, and the broker with it."""

DRIVEN_STATES: tuple[State, ...] = ("PENDING", "REVOKING", "EXPIRING")
"""States that are left as soon as the peers have answered."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A mandate that an investor gave a broker, over money of one currency or over shares of one stock.

    `amount` is what was granted in all; what remains of it is known to the wallet (capital) or to stocks (shares).
    """

    id: str
    root_id: str
    parent_id: str | None
    type: AuthorizationType
    state: State
    investor: User
    broker: User
    currency: str | None
    stockholding_id: str | None
    stock_id: str | None
    amount: int
    starts_at: int
    ends_at: int | None
    created_at: int
    version: int
    failure_code: str | None
    begun: bool
    """Whether its window had begun when it was read."""

    @property
    def status(self) -> Status:
        """The public status."""
        return (PUBLIC_STATUS if self.begun else STATUS_BEFORE)[self.state]

    @property
    def granted(self) -> str:
        """The amount as decimal text, in the currency's decimals or as a number of shares."""
        return format_quantity(self.amount) if self.currency is None else format_amount(self.amount, self.currency)


@dataclass(frozen=True, slots=True)
class StatusFilter:
    """The internal states that a public status stands for: in a window that has begun, and in one that has not."""

    begun: frozenset[State]
    waiting: frozenset[State]

    @classmethod
    def of(cls, status: Status) -> "StatusFilter":
        """The states that show as `status`."""
        begun, waiting = (
            frozenset(state for state, public in table.items() if public == status)
            for table in (PUBLIC_STATUS, STATUS_BEFORE)
        )
        return cls(begun, waiting)


@dataclass(frozen=True, slots=True)
class MandateRequest:
    """A checked request for an authorization. Exactly one of `currency` and `stockholding_id` is set."""

    type: AuthorizationType
    broker_id: str
    currency: str | None
    stockholding_id: str | None
    amount: int
    starts_at: int | None
    ends_at: int | None

    def document(self) -> dict[str, object]:
        """The request as JSON values, to tell it from another one under the same key."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Rollover:
    """What a broker's completed order brought: money (capital) or shares (stockholding), under the used mandate."""

    order_id: str
    used_authorization_id: str
    type: AuthorizationType
    currency: str | None
    stockholding_id: str | None
    stock_id: str | None
    amount: int

    @property
    def asset(self) -> str:
        """What mandates of one family are matched by: the currency, or the stock."""
        asset = self.currency if self.type == "capital" else self.stock_id
        assert asset is not None, "the type decides which one is set"
        return asset


@dataclass(frozen=True, slots=True)
class RolledOver:
    """The mandate that an order went on in; `authorization_id` is None where the used one had ended."""

    authorization_id: str | None
    investor_id: str
    broker_id: str


def checked_mandate(
    *,
    type: AuthorizationType,
    broker_id: str,
    currency: str | None,
    stockholding_id: str | None,
    amount: str,
    starts_at: int | None,
    ends_at: int | None,
) -> MandateRequest:
    """The request with its amount read; raises Refusal `invalid-request`, `invalid-amount` or `invalid-quantity`."""
    needed, other = ("currency", "stockholdingId") if type == "capital" else ("stockholdingId", "currency")
    given = {"currency": currency, "stockholdingId": stockholding_id}
    errors = []
    if given[needed] is None:
        errors.append(FieldError(needed, f"A {type} authorization needs it."))
    if given[other] is not None:
        errors.append(FieldError(other, f"A {type} authorization has none."))
    errors += [*id_errors("brokerId", broker_id), *id_errors("stockholdingId", stockholding_id)]
    if errors:
        raise Refusal(INVALID_REQUEST, fields=errors)
    units = parse_quantity(amount, field="amount") if currency is None else parse_amount(amount, currency)
    return MandateRequest(type, broker_id, currency, stockholding_id, units, starts_at, ends_at)


def window(request: MandateRequest, now: int) -> tuple[int, int | None]:
    """When the mandate begins and ends, from a request made at `now`; raises Refusal `invalid-window`."""
    starts_at = now if request.starts_at is None else request.starts_at
    if request.ends_at is not None and request.ends_at <= max(starts_at, now):
        raise Refusal(INVALID_WINDOW, fields=(FieldError("endsAt", INVALID_WINDOW.detail),))
    return starts_at, request.ends_at


def begins_later(starts_at: int, created_at: int) -> bool:
    """Whether a mandate has a beginning of its own. One that began at once has begun, whatever a clock says later."""
    return starts_at > created_at


def failure(authorization: Authorization) -> Refusal:
    """The refusal that a failed authorization is answered with, now and at every repetition."""
    code = FAILURES.get(authorization.failure_code or "", AUTHORIZATION_ENDED)
    return Refusal(code, extra={"authorizationId": authorization.id})
