"""Answers made of structs: the same as those made of dictionaries, or left to these."""

import asyncio
import gc
import json
import math
import re
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from graphql import parse

from tests.executor.shop import Canned, leaf, plan
from tests.executor.test_copies import PARTS, PRODUCTS, REVIEWS
from trifolio import executor
from trifolio.composer import Subgraph, compose
from trifolio.conditions import Condition
from trifolio.errors import ErrorCode, InternalText, SubgraphError
from trifolio.executor import Answer, SubgraphRequest, SubgraphResponse, Transport, execute, prepare
from trifolio.executor.encoding import encode_json, values_at_most
from trifolio.executor.merge import count_weight
from trifolio.executor.prepare import STRUCT_FIELDS_MAX, PreparedPlan
from trifolio.executor.struct_answer import COMBINATIONS_MAX, LEAVES_MAX, PAUSE_ANSWERS, StructsRoom
from trifolio.limits import Limits
from trifolio.planner import plan as plan_operation
from trifolio.query_plan import (
    Fetch,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Plan,
    Representation,
    RepresentationField,
    Selection,
    TypenameShape,
)
from trifolio.supergraph import Supergraph
from trifolio.work import Work

LAMP = {"__typename": "Product", "id": "1", "name": 'Lamp "ü"', "weight": 3}
DESK = {"__typename": "Product", "id": "2", "name": None, "weight": None}
REVIEWED = [{"price": 7, "stars": 1}, {"price": None, "stars": 2}]
LIMITS = Limits()


def subgraphs(products: object = (LAMP, DESK, LAMP), reviews: object = REVIEWED) -> dict[str, Canned]:
    """Both of the shop, which answer with JSON text."""
    return {"products": text({"data": {"products": products}}), "reviews": text({"data": {"_e": reviews}})}


def body_of(subgraph: Canned) -> bytes:
    """What it answers."""
    assert isinstance(subgraph.answer, bytes)
    return subgraph.answer


def text(answer: object) -> Canned:
    """A subgraph that answers with this as JSON text."""
    return Canned(json.dumps(answer).encode())


async def answered(
    made: Plan | PreparedPlan, transports: Mapping[str, Transport], limits: Limits = LIMITS, **variables: bool
) -> tuple[Answer, bool]:
    """The answer that is asked for as text, and whether it was made of structs; it is what dictionaries come to."""
    sent = dict(variables)
    prepared = (
        made
        if isinstance(made, PreparedPlan)
        else prepare(made, interpretations=0, room=StructsRoom(10_000), structs_after=0)
    )
    options: dict[str, Any] = {"transports": transports, "limits": limits, "variables": sent, "coerced": sent}
    plain = await execute(prepared, **options)
    answer = await execute(prepared, **options, as_text=True)
    assert json.dumps(answer.to_json()) == json.dumps(plain.to_json())
    return answer, answer.text is not None


async def test_an_answer_has_what_the_client_selected_in_its_order() -> None:
    """What was asked for beside it is not shown; a product that stands twice is asked for once."""
    answer, of_structs = await answered(plan(), subgraphs())
    assert of_structs
    assert answer.text is not None
    lamp = {"id": "1", "name": 'Lamp "ü"', "price": 7, "stars": 1}
    assert json.loads(answer.text) == {"products": [lamp, {"id": "2", "name": None, "price": None, "stars": 2}, lamp]}
    assert list(json.loads(answer.text)["products"][0]) == ["id", "name", "price", "stars"]


ERROR = {"message": "no"}
IMPOSSIBLE = ObjectShape(Selection((), is_possible=False))
FAILURE = SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "reviews", internal=InternalText("away"))
AMISS: dict[str, dict[str, Canned]] = {
    "an identifier that is a number": subgraphs([{**LAMP, "id": 1}], REVIEWED[:1]),
    "a number beyond its range": subgraphs(reviews=[{"price": 2**31, "stars": 1}, REVIEWED[1]]),
    "a whole number with a point": subgraphs(reviews=[{"price": 7.0, "stars": 1}, REVIEWED[1]]),
    "null where there may be none": subgraphs(reviews=[{"price": 7, "stars": None}, REVIEWED[1]]),
    "a field that is not there": subgraphs(reviews=[{"price": 7}, REVIEWED[1]]),
    "an entity that does not exist": subgraphs(reviews=[None, REVIEWED[1]]),
    "an entity too few": subgraphs(reviews=REVIEWED[:1]),
    "an entity too many": subgraphs(reviews=[*REVIEWED, REVIEWED[0]]),
    "no entities": subgraphs(reviews=None),
    "a product without a key": subgraphs([{**LAMP, "id": None}, DESK], REVIEWED[:1]),
    "a product of no known type": subgraphs([{**LAMP, "__typename": "Shop"}]),
    "a product that is none": subgraphs([7]),
    "an error beside the data": {
        **subgraphs(),
        "reviews": text({"data": {"_e": REVIEWED}, "errors": [{"message": "x"}]}),
    },
    "an error without data": {**subgraphs(), "products": text({"data": None, "errors": [ERROR]})},
    "no JSON": {**subgraphs(), "reviews": Canned(b'{"data": {"_e": [')},
    "no object": {**subgraphs(), "products": text([1])},
    "half a character": {**subgraphs(), "products": Canned(b'{"data": {"products": [{"id": "\\ud800"}]}}')},
    "bytes that are no text": {**subgraphs(), "products": Canned(b'{"data": {"products": [{"id": "\xff"}]}}')},
    "a subgraph that is away": {**subgraphs(), "reviews": Canned(FAILURE)},
    "the first subgraph is away": {**subgraphs(), "products": Canned(FAILURE)},
}


