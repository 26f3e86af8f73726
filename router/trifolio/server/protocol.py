"""One client's connection: HTTP/1.1 in, ASGI to the application, and an end to whatever a stranger may hold open.

The problem. A client decides what it sends, and when. A head that never ends, a body of which no byte comes, trailers
without end, an answer that nobody reads: each holds memory and a place, and costs the client nothing. And what two
servers read differently (two lengths, a coding that one of them does not know) lets one client's request be taken for a
part of another's.

The idea. llhttp (the parser of Node, through httptools) tells requests from bytes; this class decides what counts.

- Every state has a clock. A connection waits for a request (idle), reads a head, reads a body, waits for the
  application, or is being ended; `deadline` says in ticks (`connections.py`) when that is enough. What is sent and not
  read by the client has a clock of its own, `write_deadline`.
- Every byte counts. Heads by what is in them, bodies by their length, and whatever else comes with a body (chunk sizes,
  their extensions, trailers) against what headers may take.
- A head that came twice on its connection is not parsed a third time (`message_heads.py`).
- A request is handed to the application when it is whole, or when its body makes no difference. So half a request holds
  bytes and no task, and bytes of halves are bounded for the process. What comes behind the body as trailers is counted
  and dropped: nothing is believed that a proxy in front has not seen in the head.
- Requests that come before the answer to an earlier one wait in a queue, read no further, and are answered in order.
- What cannot be served is answered with a code, in its turn, and then the connection ends: the writing side first, so
  that the answer is not lost, and soon after whole.

Why it is right. Invariants: (1) `_exchange` is the one whose answer is due, and only it writes; the queue behind it is
what was accepted, in order. (2) After the refusal of a request nothing more is parsed, so no byte behind it can become
a request. (3) With an unfinished request or none, `deadline` is set whatever the client does; bytes alone never move
it. (4) Reading is paused while the queue is not empty or the client does not read, so memory per connection is one read
of the socket, one body, and one answer.

What it costs. About 10 microseconds per request, a third of them in the parser. An offer of another protocol
(`Upgrade`) makes the head be read twice, as the parser would otherwise take the body for that protocol's first bytes.

Specification: RFC 9112 (HTTP/1.1); RFC 9110, sections 6.5 (trailers), 7.8 (Upgrade) and 10.1.1 (Expect).
"""

import asyncio
import logging
import select
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.config import Config as ServerConfig
from uvicorn.server import ServerState

from trifolio.errors import ErrorCode, InternalError, InternalText, RequestError, RouterError
from trifolio.message_heads import Head, split
from trifolio.server.client_connection import ClientConnection, resolve
from trifolio.server.connections import NEVER, ticks
from trifolio.server.exchange import CONTINUE, Exchange, whole_response
from trifolio.server.framing import problem_of, refused, without_upgrade

LINGER_MS: Final = 2_000
"""2 s for a client to read why it was refused, before the connection ends whole."""
LINGER_BYTES_MAX: Final = 10_000_000
"""10 MB is read and dropped meanwhile: closing on unread bytes would take the answer from the client."""
BESIDE_BODY_RATIO_MAX: Final = 8
"""8 bytes of framing for each byte of a body: a chunk of one byte has five."""
STOPPED: Final = "the application was stopped before its response was whole"

_MORE_THAN_A_HEAD: Final = frozenset({b"transfer-encoding", b"upgrade", b"expect"})
"""Fields that ask more of a connection than to read a body of some length."""

_log: Final = logging.getLogger("trifolio.error")


