"""Requests to a subgraph over HTTP/1.1 on connections that are kept: the transport that the router uses.

How it works. A request takes the connection that was used last (`idle` is a stack, so that those which are not needed
grow old), opens one while there are fewer than `connections_max`, or waits for its turn. A request that is
done hands its connection on to the first that waits. A connection that is gone leaves its place to the first that
waits, too; so places are never lost and never given twice: `_open` counts the connections and those being opened,
`_connections` has the former.

A kept connection can be closed by its peer at any moment. If that happens before a byte of the response arrived, a
query is sent once more, on a new connection; a mutation may have been carried out and is not.
"""

import asyncio
import base64
import functools
import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.connection import (
    Connection,
    ConnectionBroken,
    ConnectionStale,
    HttpResponse,
    ResponseBroken,
    ResponseTooLarge,
)
from trifolio.executor.content_coding import CODINGS, UnknownCoding, decoded
from trifolio.executor.http import JSON_HEADERS, HttpSubgraph, request_body
from trifolio.executor.in_flight import InFlight
from trifolio.executor.transport import BeginningTransport, SubgraphRequest, SubgraphResponse, Tell
from trifolio.header_fields import CONNECTION_FIELDS, is_field_name
from trifolio.limits import Limits
from trifolio.message_heads import KnownHeads
from trifolio.sharing import Sharing

_DEFAULTS: Final = Limits()
URLS_MAX: Final = 32
"""32 other URLs per subgraph that plug-ins may send requests to: a region or a tenant each; every one has a pool of its
own, so a URL per client would open connections without end."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")
_NO_FIELD_VALUE: Final = re.compile(r"[\0\r\n]")
_URL_SAFE: Final = "/%:@!$&'()*+,;=?~"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a subgraph listens, out of its URL."""

    host: str
    port: int
    authority: str
    """The Host header."""
    target: str
    """Path and query."""
    is_tls: bool
    credentials: str | None
    """The Authorization header of a URL with a user name."""

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The parts of an http: or https: URL; raises ValueError, which does not show it, for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "\\" in url:
            raise ValueError("its URL is no http:// or https:// URL")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("its URL names no port that there is") from None
        host, is_tls = _host_of(parts.hostname), parts.scheme == "https"
        name = f"[{host}]" if ":" in host else host
        query = f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else ""
        credentials = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            credentials = f"Basic {base64.b64encode(pair).decode()}"
        default_port = 443 if is_tls else 80
        return cls(
            host=host,
            port=default_port if port is None else port,
            authority=name if port is None else f"{name}:{port}",
            target=quote(parts.path or "/", safe=_URL_SAFE) + query,
            is_tls=is_tls,
            credentials=credentials,
        )


def _host_of(text: str) -> str:
    """A host's name as DNS has it, or an IP address; raises ValueError for any other text."""
    if ":" in text and "%" not in text:
        return str(IPv6Address(text))
    host = text.encode("idna").decode("ascii")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} in its URL is no host")
    return host


@functools.cache
def _default_tls() -> ssl.SSLContext:
    """Certificates are verified against those that the system trusts, or SSL_CERT_FILE; reading them takes its time."""
    return ssl.create_default_context()


