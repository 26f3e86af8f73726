"""What the HTTP protocol asks of an application that it serves, beside ASGI: limits, refusals, whether the end is near.

Any ASGI application can be served. One that has what `Edge` has is asked for it, and one with a method `watch` is shown
the connections, a `Held`, that it is served on. One with a method `end_streams` is called when the server is about to
stop, to end what has no end of its own, WebSockets as well. For every other there are the defaults of this module.
"""

from typing import Final, Protocol

import orjson

from trifolio.errors import RouterError
from trifolio.limits import Limits

RawHeaders = tuple[tuple[bytes, bytes], ...]

BODILESS_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})
"""Methods whose requests may have a body, which says nothing (RFC 9110, section 9.3)."""

_HEADERS: Final[RawHeaders] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Held(Protocol):
    """How many connections there are, and what they hold."""

    @property
    def refused(self) -> int:
        """How many were refused so far, as there were too many."""

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that have not arrived whole."""

    def __len__(self) -> int:
        """How many there are."""


class Edge(Protocol):
    """The application's side of a connection."""

    @property
    def limits(self) -> Limits:
        """What clients may send, and how long they may take."""

    @property
    def draining(self) -> bool:
        """Whether the process is about to end: clients are told to come back on another connection."""

    @property
    def trusted_proxies(self) -> int:
        """How many proxies stand in front: with any, an address is not one client's."""

    def wants_body(self, method: str, path: str) -> bool:
        """Whether such a request is answered by what its body says, so that there is no answer before it is whole."""

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        """The status, the headers and the body of an answer to what is no request that the application could be handed.

        It is the application's to count and to log. `request_id_given` is the client's `x-request-id`, where one came.
        """


def plain_refusal(refusal: RouterError) -> tuple[int, RawHeaders, bytes]:
    """The status, the headers and the body of a refusal: a GraphQL error."""
    return refusal.status, _HEADERS, orjson.dumps({"errors": [error.to_json() for error in refusal.errors()]})


class PlainEdge:
    """The edge of an application that says nothing about it."""

    limits = Limits()
    draining = False
    trusted_proxies = 0

    def wants_body(self, method: str, path: str) -> bool:
        """Whether the method is one whose requests have bodies."""
        return method not in BODILESS_METHODS

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        """A GraphQL error."""
        return plain_refusal(refusal)


def edge_of(app: object) -> Edge:
    """The application's edge, or the plain one."""
    if all(hasattr(app, name) for name in ("limits", "draining", "trusted_proxies", "wants_body", "refuse")):
        edge: Edge = app  # type: ignore[assignment]  # it has all of it
        return edge
    return PlainEdge()
