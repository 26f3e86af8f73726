"""Lists are read page by page behind an opaque cursor: the list's name and the sort key of the last item seen."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from subgraphs.shared.errors import INVALID_CURSOR, INVALID_REQUEST, FieldError, Refusal

T = TypeVar("T")
CursorKey = tuple[int | str, ...]

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
CURSOR_CHARACTERS_MAX = 512
CURSOR_INTEGER_MAX = 2**63 - 1
"""The largest integer that a database column can be compared with."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list in order, with the cursor of each; `next_cursor` is None on the last page."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    next_cursor: str | None


def encode_cursor(list_name: str, *key: int | str) -> str:
    """The opaque form of a sort key in the list of that name: base64url of their JSON."""
    return base64.urlsafe_b64encode(orjson.dumps((list_name, *key))).rstrip(b"=").decode()


def decode_cursor(text: str, list_name: str, *types: type[int] | type[str]) -> CursorKey:
    """The sort key that a cursor of the list of that name stands for.

    Args:
        types: the key's column types, as in `decode_cursor(after, "orders", int, str)`.

    Raises:
        Refusal: `invalid-cursor` when the text is not a cursor of that list.
    """
    refusal = Refusal(INVALID_CURSOR)
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise refusal
    try:
        key = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise refusal from error
    if not isinstance(key, list) or key[:1] != [list_name] or [type(part) for part in key[1:]] != list(types):
        raise refusal
    if not all(_comparable(part) for part in key):
        raise refusal
    return tuple(key[1:])


def _comparable(part: int | str) -> bool:
    """Whether every database can compare it with a column; a forged cursor may hold what none can."""
    return "\0" not in part if isinstance(part, str) else 0 <= part <= CURSOR_INTEGER_MAX


def page_limit(limit: int | None) -> int:
    """The number of items to return: the default when None; raises Refusal `invalid-request` outside 1..LIMIT_MAX."""
    if limit is None:
        return LIMIT_DEFAULT
    if not 1 <= limit <= LIMIT_MAX:
        message = f"Ask for 1 to {LIMIT_MAX} items."
        raise Refusal(INVALID_REQUEST, message, fields=(FieldError("limit", message),))
    return limit


def page_of(items: Sequence[T], cursors: Sequence[str], limit: int) -> Page[T]:
    """Cuts a page out of up to `limit + 1` items: the one too many only says that there is a next page."""
    more = len(items) > limit
    kept = tuple(cursors[:limit])
    return Page(items=tuple(items[:limit]), cursors=kept, next_cursor=kept[-1] if more else None)
