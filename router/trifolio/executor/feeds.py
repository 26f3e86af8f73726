"""One subscription at a subgraph, for whoever listens to it: a task reads its events, each listener has a queue.

The problem. A subgraph sends events when it likes, and a client takes them when it can. Whatever lies between must not
grow, and one that does not read must cost neither memory nor the others' events.

The idea. A `Feed` reads the subgraph's events, and puts each into the queue of every `Listener`. A queue is bounded, by
events and by bytes. Where it is full the feed waits for the listener, in all for so long as its patience lasts; a
listener that has taken everything has all of it again. What comes after that is decided by `WhenFull`: the events that
wait give way to the newest, or the newest is left out, or the listener's stream ends. What a listener missed it is told
with the next event that it gets.

Why it is right. A burst is only late, as the feed waits; a listener that is slower than its events for good has no
patience left when it has been so for a while, as its queue is never empty, and from then on nobody waits for it. The
first listener starts the feed, the last one that leaves ends it, and with it the subgraph's subscription.

What it costs. A task per feed, a queue per listener, a future for each time a listener waits. What several listeners
make of one event they keep beside it (`Event.beside`), so that it is made once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from trifolio.errors import ErrorCode, InternalText, RouterError, SubgraphError
from trifolio.executor.merge import copy_json
from trifolio.executor.transport import SubgraphResponse


class WhenFull(Enum):
    """What becomes of the events that a listener has no room for."""

    CONFLATE = "conflate"
    """The newest takes the place of all that wait."""
    DROP = "drop"
    """The newest is left out."""
    END = "end"
    """The stream ends when what waits has been read."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a listener's queue may hold, and what becomes of what does not fit."""

    events_max: int
    bytes_max: int
    """Bytes of events that are bytes: those of subgraphs elsewhere."""
    patience_ms: int
    """How long the feed waits for the listener in all, until it has taken everything."""
    when_full: WhenFull


@dataclass(slots=True)
class Event:
    """What a listener gets."""

    response: SubgraphResponse
    """The subgraph's event."""
    missed: int = 0
    """How many events before it the listener did not get."""
    beside: dict[Hashable, object] | None = None
    """What listeners keep for one another; all who get the same event have the same. None: there is one alone."""


