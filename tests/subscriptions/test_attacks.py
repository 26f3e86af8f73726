"""Subgraphs that send anything at any pace, and clients that vanish at any moment: no task and no socket is left."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.parts.world import complaints
from tests.server.conftest import listening
from tests.subscriptions.test_load import _frame, asks
from tests.subscriptions.test_stream import codes, missed_before, price_of
from tests.subscriptions.test_upstream import BY_EACH, Peer, Script, Upstream, scripted, silence, tick
from tests.subscriptions.test_websocket import INIT
from trifolio.config import SubscriptionsConfig

PRICE = "subscription { ticked { price } }"


def _sockets() -> int:
    """How many this process has open."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(each).startswith("socket:")
    return found


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Assert that there are as many tasks and sockets in the end as there were, and that nothing was complained of."""
    tasks, sockets = len(asyncio.all_tasks()), _sockets()
    with complaints() as found:
        yield
        async with asyncio.timeout(20):
            while (len(asyncio.all_tasks()), _sockets()) != (tasks, sockets):  # noqa: ASYNC110  # counts have no event
                await asyncio.sleep(0.01)
    assert found == []


# ---- subgraphs ----


def sends(*data: bytes, then: Script = silence) -> Script:
    """A subgraph that sends these bytes, and goes on with another script."""

    async def script(peer: Peer) -> None:
        for each in data:
            await peer.raw(each)
        await then(peer)

    return script


def _next(payload: str) -> bytes:
    return f'{{"type":"next","id":"1","payload":{payload}}}'.encode()


GARBAGE: dict[str, tuple[str, bytes, list[str]]] = {
    "no JSON": ("websocket", b"{", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "no object": ("websocket", b"[]", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "a type that is a number": ("websocket", b'{"type":1}', ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "nested deep": ("websocket", b"[" * 50_000, ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event without an answer": ("websocket", b'{"type":"next","id":"1"}', ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event that is null": ("websocket", _next("null"), ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event that is a text": ("websocket", _next('"x"'), ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "data of another shape": ("websocket", _next('{"data":{"ticked":[[1]]}}'), ["VALUE_NOT_COERCIBLE"]),
    "an error that is none": ("websocket", b'{"type":"error","id":"1","payload":7}', ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event that is no JSON": ("sse", b"event: next\ndata: {\n\n", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event of two halves": ("sse", b"event: next\ndata: {\ndata: ]\n\n", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "an event without data": ("sse", b"event: next\n\n", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "a part that is no JSON": ("multipart", b"\r\n\r\n{\r\n--b", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "a part that is a list": ("multipart", b"\r\n\r\n[]\r\n--b", ["SUBGRAPH_RESPONSE_MALFORMED"]),
    "a payload that is a text": ("multipart", b'\r\n\r\n{"payload":"x"}\r\n--b', ["SUBGRAPH_RESPONSE_MALFORMED"]),
}


@pytest.mark.parametrize(("protocol", "sent", "expected"), GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_an_error(protocol: str, sent: bytes, expected: list[str]) -> None:
    """Whatever a subgraph says, the client is told that it was nothing, and can leave."""
    async with nothing_left(), scripted(protocol, [sends(sent)]) as url:
        world = Upstream(url, protocol)
        parts = world.router.stream(PRICE)
        async with asyncio.timeout(20):
            assert codes(await anext(parts)) == expected
        await parts.aclose()
        assert world.router.state.upstream_subscriptions == 0
        await world.router.close()


IGNORED: dict[str, tuple[str, list[bytes]]] = {
    "another's event": ("websocket", [b'{"type":"next","id":"2","payload":{"data":{"ticked":{"price":7}}}}']),
    "another's end": ("websocket", [b'{"type":"complete","id":"2"}', b'{"type":"error","id":"2","payload":[]}']),
    "pings": ("websocket", [b'{"type":"ping"}', b'{"type":"pong"}', b'{"type":"connection_ack"}'] * 5),
    "what is not known": ("websocket", [b'{"type":"data","id":"1","payload":{}}', b'{"type":"ka"}']),
    "comments and other fields": (
        "sse",
        [b":\n\n", b"id: 7\nretry: 1\n\n", b"event: other\ndata: {}\n\n", b"\n" * 500],
    ),
    "line ends of every kind": ("sse", [b"\r\n\r", b": x\r", b"\n\r\r", b"event: other\rdata: {}\r\r"]),
    "a mark at the beginning": ("sse", [b"\xef\xbb\xbf: x\n"]),
    "empty parts": ("multipart", [b"\r\n\r\n{}\r\n--b"] * 100),
    "parts with headers alone": ("multipart", [b"\r\nx: y\r\n\r\n\r\n--b"]),
}


@pytest.mark.parametrize(("protocol", "sent"), IGNORED.values(), ids=IGNORED)
async def test_what_is_no_event_is_passed_over(protocol: str, sent: list[bytes]) -> None:
    """The event behind it comes."""

    async def event(peer: Peer) -> None:
        await peer.event(tick(3))
        await peer.gone()

    async with nothing_left(), scripted(protocol, [sends(*sent, then=event)]) as url:
        world = Upstream(url, protocol)
        parts = world.router.stream(PRICE)
        async with asyncio.timeout(20):
            assert price_of(await anext(parts)) == 3
        await parts.aclose()
        await world.router.close()


@BY_EACH
@pytest.mark.parametrize("when_full", ["conflate", "drop", "end"])
async def test_a_subgraph_that_is_too_fast_fills_nothing(protocol: str, when_full: str) -> None:
    """Who does not read gets what fits, and is told what is missing; nothing else is kept."""

    async def flood(peer: Peer) -> None:
        for number in range(2_000):
            await peer.event(tick(number))
        await peer.gone()

    limits = {"subscription_events_waiting_max": 5, "subscription_patience_ms": 1}
    async with nothing_left(), scripted(protocol, [flood]) as url:
        world = Upstream(url, protocol, limits=limits, subscriptions=SubscriptionsConfig(when_full=when_full))
        parts = world.router.stream(PRICE)
        async with asyncio.timeout(20):
            found = [await anext(parts)]
            [open_one] = world.router._subscriptions._open
            listener = open_one._listener
            while listener._patience_s > 0 and not listener._is_over:  # noqa: ASYNC110  # a count has no event
                await asyncio.sleep(0)
            assert len(listener._waiting) <= 5
            if when_full == "end":
                found += [part async for part in parts]
                assert codes(found[-1]) == ["SUBSCRIPTION_TOO_SLOW"]
                assert [price_of(part) for part in found[:-1]] == list(range(len(found) - 1))
            else:
                last, seen = found[0], missed_before(found[0]) + 1
                while price_of(last) != 1_999:
                    last = await anext(parts)
                    seen += missed_before(last) + 1
                    assert seen == price_of(last) + 1  # type: ignore[operator]  # a number
                    if when_full == "drop" and not listener._waiting and listener._missed + seen == 2_000:
                        break
        await parts.aclose()
        await world.router.close()


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A subgraph that lets connect, and never says anything."""
    connections: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql"


