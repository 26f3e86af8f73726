"""One service as an ASGI application: its REST routes, its GraphQL endpoint, its pages and its background work."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from subgraphs.shared.auth import Caller, TokenVerifier, require_user
from subgraphs.shared.clocks import ClockWatch
from subgraphs.shared.cors import cors_headers, preflight_headers
from subgraphs.shared.database import Database
from subgraphs.shared.docs_page import add_docs_page
from subgraphs.shared.error_page import ERROR_PAGE_PATH, add_error_page
from subgraphs.shared.errors import COMMON_CODES, INTERNAL_ERROR, ErrorCode, Refusal
from subgraphs.shared.graphql import GraphQLEndpoint, Subgraph, client_address
from subgraphs.shared.idempotency import KEY_CHARACTERS_MAX, Outcome
from subgraphs.shared.metrics import CONTENT_TYPE, Metric, metrics_text
from subgraphs.shared.migrations import revisions_of
from subgraphs.shared.openapi import PROBES, finish_document
from subgraphs.shared.problems import Problem, install_problem_handlers, problem_response, problem_responses
from subgraphs.shared.request_log import logged_request, note_request
from subgraphs.shared.settings import ServiceSettings
from subgraphs.shared.streaming import Streams

LOGGER = logging.getLogger(__name__)
ACCESS_LOGGER = logging.getLogger("subgraphs.access")

REST_BODY_BYTES_MAX = 65_536
"""The largest documented body is below 2 KiB."""
HOUR_S = 3_600
CLOCK_LOOK_S = 1.0
RESTART_S = 1.0
CANCELLED_AGAIN_S = 0.5
GRAPHQL_PATH = "/graphql"
REQUEST_ID_HEADER = "x-request-id"
_VISIBLE, _PRINTABLE = "!-~\u00a1-\u00ac\u00ae-\u00ff", " -~\u00a1-\u00ac\u00ae-\u00ff"
KEY_PATTERN = f"^[{_VISIBLE}]([{_PRINTABLE}]*[{_VISIBLE}])?$"
"""A key that a header can carry: of Latin 1 what is printable, and no spaces around it."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
"""Every id that the router takes from a client and passes on, so that lines of both are found by it."""
UNLOGGED_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""What machines ask every second."""
LOGGED_PATH_CHARACTERS_MAX = 200

Close = Callable[[], Awaitable[None]]
Background = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What makes one service.

    `background` loops run from start to shutdown, `hourly` work is done so often, `closing` is awaited last, in order.
    `problem` documents what its refusals look like, with the members that are its own, and
    `error_codes` are those that the shared catalogue lacks.
    """

    title: str
    description: str
    routes: APIRouter
    subgraph: Subgraph[Any]
    verifier: TokenVerifier
    database: Database
    streams: Streams
    metrics: Sequence[Metric] = ()
    background: Sequence[Background] = ()
    hourly: Sequence[Background] = ()
    closing: Sequence[Close] = ()
    problem: type[Problem] = Problem
    error_codes: Sequence[ErrorCode] = ()


def build_app(parts: ServiceParts, settings: ServiceSettings) -> FastAPI:
    """The service's application.

    Whoever serves it calls `app.state.streams.end` before it waits for requests to end. For a router in the same
    process `app.state` has `subgraph`, which answers GraphQL in memory, `metrics`, and
    `require_usable`, which raises what /ready answers.
    """
    suffix, clock = f"/{settings.service}" if settings.in_process else "", ClockWatch()
    parts.database.require_schema(revisions_of(f"subgraphs.{settings.service}").fault)
    app = _Service(
        title=parts.title,
        description=parts.description,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"/openapi{suffix}.json",
        generate_unique_id_function=operation_id,
        lifespan=_lifespan(parts, clock),
    )
    app.problem = parts.problem
    add_docs_page(app, f"/docs{suffix}")
    add_error_page(app, f"{ERROR_PAGE_PATH}{suffix}", (*parts.error_codes, *COMMON_CODES))
    app.state.problem_types = settings.problem_types_url or f"{ERROR_PAGE_PATH}{suffix}"
    app.state.verifier, app.state.subgraph = parts.verifier, parts.subgraph
    app.state.require_usable = parts.database.require_usable
    app.state.metrics = (*parts.metrics, _streams_metric(parts.streams))
    app.state.streams = parts.streams
    secrets = settings.router_secret_values()
    app.state.router_secrets = tuple(secret.encode() for secret in secrets)
    app.state.trusted_proxies = settings.trusted_proxies or 0
    install_problem_handlers(app)
    health = _health_routes(parts.database, (*app.state.metrics, _clock_metric(clock)))
    app.router.routes += [*parts.routes.routes, *health.routes]
    requests = partial(
        _Requests,
        access_log=settings.access_log,
        origins=settings.cors_origins,
        problem_types=app.state.problem_types,
    )
    app.add_middleware(requests)
    if not settings.in_process:
        app.graphql = requests(GraphQLEndpoint(parts.subgraph, secrets))
    return app