class Feed:
    """One subscription at a subgraph, read by one task."""

    def __init__(
        self, subgraph: str, open_events: Callable[[], AsyncIterator[SubgraphResponse]], on_end: Callable[[], None]
    ) -> None:
        """`open_events` subscribes; `on_end` is called once, when nobody can join any more."""
        self._subgraph = subgraph
        self._open_events = open_events
        self._on_end = on_end
        self._listeners: list[Listener] = []
        self._reading: asyncio.Task[None] | None = None
        self._is_over = False

    def listen(self, room: Room) -> "Listener":
        """Another listener, which gets what comes from here on; the first one starts the feed."""
        listener = Listener(self, room)
        self._listeners.append(listener)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return listener

    async def leave(self, listener: "Listener") -> None:
        """The listener has gone; with the last one the subscription ends."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._reading is not None and not self._reading.done():
            self._end()
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        """Hand every event on, until the subgraph ends it or nobody listens."""
        failure: RouterError | None = None
        try:
            events = self._open_events()
            try:
                async for event in events:
                    await self._hand_on(event)
            finally:
                if isinstance(events, AsyncGenerator):
                    await events.aclose()
        except RouterError as error:
            failure = error
        except Exception as bug:  # noqa: BLE001  # a transport's: as with a fetch, it fails what it was to bring
            internal = InternalText(repr(bug))
            failure = SubgraphError(ErrorCode.INTERNAL_SERVER_ERROR, self._subgraph, internal=internal)
        finally:
            self._end()
            for listener in self._listeners:
                listener.end(failure)

    async def _hand_on(self, event: SubgraphResponse) -> None:
        listeners = tuple(self._listeners)
        beside: dict[Hashable, object] | None = {} if len(listeners) > 1 and event.body is not None else None
        copies = [_copy(event) for _ in listeners[1:]]  # before anybody has the first, and changes it
        for listener, own in zip(listeners, (event, *copies), strict=True):
            if listener.is_full(own):
                await listener.wait_for_room()
            listener.put(own, beside)
        await asyncio.sleep(0)  # a source that never waits must not keep the loop

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_end()


class Listener:
    """One reader of a feed."""

    def __init__(self, feed: Feed, room: Room) -> None:
        self._feed = feed
        self._room = room
        self._waiting: list[Event] = []  # a deque is 0.7 kB even if it is empty, and there are few at a time
        self._bytes = 0
        self._missed = 0
        """How many events were left out behind those that wait."""
        self._patience_s = room.patience_ms / 1000
        self._is_over = False
        self.is_cut_off = False
        """Whether it was ended at once: an event that was taken before that is late."""
        self._failure: RouterError | None = None
        self._progress: asyncio.Future[None] | None = None
        """What waits for an event, or for room: never both, as one of the two has nothing to wait for."""

    def is_full(self, event: SubgraphResponse) -> bool:
        """Whether another event has no room."""
        room = self._room
        return len(self._waiting) >= room.events_max or (
            bool(self._waiting) and self._bytes + _size(event) > room.bytes_max
        )

    async def wait_for_room(self) -> None:
        """Wait until something was taken, as long as there is patience."""
        if self._patience_s <= 0 or self._is_over:
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._patience_s):
                await self._wait()
        except TimeoutError:
            self._patience_s = 0.0
        else:
            self._patience_s -= loop.time() - started

    def put(self, event: SubgraphResponse, beside: dict[Hashable, object] | None = None) -> None:
        """Another event, and what is kept beside it: kept, or dealt with as one that has no room."""
        if self._is_over:
            return
        if self.is_full(event):
            when_full = self._room.when_full
            if when_full is WhenFull.END:
                self.end(RouterError(ErrorCode.SUBSCRIPTION_TOO_SLOW))
                return
            if when_full is WhenFull.DROP:
                self._missed += 1
                return
            self._missed = sum(1 + each.missed for each in self._waiting)
            self._waiting.clear()
            self._bytes = 0
        self._waiting.append(Event(event, self._missed, beside))
        self._missed = 0
        self._bytes += _size(event)
        self._wake()

    def end(self, failure: RouterError | None = None) -> None:
        """When what waits has been taken nothing comes any more, for a reason if there is one."""
        if not self._is_over:
            self._is_over = True
            self._failure = failure
        self._wake()

    def end_at_once(self, failure: RouterError | None = None) -> None:
        """Nothing comes any more, whatever waits."""
        self._waiting.clear()
        self._bytes = 0
        self._failure = failure
        self._is_over = self.is_cut_off = True
        self._wake()

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> Event:
        """The next event. Raises RouterError where that is how it ends."""
        while not self._waiting:
            if self._is_over:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                raise StopAsyncIteration
            await self._wait()
        event = self._waiting.pop(0)
        self._bytes -= _size(event.response)
        if not self._waiting:
            self._patience_s = self._room.patience_ms / 1000
        self._wake()
        return event

    async def aclose(self) -> None:
        """Leave the feed; who waits for an event waits no longer."""
        self.end_at_once(self._failure)
        await self._feed.leave(self)

    async def _wait(self) -> None:
        self._progress = asyncio.get_running_loop().create_future()
        await self._progress

    def _wake(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None and not progress.done():
            progress.set_result(None)


_NO_BYTES: Final = b""


def _size(event: SubgraphResponse) -> int:
    return len(event.body or _NO_BYTES)


def _copy(event: SubgraphResponse) -> SubgraphResponse:
    """An event for one more listener: what is read off a tree may change the values that came in."""
    return event if event.body is not None else replace(event, payload=copy_json(event.payload))
