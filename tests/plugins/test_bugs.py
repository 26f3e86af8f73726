"""Plug-ins that fail: the client gets an answer without a trace of it, the log says who it was, and the next request
is served."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.plugins.graph import Ask, Graph, by_execute, codes, post
from trifolio import Config, ConfigError, FetchContext, Limits, Plugin, SendFetch, SubgraphResponse
from trifolio.response import Response

QUICK = Config(limits=Limits(operation_timeout_ms=400, plugin_response_timeout_ms=300))
GOOD = {"data": {"vault": "gold"}}
PER_REQUEST = ("on_request", "on_operation", "on_fetch", "on_response")


class Once(Plugin):
    """Has one hook, which does something bad at its first call and nothing afterwards."""

    def __init__(self, hook: str, bad: Callable[[Any], Any]) -> None:
        self.hook, self.bad, self.is_done = hook, bad, False

    async def _do(self, hook: str, context: Any) -> Any:
        if hook != self.hook or self.is_done:
            return None
        self.is_done = True
        result = self.bad(context)
        return await result if asyncio.iscoroutine(result) else result

    async def on_request(self, request: Any, /) -> Any:
        return await self._do("on_request", request)

    async def on_operation(self, operation: Any, /) -> Any:
        return await self._do("on_operation", operation)

    async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> Any:
        if self.hook == "on_fetch" and not self.is_done:
            result = await self._do("on_fetch", fetch)
            return await send(fetch) if result is fetch else result
        return await send(fetch)

    async def on_response(self, response: Any, /) -> Any:
        return await self._do("on_response", response)


def raising(error: BaseException) -> Callable[[Any], Any]:
    """A hook that raises."""

    def bad(context: Any) -> Any:
        raise error

    return bad


def setting(**values: Any) -> Callable[[Any], Any]:
    """A hook that leaves nonsense in its context; `on_fetch` sends that."""

    def bad(context: Any) -> Any:
        for name, value in values.items():
            setattr(context, name, value)
        return context if isinstance(context, FetchContext) else None

    return bad


def adding(attribute: str, key: Any, value: Any) -> Callable[[Any], Any]:
    """A hook that puts nonsense into a mapping of its context."""

    def bad(context: Any) -> Any:
        getattr(context, attribute)[key] = value
        return context if isinstance(context, FetchContext) else None

    return bad


def returning(value: Any) -> Callable[[Any], Any]:
    """A hook that returns what it may not."""
    return lambda context: value


async def _cancelled(context: Any) -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


def _endless() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


BAD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    **{f"{hook} raises": (hook, raising(RuntimeError("secret"))) for hook in PER_REQUEST},
    **{f"{hook} raises TimeoutError": (hook, raising(TimeoutError("secret"))) for hook in PER_REQUEST},
    **{f"{hook} is stopped by another task": (hook, _cancelled) for hook in PER_REQUEST},
    **{f"{hook} recurses": (hook, raising(RecursionError("secret"))) for hook in PER_REQUEST},
    **{f"{hook} returns a text": (hook, returning("secret")) for hook in PER_REQUEST},
    "on_fetch returns nothing": ("on_fetch", returning(None)),
    "on_request raises what operators read": ("on_request", raising(ConfigError("secret"))),
    "on_operation raises what operators read": ("on_operation", raising(ConfigError("secret"))),
    "a response with other data": ("on_request", returning(Response("secret"))),  # type: ignore[arg-type]  # meant
    "a response with other errors": ("on_request", returning(Response(None, ("secret",)))),  # type: ignore[arg-type]  # meant
    "a response with a status that is none": ("on_request", returning(Response({}, status=99))),
    "a response without a body": ("on_request", returning(Response({}, status=204))),
    "a response with a line break": ("on_request", returning(Response({}, headers=(("x-a", "1\r\nx-b: 2"),)))),
    "a response with no JSON": ("on_request", returning(Response({}, extensions={"secret": object()}))),
    "no query": ("on_request", setting(query=None)),
    "variables in a list": ("on_request", setting(variables=["secret"])),
    "a name that is none": ("on_request", setting(operation_name=5)),
    "no headers": ("on_request", setting(headers=None)),
    "a header that is no text": ("on_request", adding("headers", "x-a", 5)),
    "a header of no name": ("on_request", adding("headers", None, "x")),
    "a header with a line break": ("on_request", adding("headers", "authorization", "a\r\nb: c")),
    "no state": ("on_request", setting(state=None)),
    "no headers, late": ("on_operation", lambda operation: setattr(operation.request, "headers", None)),
    "unknown labels": ("on_operation", lambda operation: operation.labels.add("secret")),
    "no labels": ("on_operation", setting(labels=None)),
    "labels in a list": ("on_operation", setting(labels=["beta"])),
    "labels that are no texts": ("on_operation", setting(labels={5})),
    "nothing hidden": ("on_operation", setting(hidden=None)),
    "hidden in a text": ("on_operation", setting(hidden="Query.vault")),
    "hidden that is no text": ("on_operation", setting(hidden={("Query", "vault")})),
    "hidden that is no field": ("on_operation", setting(hidden={"vault"})),
    "hidden that no type has": ("on_operation", setting(hidden={"Query.vaults"})),
    "hidden that is of no type": ("on_operation", setting(hidden={"Nothing.vault"})),
    "hidden in another case": ("on_operation", setting(hidden={"query.vault"})),
    "hidden with more": ("on_operation", setting(hidden={"Query.vault.x"})),
    "hidden introspection": ("on_operation", setting(hidden={"Query.__schema"})),
    "a policy that nothing has": ("on_operation", setting(policies={"owner": True})),
    "policies that are none": ("on_operation", setting(policies=["owner"])),
    "claims that are none": ("on_request", setting(claims="ada")),
    "an operation that is none": ("on_fetch", setting(operation=5)),
    "variables that are none": ("on_fetch", setting(variables=5)),
    "no fetch headers": ("on_fetch", setting(headers=None)),
    "a fetch header that is no text": ("on_fetch", adding("headers", "x-a", 5)),
    "a fetch header of no name": ("on_fetch", adding("headers", 5, "x")),
    "a URL that is none": ("on_fetch", setting(url=5)),
    "no extensions": ("on_response", setting(extensions=None)),
    "extensions that are no JSON": ("on_response", adding("extensions", "secret", object())),
    "extensions that are endless": ("on_response", adding("extensions", "secret", _endless())),
    "an extension of no name": ("on_response", adding("extensions", 5, "secret")),
    "a status that is none": ("on_response", setting(status=99)),
    "a response header with a line break": ("on_response", lambda response: response.add_header("x-a", "1\r\n2")),
}


def fields_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the log says of failed plug-ins."""
    return [getattr(record, "fields", {}) for record in caplog.records if record.getMessage() == "a plug-in failed"]


