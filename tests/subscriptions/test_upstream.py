"""Subgraphs over the network: by each protocol, from a server of another make, and from servers that misbehave."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import strawberry
from strawberry.asgi import GraphQL
from strawberry.subscriptions import (
    GRAPHQL_SSE_PROTOCOL,
    GRAPHQL_TRANSPORT_WS_PROTOCOL,
    MULTIPART_SUBSCRIPTION_PROTOCOL,
)
from websockets.asyncio.server import ServerConnection, serve

from tests.parts.world import complaints
from tests.server.conftest import listening
from tests.subscriptions.test_stream import begin, codes, price_of
from tests.subscriptions.world import TICKED, Exchange, World, supergraph
from trifolio.config import Config, Secret, SharingConfig, SubgraphConfig, UpstreamConfig
from trifolio.executor.upstream import UpstreamTransport
from trifolio.gateway import make_transport
from trifolio.limits import Limits
from trifolio.sharing import Sharing

PROTOCOLS = ("websocket", "sse", "multipart")


def strawberry_app(exchange: Exchange, seen: list[Any]) -> GraphQL[Any, Any]:
    """The prices, served by Strawberry in all three protocols."""

    @strawberry.type
    class Stock:
        symbol: strawberry.ID
        price: float | None
        exact: float

    @strawberry.type
    class Query:
        price: Stock | None = None

    async def ticked(
        info: strawberry.Info, symbols: list[strawberry.ID] | None = None
    ) -> AsyncGenerator[Stock | None, None]:
        request = info.context["request"]
        seen.append(dict(request.headers))
        events = exchange.events()
        try:
            async for event in events:
                if event["symbol"] == "fails":
                    raise ValueError("it fails")
                yield Stock(symbol=event["symbol"], price=event["price"], exact=event["exact"])
        finally:
            await events.aclose()

    subscription = type("Subscription", (), {"ticked": strawberry.subscription(resolver=ticked)})
    schema = strawberry.Schema(Query, subscription=strawberry.type(subscription))
    return GraphQL(
        schema,
        subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL, MULTIPART_SUBSCRIPTION_PROTOCOL],
    )


class Living:
    """An application that begins and ends with its server."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})


class Upstream(World):
    """A router whose prices are elsewhere."""

    def __init__(self, url: str, protocol: str, **settings: Any) -> None:
        limits = Limits(**{"subscription_reconnect_ms": 2_000, **settings.pop("limits", {})})
        own = SubgraphConfig(url=url, secret=Secret("s"), subscriptions=UpstreamConfig(protocol))
        config = Config(subgraphs={"prices": own}, limits=limits, **settings)
        transport = make_transport(supergraph(), config, "prices", Sharing())
        assert isinstance(transport, UpstreamTransport)
        self.pauses: list[float] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            await self.may_go_on.wait()

        transport._pause = pause
        super().__init__(config, transports={"prices": transport})


@asynccontextmanager
async def elsewhere(protocol: str, **settings: Any) -> AsyncIterator[tuple[Upstream, list[Any]]]:
    """The world with prices on a socket, served by Strawberry."""
    exchange, seen = Exchange(), list[Any]()
    async with listening(Living(strawberry_app(exchange, seen)), ws="websockets-sansio") as url:
        world = Upstream(url, protocol, **settings)
        world.exchange = exchange
        try:
            yield world, seen
        finally:
            await world.router.close()
            await exchange.has(0)


BY_EACH = pytest.mark.parametrize("protocol", PROTOCOLS)


@BY_EACH
async def test_events_of_another_server_are_joined(protocol: str) -> None:
    """As those in memory are; who leaves ends the subscription there, the server's end is the end here."""
    with complaints() as found:
        async with elsewhere(protocol) as (world, seen):
            query = "subscription ($s: [ID!]) { ticked(symbols: $s) { symbol price company } }"
            parts, first = await begin(world, query, variables={"s": ["B"]}, headers={"authorization": "t", "x": "no"})
            for price in range(3):
                world.exchange.tell("B", float(price))
            got = [await first, await anext(parts), await anext(parts)]
            assert [part.data for part in got] == [
                {"ticked": {"symbol": "B", "price": float(price), "company": "Beta"}} for price in range(3)
            ]
            world.exchange.end()
            assert [part async for part in parts] == []
            [headers] = seen
            assert (headers["authorization"], headers["x-router-secret"], headers.get("x")) == ("t", "s", None)
            parts, first = await begin(world)
            first.cancel()
            await asyncio.wait({first})
            await parts.aclose()
            await world.exchange.has(0)
            assert world.router.state.upstream_subscriptions == 0
            assert world.pauses == []
    assert found == []


