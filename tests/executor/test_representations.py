"""Representations: where objects are found, what is told of them, and who shares an answer."""

from dataclasses import replace
from typing import Any

import pytest

from tests.executor.shop import Canned, answer, leaf, plan
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor import execute, prepare
from trifolio.executor.merge import Json
from trifolio.executor.representations import collect, collect_trails, represent
from trifolio.query_plan import (
    ContextVariable,
    Entry,
    Fetch,
    ListShape,
    ObjectShape,
    OutputField,
    PathStep,
    Plan,
    Representation,
    RepresentationField,
    Selection,
)

TREE: Json = {
    "pets": [{"__typename": "Cat", "id": 1}, None, {"__typename": "Dog", "id": 2, "toys": [[{"n": 1}, None], None]}],
    "one": {"__typename": "Cat", "id": 3, "owner": {"id": 9}},
    "text": "x",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ((), [TREE]),
        ((PathStep("pets", lists=1),), [TREE["pets"][0], TREE["pets"][2]]),  # type: ignore[index]  # a list
        ((PathStep("pets", lists=1), PathStep("toys", lists=2)), [{"n": 1}]),
        ((PathStep("pets", lists=1), PathStep("toys", lists=2, types=("Cat",))), []),
        ((PathStep("one"), PathStep("owner", types=("Cat",))), [{"id": 9}]),
        ((PathStep("pets"),), []),
        ((PathStep("pets", lists=2),), []),
        ((PathStep("text", lists=1),), []),
        ((PathStep("missing", lists=1), PathStep("x")), []),
    ],
)
def test_collect(path: tuple[PathStep, ...], found: list[Json]) -> None:
    """A path leads to objects of the right types; values of another shape are passed over."""
    assert collect(TREE, path) == found
    assert [place for place, _ in collect_trails(TREE, path)] == found


F = RepresentationField


@pytest.mark.parametrize(
    ("place", "fields", "expected"),
    [
        ({"a": 1}, (F("id", "a"),), {"id": 1}),
        ({"id": None}, (F("id", "id"),), None),
        ({}, (F("id", "id"),), None),
        ({"x": None}, (F("x", "x", required=True),), {"x": None}),
        ({}, (F("x", "x", required=True),), None),
        ({"o": {"id": 1, "n": 2}}, (F("o", "o", (F("id", "id"),)),), {"o": {"id": 1}}),
        ({"o": {"id": None}}, (F("o", "o", (F("id", "id"),)),), None),
        ({"o": {"id": None}}, (F("o", "o", (F("id", "id"),), required=True),), {"o": {"id": None}}),
        ({"o": None}, (F("o", "o", (F("id", "id"),), required=True),), {"o": None}),
        ({"o": [{"x": 1}, None]}, (F("o", "o", (F("x", "x"),), required=True),), {"o": [{"x": 1}, None]}),
        ({"o": "text"}, (F("o", "o", (F("x", "x"),)),), None),
        (
            {"o": [{"__typename": "A", "x": 1}, {"__typename": "B", "y": 2}]},
            (F("o", "o", (F("x", "x", types=("A",)), F("y", "y", types=("B",)))),),
            {"o": [{"x": 1}, {"y": 2}]},
        ),
        ({"o": {"a": 1, "b": 2}}, (F("o", "o", (F("a", "a"),)), F("o", "o", (F("b", "b"),))), {"o": {"a": 1, "b": 2}}),
    ],
)
def test_represent(place: Json, fields: tuple[RepresentationField, ...], expected: Json | None) -> None:
    """Keys may not be null, @requires may; nothing may be missing; fragments go by each object's type."""
    built = represent({**place, "__typename": "T"}, Representation(fields))
    assert built == (None if expected is None else {"__typename": "T", **expected})
    constant = represent(place, Representation(fields, typename="I"))
    assert constant == (None if expected is None else {"__typename": "I", **expected})


def _with_fallbacks() -> Plan:
    """Prices by a product's id, its name or its weight."""
    made = plan(fields=(leaf("price", "Int"),))
    products, reviews = made.fetches
    entry = replace(
        reviews.entries[0],
        representation=Representation((F("id", "id"),)),
        fallbacks=(Representation((F("name", "name"),)), Representation((F("weight", "weight"),))),
    )
    return replace(made, fetches=(products, replace(reviews, entries=(entry,))))


