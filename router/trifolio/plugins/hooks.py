"""Running the hooks: which plug-ins have which, in which order, and what becomes of one that fails.

A hook that nobody overrides does not exist here, so that the engine pays one comparison for all that is not used.
Whatever a hook raises is one of three things: a refusal that the plug-in means (`Refused`, or another `RouterError`),
the end of the caller (cancellation), or a bug of the plug-in, which is logged with the request's id, the plug-in and
the hook, and becomes the router's own failure. So does a hook that is not done in time. What a hook returns, and what
it leaves in its context, is checked, as plug-ins come without types.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, TypeVar

from trifolio.errors import (
    AnswerError,
    ConfigError,
    ConfigurationError,
    InternalError,
    InternalText,
    Refused,
    RouterError,
    SubgraphError,
)
from trifolio.executor.fetch import Around, Send
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits
from trifolio.parts import Later, Part, Parts
from trifolio.plugins.contexts import (
    FetchContext,
    OperationContext,
    RequestContext,
    ResponseContext,
    check_extensions,
    check_header,
    check_status,
)
from trifolio.plugins.plugin import Plugin, SendFetch
from trifolio.response import Events, Response

HOOKS: Final = ("on_start", "on_stop", "on_request", "on_operation", "on_fetch", "on_response")

_log: Final = logging.getLogger("trifolio.error")
_Result = TypeVar("_Result")
_Hook = tuple[str, Callable[..., Awaitable[Any]]]
"""The plug-in's name and its method."""


@dataclass(slots=True)
class _Life:
    """One plug-in from start to stop."""

    name: str
    on_start: Callable[[], Awaitable[Any]] | None
    on_stop: Callable[[], Awaitable[Any]] | None
    is_open: bool
    """Whether it holds what it opened, or may have done so without `on_start`."""