_BEARER = HTTPBearer(bearerFormat="JWT", auto_error=False, description="The access token of POST /users/login.")


def operation_id(route: APIRoute) -> str:
    """What generated clients call a route: `list_orders` is `listOrders`."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


async def caller_of(request: Request) -> Caller:
    """Who sent the request, anonymous included; raises Refusal for a bad token."""
    verifier: TokenVerifier = request.app.state.verifier
    caller = await verifier.caller(request.headers.get("authorization"))
    note_request(caller_kind=caller.kind, caller_id=caller.id, operation=_route_name(request.scope))
    return caller


async def current_caller(request: Request, _documented: Annotated[object, Depends(_BEARER)]) -> Caller:
    """`caller_of` as a dependency of documented routes."""
    return await caller_of(request)


async def current_user(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The logged-in user who sent the request; raises Refusal `unauthenticated` or `forbidden`."""
    return require_user(caller)


def current_address(request: Request) -> str:
    """The end client's network address, for limits."""
    state = request.app.state
    return client_address(request.scope, state.router_secrets, state.trusted_proxies)


def add_next_link(request: Request, response: Response, next_cursor: str | None) -> None:
    """Adds `Link: <...>; rel="next"` (RFC 8288) to a list's response: the same request with the next cursor."""
    if next_cursor is not None:
        target = request.url.include_query_params(after=next_cursor)
        response.headers["Link"] = f'<{target.path}?{target.query}>; rel="next"'


def add_idempotency_headers(response: Response, outcome: Outcome[Any]) -> None:
    """Returns the Idempotency-Key that was used or made, and says whether the answer is a repetition."""
    response.headers["Idempotency-Key"] = outcome.key
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"


AnyCaller = Annotated[Caller, Depends(current_caller)]
UserCaller = Annotated[Caller, Depends(current_user)]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: the same key and body get the stored answer. Made if absent.",
        json_schema_extra={"minLength": 1, "maxLength": KEY_CHARACTERS_MAX, "pattern": KEY_PATTERN},
    ),
]
ClientAddress = Annotated[str, Depends(current_address)]


def _lifespan(parts: ServiceParts, clock: ClockWatch) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loops = (*parts.background, parts.database.carry_wakes, _watching(clock), *_hourly(parts))
        tasks = [asyncio.create_task(_forever(work)) for work in loops]
        try:
            yield
        finally:
            await _end(tasks)
            await parts.streams.closed()
            for close in parts.closing:
                await close()

    return lifespan


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Ends the loops. One that was cancelled while its cleaning up failed may have lost that: it is told again."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELLED_AGAIN_S)


def _clock_metric(clock: ClockWatch) -> Metric:
    async def steps() -> int:
        return clock.steps

    text = "Steps of this machine's clock by more than 5 seconds; nothing stops for them, but somebody should look."
    return Metric("trifolio_clock_steps_total", "counter", text, steps)


def _streams_metric(streams: Streams) -> Metric:
    text = "Streams that are open: subscriptions, and server-sent events."
    return Metric("trifolio_streams", "gauge", text, streams.count)


def _watching(clock: ClockWatch) -> Background:
    async def loop() -> None:
        while True:
            step = clock.look()
            if step:
                LOGGER.error("the clock was set by %+.0f seconds", step)
            await asyncio.sleep(CLOCK_LOOK_S)

    return loop


def _hourly(parts: ServiceParts) -> list[Background]:
    """A loop for each work; of the replicas, one at a time does it."""
    return [_every_hour(parts.database, f"hourly {number}", work) for number, work in enumerate(parts.hourly)]


def _every_hour(database: Database, name: str, work: Background) -> Background:
    async def loop() -> None:
        while True:
            await database.run_alone(name, work)
            await asyncio.sleep(HOUR_S)

    return loop


async def _forever(work: Background) -> None:
    """Keeps a background loop alive: what it raises is logged, and it starts again after a second."""
    while True:
        try:
            await work()
        except Refusal as refusal:
            LOGGER.warning("background work waits: %s", refusal.detail)
        except Exception:
            LOGGER.exception("background work failed and starts again")
        await asyncio.sleep(RESTART_S)


