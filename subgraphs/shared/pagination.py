"""Lists are read page by page behind an opaque cursor: the sort key of the last item seen."""

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


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list in order, with the cursor of each; `next_cursor` is None on the last page."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    next_cursor: str | None


def encode_cursor(*key: int | str) -> str:
    """The opaque form of a sort key: base64url of its JSON."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def decode_cursor(text: str, *types: type[int] | type[str]) -> CursorKey:
    """The sort key a cursor stands for. `types` are the key's column types, as in `decode_cursor(after, int, str)`.

    Raises:
        Refusal: `invalid-cursor` when the text is not a cursor of a list sorted by such a key.
    """
    refusal = Refusal(INVALID_CURSOR, "Use a cursor exactly as this list returned it, or none to start over.")
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise refusal
    try:
        key = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise refusal from error
    if not isinstance(key, list) or [type(part) for part in key] != list(types):
        raise refusal
    return tuple(key)


def page_limit(limit: int | None, *, field: str = "limit") -> int:
    """The number of items to return: the default when None; raises Refusal `invalid-request` outside 1..LIMIT_MAX."""
    if limit is None:
        return LIMIT_DEFAULT
    if not 1 <= limit <= LIMIT_MAX:
        message = f"Ask for 1 to {LIMIT_MAX} items."
        raise Refusal(INVALID_REQUEST, message, fields=(FieldError(field, message),))
    return limit


def page_of(items: Sequence[T], cursors: Sequence[str], limit: int) -> Page[T]:
    """Cuts a page out of up to `limit + 1` items: the one too many only says that there is a next page."""
    more = len(items) > limit
    kept = tuple(cursors[:limit])
    return Page(items=tuple(items[:limit]), cursors=kept, next_cursor=kept[-1] if more else None)
