"""Subgraphs in the same process: a schema is executed where the router stands, with no HTTP between them.

Only a router in Python can do this for subgraphs in Python. Being the same process it needs no secret; what it hands on
is the request itself, so that resolvers find the caller where they look for it: a schema's context is built from the
`SubgraphRequest` by `context_factory`, and is a `LocalContext` where there is none.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Final, Protocol, Self

from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema, execute, parse, subscribe, validate
from graphql.execution.executor import Executor
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental

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


class LocalHeaders(Mapping[str, str]):
    """A request's headers, whose names are found in any case."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        """`headers` have names in lower case."""
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        # Their values can be tokens.
        return f"{type(self).__name__}({', '.join(self._headers)})"


_REQUEST_FIELDS: Final = tuple(each.name for each in fields(SubgraphRequest))


class MissingInContextError(KeyError, AttributeError):
    """Something that a framework's own view puts into its context, and that there is not in memory."""

    def __str__(self) -> str:
        # KeyError shows its message in quotes, as if it were a key.
        return str(self.args[0])


def _missing(name: str) -> MissingInContextError:
    return MissingInContextError(
        f"a subgraph in memory has no {name!r} in its context unless it is put there: "
        "LocalTransport(schema, context_factory=...) makes the context that resolvers find"
    )


class LocalContext(SubgraphRequest):
    """What resolvers see as their context where no `context_factory` makes another: the request, in every way.

    It is the `SubgraphRequest`, with its fields as attributes. And it is used as what the views of Strawberry and
    Ariadne make, a dictionary in which `"request"` is the request: a resolver that reads
    `info.context["request"].headers`, or puts a loader of its own into the context, does here what it does behind HTTP.
    Whatever else a view has (a response, a user, a session) cannot be known here, and asking for it says so.
    """

    __slots__ = ("_items",)

    def __init__(self, *args: Any, **values: Any) -> None:
        """The fields are those of a `SubgraphRequest`."""
        super().__init__(*args, **values)
        self._items: dict[str, Any] = {}

    @classmethod
    def of(cls, request: SubgraphRequest) -> Self:
        """The context of a request."""
        values = {name: getattr(request, name) for name in _REQUEST_FIELDS}
        return cls(**{**values, "headers": LocalHeaders(request.headers)})

    @property
    def request(self) -> Self:
        """This very request, for resolvers that read `info.context.request`, as under Strawberry's view for Django."""
        return self

    @property
    def cookies(self) -> dict[str, str]:
        """The client's cookies by name."""
        cookies = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, separator, value = pair.strip().partition("=")
            if separator:
                cookies[name] = value.strip('"')
        return cookies

    def __getitem__(self, key: str) -> Any:
        """`context["request"]` is this very request, any other key what a resolver has put there.

        Raises KeyError that says how to have what there is not.
        """
        if key in self._items:
            return self._items[key]
        if key == "request":
            return self
        raise _missing(key)

    def __setitem__(self, key: str, value: Any) -> None:
        """Keep something for the resolvers that come later in this request."""
        self._items[key] = value

    def __getattr__(self, name: str) -> Any:
        """Raises AttributeError that says how to have what there is not."""
        if name.startswith("_"):
            raise AttributeError(name)  # a protocol of Python's, or of a copy that is not made yet
        raise _missing(name)

    def get(self, key: str, default: Any = None) -> Any:
        """What `context[key]` is, or the default where there is none."""
        return self if key == "request" and key not in self._items else self._items.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What `context[key]` is, or the default, which it is from now on."""
        if key not in self:
            self[key] = default
        return self[key]

    def __contains__(self, key: object) -> bool:
        return key == "request" or key in self._items


def is_executable(schema: object) -> bool:
    """Whether a schema can be executed in memory: a text of SDL cannot."""
    return isinstance(schema, GraphQLSchema) or callable(getattr(schema, "execute", None))


class LocalTransport:
    """Executes requests on a schema in memory: a graphql-core `GraphQLSchema`, or a Strawberry schema."""

    def __init__(
        self,
        schema: GraphQLSchema | ExecutableSchema,
        *,
        root_value: object = None,
        context_factory: ContextFactory | None = None,
        timeout_ms: int = 30_000,
        forward_headers: Sequence[str] | None = None,
    ) -> None:
        """`forward_headers` are taken over from the client's; without it, all of them are.

        Raises TypeError for what is no schema, such as its text.
        """
        if not is_executable(schema):
            raise TypeError(f"a subgraph in memory is a schema object that executes, not a {type(schema).__name__}")
        ways = _execute_core(schema) if isinstance(schema, GraphQLSchema) else _execute_schema(schema)
        self._execute, self._subscribe = ways
        self._root_value = root_value
        self._context_factory = context_factory
        self._timeout_ms = timeout_ms
        self._forward_headers = None if forward_headers is None else frozenset(map(str.lower, forward_headers))

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Execute the request's operation."""
        request = _here(request, self._forward_headers)
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                result = await self._execute(request, await self._context(request), self._root_value)
        except TimeoutError as error:
            raise self._too_late(request) from error
        return _response(result)

    async def subscribe(self, request: SubgraphRequest, /) -> AsyncIterator[SubgraphResponse]:
        """Execute the request's subscription; what refuses it is its only event."""
        request = _here(request, self._forward_headers)
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                events = await self._subscribe(request, await self._context(request), self._root_value)
        except TimeoutError as error:
            raise self._too_late(request) from error
        if not isinstance(events, AsyncIterator):
            yield _response(events)
            return
        try:
            async for event in events:
                yield _response(event)
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    async def close(self) -> None:
        """Nothing is held."""

    async def _context(self, request: SubgraphRequest) -> Any:
        if self._context_factory is None:
            return LocalContext.of(request)
        context = self._context_factory(request)
        return await context if inspect.isawaitable(context) else context

    def _too_late(self, request: SubgraphRequest) -> SubgraphError:
        internal = InternalText(f"{self._timeout_ms} ms are over")
        return SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, request.subgraph, internal=internal)


