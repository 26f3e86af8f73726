"""The API schema: a supergraph's document without @inaccessible elements and without federation's machinery.

What counts as machinery is what the features linked on the schema define (`features.py`): for a feature called `join`,
the directive `@join` and everything named `join__...`; and what a link imports, under the name it is imported by.

Specification: inaccessible v0.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from graphql import (
    GraphQLDeferDirective,
    GraphQLError,
    GraphQLSchema,
    build_ast_schema,
)
from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    TypeNode,
    UnionTypeDefinitionNode,
)

from trifolio.errors import SupergraphError
from trifolio.features import Machinery
from trifolio.schema_rules import applied_errors, default_errors

_BUILT_IN_DIRECTIVES: Final = frozenset({"deprecated", "specifiedBy", "oneOf"})

PROBLEMS_MAX: Final = 50
"""Reported for one supergraph; a broken one can have thousands that say the same."""

_Node = TypeVar("_Node")


def with_defer(schema: GraphQLSchema) -> GraphQLSchema:
    """The API schema of a router that answers in parts: with @defer, unless the graph has a directive of that name."""
    if schema.get_directive(GraphQLDeferDirective.name) is not None:
        return schema
    parts: Any = schema.to_kwargs()
    return GraphQLSchema(**{**parts, "directives": (*parts["directives"], GraphQLDeferDirective), "assume_valid": True})


def build_api_schema(document: DocumentNode, machinery: Machinery) -> GraphQLSchema:
    """Build the schema that clients see. Raises SupergraphError where what is left is no valid schema.

    It is judged as the composer judges what it has merged (`schema_rules.py`): a deprecation that an interface lacks,
    say, does not keep a router from answering.
    """
    kept = [node for node in document.definitions if not machinery.owns_definition(node)]
    inaccessible = machinery.names("inaccessible")
    hidden = {
        node.name.value
        for node in kept
        if isinstance(node, TypeDefinitionNode) and _is_inaccessible(node, inaccessible)
    }
    trim = _Trim(inaccessible, hidden)
    definitions = tuple(
        trim.definition(node)
        for node in kept
        if not (isinstance(node, TypeDefinitionNode) and node.name.value in hidden)
    )
    try:
        schema = build_ast_schema(DocumentNode(definitions=definitions), assume_valid=True, assume_valid_sdl=True)
        problems = [error.message for error in (*applied_errors(schema), *default_errors(schema))]
    except (GraphQLError, TypeError, RecursionError) as error:
        problems = [str(error)]
    if problems:
        raise SupergraphError("The supergraph's API schema is not valid", problems=problems[:PROBLEMS_MAX])
    return schema


def _is_inaccessible(node: object, names: frozenset[str]) -> bool:
    directives: Iterable[ConstDirectiveNode] = getattr(node, "directives", None) or ()
    return any(each.name.value in names for each in directives)


@dataclass(frozen=True, slots=True)
class _Trim:
    """Copies definitions without what clients must not see."""

    inaccessible: frozenset[str]
    """What the directive is called."""
    hidden: set[str]
    """The types that are not accessible."""

    def definition(self, node: DefinitionNode) -> DefinitionNode:
        if isinstance(node, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
            fields = tuple(
                replace(self.bare(each), arguments=self.members(each.arguments)) for each in self.members(node.fields)
            )
            interfaces = tuple(each for each in node.interfaces or () if each.name.value not in self.hidden)
            return replace(self.bare(node), fields=fields, interfaces=interfaces)
        if isinstance(node, UnionTypeDefinitionNode):
            types = tuple(each for each in node.types or () if each.name.value not in self.hidden)
            return replace(self.bare(node), types=types)
        if isinstance(node, InputObjectTypeDefinitionNode):
            return replace(self.bare(node), fields=self.members(node.fields))
        if isinstance(node, EnumTypeDefinitionNode):
            return replace(self.bare(node), values=self.members(node.values))
        if isinstance(node, DirectiveDefinitionNode):
            return replace(node, arguments=self.members(node.arguments))
        if isinstance(node, SchemaDefinitionNode):
            operations = tuple(each for each in node.operation_types if each.type.name.value not in self.hidden)
            return replace(self.bare(node), operation_types=operations)
        return self.bare(node)

    def members(self, nodes: tuple[_Node, ...] | None) -> tuple[_Node, ...]:
        """The accessible ones of fields, arguments or values, and of those only the ones whose type is left."""
        return tuple(
            self.bare(node)
            for node in nodes or ()
            if not _is_inaccessible(node, self.inaccessible)
            and _named_type(getattr(node, "type", None)) not in self.hidden
        )

    def bare(self, node: _Node) -> _Node:
        """The node with only those directives that introspection shows."""
        directives: tuple[ConstDirectiveNode, ...] = getattr(node, "directives", None) or ()
        kept = tuple(each for each in directives if each.name.value in _BUILT_IN_DIRECTIVES)
        if len(kept) == len(directives):
            return node
        return replace(node, directives=kept)  # type: ignore[type-var]  # every node with directives is a dataclass


def _named_type(node: TypeNode | None) -> str | None:
    while isinstance(node, NonNullTypeNode | ListTypeNode):
        node = node.type
    return node.name.value if isinstance(node, NamedTypeNode) else None
