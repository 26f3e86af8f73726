"""Statements that SQLite is sent again and again, without what SQLAlchemy does for each execution.

Problem. At every execution SQLAlchemy looks the statement up in its cache, puts the parameters in order, makes a cursor
and a context, and gets ready to convert what comes back: five to ten times what SQLite takes for an order's statements.
Nearly all of them are constants.

Idea. A statement object that is executed a second time is a constant. It is compiled once for the names that its
parameters have; from then on its text goes to the driver itself, with the values in the order of the text. What comes
back are SQLAlchemy's rows again.

    update(orders).where(orders.c.id == bindparam("key")).values(state=bindparam("to"))     the constant
    UPDATE orders SET state=? WHERE orders.id = ?                                            its text
    {"key": 7, "to": "completed"}  ->  ("completed", 7)                                      each execution

A parameter that is a list has a text for each length.

Why it is right. Text and order are those that SQLAlchemy compiles and would itself send, over the same connection and
so in the same transaction; errors are SQLAlchemy's, and hide their values where the engine hides them. What is more
than a text is left to it: values that are converted on their way or made by a default, rows that several executions
return, execution options. So is every first execution, and one that lacks a parameter, for SQLAlchemy says best what is
wrong.

Where it differs. Only a name or a place is a key of a row, not a column object. All rows are read at once, so that no
statement is left open that would keep later ones from what is committed meanwhile: the services' statements are bounded
in what they return. SQLAlchemy's listeners to statements hear nothing of it; the driver's do.

Cost. One text for each statement, set of names and length of lists; it goes with the statement. Limit: `FORMS_MAX`.
"""

import sqlite3
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Connection, Dialect
from sqlalchemy.engine import CursorResult, IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable, visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

FORMS_MAX = 16
"""16 texts of a statement: rows are saved with few sets of names, most lists are short. SQLAlchemy does the rest."""

_NO_NAMES: Mapping[str, Any] = {}
_NO_COLUMNS = SimpleResultMetaData(())


class Rows(IteratorResult[Any]):
    """What a constant brought: rows that are read already, and how many it changed."""

    def __init__(self, columns: SimpleResultMetaData, rows: list[Any], rowcount: int) -> None:
        super().__init__(columns, iter(rows))
        self.rowcount = rowcount
        """How many rows were changed; -1 where none is."""


Executed = CursorResult[Any] | Rows
"""The result of a statement, whoever sent it."""


