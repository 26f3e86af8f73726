"""Everything in one process on one port: the REST routes of all services, their pages, and the router.

The router reaches the subgraphs through memory, and their GraphQL endpoints are not mounted. Which service a path
belongs to is read off the services' own routes: the documented REST paths do not collide, and pages carry the name.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from trifolio.config import Config
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest
from trifolio.gateway import Router

SHARED_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""Every service has them; on the one port they are the router's."""


_client_address: ContextVar[str] = ContextVar("client_address", default="")
"""The network address of the client whose request is being answered; limits count by it."""


class InMemorySubgraph(Protocol):
    """What a service's `app.state.subgraph` does: it answers one GraphQL request as it would over HTTP."""

    async def execute(
        self,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        *,
        authorization: str | None,
        client_address: str,
        request_id: str,
    ) -> dict[str, Any]:
        """The response to one request."""


@dataclass(frozen=True, slots=True)
class _ClientError:
    formatted: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Result:
    data: Any
    errors: list[_ClientError]


class _LocalSchema:
    """Executes operations as a schema does, through the service's own front: callers, limits and masked errors."""

    def __init__(self, subgraph: InMemorySubgraph) -> None:
        self._subgraph = subgraph

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
    ) -> _Result:
        request: SubgraphRequest = context_value
        response = await self._subgraph.execute(
            query or "",
            variable_values,
            operation_name,
            authorization=request.headers.get("authorization"),
            client_address=_client_address.get(),
            request_id=request.headers.get("x-request-id", ""),
        )
        return _Result(response["data"], [_ClientError(error) for error in response.get("errors", [])])


class OneProcess:
    """The ASGI application: each path goes to the service that has it, everything else to the router."""

    def __init__(self, services: Mapping[str, FastAPI], supergraph_sdl: str, config: Config) -> None:
        self._services = services
        self._router = Router(
            supergraph_sdl,
            config=config,
            transports={name: LocalTransport(_LocalSchema(app.state.subgraph)) for name, app in services.items()},
        )
        self._front: ASGIApp = self._router.asgi()
        self._lifespan = Starlette(lifespan=self._live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        _client_address.set(scope["client"][0] if scope.get("client") else "")
        app = self._app_for(scope)
        await app(scope, receive, send)

    def _app_for(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"]
        if path not in SHARED_PATHS and not path.startswith("/graphql"):
            for app in self._services.values():
                # A partial match, a wrong method, is that service's to refuse.
                if any(route.matches(scope)[0] is not Match.NONE for route in app.routes):
                    return app
        return self._front

    @contextlib.asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for app in self._services.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            stack.push_async_callback(self._router.close)
            yield
