"""One client's WebSocket: frames in, ASGI to the application, and an end to whatever a stranger may hold open.

`protocol.py` hands a connection over when a request asks for this protocol. What frames are is decided by the library
`websockets`, by its part that does no I/O; what a client may send, and how long it may take, is decided here, by the
same clock and counters as for HTTP (`connections.py`).

- Messages that the application has not taken wait, a few; then nothing more is read.
- A message is bounded as a whole, and by the number of its frames; bytes of messages that are not whole are bounded for
  the process.
- Who has not been heard for `limits.websocket_ping_ms` is sent a ping; who has not answered by the next is gone. So a
  message of which no more comes ends its connection, too.
- What is sent and not read has the clock that answers have: `limits.send_timeout_ms` for 64 KiB.
- An end is sent and waited for, but not for long.

Specification: RFC 6455; ASGI, WebSocket 2.4.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

from uvicorn.config import Config as ServerConfig
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from trifolio.server.client_connection import ClientConnection, resolve
from trifolio.server.connections import ticks
from trifolio.server.http import Message
from trifolio.server.protocol import LINGER_MS

WAITING_MAX: Final = 8
"""8 messages wait for the application: it takes them as they come, but while it answers one."""
EARLY_BYTES_MAX: Final = 65_536
"""64 KiB may come before the application has accepted, which takes it no time."""
FRAMES_MAX: Final = 1_000
"""1,000 frames of one message: they may be empty, and then no other limit counts them."""
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
"""What the application is told where the client has gone without a word."""
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN: Final = 1013

_log: Final = logging.getLogger("trifolio.error")
_wire_log: Final = logging.getLogger("trifolio.error.websocket")
_wire_log.setLevel(logging.WARNING)  # the library tells of every connection that it opens and closes


class WebSocketProtocol(ClientConnection):
    """One connection, as uvicorn makes it: `uvicorn.Config(ws="trifolio.server.websocket:WebSocketProtocol")`, with
    `HttpProtocol` before it."""

    PLAIN_SCHEME = "ws"

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = self._connections.limits
        self._wire = ServerProtocol(max_size=self._limits.websocket_message_bytes_max, logger=_wire_log)
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_accepted = self._is_closed = False
        self._messages: list[Message] = []  # a deque is 0.7 kB even if it is empty
        self._arrived: asyncio.Future[None] | None = None
        self._frames: list[bytes] = []
        self._is_text = False
        self._partial_bytes = 0
        self._has_asked = False
        self._early = b""
        """Frames that have come before the application has said that there is a WebSocket."""
        self._heard = True
        self._is_stuck = False
        """Whether a message had begun when the last ping was sent, and has not come whole since."""
        self._ping_ticks = ticks(self._limits.websocket_ping_ms)

    # ---- what the event loop calls ----

    def _begin_to_listen(self) -> None:
        """It has a place, which it does not lose to others while it says nothing."""
        super()._begin_to_listen()
        self._connections.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: the application is told."""
        super().connection_lost(exc)
        self._is_closed = True
        self._has_gone()

    def eof_received(self) -> None:
        """The client sends nothing any more, with an end before it or without; before it is accepted, it has gone."""
        if self._transport is not None and self._is_accepted:
            self._wire.receive_eof()
            self._flush()

    def data_received(self, data: bytes) -> None:
        """The handshake, frames, or parts of some; frames that are early wait until there is a WebSocket."""
        self._heard = True
        if not self._is_accepted:
            head, end, early = (b"", b"", data) if self._has_asked else data.partition(b"\r\n\r\n")
            self._early += early
            data = head + end
            self._has_asked = True
        self._wire.receive_data(data)
        self._partial_bytes += len(data)
        for event in self._wire.events_received():
            self._take(event)
        self._hold(self._partial_bytes if self._is_accepted else len(self._early))
        if self._connections.held_bytes > self._limits.held_bytes_max and self._is_accepted:
            self._wire.fail(TRY_AGAIN, "too much at once")
        self._flush()
        self._update_reading()

    def resume_writing(self) -> None:
        """The client has read most of what was sent."""
        super().resume_writing()
        self._update_reading()

    # ---- what comes in ----

    def _take(self, event: Event) -> None:
        if isinstance(event, Request):
            self._begin(event)
        elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if event.opcode is not Opcode.CONT:
                self._is_text = event.opcode is Opcode.TEXT
            self._frames.append(bytes(event.data))
            if event.fin:
                self._take_message()
            elif len(self._frames) > FRAMES_MAX:
                self._wire.fail(TOO_BIG, "too many frames")
        elif not self._frames:
            self._partial_bytes = 0
            self._is_stuck = False

    def _take_message(self) -> None:
        data = b"".join(self._frames)
        self._frames.clear()
        self._partial_bytes = 0
        self._is_stuck = False
        message: Message = {"type": "websocket.receive", "bytes": data}
        if self._is_text:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self._wire.fail(1007, "no UTF-8")
                return
        self._messages.append(message)
        resolve(self._arrived)
        self._update_reading()

    def _begin(self, request: Request) -> None:
        """The handshake: is it one, and what does the application say?"""
        response = self._wire.accept(request)
        if response.status_code != 101:
            self._wire.send_response(response)
            return
        self._request, self._response = request, response
        path, _, query = request.path.partition("?")
        offered = [each for value in request.headers.get_all("sec-websocket-protocol") for each in value.split(",")]
        root = self._config.root_path
        scope = {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": root,
            "path": root + unquote(path),
            "raw_path": root.encode("ascii") + path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": _fields(request),
            "subprotocols": [each.strip() for each in offered],
            "state": self._app_state.copy(),
        }
        self._messages.append({"type": "websocket.connect"})
        self._task = self._loop.create_task(self._run(scope))
        self._state.tasks.add(self._task)
        self._task.add_done_callback(self._state.tasks.discard)

    async def _run(self, scope: dict[str, Any]) -> None:
        """Run the application; whatever it does, the connection ends."""
        code = INTERNAL_ERROR
        try:
            await self._app(scope, self.receive, self.send)
            code = 1000
        except asyncio.CancelledError:
            code = GOING_AWAY
        except Exception:  # noqa: BLE001 # whatever it is, the connection ends with it, and the log has it
            _log.exception("the application failed")
        finally:
            if not self._is_closed:
                self._end(code, "")

    # ---- what the application calls ----

    async def receive(self) -> Message:
        """The next message; after the last, that the client has gone."""
        while not self._messages:
            if self._is_closed and self._transport is None:
                return {"type": "websocket.disconnect", "code": ABNORMAL}
            self._arrived = self._loop.create_future()
            await self._arrived
        message = self._messages.pop(0)
        self._update_reading()
        return message

    async def send(self, message: Message) -> None:
        """A message, or an end. Raises RuntimeError where it does not fit what was sent before."""
        kind = message["type"]
        if self._transport is None or self._is_closed:
            return  # the client has gone, which `receive` says
        if kind == "websocket.accept" and not self._is_accepted:
            self._accept(message)
        elif kind == "websocket.send" and self._is_accepted:
            text = message.get("text")
            if text is not None:
                self._wire.send_text(text.encode())
            else:
                self._wire.send_binary(message["bytes"])
            self._flush()
            await self.drained()
        elif kind == "websocket.close":
            self._end(message.get("code") or 1000, message.get("reason") or "")
        else:
            raise RuntimeError(f"{kind!r} is not what can be sent now")

    def _accept(self, message: Message) -> None:
        self._is_accepted = True
        if message.get("subprotocol"):
            self._response.headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        self._wire.send_response(self._response)
        self._flush()
        for known in (self._request, self._response):  # the library keeps both as long as the connection lasts
            if known is not None:
                known.headers.clear()
        self.deadline = self._connections.tick + self._ping_ticks
        early, self._early = self._early, b""
        self._partial_bytes = 0
        self.data_received(early)

    def _end(self, code: int, reason: str) -> None:
        """Say that it is over, and wait a little for the client to say so, too."""
        self._is_closed = True
        if not self._is_accepted:
            if self._request is not None:
                self._wire.send_response(self._refusal())
        else:
            with suppress(InvalidState):  # it has ended already
                self._wire.send_close(code, reason)
        self.deadline = self._connections.tick + ticks(LINGER_MS)
        self._flush()
        self._update_reading()

    def _refusal(self) -> Response:
        """What the application would not have."""
        return self._wire.reject(403, "")

    def shutdown(self) -> None:
        """The server is about to stop (uvicorn calls this); what has been told to end does so by itself."""
        connections = self._connections
        connections.close()
        if not self._is_closed and (connections.end_streams is None or not self._is_accepted):
            self._end(GOING_AWAY, "")

    def on_deadline(self) -> None:
        """The client was not heard for a while, or has not said its end."""
        if self._transport is None:
            return
        if self._is_closed or not self._is_accepted or not self._heard or self._is_stuck:
            self._transport.abort()
            return
        self._heard = False
        self._is_stuck = self._partial_bytes > 0
        self._wire.send_ping(b"")
        self._flush()
        self.deadline = self._connections.tick + self._ping_ticks

    # ---- bytes ----

    def _flush(self) -> None:
        """Send what the library has for the client: frames, answers to pings, an end."""
        transport = self._transport
        if transport is None:
            return
        for data in self._wire.data_to_send():
            if data:
                transport.write(data)
            elif not transport.can_write_eof():
                transport.close()
            elif not transport.is_closing():
                transport.write_eof()
        # The client has begun the end, or broken a rule; or it sends nothing any more, and has not read all there is.
        if self._wire.state in (State.CLOSING, State.CLOSED) and not self._is_closed and self._is_accepted:
            self._is_closed = True
            self.deadline = self._connections.tick + ticks(LINGER_MS)
            self._has_gone()

    def _has_gone(self) -> None:
        """Tell the application, with the client's word for it where there is one."""
        said = self._wire.close_rcvd
        self._messages.append({"type": "websocket.disconnect", "code": ABNORMAL if said is None else said.code})
        resolve(self._arrived)

    def _update_reading(self) -> None:
        """Read on exactly where what is read can be dealt with."""
        is_full = len(self._messages) >= WAITING_MAX or len(self._early) >= EARLY_BYTES_MAX
        pause = not self._is_closed and (is_full or self._is_writing_paused)
        if pause is not self._is_paused:
            self._pause_reading(pause)


def _fields(request: Request) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers.raw_items()]
