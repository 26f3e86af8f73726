"""What a service may tell a client about a request it did not fulfil.

    Refusal                    the client's fault, or a fault the client must wait out; every text in it may be shown
    any other exception        our fault: 500 `internal-error`, logged under the request id, nothing of it shown

Codes are the contract: kebab-case in REST problems, the same words in upper snake case in GraphQL's `extensions.code`.
Those that every service needs stand here; a service's own stand in its `rules.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import ModuleType


class Kind(Enum):
    """What sort of no it is; the REST face has an HTTP status for each (`statuses`)."""

    MALFORMED = auto()
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    METHOD_NOT_ALLOWED = auto()
    TIMED_OUT = auto()
    CONFLICT = auto()
    OUTDATED = auto()
    BODY_TOO_LARGE = auto()
    URL_TOO_LONG = auto()
    MEDIA_TYPE = auto()
    REFUSED = auto()
    TOO_MANY = auto()
    HEADERS_TOO_LARGE = auto()
    FAILED = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One line of the catalogue: the stable code, its kind, and words for people.

    `title` says what is wrong, without a full stop; `remedy` says in a sentence what to do about it.
    """

    code: str
    kind: Kind
    title: str
    remedy: str

    @property
    def detail(self) -> str:
        """What is wrong and what to do, where nothing more can be said of the occasion."""
        return f"{self.title}. {self.remedy}"

    @property
    def graphql(self) -> str:
        """The code as GraphQL's `extensions.code` spells it: `not-found` is `NOT_FOUND`."""
        return self.code.replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one input field; `field` is its path in the request's JSON, such as `amount`."""

    field: str
    message: str


