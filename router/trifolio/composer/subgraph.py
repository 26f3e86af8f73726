"""Ingest: one subgraph's SDL -> `SubgraphSchema`.

Definitions and extensions of a type are joined, directives get their canonical names, root types their standard names,
and what belongs to the federation protocol (`_service`, `_entities`, `_Any`, ...) is left out: servers print it or not,
composition never needs it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from graphql import GraphQLSyntaxError
from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    EnumTypeExtensionNode,
    EnumValueDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InputObjectTypeExtensionNode,
    InputValueDefinitionNode,
    InterfaceTypeDefinitionNode,
    InterfaceTypeExtensionNode,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    ScalarTypeExtensionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    StringValueNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    UnionTypeDefinitionNode,
    UnionTypeExtensionNode,
    parse,
    print_ast,
)

from trifolio.composer.definitions import LEGACY_FIELD_SET, check_definitions, without_loose_definitions
from trifolio.composer.diagnostics import Code, Diagnostics, Location
from trifolio.composer.graphql_rules import check_graphql
from trifolio.composer.links import Links, read_links
from trifolio.composer.schema import (
    Application,
    Applications,
    Argument,
    EnumValue,
    FieldDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    renamed,
)
from trifolio.federation import BUILT_IN_SCALARS, MACHINERY_FIELDS, MACHINERY_TYPES, ROOT_TYPES

SDL_BYTES_MAX: Final = 8_000_000
"""Larger than any schema met in practice (the largest public ones have 3 MB); beyond it a wrong file is likelier."""

RESERVED_NAMES: Final = frozenset({"_"})
"""`_` stands for the root of the graph in the federation specification's own tools."""


@dataclass(frozen=True, slots=True)
class Subgraph:
    """What `compose()` takes: a subgraph's name, its routing URL, and its schema in SDL."""

    name: str
    """Unique among the subgraphs; diagnostics, plans and metrics call it by this."""
    url: str
    """Where a router reaches it, unless its configuration says otherwise."""
    sdl: str
    """The text that it answers to `_service { sdl }`."""


QUERY: Final = ROOT_TYPES["query"]

KINDS: Final[Mapping[type, Kind]] = {
    ObjectTypeDefinitionNode: "OBJECT",
    ObjectTypeExtensionNode: "OBJECT",
    InterfaceTypeDefinitionNode: "INTERFACE",
    InterfaceTypeExtensionNode: "INTERFACE",
    UnionTypeDefinitionNode: "UNION",
    UnionTypeExtensionNode: "UNION",
    EnumTypeDefinitionNode: "ENUM",
    EnumTypeExtensionNode: "ENUM",
    InputObjectTypeDefinitionNode: "INPUT_OBJECT",
    InputObjectTypeExtensionNode: "INPUT_OBJECT",
    ScalarTypeDefinitionNode: "SCALAR",
    ScalarTypeExtensionNode: "SCALAR",
}


def check_names(subgraphs: Iterable[Subgraph], diagnostics: Diagnostics) -> None:
    """Report subgraphs without a usable name of their own."""
    seen: set[str] = set()
    for subgraph in subgraphs:
        name = subgraph.name
        if not name.strip() or name in RESERVED_NAMES:
            message = f'"{name}" cannot be a subgraph\'s name; give it another one.'
        elif name in seen:
            message = f'Two subgraphs are named "{name}"; every subgraph needs a name of its own.'
        else:
            seen.add(name)
            continue
        diagnostics.add(Code.INVALID_SUBGRAPH_NAME, message, [(name, None)])


