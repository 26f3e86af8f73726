"""Where a service can be killed: before and after every commit and every call to another service; and its clock.

Installed in the test's own child processes only, over SQLAlchemy's commits and the transport of calls, so the services
hold no code for it and no commit or call can be forgotten: whatever commits is a point. Points are numbered from 1 in
the order in which one process reaches them while the world is armed; "before" and "after" are points of their own.

The time of a world is the machine's monotonic clock, so many milliseconds off: it never goes back, whatever is done to
the machine's date. The services still ask the database for the time, and get the world's. A test may change it at any
moment: for all processes at once, those that have begun something included.
"""

import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from subgraphs.shared.database import _PostgresConnection, _SqliteConnection
from subgraphs.shared.transport import HttpTransport, PeerRequest, PeerResponse

_ARMED = struct.Struct("@q")
_OFFSET_MS = struct.Struct("@q")  # native numbers are written in one piece, which no other process sees half of
_OFFSET_AT = _ARMED.size


class Control:
    """Two numbers that all processes of a world share: whether points count and kill, and how far the clock is off."""

    def __init__(self, path: Path) -> None:
        size = _ARMED.size + _OFFSET_MS.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def arm(self, armed: bool) -> None:
        """Points count, or do not."""
        _ARMED.pack_into(self._map, 0, armed)

    @property
    def armed(self) -> bool:
        return bool(_ARMED.unpack_from(self._map, 0)[0])

    def set_clock(self, now_ms: int) -> None:
        """Makes it this moment in the world, in milliseconds since the epoch."""
        _OFFSET_MS.pack_into(self._map, _OFFSET_AT, now_ms - _running_ms())

    @property
    def offset_ms(self) -> int:
        """The world's time less the monotonic clock's."""
        offset: int = _OFFSET_MS.unpack_from(self._map, _OFFSET_AT)[0]
        return offset

    @property
    def now_ms(self) -> int:
        """The world's time."""
        return _running_ms() + self.offset_ms


def _running_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class CrashPoints:
    """Counts the points of this process, writes each to the trace, and kills the process at one of them."""

    def __init__(self, control: Control, trace: Path, kill_at: int | None) -> None:
        self._control = control
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill_at = kill_at
        self._reached = 0

    def reach(self, label: str) -> None:
        """One point: traced, and the end of this process if it is the chosen one."""
        if not self._control.armed:
            return
        self._reached += 1
        os.write(self._trace, f"{self._reached} {label}\n".encode())
        if self._reached == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wraps the commits and the clocks of both databases, and every request to another service."""
        for dialect in (SQLiteDialect_pysqlite, PGDialect_asyncpg):
            self._wrap_commit(dialect)
        for connection in (_SqliteConnection, _PostgresConnection):
            self._wrap_clock(connection)
        self._wrap_calls()

    def _wrap_commit(self, dialect: Any) -> None:
        commit = dialect.do_commit

        def do_commit(instance: Any, connection: Any) -> None:
            self.reach("before commit")
            commit(instance, connection)
            self.reach("after commit")

        dialect.do_commit = do_commit

    def _wrap_clock(self, kind: Any) -> None:
        now = kind.now

        async def world_now(connection: Any) -> int:
            await now(connection)
            return self._control.now_ms

        kind.now = world_now

    def _wrap_calls(self) -> None:
        send = HttpTransport.send

        async def send_watched(transport: HttpTransport, request: PeerRequest) -> PeerResponse:
            label = f"{request.method} {urlsplit(request.url).path}"
            self.reach(f"before {label}")
            response = await send(transport, request)
            self.reach(f"after {label}")
            return response

        HttpTransport.send = send_watched  # type: ignore[method-assign, assignment]  # the seam itself