class Refusal(Exception):
    """A request that is not fulfilled, for a reason the client may read and act upon.

    `detail` says what is wrong and what to do, where more can be said than the code says; `fields` names the input at
    fault; `retry_after_s` becomes the Retry-After header; `extra` adds members to the problem document (and to
    GraphQL's extensions), such as the id of a rejected order; `key` is the idempotency key that it is stored under, and
    `replayed` says that an earlier request with that key was refused so.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        fields: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
        extra: Mapping[str, object] | None = None,
        key: str | None = None,
        replayed: bool = False,
    ) -> None:
        super().__init__(code.code, detail)
        self.code = code
        self.detail = detail or code.detail
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s
        self.extra: Mapping[str, object] = extra or {}
        self.key = key
        self.replayed = replayed


def codes_in(*modules: ModuleType) -> tuple[ErrorCode, ...]:
    """The codes that those modules hold, in their order, each once."""
    found = (value for module in modules for value in vars(module).values() if isinstance(value, ErrorCode))
    return tuple(dict.fromkeys(found))


MALFORMED_REQUEST = ErrorCode(
    "malformed-request",
    Kind.MALFORMED,
    "The request could not be read",
    "Compare it with the documentation of the route.",
)
INVALID_CURSOR = ErrorCode(
    "invalid-cursor",
    Kind.MALFORMED,
    "The cursor was not issued by this list",
    "Use a cursor exactly as this list returned it, or none to start over.",
)
INVALID_IDEMPOTENCY_KEY = ErrorCode(
    "invalid-idempotency-key",
    Kind.MALFORMED,
    "The idempotency key cannot be used",
    "Send 1 to 255 printable characters, such as a UUID.",
)
RESULT_TOO_LARGE = ErrorCode(
    "result-too-large",
    Kind.REFUSED,
    "There is more than one answer holds",
    "Ask for it page by page, by the list of the same things.",
)
UNAUTHENTICATED = ErrorCode(
    "unauthenticated",
    Kind.UNAUTHENTICATED,
    "The request has no access token",
    "Send one in the header: Authorization: Bearer TOKEN.",
)
INVALID_TOKEN = ErrorCode(
    "invalid-token",
    Kind.UNAUTHENTICATED,
    "The bearer token is not valid",
    "Log in again, and send the access token that you get.",
)
EXPIRED_TOKEN = ErrorCode(
    "expired-token",
    Kind.UNAUTHENTICATED,
    "The bearer token has expired",
    "Get a fresh access token with your refresh token.",
)
FORBIDDEN = ErrorCode("forbidden", Kind.FORBIDDEN, "This caller may not do that", "Send the token of somebody who may.")
NOT_FOUND = ErrorCode(
    "not-found", Kind.NOT_FOUND, "There is no such object", "Check the id; what is somebody else's is not shown either."
)
METHOD_NOT_ALLOWED = ErrorCode(
    "method-not-allowed",
    Kind.METHOD_NOT_ALLOWED,
    "The route does not know this method",
    "Use one of those in the Allow header.",
)
PRECONDITION_FAILED = ErrorCode(
    "precondition-failed",
    Kind.OUTDATED,
    "The object has changed since it was read",
    "Read it again, and repeat the change on what it is.",
)
REQUEST_TIMEOUT = ErrorCode(
    "request-timeout", Kind.TIMED_OUT, "The request did not arrive in time", "Send it again, all of it at once."
)
BODY_TOO_LARGE = ErrorCode(
    "body-too-large", Kind.BODY_TOO_LARGE, "The request body is too large", "Send a smaller one."
)
URL_TOO_LONG = ErrorCode(
    "url-too-long", Kind.URL_TOO_LONG, "The URL is too long", "Compare it with the documentation of the route."
)
UNSUPPORTED_MEDIA_TYPE = ErrorCode(
    "unsupported-media-type",
    Kind.MEDIA_TYPE,
    "The request body is not declared as JSON",
    "Send it with Content-Type: application/json.",
)
INVALID_REQUEST = ErrorCode(
    "invalid-request", Kind.REFUSED, "The request was understood but is not valid", "See errors for what is at fault."
)
INVALID_AMOUNT = ErrorCode(
    "invalid-amount",
    Kind.REFUSED,
    "The amount is not valid",
    'Write a plain decimal number above zero as a string, such as "12.50".',
)
INVALID_QUANTITY = ErrorCode(
    "invalid-quantity",
    Kind.REFUSED,
    "The quantity is not valid",
    'Write a plain decimal number above zero as a string, such as "1.5".',
)
INVALID_PRICE = ErrorCode(
    "invalid-price",
    Kind.REFUSED,
    "The price is not valid",
    'Write a plain decimal number above zero as a string, such as "12.3".',
)
UNKNOWN_CURRENCY = ErrorCode(
    "unknown-currency", Kind.REFUSED, "The currency is not supported", "Use one of those listed in errors."
)
IDEMPOTENCY_KEY_REUSED = ErrorCode(
    "idempotency-key-reused", Kind.REFUSED, "The idempotency key was used for another request", "Use a new one."
)
TOO_MANY_REQUESTS = ErrorCode(
    "too-many-requests", Kind.TOO_MANY, "There were too many attempts", "Wait as long as Retry-After says."
)
HEADERS_TOO_LARGE = ErrorCode(
    "headers-too-large", Kind.HEADERS_TOO_LARGE, "The request's headers are too large", "Send fewer, and shorter ones."
)
INTERNAL_ERROR = ErrorCode(
    "internal-error",
    Kind.FAILED,
    "The service failed",
    "Try again later; if it fails again, tell the request's id to whoever runs the service.",
)
UNAVAILABLE = ErrorCode(
    "unavailable", Kind.UNAVAILABLE, "The service cannot answer at the moment", "Try again in a moment."
)

ONLY_THE_USER = "Only the user may see this. Ask `me` for your own."
"""The detail of `not-found` at a field of a user that is for that user alone."""

COMMON_CODES: tuple[ErrorCode, ...] = (
    MALFORMED_REQUEST,
    INVALID_CURSOR,
    INVALID_IDEMPOTENCY_KEY,
    UNAUTHENTICATED,
    INVALID_TOKEN,
    EXPIRED_TOKEN,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    PRECONDITION_FAILED,
    REQUEST_TIMEOUT,
    BODY_TOO_LARGE,
    URL_TOO_LONG,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_REQUEST,
    INVALID_AMOUNT,
    INVALID_QUANTITY,
    INVALID_PRICE,
    UNKNOWN_CURRENCY,
    RESULT_TOO_LARGE,
    IDEMPOTENCY_KEY_REUSED,
    TOO_MANY_REQUESTS,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    UNAVAILABLE,
)
