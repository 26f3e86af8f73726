"""Which built schemas are valid: graphql-core's rules, but for those that a schema may break and still be served.

A subgraph's schema is judged by them when it is composed, and the API schema both then and when a router loads it, so
that the two agree.

Specification: GraphQL, section 3 (type system).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputType,
    GraphQLSchema,
    Undefined,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    print_ast,
    validate_schema,
    value_from_ast,
)
from graphql.language import ConstValueNode, ListValueNode, NullValueNode, ObjectValueNode, StringValueNode

PASSED_OVER: Final = ("has invalid default value", "is not deprecated, so implementation field")
"""Rules of graphql-core that are not applied, by their texts. Default values are checked by `default_errors`, which
lets pass what Apollo's composition lets pass; that a deprecation has to stand on the interface first is no rule there.
"""


def applied_errors(schema: GraphQLSchema) -> list[GraphQLError]:
    """What graphql-core says of a schema, but for the rules that are not applied."""
    parts: Any = schema.to_kwargs()
    judged = GraphQLSchema(**{**parts, "assume_valid": False})
    return [error for error in validate_schema(judged) if not any(text in error.message for text in PASSED_OVER)]


def default_errors(schema: GraphQLSchema) -> Iterator[GraphQLError]:
    """Default values that do not fit their types."""
    for directive in schema.directives:
        yield from _unfit_defaults(f"@{directive.name}", directive.args)
    for name, each in schema.type_map.items():
        if is_input_object_type(each):
            yield from _unfit_defaults(name, each.fields)
        elif is_object_type(each) or is_interface_type(each):
            for field_name, field in each.fields.items():
                yield from _unfit_defaults(f"{name}.{field_name}", field.args)


def _unfit_defaults(
    parent: str,
    elements: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField],
) -> Iterator[GraphQLError]:
    for name, element in elements.items():
        value = element.ast_node.default_value if element.ast_node else None
        if value is not None and not fits(value, element.type):
            message = (
                f'Invalid default value for "{name}" of "{parent}": expected type "{element.type}", found '
                f"{print_ast(value)}."
            )
            yield GraphQLError(message, [value])


def fits(value: ConstValueNode, expected: GraphQLInputType) -> bool:
    """Whether a value fits a type.

    Let pass, as Apollo's composition does: an enum's value as a string, and an input object without a required field.
    """
    if is_non_null_type(expected):
        return not isinstance(value, NullValueNode) and fits(value, expected.of_type)
    if isinstance(value, NullValueNode):
        return True
    if is_list_type(expected):
        items = value.values if isinstance(value, ListValueNode) else (value,)
        return all(fits(item, expected.of_type) for item in items)
    if is_input_object_type(expected):
        return isinstance(value, ObjectValueNode) and all(
            each.name.value in expected.fields and fits(each.value, expected.fields[each.name.value].type)
            for each in value.fields
        )
    if is_enum_type(expected) and isinstance(value, StringValueNode):
        return value.value in expected.values
    # What is no input type at all is reported as that.
    return not is_leaf_type(expected) or value_from_ast(value, expected) is not Undefined
