"""Values in a schema, compared as values: `200` and `200.0` are one Float, a string and a block string of one text one
String, and the order of an object's fields makes no difference. The brackets around a single item do: every composer
takes `1` and `[1]` for two defaults of a list.

Specification: GraphQL, section 3.5 to 3.12 (input coercion).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

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
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    print_ast,
)

from trifolio.composer.schema import TypeDef, is_list, is_non_null, item_type, nullable

TypeOf = Callable[[str], TypeDef | None]
"""A named type as some subgraph defines it; None for a scalar of GraphQL itself."""

LARGEST_INT = 2**63
"""Numbers beyond it are compared by their text: no scalar keeps all their digits."""

_LITERALS: Mapping[str, tuple[type[ValueNode], ...]] = {
    "Int": (IntValueNode,),
    "Float": (IntValueNode, FloatValueNode),
    "String": (StringValueNode,),
    "Boolean": (BooleanValueNode,),
    "ID": (IntValueNode, StringValueNode),
}
"""How values of GraphQL's own scalars are written."""


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


def misfit(value: ValueNode, type_text: str, type_of: TypeOf) -> str | None:
    """Why a value is none of a type, as a subgraph would judge it that is sent the value; None where it is one."""
    if isinstance(value, VariableNode):
        return f'the variable "{print_ast(value)}" is not known here'
    if isinstance(value, NullValueNode):
        return f'null is no value of type "{type_text}"' if is_non_null(type_text) else None
    type_text = nullable(type_text)
    if is_list(type_text):
        items = value.values if isinstance(value, ListValueNode) else (value,)
        return next(filter(None, (misfit(each, item_type(type_text), type_of) for each in items)), None)
    found = type_of(type_text)
    if found is not None and found.kind == "INPUT_OBJECT" and isinstance(value, ObjectValueNode):
        return _object_misfit(value, found, type_of)
    if type_text in _LITERALS:
        fitting = isinstance(value, _LITERALS[type_text]) and (type_text != "Int" or _is_32_bits(value))
    elif found is not None and found.kind == "ENUM":
        fitting = isinstance(value, EnumValueNode) and value.value in found.values
    elif found is not None and found.kind == "SCALAR":
        inner = _inner_values(value)
        return next(filter(None, (misfit(each, type_text, type_of) for each in inner)), None)
    else:
        fitting = False
    return None if fitting else f'{print_ast(value)} is no value of type "{type_text}"'


def _object_misfit(value: ObjectValueNode, parent: TypeDef, type_of: TypeOf) -> str | None:
    given = {each.name.value: each.value for each in value.fields}
    for name, each in given.items():
        if name not in parent.fields:
            return f'"{parent.name}" has no field "{name}"'
        problem = misfit(each, parent.fields[name].type, type_of)
        if problem:
            return problem
    for name, field in parent.fields.items():
        if name not in given and is_non_null(field.type) and field.default is None:
            return f'the required field "{parent.name}.{name}" is left out'
    if any(use.name == "oneOf" for use in parent.directives):
        nulls = [each for each in given.values() if isinstance(each, NullValueNode)]
        if len(given) != 1 or nulls:
            return f'"{parent.name}" takes exactly one of its fields'
    return None


def _is_32_bits(value: ValueNode) -> bool:
    return isinstance(value, IntValueNode) and -(2**31) <= int(value.value) < 2**31


def _inner_values(value: ValueNode) -> Sequence[ValueNode]:
    """The items of a list, or the values of an object's fields."""
    if isinstance(value, ListValueNode):
        return value.values
    return tuple(each.value for each in value.fields) if isinstance(value, ObjectValueNode) else ()


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
