"""A small graph of two subgraphs, the router over it with plug-ins, and three ways to ask it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from typing import Any

import httpx
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, build_schema

from trifolio import (
    Config,
    LocalTransport,
    Router,
    Subgraph,
    SubgraphRequest,
    SubgraphResponse,
    Supergraph,
    Transport,
    compose,
)

_LINK = """
    extend schema @link(
      url: "https://specs.apollo.dev/federation/v2.7"
      import: ["@key", "@external", "@requires", "@override"]
    )
"""
_PEOPLE = """
    type Query {
      me: Person people: [Person!]! vault: String! named: [Named] header(name: String!): String given: String
    }
    type Mutation { rename(name: String!): Person erase: Boolean }
    interface Named { name: String tax: String }
    type Person implements Named FEDERATED {
      id: ID! name: String tax: String email: String passport: String! nick: String friends: [Person!]
    }
    type Company implements Named { name: String tax: String staff: Int }
"""
_PLACES = """
    type Person FEDERATED {
      id: ID! email: String EXTERNAL nick: String OVERRIDE homes: [Place!] greeting: String REQUIRES
    }
    type Place { city: String! }
"""
_ENTITIES = """
    scalar _Any
    union _Entity = Person
    type QUERY { _entities(representations: [_Any!]!): [_Entity]! }
"""


def _federated(sdl: str) -> str:
    return (
        (_LINK + sdl)
        .replace("FEDERATED", '@key(fields: "id")')
        .replace("EXTERNAL", "@external")
        .replace("OVERRIDE", '@override(from: "people", label: "beta")')
        .replace("REQUIRES", '@requires(fields: "email")')
    )


def _executable(sdl: str, query: str) -> GraphQLSchema:
    for word in ("FEDERATED", "EXTERNAL", "OVERRIDE", "REQUIRES"):
        sdl = sdl.replace(word, "")
    return build_schema(sdl + _ENTITIES.replace("QUERY", query))


@cache
def supergraph() -> Supergraph:
    """The supergraph of the two."""
    made = compose(
        [
            Subgraph(name="people", url="http://people.invalid/graphql", sdl=_federated(_PEOPLE)),
            Subgraph(name="places", url="http://places.invalid/graphql", sdl=_federated(_PLACES)),
        ]
    )
    assert made.supergraph is not None, made.diagnostics
    return Supergraph.parse(made.supergraph)


SECRETS = ("ada@example.com", "P-1815", "T-77", "gold", "bob@example.com", "P-1816")
"""Values that no caller may read from whom their fields are hidden."""
_ADA: dict[str, Any] = {
    "__typename": "Person",
    "id": "1",
    "name": "Ada",
    "tax": "T-77",
    "email": "ada@example.com",
    "passport": "P-1815",
    "nick": "old",
}
_BOB = {**_ADA, "id": "2", "name": "Bob", "email": "bob@example.com", "passport": "P-1816"}
_COMPANY = {"__typename": "Company", "name": "Engines", "tax": "T-77", "staff": 3}


class People:
    """Who people are; notes which mutations were executed, and the context of the last request."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.schema = _executable(_PEOPLE, "Extra")
        query = self.schema.type_map["Query"]
        assert isinstance(query, GraphQLObjectType)
        extra = self.schema.type_map["Extra"]
        assert isinstance(extra, GraphQLObjectType)
        query.fields["_entities"] = extra.fields["_entities"]
        _resolve(query, me=lambda *_: _ADA, people=lambda *_: [_ADA, _BOB], vault=lambda *_: "gold")
        _resolve(query, named=lambda *_: [_ADA, _COMPANY], _entities=self._entities)
        _resolve(query, header=lambda _, info, name: info.context.headers.get(name))
        _resolve(query, given=lambda _, info: info.context.context)
        mutation, person = self.schema.type_map["Mutation"], self.schema.type_map["Person"]
        assert isinstance(mutation, GraphQLObjectType)
        assert isinstance(person, GraphQLObjectType)
        _resolve(mutation, rename=self._rename, erase=self._erase)
        _resolve(person, friends=lambda *_: [_BOB])
        named = self.schema.type_map["Named"]
        assert isinstance(named, GraphQLInterfaceType)
        named.resolve_type = lambda value, *_: value["__typename"]

    def _entities(self, _: object, _info: object, representations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"1": _ADA, "2": _BOB}[each["id"]] for each in representations]

    def _rename(self, _: object, _info: object, name: str) -> dict[str, Any]:
        self.done.append(f"rename {name}")
        return {**_ADA, "name": name}

    def _erase(self, *_: object) -> bool:
        self.done.append("erase")
        return True


