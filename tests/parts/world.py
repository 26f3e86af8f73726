"""A router over three subgraphs in memory, two of which answer when a test lets them, and a reader of what it sends."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email.message import Message
from functools import lru_cache
from typing import Any

import httpx
from graphql import GraphQLSchema, build_schema

from tests.server.conftest import listening
from trifolio.composer import Subgraph, compose
from trifolio.config import Config
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.gateway import Router
from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned
from trifolio.supergraph import Supergraph

DEFER = "multipart/mixed;deferSpec=20220824,application/json"
INCREMENTAL = "multipart/mixed;incrementalSpec=v0.2,application/json"

_FEDERATION = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])'
_SDL = {
    "people": """
        type Query { me: Person everyone: [Person!]! nobody: Person _entities(representations: [_Any!]!): [_Entity]! }
        type Mutation { rename: Person }
        type Person @key(fields: "id") { id: ID! name: String boss: Person }
    """,
    "places": """
        type Query { weather: String _entities(representations: [_Any!]!): [_Entity]! }
        type Person @key(fields: "id") { id: ID! homes: [Home!] roof: Home! lost: String }
        type Home { city: String! street: String }
    """,
    "debts": """
        type Query { _entities(representations: [_Any!]!): [_Entity]! }
        type Person @key(fields: "id") { id: ID! debt: Int! owed: Int }
    """,
}
_MACHINERY = """
    directive @key(fields: String!) on OBJECT
    scalar _Any
    union _Entity = Person
