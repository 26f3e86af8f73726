"""@inaccessible: whether what is left for clients is a schema.

Hidden elements must leave nothing dangling: no visible field of a hidden type, no visible type without visible fields,
no interface that its implementations only fulfil out of sight.

Specification: https://specs.apollo.dev/inaccessible/v0.2/.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import parse_const_value
from graphql.language import ConstValueNode, EnumValueNode, ListValueNode, ObjectValueNode

from trifolio.composer.diagnostics import Code
from trifolio.composer.schema import is_list, is_non_null, item_type, named, nullable
from trifolio.composer.sources import Merging
from trifolio.composer.supergraph_model import MergedArgument, MergedField, MergedType
from trifolio.federation import ROOT_TYPES


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which elements of a supergraph clients can see."""

    types: Mapping[str, MergedType]
    mark: str
    """The text of the directive in the supergraph: `@inaccessible`."""

    def shows(self, element: MergedType | MergedField | MergedArgument) -> bool:
        """Whether an element itself is visible."""
        return self.mark not in element.directives

    def shows_type(self, name: str) -> bool:
        """Whether a type is visible; built-in scalars are."""
        found = self.types.get(name)
        return found is None or self.shows(found)


def check_inaccessible(merging: Merging, types: Mapping[str, MergedType], mark: str) -> None:
    """Report everything that @inaccessible leaves dangling."""
    visibility = Visibility(types, mark)
    for each in types.values():
        if not visibility.shows(each):
            if each.name == ROOT_TYPES["query"]:
                message = 'Type "Query" is @inaccessible, but it is the query root: clients would have nothing to ask.'
                _report(merging, Code.QUERY_ROOT_TYPE_INACCESSIBLE, message, each.name)
            continue
        _check_children(merging, visibility, each)
        for field in each.fields.values():
            _check_field(merging, visibility, each, field)


def _report(merging: Merging, code: Code, message: str, type_name: str, field: str | None = None) -> None:
    places = [(source.name, found.node) for source, found in merging.types(type_name)]
    if field is not None:
        places = [(source.name, found.node) for source, found in merging.fields(type_name, field)] or places
    merging.diagnostics.add(code, message, places)


def _check_children(merging: Merging, visibility: Visibility, each: MergedType) -> None:
    children = [visibility.shows(field) for field in each.fields.values()]
    children += [visibility.mark not in value.directives for value in each.values.values()]
    children += [visibility.shows_type(member) for member in each.members]
    if children and not any(children):
        message = (
            f'Type "{each.name}" is visible to clients, but everything in it is @inaccessible. Hide the type, too.'
        )
        _report(merging, Code.ONLY_INACCESSIBLE_CHILDREN, message, each.name)


def _check_field(merging: Merging, visibility: Visibility, each: MergedType, field: MergedField) -> None:
    coordinate = f"{each.name}.{field.name}"
    if not visibility.shows(field):
        if each.kind == "INPUT_OBJECT" and is_non_null(field.type) and field.default is None:
            message = f'Input field "{coordinate}" is @inaccessible but required: no client could set it.'
            _report(merging, Code.REQUIRED_INACCESSIBLE, message, each.name, field.name)
        for interface in _demanding(visibility, each, field.name):
            message = (
                f'Field "{coordinate}" is @inaccessible but fulfils "{interface}.{field.name}", which clients can see.'
            )
            _report(merging, Code.IMPLEMENTED_BY_INACCESSIBLE, message, each.name, field.name)
        return
    if not visibility.shows_type(named(field.type)):
        message = f'Type "{named(field.type)}" is @inaccessible but is the type of "{coordinate}", which clients see.'
        _report(merging, Code.REFERENCED_INACCESSIBLE, message, each.name, field.name)
    if field.default is not None:
        _check_default(merging, visibility, each, field, coordinate, field.type, field.default)
    for argument in field.arguments.values():
        _check_argument(merging, visibility, each, field, argument)


def _demanding(visibility: Visibility, each: MergedType, field: str) -> Iterator[str]:
    """Visible interfaces of a type that show a field."""
    for interface in each.interfaces:
        found = visibility.types.get(interface)
        if found and visibility.shows(found) and field in found.fields and visibility.shows(found.fields[field]):
            yield interface


def _check_argument(
    merging: Merging, visibility: Visibility, each: MergedType, field: MergedField, argument: MergedArgument
) -> None:
    coordinate = f"{each.name}.{field.name}({argument.name}:)"
    if visibility.shows(argument):
        if not visibility.shows_type(named(argument.type)):
            message = f'Type "{named(argument.type)}" is @inaccessible but is the type of "{coordinate}".'
            _report(merging, Code.REFERENCED_INACCESSIBLE, message, each.name, field.name)
        if argument.default is not None:
            _check_default(merging, visibility, each, field, coordinate, argument.type, argument.default)
        return
    if is_non_null(argument.type) and argument.default is None:
        message = f'Argument "{coordinate}" is @inaccessible but required: no client could set it.'
        _report(merging, Code.REQUIRED_INACCESSIBLE, message, each.name, field.name)
    for interface in _demanding(visibility, each, field.name):
        other = visibility.types[interface].fields[field.name].arguments.get(argument.name)
        if other is not None and visibility.shows(other):
            message = f'Argument "{coordinate}" is @inaccessible, but interface "{interface}" shows it to clients.'
            _report(merging, Code.IMPLEMENTED_BY_INACCESSIBLE, message, each.name, field.name)


def _check_default(
    merging: Merging,
    visibility: Visibility,
    each: MergedType,
    field: MergedField,
    coordinate: str,
    type_text: str,
    default: str,
) -> None:
    for hidden in _hidden_in_value(visibility, type_text, parse_const_value(default)):
        message = f'The default value of "{coordinate}" uses "{hidden}", which is @inaccessible.'
        _report(merging, Code.DEFAULT_VALUE_USES_INACCESSIBLE, message, each.name, field.name)


def _hidden_in_value(visibility: Visibility, type_text: str, value: ConstValueNode) -> Iterator[str]:
    """Coordinates of hidden enum values and input fields inside a value."""
    type_text = nullable(type_text)
    if is_list(type_text):
        for item in value.values if isinstance(value, ListValueNode) else (value,):
            yield from _hidden_in_value(visibility, item_type(type_text), item)
        return
    found = visibility.types.get(type_text)
    if found is None:
        return
    if found.kind == "ENUM" and isinstance(value, EnumValueNode):
        chosen = found.values.get(value.value)
        if chosen is not None and visibility.mark in chosen.directives:
            yield f"{found.name}.{value.value}"
    elif found.kind == "INPUT_OBJECT" and isinstance(value, ObjectValueNode):
        for node in value.fields:
            inner = found.fields.get(node.name.value)
            if inner is None:
                continue
            if not visibility.shows(inner):
                yield f"{found.name}.{inner.name}"
            yield from _hidden_in_value(visibility, inner.type, node.value)
