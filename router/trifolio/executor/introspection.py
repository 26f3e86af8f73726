"""Answering `__schema` and `__type` from the API schema: the one part of an answer that no subgraph has a say in."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from graphql import GraphQLSchema, execute_sync, parse

from trifolio.errors import AnswerError, ClientText, ErrorCode
from trifolio.executor.merge import Json

RESULTS_MAX: Final = 16
"""Results that are kept: tools ask the same one or two operations again and again, and each takes tens of ms."""

Introspected = tuple[Json, tuple[AnswerError, ...]]
"""The fields by response key, and the errors with paths of their own."""


def introspect(operation: str, schema: GraphQLSchema, variables: Mapping[str, object]) -> Introspected:
    """The fields of `operation` as graphql-core answers them. The values are shared and stay unchanged."""
    data, errors = _execute(operation, schema, variables) if variables else _execute_constant(operation, schema)
    return dict(data), errors


@lru_cache(RESULTS_MAX)
def _execute_constant(operation: str, schema: GraphQLSchema) -> Introspected:
    return _execute(operation, schema, {})


def _execute(operation: str, schema: GraphQLSchema, variables: Mapping[str, object]) -> Introspected:
    result = execute_sync(schema, parse(operation, no_location=True), variable_values=dict(variables))
    errors = tuple(
        AnswerError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(error.message), path=tuple(error.path or ()))
        for error in result.errors or ()
    )
    return result.data or {}, errors
