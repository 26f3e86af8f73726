"""The API schema: a supergraph's document without @inaccessible elements and without federation's machinery.

What counts as machinery is what the features linked on the schema define: for a feature called `join`, the directive
`@join` and everything named `join__...`; and what a link imports, under the name it is imported by.

Specifications: link v1.0 and core v0.2 (names and imports), inaccessible v0.2.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from graphql import (
    GraphQLDeferDirective,
    GraphQLError,
    GraphQLSchema,
    build_ast_schema,
    value_from_ast_untyped,
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

_BUILT_IN_DIRECTIVES: Final = frozenset({"deprecated", "specifiedBy", "oneOf"})

_Node = TypeVar("_Node")


def with_defer(schema: GraphQLSchema) -> GraphQLSchema:
    """The API schema of a router that answers in parts: with @defer, unless the graph has a directive of that name."""
    if schema.get_directive(GraphQLDeferDirective.name) is not None:
        return schema
    parts: Any = schema.to_kwargs()
    return GraphQLSchema(**{**parts, "directives": (*parts["directives"], GraphQLDeferDirective), "assume_valid": True})


@dataclass(frozen=True, slots=True)
class Machinery:
    """The names that the features linked on a supergraph take."""

    features: frozenset[str]
    imports: frozenset[str]
    """Imported names, directives with their `@`."""
    join: str = "join"
    inaccessible: str = "inaccessible"
    context: str = "context"

    def owns(self, name: str, *, directive: bool) -> bool:
        """Whether a type's or directive's name belongs to a feature."""
        if (f"@{name}" if directive else name) in self.imports:
            return True
        prefix, separator, _ = name.partition("__")
        return prefix in self.features and (bool(separator) or directive)

    def owns_definition(self, node: DefinitionNode) -> bool:
        """Whether a definition belongs to a feature."""
        if isinstance(node, DirectiveDefinitionNode):
            return self.owns(node.name.value, directive=True)
        return isinstance(node, TypeDefinitionNode) and self.owns(node.name.value, directive=False)


def read_machinery(document: DocumentNode) -> Machinery:
    """Read @link (or @core) on the schema definition; without any, the usual names are assumed."""
    features = {"link", "core", "join"}
    imports: set[str] = set()
    known = {"join": "join", "inaccessible": "inaccessible", "context": "context"}
    for node in document.definitions:
        if not isinstance(node, SchemaDefinitionNode):
            continue
        for directive in node.directives or ():
            arguments: dict[str, Any] = {
                each.name.value: value_from_ast_untyped(each.value) for each in directive.arguments or ()
            }
            url = str(arguments.get("url") or arguments.get("feature") or "")
            if not url:
                continue
            identity, _, _ = url.rstrip("/").rpartition("/v")
            default = (identity or url).rpartition("/")[2]
            name = str(arguments.get("as") or default)
            features.add(name)
            imported = _imported_names(arguments.get("import"))
            imports |= set(imported.values())
            if "specs.apollo.dev" in url and default in known:
                known[default] = imported.get(f"@{default}", f"@{name}").removeprefix("@")
                if default == "join":
                    known["join"] = name
    return Machinery(frozenset(features), frozenset(imports), known["join"], known["inaccessible"], known["context"])


def _imported_names(value: object) -> dict[str, str]:
    """Original name -> name here; an import is a string or `{name:, as:}`."""
    names: dict[str, str] = {}
    for each in value if isinstance(value, list) else ():
        if isinstance(each, str):
            names[each] = each
        elif isinstance(each, Mapping) and isinstance(each.get("name"), str):
            names[each["name"]] = str(each.get("as") or each["name"])
    return names


def build_api_schema(document: DocumentNode, machinery: Machinery) -> GraphQLSchema:
    """Build the schema that clients see. Raises SupergraphError where what is left is no valid schema.

    Rules that a schema may break and still be served are for the composer to apply: a deprecation that an interface
    lacks, say, must not keep a router from answering.
    """
    kept = [node for node in document.definitions if not machinery.owns_definition(node)]
    hidden = {
        node.name.value
        for node in kept
        if isinstance(node, TypeDefinitionNode) and _is_inaccessible(node, machinery.inaccessible)
    }
    trim = _Trim(machinery, hidden)
    definitions = tuple(
        trim.definition(node)
        for node in kept
        if not (isinstance(node, TypeDefinitionNode) and node.name.value in hidden)
    )
    try:
        return build_ast_schema(DocumentNode(definitions=definitions), assume_valid=True, assume_valid_sdl=True)
    except (GraphQLError, TypeError) as error:
        raise SupergraphError(f"The supergraph's API schema is not valid: {error}") from error


def _is_inaccessible(node: object, directive: str) -> bool:
    directives: Iterable[ConstDirectiveNode] = getattr(node, "directives", None) or ()
    return any(each.name.value == directive for each in directives)


@dataclass(frozen=True, slots=True)
class _Trim:
    """Copies definitions without what clients must not see."""

    machinery: Machinery
    hidden: set[str]

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
            if not _is_inaccessible(node, self.machinery.inaccessible)
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
