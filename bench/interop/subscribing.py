"""Clients of others subscribe at our router, by WebSocket, server-sent events and multipart; its subgraph is elsewhere.

Each client gets the same hundred events, joined with another subgraph's fields; one of them has an error. Then each
leaves in the middle, and in the end each is told that the router stops. All of it is repeated for every protocol that a
subgraph is subscribed to by, and for one in the router's own process.
"""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport import AsyncTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from tests.server.conftest import listening
from tests.subscriptions.test_upstream import PROTOCOLS, elsewhere
from tests.subscriptions.world import COMPANIES, World

NODE_CLIENTS = (
    "graphql-ws",
    "graphql-sse",
    "@apollo/client, multipart",
    "@apollo/client, graphql-ws",
    "urql, fetch",
    "urql, graphql-ws",
    "urql, graphql-sse",
)
PYTHON_CLIENTS: Mapping[str, type[AsyncTransport]] = {
    "gql, websockets": WebsocketsTransport,
    "gql, aiohttp": AIOHTTPWebsocketsTransport,
}
UPSTREAMS = ("memory", *PROTOCOLS)
EVENTS = 100
FAILS_AT = 30
"""The event whose price is none: it has an error, and the next one comes."""
TIMEOUT_S = 60.0
QUERY = "subscription Ticks($symbols: [ID!]) { ticked(symbols: $symbols) { symbol price company } }"


