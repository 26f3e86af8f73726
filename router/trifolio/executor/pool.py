"""Requests to a subgraph over HTTP/1.1 on connections that are kept: the transport that the router uses.

How it works. A request takes the connection that was used last (`_idle` is a stack, so that those which are not needed
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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from trifolio.errors import ErrorCode
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
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
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
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(self, request: bytes, timeout_s: float, *, is_repeatable: bool) -> HttpResponse:
        """The response to a whole request, if it comes in time; raises what the future of `Connection.exchange` does.

        `is_repeatable`: the request may be sent again where a kept connection turns out to have been closed.
        """
        if self._is_closed:
            raise ConnectionBroken("the transport is closed")
        now = self._now()
        deadline = now + timeout_s
        connection = self._take_idle(now) or await self._acquire_usable(deadline)
        while True:
            is_fresh = connection.is_fresh
            try:
                return await connection.exchange(request, deadline)
            except asyncio.CancelledError:
                connection.abort()
                raise
            except ConnectionStale:
                if is_fresh or not is_repeatable:
                    raise
            finally:
                self._pass_on(connection)
            self._close_idle()  # the peer has mostly closed them all
            connection = await self._take_new(deadline)  # a fresh one: there is no third time

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
            kept = self._take_idle(self._now())
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

    def _now(self) -> float:
        """The loop's time; the loop is looked up once, as that costs more than to ask it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def _take_idle(self, now: float) -> Connection | None:
        oldest = now - self._idle_timeout_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().abort()

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
                self._pass_on(turn.result())
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

    def _pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or the place of one, to the first who waits; else put it aside."""
        if connection is None:
            self._free_place()
            return
        if self._is_closed or not connection.is_usable:
            connection.abort()
            return
        turn = self._next_turn() if self._waiting else None
        if turn is not None:
            turn.set_result(connection)
        else:
            connection.idle_since = self._now()
            self._idle.append(connection)

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
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._free_place()


Exchanged = tuple[HttpResponse, bytes]
"""A response, and its body without the coding that it came in."""


class PooledTransport:
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
        try:
            message = self._message(request)
        except _UnsendableHeader as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error
        is_shared = False
        if self._sharing is None:
            response, content = await self._exchange(request, message)
        else:
            (response, content), is_shared = await self._share(self._sharing, request, message)
        answer = self._subgraph.answer(request, response.status, response.content_type, response.headers, content)
        answer.set_cookies = response.set_cookies
        answer.is_shared = is_shared
        return answer

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
            return response, self._decoded(response)
        except ResponseTooLarge as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE, request, str(error)) from error
        except TimeoutError as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_TIMEOUT, request, repr(error)) from error
        except (ResponseBroken, UnknownCoding) as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, request, repr(error)) from error
        except (OSError, ConnectionBroken) as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error

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
        body = request_body(request.operation, request.variables)
        length = b"content-length: %d\r\n\r\n" % len(body)
        forwarded = self._subgraph.forwarded(request)
        if request.own_headers:
            headers = {**self._fixed, **forwarded, **request.own_headers}
            return b"".join((self._start, _lines(headers), length, body))
        return b"".join((self._head, _lines(forwarded), length, body))

    def _decoded(self, response: HttpResponse) -> bytes:
        coding = response.content_coding
        if coding is None:
            return response.content
        try:
            content = decoded(response.content, coding, self._subgraph.response_bytes_max)
        except UnknownCoding:
            if 200 <= response.status < 300:
                raise
            return b""  # the status says enough
        if content is None:
            raise ResponseTooLarge("the decoded body")
        return content


class _UnsendableHeader(ValueError):
    """A header whose value would end the line that it stands in."""


def _lines(headers: Mapping[str, str]) -> bytes:
    if not headers:
        return b""
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