@BY_EACH
async def test_an_error_of_the_subgraph_is_an_event(protocol: str) -> None:
    """It keeps its text, and the stream ends as the subgraph ends it."""
    async with elsewhere(protocol) as (world, _):
        parts, first = await begin(world)
        world.exchange.tell("fails")
        part = await first
        assert part.errors[0].message == "it fails"
        assert part.data == {"ticked": None}
        await parts.aclose()


@BY_EACH
async def test_what_the_subgraph_refuses_is_the_only_event(protocol: str) -> None:
    """Its errors are told, and nothing is tried again."""
    async with elsewhere(protocol) as (world, _):
        found = [part async for part in world.router.stream("subscription { strict { symbol } }")]
        assert found[0].data is None
        assert found[0].errors[0].subgraph == "prices"
        assert len(found) == 1
        assert world.pauses == []


@BY_EACH
async def test_equal_subscriptions_are_one(protocol: str) -> None:
    """Of one caller, where the settings say so; each reader gets every event, and the last to leave ends it."""
    async with elsewhere(protocol, sharing=SharingConfig(subscriptions=True)) as (world, _):
        one, first = await begin(world, headers={"authorization": "a"})
        two = world.router.stream(TICKED, headers={"authorization": "a"})
        second = asyncio.ensure_future(anext(two))
        three, third = await begin(world, headers={"authorization": "b"}, count=2)
        assert (world.router.state.subscriptions, world.router.state.upstream_subscriptions) == (3, 2)
        for price in range(3):
            world.exchange.tell(price=float(price))
        for parts, waiting in ((one, first), (two, second), (three, third)):
            assert [price_of(await waiting), price_of(await anext(parts)), price_of(await anext(parts))] == [0, 1, 2]
        await one.aclose()
        assert world.router.state.upstream_subscriptions == 2
        await two.aclose()
        await three.aclose()
        assert world.router.state.upstream_subscriptions == 0


@BY_EACH
async def test_a_trace_is_for_who_asked(protocol: str) -> None:
    """Of equal subscriptions whose events are answered once, one that asks for traces is answered alone."""
    async with elsewhere(protocol, traces=True, sharing=SharingConfig(subscriptions=True)) as (world, _):
        world.router.transports["companies"].forwarded_headers = ()  # type: ignore[attr-defined]  # as those over HTTP
        asked: list[dict[str, str]] = [{}, {"trifolio-trace": "1"}, {}, {"trifolio-trace": "1"}]
        parts = [world.router.stream(TICKED, headers=headers) for headers in asked]
        waiting = [asyncio.ensure_future(anext(each)) for each in parts]
        await world.exchange.has(1)
        world.exchange.tell(price=1.0)
        told = [json.loads(json.dumps((await each).extensions or {})) for each in waiting]
        traces = [extensions.get("trace") for extensions in told]
        assert [trace and len(trace["fetches"]) for trace in traces] == [None, 2, None, 2]
        for each in parts:
            await each.aclose()


@BY_EACH
async def test_an_event_is_answered_once_for_all_who_are_alike(protocol: str) -> None:
    """What the answer follows from is the operation, its variables, and the headers that other subgraphs get: those who
    share all of it share the answer, and one who leaves takes nobody along."""
    async with elsewhere(protocol, sharing=SharingConfig(subscriptions=True)) as (world, _):
        forwarding = world.router.transports["companies"]
        forwarding.forwarded_headers = ("x-tenant",)  # type: ignore[attr-defined]  # as those over HTTP have it
        own, other = {"authorization": "a", "x-tenant": "1"}, {"authorization": "a", "x-tenant": "2"}
        aliased = "subscription { ticked { symbol price as: company } }"
        asked = [(TICKED, own), (TICKED, own), (TICKED, own), (TICKED, other), (aliased, own)]
        parts = [world.router.stream(query, headers=headers) for query, headers in asked]
        waiting = [asyncio.ensure_future(anext(each)) for each in parts]
        await world.exchange.has(1)
        assert (world.router.state.subscriptions, world.router.state.upstream_subscriptions) == (5, 1)
        for price in range(4):
            world.told.fetches.clear()
            world.exchange.tell(price=float(price))
            if price == 2:  # the one who would answer it has gone
                waiting.pop(0).cancel()
                leaving = parts.pop(0)
            found = [await each for each in waiting]
            assert [price_of(each) for each in found] == [price] * len(found)
            assert found[-1].data == {"ticked": {"symbol": "A", "price": price, "as": "Alpha"}}
            assert [each.subgraph for each in world.told.fetches] == ["companies"] * 3
            waiting = [asyncio.ensure_future(anext(each)) for each in parts]
        await leaving.aclose()
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        for stream in parts:
            await stream.aclose()
        assert (world.router.state.subscriptions, world.router.state.upstream_subscriptions) == (0, 0)