@pytest.mark.parametrize("name", AMISS)
async def test_whatever_is_out_of_the_ordinary_is_left_to_dictionaries(name: str) -> None:
    """Values, entities and errors that structs are not for: the answer is what it would have been without them."""
    _, of_structs = await answered(plan(), AMISS[name])
    assert not of_structs


NULLABLE = plan(fields=(leaf("id", "ID"), leaf("price", "Int"), leaf("stars", "Int")))
LACKING: dict[str, tuple[Canned, int]] = {
    "a subgraph that is away": (Canned(FAILURE), 3),
    "an error and nothing else": (text({"errors": [ERROR, ERROR]}), 6),
    "no data and an error": (text({"data": None, "errors": [ERROR]}), 3),
    "no JSON": (Canned(b"<html>"), 3),
    "no GraphQL": (text([1]), 3),
    "an entity that does not exist": (text({"data": {"_e": [None, REVIEWED[1]]}}), 0),
    "no entity that exists": (text({"data": {"_e": [None, None]}}), 0),
}


@pytest.mark.parametrize("name", LACKING)
async def test_what_may_be_null_is_null_where_nothing_came(name: str) -> None:
    """Nobody else needs it, so it stays with structs: every field that is missing, at every place, tells why."""
    reviews, errors = LACKING[name]
    answer, of_structs = await answered(NULLABLE, {**subgraphs(), "reviews": reviews})
    assert (of_structs, len(answer.errors)) == (True, 2 * errors)
    few, _ = await answered(NULLABLE, {**subgraphs(), "reviews": reviews}, replace(LIMITS, answer_errors_max=4))
    assert few.errors == answer.errors[:4]


async def test_what_was_lacking_is_lacking_with_dictionaries_too() -> None:
    """A request fails, and then another brings what is not for structs: nothing of the first is forgotten."""
    first, second = NULLABLE.fetches[0], NULLABLE.fetches[1]
    entry = replace(second.entries[0], alias="_f", variable="s")
    operation = "query ($s: [_Any!]!) { _f: _entities(representations: $s) { ... on Product { size } } }"
    sizes = Fetch(2, "sizes", "query", operation, (entry,), depends_on=(0,))
    fields = (leaf("price", "Int"), leaf("stars", "Int"), leaf("size", "Int"))
    made = replace(plan(fields=fields), fetches=(first, second, sizes))
    transports: dict[str, Transport] = {
        **subgraphs(),
        "reviews": Canned(FAILURE),
        "sizes": Late(json.dumps({"data": {"_f": [{"size": 1.0}, {"size": "x"}]}}).encode()),
    }
    answer, of_structs = await answered(made, transports)
    assert not of_structs
    assert answer.data is not None
    assert [error.path for error in answer.errors][:2] == [("products", 0, "price"), ("products", 0, "stars")]
    assert len(answer.errors) == 3 * 2 + 1


@pytest.mark.parametrize("is_last", [False, True])
async def test_what_structs_have_not_looked_at_fails_its_fetch_when_they_are_left(is_last: bool) -> None:
    """A number that is none, where nobody reads it: dictionaries refuse the whole response, also after the fact."""
    body = json.dumps({"data": {"products": [LAMP]}})[:-1] + ', "extensions": {"cost": 1e999}}'
    reviews: dict[str, Any] = {"data": {"_e": [{"price": 7, "stars": 1}]}}
    if is_last:
        reviews["errors"] = [{"message": "no", "path": ["_e", 0, "price"]}]
    made = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    transports = {"products": Canned(body.encode()), "reviews": text(reviews)}
    answer = await execute(made, transports=transports, as_text=True)
    assert [error.code for error in answer.errors] == [ErrorCode.SUBGRAPH_RESPONSE_MALFORMED] * is_last
    assert (answer.text is not None) is not is_last


