"""Directives that clients write in operations: they reach the supergraph where all subgraphs define them alike."""

from collections.abc import Container, Iterator

from graphql.language import DirectiveDefinitionNode, print_ast

from trifolio.composer.diagnostics import Code
from trifolio.composer.schema import is_non_null
from trifolio.composer.sources import Merging, subgraphs_listed
from trifolio.federation import BUILT_IN_DIRECTIVES, EXECUTABLE_LOCATIONS


def merged_executable_directives(merging: Merging, composed: Container[str]) -> Iterator[str]:
    """The definitions that every subgraph has, with the locations and arguments that all have in common.

    `composed` are directives that reach the supergraph anyway, by @composeDirective.
    """
    names = dict.fromkeys(name for source in merging.sources for name in source.schema.directives)
    for name in names:
        if name in BUILT_IN_DIRECTIVES or name in composed:
            continue
        found = [(source, node) for source in merging.sources if (node := source.schema.directives.get(name))]
        nodes = [node for _, node in found if _executable_locations(node)]
        if not nodes:
            continue
        if len(nodes) == len(merging.sources):
            text = _intersection(name, nodes)
            if text:
                yield text
        else:
            having = subgraphs_listed(source.name for source, _ in found)
            message = f'Executable directive "@{name}" is left out: only {having} define it.'
            places = [(source.name, node) for source, node in found]
            merging.diagnostics.add(Code.INCONSISTENT_EXECUTABLE_DIRECTIVE_PRESENCE, message, places)


def _executable_locations(node: DirectiveDefinitionNode) -> list[str]:
    return [location.value for location in node.locations if location.value in EXECUTABLE_LOCATIONS]


def _intersection(name: str, nodes: list[DirectiveDefinitionNode]) -> str | None:
    locations = [
        location
        for location in _executable_locations(nodes[0])
        if all(location in _executable_locations(node) for node in nodes)
    ]
    if not locations:
        return None
    arguments: list[str] = []
    for argument in nodes[0].arguments or ():
        texts = [
            print_ast(other)
            for node in nodes
            for other in node.arguments or ()
            if other.name.value == argument.name.value
        ]
        if len(texts) == len(nodes):
            # Where types differ in nullability, clients have to satisfy the strictest.
            strictest = next((text for text in texts if is_non_null(text)), texts[0])
            arguments.append(" ".join(strictest.split()))
    body = f"({', '.join(arguments)})" if arguments else ""
    repeatable = " repeatable" if all(node.repeatable for node in nodes) else ""
    return f"directive @{name}{body}{repeatable} on {' | '.join(locations)}"
