"""Random rules on many supergraphs: nobody reads a value that one big schema with guarded resolvers would not give."""

import json
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    NameNode,
    default_field_resolver,
    get_named_type,
    parse,
    print_ast,
)
from graphql.language import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    ObjectTypeDefinitionNode,
    ScalarTypeDefinitionNode,
)

from tests.authorization.graph import LoggedIn
from tests.execution.joins import read_joins
from tests.execution.monolith import Session, build_monolith, run_monolith
from tests.execution.operations import generate
from tests.execution.subgraphs import build_subgraph, subgraph_names
from tests.execution.world import World
from trifolio import Config, LocalTransport, Router

SUPERGRAPHS = {
    path.stem: path.read_text() for path in sorted((Path(__file__).parents[1] / "execution" / "supergraphs").glob("*"))
}
OPERATIONS_PER_SUPERGRAPH = 12
OPERATIONS_MAX = 60
"""Until there is one with something that is shut, and one with something that is not."""
RULES_AT_LEAST = 2
GUARDED = 0.15
"""Of all fields; of types half as many."""

AUTHENTICATED = ConstDirectiveNode(name=NameNode(value="authenticated"), arguments=())


def guard(document: DocumentNode, random: Random) -> tuple[str, set[str]]:
    """The supergraph with rules at random places, and these: names of types, and `Type.field`."""
    guarded: set[str] = set()

    def chosen(name: str, share: float) -> bool:
        if "__" in name or name in ("Query", "Mutation") or random.random() >= share:
            return False
        guarded.add(name)
        return True

    def marked(node: Any) -> Any:
        return replace(node, directives=(*(node.directives or ()), AUTHENTICATED))

    def field(owner: str, node: FieldDefinitionNode) -> FieldDefinitionNode:
        found: FieldDefinitionNode = marked(node) if chosen(f"{owner}.{node.name.value}", GUARDED) else node
        return found

    definitions = []
    for node in document.definitions:
        if isinstance(node, ObjectTypeDefinitionNode):
            node = replace(node, fields=tuple(map(partial(field, node.name.value), node.fields or ())))
        if isinstance(node, ObjectTypeDefinitionNode | EnumTypeDefinitionNode | ScalarTypeDefinitionNode):
            definitions.append(marked(node) if chosen(node.name.value, GUARDED / 2) else node)
        else:
            definitions.append(node)
    return print_ast(DocumentNode(definitions=tuple(definitions))), guarded


def shut(schema: GraphQLSchema, guarded: set[str]) -> GraphQLSchema:
    """The big schema, whose resolvers refuse what is guarded."""

    def refuse(*_: object, **__: object) -> None:
        raise GraphQLError("shut")

    for name, each in schema.type_map.items():
        if isinstance(each, GraphQLObjectType) and not name.startswith("__"):
            for field_name, field in each.fields.items():
                if guarded & {name, f"{name}.{field_name}", get_named_type(field.type).name}:
                    field.resolve = refuse
                elif field.resolve is None:
                    field.resolve = default_field_resolver
    return schema


def leaks(answer: Any, allowed: Any, path: str = "") -> list[str]:
    """Where an answer has something that is not allowed."""
    if answer is None:
        return []
    if isinstance(answer, dict) and isinstance(allowed, dict):
        return [leak for key in answer for leak in leaks(answer[key], allowed.get(key), f"{path}.{key}")]
    if isinstance(answer, list) and isinstance(allowed, list) and len(answer) == len(allowed):
        return [leak for at, item in enumerate(answer) for leak in leaks(item, allowed[at], f"{path}[{at}]")]
    return [] if answer == allowed else [f"{path}: {answer!r} instead of {allowed!r}"]


def values(data: Any) -> int:
    """How many values there are."""
    if isinstance(data, dict | list):
        return sum(map(values, data.values() if isinstance(data, dict) else data))
    return data is not None


@pytest.mark.parametrize(("name", "sdl"), SUPERGRAPHS.items(), ids=SUPERGRAPHS)
async def test_nobody_reads_what_is_shut(name: str, sdl: str) -> None:
    """A stranger gets no value that guarded resolvers refuse, and whoever is logged in gets all of them."""
    with_rules, guarded = next(
        found
        for number in count()
        if len((found := guard(parse(sdl, no_location=True), Random(f"{name}/{number}")))[1]) >= RULES_AT_LEAST
    )
    joins = read_joins(sdl)
    world = World(joins)
    transports = {name: LocalTransport(build_subgraph(world, name)) for name in subgraph_names(joins)}
    plain, guarding = build_monolith(world), shut(build_monolith(world), guarded)
    config = Config(introspection=True)
    stranger = Router(with_rules, transports=transports, config=config)
    known = Router(with_rules, transports=transports, config=config, plugins=[LoggedIn()])
    refused = shown = 0
    for number in range(OPERATIONS_MAX):
        if number >= OPERATIONS_PER_SUPERGRAPH and shown and refused:
            break
        seed = f"{name}/{number}"
        operation = generate(plain, Random(seed))
        world.salt = seed
        document = parse(operation.text)
        everything = run_monolith(plain, document, operation.variables).data
        allowed = run_monolith(guarding, document, operation.variables).data
        answer = await stranger.execute(operation.text, variables=operation.variables, context=Session(salt=seed))
        assert leaks(answer.data, allowed) == [], f"{operation.text}\n{sorted(guarded)}"
        whole = await known.execute(operation.text, variables=operation.variables, context=Session(salt=seed))
        assert json.dumps(whole.data) == json.dumps(everything)
        shown += values(answer.data)
        refused += values(everything) - values(answer.data)
        assert bool(answer.errors) >= (values(answer.data) < values(everything))
    assert shown
    assert refused
