"""The seam between the executor and whatever carries a request to a subgraph: HTTP, memory, or a test's own.

A transport says what became of one request. It either returns what the subgraph answered, decoded or as bytes, or it
raises `SubgraphError` with a code of the catalogue; any other exception is a bug and is reported as one.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from trifolio.executor.in_flight import InFlight
from trifolio.query_plan import OperationKind


@dataclass(slots=True)
class SubgraphRequest:
    """One GraphQL request to one subgraph; to change one, make another with `dataclasses.replace`.

    It is not frozen, as that would cost a call per field and fetch.
    """

    subgraph: str
    """The subgraph's name."""
    kind: OperationKind
    """Whether `operation` is a query, a mutation or a subscription."""
    operation: str
    """The operation's text."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """The client's variables that the operation uses and the representations: JSON values."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The client's headers, names in lower case; the transport decides which of them the subgraph gets."""
    context: object = None
    """What the caller of the engine handed in; only transports within this process can use it."""
    own_headers: Mapping[str, str] | None = None
    """Headers that a plug-in sends, names in lower case: they go as they are, in place of others of their names."""
    url: str | None = None
    """Where a plug-in sends it, if not to the subgraph's own URL; only for transports over HTTP."""


@dataclass(slots=True)
class SubgraphResponse:
    """What a subgraph answered: `body` as bytes of JSON, or `payload` where it is decoded already.

    A transport that does not need to look into the answer leaves the bytes alone, so that they are decoded once, and
    straight into the shape that the plan wants. A payload belongs to the executor from here on, which may change it.
    """

    body: bytes | None = None
    """The answer's JSON text in UTF-8."""
    payload: object = None
    """The answer as JSON values: a mapping with `data` and `errors`. It counts where there is no `body`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The response's headers, names in lower case, fields of one name joined; without its cookies."""
    status: int | None = None
    """The response's HTTP status; None where there is no HTTP."""
    set_cookies: tuple[str, ...] = ()
    """The values of the response's Set-Cookie headers, each by itself, as it came."""
    is_shared: bool = False
    """Whether another request brought it, which was the same and under way already."""


@dataclass(slots=True)
class SubgraphEvent(SubgraphResponse):
    """One event of a subscription, where there is more to say of it than what it holds."""

    is_resumed: bool = False
    """Whether the connection was lost and made again before it, so that events may be missing."""


class Transport(Protocol):
    """Carries requests to one subgraph. One transport serves all requests of a process at the same time."""

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send one request and wait for its answer; raises `SubgraphError` where there is none worth reading."""

    async def close(self) -> None:
        """Release what the transport holds; nothing is sent after that."""


Tell = Callable[[SubgraphResponse | Exception], None]
"""Is told what a request came to: what `Transport.send` would return, or raise."""


class BeginningTransport:
    """A transport that can send without being waited for, most of the time.

    A class rather than a protocol: what it is, is asked for every fetch.
    """

    def can_begin(self) -> bool:
        """Whether `begin` can send a request now."""
        raise NotImplementedError

    def begin(self, request: SubgraphRequest, tell: Tell, /) -> InFlight | None:
        """Send one request now, and tell what it came to later, never within this call, from the event loop.

        None where it has to be sent with `send`. Raises SubgraphError where it cannot be sent at all. Nothing has been
        sent in either case.
        """
        raise NotImplementedError


@runtime_checkable
class SubscribingTransport(Transport, Protocol):
    """A transport that carries subscriptions as well: one request, any number of answers."""

    def subscribe(self, request: SubgraphRequest, /) -> AsyncIterator[SubgraphResponse]:
        """Send one subscription and give its events as they come, until the subgraph ends it.

        Whoever stops reading closes the iterator, which ends the subscription. Raises `SubgraphError` where it cannot
        be had, or breaks off.
        """
