"""The subgraphs that the router is measured in front of: schemas, data, and what a client is to be told.

    small     a user of one subgraph, money of a second, shares of a third, the latter two asked side by side
    library   people, copies, books and a warehouse: lists in lists over four subgraphs, with @requires
    lists     a list of any length, whose objects a second subgraph adds to, and records of any number and size

All data is computed, so that it is the same everywhere, and what an answer must be is computed from the same data and
not by a router. `small` exists three times: as it is, with a wait in every subgraph, and with a subgraph that fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Object = Mapping[str, Any]

_LINK = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@external", "@requires"])'
)


@dataclass(frozen=True, slots=True)
class Source:
    """One subgraph: its schema, the resolvers of its root fields, and how a representation becomes an object."""

    sdl: str
    roots: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    entity: Callable[[Object], Object | None] = dict


@dataclass(frozen=True, slots=True)
class World:
    """Subgraphs that one supergraph is composed of."""

    name: str
    sources: Mapping[str, Source]
    delay_s: float = 0.0
    """How long each subgraph lets a request wait."""
    failing: frozenset[str] = frozenset()
    """The subgraphs that answer with a 500."""

    def path(self, subgraph: str) -> str:
        """Where the mock serves one of them."""
        return f"/{self.name}/{subgraph}"


# ---- small ----

USER = {"id": "u1", "name": "Grace Hopper", "email": "grace@example.com"}
BALANCES = [
    {"currency": "EUR", "amount": 1250.5},
    {"currency": "USD", "amount": 91.25},
    {"currency": "JPY", "amount": 4000.0},
]
HOLDINGS = [
    {"id": f"h{n}", "quantity": 10 + n, "stock": {"symbol": symbol, "price": 50.5 + n}}
    for n, symbol in enumerate(("ALBA", "CIRR", "FJRD", "HANA", "JUNO"))
]

SMALL = {
    "users": Source(
        f'{_LINK} type Query {{ me: User }} type User @key(fields: "id") {{ id: ID! name: String! email: String! }}',
        {"me": lambda *_: USER},
        lambda _: USER,
    ),
    "wallet": Source(
        f'{_LINK} type User @key(fields: "id") {{ id: ID! balances: [Balance!] }}'
        " type Balance { currency: String! amount: Float! }",
        entity=lambda key: {"id": key["id"], "balances": BALANCES},
    ),
    "stocks": Source(
        f'{_LINK} type User @key(fields: "id") {{ id: ID! holdings: [Holding!] }}'
        " type Holding { id: ID! quantity: Int! stock: Stock! } type Stock { symbol: String! price: Float! }",
        entity=lambda key: {"id": key["id"], "holdings": HOLDINGS},
    ),
}


# ---- library ----

READERS, BOOKS, COPIES_PER_READER = 6, 9, 2
_WORDS = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "larch",
    "meadow",
    "north",
    "ocean",
    "prairie",
    "quartz",
    "river",
    "stone",
    "tundra",
    "upland",
    "valley",
    "willow",
    "yonder",
    "zephyr",
]


def text(seed: int, characters: int) -> str:
    """Words, always the same for a seed."""
    words: list[str] = []
    length, state = 0, seed + 1
    while length <= characters:
        state = state * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        words.append(_WORDS[(state >> 12) % len(_WORDS)])
        length += len(words[-1]) + 1
    return " ".join(words)[:characters].rstrip()


def _reader(n: int) -> dict[str, Any]:
    return {"id": f"r{n}", "name": text(n, 18).title(), "town": text(n + 50, 8)}


def _book(n: int) -> dict[str, Any]:
    return {"isbn": f"b{n}", "title": text(n + 100, 24), "price": 10 + n, "weight": 150 * (n + 1)}


def _stocked(book: Object) -> dict[str, Any]:
    return {"inStock": book["price"] % 2 == 0, "shipping": 0 if book["price"] > 17 else book["weight"] // 2}


def _opinion(n: int) -> dict[str, Any]:
    """Every reader has two, and every book four, of readers who differ."""
    return {"id": f"o{n}", "body": text(n + 200, 272)}


_OPINIONS = READERS * COPIES_PER_READER * 3
_READER_OF = {n: n % READERS for n in range(_OPINIONS)}
_BOOK_OF = {n: (n // 4) % BOOKS for n in range(_OPINIONS)}


def _opinions_of_reader(reader: str) -> list[int]:
    return [n for n in range(_OPINIONS) if f"r{_READER_OF[n]}" == reader][:COPIES_PER_READER]


def _opinions_of_book(book: str) -> list[int]:
    return [n for n in range(_OPINIONS) if f"b{_BOOK_OF[n]}" == book]


def _opinion_with_links(n: int) -> dict[str, Any]:
    return {
        **_opinion(n),
        "reader": {"__typename": "Reader", "id": f"r{_READER_OF[n]}"},
        "book": {"__typename": "Book", "isbn": f"b{_BOOK_OF[n]}"},
    }


def _opinions_entity(key: Object) -> Object:
    if key["__typename"] == "Reader":
        return {"id": key["id"], "opinions": lambda *_: map(_linked, _opinions_of_reader(key["id"]))}
    return {"isbn": key["isbn"], "opinions": lambda *_: map(_linked, _opinions_of_book(key["isbn"]))}


@cache
def _linked(n: int) -> dict[str, Any]:
    """An opinion whose reader and book have opinions in their turn, for as deep as a query goes."""
    opinion = _opinion_with_links(n)
    return {
        **opinion,
        "reader": {**opinion["reader"], **_opinions_entity(opinion["reader"])},
        "book": {**opinion["book"], **_opinions_entity(opinion["book"])},
    }


LIBRARY = {
    "people": Source(
        f"{_LINK} type Query {{ readers: [Reader!] }}"
        ' type Reader @key(fields: "id") { id: ID! name: String town: String }',
        {"readers": lambda *_: [_reader(n) for n in range(READERS)]},
        lambda key: _reader(int(key["id"][1:])),
    ),
    "books": Source(
        f"{_LINK} type Query {{ shelf(first: Int = 5): [Book!] }}"
        ' type Book @key(fields: "isbn") { isbn: ID! title: String price: Int weight: Int }',
        {"shelf": lambda *_, first: [_book(n) for n in range(first)]},
        lambda key: _book(int(key["isbn"][1:])),
    ),
    "opinions": Source(
        f'{_LINK} type Reader @key(fields: "id") {{ id: ID! opinions: [Opinion!] }}'
        ' type Book @key(fields: "isbn") { isbn: ID! opinions: [Opinion!] }'
        ' type Opinion @key(fields: "id") { id: ID! body: String reader: Reader book: Book }',
        entity=_opinions_entity,
    ),
    "warehouse": Source(
        f'{_LINK} type Book @key(fields: "isbn") {{ isbn: ID! price: Int @external weight: Int @external'
        ' inStock: Boolean shipping: Int @requires(fields: "price weight") }',
        # What stands on the shelf is known by the key; what sending it costs is made of what the router shows.
        entity=lambda key: {**_stocked({**_book(int(key["isbn"][1:])), **key}), "isbn": key["isbn"]},
    ),
}

LIBRARY_OPERATION = """
query Library {
  readers { ...R opinions { ...O book { ...B opinions { ...O reader { ...R opinions { ...O book { ...B } } } } } } }
  shelf { ...B opinions { ...O reader { ...R opinions { ...O book { ...B } } } } }
}
fragment R on Reader { id name town }
fragment O on Opinion { id body }
fragment B on Book { isbn title price weight inStock shipping }
"""


def library_answer() -> dict[str, Any]:
    """What LIBRARY_OPERATION is answered with, out of the data alone."""

    def book(n: int) -> dict[str, Any]:
        return _book(n) | _stocked(_book(n))

    def of_reader(n: int) -> dict[str, Any]:
        opinions = [{**_opinion(o), "book": book(_BOOK_OF[o])} for o in _opinions_of_reader(f"r{n}")]
        return {**_reader(n), "opinions": opinions}

    def of_book(n: int) -> dict[str, Any]:
        opinions = [{**_opinion(o), "reader": of_reader(_READER_OF[o])} for o in _opinions_of_book(f"b{n}")]
        return {**book(n), "opinions": opinions}

    def deepest(n: int) -> dict[str, Any]:
        opinions = [{**_opinion(o), "book": of_book(_BOOK_OF[o])} for o in _opinions_of_reader(f"r{n}")]
        return {**_reader(n), "opinions": opinions}

    return {"readers": [deepest(n) for n in range(READERS)], "shelf": [of_book(n) for n in range(5)]}


# ---- lists ----


def record(n: int) -> dict[str, Any]:
    """One of many, about a hundred bytes of JSON."""
    return {"id": f"{n:06}", "name": f"record {n:06}", "count": n * 7, "share": n / 4, "open": n % 3 == 0}


def item(n: int) -> dict[str, Any]:
    """One of many, as the first subgraph has it."""
    return {"id": f"i{n}", "name": f"item {n}"}


def price(n: int) -> dict[str, Any]:
    """What the second subgraph adds to it."""
    return {"amount": n * 3, "currency": "EUR"}


LISTS = {
    "items": Source(
        f"{_LINK} type Query {{ items(first: Int!): [Item!]! records(first: Int!): [Record!]! }}"
        ' type Item @key(fields: "id") { id: ID! name: String! }'
        " type Record { id: ID! name: String! count: Int! share: Float! open: Boolean! }",
        {
            "items": lambda *_, first: [item(n) for n in range(first)],
            "records": lambda *_, first: [record(n) for n in range(first)],
        },
        lambda key: item(int(key["id"][1:])),
    ),
    "prices": Source(
        f'{_LINK} type Item @key(fields: "id") {{ id: ID! price: Price! }}'
        " type Price { amount: Int! currency: String! }",
        entity=lambda key: {"id": key["id"], "price": price(int(key["id"][1:]))},
    ),
}


WORLDS: Mapping[str, World] = {
    world.name: world
    for world in (
        World("small", SMALL),
        World("waiting", SMALL, delay_s=0.005),
        World("failing", SMALL, failing=frozenset({"wallet"})),
        World("library", LIBRARY),
        World("lists", LISTS),
    )
}
"""By name, which is the first part of the mock's paths."""