class Late(Canned):
    """Answers when the others have."""

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Wait for some turns of the loop."""
        for _ in range(5):
            await asyncio.sleep(0)
        return await super().send(request)


@pytest.mark.parametrize("spare", [0, -1])
async def test_an_answer_has_as_many_values_as_it_may_have(spare: int) -> None:
    """What is certain to be enough is counted in its text; beyond it dictionaries are, whose values are counted."""
    answer, _ = await answered(plan(), subgraphs())
    assert answer.text is not None
    limits = replace(LIMITS, answer_values_max=values_at_most(answer.text) + spare)
    again, of_structs = await answered(plan(), subgraphs(), limits)
    assert (of_structs, again.errors) == (spare == 0, ())


@pytest.mark.parametrize("is_room", [True, False])
async def test_what_is_shown_a_second_time_counts_again(is_room: bool) -> None:
    """Many lamps can come of a few bytes: they are counted before they are written, each for no less than it is."""
    transports = subgraphs([LAMP] * 50, REVIEWED[:1])
    again = 49 * values_at_most(json.dumps(REVIEWED[0], separators=(",", ":")).encode())
    prepared = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    answer = prepared.structs.begin({}, 2 * again if is_room else again - 1)
    assert answer is not None
    products, reviews = prepared.plan.fetches
    assert answer.absorb(products, SubgraphResponse(body_of(transports["products"])), ())
    groups = answer.ask(reviews)
    assert groups is not None
    targets: Any = [each for _, each in groups]
    assert answer.absorb(reviews, SubgraphResponse(body_of(transports["reviews"])), targets) == is_room


async def test_copies_that_do_not_fit_are_not_made() -> None:
    """An object that is set at many places of two positions is copied for each; how often, is counted before."""
    products = [{"product": {"__typename": "Product", "id": "1"}}] * 1_000
    product = {"parts": [{"__typename": "Part", "id": str(number)} for number in range(1_000)]}
    transports = {
        "reviews": text({"data": {"a": products, "b": products}}),
        "products": text({"data": {"_entities": [product]}}),
        "parts": text({"data": {"_entities": [{"weight": number} for number in range(1_000)]}}),
    }
    sdl = {"reviews": REVIEWS.replace("reviews:", "others: [Review!]! reviews:"), "products": PRODUCTS, "parts": PARTS}
    composed = compose([Subgraph(name, f"http://{name}.test/", each) for name, each in sdl.items()])
    assert composed.supergraph is not None
    query = "{ a: reviews { product { parts { weight } } } b: others { product { parts { weight } } } }"
    prepared = prepare(
        plan_operation(parse(query), Supergraph.parse(composed.supergraph)),
        interpretations=0,
        room=StructsRoom(10_000),
        structs_after=0,
    )
    tracemalloc.start()
    try:
        answer = await execute(prepared, transports=transports, as_text=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.text, answer.errors[0].code) == (None, ErrorCode.ANSWER_TOO_LARGE)
    assert peak < 30_000_000


@pytest.mark.parametrize("seed", range(20))
def test_values_are_never_more_than_separators_say(seed: int) -> None:
    """Random values, their texts full of commas, brackets and escapes, in as few bytes as JSON takes."""
    value = random_value(Random(seed), 5)
    work = Work(10**9)
    work.spend(1)  # itself
    count_weight(value, work.spend)
    assert values_at_most(encode_json(value)) >= work.spent, f"seed {seed}"


def random_value(random: Random, depth: int) -> object:
    """A list or an object of more of them, a text or a number."""
    kind = random.randrange(4) if depth else random.randrange(2, 4)
    count = random.randrange(8)
    if kind == 0:
        return [random_value(random, depth - 1) for _ in range(count)]
    if kind == 1:
        return {str(number): random_value(random, depth - 1) for number in range(count)}
    return (
        random.randrange(10)
        if kind == 2
        else "".join(random.choices('a,[{"\\ü\n', k=random.choice((0, 5, 63, 64, 500))))
    )


async def test_more_representations_than_allowed_are_refused_as_ever() -> None:
    """The limit is the same one."""
    answer, of_structs = await answered(plan(), subgraphs(), replace(LIMITS, representations_max=1))
    assert not of_structs
    assert {error.code for error in answer.errors} == {ErrorCode.TOO_MANY_REPRESENTATIONS}


async def test_a_type_with_nothing_in_its_key_is_asked_for() -> None:
    """`@key(fields: "__typename")`: there is one object, and its representation is its type."""
    link = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"]) '
    sdl = {
        "a": link + 'type Query { me: Me } type Me @key(fields: "__typename") { a: Int }',
        "b": link + 'type Me @key(fields: "__typename") { b: Int }',
    }
    composed = compose([Subgraph(name, f"http://{name}.test/", each) for name, each in sdl.items()])
    assert composed.supergraph is not None
    transports = {
        "a": text({"data": {"me": {"__typename": "Me", "a": 1}}}),
        "b": text({"data": {"_entities": [{"b": 2}]}}),
    }
    made = plan_operation(parse("{ me { a b } }"), Supergraph.parse(composed.supergraph))
    answer, of_structs = await answered(made, transports)
    assert of_structs
    assert answer.to_json() == {"data": {"me": {"a": 1, "b": 2}}}


@pytest.mark.parametrize("is_key_first", [False, True])
async def test_a_null_is_no_key_though_another_alias_may_have_it(is_key_first: bool) -> None:
    """Two aliases ask with the same value of the same objects: what one requires may be null, the other's key not."""
    made = plan(fields=(leaf("id", "ID"), leaf("price", "Int"), leaf("stars", "Int")))
    products, reviews = made.fetches
    requiring = Representation((RepresentationField("weight", "weight", required=True),), "Product")
    keyed = Representation((RepresentationField("weight", "weight"),), "Product")
    one = replace(reviews.entries[0], types=(), representation=requiring)
    other = replace(one, alias="_f", variable="s", representation=keyed)
    operation = (
        "query ($r: [_Any!]!, $s: [_Any!]!) { _e: _entities(representations: $r) { ... on Product { price } }"
        " _f: _entities(representations: $s) { ... on Product { stars } } }"
    )
    entries = (other, one) if is_key_first else (one, other)
    made = replace(made, fetches=(products, replace(reviews, operation=operation, entries=entries)))
    transports = {
        "products": text({"data": {"products": [LAMP, DESK]}}),
        "reviews": text({"data": {"_e": [{"price": 1}, {"price": 2}], "_f": [{"stars": 3}]}}),
    }
    answer, _ = await answered(made, transports)
    interpreted = await execute(prepare(made, interpretations=None), transports=transports)
    assert answer.to_json() == interpreted.to_json()
    assert answer.to_json()["data"] == {
        "products": [{"id": "1", "price": 1, "stars": 3}, {"id": "2", "price": 2, "stars": None}]
    }