@dataclass(slots=True)
class Heard:
    """What one client said."""

    events: list[tuple[Any, list[str]]] = field(default_factory=list)
    """The data of each answer, and the codes of its errors."""
    end: list[str] | None = None
    """What it said against the end."""
    is_over: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether it knows that nothing comes any more: urql says the reason alone."""
        return self.is_over or bool(self.reasons)

    @property
    def reasons(self) -> list[str]:
        """Why it ended: some clients take it for an error, others for one more answer, without data."""
        last = self.events[-1] if self.events else (None, [])
        return self.end or (last[1] if last[0] is None else [])


class Clients:
    """All clients, one subscription of each at a time."""

    def __init__(self, node: Process, url: str) -> None:
        self._node = node
        self._url = url
        self._reading = asyncio.create_task(self._read())
        self._subscribing: dict[str, asyncio.Task[None]] = {}
        self.heard: dict[str, Heard] = {}
        self._changed = asyncio.Event()
        self._round = 0

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self._leave_python()

    def subscribe(self) -> None:
        """Have each subscribe; what they said before is forgotten."""
        self._round += 1
        self.heard = {name: Heard() for name in (*NODE_CLIENTS, *PYTHON_CLIENTS)}
        for name in NODE_CLIENTS:
            asked = {"query": QUERY, "variables": {"symbols": ["A", "B"]}, "authorization": f"Bearer {name}"}
            self._tell({"id": [self._round, name], "client": name, **asked})
        for name, transport in PYTHON_CLIENTS.items():
            self._subscribing[name] = asyncio.create_task(self._subscribe(name, transport))

    async def leave(self) -> None:
        """Have each leave."""
        for name in NODE_CLIENTS:
            self._tell({"leave": [self._round, name]})
        await self._leave_python()

    async def said(self, events: int, *, is_over: bool = False) -> list[str]:
        """Wait until each has had so many events, or has ended; the names of those that have not."""

        def missing() -> list[str]:
            each = self.heard.items()
            return [name for name, it in each if not (it.has_ended if is_over else len(it.events) >= events)]

        try:
            async with asyncio.timeout(TIMEOUT_S):
                while missing():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return missing()

    def _tell(self, line: object) -> None:
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        assert self._node.stdout is not None
        while line := await self._node.stdout.readline():
            said = json.loads(line)
            of_round, name = said["id"]
            if of_round != self._round:
                continue  # one who leaves is told by some that it is over
            heard = self.heard[name]
            if "end" in said:
                heard.end, heard.is_over = said["end"], True
            else:
                heard.events.append((_as_asked(said["data"]), said["codes"]))
            self._changed.set()

    async def _subscribe(self, name: str, transport: Any) -> None:
        heard = self.heard[name]
        way = transport(self._url.replace("http", "ws"), init_payload={"authorization": f"Bearer {name}"})
        try:
            async with Client(transport=way):
                request = GraphQLRequest(QUERY, variable_values={"symbols": ["A", "B"]})
                async for result in way.subscribe(request):  # a session's ends at the first error
                    heard.events.append((result.data, _codes(result.errors or ())))
                    self._changed.set()
        except TransportQueryError as error:
            heard.end = _codes(error.errors or ())
        finally:
            heard.is_over = True
            self._changed.set()

    async def _leave_python(self) -> None:
        tasks = list(self._subscribing.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._subscribing.clear()


def _codes(errors: Sequence[Any]) -> list[str]:
    return [each["extensions"]["code"] for each in errors]


def _as_asked(data: Any) -> Any:
    """Data without the type names that some clients ask for themselves."""
    if isinstance(data, dict):
        return {key: _as_asked(value) for key, value in data.items() if key != "__typename"}
    return data


async def subscription_problems(folder: Path, upstreams: Sequence[str] = UPSTREAMS) -> list[str]:
    """What is wrong with what the clients heard; `folder` has the modules of those in Node. Prints what was asked."""
    problems: list[str] = []
    for upstream in upstreams:
        async with _serving(upstream) as (world, seen, url), _node(folder, url) as node, Clients(node, url) as clients:
            found = await _problems(world, seen, clients)
        for name in (*NODE_CLIENTS, *PYTHON_CLIENTS):
            own = [each for each in found if each.startswith(f"{name}: ")]
            print(f"{name}, from a subgraph by {upstream}: {'WRONG' if own else 'right'}")
        problems += [f"by {upstream}: {each}" for each in found]
    return problems


async def _problems(world: World, seen: list[Any], clients: Clients) -> list[str]:
    count = len(NODE_CLIENTS) + len(PYTHON_CLIENTS)
    exchange = world.exchange
    found: list[str] = []

    async def begin() -> None:
        clients.subscribe()
        await exchange.has(count)

    expected: list[tuple[Any, bool]] = []
    await begin()
    for number in range(EVENTS):
        symbol, price = ("A", "B", "C")[number % 3], None if number == FAILS_AT else number / 4
        exchange.tell(symbol, "no price" if price is None else price)
        expected.append(
            ({"ticked": {"symbol": symbol, "price": price, "company": COMPANIES.get(symbol)}}, price is None)
        )
    found += [f"{name}: not every event came" for name in await clients.said(EVENTS)]
    exchange.end()
    found += [f"{name}: the end did not come" for name in await clients.said(EVENTS, is_over=True)]
    for name, heard in clients.heard.items():
        if [(data, bool(codes)) for data, codes in heard.events] != expected:
            found.append(f"{name}: heard {len(heard.events)} events, {heard.events[:2]} ... {heard.events[-2:]}")
        if heard.end is not None:
            found.append(f"{name}: the end is an error: {heard.end}")
    if {headers["authorization"] for headers in seen} != {f"Bearer {name}" for name in clients.heard}:
        found.append(f"the subgraph was asked by {seen}")

    await begin()
    exchange.tell()
    found += [f"{name}: the event before it left did not come" for name in await clients.said(1)]
    await clients.leave()
    await exchange.has(0)

    await begin()
    exchange.tell()
    found += [f"{name}: the event before the stop did not come" for name in await clients.said(1)]
    world.router.end_subscriptions()
    found += [f"{name}: the stop did not end it" for name in await clients.said(1, is_over=True)]
    for name, heard in clients.heard.items():
        if heard.reasons != ["SUBSCRIPTION_DRAINED"]:
            found.append(f"{name}: the stop is {heard}")
    await exchange.has(0)
    return found


@asynccontextmanager
async def _serving(upstream: str) -> AsyncIterator[tuple[World, list[Any], str]]:
    """A world, the headers of those who subscribe at its subgraph, and the router's address."""
    async with AsyncExitStack() as stack:
        seen: list[Any] = []
        if upstream == "memory":
            world = World()
            seen = HeadersOf(world)
        else:
            world, seen = await stack.enter_async_context(elsewhere(upstream))
        yield world, seen, await stack.enter_async_context(listening(world.router.asgi())) + "/graphql"


class HeadersOf(list[Any]):
    """The headers of those who have subscribed at a subgraph in memory."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def __iter__(self) -> Any:
        return iter([each.headers for each in self._world.exchange.contexts])


@asynccontextmanager
async def _node(folder: Path, url: str) -> AsyncIterator[Process]:
    node = await asyncio.create_subprocess_exec("node", "subscriptions.mjs", url, cwd=folder, stdin=PIPE, stdout=PIPE)
    try:
        yield node
    finally:
        node.terminate()
        await node.wait()
