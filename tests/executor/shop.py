"""Two small subgraphs and plans over them, written by hand: what the executor's tests execute.

`products` owns products and their names, `reviews` their reviews and prices; a price takes the product's weight.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLSchema, build_schema

from trifolio.executor import Answer, SubgraphRequest, SubgraphResponse, Transport, execute, prepare
from trifolio.executor.local import LocalTransport
from trifolio.query_plan import (
    Entry,
    Fetch,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    PathStep,
    Plan,
    Representation,
    RepresentationField,
    Selection,
)

PRODUCTS: list[dict[str, Any]] = [
    {"__typename": "Product", "id": "1", "name": "Lamp", "weight": 3},
    {"__typename": "Product", "id": "2", "name": "Desk", "weight": None},
    {"__typename": "Product", "id": "1", "name": "Lamp", "weight": 3},
]


def products_schema(products: list[Any] | None = None) -> GraphQLSchema:
    """Names and weights, by the root field alone."""
    schema = build_schema("type Query { products: [Product] } type Product { id: ID name: String weight: Int }")
    query = schema.query_type
    assert query is not None
    query.fields["products"].resolve = lambda *_: PRODUCTS if products is None else products
    return schema


def reviews_schema(resolve: Callable[[Mapping[str, Any]], Any] | None = None) -> GraphQLSchema:
    """Reviews and prices, by `_entities` alone."""
    schema = build_schema(
        """
        scalar _Any
        union _Entity = Product
        type Query { _entities(representations: [_Any!]!): [_Entity]! }
        type Product { id: ID! price: Int stars: Int! }
        """
    )

    def of(representation: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "__typename": "Product",
            "price": 10 * (representation.get("weight") or 1),
            "stars": int(representation["id"]),
        }

    query = schema.query_type
    assert query is not None
    query.fields["_entities"].resolve = lambda _, info, representations: [(resolve or of)(r) for r in representations]
    return schema


def leaf(name: str, type_name: str = "String", *, key: str | None = None, non_null: bool = False) -> OutputField:
    """A leaf of the answer."""
    return OutputField(name, key or name, LeafShape(type_name, non_null=non_null), coordinate=f"Product.{name}")


def plan(*, fields: tuple[OutputField, ...] | None = None, item_non_null: bool = False) -> Plan:
    """`{ products { id name price stars } }`: products first, then what reviews says of each."""
    selection = Selection(
        fields or (leaf("id", "ID"), leaf("name"), leaf("price", "Int"), leaf("stars", "Int", non_null=True)),
        frozenset({"Product"}),
    )
    products = Fetch(
        id=0,
        subgraph="products",
        kind="query",
        operation="query { products { __typename id name weight } }",
        entries=(Entry(),),
    )
    reviews = Fetch(
        id=1,
        subgraph="reviews",
        kind="query",
        operation=("query ($r: [_Any!]!) { _e: _entities(representations: $r) { ... on Product { price stars } } }"),
        entries=(
            Entry(
                paths=((PathStep("products", lists=1),),),
                alias="_e",
                variable="r",
                types=("Product",),
                representation=Representation(
                    (RepresentationField("id", "id"), RepresentationField("weight", "weight", required=True))
                ),
            ),
        ),
        depends_on=(0,),
    )
    products_shape = ListShape(ObjectShape(selection, non_null=item_non_null))
    return Plan(
        kind="query",
        fetches=(products, reviews),
        selection=Selection((OutputField("products", "products", products_shape, coordinate="Query.products"),)),
    )


class Canned:
    """A transport that answers everything with the same bytes or value, or raises; it remembers what it was asked."""

    def __init__(self, answer: bytes | object) -> None:
        self.answer = answer
        self.requests: list[SubgraphRequest] = []

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Answer as told."""
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, bytes):
            return SubgraphResponse(body=self.answer)
        return SubgraphResponse(payload=self.answer)

    async def close(self) -> None:
        """Nothing is held."""


async def answer(
    plan: Plan,
    *,
    products: Transport | None = None,
    reviews: Transport | None = None,
    variables: Mapping[str, object] | None = None,
    **options: Any,
) -> Answer:
    """Execute with the two subgraphs in memory, or with what stands in for them."""
    transports: dict[str, Transport] = {
        "products": products or LocalTransport(products_schema()),
        "reviews": reviews or LocalTransport(reviews_schema()),
    }
    return await execute(
        prepare(plan), transports=transports, variables=variables or {}, coerced=variables or {}, **options
    )