@BY_EACH
async def test_nobody_there_is_told_at_once(protocol: str) -> None:
    """At the beginning nothing is tried again: the client is there to decide."""
    world = Upstream("http://127.0.0.1:1/graphql", protocol)
    [part] = [part async for part in world.router.stream(TICKED)]
    assert codes(part) == ["SUBGRAPH_UNREACHABLE"]
    assert not part.has_next
    assert world.pauses == []
    await world.router.close()


# ---- servers that misbehave ----

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The subgraph's side of one connection, as a script wants it."""

    def __init__(
        self, protocol: str, send: Callable[[bytes], Awaitable[None]], gone: Callable[[], Awaitable[object]]
    ) -> None:
        self._protocol = protocol
        self._send = send
        self.gone = gone
        """Waits until the router has gone."""

    async def event(self, payload: object) -> None:
        """An answer, in the protocol's way."""
        text = json.dumps(payload)
        if self._protocol == "websocket":
            await self._send(f'{{"type":"next","id":"1","payload":{text}}}'.encode())
        elif self._protocol == "sse":
            await self._send(f"event: next\r\ndata: {text}\r\n\r\n".encode())
        else:
            await self._send(f'\r\ncontent-type: application/json\r\n\r\n{{"payload":{text}}}\r\n--b'.encode())

    async def raw(self, data: bytes) -> None:
        """Anything."""
        await self._send(data)


@asynccontextmanager
async def scripted(protocol: str, scripts: list[Script]) -> AsyncIterator[str]:
    """A subgraph whose connections follow one script after the other, the last one for good; yields its address."""
    count = 0

    def script() -> Script:
        nonlocal count
        count += 1
        return scripts[min(count, len(scripts)) - 1]

    async def over_websocket(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type":"connection_ack"}')
        await connection.recv()
        await script()(Peer(protocol, lambda data: connection.send(data.decode("latin-1")), connection.wait_closed))
        connection.transport.abort()

    async def over_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = "text/event-stream" if protocol == "sse" else "multipart/mixed;boundary=b"
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())

        async def send(data: bytes) -> None:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()

        if protocol == "multipart":
            await send(b"\r\n--b")
        try:
            await script()(Peer(protocol, send, reader.read))
        except ConnectionError:
            pass  # the router has gone
        finally:
            writer.transport.abort()

    if protocol == "websocket":
        async with serve(over_websocket, "127.0.0.1", 0, subprotocols=["graphql-transport-ws"]) as server:  # type: ignore[list-item]  # a text
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql"
    else:
        http = await asyncio.start_server(over_http, "127.0.0.1", 0)
        async with http:
            yield f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}/graphql"


def tick(price: float) -> object:
    """An event."""
    return {"data": {"ticked": {"symbol": "A", "price": price}}}


async def two(peer: Peer) -> None:
    """Two events, and then it breaks."""
    await peer.event(tick(1))
    await peer.event(tick(2))


async def one_more(peer: Peer) -> None:
    """Another event, and nothing."""
    await peer.event(tick(3))
    await peer.gone()


async def nothing(_: Peer) -> None:
    """It breaks."""


async def silence(peer: Peer) -> None:
    """Nothing, for ever."""
    await peer.gone()


async def large(peer: Peer) -> None:
    """An event that is too large."""
    await peer.event({"data": {"ticked": {"symbol": "A" * 20_000}}})
    await peer.gone()


async def endless(peer: Peer) -> None:
    """An event without end."""
    while True:
        await peer.raw(b"x" * 1_000)


async def garbage(peer: Peer) -> None:
    """An event that is none."""
    await peer.event([1, 2])
    await peer.event({"data": {"ticked": 7}})
    await peer.event(tick(9))
    await peer.gone()


async def noise(peer: Peer) -> None:
    """What is not of the protocol."""
    await peer.raw(b"event: next\ndata: {\n\nevent: complete\ndata:\n\n" + b"\r\n\r\n{nothing\r\n--b")


