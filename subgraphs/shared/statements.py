"""Statements that SQLite is sent again and again, without what SQLAlchemy does for each execution.

Problem. At every execution SQLAlchemy looks the statement up in its cache, puts the parameters in order, and gets ready
to convert what comes back: nine times what SQLite takes for an order's statements. Nearly all of them are constants.

Idea. A statement object that is executed a second time is a constant. It is compiled once for the names that its
parameters have; from then on its text goes to the driver, with the values in the order of the text.

    update(orders).where(orders.c.id == bindparam("key")).values(state=bindparam("to"))     the constant
    UPDATE orders SET state=? WHERE orders.id = ?                                            its text
    {"key": 7, "to": "completed"}  ->  ("completed", 7)                                      each execution

Why it is right. Text and order are those that SQLAlchemy compiles and would itself send. What is more than a text is
left to it: parameters that are lists, values that are converted on their way or made by a default, rows that several
executions return, execution options.
So is every first execution, and one that lacks a parameter, for SQLAlchemy says best what is wrong. Rows have the same
names; only a column object is no key of theirs.

Cost. One text for each statement and set of names; it goes with the statement. Limit: `FORMS_MAX` sets of names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine import CursorResult
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

FORMS_MAX = 16
"""16 sets of names: a row that is saved is saved with a few; a statement with more is no constant in this sense."""

_NO_NAMES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class _Form:
    """A constant's text, and what goes into it."""

    text: str
    names: tuple[str, ...]
    """The parameters in the order of the text."""
    fixed: Mapping[str, Any]
    """The values that the statement has itself."""

    def values(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the order of the text; raises KeyError where one is missing."""
        fixed = self.fixed
        return tuple([parameters[name] if name in parameters else fixed[name] for name in self.names])


class Statements:
    """The constants that have been executed on one dialect, whose placeholders are positional."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._forms: WeakKeyDictionary[Executable, dict[tuple[bool, tuple[str, ...]], _Form | None]] = (
            WeakKeyDictionary()
        )

    def execute(
        self, connection: Connection, statement: Executable, parameters: Parameters | None
    ) -> CursorResult[Any]:
        """Executes a statement; with a sequence of parameters, once for each."""
        forms = self._forms.get(statement)
        if forms is None:
            self._forms[statement] = {}
            return connection.execute(statement, parameters)
        many = isinstance(parameters, Sequence)
        rows = parameters if isinstance(parameters, Sequence) else (parameters or _NO_NAMES,)
        if not rows:
            return connection.execute(statement, parameters)
        names = tuple(rows[0])
        key = many, names
        if key not in forms:
            if len(forms) == FORMS_MAX:
                return connection.execute(statement, parameters)
            forms[key] = self._form(statement, names, many=many)
        form = forms[key]
        if form is None:
            return connection.execute(statement, parameters)
        try:
            values = [form.values(row) for row in rows]
        except KeyError:
            return connection.execute(statement, parameters)
        return connection.exec_driver_sql(form.text, values if many else values[0])

    def _form(self, statement: Executable, names: Sequence[str], *, many: bool) -> _Form | None:
        """The statement's text for these names; None where it is more than a text."""
        if statement.get_execution_options():
            return None
        compiled = statement.compile(  # type: ignore[attr-defined]  # of every executable that is a clause
            dialect=self._dialect, column_keys=list(names), for_executemany=many
        )
        assert isinstance(compiled, SQLCompiler)
        binds = compiled.binds
        converts = any(self._converts(each.type) for each in binds.values())
        columns = list(getattr(statement, "exported_columns", ()))
        if (
            converts
            or (many and columns)
            or compiled.post_compile_params
            or compiled.literal_execute_params
            or compiled.insert_prefetch
            or compiled.update_prefetch
            or any(self._converts(column.type) for column in columns)
        ):
            return None
        fixed = {name: bind.value for name, bind in binds.items() if not bind.required}
        return _Form(compiled.string, tuple(compiled.positiontup or ()), fixed)

    def _converts(self, kind: TypeEngine[Any]) -> bool:
        """Whether values of the type are converted on their way to the database or back."""
        own = kind.dialect_impl(self._dialect)
        return own.bind_processor(self._dialect) is not None or own.result_processor(self._dialect, None) is not None