async def test_what_is_of_no_use_is_not_tried_for_a_while() -> None:
    """While one subgraph is away no answer is begun with structs in vain; later it is tried again."""
    prepared = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    for _ in range(LEAVES_MAX):
        assert not (await answered(prepared, AMISS["a subgraph that is away"]))[1]
    assert prepared.structs.begin({}, 1_000) is None
    for _ in range(PAUSE_ANSWERS - 1):
        assert prepared.structs.begin({}, 1_000) is None
    assert (await answered(prepared, subgraphs()))[1]
    for _ in range(LEAVES_MAX - 1):
        await answered(prepared, AMISS["a subgraph that is away"])
    assert (await answered(prepared, subgraphs()))[1]


@pytest.mark.parametrize(("price", "of_structs"), [(7, True), (2.5, True), (math.nan, False), (math.inf, False)])
async def test_values_in_memory_become_structs_too(price: float, of_structs: bool) -> None:
    """What a subgraph in this process answers need not be written down, and is checked as what others write."""
    made = plan(fields=(leaf("id", "ID"), leaf("price", "Float")))
    reviews = Canned({"data": {"_e": [{"price": price, "stars": 1}]}})
    transports = {"products": Canned({"data": {"products": [dict(LAMP)]}}), "reviews": reviews}
    answer, was_of_structs = await answered(made, transports)
    assert (was_of_structs, bool(answer.errors)) == (of_structs, not of_structs)


