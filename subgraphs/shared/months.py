"""A calendar month of UTC, written as `2026-01`, and its id where it is somebody's."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from subgraphs.shared.errors import INVALID_REQUEST, FieldError, Refusal

LINES_MAX = 10_000
"""10,000 lines of one month: some hundred a day, and 2 MB; who has more reads the list page by page."""

MONTH_PATTERN = "^(19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-(0[1-9]|1[0-2])$"
"""Of the years 1970 to 9998: the last month of 9999 has no end that can be written."""

_MONTH = re.compile(MONTH_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Month:
    """A month: its text, its first millisecond since the epoch, and the one that is no longer in it."""

    text: str
    start: int
    end: int


def parse_month(text: str, *, field: str = "month") -> Month:
    """Reads `2026-01`, of the years 1970 to 9998.

    Raises:
        Refusal: `invalid-request` for anything else.
    """
    if _MONTH.fullmatch(text) is None:
        message = 'Write a month as year and number, such as "2026-01".'
        raise Refusal(INVALID_REQUEST, message, fields=(FieldError(field, message),))
    year, number = int(text[:4]), int(text[5:])
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    return Month(text, _first_moment(year, number), _first_moment(*following))


def month_id(owner_id: str, month: Month) -> str:
    """The id of somebody's month in the graph."""
    return f"{owner_id}:{month.text}"


def month_of_id(text: str) -> tuple[str, Month]:
    """The owner and the month of such an id; raises Refusal `invalid-request` for what is none."""
    owner_id, _, month = text.partition(":")
    return owner_id, parse_month(month, field="id")


def _first_moment(year: int, number: int) -> int:
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1_000