async def test_fallback_key_is_used_where_the_first_is_null() -> None:
    """Objects whose first key is null are asked by another key that is known anyway; the others keep the first."""
    made = _with_fallbacks()
    rows = [
        {"__typename": "Product", "id": "1", "name": "Lamp", "weight": 1},
        {"__typename": "Product", "id": None, "name": "Desk", "weight": 1},
        {"__typename": "Product", "id": None, "name": None, "weight": 2},
        {"__typename": "Product", "id": None, "name": None, "weight": None},
    ]
    canned = Canned({"data": {"_e": [{"price": 1}, {"price": 2}, {"price": 3}]}})
    result = await answer(made, products=Canned({"data": {"products": rows}}), reviews=canned)
    assert canned.requests[0].variables["r"] == [
        {"__typename": "Product", "id": "1"},
        {"__typename": "Product", "name": "Desk"},
        {"__typename": "Product", "weight": 2},
    ]
    assert result.to_json() == {"data": {"products": [{"price": 1}, {"price": 2}, {"price": 3}, {"price": None}]}}


async def test_generated_code_uses_fallback_keys() -> None:
    """A null key is ordinary where another is at hand; the same value as another key is another representation."""
    rows = [
        {"__typename": "Product", "id": "1", "name": "1", "weight": 1},
        {"__typename": "Product", "id": None, "name": "1", "weight": 1},
        {"__typename": "Product", "id": None, "name": None, "weight": "1"},
        {"__typename": "Product", "id": "1", "name": None, "weight": 2},
        {"__typename": "Product", "id": None, "name": "1", "weight": None},
    ]
    reviews = Canned({"data": {"_e": [{"price": 1}, {"price": 2}, {"price": 3}]}})
    transports = {"products": Canned({"data": {"products": rows}}), "reviews": reviews}
    result = await execute(prepare(_with_fallbacks(), interpretations=0), transports=transports)
    assert reviews.requests[0].variables["r"] == [
        {"__typename": "Product", "id": "1"},
        {"__typename": "Product", "name": "1"},
        {"__typename": "Product", "weight": "1"},
    ]
    assert result.data == {"products": [{"price": price} for price in (1, 2, 3, 1, 2)]}
    assert result.fallbacks == 0


# ---- one result at two positions, and what is fetched below ----


def _two_positions() -> Plan:
    """`left` and `right` are one entity; below its owner, `name` means another thing at each of them."""
    below = ObjectShape(Selection((leaf("name"),), frozenset({"User"})))
    position = ObjectShape(Selection((OutputField("owner", "owner", below),), frozenset({"Pet"})))
    root = Fetch(0, "a", "query", "{ left { __typename id } right { __typename id } }", (Entry(),))
    owners = Fetch(
        1,
        "b",
        "query",
        "query ($r: [_Any!]!) { _e: _entities(representations: $r) { ... on Pet { owner { __typename id } } } }",
        (Entry(((PathStep("left"),), (PathStep("right"),)), "_e", "r", (), Representation((F("id", "id"),))),),
        depends_on=(0,),
    )
    names = tuple(
        Fetch(
            number,
            "c",
            "query",
            f"query ($r: [_Any!]!) {{ _e: _entities(representations: $r) {{ ... on User {{ name(in: {number}) }} }} }}",
            (Entry(((PathStep(side), PathStep("owner")),), "_e", "r", (), Representation((F("id", "id"),))),),
            depends_on=(1,),
        )
        for number, side in ((2, "left"), (3, "right"))
    )
    selection = Selection((OutputField("left", "left", position), OutputField("right", "right", position)))
    return Plan(kind="query", fetches=(root, owners, *names), selection=selection)


class _Names(Canned):
    """Answers with the operation's argument."""

    async def send(self, request: Any, /) -> Any:
        """`name(in: 2)` is "2"."""
        self.answer = {"data": {"_e": [{"name": request.operation.partition("in: ")[2][0]}]}}
        return await super().send(request)


