"""Merging: objects by key, lists by index, and what does not fit leaves the tree as it is."""

import pytest

from trifolio.executor.merge import copy_json, count_values, merge_response
from trifolio.executor.tree import MergedTree

CASES = [
    ({}, {"a": 1}, {"a": 1}, True),
    ({"a": 1}, {"a": 2}, {"a": 1}, True),
    ({"a": {"x": 1}}, {"a": {"y": 2}, "b": 3}, {"a": {"x": 1, "y": 2}, "b": 3}, True),
    ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}, True),
    ({"a": {"x": 1}}, {"a": None}, {"a": {"x": 1}}, True),
    ({"a": [{"x": 1}, None]}, {"a": [{"y": 2}, {"y": 3}]}, {"a": [{"x": 1, "y": 2}, {"y": 3}]}, True),
    ({"a": [[{"x": 1}]]}, {"a": [[{"y": 2}]]}, {"a": [[{"x": 1, "y": 2}]]}, True),
    ({"a": [{"x": 1}]}, {"a": [{"y": 1}, {"y": 2}]}, {"a": [{"x": 1}]}, False),
    ({"a": [[{"x": 1}]]}, {"a": [[]]}, {"a": [[{"x": 1}]]}, False),
    ({"a": {"x": 1}}, {"a": [1]}, {"a": {"x": 1}}, True),
    ({"a": [1]}, {"a": {"x": 1}}, {"a": [1]}, True),
    ({"a": "text"}, {"a": {"x": 1}}, {"a": "text"}, True),
]


@pytest.mark.parametrize(("target", "source", "merged", "paired"), CASES)
def test_merge(
    target: dict[str, object], source: dict[str, object], merged: dict[str, object], *, paired: bool
) -> None:
    """Each pair of values merges to what stands beside it, and lists that do not pair up are told."""
    assert merge_response(target, source) is paired
    assert target == merged


def test_copy_shares_nothing_that_can_change() -> None:
    """A copy is equal, and no object or list of it is the original's."""
    original = {"a": [{"x": [1, [2]]}, None], "b": {"c": {}}}
    copied = copy_json(original)
    assert copied == original
    assert isinstance(copied, dict)
    copied["a"][0]["x"][1].append(3)
    copied["b"]["c"]["d"] = 1
    assert original == {"a": [{"x": [1, [2]]}, None], "b": {"c": {}}}


@pytest.mark.parametrize(
    ("value", "count"),
    [(1, 1), ([], 1), ([1, 2], 3), ({"a": 1, "b": {"c": [1, None, {}]}}, 7)],
)
def test_values_are_counted(value: object, count: int) -> None:
    """Leaves, lists and objects each count, and counting stops soon after its limit."""
    assert count_values(value, 100) == count
    assert count_values([[0] * 1000] * 1000, 10) <= 2001


def test_copies_are_counted_together() -> None:
    """What does not fit is not counted, and what fits leaves less for the next."""
    tree = MergedTree(copies_max=100)
    assert tree.may_copy({"a": [1, 2]}, 20)  # 4 values each
    assert not tree.may_copy({"a": [1, 2]}, 6)
    assert tree.may_copy({"a": [1, 2]}, 5)
    assert not tree.may_copy({}, 1)
    assert not tree.may_copy({}, 1_000_000)
