"""What the HTTP protocol asks of an application that it serves, beside ASGI: limits, refusals, whether the end is near.

Any ASGI application can be served. One that has what `Edge` has is asked for it; for every other
there are the defaults of this module.
"""

from typing import Final, Protocol

import orjson

from trifolio.errors import RouterError
from trifolio.limits import Limits

RawHeaders = tuple[tuple[bytes, bytes], ...]

_HEADERS: Final[RawHeaders] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


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

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[RawHeaders, bytes]:
        """The headers and the body of an answer to what is no request that the application could be handed.

        It is the application's to count and to log. `request_id_given` is the client's `x-request-id`, where one came.
        """


def plain_refusal(refusal: RouterError) -> tuple[RawHeaders, bytes]:
    """The headers and the body of a refusal: a GraphQL error."""
    return _HEADERS, orjson.dumps({"errors": [error.to_json() for error in refusal.errors()]})


class PlainEdge:
    """The edge of an application that says nothing about it."""

    limits = Limits()
    draining = False
    trusted_proxies = 0

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[RawHeaders, bytes]:
        """A GraphQL error."""
        return plain_refusal(refusal)


def edge_of(app: object) -> Edge:
    """The application's edge, or the plain one."""
    if all(hasattr(app, name) for name in ("limits", "draining", "trusted_proxies", "refuse")):
        edge: Edge = app  # type: ignore[assignment]  # it has all of it
        return edge
    return PlainEdge()
