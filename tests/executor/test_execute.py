"""Whole executions of plans written by hand, against schemas in memory and against subgraphs that answer anything."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.executor.shop import PRODUCTS, Canned, answer, leaf, plan, products_schema, reviews_schema
from trifolio import executor
from trifolio.errors import AnswerError, ErrorCode, InternalText, PathKey, SubgraphError
from trifolio.executor import asking, completion, execute, places, prepare
from trifolio.executor.local import LocalTransport
from trifolio.limits import Limits
from trifolio.query_plan import ListShape, ObjectShape, Selection
from trifolio.work import Work


async def test_entities_are_asked_once_and_every_place_gets_its_own() -> None:
    """Identical representations go out once, a null @requires input as null; the answer has the client's order."""
    asked: list[object] = []

    def resolve(representation: object) -> object:
        asked.append(representation)
        return {"__typename": "Product", "price": 7, "stars": 1}

    result = await answer(plan(), reviews=LocalTransport(reviews_schema(resolve)))
    assert asked == [
        {"__typename": "Product", "id": "1", "weight": 3},
        {"__typename": "Product", "id": "2", "weight": None},
    ]
    lamp = {"id": "1", "name": "Lamp", "price": 7, "stars": 1}
    assert result.to_json() == {"data": {"products": [lamp, {**lamp, "id": "2", "name": "Desk"}, lamp]}}
    assert list(result.data["products"][0]) == ["id", "name", "price", "stars"]  # type: ignore[index]  # known


async def test_object_with_a_null_key_is_not_asked() -> None:
    """Without a key there is nothing to ask: nullable fields are null without an error."""
    products = [{**PRODUCTS[0], "id": None}]
    fields = (leaf("name"), leaf("price", "Int"))
    reviews = Canned({})
    result = await answer(plan(fields=fields), products=LocalTransport(products_schema(products)), reviews=reviews)
    assert reviews.requests == []
    assert result.to_json() == {"data": {"products": [{"name": "Lamp", "price": None}]}}


async def test_failed_fetch_nulls_its_own_fields_at_their_paths() -> None:
    """A subgraph that cannot be reached leaves the rest of the answer, and says where it is missing."""
    failure = SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "reviews", internal=InternalText("http://10.0.0.1:4003"))
    result = await answer(plan(fields=(leaf("name"), leaf("price", "Int"))), reviews=Canned(failure))
    body = result.to_json()
    assert body["data"] == {"products": [{"name": item["name"], "price": None} for item in PRODUCTS]}
    assert body["errors"] == [
        {
            "message": "The subgraph cannot be reached.",
            "path": ["products", index, "price"],
            "extensions": {"code": "SUBGRAPH_UNREACHABLE", "subgraph": "reviews"},
        }
        for index in range(3)
    ]


async def test_missing_non_null_field_makes_its_parent_null() -> None:
    """Where the failed fetch's field is non-null the item becomes null, and one error tells why."""
    failure = SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "reviews")
    result = await answer(plan(fields=(leaf("name"), leaf("stars", "Int", non_null=True))), reviews=Canned(failure))
    assert result.data == {"products": [None, None, None]}
    assert [(error.code, error.path) for error in result.errors] == [
        (ErrorCode.SUBGRAPH_TIMEOUT, ("products", index, "stars")) for index in range(3)
    ]


async def test_error_that_takes_an_entity_away_is_told_at_its_own_field() -> None:
    """Each field has the errors about itself; one that is missing for another's error has that, as it is null too."""
    fields = (leaf("name"), leaf("price", "Int"), leaf("stars", "Int"))
    errors = [
        {"message": "no price", "path": ["_e", 0, "price"], "extensions": {"code": "PRICE"}},
        {"message": "no stars", "path": ["_e", 1, "stars"], "extensions": {"code": "STARS"}},
    ]
    result = await answer(plan(fields=fields), reviews=Canned({"data": {"_e": [None, None]}, "errors": errors}))
    assert [(error.own_code, error.path) for error in result.errors] == [
        ("PRICE", ("products", 0, "price")),
        ("PRICE", ("products", 0, "stars")),
        ("STARS", ("products", 1, "price")),
        ("STARS", ("products", 1, "stars")),
        ("PRICE", ("products", 2, "price")),
        ("PRICE", ("products", 2, "stars")),
    ]


