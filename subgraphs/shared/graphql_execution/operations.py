"""The front door: which operations are compiled, and what is kept of them."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Any, cast

import strawberry
from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationType,
    ValidationRule,
    VariableNode,
    Visitor,
    create_source_event_stream,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql import ExecutionResult as GraphQLExecutionResult
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from strawberry.execution import optimized_is_awaitable
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, ParserCache, SchemaExtension, ValidationCache
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import ExecutionResult
from strawberry.types.base import StrawberryObjectDefinition

from subgraphs.shared.graphql_execution.fields import Execute
from subgraphs.shared.graphql_execution.run import SETTLED, Run
from subgraphs.shared.graphql_execution.selections import NotCompiled, Selections
from subgraphs.shared.graphql_execution.values import variable_reader

CACHED_BYTES_MAX = 33_554_432
"""What compiled operations may take together: some thousands of a router's."""
BYTES_PER_CHARACTER = 150
"""What an operation takes per character of its text, document and functions: measured, rounded up."""
BYTES_PER_OPERATION = 4_096
CONDITIONS_MAX = 4
"""Variables in @skip and @include: each combination of their values that occurs is compiled by itself."""

_HARMLESS: tuple[type[SchemaExtension], ...] = (AddValidationRules, MaxTokensLimiter, ParserCache, ValidationCache)
"""Extensions that have no say in execution; what they do before it is done here once per text."""


class CompiledOperations:
    """Executes operations on a Strawberry schema: compiled queries and events, by Strawberry whatever else there is.

    Args:
        schema: the schema; its resolvers see the same as under `schema.execute`.
        rules: validation rules beside GraphQL's own, those that the schema's extensions add.
        tokens_max: the largest document.
    """

    def __init__(
        self, schema: strawberry.Schema, *, rules: Sequence[type[ValidationRule]] = (), tokens_max: int | None = None
    ) -> None:
        self._schema = schema
        self._rules = [*specified_rules, *rules]
        self._tokens_max = tokens_max
        self._cached: OrderedDict[tuple[str, str | None], _Operation | None] = OrderedDict()
        self._cached_bytes = 0
        self._compiles = _leaves_execution_alone(schema)
        self._never_awaitable: frozenset[type] = SETTLED | _plain_classes(schema)

    async def execute(
        self, query: str, variables: dict[str, Any] | None, context: Any, operation_name: str | None
    ) -> ExecutionResult | GraphQLExecutionResult:
        """The result of one operation, as `schema.execute` has it; raises what that raises."""
        operation = self._operation(query, operation_name)
        if operation is not None and operation.kind is OperationType.QUERY:
            values = operation.read(variables or {})
            if isinstance(values, list):
                return self._result(None, values)
            execute = operation.compiled(values)
            if execute is not None:
                return await self._executed(execute, Run(operation, context, values))
        return await self._schema.execute(query, variables, context, operation_name=operation_name)

    async def subscribe(
        self, query: str, variables: dict[str, Any] | None, context: Any, operation_name: str | None
    ) -> AsyncGenerator[ExecutionResult | GraphQLExecutionResult, None]:
        """The results of one subscription, as `schema.subscribe` has them; raises what that raises.

        Compiled is what is executed for each event; what yields the events is found as ever.
        """
        operation = self._operation(query, operation_name)
        if operation is not None and operation.kind is OperationType.SUBSCRIPTION:
            values = operation.read(variables or {})
            if isinstance(values, list):
                yield self._result(None, values)
                return
            execute = operation.compiled(values)
            if execute is not None:
                async with aclosing(self._executed_events(execute, operation, context, values)) as results:
                    async for result in results:
                        yield result
                return
        slow: Any = await self._schema.subscribe(query, variables, context, operation_name=operation_name)
        async with aclosing(slow):
            async for result in slow:
                yield result

    def is_compiled(self, query: str, operation_name: str | None = None) -> bool:
        """Whether the text is one whose queries or events are answered by functions that were made for it."""
        operation = self._operation(query, operation_name)
        return operation is not None and any(execute is not None for execute in operation.variants.values())

    @property
    def cached_bytes(self) -> int:
        """What is kept takes about so much."""
        return self._cached_bytes

    async def _executed_events(
        self, execute: Execute, operation: "_Operation", context: Any, values: VariableValues
    ) -> AsyncGenerator[GraphQLExecutionResult, None]:
        try:
            found: Any = create_source_event_stream(Run(operation, context, values).executor)
            if optimized_is_awaitable(found):
                found = await found
            source: AsyncIterable[Any] | GraphQLExecutionResult = found
            if isinstance(source, GraphQLExecutionResult):
                yield self._result(None, source.errors or [])
                return
            async with aclosing(cast("AsyncGenerator[Any, None]", aiter(source))) as events:
                async for event in events:
                    yield await self._executed(execute, Run(operation, context, values), event)
        except Exception as error:  # noqa: BLE001  # whatever ends the events for a reason is the last result's error
            told = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
            yield self._result(None, [told])

    async def _executed(self, execute: Execute, run: Run, root: Any = None) -> GraphQLExecutionResult:
        try:
            data = execute(root, None, run)
            if data.__class__ is not dict:
                data = await data
        except GraphQLError as error:
            run.errors.add(error, None)
            data = None
        return self._result(data, run.errors.errors)

    def _result(self, data: dict[str, Any] | None, errors: list[GraphQLError]) -> GraphQLExecutionResult:
        if errors:
            self._schema.process_errors(errors)
        return GraphQLExecutionResult(data, errors or None)

    def _operation(self, query: str, operation_name: str | None) -> "_Operation | None":
        key = (query, operation_name)
        try:
            operation = self._cached[key]
        except KeyError:
            if not self._compiles:
                return None
            operation = self._cached[key] = self._read(query, operation_name)
            self._cached_bytes += _bytes_of(key)
            while self._cached_bytes > CACHED_BYTES_MAX:
                oldest, _ = self._cached.popitem(last=False)
                self._cached_bytes -= _bytes_of(oldest)
        else:
            self._cached.move_to_end(key)
        return operation

    def _read(self, query: str, operation_name: str | None) -> "_Operation | None":
        """The operation, or None for one that Strawberry executes, or refuses."""
        try:
            document = parse(query, max_tokens=self._tokens_max)
            found = get_operation_ast(document, operation_name)
            if found is None or found.operation is OperationType.MUTATION or found.directives:
                return None
            conditions = _conditions(document)
            if conditions is None or validate(self._schema._schema, document, self._rules):
                return None
        except (GraphQLError, RecursionError):
            return None
        return _Operation(self._schema, document, operation_name, conditions, self._never_awaitable)


