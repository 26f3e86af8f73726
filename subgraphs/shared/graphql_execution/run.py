"""One execution of a compiled operation: what its fields share, how they fail, and how they wait."""

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Protocol

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
    located_error,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails
from graphql.execution.executor import CollectedErrors
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import (
    StrawberryGraphQLCoreExecutionContext,
    _OperationContextAwareGraphQLResolveInfo,
)

SETTLED: frozenset[type] = frozenset({dict, list, str, int, float, bool, type(None)})
"""What completed values are that need no waiting for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A field where it is selected, or the items of its list: what its errors and its resolver's `info` need."""

    name: str
    """The field's name in the schema."""
    key: str
    """Its name in the response."""
    parent: GraphQLObjectType
    field: GraphQLField
    type: GraphQLOutputType
    """What stands here: the field's type, or that of the list's items."""
    is_non_null: bool
    details: list[FieldDetails]
    nodes: list[FieldNode]


class Source(Protocol):
    """What is the same in every execution of an operation."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    definitions: dict[str, FragmentDefinitionNode]


class Run:
    """One execution. graphql-core's executor stands behind it for what compiled code does not do, and is made then."""

    __slots__ = ("_executor", "_helpers", "context", "errors", "source", "variables")

    def __init__(self, source: Source, context: Any, variables: VariableValues) -> None:
        self.source = source
        self.context = context
        self.variables = variables
        self.errors = CollectedErrors()
        self._executor: StrawberryGraphQLCoreExecutionContext | None = None
        self._helpers = GraphQLResolveInfoHelpers(self._gather, self._track)

    @property
    def executor(self) -> StrawberryGraphQLCoreExecutionContext:
        """The interpreter, which shares this execution's errors."""
        if self._executor is None:
            source = self.source
            self._executor = StrawberryGraphQLCoreExecutionContext(
                source.schema,
                source.definitions,
                source.fragments,
                None,
                self.context,
                source.operation,
                self.variables,
                default_field_resolver,
                default_type_resolver,
                default_field_resolver,
                is_awaitable=optimized_is_awaitable,
            )
            self._executor.collected_errors = self.errors
        return self._executor

    def _gather(self, awaitables: Sequence[Awaitable[Any]]) -> Awaitable[list[Any]]:
        return self.executor.gather_async_work(awaitables)

    def _track(self, values: Sequence[Any]) -> None:
        self.executor.track_async_work(values)

    def info(self, place: Place, path: Path) -> Any:
        """What a resolver is told of where it is called, as Strawberry's execution tells it."""
        source = self.source
        return _OperationContextAwareGraphQLResolveInfo(
            place.name,
            place.nodes,
            place.field.type,
            place.parent,
            path,
            source.schema,
            source.definitions,
            None,
            source.operation,
            self.variables.coerced,
            self.context,
            optimized_is_awaitable,
            None,
            self._helpers,
            None,  # type: ignore[arg-type]  # as Strawberry's own, where a request has no extensions
        )

    def fail(self, error: Exception, place: Place, path: Path) -> None:
        """Notes what failed at a place, which is null then; raises where it may not be."""
        located = located_error(error, place.nodes, path.as_list())
        if place.is_non_null:
            raise located
        self.errors.add(located, path)

    def interpret_fields(
        self, parent: GraphQLObjectType, grouped: dict[str, list[FieldDetails]], value: Any, path: Path | None
    ) -> Any:
        """The fields of one object, by the interpreter."""
        return self.executor.execute_fields(parent, value, path, grouped, None)

    def interpret(self, type_: GraphQLOutputType, place: Place, value: Any, path: Path) -> Any:
        """One value, by the interpreter."""
        return self.executor.complete_value(type_, place.details, self.info(place, path), path, value, None)

    def settle(self, awaitables: list[Awaitable[Any]]) -> None:
        """Lets what was begun come to an end that nobody waits for, as an error has nulled what it is for."""
        if awaitables:
            self.executor.settle_in_background(awaitables)


async def settled(values: Any, keys: Sequence[Any]) -> Any:
    """The dictionary or list of values, with those under `keys` awaited, at the same time.

    Most coroutines of ours never wait: their statement runs in place. So each is begun here and now, and only once one
    does wait, the others get tasks of their own. A failure is raised when all have ended: what is read has no effects.
    """
    if len(keys) == 1:
        values[keys[0]] = await values[keys[0]]
        return values
    failure: Exception | None = None
    for position, key in enumerate(keys):
        work = values[key]
        try:
            if not isinstance(work, CoroutineType):
                values[key] = await work
                continue
            awaited = work.send(None)
        except StopIteration as end:
            values[key] = end.value
        except Exception as error:  # noqa: BLE001  # it is raised below
            failure = failure or error
        else:
            others = keys[position + 1 :]
            results = await _together(_Begun(work, awaited), [values[other] for other in others])
            for each, result in zip((key, *others), results, strict=True):
                if isinstance(result, Exception):
                    failure = failure or result
                values[each] = result
            break
    if failure is not None:
        raise failure
    return values


async def _together(first: "_Begun", others: Sequence[Awaitable[Any]]) -> list[Any]:
    """The results, or exceptions, of a coroutine that was begun in this task, and of others in tasks of their own."""
    tasks = [asyncio.ensure_future(each) for each in others]
    try:
        try:
            result = await first
        except Exception as error:  # noqa: BLE001  # the caller raises it
            result = error
        return [result, *await asyncio.gather(*tasks, return_exceptions=True)]
    except BaseException:
        for task in tasks:
            task.cancel()
        raise


class _Begun:
    """A coroutine that waits for something, to be awaited in the task that has begun it."""

    __slots__ = ("_awaited", "_work")

    def __init__(self, work: "CoroutineType[Any, Any, Any]", awaited: Any) -> None:
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001  # it is the coroutine's
                    awaited = self._work.throw(error)
                else:
                    awaited = self._work.send(sent)
        except StopIteration as end:
            return end.value
