"""An event loop that knows how long each of its rounds took, and a router that runs on it.

python -m tests.attacks.probe SUPERGRAPH SETTINGS: the port stands in the first line of its output. Each line of its
input is answered by one of JSON: what was measured since the last one.
"""

import asyncio
import gc
import json
import selectors
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import psutil
import uvicorn

from trifolio.command.files import read_settings
from trifolio.command.serving import LOGGING, Serving, listen, make_app, run
from trifolio.server.listening import ACCEPTED_AT_ONCE

_QUIET = {
    **LOGGING,
    "loggers": {name: {"level": "CRITICAL"} for name in ("trifolio.access", "trifolio.error", "uvicorn")},
}


class Rounds:
    """CPU time and time on the wall of each round of a loop, from waking to waiting, in seconds."""

    def __init__(self) -> None:
        self.cpu = array("d")
        self.wall = array("d")
        self._started = (0.0, 0.0)
        self._collecting = 0.0
        self.collection = 0.0
        """The CPU time of the longest collection of garbage."""

    def begin(self) -> None:
        """The loop has woken."""
        self._started = time.thread_time(), time.perf_counter()

    def end(self) -> None:
        """The loop is about to wait."""
        cpu, wall = self._started
        self.cpu.append(time.thread_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def on_collection(self, phase: str, told: dict[str, int]) -> None:
        """Garbage is about to be looked for, or was."""
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self.collection = max(self.collection, time.thread_time() - self._collecting)

    def take(self) -> dict[str, float]:
        """What there was since it was taken last; milliseconds, and the megabytes that the process holds."""
        cpu, self.cpu = sorted(self.cpu), array("d")
        wall, self.wall = self.wall, array("d")
        collection, self.collection = self.collection, 0.0
        return {
            "rounds": len(cpu),
            "cpu_ms_max": 1_000 * max(cpu, default=0.0),
            "cpu_ms_p99": 1_000 * (cpu[len(cpu) * 99 // 100] if cpu else 0.0),
            "collection_ms_max": 1_000 * collection,
            "wall_ms_max": 1_000 * max(wall, default=0.0),
            "resident_mb": psutil.Process().memory_info().rss / 1e6,
        }


ROUNDS = Rounds()
"""Those of this process's loop."""


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        found = super().select(timeout)
        ROUNDS.begin()
        return found


class ProbedLoop(asyncio.SelectorEventLoop):
    """A loop whose rounds are measured."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # typeshed does not know what every loop of asyncio has
        ROUNDS.end()


def main() -> int:
    """Serve until the input ends."""
    supergraph, settings = map(Path, sys.argv[1:])
    config = read_settings(settings, {})
    app = make_app(Serving(supergraph.read_text(), config))
    from tests.attacks.probe import ROUNDS as measured  # this file is __main__ as well

    gc.callbacks.append(measured.on_collection)
    listener = listen("127.0.0.1", 0)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_tell, args=(measured,), daemon=True).start()
    server = uvicorn.Config(
        app,
        interface="asgi3",
        loop=f"{__package__}.probe:ProbedLoop",
        http="trifolio.server.protocol:HttpProtocol",
        backlog=ACCEPTED_AT_ONCE,
        ws="none",
        lifespan="on",
        log_config=_QUIET,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    return run(server, listener)


def _tell(measured: Rounds) -> None:
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(measured.take()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
