"""Variables and arguments: read by code made for them, or by graphql-core where they are anything but plain."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    Undefined,
    ValueNode,
    VariableNode,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_argument_values, get_variable_values

from subgraphs.shared.graphql_execution.run import Place, Run

Read = Callable[[Any], Any]
Arguments = Callable[[Run], Mapping[str, Any]]

INT_MAX = 2**31 - 1
INFINITY = float("inf")
VARIABLE_ERRORS_MAX = 50
"""As graphql-core has it."""
NO_VARIABLES = VariableValues({}, {})


class Odd(Exception):
    """A value that compiled code leaves to the interpreter."""


def variable_reader(
    schema: GraphQLSchema, operation: OperationDefinitionNode
) -> Callable[[dict[str, Any]], VariableValues | list[GraphQLError]]:
    """Reads the variables of a request; what it returns is what `get_variable_values` would return."""
    definitions = operation.variable_definitions or ()
    signatures = [get_variable_signature(schema, definition) for definition in definitions]
    plain: list[tuple[str, Any, Read, bool]] = []
    for signature in signatures:
        if isinstance(signature, GraphQLError):
            break
        optional = not isinstance(signature.type, GraphQLNonNull) and signature.default is None
        plain.append((signature.name, signature, _reader(signature.type), optional))

    def read(values: dict[str, Any]) -> VariableValues | list[GraphQLError]:
        if not definitions:
            return NO_VARIABLES
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        try:
            if len(plain) < len(signatures):
                raise Odd
            for name, signature, read_value, optional in plain:
                if name in values:
                    value = values[name]
                    coerced[name] = read_value(value)
                    sources[name] = VariableValueSource(signature, value)
                elif not optional:
                    raise Odd
                else:
                    sources[name] = VariableValueSource(signature)
        except Exception:  # noqa: BLE001  # graphql-core says what is wrong, or that nothing is
            return get_variable_values(schema, definitions, values, max_errors=VARIABLE_ERRORS_MAX)
        return VariableValues(sources, coerced)

    return read


def _reader(type_: GraphQLInputType) -> Read:
    """Reads values of a type: raises for any that needs more than a look."""
    if isinstance(type_, GraphQLNonNull):
        return _reader_of_present(type_.of_type)
    read = _reader_of_present(type_)
    return lambda value: None if value is None else read(value)


def _reader_of_present(type_: GraphQLInputType) -> Read:
    if isinstance(type_, GraphQLList):
        read = _reader(type_.of_type)
        return lambda value: [read(item) for item in value] if value.__class__ is list else _odd()
    if type_ in (GraphQLString, GraphQLID):
        return lambda value: value if value.__class__ is str else _odd()
    if type_ is GraphQLBoolean:
        return lambda value: value if value.__class__ is bool else _odd()
    if type_ is GraphQLInt:
        return lambda value: value if value.__class__ is int and -INT_MAX <= value <= INT_MAX else _odd()
    if type_ is GraphQLFloat:
        return lambda value: value if value.__class__ is float and -INFINITY < value < INFINITY else _odd()
    if isinstance(type_, GraphQLScalarType | GraphQLEnumType):
        coerce = type_.coerce_input_value

        def read_leaf(value: Any) -> Any:
            coerced = _odd() if value is None else coerce(value)
            return _odd() if coerced is None or coerced is Undefined else coerced

        return read_leaf
    return _odd


def _odd(_value: object = None) -> Any:
    raise Odd


def arguments_of(place: Place) -> Arguments:
    """Makes the arguments of a field: once for all where no variable stands in them, else from the variables."""
    field, node = place.field, place.nodes[0]
    if not field.args and not node.arguments:
        return lambda _run: {}

    def general(run: Run) -> Mapping[str, Any]:
        return get_argument_values(field, node, run.variables)

    given = {argument.name.value: argument.value for argument in node.arguments or ()}
    variables = {name: value.name.value for name, value in given.items() if isinstance(value, VariableNode)}
    if any(argument.out_name for argument in field.args.values()):
        return general
    if variables.keys() == field.args.keys():

        def from_variables(run: Run) -> Mapping[str, Any]:
            coerced = run.variables.coerced
            values = {name: coerced.get(variable) for name, variable in variables.items()}
            return general(run) if any(value is None for value in values.values()) else values

        return from_variables
    if any(_has_variable(value) for value in given.values()):
        return general
    try:
        constant = get_argument_values(field, node, NO_VARIABLES)
    except GraphQLError:
        return general
    if not all(value is None or isinstance(value, str | int | float | Enum) for value in constant.values()):
        return general  # the resolver may change what it is given
    return lambda _run: constant


def _has_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(_has_variable(item) for item in value.values)
    if isinstance(value, ObjectValueNode):
        return any(_has_variable(field.value) for field in value.fields)
    return isinstance(value, VariableNode)