class Hooks:
    """The hooks of a router's plug-ins."""

    def __init__(
        self, plugins: Sequence[object], limits: Limits, fetch_timeouts_ms: Mapping[str, int] | None = None
    ) -> None:
        """`fetch_timeouts_ms` are those of subgraphs that have one of their own.

        Raises ConfigError for an object that is no plug-in: without a hook, or with one that cannot be awaited.
        """
        self._limits = limits
        self._fetch_timeouts_ms = fetch_timeouts_ms or {}
        by_name: dict[str, list[_Hook]] = {name: [] for name in HOOKS}
        self._lives: list[_Life] = []
        for plugin in plugins:
            own, name = hooks_of(plugin), _name_of(plugin)
            for hook, method in own.items():
                by_name[hook].append((name, method))
            on_start = own.get("on_start")
            self._lives.append(_Life(name, on_start, own.get("on_stop"), is_open=on_start is None))
        self._request = by_name["on_request"]
        self._operation = by_name["on_operation"]
        self._fetch = by_name["on_fetch"]
        self._response = by_name["on_response"][::-1]
        self._starting = asyncio.Lock()
        self._opening = ""
        """The plug-in that is started."""
        self._is_started = not by_name["on_start"]

    @property
    def sees_operations(self) -> bool:
        """Whether anybody wants to know what an operation selects."""
        return bool(self._operation)

    # ---- the life of the process ----

    async def start(self) -> None:
        """Let every plug-in open what it needs, once. Raises ConfigError where one cannot; it is asked again next time,
        those that could are not."""
        if self._is_started:
            return
        async with self._starting:
            for life in self._lives:
                if life.on_start is not None and not life.is_open:
                    self._opening = life.name
                    await self._open(life.name, life.on_start)
                    life.is_open = True
            self._is_started = True

    async def start_for(self, request: RequestContext, deadline: float) -> None:
        """The same at the first request. Raises the router's own failure where one cannot."""
        if self._is_started:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self.start()
        except (ConfigError, TimeoutError) as error:
            raise _failure(self._opening, "on_start", request, error) from error

    async def _open(self, name: str, on_start: Callable[[], Awaitable[Any]]) -> None:
        timeout_ms = self._limits.plugin_start_timeout_ms
        clock = asyncio.timeout(timeout_ms / 1000)
        try:
            async with clock:
                await on_start()
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled(error):
                raise
            if isinstance(error, TimeoutError) and clock.expired():
                raise ConfigError(f"the plug-in {name} did not start within {timeout_ms} ms") from error
            raise ConfigError(f"the plug-in {name} does not start: {described(error)}") from error

    async def stop(self) -> None:
        """Let every plug-in close what it opened, once; one that fails does not keep the others from it."""
        for life in reversed(self._lives):
            if not life.is_open:
                continue
            life.is_open = False
            if life.on_stop is None:
                continue
            try:
                async with asyncio.timeout(self._limits.shutdown_timeout_ms / 1000):
                    await life.on_stop()
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled(error):
                    raise
                fields = {"plugin": life.name, "hook": "on_stop"}
                _log.error("a plug-in failed", exc_info=error, extra={"fields": fields})

    # ---- one request; the loop's time `deadline` is when it has to be done ----

    async def on_request(self, request: RequestContext, deadline: float) -> Response | None:
        """The response of the first plug-in that has one. Raises RouterError."""
        for name, hook in self._request:
            known = dict(request.headers)
            call = _Call(name, "on_request", request)
            response = await call.within(deadline, hook, request)
            call.check(request.check, known)
            if response is not None:
                checked = call.returned(response, Response)
                call.check(_check_response, checked)
                return checked
        return None

    async def on_operation(
        self, operation: OperationContext, deadline: float, has_field: Callable[[str], bool]
    ) -> None:
        """Show the operation to every plug-in; `has_field` says of a name whether it is a field. Raises RouterError."""
        request, known_labels = operation.request, operation.known_labels
        known_policies = frozenset(operation.policies)
        for name, hook in self._operation:
            known = dict(request.headers)
            call = _Call(name, "on_operation", request)
            call.returned(await call.within(deadline, hook, operation), type(None))
            call.check(request.check, known)
            call.check(operation.check, known_labels, known_policies, has_field)

    @property
    def sees_fetches(self) -> bool:
        """Whether anybody stands around fetches."""
        return bool(self._fetch)

    @property
    def sees_responses(self) -> bool:
        """Whether anybody has a say in what is answered."""
        return bool(self._response)

    def around_fetches(self, request: RequestContext, deadline: float) -> Around | None:
        """What stands between the executor and the transports for one request; None where nothing does."""
        if not self._fetch:
            return None

        async def around(asked: SubgraphRequest, send: Send) -> SubgraphResponse:
            fetch = FetchContext(request, asked.subgraph, asked.kind, asked.operation, asked.variables)

            async def send_on(fetch: FetchContext) -> SubgraphResponse:
                if not isinstance(fetch, FetchContext):
                    raise TypeError(f"a FetchContext is sent, not a {type(fetch).__name__}")
                fetch.check()
                changed = replace(
                    asked,
                    operation=fetch.operation,
                    variables=fetch.variables,
                    headers=request.headers,
                    context=request.context,
                    own_headers={name.lower(): value for name, value in fetch.headers.items()} or None,
                    url=fetch.url,
                )
                return await send(changed)

            through: SendFetch = send_on
            own_s = self._fetch_timeouts_ms.get(asked.subgraph, self._limits.fetch_timeout_ms) / 1000
            for name, hook in reversed(self._fetch):
                through = _wrapped(_Call(name, "on_fetch", request), hook, through, deadline, own_s)
            return await through(fetch)

        return around

    async def on_response(self, request: RequestContext, response: Response, deadline: float) -> Response:
        """The response as the plug-ins leave it. Where one fails or refuses, that is the response which the next ones
        are shown, and nothing is left of the other."""
        if not self._response:
            return response
        context = ResponseContext(
            request,
            response.data,
            response.errors,
            response.refusal,
            dict(response.extensions or {}),
            has_next=response.later is not None or response.events is not None,
            _status=response.status,
            _headers=list(response.headers),
        )
        for name, hook in self._response:
            try:
                await self._show(name, hook, context, deadline)
            except RouterError as failure:
                await _close(response)
                response = Response(None, failure.errors(), failure)
                context = ResponseContext(request, None, response.errors, failure, _headers=list(failure.headers))
                deadline = max(deadline, self._grace())
            except asyncio.CancelledError:
                await _close(response)
                raise
        later = None if response.later is None else _LaterThroughHooks(self, request, response.later)
        events = None if response.events is None else _EventsThroughHooks(self, request, response.events)
        return replace(
            response,
            extensions=context.extensions or None,
            status=context.status,
            headers=context.headers,
            later=later,
            events=events,
        )

    async def on_event(self, request: RequestContext, response: Response) -> Response:
        """The answer to an event as the plug-ins leave it; where one fails, that is the event's answer."""
        refusal = response.refusal
        context = self._context_of_event(request, response, refusal)
        deadline = self._grace()
        for name, hook in self._response:
            try:
                await self._show(name, hook, context, deadline)
            except RouterError as failure:
                response = Response(None, failure.errors())
                context = self._context_of_event(request, response, refusal)
                deadline = self._grace()
        return replace(response, extensions=context.extensions or None, refusal=refusal)

    def _context_of_event(
        self, request: RequestContext, response: Response, refusal: RouterError | None
    ) -> ResponseContext:
        return ResponseContext(
            request,
            response.data,
            response.errors,
            refusal,
            dict(response.extensions or {}),
            has_next=refusal is None,
            is_first=False,
        )

    async def on_part(self, request: RequestContext, part: Part, *, has_next: bool) -> Part:
        """A later part as the plug-ins leave it; where one fails, a part that failed, which the next ones are shown."""
        context = self._context_of(request, part, has_next=has_next)
        deadline = self._grace()
        for name, hook in self._response:
            try:
                await self._show(name, hook, context, deadline)
            except RouterError as failure:
                errors = tuple(error.at(part.pending.path) for error in failure.errors())
                part = replace(part, data=None, increments=(), errors=errors, extensions=None)
                context = self._context_of(request, part, has_next=has_next)
                deadline = self._grace()
        return replace(part, extensions=context.extensions or None)

    def _context_of(self, request: RequestContext, part: Part, *, has_next: bool) -> ResponseContext:
        return ResponseContext(
            request,
            part.data,
            part.errors,
            None,
            dict(part.extensions or {}),
            path=part.pending.path,
            label=part.pending.label,
            has_next=has_next,
            is_first=False,
        )

    def _grace(self) -> float:
        """Until when a hook for a response may take in any case."""
        return asyncio.get_running_loop().time() + self._limits.plugin_response_timeout_ms / 1000

    async def _show(
        self, name: str, hook: Callable[..., Awaitable[Any]], context: ResponseContext, deadline: float
    ) -> None:
        call = _Call(name, "on_response", context.request)
        call.returned(await call.within(deadline, hook, context), type(None))
        call.check(context.check)


