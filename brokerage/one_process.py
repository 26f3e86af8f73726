"""Everything in one process on one port: the REST routes of all services, their pages, and the router.

What each of four processes has, the one has for all: /ready says yes when the router and every service do, /metrics has
everybody's, and clients meet the router's protocol and limits, at REST routes too.

The router reaches the subgraphs through memory, and their GraphQL endpoints are not mounted. Which service a path
belongs to is read off the services' own routes: the documented REST paths do not collide, and pages carry the name.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from subgraphs.shared.errors import Refusal
from subgraphs.shared.metrics import CONTENT_TYPE, metrics_text_of_services
from trifolio.config import Config
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.gateway import Router
from trifolio.server.descriptors import with_descriptors
from trifolio.server.edge import BODILESS_METHODS

SHARED_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""Every service has them; on the one port they speak for all."""


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

    def subscribe(
        self,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        *,
        authorization: str | None,
        client_address: str,
        request_id: str,
    ) -> AsyncGenerator[dict[str, Any] | None, None]:
        """The responses to one subscription; None is a heartbeat."""


class ServiceTransport:
    """Asks a service in this process through its own front: callers, limits and masked errors."""

    def __init__(self, subgraph: InMemorySubgraph) -> None:
        self._subgraph = subgraph

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Execute the request's operation."""
        payload = await self._subgraph.execute(request.operation, dict(request.variables), None, **_sender(request))
        return SubgraphResponse(payload=payload)

    async def subscribe(self, request: SubgraphRequest, /) -> AsyncGenerator[SubgraphResponse, None]:
        """Execute the request's subscription, event by event."""
        responses = self._subgraph.subscribe(request.operation, dict(request.variables), None, **_sender(request))
        async with aclosing(responses):
            async for payload in responses:
                if payload is not None:
                    yield SubgraphResponse(payload=payload)

    async def close(self) -> None:
        """Nothing is held."""


def _sender(request: SubgraphRequest) -> dict[str, Any]:
    """Who sent a request, and from where."""
    return {
        "authorization": request.headers.get("authorization"),
        # The router's word, with the proxies taken off that it was told of.
        "client_address": request.headers.get("x-forwarded-for", ""),
        "request_id": request.headers.get("x-request-id", ""),
    }


class OneProcess:
    """The ASGI application: each path goes to the service that has it, everything else to the router."""

    def __init__(self, services: Mapping[str, FastAPI], supergraph_sdl: str, config: Config) -> None:
        self._services = services
        self._router = Router(
            supergraph_sdl,
            config=replace(config, limits=with_descriptors(config.limits)),
            transports={name: ServiceTransport(app.state.subgraph) for name, app in services.items()},
        )
        front = self._router.asgi()
        self._front: ASGIApp = front
        self._router_metrics = front.metrics_text
        self.limits = front.limits
        self.trusted_proxies = front.trusted_proxies
        self.draining = False
        self.watch = front.watch
        self.refuse = front.refuse
        self._end_subscriptions = front.end_streams
        self._lifespan = Starlette(lifespan=self._live)

    def wants_body(self, method: str, path: str) -> bool:
        """Whether the method is one whose requests have bodies."""
        return method not in BODILESS_METHODS

    def end_streams(self) -> None:
        """Ends what has no end of its own: the router's subscriptions, and the services' streams."""
        self._end_subscriptions()
        for app in self._services.values():
            app.state.streams.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        app = self._app_for(scope)
        await app(scope, receive, send)

    def _app_for(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"]
        if path == "/metrics":
            return Route(path, self._show_metrics)
        if path == "/ready":
            return Route(path, self._say_ready)
        if path not in SHARED_PATHS and not path.startswith("/graphql"):
            for app in self._services.values():
                # A partial match, a wrong method, is that service's to refuse.
                if any(route.matches(scope)[0] is not Match.NONE for route in app.routes):
                    return app
        return self._front

    async def _show_metrics(self, _request: Request) -> Response:
        text = await metrics_text_of_services({name: app.state.metrics for name, app in self._services.items()})
        return Response(self._router_metrics() + text, media_type=CONTENT_TYPE)

    async def _say_ready(self, _request: Request) -> Response:
        """503 with the names of the services that cannot work; their logs say why."""
        away = []
        for name, app in self._services.items():
            try:
                await app.state.require_usable()
            except Refusal:
                away.append(name)
        if away:
            return JSONResponse({"status": "unavailable", "services": away}, 503, {"retry-after": "1"})
        return JSONResponse({"status": "ready"})

    @contextlib.asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for app in self._services.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            stack.push_async_callback(self._router.close)
            yield
