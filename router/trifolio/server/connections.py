"""All connections of a process: how many there may be, what they hold, and the one clock that ends what takes too long.

The clock ticks four times a second, and with each tick looks at every connection: has its deadline, counted in ticks,
come? So to start or to stop a clock is to assign a number. A timer per phase of a request would cost more than the rest
of the protocol; the price is that a deadline is met up to a tick late, and a comparison per connection and tick. Where
thousands are late at once, they are ended a few at a time, the last of them some seconds later.

Who may come in is decided in two steps. One address may have so many connections (not counted behind proxies, whose
addresses they would all be), and all together so many. When these are used up, the connection that has waited longest
without a whole request makes room: a client that works is not shut out by those that only hold a line.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import islice
from math import ceil
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from trifolio.errors import ErrorCode, RouterError
from trifolio.server.edge import Edge, edge_of, plain_refusal
from trifolio.server.exchange import whole_response

TICK_S: Final = 0.25
"""250 ms: how much later than its limit a connection may be ended."""
ENDED_AT_ONCE: Final = 25
"""25 connections are ended in one round of the loop, about a millisecond: thousands may be late at the same moment."""
ENDED_EVERY_S: Final = 0.01
"""10 ms until the next ones are: who held so many comes again with each as soon as it is ended, and a round of the loop
accepts all that have come. Ten thousand are ended in four seconds, in which the loop is mostly there for others."""
NEVER: Final = 1 << 62
"""The deadline of what has none."""


class Connection(Protocol):
    """What is asked of one connection."""

    deadline: int
    write_deadline: int

    def on_deadline(self) -> None:
        """Its `deadline` has come."""

    def on_write_deadline(self) -> None:
        """Its `write_deadline` has come."""

    def give_way(self) -> None:
        """End at once: another needs the place more."""


class Connections:
    """The connections that one server has at the moment."""

    def __init__(self, edge: Edge, end_streams: Callable[[], None] | None = None) -> None:
        """`edge` is what serves them all; `end_streams` ends what has no end of its own, where it has such a thing."""
        limits = edge.limits
        self.edge = edge
        self.limits = limits
        self.tick = 0
        """Now, in ticks."""
        self.is_closing = False
        """Whether the server is about to stop."""
        self.end_streams = end_streams
        self.refused = 0
        """How many connections were refused, as there were too many."""
        self.held_bytes = 0
        """Bytes of bodies that have not arrived whole."""
        busy = RouterError(ErrorCode.OVERLOADED)
        self.busy_response = whole_response(*plain_refusal(busy), extra=b"retry-after: 1\r\n")
        """What a connection is told that cannot stay; made once, as refusing has to be cheap."""
        self.head_ticks = ticks(limits.header_timeout_ms)
        self.body_ticks = ticks(limits.body_timeout_ms)
        self.idle_ticks = ticks(limits.keep_alive_timeout_ms)
        self.request_ticks = ticks(limits.request_timeout_ms)
        self.send_ticks = ticks(limits.send_timeout_ms)
        self._address_counts = not edge.trusted_proxies
        self._by_address: Counter[str] = Counter()
        self._all: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._late: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def close(self) -> None:
        """The server is about to stop: what has no end of its own is told to end, once."""
        if not self.is_closing:
            self.is_closing = True
            if self.end_streams is not None:
                self.end_streams()

    def admit(self, connection: Connection, address: str | None) -> bool:
        """Whether a connection may stay; another may have to go for it."""
        if self._by_address.get(address or "", 0) >= self.limits.connections_per_address_max:
            self.refused += 1
            return False
        if len(self._all) >= self.limits.connections_max:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self.refused += 1
                return False
            longest.give_way()
        if self._address_counts and address is not None:
            self._by_address[address] += 1
        self._all.add(connection)
        self._waiting[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._on_timer)
        return True

    def remove(self, connection: Connection, address: str | None) -> None:
        """A connection that was admitted is gone, or has been told to go."""
        if connection in self._all:
            self._all.remove(connection)
            self._waiting.pop(connection, None)
            self._forget_address(address)

    def begin(self, connection: Connection) -> None:
        """It has a whole request under way from here on."""
        self._waiting.pop(connection, None)

    def wait(self, connection: Connection) -> None:
        """It has none any more."""
        if connection in self._all:
            self._waiting[connection] = None

    def lines_of(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """The server's own fields as lines; made anew when it has new ones, once a second for the date."""
        if fields is not self._fields:
            self._fields = fields
            self._lines = b"".join([b"%b: %b\r\n" % each for each in fields])
        return self._lines

    def advance(self) -> None:
        """One tick: end what is late, a few at a time."""
        self.tick = now = self.tick + 1
        late = {each: None for each in self._all if now >= each.deadline or now >= each.write_deadline}
        is_ending = bool(self._late)
        self._late |= late
        if not is_ending:
            self._end_late()

    def _end_late(self) -> None:
        """End some of those that are late; the loop is there for others before the next ones."""
        now = self.tick
        try:
            for each in list(islice(self._late, ENDED_AT_ONCE)):
                del self._late[each]
                if now >= each.write_deadline:
                    each.on_write_deadline()
                elif now >= each.deadline:
                    each.on_deadline()
        finally:  # a bug with one is no reason to leave the others
            if self._late:
                asyncio.get_running_loop().call_later(ENDED_EVERY_S, self._end_late)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self.advance()
        finally:
            if self._all:
                self._timer = asyncio.get_running_loop().call_later(TICK_S, self._on_timer)

    def _forget_address(self, address: str | None) -> None:
        if self._address_counts and address is not None:
            self._by_address[address] -= 1
            if self._by_address[address] <= 0:
                del self._by_address[address]


def ticks(milliseconds: int) -> int:
    """A time in ticks; one more than it has, as the one that runs has begun already."""
    return ceil(milliseconds / (TICK_S * 1000)) + 1


_by_server: "WeakKeyDictionary[Any, Connections]" = WeakKeyDictionary()


def connections_of(server: Any, app: object) -> Connections:
    """The connections of a server that serves `app`; `server` is what all its connections share."""
    found = _by_server.get(server)
    if found is None:
        found = _by_server[server] = Connections(edge_of(app), getattr(app, "end_streams", None))
        watch = getattr(app, "watch", None)
        if watch is not None:
            watch(found)
    return found
