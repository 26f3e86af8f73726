"""One request and the response to it, as ASGI has them: `receive`, `send`, and the bytes that go out.

A request is whole before the application sees it, so `receive` has it at once, and after that only waits for the client
to go away. A response's head is kept until the first bytes of its body are there, and both go out in one write. The
application's headers are its own, but how the body is delimited, and whether the connection stays, is decided here.

An application that was handed an exchange's own methods, with nobody between (`exchange_of`), may do in one call what
takes it several. `respond` comes to the same bytes as two calls of `send`; `take_body` gives what the first `receive`
says, and `on_gone` is called for what the second one does.

Specification: ASGI, HTTP 2.3; RFC 9112, sections 4, 6 and 9; RFC 9110, sections 6.4.1 and 9.3.2.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol

from trifolio.server.http import Message, Scope

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response that a client waits for before it sends a body (RFC 9110, section 10.1.1)."""
_CLOSE: Final = b"connection: close\r\n"
_KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_OWN: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"upgrade"})
"""Fields about the connection, which are not the application's to write."""
_LENGTH: Final = b"content-length"
HEADS_MAX: Final = 64
"""64 beginnings of heads are kept: an application has few, unless plug-ins add to them."""

Fields = tuple[tuple[bytes, bytes], ...]


class Wire(Protocol):
    """The connection under an exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes; nothing when the client has gone."""

    async def drained(self) -> None:
        """Wait until the client has taken so much of what was sent that more may be."""

    def date_line(self) -> bytes:
        """The fields that every response has, as lines."""

    def is_draining(self) -> bool:
        """Whether the connection should not be used again."""

    def on_streaming(self) -> None:
        """The response has begun, and when it ends nobody knows."""

    async def gone(self) -> None:
        """Wait until the client goes away or the exchange is over."""


