"""What holds for a supergraph's document before anything is read from it: one definition for each name, and no more.

Readers look at definitions one by one: the indexes, the API schema, the rules of access. If a name were defined twice,
or extended, one of them might see what another does not. So a document in which that could happen is refused.
"""

from collections.abc import Iterable

from graphql.language import (
    DirectiveDefinitionNode,
    DocumentNode,
    ExecutableDefinitionNode,
    Node,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    TypeExtensionNode,
)

from trifolio.errors import SupergraphError


def check_document(document: DocumentNode) -> None:
    """Raises SupergraphError where a supergraph is not made of definitions, each of another name."""
    schemas = [node for node in document.definitions if isinstance(node, SchemaDefinitionNode)]
    if len(schemas) > 1:
        raise SupergraphError("The supergraph has several schema definitions.")
    for node in document.definitions:
        if isinstance(node, ExecutableDefinitionNode):
            raise SupergraphError("The supergraph has an operation or a fragment in it, which is part of no schema.")
        if isinstance(node, TypeExtensionNode):
            raise SupergraphError(
                f'The supergraph extends the type "{node.name.value}"; a supergraph defines each in one piece.'
            )
    _check_distinct("type", (node for node in document.definitions if isinstance(node, TypeDefinitionNode)))
    _check_distinct("directive", (node for node in document.definitions if isinstance(node, DirectiveDefinitionNode)))
    for node in document.definitions:
        if isinstance(node, TypeDefinitionNode):
            name = node.name.value
            fields = getattr(node, "fields", None) or ()
            _check_distinct(f'field of "{name}"', fields)
            _check_distinct(f'value of "{name}"', getattr(node, "values", None) or ())
            for each in fields:
                _check_distinct(f'argument of "{name}.{each.name.value}"', getattr(each, "arguments", None) or ())


def _check_distinct(what: str, nodes: Iterable[Node]) -> None:
    seen: set[str] = set()
    for node in nodes:
        name: str = node.name.value  # type: ignore[attr-defined]  # every node that is passed has a name
        if name in seen:
            raise SupergraphError(f'The supergraph defines the {what} "{name}" more than once.')
        seen.add(name)