class _Named(str):
    """Stands for the parameter of that name where a statement is filled to see what goes where."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A value of a list."""

    name: str
    number: int

    def value(self, parameters: Mapping[str, Any]) -> Any:
        """What it is at an execution; raises KeyError where the list is missing."""
        return parameters[self.name][self.number]


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A value that the statement has itself."""

    fixed: Any

    def value(self, _parameters: Mapping[str, Any]) -> Any:
        """The same at every execution."""
        return self.fixed


@dataclass(slots=True)
class Form:
    """A constant's text, and what goes into it."""

    text: str
    places: tuple[str | _Listed | _Fixed, ...]
    """The values in the order of the text: parameters by their names, and others."""
    columns: SimpleResultMetaData | None = None
    """The names of what comes back, once it was executed."""

    def values(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of an execution; raises KeyError where one is missing."""
        return tuple([parameters[each] if isinstance(each, str) else each.value(parameters) for each in self.places])


@dataclass(frozen=True, slots=True)
class _Constant:
    """A statement that was executed before."""

    lists: tuple[str, ...]
    """Its parameters that are lists."""
    forms: dict[Hashable, Form | None]
    """By what of its parameters makes another text; None where it is more than a text."""


class Statements:
    """The constants that have been executed on SQLite."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        # None for a statement that was executed once.
        self._constants: WeakKeyDictionary[Executable, _Constant | None] = WeakKeyDictionary()

    def execute(self, connection: Connection, statement: Executable, parameters: Parameters | None) -> Executed:
        """Executes a statement; with a sequence of parameters, once for each."""
        constant = self._constants.get(statement)
        if constant is None:
            if statement not in self._constants:
                self._constants[statement] = None
                return connection.execute(statement, parameters)
            constant = self._constants[statement] = _Constant(_lists_of(statement), {})
        many = isinstance(parameters, Sequence)
        rows = parameters if isinstance(parameters, Sequence) else (parameters or _NO_NAMES,)
        form = self._form_for(statement, constant, rows, many=many) if rows else None
        if form is None:
            return connection.execute(statement, parameters)
        try:
            values = [form.values(row) for row in rows]
        except KeyError:
            return connection.execute(statement, parameters)
        return send(connection, form, values if many else values[0], many=many)

    def _form_for(
        self, statement: Executable, constant: _Constant, rows: Sequence[Mapping[str, Any]], *, many: bool
    ) -> Form | None:
        """The text that these parameters have, kept where there is room; None where they take more than a text."""
        row = rows[0]
        names = tuple(row)
        key: Hashable = many, names
        lengths: Mapping[str, int] = _NO_NAMES
        if constant.lists:
            lists = {name: row.get(name) for name in constant.lists}
            lengths = {name: len(each) for name, each in lists.items() if _is_flat(each)}
            if many or len(lengths) < len(lists):
                return None
            key = names, tuple(lengths.values())
        forms = constant.forms
        if key not in forms:
            if len(forms) == FORMS_MAX:
                return None
            forms[key] = self._form(statement, names, lengths, many=many)
        return forms[key]

    def _form(
        self, statement: Executable, names: Sequence[str], lengths: Mapping[str, int], *, many: bool
    ) -> Form | None:
        """The statement's text for these names and lists so long; None where it is more than a text."""
        if statement.get_execution_options():
            return None
        compiled = statement.compile(  # type: ignore[attr-defined]  # of every executable that is a clause
            dialect=self._dialect, column_keys=list(names), for_executemany=many
        )
        assert isinstance(compiled, SQLCompiler)
        columns = list(getattr(statement, "exported_columns", ()))
        if (
            (many and columns)
            or any(bind.required and name not in names for name, bind in compiled.binds.items())
            or any(self._converts(bind.type) for bind in compiled.binds.values())
            or any(self._converts(column.type) for column in columns)
            or compiled.literal_execute_params
            or compiled.insert_prefetch
            or compiled.update_prefetch
        ):
            return None
        given: dict[str, Any] = {name: _Named(name) for name in names}
        given |= {name: [_Listed(name, number) for number in range(length)] for name, length in lengths.items()}
        state = compiled.construct_expanded_state(given)
        return Form(state.statement, tuple(map(_place, state.positional_parameters)))

    def _converts(self, kind: TypeEngine[Any]) -> bool:
        """Whether values of the type are converted on their way to the database or back."""
        own = kind.dialect_impl(self._dialect)
        return own.bind_processor(self._dialect) is not None or own.result_processor(self._dialect, None) is not None


def _place(filled: object) -> str | _Listed | _Fixed:
    if isinstance(filled, _Named):
        return str(filled)
    return filled if isinstance(filled, _Listed) else _Fixed(filled)


def _lists_of(statement: Any) -> tuple[str, ...]:
    binds = [each for each in visitors.iterate(statement) if isinstance(each, BindParameter)]
    return tuple(dict.fromkeys(bind.key for bind in binds if bind.expanding))


def _is_flat(values: object) -> TypeGuard[Sequence[object]]:
    """Whether it is a list of which each value is one in the text, too."""
    return isinstance(values, list | tuple) and not any(isinstance(each, list | tuple) for each in values)


def send(connection: Connection, form: Form, values: Any, *, many: bool) -> Rows:
    """Has the driver execute a constant, in the connection's transaction; raises DBAPIError where it fails."""
    driver: Any = connection.connection.dbapi_connection
    try:
        cursor = driver.executemany(form.text, values) if many else driver.execute(form.text, values)
        rows = cursor.fetchall()
    except sqlite3.Error as error:
        hides = connection.engine.hide_parameters
        wrapped = DBAPIError.instance(form.text, values, error, sqlite3.Error, hide_parameters=hides, ismulti=many)
        assert isinstance(wrapped, DBAPIError)
        raise wrapped from error
    columns = form.columns
    if columns is None:
        described = cursor.description
        columns = form.columns = SimpleResultMetaData([name for name, *_ in described]) if described else _NO_COLUMNS
    return Rows(columns, rows, cursor.rowcount)