class _LaterThroughHooks:
    """The later parts of a response, each shown to the plug-ins before it goes on."""

    def __init__(self, hooks: Hooks, request: RequestContext, later: Later) -> None:
        self._hooks = hooks
        self._request = request
        self._later = later

    def __aiter__(self) -> "_LaterThroughHooks":
        return self

    async def __anext__(self) -> Parts:
        parts = await self._later.__anext__()
        last = len(parts.parts) - 1
        shown = [
            await self._hooks.on_part(self._request, part, has_next=parts.has_next or index < last)
            for index, part in enumerate(parts.parts)
        ]
        return replace(parts, parts=tuple(shown))

    async def aclose(self) -> None:
        await self._later.aclose()


async def _close(response: Response) -> None:
    """End what was to come after a response."""
    if response.later is not None:
        await response.later.aclose()
    if response.events is not None:
        await response.events.aclose()


class _EventsThroughHooks:
    """The answers to a subscription, each shown to the plug-ins before it goes on."""

    def __init__(self, hooks: Hooks, request: RequestContext, events: Events) -> None:
        self._hooks = hooks
        self._request = request
        self._events = events

    def __aiter__(self) -> "_EventsThroughHooks":
        return self

    async def __anext__(self) -> Response:
        return await self._hooks.on_event(self._request, await self._events.__anext__())

    async def aclose(self) -> None:
        await self._events.aclose()


def hooks_of(plugin: object) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """The hooks that an object has itself. Raises ConfigError where it has none, or one that cannot be awaited."""
    name = _name_of(plugin)
    if isinstance(plugin, type):
        raise ConfigError(f"{name} is a class: a plug-in is an object, {name}(...)")
    found: dict[str, Callable[..., Awaitable[Any]]] = {}
    for hook in HOOKS:
        method = getattr(plugin, hook, None)
        if method is None or getattr(method, "__func__", None) is getattr(Plugin, hook):
            continue
        if not inspect.iscoroutinefunction(method):
            raise ConfigError(f"the plug-in {name} has an {hook} that cannot be awaited; write async def {hook}")
        found[hook] = method
    if not found:
        raise ConfigError(f"{name} is no plug-in: it has none of {', '.join(HOOKS)}")
    return found