def _health_routes(database: Database, metrics: Sequence[Metric]) -> APIRouter:
    routes = APIRouter(tags=[PROBES], generate_unique_id_function=operation_id)

    @routes.get("/health", summary="Says whether the process serves")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    unavailable: dict[int | str, dict[str, Any]] = {503: problem_responses()[503]}

    @routes.get("/ready", summary="Says whether the service can work with its database", responses=unavailable)
    async def ready() -> dict[str, str]:
        await database.require_usable()
        return {"status": "ready"}

    @routes.get("/metrics", summary="Counts for Prometheus", response_class=PlainTextResponse)
    async def show_metrics() -> PlainTextResponse:
        return PlainTextResponse(await metrics_text(metrics), media_type=CONTENT_TYPE)

    return routes


class _Service(FastAPI):
    """An application whose OpenAPI document says what all services do alike (`openapi`)."""

    problem: type[Problem]
    """What its refusals look like."""
    graphql: ASGIApp | None = None
    """What answers the router, without what the framework does around a route: it makes use of none of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if self.graphql is not None and scope["type"] == "http" and scope["path"] == GRAPHQL_PATH:
            await self.graphql(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    @cached_property
    def literal_paths(self) -> frozenset[str]:
        """The paths of routes that have no parameters; found without the document, which takes long."""
        paths = (route.path for route in iter_route_contexts(self.routes))
        return frozenset(path for path in paths if path is not None and "{" not in path)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made when it is first asked for."""
        if self.openapi_schema is None:
            template = "#/components/schemas/{model}"
            problem = self.problem.model_json_schema(ref_template=template, mode="serialization")
            self.openapi_schema = finish_document(super().openapi(), problem)
        return self.openapi_schema


class _Requests:
    """What is alike for every request: an id, a line in the log, HEAD, other origins, and a 500 that shows nothing."""

    def __init__(self, app: ASGIApp, *, access_log: bool, origins: tuple[str, ...], problem_types: str) -> None:
        self._app = app
        self._access_log = access_log
        self._origins = frozenset(origins)
        self._problem_types = problem_types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, method = _request_id(scope), scope["method"]
        scope, send = _as_get(scope, send)
        scope.setdefault("state", {})["request_id"] = request_id
        with logged_request(request_id) as fields:
            began, status = time.perf_counter(), await self._answer(scope, receive, send, request_id)
            fields.operation = fields.operation or _route_name(scope)
            if self._access_log and scope["path"] not in UNLOGGED_PATHS:
                line = {
                    "method": method,
                    "path": scope["path"][:LOGGED_PATH_CHARACTERS_MAX],
                    "status": status,
                    "ms": round((time.perf_counter() - began) * 1_000, 3),
                }
                ACCESS_LOGGER.info("request", extra={"fields": line})

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Answers the request; returns the status."""
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER.encode(), request_id.encode())]
                if self._origins:
                    self._share(scope, MutableHeaders(scope=message))
            await send(message)

        limited = receive if scope["path"] == GRAPHQL_PATH else _limited(receive)
        try:
            await self._app(scope, limited, send_with_id)
        except Exception:
            if status:
                raise
            LOGGER.exception("request %s failed", request_id)
            response: Response = problem_response(Refusal(INTERNAL_ERROR), request_id, self._problem_types)
            await response(scope, receive, send_with_id)
        return status

    def _share(self, scope: Scope, headers: MutableHeaders) -> None:
        """Says to browsers whether the page that asks may read the answer."""
        headers.add_vary_header("Origin")
        asking = Headers(scope=scope)
        shared = cors_headers(self._origins, asking.get("origin"))
        if shared and scope["method"] == "OPTIONS" and "access-control-request-method" in asking:
            shared |= preflight_headers(headers.get("Allow", ""))
        headers.update(shared)


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """A HEAD request as the GET whose headers it asks for; nothing of the body is sent (RFC 9110, 9.3.2)."""
    if scope["method"] != "HEAD" or scope["path"] == GRAPHQL_PATH:
        return scope, send

    async def send_head(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif not message.get("more_body", False):
            await send({"type": "http.response.body", "body": b""})

    return {**scope, "method": "GET", "state": {**scope.get("state", {}), "head": True}}, send_head


def _limited(receive: Receive) -> Receive:
    """The same stream of body chunks, which fails with 413 once they are too many, declared length or not."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > REST_BODY_BYTES_MAX:
            raise HTTPException(413)
        return message

    return receive_limited


def _route_name(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "name", ""))


def _request_id(scope: Scope) -> str:
    sent = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER.encode()), b"")
    text: str = sent.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else uuid.uuid4().hex
