"""Pages of other origins, which browsers let read an answer only where it says so.

Off unless `cors_origins` names some, each an exact origin. Tokens travel in the Authorization header, which a page has
to hold itself: there are no cookies that a browser would add, and no credentials to allow.
"""

import re
from collections.abc import Iterable

REQUEST_HEADERS = "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id"
"""What a page may send; `accept` and the like need no permission."""
RESPONSE_HEADERS = (
    "content-disposition, etag, idempotency-key, idempotent-replayed, link, location, retry-after, x-request-id"
)
"""What a page may read beside what it always may."""
PREFLIGHT_AGE_S = 7_200
"""Two hours, the longest that Chromium keeps an answer to a preflight."""
_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII)
_OWN_PORTS = {("http", ":80"), ("https", ":443")}
"""Browsers leave them out."""


def checked_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """The origins; raises ValueError for what no browser sends as one: a path, a pattern, the scheme's own port."""
    checked = tuple(origins)
    for origin in checked:
        match = _ORIGIN.fullmatch(origin)
        if match is None or match.groups() in _OWN_PORTS:
            raise ValueError(f"{origin!r} is no origin as browsers send it, such as https://app.example.com.")
    return checked


def cors_headers(origins: Iterable[str], origin: str | None) -> dict[str, str]:
    """The headers that let a page of that origin read an answer, if it is one of those."""
    if origin is None or origin not in origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": RESPONSE_HEADERS}


def preflight_headers(allowed_methods: str) -> dict[str, str]:
    """What a page may send to a path, in answer to the question that browsers ask before it does."""
    return {
        "Access-Control-Allow-Methods": allowed_methods,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
    }
