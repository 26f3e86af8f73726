"""Who asked for what: the fields of every log line that is written while a request is answered.

    request_id   the client's or the router's X-Request-Id, or a new one; the answer has it as well
    caller       the user's id, or `service:` and the service's name; empty for nobody
    operation    the route's name, or what a GraphQL operation is and its root fields

Nothing else of a request is written: no header, no body, no variable.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RequestFields:
    """What is known of the request that is being answered; it grows while it is."""

    request_id: str
    caller: str = ""
    operation: str = ""


_current: ContextVar[RequestFields | None] = ContextVar("request_fields", default=None)


@contextlib.contextmanager
def logged_request(request_id: str) -> Iterator[RequestFields]:
    """While the block lasts, lines have the request's fields; a part of a request has those of the whole."""
    around = _current.get()
    if around is not None and around.request_id == request_id:
        yield around
        return
    fields = RequestFields(request_id)
    token = _current.set(fields)
    try:
        yield fields
    finally:
        _current.reset(token)


def note_request(*, caller_kind: str, caller_id: str, operation: str = "") -> None:
    """Adds to the fields of the current request, if there is one."""
    fields = _current.get()
    if fields is not None:
        fields.caller = f"service:{caller_id}" if caller_kind == "service" else caller_id
        fields.operation = operation or fields.operation


def add_request_fields(record: logging.LogRecord) -> bool:
    """A filter for handlers: the record's `fields` get those of the current request; every record passes."""
    fields = _current.get()
    if fields is not None:
        about = {"request_id": fields.request_id, "caller": fields.caller, "operation": fields.operation}
        record.fields = {**about, **getattr(record, "fields", {})}
    return True