class _Operation:
    """A query or subscription, parsed and validated, and what was made of it, by the values of its conditions."""

    def __init__(
        self,
        schema: strawberry.Schema,
        document: DocumentNode,
        operation_name: str | None,
        conditions: Sequence[str],
        never_awaitable: frozenset[type],
    ) -> None:
        operation = get_operation_ast(document, operation_name)
        assert operation is not None, "the caller has found it"
        self.schema = schema._schema
        self.operation = operation
        self.kind = operation.operation
        self.definitions = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self.fragments = {name: FragmentDetails(each) for name, each in self.definitions.items()}
        self.read = variable_reader(self.schema, operation)
        self.variants: dict[tuple[bool, ...], Execute | None] = {}
        self._conditions = conditions
        self._never_awaitable = never_awaitable

    def compiled(self, variables: VariableValues) -> Execute | None:
        """What executes the operation under these variables, or None where that is for Strawberry."""
        held = tuple(variables.coerced.get(name) for name in self._conditions)
        if not all(isinstance(value, bool) for value in held):
            return None
        key = cast("tuple[bool, ...]", held)
        if key not in self.variants:
            try:
                self.variants[key] = Selections(self, variables, self._never_awaitable).root()
            except (GraphQLError, NotCompiled, RecursionError, SyntaxError):
                self.variants[key] = None
        return self.variants[key]


def _bytes_of(key: tuple[str, str | None]) -> int:
    return BYTES_PER_OPERATION + BYTES_PER_CHARACTER * len(key[0])


class _Directives(Visitor):
    """Finds the variables that decide what is selected, and directives that nobody here knows."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()
        self.are_known = True

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        """Looks at one."""
        if node.name.value not in ("skip", "include"):
            self.are_known = False
        self.variables.update(
            argument.value.name.value for argument in node.arguments or () if isinstance(argument.value, VariableNode)
        )


def _conditions(document: DocumentNode) -> Sequence[str] | None:
    """The variables that decide what is selected; None where something else may, or there are too many."""
    found = _Directives()
    visit(document, found)
    return sorted(found.variables) if found.are_known and len(found.variables) <= CONDITIONS_MAX else None


def _leaves_execution_alone(schema: strawberry.Schema) -> bool:
    if schema.execution_context_class is not StrawberryGraphQLCoreExecutionContext:
        return False
    return all(type(extension) in _HARMLESS for extension in schema.get_extensions())


def _plain_classes(schema: strawberry.Schema) -> frozenset[type]:
    """The classes of the schema's types, as far as they are nothing that can be awaited."""
    definitions = (each.definition for each in schema.schema_converter.type_map.values())
    origins = [each.origin for each in definitions if isinstance(each, StrawberryObjectDefinition)]
    return frozenset(origin for origin in origins if not hasattr(origin, "__await__"))
