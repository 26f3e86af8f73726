"""Two aliases of one field: what takes one object away leaves the other, and what need not be asked twice is not."""

from typing import Any

import pytest
from graphql import GraphQLError, GraphQLSchema, build_schema, graphql_sync

from trifolio import LocalTransport, Router
from trifolio.composer import Subgraph, compose
from trifolio.planner import plan
from trifolio.supergraph import Supergraph

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])\n'
BOOK = "id: ID! title: String price: Int! sequel: Book author: Author pages: [Page!]"
TYPES = "type Author { name: String! born: Int } type Page { number: Int! text: String! }"
CATALOGUE = f'type Query {{ book: Book }} type Book @key(fields: "id") {{ {BOOK} }} {TYPES}'
REVIEWS = 'type Book @key(fields: "id") { id: ID! stars: Int! text: String }'
ENTITIES = "scalar _Any union _Entity = Book type Query { _entities(representations: [_Any!]!): [_Entity]! }"
KEY = ' @key(fields: "id")'
WHOLE = f"type Query {{ book: Book }} type Book {{ {BOOK} stars: Int! text: String }} {TYPES}"


def _fail(*_: object) -> None:
    raise GraphQLError("It cannot be had.")


def with_failures(schema: GraphQLSchema) -> GraphQLSchema:
    """The same books in every schema; prices, stars, authors' names and the text of pages cannot be had."""
    book: dict[str, Any] = {"__typename": "Book", "id": "1", "title": "Emil", "text": "Good."}
    book |= {"sequel": book, "author": {"born": 1899}, "pages": [{"number": 1}]}
    types: dict[str, Any] = dict(schema.type_map)
    for type_name, name in (("Book", "price"), ("Book", "stars"), ("Author", "name"), ("Page", "text")):
        if type_name in types and name in types[type_name].fields:
            types[type_name].fields[name].resolve = _fail
    fields = types["Query"].fields
    if "book" in fields:
        fields["book"].resolve = lambda *_: book
    if "_entities" in fields:
        fields["_entities"].resolve = lambda _root, _info, representations: [book for _ in representations]
    return schema


@pytest.fixture(scope="module")
def supergraph() -> Supergraph:
    """A catalogue, and reviews in another subgraph."""
    composed = compose(
        [
            Subgraph("catalogue", "http://catalogue.example/", LINK + CATALOGUE),
            Subgraph("reviews", "http://reviews.example/", LINK + REVIEWS),
        ]
    )
    assert composed.supergraph is not None, composed.diagnostics
    return Supergraph.parse(composed.supergraph)


APART = {
    "a field that fails": "{ a: book { title } b: book { title price } }",
    "the other way round": "{ b: book { title price } a: book { title } }",
    "a name and an alias": "{ book { title price } a: book { title } }",
    "below": "{ a: book { sequel { title } } b: book { sequel { price } } }",
    "of a value": "{ a: book { author { born } } b: book { author { name } } }",
    "within a list": "{ a: book { pages { number } } b: book { pages { text } } }",
    "of another subgraph": "{ a: book { text } b: book { stars text } }",
    "of both subgraphs": "{ a: book { title text } b: book { price } c: book { stars } d: book { text } }",
    "in a fragment": "{ a: book { ...F } b: book { ...G } } fragment F on Book { title } fragment G on Book { price }",
    "under a condition": "query ($no: Boolean = false) { a: book { title price @include(if: $no) } b: book { price } }",
    "nested aliases": "{ book { a: sequel { b: sequel { title } c: sequel { price } } d: sequel { title } } }",
    "spread twice": "{ a: book { title } b: book { title } b: book { ...F } } fragment F on Book { author { name } }",
}


@pytest.mark.parametrize("name", APART)
async def test_what_takes_one_away_leaves_the_other(supergraph: Supergraph, name: str) -> None:
    """Each response key is executed by itself: data and errors' paths are those of one schema, three times over."""
    reviews = build_schema(REVIEWS.replace(KEY, "") + ENTITIES)
    transports = {
        "catalogue": LocalTransport(with_failures(build_schema(CATALOGUE.replace(KEY, "")))),
        "reviews": LocalTransport(with_failures(reviews)),
    }
    expected = graphql_sync(with_failures(build_schema(WHOLE)), APART[name])
    assert expected.errors
    async with Router(supergraph, transports=transports) as router:
        for _ in range(3):
            answer = (await router.execute(APART[name])).to_json()
            assert answer["data"] == expected.data
            errors: Any = answer["errors"]
            assert sorted(each["path"] for each in errors) == sorted(each.path or [] for each in expected.errors)


TOGETHER = {
    "equal selections": "{ a: book { price } b: book { price } }",
    "nothing that can fail": "{ a: book { title } b: book { sequel { title } } }",
    "the same fragment": "{ a: book { ...F } b: book { ...F title } } fragment F on Book { price author { name } }",
    "a fragment around it": "{ a: book { price } b: book { ... on Book { price } } c: book { ... { price title } } }",
    "on another subgraph": "{ a: book { stars } b: book { text stars } }",
}


@pytest.mark.parametrize("name", TOGETHER)
def test_what_is_lost_together_is_asked_once(supergraph: Supergraph, name: str) -> None:
    """Aliases below which the same fields can fail are one field of the request."""
    made = plan(TOGETHER[name], supergraph)
    assert made.fetches[0].operation.count("book") == 1


@pytest.mark.parametrize("text", [*APART.values(), *TOGETHER.values()])
def test_aliases_take_no_request_more(supergraph: Supergraph, text: str) -> None:
    """However many aliases there are, a subgraph is asked once, or not at all."""
    subgraphs = [fetch.subgraph for fetch in plan(text, supergraph).fetches]
    assert subgraphs == ["catalogue", "reviews"][: len(subgraphs)]


def test_many_levels_of_aliases_are_looked_at_once(supergraph: Supergraph) -> None:
    """Fragments that each spread the next one twice come to no more work than there are selection sets."""
    levels = 10

    def text(levels: int) -> str:
        fragments = [
            f"fragment F{n} on Book {{ a: sequel {{ ...F{n + 1} price }} b: sequel {{ ...F{n + 1} price }} }}"
            for n in range(levels)
        ]
        return "\n".join(["{ book { ...F0 } }", *fragments, f"fragment F{levels} on Book {{ title }}"])

    operation = plan(text(levels), supergraph).fetches[0].operation
    assert operation.count("sequel") == levels
