"""uvicorn's HTTP protocol with an end to what a client may hold open: a request's head is bounded in size and time.

The parser keeps an unfinished head in memory for as long as it comes, and uvicorn has no clock for it. So the bytes of
a head that is not complete yet are counted, and a connection whose head does not arrive in time is closed. A request
whose head arrives whole, as nearly all do, pays two flags.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trifolio.limits import Limits

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One client's connection. The application says its limits as `app.limits`."""

    _is_in_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        """A connection that never sends anything is closed like one that never ends its head."""
        super().connection_made(transport)
        self._limits: Limits = self.app.limits
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any longer."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then look whether a head is still incomplete."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.header_bytes_max + self._limits.url_bytes_max:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
            elif self._deadline is None:
                self._start_deadline()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete; the request is the application's from here on."""
        self._is_in_head = False
        self._head_bytes = 0
        if self._deadline is not None:
            self._stop_deadline()
        super().on_headers_complete()

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._limits.header_timeout_ms / 1000, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()
