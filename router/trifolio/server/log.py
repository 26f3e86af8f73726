"""What the server writes down: one JSON object per line, each with the request's id, none with a secret.

Lines carry what is needed to find a failure: method, path without its query string, status, time, codes. Headers,
variables, documents and answers are never written.
"""

import logging
import re
from binascii import hexlify
from contextvars import ContextVar
from datetime import UTC, datetime
from os import urandom
from typing import Final

import orjson

from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned

access_log: Final = logging.getLogger("trifolio.access")
error_log: Final = logging.getLogger("trifolio.error")

current_request_id: Final[ContextVar[str]] = ContextVar("request_id", default="-")
"""The id of the request that the running task serves."""

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9_.:-]{8,128}")


def request_id(given: str | None) -> str:
    """The client's id where it is well formed (it goes into logs and headers), else a random one."""
    if given is not None and _WELL_FORMED.fullmatch(given):
        return given
    return hexlify(urandom(16)).decode()


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
        return orjson.dumps(line, default=str).decode()


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
        error_log.warning("a fetch failed", extra={"fields": fields})

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Nothing: the access log has it."""
