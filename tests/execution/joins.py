"""What a supergraph's join directives say, read anew and without any module of the router: who owns what, and how.

The generated execution test derives its subgraphs and its one big schema from here, so that a misreading in the router
does not repeat itself in what the router is compared with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    ScalarTypeDefinitionNode,
    SchemaDefinitionNode,
    SelectionSetNode,
    TypeDefinitionNode,
    TypeNode,
    UnionTypeDefinitionNode,
    parse,
    parse_type,
    value_from_ast_untyped,
)


@dataclass(frozen=True)
class ContextArgument:
    """An argument that @fromContext fills."""

    name: str
    context: str
    type: TypeNode
    selection: SelectionSetNode


@dataclass(frozen=True)
class JoinField:
    """What one subgraph has of a field."""

    graph: str
    type: TypeNode
    external: bool = False
    requires: SelectionSetNode | None = None
    provides: SelectionSetNode | None = None
    is_override: bool = False
    label: str | None = None
    overridden: bool = False
    context: tuple[ContextArgument, ...] = ()

    def resolves(self, labels: frozenset[str]) -> bool:
        """Whether the subgraph answers the field under these @override labels, without being provided it."""
        if self.external or self.overridden:
            return False
        return self.label is None or (self.label in labels) is self.is_override


@dataclass
class Key:
    """A @key of a type in one subgraph."""

    text: str
    selection: SelectionSetNode
    resolvable: bool


@dataclass
class TypeJoins:
    """A composite or enum type with its join directives."""

    name: str
    node: TypeDefinitionNode
    keys: dict[str, list[Key]] = field(default_factory=dict)
    """By subgraph; a subgraph that has the type without a key has an empty list."""
    interface_object_in: set[str] = field(default_factory=set)
    implements: dict[str, set[str]] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    values: dict[str, set[str]] = field(default_factory=dict)
    fields: dict[str, dict[str, JoinField]] = field(default_factory=dict)
    nodes: dict[str, FieldDefinitionNode] = field(default_factory=dict)
    contexts: set[str] = field(default_factory=set)

    @property
    def is_object(self) -> bool:
        return isinstance(self.node, ObjectTypeDefinitionNode)


@dataclass
class Joins:
    """A whole supergraph."""

    document: DocumentNode
    graphs: dict[str, str]
    """Names by the constants of `join__Graph`."""
    types: dict[str, TypeJoins]
    inputs: dict[str, TypeDefinitionNode]
    """Input objects and scalars."""
    roots: dict[str, str]

    def possible(self, name: str) -> set[str]:
        """The object types that a type stands for in the supergraph."""
        found = self.types[name]
        if found.is_object:
            return {name}
        if isinstance(found.node, UnionTypeDefinitionNode):
            return {member.name.value for member in found.node.types or ()}
        return {
            other.name
            for other in self.types.values()
            if isinstance(other.node, ObjectTypeDefinitionNode)
            and name in {item.name.value for item in other.node.interfaces or ()}
        }

    def possible_in(self, name: str, graph: str) -> set[str]:
        """The object types that a type stands for in a subgraph; all, where it is an interface object there."""
        found = self.types[name]
        if graph in found.interface_object_in:
            return self.possible(name)
        if found.is_object:
            return {name}
        if isinstance(found.node, UnionTypeDefinitionNode):
            return found.members.get(graph, set())
        return {
            other.name
            for other in self.types.values()
            if other.is_object and name in other.implements.get(graph, set())
        }

    def interfaces(self, name: str) -> list[str]:
        """The interfaces and unions that an object type belongs to in the supergraph."""
        return [other for other in self.types if other != name and name in self.possible_or_none(other)]

    def possible_or_none(self, name: str) -> set[str]:
        return set() if isinstance(self.types[name].node, EnumTypeDefinitionNode) else self.possible(name)

    def graphs_of(self, node: TypeDefinitionNode) -> set[str]:
        """The subgraphs that have an input object or scalar."""
        return {self.graphs[join["graph"]] for join in _directives(node, "join__type")}

    @property
    def labels(self) -> list[str]:
        """Every @override label."""
        found = {
            join.label
            for item in self.types.values()
            for joins in item.fields.values()
            for join in joins.values()
            if join.label
        }
        return sorted(found)


def selection(text: str) -> SelectionSetNode:
    """A field set as a selection set."""
    text = text.strip()
    definition = parse(text if text.startswith("{") else "{" + text + "}", no_location=True).definitions[0]
    chosen = definition.selection_set  # type: ignore[attr-defined]  # it is an operation
    assert isinstance(chosen, SelectionSetNode)
    return chosen


def arguments(directive: DirectiveNode) -> dict[str, Any]:
    """A directive's arguments as plain values."""
    return {item.name.value: value_from_ast_untyped(item.value) for item in directive.arguments or ()}


