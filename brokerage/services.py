"""The services by name: building one, migrating its database, serving it. A process loads only the service it runs.

python -m brokerage.services users --host 127.0.0.1 --port 4001        settings from the environment
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError
from starlette.types import ASGIApp, Receive, Scope, Send

from brokerage import SERVICE_NAMES
from brokerage.failures import CommandFailed, explained, explanation
from brokerage.supervisor import refuse_address
from subgraphs.shared.error_page import ERROR_PAGE_PATH
from subgraphs.shared.migrations import migrate
from subgraphs.shared.problems import problem_of_status
from subgraphs.shared.request_log import add_request_fields
from subgraphs.shared.settings import ServiceSettings
from subgraphs.shared.streaming import Streams
from trifolio.errors import RouterError
from trifolio.limits import Limits
from trifolio.server.descriptors import with_descriptors
from trifolio.server.edge import PlainEdge, RawHeaders
from trifolio.server.listening import Server
from trifolio.server.log import JsonFormatter

LIMITS = Limits(body_bytes_max=1_048_576, connections_per_address_max=12_000)
"""What clients may send and hold open: as at the router, but bodies of 1 MiB, the largest that a service reads, and of
one address as many connections as a router has subscriptions, each of which has a connection of its own."""
PRIVATE_UMASK = 0o077
"""What a process of the brokerage writes is for its own user: databases, logs, keys."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT_S = 8
"""What requests in flight get when the process is told to stop; less than the supervisor waits."""


class SettingsRefused(CommandFailed, ValueError):
    """A service does not start with its settings. The text names them, and shows nothing that they hold."""


def read_settings(service: str, values: Mapping[str, object] | None = None) -> ServiceSettings:
    """The service's settings: these values first, then the environment. Raises SettingsRefused."""
    kind: type[ServiceSettings] = importlib.import_module(f"subgraphs.{service}.settings").Settings
    given: dict[str, Any] = dict(values or {})
    try:
        return kind(**given)
    except (ValidationError, SettingsError, UnicodeDecodeError, OSError) as error:
        # Not as its cause: some of these hold what was read.
        raise SettingsRefused(f"{service}: {explanation(error)}") from None


def create_service(settings: ServiceSettings) -> FastAPI:
    """The service's application."""
    app: FastAPI = importlib.import_module(f"subgraphs.{settings.service}.app").create_app(settings)
    return app


def migrate_service(service: str, database_url: str) -> None:
    """Brings the service's database to its newest schema; a second time it changes nothing."""
    migrate(database_url, f"subgraphs.{service}")


class Edge(PlainEdge):
    """A service's application with what the HTTP protocol asks beside ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.limits = with_descriptors(LIMITS)
        state = getattr(app, "state", None)
        self.trusted_proxies = getattr(state, "trusted_proxies", 0)
        self._streams: Streams | None = getattr(state, "streams", None)
        self._problem_types: str = getattr(state, "problem_types", ERROR_PAGE_PATH)

    def end_streams(self) -> None:
        """Ends what has no end of its own."""
        if self._streams is not None:
            self._streams.end()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One ASGI connection."""
        return self._app(scope, receive, send)

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        """A problem document for what never became a request."""
        request_id = request_id_given if request_id_given and request_id_given.isalnum() else uuid.uuid4().hex
        response = problem_of_status(refusal.status, request_id, self._problem_types)
        logging.getLogger(__name__).info("refused %s: %s", request_id, refusal.message)
        headers = (each for each in response.raw_headers if each[0] != b"content-length")
        return response.status_code, (*headers, (b"x-request-id", request_id.encode())), bytes(response.body)


class _Server(Server):
    """A server that says when it serves, and whose end by a signal is no interruption of what comes after it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base does, but a signal that has stopped the server is not raised again."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


def serve(app: Any, *, host: str, port: int) -> None:
    """Serves an application until one of STOP_SIGNALS."""
    _server(app, host, port).run()


async def serve_until_stopped(
    app: Any, *, host: str, port: int, log: Path, when_ready: Callable[[], Awaitable[None]]
) -> None:
    """Serves an application in the running loop until one of STOP_SIGNALS; `when_ready` is awaited once it serves."""
    log.parent.mkdir(parents=True, exist_ok=True)
    server = _server(app, host, port, log)

    async def announce() -> None:
        await server.serving.wait()
        try:
            await when_ready()
        except BaseException:
            server.should_exit = True
            raise

    announcing = asyncio.create_task(announce())
    try:
        await server.serve()
    finally:
        announcing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await announcing


def write_log(handler: logging.Handler) -> None:
    """Sends what is logged to a handler, as the router does: one JSON object per line, with the request's fields."""
    handler.setFormatter(JsonFormatter())
    handler.addFilter(add_request_fields)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def spare_unshown_fields() -> None:
    """Keeps records of this process from being filled with what no line shows: threads, processes, tasks, source lines.

    That is a third of what a line costs. `logging` documents these switches for the purpose.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined,unused-ignore]  # since Python 3.12
    logging._srcfile = None  # documented, for all its underscore


def _server(app: Any, host: str, port: int, log: Path | None = None) -> _Server:
    write_log(logging.StreamHandler() if log is None else logging.FileHandler(log))
    spare_unshown_fields()
    # These log every request, the first two with the addresses of the other services.
    for name in ("httpx", "httpcore", "trifolio.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    config = uvicorn.Config(
        app if hasattr(app, "refuse") else Edge(app),
        host=host,
        port=port,
        interface="asgi3",
        http="trifolio.server.protocol:HttpProtocol",
        log_config=None,
        access_log=False,
        server_header=False,
        # Who the client is, is believed beside the router's secret only.
        proxy_headers=False,
        # Of services alone nobody answers one; the router in the same process does.
        ws="trifolio.server.websocket:WebSocketProtocol" if hasattr(app, "refuse") else "none",
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    # What is there at the start stays: the garbage collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    return _Server(config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves the service that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m brokerage.services")
    parser.add_argument("service", choices=SERVICE_NAMES)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    os.umask(PRIVATE_UMASK)
    try:
        with explained(options.service):
            app = create_service(read_settings(options.service))
            refuse_address(options.host, options.port)
    except CommandFailed as failure:
        sys.exit(f"brokerage: {failure}")
    serve(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()