async def test_they_are_made_at_once_where_answers_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first large answer is the last one without; where that failed, they are left alone as ever."""
    monkeypatch.setattr(executor, "SMALL_ANSWER_VALUES", 5)
    prepared = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=1_000)
    assert [(await answered(prepared, subgraphs()))[1] for _ in range(2)] == [True, True]  # each is asked for twice
    none = prepare(plan(), interpretations=0, structs_after=1_000)
    assert not any([(await answered(none, subgraphs()))[1] for _ in range(2)])
    for _ in range(LEAVES_MAX):
        await answered(prepared, AMISS["a product without a key"])
    assert not (await answered(prepared, subgraphs()))[1]


async def test_they_are_made_when_a_plan_is_used_often() -> None:
    """The first answers are made without; nobody who wants values gets text."""
    prepared = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=2)
    made = [(await answered(prepared, subgraphs()))[1] for _ in range(4)]
    assert made == [False, False, True, True]
    prepared = prepare(plan(), interpretations=0, structs_after=0)
    assert not any([(await answered(prepared, subgraphs()))[1] for _ in range(4)])


async def test_all_plans_share_one_room() -> None:
    """Five fields fit, five more do not; when the first plan is gone they do, after a while."""
    room = StructsRoom(9)
    first, second = [prepare(plan(), interpretations=0, room=room, structs_after=0) for _ in range(2)]
    assert [(await answered(each, subgraphs()))[1] for each in (first, second)] == [True, False]
    assert room.fields_left == 4
    del first
    gc.collect()
    assert room.fields_left == 9
    for _ in range(PAUSE_ANSWERS - 1):
        assert second.structs.begin({}, 1_000) is None
    assert [(await answered(second, subgraphs()))[1] for _ in range(2)] == [True, True]
    unfit = prepare(NOT_STATIC["two fields from one value"], interpretations=0, room=room, structs_after=0)
    assert unfit.structs.begin({}, 1_000) is None
    assert room.fields_left == 4


ON, OFF = Condition.literal("on", True), Condition.literal("off", False)


def conditional() -> Plan:
    """`{ products { id name @include(if: $on) @skip(if: $off) price @include(if: $on) stars @skip(if: $off) } }`, with
    a request of its own for the price and an alias of its own for the stars."""
    named = replace(leaf("name"), condition=ON.and_(OFF))
    priced, starred = replace(leaf("price", "Int"), condition=ON), replace(leaf("stars", "Int"), condition=OFF)
    whole = plan(fields=(leaf("id", "ID"), named, priced, starred))
    products, reviews = whole.fetches
    [entry] = reviews.entries
    text = "{ products { __typename id weight ... @include(if: $on) { name @skip(if: $off) } } }"
    prices = "query ($r: [_Any!]!) { _e: _entities(representations: $r) { ... on Product { price } } }"
    stars = (
        "query ($r: [_Any!]!, $s: [_Any!]!, $off: Boolean!) {"
        " _e: _entities(representations: $r) { ... on Product { size } }"
        " _f: _entities(representations: $s) @skip(if: $off) { ... on Product { stars } } }"
    )
    starring = replace(entry, alias="_f", variable="s", condition=OFF)
    return replace(
        whole,
        fetches=(
            replace(products, operation=f"query ($on: Boolean!, $off: Boolean!) {text}", variables=("on", "off")),
            replace(reviews, operation=prices, condition=ON),
            Fetch(2, "stars", "query", stars, (entry, starring), variables=("off",), depends_on=(0,)),
        ),
    )


def subgraphs_under_conditions(*, on: bool, off: bool, stars: int = 1) -> dict[str, Canned]:
    """What they answer where the variables have these values."""
    shown = {key: value for key, value in LAMP.items() if key != "name" or (on and not off)}
    starred = {"_e": [{"size": 3}]} | ({} if off else {"_f": [{"stars": stars}]})
    return {
        "products": text({"data": {"products": [shown]}}),
        "reviews": text({"data": {"_e": [{"price": 7}]}}),
        "stars": text({"data": starred}),
    }


COMBINATIONS = [(on, off) for on in (False, True) for off in (False, True)]


async def test_every_combination_of_conditions_has_structs_of_its_own() -> None:
    """What is asked and shown hangs on variables, and is static with their values: for fields, fragments, aliases and
    requests."""
    prepared = prepare(conditional(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    for on, off in COMBINATIONS * 2:
        transports = subgraphs_under_conditions(on=on, off=off)
        answer, of_structs = await answered(prepared, transports, on=on, off=off)
        assert of_structs
        expected: dict[str, object] = {"id": "1"}
        expected |= {"name": LAMP["name"]} if on and not off else {}
        expected |= {"price": 7} if on else {}
        expected |= {} if off else {"stars": 1}
        assert answer.to_json() == {"data": {"products": [expected]}}
        assert len(transports["reviews"].requests) == (2 if on else 0)


async def test_a_variable_without_a_value_counts_as_false() -> None:
    """As it does for whoever decides what is sent."""
    prepared = prepare(conditional(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    _, of_structs = await answered(prepared, subgraphs_under_conditions(on=False, off=False))
    assert of_structs


@pytest.mark.parametrize(("on", "off"), COMBINATIONS)
async def test_what_was_not_asked_is_not_asked_with_dictionaries_either(on: bool, off: bool) -> None:
    """A value is amiss, and other requests were left out: the answer is what it would have been without structs."""
    transports = subgraphs_under_conditions(on=on, off=off, stars=2**31)
    _, of_structs = await answered(conditional(), transports, on=on, off=off)
    assert of_structs == off
    transports = {**subgraphs_under_conditions(on=on, off=off), "stars": Canned(FAILURE)}
    _, of_structs = await answered(conditional(), transports, on=on, off=off)
    assert not of_structs


async def test_as_many_combinations_are_kept_as_are_met() -> None:
    """One more than there may be makes the one go that was met longest ago, with its place in the room."""
    names = [f"v{number}" for number in range(5)]
    fields = [replace(leaf(name, key="name"), key=name, condition=Condition.literal(name, True)) for name in names]
    made = plan(fields=(leaf("id", "ID"), leaf("price", "Int"), leaf("stars", "Int"), *fields))
    selected = " ".join(f"{name}: name @include(if: ${name})" for name in names)
    products = replace(made.fetches[0], operation=f"{{ products {{ __typename id weight {selected} }} }}")
    made = replace(made, fetches=(products, *made.fetches[1:]))
    room = StructsRoom(1_000)
    prepared = prepare(made, interpretations=0, room=room, structs_after=1)

    async def met(number: int) -> bool:
        values = {name: bool(number >> bit & 1) for bit, name in enumerate(names)}
        shown = {name: "x" for name, value in values.items() if value}
        return (await answered(prepared, subgraphs([{**LAMP, **shown}], REVIEWED[:1]), LIMITS, **values))[1]

    assert [await met(0), await met(0), await met(1), await met(1)] == [False, True, False, True]
    left = room.fields_left
    assert not any([await met(number) for number in range(2, COMBINATIONS_MAX)])
    assert await met(0)
    assert not await met(COMBINATIONS_MAX)
    gc.collect()
    assert room.fields_left == left + (1_000 - left) // 2
    assert [await met(0), await met(1), await met(1)] == [True, False, True]
    assert room.fields_left == left


NOT_STATIC: dict[str, Plan] = {
    "two fields from one value": plan(fields=(leaf("id", "ID"), leaf("other", "ID", key="id"))),
    "a field that nothing brings": plan(fields=(leaf("id", "ID"), leaf("size"))),
    "an impossible type": replace(plan(), selection=Selection((OutputField("products", "products", IMPOSSIBLE),))),
    "too many fields": plan(fields=tuple(leaf(f"id_{number}", "ID", key="id") for number in range(STRUCT_FIELDS_MAX))),
}


@pytest.mark.parametrize("name", NOT_STATIC)
async def test_what_depends_on_the_data_has_no_structs(name: str) -> None:
    """The plan's shape is not known beforehand, so dictionaries have it all."""
    prepared = prepare(NOT_STATIC[name], interpretations=0, room=StructsRoom(10_000), structs_after=0)
    assert not (await answered(prepared, subgraphs()))[1]
    assert prepared.structs.begin({}, 1_000) is None


