"""Merging fields: their types, arguments and defaults, and the join directives that say who resolves what.

A field that is external in a subgraph does not shape the merged field, it is only checked against it. A @join__field is
written where the plain reading, "every subgraph that has the type resolves the field", would be wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from graphql import parse_const_value

from trifolio.composer.diagnostics import Code
from trifolio.composer.field_sets import InvalidFieldSet, canonical_text
from trifolio.composer.merge_directives import Composed, joined_directives, merged_directives
from trifolio.composer.merge_values import (
    IsSubtype,
    is_strict_subtype,
    merged_default,
    merged_description,
    merged_type,
)
from trifolio.composer.override import Overrides, field_overrides
from trifolio.composer.schema import Argument, FieldDef, Kind, first, has, is_non_null
from trifolio.composer.sharing import check_sharing
from trifolio.composer.sources import Merging, Source, in_order, subgraphs_listed
from trifolio.composer.supergraph_model import JoinContextArgument, JoinField, MergedArgument, MergedField
from trifolio.composer.usage import split_context_value
from trifolio.composer.values import compared

FieldSource = tuple[Source, FieldDef]


def merged_fields(
    merging: Merging, composed: Composed, type_name: str, kind: Kind, is_subtype: IsSubtype
) -> dict[str, MergedField]:
    """All fields of an object or interface."""
    names = in_order(merging.types(type_name), lambda each: each.fields)
    result: dict[str, MergedField] = {}
    for name in names:
        overrides = field_overrides(merging, type_name, name)
        found = _merged_field(merging, composed, type_name, name, overrides, is_subtype)
        if found is not None:
            result[name] = found
        if kind == "OBJECT":
            check_sharing(merging, type_name, name, overrides)
    return result


def _merged_field(
    merging: Merging,
    composed: Composed,
    type_name: str,
    name: str,
    overrides: Overrides,
    is_subtype: IsSubtype,
) -> MergedField | None:
    coordinate = f"{type_name}.{name}"
    sources = merging.fields(type_name, name)
    external = [(source, each) for source, each in sources if source.is_external(type_name, name)]
    resolving = [(source, each) for source, each in sources if not source.is_external(type_name, name)]
    _check_external_directives(merging, composed, type_name, external)
    if not resolving:
        resolving = _through_interface_objects(merging, type_name, name)
        if not resolving:
            _report_external_everywhere(merging, coordinate, external)
            return None
    typed = [(source, each.type, each.node) for source, each in resolving]
    merged, equal = merged_type(merging, coordinate, typed, is_subtype, what="field", narrows=False)
    arguments = _merged_arguments(merging, composed, coordinate, resolving, is_subtype)
    if external:
        # Where the resolving subgraphs differ among themselves, an external definition may be one of theirs.
        fits = (lambda own: is_strict_subtype(merged, own, is_subtype)) if not equal else (lambda _: False)
        _check_external(merging, coordinate, external, merged, arguments, fits, is_subtype)
    return MergedField(
        name=name,
        type=merged,
        arguments=arguments,
        description=merged_description(
            merging, coordinate, [(source, each.description, each.node) for source, each in resolving]
        ),
        joins=join_fields(merging, type_name, name, sources, overrides, all_types_equal=equal),
        directives=(
            *merged_directives(
                merging, composed, coordinate, [(source, each.directives, each.node) for source, each in resolving]
            ),
            *joined_directives((source, each.directives) for source, each in sources),
        ),
    )


def _through_interface_objects(merging: Merging, type_name: str, name: str) -> list[FieldSource]:
    """Where a type's field comes from interfaces that some subgraphs have as interface objects."""
    interfaces = dict.fromkeys(each for _, found in merging.types(type_name) for each in found.interfaces)
    return [
        (source, found.fields[name])
        for interface in interfaces
        for source, found in merging.interface_objects(interface)
        if name in found.fields and not source.is_external(interface, name)
    ]


# ---- arguments ----


def _merged_arguments(
    merging: Merging, composed: Composed, coordinate: str, sources: Sequence[FieldSource], is_subtype: IsSubtype
) -> dict[str, MergedArgument]:
    names = in_order(sources, lambda each: each.arguments)
    result: dict[str, MergedArgument] = {}
    for name in names:
        if not _is_common_argument(merging, f"{coordinate}({name}:)", name, sources):
            continue
        found = [(source, each.arguments[name]) for source, each in sources if name in each.arguments]
        result[name] = _merged_argument(merging, composed, f"{coordinate}({name}:)", found, is_subtype)
    return result


