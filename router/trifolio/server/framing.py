"""Whether a request's head can be believed: what the parser lets pass and no two servers understand alike is refused.

llhttp refuses most of what smuggles requests: two lengths, a length beside a transfer coding, folded lines, bare line
feeds, blanks before a colon, control characters. What is left is decided here.

Specification: RFC 9112, sections 3.2, 6.1 and 6.3; RFC 9110, sections 7.2 and 7.8.
"""

import re
from collections.abc import Sequence
from typing import Final

from trifolio.errors import ClientText, ErrorCode, RequestError, RouterError
from trifolio.limits import Limits

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_IGNORED_WITH_UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})

Fields = Sequence[tuple[bytes, bytes]]
"""A head's fields in order, names in lower case."""


def problem_of(version: str, method: bytes, fields: Fields, limits: Limits) -> RouterError | None:
    """Why a request with this head is refused; None where it is served."""
    if version not in ("1.1", "1.0"):
        return refused(f"HTTP/{version} is not served here.")
    if method == b"CONNECT":
        return RequestError(ErrorCode.METHOD_NOT_ALLOWED)
    hosts = size = 0
    for name, value in fields:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                return refused("The Host header names no host.")
        elif name == b"transfer-encoding":
            if version == "1.0":
                return refused("HTTP/1.0 has no transfer codings.")
            if value.strip().lower() != b"chunked":
                return refused("The only transfer coding that is read here is chunked.")
        elif name == b"content-length" and int(value) > limits.body_bytes_max:
            return RequestError(ErrorCode.BODY_TOO_LARGE)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return refused("A request has exactly one Host header.")
    return RequestError(ErrorCode.HEADERS_TOO_LARGE) if size > limits.header_bytes_max else None


def refused(text: str) -> RequestError:
    """A refusal of what is no HTTP request, in words for the client."""
    return RequestError(ErrorCode.BAD_REQUEST, ClientText(text))


def without_upgrade(method: bytes, url: bytes, version: str, fields: Fields) -> bytes:
    """The same head without its offer of another protocol, for the parser to read once more."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, url, version.encode())]
    lines += [b"%b: %b\r\n" % each for each in fields if each[0] not in _IGNORED_WITH_UPGRADE]
    return b"".join([*lines, b"\r\n"])