FIELDS: list[tuple[LeafShape | TypenameShape | ListShape, object, bool]] = [
    (LeafShape("Float"), 3, True),
    (LeafShape("Float"), 2.5, True),
    (LeafShape("Float"), 10**30, True),
    (LeafShape("Boolean", non_null=True), False, True),
    (LeafShape("Color", values=frozenset({"RED", "BLUE"})), "BLUE", True),
    (LeafShape("Color", values=frozenset({"RED"})), "BLUE", False),
    (LeafShape("JSON"), {"a": [None, 1.5, 10**30]}, True),
    (LeafShape("JSON", non_null=True), ["x"], True),
    (LeafShape("JSON", non_null=True), None, False),
    (ListShape(ListShape(LeafShape("Int", non_null=True)), non_null=True), [[1, 2], None], True),
    (ListShape(ListShape(LeafShape("Int", non_null=True)), non_null=True), [[None]], False),
    (TypenameShape(), "Product", True),
    (TypenameShape("Product"), "Product", True),
]


@pytest.mark.parametrize(("shape", "value", "of_structs"), FIELDS, ids=range(len(FIELDS)))
async def test_values_of_every_kind(
    shape: LeafShape | TypenameShape | ListShape, value: object, of_structs: bool
) -> None:
    """Each is passed on as it came, or left to who knows better."""
    key = "__typename" if isinstance(shape, TypenameShape) else "name"
    made = plan(fields=(OutputField(key, key, shape, coordinate="Product.name"),))
    assert (await answered(made, subgraphs([{**LAMP, key: value}], REVIEWED[:1])))[1] == of_structs


FEED = {
    "feed": """
        type Query { feed: [Item!]! }
        interface Item { id: ID!, title: String }
        type Post implements Item @key(fields: "id") { id: ID!, title: String, body: String!, by: User }
        type Photo implements Item @key(fields: "id") { id: ID!, title: String, url: String!, by: User }
        type Ad implements Item { id: ID!, title: String }
        type User @key(fields: "id") { id: ID! }
    """,
    "likes": """
        type Post @key(fields: "id") { id: ID!, likes: Int! }
        type Photo @key(fields: "id") { id: ID!, likes: Int!, dislikes: Int }
    """,
    "users": """
        type User @key(fields: "id") { id: ID!, name: String }
    """,
}


def planned(subgraphs: Mapping[str, str], operation: str) -> Plan:
    """The plan of an operation over subgraphs."""
    header = '@link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])'
    result = compose(
        [Subgraph(name, f"http://{name}", f"extend schema {header} {sdl}") for name, sdl in subgraphs.items()]
    )
    assert result.supergraph is not None, result.diagnostics
    return plan_operation(operation, Supergraph.parse(result.supergraph))


def feed(*items: Mapping[str, Any], likes: object = (), names: object = ()) -> dict[str, Canned]:
    """The subgraphs of the feed, with these items."""
    return {
        "feed": text({"data": {"feed": items}}),
        "likes": text({"data": {"_entities": likes}}),
        "users": text({"data": {"_entities": names}}),
    }


POST = {"__typename": "Post", "id": "1", "title": "a", "body": "b"}
PHOTO = {"__typename": "Photo", "id": "2", "title": None, "url": "u"}
AD = {"__typename": "Ad", "title": "c"}
BODIES = "{ feed { title ... on Post { body } ... on Photo { url __typename } } }"


async def test_objects_have_the_fields_of_their_type() -> None:
    """Each in the client's order; what tells the type is shown where that was asked for."""
    answer, of_structs = await answered(planned(FEED, BODIES), feed(POST, PHOTO, AD, POST))
    assert of_structs
    post = {"title": "a", "body": "b"}
    photo = {"title": None, "url": "u", "__typename": "Photo"}
    assert json.dumps(answer.to_json()["data"]) == json.dumps({"feed": [post, photo, {"title": "c"}, post]})


