"""Values in a schema, compared as values: `200` and `200.0` are one Float, a string and a block string of one text one
String, and the order of an object's fields makes no difference. The brackets around a single item do: every composer
takes `1` and `[1]` for two defaults of a list.

Specification: GraphQL, section 3.5 to 3.12 (input coercion).
"""

from collections.abc import Callable, Hashable, Mapping

from graphql.language import (
    BooleanValueNode,
    ConstListValueNode,
    ConstObjectFieldNode,
    ConstObjectValueNode,
    ConstValueNode,
    EnumValueNode,
    FloatValueNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    StringValueNode,
    print_ast,
)

from trifolio.composer.schema import TypeDef, is_list, item_type, nullable

TypeOf = Callable[[str], TypeDef | None]
"""A named type as some subgraph defines it; None for a scalar of GraphQL itself."""

LARGEST_INT = 2**63
"""Numbers beyond it are compared by their text: no scalar keeps all their digits."""


def compared(value: ConstValueNode, type_text: str, type_of: TypeOf) -> Hashable:
    """What a value of a type is compared by: equal for equal values."""
    type_text = nullable(type_text)
    if is_list(type_text):
        if isinstance(value, ListValueNode):
            return tuple(compared(each, item_type(type_text), type_of) for each in value.values)
        return compared(value, item_type(type_text), type_of)
    if type_text == "ID" and isinstance(value, IntValueNode | StringValueNode):
        return "text", value.value
    found = type_of(type_text)
    if found is not None and found.kind == "INPUT_OBJECT" and isinstance(value, ObjectValueNode):
        return frozenset(
            (each.name.value, compared(each.value, _field_type(found, each.name.value), type_of))
            for each in value.fields
        )
    return compared_untyped(value)


def compared_untyped(value: ConstValueNode) -> Hashable:
    """What a value is compared by where its type says nothing of it, as with a custom scalar."""
    if isinstance(value, ListValueNode):
        return tuple(compared_untyped(each) for each in value.values)
    if isinstance(value, ObjectValueNode):
        return frozenset((each.name.value, compared_untyped(each.value)) for each in value.fields)
    if isinstance(value, IntValueNode | FloatValueNode):
        return _number(value.value)
    if isinstance(value, StringValueNode | EnumValueNode):
        return "text", value.value
    return ("flag", value.value) if isinstance(value, BooleanValueNode) else "null"


def _number(text: str) -> Hashable:
    number = float(text)
    return ("number", number) if abs(number) < LARGEST_INT else ("number", text)


def _field_type(parent: TypeDef, name: str) -> str:
    """A field's type; a scalar that says nothing where the input object lacks the field here."""
    return parent.fields[name].type if name in parent.fields else "_"


def written(value: ConstValueNode, type_text: str, type_of: TypeOf) -> str:
    """A value's text for the supergraph, on one line: subgraphs may write an enum's value as a string."""
    return print_ast(_as_written(value, type_text, type_of))


def written_arguments(arguments: Mapping[str, ConstValueNode]) -> dict[str, str]:
    """The texts of a directive's arguments, on one line."""
    return {name: written(value, "_", lambda _: None) for name, value in arguments.items()}


def _as_written(value: ConstValueNode, type_text: str, type_of: TypeOf) -> ConstValueNode:
    type_text = nullable(type_text)
    if isinstance(value, ListValueNode):
        inner = item_type(type_text) if is_list(type_text) else type_text
        return ConstListValueNode(values=tuple(_as_written(each, inner, type_of) for each in value.values))
    found = type_of(type_text.strip("[]!"))
    if isinstance(value, ObjectValueNode):
        fields = tuple(
            ConstObjectFieldNode(
                name=each.name,
                value=_as_written(each.value, _field_type(found, each.name.value) if found else "_", type_of),
            )
            for each in value.fields
        )
        return ConstObjectValueNode(fields=fields)
    if isinstance(value, StringValueNode):
        is_enum = found is not None and found.kind == "ENUM"
        return EnumValueNode(value=value.value) if is_enum else StringValueNode(value=value.value)
    return value
