"""The one big schema that a supergraph stands for, executed by graphql-core: the answers to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    REMOVE,
    DirectiveDefinitionNode,
    DocumentNode,
    ExecutionResult,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLUnionType,
    Node,
    SchemaDefinitionNode,
    Visitor,
    build_ast_schema,
    execute,
    visit,
)

from tests.execution.joins import Joins
from tests.execution.world import Thing, World


@dataclass
class Session:
    """What one execution remembers: how many mutations ran before, and which labels are on."""

    labels: frozenset[str] = frozenset()
    salt: str = ""
    """Which data it is about."""
    mutations: int = 0
    returned: set[tuple[str, Thing]] = field(default_factory=set)
    """Which subgraph has returned which object: those by themselves, not as they were asked for them."""
    refusals: list[str] = field(default_factory=list)
    """What subgraphs were asked and do not own."""
    raising: tuple[str | int, ...] | None = None
    """The path of the one field that raises, where it would; None: every field that would."""

    def next_mutation(self) -> str:
        """A number that shows in which order mutations ran."""
        self.mutations += 1
        return f"mutation {self.mutations}"


class _ApiVisitor(Visitor):
    """Drops what clients may not see and every directive but @deprecated, @oneOf and @specifiedBy."""

    def enter(self, node: Node, *_: Any) -> Any:
        name = getattr(getattr(node, "name", None), "value", "")
        if isinstance(node, DirectiveDefinitionNode | SchemaDefinitionNode):
            return REMOVE if isinstance(node, DirectiveDefinitionNode) else None
        if "__" in name:  # machinery of the specifications that the supergraph links
            return REMOVE
        directives = getattr(node, "directives", None)
        if directives and any(item.name.value == "inaccessible" for item in directives):
            return REMOVE
        return None

    def enter_directive(self, node: Any, *_: Any) -> Any:
        return None if node.name.value in {"deprecated", "oneOf", "specifiedBy"} else REMOVE


def api_schema(joins: Joins) -> GraphQLSchema:
    """The schema that clients see."""
    hidden = {
        node.name.value  # type: ignore[attr-defined]  # definitions of types have one
        for node in joins.document.definitions
        if any(item.name.value == "inaccessible" for item in getattr(node, "directives", None) or ())
    }
    document: DocumentNode = visit(joins.document, _ApiVisitor())
    document = visit(document, _HiddenReferences(hidden))
    return build_ast_schema(document, assume_valid=True)


class _HiddenReferences(Visitor):
    """Drops references to hidden types from unions and `implements`."""

    def __init__(self, hidden: set[str]) -> None:
        super().__init__()
        self._hidden = hidden

    def enter_union_type_definition(self, node: Any, *_: Any) -> Any:
        kept = tuple(item for item in node.types or () if item.name.value not in self._hidden)
        return _changed(node, types=kept)

    def enter_object_type_definition(self, node: Any, *_: Any) -> Any:
        kept = tuple(item for item in node.interfaces or () if item.name.value not in self._hidden)
        return _changed(node, interfaces=kept)

    enter_interface_type_definition = enter_object_type_definition


def _changed(node: Any, **changes: Any) -> Any:
    attributes = {key: getattr(node, key) for key in node.keys if hasattr(node, key)}
    return type(node)(**{**attributes, **changes})


def build_monolith(world: World) -> GraphQLSchema:
    """The API schema with resolvers over the world."""
    schema = api_schema(world.joins)
    for graphql_type in schema.type_map.values():
        if graphql_type.name.startswith("__"):
            continue
        if isinstance(graphql_type, GraphQLObjectType):
            for name, definition in graphql_type.fields.items():
                definition.resolve = _resolver(world, graphql_type.name, name)
        if isinstance(graphql_type, GraphQLInterfaceType | GraphQLUnionType):
            graphql_type.resolve_type = lambda thing, *_: thing.type
    return schema


def _resolver(world: World, type_name: str, name: str) -> Any:
    is_mutation = type_name == world.joins.roots.get("mutation")

    def resolve(source: Thing | None, info: GraphQLResolveInfo[Any], **args: Any) -> Any:
        thing = source or Thing(type_name, 0)
        extra = world.requires_text(thing, name)
        if is_mutation:
            extra += info.context.next_mutation()
        joins = world.joins.types[type_name].fields[name].values()
        for argument in next((join.context for join in joins if join.context), ()):
            args[argument.name] = context_value(world, thing, argument.context, argument.selection)
        raising = info.context.raising
        if raising is None or raising == tuple(info.path.as_list()):
            return world.value(thing, name, args, extra)
        with world.at_peace():
            return world.value(thing, name, args, extra)

    return resolve


def context_value(world: World, thing: Thing, context: str, selection: Any) -> Any:
    """What the nearest ancestor with a context says."""
    ancestor = thing.parent
    while ancestor is not None:
        names = (ancestor.type, *world.joins.interfaces(ancestor.type))
        if any(context in world.joins.types[name].contexts for name in names):
            value: Any = world.extract(ancestor, selection)
            while isinstance(value, dict) and len(value) == 1:
                value = next(iter(value.values()))
            return value
        ancestor = ancestor.parent
    return None


def run_monolith(
    schema: GraphQLSchema,
    document: DocumentNode,
    variables: Mapping[str, Any],
    operation_name: str | None = None,
    *,
    raising: tuple[str | int, ...] | None = None,
) -> ExecutionResult:
    """Execute one operation; with `raising`, nothing but the field at that path may raise."""
    result = execute(
        schema,
        document,
        variable_values=dict(variables),
        context_value=Session(raising=raising),
        operation_name=operation_name,
    )
    assert isinstance(result, ExecutionResult)
    return result
