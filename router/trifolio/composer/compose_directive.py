"""@composeDirective: which of the subgraphs' own directives reach the supergraph, and their definitions there.

A directive can be composed if a @link brings it. Its identity is the linked specification and its name there, so
subgraphs have to agree on the specification's major version and on the name under which they import it; the definition
of the latest version is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphql.language import DirectiveDefinitionNode, InputValueDefinitionNode, NonNullTypeNode, print_ast

from trifolio.composer.diagnostics import Code
from trifolio.composer.links import Link, is_prefix, understood_directives
from trifolio.composer.schema import Application
from trifolio.composer.sources import Merging, Source
from trifolio.composer.spec_links import SPECIFIED_PREFIXES, free_prefix, taken_prefixes
from trifolio.composer.supergraph_model import SpecLink
from trifolio.federation import BUILT_IN_DIRECTIVES, COMPOSED_DIRECTIVES, version_text


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
    fitting = _of_one_major_version(merging, found)
    accepted = [
        group for (identity, _), group in groups.items() if identity in fitting and _check_group(merging, group)
    ]
    _check_newest(merging, accepted)
    _check_names(merging, accepted)
    _check_federation_names(merging, accepted)
    _check_purposes(merging, accepted)
    latest = [max(group, key=lambda each: each.link.version) for group in accepted]
    for each in latest:
        _check_arguments(merging, each)
    return CustomDirectives(
        subgraphs={group[0].local: frozenset(each.source.name for each in group) for group in accepted},
        definitions={group[0].local: _definition(each, group) for each, group in zip(latest, accepted, strict=True)},
        links=tuple(_links(latest, taken_prefixes(merging))),
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


def _of_one_major_version(merging: Merging, found: list[ComposedDirective]) -> set[str]:
    """The specifications that all subgraphs which compose something of them link in versions that fit together."""
    identities = dict.fromkeys(each.link.identity for each in found)
    fitting = set()
    for identity in identities:
        group = [each for each in found if each.link.identity == identity]
        if len({each.link.version[0] for each in group}) == 1:
            fitting.add(identity)
            continue
        versions = dict.fromkeys(f'{version_text(each.link.version)} in "{each.source.name}"' for each in group)
        message = f'The versions of "{identity}" cannot be composed together: {", ".join(versions)}.'
        places = [(each.source.name, each.use.node) for each in group]
        merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)
    return fitting


def _check_group(merging: Merging, group: list[ComposedDirective]) -> bool:
    locals_ = dict.fromkeys(each.local for each in group)
    places = [(each.source.name, each.use.node) for each in group]
    if len(locals_) > 1:
        spelled = ", ".join(f'"@{each.local}" in "{each.source.name}"' for each in group)
        message = f"A composed directive is imported under different names: {spelled}."
        merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)
        return False
    return True


def _check_newest(merging: Merging, groups: list[list[ComposedDirective]]) -> None:
    """The supergraph links a specification's newest version, so that one has to define whatever is composed of it."""
    newest: dict[str, Link] = {}
    for each in (each for group in groups for each in group):
        known = newest.setdefault(each.link.identity, each.link)
        if each.link.version > known.version:
            newest[each.link.identity] = each.link
    for group in groups:
        link = newest[group[0].link.identity]
        at_newest = [
            (source, own)
            for source in merging.sources
            if (own := source.schema.links.of(link.identity)) is not None and own.version == link.version
        ]
        if any(own.local_directive(group[0].name) in source.schema.directives for source, own in at_newest):
            continue
        names = ", ".join(f'"{source.name}"' for source, _ in at_newest)
        message = (
            f'"@{group[0].local}" is composed from "{group[0].link.url}", but the newest version that is composed, '
            f'"{link.url}", has no such directive in {names}. Define it there, or link one version everywhere.'
        )
        places = [(each.source.name, each.use.node) for each in group]
        merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)


def _check_names(merging: Merging, groups: list[list[ComposedDirective]]) -> None:
    """Two specifications cannot both compose a directive of one name."""
    taken: dict[str, ComposedDirective] = {}
    for group in groups:
        other = taken.setdefault(group[0].local, group[0])
        if other is not group[0]:
            message = f'"@{other.local}" is composed from "{other.link.identity}" and from "{group[0].link.identity}".'
            places = [(other.source.name, other.use.node), (group[0].source.name, group[0].use.node)]
            merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)


