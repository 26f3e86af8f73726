"""Two subgraphs whose types and fields have rules, a router over them, and what it asked them."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from graphql import build_schema, graphql_sync

from trifolio import (
    AuthorizationConfig,
    Config,
    OperationContext,
    Plugin,
    RequestContext,
    Router,
    Subgraph,
    SubgraphRequest,
    SubgraphResponse,
    Supergraph,
    compose,
)

LINK = """
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@external", "@requires",
      "@provides", "@shareable", "@interfaceObject", "@authenticated", "@requiresScopes", "@policy", "@inaccessible"])
"""
ENTITIES = """
    scalar _Any
    union _Entity = MEMBERS
    extend type Query { _entities(representations: [_Any!]!): [_Entity]! }
"""
_DIRECTIVE = re.compile(r"@\w+(\([^)]*\))?")

NULL_FIELDS = Config()
REJECT = Config(authorization=AuthorizationConfig(mode="reject"))


class Executed:
    """A subgraph that is executed: its SDL without directives, over plain values; notes what it was asked."""

    def __init__(self, name: str, sdl: str, root: Mapping[str, object], asked: list[str]) -> None:
        plain = _DIRECTIVE.sub("", sdl.replace(LINK, ""))
        entities = re.findall(r"type (\w+)[^{]*@key", sdl)
        if entities:
            if "type Query" not in plain:
                plain += " type Query { _here: Int }"
            plain += ENTITIES.replace("MEMBERS", " | ".join(entities))
        self.name, self.schema, self.root, self.asked = name, build_schema(plain), dict(root), asked
        self.requests: list[SubgraphRequest] = []

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Execute the request."""
        self.asked.append(f"{self.name} {request.operation}")
        self.requests.append(request)
        variables = dict(request.variables)
        result = graphql_sync(self.schema, request.operation, root_value=self.root, variable_values=variables)
        assert not result.errors, result.errors
        return SubgraphResponse(payload={"data": result.data})

    async def close(self) -> None:
        """Nothing is open."""


@cache
def composed(*sdls: tuple[str, str]) -> Supergraph:
    """The supergraph of subgraphs by name."""
    subgraphs = [Subgraph(name=name, url=f"http://{name}.invalid/", sdl=sdl) for name, sdl in sdls]
    made = compose(subgraphs)
    assert made.supergraph is not None, made.diagnostics
    return Supergraph.parse(made.supergraph)


class Graph:
    """A router over subgraphs by name, each an SDL and its values."""

    def __init__(
        self,
        subgraphs: Mapping[str, tuple[str, Mapping[str, Any]]],
        *plugins: object,
        config: Config = NULL_FIELDS,
        supergraph: Supergraph | None = None,
    ) -> None:
        self.asked: list[str] = []
        """Every request as the subgraph's name and the operation."""
        linked = {name: (LINK + sdl, values) for name, (sdl, values) in subgraphs.items()}
        self.subgraphs = {name: Executed(name, *each, self.asked) for name, each in linked.items()}
        if supergraph is None:
            supergraph = composed(*((name, sdl) for name, (sdl, _) in linked.items()))
        self.router = Router(supergraph, transports=self.subgraphs, plugins=plugins, config=config)


class LoggedIn(Plugin):
    """Sets claims, as whoever verifies tokens does."""

    def __init__(self, **claims: object) -> None:
        self.claims = claims

    async def on_request(self, request: RequestContext, /) -> None:
        request.claims = self.claims


class Policies(Plugin):
    """Answers policies; notes which it was asked for."""

    def __init__(self, **answers: bool) -> None:
        self.answers = answers
        self.seen: list[dict[str, bool | None]] = []

    async def on_operation(self, operation: OperationContext, /) -> None:
        self.seen.append(dict(operation.policies))
        for name in operation.policies:
            if name in self.answers:
                operation.policies[name] = self.answers[name]