def _is_common_argument(merging: Merging, coordinate: str, name: str, sources: Sequence[FieldSource]) -> bool:
    """Whether clients can set an argument: all subgraphs have it, and none fills it from a context."""
    having = [(source, each.arguments[name]) for source, each in sources if name in each.arguments]
    contextual = [(source, each) for source, each in having if has(each, "fromContext")]
    if contextual:
        demanding = [(source, each) for source, each in having if not has(each, "fromContext") and _is_required(each)]
        if demanding:
            message = (
                f'Argument "{coordinate}" is filled from a context in {subgraphs_listed(s.name for s, _ in contextual)}'
                f" but demanded from clients in {subgraphs_listed(s.name for s, _ in demanding)}."
            )
            code = Code.CONTEXTUAL_ARGUMENT_NOT_CONTEXTUAL_IN_ALL_SUBGRAPHS
            merging.diagnostics.add(code, message, [(source.name, each.node) for source, each in having])
        return False
    if len(having) == len(sources):
        return True
    required = [(source, each) for source, each in having if _is_required(each)]
    missing = [source.name for source, each in sources if name not in each.arguments]
    places = [(source.name, each.node) for source, each in required or having]
    if required:
        message = (
            f'Argument "{coordinate}" is required in {subgraphs_listed(s.name for s, _ in required)} but missing in '
            f"{subgraphs_listed(missing)}. Add it there, or give it a default value."
        )
        merging.diagnostics.add(Code.REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH, message, places)
    else:
        message = f'Optional argument "{coordinate}" is left out: it is missing in {subgraphs_listed(missing)}.'
        merging.diagnostics.add(Code.INCONSISTENT_ARGUMENT_PRESENCE, message, places)
    return False


def _is_required(each: Argument | FieldDef) -> bool:
    return is_non_null(each.type) and each.default is None


def _merged_argument(
    merging: Merging,
    composed: Composed,
    coordinate: str,
    sources: Sequence[tuple[Source, Argument]],
    is_subtype: IsSubtype,
) -> MergedArgument:
    typed = [(source, each.type, each.node) for source, each in sources]
    merged, _ = merged_type(merging, coordinate, typed, is_subtype, what="argument", narrows=True)
    return MergedArgument(
        name=sources[0][1].name,
        type=merged,
        default=merged_default(
            merging,
            coordinate,
            [(source, each.default, each.node) for source, each in sources],
            merged,
            what="argument",
        ),
        description=merged_description(
            merging, coordinate, [(source, each.description, each.node) for source, each in sources]
        ),
        directives=merged_directives(
            merging, composed, coordinate, [(source, each.directives, each.node) for source, each in sources]
        ),
    )


# ---- external fields ----


def _check_external_directives(
    merging: Merging, composed: Composed, type_name: str, external: Iterable[FieldSource]
) -> None:
    for source, each in external:
        for use in each.directives:
            if composed.carries(source.name, use):
                message = (
                    f"[{source.name}] @{use.node.name.value} cannot be used on the external field "
                    f'"{type_name}.{each.name}"; put it where the field is resolved.'
                )
                code = Code.MERGED_DIRECTIVE_APPLICATION_ON_EXTERNAL
                merging.diagnostics.add(code, message, [(source.name, use.node)])


def _report_external_everywhere(merging: Merging, coordinate: str, external: Sequence[FieldSource]) -> None:
    names = subgraphs_listed(source.name for source, _ in external)
    message = (
        f'Field "{coordinate}" is marked @external in every subgraph that has it ({names}): none resolves it. Remove '
        "the mark in the subgraph that owns the field."
    )
    places = [(source.name, each.node) for source, each in external]
    merging.diagnostics.add(Code.EXTERNAL_MISSING_ON_BASE, message, places)


def _check_external(
    merging: Merging,
    coordinate: str,
    external: Sequence[FieldSource],
    merged: str,
    arguments: Mapping[str, MergedArgument],
    fits: Callable[[str], bool],
    is_subtype: IsSubtype,
) -> None:
    """External definitions have to fit the merged field that they stand for."""
    for source, each in external:
        place = [(source.name, each.node)]
        where = f'[{source.name}] The external field "{coordinate}"'
        if each.type != merged and not fits(each.type):
            message = f'{where} is of type "{each.type}", but where it is resolved it is of type "{merged}".'
            merging.diagnostics.add(Code.EXTERNAL_TYPE_MISMATCH, message, place)
        for name, argument in arguments.items():
            own = each.arguments.get(name)
            if own is None:
                message = f'{where} lacks the argument "{name}" that it has where it is resolved.'
                merging.diagnostics.add(Code.EXTERNAL_ARGUMENT_MISSING, message, place)
            elif own.type != argument.type and not is_strict_subtype(own.type, argument.type, is_subtype):
                message = f'{where} has the argument "{name}" of type "{own.type}" instead of "{argument.type}".'
                merging.diagnostics.add(Code.EXTERNAL_ARGUMENT_TYPE_MISMATCH, message, place)
            elif not _same_default(merging, own, argument):
                message = f'{where} has another default value of the argument "{name}" than where it is resolved.'
                merging.diagnostics.add(Code.EXTERNAL_ARGUMENT_DEFAULT_MISMATCH, message, place)


def _same_default(merging: Merging, own: Argument, merged: MergedArgument) -> bool:
    """Whether an argument of an external field has the default value that it has where it is resolved."""
    if own.default is None or merged.default is None:
        return own.default is None and merged.default is None
    values = (own.default, parse_const_value(merged.default))
    return len({compared(value, merged.type, merging.type_of) for value in values}) == 1


# ---- join directives ----