def _check_federation_names(merging: Merging, groups: list[list[ComposedDirective]]) -> None:
    """A directive cannot have the name under which another subgraph applies one that federation composes."""
    applied = {source.name: source.schema.applied_directives() for source in merging.sources} if groups else {}
    for group in groups:
        for source in merging.sources:
            name = source.schema.links.understood_directive(group[0].local)
            if name in COMPOSED_DIRECTIVES and name in applied[source.name]:
                message = (
                    f'"@{group[0].local}" is composed from "{group[0].link.identity}", but in subgraph "{source.name}" '
                    f"federation's @{name} has that name. Import one of them under another name."
                )
                places = [(each.source.name, each.use.node) for each in group]
                merging.diagnostics.add(Code.DIRECTIVE_COMPOSITION_ERROR, message, places)


def _check_purposes(merging: Merging, groups: list[list[ComposedDirective]]) -> None:
    """Nothing is composed of what is linked for a purpose: a router that does not know it must not serve it."""
    for each in (each for group in groups for each in group if each.link.purpose):
        message = (
            f'[{each.source.name}] "@{each.local}" is composed from "{each.link.url}", which is linked for '
            f"{each.link.purpose}: no router could serve the supergraph without knowing what that asks for. "
            'Take "for" off the link if it is metadata, or do not compose the directive.'
        )
        places = [(each.source.name, each.link.node), (each.source.name, each.use.node)]
        merging.diagnostics.add(Code.UNSUPPORTED_LINKED_FEATURE, message, places)


def _definition(latest: ComposedDirective, group: list[ComposedDirective]) -> DirectiveDefinitionNode:
    """The latest definition, with every location and argument that some subgraph may have used."""
    definitions = [each.definition for each in (latest, *group)]
    locations = {node.value: node for each in definitions for node in each.locations}
    arguments: dict[str, InputValueDefinitionNode] = {}
    for each in definitions:
        for argument in each.arguments or ():
            arguments.setdefault(argument.name.value, argument)
    for name, argument in arguments.items():
        everywhere = all(name in {one.name.value for one in each.arguments or ()} for each in definitions)
        if not everywhere and isinstance(argument.type, NonNullTypeNode) and argument.default_value is None:
            # Where a subgraph's own definition lacks it, it is left out.
            arguments[name] = replace(argument, type=argument.type.type)
    parts = {key: getattr(latest.definition, key) for key in latest.definition.keys}
    united = {"locations": tuple(locations.values()), "arguments": tuple(arguments.values())}
    repeatable = any(each.repeatable for each in definitions)
    return DirectiveDefinitionNode(**(parts | united | {"repeatable": repeatable}))


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


def _links(latest: list[ComposedDirective], taken: set[str]) -> Iterator[SpecLink]:
    """One @link for each specification, of the newest version that a subgraph links.

    A specification whose own name is no name of GraphQL, or is `taken`, is given another one: planners want every
    feature of a supergraph to have a name, and no two the same.
    """
    by_identity: dict[str, list[ComposedDirective]] = {}
    for each in latest:
        by_identity.setdefault(each.link.identity, []).append(each)
    taken = {*taken, *(group[0].link.feature for group in by_identity.values())}
    named: set[str] = set()
    for group in by_identity.values():
        imports = tuple(
            f'"@{each.local}"' if each.local == each.name else f'{{name: "@{each.name}", as: "@{each.local}"}}'
            for each in group
        )
        newest = max(group, key=lambda each: each.link.version).link
        is_free = newest.feature not in named and newest.feature not in SPECIFIED_PREFIXES
        alias = None if is_free and is_prefix(newest.feature) else free_prefix(newest.prefix, taken)
        named.add(newest.feature)
        taken.add(alias or newest.feature)
        yield SpecLink(newest.url, imports=imports, alias=alias)


def definition_text(node: DirectiveDefinitionNode) -> str:
    """A directive definition without its description, on one line where it fits."""
    bare = {key: getattr(node, key) for key in node.keys if key != "description"}
    return print_ast(type(node)(**bare))