@BY_EACH
async def test_a_subgraph_that_never_begins_is_given_up(protocol: str) -> None:
    """After its time, with a code; who leaves before that leaves nothing."""
    async with nothing_left(), mute() as url:
        for timeout_ms in (50, 60_000):
            world = Upstream(url, protocol, limits={"fetch_timeout_ms": timeout_ms})
            parts = world.router.stream(PRICE)
            first = asyncio.ensure_future(anext(parts))
            if timeout_ms == 50:
                assert codes(await first) == ["SUBGRAPH_TIMEOUT"]
            else:
                await asyncio.sleep(0.05)
                assert not first.done()
                first.cancel()
                await asyncio.wait({first})
            await parts.aclose()
            assert world.router.state.upstream_subscriptions == 0
            await world.router.close()


# ---- clients ----


async def _none(_: Peer) -> None:
    """It breaks, again and again."""


async def _one_event(peer: Peer) -> None:
    """And nothing more."""
    await peer.event(tick(1))
    await peer.gone()


UPSTREAMS: dict[str, Script] = {"silent": silence, "broken": _none, "an event": _one_event}
STATES: dict[str, Callable[[], bytes]] = {
    "nothing said": lambda: b"",
    "half a handshake": lambda: asks("websocket")[:40],
    "a handshake": lambda: asks("websocket").partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
    "half a frame": lambda: asks("websocket")[:-20],
    "subscribed by WebSocket": lambda: asks("websocket"),
    "and ended": lambda: asks("websocket") + _frame({"type": "complete", "id": "1"}),
    "and begun again": lambda: asks("websocket") + _frame(INIT),
    "a close without a code": lambda: asks("websocket") + b"\x88\x80" + bytes(4),
    "half a body": lambda: asks("sse")[:-5],
    "subscribed by events": lambda: asks("sse"),
    "two requests": lambda: asks("sse") * 2,
}


@pytest.mark.parametrize(
    ("upstream", "ends"),
    [("silent", "closed"), ("silent", "no more"), ("silent", "reset"), ("broken", "reset"), ("an event", "reset")],
)
@pytest.mark.parametrize("said", STATES)
async def test_who_vanishes_leaves_nothing(said: str, ends: str, upstream: str) -> None:
    """In whatever state, at a subgraph that is there or not: by an end, a reset, or the end of what it sends."""
    async with nothing_left(), scripted("websocket", [UPSTREAMS[upstream]]) as subgraph:
        world = Upstream(subgraph, "websocket", limits={"subscription_heartbeat_ms": 100})
        async with listening(world.router.asgi()) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(STATES[said]())
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(10), 0.05)
            if ends == "closed":
                writer.close()
            elif ends == "reset":
                writer.transport.abort()
            else:
                writer.write_eof()
                if said == "two requests":  # it may wait for both answers, and the second one's turn does not come
                    writer.close()
            async with asyncio.timeout(20):
                while world.router.state.subscriptions:  # noqa: ASYNC110  # a count has no event
                    await asyncio.sleep(0.005)
            writer.close()
        assert world.router.state.upstream_subscriptions == 0
        await world.router.close()
