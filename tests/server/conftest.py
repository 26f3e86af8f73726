"""A router on a real socket, and clients for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
import uvicorn

from tests.server.subgraphs import Renames, people, places
from trifolio.config import Config
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import Transport
from trifolio.gateway import Router

SUPERGRAPH = (Path(__file__).parent / "supergraph.graphql").read_text()


class _Server(uvicorn.Server):
    """Tells when it listens, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

        self.stopping = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


OWN_WEBSOCKET = "trifolio.server.websocket:WebSocketProtocol"


@asynccontextmanager
async def listening(
    app: Any, *, ws: Any = OWN_WEBSOCKET, http: Any = "trifolio.server.protocol:HttpProtocol"
) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port of this machine; yields its address."""
    config = uvicorn.Config(
        app,
        port=0,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        http=http,
        loop="asyncio",
        ws=ws,
        proxy_headers=False,
    )
    server = _Server(config)
    task = asyncio.ensure_future(server._serve())
    waiting = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert server.listening.is_set()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stopping.set()
        await task


@dataclass(frozen=True, slots=True)
class Served:
    """A served router and a client of it."""

    url: str
    client: httpx.AsyncClient
    router: Router
    renames: Renames

    async def post(
        self, query: str, *, headers: Mapping[str, str] | None = None, **parameters: object
    ) -> httpx.Response:
        """POST an operation as JSON."""
        return await self.client.post("/graphql", json={"query": query, **parameters}, headers=dict(headers or {}))


@asynccontextmanager
async def serving(
    config: Config | None = None,
    *,
    transports: Mapping[str, Transport] | None = None,
    over_http: AbstractSet[str] = frozenset(),
    path: str = "/graphql",
) -> AsyncIterator[Served]:
    """A router on a free port, over subgraphs in memory but for those with other transports or `over_http`."""
    renames = Renames()
    local: dict[str, Transport] = {"people": LocalTransport(people(renames)), "places": LocalTransport(places())}
    memory = {name: transport for name, transport in local.items() if name not in over_http}
    router = Router(SUPERGRAPH, config=config, transports={**memory, **(transports or {})})
    async with (
        listening(router.asgi(path=path)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield Served(url, client, router, renames)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    """A router with the default configuration, for all tests of a module."""
    async with serving() as server:
        yield server
