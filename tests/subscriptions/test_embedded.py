"""Subscriptions of a router that is a part of another application, on another server."""

import json

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp
from websockets.asyncio.client import connect

from tests.server.conftest import listening
from tests.subscriptions.test_http import SSE, Events
from tests.subscriptions.test_websocket import INIT, SUBPROTOCOL, Client
from tests.subscriptions.world import World


def within_starlette(app: ASGIApp) -> ASGIApp:
    """Mounted at a path."""
    return Starlette(routes=[Mount("/api/graphql", app)])


def within_fastapi(app: ASGIApp) -> ASGIApp:
    """The same."""
    outer = FastAPI()
    outer.mount("/api/graphql", app)
    return outer


FRAMEWORKS = {"Starlette": within_starlette, "FastAPI": within_fastapi}


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_events_come_through_another_application(name: str) -> None:
    """Over WebSocket and as server-sent events, at the path that the application has for the router."""
    world = World()
    outer = FRAMEWORKS[name](world.router.asgi(path=""))
    async with (
        listening(outer, ws="websockets-sansio") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http,
        connect(url.replace("http", "ws") + "/api/graphql/", subprotocols=[SUBPROTOCOL], proxy=None) as connection,
        http.stream(
            "POST", "/api/graphql/", json={"query": "subscription { ticked { price } }"}, headers={"accept": SSE}
        ) as response,
    ):
        client, stream = Client(connection), Events(response)
        await client.say(json.dumps(INIT))
        assert await client.hear() == {"type": "connection_ack"}
        await client.begin("subscription { ticked { price } }")
        await world.exchange.has(2)
        world.exchange.tell(price=5.0)
        assert (await client.hear())["payload"] == {"data": {"ticked": {"price": 5.0}}}
        assert (await stream.next())[1] == {"data": {"ticked": {"price": 5.0}}}
        await world.router.close()
    world.holds_nothing()
