"""@composeDirective: which of the subgraphs' own directives reach the supergraph, and their definitions there.

A directive can be composed if a @link brings it. Its identity is the linked specification and its name there, so
subgraphs have to agree on the specification's major version and on the name under which they import it; the definition
of the latest version is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql.language import DirectiveDefinitionNode, print_ast

from trifolio.composer.diagnostics import Code
from trifolio.composer.links import Link, understood_directives
from trifolio.composer.schema import Application
from trifolio.composer.sources import Merging, Source
from trifolio.composer.supergraph_model import SpecLink
from trifolio.federation import BUILT_IN_DIRECTIVES, version_text


@dataclass(frozen=True, slots=True)
class ComposedDirective:
    """One application of @composeDirective that names a directive which can be composed."""

    source: Source
    link: Link
    name: str
    """The directive's name in its specification."""
    local: str
    """Its name in the subgraph."""
    definition: DirectiveDefinitionNode
    use: Application


@dataclass(frozen=True, slots=True)
class CustomDirectives:
    """What all @composeDirective applications come to."""

    subgraphs: dict[str, frozenset[str]]
    """Directive's name -> the subgraphs that compose it."""
    definitions: dict[str, DirectiveDefinitionNode]
    links: tuple[SpecLink, ...]


def custom_directives(merging: Merging) -> CustomDirectives:
    """Read and check every @composeDirective."""
    found = [each for source in merging.sources for each in _read(merging, source)]
    groups: dict[tuple[str, str], list[ComposedDirective]] = {}
    for each in found:
        groups.setdefault((each.link.identity, each.name), []).append(each)
    accepted = [group for group in groups.values() if _check_group(merging, group)]
    _check_names(merging, accepted)
    latest = [max(group, key=lambda each: each.link.version) for group in accepted]
    for each in latest:
        _check_arguments(merging, each)
    return CustomDirectives(
        subgraphs={group[0].local: frozenset(each.source.name for each in group) for group in accepted},
        definitions={group[0].local: _definition(each, group) for each, group in zip(latest, accepted, strict=True)},
        links=tuple(_links(latest)),
    )


def _read(merging: Merging, source: Source) -> Iterator[ComposedDirective]:
    for use in source.schema.schema_directives:
        if not (use.spec and use.name == "composeDirective"):
            continue
        name = use.text("name") or ""
        result = _resolve(source, name, use)
        if isinstance(result, str):
            message = f'[{source.name}] @composeDirective(name: "{name}"): {result}'
            merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, [(source.name, use.node)])
        else:
            yield result


def _resolve(source: Source, name: str, use: Application) -> ComposedDirective | str:
    """The directive that a name means, or why it cannot be composed."""
    links = source.schema.links
    local = name.removeprefix("@")
    if not name.startswith("@"):
        return f'the name has to begin with "@": write "@{name}".' if name else "the name is missing."
    linked = links.directive(local)
    if local in BUILT_IN_DIRECTIVES and linked is None:
        return "it is a directive of GraphQL itself, which is composed as its rules say."
    if links.understood_directive(local) is not None:
        return "it is a federation directive, which is composed as federation's rules say."
    definition = source.schema.directives.get(local)
    if definition is None:
        near = next((other for other in source.schema.directives if other.lower() == local.lower()), None)
        return "the schema does not define this directive." + (f' Did you mean "@{near}"?' if near else "")
    if linked is not None and linked[0].local_directive(linked[1]) != local:
        return f'the schema imports it as "@{linked[0].local_directive(linked[1])}"; compose it under that name.'
    if linked is None or linked[1] in understood_directives(linked[0]):
        return (
            "only directives of a linked specification can be composed. Add "
            f'@link(url: "https://your.org/{local}/v1.0", import: ["@{local}"]) to the schema.'
        )
    return ComposedDirective(source, linked[0], linked[1], local, definition, use)


def _check_group(merging: Merging, group: list[ComposedDirective]) -> bool:
    majors = {each.link.version[0] if each.link.version[0] else each.link.version for each in group}
    locals_ = dict.fromkeys(each.local for each in group)
    places = [(each.source.name, each.use.node) for each in group]
    if len(majors) > 1:
        spelled = ", ".join(f'{version_text(each.link.version)} in "{each.source.name}"' for each in group)
        message = f'The versions of "{group[0].link.identity}" cannot be composed together: {spelled}.'
        merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)
        return False
    if len(locals_) > 1:
        spelled = ", ".join(f'"@{each.local}" in "{each.source.name}"' for each in group)
        message = f"A composed directive is imported under different names: {spelled}."
        merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)
        return False
    return True


def _check_names(merging: Merging, groups: list[list[ComposedDirective]]) -> None:
    """Two specifications cannot both compose a directive of one name."""
    taken: dict[str, ComposedDirective] = {}
    for group in groups:
        other = taken.setdefault(group[0].local, group[0])
        if other is not group[0]:
            message = f'"@{other.local}" is composed from "{other.link.identity}" and from "{group[0].link.identity}".'
            places = [(other.source.name, other.use.node), (group[0].source.name, group[0].use.node)]
            merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)


def _definition(latest: ComposedDirective, group: list[ComposedDirective]) -> DirectiveDefinitionNode:
    """The latest definition, with every location where some subgraph may have applied the directive."""
    locations = {node.value: node for each in (latest, *group) for node in each.definition.locations}
    parts = {key: getattr(latest.definition, key) for key in latest.definition.keys}
    return DirectiveDefinitionNode(**(parts | {"locations": tuple(locations.values())}))


def _check_arguments(merging: Merging, each: ComposedDirective) -> None:
    """Arguments of a composed directive are what routers read, so they cannot be hidden."""
    for argument in each.definition.arguments or ():
        for use in argument.directives or ():
            if each.source.schema.links.understood_directive(use.name.value) == "inaccessible":
                message = (
                    f'[{each.source.name}] Argument "{argument.name.value}" of the composed directive "@{each.local}" '
                    "cannot be @inaccessible."
                )
                merging.diagnostics.add(Code.DISALLOWED_INACCESSIBLE, message, [(each.source.name, use)])


def _links(latest: list[ComposedDirective]) -> Iterator[SpecLink]:
    by_url: dict[str, list[ComposedDirective]] = {}
    for each in latest:
        by_url.setdefault(each.link.url, []).append(each)
    for url, group in by_url.items():
        imports = tuple(
            f'"@{each.local}"' if each.local == each.name else f'{{name: "@{each.name}", as: "@{each.local}"}}'
            for each in group
        )
        yield SpecLink(url, imports=imports)


def definition_text(node: DirectiveDefinitionNode) -> str:
    """A directive definition without its description, on one line where it fits."""
    bare = {key: getattr(node, key) for key in node.keys if key != "description"}
    return print_ast(type(node)(**bare))
