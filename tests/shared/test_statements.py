"""What SQLite is sent for a constant is what SQLAlchemy would send, and whatever is more than a text is left to it."""

import gc
import importlib
import pkgutil
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

import subgraphs
from subgraphs.shared.statements import FORMS_MAX, Parameters, Statements

_METADATA = MetaData()
_NOTES = Table(
    "notes",
    _METADATA,
    Column("id", String, primary_key=True),
    Column("size", BigInteger),
    Column("text", String),
    Column("details", JSON),
)
_DEFAULTED = Table("defaulted", _METADATA, Column("id", String, primary_key=True), Column("at", BigInteger, default=7))
_WIDE = Table("wide", _METADATA, *(Column(f"c{number}", String) for number in range(FORMS_MAX + 2)))

_OTHERS = _NOTES.alias("others")


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with two notes."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        _METADATA.create_all(connection)
        connection.execute(insert(_NOTES), [{"id": "a", "size": 1, "text": "x"}, {"id": "b", "size": 2, "text": None}])
        yield connection
    engine.dispose()


@pytest.fixture
def statements(connection: Connection) -> Statements:
    """Constants of the database's dialect."""
    return Statements(connection.dialect)


def _thrice(statements: Statements, connection: Connection, statement: Executable, parameters: Parameters) -> None:
    """Executes it as SQLAlchemy does, then from the text that was made, then from the text that was kept."""
    found = [statements.execute(connection, statement, parameters).all() for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert [row._asdict() for row in found[0]] == [row._asdict() for row in found[2]]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (select(_NOTES.c.id, _NOTES.c.size).order_by(_NOTES.c.id), {}),
        (select(_NOTES.c.id).where(_NOTES.c.size == bindparam("size")), {"size": 2}),
        (select(_NOTES.c.id).where(_NOTES.c.text.is_(None), _NOTES.c.size == 2), {}),
        (select(_NOTES.c.id, _NOTES.c.id.label("again"), _NOTES.c.size + 1), {}),
        (select(_NOTES.c.id, _OTHERS.c.id).where(_NOTES.c.size < _OTHERS.c.size), {}),
        (text("SELECT id FROM notes WHERE size >= :least AND :least > 0 ORDER BY id"), {"least": 1}),
    ],
)
def test_rows_are_the_same(
    statements: Statements, connection: Connection, statement: Executable, parameters: Mapping[str, Any]
) -> None:
    """Rows and the names of their values are the same however often a statement was executed."""
    _thrice(statements, connection, statement, parameters)


def test_changes_count(statements: Statements, connection: Connection) -> None:
    """An update tells each time how many rows it changed, and takes the values of that time."""
    grow = update(_NOTES).where(_NOTES.c.id == bindparam("key")).values(size=_NOTES.c.size + bindparam("by"))
    counts = [
        statements.execute(connection, grow, {"by": by, "key": key}).rowcount
        for by, key in ((1, "a"), (10, "a"), (100, "nobody"), (1_000, "a"))
    ]
    assert counts == [1, 1, 0, 1]
    assert connection.execute(select(_NOTES.c.size).where(_NOTES.c.id == "a")).scalar_one() == 1_012


def test_names_make_the_columns(statements: Statements, connection: Connection) -> None:
    """A row is written with the columns that are named this time."""
    add = insert(_NOTES)
    for row in ({"id": "c"}, {"id": "d", "size": 4}, {"size": 5, "id": "e"}, {"id": "f", "size": 6, "text": "y"}):
        statements.execute(connection, add, row)
    found = connection.execute(select(_NOTES.c.id, _NOTES.c.size, _NOTES.c.text).where(_NOTES.c.id > "b")).all()
    assert sorted(found) == [("c", None, None), ("d", 4, None), ("e", 5, None), ("f", 6, "y")]