@pytest.mark.parametrize(("hook", "bad"), BAD.values(), ids=BAD)
async def test_a_plugin_that_fails_fails_one_request(
    ask: Ask, caplog: pytest.LogCaptureFixture, hook: str, bad: Callable[[Any], Any]
) -> None:
    """The client reads that the router failed and nothing else, the log has plug-in, hook and request id, and the next
    request is fine."""
    graph = Graph(Once(hook, bad))
    body = await ask(graph.router, "{ vault }", {"x-request-id": "request-1"})
    assert codes(body) == ["INTERNAL_SERVER_ERROR"]
    assert body.get("data") is None
    assert "secret" not in str(body)
    assert fields_of(caplog) == [{"request_id": "request-1", "plugin": "Once", "hook": hook}]
    assert await ask(graph.router, "{ vault }") == GOOD


@pytest.mark.parametrize(("hook", "bad"), BAD.values(), ids=BAD)
async def test_over_http_it_is_a_500_with_a_request_id(hook: str, bad: Callable[[Any], Any]) -> None:
    """The status is 500 (a fetch that failed is a part of a 200), and the response has the id that the log has."""
    response = await post(Graph(Once(hook, bad)).router, "{ vault }", {"x-request-id": "request-1"})
    assert response.status_code == (200 if hook == "on_fetch" else 500)
    assert response.headers["x-request-id"] == "request-1"
    assert "x-b" not in response.headers


