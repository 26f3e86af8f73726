"""Where a service can be killed: before and after every commit and every call to another service.

Installed in the test's own child processes only, over SQLAlchemy's commits and the transport of calls, so the services
hold no code for it and no commit or call can be forgotten: whatever commits is a point. Points are numbered from 1 in
the order in which one process reaches them while the world is armed; "before" and "after" are points of their own.
"""

import mmap
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from subgraphs.shared.transport import HttpTransport, PeerRequest, PeerResponse

ARMED = b"\x01"


class Control:
    """One byte that all processes of a world share: points count, and kill, only while it is set."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(b"\x00")
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 1)

    def arm(self, armed: bool) -> None:
        """Sets or clears the byte."""
        self._map[:1] = ARMED if armed else b"\x00"

    @property
    def armed(self) -> bool:
        return self._map[:1] == ARMED


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
        """Wraps the commits of both databases and every request to another service."""
        for dialect in (SQLiteDialect_pysqlite, PGDialect_asyncpg):
            self._wrap_commit(dialect)
        self._wrap_calls()

    def _wrap_commit(self, dialect: Any) -> None:
        commit = dialect.do_commit

        def do_commit(instance: Any, connection: Any) -> None:
            self.reach("before commit")
            commit(instance, connection)
            self.reach("after commit")

        dialect.do_commit = do_commit

    def _wrap_calls(self) -> None:
        send = HttpTransport.send

        async def send_watched(transport: HttpTransport, request: PeerRequest) -> PeerResponse:
            label = f"{request.method} {urlsplit(request.url).path}"
            self.reach(f"before {label}")
            response = await send(transport, request)
            self.reach(f"after {label}")
            return response

        HttpTransport.send = send_watched  # type: ignore[method-assign]  # the seam itself