def described(error: BaseException) -> str:
    """What was raised, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _name_of(plugin: object) -> str:
    """What a plug-in is called in the log: its class, or what is a module or a function by its own name."""
    own = getattr(plugin, "__name__", None)
    return own if isinstance(own, str) else type(plugin).__name__


@dataclass(frozen=True, slots=True)
class _Call:
    """A hook that is called for a request, and who is to be named where it fails."""

    plugin: str
    hook: str
    request: RequestContext

    async def within(self, deadline: float, hook: Callable[..., Awaitable[Any]], argument: object) -> Any:
        """What the hook returns. Raises what it means as a refusal; anything else is a bug of it, and logged."""
        try:
            async with asyncio.timeout_at(deadline):
                return await hook(argument)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, RouterError) and _is_meant(error):
                self.check(_check_headers, error.headers)
                raise
            if _is_cancelled(error):
                raise
            raise self.failure(error) from error

    def returned(self, value: Any, kind: type[_Result]) -> _Result:
        """The value, if it is what the hook has to return."""
        if not isinstance(value, kind):
            wanted = "nothing" if kind is type(None) else f"a {kind.__name__}"
            raise self.failure(TypeError(f"it has to return {wanted}, not a {type(value).__name__}"))
        return value

    def check(self, check: Callable[..., None], *arguments: object) -> None:
        """Make sure that what the hook leaves behind can be gone on with."""
        try:
            check(*arguments)
        except Exception as bug:
            raise self.failure(bug) from bug

    def failure(self, bug: BaseException) -> InternalError:
        """What the client gets, while the log gets the rest."""
        return _failure(self.plugin, self.hook, self.request, bug)


class _OwnTime:
    """A clock for what a hook does itself: it stands still while the hook waits for what it sent."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._sending = 0
        self._is_over = False
        self._timeout = asyncio.timeout(seconds)
        self._since = 0.0

    async def __aenter__(self) -> None:
        self._since = asyncio.get_running_loop().time()
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        await self._timeout.__aexit__(kind, error, traceback)

    def stop(self) -> None:
        """Something was sent."""
        self._sending += 1
        if self._sending == 1 and self._can_be_set:
            self._left_s -= asyncio.get_running_loop().time() - self._since
            self._timeout.reschedule(None)

    def go_on(self) -> None:
        """What was sent has come to its end."""
        self._sending -= 1
        if self._sending == 0 and self._can_be_set:
            self._since = asyncio.get_running_loop().time()
            self._timeout.reschedule(self._since + self._left_s)

    @property
    def _can_be_set(self) -> bool:
        return not self._is_over and not self._timeout.expired()


def _wrapped(
    call: _Call, hook: Callable[..., Awaitable[Any]], inner: SendFetch, deadline: float, own_s: float
) -> SendFetch:
    """`inner` with a hook around it, which itself may take `own_s` seconds."""

    async def through(fetch: FetchContext) -> SubgraphResponse:
        is_subgraphs = False
        own_time = _OwnTime(own_s)

        async def send(fetch: FetchContext) -> SubgraphResponse:
            nonlocal is_subgraphs
            own_time.stop()
            try:
                return await inner(fetch)
            except asyncio.CancelledError:
                is_subgraphs = True
                raise
            finally:
                own_time.go_on()

        try:
            async with own_time:
                response = await hook(fetch, send)
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled(error):
                if not is_subgraphs and asyncio.get_running_loop().time() >= deadline:
                    call.failure(error)  # the operation's time is over because of it
                raise
            if isinstance(error, Refused):
                raise SubgraphError(
                    error.code, fetch.subgraph, error.message, internal=error.internal, own_code=error.own_code
                ) from error
            if isinstance(error, RouterError):
                raise
            raise call.failure(error) from error
        return call.returned(response, SubgraphResponse)

    return through


def _check_response(response: Response) -> None:
    """Raises TypeError or ValueError where an answer that a plug-in made cannot be sent."""
    if response.data is not None and not isinstance(response.data, Mapping):
        raise TypeError(f"data has to be a mapping or None, not a {type(response.data).__name__}")
    if not all(isinstance(error, AnswerError) for error in response.errors):
        raise TypeError("errors have to be AnswerErrors")
    check_extensions({} if response.extensions is None else response.extensions)
    _check_headers(response.headers)
    if response.status is not None:
        check_status(response.status)


def _check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    """Raises TypeError or ValueError where an answer cannot have these headers."""
    for name, value in headers:
        check_header(name, value)


def _is_meant(error: BaseException) -> bool:
    """Whether it says something to the client; what an operator is to read, and the router's own failure, do not."""
    return isinstance(error, RouterError) and not isinstance(error, ConfigurationError | InternalError)


def _is_cancelled(error: BaseException) -> bool:
    """Whether this task is to end; a plug-in may as well have waited for one that was cancelled."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _failure(name: str, hook: str, request: RequestContext, bug: BaseException) -> InternalError:
    fields = {"request_id": request.request_id, "plugin": name, "hook": hook}
    _log.error("a plug-in failed", exc_info=bug, extra={"fields": fields})
    return InternalError(InternalText(f"{name}.{hook}: {described(bug)}"))
