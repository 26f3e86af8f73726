"""Directives that clients write in operations: they reach the supergraph where all subgraphs define them alike."""

from collections.abc import Container, Iterator, Mapping, Sequence

from graphql.language import DirectiveDefinitionNode, InputValueDefinitionNode, print_ast

from trifolio.composer.diagnostics import Code
from trifolio.composer.merge_values import merged_default, merged_type
from trifolio.composer.schema import is_non_null
from trifolio.composer.sources import Merging, Source, in_order, subgraphs_listed
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
        executable = [(source, node) for source, node in found if _executable_locations(node)]
        if not executable:
            continue
        if len(executable) == len(merging.sources):
            text = _intersection(merging, name, executable)
            if text:
                yield text
        else:
            having = subgraphs_listed(source.name for source, _ in found)
            message = f'Executable directive "@{name}" is left out: only {having} define it.'
            places = [(source.name, node) for source, node in found]
            merging.diagnostics.add(Code.INCONSISTENT_EXECUTABLE_DIRECTIVE_PRESENCE, message, places)


def _executable_locations(node: DirectiveDefinitionNode) -> list[str]:
    return [location.value for location in node.locations if location.value in EXECUTABLE_LOCATIONS]


def _intersection(merging: Merging, name: str, found: Sequence[tuple[Source, DirectiveDefinitionNode]]) -> str | None:
    nodes = [node for _, node in found]
    locations = [
        location
        for location in _executable_locations(nodes[0])
        if all(location in _executable_locations(node) for node in nodes)
    ]
    if not locations:
        return None
    sources = [(source, {each.name.value: each for each in node.arguments or ()}) for source, node in found]
    arguments = filter(None, (_argument(merging, name, each, sources) for each in in_order(sources, tuple)))
    body = ", ".join(arguments)
    repeatable = " repeatable" if all(node.repeatable for node in nodes) else ""
    return f"directive @{name}{f'({body})' if body else ''}{repeatable} on {' | '.join(locations)}"


def _argument(
    merging: Merging,
    directive: str,
    name: str,
    sources: Sequence[tuple[Source, Mapping[str, InputValueDefinitionNode]]],
) -> str | None:
    """An argument that all subgraphs have, by the rules for arguments of fields; None for another one."""
    coordinate = f"@{directive}({name}:)"
    having = [(source, arguments[name]) for source, arguments in sources if name in arguments]
    if len(having) < len(sources):
        missing = subgraphs_listed(source.name for source, arguments in sources if name not in arguments)
        required = [
            (source, node) for source, node in having if is_non_null(print_ast(node.type)) and not node.default_value
        ]
        if required:
            code = Code.REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH
            message = (
                f'Argument "{coordinate}" is required in {subgraphs_listed(source.name for source, _ in required)} but '
                f"missing in {missing}. Add it there, or give it a default value."
            )
        else:
            code = Code.INCONSISTENT_ARGUMENT_PRESENCE
            message = f'Optional argument "{coordinate}" is left out: it is missing in {missing}.'
        merging.diagnostics.add(code, message, [(source.name, node) for source, node in required or having])
        return None
    typed = [(source, print_ast(node.type), node) for source, node in having]
    merged, _ = merged_type(merging, coordinate, typed, lambda *_: False, what="argument", narrows=True)
    defaults = [(source, node.default_value, node) for source, node in having]
    default = merged_default(merging, coordinate, defaults, merged, what="argument")
    return f"{name}: {merged}" + (f" = {default}" if default is not None else "")