class HttpProtocol(ClientConnection):
    """One connection, as uvicorn makes it: `uvicorn.Config(http="trifolio.server.protocol:HttpProtocol")`."""

    __slots__ = (
        "_beside_bytes",
        "_body_bytes",
        "_chunks",
        "_dropped_bytes",
        "_ends",
        "_exchange",
        "_expects_continue",
        "_fed_body_bytes",
        "_fed_is_one",
        "_field_count",
        "_gone",
        "_head_bytes",
        "_headers",
        "_is_in_body",
        "_is_in_head",
        "_is_lingering",
        "_keeps_alive",
        "_known",
        "_last_head",
        "_method",
        "_parser",
        "_queue",
        "_refusal",
        "_url",
        "_version",
    )

    PLAIN_SCHEME = "http"

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._queue: list[Exchange] = []
        self._is_in_body = False
        self._refusal: RouterError | None = None
        self._ends = False
        self._fed_is_one = True
        self._is_in_head = False
        self._is_lingering = False
        self._expects_continue = False
        self._dropped_bytes = self._head_bytes = 0
        self._fed_body_bytes = self._body_bytes = self._beside_bytes = self._field_count = 0
        self._method, self._version, self._keeps_alive = b"", "", True
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._last_head: Head | None = None
        self._known: _KnownRequest | None = None
        self._gone: asyncio.Future[None] | None = None

    # ---- what the event loop calls ----

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: what waits for it is told."""
        super().connection_lost(exc)
        self._ends = True
        self._queue.clear()
        self._is_in_body = False
        if self._exchange is not None:
            self._exchange.end()
        resolve(self._gone)
        del self._parser  # it holds this object: what is left of both would wait for a collection of garbage

    def eof_received(self) -> bool:
        """The client has sent all it will; whoever waits for an answer would have kept the connection open."""
        return False

    def resume_writing(self) -> None:
        """The client has read most of what was sent."""
        super().resume_writing()
        if self._is_lingering:
            self.deadline = self._connections.tick + self._connections.send_ticks
        elif self._exchange is None:
            self._next()
        self._update_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and count it."""
        if self._ends or self._refusal is not None:
            self._drop(len(data))
            return
        message = None
        if not self._is_in_head and not self._is_in_body and self._exchange is None and not self._is_writing_paused:
            if self._known is not None:
                seen = self._known.head.look_at(data)
                if seen is not None and len(data) - seen[1] <= self._connections.limits.body_bytes_max:
                    self._serve_known(self._known, *seen, data)
                    return
            message = split(data)
        self._parse(data)
        if message is not None:
            self._learn(message[0], len(data) - message[2])

    def _serve_known(self, known: "_KnownRequest", digits: bytes, body_at: int, data: bytes) -> None:
        """Serve a request with a head that is known."""
        fields = self._headers = [*known.fields]
        fields[known.length_at] = (b"content-length", digits)
        scope = self._scope_of(known.method, known.version, known.target, fields)
        self._start(Exchange(scope, data[body_at:], keeps_alive=True))

    def _learn(self, head: Head, length: int) -> None:
        """Keep what the head of a request says that names this length, if the parser has found a whole request of it,
        after which the next may come.

        That is done when it comes for the second time: behind a proxy hardly a head is the same as the one before.
        """
        if head != self._last_head:
            self._last_head, self._known = head, None
            return
        exchange = self._exchange
        if exchange is None or self._queue or self._ends or self._is_in_head or self._is_in_body:
            return
        scope, fields = exchange.scope, self._headers
        lengths = [index for index, (name, _) in enumerate(fields) if name == b"content-length"]
        is_framed_so = len(lengths) == 1 and len(exchange.body) == length
        target = _target(self._url)
        if is_framed_so and target is not None and all(name not in _MORE_THAN_A_HEAD for name, _ in fields):
            method, version = scope["method"], scope["http_version"]
            self._known = _KnownRequest(head, method, version, target, tuple(fields), lengths[0])

    def _parse(self, data: bytes) -> None:
        was_in_head, was_in_body = self._is_in_head, self._is_in_body
        self._fed_body_bytes = 0
        self._fed_is_one = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._on_broken(error)
        if self._is_in_head:
            if was_in_head or self._fed_is_one:
                self._count_head(len(data))
        elif self._is_in_body:
            self._count_body(len(data), is_all_body=was_in_body and self._fed_is_one)
            self._start_early()
        self._refuse()

    # ---- what the parser calls, to the end of its bytes, whatever is found in them ----

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url = b""
        self._headers = []
        self._head_bytes = self._field_count = 0
        self._is_in_head = True
        self._expects_continue = False
        if self._exchange is None:
            self.deadline = self._connections.tick + self._connections.head_ticks

    def on_url(self, url: bytes) -> None:
        """The request's target, or a part of it."""
        self._url += url
        if len(self._url) > self._connections.limits.url_bytes_max:
            self._reject(RequestError(ErrorCode.URL_TOO_LONG))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one behind the body is counted and dropped (RFC 9110, section 6.5.1)."""
        self._field_count += 1
        if self._field_count > self._connections.limits.header_count_max:
            self._reject(RequestError(ErrorCode.HEADERS_TOO_LARGE))
        if self._is_in_head and self._refusal is None:
            name = name.lower()
            self._headers.append((name, value.rstrip()))
            if name == b"expect" and value.lower() == b"100-continue":
                self._expects_continue = True

    def on_headers_complete(self) -> None:
        """A head is whole: is it one that can be served?"""
        if self._refusal is not None or self._ends:
            return
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            return  # feeding ends with HttpParserUpgrade
        self._is_in_head = False
        self._field_count = 0
        version = parser.get_http_version()
        problem = problem_of(version, method, self._headers, self._connections.limits)
        if problem is not None:
            self._reject(problem)
            return
        self._method, self._version, self._keeps_alive = method, version, parser.should_keep_alive()
        self._is_in_body = True
        self._body_bytes = self._beside_bytes = 0
        if self._exchange is None:
            self.deadline = self._connections.tick + self._connections.body_ticks

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if not self._is_in_body or self._refusal is not None:
            return
        self._fed_body_bytes += len(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._connections.limits.body_bytes_max:
            self._reject(RequestError(ErrorCode.BODY_TOO_LARGE))
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._fed_is_one = False
        if not self._is_in_body or self._refusal is not None or self._ends:
            return
        chunks = self._chunks
        incoming = self._take(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if incoming is None:
            return
        if not incoming.keeps_alive:
            self._ends = True
        if self._exchange is None and not self._is_writing_paused:
            self._start(incoming)
            return
        self._queue.append(incoming)
        if len(self._queue) >= self._connections.limits.pipelined_requests_max:
            incoming.keeps_alive = (
                False  # those behind it are not taken, and the client learns it from this one's answer
            )
            self._ends = True
        self._update_reading()

    # ---- requests ----

    def _take(self, body: bytes) -> Exchange | None:
        """The request that was read, with this body; None where its target is no URL, for which it is rejected."""
        self._is_in_body = False
        self._chunks = []
        if self._held_bytes:
            self._hold(0)
        scope = self._scope()
        if scope is None:
            self._reject(refused("The target is no URL."))
            return None
        return Exchange(scope, body, keeps_alive=self._keeps_alive)

    def _scope(self) -> dict[str, Any] | None:
        """The request as ASGI describes it; None where its target is no URL."""
        target = _target(self._url)
        if target is None:
            return None
        return self._scope_of(self._method.decode("ascii"), self._version, target, self._headers)

    def _scope_of(
        self, method: str, version: str, target: "_Target", fields: list[tuple[bytes, bytes]]
    ) -> dict[str, Any]:
        path, raw_path, query = target
        root = self._config.root_path
        return {
            "type": "http",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": root,
            "method": method,
            "path": root + path,
            "raw_path": root.encode("ascii") + raw_path,
            "query_string": query,
            "headers": fields,
            "state": self._app_state.copy(),
        }

    def _start(self, exchange: Exchange) -> None:
        """It is this request's turn."""
        connections = self._connections
        connections.begin(self)
        self._exchange = exchange
        self.deadline = connections.tick + connections.request_ticks
        exchange.begin(self)
        task = self._loop.create_task(self._serve(exchange))
        exchange.task = task
        self._state.tasks.add(task)

    def _start_early(self) -> None:
        """Answer a request whose body makes no difference without waiting for it, as the last on its connection."""
        if self._refusal is not None or self._exchange is not None or self._queue:
            return
        target = _target(self._url)
        if target is None or not self._connections.edge.wants_body(self._method.decode("ascii"), target[0]):
            self._keeps_alive = False
            early = self._take(b"")
            if early is not None:
                self._ends = True
                self._start(early)

    async def _serve(self, exchange: Exchange) -> None:
        """Run the application; whatever it does, the client gets an answer, or the connection ends."""
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
            failure = None if exchange.is_complete else "the application sent no whole response"
        except asyncio.CancelledError:
            failure = None if exchange.is_complete else STOPPED
        except BaseException as error:
            _log.exception("the application failed")
            failure = repr(error)
            if not isinstance(error, Exception):
                self._abort()
                raise
        finally:
            self._state.tasks.discard(exchange.task)
        if self._exchange is not exchange:
            return
        if failure is None:
            self._after(exchange)
        elif exchange.has_begun:
            self._abort()  # only a broken connection tells the client that something is missing
        else:
            self._exchange = None
            self._queue.clear()
            stopped = failure is STOPPED
            self._reject(RouterError(ErrorCode.OVERLOADED) if stopped else InternalError(InternalText(failure)))
            self._refuse()

    def _after(self, exchange: Exchange) -> None:
        """A response is whole: the next request's turn, or an end."""
        self._state.total_requests += 1
        self._exchange = None
        resolve(self._gone)
        self._gone = None
        if self._transport is None:
            return
        if not exchange.keeps_alive:
            self._queue.clear()
            self._end()
            return
        self._next()

    def _next(self) -> None:
        """With no request under way: the next one that waits, or whatever there is to wait for."""
        connections = self._connections
        if self._transport is None or self._is_lingering or self._is_writing_paused:
            return
        if self._queue:
            self._start(self._queue.pop(0))
            self._update_reading()
            return
        connections.wait(self)
        if self._refusal is not None:
            self._refuse()
        elif self._is_in_body:
            self.deadline = connections.tick + connections.body_ticks
            self._continue()
        else:
            is_in_head = self._is_in_head
            self.deadline = connections.tick + (connections.head_ticks if is_in_head else connections.idle_ticks)

    def _continue(self) -> None:
        """Tell a client that waits for it to send its body, when it is its turn."""
        if self._expects_continue and self._is_in_body and self._exchange is None:
            self._expects_continue = False
            if not self._body_bytes and self._version == "1.1":
                self.write(CONTINUE)

    def _on_upgrade(self, rest: bytes) -> None:
        """A request offers another protocol: unless that is ASGI's, it is served in this one (RFC 9110, 7.8)."""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if self._refusal is not None or self._ends:
            return
        if self._speaks_websocket() and self._exchange is None and not self._queue:
            problem = problem_of(version, method, self._headers, self._connections.limits)
            if problem is None:
                self._hand_over(method, rest)
            else:
                self._reject(problem)
            return
        head = without_upgrade(method, self._url, version, self._headers)
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
            if rest:
                self._parser.feed_data(rest)
        except httptools.HttpParserUpgrade as upgrade:  # another request behind it
            self._on_upgrade(rest[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._on_broken(error)

    def _on_broken(self, error: httptools.HttpParserError) -> None:
        """What came is no HTTP; behind the last request anything may come."""
        if not self._ends:
            self._reject(refused(f"It is no HTTP: {error}."))

    def _speaks_websocket(self) -> bool:
        offers = any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self._headers)
        return offers and self._config.ws_protocol_class is not None

    def _hand_over(self, method: bytes, rest: bytes) -> None:
        """Let the server's WebSocket protocol have the connection, from the request's first byte on."""
        transport, protocol_class = self._transport, self._config.ws_protocol_class
        assert transport is not None
        assert protocol_class is not None
        protocol = protocol_class(config=self._config, server_state=self._state, app_state=self._app_state)  # type: ignore[call-arg]  # each has its own
        lines = [b"%b %b HTTP/1.1\r\n" % (method, self._url), *(b"%b: %b\r\n" % each for each in self._headers)]
        self._state.connections.discard(self)
        self._connections.remove(self, self._address)
        self.deadline = NEVER
        self._transport = None
        self._ends = True
        protocol.connection_made(transport)
        protocol.data_received(b"".join([*lines, b"\r\n", rest]))
        transport.set_protocol(protocol)

    # ---- bytes ----

    def _count_head(self, number: int) -> None:
        """Count what came of a head that is not whole yet."""
        limits = self._connections.limits
        self._head_bytes += number
        if self._head_bytes > limits.header_bytes_max + limits.url_bytes_max:
            self._reject(RequestError(ErrorCode.HEADERS_TOO_LARGE))

    def _count_body(self, number: int, *, is_all_body: bool) -> None:
        """Count what came of a body that is not whole yet, and what came beside it."""
        limits = self._connections.limits
        if is_all_body:
            self._beside_bytes += number - self._fed_body_bytes
            if self._beside_bytes > limits.header_bytes_max + BESIDE_BODY_RATIO_MAX * self._body_bytes:
                self._reject(RequestError(ErrorCode.HEADERS_TOO_LARGE))
        self._hold(self._body_bytes)
        if self._connections.held_bytes > limits.held_bytes_max:
            self._reject(RouterError(ErrorCode.OVERLOADED))
        if self._refusal is None:
            self._continue()

    def _drop(self, number: int) -> None:
        """Bytes behind the last request that is served."""
        self._dropped_bytes += number
        if not self._is_lingering:
            self._update_reading()
        elif self._dropped_bytes > LINGER_BYTES_MAX:
            self._abort()

    def _update_reading(self) -> None:
        """Read on exactly where what is read can be dealt with."""
        pause = bool(self._queue) or self._is_writing_paused or (self._dropped_bytes > 0 and not self._is_lingering)
        if pause is not self._is_paused:
            self._pause_reading(pause)

    # ---- what an exchange calls ----

    def write(self, data: bytes) -> None:
        """Send bytes; nothing when the client has gone."""
        if self._transport is not None:
            self._transport.write(data)

    def date_line(self) -> bytes:
        """The fields that every response has, as lines."""
        return self._connections.lines_of(self._state.default_headers)

    def is_draining(self) -> bool:
        """Whether the connection should not be used again."""
        return self._connections.is_closing or self._connections.edge.draining

    def on_streaming(self) -> None:
        """The response ends when the application ends it; the client's reading has its own clock."""
        self.deadline = NEVER

    async def gone(self) -> None:
        """Wait until the client goes away or the exchange is over."""
        if self._transport is not None:
            if self._gone is None:
                self._gone = self._loop.create_future()
            await asyncio.shield(self._gone)

    # ---- ends ----

    def shutdown(self) -> None:
        """The server is about to stop (uvicorn calls this): requests under way are answered, and then it is over."""
        self._connections.close()
        if self._is_unused():
            self._loop.call_soon(self._loop.call_soon, self._end_unused)

    def _is_unused(self) -> bool:
        """Whether no request is under way, not even the beginning of one."""
        is_reading = self._is_in_body or (self._is_in_head and bool(self._url))
        return self._exchange is None and not self._queue and not is_reading

    def _end_unused(self) -> None:
        """End an idle connection, but not under a request that has just arrived and was not read yet."""
        if self._transport is None or not self._is_unused():
            return
        if _is_readable(self._transport):
            self._loop.call_soon(self._end_unused)
        else:
            self._end()

    def on_deadline(self) -> None:
        """What was waited for has not come."""
        if self._transport is None:
            return
        if self._exchange is not None:
            self._give_up(self._exchange)
        elif self._is_lingering and self._is_writing_paused:
            self.deadline = NEVER  # the other clock watches
        elif self._is_lingering or self._transport.get_write_buffer_size():
            self._abort()
        elif self._is_in_body or (self._is_in_head and self._url):
            self._reject(RequestError(ErrorCode.REQUEST_TIMEOUT))
            self._refuse()
        else:
            self._end()

    def _give_up(self, exchange: Exchange) -> None:
        """The application has not answered in time."""
        self._exchange = None
        exchange.end()
        if exchange.task is not None:
            exchange.task.cancel()
        resolve(self._gone)
        if exchange.has_begun:
            self._abort()
            return
        self._queue.clear()
        self._reject(RouterError(ErrorCode.OPERATION_TIMEOUT))
        self._refuse()

    def _reject(self, refusal: RouterError) -> None:
        """What comes now is not served, for the first reason that is found; `_refuse` answers it."""
        if self._refusal is None:
            self._refusal = refusal

    def _refuse(self) -> None:
        """Answer what was rejected, when the answers before it have gone out; nothing is read after it."""
        refusal = self._refusal
        if refusal is None:
            return
        self._is_in_body = False
        self._chunks = []
        self._is_in_head = False
        self._hold(0)
        if self._exchange is not None or self._queue or self._transport is None or self._is_lingering:
            return
        given = next((value for name, value in self._headers if name == b"x-request-id"), None)
        identity = given.decode("latin-1") if given is not None else None
        status, headers, body = self._connections.edge.refuse(refusal, identity)
        self.write(whole_response(status, headers, body, extra=self.date_line()))
        self._end()

    def _end(self) -> None:
        """End the connection so that what was written arrives: our side first, the other soon after."""
        transport = self._transport
        if transport is None or self._is_lingering:
            return
        self._ends = self._is_lingering = True
        connections = self._connections
        connections.wait(self)
        is_unread = transport.get_write_buffer_size() > 0
        self.deadline = connections.tick + (connections.send_ticks if is_unread else ticks(LINGER_MS))
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the other side has gone altogether
            transport.abort()


_Target = tuple[str, bytes, bytes]


class _KnownRequest(NamedTuple):
    """What the head of a request said, after which the connection stays."""

    head: Head
    method: str
    version: str
    target: _Target
    fields: tuple[tuple[bytes, bytes], ...]
    length_at: int
    """Where in `fields` the Content-Length is."""


def _target(url: bytes) -> _Target | None:
    """A request's path, decoded and as it came, and its query string; None where they are no URL's."""
    if url == b"*":
        return "*", url, b""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserError:
        return None
    raw_path = parsed.path or b"/"
    path = raw_path.decode("latin-1")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""


def _is_readable(transport: asyncio.Transport) -> bool:
    """Whether bytes have arrived that the loop has not seen yet."""
    connection = transport.get_extra_info("socket")
    if connection is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
