"""What a service may tell a client about a request it did not fulfil.

    Refusal                    the client's fault, or a fault the client must wait out; every text in it may be shown
    any other exception        our fault: 500 `internal-error`, logged under the request id, nothing of it shown

Codes are the contract: kebab-case in REST problems, the same words in upper snake case in GraphQL's `extensions.code`.
Those that every service needs stand here; a service's own stand in its `rules.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One line of the catalogue: the stable code, the HTTP status it answers with, and a title for people."""

    code: str
    status: int
    title: str

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

    `detail` says what to do; `fields` names the input at fault; `retry_after_s` becomes the Retry-After header;
    `extra` adds members to the problem document (and to GraphQL's extensions), such as the id of a rejected order.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        fields: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code.code, detail)
        self.code = code
        self.detail = detail or code.title
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s
        self.extra: Mapping[str, object] = extra or {}


MALFORMED_REQUEST = ErrorCode("malformed-request", 400, "The request could not be read")
INVALID_CURSOR = ErrorCode("invalid-cursor", 400, "The cursor was not issued by this list")
INVALID_IDEMPOTENCY_KEY = ErrorCode("invalid-idempotency-key", 400, "The Idempotency-Key is empty or too long")
UNAUTHENTICATED = ErrorCode("unauthenticated", 401, "A bearer token is required")
INVALID_TOKEN = ErrorCode("invalid-token", 401, "The bearer token is not valid")
EXPIRED_TOKEN = ErrorCode("expired-token", 401, "The bearer token has expired")
FORBIDDEN = ErrorCode("forbidden", 403, "This caller may not do that")
NOT_FOUND = ErrorCode("not-found", 404, "There is no such object")
METHOD_NOT_ALLOWED = ErrorCode("method-not-allowed", 405, "The route does not know this method")
NOT_ACCEPTABLE = ErrorCode("not-acceptable", 406, "The route cannot answer in the requested media type")
CONFLICT = ErrorCode("conflict", 409, "The object's state does not allow this")
PRECONDITION_FAILED = ErrorCode("precondition-failed", 412, "The object has changed since it was read")
BODY_TOO_LARGE = ErrorCode("body-too-large", 413, "The request body is too large")
UNSUPPORTED_MEDIA_TYPE = ErrorCode("unsupported-media-type", 415, "The request body must be application/json")
INVALID_REQUEST = ErrorCode("invalid-request", 422, "The request was understood but is not valid")
INVALID_AMOUNT = ErrorCode("invalid-amount", 422, "The amount is not valid")
INVALID_QUANTITY = ErrorCode("invalid-quantity", 422, "The quantity is not valid")
INVALID_PRICE = ErrorCode("invalid-price", 422, "The price is not valid")
UNKNOWN_CURRENCY = ErrorCode("unknown-currency", 422, "The currency is not supported")
IDEMPOTENCY_KEY_REUSED = ErrorCode("idempotency-key-reused", 422, "The Idempotency-Key was used with another body")
TOO_MANY_REQUESTS = ErrorCode("too-many-requests", 429, "Too many attempts")
INTERNAL_ERROR = ErrorCode("internal-error", 500, "The service failed")
UNAVAILABLE = ErrorCode("unavailable", 503, "The service cannot answer for the moment")

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
    NOT_ACCEPTABLE,
    CONFLICT,
    PRECONDITION_FAILED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_REQUEST,
    INVALID_AMOUNT,
    INVALID_QUANTITY,
    INVALID_PRICE,
    UNKNOWN_CURRENCY,
    IDEMPOTENCY_KEY_REUSED,
    TOO_MANY_REQUESTS,
    INTERNAL_ERROR,
    UNAVAILABLE,
)
