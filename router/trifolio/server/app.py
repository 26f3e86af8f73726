"""The ASGI application: the GraphQL endpoint, health, readiness, metrics and the explorer.

Raw ASGI, no framework: a path is looked up in a dictionary, and its handler returns a `Reply`. Everything that can go
wrong on the way is a `RouterError` and becomes a reply with its status and code, or is a bug: then the client gets a
fixed text and the request's id, under which the log has the rest.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from trifolio.config import Config
from trifolio.engine import Engine
from trifolio.errors import ErrorCode, InternalError, InternalText, RequestError, RouterError
from trifolio.executor import Watch
from trifolio.parts import Later
from trifolio.response import Events, Response
from trifolio.server.cors import make_cors
from trifolio.server.edge import Held
from trifolio.server.event_streams import EventsFormat
from trifolio.server.exchange import exchange_of
from trifolio.server.explorer import ASSETS, Explorer, StaticFile, load_explorer
from trifolio.server.graphql_socket import GraphQLSocket
from trifolio.server.http import (
    ClientDisconnected,
    GraphQLRequest,
    Headers,
    MediaType,
    Message,
    Receive,
    Scope,
    Send,
    Streams,
    check_content_type,
    client_address,
    decode_body,
    decode_query_string,
    is_preflighted,
    negotiate,
    negotiate_streams,
    prefers_html,
    read_body,
    read_headers,
    status_of,
    whole_body,
)
from trifolio.server.live_answers import LiveAnswer
from trifolio.server.log import FailureLog, current_request_id, error_log, log_request, request_id
from trifolio.server.metrics import CONTENT_TYPE, Metrics
from trifolio.server.multipart import PartsFormat
from trifolio.traces import asks_for_live_trace

RawHeaders = tuple[tuple[bytes, bytes], ...]

_SECURITY_HEADERS: Final[RawHeaders] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""With every response but the explorer's files, which have headers of their own."""
_JSON_HEADERS: Final[RawHeaders] = ((b"content-type", b"application/json"), *_SECURITY_HEADERS)
_GRAPHQL_HEADERS: Final[Mapping[MediaType, RawHeaders]] = {
    media_type: ((b"content-type", media_type.content_type), *_SECURITY_HEADERS) for media_type in MediaType
}
_PARTS_HEADERS: Final[Mapping[PartsFormat, RawHeaders]] = {
    parts_format: ((b"content-type", parts_format.content_type), *_GRAPHQL_HEADERS[MediaType.JSON][1:])
    for parts_format in PartsFormat
}
_EVENTS_HEADERS: Final[Mapping[EventsFormat, RawHeaders]] = {
    events_format: (
        (b"content-type", events_format.content_type),
        (b"x-accel-buffering", b"no"),  # nginx would keep events until it has many
        *_SECURITY_HEADERS,
    )
    for events_format in EventsFormat
}
_LIVE_PARTS_HEADERS: Final = {
    each: (*headers, (b"x-accel-buffering", b"no")) for each, headers in _PARTS_HEADERS.items()
}
_BODILESS: Final = {204, 304}
_OTHER_PATHS: Final = ("/health", "/ready", "/metrics")
"""What is served beside the endpoint; none of them can be its own path."""
_ALLOW: Final = {"graphql": b"GET, POST, OPTIONS", "read": b"GET, HEAD"}


@dataclass(slots=True)
class Reply:
    """An HTTP response: whole, or one that goes on for a while.

    Not to be changed; freezing it would cost a call per field and request.
    """

    status: int
    headers: RawHeaders
    body: bytes
    """All of it, or its beginning."""
    codes: Sequence[str] = ()
    """The codes of the errors in it, for the log; those of `rest` are there when it has been sent."""
    rest: "_Rest | None" = None
    """What comes after `body`, piece by piece; whoever does not read it to its end closes it."""


Handler = Callable[[Scope, Headers, Receive], Awaitable[Reply]]
_Answer = TypeVar("_Answer", bound=Response | None)