def join_fields(
    merging: Merging,
    type_name: str,
    name: str,
    sources: Sequence[FieldSource],
    overrides: Overrides,
    *,
    all_types_equal: bool,
) -> tuple[JoinField, ...]:
    """The @join__field directives of a field; none where they would say what is plain without them."""
    if not _needs_joins(merging, type_name, name, sources, overrides, all_types_equal=all_types_equal):
        return ()
    return tuple(
        _join_field(source, type_name, each, overrides, all_types_equal=all_types_equal)
        for source, each in sources
        if source.name not in overrides.unused or source.name in overrides.labels
    )


def _needs_joins(
    merging: Merging,
    type_name: str,
    name: str,
    sources: Sequence[FieldSource],
    overrides: Overrides,
    *,
    all_types_equal: bool,
) -> bool:
    if not all_types_equal or overrides.used or overrides.unused or overrides.labels:
        return True
    if len(sources) < len(merging.types(type_name)):
        return True
    return any(
        source.is_external(type_name, name)
        or has(each, "requires")
        or has(each, "provides")
        or any(has(argument, "fromContext") for argument in each.arguments.values())
        for source, each in sources
    )


def _join_field(
    source: Source, type_name: str, each: FieldDef, overrides: Overrides, *, all_types_equal: bool
) -> JoinField:
    override = first(each, "override")
    return JoinField(
        graph=source.graph,
        requires=_field_set(each, "requires"),
        provides=_field_set(each, "provides"),
        type=None if all_types_equal else each.type,
        external=source.is_external(type_name, each.name),
        override=override.text("from") if override else None,
        used_overridden=source.name in overrides.used,
        override_label=overrides.labels.get(source.name),
        context_arguments=tuple(_context_arguments(source, each)),
    )


def _field_set(each: FieldDef, directive: str) -> str | None:
    use = first(each, directive)
    text = use.text("fields") if use else None
    return field_set_text(text) if text is not None else None


def field_set_text(text: str) -> str:
    """A field set for the supergraph; one that cannot be read, which validation reports, stays as it is."""
    try:
        return canonical_text(text)
    except InvalidFieldSet:
        return text


def _context_arguments(source: Source, each: FieldDef) -> Iterable[JoinContextArgument]:
    for argument in each.arguments.values():
        use = first(argument, "fromContext")
        if use is None:
            continue
        context, selection = split_context_value(use.text("field") or "")
        if context:
            yield JoinContextArgument(argument.name, argument.type, f"{source.name}__{context}", selection)


def merged_input_fields(
    merging: Merging, composed: Composed, type_name: str, is_subtype: IsSubtype
) -> dict[str, MergedField]:
    """The fields of an input object: those that all subgraphs have."""
    types = merging.types(type_name)
    result: dict[str, MergedField] = {}
    for name in in_order(types, lambda each: each.fields):
        sources = merging.fields(type_name, name)
        merged = _merged_input_field(merging, composed, type_name, name, sources, is_subtype)
        hidden = any(has(each, "inaccessible") for _, each in sources)
        if hidden or len(sources) == len(types):
            result[name] = merged
        else:
            _report_uncommon_input_field(merging, f"{type_name}.{name}", name, sources)
    return result


def _merged_input_field(
    merging: Merging,
    composed: Composed,
    type_name: str,
    name: str,
    sources: Sequence[FieldSource],
    is_subtype: IsSubtype,
) -> MergedField:
    coordinate = f"{type_name}.{name}"
    typed = [(source, each.type, each.node) for source, each in sources]
    merged, equal = merged_type(merging, coordinate, typed, is_subtype, what="field", narrows=True)
    return MergedField(
        name=name,
        type=merged,
        default=merged_default(
            merging,
            coordinate,
            [(source, each.default, each.node) for source, each in sources],
            merged,
            what="input field",
        ),
        description=merged_description(
            merging, coordinate, [(source, each.description, each.node) for source, each in sources]
        ),
        joins=join_fields(merging, type_name, name, sources, Overrides(), all_types_equal=equal),
        directives=merged_directives(
            merging, composed, coordinate, [(source, each.directives, each.node) for source, each in sources]
        ),
    )


def _report_uncommon_input_field(merging: Merging, coordinate: str, name: str, sources: Sequence[FieldSource]) -> None:
    type_name = coordinate.split(".")[0]
    required = [(source, each) for source, each in sources if _is_required(each)]
    missing = subgraphs_listed(s.name for s, each in merging.types(type_name) if name not in each.fields)
    places = [(source.name, each.node) for source, each in required or sources]
    if required:
        message = (
            f'Input field "{coordinate}" is required in {subgraphs_listed(s.name for s, _ in required)} but missing in '
            f"{missing}. Add it there, or make it optional."
        )
        merging.diagnostics.add(Code.REQUIRED_INPUT_FIELD_MISSING_IN_SOME_SUBGRAPH, message, places)
    else:
        message = f'Input field "{coordinate}" is left out: it is missing in {missing}.'
        merging.diagnostics.add(Code.INCONSISTENT_INPUT_OBJECT_FIELD, message, places)
