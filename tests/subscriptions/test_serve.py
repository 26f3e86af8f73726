"""Subscriptions of routers that are processes of their own: with one worker and with several, to the end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.conftest import listening
from tests.server.test_cli import started
from tests.subscriptions.test_http import MULTIPART, SSE, Events, Parts
from tests.subscriptions.test_websocket import INIT, SUBPROTOCOL, Client
from trifolio.command.development import DevServer
from trifolio.config import Config

CONFIG = "subgraphs:\n  clock: {schema: {python: 'tests.subscriptions.schemas:CLOCK'}}\n"
TIME = "subscription { time }"
ANSWER = {"data": {"time": 1}}
DRAINED = "SUBSCRIPTION_DRAINED"


@asynccontextmanager
async def streams(url: str, count: int = 1) -> AsyncIterator[tuple[list[Any], list[Client]]]:
    """So many subscriptions by server-sent events, as many by multipart and over WebSocket; each has had its event."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        over_http, sockets = list[Any](), list[Client]()
        for accept in [SSE, MULTIPART] * count:
            asked = http.stream("POST", url, json={"query": TIME}, headers={"accept": accept})
            response = await stack.enter_async_context(asked)
            stream = Events(response) if accept == SSE else Parts(response)
            assert await stream.next() == ("next", ANSWER)
            over_http.append(stream)
        for _ in range(count):
            where = url.replace("http", "ws", 1)
            socket = await stack.enter_async_context(connect(where, subprotocols=[SUBPROTOCOL], proxy=None))
            client = Client(socket)
            await client.say(INIT)
            assert await client.hear() == {"type": "connection_ack"}
            await client.begin(TIME)
            assert (await client.hear())["payload"] == ANSWER
            sockets.append(client)
        yield over_http, sockets


async def are_told(over_http: list[Any], sockets: list[Client]) -> None:
    """Each stream ends with the code of a router that stops, and each socket behind its operations."""
    for stream in over_http:
        [last] = await stream.rest()
        assert last["errors"][0]["extensions"]["code"] == DRAINED
    for client in sockets:
        heard = await client.hear()
        assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", DRAINED)
        assert (await client.closing())[0] == 1001


@pytest.mark.parametrize(
    ("command", "arguments", "number", "code"),
    [
        ("serve", (), signal.SIGTERM, 0),
        ("serve", ("--workers", "2"), signal.SIGTERM, 0),
        ("serve", (), signal.SIGINT, 130),
        ("dev", (), signal.SIGTERM, 0),
        ("dev", (), signal.SIGINT, 130),
    ],
    ids=["one worker", "several", "interrupted", "dev", "dev, interrupted"],
)
async def test_streams_end_before_the_process_does(
    tmp_path: Path, command: str, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    """A signal completes subscriptions with a code, whatever they come over, and then the process ends."""
    (tmp_path / "supergraph.yaml").write_text(CONFIG)
    (tmp_path / "router.yaml").write_text("limits: {lame_duck_ms: 200}\n")
    files: list[str | Path] = ["--config", tmp_path / "supergraph.yaml", "--settings", tmp_path / "router.yaml"]
    async with (
        started(*files, *arguments, command=command) as (process, url),
        streams(url, 3 if arguments else 1) as (over_http, sockets),
    ):
        process.send_signal(number)
        await are_told(over_http, sockets)
        async with asyncio.timeout(20):
            assert await process.wait() == code


async def test_a_change_under_dev_ends_the_streams(tmp_path: Path) -> None:
    """What was served before ends its subscriptions and sockets, and nothing of it is left; the new one has them."""
    file, other = tmp_path / "supergraph.yaml", tmp_path / "other.graphql"
    file.write_text(CONFIG + "  other: {routing_url: 'http://127.0.0.1:1', schema: {file: other.graphql}}\n")
    other.write_text("type Query { one: Int }")
    server = DevServer(file, Config(), {})
    async with listening(server) as address:
        url = f"{address}/graphql"
        async with streams(url) as (over_http, sockets):
            before = server._current
            await server.refresh()
            assert server._current is before
            other.write_text("type Query { one: Int two: Int }")
            await server.refresh()
            assert server._current is not before
            await are_told(over_http, sockets)
        assert before is not None
        await server.refresh()
        assert server._retired == []
        assert (before.router.state.subscriptions, before.router.state.upstream_subscriptions) == (0, 0)
        async with streams(url) as (over_http, sockets):
            server.end_streams()
            await are_told(over_http, sockets)


async def test_before_anything_composed_there_is_no_socket(tmp_path: Path) -> None:
    """A handshake that comes too early is refused before it is a socket."""
    server = DevServer(tmp_path / "supergraph.yaml", Config(), {})
    async with listening(server) as address:
        with pytest.raises((InvalidStatus, ConnectionClosed)) as refused:
            async with connect(address.replace("http", "ws") + "/graphql", subprotocols=[SUBPROTOCOL], proxy=None):
                pass
        assert isinstance(refused.value, InvalidStatus)
        assert refused.value.response.status_code == 403
