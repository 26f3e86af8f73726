"""Two small subgraphs behind tests/server/supergraph.graphql, as schemas of graphql-core."""

import asyncio
import json
from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema, build_schema

from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest
from trifolio.limits import Limits

_PEOPLE = """
    type Query {
      me: Person
      caller: String
      find(filter: Filter): [Person!]
      fail: String
      _entities(representations: [_Any!]!): [_Entity]!
      _service: _Service!
    }
    type Mutation { rename(name: String!): Person }
    type Person { id: ID! name: String passportNumber: String boss: Person }
    input Filter { name: String any: [Filter!] }
    scalar _Any
    union _Entity = Person
    type _Service { sdl: String! }
"""

_PLACES = """
    type Query { _entities(representations: [_Any!]!): [_Entity]! _service: _Service! }
    type Person { id: ID! homes(first: Int = 10): [Place!] }
    type Place { city: String! }
    scalar _Any
    union _Entity = Person
    type _Service { sdl: String! }
"""

PEOPLE_SDL = """
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@inaccessible"])
    type Query { me: Person caller: String find(filter: Filter): [Person!] fail: String }
    type Mutation { rename(name: String!): Person }
    type Person @key(fields: "id") { id: ID! name: String passportNumber: String @inaccessible boss: Person }
    input Filter { name: String any: [Filter!] }
"""

PLACES_SDL = """
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
    type Person @key(fields: "id") { id: ID! homes(first: Int = 10): [Place!] }
    type Place { city: String! }
"""


class Renames:
    """How often `rename` was executed: what a refused request must not change."""

    def __init__(self) -> None:
        self.count = 0


def people(renames: Renames | None = None, *, sdl: str = PEOPLE_SDL) -> GraphQLSchema:
    """Who a person is; `caller` answers with the Authorization header that arrived, `_service` with `sdl`."""
    schema = build_schema(_PEOPLE)
    ada = {"__typename": "Person", "id": "1", "name": "Ada", "passportNumber": "X1"}

    def rename(_: object, _info: object, name: str) -> dict[str, Any]:
        if renames is not None:
            renames.count += 1
        return {**ada, "name": name}

    def caller(_: object, info: Any) -> str | None:
        request: SubgraphRequest = info.context
        return request.headers.get("authorization")

    def fail(_: object, _info: object) -> str:
        raise RuntimeError("connection to 10.0.0.7:5432 refused")

    _resolve(schema, "Query", me=lambda *_: ada, caller=caller, fail=fail)
    _resolve(schema, "Query", find=lambda *_, **__: [ada], _entities=_entities, _service=lambda *_: {"sdl": sdl})
    _resolve(schema, "Mutation", rename=rename)
    _resolve(schema, "Person", boss=lambda *_: ada)
    return schema


def places() -> GraphQLSchema:
    """Where a person lives."""
    schema = build_schema(_PLACES)
    _resolve(schema, "Query", _entities=_entities, _service=lambda *_: {"sdl": PLACES_SDL})
    _resolve(schema, "Person", homes=lambda *_, first: [{"city": city} for city in ("London", "Turin")[:first]])
    return schema


def _entities(_: object, _info: object, representations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"__typename": each["__typename"], "id": each["id"], "name": "Ada"} for each in representations]


def _resolve(schema: GraphQLSchema, type_name: str, **resolvers: Any) -> None:
    resolved = schema.type_map[type_name]
    assert isinstance(resolved, GraphQLObjectType)
    for name, resolver in resolvers.items():
        resolved.fields[name].resolve = resolver


class SubgraphApp:
    """A schema over HTTP, as a subgraph serves it; keeps the headers of requests, and answers while `open` is set."""

    limits = Limits()

    def __init__(self, schema: GraphQLSchema) -> None:
        self.transport = LocalTransport(schema)
        self.seen: list[dict[str, str]] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(headers)
        chunks, more = [], True
        while more:
            message = await receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = json.loads(b"".join(chunks))
        self.asked.set()
        await self.open.wait()
        request = SubgraphRequest("", "query", body["query"], body.get("variables") or {}, headers)
        response = await self.transport.send(request)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(response.payload).encode()})
