"""The subgraphs of all worlds, in one process: an HTTP server that costs next to nothing.

    python -m bench.mock_subgraphs        serves on a free port, and prints it

A request that was never seen is executed by graphql-core over the world's data; its response is kept by path and body,
whole with its head, so that each repetition is one look-up. Whatever query a router sends is so answered right, also by
routers other than ours. `GET /count` says how many requests came, and how many of them were executed.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any, cast

import httptools
import uvloop
from graphql import GraphQLSchema, GraphQLUnionType, build_schema, graphql_sync

from bench.worlds import WORLDS, Source, World

KEPT_BYTES_MAX = 200_000_000
"""Beyond it everything is forgotten: operations that are never the same would fill the memory."""
_MACHINERY = """
scalar _Any
type _Service {{ sdl: String! }}
{union}
{query} Query {{ _service: _Service! {entities} }}
"""
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\ndown\n"


def executable(source: Source) -> GraphQLSchema:
    """A subgraph's schema with what federation adds to it."""
    keyed = [line.split()[0] for line in source.sdl.split("type ")[1:] if " @key" in line.partition("{")[0]]
    machinery = _MACHINERY.format(
        union=f"union _Entity = {' | '.join(keyed)}" if keyed else "",
        query="extend type" if "type Query" in source.sdl else "type",
        entities="_entities(representations: [_Any!]!): [_Entity]!" if keyed else "",
    )
    definitions = "schema { query: Query } " + source.sdl[source.sdl.index("type ") :]
    schema = build_schema(definitions + machinery, assume_valid_sdl=True)
    assert schema.query_type is not None
    for name, resolve in source.roots.items():
        schema.query_type.fields[name].resolve = resolve
    if keyed:

        def entities(_root: object, _info: object, representations: list[dict[str, Any]]) -> list[Any]:
            return [{**(source.entity(each) or {}), "__typename": each["__typename"]} for each in representations]

        schema.query_type.fields["_entities"].resolve = entities
        union = cast(GraphQLUnionType, schema.type_map["_Entity"])
        union.resolve_type = lambda value, *_: cast(str, value["__typename"])
    return schema


class Mock:
    """What has been answered, and what answers the rest."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        self._schemas = {
            world.path(name): executable(source) for world in worlds.values() for name, source in world.sources.items()
        }
        self.delays = {world.path(name): world.delay_s for world in worlds.values() for name in world.sources}
        self._failing = {world.path(name) for world in worlds.values() for name in world.failing}
        self._kept: dict[tuple[str, bytes], bytes] = {}
        self._kept_bytes = 0
        self.requests = self.executed = 0

    def response(self, path: str, body: bytes) -> bytes:
        """The whole response to a request."""
        if path == "/count":
            return _written({"requests": self.requests, "executed": self.executed})
        self.requests += 1
        kept = self._kept.get((path, body))
        return self._first(path, body) if kept is None else kept

    def _first(self, path: str, body: bytes) -> bytes:
        if path in self._failing:
            return _FAILURE
        self.executed += 1
        request = json.loads(body)
        result = graphql_sync(
            self._schemas[path],
            request["query"],
            variable_values=request.get("variables"),
            operation_name=request.get("operationName"),
        )
        response = _written(result.formatted)
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept[path, body] = response
        self._kept_bytes += len(response) + len(body)
        return response


def _written(content: object) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class _Protocol(asyncio.Protocol):
    """One connection of a router, which sends one request after the other."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._loop = asyncio.get_running_loop()
        self._path, self._body = "", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        response = self._mock.response(self._path, self._body)
        delay = self._mock.delays.get(self._path, 0)
        self._path, self._body = "", b""
        if delay:
            self._loop.call_later(delay, self._write, response)
        else:
            self._transport.write(response)

    def _write(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


async def _serve() -> None:
    mock = Mock(WORLDS)
    server = await asyncio.get_running_loop().create_server(lambda: _Protocol(mock), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