def read_joins(sdl: str) -> Joins:
    """Read a supergraph's text."""
    document = parse(sdl, no_location=True)
    definitions = {node.name.value: node for node in document.definitions if isinstance(node, TypeDefinitionNode)}
    graphs: dict[str, str] = {}
    graph_enum = definitions["join__Graph"]
    assert isinstance(graph_enum, EnumTypeDefinitionNode)
    for value in graph_enum.values or ():
        (directive,) = _directives(value, "join__graph")
        graphs[value.name.value] = directive["name"]
    types: dict[str, TypeJoins] = {}
    inputs: dict[str, TypeDefinitionNode] = {}
    for name, node in definitions.items():
        if name.startswith(("join__", "link__", "core__")):
            continue
        if isinstance(node, InputObjectTypeDefinitionNode | ScalarTypeDefinitionNode):
            inputs[name] = node
        else:
            types[name] = _read_type(name, node, graphs)
    roots = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
    for definition in document.definitions:
        if isinstance(definition, SchemaDefinitionNode):
            roots = {item.operation.value: item.type.name.value for item in definition.operation_types}
    return Joins(document, graphs, types, inputs, {kind: name for kind, name in roots.items() if name in types})


def _directives(node: Any, name: str) -> list[dict[str, Any]]:
    return [arguments(item) for item in node.directives or () if item.name.value == name]


def _read_type(name: str, node: TypeDefinitionNode, graphs: Mapping[str, str]) -> TypeJoins:
    found = TypeJoins(name, node)
    for join in _directives(node, "join__type"):
        graph = graphs[join["graph"]]
        keys = found.keys.setdefault(graph, [])
        if join.get("key"):
            keys.append(Key(join["key"], selection(join["key"]), join.get("resolvable", True)))
        if join.get("isInterfaceObject"):
            found.interface_object_in.add(graph)
    for join in _directives(node, "join__implements"):
        found.implements.setdefault(graphs[join["graph"]], set()).add(join["interface"])
    for join in _directives(node, "join__unionMember"):
        found.members.setdefault(graphs[join["graph"]], set()).add(join["member"])
    found.contexts = {join["name"] for join in _directives(node, "context")}
    if isinstance(node, EnumTypeDefinitionNode):
        for value in node.values or ():
            for join in _directives(value, "join__enumValue") or [{"graph": graph} for graph in _constants(node)]:
                found.values.setdefault(graphs[join["graph"]], set()).add(value.name.value)
    if isinstance(node, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
        for item in node.fields or ():
            found.nodes[item.name.value] = item
            found.fields[item.name.value] = _read_field(item, found, graphs)
    return found


def _constants(node: TypeDefinitionNode) -> list[str]:
    return [join["graph"] for join in _directives(node, "join__type")]


def _read_field(node: FieldDefinitionNode, owner: TypeJoins, graphs: Mapping[str, str]) -> dict[str, JoinField]:
    joins = _directives(node, "join__field")
    if not joins:
        return {graph: JoinField(graph, node.type) for graph in owner.keys}
    found = {}
    for join in joins:
        if "graph" not in join:
            continue
        graph = graphs[join["graph"]]
        found[graph] = JoinField(
            graph,
            parse_type(join["type"], no_location=True) if join.get("type") else node.type,
            external=bool(join.get("external")),
            requires=selection(join["requires"]) if join.get("requires") else None,
            provides=selection(join["provides"]) if join.get("provides") else None,
            is_override=bool(join.get("override")),
            label=join.get("overrideLabel"),
            overridden=bool(join.get("usedOverridden")) and not join.get("overrideLabel"),
            context=tuple(_context_arguments(join.get("contextArguments") or ())),
        )
    return found


def _context_arguments(items: Sequence[Mapping[str, str]]) -> Iterator[ContextArgument]:
    for item in items:
        yield ContextArgument(
            item["name"], item["context"], parse_type(item["type"], no_location=True), selection(item["selection"])
        )
