"""What stands at many places of an answer is bounded as the answer is: copies of objects, and the lengths of texts."""

from typing import Any

import pytest
from graphql import build_schema

from trifolio import Limits, LocalTransport, Router, Subgraph, compose
from trifolio.config import Config

REVIEWS = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.7", import: ["@key"])
type Query { reviews: [Review!]! }
type Review { id: ID! product: Product }
type Product @key(fields: "id") { id: ID! }
"""
PRODUCTS = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.7", import: ["@key"])
type Query { other: Int }
type Product @key(fields: "id") { id: ID! parts: [Part!]! }
type Part @key(fields: "id") { id: ID! }
"""
PARTS = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.7", import: ["@key"])
type Query { another: Int }
type Part @key(fields: "id") { id: ID! weight: Int }
"""
ENTITIES = "scalar _Any union _Entity = {name} extend type Query {{ _entities(representations: [_Any!]!): [_Entity]! }}"
QUERY = "{ reviews { id product { parts { weight } } } }"


def router(reviews: int, parts: int, limits: Limits) -> Router:
    """So many reviews of one product that has so many parts."""
    composed = compose(
        [
            Subgraph(name=name, url=f"http://{name}.test/", sdl=sdl)
            for name, sdl in (("reviews", REVIEWS), ("products", PRODUCTS), ("parts", PARTS))
        ]
    )
    assert composed.supergraph is not None

    def schema(sdl: str, entity: str | None = None) -> Any:
        plain = "directive @key(fields: String!) on OBJECT " + sdl.partition("\ntype")[0].replace("extend schema", "#")
        return build_schema(
            plain + "\ntype" + sdl.partition("\ntype")[2] + (ENTITIES.format(name=entity) if entity else "")
        )

    of_reviews, of_products, of_parts = schema(REVIEWS), schema(PRODUCTS, "Product"), schema(PARTS, "Part")
    product = {
        "__typename": "Product",
        "id": "1",
        "parts": [{"__typename": "Part", "id": str(n)} for n in range(parts)],
    }
    found = [{"id": str(n), "product": {"id": "1"}} for n in range(reviews)]
    of_reviews.query_type.fields["reviews"].resolve = lambda *_: found
    of_products.query_type.fields["_entities"].resolve = lambda *_, representations: [product for _ in representations]
    of_parts.query_type.fields["_entities"].resolve = lambda *_, representations: [
        {"__typename": "Part", "id": each["id"], "weight": int(each["id"])} for each in representations
    ]
    transports = {
        "reviews": LocalTransport(of_reviews),
        "products": LocalTransport(of_products),
        "parts": LocalTransport(of_parts),
    }
    return Router(composed.supergraph, config=Config(limits=limits), transports=transports)


async def test_copies_are_made_where_they_fit() -> None:
    """Every place has its own copy, and what comes later is in each."""
    answer = await router(20, 30, Limits()).execute(QUERY)
    assert answer.errors == ()
    assert answer.data is not None
    expected = {"parts": [{"weight": n} for n in range(30)]}
    assert answer.data["reviews"] == [{"id": str(n), "product": expected} for n in range(20)]


async def test_copies_that_do_not_fit_are_not_made() -> None:
    """Where the copies alone are more than an answer may have, each place is told, and the rest is answered."""
    limits = Limits(answer_values_max=1000)
    for _ in range(3):
        answer = await router(50, 60, limits).execute(QUERY)
        assert answer.data == {"reviews": [{"id": str(n), "product": None} for n in range(50)]}
        assert {error.code.name for error in answer.errors} == {"ANSWER_TOO_LARGE"}
        assert answer.errors[0].path == ("reviews", 0, "product", "parts")


TEXTS = "type Query { a: A } type A { text: String id: ID any: Any list: [String] anys: [Any] } scalar Any"
LONG = "x" * 32_000
"""Counts as 1,000 values, and is one of its own."""


@pytest.mark.parametrize(
    ("field", "value", "count"),
    [
        ("text", LONG, 1_000),
        ("id", LONG, 1_000),
        ("any", LONG, 1_000),
        ("any", {"a": [LONG, {"b": LONG}], "c": 1.5}, 2_005),
        ("list", [LONG, "short", None], 1_003),
        ("anys", [[LONG], 1], 1_003),
        ("text", "x" * 63, 0),
    ],
    ids=["a text", "an id", "a scalar", "a nested scalar", "a list", "a list of scalars", "a short text"],
)
async def test_long_texts_are_counted(field: str, value: object, count: int) -> None:
    """A long text under many names is as many texts, and interpreter and generated code count them alike."""
    composed = compose([Subgraph(name="a", url="http://a.test/", sdl=TEXTS)])
    assert composed.supergraph is not None
    schema = build_schema(TEXTS)
    assert schema.query_type is not None
    schema.query_type.fields["a"].resolve = lambda *_: {field: value}
    names = 20
    query = f"{{ a {{ {' '.join(f'a{n}: {field}' for n in range(names))} }} }}"
    for limit, fits in ((names * (count + 1) + 10, True), (names * count - 1, False)):
        if limit < names:
            continue
        router = Router(
            composed.supergraph,
            config=Config(limits=Limits(answer_values_max=limit)),
            transports={"a": LocalTransport(schema)},
        )
        for _ in range(4):
            answer = await router.execute(query)
            assert ([error.code.name for error in answer.errors] == []) is fits
            assert answer.data == ({"a": {f"a{n}": value for n in range(names)}} if fits else None)
