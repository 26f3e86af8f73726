"""Subscriptions at subgraphs over the network: by WebSocket (graphql-transport-ws), server-sent events or multipart.

Single requests go the way that they always go; what is added is `subscribe`. Each subscription has a connection of its
own, with its caller's headers. A connection that breaks is made again, after pauses that grow, for so long as
`limits.subscription_reconnect_ms`; what the subgraph sent meanwhile is lost, so the next event says that
(`SubgraphEvent.is_resumed`). What cannot be had at the beginning, what the subgraph refuses, and what it ends by the
protocol's own word is not tried again.

What a subgraph sends is never trusted: an event is bounded in bytes, what is none of the protocol's ends the
subscription with a code, and one that is silent for `limits.subscription_silence_ms` counts as broken.

Specifications: graphql-ws's and graphql-sse's PROTOCOL.md; Apollo's "HTTP multipart subscription protocol".
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from email.message import Message
from typing import Any, Final, Literal

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.encoding import encode_json
from trifolio.executor.http import HttpSubgraph, request_body
from trifolio.executor.pool import PooledTransport
from trifolio.executor.transport import SubgraphEvent, SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits

UpstreamProtocol = Literal["websocket", "sse", "multipart"]

SUBPROTOCOL: Final = Subprotocol("graphql-transport-ws")
PAUSE_MIN_S: Final = 0.1
"""100 ms before a connection is made again; twice as long after each that brought nothing."""
PAUSE_MAX_S: Final = 5.0
"""5 s at most: who waits longer is not there when the subgraph is."""
MESSAGES_WAITING_MAX: Final = 16
"""16 messages of a WebSocket are read ahead; beyond, the subgraph's side waits."""

_ACCEPT: Final = {
    "sse": "text/event-stream, application/graphql-response+json;q=0.5, application/json;q=0.4",
    "multipart": "multipart/mixed;boundary=graphql;subscriptionSpec=1.0, application/graphql-response+json;q=0.5,"
    " application/json;q=0.4",
}


class _Message(msgspec.Struct):
    """A message of graphql-transport-ws."""

    type: str
    id: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    """A part of Apollo's multipart; empty: a heartbeat."""

    payload: msgspec.Raw = msgspec.Raw(b"")
    errors: msgspec.Raw = msgspec.Raw(b"")


_MESSAGES: Final = msgspec.json.Decoder(_Message)
_PARTS: Final = msgspec.json.Decoder(_Part)
_NOTHING: Final = (b"", b"null")
_ID: Final = "1"
"""The id of the one operation of a WebSocket."""
_RETURN: Final = ord("\r")
_LINE_END: Final = re.compile(rb"[\r\n]")
_MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark, with which a stream of events may begin."""


class _BrokenError(Exception):
    """A connection that had begun has ended without the protocol's word for it."""


