"""Heads of HTTP messages that were read before: the same bytes need no parser a second time.

Problem. A parser calls back for every field of a head, and what the callbacks do is most of what it costs to read a
small message, though the heads that one peer sends hardly differ: by a length, and once a second by the date.

Idea. A message that arrived in one piece, and that the parser found whole in it with nothing behind it, teaches what
its head says: that is kept by the head's bytes, without the digits of its Content-Length. Where a piece is a message
with such a head and a body of the length that it names, the head's meaning is looked up and the body is the rest.

    HTTP/1.1 200 OK\\r\\ncontent-length: 14\\r\\n\\r\\n{"data": null}    the piece
    HTTP/1.1 200 OK\\r\\ncontent-length:                          its head, before the digits
    \\r\\n\\r\\n                                                  and after them; its body is at 39

Why it is right. What a parser makes of a message, from its beginning on, depends on the bytes alone. Those of the same
head have the same start line and the same fields, but for the length. A head is learned only where the parser ended the
message just where the length says, so it saw the head end there, took that very field for the length, and no transfer
coding; and it is used only for a piece that ends just there. The parser stands at the beginning of a message before and
after a piece that it is not shown. Whatever else arrives (halves, several messages at once, chunks) is the parser's.

What it costs. Half a microsecond where the head is the one that was met last, some 1.5 for another. Heads beyond
`HEAD_BYTES_MAX` are not looked at, and who keeps heads bounds their number: `HEADS_MAX` for a peer that many
connections lead to.
"""

import re
from typing import Final, Generic, TypeVar

from msgspec import Struct

HEAD_BYTES_MAX: Final = 4_000
"""4 kB: beyond it to hash and to compare a head is no longer next to nothing."""
HEADS_MAX: Final = 64
"""64 heads, a minute of them where only the date differs; they are forgotten together."""

DIGITS_MAX: Final = 9
"""9 digits: a gigabyte, which is more than anybody takes."""

_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,%d})\r\n" % DIGITS_MAX)

_Meaning = TypeVar("_Meaning")


class Head(Struct, frozen=True):
    """A message's head without the digits of its length."""

    before: bytes
    """What comes before the digits."""
    after: bytes
    """What comes after them, to the end of the head."""

    def look_at(self, piece: bytes) -> tuple[bytes, int] | None:
        """The digits of the length, and where the body begins, of a piece that is one whole message with this head.

        None for any other piece.
        """
        before, after = self.before, self.after
        if not piece.startswith(before):
            return None
        start = len(before)
        end = piece.find(b"\r", start, start + DIGITS_MAX + 1)
        digits, body_at = piece[start:end], end + len(after)
        if end > start and digits.isdigit() and piece.startswith(after, end) and int(digits) == len(piece) - body_at:
            return digits, body_at
        return None


def split(piece: bytes) -> tuple[Head, bytes, int] | None:
    """The head of the message that a piece consists of, the digits of its length, and where its body begins; None where
    it is no message with a length, or not just one. Whether it is a message at all is known where the head is."""
    body_at = piece.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    length = _LENGTH.search(piece, 0, body_at)
    if length is None or len(piece) - body_at != int(length[1]):
        return None
    start, end = length.span(1)
    return Head(piece[:start], piece[end:body_at]), length[1], body_at


class KnownHeads(Generic[_Meaning]):
    """What heads mean."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[Head, _Meaning] = {}
        self._last: tuple[Head, _Meaning] | None = None

    def find(self, piece: bytes) -> tuple[Head, bytes, int, _Meaning | None] | None:
        """What `split` says of a piece, and what its head means if it is known; None as there."""
        if self._last is not None:
            head, meaning = self._last
            seen = head.look_at(piece)
            if seen is not None:
                return head, *seen, meaning
        message = split(piece)
        if message is None:
            return None
        known = self._known.get(message[0])
        if known is not None:
            self._last = message[0], known
        return *message, known

    def keep(self, head: Head, meaning: _Meaning) -> None:
        """From here on a head has this meaning."""
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        self._known[head] = meaning