async def test_error_that_takes_an_entity_away_is_told_where_it_is_if_the_client_loses_the_object_too() -> None:
    """A missing value that may not be null names the field that failed, under the client's key; its own where nobody
    asked for that."""
    needed = (leaf("price", "Int", non_null=True), replace(leaf("stars", "Int"), response_key="rating"))
    errors = [
        {"message": "no stars", "path": ["_e", 0, "stars"], "extensions": {"code": "STARS"}},
        {"message": "no weight", "path": ["_e", 1, "weight"], "extensions": {"code": "WEIGHT"}},
    ]
    result = await answer(plan(fields=needed), reviews=Canned({"data": {"_e": [None, None]}, "errors": errors}))
    assert result.data == {"products": [None, None, None]}
    assert [(error.own_code, error.path) for error in result.errors] == [
        ("STARS", ("products", 0, "rating")),
        ("WEIGHT", ("products", 1, "price")),
        ("STARS", ("products", 2, "rating")),
    ]


async def test_error_that_ends_an_object_is_told_at_every_alias_that_loses_it() -> None:
    """Two aliases of one field are asked as one: who has not asked for what failed reads why the object is gone."""
    made = plan(fields=(leaf("name"),))
    (products,) = made.selection.fields
    other = replace(products, response_key="others", shape=ListShape(ObjectShape(Selection((leaf("id", "ID"),)))))
    both = replace(made, selection=replace(made.selection, fields=(products, other)), fetches=made.fetches[:1])
    error = {"message": "no name", "path": ["products", 1, "name"], "extensions": {"code": "NAME"}}
    answered = Canned({"data": {"products": [*named(1), None]}, "errors": [error]})
    result = await answer(both, products=answered)
    assert result.data == {"products": [{"name": "Product 0"}, None], "others": [{"id": "0"}, None]}
    assert [(error.own_code, error.path) for error in result.errors] == [
        ("NAME", ("products", 1, "name")),
        ("NAME", ("others", 1)),
    ]


@pytest.mark.parametrize("extensions", [{"cost": 3}, {}, None, "nonsense", [1]])
async def test_extensions_of_a_subgraphs_response_are_ignored(extensions: object) -> None:
    """What a subgraph says beside data and errors, whatever it is, neither reaches clients nor changes the answer."""
    more = {"extensions": extensions, "hasNext": False}
    products = Canned({"data": {"products": named(1)}, **more})
    reviews = Canned({"data": {"_e": [{"price": 1, "stars": 1}]}, **more})
    result = await answer(plan(fields=(leaf("name"), leaf("price", "Int"))), products=products, reviews=reviews)
    assert result.to_json() == {"data": {"products": [{"name": "Product 0", "price": 1}]}}


async def test_null_reaches_the_root_only_through_non_null() -> None:
    """A null bubbles to the nearest place that can be null."""
    entity = {"_e": [{"price": 1, "stars": None}, None]}
    result = await answer(plan(item_non_null=True), reviews=Canned({"data": entity}))
    assert result.data == {"products": None}
    assert [(error.code, error.path) for error in result.errors] == [
        (ErrorCode.NULL_IN_NON_NULL, ("products", 0, "stars"))
    ]


async def test_subgraph_errors_are_told_at_every_place_with_all_but_their_stack() -> None:
    """An error in one entity goes to each object that sent it, under the client's keys, without its stack."""
    payload = {
        "data": {"_e": [{"price": None, "stars": 1}, {"price": 2, "stars": 2}]},
        "errors": [
            {
                "message": "No price.",
                "path": ["_e", 0, "price"],
                "extensions": {"code": "NO_PRICE", "stacktrace": ["at line 1"], "url": "http://10.0.0.1"},
            }
        ],
    }
    fields = (leaf("cost", "Int", key="price"),)
    result = await answer(plan(fields=fields), reviews=Canned(payload))
    assert result.data == {"products": [{"cost": None}, {"cost": 2}, {"cost": None}]}
    assert result.to_json()["errors"] == [
        {
            "message": "No price.",
            "path": ["products", index, "cost"],
            "extensions": {"url": "http://10.0.0.1", "code": "NO_PRICE", "subgraph": "reviews"},
        }
        for index in (0, 2)
    ]


async def test_null_entity_takes_its_error_to_the_missing_fields() -> None:
    """An entity that failed is null in the subgraph's answer: each field that it should have brought says why."""
    payload = {"data": {"_e": [None, {"price": 2, "stars": 2}]}, "errors": [{"message": "Gone.", "path": ["_e", 0]}]}
    result = await answer(plan(fields=(leaf("price", "Int"),)), reviews=Canned(payload))
    assert result.data == {"products": [{"price": None}, {"price": 2}, {"price": None}]}
    assert [(error.message, error.path) for error in result.errors] == [
        ("Gone.", ("products", 0, "price")),
        ("Gone.", ("products", 2, "price")),
    ]