def _here(request: SubgraphRequest, forwarded: AbstractSet[str] | None) -> SubgraphRequest:
    """The request with the client's headers that it may have, and a plug-in's; one for elsewhere cannot be had."""
    if request.url is not None:
        internal = InternalText("a subgraph in memory has no URL to send a request to")
        raise SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, request.subgraph, internal=internal)
    if forwarded is None and not request.own_headers:
        return request
    headers = {name: each for name, each in request.headers.items() if forwarded is None or name in forwarded}
    return replace(request, headers={**headers, **(request.own_headers or {})})


def _response(result: Any) -> SubgraphResponse:
    payload: dict[str, object] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in result.errors]
    return SubgraphResponse(payload=payload)


_Execute = Callable[[SubgraphRequest, Any, Any], Awaitable[Any]]
_Ways = tuple[_Execute, _Execute]
"""How a schema executes an operation, and how it subscribes to one."""


DOCUMENTS_MAX: Final = 1_000
"""Parsed and validated documents that are kept per schema: as many as the engine keeps plans."""


def _execute_core(schema: GraphQLSchema) -> _Ways:
    executor_class = _forgetful(ExecutorThrowingOnIncremental)

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

    async def subscribe_to(request: SubgraphRequest, context: Any, root_value: Any) -> Any:
        document = read(request.operation)
        if isinstance(document, list):
            return ExecutionResult(data=None, errors=document)
        events = subscribe(
            schema,
            document,
            root_value=root_value,
            context_value=context,
            variable_values=dict(request.variables),
            executor_class=executor_class,
        )
        return await events if inspect.isawaitable(events) else events

    return execute_request, subscribe_to


def _forgetful(executor_class: Any) -> Any:
    """Executors that keep nothing of an event when it is over.

    graphql-core hands what it has found out about the selections of one event on to the next, which makes lists of its
    own and finds nothing there: a subscription would hold a kilobyte more with every event.
    """

    class Forgetful(executor_class):  # type: ignore[misc]  # a class that is not known before
        def build_per_event_executor(self, payload: Any) -> Any:
            executor = super().build_per_event_executor(payload)
            executor._relevant_sub_fields = {}
            return executor

    return Forgetful


def _subscribable(schema: ExecutableSchema) -> ExecutableSchema:
    """The schema with such executors, where it is one of those that say which they take: Strawberry's."""
    executor_class = getattr(schema, "execution_context_class", None)
    if not (isinstance(executor_class, type) and issubclass(executor_class, Executor)):
        return schema
    own: Any = copy(schema)
    own.execution_context_class = _forgetful(executor_class)
    subscribable: ExecutableSchema = own
    return subscribable


def _execute_schema(schema: ExecutableSchema) -> _Ways:
    subscribable = _subscribable(schema)

    async def execute_request(request: SubgraphRequest, context: Any, root_value: Any) -> Any:
        return await schema.execute(
            request.operation,
            variable_values=dict(request.variables),
            context_value=context,
            root_value=root_value,
        )

    async def subscribe_to(request: SubgraphRequest, context: Any, root_value: Any) -> Any:
        ask: Callable[..., Awaitable[Any]] | None = getattr(subscribable, "subscribe", None)
        if ask is None:
            internal = InternalText(f"a {type(schema).__name__} cannot be subscribed to")
            raise SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, request.subgraph, internal=internal)
        return await ask(
            request.operation,
            variable_values=dict(request.variables),
            context_value=context,
            root_value=root_value,
        )

    return execute_request, subscribe_to
