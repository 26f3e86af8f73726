"""Whether one subgraph's document is valid GraphQL: graphql-core's rules over a document made complete.

A subgraph's document alone is not complete: federation's directives are not defined in it, types are extended that
another subgraph defines, and there may be no query. All that is added before the rules run, so that what they then
report is the author's.

Specification: GraphQL, section 3 (type system); federation subgraph specification.
"""

from collections.abc import Iterator

from graphql import (
    GraphQLError,
    GraphQLSchema,
    build_ast_schema,
    parse,
    specified_directives,
)
from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    EnumTypeExtensionNode,
    ExecutableDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InputObjectTypeExtensionNode,
    InterfaceTypeDefinitionNode,
    InterfaceTypeExtensionNode,
    Node,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    ScalarTypeExtensionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    UnionTypeDefinitionNode,
    UnionTypeExtensionNode,
    Visitor,
    print_ast,
    visit,
)
from graphql.validation.validate import validate_sdl

from trifolio.composer.definitions import specified_directives as federation_directives
from trifolio.composer.definitions import specified_scalars
from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.links import Links
from trifolio.federation import LINK_IDENTITY, MACHINERY_TYPES, ROOT_TYPES
from trifolio.schema_rules import applied_errors, default_errors, fits

ERRORS_MAX = 50
"""Reported for one subgraph; a broken document can have thousands that say the same."""

DEFINITION_OF = {
    ObjectTypeExtensionNode: ObjectTypeDefinitionNode,
    InterfaceTypeExtensionNode: InterfaceTypeDefinitionNode,
    UnionTypeExtensionNode: UnionTypeDefinitionNode,
    EnumTypeExtensionNode: EnumTypeDefinitionNode,
    InputObjectTypeExtensionNode: InputObjectTypeDefinitionNode,
    ScalarTypeExtensionNode: ScalarTypeDefinitionNode,
}

LINK_PURPOSE = "enum {name} {{ SECURITY EXECUTION }}"


def check_graphql(subgraph: str, document: DocumentNode, links: Links, diagnostics: Diagnostics) -> bool:
    """Report what is not valid GraphQL; True where nothing is."""
    completed = complete_document(document, links)
    errors = list(_errors(completed))[:ERRORS_MAX]
    for error in errors:
        nodes = [node for node in error.nodes or () if node.loc]
        places: list[tuple[str, Node | None]] = [(subgraph, node) for node in nodes] or [(subgraph, None)]
        diagnostics.add(Code.INVALID_GRAPHQL, f"[{subgraph}] {error.message}", places)
    return not errors


def _errors(document: DocumentNode) -> Iterator[GraphQLError]:
    errors = [*_foreign_definitions(document), *validate_sdl(document)]
    if errors:
        yield from errors
        return
    try:
        schema = build_ast_schema(document, assume_valid_sdl=True)
    except (GraphQLError, TypeError, RecursionError) as error:
        yield error if isinstance(error, GraphQLError) else GraphQLError(str(error))
        return
    yield from applied_errors(schema)
    yield from default_errors(schema)
    yield from _value_errors(schema, document)


def _foreign_definitions(document: DocumentNode) -> Iterator[GraphQLError]:
    for node in document.definitions:
        if isinstance(node, ExecutableDefinitionNode):
            yield GraphQLError("An operation or a fragment is part of no schema; remove it.", [node])


# ---- making the document complete ----


def complete_document(document: DocumentNode, links: Links) -> DocumentNode:
    """The document with everything that federation and other subgraphs bring to it."""
    definitions: list[DefinitionNode] = []
    defined = {node.name.value for node in document.definitions if isinstance(node, TypeDefinitionNode)}
    for node in document.definitions:
        if isinstance(node, TypeExtensionNode) and node.name.value not in defined:
            defined.add(node.name.value)
            definitions.append(_as_definition(node))
        elif isinstance(node, TypeDefinitionNode) and node.name.value in MACHINERY_TYPES:
            continue
        else:
            definitions.append(node)
    definitions = [_without_machinery(node) for node in definitions]
    directives = {node.name.value for node in document.definitions if isinstance(node, DirectiveDefinitionNode)}
    definitions += parse(_missing_text(defined, directives, links, document)).definitions
    return DocumentNode(definitions=tuple(definitions))