class Exchange:
    """One request; its `scope` and `body` are whole before it is handed to the application."""

    __slots__ = (
        "_head",
        "_is_chunked",
        "_left",
        "_received",
        "_sends_body",
        "_status",
        "_wire",
        "body",
        "is_complete",
        "keeps_alive",
        "on_gone",
        "scope",
        "task",
    )

    def __init__(self, scope: Scope, body: bytes = b"", *, keeps_alive: bool) -> None:
        self.scope = scope
        self.body = body
        self.keeps_alive = keeps_alive
        """Whether the connection can be used again after the response."""
        self.is_complete = False
        """Whether the response is whole."""
        self.task: asyncio.Task[None] | None = None
        self.on_gone: Callable[[], object] | None = None
        """What to call when the client goes before the response is whole."""
        self._wire: Wire | None = None
        self._received = False
        self._status = 0
        self._head: list[tuple[bytes, bytes]] | None = None
        self._is_chunked = False
        self._sends_body = True
        self._left: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether bytes of the response have been sent."""
        return self._status != 0 and self._head is None

    def begin(self, wire: Wire) -> None:
        """It is this exchange's turn on the connection."""
        self._wire = wire

    def end(self) -> None:
        """The client has gone: what is sent from here on goes nowhere."""
        self._wire = None
        if self.on_gone is not None:
            self.on_gone()

    @property
    def has_gone(self) -> bool:
        """Whether there is no client any more."""
        return self._wire is None

    # ---- what the application calls ----

    async def receive(self) -> Message:
        """The request's body; after that, that the client has gone."""
        if not self._received:
            return {"type": "http.request", "body": self.take_body(), "more_body": False}
        if self._wire is not None and not self.is_complete:
            await self._wire.gone()
        return {"type": "http.disconnect"}

    def take_body(self) -> bytes:
        """The request's body, once; then it is nobody's any more."""
        self._received = True
        body, self.body = self.body, b""
        return body

    async def send(self, message: Message) -> None:
        """A part of the response. Raises RuntimeError where it does not fit what was sent before."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._status:
                raise RuntimeError("the response has begun already")
            self._status = message["status"]
            self._head = list(message.get("headers", ()))
            return
        if kind != "http.response.body" or not self._status or self.is_complete:
            raise RuntimeError(f"{kind!r} is not what can be sent now")
        wire = self._wire
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if wire is None:
            self.is_complete = not more
            self._head = None
            return
        if self._head is not None:
            data = self._opening(self._head, wire, body, more=more)
            self._head = None
        else:
            data = self._piece(body, more=more)
        if not more:
            self.is_complete = True
            if self._is_chunked and wire.is_draining():
                self.keeps_alive = False  # it was not when the response began
            if self._left:
                self.keeps_alive = False  # less than was promised: the client must not wait for the rest
        if data:
            wire.write(data)
        if more:
            await wire.drained()

    def respond(self, status: int, fields: Fields, request_id: bytes, body: bytes) -> bool:
        """A whole response with an `x-request-id`, as `send` would send it; False where it has to be sent so."""
        wire = self._wire
        begin = None if self._status else _beginning(status, fields)
        if begin is None or wire is None:
            return False
        self._status = status
        self.is_complete = True
        is_bodiless = _is_bodiless(status)
        length = b"" if is_bodiless else b"content-length: %d\r\n" % len(body)
        if wire.is_draining():
            self.keeps_alive = False
        told = b"x-request-id: %b\r\n%b" % (request_id, length)
        lines = (begin, told, self._connection_line(), wire.date_line(), b"\r\n")
        sends_body = not is_bodiless and self.scope["method"] != "HEAD"
        wire.write(b"".join((*lines, body) if sends_body else lines))
        return True

    # ---- the bytes ----

    def _connection_line(self) -> bytes:
        """What is said of the connection's further use, where that needs to be said."""
        if not self.keeps_alive:
            return _CLOSE
        return _KEEP_ALIVE if self.scope["http_version"] == "1.0" else b""

    def _opening(self, headers: list[tuple[bytes, bytes]], wire: Wire, body: bytes, *, more: bool) -> bytes:
        """The response's head and the beginning of its body."""
        status = self._status
        lines = [_status_line(status)]
        length = self._add_fields(headers, lines)
        self._sends_body = not _is_bodiless(status) and self.scope["method"] != "HEAD"
        if length is not None:
            self._left = length if self._sends_body else None
        elif self._sends_body:
            self._delimit(lines, body, wire, more=more)
        if wire.is_draining():
            self.keeps_alive = False
        head = _joined(lines)
        return b"".join((head, self._connection_line(), wire.date_line(), b"\r\n", self._piece(body, more=more)))

    def _add_fields(self, headers: list[tuple[bytes, bytes]], lines: list[bytes]) -> int | None:
        """Add the application's fields; the length that it promises, if it does."""
        fields = dict(headers)
        if not _OWN.isdisjoint(fields):
            if any(name == b"connection" and value.lower() == b"close" for name, value in headers):
                self.keeps_alive = False
            headers = [(name, value) for name, value in headers if name not in _OWN]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in headers]
        length = fields.get(_LENGTH)
        return None if length is None else int(length)

    def _delimit(self, lines: list[bytes], body: bytes, wire: Wire, *, more: bool) -> None:
        """Add the field that says where a body ends that has no length of its own."""
        if not more:
            lines.append(b"content-length: %d\r\n" % len(body))
            return
        wire.on_streaming()
        if self.scope["http_version"] == "1.0":
            self.keeps_alive = False  # the end of the connection is the end of the body
        else:
            self._is_chunked = True
            lines.append(_CHUNKED)

    def _piece(self, body: bytes, *, more: bool) -> bytes:
        if not self._sends_body:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + _LAST_CHUNK
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("the response's body is longer than its content-length")
        return body


def exchange_of(method: object) -> Exchange | None:
    """The exchange whose `receive` or `send` an application was handed; None where something stands between."""
    owner = getattr(method, "__self__", None)
    return owner if isinstance(owner, Exchange) else None


@lru_cache(maxsize=HEADS_MAX)
def _beginning(status: int, fields: Fields) -> bytes | None:
    """A head's first lines; None where it has fields that decide about the body or the connection."""
    if any(name in _OWN or name == _LENGTH for name, _ in fields):
        return None
    return _joined([_status_line(status), *(b"%b: %b\r\n" % field for field in fields)])


def _is_bodiless(status: int) -> bool:
    """Whether a response with this status ends with its head (RFC 9110, section 6.4.1)."""
    return status < 200 or status == 204 or status == 304


def _status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _joined(lines: list[bytes]) -> bytes:
    """The lines as one; raises RuntimeError where one of them is several."""
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise RuntimeError("a header of the response has a line break in it")
    return head


def whole_response(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, extra: bytes) -> bytes:
    """A response after which the connection closes; `extra` is further lines of its head."""
    lines = [STATUS_LINES[status]]
    lines += [b"%b: %b\r\n" % each for each in headers]
    lines += [b"content-length: %d\r\n" % len(body), extra, _CLOSE, b"\r\n", body]
    return b"".join(lines)