def ingest(subgraph: Subgraph, diagnostics: Diagnostics) -> SubgraphSchema | None:
    """Read one subgraph; None after reporting why its schema cannot be used."""
    document = parse_sdl(subgraph, diagnostics)
    if document is None:
        return None
    schema_nodes = [
        node for node in document.definitions if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode)
    ]
    links = read_links(
        subgraph.name,
        (use for node in schema_nodes for use in node.directives or ()),
        (node.name.value for node in document.definitions if isinstance(node, DirectiveDefinitionNode)),
        diagnostics,
    )
    if links is None:
        return None
    document = without_loose_definitions(document, links)
    if not check_definitions(subgraph.name, document, links, diagnostics):
        return None
    if not check_graphql(subgraph.name, document, links, diagnostics):
        return None
    roots = _root_renames(subgraph.name, document, schema_nodes, diagnostics)
    if roots is None:
        return None
    reader = _Reader(links, roots)
    definition = next((each for each in document.definitions if isinstance(each, SchemaDefinitionNode)), None)
    return SubgraphSchema(
        name=subgraph.name,
        url=subgraph.url,
        version=links.version,
        types=reader.types(document),
        directives=_own_directives(document, links),
        schema_directives=tuple(
            each for node in schema_nodes for each in reader.applications(node.directives) if each.name != "link"
        ),
        links=links,
        description=_description(definition),
        node=definition,
    )


# ---- the text ----


def parse_sdl(subgraph: Subgraph, diagnostics: Diagnostics) -> DocumentNode | None:
    """The SDL's syntax tree; None after reporting that it is no GraphQL."""
    problem = _not_sdl(subgraph.sdl)
    if problem:
        diagnostics.add(Code.INVALID_GRAPHQL, f"[{subgraph.name}] {problem}", [(subgraph.name, None)])
        return None
    try:
        return parse(subgraph.sdl)
    except GraphQLSyntaxError as error:
        place = error.locations[0] if error.locations else None
        location = Location(subgraph.name, place.line if place else 1, place.column if place else 1)
        diagnostics.add_at(Code.INVALID_GRAPHQL, f"[{subgraph.name}] {error.message}", location)
    except RecursionError:
        message = f"[{subgraph.name}] The schema is nested too deeply to be read."
        diagnostics.add(Code.INVALID_GRAPHQL, message, [(subgraph.name, None)])
    return None


def _not_sdl(sdl: str) -> str | None:
    """What is wrong with a text that cannot be a schema at all."""
    if not sdl.strip():
        return "The schema is empty."
    if len(sdl) > SDL_BYTES_MAX:
        return f"The schema has {len(sdl)} characters; at most {SDL_BYTES_MAX} are read. Is this the right file?"
    if sdl.lstrip().startswith("<"):
        return "This is HTML or XML and no GraphQL schema; is the subgraph's URL right?"
    if sdl.lstrip().startswith('{"'):
        return "This is JSON and no GraphQL SDL; give the schema's SDL text (an introspection result cannot be used)."
    return None


# ---- the schema's roots ----


def _root_renames(
    subgraph: str,
    document: DocumentNode,
    schema_nodes: Iterable[SchemaDefinitionNode | SchemaExtensionNode],
    diagnostics: Diagnostics,
) -> dict[str, str] | None:
    """Names that root types have here -> their standard names, where they differ; None after reporting a conflict."""
    names = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, TypeDefinitionNode | TypeExtensionNode)
    }
    renames: dict[str, str] = {}
    failed = False
    for node in schema_nodes:
        for operation in node.operation_types or ():
            kind, name = operation.operation.value, operation.type.name.value
            standard = ROOT_TYPES[kind]
            if name == standard:
                continue
            if standard in names:
                message = (
                    f'[{subgraph}] The {kind} root is named "{name}", but there is also a type "{standard}"; '
                    f"federation needs that name for the root, so rename the other type."
                )
                code = Code[f"ROOT_{kind.upper()}_USED"]
                diagnostics.add(code, message, [(subgraph, names[standard])])
                failed = True
            renames[name] = standard
    return None if failed else renames


def _own_directives(document: DocumentNode, links: Links) -> dict[str, DirectiveDefinitionNode]:
    return {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, DirectiveDefinitionNode) and links.understood_directive(node.name.value) is None
    }


# ---- types ----


