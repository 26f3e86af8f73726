"""What goes to the databases' drivers, whoever sends it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from subgraphs.shared import statements

Hear = Callable[[Connection, str, Any, bool], None]
"""Hears a statement: its connection, text and values, and whether these are of several executions."""


@contextmanager
def heard_by(hear: Hear) -> Iterator[None]:
    """Has every statement of every engine heard, right before it is sent: SQLAlchemy's, and the constants that are sent
    without it."""
    send = statements.send

    def listen(connection: Connection, _cursor: object, text: str, values: Any, _context: object, many: bool) -> None:
        hear(connection, text, values, many)

    def noticed(connection: Connection, form: statements.Form, values: Any, *, many: bool) -> statements.Rows:
        hear(connection, form.text, values, many)
        return send(connection, form, values, many=many)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        with mock.patch.object(statements, "send", noticed):
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
