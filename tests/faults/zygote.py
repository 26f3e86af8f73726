"""A process that has imported all three services and forks one of them for every start that it is asked for.

Importing the services takes longer than a whole crash scenario, so each start forks instead: a service is back within
milliseconds. The test sends a JSON line per start over a Unix socket, together with the service's listening socket,
and gets the child's process id back. The listening socket is the test's own and survives the child, so a client of a
dead service waits in the backlog until its successor accepts.

Run as `python -m tests.faults.zygote FD`, FD being the zygote's end of the socket.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn

from tests.faults.crash_points import Control, CrashPoints

SERVICES = ("users", "wallet", "stocks")
SERVER_MODULES = ("uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.lifespan.on", "uvloop", "httptools")
"""What uvicorn imports when it starts."""
MESSAGE_BYTES_MAX = 65_536


def main(channel_fd: int) -> None:
    """Serves start requests until the test closes its end, then ends every child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    _warm_up()
    children: list[int] = []
    with socket.socket(fileno=channel_fd) as channel:
        channel.send(b"ready")
        while True:
            message, fds, _flags, _address = socket.recv_fds(channel, MESSAGE_BYTES_MAX, 1)
            if not message:
                break
            child = os.fork()
            if child == 0:
                channel.close()
                _serve(json.loads(message), socket.socket(fileno=fds[0]))
            os.close(fds[0])
            children.append(child)
            channel.send(str(child).encode())
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _warm_up() -> None:
    """Does once what every child would do at its start: imports, and building each application for the caches' sake."""
    for module in SERVER_MODULES:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        for service in SERVICES:
            settings = importlib.import_module(f"subgraphs.{service}.settings").Settings
            create_app = importlib.import_module(f"subgraphs.{service}.app").create_app
            create_app(settings(mode="development", database_url=f"sqlite:///{folder}/{service}.db"))
    gc.collect()
    gc.freeze()


def _serve(start: dict[str, Any], listening: socket.socket) -> None:
    """In the child: becomes one service, until it is killed or told to end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = os.open(start["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(start["environment"])
    CrashPoints(Control(Path(start["control"])), Path(start["trace"]), start["kill_at"]).install()
    service = start["service"]
    settings = importlib.import_module(f"subgraphs.{service}.settings").Settings()
    app = importlib.import_module(f"subgraphs.{service}.app").create_app(settings)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