def test_many(statements: Statements, connection: Connection) -> None:
    """Several rows are written by one execution, none by none."""
    add = insert(_NOTES)
    for first in ("c", "e", "g"):
        rows: list[dict[str, object]] = [{"id": first, "size": 1}, {"id": chr(ord(first) + 1), "size": 2}]
        assert statements.execute(connection, add, rows).rowcount == 2
    assert "".join(connection.execute(select(_NOTES.c.id).order_by(_NOTES.c.id)).scalars()) == "abcdefgh"


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (select(_NOTES.c.id).where(_NOTES.c.id.in_(bindparam("ids", expanding=True))), {"ids": ["a", "b"]}),
        (select(_NOTES.c.id, _NOTES.c.details), {}),
        (select(_NOTES.c.id).where(_NOTES.c.details == bindparam("details", type_=JSON)), {"details": {"a": 1}}),
        (select(_NOTES.c.id).limit(bindparam("most", type_=BigInteger, literal_execute=True)), {"most": 1}),
        (select(_NOTES.c.id).execution_options(of="somebody"), {}),
    ],
)
def test_more_than_a_text(
    statements: Statements, connection: Connection, statement: Executable, parameters: Mapping[str, Any]
) -> None:
    """Lists, converted values, literals and options are SQLAlchemy's, each time."""
    _thrice(statements, connection, statement, parameters)
    forms = statements._forms[statement]
    assert list(forms.values()) == [None]


def test_many_that_return_rows(statements: Statements, connection: Connection) -> None:
    """What several executions return comes together, which takes more than a text."""
    add = insert(_NOTES).returning(_NOTES.c.id)
    for first in ("c", "e", "g"):
        rows: list[dict[str, object]] = [{"id": first}, {"id": chr(ord(first) + 1)}]
        assert sorted(statements.execute(connection, add, rows).scalars()) == [row["id"] for row in rows]


def test_defaults_are_made(statements: Statements, connection: Connection) -> None:
    """A column's default is there in every row, whoever executes."""
    add = insert(_DEFAULTED)
    for name in "abc":
        statements.execute(connection, add, {"id": name})
    assert set(connection.execute(select(_DEFAULTED.c.at)).scalars()) == {7}


def test_missing_parameter(statements: Statements, connection: Connection) -> None:
    """Who leaves out a parameter hears of it from SQLAlchemy, the third time as the first."""
    statement = select(_NOTES.c.id).where(_NOTES.c.size == bindparam("size"))
    for _ in range(3):
        with pytest.raises(StatementError, match="'size'"):
            statements.execute(connection, statement, {})


def test_forms_are_bounded(statements: Statements, connection: Connection) -> None:
    """A statement that is executed with ever other names is executed, and has no more than so many texts."""
    add = insert(_WIDE)
    for number in range(FORMS_MAX + 2):
        for _ in range(2):
            statements.execute(connection, add, {f"c{number}": "x"})
    assert len(statements._forms[add]) == FORMS_MAX
    assert len(connection.execute(select(_WIDE)).all()) == 2 * (FORMS_MAX + 2)


def test_statements_go(statements: Statements, connection: Connection) -> None:
    """What was made for a statement goes with it."""
    statement = select(_NOTES.c.id)
    _thrice(statements, connection, statement, {})
    gone = weakref.ref(statement)
    del statement
    connection.engine.clear_compiled_cache()
    gc.collect()
    assert gone() is None
    assert len(statements._forms) == 0


def _constants() -> Iterator[tuple[str, Executable]]:
    for module in pkgutil.walk_packages(subgraphs.__path__, "subgraphs."):
        if ".migrations." in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for number, each in enumerate(value.values() if isinstance(value, Mapping) else [value]):
                if isinstance(each, Executable):
                    yield f"{module.name}.{name}.{number}", each


CONSTANTS = dict(_constants())


def test_there_are_constants() -> None:
    """The services' statements are found where they stand."""
    assert len(CONSTANTS) > 50


@pytest.mark.parametrize("name", CONSTANTS)
def test_sent_as_by_sqlalchemy(name: str) -> None:
    """Of each statement of the services, the driver gets the same text and values as from SQLAlchemy."""
    engine = create_engine("sqlite://")
    sent: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, text: str, values: Any, _context: object, many: bool) -> None:
        sent.append((text, [tuple(each) for each in values] if many else tuple(values)))

    statement = CONSTANTS[name]
    compiled: SQLCompiler = statement.compile(dialect=engine.dialect)  # type: ignore[attr-defined]  # of every clause
    named = {
        name: [f"{name} 1", f"{name} 2"] if bind.expanding else f"value of {name}"
        for name, bind in compiled.binds.items()
        if bind.required
    }
    with engine.connect() as connection:
        returns = list(getattr(statement, "exported_columns", ()))
        for parameters in (named,) if returns else (named, [named, named]):
            sent.clear()
            statements = Statements(engine.dialect)
            for _ in range(3):
                with pytest.raises(DBAPIError):  # there are no tables
                    statements.execute(connection, statement, parameters)
            assert sent[0] == sent[1] == sent[2]
