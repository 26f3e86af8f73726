"""Bodies that come compressed (RFC 9110, section 8.4.1), within a limit on what they become."""

import zlib
from typing import Final

CODINGS: Final = "gzip, deflate"
"""The codings that are read, as Accept-Encoding names them."""

CODINGS_MAX: Final = 3
"""Codings on top of one another: one is usual, two are a proxy's mistake."""
MEMBERS_MAX: Final = 16
"""Members of one body: servers send one, some a few; looking behind each copies what is left."""

_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_ZLIB_BITS: Final = zlib.MAX_WBITS
_RAW_BITS: Final = -zlib.MAX_WBITS


class UnknownCoding(ValueError):
    """A body is coded in a way that was not asked for, or is not what its coding says."""


def decoded(content: bytes, codings: str, bytes_max: int) -> bytes | None:
    """The body behind its codings, the last of which was applied last; None if it is larger than `bytes_max`.

    Raises:
        UnknownCoding: it cannot be read.
    """
    names = [each.strip().lower() for each in codings.split(",")]
    if len(names) > CODINGS_MAX:
        raise UnknownCoding(f"the body has {len(names)} codings")
    for coding in reversed(names):
        if coding in ("", "identity"):
            continue
        try:
            found = _inflated(content, coding, bytes_max)
        except zlib.error as error:
            raise UnknownCoding(f"the body is no {coding}: {error}") from error
        if found is None:
            return None
        content = found
    return content


def _inflated(content: bytes, coding: str, bytes_max: int) -> bytes | None:
    if coding in ("gzip", "x-gzip"):
        return _members(content, _GZIP_BITS, bytes_max)
    if coding != "deflate":
        raise UnknownCoding(f"content coding {coding!r} was not asked for")
    try:
        return _members(content, _ZLIB_BITS, bytes_max)
    except zlib.error:
        return _members(content, _RAW_BITS, bytes_max)  # what some servers take deflate for


def _members(content: bytes, bits: int, bytes_max: int) -> bytes | None:
    """What all members of a compressed body hold: gzip allows several in a row (RFC 1952, section 2.2)."""
    parts: list[bytes] = []
    size = 0
    while content:
        inflate = zlib.decompressobj(bits)
        part = inflate.decompress(content, bytes_max - size + 1)
        size += len(part)
        if size > bytes_max:
            return None
        if not inflate.eof:
            raise zlib.error("it ends too early")
        parts.append(part)
        content = inflate.unused_data
        if len(parts) == MEMBERS_MAX and content:
            raise zlib.error(f"it has more than {MEMBERS_MAX} members")
    return b"".join(parts)
