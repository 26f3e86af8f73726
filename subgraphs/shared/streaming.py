"""Streams: answers that go on for as long as somebody listens, such as a subscription's.

Whatever face has one, it takes a place here, of which a caller has so many and a process so many; while nothing
happens, there is a heartbeat; nothing is told to a caller whose token has expired or whose session has ended, and the
stream ends then; and every stream ends when the process is about to.

    with streams.place("user 5f..."):
        async for change in streams.paced(changes, check):      # None is a heartbeat
            ...
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from subgraphs.shared.errors import TOO_MANY_REQUESTS, UNAVAILABLE, Refusal

T = TypeVar("T")

HEARTBEAT_S = 10.0
"""10 seconds: proxies close what is silent for 30 or more. As often it is seen that a session has ended."""
RETRY_AFTER_S = 5
"""5 seconds: how long who finds no place waits; streams last for minutes."""

Check = Callable[[], Awaitable[float | None]]
"""Says how many seconds the caller's token is good for, None for nobody's; raises Refusal where it is over."""


class Streams:
    """The streams of one process."""

    def __init__(self, *, streams_max: int, per_caller_max: int) -> None:
        self._streams_max = streams_max
        self._per_caller_max = per_caller_max
        self._held: Counter[str] = Counter()
        self._ends: set[asyncio.Future[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._has_ended = False

    async def count(self) -> int:
        """How many there are."""
        return self._held.total()

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Takes a place for a caller, who is known by that text, to the end of the block.

        Raises:
            Refusal: `too-many-requests` where the caller has as many as one may; `unavailable` where all are taken, or
                the process is about to end.
        """
        self.require_place(caller)
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def require_place(self, caller: str) -> None:
        """Raises what `place` raises where there is none now, for answers that begin before their stream does."""
        if self._held.get(caller, 0) >= self._per_caller_max:
            message = f"You have {self._per_caller_max} streams already. End one of them."
            raise Refusal(TOO_MANY_REQUESTS, message, retry_after_s=RETRY_AFTER_S)
        if self._has_ended or self._held.total() >= self._streams_max:
            raise Refusal(UNAVAILABLE, "There is no place for another stream.", retry_after_s=RETRY_AFTER_S)

    def end(self) -> None:
        """Ends all streams, and lets none begin any more."""
        self._has_ended = True
        for end in self._ends:
            if not end.done():
                end.set_result(None)

    async def closed(self) -> None:
        """Waits until the streams that have ended hold nothing any more, such as a connection to the database."""
        while self._closing:
            await asyncio.wait(set(self._closing))

    async def paced(self, source: AsyncGenerator[T, None], check: Check) -> AsyncGenerator[T | None, None]:
        """What the source yields, None where nothing came for a while; it ends with the source, or with the process.

        Raises:
            Refusal: what `check` raises, before anything more is told.
        """
        end = asyncio.get_running_loop().create_future()
        self._ends.add(end)
        coming: asyncio.Task[T] | None = None
        try:
            while not self._has_ended:
                left_s = await check()
                if coming is None:
                    coming = asyncio.ensure_future(_next(source))
                timeout_s = HEARTBEAT_S if left_s is None else min(HEARTBEAT_S, left_s)
                await asyncio.wait({coming, end}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    return
                await check()
                if not coming.done():
                    yield None
                    continue
                try:
                    item = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield item
        finally:
            self._ends.discard(end)
            # In a task of its own: whoever is cancelled here may be cancelled at every turn until it has ended.
            closing = asyncio.create_task(_close(source, coming))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _close(source: AsyncGenerator[T, None], coming: asyncio.Task[T] | None) -> None:
    """Ends a source that is being read, or is not."""
    if coming is not None:
        coming.cancel()
        await asyncio.wait({coming})
        if not coming.cancelled():
            coming.exception()  # nobody is left to hear of it
    await source.aclose()