def _description(node: object) -> str | None:
    description = getattr(node, "description", None)
    return description.value if isinstance(description, StringValueNode) and description.value else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns syntax nodes into elements, with this schema's names for directives and roots replaced."""

    links: Links
    roots: Mapping[str, str]

    def types(self, document: DocumentNode) -> dict[str, TypeDef]:
        """Every type that belongs to the subgraph's own schema."""
        declarations: dict[str, list[DefinitionNode]] = {}
        for node in document.definitions:
            if isinstance(node, TypeDefinitionNode | TypeExtensionNode) and not self._is_machinery(node.name.value):
                nodes = declarations.setdefault(self.roots.get(node.name.value, node.name.value), [])
                # The definition comes first, wherever it stands among the extensions.
                nodes.insert(0 if isinstance(node, TypeDefinitionNode) else len(nodes), node)
        found = {name: self._type(name, nodes) for name, nodes in declarations.items()}
        types = {name: each for name, each in found.items() if name not in ROOT_TYPES.values() or each.fields}
        # Every subgraph has a query root: the federation protocol itself is served there.
        types.setdefault(QUERY, found.get(QUERY) or TypeDef(QUERY, "OBJECT", None, (), document))
        return types

    def _is_machinery(self, name: str) -> bool:
        if name in MACHINERY_TYPES or name in BUILT_IN_SCALARS or self.links.understood_type(name) is not None:
            return True
        if name.startswith("__"):
            return True
        return name == LEGACY_FIELD_SET and self.links.federation is None

    def _type(self, name: str, nodes: list[DefinitionNode]) -> TypeDef:
        result: TypeDef | None = None
        for index, node in enumerate(nodes):
            part = self._declaration(name, node, index)
            result = part if result is None else _joined(result, part)
        assert result is not None
        return result

    def _declaration(self, name: str, node: DefinitionNode, index: int) -> TypeDef:
        kind = KINDS[type(node)]
        extension = isinstance(node, TypeExtensionNode)
        fields = {
            each.name.value: self._field(each, index)
            for each in getattr(node, "fields", None) or ()
            if not (name == QUERY and each.name.value in MACHINERY_FIELDS)
        }
        return TypeDef(
            name=name,
            kind=kind,
            description=_description(node),
            directives=self.applications(getattr(node, "directives", ()), index),
            node=node,
            fields=fields,
            interfaces=tuple(self._name(each.name.value) for each in getattr(node, "interfaces", None) or ()),
            members=tuple(self._name(each.name.value) for each in getattr(node, "types", None) or ()),
            values={each.name.value: self._value(each) for each in getattr(node, "values", None) or ()},
            defined=not extension,
            extended_in=frozenset({index} if extension else ()),
        )

    def _name(self, name: str) -> str:
        return self.roots.get(name, name)

    def _field(self, node: FieldDefinitionNode | InputValueDefinitionNode, index: int) -> FieldDef:
        return FieldDef(
            name=node.name.value,
            type=renamed(print_ast(node.type), self.roots) if self.roots else print_ast(node.type),
            arguments={each.name.value: self._argument(each) for each in getattr(node, "arguments", None) or ()},
            default=getattr(node, "default_value", None),
            description=_description(node),
            directives=self.applications(node.directives, index),
            node=node,
            declaration=index,
        )

    def _argument(self, node: InputValueDefinitionNode) -> Argument:
        return Argument(
            name=node.name.value,
            type=print_ast(node.type),
            default=node.default_value,
            description=_description(node),
            directives=self.applications(node.directives),
            node=node,
        )

    def _value(self, node: EnumValueDefinitionNode) -> EnumValue:
        return EnumValue(node.name.value, _description(node), self.applications(node.directives), node)

    def applications(self, nodes: Iterable[ConstDirectiveNode] | None, index: int = 0) -> Applications:
        """Directive applications under their canonical names."""
        found = []
        for node in nodes or ():
            name = self.links.understood_directive(node.name.value)
            found.append(Application(name or node.name.value, name is not None, node, index))
        return tuple(found)


def _joined(one: TypeDef, other: TypeDef) -> TypeDef:
    """A type with one more extension."""
    return replace(
        one,
        description=one.description or other.description,
        directives=one.directives + other.directives,
        fields={**one.fields, **other.fields},
        interfaces=tuple(dict.fromkeys(one.interfaces + other.interfaces)),
        members=tuple(dict.fromkeys(one.members + other.members)),
        values={**one.values, **other.values},
        extended_in=one.extended_in | other.extended_in,
    )
