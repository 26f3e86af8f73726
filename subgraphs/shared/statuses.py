"""The HTTP status of every kind of refusal: faces alone speak of statuses."""

from collections.abc import Mapping
from types import MappingProxyType

from subgraphs.shared.errors import ErrorCode, Kind

_STATUSES: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.MALFORMED: 400,
        Kind.UNAUTHENTICATED: 401,
        Kind.FORBIDDEN: 403,
        Kind.NOT_FOUND: 404,
        Kind.METHOD_NOT_ALLOWED: 405,
        Kind.TIMED_OUT: 408,
        Kind.CONFLICT: 409,
        Kind.OUTDATED: 412,
        Kind.BODY_TOO_LARGE: 413,
        Kind.URL_TOO_LONG: 414,
        Kind.MEDIA_TYPE: 415,
        Kind.REFUSED: 422,
        Kind.TOO_MANY: 429,
        Kind.HEADERS_TOO_LARGE: 431,
        Kind.FAILED: 500,
        Kind.UNAVAILABLE: 503,
    }
)


def status_of(code: ErrorCode) -> int:
    """The HTTP status that a refusal with this code answers with."""
    return _STATUSES[code.kind]