@pytest.mark.parametrize("interpretations", [None, 0])
async def test_positions_do_not_share_what_is_fetched_below(interpretations: int | None) -> None:
    """One entity at two positions is asked once, and what differs below it stays apart."""
    pet = {"__typename": "Pet", "id": 1}
    owners = Canned({"data": {"_e": [{"owner": {"__typename": "User", "id": 7}}]}})
    result = await execute(
        prepare(_two_positions(), interpretations=interpretations),
        transports={"a": Canned({"data": {"left": dict(pet), "right": dict(pet)}}), "b": owners, "c": _Names(None)},
    )
    assert owners.requests[0].variables["r"] == [pet]
    assert result.to_json() == {"data": {"left": {"owner": {"name": "2"}}, "right": {"owner": {"name": "3"}}}}


# ---- @fromContext ----


def _with_context() -> Plan:
    """`users { rooms { note(lang: <the user's>) } }`."""
    rooms = Selection((leaf("note"),), frozenset({"Room"}))
    users = Selection((OutputField("rooms", "rooms", ListShape(ObjectShape(rooms))),), frozenset({"User"}))
    entry = Entry(
        paths=((PathStep("users", lists=1), PathStep("rooms", lists=1)),),
        alias="_e",
        variable="r",
        types=("Room",),
        representation=Representation((F("id", "id"),)),
        context=(ContextVariable("lang", 1, F("settings", "settings", (F("lang", "lang"),))),),
    )
    operation = """query ($r: [_Any!]!, $lang: String) {
        _e: _entities(representations: $r) { ... on Room { note(lang: $lang) } }
    }"""
    return Plan(
        kind="query",
        fetches=(
            Fetch(0, "a", "query", "{ users { settings { lang } rooms { __typename id } } }", (Entry(),)),
            Fetch(1, "b", "query", operation, (entry,), depends_on=(0,)),
        ),
        selection=Selection((OutputField("users", "users", ListShape(ObjectShape(users))),)),
    )


async def test_context_splits_an_entry_by_value() -> None:
    """Objects under ancestors with other values go under an alias of their own, in the same request."""
    room = {"__typename": "Room", "id": 1}
    users = [
        {"settings": {"lang": "en"}, "rooms": [dict(room)]},
        {"settings": {"lang": "de"}, "rooms": [dict(room)]},
        {"settings": {"lang": "en"}, "rooms": [dict(room)]},
        {"settings": None, "rooms": [dict(room)]},
    ]
    notes = Canned({"data": {"_e": [{"note": "hello"}], "_e_1": [{"note": "hallo"}], "_e_2": [{"note": "?"}]}})
    result = await execute(prepare(_with_context()), transports={"a": Canned({"data": {"users": users}}), "b": notes})
    (request,) = notes.requests
    assert dict(request.variables) == {
        "r": [room],
        "lang": "en",
        "r_1": [room],
        "lang_1": "de",
        "r_2": [room],
        "lang_2": None,
    }
    assert "_e_1: _entities(representations: $r_1)" in request.operation
    assert "note(lang: $lang_1)" in request.operation
    shown = [[{"note": "hello"}], [{"note": "hallo"}], [{"note": "hello"}], [{"note": "?"}]]
    assert result.to_json() == {"data": {"users": [{"rooms": rooms} for rooms in shown]}}


async def test_failed_input_explains_what_depends_on_it() -> None:
    """Where a hidden input's fetch fails, the fields that needed it tell that failure, at their own paths."""
    made = _two_positions()
    owners = made.fetches[1]
    hidden = replace(
        owners,
        operation="query ($r: [_Any!]!) { _e: _entities(representations: $r) { ... on Pet { chip } } }",
    )
    needs_chip = replace(
        owners,
        id=2,
        subgraph="c",
        depends_on=(1,),
        entries=(replace(owners.entries[0], representation=Representation((F("chip", "chip"),))),),
    )
    made = replace(made, fetches=(made.fetches[0], hidden, needs_chip))
    pet = {"__typename": "Pet", "id": 1}
    untouched = Canned({})
    result = await execute(
        prepare(made),
        transports={
            "a": Canned({"data": {"left": pet, "right": dict(pet)}}),
            "b": Canned(SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "b")),
            "c": untouched,
        },
    )
    assert untouched.requests == []
    assert result.data == {"left": {"owner": None}, "right": {"owner": None}}
    assert [(error.code, error.subgraph, error.path) for error in result.errors] == [
        (ErrorCode.SUBGRAPH_TIMEOUT, "b", ("left", "owner")),
        (ErrorCode.SUBGRAPH_TIMEOUT, "b", ("right", "owner")),
    ]
