"""What stands at many places of an answer is copied to each, and copies are bounded as the answer is."""

from typing import Any

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
