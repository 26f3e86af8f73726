"""Running the hooks: which plug-ins have which, in which order, and what becomes of one that fails.

A hook that nobody overrides does not exist here, so that the engine pays one comparison for all that is not used.
Whatever a hook raises is one of three things: a refusal that the plug-in means (`Refused`, or another `RouterError`),
the end of the caller (cancellation, time-out), or a bug of the plug-in, which is logged with the request's id, the
plug-in and the hook, and becomes the router's own failure. What a hook returns is checked, as plug-ins come without
types.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from trifolio.errors import ConfigError, InternalError, InternalText, RouterError
from trifolio.executor.fetch import Around, Send
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits
from trifolio.parts import Later, Part, Parts
from trifolio.plugins.contexts import FetchContext, OperationContext, RequestContext, ResponseContext
from trifolio.plugins.plugin import Plugin, SendFetch
from trifolio.response import Response

HOOKS: Final = ("on_start", "on_stop", "on_request", "on_operation", "on_fetch", "on_response")

_log: Final = logging.getLogger("trifolio.error")
_Result = TypeVar("_Result")
_Hook = tuple[str, Callable[..., Awaitable[Any]]]
"""The plug-in's name and its method."""


class Hooks:
    """The hooks of a router's plug-ins."""

    def __init__(self, plugins: Sequence[object], limits: Limits) -> None:
        """Raises ConfigError for an object that is no plug-in: without a hook, or with one that cannot be awaited."""
        self._limits = limits
        by_name: dict[str, list[_Hook]] = {name: [] for name in HOOKS}
        for plugin in plugins:
            own = _hooks_of(plugin)
            for name, method in own.items():
                by_name[name].append((type(plugin).__name__, method))
        self._request = by_name["on_request"]
        self._operation = by_name["on_operation"]
        self._fetch = by_name["on_fetch"]
        self._response = by_name["on_response"][::-1]
        self._start = by_name["on_start"]
        self._stop = by_name["on_stop"][::-1]
        self._starting = asyncio.Lock()
        self._is_started = not self._start

    @property
    def sees_operations(self) -> bool:
        """Whether anybody wants to know what an operation selects."""
        return bool(self._operation)

    # ---- the life of the process ----

    async def start(self) -> None:
        """Let every plug-in open what it needs, once. Raises ConfigError where one cannot."""
        if self._is_started:
            return
        async with self._starting:
            if self._is_started:
                return
            timeout_ms = self._limits.plugin_start_timeout_ms
            for name, hook in self._start:
                try:
                    async with asyncio.timeout(timeout_ms / 1000):
                        await hook()
                except TimeoutError as error:
                    raise ConfigError(f"the plug-in {name} did not start within {timeout_ms} ms") from error
                except RouterError:
                    raise
                except Exception as error:
                    _log.exception("a plug-in failed", extra={"fields": {"plugin": name, "hook": "on_start"}})
                    raise ConfigError(f"the plug-in {name} does not start: {type(error).__name__}: {error}") from error
            self._is_started = True

    async def stop(self) -> None:
        """Let every plug-in close what it opened; one that fails does not keep the others from it."""
        for name, hook in self._stop:
            try:
                async with asyncio.timeout(self._limits.shutdown_timeout_ms / 1000):
                    await hook()
            except Exception:  # noqa: BLE001  # the others are to be stopped, and the log has it
                _log.exception("a plug-in failed", extra={"fields": {"plugin": name, "hook": "on_stop"}})

    # ---- one request ----

    async def on_request(self, request: RequestContext) -> Response | None:
        """The response of the first plug-in that has one. Raises RouterError."""
        for name, hook in self._request:
            response = await _call(name, "on_request", request, hook(request))
            if response is not None:
                return _checked(response, Response, name, "on_request", request)
        return None

    async def on_operation(self, operation: OperationContext) -> None:
        """Show the operation to every plug-in. Raises RouterError."""
        for name, hook in self._operation:
            returned = await _call(name, "on_operation", operation.request, hook(operation))
            _checked(returned, type(None), name, "on_operation", operation.request)
            unknown = operation.labels - operation.known_labels
            if unknown:
                bug = ValueError(f"the supergraph has no @override label {', '.join(sorted(map(str, unknown)))}")
                raise _failure(name, "on_operation", operation.request, bug)

    def around_fetches(self, request: RequestContext) -> Around | None:
        """What stands between the executor and the transports for one request; None where nothing does."""
        if not self._fetch:
            return None

        async def around(asked: SubgraphRequest, send: Send) -> SubgraphResponse:
            fetch = FetchContext(request, asked.subgraph, asked.kind, asked.operation, asked.variables)

            async def send_on(fetch: FetchContext) -> SubgraphResponse:
                fetch.check()
                changed = replace(
                    asked,
                    operation=fetch.operation,
                    variables=fetch.variables,
                    headers=request.headers,
                    context=request.context,
                    own_headers=dict(fetch.headers) or None,
                    url=fetch.url,
                )
                return await send(changed)

            through: SendFetch = send_on
            for name, hook in reversed(self._fetch):
                through = _wrapped(name, hook, through)
            return await through(fetch)

        return around

    async def on_response(self, request: RequestContext, response: Response) -> Response:
        """The response as the plug-ins leave it; where one fails, the router's own failure."""
        if not self._response:
            return response
        context = ResponseContext(
            request,
            response.data,
            response.errors,
            response.refusal,
            dict(response.extensions or {}),
            has_next=response.later is not None,
            _status=response.status,
            _headers=list(response.headers),
        )
        try:
            await self._show(context)
        except RouterError as failure:
            if response.later is not None:
                await response.later.aclose()
            return Response(None, failure.errors(), failure)
        later = None if response.later is None else _LaterThroughHooks(self, request, response.later)
        return replace(
            response, extensions=context.extensions or None, status=context.status, headers=context.headers, later=later
        )

    async def on_part(self, request: RequestContext, part: Part, *, has_next: bool) -> Part:
        """A later part as the plug-ins leave it; where one fails, a part that failed."""
        context = ResponseContext(
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
        try:
            async with asyncio.timeout(self._limits.plugin_response_timeout_ms / 1000):
                await self._show(context)
        except TimeoutError:
            failure: RouterError = InternalError(InternalText("a plug-in's on_response took too long"))
        except RouterError as error:
            failure = error
        else:
            return replace(part, extensions=context.extensions or None)
        errors = tuple(replace(error, path=part.pending.path) for error in failure.errors())
        return replace(part, data=None, increments=(), errors=errors)

    async def _show(self, context: ResponseContext) -> None:
        for name, hook in self._response:
            returned = await _call(name, "on_response", context.request, hook(context))
            _checked(returned, type(None), name, "on_response", context.request)


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


def _hooks_of(plugin: object) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """The hooks that an object has itself. Raises ConfigError where it has none, or one that cannot be awaited."""
    name = type(plugin).__name__
    if isinstance(plugin, type):
        raise ConfigError(f"{plugin.__name__} is a class: a plug-in is an object, {plugin.__name__}(...)")
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


def _wrapped(name: str, hook: Callable[..., Awaitable[Any]], inner: SendFetch) -> SendFetch:
    async def through(fetch: FetchContext) -> SubgraphResponse:
        try:
            response = await hook(fetch, inner)
        except RouterError:
            raise
        except Exception as bug:
            raise _failure(name, "on_fetch", fetch.request, bug) from bug
        return _checked(response, SubgraphResponse, name, "on_fetch", fetch.request)

    return through


async def _call(name: str, hook: str, request: RequestContext, call: Awaitable[Any]) -> Any:
    """What a hook returns. Raises what it means as a refusal; anything else is a bug of it, and logged."""
    try:
        return await call
    except (RouterError, TimeoutError):
        raise
    except Exception as bug:
        raise _failure(name, hook, request, bug) from bug


def _checked(returned: Any, kind: type[_Result], name: str, hook: str, request: RequestContext) -> _Result:
    if not isinstance(returned, kind):
        wanted = "nothing" if kind is type(None) else f"a {kind.__name__}"
        raise _failure(name, hook, request, TypeError(f"it has to return {wanted}, not {returned!r}"))
    return returned


def _failure(name: str, hook: str, request: RequestContext, bug: Exception) -> InternalError:
    fields = {"request_id": request.request_id, "plugin": name, "hook": hook}
    _log.error("a plug-in failed", exc_info=bug, extra={"fields": fields})
    return InternalError(InternalText(f"{name}.{hook}: {bug!r}"))