class App:
    """Serves one engine; an instance lives as long as its process serves."""

    def __init__(self, engine: Engine, *, path: str = "/graphql") -> None:
        """Raises ValueError for a `path` at which nothing can be served; the root may be written "" as well as "/"."""
        path = _endpoint(path)
        self._engine = engine
        self._config = engine.config
        self.limits = engine.config.limits
        self._cors = make_cors(engine.config.cors)
        self._explorer = _explorer(engine.config)
        self._metrics = Metrics(engine.supergraph.subgraphs)
        self._ready = True
        self._assets_prefix = f"{path.rpartition('/')[0]}/{ASSETS}/"
        self._handlers: dict[str, Handler] = {
            path: self._graphql,
            "/health": self._health,
            "/ready": self._readiness,
        }
        if engine.config.metrics.public:
            self._handlers["/metrics"] = self._show_metrics
        self._sockets: set[GraphQLSocket] = set()
        self._ends_streams = False
        self._beside: AbstractAsyncContextManager[object] = nullcontext()
        engine.add_observer(self._metrics)
        engine.add_observer(FailureLog())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)

    def live_with(self, beside: AbstractAsyncContextManager[object]) -> None:
        """Have something entered before this serves, and left when it ends; a RouterError keeps it from serving."""
        self._beside = beside

    def metrics_text(self) -> str:
        """The counters, in Prometheus' text form."""
        return self._metrics.text(self._engine.state)

    def drain(self) -> None:
        """Say at /ready that no new requests should come; those that come are still answered."""
        self._ready = False

    def end_streams(self) -> None:
        """End every subscription with SUBSCRIPTION_DRAINED, and begin none any more; WebSockets end behind them."""
        self._ends_streams = True
        self._engine.end_subscriptions()
        for socket in self._sockets:
            socket.drain()

    @property
    def draining(self) -> bool:
        """Whether `drain` was called: connections are not to be used for another request."""
        return not self._ready

    @property
    def trusted_proxies(self) -> int:
        """How many proxies stand in front."""
        return self._config.trusted_proxies

    def watch(self, connections: Held) -> None:
        """Show these connections among the counters."""
        self._metrics.connections = connections

    def wants_body(self, method: str, path: str) -> bool:
        """Whether it is an operation in a body; whatever else comes is answered by its head."""
        return method == "POST" and self._handlers.get(path) == self._graphql

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        """The status, the headers and the body for what never became a request; counted and logged like one."""
        identity = request_id(request_id_given)
        reply = _refuse(refusal)
        self._metrics.response_sent(reply.status)
        if self._config.access_log:
            fields = {"request_id": identity, "status": reply.status, "codes": sorted(reply.codes)}
            log_request("refused", fields)
        return reply.status, (*reply.headers, (b"x-request-id", identity.encode())), reply.body

    @property
    def requests_in_flight(self) -> int:
        """How many requests are being served."""
        return self._metrics.requests_in_flight

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._engine.start()
                    await self._beside.__aenter__()
                except RouterError as error:
                    await self._engine.close()
                    await send({"type": "lifespan.startup.failed", "message": error.message})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                self.drain()
                await self._beside.__aexit__(None, None, None)
                await self._engine.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # ---- one request ----

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        identity = request_id(_header(scope, b"x-request-id"))
        current_request_id.set(identity)
        self._metrics.requests_in_flight += 1
        in_flight = 1
        try:
            reply = await self._reply(scope, receive, identity)
            if reply.rest is not None:
                if reply.rest.heartbeat:  # a subscription, which is counted as one
                    self._metrics.requests_in_flight -= in_flight
                    in_flight = 0
                await self._send_in_pieces(reply, reply.rest, identity, receive, send)
        except ClientDisconnected:
            return
        finally:
            self._metrics.requests_in_flight -= in_flight
        if reply.rest is None:
            exchange = exchange_of(send)
            if exchange is None or not exchange.respond(reply.status, reply.headers, identity.encode(), reply.body):
                await _send_whole(reply, identity, send)
        self._metrics.response_sent(reply.status)
        if self._config.access_log:
            fields: dict[str, object] = {
                "request_id": identity,
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": reply.status,
                "ms": round((time.perf_counter() - started) * 1000, 3),
            }
            if reply.codes:
                fields["codes"] = sorted(set(reply.codes))
            if isinstance(reply.rest, _Answers):
                fields["events"] = reply.rest.sent
            log_request("request", fields)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: operations, where it may be one for them."""
        headers = self._socket_headers(scope)
        if headers is None:
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: a 403
            return
        sender = _sender(send, self.limits.operation_timeout_ms)
        path = scope["path"]
        socket = GraphQLSocket(self._engine, headers, receive, sender, path=path, counts=self._metrics)
        self._sockets.add(socket)
        self._metrics.websockets += 1
        try:
            await socket.serve(scope.get("subprotocols") or [])
        except ClientDisconnected:
            pass
        finally:
            self._metrics.websockets -= 1
            self._sockets.discard(socket)

    def _socket_headers(self, scope: Scope) -> dict[str, str] | None:
        """A handshake's headers with names in lower case; None where there may be no WebSocket for it."""
        scope = {"query_string": b"", **scope}
        try:
            given = read_headers(scope, self.limits)
            headers = {name.lower(): value for name, value in given.items()}  # some servers leave them as they came
            headers["x-forwarded-for"] = client_address(scope, headers, self._config.trusted_proxies) or ""
            return headers if self._takes_socket(scope, headers) else None
        except RouterError:
            return None

    def _takes_socket(self, scope: Scope, headers: Headers) -> bool:
        """Whether there is room, and a page that asks is one that may: browsers send cookies along with a handshake,
        whoever asks. Raises RouterError where there is nothing at its path."""
        is_full = self._ends_streams or len(self._sockets) >= self.limits.websockets_max
        if is_full or self._handler(scope) != self._graphql:
            return False
        origin = headers.get("origin")
        if origin is None or not self._config.csrf_protection:
            return True
        return self._cors.lets_in(origin) or origin.partition("://")[2] == headers.get("host")

    async def _send_in_pieces(self, reply: Reply, rest: "_Rest", identity: str, receive: Receive, send: Send) -> None:
        """Send a response as it comes. When the client goes away, or does not read, so does all that was to come."""
        headers = [*reply.headers, (b"x-request-id", identity.encode())]
        sender = _sender(send, self.limits.operation_timeout_ms)
        if rest.heartbeat:
            sender = Beating(sender, rest.heartbeat, self.limits.subscription_heartbeat_ms / 1000)
        sending = asyncio.ensure_future(_send_all(reply, rest, headers, sender))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnected
            failure = sending.exception()
            if isinstance(failure, ClientDisconnected):
                raise failure
            if failure is not None:  # what it took from the client was said to the client
                error_log.error("the router failed", exc_info=failure, extra={"fields": {"request_id": identity}})
        finally:
            await _end(sending, leaving)
            if isinstance(sender, Beating):
                sender.stop()
            await rest.aclose()

    async def _reply(self, scope: Scope, receive: Receive, identity: str) -> Reply:
        """The response to any request; nothing raises but the client's going away."""
        cors: RawHeaders = ()
        try:
            headers = read_headers(scope, self.limits)
            headers["x-request-id"] = identity
            headers["x-forwarded-for"] = client_address(scope, headers, self._config.trusted_proxies) or ""
            cors = self._cors.answer_headers(headers)
            reply = await self._handler(scope)(scope, headers, receive)
        except RouterError as refusal:
            reply = _refuse(refusal)
        except ClientDisconnected:
            raise
        except Exception as bug:  # noqa: BLE001  # the last resort: any bug is logged with its request id
            error_log.exception("the router failed", extra={"fields": {"request_id": identity}})
            reply = _refuse(InternalError(InternalText(repr(bug))))
        return replace(reply, headers=(*reply.headers, *cors)) if cors else reply

    def _handler(self, scope: Scope) -> Handler:
        path: str = scope["path"]
        root: str = scope.get("root_path") or ""
        if root and path.startswith(root):
            path = path[len(root) :] or "/"
        handler = self._handlers.get(path)
        if handler is not None:
            return handler
        if self._explorer is not None and path.startswith(self._assets_prefix):
            return self._asset(path.removeprefix(self._assets_prefix))
        raise RequestError(ErrorCode.NOT_FOUND)

    # ---- GraphQL ----

    async def _graphql(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        method = scope["method"]
        accept = headers.get("accept", "")
        if method in {"GET", "HEAD"} and self._explorer is not None and prefers_html(accept):
            return _send_file(self._explorer.page, headers)
        if method == "OPTIONS":
            return Reply(204, ((b"allow", _ALLOW["graphql"]), *_SECURITY_HEADERS, *self._cors.preflight), b"")
        if method not in {"GET", "POST"}:
            return _not_allowed(_ALLOW["graphql"])
        if self._metrics.requests_in_flight > self.limits.requests_in_flight_max:
            raise RouterError(ErrorCode.OVERLOADED)
        media_type, streams = negotiate(accept), negotiate_streams(accept)
        if media_type is None and streams is None:
            raise RequestError(ErrorCode.NOT_ACCEPTABLE)
        if method == "POST":
            check_content_type(headers)
            exchange = exchange_of(receive)
            if exchange is None:
                body = await read_body(receive, headers, self.limits)
            else:
                body = whole_body(exchange.take_body(), self.limits)
            request = decode_body(body)
        else:
            if self._config.csrf_protection and not is_preflighted(headers):
                raise RequestError(ErrorCode.CSRF_REJECTED)  # by its headers alone: any page can make browsers send it
            request = decode_query_string(scope["query_string"])
        if streams is None:
            return await _while_there(self._whole_answer(request, headers, method, media_type), receive)
        return await self._streamed_answer(request, headers, method, media_type, streams, receive)

    async def _streamed_answer(
        self,
        request: GraphQLRequest,
        headers: Headers,
        method: str,
        media_type: MediaType | None,
        streams: Streams,
        receive: Receive,
    ) -> Reply:
        """The reply to a client that takes parts of an answer, or events."""
        parts_format, events_format = streams.parts, streams.events
        answer = partial(
            self._answer,
            request,
            headers,
            method,
            incremental=parts_format is not None,
            events=events_format is not None,
        )
        if self._config.traces and asks_for_live_trace(headers):
            begun = await self._begun(lambda watch: answer(watch=watch), streams, receive)
            if isinstance(begun, Reply):
                return begun
            response = begun
        else:
            response = await _unless_left(answer(), receive)
        try:
            is_one = media_type is not None or parts_format is not None
            if events_format is not None and (response.events is not None or not is_one):
                return _reply_in_events(response, events_format)
            return _reply_with(response, media_type, parts_format)
        except BaseException:
            await _close(response)
            raise

    async def _begun(
        self, ask: Callable[[Watch], Coroutine[Any, Any, Response]], streams: Streams, receive: Receive
    ) -> Reply | Response:
        """The reply that tells of fetches as they begin and end; the response, where it was there before any began."""
        answer_format: PartsFormat | EventsFormat
        if streams.parts is not None:
            answer_format, headers = streams.parts, _LIVE_PARTS_HEADERS[streams.parts]
        else:
            assert streams.events is not None, "one of them is given"
            answer_format, headers = streams.events, _EVENTS_HEADERS[streams.events]
        live = LiveAnswer(ask, answer_format)
        try:
            response = await _unless_left(live.begin(), receive)
        except BaseException:
            await live.aclose()
            raise
        if response is not None:
            return response
        return Reply(200, headers, answer_format.opening, live.codes, live)

    async def _whole_answer(
        self, request: GraphQLRequest, headers: Headers, method: str, media_type: MediaType | None
    ) -> Reply:
        """The reply to a request whose answer comes in one piece: its own, or that to an equal query under way."""
        sharing, key = self._engine.shared_answers, None
        if sharing is not None:
            key = self._engine.sharing_key(request.query or "", request.variables, request.operation_name, headers)
        if sharing is None or key is None:
            response = await self._answer(request, headers, method, incremental=False)
            return _reply_with(response, media_type, None)

        async def answer() -> Reply:
            return _reply_with(await self._answer(request, headers, method, incremental=False), media_type, None)

        reply: Reply
        reply, is_shared = await sharing.share((key, media_type), answer)
        self._metrics.shared_answers += is_shared
        return reply

    def _answer(
        self,
        request: GraphQLRequest,
        headers: Headers,
        method: str,
        *,
        incremental: bool,
        events: bool = False,
        watch: Watch | None = None,
    ) -> Coroutine[Any, Any, Response]:
        return self._engine.answer(
            request.query or "",
            variables=request.variables,
            operation_name=request.operation_name,
            headers=headers,
            extensions=request.extensions,
            method=method,
            queries_only=method == "GET",
            incremental=incremental,
            as_text=True,
            events=events,
            watch=watch,
        )

    # ---- the rest ----

    async def _health(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        if scope["method"] not in {"GET", "HEAD"}:
            return _not_allowed(_ALLOW["read"])
        return Reply(200, _JSON_HEADERS, b'{"status":"ok"}')

    async def _readiness(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        if scope["method"] not in {"GET", "HEAD"}:
            return _not_allowed(_ALLOW["read"])
        if not self._ready:
            raise RouterError(ErrorCode.NOT_READY)
        return Reply(200, _JSON_HEADERS, b'{"status":"ready"}')

    async def _show_metrics(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        if scope["method"] not in {"GET", "HEAD"}:
            return _not_allowed(_ALLOW["read"])
        return Reply(200, ((b"content-type", CONTENT_TYPE), *_SECURITY_HEADERS), self.metrics_text().encode())

    def _asset(self, name: str) -> Handler:
        async def send_asset(scope: Scope, headers: Headers, receive: Receive) -> Reply:
            assert self._explorer is not None
            file = self._explorer.assets.get(name)
            if file is None:
                raise RequestError(ErrorCode.NOT_FOUND)
            if scope["method"] not in {"GET", "HEAD"}:
                return _not_allowed(_ALLOW["read"])
            return _send_file(file, headers)

        return send_asset


def _endpoint(path: str) -> str:
    """The path of the GraphQL endpoint, as requests have it."""
    if path == "":
        return "/"
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} has no slash at its start; write {f'/{path}'!r}")
    if path in _OTHER_PATHS:
        raise ValueError(f"{path!r} is taken; the endpoint can be anywhere but at {', '.join(_OTHER_PATHS)}")
    if re.search(r"[?#]|%[0-9A-Fa-f]{2}", path):
        raise ValueError(f"no request has the path {path!r}; write it decoded, and without a query")
    return path


def _reply_with(response: Response, media_type: MediaType | None, parts_format: PartsFormat | None) -> Reply:
    """A response in one of the media types that the client takes, at least one of which is given."""
    status = response.status or status_of(response.refusal, media_type or MediaType.JSON)
    codes = [error.own_code or error.code.name for error in response.errors]
    if parts_format is not None and (response.later is not None or media_type is None):
        headers = _PARTS_HEADERS[parts_format]
        body = parts_format.first(response)
    else:
        headers = _GRAPHQL_HEADERS[media_type or MediaType.JSON]
        body = response.encode()
    if status == 405:
        headers = (*headers, (b"allow", b"POST"))
    if response.headers:
        headers = _with_own(headers, response)
    if response.later is None or parts_format is None:
        return Reply(status, headers, body, codes)
    return Reply(status, headers, body, codes, _Pieces(parts_format, response.later, codes))


def _reply_in_events(response: Response, events_format: EventsFormat) -> Reply:
    """A subscription, or the one answer there is, as events. What ends with another status than 200 is plain JSON."""
    status = response.status or status_of(response.refusal, MediaType.JSON)
    codes = [error.own_code or error.code.name for error in response.errors]
    if response.events is None and status != 200:
        return _reply_with(response, MediaType.JSON, None)
    headers = _with_own(_EVENTS_HEADERS[events_format], response)
    if response.events is None:
        body = events_format.opening + events_format.event(response) + events_format.ending
        return Reply(status, headers, body, codes)
    return Reply(status, headers, events_format.opening, codes, _Answers(events_format, response.events, codes))


def _with_own(headers: RawHeaders, response: Response) -> RawHeaders:
    """The headers with those that plug-ins have added, or put in their places."""
    own = tuple((name.encode("latin-1"), value.encode("utf-8")) for name, value in response.headers)
    names = {name for name, _ in own}
    return (*(each for each in headers if each[0] not in names), *own)


async def _close(response: Response | None) -> None:
    """End what was to come after a response."""
    if response is None:
        return
    if response.later is not None:
        await response.later.aclose()
    if response.events is not None:
        await response.events.aclose()


class _Answers:
    """The answers to a subscription as a body, as they come; their codes are added to `codes`, each once."""

    def __init__(self, events_format: EventsFormat, events: Events, codes: list[str]) -> None:
        self._format = events_format
        self._events = events
        self._codes = codes
        self._is_over = False
        self.heartbeat = events_format.heartbeat
        self.sent = 0
        """How many were written."""

    def __aiter__(self) -> "_Answers":
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        try:
            response = await self._events.__anext__()
        except StopAsyncIteration:
            self._is_over = True
            return self._format.ending
        for error in response.errors:
            code = error.own_code or error.code.name
            if code not in self._codes and len(self._codes) < CODES_MAX:
                self._codes.append(code)
        if response.refusal is not None:
            self._is_over = True
            return self._format.event(response) + self._format.ending
        self.sent += 1
        return self._format.event(response)

    async def aclose(self) -> None:
        """End the subscription, whether any answer was read or not."""
        await self._events.aclose()


CODES_MAX: Final = 100
"""100 codes of one subscription are logged: a subgraph may give each of its errors another."""


class Beating:
    """Sends messages, and something to show that it is there where none was sent for a while."""

    def __init__(self, send: Send, body: bytes, every_s: float) -> None:
        self._send = send
        self._body = body
        self._every_s = every_s
        self._is_busy = False
        self._has_sent = True
        self._beat: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(every_s, self._on_timer)

    async def __call__(self, message: Message) -> None:
        """Send a message, behind a heartbeat that is under way."""
        if self._beat is not None:
            beat, self._beat = self._beat, None
            await beat
        self._has_sent = self._is_busy = True
        try:
            await self._send(message)
        finally:
            self._is_busy = False

    def stop(self) -> None:
        """Send nothing any more."""
        self._timer.cancel()
        if self._beat is not None:
            self._beat.cancel()

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every_s, self._on_timer)
        if not self._has_sent and not self._is_busy and self._beat is None:
            body: Message = {"type": "http.response.body", "body": self._body, "more_body": True}
            self._beat = loop.create_task(self._send_beat(body))
        self._has_sent = False

    async def _send_beat(self, body: Message) -> None:
        with suppress(ClientDisconnected):  # who waits for that is told elsewhere
            await self._send(body)
        self._beat = None


class _Pieces:
    """The rest of a body, as it comes; the codes of its errors are added to `codes`."""

    heartbeat = b""

    def __init__(self, parts_format: PartsFormat, later: Later, codes: list[str]) -> None:
        self._format = parts_format
        self._later = later
        self._codes = codes

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        parts = await self._later.__anext__()
        self._codes += (error.own_code or error.code.name for part in parts.parts for error in part.errors)
        return self._format.following(parts)

    async def aclose(self) -> None:
        """Close the parts, whether any was read or not."""
        await self._later.aclose()


WATCH_AFTER_S: Final = 0.1
"""100 ms: an answer that takes longer is given up when its client goes away. Most are there before that."""


async def _while_there(answering: Coroutine[object, object, Reply], receive: Receive) -> Reply:
    """A reply. If the client goes away before, all that is done for it ends, but what a mutation does."""
    exchange, asking = exchange_of(receive), asyncio.current_task()
    if exchange is None or asking is None:
        return await _while_watched(answering, receive)
    if exchange.has_gone:  # something before this application has taken its time
        answering.close()
        raise ClientDisconnected
    exchange.on_gone = asking.cancel
    try:
        return await answering
    except asyncio.CancelledError:
        if exchange.has_gone and asking.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        exchange.on_gone = None


async def _while_watched(answering: Coroutine[object, object, Reply], receive: Receive) -> Reply:
    """The same where the client's going is only told to who waits for it, which is done when it takes long."""
    asking, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert asking is not None
    watching: asyncio.Task[None] | None = None
    has_left = False

    def leave(watching: "asyncio.Task[None]") -> None:
        nonlocal has_left
        if not watching.cancelled() and watching.exception() is None:
            has_left = True
            asking.cancel()

    def watch() -> None:
        nonlocal watching
        watching = loop.create_task(_disconnected(receive))
        watching.add_done_callback(leave)

    timer = loop.call_later(WATCH_AFTER_S, watch)
    try:
        return await answering
    except asyncio.CancelledError:
        if has_left and asking.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.remove_done_callback(leave)
            watching.cancel()


async def _unless_left(answering: Coroutine[object, object, _Answer], receive: Receive) -> _Answer:
    """A response, unless the client goes away before it is there: that ends all that is done for it."""
    answer, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnected
        await _end(leaving)
        return answer.result()
    except BaseException:
        await _end(answer, leaving)
        if not answer.cancelled() and answer.exception() is None:
            await _close(answer.result())
        raise


async def _end(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks and wait for their end; how they end is nobody's business any more."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def _sender(send: Send, timeout_ms: int) -> Send:
    """`send` for a client that reads: one that takes nothing for so long is as good as gone."""

    async def send_in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await send(message)
        except TimeoutError:
            raise ClientDisconnected from None

    return send_in_time


_Rest = _Pieces | _Answers | LiveAnswer
"""What comes after the beginning of a body."""


async def _send_whole(reply: Reply, identity: str, send: Send) -> None:
    headers = [*reply.headers, (b"x-request-id", identity.encode())]
    if reply.status not in _BODILESS:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _send_all(reply: Reply, rest: "_Rest", headers: list[tuple[bytes, bytes]], send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": True})
    try:
        async for piece in rest:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except ClientDisconnected:
        raise
    except Exception:
        await send({"type": "http.response.body", "body": b""})
        raise
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _explorer(config: Config) -> Explorer | None:
    if not config.explorer:
        return None
    return load_explorer(title=config.explorer_title, examples=config.explorer_examples, traces=config.traces)


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def _send_file(file: StaticFile, headers: Headers) -> Reply:
    file = file.accepted(headers.get("accept-encoding", ""))
    if headers.get("if-none-match") == file.etag.decode():
        return Reply(304, (file.headers[1:]), b"")
    return Reply(200, file.headers, file.body)


def _refuse(refusal: RouterError) -> Reply:
    """What is refused before there is an operation: a GraphQL error body under the code's own status."""
    body = orjson.dumps({"errors": [error.to_json() for error in refusal.errors()]})
    headers = _GRAPHQL_HEADERS[MediaType.JSON]
    if refusal.status == 503:
        headers = (*headers, (b"retry-after", b"1"))
    if refusal.code is ErrorCode.MUTATION_OVER_GET:
        headers = (*headers, (b"allow", b"POST"))
    return Reply(refusal.status, headers, body, (refusal.code.name,))


def _not_allowed(allow: bytes) -> Reply:
    reply = _refuse(RequestError(ErrorCode.METHOD_NOT_ALLOWED))
    return replace(reply, headers=(*reply.headers, (b"allow", allow)))