class ConnectionPool:
    """The connections to one origin. It belongs to the event loop that first sends through it."""

    def __init__(
        self,
        origin: Origin,
        *,
        connections_max: int,
        connect_timeout_s: float,
        idle_timeout_s: float,
        head_bytes_max: int,
        body_bytes_max: int,
    ) -> None:
        self._origin = origin
        self._connections_max = connections_max
        self._connect_timeout_s = connect_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._head_bytes_max = head_bytes_max
        self._body_bytes_max = body_bytes_max
        self._known_heads = KnownHeads[HttpResponse]()
        self._tls = _default_tls() if origin.is_tls else None
        self._open = 0
        self._connections: set[Connection] = set()
        self.idle: list[Connection] = []
        """The connections that are kept and not in use, those that were used last at the end."""
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(self, request: bytes, timeout_s: float, *, is_repeatable: bool) -> HttpResponse:
        """The response to a whole request, if it comes in time; raises what `Connection.exchange` tells of.

        `is_repeatable`: the request may be sent again where a kept connection turns out to have been closed.
        """
        if self._is_closed:
            raise ConnectionBroken("the transport is closed")
        now = self.now()
        deadline = now + timeout_s
        connection = self.take_idle(now) or await self._acquire_usable(deadline)
        is_fresh = connection.is_fresh
        try:
            return await self._exchange_on(connection, request, deadline)
        except ConnectionStale:
            if is_fresh or not is_repeatable:
                raise
        return await self.exchange_again(request, deadline)

    async def exchange_again(self, request: bytes, deadline: float) -> HttpResponse:
        """The response to a request that was sent on a connection that turned out to have been closed.

        It goes out on a new one, by the loop's time `deadline`, so that there is no third time.
        """
        self._close_idle()  # the peer has mostly closed them all
        return await self._exchange_on(await self._take_new(deadline), request, deadline)

    async def _exchange_on(self, connection: Connection, request: bytes, deadline: float) -> HttpResponse:
        try:
            return await self._response(connection, request, deadline)
        except asyncio.CancelledError:
            connection.give_up()
            raise
        finally:
            self.pass_on(connection)

    def _response(self, connection: Connection, request: bytes, deadline: float) -> "asyncio.Future[HttpResponse]":
        """Send a whole request. Who waits keeps the future in no variable: with a failure it would be a circle."""
        response: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        connection.exchange(request, deadline, functools.partial(_resolve, response))
        return response

    async def close(self) -> None:
        """End every connection; what is under way fails."""
        self._is_closed = True
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # the loop ends them in its next round

    async def _acquire_usable(self, deadline: float) -> Connection:
        """A new connection, or the first that is handed on and was not closed meanwhile."""
        while True:
            connection = await self._acquire(deadline)
            if connection.is_usable:
                return connection
            kept = self.take_idle(self.now())
            if kept is not None:
                return kept

    async def _take_new(self, deadline: float) -> Connection:
        """A new connection; one that is handed on gives up its place for it."""
        connection = await self._acquire(deadline)
        if connection.is_fresh:
            return connection
        if connection not in self._connections:  # it is gone, and its place is another's
            return await self._take_new(deadline)
        self._connections.discard(connection)
        connection.abort()
        return await self._connect(deadline)

    def now(self) -> float:
        """The loop's time; the loop is looked up once, as that costs more than to ask it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def take_idle(self, now: float) -> Connection | None:
        """A connection that is kept, for whoever passes it on; None where there is none that was used of late."""
        oldest = now - self._idle_timeout_s
        while self.idle:
            connection = self.idle.pop()
            if connection.idle_since >= oldest and connection.is_usable:
                return connection
            connection.abort()
        return None

    def _close_idle(self) -> None:
        while self.idle:
            self.idle.pop().abort()

    async def _acquire(self, deadline: float) -> Connection:
        """A new connection, or the first that is handed on."""
        if self._open < self._connections_max:
            self._open += 1
            return await self._connect(deadline)
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                connection = await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it came at the very moment when the caller gave up
                self.pass_on(turn.result())
            raise
        return connection or await self._connect(deadline)

    async def _connect(self, deadline: float) -> Connection:
        """Fill a place that was taken; whatever goes wrong frees it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._connect_timeout_s)):
                _, connection = await loop.create_connection(
                    self._new_connection, self._origin.host, self._origin.port, ssl=self._tls
                )
            if self._is_closed or not connection.is_usable:
                connection.abort()
                raise ConnectionBroken("it was closed at once")
        except BaseException:
            self._free_place()
            raise
        self._connections.add(connection)
        return connection

    def _new_connection(self) -> Connection:
        return Connection(
            self._lost,
            head_bytes_max=self._head_bytes_max,
            body_bytes_max=self._body_bytes_max,
            known=self._known_heads,
        )

    def pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or the place of one, to the first who waits; else put it aside."""
        if connection is None:
            self._free_place()
            return
        if self._is_closed or not connection.keeps_alive:
            connection.abort()
            return
        turn = self._next_turn() if self._waiting else None
        if turn is not None:
            turn.set_result(connection)
        else:
            connection.idle_since = self.now()
            self.idle.append(connection)

    def _free_place(self) -> None:
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(None)
        else:
            self._open -= 1

    def _next_turn(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _lost(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._free_place()


def _resolve(waiting: "asyncio.Future[HttpResponse]", came: HttpResponse | Exception) -> None:
    """End a wait; whoever has stopped waiting ends the connection."""
    if waiting.done():
        return
    if isinstance(came, HttpResponse):
        waiting.set_result(came)
    else:
        waiting.set_exception(came)


Exchanged = tuple[HttpResponse, bytes]
"""A response, and its body without the coding that it came in."""


class PooledTransport(BeginningTransport):
    """POSTs to one subgraph's URL over kept-alive connections."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        forward_headers: tuple[str, ...] = ("authorization",),
        timeout_ms: int = _DEFAULTS.fetch_timeout_ms,
        connect_timeout_ms: int = _DEFAULTS.fetch_connect_timeout_ms,
        idle_timeout_ms: int = _DEFAULTS.fetch_idle_timeout_ms,
        header_bytes_max: int = _DEFAULTS.fetch_header_bytes_max,
        response_bytes_max: int = _DEFAULTS.fetch_response_bytes_max,
        connections_max: int = _DEFAULTS.fetch_connections_max,
        sharing: Sharing[Exchanged] | None = None,
    ) -> None:
        """`headers` go with every request, `forward_headers` (lower case) are taken over from the client's. With
        `sharing`, a query that is the same as one under way gets its response; other transports may use the same one.

        Raises:
            ValueError: the URL, or a header, is none.
        """
        origin = Origin.of(url)
        own = {} if origin.credentials is None else {"authorization": origin.credentials}
        fixed = {**own, **{name.lower(): value for name, value in (headers or {}).items()}, **JSON_HEADERS}
        forward_headers = tuple(name.lower() for name in forward_headers)
        for name in (*fixed, *forward_headers):
            if not is_field_name(name) or name in CONNECTION_FIELDS:
                raise ValueError(f"{name!r} is no header that can be sent along")
        forwarded = tuple(name for name in forward_headers if name not in fixed)
        self.forwarded_headers = forwarded
        """The client's headers that the subgraph may get: with the request, all that an answer depends on."""
        self._sharing = sharing
        self._subgraph = HttpSubgraph(url, forward_headers=forwarded, response_bytes_max=response_bytes_max)
        self._timeout_s = timeout_ms / 1000
        start = f"POST {origin.target} HTTP/1.1\r\nhost: {origin.authority}\r\naccept-encoding: {CODINGS}\r\n"
        self._start = start.encode("ascii")
        self._fixed = fixed
        self._head = self._start + _lines(fixed)
        self._at = functools.partial(
            PooledTransport,
            headers=headers,
            forward_headers=forward_headers,
            timeout_ms=timeout_ms,
            connect_timeout_ms=connect_timeout_ms,
            idle_timeout_ms=idle_timeout_ms,
            header_bytes_max=header_bytes_max,
            response_bytes_max=response_bytes_max,
            connections_max=connections_max,
            sharing=sharing,
        )
        self._elsewhere: dict[str, PooledTransport] = {}
        """The transports to other URLs that plug-ins sent requests to."""
        self._pool = ConnectionPool(
            origin,
            connections_max=connections_max,
            connect_timeout_s=connect_timeout_ms / 1000,
            idle_timeout_s=idle_timeout_ms / 1000,
            head_bytes_max=header_bytes_max,
            body_bytes_max=response_bytes_max,
        )

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send one request; raises SubgraphError where no GraphQL answer comes back in time."""
        if request.url is not None:
            return await self._transport_to(request).send(replace(request, url=None))
        message = self._message(request)
        if self._sharing is None:
            return self._answer(request, *await self._exchange(request, message))
        exchanged, is_shared = await self._share(self._sharing, request, message)
        answer = self._answer(request, *exchanged)
        answer.is_shared = is_shared
        return answer

    def can_begin(self) -> bool:
        """Whether a request can be sent without a wait: on a connection that is kept, and not for others as well."""
        return self._sharing is None and self._pool.idle != []

    def begin(self, request: SubgraphRequest, tell: Tell, /) -> InFlight | None:
        """Send one request without a wait: `tell` gets what `send` would return or raise. None where that is not to be
        had, for `send` instead; raises SubgraphError where it cannot be sent at all."""
        pool = self._pool
        if request.url is not None or self._sharing is not None or not pool.idle:
            return None
        message, now = self._message(request), pool.now()
        connection = pool.take_idle(now)
        if connection is None:
            return None
        begun = _Begun(pool, connection, request, message, now + self._timeout_s, self._meaning, tell)
        connection.exchange(message, begun.deadline, begun.ended)
        return begun

    def _meaning(self, request: SubgraphRequest, came: HttpResponse | Exception) -> SubgraphResponse:
        """What an exchange came to; raises SubgraphError where it is no answer."""
        if not isinstance(came, HttpResponse):
            raise self._failure(request, came) from came
        content = came.content if came.content_coding is None else self._readable(request, came)
        return self._answer(request, came, content)

    def _answer(self, request: SubgraphRequest, response: HttpResponse, content: bytes) -> SubgraphResponse:
        """What a response with this content means."""
        return self._subgraph.answer(
            request, response.status, response.content_type, response.headers, content, response.set_cookies
        )

    async def _share(
        self, sharing: Sharing[Exchanged], request: SubgraphRequest, message: bytes
    ) -> tuple[Exchanged, bool]:
        """The response to a message, and whether another request, which was the same, brought it."""
        if request.kind == "query":
            return await sharing.share((self, message), functools.partial(self._exchange, request, message))
        try:
            return await self._exchange(request, message), False
        finally:
            sharing.part()

    async def _exchange(self, request: SubgraphRequest, message: bytes) -> Exchanged:
        """Send a message and wait for its response; raises SubgraphError where none comes that can be read."""
        try:
            response = await self._pool.exchange(message, self._timeout_s, is_repeatable=request.kind == "query")
        except (ResponseTooLarge, ConnectionBroken, OSError) as error:  # a TimeoutError is an OSError
            raise self._failure(request, error) from error
        return response, self._readable(request, response)

    def _readable(self, request: SubgraphRequest, response: HttpResponse) -> bytes:
        """The body without its coding; raises SubgraphError where that is unknown, or it is too large."""
        if response.content_coding is None:
            return response.content
        try:
            return self._decoded(response, response.content_coding)
        except (ResponseTooLarge, UnknownCoding, OSError) as error:
            raise self._failure(request, error) from error

    def _failure(self, request: SubgraphRequest, error: Exception) -> SubgraphError:
        """What an exchange that came to nothing means."""
        code, internal = ErrorCode.SUBGRAPH_UNREACHABLE, repr(error)
        if isinstance(error, ResponseTooLarge):
            code, internal = ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE, str(error)
        elif isinstance(error, TimeoutError):
            code = ErrorCode.SUBGRAPH_TIMEOUT
        elif isinstance(error, ResponseBroken | UnknownCoding):
            code = ErrorCode.SUBGRAPH_RESPONSE_MALFORMED
        return self._subgraph.failure(code, request, internal)

    async def close(self) -> None:
        """Close the connections."""
        for other in self._elsewhere.values():
            await other.close()
        await self._pool.close()

    def _transport_to(self, request: SubgraphRequest) -> "PooledTransport":
        """The transport to the URL that a request names."""
        url = request.url or ""
        transport = self._elsewhere.get(url)
        if transport is None:
            try:
                if len(self._elsewhere) >= URLS_MAX:
                    raise ValueError(f"requests went to {URLS_MAX} other URLs already")
                transport = self._elsewhere[url] = self._at(url)
            except ValueError as error:
                raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, str(error)) from error
        return transport

    def _message(self, request: SubgraphRequest) -> bytes:
        """The whole request; raises SubgraphError where it has a header that cannot be sent."""
        body = request_body(request.operation, request.variables)
        length = b"content-length: %d\r\n\r\n" % len(body)
        forwarded = self._subgraph.forwarded(request)
        try:
            if request.own_headers:
                headers = {**self._fixed, **forwarded, **request.own_headers}
                return b"".join((self._start, _lines(headers), length, body))
            return b"".join((self._head, _lines(forwarded) if forwarded else b"", length, body))
        except _UnsendableHeader as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error

    def _decoded(self, response: HttpResponse, coding: str) -> bytes:
        try:
            content = decoded(response.content, coding, self._subgraph.response_bytes_max)
        except UnknownCoding:
            if 200 <= response.status < 300:
                raise
            return b""  # the status says enough
        if content is None:
            raise ResponseTooLarge("the decoded body")
        return content


_Meaning = Callable[[SubgraphRequest, HttpResponse | Exception], SubgraphResponse]


class _Begun:
    """A request that is not waited for: what its connection calls at its end."""

    __slots__ = (
        "_again",
        "_connection",
        "_is_given_up",
        "_meaning",
        "_message",
        "_pool",
        "_request",
        "_tell",
        "deadline",
    )

    def __init__(
        self,
        pool: ConnectionPool,
        connection: Connection,
        request: SubgraphRequest,
        message: bytes,
        deadline: float,
        meaning: _Meaning,
        tell: Tell,
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._request = request
        self._message = message
        self.deadline = deadline
        """The loop's time by which it ends."""
        self._meaning = meaning
        self._tell = tell
        self._again: asyncio.Task[HttpResponse] | None = None
        self._is_given_up = False

    def cancel(self) -> None:
        """End it, with its connection."""
        self._is_given_up = True
        if self._again is None:
            self._connection.give_up()
            self._pool.pass_on(self._connection)
        else:
            self._again.cancel()

    def ended(self, came: HttpResponse | Exception) -> None:
        """What the connection tells: the first time that it could not be used, of a query, is not the last."""
        self._pool.pass_on(self._connection)
        if isinstance(came, ConnectionStale) and self._request.kind == "query":
            sending = self._pool.exchange_again(self._message, self.deadline)
            self._again = asyncio.get_running_loop().create_task(sending)
            self._again.add_done_callback(self._has_ended_again)
        else:
            self._pass_on(came)

    def _has_ended_again(self, task: "asyncio.Task[HttpResponse]") -> None:
        self._again = None
        if not task.cancelled():
            failure = task.exception()
            if self._is_given_up:  # while this waited for its turn
                return
            if isinstance(failure, Exception):
                self._pass_on(failure)
            elif failure is None:
                self._pass_on(task.result())

    def _pass_on(self, came: HttpResponse | Exception) -> None:
        try:
            response = self._meaning(self._request, came)
        except Exception as error:  # noqa: BLE001  # as `send` would raise it
            self._tell(error)
        else:
            self._tell(response)


class _UnsendableHeader(ValueError):
    """A header whose value would end the line that it stands in."""


def _lines(headers: Mapping[str, str]) -> bytes:
    for name, value in headers.items():
        if _NO_FIELD_VALUE.search(value):
            raise _UnsendableHeader(f"the value of the header {name!r} holds a line break or NUL")
    return b"".join(_line(name, value) for name, value in headers.items())


def _line(name: str, value: str) -> bytes:
    text = f"{name}: {value}\r\n"
    try:
        return text.encode("latin-1")  # as the server read it: what came as bytes goes as the same bytes
    except UnicodeEncodeError:
        return text.encode()
