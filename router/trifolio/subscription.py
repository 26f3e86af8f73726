"""Subscriptions as their clients have them: one answer after the other, until something ends it, and then why.

Whatever ends one (the subgraph, the client, a token that expires, the router's own end) passes through `Subscription`,
so that the subgraph's side is released exactly once, and the client is told the reason where there is one to tell.
`Subscriptions` are all that one router has: it counts them, and has those of one caller that are the same at a subgraph
read one feed; an event of such a feed is answered once for all whose answer is the same.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from trifolio.config import Config
from trifolio.errors import ErrorCode, RouterError
from trifolio.executor import Around, Transport
from trifolio.executor.encoding import encode_json
from trifolio.executor.events import open_events, subscribing
from trifolio.executor.feeds import Event, Feed, Listener, Room, WhenFull
from trifolio.executor.transport import SubgraphEvent, SubgraphRequest, SubgraphResponse
from trifolio.response import Response
from trifolio.sharing import Sharing

MISSED: Final = "missed"
"""The key of an event's `extensions.subscription` that says how many events before it were left out."""
RESUMED: Final = "resumed"
"""The key that says that the subgraph was lost and found again before the event: what it sent meanwhile is missing."""


class Subscription:
    """The answers to one subscription."""

    def __init__(
        self,
        listener: Listener,
        answer: Callable[[SubgraphResponse], Awaitable[Response]],
        on_end: Callable[["Subscription", RouterError | None], None],
        alike: Hashable | None,
    ) -> None:
        """`answer` makes an answer of an event and raises nothing; `on_end` is told the end, once, and the reason."""
        self._listener = listener
        self._answer = answer
        self._alike = alike
        self._on_end: Callable[[Subscription, RouterError | None], None] | None = on_end
        self._timer: asyncio.TimerHandle | None = None
        self.answered = 0
        """How many events were answered."""
        self.missed = 0
        """How many were left out."""

    def end_at(self, when: float, reason: RouterError) -> None:
        """End at the loop's time `when`, whatever waits."""
        self._timer = asyncio.get_running_loop().call_at(when, self._listener.end_at_once, reason)

    def end(self, reason: RouterError) -> None:
        """End when what waits has been read."""
        self._listener.end(reason)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Response:
        try:
            event = await self._listener.__anext__()
            response = await self._response(event)
            if self._listener.is_cut_off:
                event = await self._listener.__anext__()
        except RouterError as reason:
            await self._close(reason)
            return Response(None, reason.errors(), reason)
        except StopAsyncIteration:
            await self._close(None)
            raise
        self.answered += 1
        told: dict[str, object] = {}
        if event.missed:
            self.missed += event.missed
            told[MISSED] = event.missed
        if isinstance(event.response, SubgraphEvent) and event.response.is_resumed:
            told[RESUMED] = True
        if not told:
            return response
        return replace(response, extensions={**(response.extensions or {}), "subscription": told})

    async def _response(self, event: Event) -> Response:
        """The answer to an event: made now, or by another whose answer is the same."""
        beside, alike = event.beside, self._alike
        if beside is None or alike is None:
            return await self._answer(event.response)
        known = beside.get(alike)
        if isinstance(known, Response):
            return known
        sharing: Sharing[Response] = known if isinstance(known, Sharing) else Sharing()
        beside[alike] = sharing
        response, _ = await sharing.share(alike, partial(self._answer, event.response))
        beside[alike] = response
        return response

    async def aclose(self) -> None:
        """Leave: nobody listens any more."""
        await self._close(None)

    async def _close(self, reason: RouterError | None) -> None:
        on_end, self._on_end = self._on_end, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self._listener.aclose()
        finally:
            if on_end is not None:
                on_end(self, reason)


