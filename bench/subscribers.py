"""Subscribers: thousands of connections to one router, each with an event a second.

    memory, websocket    each has a subscription of its own, at a subgraph in the router's process
    memory, sse          the same over server-sent events
    shared, websocket    all are the same subscription at a subgraph elsewhere, so that the router has one there, and
    shared, sse          all their events come at once

Every event is counted by its number: one that is missing, comes twice or out of order ends the measurement. A
subscriber's memory is what the router has grown by since its first hundred, divided; how late an event is, is told from
the event itself, which says when it was sent.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from bench.alone import Report
from bench.machine import ROOT
from bench.processes import NotMeasured, cpu_seconds, free_port, rss_bytes, running
from bench.ticks import SDL

QUERY = "subscription { tick { number at symbol } }"
WAYS = (("memory", "websocket"), ("memory", "sse"), ("shared", "websocket"), ("shared", "sse"))
"""Where the events come from, and what they come over."""
WARM = 100
"""So many subscribe before memory is looked at: what is there once is there by then."""
AT_ONCE = 100
"""So many connect at a time."""
SETTLE_S = 2.0
"""2 s after the last has connected, before anything is measured."""
START_TIMEOUT_S = 120.0
_DESCRIPTORS_MORE = 500
_PING = b"\x89\x00"
_PONG = b"\x8a\x80" + bytes(4)
_NUMBER = b'"number":'
_AT = b'"at":'
_BODY = json.dumps({"query": QUERY}).encode()


class Subscribers:
    """Connections of one kind to one router, and what they have seen."""

    def __init__(self, kind: "type[_Subscriber]", port: int) -> None:
        self._kind = kind
        self._port = port
        self._connections: list[_Subscriber] = []
        self.begun = 0
        """How many have had an event."""
        self.events = 0
        self.latencies_ms = array("d")
        self.problem = ""
        """What was wrong first."""
        self._is_leaving = False

    async def begin(self, count: int) -> None:
        """So many more, each with its first event. Raises NotMeasured where one has none, or ends."""
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + START_TIMEOUT_S
        left = count
        while left:
            group = min(left, AT_ONCE)
            left -= group
            made = [loop.create_connection(lambda: self._kind(self), "127.0.0.1", self._port) for _ in range(group)]
            self._connections += [protocol for _, protocol in await asyncio.gather(*made)]
            while self.begun < len(self._connections):
                if time.monotonic() > deadline or self.problem:
                    raise NotMeasured(self.problem or f"{self.begun} of {len(self._connections)} have had an event")
                await asyncio.sleep(0.01)

    def leave(self) -> None:
        """All of them."""
        self._is_leaving = True
        for connection in self._connections:
            connection.close()

    def has_failed(self, problem: str) -> None:
        """One of them: the first is kept."""
        if not self._is_leaving:
            self.problem = self.problem or problem


class _Subscriber(asyncio.Protocol):
    """One connection: asks, and reads what comes without decoding more of it than two numbers."""

    ASKS = b""
    """What it says, all at once."""

    def __init__(self, all_of_them: Subscribers) -> None:
        self._all = all_of_them
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._next: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.write(self.ASKS)

    def data_received(self, data: bytes) -> None:
        """Take every event in it."""
        now = time.monotonic()
        self._buffer += data
        if _PING in self._buffer:  # no other bytes are like it: the events are plain text
            self._buffer = self._buffer.replace(_PING, b"")
            assert self._transport is not None
            self._transport.write(_PONG)
        while (at := self._buffer.find(_AT)) >= 0 and (end := self._buffer.find(b",", at)) >= 0:
            number = self._buffer.find(_NUMBER)
            self._take(
                int(self._buffer[number + len(_NUMBER) : at - 1]), now - float(self._buffer[at + len(_AT) : end])
            )
            self._buffer = self._buffer[end:]

    def _take(self, number: int, late_s: float) -> None:
        if self._next is None:
            self._all.begun += 1
        elif number != self._next:
            self._all.has_failed(f"event {number} came where {self._next} was due")
        self._next = number + 1
        self._all.events += 1
        self._all.latencies_ms.append(late_s * 1e3)

    def connection_lost(self, exc: Exception | None) -> None:
        """It should not."""
        self._all.has_failed("a connection was lost")

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()


def _frame(text: bytes) -> bytes:
    """A text frame under the mask 0, which leaves it as it is (RFC 6455, section 5.3)."""
    length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0xFE]) + len(text).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


class _OverEvents(_Subscriber):
    """By server-sent events."""

    ASKS = (
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
    )


class _OverWebSocket(_Subscriber):
    """By graphql-transport-ws: all messages at once, as the router takes them in their order."""

    ASKS = (
        b"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        + _frame(b'{"type":"connection_init"}')
        + _frame(b'{"type":"subscribe","id":"1","payload":%b}' % _BODY)
    )


_SUBSCRIBERS = {"websocket": _OverWebSocket, "sse": _OverEvents}


async def measure_subscribers(
    count: int, seconds: float, report: Report, folder: Path, ways: Sequence[tuple[str, str]] = WAYS
) -> None:
    """Each way with so many subscribers for so many seconds. Raises NotMeasured where an event is lost."""
    _raise_descriptors(count + WARM + _DESCRIPTORS_MORE)
    for source, face in ways:
        await _measure(source, face, count, seconds, report, folder)


async def _measure(source: str, face: str, count: int, seconds: float, report: Report, folder: Path) -> None:
    async with _router(source, count, folder) as (port, pid):
        seen = Subscribers(_SUBSCRIBERS[face], port)
        try:
            await seen.begin(WARM)
            await asyncio.sleep(SETTLE_S)
            before = rss_bytes([pid])
            await seen.begin(count)
            await asyncio.sleep(SETTLE_S)
            seen.events, seen.latencies_ms = 0, array("d")
            cpu, started = cpu_seconds([pid]), time.monotonic()
            await asyncio.sleep(seconds)
            cpu, lasted = cpu_seconds([pid]) - cpu, time.monotonic() - started
            events, latencies = seen.events, sorted(seen.latencies_ms)
            after = rss_bytes([pid])
        finally:
            seen.leave()
    if seen.problem:
        raise NotMeasured(seen.problem)
    if events < (count + WARM) * (seconds - 1):
        raise NotMeasured(f"{events} events for {count + WARM} subscribers in {seconds} s: the machine is too slow")
    report(
        {
            "part": "subscribers",
            "name": f"{source}_{face}",
            "title": f"{count:,} subscribers, {source}, {face}",
            "subscribers": count,
            "cpu_ms": cpu * 1e3 / events,
            "per_s": events / lasted,
            "p50_ms": latencies[len(latencies) // 2],
            "p99_ms": latencies[len(latencies) * 99 // 100],
            "kb_each": (after - before) / count / 1000,
        }
    )


@asynccontextmanager
async def _router(source: str, count: int, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """A router with its source of ticks; yields its port and its process."""
    port = free_port(2)
    settings = {
        "access_log": False,
        "limits": {
            "connections_per_address_max": count + WARM + 10,
            "subscriptions_per_client_max": count + WARM + 10,
            "subscriptions_max": max(count + WARM + 10, 10_000),
        },
        "sharing": {"subscriptions": source == "shared"},
    }
    schema: object = {"python": "bench.ticks:SCHEMA"}
    subgraph: dict[str, object] = {"schema": schema}
    if source == "shared":
        (folder / "ticks.graphql").write_text(SDL)
        subgraph = {"routing_url": f"http://127.0.0.1:{port + 1}", "schema": {"file": "ticks.graphql"}}
        settings["subgraphs"] = {"ticks": {"subscriptions": {"protocol": "websocket"}}}
    (folder / "supergraph.yaml").write_text(json.dumps({"subgraphs": {"ticks": subgraph}}))
    (folder / "router.yaml").write_text(json.dumps(settings))
    files = ["--config", str(folder / "supergraph.yaml"), "--settings", str(folder / "router.yaml")]
    command = [sys.executable, "-m", "trifolio", "serve", *files, "--port", str(port)]
    async with contextlib.AsyncExitStack() as stack:
        if source == "shared":
            ticks = [sys.executable, "-m", "bench.ticks", str(port + 1)]
            elsewhere = await stack.enter_async_context(running(ticks, folder / "ticks.log", folder=ROOT))
            await elsewhere.wait_for_port(port + 1)
        router = await stack.enter_async_context(running(command, folder / "router.log", folder=ROOT))
        await router.wait_for_port(port)
        yield port, router.pid


def _raise_descriptors(wanted: int) -> None:
    """Have as many descriptors as there are connections. Raises NotMeasured where the system permits fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise NotMeasured(f"{wanted} descriptors are needed, and {hard} are permitted: ulimit -n {wanted}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
