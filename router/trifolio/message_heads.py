"""Heads of HTTP messages that were read before: the same bytes need no parser a second time.

Problem. A parser calls back for every field of a head, and what the callbacks do is most of what it costs to read a
small message, though the heads that one peer sends hardly differ: by a length, and once a second by the date.

Idea. A message that arrived in one piece, and that the parser found whole in it with nothing behind it, teaches what
its head says: that is kept by the head's bytes, without the digits of its Content-Length. Where a piece is a message
with such a head and a body of the length that it names, the head's meaning is looked up and the body is the rest.

    HTTP/1.1 200 OK\\r\\ncontent-length: 14\\r\\n\\r\\n{"data": null}    the piece
    HTTP/1.1 200 OK\\r\\ncontent-length: \\r\\n\\r\\n                    its key; its digits are 14, its body is at 39

Why it is right. What a parser makes of a message, from its beginning on, depends on the bytes alone. Those of the same
key have the same start line and the same fields, but for the length. A key is learned only where the parser ended the
message just where the length says, so it saw the head end there, took that very field for the length, and no transfer
coding; and it is used only for a piece that ends just there. The parser stands at the beginning of a message before and
after a piece that it is not shown. Whatever else arrives (halves, several messages at once, chunks) is the parser's.

What it costs. Some 1.5 microseconds for a look, whether it finds something or not. Heads beyond `HEAD_BYTES_MAX` are
not looked at, and who keeps keys bounds their number: `HEADS_MAX` for a peer that many connections lead to.
"""

import re
from typing import Final, Generic, NamedTuple, TypeVar

HEAD_BYTES_MAX: Final = 4_000
"""4 kB: beyond it to hash and to compare a head is no longer next to nothing."""
HEADS_MAX: Final = 64
"""64 heads, a minute of them where only the date differs; they are forgotten together."""

_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,9})\r\n")

_Meaning = TypeVar("_Meaning")


class Message(NamedTuple):
    """A piece of bytes that looks like one whole message; whether it is one, its key says if it is known."""

    key: bytes
    """The head without the digits of its length."""
    digits: bytes
    """The digits."""
    body_at: int
    """Where the body begins, which ends with the piece."""


def split(piece: bytes) -> Message | None:
    """The message that a piece consists of; None where it is no message with a length, or not just one."""
    body_at = piece.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    length = _LENGTH.search(piece, 0, body_at)
    if length is None or len(piece) - body_at != int(length[1]):
        return None
    start, end = length.span(1)
    return Message(piece[:start] + piece[end:body_at], length[1], body_at)


class KnownHeads(Generic[_Meaning]):
    """What heads mean, by their keys."""

    __slots__ = ("_known", "find")

    def __init__(self) -> None:
        self._known: dict[bytes, _Meaning] = {}
        self.find = self._known.get
        """The meaning of a key; None where it is not known."""

    def keep(self, key: bytes, meaning: _Meaning) -> None:
        """From here on a key has this meaning."""
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        self._known[key] = meaning