class Subscriptions:
    """The open subscriptions of one router."""

    def __init__(self, transports: Mapping[str, Transport], config: Config) -> None:
        self._transports = transports
        self._limits = limits = config.limits
        self._room = Room(
            limits.subscription_events_waiting_max,
            limits.subscription_bytes_waiting_max,
            limits.subscription_patience_ms,
            WhenFull(config.subscriptions.when_full),
        )
        self._open: set[Subscription] = set()
        self._by_client: Counter[object] = Counter()
        self._feeds: dict[Hashable, Feed] = {}
        """By all that their events follow from."""
        self._drains = False
        self._events = self._events_missed = 0

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def feeds(self) -> int:
        """How many are open at subgraphs."""
        return len(self._feeds)

    @property
    def events(self) -> int:
        """How many events were answered so far."""
        return self._events + sum(each.answered for each in self._open)

    @property
    def events_missed(self) -> int:
        """How many events were left out so far."""
        return self._events_missed + sum(each.missed for each in self._open)

    def begin(
        self,
        request: SubgraphRequest,
        answer: Callable[[SubgraphResponse], Awaitable[Response]],
        *,
        around: Around | None,
        joins: bool,
        alike: Hashable | None,
        client: object,
        left_s: float,
        on_end: Callable[[RouterError | None], None],
    ) -> Subscription:
        """One more, for `left_s` seconds at most; `client` is who is counted, None where nobody knows.

        `answer` makes an answer of an event and raises nothing. With `joins`, it reads what the same caller's equal
        request brings already. `alike` is all that the answer to an event follows from, beside the event: it is made
        once for those that are alike; None: it is made for this one. Raises RouterError where it cannot be had.
        """
        limits = self._limits
        subscribing(self._transports, request.subgraph)
        if self._drains:
            raise RouterError(ErrorCode.SUBSCRIPTION_DRAINED)
        left_s = min(left_s, limits.subscription_lifetime_ms / 1000)
        if left_s <= 0:
            raise RouterError(ErrorCode.SUBSCRIPTION_EXPIRED)
        if len(self._open) >= limits.subscriptions_max or (
            client is not None and self._by_client[client] >= limits.subscriptions_per_client_max
        ):
            raise RouterError(ErrorCode.TOO_MANY_SUBSCRIPTIONS)

        def has_ended(subscription: Subscription, reason: RouterError | None) -> None:
            self._open.discard(subscription)
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
            self._events += subscription.answered
            self._events_missed += subscription.missed
            on_end(reason)

        listener = self._feed(request, around, joins=joins).listen(self._room)
        subscription = Subscription(listener, answer, has_ended, alike)
        subscription.end_at(asyncio.get_running_loop().time() + left_s, RouterError(ErrorCode.SUBSCRIPTION_EXPIRED))
        self._open.add(subscription)
        self._by_client[client] += 1
        return subscription

    def end_all(self) -> None:
        """End every one when its client has what waits for it, and begin none any more."""
        self._drains = True
        for subscription in tuple(self._open):
            subscription.end(RouterError(ErrorCode.SUBSCRIPTION_DRAINED))

    async def close(self) -> None:
        """End every one, read or not."""
        self.end_all()
        for subscription in tuple(self._open):
            await subscription.aclose()

    def _feed(self, request: SubgraphRequest, around: Around | None, *, joins: bool) -> Feed:
        """What brings the subgraph's events: what brings them to the same caller already, where that is known."""
        names: tuple[str, ...] | None = getattr(self._transports[request.subgraph], "forwarded_headers", None)
        key: Hashable = object()
        if joins and names is not None:
            sent = tuple([request.headers.get(name) for name in names])
            key = request.subgraph, request.operation, encode_json(dict(request.variables)), sent
            known = self._feeds.get(key)
            if known is not None:
                return known

        def open_feed() -> AsyncIterator[SubgraphResponse]:
            return open_events(self._transports, request, around)

        def has_ended() -> None:
            del self._feeds[key]

        feed = self._feeds[key] = Feed(request.subgraph, open_feed, has_ended)
        return feed
