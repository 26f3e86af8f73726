"""Completion: what becomes of nulls and of values that do not fit, at every depth."""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tests.executor.shop import Canned
from trifolio.errors import ErrorCode
from trifolio.executor import execute, prepare
from trifolio.query_plan import (
    Entry,
    Fetch,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Plan,
    Selection,
    Shape,
    TypenameShape,
)

LEVELS = 200


@pytest.fixture
def recursion_limit() -> Iterator[int]:
    """Python's limit as it is, put back afterwards."""
    limit = sys.getrecursionlimit()
    yield limit
    sys.setrecursionlimit(limit)


async def complete(shape: Shape, value: object) -> tuple[object, list[tuple[ErrorCode, tuple[str | int, ...] | None]]]:
    """Answer `{ v }` with a value; both ways have to agree."""
    made = Plan(
        kind="query",
        fetches=(Fetch(0, "s", "query", "{ v }", (Entry(),)),),
        selection=Selection((OutputField("v", "v", shape, coordinate="Query.v"),)),
    )
    answers = [
        await execute(prepare(made, interpretations=interpretations), transports={"s": Canned({"data": {"v": value}})})
        for interpretations in (None, 0)
    ]
    assert answers[0] == answers[1]
    return answers[0].data, [(error.code, error.path) for error in answers[0].errors]


def test_answers_nest_as_deep_as_operations_do(recursion_limit: int) -> None:
    """The interpreter reaches a wrong value under hundreds of levels of lists and objects."""
    selection = Selection((OutputField("x", "x", LeafShape("Int")),), frozenset({"A"}))
    value: dict[str, object] = {"x": "text"}
    for _ in range(LEVELS):
        shape = ListShape(ListShape(ObjectShape(selection)))
        selection = Selection((OutputField("n", "n", shape),), frozenset({"A"}))
        value = {"n": [[value]]}
    _, errors = asyncio.run(complete(ObjectShape(selection), value))
    assert errors == [(ErrorCode.VALUE_NOT_COERCIBLE, ("v", *("n", 0, 0) * LEVELS, "x"))]


INT = LeafShape("Int")
INT_NON_NULL = LeafShape("Int", non_null=True)


@pytest.mark.parametrize(
    ("shape", "value", "data", "where"),
    [
        (ListShape(INT), [1, None, "x"], [1, None, None], [("v", 2)]),
        (ListShape(INT_NON_NULL), [1, None, "x"], None, [("v", 1)]),
        (ListShape(ListShape(INT_NON_NULL)), [[1], [None], None], [[1], None, None], [("v", 1, 0)]),
        (ListShape(ListShape(INT_NON_NULL, non_null=True)), [[1], [None]], None, [("v", 1, 0)]),
        (ListShape(INT), {"a": 1}, None, [("v",)]),
        (LeafShape("ID"), 7, "7", []),
        (LeafShape("ID"), 10**30, str(10**30), []),
        (LeafShape("Float"), 7, 7, []),
        (LeafShape("Int"), 7.0, 7, []),
        (LeafShape("Boolean"), 1, None, [("v",)]),
        (LeafShape("String"), 1, None, [("v",)]),
        (LeafShape("JSON"), {"any": [None]}, {"any": [None]}, []),
    ],
)
async def test_values(shape: Shape, value: object, data: object, where: list[tuple[str | int, ...]]) -> None:
    """Values are coerced as the specification says, and a null goes up to the next place that can be null."""
    answered, errors = await complete(shape, value)
    assert answered == {"v": data}
    assert [path for _, path in errors] == where


async def test_object_of_no_possible_type_is_null() -> None:
    """A type that the API schema hides, or that nobody knows, is null with an error that does not name it."""
    selection = Selection((OutputField("__typename", "__typename", TypenameShape()),), frozenset({"A", "B"}))
    data, errors = await complete(ListShape(ObjectShape(selection)), [{"__typename": "A"}, {"__typename": "Hidden"}])
    assert data == {"v": [{"__typename": "A"}, None]}
    assert errors == [(ErrorCode.UNKNOWN_TYPENAME, ("v", 1))]


async def test_null_in_the_root_s_non_null_field_makes_data_null() -> None:
    """`data` is null only where a null reaches the root."""
    assert (await complete(INT_NON_NULL, None))[0] is None
