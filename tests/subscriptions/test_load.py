"""What many subscribers hold, and what one costs that never reads: bytes and events are counted, and no time."""

import asyncio
import gc
import json
import socket
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import strawberry
from graphql import build_schema

from tests.server.conftest import listening
from tests.subscriptions.test_stream import flood
from tests.subscriptions.test_upstream import elsewhere
from tests.subscriptions.test_websocket import INIT, SUBPROTOCOL
from tests.subscriptions.world import World
from trifolio.config import Config, SharingConfig, SubscriptionsConfig
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest
from trifolio.limits import Limits
from trifolio.observer import EngineState

QUERY = "subscription { ticked { symbol } }"
BYTES_EACH_MAX = 25_000
SUBSCRIBERS = 150
FACES = ("websocket", "sse")


def _frame(message: object) -> bytes:
    """A text under the mask 0, which leaves it as it is (RFC 6455, section 5.3)."""
    text = json.dumps(message).encode()
    length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0xFE]) + len(text).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


def asks(face: str) -> bytes:
    """Everything that a subscriber says."""
    body = json.dumps({"query": QUERY}).encode()
    if face == "sse":
        return (
            b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
    return (
        b"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"sec-websocket-protocol: %b\r\n\r\n"
        % SUBPROTOCOL.encode()
        + _frame(INIT)
        + _frame({"type": "subscribe", "id": "1", "payload": {"query": QUERY}})
    )


class Crowd:
    """Sockets that subscribe and never read."""

    def __init__(self, world: World, url: str, face: str) -> None:
        self.world = world
        self._port = int(url.rpartition(":")[2])
        self._face = face
        self._sockets: list[socket.socket] = []

    async def grow(self, count: int) -> None:
        """So many more, all of them subscribed."""
        for _ in range(count):
            each = socket.socket()
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await asyncio.get_running_loop().sock_connect(each, ("127.0.0.1", self._port))
            each.sendall(asks(self._face))
            self._sockets.append(each)
        async with asyncio.timeout(20):
            while self.world.router.state.subscriptions < len(self._sockets):  # noqa: ASYNC110  # a count has no event
                await asyncio.sleep(0.001)

    def leave(self) -> None:
        """All of them, without a word."""
        for each in self._sockets:
            each.close()


@asynccontextmanager
async def crowd(face: str, config: Config, world: World | None = None) -> AsyncIterator[Crowd]:
    """A router on a socket, and nobody there yet; in the end nothing is left."""
    world = world or World(config)
    async with listening(world.router.asgi()) as url:
        found = Crowd(world, url, face)
        try:
            yield found
        finally:
            found.leave()
            await world.exchange.has(0)
    world.holds_nothing()


def held() -> int:
    """Bytes that Python's objects have."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.no_cover
@pytest.mark.parametrize("face", FACES)
async def test_a_subscriber_is_small(face: str) -> None:
    """Its connection and its subscription, where one at the subgraph is for all, and each has had an event."""
    async with (
        elsewhere("websocket", sharing=SharingConfig(subscriptions=True)) as (world, _),
        crowd(face, Config(), world) as found,
    ):
        await found.grow(30)
        await told(world, 30)
        tracemalloc.start()
        try:
            before = held()
            await found.grow(SUBSCRIBERS)
            await told(world, 30 + SUBSCRIBERS)
            assert world.router.state.upstream_subscriptions == 1
            assert (held() - before) / SUBSCRIBERS < BYTES_EACH_MAX
        finally:
            tracemalloc.stop()


async def told(world: World, count: int) -> None:
    """An event for so many, which all of them have been sent."""
    await world.exchange.has(1)
    events = world.router.state.events + count
    world.exchange.tell()
    async with asyncio.timeout(20):
        while world.router.state.events < events:  # noqa: ASYNC110  # a count has no event
            await asyncio.sleep(0.001)


def core_schema() -> Any:
    """A schema of graphql-core."""
    schema = build_schema("type Query { a: Int } type Subscription { counted: Number } type Number { number: Int }")
    assert schema.subscription_type
    schema.subscription_type.fields["counted"].subscribe = lambda *_: numbers()
    schema.subscription_type.fields["counted"].resolve = lambda event, *_: event
    return schema


def strawberry_schema() -> Any:
    """One of Strawberry's."""

    @strawberry.type
    class Number:
        number: int

    @strawberry.type
    class Query:
        a: int | None = None

    async def counted() -> AsyncGenerator[Number, None]:
        async for each in numbers():
            yield Number(**each)

    kind = type("Subscription", (), {"counted": strawberry.subscription(resolver=counted)})
    counted.__annotations__["return"] = AsyncGenerator[Number, None]
    return strawberry.Schema(Query, subscription=strawberry.type(kind))


async def numbers() -> AsyncGenerator[dict[str, int], None]:
    """Without end."""
    while True:
        yield {"number": 1}


@pytest.mark.no_cover
@pytest.mark.parametrize("schema", [core_schema, strawberry_schema], ids=["graphql-core", "Strawberry"])
async def test_an_event_in_memory_leaves_nothing(schema: Callable[[], Any]) -> None:
    """A subscription may last for a day: what it holds does not grow with its events."""
    transport = LocalTransport(schema())
    events = transport.subscribe(SubgraphRequest("s", "subscription", "subscription{counted{number}}", {}, {}, None))
    for _ in range(50):
        assert (await anext(events)).payload == {"data": {"counted": {"number": 1}}}
    tracemalloc.start()
    try:
        before = held()
        for _ in range(500):
            await anext(events)
        assert held() - before < 20 * 500
    finally:
        tracemalloc.stop()
    await events.aclose()  # type: ignore[attr-defined]  # it is a generator


EVENT_BYTES = 20_000
EVENTS_MAX = 10
SYSTEM_BYTES_MAX = 20_000_000
"""More than the system keeps of what a client has not read: 4 MB on Linux, and what its own side has."""


@pytest.mark.no_cover
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("when_full", ["conflate", "drop"])
async def test_one_who_never_reads_costs_a_bounded_amount(face: str, when_full: str) -> None:
    """So many events wait, whatever comes, and the bytes that are held do not grow with it."""
    limits = Limits(subscription_events_waiting_max=EVENTS_MAX, subscription_patience_ms=1)
    async with crowd(face, Config(limits=limits, subscriptions=SubscriptionsConfig(when_full=when_full))) as found:
        await found.grow(1)

        async def tell(count: int) -> EngineState:
            for number in range(count):
                found.world.exchange.tell(f"{number}" + "x" * EVENT_BYTES)
                await flood(found.world, 0)
            return found.world.router.state

        state = found.world.router.state
        while state.events != (state := await tell(20)).events:  # until the system takes no more for it
            assert state.events < SYSTEM_BYTES_MAX / EVENT_BYTES
        tracemalloc.start()
        try:
            await tell(50)
            before = held()
            assert (await tell(300)).events == state.events
            [open_one] = found.world.router._subscriptions._open
            assert len(open_one._listener._waiting) <= EVENTS_MAX
            assert held() - before < 2 * EVENT_BYTES
        finally:
            tracemalloc.stop()
