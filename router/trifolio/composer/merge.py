"""Merging: the subgraphs' schemas -> one supergraph, type by type.

Interfaces and unions come first, since whether field types can be merged depends on them; enums come last, since their
rule depends on where fields use them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from trifolio.composer.authorization import (
    requirements_of,
    with_inherited_requirements,
)
from trifolio.composer.compose_directive import CustomDirectives, custom_directives, definition_text
from trifolio.composer.diagnostics import Code
from trifolio.composer.enums import enum_positions, merged_values
from trifolio.composer.executable_directives import merged_executable_directives
from trifolio.composer.hints import add_hints
from trifolio.composer.interface_objects import (
    check_interface_keys,
    check_interface_objects,
    with_interface_object_fields,
)
from trifolio.composer.merge_directives import Composed, joined_directives, merged_directives, supergraph_names
from trifolio.composer.merge_fields import field_set_text, merged_fields, merged_input_fields
from trifolio.composer.merge_values import merged_description
from trifolio.composer.schema import KIND_WORDS, Kind, TypeDef, applications, has
from trifolio.composer.sources import Merging, Source, in_order, subgraphs_listed
from trifolio.composer.spec_links import graphql_definitions, specified_definitions, specified_links
from trifolio.composer.supergraph_model import JoinType, MergedSupergraph, MergedType
from trifolio.composer.upgrade import report_no_base
from trifolio.composer.validate_supergraph import validate_supergraph
from trifolio.federation import ROOT_TYPES

Sources = Sequence[tuple[Source, TypeDef]]


def merge_schemas(merging: Merging) -> MergedSupergraph:
    """The supergraph of all sources; what could not be merged is reported and left out."""
    custom = custom_directives(merging)
    composed = _composed(merging, custom)
    types = _merged_types(merging, composed)
    types = with_interface_object_fields(merging, types)
    requirements = requirements_of(merging, types)
    types = with_inherited_requirements(requirements, composed, types)
    query = types.get(ROOT_TYPES["query"])
    if query is None or not query.fields:
        message = "No subgraph has a query: at least one needs a field on its Query type."
        merging.diagnostics.add(Code.NO_QUERIES, message, [(source.name, None) for source in merging.sources])
    directives = merged_directives(
        merging,
        composed,
        "schema",
        [(source, source.schema.schema_directives, None) for source in merging.sources],
    )
    supergraph = MergedSupergraph(
        graphs={source.graph: (source.name, source.schema.url) for source in merging.sources},
        types=types,
        links=(*specified_links(merging, composed, types, directives), *custom.links),
        definitions=(
            *specified_definitions(merging, composed, types, directives),
            *(text for text in graphql_definitions(types) if "oneOf" not in custom.definitions),
            *map(definition_text, custom.definitions.values()),
            *merged_executable_directives(merging, custom.definitions),
        ),
        directives=directives,
        description=merged_description(
            merging,
            "schema",
            [(source, source.schema.description, source.schema.node) for source in merging.sources],
        ),
    )
    if not merging.diagnostics.has_errors:
        validate_supergraph(merging, supergraph, requirements, composed.names["inaccessible"])
    return supergraph


def _composed(merging: Merging, custom: CustomDirectives) -> Composed:
    return Composed(
        names=supergraph_names(merging, custom.definitions),
        custom=custom.subgraphs,
        repeatable=frozenset(name for name, node in custom.definitions.items() if node.repeatable),
    )


# ---- types ----


def _merged_types(merging: Merging, composed: Composed) -> dict[str, MergedType]:
    kinds: dict[str, Kind] = {}
    for name in merging.names():
        kind = _merged_kind(merging, name)
        if kind is not None:
            kinds[name] = kind
    shells = {name: _shell(merging, composed, name, kind) for name, kind in kinds.items()}
    is_subtype = _subtype_test(shells)
    types = {}
    for name, shell in shells.items():
        if shell.kind in ("OBJECT", "INTERFACE"):
            types[name] = replace(shell, fields=merged_fields(merging, composed, name, shell.kind, is_subtype))
        elif shell.kind == "INPUT_OBJECT":
            types[name] = _with_input_fields(merging, composed, shell, is_subtype)
        else:
            types[name] = shell
    positions = enum_positions(merging, types)
    for name, shell in shells.items():
        if shell.kind == "ENUM":
            types[name] = replace(shell, values=merged_values(merging, composed, name, positions.get(name)))
        elif shell.kind == "INTERFACE":
            check_interface_keys(merging, types, name)
            check_interface_objects(merging, types, name)
    add_hints(merging, types.values(), positions)
    return types


def _merged_kind(merging: Merging, name: str) -> Kind | None:
    """The kind of a type that all subgraphs agree on; an interface object counts as an interface."""
    sources = merging.types(name)
    if name not in ROOT_TYPES.values() and not any(each.defined for _, each in sources):
        for source, each in sources:
            report_no_base(source.schema, each, merging.diagnostics)
    kinds: dict[Kind, list[str]] = {}
    for source, each in sources:
        kind: Kind = "INTERFACE" if has(each, "interfaceObject") else each.kind
        kinds.setdefault(kind, []).append(source.name)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind == "INTERFACE" and all(has(each, "interfaceObject") for _, each in sources):
            message = (
                f'Type "{name}" is an @interfaceObject in every subgraph that has it; one of them has to define the '
                "interface and its implementations."
            )
            places = [(source.name, each.node) for source, each in sources]
            merging.diagnostics.add(Code.INTERFACE_OBJECT_USAGE_ERROR, message, places)
        return kind
    spelled = ", ".join(f"{KIND_WORDS[kind]} in {subgraphs_listed(names)}" for kind, names in kinds.items())
    message = f'Type "{name}" is of different kinds across subgraphs: {spelled}.'
    places = [(source.name, each.node) for source, each in sources]
    merging.diagnostics.add(Code.TYPE_KIND_MISMATCH, message, places)
    return None


def _shell(merging: Merging, composed: Composed, name: str, kind: Kind) -> MergedType:
    """A merged type with all but its fields and values."""
    sources = merging.types(name)
    return MergedType(
        name=name,
        kind=kind,
        joins=tuple(join for source, each in sources for join in _join_types(source, each)),
        description=merged_description(
            merging, name, [(source, each.description, each.node) for source, each in sources]
        ),
        directives=(
            *merged_directives(
                merging, composed, name, [(source, each.directives, each.node) for source, each in sources]
            ),
            *_contexts(composed, sources),
            *joined_directives((source, each.directives) for source, each in sources),
        ),
        interfaces=_graphs_by_name(sources, lambda each: each.interfaces),
        members=_graphs_by_name(sources, lambda each: each.members),
    )


def _contexts(composed: Composed, sources: Sources) -> Iterable[str]:
    """Contexts are the subgraph's own, so their names get its name."""
    for source, each in sources:
        for use in applications(each, "context"):
            yield f'@{composed.names["context"]}(name: "{source.name}__{use.text("name")}")'