class _Connect(connect):
    """A connection to where it is asked for, and nowhere else: it carries its caller's headers."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """A redirect is a refusal."""
        return exc


class UpstreamTransport:
    """A subgraph that is asked over kept connections, and subscribed to over others."""

    def __init__(
        self,
        transport: PooledTransport,
        url: str,
        protocol: UpstreamProtocol,
        *,
        headers: dict[str, str],
        forward_headers: tuple[str, ...],
        timeout_ms: int,
        limits: Limits,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`headers` go with every subscription, `forward_headers` (lower case) are taken over from the client's;
        `timeout_ms` is how long the beginning may take. `pause` waits for so many seconds."""
        self._transport = transport
        self._protocol = protocol
        self._headers = headers
        self._timeout_s = timeout_ms / 1000
        self._event_bytes_max = limits.subscription_event_bytes_max
        self._silence_s = limits.subscription_silence_ms / 1000
        self._reconnect_s = limits.subscription_reconnect_ms / 1000
        self._pause = pause
        self._subgraph = HttpSubgraph(url, forward_headers=forward_headers, response_bytes_max=self._event_bytes_max)
        self._client: httpx.AsyncClient | None = None

    @property
    def forwarded_headers(self) -> tuple[str, ...]:
        """The names of the client's headers that a request may carry on, in lower case."""
        return self._transport.forwarded_headers

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send one request that has one answer."""
        return await self._transport.send(request)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        if self._client is not None:
            await self._client.aclose()

    async def subscribe(self, request: SubgraphRequest, /) -> AsyncIterator[SubgraphResponse]:
        """Send one subscription and give its events, over as many connections as it takes."""
        loop = asyncio.get_running_loop()
        broken_at, pause_s = None, PAUSE_MIN_S
        while True:
            started, has_begun = loop.time(), False
            try:
                async with aclosing(self._events(request)) as events:
                    async for event in events:
                        if event is None:  # it has begun
                            has_begun = True
                            continue
                        yield SubgraphEvent(body=event, is_resumed=broken_at is not None)
                        broken_at, pause_s = None, PAUSE_MIN_S
                return
            except _BrokenError as error:
                failure = self._subgraph.failure(
                    ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error.__cause__ or error)
                )
            except SubgraphError as error:
                if broken_at is None or error.code not in _TRANSIENT:
                    raise
                failure = error
            now = loop.time()
            if broken_at is None or (has_begun and now - started > self._reconnect_s):
                broken_at, pause_s = now, PAUSE_MIN_S
            if now - broken_at + pause_s > self._reconnect_s:
                raise failure
            await self._pause(pause_s * random.uniform(0.5, 1))  # noqa: S311 # so that not all come at once
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _events(self, request: SubgraphRequest) -> AsyncGenerator[bytes | None, None]:
        """The events of one connection, None first when it has begun. Raises _BrokenError, and SubgraphError where
        there is nothing to wait for."""
        return self._over_websocket(request) if self._protocol == "websocket" else self._over_http(request)

    def _failure(self, request: SubgraphRequest, code: ErrorCode, internal: str) -> SubgraphError:
        return self._subgraph.failure(code, request, internal)

    # ---- WebSocket ----

    async def _over_websocket(self, request: SubgraphRequest) -> AsyncGenerator[bytes | None, None]:
        url = self._subgraph.url if request.url is None else request.url
        forwarded = self._subgraph.forwarded(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await _Connect(
                    "ws" + url.removeprefix("http"),
                    subprotocols=[SUBPROTOCOL],
                    additional_headers={**forwarded, **self._headers, **(request.own_headers or {})},
                    compression=None,
                    proxy=None,
                    max_size=self._event_bytes_max,
                    max_queue=MESSAGES_WAITING_MAX,
                    open_timeout=None,
                    close_timeout=1,
                )
        except TimeoutError as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_TIMEOUT, repr(error)) from error
        except (OSError, WebSocketException) as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_UNREACHABLE, repr(error)) from error
        try:
            if connection.subprotocol != SUBPROTOCOL:
                raise self._failure(request, ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, "it does not speak the subprotocol")
            async with aclosing(self._converse(connection, request, forwarded)) as events:
                async for event in events:
                    yield event
        except ConnectionClosed as error:
            end = error.rcvd
            if error.sent is not None and error.sent.code == _TOO_BIG:
                raise self._failure(request, ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE, repr(error)) from error
            if end is not None and 4400 <= end.code < 4500:
                raise self._failure(request, ErrorCode.SUBGRAPH_ERROR, repr(error)) from error
            raise _BrokenError from error
        finally:
            await connection.close()

    async def _converse(
        self, connection: Any, request: SubgraphRequest, forwarded: dict[str, str]
    ) -> AsyncGenerator[bytes | None, None]:
        """Speak the protocol from `connection_init` on."""
        init: dict[str, object] = {"type": "connection_init", "payload": forwarded}
        await connection.send(encode_json(init).decode())
        try:
            async with asyncio.timeout(self._timeout_s):
                while (message := await self._hear(connection, request)).type != "connection_ack":
                    if message.type not in ("ping", "pong"):
                        raise self._failure(request, ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, message.type[:100])
        except TimeoutError as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_TIMEOUT, "no connection_ack") from error
        body = request_body(request.operation, request.variables).decode()
        await connection.send(f'{{"type":"subscribe","id":"{_ID}","payload":{body}}}')
        yield None
        while True:
            message = await self._hear(connection, request)
            if message.id not in (None, _ID):  # of an operation that there is not
                continue
            if message.type == "next":
                yield bytes(message.payload)
            elif message.type == "complete":
                return
            elif message.type == "error":
                yield b'{"data":null,"errors":' + bytes(message.payload) + b"}"
                return

    async def _hear(self, connection: Any, request: SubgraphRequest) -> _Message:
        """The next message; pings are answered. That a connection is there is the library's to find out."""
        text = await connection.recv()
        try:
            message = _MESSAGES.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, repr(error)) from error
        if message.type == "ping":
            await connection.send('{"type":"pong"}')
        return message

    # ---- HTTP ----

    async def _over_http(self, request: SubgraphRequest) -> AsyncGenerator[bytes | None, None]:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            timeout = httpx.Timeout(self._timeout_s, read=self._silence_s)
            self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        headers = {
            **self._subgraph.forwarded(request),
            **self._headers,
            "accept": _ACCEPT[self._protocol],
            "content-type": "application/json",
            **(request.own_headers or {}),
        }
        url = self._subgraph.url if request.url is None else request.url
        body = request_body(request.operation, request.variables)
        sent = self._client.build_request("POST", url, content=body, headers=headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.send(sent, stream=True)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_TIMEOUT, repr(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_UNREACHABLE, repr(error)) from error
        try:
            content_type = response.headers.get("content-type", "")
            media_type = content_type.partition(";")[0].strip().lower()
            if response.status_code == 200 and media_type == "text/event-stream":
                read = self._read_sse(response, request)
            elif response.status_code == 200 and media_type == "multipart/mixed":
                read = self._read_multipart(response, request, content_type)
            else:
                content = b"".join([chunk async for chunk in self._chunks(response, request, whole=True)])
                found = {name.lower(): value for name, value in response.headers.items()}
                answer = self._subgraph.answer(request, response.status_code, content_type, found, content)
                yield content if answer.body is not None else encode_json(answer.payload)
                return
            yield None
            async with aclosing(read) as events:
                async for event in events:
                    yield event
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _BrokenError from error
        finally:
            await response.aclose()

    async def _chunks(
        self, response: httpx.Response, request: SubgraphRequest, *, whole: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The body as it comes; with `whole`, bounded."""
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if whole and size > self._event_bytes_max:
                raise self._too_large(request)
            yield chunk

    def _too_large(self, request: SubgraphRequest) -> SubgraphError:
        return self._failure(
            request, ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE, f"an event of more than {self._event_bytes_max} bytes"
        )

    async def _read_sse(self, response: httpx.Response, request: SubgraphRequest) -> AsyncGenerator[bytes, None]:
        """Server-sent events (HTML, section 9.2.6), in graphql-sse's meaning."""
        buffer, searched, is_first, was_return = bytearray(), 0, True, False
        name, data, size = b"", list[bytes](), 0
        async for chunk in self._chunks(response, request):
            buffer += chunk
            while True:
                if was_return and buffer:  # both together are one line's end, in whatever pieces they come
                    del buffer[: buffer.startswith(b"\n")]
                    was_return = False
                found = _LINE_END.search(buffer, searched)
                if found is None:
                    break
                end = found.start()
                line, was_return, searched = bytes(buffer[:end]), buffer[end] == _RETURN, 0
                del buffer[: end + 1]
                if is_first:
                    line, is_first = line.removeprefix(_MARK), False
                key, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if key == b"event":
                    name = value
                elif key == b"data":
                    data.append(value)
                    size += len(value) + 1
                elif not line:
                    if name == b"complete":
                        return
                    if name == b"next":
                        yield b"\n".join(data)
                    name, data, size = b"", [], 0
                if size > self._event_bytes_max:
                    raise self._too_large(request)
            searched = len(buffer)
            if searched > self._event_bytes_max:
                raise self._too_large(request)
        raise _BrokenError("the body ended without an event that says so")

    async def _read_multipart(
        self, response: httpx.Response, request: SubgraphRequest, content_type: str
    ) -> AsyncGenerator[bytes, None]:
        """Parts (RFC 2046, section 5.1) in Apollo's meaning: one is whole when the boundary behind it is there."""
        header = Message()
        header["content-type"] = content_type
        boundary = b"--" + str(header.get_boundary() or "-").encode()
        buffer, searched, has_begun = bytearray(), 0, False
        async for chunk in self._chunks(response, request):
            buffer += chunk
            while (end := buffer.find(boundary, searched)) >= 0:
                if end > self._event_bytes_max:
                    raise self._too_large(request)
                content = bytes(buffer[:end]).partition(b"\r\n\r\n")[2]
                del buffer[: end + len(boundary)]
                searched, has_begun = 0, True
                if not content.strip():  # what stands before the first, or between two boundaries
                    continue
                read = self._part(content, request)
                payload, errors = bytes(read.payload), bytes(read.errors)
                if payload not in _NOTHING:
                    yield payload
                elif errors not in _NOTHING:
                    yield b'{"data":null,"errors":' + errors + b"}"
                    return
            if has_begun and buffer.startswith(b"--"):
                return
            searched = max(0, len(buffer) - len(boundary))
            if len(buffer) > self._event_bytes_max:
                raise self._too_large(request)
        raise _BrokenError("the body ended without its last boundary")

    def _part(self, content: bytes, request: SubgraphRequest) -> _Part:
        try:
            return _PARTS.decode(content)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._failure(request, ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, repr(error)) from error


_TOO_BIG: Final = 1009
_TRANSIENT: Final = frozenset(
    {ErrorCode.SUBGRAPH_UNREACHABLE, ErrorCode.SUBGRAPH_TIMEOUT, ErrorCode.SUBGRAPH_HTTP_ERROR}
)
"""What a subgraph that starts again answers for a while."""
