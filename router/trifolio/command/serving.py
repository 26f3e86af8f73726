"""Serving over HTTP with uvicorn: one process or several on one socket, until a signal ends them.

SIGTERM, SIGINT and SIGHUP end gracefully: the socket closes, requests in flight get their answers within
`limits.shutdown_timeout_ms`, connections to subgraphs close. Before SIGTERM and SIGHUP do so, a lame duck serves for
`limits.lame_duck_ms`: `/ready` says that nothing new should come, and every answer closes its connection, so that load
balancers go elsewhere before anything is refused; half-way, subscriptions end, whose clients come back elsewhere by
then; a second signal ends that time. With several workers each has its own
router, plan cache and metrics, and a worker that dies is replaced.
"""

import asyncio
import errno
import gc
import logging
import logging.config
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from trifolio.command.metrics_port import MetricsPort
from trifolio.command.schemas import local_transports, told
from trifolio.config import Config
from trifolio.errors import ConfigError
from trifolio.garbage import no_collection
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.server.app import App
from trifolio.server.descriptors import with_descriptors
from trifolio.server.http import Receive, Scope, Send
from trifolio.server.listening import ACCEPTED_AT_ONCE, BACKLOG, Server

if TYPE_CHECKING:
    from trifolio.command.development import DevServer

_GC_THRESHOLDS: Final = (10_000, 5, 3)
"""A request makes thousands of short-lived objects and hardly a cycle: look for cycles rarely, but often enough that
what planning leaves behind (documents and generated code are cycles) is some tens of thousands of objects at a time."""

LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "trifolio.server.log.JsonFormatter"}},
    "handlers": {
        "output": {"class": "trifolio.server.log.BatchHandler", "stream": "ext://sys.stdout", "formatter": "json"},
        "errors": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"},
        "failures": {"class": "trifolio.server.log.BatchHandler", "stream": "ext://sys.stderr", "formatter": "json"},
    },
    "root": {"handlers": ["errors"], "level": "INFO"},
    "loggers": {
        "trifolio.access": {"handlers": ["output"], "propagate": False},
        "trifolio.error": {"handlers": ["failures"], "propagate": False},
        # These log every request to a subgraph with its address.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
DEV_LOGGING: Final[dict[str, Any]] = {
    **LOGGING,
    "formatters": {"json": {"format": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%H:%M:%S"}},
    "loggers": {**LOGGING["loggers"], "trifolio.access": {"level": "WARNING"}, "uvicorn": {"level": "WARNING"}},
}

_log: Final = logging.getLogger("trifolio.serve")


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served and where; workers get it as a copy."""

    supergraph_sdl: str
    config: Config
    host: str = "127.0.0.1"
    port: int = 4000
    workers: int = 1
    schemas: Mapping[str, str] = field(default_factory=dict)
    """By subgraph, `package.module:attribute` of those that each worker executes itself."""
    folder: Path = Path()
    """Where the modules of `schemas` are, beside the working directory."""


def serve(serving: Serving) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigError where the port or the supergraph is no good."""
    app = make_app(serving)
    listener = listen(serving.host, serving.port)
    logging.config.dictConfig(LOGGING)
    _announce(serving.host, listener, serving.workers)
    if serving.schemas:
        _log.info(told(serving.schemas))
    if serving.workers > 1:
        factory = partial(make_app, serving)
        config = _uvicorn_config(factory, serving.config.limits, workers=serving.workers)
        workers = Multiprocess(config, sockets=[listener])
        workers.run()
        return 1 if any(each.process.exitcode == STARTUP_FAILURE for each in workers.processes) else 0
    return run(_uvicorn_config(app, serving.config.limits), listener)


def serve_dev(server: "DevServer", host: str, port: int) -> int:
    """Serve what is under development until a signal, with a log for people; returns the exit code."""
    listener = listen(host, port)
    logging.config.dictConfig(DEV_LOGGING)
    _announce(host, listener, workers=1)
    return run(_uvicorn_config(server, server.limits, log_config=DEV_LOGGING), listener)


def run(config: uvicorn.Config, listener: socket.socket) -> int:
    """Run one server in this process until a signal; returns the exit code."""
    # uvicorn raises the signal that ended it once more when all is done: then it means that all is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A terminal that closes ends the server as gracefully as SIGTERM does.
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    server = Server(config)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        if server.started:
            raise
        # What kept it from starting has been logged, and uvicorn ends with a code of its own.
    return 0 if server.started else 1


def _announce(host: str, listener: socket.socket, workers: int) -> None:
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{listener.getsockname()[1]}/graphql"
    _log.info("serving GraphQL at %s", url, extra={"fields": {"url": url, "workers": workers}})


class LameDuck:
    """An application that goes on for a while when its process is told to end, and says so."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.limits = app.limits
        self.trusted_proxies = app.trusted_proxies
        self.watch = app.watch
        self.wants_body = app.wants_body
        self.refuse = app.refuse
        self.end_streams = app.end_streams

    @property
    def draining(self) -> bool:
        """Whether the end has been announced."""
        return self._app.draining

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One ASGI connection."""
        if scope["type"] == "lifespan" and threading.current_thread() is threading.main_thread():
            self._postpone_end(asyncio.get_running_loop())
        return self._app(scope, receive, send)

    def _postpone_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let SIGTERM reach the server when the lame duck's time is over, or when it comes again."""
        end = signal.getsignal(signal.SIGTERM)

        def announce(number: int, frame: FrameType | None) -> None:
            signal.signal(number, end)
            self._app.drain()
            _log.info("ending in %d ms", self.limits.lame_duck_ms)
            left_s = self.limits.lame_duck_ms / 1000
            loop.call_soon_threadsafe(loop.call_later, left_s / 2, self._app.end_streams)
            loop.call_soon_threadsafe(loop.call_later, left_s, signal.raise_signal, number)

        if callable(end):
            signal.signal(signal.SIGTERM, announce)


def make_app(serving: Serving) -> LameDuck:
    """The application of one worker, with what it keeps for good taken out of the garbage collector's sight."""
    config = replace(serving.config, limits=with_descriptors(serving.config.limits))
    with no_collection():
        transports = local_transports(serving.schemas, serving.folder, config)
        app = Router(serving.supergraph_sdl, config=config, transports=transports).asgi()
    if config.metrics.port is not None:
        ports = range(config.metrics.port, config.metrics.port + serving.workers)
        app.live_with(MetricsPort(app.metrics_text, config.metrics.host, ports))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return LameDuck(app)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError that says what to do where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # A loop of asyncio switches Nagle's algorithm off where the socket says that it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot have
        listener.close()
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            raise ConfigError(f"port {port} of {host} is in use; choose another with --port") from error
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}"
        ) from error
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def _uvicorn_config(
    app: Any, limits: Limits, *, workers: int = 1, log_config: dict[str, Any] = LOGGING
) -> uvicorn.Config:
    """The settings of every server; with several workers `app` is what makes their application."""
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        interface="asgi3",
        http="trifolio.server.protocol:HttpProtocol",
        backlog=ACCEPTED_AT_ONCE if workers == 1 else BACKLOG,  # workers are servers of uvicorn's own
        ws="trifolio.server.websocket:WebSocketProtocol",
        lifespan="on",
        log_config=log_config,
        log_level="info",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, limits.shutdown_timeout_ms // 1000),
    )