def _graphs_by_name(sources: Sources, names: Callable[[TypeDef], Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(source.graph for source, each in sources if name in names(each))
        for name in in_order(sources, names)
    }


def _join_types(source: Source, each: TypeDef) -> Iterable[JoinType]:
    interface_object = has(each, "interfaceObject")
    keys = list(applications(each, "key"))
    if not keys:
        yield JoinType(source.graph, interface_object=interface_object)
    for key in keys:
        yield JoinType(
            source.graph,
            key=field_set_text(key.text("fields") or ""),
            extension=key.declaration in each.extended_in or has(each, "extends"),
            resolvable=key.flag("resolvable", default=True),
            interface_object=interface_object,
        )


def _subtype_test(shells: dict[str, MergedType]) -> Callable[[str, str], bool]:
    def is_subtype(sub: str, type_name: str) -> bool:
        target = shells.get(type_name)
        found = shells.get(sub)
        if target is None or found is None:
            return False
        return sub in target.members if target.kind == "UNION" else type_name in found.interfaces

    return is_subtype


def _with_input_fields(
    merging: Merging, composed: Composed, shell: MergedType, is_subtype: Callable[[str, str], bool]
) -> MergedType:
    fields = merged_input_fields(merging, composed, shell.name, is_subtype)
    if not fields:
        sources = merging.types(shell.name)
        message = (
            f'Input object "{shell.name}" would have no fields: none is common to '
            f"{subgraphs_listed(source.name for source, _ in sources)}."
        )
        places = [(source.name, each.node) for source, each in sources]
        merging.diagnostics.add(Code.EMPTY_MERGED_INPUT_TYPE, message, places)
    return replace(shell, fields=fields)
