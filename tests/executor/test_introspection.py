"""Introspection: answered from the API schema, mixed with data, and not worked out twice."""

import pytest
import strawberry
from graphql import build_schema, execute_sync, get_introspection_query, parse

from tests.executor.shop import Canned, plan
from trifolio.composer import Subgraph, compose
from trifolio.executor import execute, prepare
from trifolio.executor.introspection import FIELD_UNITS, Introspected, introspect
from trifolio.query_plan import OutputField, Plan, RawShape, Selection
from trifolio.supergraph import Supergraph
from trifolio.work import Work, WorkExceeded

SCHEMA = build_schema("type Query { products: [Product] } type Product { id: ID name: String }")


async def test_introspection_stands_beside_data_in_the_clients_order() -> None:
    """`__type` comes from the schema and products from their subgraph, each under the client's key."""
    data = plan()
    fields = (OutputField("t", "t", RawShape()), *data.selection.fields)
    made = Plan(
        kind="query",
        fetches=data.fetches[:1],
        selection=Selection(fields),
        introspection='query ($d: Boolean) { t: __type(name: "Product") { fields(includeDeprecated: $d) { name } } }',
        introspection_variables=("d",),
    )
    answer = await execute(
        prepare(made),
        transports={"products": Canned({"data": {"products": None}})},
        schema=SCHEMA,
        variables={"d": True, "other": 1},
    )
    assert list((answer.data or {}).items()) == [
        ("t", {"fields": [{"name": "id"}, {"name": "name"}]}),
        ("products", None),
    ]


def test_the_operation_is_answered_once() -> None:
    """What the schema says is part of the prepared plan; what a request adds beside it stays its own."""
    prepared = prepare(Plan("query", (), Selection(()), get_introspection_query()), schema=SCHEMA)
    assert prepared.introspected is not None
    assert prepared.introspected.errors == ()
    assert prepared.introspected.held_bytes > 10_000
    assert prepared.held_bytes > prepared.introspected.held_bytes


def cost(operation: str) -> tuple[int, Introspected]:
    work = Work(10**9)
    introspected = introspect(operation, SCHEMA, {}, work)
    return work.spent, introspected


def test_what_is_asked_again_is_not_answered_again() -> None:
    """Equal fields under fifty keys cost one, and count fifty times as values of the answer."""
    selection = "{ types { fields { name } } }"
    once_units, once = cost(f"{{ a: __schema {selection} }}")
    many_units, many = cost("{ " + " ".join(f"a{n}: __schema {selection}" for n in range(50)) + " }")
    assert many_units == once_units
    assert many.values == 50 * once.values
    assert list(many.fields) == [f"a{n}" for n in range(50)]
    assert all(value is many.fields["a0"] for value in many.fields.values())
    assert many.fields["a0"] == once.fields["a"]


@pytest.mark.parametrize(
    "operation",
    [
        "{ a: __schema { description } a: __schema { queryType { name } } b: __schema { description } }",
        '{ a: __type(name: "Product") { name } b: __type(name: "Query") { name } c: __type(name: "Product") { name } }',
        "{ a: __schema { ...F } ... { b: __schema { ...F } } } fragment F on __Schema { queryType { name } }",
        '{ a: __type(name: "No") { name } b: __type(name: "No") { name } }',
    ],
)
def test_answers_are_those_of_graphql_core(operation: str) -> None:
    """Whatever is asked under which keys, the answer is the one of plain execution, in the same order."""
    _, introspected = cost(operation)
    expected = execute_sync(SCHEMA, parse(operation)).data
    assert expected is not None
    assert list(introspected.fields.items()) == list(expected.items())


def test_what_takes_too_much_is_refused() -> None:
    """Every field that the schema answers is counted, and the budget ends it at once, without an error for each."""
    units, _ = cost(get_introspection_query())
    work = Work(units // 2)
    with pytest.raises(WorkExceeded):
        introspect(get_introspection_query(), SCHEMA, {}, work)
    assert work.spent <= units // 2 + FIELD_UNITS


def test_input_objects_of_one_field_say_so() -> None:
    """`isOneOf` is true of an input object with @oneOf, false of others, null of what is none, as in graphql-js.

    So it is beside a Strawberry schema as well, which changes graphql-core's `__Type` for the whole process.
    """

    @strawberry.type
    class Query:
        beside: int = 1

    strawberry.Schema(Query)
    sdl = "input Either @oneOf { a: Int b: Int } input Both { a: Int } type Query { f(e: Either, b: Both): Int }"
    supergraph = compose([Subgraph("one", "http://one.example/", sdl)]).supergraph
    assert supergraph is not None
    api = Supergraph.parse(supergraph).api_schema
    asked = " ".join(f'{name}: __type(name: "{name}") {{ isOneOf }}' for name in ("Either", "Both", "Query", "Int"))
    answered = introspect(f"{{ {asked} __schema {{ directives {{ name locations }} }} }}", api, {}, Work(10**6)).fields
    directives = answered.pop("__schema")["directives"]  # type: ignore[index]  # it is an object
    assert [answered[name] for name in answered] == [{"isOneOf": each} for each in (True, False, None, None)]
    assert [each["locations"] for each in directives if each["name"] == "oneOf"] == [["INPUT_OBJECT"]]
