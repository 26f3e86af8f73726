"""Subgraphs in the same process: a schema is executed where the router stands, with no HTTP between them.

Only a router in Python can do this for subgraphs in Python. Being the same process it needs no secret; what it hands on
is the request itself, so that resolvers find the caller where they look for it: a schema's context is built from the
`SubgraphRequest` by `context_factory`, and is the request where there is none.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final, Protocol

from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema, execute, parse, validate

from trifolio.errors import ErrorCode, InternalText, SubgraphError
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse

ContextFactory = Callable[[SubgraphRequest], Any]
"""Makes the context value that resolvers see; may be a coroutine function."""


class ExecutableSchema(Protocol):
    """A Strawberry schema, or whatever executes operations the same way."""

    def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
    ) -> Awaitable[Any]:
        """Execute one operation and return an object with `data` and `errors`."""


class LocalTransport:
    """Executes requests on a schema in memory: a graphql-core `GraphQLSchema`, or a Strawberry schema."""

    def __init__(
        self,
        schema: GraphQLSchema | ExecutableSchema,
        *,
        root_value: object = None,
        context_factory: ContextFactory | None = None,
        timeout_ms: int = 30_000,
    ) -> None:
        self._execute = _execute_core(schema) if isinstance(schema, GraphQLSchema) else _execute_schema(schema)
        self._root_value = root_value
        self._context_factory = context_factory
        self._timeout_ms = timeout_ms

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Execute the request's operation."""
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                context: Any = request
                if self._context_factory is not None:
                    context = self._context_factory(request)
                    if inspect.isawaitable(context):
                        context = await context
                result = await self._execute(request, context, self._root_value)
        except TimeoutError as error:
            raise SubgraphError(
                ErrorCode.SUBGRAPH_TIMEOUT, request.subgraph, internal=InternalText(f"{self._timeout_ms} ms are over")
            ) from error
        payload: dict[str, object] = {"data": result.data}
        if result.errors:
            payload["errors"] = [error.formatted for error in result.errors]
        return SubgraphResponse(payload=payload)

    async def close(self) -> None:
        """Nothing is held."""


_Execute = Callable[[SubgraphRequest, Any, Any], Awaitable[Any]]


DOCUMENTS_MAX: Final = 1_000
"""Parsed and validated documents that are kept per schema: as many as the engine keeps plans."""


def _execute_core(schema: GraphQLSchema) -> _Execute:
    @lru_cache(DOCUMENTS_MAX)
    def read(operation: str) -> DocumentNode | list[GraphQLError]:
        """The document, or what is wrong with it."""
        try:
            document = parse(operation)
        except GraphQLError as error:
            return [error]
        return validate(schema, document) or document

    async def execute_request(request: SubgraphRequest, context: Any, root_value: Any) -> ExecutionResult:
        document = read(request.operation)
        if isinstance(document, list):
            return ExecutionResult(data=None, errors=document)
        result = execute(
            schema,
            document,
            root_value=root_value,
            context_value=context,
            variable_values=dict(request.variables),
        )
        return await result if inspect.isawaitable(result) else result

    return execute_request


def _execute_schema(schema: ExecutableSchema) -> _Execute:
    async def execute_request(request: SubgraphRequest, context: Any, root_value: Any) -> Any:
        return await schema.execute(
            request.operation,
            variable_values=dict(request.variables),
            context_value=context,
            root_value=root_value,
        )

    return execute_request
