"""Times are milliseconds since the epoch inside and RFC 3339 with `Z` on the wire."""

import re
from datetime import UTC, datetime

from subgraphs.shared.errors import INVALID_REQUEST, FieldError, Refusal

TIMESTAMP_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999, the last one RFC 3339 can write."""

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII | re.IGNORECASE,
)
"""ISO 8601 has more forms, which Python reads and other clients do not."""


def format_timestamp(milliseconds: int) -> str:
    """1_700_000_000_123 is `"2023-11-14T22:13:20.123Z"`."""
    moment = datetime.fromtimestamp(milliseconds // 1_000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1_000:03d}Z"


def parse_timestamp(text: str, *, field: str) -> int:
    """Reads an RFC 3339 time with its offset, of the years 1970 to 9999 in UTC.

    Raises:
        Refusal: `invalid-request` for anything else.
    """
    try:
        if _RFC_3339.fullmatch(text) is None:
            raise ValueError("another form")
        moment = datetime.fromisoformat(text.upper())
        whole = int(moment.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError) as error:
        raise _refused(field, 'Write a time as RFC 3339 with its offset, such as "2026-01-31T09:30:00Z".') from error
    milliseconds = whole * 1_000 + moment.microsecond // 1_000
    if not 0 <= milliseconds <= TIMESTAMP_MS_MAX:
        raise _refused(field, "Name a time of the years 1970 to 9999, in UTC.")
    return milliseconds


def _refused(field: str, message: str) -> Refusal:
    return Refusal(INVALID_REQUEST, message, fields=(FieldError(field, message),))
