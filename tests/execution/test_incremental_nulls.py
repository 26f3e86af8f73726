"""Nulls that may not stand, under @defer: they end their part, as in graphql-core's incremental executor.

Two subgraphs share an entity. The second does not know every entity that the first returns, so its fields are null
where the schema promises values, and the nulls go up to the next object that may be null, or to the end of the part.
"""

import os
from random import Random
from typing import Any

import pytest
from graphql import GraphQLObjectType, GraphQLSchema, GraphQLUnionType, build_schema, parse

from tests.execution.incremental import answer_in_parts, collected, reference, with_defer
from tests.execution.operations import generate
from trifolio.composer import Subgraph, compose
from trifolio.executor import prepare
from trifolio.executor.local import LocalTransport
from trifolio.planner import plan
from trifolio.supergraph import Supergraph

FEDERATION = '@link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])'
NODES = f"""
extend schema {FEDERATION}
type Query {{ node: Node nodes: [Node] strict: Node! lists: [[Node!]] }}
type Node @key(fields: "id") {{ id: ID! next: Node! maybe: Node list: [Node!]! holes: [Node] name: String }}
"""
API = """
type Query { node: Node nodes: [Node] strict: Node! lists: [[Node!]] }
type Node { id: ID! next: Node! maybe: Node list: [Node!]! holes: [Node] name: String
  b: Int! c: Int d: Inner! e: Inner fs: [Inner!]! }
type Inner { x: Int! y: Int pal: Inner }
"""
MACHINERY = """
directive @key(fields: String!) on OBJECT
scalar _Any
union _Entity = Node
extend type Query { _entities(representations: [_Any!]!): [_Entity]! }
"""
VALUES = f"""
extend schema {FEDERATION}
type Node @key(fields: "id") {{ id: ID! b: Int! c: Int d: Inner! e: Inner fs: [Inner!]! }}
type Inner {{ x: Int! y: Int pal: Inner }}
"""
COUNT = 6
OPERATIONS = int(os.environ.get("TRIFOLIO_DEFERRED_OPERATIONS", "150"))
"""What runs by default; `make fuzz` runs more."""
DATA = 3
"""Over how many sets of data each is answered: making an operation and its plan takes longer than answering it."""


class Data:
    """Which entities the second subgraph knows, and where the first leads: other ones for every seed."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.salt = 0

    def become(self, seed: str) -> None:
        """Change to what a seed stands for."""
        random = Random(f"data {seed}")
        self.known = {number for number in range(COUNT) if random.random() < 0.7}
        self.salt = random.randrange(1_000)

    def node(self, number: int) -> dict[str, Any]:
        """An object as resolvers see it."""
        return {"id": str(number % COUNT)}

    def of_nodes(self, source: Any, name: str) -> Any:
        """A field of the first subgraph."""
        number = int(source["id"]) if source else self.salt
        if name in ("id", "name"):
            return source["id"]
        if name in ("node", "strict", "next"):
            return self.node(number * 5 + len(name))
        if name == "maybe":
            return self.node(number + 1) if (number + self.salt) % 3 else None
        if name == "lists":
            return [[self.node(number), self.node(number + 1)], None, [self.node(number + 2)]]
        holes = [None] if name in ("nodes", "holes") else []
        return [self.node(number + 1), *holes, self.node(number + 2)]

    def of_values(self, source: Any, name: str) -> Any:
        """A field of the second subgraph, on an entity or on what it brings."""
        number = int(source.get("id", 0))
        if "id" in source and number not in self.known:
            return None
        if name in ("d", "e", "pal"):
            return {"of": number} if name == "d" or (number + self.salt) % 4 else None
        return [{"of": number}, {"of": number + 1}] if name == "fs" else number + source.get("of", 0)


def resolving(schema: GraphQLSchema, data: Data) -> GraphQLSchema:
    """One schema with everything: the reference's."""
    own = {"id", "next", "maybe", "list", "holes", "name"}
    for item in schema.type_map.values():
        if isinstance(item, GraphQLObjectType) and not item.name.startswith("__"):
            for name, field in item.fields.items():
                first = item.name == "Query" or (item.name == "Node" and name in own)
                read = data.of_nodes if first else data.of_values
                field.resolve = lambda source, _info, read=read, name=name: read(source, name)
    return schema


def transports_of(data: Data) -> dict[str, LocalTransport]:
    """Both subgraphs in memory."""
    nodes = build_schema(f"type Query{NODES.partition('type Query')[2]} {MACHINERY}")
    values = build_schema(f"type Query {{ _: Int }} type Node{VALUES.partition('type Node')[2]} {MACHINERY}")
    for schema, read in ((nodes, data.of_nodes), (values, data.of_values)):
        for item in schema.type_map.values():
            if isinstance(item, GraphQLObjectType) and not item.name.startswith("__"):
                for name, field in item.fields.items():
                    field.resolve = lambda source, _info, read=read, name=name, **_: read(source, name)
        union = schema.type_map["_Entity"]
        assert isinstance(union, GraphQLUnionType)
        union.resolve_type = lambda *_: "Node"
        assert schema.query_type
        schema.query_type.fields["_entities"].resolve = lambda _, __, representations, everything=schema is nodes: [
            {"id": each["id"]} if everything or int(each["id"]) in data.known else None for each in representations
        ]
    return {"nodes": LocalTransport(nodes), "values": LocalTransport(values)}


@pytest.fixture(scope="module")
def supergraph() -> Supergraph:
    """The two, composed."""
    sources = (("nodes", NODES), ("values", VALUES))
    result = compose([Subgraph(name, f"http://{name}.invalid", sdl) for name, sdl in sources])
    assert result.supergraph, result.diagnostics
    return Supergraph.parse(result.supergraph)


async def test_nulls_end_at_the_part_as_in_the_reference(supergraph: Supergraph) -> None:
    """Data, and whether there are errors, equal the reference's, whichever parts and objects nulls take with them."""
    data = Data()
    schema = with_defer(resolving(build_schema(API), data))
    transports = transports_of(data)
    failed = parts = 0
    for number in range(OPERATIONS):
        operation = generate(schema, Random(f"nulls {number}"), deferring=True)
        document = parse(operation.text)
        made = plan(operation.text, supergraph, incremental=True)
        ways = [prepare(made, interpretations=interpretations) for interpretations in (None, 0)]
        for salt in range(DATA):
            data.become(f"{number}.{salt}")
            expected = await reference(schema, document, operation.variables)
            for prepared in ways:
                first = await answer_in_parts(
                    prepared,
                    document,
                    operation.variables,
                    schema=supergraph.api_schema,
                    transports=transports,
                    session=None,
                )
                whole = await collected(first)
                if whole.canonical != expected.canonical or bool(whole.errors) != bool(expected.errors):
                    pytest.fail(f"seed {number}.{salt}\n{operation.text}\n{operation.variables}\n{made}")
            failed += whole.failed
            parts += whole.parts
    answers = OPERATIONS * DATA
    assert failed > answers / 20, "hardly a part failed: this has to test more"
    assert parts > answers, "hardly a part came"