def places() -> GraphQLSchema:
    """Where people live, and how they are greeted."""
    schema = _executable(_PLACES, "Query")
    query, person = schema.type_map["Query"], schema.type_map["Person"]
    assert isinstance(query, GraphQLObjectType)
    assert isinstance(person, GraphQLObjectType)
    _resolve(query, _entities=lambda *_, representations: [{"nick": "new", **each} for each in representations])
    _resolve(person, homes=lambda *_: [{"city": "London"}], greeting=lambda *_: "Hello")
    return schema


def _resolve(resolved: GraphQLObjectType, **resolvers: Any) -> None:
    for name, resolver in resolvers.items():
        resolved.fields[name].resolve = resolver


class Recording:
    """A transport that notes what it carries."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.requests: list[SubgraphRequest] = []

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Note the request and carry it."""
        self.requests.append(request)
        return await self.inner.send(request)

    async def close(self) -> None:
        """Close the inner transport."""
        await self.inner.close()


class Graph:
    """A router over the two subgraphs in memory, and what reached them."""

    def __init__(
        self, *plugins: object, config: Config | None = None, transports: Mapping[str, Transport] | None = None
    ) -> None:
        self.people = People()
        local = {"people": LocalTransport(self.people.schema), "places": LocalTransport(places())}
        self.recordings = {name: Recording(transport) for name, transport in local.items()}
        self.router = Router(
            supergraph(), config=config, transports={**self.recordings, **(transports or {})}, plugins=plugins
        )

    @property
    def asked(self) -> list[str]:
        """The subgraphs that were asked, in alphabetical order."""
        return sorted(name for name, each in self.recordings.items() for _ in each.requests)

    @property
    def sent(self) -> str:
        """All operations that were sent."""
        return " ".join(request.operation for each in self.recordings.values() for request in each.requests)


# ---- asking ----

Body = dict[str, Any]
Ask = Callable[..., Awaitable[Body]]
"""From a router, a query and headers to `data` and `errors` as JSON."""


async def by_execute(router: Router, query: str, headers: Mapping[str, str] | None = None, **more: Any) -> Body:
    """Router.execute."""
    body: Body = json.loads((await router.execute(query, headers=headers, **more)).encode())
    return body


async def by_stream(router: Router, query: str, headers: Mapping[str, str] | None = None, **more: Any) -> Body:
    """Router.stream, all of whose parts are merged at their paths."""
    whole: Body = {}
    async with aclosing(router.stream(query, headers=headers, **more)) as parts:
        async for part in parts:
            if not whole:
                whole = {"data": part.data}
            elif part.data is not None:
                target: Any = whole["data"]
                for key in part.path:
                    target = target[key]
                merge(target, part.data)
            whole.setdefault("errors", []).extend(error.to_json() for error in part.errors)
    return {name: value for name, value in whole.items() if value != []}


def merge(target: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Add a part's data to what is there."""
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


async def by_http(router: Router, query: str, headers: Mapping[str, str] | None = None, **more: Any) -> Body:
    """A POST to the ASGI application."""
    body: Body = (await post(router, query, headers, **more)).json()
    return body


async def post(
    router: Router, query: str, headers: Mapping[str, str] | None = None, **parameters: Any
) -> httpx.Response:
    """The HTTP response to a POST; a bug of the application is an exception here."""
    transport = httpx.ASGITransport(router.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://router", trust_env=False) as client:
        return await client.post("/graphql", json={"query": query, **parameters}, headers=dict(headers or {}))


WAYS: Mapping[str, Ask] = {"execute": by_execute, "stream": by_stream, "http": by_http}


def codes(body: Body) -> list[str]:
    """The codes of an answer's errors."""
    return [error["extensions"]["code"] for error in body.get("errors", ())]


def paths(body: Body) -> Sequence[object]:
    """The paths of an answer's errors."""
    return [error.get("path") for error in body.get("errors", ())]
