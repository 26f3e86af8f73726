"""Subscriptions of a router that is a part of another application, on another server."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp
from websockets.asyncio.client import connect

from tests.parts.world import complaints
from tests.server.conftest import listening
from tests.subscriptions.test_http import MULTIPART, SSE, Events, Parts
from tests.subscriptions.test_websocket import INIT, SUBPROTOCOL, Client
from tests.subscriptions.world import World

DJANGO = Path(__file__).parents[2] / "docs" / "examples" / "django"


def within_starlette(app: ASGIApp) -> ASGIApp:
    """Mounted at a path."""
    return Starlette(routes=[Mount("/api/graphql", app)])


def within_fastapi(app: ASGIApp) -> ASGIApp:
    """The same."""
    outer = FastAPI()
    outer.mount("/api/graphql", app)
    return outer


FRAMEWORKS = {"Starlette": within_starlette, "FastAPI": within_fastapi}


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_events_come_through_another_application(name: str, http: str) -> None:
    """By WebSocket, server-sent events and multipart, on uvicorn as it is, at the path that the application has for the
    router; who leaves leaves nothing, and who stays is told the end."""
    world = World()
    outer = FRAMEWORKS[name](world.router.asgi(path=""))
    query = "subscription { ticked { price } }"
    with complaints() as found:
        async with listening(outer, ws="websockets-sansio", http=http) as url:
            for leaves in (True, False):
                async with subscribed(f"{url}/api/graphql/", query) as (client, *streams):
                    await world.exchange.has(3)
                    world.exchange.tell(price=5.0)
                    assert (await client.hear())["payload"] == {"data": {"ticked": {"price": 5.0}}}
                    for stream in streams:
                        assert await stream.next() == ("next", {"data": {"ticked": {"price": 5.0}}})
                    if leaves:
                        continue
                    world.router.end_subscriptions()
                    assert (await client.hear())["type"] == "error"
                    for stream in streams:
                        [last] = await stream.rest()
                        assert last["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_DRAINED"
                await world.exchange.has(0)
            await world.router.close()
        world.holds_nothing()
    assert found == []


@asynccontextmanager
async def subscribed(url: str, query: str, *, accepts: tuple[str, ...] = (SSE, MULTIPART)) -> AsyncIterator[Any]:
    """A client of each kind that has subscribed: over WebSocket, then those over HTTP."""
    async with AsyncExitStack() as stack:
        where = url.replace("http", "ws", 1)
        client = Client(await stack.enter_async_context(connect(where, subprotocols=[SUBPROTOCOL], proxy=None)))
        await client.say(json.dumps(INIT))
        assert await client.hear() == {"type": "connection_ack"}
        await client.begin(query)
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=20))
        streams: list[Any] = []
        for accept in accepts:
            asked = http.stream("POST", url, json={"query": query}, headers={"accept": accept})
            response = await stack.enter_async_context(asked)
            assert response.status_code == 200
            streams.append(Events(response) if accept == SSE else Parts(response))
        yield client, *streams


@asynccontextmanager
async def django() -> AsyncIterator[str]:
    """The documentation's project, served by uvicorn as its first line says; yields the endpoint."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "project:application", "--port", "0"),
        cwd=DJANGO,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(60):
            while not (address := re.search(rb"http://[\d.:]+", said)):
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
        rest = asyncio.ensure_future(process.stderr.read())
        yield f"{address[0].decode()}/graphql"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    assert b"Traceback" not in await rest, (await rest).decode()


async def counting(http: httpx.AsyncClient, url: str) -> object:
    """How many subscriptions the project's subgraph has."""
    answer = await http.post(url, json={"query": "{ counting }"})
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()["data"]["counting"]


async def test_events_come_through_django() -> None:
    """Over its own view, but for WebSocket, which passes it by: events come, refusals have their status, and who leaves
    leaves nothing."""
    query = "subscription { count(to: 3) }"
    async with django() as url, httpx.AsyncClient(trust_env=False, timeout=20) as http:
        async with subscribed(url, query) as (client, *streams):
            for number in range(3):
                assert (await client.hear())["payload"] == {"data": {"count": number}}
                for stream in streams:
                    assert await stream.next() == ("next", {"data": {"count": number}})
            assert await counting(http, url) == 3
        async with asyncio.timeout(20):
            while await counting(http, url):  # noqa: ASYNC110  # it is counted elsewhere
                await asyncio.sleep(0.01)
        async with subscribed(url, "{ counting }", accepts=(SSE,)) as (client, stream):
            assert (await client.hear())["payload"] == {"data": {"counting": 0}}
            assert await stream.rest() == [{"data": {"counting": 0}}]
        broken = await http.post(url, content=b"{", headers={"content-type": "application/json"})
        assert (broken.status_code, broken.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
        forged = await http.get(url, params={"query": query}, headers={"accept": SSE})
        assert forged.json()["errors"][0]["extensions"]["code"] == "CSRF_REJECTED"
