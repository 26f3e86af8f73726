"""A request's variables: checked against the operation's definitions, with defaults in place.

Nearly all variables are texts, ids, numbers and booleans that are given and right. Those are recognized by their Python
type alone; whatever else comes goes the long way through graphql-core, which also knows what to say when it is wrong.

Specification: GraphQL, section 6.1.2 (coercing variable values).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLSchema,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    print_ast,
    visit,
)
from graphql.execution.values import get_variable_values

from trifolio.document import answer_error
from trifolio.errors import ClientText, ErrorCode, VariablesError
from trifolio.limits import Limits

_CONDITIONS: Final = frozenset({"skip", "include", "defer"})
_NONE: Final[Mapping[str, object]] = MappingProxyType({})
_PLAIN_TYPES: Final[Mapping[str, type]] = {"String": str, "ID": str, "Boolean": bool, "Int": int}
_INT_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class VariableDefinitions:
    """An operation's variable definitions, read once."""

    nodes: Sequence[VariableDefinitionNode]
    plain: tuple[tuple[str, type], ...] | None
    """Name and Python type of each, where all are of plain types; None where one is not."""


def read_definitions(nodes: Sequence[VariableDefinitionNode]) -> VariableDefinitions:
    """Look which definitions can be checked by the values' Python types.

    The definitions are copied: a node with its place in the text keeps the whole document and its tokens alive.
    """
    nodes = _without_places(nodes)
    plain = []
    for node in nodes:
        inner = node.type.type if isinstance(node.type, NonNullTypeNode) else node.type
        kind = _PLAIN_TYPES.get(inner.name.value) if isinstance(inner, NamedTypeNode) else None
        if kind is None:
            return VariableDefinitions(nodes, None)
        plain.append((node.variable.name.value, kind))
    return VariableDefinitions(nodes, tuple(plain))


def _without_places(nodes: Sequence[VariableDefinitionNode]) -> Sequence[VariableDefinitionNode]:
    if not nodes:
        return ()
    text = f"query ({', '.join(map(print_ast, nodes))}) {{ copied }}"
    [operation] = parse(text, no_location=True).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return operation.variable_definitions or ()


def check_conditions(names: Sequence[str], coerced: Mapping[str, object]) -> None:
    """Refuse null for a variable that @skip, @include or @defer asks: it may be nullable where it has a default.

    Raises VariablesError (GraphQL specification, section 6.4.1, CoerceArgumentValues).
    """
    for name in names:
        if coerced.get(name) is None:
            text = f'{ErrorCode.BAD_USER_INPUT.text} Variable "${name}" decides what is executed: it cannot be null.'
            raise VariablesError(ErrorCode.BAD_USER_INPUT, ClientText(text))


def nullable_conditions(document: DocumentNode, definitions: Sequence[VariableDefinitionNode]) -> tuple[str, ...]:
    """The operation's variables that can be null and decide a condition somewhere in the document."""
    nullable = {each.variable.name.value for each in definitions if not isinstance(each.type, NonNullTypeNode)}
    if not nullable:
        return ()
    found: set[str] = set()

    class Read(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            for argument in node.arguments or ():
                if node.name.value in _CONDITIONS and isinstance(argument.value, VariableNode):
                    found.add(argument.value.name.value)

    visit(document, Read())
    return tuple(sorted(found & nullable))


def coerce_variables(
    schema: GraphQLSchema, definitions: VariableDefinitions, given: Mapping[str, object] | None, limits: Limits
) -> Mapping[str, object]:
    """The variables with their defaults. Raises VariablesError with every problem."""
    if not definitions.nodes:
        return _NONE
    given = given or _NONE
    if definitions.plain is not None:
        coerced = _coerce_plain(definitions.plain, given)
        if coerced is not None:
            return coerced
    _check_values(given, limits)
    result = get_variable_values(schema, definitions.nodes, dict(given), max_errors=limits.validation_errors_max)
    if isinstance(result, list):
        code = ErrorCode.BAD_USER_INPUT
        raise VariablesError(code, all_errors=[answer_error(code, problem) for problem in result])
    return result.coerced


def _coerce_plain(plain: tuple[tuple[str, type], ...], given: Mapping[str, object]) -> Mapping[str, object] | None:
    """The values where each is given and of the right Python type; None where one needs the long way."""
    coerced = {}
    for name, kind in plain:
        value = given.get(name)
        if type(value) is not kind or value == "":  # the empty text is no ID
            return None
        if isinstance(value, str) and not value.isascii() and lone_surrogate(value):
            return None
        if kind is int and not -_INT_MAX <= value <= _INT_MAX:  # type: ignore[operator]  # its type was just compared
            return None
        coerced[name] = value
    return coerced


def lone_surrogate(text: str) -> str:
    """What is wrong with a text that has half a character, which no text in UTF-8 can hold; else empty."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"A string has a lone surrogate, \\u{ord(text[error.start]):04X}, which is half a character."
    return ""


def _check_values(given: Mapping[str, object], limits: Limits) -> None:
    """Refuse values that are nested too deep, or too many, or texts that cannot be sent; level by level, without
    recursion. Raises VariablesError."""
    level: list[object] = list(given.values())
    values = len(level)
    for _ in range(limits.variables_depth_max + 1):
        if values > limits.variables_values_max:
            raise _refusal(f"The variables have more than {limits.variables_values_max:,} values.")
        for each in level:
            if isinstance(each, str):
                _check_text(each)
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        values += sum(map(len, containers))
        level = []
        if values <= limits.variables_values_max:
            for container in containers:
                level += container.values() if isinstance(container, dict) else container
                for name in container if isinstance(container, dict) else ():
                    if isinstance(name, str):
                        _check_text(name)
    raise _refusal(f"A variable's value is nested more than {limits.variables_depth_max} levels deep.")


def _check_text(text: str) -> None:
    if not text.isascii() and (wrong := lone_surrogate(text)):
        raise _refusal(wrong)


def _refusal(text: str) -> VariablesError:
    return VariablesError(ErrorCode.BAD_USER_INPUT, ClientText(f"{ErrorCode.BAD_USER_INPUT.text} {text}"))
