"""Hints: what composes but may not be meant. They are looked for after merging and change nothing."""

from collections.abc import Callable, Iterable

from trifolio.composer.diagnostics import Code
from trifolio.composer.enums import EnumPositions
from trifolio.composer.schema import TypeDef, has
from trifolio.composer.sources import Merging, subgraphs_listed
from trifolio.composer.supergraph_model import MergedType
from trifolio.federation import ROOT_TYPES

Members = Callable[[TypeDef], Iterable[str]]


def add_hints(merging: Merging, types: Iterable[MergedType], positions: dict[str, EnumPositions]) -> None:
    """Report members of types that some subgraphs lack, and types that are entities in some only."""
    for each in types:
        if len(merging.types(each.name)) < 2 or each.name in ROOT_TYPES.values():
            continue
        if each.kind == "OBJECT":
            _hint_entity(merging, each)
        if each.kind == "OBJECT" and not _is_entity(merging, each):
            code = Code.INCONSISTENT_OBJECT_VALUE_TYPE_FIELD
            _hint_missing(merging, each, list(each.fields), lambda own: own.fields, code)
        elif each.kind == "INTERFACE" and not any(has(own, "interfaceObject") for _, own in merging.types(each.name)):
            code = Code.INCONSISTENT_INTERFACE_VALUE_TYPE_FIELD
            _hint_missing(merging, each, list(each.fields), lambda own: own.fields, code)
        elif each.kind == "UNION":
            _hint_missing(merging, each, list(each.members), lambda own: own.members, Code.INCONSISTENT_UNION_MEMBER)
        elif each.kind == "ENUM" and positions.get(each.name, EnumPositions()).input is None:
            code = Code.INCONSISTENT_ENUM_VALUE_FOR_OUTPUT_ENUM
            _hint_missing(merging, each, list(each.values), lambda own: own.values, code)


def _is_entity(merging: Merging, each: MergedType) -> bool:
    return any(has(own, "key") for _, own in merging.types(each.name))


def _hint_entity(merging: Merging, each: MergedType) -> None:
    keyless = [source.name for source, own in merging.types(each.name) if not has(own, "key")]
    if _is_entity(merging, each) and keyless:
        message = f'Type "{each.name}" is an entity, but has no @key in {subgraphs_listed(keyless)}.'
        places = [(source.name, own.node) for source, own in merging.types(each.name) if source.name in keyless]
        merging.diagnostics.add(Code.INCONSISTENT_ENTITY, message, places)


def _hint_missing(merging: Merging, each: MergedType, names: list[str], members: Members, code: Code) -> None:
    sources = merging.types(each.name)
    for name in names:
        missing = [source.name for source, own in sources if name not in members(own)]
        if missing:
            message = f'"{each.name}.{name}" is missing in {subgraphs_listed(missing)}.'
            merging.diagnostics.add(code, message, [(s.name, own.node) for s, own in sources if s.name in missing])
