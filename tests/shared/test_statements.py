"""What SQLite is sent for a constant is what SQLAlchemy would send, and whatever is more than a text is left to it."""

import gc
import importlib
import pkgutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
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
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

import subgraphs
from subgraphs.shared.statements import FORMS_MAX, Parameters, Statements
from tests.driver_statements import heard_by

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


def _sent_without_sqlalchemy(
    statements: Statements, connection: Connection, statement: Executable, parameters: Parameters
) -> list[tuple[str, Any]]:
    """The texts and values that one execution sends to the driver itself."""
    by_all: list[tuple[str, Any]] = []
    by_sqlalchemy: list[str] = []

    def note(_connection: object, _cursor: object, text: str, *_: object) -> None:
        by_sqlalchemy.append(text)

    event.listen(connection, "before_cursor_execute", note)
    with heard_by(lambda _connection, text, values, _many: by_all.append((text, values))):
        statements.execute(connection, statement, parameters)
    event.remove(connection, "before_cursor_execute", note)
    return [each for each in by_all if each[0] not in by_sqlalchemy]


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
        (select(_NOTES.c.id, _NOTES.c.details), {}),
        (select(_NOTES.c.id).where(_NOTES.c.details == bindparam("details", type_=JSON)), {"details": {"a": 1}}),
        (select(_NOTES.c.id).limit(bindparam("most", type_=BigInteger, literal_execute=True)), {"most": 1}),
        (select(_NOTES.c.id).execution_options(of="somebody"), {}),
    ],
)
def test_more_than_a_text(
    statements: Statements, connection: Connection, statement: Executable, parameters: Mapping[str, Any]
) -> None:
    """Converted values, literals and options are SQLAlchemy's, each time."""
    _thrice(statements, connection, statement, parameters)
    assert _sent_without_sqlalchemy(statements, connection, statement, parameters) == []


@pytest.mark.parametrize("ids", [["a", "b"], ["b"], [], ("a", "nobody"), ["a"] * 5])
def test_lists(statements: Statements, connection: Connection, ids: Sequence[str]) -> None:
    """A list is as long as it is, each time."""
    statement = select(_NOTES.c.id, _NOTES.c.size).where(
        _NOTES.c.size < bindparam("below"), _NOTES.c.id.in_(bindparam("ids", expanding=True)), _NOTES.c.size > 0
    )
    for others in (["a"], ["b", "a"]):
        statements.execute(connection, statement, {"ids": others, "below": 9})
    _thrice(statements, connection, statement, {"ids": ids, "below": 9})
    sent = _sent_without_sqlalchemy(statements, connection, statement, {"below": 2, "ids": ids})
    assert [values for _, values in sent] == [(2, *ids, 0)]


def test_lists_of_what_changes(statements: Statements, connection: Connection) -> None:
    """An update of what a list names changes that alone, and says how many there were."""
    statement = update(_NOTES).where(_NOTES.c.id.in_(bindparam("ids", expanding=True))).values(text=bindparam("to"))
    found = [
        statements.execute(connection, statement, {"ids": ids, "to": to}).rowcount
        for ids, to in ((["a"], "1"), (["a", "b"], "2"), (["b", "c"], "3"), ([], "4"))
    ]
    assert found == [1, 2, 1, 0]
    assert connection.execute(select(_NOTES.c.text).order_by(_NOTES.c.id)).scalars().all() == ["2", "3"]


@pytest.mark.parametrize("values", [[("a", 1), ("b", 2)], [["a", 1]]])
def test_lists_of_rows(statements: Statements, connection: Connection, values: Sequence[Any]) -> None:
    """A list whose values are several in the text is SQLAlchemy's."""
    pairs = tuple_(_NOTES.c.id, _NOTES.c.size).in_(bindparam("pairs", expanding=True))
    statement = select(_NOTES.c.id).where(pairs).order_by(_NOTES.c.id)
    _thrice(statements, connection, statement, {"pairs": values})
    assert _sent_without_sqlalchemy(statements, connection, statement, {"pairs": values}) == []


def test_what_fails_is_told_as_by_sqlalchemy(statements: Statements, connection: Connection) -> None:
    """A broken rule is the same exception each time, and leaves the transaction as it was."""
    add = insert(_NOTES)
    told = []
    for _ in range(3):
        with pytest.raises(IntegrityError) as raised:
            statements.execute(connection, add, {"id": "a", "size": 3})
        told.append((str(raised.value), raised.value.orig.args, raised.value.params))  # type: ignore[union-attr]  # of the driver
    assert told[0] == told[1] == told[2]
    assert connection.in_transaction()
    assert connection.execute(select(_NOTES.c.size).where(_NOTES.c.id == "a")).scalar_one() == 1


def test_values_are_hidden_where_the_engine_hides_them() -> None:
    """What fails shows no parameter in its text, however it was sent."""
    engine = create_engine("sqlite://", hide_parameters=True)
    statements = Statements(engine.dialect)
    add = insert(_NOTES)
    with engine.connect() as connection:
        for _ in range(3):
            for rows in ({"id": "secret"}, [{"id": "secret"}, {"id": "secret too"}]):
                with pytest.raises(DBAPIError) as raised:  # there is no table
                    statements.execute(connection, add, rows)
                assert "secret" not in str(raised.value)
    engine.dispose()


def test_no_statement_stays_open(statements: Statements, connection: Connection) -> None:
    """Who reads only the first row leaves nothing that would keep the file from others."""
    statement = select(_NOTES.c.id)
    for _ in range(3):
        assert statements.execute(connection, statement, None).first() is not None
    connection.commit()
    with connection.engine.connect() as other:
        other.exec_driver_sql("DROP TABLE notes")


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
    constant = statements._constants[add]
    assert constant is not None
    assert len(constant.forms) == FORMS_MAX
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
    assert len(statements._constants) == 0


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

    def note(_connection: object, text: str, values: Any, many: bool) -> None:
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
                with heard_by(note), pytest.raises(DBAPIError):  # there are no tables
                    statements.execute(connection, statement, parameters)
            assert sent[0] == sent[1] == sent[2]