NOT_OF_ITS_TYPE: dict[str, Mapping[str, Any]] = {
    "lacks what its type has": {key: value for key, value in POST.items() if key != "body"},
    "has what another type has": {**AD, "url": "u"},
    "is of an unknown type": {**POST, "__typename": "Shop"},
    "says no type": {key: value for key, value in POST.items() if key != "__typename"},
    "has a null where its type has none": {**POST, "body": None},
}


@pytest.mark.parametrize("name", NOT_OF_ITS_TYPE)
async def test_an_object_that_is_not_as_its_type_says_is_left_to_dictionaries(name: str) -> None:
    """Nothing is shown of an object that its type has not, and nothing is missing in silence."""
    answer, of_structs = await answered(planned(FEED, BODIES), feed(PHOTO, NOT_OF_ITS_TYPE[name]))
    assert not of_structs
    assert str(answer.data).count("url") <= 1


async def test_entities_are_asked_for_objects_of_some_types() -> None:
    """What comes for these is theirs alone, whatever the first subgraph says of others."""
    made = planned(FEED, "{ feed { ... on Post { body likes } ... on Photo { id url likes } } }")
    transports = feed(POST, AD, PHOTO, likes=[{"likes": 5}, {"likes": 7}])
    answer, of_structs = await answered(made, transports)
    assert of_structs
    photo = {"id": "2", "url": "u", "likes": 7}
    assert json.dumps(answer.to_json()["data"]) == json.dumps({"feed": [{"body": "b", "likes": 5}, {}, photo]})
    [asked, again] = transports["likes"].requests
    assert asked.variables == again.variables
    keys = [{key: each[key] for key in ("__typename", "id")} for each in (POST, PHOTO)]
    assert asked.variables["representations"] == keys
    _, of_structs = await answered(made, feed(POST, {**AD, "likes": 9}, PHOTO, likes=[{"likes": 5}, {"likes": 7}]))
    assert not of_structs


async def test_objects_inside_those_of_some_types() -> None:
    """Their hidden keys go, at each of the types that have them; where nothing came of them, who has them is told."""
    made = planned(FEED, "{ feed { ... on Post { by { name } } ... on Photo { by { name } url } } }")
    post, photos = {**POST, "by": {"id": "8"}}, [{**PHOTO, "by": by} for by in (None, {"id": "9"})]
    items: list[Mapping[str, Any]] = [post, AD, *photos]
    answer, of_structs = await answered(made, feed(*items, names=[{"name": "Ann"}, {"name": None}]))
    assert of_structs
    shown = [{"by": {"name": "Ann"}}, {}, {"by": None, "url": "u"}, {"by": {"name": None}, "url": "u"}]
    assert json.dumps(answer.to_json()["data"]) == json.dumps({"feed": shown})
    answer, of_structs = await answered(made, {**feed(*items), "users": Canned(FAILURE)})
    assert (of_structs, [error.path for error in answer.errors]) == (
        True,
        [("feed", 0, "by", "name"), ("feed", 3, "by", "name")],
    )


USER = {"by": {"id": "8"}}
FEEDS: dict[str, list[dict[str, Any]]] = {
    BODIES: [POST, PHOTO, AD, POST],
    "{ feed { ... on Post { likes } ... on Photo { id likes } } }": [
        *({"__typename": name, "id": number} for name, number in (("Post", "1"), ("Photo", "2"), ("Post", "1"))),
        {"__typename": "Ad"},
    ],
    "{ feed { ... on Post { by { name } } ... on Photo { by { name } url } } }": [
        {"__typename": "Post"} | USER,
        {"__typename": "Photo", "url": "u", "by": {"id": "9"}},
        {"__typename": "Post"} | USER,
    ],
}
"""By operation, what the first subgraph says of each item."""
OTHERS: tuple[Any, ...] = (None, 1, True, 1.5, "x", "Post", "Photo", [], {}, [None], [{}], {"id": "1"})
MISTAKES = 500
"""In each of them."""