async def _hang(context: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("hook", PER_REQUEST)
async def test_a_hook_that_hangs_ends_with_the_requests_time(
    ask: Ask, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """A hook that never ends takes the request's time and no more; the log says which it was."""
    graph = Graph(Once(hook, _hang), config=QUICK)
    async with asyncio.timeout(10):
        body = await ask(graph.router, "{ vault }", {"x-request-id": "request-1"})
    assert codes(body) == ["OPERATION_TIMEOUT" if hook == "on_fetch" else "INTERNAL_SERVER_ERROR"]
    assert fields_of(caplog) == [{"request_id": "request-1", "plugin": "Once", "hook": hook}]
    assert await ask(graph.router, "{ vault }") == GOOD


async def test_a_slow_subgraph_is_no_plugins_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Where a subgraph takes all of the time, no plug-in around it is blamed."""

    class Stuck:
        async def send(self, request: object, /) -> SubgraphResponse:
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None: ...

    graph = Graph(Once("nothing", _hang), config=QUICK, transports={"people": Stuck()})
    assert codes(await by_execute(graph.router, "{ vault }")) == ["OPERATION_TIMEOUT"]
    assert fields_of(caplog) == []


async def test_a_hook_that_hangs_for_a_part_ends_that_part(caplog: pytest.LogCaptureFixture) -> None:
    """Each later part gives `on_response` a little time; a hook that hangs costs that part."""

    class Hang(Plugin):
        async def on_response(self, response: Any, /) -> None:
            if not response.is_first:
                await asyncio.Event().wait()

    graph = Graph(Hang(), config=Config(limits=Limits(plugin_response_timeout_ms=30)))
    parts = [part async for part in graph.router.stream("{ me { name ... @defer { homes { city } } } }")]
    assert parts[0].data == {"me": {"name": "Ada"}}
    assert (parts[1].data, [error.code.name for error in parts[1].errors]) == (None, ["INTERNAL_SERVER_ERROR"])
    assert [fields["plugin"] for fields in fields_of(caplog)] == ["Hang"]


@pytest.mark.parametrize("hook", PER_REQUEST)
async def test_who_goes_away_is_no_bug(caplog: pytest.LogCaptureFixture, hook: str) -> None:
    """A request that is cancelled while a hook waits ends at once, and is not logged as a failure."""
    waiting = asyncio.Event()

    async def wait(context: Any) -> None:
        waiting.set()
        await asyncio.Event().wait()

    graph = Graph(Once(hook, wait))
    task = asyncio.ensure_future(graph.router.execute("{ vault }"))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fields_of(caplog) == []
    assert await by_execute(graph.router, "{ vault }") == GOOD


# ---- what is no plug-in ----


async def _async_function(request: object) -> None: ...


class Synchronous:
    def on_request(self, request: object) -> None: ...


class Nothing:
    """Has no hook."""


NO_PLUGINS: dict[str, tuple[object, str]] = {
    "a class": (Plugin, "Plugin is a class: a plug-in is an object, Plugin\\(...\\)"),
    "no hooks": (Nothing(), "Nothing is no plug-in: it has none of on_start"),
    "no hook overridden": (Plugin(), "Plugin is no plug-in"),
    "a function": (_async_function, "_async_function is no plug-in"),
    "a module without hooks": (logging, "logging is no plug-in"),
    "none": (None, "NoneType is no plug-in"),
    "a synchronous hook": (Synchronous(), "an on_request that cannot be awaited; write async def on_request"),
}


@pytest.mark.parametrize(("plugin", "text"), NO_PLUGINS.values(), ids=NO_PLUGINS)
def test_what_is_no_plugin_is_refused(plugin: object, text: str) -> None:
    """A router is not made with what has no hooks, or hooks that cannot be awaited."""
    with pytest.raises(ConfigError, match=text):
        Graph(plugin)


async def test_any_object_with_hooks_is_a_plugin() -> None:
    """A plug-in needs no base class: any object, or module, with hooks is one."""

    class Own:
        async def on_response(self, response: Any) -> None:
            response.extensions["own"] = True

    body = await by_execute(Graph(Own()).router, "{ vault }")
    assert body == {**GOOD, "extensions": {"own": True}}
