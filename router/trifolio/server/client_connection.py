"""What a connection of a client is, whatever is spoken on it: a place among all, bytes that are held, two clocks.

`protocol.py` speaks HTTP on it and `websocket.py` WebSocket. Both are made by uvicorn with the same arguments, ask
`Connections` for a place, and are ended by its clocks: `deadline` for what the client has to send, `write_deadline` for
what it has to read.
"""

import asyncio
from typing import Any, Final, cast

from uvicorn.config import Config as ServerConfig
from uvicorn.server import ServerState

from trifolio.server.connections import NEVER, Connections, connections_of

TAKEN_BYTES_MIN: Final = 65_536
"""64 KiB have to be read of an answer within `limits.send_timeout_ms`, or all that is left."""


class ClientConnection(asyncio.Protocol):
    """One connection, as uvicorn makes it."""

    __slots__ = (
        "__weakref__",
        "_address",
        "_app",
        "_app_state",
        "_client",
        "_config",
        "_connections",
        "_drained",
        "_held_bytes",
        "_is_paused",
        "_is_writing_paused",
        "_loop",
        "_scheme",
        "_server",
        "_state",
        "_transport",
        "_unread_bytes",
        "deadline",
        "write_deadline",
    )

    PLAIN_SCHEME = ""
    """The scheme without TLS; with it, an `s` more."""

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._app = config.loaded_app
        self._app_state = app_state
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._connections: Connections = connections_of(server_state, self._app)
        self._transport: asyncio.Transport | None = None
        self._is_paused = self._is_writing_paused = False
        self._held_bytes = self._unread_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self.deadline = NEVER
        self.write_deadline = NEVER

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; it may have to go at once."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._client = (str(client[0]), int(client[1])) if isinstance(client, tuple) else None
        self._server = (str(server[0]), int(server[1])) if isinstance(server, tuple) else None
        self._scheme = self.PLAIN_SCHEME + ("s" if transport.get_extra_info("sslcontext") else "")
        self._address = self._client[0] if self._client else None
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn asks for `shutdown` only
        if not self._connections.admit(self, self._address):
            self._transport.write(self._connections.busy_response)
            self._transport.close()
            return
        self._begin_to_listen()

    def _begin_to_listen(self) -> None:
        """It has a place: what the client sends first has a clock."""
        self.deadline = self._connections.tick + self._connections.head_ticks

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: its place is free, and nothing of it is held."""
        self._state.connections.discard(self)
        self._connections.remove(self, self._address)
        self._hold(0)
        self.deadline = self.write_deadline = NEVER
        self._transport = None
        resolve(self._drained)

    def pause_writing(self) -> None:
        """The client does not read as fast as is written: from here on it has a clock, and what it sends waits."""
        self._is_writing_paused = True
        self._watch_writing()
        self._update_reading()

    def resume_writing(self) -> None:
        """It has read most of it."""
        self._is_writing_paused = False
        self.write_deadline = NEVER
        resolve(self._drained)
        self._drained = None

    # ---- what the clocks call ----

    def on_deadline(self) -> None:
        """What was waited for has not come."""
        raise NotImplementedError

    def on_write_deadline(self) -> None:
        """The client has not read enough of what was sent."""
        if self._transport is None:
            return
        if self._unread_bytes - self._transport.get_write_buffer_size() < TAKEN_BYTES_MIN:
            self._abort()
        else:
            self._watch_writing()

    def give_way(self) -> None:
        """End at once: another connection needs the place more."""
        self._connections.remove(self, self._address)
        self._abort()

    # ---- for those who speak on it ----

    async def drained(self) -> None:
        """Wait until the client has taken so much of what was sent that more may be."""
        if self._is_writing_paused and self._transport is not None:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def _watch_writing(self) -> None:
        if self._transport is not None:
            self._unread_bytes = self._transport.get_write_buffer_size()
            self.write_deadline = self._connections.tick + self._connections.send_ticks

    def _hold(self, number: int) -> None:
        self._connections.held_bytes += number - self._held_bytes
        self._held_bytes = number

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _update_reading(self) -> None:
        """Read on exactly where what is read can be dealt with."""
        raise NotImplementedError

    def _pause_reading(self, pause: bool) -> None:
        """Read no more, or again."""
        if self._transport is not None and not self._transport.is_closing():
            self._is_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def resolve(waiting: "asyncio.Future[None] | None") -> None:
    """Wake what waits, if anything does."""
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
