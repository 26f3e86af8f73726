"""Each subgraph's own schema, worked out from a supergraph: what a subgraph operation has to be valid against."""

from collections.abc import Iterable, Iterator

from graphql import GraphQLSchema, build_schema, parse, print_ast, value_from_ast_untyped
from graphql.language import (
    ConstDirectiveNode,
    EnumTypeDefinitionNode,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    ScalarTypeDefinitionNode,
)

from trifolio.supergraph import Supergraph, TypeInSubgraph


def subgraph_schemas(supergraph: Supergraph) -> dict[str, GraphQLSchema]:
    """For each subgraph's name its schema, external fields and `_entities` included."""
    document = parse(supergraph.sdl, no_location=True)
    definitions = {getattr(getattr(node, "name", None), "value", ""): node for node in document.definitions}
    arguments: dict[tuple[str, str], tuple[InputValueDefinitionNode, ...]] = {}
    for name in supergraph.types:
        for field in getattr(definitions[name], "fields", None) or ():
            arguments[name, field.name.value] = field.arguments or ()
    schemas = {}
    for subgraph in supergraph.subgraphs:
        graph = supergraph.subgraphs[subgraph].graph
        parts = [text for node in document.definitions for text in _leaf_type(node, graph)]
        parts += list(_composites(supergraph, subgraph, arguments))
        schemas[subgraph] = build_schema("\n".join(parts), assume_valid=True)
    return schemas


def _applied(directives: Iterable[ConstDirectiveNode] | None, name: str) -> Iterator[dict[str, object]]:
    for directive in directives or ():
        if directive.name.value == name:
            yield {each.name.value: value_from_ast_untyped(each.value) for each in directive.arguments or ()}


def _is_in(node: object, directive: str, graph: str) -> bool:
    applied = list(_applied(getattr(node, "directives", ()), directive))
    return not applied or any(each.get("graph") == graph for each in applied)


def _leaf_type(node: object, graph: str) -> Iterator[str]:
    """Scalars, enums and inputs as the subgraph has them."""
    if isinstance(node, ScalarTypeDefinitionNode) and _is_in(node, "join__type", graph):
        yield f"scalar {node.name.value}"
    elif isinstance(node, EnumTypeDefinitionNode) and _is_in(node, "join__type", graph):
        values = [each.name.value for each in node.values or () if _is_in(each, "join__enumValue", graph)]
        yield f"enum {node.name.value} {{ {' '.join(values)} }}" if values else ""
    elif isinstance(node, InputObjectTypeDefinitionNode) and _is_in(node, "join__type", graph):
        fields = []
        for each in node.fields or ():
            joins = [join for join in _applied(each.directives, "join__field") if join.get("graph") == graph]
            if joins or not list(_applied(each.directives, "join__field")):
                type_text = joins[0].get("type") if joins else None
                default = f" = {print_ast(each.default_value)}" if each.default_value else ""
                fields.append(f"{each.name.value}: {type_text or print_ast(each.type)}{default}")
        yield f"input {node.name.value} {{ {' '.join(fields)} }}"


def _composites(
    supergraph: Supergraph, subgraph: str, arguments: dict[tuple[str, str], tuple[InputValueDefinitionNode, ...]]
) -> Iterator[str]:
    entities = []
    query = supergraph.roots["query"]
    for name, each in supergraph.types.items():
        here = each.subgraphs.get(subgraph)
        if here is None:
            continue
        is_object = each.kind == "object" or here.is_interface_object
        requires = any(one.subgraphs[subgraph].requires for one in each.fields.values() if subgraph in one.subgraphs)
        if is_object and any(key.resolvable or requires for key in here.keys):
            entities.append(name)
        if each.kind == "union":
            yield f"union {name} = {' | '.join(sorted(here.possible_types))}" if here.possible_types else ""
            continue
        fields = list(_fields(supergraph, subgraph, name, arguments))
        if name != query:
            yield _definition("type" if is_object else "interface", name, here, fields)
    is_root = subgraph in supergraph.types[query].subgraphs
    root = list(_fields(supergraph, subgraph, query, arguments)) if is_root else []
    if entities:
        yield f"scalar _Any union _Entity = {' | '.join(entities)}"
        root.append("_entities(representations: [_Any!]!): [_Entity]!")
    yield f"type {query} {{ {' '.join(root) or '_none: Int'} }} schema {{ {_roots(supergraph, subgraph)} }}"


def _roots(supergraph: Supergraph, subgraph: str) -> str:
    roots = [f"query: {supergraph.roots['query']}"]
    for kind, name in supergraph.roots.items():
        if kind != "query" and subgraph in supergraph.types[name].subgraphs:
            roots.append(f"{kind}: {name}")
    return " ".join(roots)


def _definition(keyword: str, name: str, here: TypeInSubgraph, fields: list[str]) -> str:
    implements = f" implements {' & '.join(sorted(here.interfaces))}" if here.interfaces else ""
    return f"{keyword} {name}{implements} {{ {' '.join(fields) or '_none: Int'} }}"


def _fields(
    supergraph: Supergraph,
    subgraph: str,
    name: str,
    arguments: dict[tuple[str, str], tuple[InputValueDefinitionNode, ...]],
) -> Iterator[str]:
    for field in supergraph.types[name].fields.values():
        here = field.subgraphs.get(subgraph)
        if here is None:
            continue
        declared = [
            f"{each.name.value}: {print_ast(each.type)}"
            + (f" = {print_ast(each.default_value)}" if each.default_value else "")
            for each in arguments[name, field.name]
        ]
        declared += [f"{each.name}: {each.type}" for each in here.context_arguments]
        shown = f"({', '.join(declared)})" if declared else ""
        yield f"{field.name}{shown}: {here.type}"
