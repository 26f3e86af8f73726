"""Field sets: the selections that @key, @requires, @provides and @fromContext carry, as plain immutable values.

A field set is a tuple of nodes, each a `SelectedField` or a `SelectedType` (an inline fragment). Arguments are kept as
canonical text (sorted by name), so two field sets that ask the same thing compare equal.

Specification: Apollo Federation, `FieldSet` scalar.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from graphql import GraphQLError, parse, print_ast
from graphql.language import (
    ArgumentNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from trifolio.errors import SupergraphError
from trifolio.work import Work

Arguments = tuple[tuple[str, str], ...]
"""Arguments sorted by name, each value in canonical GraphQL text."""


@dataclass(frozen=True, slots=True)
class SelectedField:
    """One field of a field set."""

    name: str
    arguments: Arguments = ()
    selection: "FieldSet" = ()
    """What is selected below; empty for leaves."""


@dataclass(frozen=True, slots=True)
class SelectedType:
    """`... on Type { }`, or a bare `... { }` where the type is None."""

    type_condition: str | None
    selection: "FieldSet"


FieldSet = tuple[SelectedField | SelectedType, ...]


UNITS_PER_VALUE: Final = 4
"""Work for printing a value, each of a list counted by itself."""


def canonical_arguments(nodes: Iterable[ArgumentNode] | None, work: Work | None = None) -> Arguments:
    """The arguments of a field as a value: `(b: 1, a: $x)` -> `(("a", "$x"), ("b", "1"))`; counted in `work`."""
    if not nodes:
        return ()
    return tuple(sorted((node.name.value, _value_text(node.value, work)) for node in nodes))


def _value_text(node: ValueNode, work: Work | None) -> str:
    """A value as the GraphQL library prints it, counting what is in it."""
    if work is not None:
        work.spend(UNITS_PER_VALUE)
    if isinstance(node, ListValueNode):
        return f"[{', '.join([_value_text(each, work) for each in node.values])}]"
    if isinstance(node, ObjectValueNode) and node.fields:
        fields = [f"{each.name.value}: {_value_text(each.value, work)}" for each in node.fields]
        return f"{{ {', '.join(fields)} }}"
    if isinstance(node, IntValueNode | FloatValueNode | EnumValueNode):
        return node.value
    if isinstance(node, VariableNode):
        return f"${node.name.value}"
    return print_ast(node)


@lru_cache(maxsize=4096)
def parse_field_set(text: str) -> FieldSet:
    """Parse the text of a field set, with or without its outer braces. Raises SupergraphError where it is malformed."""
    body = text.strip()
    if not body.startswith("{"):
        body = "{" + body + "}"
    try:
        document = parse(body, no_location=True)
    except GraphQLError as error:
        raise SupergraphError(f'The field set "{text}" cannot be parsed: {error.message}') from error
    operation = document.definitions[0]
    if len(document.definitions) != 1 or not isinstance(operation, OperationDefinitionNode):
        raise SupergraphError(f'"{text}" is not a field set.')
    return _from_ast(operation.selection_set, text)


def _from_ast(selection_set: SelectionSetNode | None, text: str) -> FieldSet:
    if selection_set is None:
        return ()
    nodes: list[SelectedField | SelectedType] = []
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            below = _from_ast(node.selection_set, text)
            nodes.append(SelectedField(node.name.value, canonical_arguments(node.arguments), below))
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition else None
            nodes.append(SelectedType(condition, _from_ast(node.selection_set, text)))
        else:
            raise SupergraphError(f'The field set "{text}" uses a named fragment, which a field set cannot.')
    return tuple(nodes)


def field_set_text(field_set: FieldSet) -> str:
    """The text of a field set in canonical form, without outer braces: `id org { id }`."""
    return " ".join(_node_text(node) for node in field_set)


def _node_text(node: SelectedField | SelectedType) -> str:
    if isinstance(node, SelectedType):
        head = f"... on {node.type_condition}" if node.type_condition else "..."
    else:
        arguments = ", ".join(f"{name}: {value}" for name, value in node.arguments)
        head = f"{node.name}({arguments})" if arguments else node.name
    return f"{head} {{ {field_set_text(node.selection)} }}" if node.selection else head
