"""Answering `__schema` and `__type` from the API schema: the one part of an answer that no subgraph has a say in."""

from collections.abc import Mapping

from graphql import GraphQLSchema, execute_sync, parse

from router.errors import AnswerError, ClientText, ErrorCode
from router.executor.merge import Json


def introspect(
    operation: str, schema: GraphQLSchema, variables: Mapping[str, object]
) -> tuple[Json, tuple[AnswerError, ...]]:
    """The fields of `operation` as graphql-core answers them, and its errors, which have paths of their own."""
    result = execute_sync(schema, parse(operation, no_location=True), variable_values=dict(variables))
    errors = tuple(
        AnswerError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(error.message), path=tuple(error.path or ()))
        for error in result.errors or ()
    )
    return dict(result.data or {}), errors
