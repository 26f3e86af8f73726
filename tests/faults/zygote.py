"""A process that has built all three services and forks one of them for every start that it is asked for.

Building a service takes longer than a whole crash scenario, so each start forks instead: a service is back within
milliseconds. The test sends a JSON line per start over a Unix socket, together with the service's listening socket,
and gets the child's process id back. The listening socket is the test's own and survives the child, so a client of a
dead service waits in the backlog until its successor accepts.

Run as `python -m tests.faults.zygote FD`, FD being the zygote's end of the socket.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn

from subgraphs.shared.streaming import Streams
from tests.faults.crash_points import Control, CrashPoints
from tests.faults.prebuilt import Prebuilt, kind_of, prebuilt, redirect

SERVER_MODULES = (
    "encodings.idna",
    "fastapi.telemetry._runtime",
    "httptools",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
)
"""What a server imports when it starts or is first asked."""
MESSAGE_BYTES_MAX = 65_536
YIELDED = 10
"""What a service is nicer than the tests by: dozens of them share the cores with the one process that kills, starts
and asks them, and whose own clocks decide what came too late."""


def main(channel_fd: int) -> None:
    """Serves start requests until the test closes its end, then ends every child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in SERVER_MODULES:
        importlib.import_module(module)
    logging.basicConfig(level=logging.WARNING)
    built: dict[str, Prebuilt] = {}
    children: set[int] = set()
    with socket.socket(fileno=channel_fd) as channel:
        channel.send(b"ready")
        while True:
            message, fds, _flags, _address = socket.recv_fds(channel, MESSAGE_BYTES_MAX, 1)
            if not message:
                break
            order = json.loads(message)
            if not fds:
                built[order["kind"]] = prebuilt(order["urls"])
                gc.collect()
                gc.freeze()
                channel.send(b"built")
                continue
            _reap(children, os.WNOHANG)
            child = os.fork()
            if child == 0:
                channel.close()
                _serve(order, built[kind_of(order["database"])], socket.socket(fileno=fds[0]))
            os.close(fds[0])
            children.add(child)
            channel.send(str(child).encode())
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _reap(children, 0)


def _reap(children: set[int], options: int) -> None:
    """Lets go of the children that are dead; without WNOHANG, of all."""
    while children:
        child, _ = os.waitpid(-1, options)
        if child == 0:
            break
        children.discard(child)


def _serve(start: dict[str, Any], built: Prebuilt, listening: socket.socket) -> None:
    """In the child: becomes one service, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.nice(YIELDED)
    log = os.open(start["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    CrashPoints(Control(Path(start["control"])), Path(start["trace"]), start["kill_at"]).install()
    redirect(start["database"])
    built.addresses.urls = start["urls"]
    app = built.apps[start["service"]]
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    _Server(config, app.state.streams).run(sockets=[listening])
    os._exit(0)


class _Server(uvicorn.Server):
    """What a service is served by ends its streams before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.end()
        await super().shutdown(sockets)


if __name__ == "__main__":
    main(int(sys.argv[1]))
