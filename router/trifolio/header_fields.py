"""Header fields that the router itself decides on, and what a field's name may be.

Specification: RFC 9110, sections 5.1 (field names), 5.6.2 (tokens) and 7.6.1 (the fields of a connection).
"""

import re
from typing import Final

CONNECTION_FIELDS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that say how a message is framed or what becomes of its connection: a transport's own."""
SECRET_HEADER: Final = "x-router-secret"  # noqa: S105  # the header's name, not a secret
"""By this header a subgraph knows the router."""

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_field_name(name: str) -> bool:
    """Whether a header can have this name."""
    return _FIELD_NAME.fullmatch(name) is not None
