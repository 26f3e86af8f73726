"""Serving over HTTP with uvicorn: one process or several on one socket, until a signal ends them.

SIGTERM and SIGINT end gracefully: the socket closes, requests in flight get their answers within
`limits.shutdown_timeout_ms`, connections to subgraphs close. With several workers each has its own router, plan cache
and metrics, and a worker that dies is replaced.
"""

import errno
import gc
import logging
import logging.config
import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from router.config import Config
from router.errors import ConfigError
from router.gateway import Router
from router.server.app import App

_KEEP_ALIVE_S: Final = 75
"""75 s: longer than the 60 s of common load balancers, so that they and not we close idle connections."""
_BACKLOG: Final = 2048
"""2048 connections may wait to be accepted: a burst is served late rather than refused."""
_GC_THRESHOLDS: Final = (20_000, 20, 100)
"""A request makes thousands of short-lived objects and hardly a cycle: look for cycles rarely."""

LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "router.server.log.JsonFormatter"}},
    "handlers": {
        "output": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"},
        "errors": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"},
    },
    "root": {"handlers": ["errors"], "level": "INFO"},
    "loggers": {
        "router.access": {"handlers": ["output"], "propagate": False},
        # These log every request to a subgraph with its address.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}

_log: Final = logging.getLogger("router.serve")


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served and where; workers get it as a copy."""

    supergraph_sdl: str
    config: Config
    host: str = "127.0.0.1"
    port: int = 4000
    workers: int = 1


def serve(serving: Serving) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigError where the port or the supergraph is no good."""
    logging.config.dictConfig(LOGGING)
    app = make_app(serving)
    listener = listen(serving.host, serving.port)
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    url = f"http://{host}:{listener.getsockname()[1]}/graphql"
    _log.info("serving GraphQL at %s", url, extra={"fields": {"url": url, "workers": serving.workers}})
    config = _uvicorn_config(serving, app)
    if serving.workers > 1:
        Multiprocess(_uvicorn_config(serving, partial(make_app, serving), factory=True), sockets=[listener]).run()
        return 0
    # uvicorn raises the signal that ended it once more when all is done: then it means that all is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def make_app(serving: Serving) -> App:
    """The application of one worker, with what it keeps for good taken out of the garbage collector's sight."""
    app = Router(serving.supergraph_sdl, config=serving.config).asgi()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return app


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError that says what to do where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} of {host} is in use; choose another with --port") from error
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def _uvicorn_config(serving: Serving, app: Any, *, factory: bool = False) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        workers=serving.workers,
        interface="asgi3",
        http="router.server.protocol:BoundedProtocol",
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        log_level="info",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, serving.config.limits.shutdown_timeout_ms // 1000),
    )