"""
_MACHINERY_FIELD = "_entities(representations: [_Any!]!): [_Entity]!"


def _failing(*_: object) -> str:
    raise ValueError("it is lost")


_NAMES = {"1": "Ada", "2": "Bob", "3": "Cid"}
_PEOPLE = {
    key: {"__typename": "Person", "id": key, "name": name, "boss": {"__typename": "Person", "id": "2", "name": "Bob"}}
    for key, name in _NAMES.items()
}
_DATA: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]] = {
    "people": (
        {"me": _PEOPLE["1"], "everyone": list(_PEOPLE.values()), "nobody": None, "rename": _PEOPLE["1"]},
        _PEOPLE,
    ),
    "places": (
        {"weather": "rain"},
        {
            key: {"homes": [{"city": city, "street": None}], "roof": None, "lost": _failing}
            for key, city in (("1", "London"), ("2", "Turin"), ("3", "Graz"))
        },
    ),
    "debts": ({}, {"1": {"debt": 5, "owed": 1}, "2": {"debt": None, "owed": 2}, "3": {"debt": 7, "owed": 3}}),
}


@lru_cache
def schema_of(name: str) -> GraphQLSchema:
    """A subgraph, over fixed data."""
    roots, entities = _DATA[name]
    schema = build_schema(_SDL[name] + _MACHINERY)
    for kind in filter(None, (schema.query_type, schema.mutation_type)):
        for field_name, field in kind.fields.items():
            field.resolve = lambda *_, field_name=field_name: roots[field_name]
    assert schema.query_type
    schema.query_type.fields["_entities"].resolve = lambda _, __, representations: [
        {"__typename": "Person", "id": each["id"], **entities[each["id"]]} for each in representations
    ]
    return schema


@lru_cache(1)
def supergraph() -> Supergraph:
    """The three, composed."""
    sdls = {name: _FEDERATION + sdl.replace(_MACHINERY_FIELD, "") for name, sdl in _SDL.items()}
    sdls["debts"] = sdls["debts"].replace("type Query {  }", "")
    result = compose([Subgraph(name, f"http://{name}.invalid", sdl) for name, sdl in sdls.items()])
    assert result.supergraph, result.diagnostics
    return Supergraph.parse(result.supergraph)


class Gate:
    """A transport that lets requests through while it is open, and knows how those that waited ended."""

    def __init__(self, transport: Transport, *, is_open: bool = True) -> None:
        self._transport = transport
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.sent = 0
        self.in_flight = 0
        self.cancelled = 0
        self.ended = asyncio.Event()
        """Set when a request was cancelled."""
        self.failure: Exception | None = None
        """What a request raises in place of its answer."""
        if is_open:
            self.open.set()

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send when the gate is open."""
        self.sent += 1
        self.in_flight += 1
        self.asked.set()
        try:
            await self.open.wait()
            if self.failure is not None:
                raise self.failure
            return await self._transport.send(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            self.ended.set()
            raise
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Nothing is held."""


DOWN = SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "places")


class Told:
    """An observer that keeps what it is told of operations."""

    def __init__(self) -> None:
        self.ended: list[OperationEnded] = []

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Nothing."""

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Nothing."""

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Keep it."""
        self.ended.append(event)


class World:
    """The router with its gates."""

    def __init__(self, config: Config | None = None, transports: Mapping[str, Transport] | None = None) -> None:
        self.people = Gate(LocalTransport(schema_of("people")))
        self.places = Gate(LocalTransport(schema_of("places")), is_open=False)
        self.debts = Gate(LocalTransport(schema_of("debts")))
        self.gates: tuple[Gate, ...] = (self.people, self.places, self.debts)
        self.told = Told()
        own: dict[str, Transport] = {"people": self.people, "places": self.places, "debts": self.debts}
        self.router = Router(supergraph(), config=config, transports={**own, **(transports or {})}, observer=self.told)
        self.app = self.router.asgi()

    @property
    def in_flight(self) -> int:
        """Requests to subgraphs that have not ended."""
        return sum(gate.in_flight for gate in self.gates)


class Reader:
    """Reads a multipart body as it comes (RFC 2046, section 5.1): a part is there when the boundary after it is."""

    def __init__(self, content_type: str) -> None:
        message = Message()
        message["content-type"] = content_type
        assert message.get_content_type() == "multipart/mixed"
        boundary = message.get_boundary()
        assert boundary
        self._delimiter = b"\r\n--" + boundary.encode()
        self._bytes = b""
        self._has_begun = False
        self.has_ended = False
        self.parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """More of the body; returns the parts that are complete with it."""
        assert not self.has_ended, "something follows the last boundary"
        self._bytes += data
        found: list[bytes] = []
        while self._delimiter in self._bytes:
            before, _, after = self._bytes.partition(self._delimiter)
            if self._has_begun:
                found.append(self._content(before))
            else:
                assert before == b"", "a preamble"
                self._has_begun = True
            self._bytes = after
            if after.startswith(b"--"):
                assert after == b"--\r\n", "an epilogue"
                self.has_ended, self._bytes = True, b""
                break
        self.parts += found
        return found

    @staticmethod
    def _content(part: bytes) -> bytes:
        assert part.startswith(b"\r\n"), "a boundary ends with its line"
        head, separator, content = part.partition(b"\r\n\r\n")
        assert separator
        assert head == b"\r\ncontent-type: application/json; charset=utf-8"
        return content


class Stream:
    """A response that is read part by part."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.body = b""
        self._reader = Reader(response.headers["content-type"])
        self._chunks = response.aiter_raw()
        self._waiting: list[bytes] = []

    async def next(self) -> Any:
        """The next part, as soon as it can be read."""
        async with asyncio.timeout(20):
            while not self._waiting:
                chunk = await anext(self._chunks)
                self.body += chunk
                self._waiting += self._reader.feed(chunk)
        return json.loads(self._waiting.pop(0))

    async def rest(self) -> list[Any]:
        """Every other part; the body ends after the last."""
        async with asyncio.timeout(20):
            async for chunk in self._chunks:
                self.body += chunk
                self._waiting += self._reader.feed(chunk)
        assert self._reader.has_ended
        found, self._waiting = self._waiting, []
        return [json.loads(each) for each in found]


def whole(body: bytes, content_type: str) -> list[Any]:
    """The parts of a body that came whole."""
    reader = Reader(content_type)
    reader.feed(body)
    assert reader.has_ended
    return [json.loads(each) for each in reader.parts]


class Served:
    """The world on a socket, and a client."""

    def __init__(self, world: World, url: str, client: httpx.AsyncClient) -> None:
        self.world = world
        self.url = url
        self.client = client

    async def post(self, query: str, *, accept: str = DEFER, **parameters: object) -> httpx.Response:
        """Ask and wait for the whole answer."""
        return await self.client.post("/graphql", json={"query": query, **parameters}, headers={"accept": accept})

    @asynccontextmanager
    async def asking(
        self, query: str, *, accept: str = DEFER, headers: Mapping[str, str] | None = None, **parameters: object
    ) -> AsyncIterator[Stream]:
        """Ask and read the answer in parts."""
        async with self.client.stream(
            "POST", "/graphql", json={"query": query, **parameters}, headers={"accept": accept, **(headers or {})}
        ) as response:
            yield Stream(response)

    async def has_nothing_in_flight(self) -> None:
        """Wait until every request, and every fetch for one, has ended."""
        async with asyncio.timeout(20):
            while self.world.app.requests_in_flight or self.world.in_flight:  # noqa: ASYNC110 # a count has no event
                await asyncio.sleep(0)  # a turn of the loop for those that are ending


@asynccontextmanager
async def serving(
    config: Config | None = None, transports: Mapping[str, Transport] | None = None
) -> AsyncIterator[Served]:
    """The world on a free port."""
    world = World(config, transports)
    async with (
        listening(world.app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield Served(world, url, client)


@contextmanager
def complaints() -> Iterator[list[dict[str, Any]]]:
    """What the event loop complains about, such as exceptions that nobody looked at."""
    loop = asyncio.get_running_loop()
    found: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: found.append(context))
    try:
        yield found
    finally:
        loop.set_exception_handler(None)