GARBAGE = {
    "no JSON": b"<html><body>502</body></html>",
    "half a body": b'{"data": {"_e": [{"price": 1, "st',
    "nothing": b"",
    "a number": b"42",
    "a list": b"[]",
    "an empty object": b"{}",
    "null": b"null",
    "null data without errors": b'{"data": null}',
    "data is a list": b'{"data": [1]}',
    "data is text": b'{"data": "x", "errors": "y"}',
    "no alias": b'{"data": {}}',
    "alias is null": b'{"data": {"_e": null}}',
    "alias is an object": b'{"data": {"_e": {"price": 1}}}',
    "entities are numbers": b'{"data": {"_e": [1, "x"]}}',
    "too few entities": b'{"data": {"_e": []}}',
    "errors without data": b'{"errors": [{"message": "Refused."}]}',
    "errors are null": b'{"data": null, "errors": [null, 7, {"message": 3, "path": "x"}]}',
    "wrong leaf": b'{"data": {"_e": [{"price": "x"}, {"price": {"a": 1}}]}}',
    "wrong leaves": b'{"data": {"_e": [{"price": [1]}, {"price": true}]}}',
    "a number out of range": b'{"data": {"_e": [{"price": 2147483648}, {"price": 1.5}]}}',
    "missing field": b'{"data": {"_e": [{}, {}]}}',
    "a typename that is a list": b'{"data": {"_e": [{"__typename": [1], "price": "x"}, {"__typename": {}}]}}',
    "deep nesting": b'{"data": {"_e": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "invalid UTF-8": b'{"data": {"_e": [{"price": "\xff"}]}}',
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_from_a_subgraph_leaves_the_rest_of_the_answer(body: bytes) -> None:
    """Whatever a subgraph answers: its own fields are null with an error that has code and path, the rest stands."""
    result = await answer(plan(fields=(leaf("name"), leaf("price", "Int"))), reviews=Canned(body))
    assert result.data == {"products": [{"name": item["name"], "price": None} for item in PRODUCTS]}
    assert {error.path for error in result.errors} == {("products", index, "price") for index in range(3)}


@pytest.mark.parametrize("body", [*GARBAGE.values(), b'{"data": {"products": {"id": 1}}}'], ids=repr)
async def test_garbage_at_the_root_is_null_with_an_error(body: bytes) -> None:
    """Where the first fetch answers garbage nothing is asked after it, and the root field says why."""
    reviews = Canned({})
    result = await answer(plan(), products=Canned(body), reviews=reviews)
    assert result.data == {"products": None}
    assert {error.path for error in result.errors} == {("products",)}
    assert reviews.requests == []


async def test_extra_entities_are_ignored() -> None:
    """More entities than were asked for change nothing."""
    entity = {"price": 1, "stars": 1}
    result = await answer(plan(fields=(leaf("price", "Int"),)), reviews=Canned({"data": {"_e": [entity] * 9}}))
    assert result.to_json() == {"data": {"products": [{"price": 1}] * 3}}


async def test_bug_in_a_transport_fails_one_fetch() -> None:
    """An exception that no transport should raise is the router's own failure, and its text stays inside."""
    result = await answer(plan(fields=(leaf("name"), leaf("price", "Int"))), reviews=Canned(KeyError("secret")))
    assert result.data is not None
    assert {error.code for error in result.errors} == {ErrorCode.INTERNAL_SERVER_ERROR}
    assert "secret" not in str(result.to_json())


async def test_errors_are_bounded() -> None:
    """A broken subgraph under a long list does not fill the answer with the same error."""
    products = LocalTransport(products_schema([{**PRODUCTS[0], "id": str(index)} for index in range(50)]))
    failure = SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "reviews")
    limits = replace(Limits(), answer_errors_max=7)
    result = await answer(plan(), products=products, reviews=Canned(failure), limits=limits)
    assert len(result.errors) == 7


async def test_too_many_representations_are_refused() -> None:
    """A list longer than the limit is not sent to `_entities`; its other fields stand."""
    products = LocalTransport(products_schema([{**PRODUCTS[0], "id": str(index)} for index in range(5)]))
    reviews = Canned({})
    limits = replace(Limits(), representations_max=4)
    result = await answer(
        plan(fields=(leaf("name"), leaf("price", "Int"))), products=products, reviews=reviews, limits=limits
    )
    assert reviews.requests == []
    assert result.data == {"products": [{"name": "Lamp", "price": None}] * 5}
    assert {error.code for error in result.errors} == {ErrorCode.TOO_MANY_REPRESENTATIONS}


