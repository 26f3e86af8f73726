"""Introspection: answered from the API schema, mixed with data, and not worked out twice."""

from graphql import build_schema, get_introspection_query

from tests.executor.shop import Canned, plan
from trifolio.executor import execute, prepare
from trifolio.executor.introspection import introspect
from trifolio.query_plan import OutputField, Plan, RawShape, Selection

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


def test_results_are_shared_and_their_fields_are_not() -> None:
    """The same operation is executed once; what a request adds beside the result stays its own."""
    first, _ = introspect(get_introspection_query(), SCHEMA, {})
    second, errors = introspect(get_introspection_query(), SCHEMA, {})
    assert errors == ()
    assert first["__schema"] is second["__schema"]
    first["data"] = 1
    assert "data" not in second
