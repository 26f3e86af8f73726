"""What the server writes down: one JSON object per line, each with the request's id, none with a secret.

Lines carry what is needed to find a failure: method, path without its query string, status, time, codes. Headers,
variables, documents and answers are never written.

The line about a request, or about a fetch that failed, would cost as much as half a fetch, were it a record that goes
through a formatter to a stream that is flushed. So where such a log's only handler is a `BatchHandler`, as under
`trifolio serve`, `write_line` hands it the fields alone, and it writes many lines at once. Whatever else is configured
gets records like any logger's.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import orjson

from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned

access_log: Final = logging.getLogger("trifolio.access")
error_log: Final = logging.getLogger("trifolio.error")

current_request_id: Final[ContextVar[str]] = ContextVar("request_id", default="-")
"""The id of the request that the running task serves."""

_ids: Final = Random(os.urandom(32))  # noqa: S311  # an id is no secret, and the system need not be asked for each
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=lambda: _ids.seed(os.urandom(32)))
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9_.:-]{8,128}")


def request_id(given: str | None) -> str:
    """The client's id where it is well formed (it goes into logs and headers), else a random one."""
    if given is not None and _WELL_FORMED.fullmatch(given):
        return given
    return f"{_ids.getrandbits(128):032x}"


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; what a call passes as `extra={"fields": {...}}` stands beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encoded(line)


def _encoded(line: Mapping[str, object]) -> str:
    """A line as JSON, whatever is in it: half a character, a number that is too large, an object of any class."""
    try:
        return orjson.dumps(line, default=str).decode()
    except orjson.JSONEncodeError:
        return json.dumps(line, default=str)


_LEVEL_NAMES: Final = {logging.INFO: "info", logging.WARNING: "warning"}

BATCH_S: Final = 0.05
"""50 ms: how long a line may wait for others. Who kills the process loses as much."""
BATCH_LINES_MAX: Final = 500
"""500 lines, some 100 kB, are written at once, whatever the time."""


class BatchHandler(logging.StreamHandler[Any]):
    """Writes lines together, at most `BATCH_S` after the first of them; `flush` writes what waits, as logging's own end
    does."""

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._second_text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Any record, as the formatter has it; an error is written at once: the process may be about to end."""
        try:
            self._add(self.format(record))
        except Exception:  # noqa: BLE001  # as logging does: what cannot be logged must not stop serving
            self.handleError(record)
        if record.levelno >= logging.ERROR:
            self._write()

    def write_line(self, logger: str, level: str, message: str, fields: Mapping[str, object]) -> None:
        """The line that `JsonFormatter` would make of a logger's record with these fields."""
        line = {"time": self._time(), "level": level, "logger": logger, "message": message, **fields}
        text = _encoded(line)
        self.acquire()  # threads may log at the same time
        try:
            self._add(text)
        finally:
            self.release()

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self.stream.write("\n".join(lines) + self.terminator)
        super().flush()

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= BATCH_LINES_MAX:
            self._write()
        elif self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # nothing would come back to it
                self._write()
            else:
                self._timer = loop.call_later(BATCH_S, self._write)

    def _write(self) -> None:
        self.acquire()
        try:
            self.flush()
        except Exception:  # noqa: BLE001  # as logging does: a full disk or a closed pipe must not stop serving
            self.handleError(logging.makeLogRecord({"msg": "the log cannot be written"}))
        finally:
            self.release()

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._second_text}.{int((now - second) * 1000):03}+00:00"


def write_line(logger: logging.Logger, level: int, message: str, fields: Mapping[str, object]) -> None:
    """Write down what happens often: to the logger, or past it where that comes to the same."""
    handlers = logger.handlers
    handler = handlers[0] if len(handlers) == 1 and not logger.propagate else None
    if not isinstance(handler, BatchHandler) or not isinstance(handler.formatter, JsonFormatter):
        logger.log(level, message, extra={"fields": fields})
    elif logger.isEnabledFor(level):
        handler.write_line(logger.name, _LEVEL_NAMES[level], message, fields)


def log_request(message: str, fields: Mapping[str, object]) -> None:
    """Write down how a request ended."""
    write_line(access_log, logging.INFO, message, fields)


class FailureLog:
    """An observer that writes down why a subgraph could not be asked; clients only learn the code."""

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Say where a plan may not be the shortest."""
        if not event.proven_minimal:
            fields = {"request_id": current_request_id.get(), "fetches": event.fetches}
            error_log.warning("the planning budget ended before the plan was proven minimal", extra={"fields": fields})

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Write a failed fetch with its internal text."""
        if event.failure is None:
            return
        internal = event.failure.internal
        fields = {
            "request_id": current_request_id.get(),
            "subgraph": event.subgraph,
            "code": event.failure.code.name,
            "cause": internal.text if internal else None,
            "ms": round(event.seconds * 1000, 3),
        }
        write_line(error_log, logging.WARNING, "a fetch failed", fields)

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Nothing: the access log has it."""