def _as_definition(node: TypeExtensionNode) -> DefinitionNode:
    kind = DEFINITION_OF[type(node)]
    definition: DefinitionNode = kind(**{key: getattr(node, key) for key in node.keys})
    return definition


def _without_machinery(node: DefinitionNode) -> DefinitionNode:
    """A query root without `_service` and `_entities`, whose types are left out too."""
    if not isinstance(node, ObjectTypeDefinitionNode | ObjectTypeExtensionNode) or not any(
        _is_machinery(each) for each in node.fields or ()
    ):
        return node
    kept = {key: getattr(node, key) for key in node.keys}
    kept["fields"] = tuple(each for each in node.fields or () if not _is_machinery(each))
    return type(node)(**kept)


def _is_machinery(field: FieldDefinitionNode) -> bool:
    return print_ast(field.type).strip("[]!") in MACHINERY_TYPES and field.name.value in ("_service", "_entities")


def _missing_text(types: set[str], directives: set[str], links: Links, document: DocumentNode) -> str:
    """Definitions of what the document uses without defining it."""
    texts = []
    for name, spec in federation_directives(links):
        if name not in directives:
            texts.append(spec.text(name))
            directives = directives | {name}
    # The newest text of a type is what a definition above refers to.
    wanted = dict.fromkeys(specified_scalars(links))
    texts += [f"scalar {name}" for name in wanted if name not in types]
    for link in links.links:
        purpose = link.local_type("Purpose")
        if link.identity == LINK_IDENTITY and purpose not in types:
            texts.append(LINK_PURPOSE.format(name=purpose))
    roots = _root_names(document)
    query = roots.get("query", ROOT_TYPES["query"])
    if not _has_fields(document, query) and (query in types or "query" not in roots):
        texts.append(f"{'extend ' if query in types else ''}type {query} {{ _placeholder: Boolean }}")
    if not any(isinstance(node, SchemaDefinitionNode) for node in document.definitions):
        texts.append(_schema_text(types | {query}, roots, query))
    elif "query" not in roots:
        texts.append(f"extend schema {{ query: {query} }}")
    return "\n".join(filter(None, texts)) or "scalar _Placeholder"


def _root_names(document: DocumentNode) -> dict[str, str]:
    return {
        operation.operation.value: operation.type.name.value
        for node in document.definitions
        if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode)
        for operation in node.operation_types or ()
    }


def _schema_text(types: set[str], roots: dict[str, str], query: str) -> str:
    """A schema definition for the roots that the document does not name itself."""
    standard = {kind: name for kind, name in ROOT_TYPES.items() if name in types}
    chosen = {kind: name for kind, name in ({"query": query} | standard).items() if kind not in roots}
    return f"schema {{ {' '.join(f'{kind}: {name}' for kind, name in chosen.items())} }}" if chosen else ""


def _has_fields(document: DocumentNode, name: str) -> bool:
    return any(
        isinstance(node, ObjectTypeDefinitionNode | ObjectTypeExtensionNode)
        and node.name.value == name
        and any(not _is_machinery(each) for each in node.fields or ())
        for node in document.definitions
    )


# ---- values of directive arguments ----


def _value_errors(schema: GraphQLSchema, document: DocumentNode) -> Iterator[GraphQLError]:
    """Arguments of applied directives that do not fit their types."""
    known = {directive.name: directive for directive in (*specified_directives, *schema.directives)}
    for use in _applications(document):
        directive = known.get(use.name.value)
        for argument in use.arguments or ():
            definition = directive.args.get(argument.name.value) if directive else None
            if definition is not None and not fits(argument.value, definition.type):
                message = (
                    f'Invalid value for argument "@{use.name.value}({argument.name.value}:)": expected type '
                    f'"{definition.type}", found {print_ast(argument.value)}.'
                )
                yield GraphQLError(message, [argument.value])


class _Collector(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.uses: list[ConstDirectiveNode] = []

    def enter_directive(self, node: ConstDirectiveNode, *_: object) -> None:
        """Keep every application."""
        self.uses.append(node)


def _applications(document: DocumentNode) -> list[ConstDirectiveNode]:
    collector = _Collector()
    visit(document, collector)
    return collector.uses