@pytest.mark.parametrize("number", range(len(FEEDS)))
async def test_whatever_subgraphs_send_the_answer_is_that_of_dictionaries(number: int) -> None:
    """Values of other kinds, keys that are missing, keys of other types, and items too many, at random places."""
    operation, items = list(FEEDS.items())[number]
    prepared = prepare(planned(FEED, operation), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    random, found = Random(number), Counter[bool]()
    whole = feed(*items, likes=[{"likes": 1}, {"likes": 2}], names=[{"name": "Ann"}, {"name": None}])
    for _ in range(MISTAKES):
        assert (await answered(prepared, whole))[1]
        bodies = {name: json.loads(body_of(each)) for name, each in whole.items()}
        make_mistake(bodies[random.choice(("feed", "feed", *bodies))], random)
        _, of_structs = await answered(prepared, {name: text(body) for name, body in bodies.items()})
        found[of_structs] += 1
    assert min(found[True], found[False]) > MISTAKES // 10


def make_mistake(body: dict[str, Any], random: Random) -> None:
    """Change, take away or add one thing somewhere in a body."""
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [body]
    while pending:
        place = pending.pop()
        keys = list(place) if isinstance(place, dict) else range(len(place))
        places += [(place, key) for key in keys]
        pending += [place[key] for key in keys if isinstance(place[key], dict | list)]
    place, key = random.choice(places)
    kind = random.randrange(3)
    if kind == 0:
        place[key] = random.choice(OTHERS)
    elif kind == 1:
        del place[key]
    elif isinstance(place, list):
        place.append(place[key])
    else:
        place[random.choice(("id", "title", "body", "url", "likes", "by"))] = random.choice(OTHERS)


UNORDERED = {
    "fields in contrary orders": "{ feed { ... on Post { title id } ... on Photo { id title } } }",
    "a key that is something else for each type": "{ feed { ... on Post { x: body } ... on Photo { x: url } } }",
    "entities of which some have more": "{ feed { ... on Post { likes } ... on Photo { likes dislikes } } }",
}


@pytest.mark.parametrize("name", UNORDERED)
async def test_types_that_do_not_go_together_have_no_structs(name: str) -> None:
    """There is one struct for the objects of a place, with each key once; results of entities do not say their type."""
    prepared = prepare(planned(FEED, UNORDERED[name]), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    assert prepared.structs.begin({}, 1_000) is None


NESTED = {
    "users": """
        type Query { me: User }
        type User @key(fields: "id") { id: ID!, friend: User, friends: [User], groups: [[User]] }
    """,
    "names": """
        type User @key(fields: "id") { id: ID!, name: String }
    """,
}


@pytest.mark.parametrize(
    ("field", "levels", "of_structs"),
    [
        ("friend", 79, True),
        ("friend", 99, False),
        ("friends", 12, True),
        ("friends", 13, False),
        ("friends", 50, False),
        ("groups", 6, True),
        ("groups", 30, False),
    ],
)
async def test_what_is_nested_deeper_than_code_can_be_is_answered_all_the_same(
    field: str, levels: int, of_structs: bool
) -> None:
    """Python compiles no function with more than 20 loops, or 100 levels, in one another."""
    lists = {"friend": 0, "friends": 1, "groups": 2}[field]
    user: dict[str, Any] = {"id": "1"}
    for _ in range(levels):
        value: Any = user
        for _ in range(lists):
            value = [value]
        user = {field: value}
    made = planned(NESTED, f"{{ me {f'{{ {field} ' * levels} {{ name }} {'}' * levels} }}")
    transports = {"users": text({"data": {"me": user}}), "names": text({"data": {"_entities": [{"name": "Ann"}]}})}
    answer, was_of_structs = await answered(made, transports)
    assert (was_of_structs, answer.errors) == (of_structs, ())
    assert '"name": "Ann"' in json.dumps(answer.to_json())


SHARED = {
    "users": """
        type Query { first: [User!], second: [Post!] }
        type User @key(fields: "id") { id: ID! }
        type Post @key(fields: "id") { id: ID!, by: User! }
    """,
    "blog": """
        type User @key(fields: "id") { id: ID!, best: Line }
        type Line @key(fields: "id") { id: ID!, words: [String!] }
    """,
    "print": """
        type Line @key(fields: "id") { id: ID!, size(of: Int): Int! }
    """,
}


class Remembering:
    """A subgraph that answers each operation as it is told, and the same entities again."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._answer = answer

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """One entity for each representation, from its key."""
        data: dict[str, Any] = {}
        for variable, values in request.variables.items():
            alias = variable.replace("representations", "_entities") if "_" not in variable else f"_e{variable[-1]}"
            size = re.search(rf"{alias}:.*?size\(of:\s*(\d)\)", request.operation, re.DOTALL)
            assert isinstance(values, list)
            data[alias] = [
                {"size": int(size[1])} if size else {"best": {"id": each["id"], "words": ["a", each["id"]]}}
                for each in values
            ]
        return SubgraphResponse(json.dumps({"data": data or self._answer}).encode())

    async def close(self) -> None:
        """Nothing is held."""


async def test_one_result_at_two_places_becomes_two_where_something_else_comes_to_each() -> None:
    """Both users are one, and so is their line; but its size is asked for with another argument at each place."""
    made = planned(SHARED, "{ first { best { words size(of: 1) } } second { by { best { words size(of: 2) } } } }")
    users = {"first": [{"id": "5"}, {"id": "5"}], "second": [{"id": "1", "by": {"id": "5"}}]}
    transport = Remembering(users)
    answer, of_structs = await answered(made, dict.fromkeys(SHARED, transport))
    assert of_structs
    line = {"words": ["a", "5"]}
    assert answer.to_json()["data"] == {
        "first": [{"best": {**line, "size": 1}}] * 2,
        "second": [{"by": {"best": {**line, "size": 2}}}],
    }
