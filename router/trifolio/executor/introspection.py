"""Answering `__schema` and `__type` from the API schema: the one part of an answer that no subgraph has a say in.

What it takes cannot be told from the operation, as it grows with the schema. So every field is counted as it is
answered, and what is asked several times under other keys is answered once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLInputObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionNode,
    execute_sync,
    parse,
    print_ast,
)

from trifolio.errors import AnswerError, ClientText, ErrorCode
from trifolio.executor.merge import Json
from trifolio.work import Work, WorkExceeded

FIELD_UNITS: Final = 12
"""What answering one field takes."""

_FIELD_BYTES: Final = 120
"""What one field of a result takes in memory."""


@dataclass(frozen=True, slots=True)
class Introspected:
    """What the schema says. The values are shared and stay unchanged."""

    fields: Json
    """By response key."""
    errors: tuple[AnswerError, ...] = ()
    """With paths of their own."""
    values: int = 0
    """How many values the answer has of it, those counted again that stand under several keys."""
    held_bytes: int = 0
    """What it takes in memory, by estimate."""


NOTHING: Final = Introspected({})
"""For an operation that asks nothing of the schema."""


def introspect(operation: str, schema: GraphQLSchema, variables: Mapping[str, object], work: Work) -> Introspected:
    """The fields of `operation` as graphql-core answers them. Raises WorkExceeded where that takes too much."""
    document, keys = _with_each_once(parse(operation, no_location=True))
    counts: dict[str, int] = {}
    counting = _counting(work, counts)
    try:
        result = execute_sync(schema, document, variable_values=dict(variables), middleware=[counting])
    except _EnoughError as end:
        raise WorkExceeded from end
    errors = tuple(
        AnswerError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(error.message), path=tuple(error.path or ()))
        for error in result.errors or ()
    )
    data = result.data or {}
    fields = {key: data[first] for key, first in keys.items() if first in data} or dict(data)
    values = sum(counts.get(keys.get(key, key), 0) for key in fields)
    return Introspected(fields, errors, values, sum(counts.values()) * _FIELD_BYTES)


class _EnoughError(BaseException):
    """Ends an execution, which makes a null of every other exception and goes on."""


def _counting(work: Work, counts: dict[str, int]) -> Callable[..., Any]:
    """A resolver around the others that counts what they answer, by the root's response key."""

    def count(resolve: Callable[..., Any], source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        try:
            work.spend(FIELD_UNITS)
        except WorkExceeded as end:
            raise _EnoughError from end
        path = info.path
        while path.prev is not None:
            path = path.prev
        key = str(path.key)
        counts[key] = counts.get(key, 0) + 1
        if info.field_name == "isOneOf" and info.parent_type.name == "__Type":
            return _is_one_of(source)
        return resolve(source, info, **arguments)

    return count


def _is_one_of(of: object) -> bool | None:
    """What graphql-core says of a type, and what its own resolver says no more once a Strawberry schema is made.

    Strawberry puts its own resolver into graphql-core's `__Type`, which all schemas of a process share, and which then
    answers false of every type that is not Strawberry's.
    """
    return of.is_one_of if isinstance(of, GraphQLInputObjectType) else None


def _with_each_once(document: DocumentNode) -> tuple[DocumentNode, dict[str, str]]:
    """The document without root fields that ask what another asks; by response key, under which key it is answered.

    Where a root field stands in a fragment, nothing is changed.
    """
    definitions = list(document.definitions)
    index = next(number for number, node in enumerate(definitions) if isinstance(node, OperationDefinitionNode))
    operation = definitions[index]
    assert isinstance(operation, OperationDefinitionNode)
    fields = [node for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    if len(fields) < len(operation.selection_set.selections):
        return document, {}
    by_key: dict[str, list[FieldNode]] = {}
    for node in fields:
        by_key.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
    first: dict[str, str] = {}
    keys: dict[str, str] = {}
    kept: list[SelectionNode] = []
    for key, nodes in by_key.items():
        asked = print_ast(replace(nodes[0], alias=None)) if len(nodes) == 1 else key
        keys[key] = first.setdefault(asked, key)
        if keys[key] == key:
            kept += nodes
    definitions[index] = replace(operation, selection_set=replace(operation.selection_set, selections=tuple(kept)))
    return replace(document, definitions=tuple(definitions)), keys
