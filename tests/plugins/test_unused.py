"""A hook that no plug-in has costs nothing: counted, not timed."""

from typing import Any

import pytest

from tests.plugins.graph import Ask, Graph
from trifolio import Plugin, RequestContext
from trifolio import engine as engine_module
from trifolio.plugins import hooks as hooks_module

QUERY = "{ me { name ... @defer { homes { city } } } }"


def forbid(monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
    """Whatever makes one of these fails the test."""
    for name in names:

        def fail(*_: object, name: str = name, **__: object) -> None:
            raise AssertionError(f"{name} was made")

        monkeypatch.setattr(module, name, fail)


async def test_without_plugins_there_are_no_contexts(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router without plug-ins makes no context, reads no selected fields, and has no hooks to look up."""
    forbid(monkeypatch, engine_module, "RequestContext", "OperationContext", "Hooks", "selected_fields")
    forbid(monkeypatch, hooks_module, "FetchContext", "ResponseContext", "_Call")
    graph = Graph()
    for _ in range(3):
        assert (await ask(graph.router, QUERY))["data"] == {"me": {"name": "Ada", "homes": [{"city": "London"}]}}


async def test_a_hook_that_nobody_has_is_not_prepared_for(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `on_request` alone, nothing is made for operations, fetches and responses."""
    forbid(monkeypatch, engine_module, "OperationContext", "selected_fields")
    forbid(monkeypatch, hooks_module, "FetchContext", "ResponseContext")

    class See(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            request.context = "seen"

    graph = Graph(See())
    for _ in range(3):
        assert (await ask(graph.router, QUERY))["data"]["me"]["homes"] == [{"city": "London"}]
        assert await ask(graph.router, "{ given }") == {"data": {"given": "seen"}}


async def test_inherited_hooks_are_not_called(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hooks that a plug-in takes over from `Plugin` are never called."""

    class See(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            request.context = "seen"

    async def fail(*_: object) -> None:
        raise AssertionError("called")

    graph = Graph(See())
    for name in ("on_operation", "on_fetch", "on_response", "on_start", "on_stop"):
        monkeypatch.setattr(Plugin, name, fail)
    async with graph.router:
        assert await ask(graph.router, "{ given }") == {"data": {"given": "seen"}}