@BY_EACH
async def test_a_connection_that_breaks_is_made_again(protocol: str) -> None:
    """The next event says that there may have been others; what came before is delivered."""
    async with scripted(protocol, [two, nothing, one_more]) as url:
        world = Upstream(url, protocol)
        parts = world.router.stream("subscription { ticked { price } }")
        found = [await anext(parts) for _ in range(3)]
        assert [price_of(part) for part in found] == [1, 2, 3]
        assert [part.extensions for part in found] == [None, None, {"subscription": {"resumed": True}}]
        assert len(world.pauses) == 2
        await parts.aclose()
        await world.router.close()


@BY_EACH
async def test_a_connection_that_stays_broken_ends_the_stream(protocol: str) -> None:
    """When the time to make it again is over, with a code; the pauses grow."""
    async with scripted(protocol, [two, nothing]) as url:
        world = Upstream(url, protocol, limits={"subscription_reconnect_ms": 500})
        found = [part async for part in world.router.stream("subscription { ticked { price } }")]
        assert [price_of(part) for part in found[:-1]] == [1, 2]
        assert codes(found[-1]) == ["SUBGRAPH_UNREACHABLE"]
        assert 2 <= len(world.pauses) <= 50
        assert world.router.state.upstream_subscriptions == 0
        await world.router.close()


@BY_EACH
async def test_who_leaves_while_it_is_made_again_ends_it(protocol: str) -> None:
    """Nothing is left of a subscription that waits for its subgraph."""
    async with scripted(protocol, [two, nothing]) as url:
        world = Upstream(url, protocol)
        world.may_go_on.clear()
        parts = world.router.stream("subscription { ticked { price } }")
        await anext(parts)
        await anext(parts)
        await parts.aclose()
        assert world.router.state.upstream_subscriptions == 0
        await world.router.close()


@BY_EACH
async def test_an_event_that_is_too_large_ends_the_stream(protocol: str) -> None:
    """With a code, and without keeping it."""
    for script in (large,) if protocol == "websocket" else (large, endless):
        async with scripted(protocol, [script]) as url:
            world = Upstream(url, protocol, limits={"subscription_event_bytes_max": 10_000})
            [part] = [part async for part in world.router.stream("subscription { ticked { price } }")]
            assert codes(part) == ["SUBGRAPH_RESPONSE_TOO_LARGE"]
            await world.router.close()


@BY_EACH
async def test_an_event_that_is_none_costs_itself(protocol: str) -> None:
    """Answers of no shape are errors of their events."""
    async with scripted(protocol, [garbage]) as url:
        world = Upstream(url, protocol)
        parts = world.router.stream("subscription { ticked { price } }")
        found = [await anext(parts) for _ in range(3)]
        assert [bool(part.errors) for part in found] == [True, True, False]
        assert price_of(found[2]) == 9
        await parts.aclose()
        await world.router.close()


@BY_EACH
async def test_noise_is_no_event(protocol: str) -> None:
    """What is not of the protocol ends the stream, or is an event that fails."""
    async with scripted(protocol, [noise]) as url:
        world = Upstream(url, protocol)
        [part] = [part async for part in world.router.stream("subscription { ticked { price } }")]
        assert codes(part) == ["SUBGRAPH_RESPONSE_MALFORMED"]
        await world.router.close()


@pytest.mark.parametrize("protocol", ["sse", "multipart"])
async def test_silence_over_http_is_a_broken_connection(protocol: str) -> None:
    """After the limit's time it is made again."""
    async with scripted(protocol, [silence, one_more]) as url:
        world = Upstream(url, protocol, limits={"subscription_silence_ms": 100})
        parts = world.router.stream("subscription { ticked { price } }")
        assert (await anext(parts)).extensions == {"subscription": {"resumed": True}}
        await parts.aclose()
        await world.router.close()


@pytest.mark.parametrize("protocol", ["sse", "multipart"])
async def test_a_server_without_streams_is_told(protocol: str) -> None:
    """An answer of GraphQL is the only event; anything else is what it would be to a query."""
    bodies = {
        b'{"errors":[{"message":"no streams here"}]}': "application/json",
        b"<html>": "text/html",
    }
    for (body, kind), code in zip(bodies.items(), ("SUBGRAPH_ERROR", "SUBGRAPH_RESPONSE_MALFORMED"), strict=True):

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body=body, kind=kind) -> None:  # type: ignore[no-untyped-def]  # the loop's own
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            world = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql", protocol)
            [part] = [part async for part in world.router.stream("subscription { ticked { price } }")]
            assert codes(part) == [code]
            await world.router.close()
