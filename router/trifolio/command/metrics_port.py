"""The counters on a port of their own, where clients of the graph do not come.

It is served in the loop of the worker that counts, by the same protocol and under the same limits as the endpoint. No
worker knows its number, and one that died is replaced; so each takes the first port that is free.
"""

import asyncio
import errno
import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final

import uvicorn
from uvicorn.server import ServerState

from trifolio.errors import ConfigError
from trifolio.server.edge import PlainEdge
from trifolio.server.http import Receive, Scope, Send
from trifolio.server.metrics import CONTENT_TYPE
from trifolio.server.protocol import HttpProtocol

_log: Final = logging.getLogger("trifolio.serve")


class MetricsPort(PlainEdge):
    """An ASGI application with `/metrics`, and the port that it listens on while its context is entered."""

    def __init__(self, text: Callable[[], str], host: str, ports: range) -> None:
        self._text = text
        self._host = host
        self._ports = ports
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> None:
        """Listen. Raises ConfigError where none of the ports can be had."""
        config = uvicorn.Config(self, interface="asgi3", http=HttpProtocol, ws="none", lifespan="off", log_config=None)
        config.load()
        make = partial(HttpProtocol, config, self._state, {})
        loop = asyncio.get_running_loop()
        for port in self._ports:
            try:
                self._server = await loop.create_server(make, self._host, port)
            except (OSError, OverflowError, UnicodeError) as error:  # beyond all ports; a name that DNS cannot have
                if getattr(error, "errno", None) == errno.EADDRINUSE and port != self._ports[-1]:
                    continue
                cause = getattr(error, "strerror", None) or error
                raise ConfigError(f"metrics cannot be served on port {port} of {self._host}: {cause}") from error
            _log.info("serving metrics on port %d of %s", port, self._host, extra={"fields": {"port": port}})
            return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._state.connections):
                connection.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        is_there = scope["type"] == "http" and scope["path"] == "/metrics" and scope["method"] in {"GET", "HEAD"}
        body = self._text().encode() if is_there else b"There is nothing here but GET /metrics.\n"
        headers = [
            (b"content-type", CONTENT_TYPE if is_there else b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        await send({"type": "http.response.start", "status": 200 if is_there else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})
