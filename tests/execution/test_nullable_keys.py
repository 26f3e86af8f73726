"""Keys that may be null: what an entity's fields are does not depend on which keys the client selects."""

import re
from itertools import combinations
from typing import Any

import pytest
from graphql import build_schema

from trifolio import LocalTransport, Router
from trifolio.composer import Subgraph, compose
from trifolio.planner import plan

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])\n'
KEYS = '@key(fields: "isbn") @key(fields: "shelf { hall number } place") @key(fields: "barcode")'
FIELDS = "isbn: ID shelf: Shelf @shareable place: Int barcode: String"
SHELF = "type Shelf @shareable { hall: String number: Int }"
CATALOGUE = f"type Query {{ books: [Book!]! }} type Book {KEYS} {{ {FIELDS} }} {SHELF}"
LOANS = f"type Book {KEYS} {{ {FIELDS} borrower: String }} {SHELF}"
ENTITIES = "scalar _Any union _Entity = Book extend type Query { _entities(representations: [_Any!]!): [_Entity]! }"

BOOKS: list[dict[str, Any]] = [
    {"isbn": "1", "shelf": None, "place": None, "barcode": None},
    {"isbn": None, "shelf": {"hall": "A", "number": 2}, "place": 3, "barcode": None},
    {"isbn": None, "shelf": {"hall": None, "number": 2}, "place": 3, "barcode": "x"},
    {"isbn": None, "shelf": {"hall": "A", "number": 2}, "place": None, "barcode": "y"},
    {"isbn": None, "shelf": None, "place": 4, "barcode": None},
]
BORROWERS = ["isbn 1", "A 2 3", "barcode x", "barcode y", None]
SELECTED = ("isbn", "barcode", "place", "shelf { hall }", "shelf { number }")


def plain(sdl: str) -> str:
    """A subgraph's schema without federation's directives."""
    return re.sub(r" @\w+(\(fields: \"[^\"]+\"\))?", "", sdl)


def entities(_info: object, representations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who has borrowed each book, by whichever key it comes with; half a key is none."""
    found = []
    for each in representations:
        if each.get("isbn") is not None:
            borrower = f"isbn {each['isbn']}"
        elif each.get("barcode") is not None:
            borrower = f"barcode {each['barcode']}"
        else:
            borrower = f"{each['shelf']['hall']} {each['shelf']['number']} {each['place']}"
        found.append({"__typename": "Book", "borrower": borrower})
    return found


@pytest.fixture(scope="module")
def supergraph() -> str:
    """The supergraph of a catalogue and of the loans."""
    composed = compose(
        [
            Subgraph("catalogue", "http://catalogue.example/", LINK + CATALOGUE),
            Subgraph("loans", "http://loans.example/", LINK + LOANS + " extend type Query { loans: Int }"),
        ]
    )
    assert composed.supergraph is not None, composed.diagnostics
    return composed.supergraph


async def test_the_first_whole_key_of_each_object_is_sent(supergraph: str) -> None:
    """Objects that have any key whole are found by it, whichever keys the client selects besides."""
    loans = plain(f"type Query {{ loans: Int }} {LOANS} {ENTITIES}")
    transports = {
        "catalogue": LocalTransport(build_schema(plain(CATALOGUE)), root_value={"books": BOOKS}),
        "loans": LocalTransport(build_schema(loans), root_value={"_entities": entities}),
    }
    async with Router(supergraph, transports=transports) as router:
        for count in range(len(SELECTED) + 1):
            for selected in combinations(SELECTED, count):
                answer = await router.execute(f"{{ books {{ {' '.join(selected)} borrower }} }}")
                data: Any = answer.to_json()["data"]
                assert [each["borrower"] for each in data["books"]] == BORROWERS, selected


def test_every_key_is_asked_in_one_request(supergraph: str) -> None:
    """The keys come with the request that the entity request waits for, as fallbacks of one another."""
    first, second = plan("{ books { borrower } }", supergraph).fetches
    assert first.operation == "{books{barcode isbn shelf{hall number} place}}"
    assert len(second.entries[0].fallbacks) == 2


def test_a_key_that_is_never_null_is_enough(supergraph: str) -> None:
    """Where one of the keys is never null, the others are not asked for."""
    first, _ = plan("{ books { borrower } }", supergraph.replace("barcode: String", "barcode: String!")).fetches
    assert first.operation == "{books{barcode}}"


def test_a_deferred_key_is_asked_at_once_where_it_is_the_other_key(supergraph: str) -> None:
    """Entering an object again for one of its keys needs all of them: the one that is shown later is asked before."""
    made = plan("{ books { place ... @defer { barcode } } }", supergraph, incremental=True)
    first, second = made.fetches
    assert first.operation == "{books{place barcode isbn shelf{hall number}}}"
    assert len(second.entries[0].fallbacks) == 2
