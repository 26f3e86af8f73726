"""One HTTP/1.1 connection to a subgraph: the bytes of a request out, one whole response in.

How it works. The event loop feeds what arrives to httptools (llhttp, the parser of Node), whose callbacks collect one
response; when it is whole, whoever asked is called with it: no stream, no future, no task and no copy per request. A
connection carries one request at a time. What costs is done once per connection or not at all: one timer watches
whichever request is under way, header fields are decoded when somebody reads them, and a response whose head is known
is not parsed (`message_heads.py`).

Why it is right. A response belongs to the request before it only if nothing else is in flight. So a connection is used
again only after a response that was read to its end, leaves the connection open (RFC 9112, section 9.3) and has nothing
behind it. Who asked is called when nothing of the response is left to read, so that the next request may go out within
that call. Whatever ends otherwise (late, too large, broken, given up by its caller) ends the connection: what is still
to come on it would be taken for the next request's answer. That is also the limit: surplus that arrives only after the
next request went out cannot be told from its answer.

What it costs. Memory is bounded by the two limits: one on the body, one on all bytes that bring no body nearer (the
head, trailers, chunk extensions, interim responses).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final, cast

import httptools
from msgspec import Struct
from msgspec.structs import replace

from trifolio.message_heads import Head, KnownHeads


class ConnectionBroken(Exception):
    """The connection ended before the response was whole. The subgraph may have acted."""


class ConnectionStale(ConnectionBroken):
    """It ended before the first byte of a response: a peer that closes an unused connection does that."""


class ResponseBroken(ConnectionBroken):
    """What came back is no response: it is no HTTP, contradicts itself, or ends within its body."""


class ResponseTooLarge(Exception):
    """The response's body, or what comes beside it, is larger than allowed."""


class HeaderFields(Mapping[str, str]):
    """A response's header fields by name in lower case, fields of one name joined; decoded when somebody reads them.

    Set-Cookie is left out: these cannot be joined (RFC 6265, section 3).
    """

    __slots__ = ("_decoded", "_digits", "fields")

    def __init__(self, fields: list[tuple[bytes, bytes]], digits: bytes = b"") -> None:
        """`fields` as they came, names in lower case; with `digits`, the Content-Length is that."""
        self.fields = fields
        self._digits = digits
        self._decoded: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._decoded is None:
            self._decoded = {}
            for name, value in self.fields:
                if name != _SET_COOKIE:
                    key, text = name.decode("latin-1"), value.decode("latin-1")
                    self._decoded[key] = f"{self._decoded[key]}, {text}" if key in self._decoded else text
            if self._digits:
                self._decoded["content-length"] = self._digits.decode()
        return self._decoded


class HttpResponse(Struct, frozen=True):
    """A whole response; the body as it was sent."""

    status: int
    headers: HeaderFields
    content: bytes
    content_type: str
    """What the field says; empty where there is none."""
    content_coding: str | None
    """The coding of `content`; None where there is none."""
    set_cookies: tuple[str, ...]
    """The Set-Cookie fields, each by itself."""


_SET_COOKIE: Final = b"set-cookie"
_LENGTH: Final = b"content-length"
_CODING: Final = b"content-encoding"
_TYPE: Final = b"content-type"
_TRANSFER: Final = b"transfer-encoding"
_READ: Final = frozenset({_LENGTH, _CODING, _TYPE, _TRANSFER})
"""The fields that the router itself reads of every response."""


Ended = Callable[[HttpResponse | Exception], None]
"""Is told what a request came to: its response, or why there is none."""


