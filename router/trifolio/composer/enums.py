"""Merging enums: by union where clients only read them, by intersection where they only write them, and only if all
subgraphs agree where they do both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trifolio.composer.diagnostics import Code
from trifolio.composer.merge_directives import Composed, merged_directives
from trifolio.composer.merge_values import merged_description
from trifolio.composer.schema import EnumValue, has, named
from trifolio.composer.sources import Merging, Source, in_order, subgraphs_listed
from trifolio.composer.supergraph_model import MergedType, MergedValue


@dataclass(slots=True)
class EnumPositions:
    """Where an enum is used: one coordinate each, for messages."""

    output: str | None = None
    input: str | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    positions: dict[str, EnumPositions] = field(default_factory=dict)

    def mark(self, type_text: str, coordinate: str, *, is_input: bool) -> None:
        """Remember where a type is used."""
        found = self.positions.setdefault(named(type_text), EnumPositions())
        if is_input:
            found.input = found.input or coordinate
        else:
            found.output = found.output or coordinate


def enum_positions(merging: Merging, types: Mapping[str, MergedType]) -> dict[str, EnumPositions]:
    """How each named type is used by the merged fields and arguments, and by any subgraph's input fields."""
    use = _Use()
    for each in types.values():
        for one in each.fields.values():
            use.mark(one.type, f"{each.name}.{one.name}", is_input=each.kind == "INPUT_OBJECT")
            for argument in one.arguments.values():
                use.mark(argument.type, f"{each.name}.{one.name}({argument.name}:)", is_input=True)
    for source in merging.sources:
        for declared in source.schema.types.values():
            if declared.kind == "INPUT_OBJECT":
                for written in declared.fields.values():
                    use.mark(written.type, f"{declared.name}.{written.name}", is_input=True)
    return use.positions


def merged_values(
    merging: Merging, composed: Composed, name: str, positions: EnumPositions | None
) -> dict[str, MergedValue]:
    """The values of an enum that all its subgraphs can live with."""
    types = merging.types(name)
    positions = positions or EnumPositions()
    if positions.input is None and positions.output is None:
        message = f'Enum "{name}" is used nowhere; all its values are kept.'
        merging.diagnostics.add(Code.UNUSED_ENUM_TYPE, message, [(source.name, each.node) for source, each in types])
    result: dict[str, MergedValue] = {}
    for value in in_order(types, lambda each: each.values):
        sources = [(source, each.values[value]) for source, each in types if value in each.values]
        hidden = any(has(each, "inaccessible") for _, each in sources)
        missing = [source.name for source, each in types if value not in each.values]
        if missing and positions.input and not hidden:
            _report_uncommon(merging, name, value, sources, missing, positions)
            if positions.output is None:
                continue
        result[value] = _merged_value(merging, composed, name, value, sources)
    if not result:
        message = f'Enum "{name}" would have no values: none is common to {subgraphs_listed(s.name for s, _ in types)}.'
        places = [(source.name, each.node) for source, each in types]
        merging.diagnostics.add(Code.EMPTY_MERGED_ENUM_TYPE, message, places)
    return result


def _merged_value(
    merging: Merging, composed: Composed, name: str, value: str, sources: list[tuple[Source, EnumValue]]
) -> MergedValue:
    coordinate = f"{name}.{value}"
    return MergedValue(
        name=value,
        graphs=tuple(source.graph for source, _ in sources),
        description=merged_description(
            merging, coordinate, [(source, each.description, each.node) for source, each in sources]
        ),
        directives=merged_directives(
            merging, composed, coordinate, [(source, each.directives, each.node) for source, each in sources]
        ),
    )


def _report_uncommon(
    merging: Merging,
    name: str,
    value: str,
    sources: list[tuple[Source, EnumValue]],
    missing: list[str],
    positions: EnumPositions,
) -> None:
    places = [(source.name, each.node) for source, each in sources]
    having = subgraphs_listed(source.name for source, _ in sources)
    if positions.output:
        message = (
            f'Enum "{name}" is used for output ("{positions.output}") and for input ("{positions.input}"), so all '
            f'subgraphs need the same values; "{value}" is in {having} but not in {subgraphs_listed(missing)}.'
        )
        merging.diagnostics.add(Code.ENUM_VALUE_MISMATCH, message, places)
    else:
        message = f'Value "{name}.{value}" of an input enum is left out: it is missing in {subgraphs_listed(missing)}.'
        merging.diagnostics.add(Code.INCONSISTENT_ENUM_VALUE_FOR_INPUT_ENUM, message, places)