def named(count: int) -> list[dict[str, Any]]:
    return [
        {"__typename": "Product", "id": str(number), "name": f"Product {number}", "weight": 1}
        for number in range(count)
    ]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every error that is made for an answer."""
    errors: list[object] = []

    def make(*arguments: Any, **named: Any) -> AnswerError:
        errors.append(arguments)
        return AnswerError(*arguments, **named)

    def copy(error: AnswerError, path: tuple[PathKey, ...]) -> AnswerError:
        errors.append(error)
        return at(error, path)

    at = AnswerError.at
    for module in (asking, completion, places):
        monkeypatch.setattr(module, "AnswerError", make)
    monkeypatch.setattr(AnswerError, "at", copy)
    return errors


async def test_errors_that_no_answer_shows_are_only_counted(made: list[object]) -> None:
    """Of a subgraph's 5,000 errors as many are read as an answer may have, one of which says how many there are."""
    own = [{"message": f"line {n}", "path": ["products", n, "name"]} for n in range(5_000)]
    products = Canned({"data": {"products": named(5)}, "errors": own})
    result = await answer(plan(fields=(leaf("name"),)), products=products, reviews=Canned({"data": {"_e": []}}))
    assert len(result.errors) == Limits().answer_errors_max == 100
    assert "The subgraph reported 4,901 errors more." in [error.message for error in result.errors]
    assert len(made) < 400


async def test_one_error_at_many_places_is_told_as_often_as_an_answer_may(made: list[object]) -> None:
    """An error of one entity that stands at thousands of places does not cost an error for each."""
    same = [named(1)[0] for _ in range(5_000)]
    own = {"message": "no price", "path": ["_e", 0, "price"]}
    reviews = Canned({"data": {"_e": [{"price": None, "stars": 1}]}, "errors": [own]})
    products = Canned({"data": {"products": same}})
    result = await answer(plan(fields=(leaf("name"), leaf("price", "Int"))), products=products, reviews=reviews)
    assert [error.path for error in result.errors] == [("products", index, "price") for index in range(100)]
    assert len(made) < 400


@pytest.mark.parametrize("value", [None, 7, "missing"])
async def test_thousands_of_values_that_do_not_fit_cost_a_hundred_errors(value: object, made: list[object]) -> None:
    """Beyond what an answer may have, errors are not even made, and the nulls are the same."""
    items = [{**item, "name": value} for item in named(5_000)]
    if value == "missing":
        for item in items:
            del item["name"]
    products = Canned({"data": {"products": items}})
    reviews = Canned({"data": {"_e": [{"price": 1, "stars": 1}] * 5_000}})
    result = await answer(plan(fields=(leaf("name", non_null=True),)), products=products, reviews=reviews)
    assert result.data == {"products": [None] * 5_000}
    assert len(result.errors) == 100
    assert len(made) < 400


@pytest.mark.parametrize("interpretations", [None, 0], ids=["interpreted", "generated"])
async def test_an_answer_is_bounded_in_values(interpretations: int | None) -> None:
    """As many values as the limit says are answered; with one more there is an error in place of all data."""
    prepared = prepare(plan(fields=(leaf("name"),)), interpretations=interpretations)
    reviews = Canned({"data": {"_e": [{"price": 1, "stars": 1}] * 50}})
    outcomes = []
    for values_max in (1 + 50 * 2, 50 * 2 - 1):
        products = Canned({"data": {"products": named(50)}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(executor, "SMALL_ANSWER_VALUES", 10)
            outcomes.append(
                await execute(
                    prepared,
                    transports={"products": products, "reviews": reviews},
                    limits=Limits(answer_values_max=values_max),
                )
            )
    whole, refused = outcomes
    assert (whole.data, whole.errors) == ({"products": [{"name": item["name"]} for item in named(50)]}, ())
    assert refused.data is None
    assert [error.code for error in refused.errors] == [ErrorCode.ANSWER_TOO_LARGE]


async def test_a_large_answer_is_read_in_turns() -> None:
    """What has more values than are read at once is handed on, with its limit, and is the same answer."""
    handed: list[int] = []

    async def in_turns(compute: Callable[[Work], Any], units_max: int) -> Any:
        handed.append(units_max)
        return compute(Work(units_max))

    small, large = ({"products": Canned({"data": {"products": named(count)}})} for count in (10, 6_000))
    reviews = Canned({"data": {"_e": [{"price": 1, "stars": 1}] * 6_000}})
    prepared = prepare(plan(fields=(leaf("name"),)))
    await execute(prepared, transports={**small, "reviews": reviews}, in_turns=in_turns)
    assert handed == []
    for _ in range(2):
        result = await execute(prepared, transports={**large, "reviews": reviews}, in_turns=in_turns)
        assert result.data == {"products": [{"name": item["name"]} for item in named(6_000)]}
    assert handed == [Limits().answer_values_max] * 2