class Connection(asyncio.Protocol):
    """The client's end of one connection. `on_lost` is called once when it is gone."""

    def __init__(
        self,
        on_lost: "Callable[[Connection], None]",
        *,
        head_bytes_max: int,
        body_bytes_max: int,
        known: KnownHeads[HttpResponse],
    ) -> None:
        """`known` heads are those of the subgraph's responses, which all connections to it share."""
        self._on_lost = on_lost
        self._known = known
        self._head_bytes_max = head_bytes_max
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._ended: Ended | None = None
        """Who waits for the request that is under way."""
        self._came: HttpResponse | Exception | None = None
        """What it came to, until who waits is told."""
        self._bytes_beside_body = 0
        self._has_advanced = False
        self._body: bytes | bytearray = b""
        self.keeps_alive = True
        """Whether it is there, or about to be, and another request may follow the one under way."""
        self._is_aborted = False
        self._has_received = False
        self._deadline = self._timer_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        """What watches the request that is under way, or was when it was set."""
        self.is_fresh = True
        """Whether no request was sent yet."""
        self.idle_since = 0.0
        """The loop's time when the connection was last put aside."""
        self._begin()

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        return self.keeps_alive and self._transport is not None and not self._transport.is_closing()

    def exchange(self, request: bytes, deadline: float, ended: Ended) -> None:
        """Send a whole request; `ended` is called once, never within this call, by the loop's time `deadline`.

        It gets the response, or one of these:
            TimeoutError: the response was not whole in time.
            ConnectionStale: the connection ended before anything came back.
            ResponseBroken: what came back is no HTTP, or ended within its body.
            ConnectionBroken: it ended before a body began.
            ResponseTooLarge: the head or the body is larger than allowed.
        """
        transport = self._transport
        assert transport is not None, "the connection is usable"
        self._ended = ended
        self.is_fresh = self._has_received = False
        self._bytes_beside_body = self._status = 0
        self._ends_with_connection = False
        transport.write(request)
        self._deadline = deadline
        if self._timer is None or self._timer_at > deadline:
            self._watch()

    def give_up(self) -> None:
        """Nobody waits for the request under way any more; the connection ends."""
        self._ended = None
        self.abort()

    def abort(self) -> None:
        """End the connection at once; what waits for it is told."""
        self.keeps_alive = False
        self._is_aborted = True
        if self._transport is not None:
            self._transport.abort()

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Read what arrived; what nobody asked for ends the connection."""
        ended = self._ended
        if ended is None:
            self.abort()
            return
        if self._has_received:
            self._parse(data)
            self._tell()
            return
        self._has_received = True
        found = self._known.find(data)
        if found is None:
            self._parse(data)
            self._tell()
            return
        head, digits, body_at, known = found
        if known is None or len(data) - body_at > self._body_bytes_max:
            self._parse(data)
            self._learn(head, len(data) - body_at)
            self._tell()
            return
        self._ended = None
        self.keeps_alive = self._is_sent
        headers = HeaderFields(known.headers.fields, digits)
        ended(HttpResponse(known.status, headers, data[body_at:], known.content_type, known.content_coding, ()))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. A response without a length ends with it (RFC 9112, section 6.3)."""
        self._transport = None
        self.keeps_alive = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The parser holds this object: what is left of both would wait for a collection of garbage, with the body.
        del self._parser
        if self._ended is not None and self._came is None:
            if exc is None and self._ends_with_connection and not self._is_aborted:
                self._complete(keeps_alive=False)
            else:
                kind = ConnectionBroken if self._has_received else ConnectionStale
                if self._status >= 200 and not self._is_aborted:
                    kind = ResponseBroken
                self._came = kind(f"the connection ended before the response did: {exc!r}")
        self._body = b""
        self._on_lost(self)
        self._tell()

    # ---- what the parser calls ----

    def on_message_begin(self) -> None:
        """A response begins; a second one, that nobody asked for, ends the connection."""
        self._begin()
        if self._ended is None or self._came is not None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; fields behind the body are left out."""
        if not self._is_in_head:
            return
        key = name.lower()
        self._fields.append((key, value))
        if key in _READ:
            self._read[key] = b"%b, %b" % (self._read[key], value) if key in self._read else value

    def on_headers_complete(self) -> None:
        """The head is whole: a body that is announced as too large is not waited for."""
        self._is_in_head = False
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._has_advanced = True
        length, coding = self._read.get(_LENGTH), self._read.get(_TRANSFER)
        self._ends_with_connection = length is None and coding is None
        if coding is not None and coding.lower() != b"chunked":
            self._fail(ResponseBroken(f"transfer coding {coding.decode('latin-1')!r} was not asked for"))
        elif length is not None and int(length) > self._body_bytes_max:
            self._fail(ResponseTooLarge(f"a body of {int(length)} bytes"))

    def on_body(self, chunk: bytes) -> None:
        """A part of the body."""
        self._has_advanced = True
        if len(self._body) + len(chunk) > self._body_bytes_max:
            self._fail(ResponseTooLarge(f"a body of more than {self._body_bytes_max} bytes"))
        elif not self._body:
            self._body = chunk  # most bodies come in one piece, which is not copied
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += chunk

    def on_message_complete(self) -> None:
        """The response is whole, unless it only announces another one (RFC 9110, section 15.2)."""
        if self._status >= 200:
            # The parser knows this inside the callback only. What claims to have no body may have one all the same.
            self._complete(keeps_alive=self._parser.should_keep_alive() and self._status not in (204, 304))

    # ----

    def _parse(self, data: bytes) -> None:
        self._has_advanced = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ResponseBroken(f"no HTTP/1.1: {error!r}"))
            return
        self._bytes_beside_body = 0 if self._has_advanced else self._bytes_beside_body + len(data)
        if self._bytes_beside_body > self._head_bytes_max:
            self._fail(ResponseTooLarge(f"more than {self._head_bytes_max} bytes beside the body"))

    def _learn(self, head: Head, length: int) -> None:
        """Keep what a head says that names this length, if the parser has found a whole response of it, after which the
        next may come."""
        response = self._came
        if not self.keeps_alive or not isinstance(response, HttpResponse):
            return
        is_as_long = len(response.content) == length and _TRANSFER not in self._read
        if is_as_long and not response.set_cookies:
            self._known.keep(head, replace(response, content=b""))

    def _tell(self) -> None:
        """Tell who waits, if it has come to something."""
        came, ended = self._came, self._ended
        if came is not None:
            self._came = self._ended = None
            if ended is not None:
                ended(came)

    @property
    def _is_sent(self) -> bool:
        """Whether the request went out whole: what is answered before would be in the way of the next."""
        return self._transport is not None and not self._transport.get_write_buffer_size()

    def _begin(self) -> None:
        self._is_in_head = True
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._read: dict[bytes, bytes] = {}
        self._body = b""
        self._ends_with_connection = False

    def _complete(self, *, keeps_alive: bool) -> None:
        self.keeps_alive = keeps_alive and self._is_sent
        if self._ended is not None and self._came is None:
            self._came = self._response()
        self._body = b""  # a connection that is kept keeps no body

    def _response(self) -> HttpResponse:
        fields, coding = self._fields, self._read.get(_CODING)
        cookies = [value.decode("latin-1") for name, value in fields if name == _SET_COOKIE]
        return HttpResponse(
            self._status,
            HeaderFields(fields),
            bytes(self._body),
            self._read.get(_TYPE, b"").decode("latin-1"),
            None if coding is None else coding.decode("latin-1"),
            tuple(cookies),
        )

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_time)

    def _on_time(self) -> None:
        """The time of a request that was under way has come; of another's, which is under way now, perhaps not."""
        self._timer = None
        if self._ended is None:
            return
        if self._deadline > self._timer_at:
            self._watch()
        else:
            self._fail(TimeoutError("no whole response in time"))
            self._tell()

    def _fail(self, error: Exception) -> None:
        if self._ended is not None and self._came is None:
            self._came = error
        self._body = b""
        self.abort()
