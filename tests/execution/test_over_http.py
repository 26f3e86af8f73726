"""Random operations over HTTP: what a client gets from a router on a socket is what one big schema says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.execution.incremental import Whole, read_by_id, read_by_path
from tests.execution.operations import Operation
from tests.execution.over_http import ComparisonOverHttp, served
from tests.execution.random_supergraphs import random_supergraph
from tests.execution.test_incremental import SDLS
from trifolio.query_plan import Plan

OPERATIONS_PER_SUPERGRAPH = 4
RANDOM_SUPERGRAPHS = 6
OPERATIONS_PER_RANDOM_SUPERGRAPH = 8
DEFERRING = (
    "aliases",
    "interface-object-requires",
    "nested-lists",
    "override-labels",
    "requires-chain",
    "shared-roots",
)
DEFERRING_OPERATIONS = 6


async def compare(comparison: ComparisonOverHttp, name: str, operations: int) -> None:
    """Compare operations by their seeds; a failure says how to replay it."""
    for number in range(operations):
        seed = f"{name}/{number}"
        operation, labels = comparison.generate(seed)
        difference = await comparison.compare(operation, labels)
        assert difference is None, f"python -m tests.execution --over-http --replay {seed}\n{difference}"


@pytest.mark.parametrize("name", SDLS)
async def test_a_client_is_answered_as_by_one_schema(name: str) -> None:
    """Three equal requests for each operation, on kept connections: the same data, order, paths and codes."""
    async with served(SDLS[name]) as comparison:
        await compare(comparison, name, OPERATIONS_PER_SUPERGRAPH)


@pytest.mark.parametrize("number", range(RANDOM_SUPERGRAPHS))
async def test_what_composes_is_served_right(number: int) -> None:
    """The same for random supergraphs; in every second one keys may be null."""
    nullable_keys = number % 2 == 1
    name = f"{'nullable-' if nullable_keys else ''}random-http-{number}"
    async with served(random_supergraph(name, nullable_keys=nullable_keys)) as comparison:
        await compare(comparison, name, OPERATIONS_PER_RANDOM_SUPERGRAPH)


@pytest.mark.parametrize("name", DEFERRING)
async def test_parts_come_to_the_whole_answer(name: str) -> None:
    """A client that merges the parts, in either format, has what one schema says, errors included."""
    came = 0
    async with served(SDLS[name]) as comparison:
        for number in range(DEFERRING_OPERATIONS):
            seed = f"{name}/{number}"
            operation, labels = comparison.generate(seed, deferring=True)
            difference, parts = await comparison.compare_in_parts(operation, labels)
            assert difference is None, (
                f"python -m tests.execution --deferring --over-http --replay {seed}\n{difference}"
            )
            came += parts
    assert came > 0


MISTAKES: dict[str, tuple[Callable[[Sequence[bytes]], Whole], list[str]]] = {
    "more is promised": (read_by_path, ['{"data": {"a": {}}, "hasNext": true}']),
    "more comes than was promised": (
        read_by_path,
        ['{"data": {"a": {}}, "hasNext": false}', '{"incremental": [], "hasNext": false}'],
    ),
    "another value than before": (
        read_by_path,
        [
            '{"data": {"a": {"b": 1}}, "hasNext": true}',
            '{"incremental": [{"path": ["a"], "data": {"b": 2}}], "hasNext": false}',
        ],
    ),
    "a part fails without an error": (
        read_by_path,
        ['{"data": {"a": {}}, "hasNext": true}', '{"incremental": [{"path": ["a"], "data": null}], "hasNext": false}'],
    ),
    "something is said twice": (
        read_by_id,
        [
            '{"data": {"a": {"b": 1}}, "pending": [{"id": "0", "path": ["a"]}], "hasNext": true}',
            '{"incremental": [{"id": "0", "data": {"b": 1}}], "completed": [{"id": "0"}], "hasNext": false}',
        ],
    ),
    "a part is never completed": (
        read_by_id,
        [
            '{"data": {"a": {}}, "pending": [{"id": "0", "path": ["a"]}], "hasNext": true}',
            '{"incremental": [{"id": "0", "data": {"b": 1}}], "completed": [], "hasNext": false}',
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_parts_that_break_the_protocol_are_seen(name: str) -> None:
    """A client that merges parts notices what it was promised and does not get."""
    read, texts = MISTAKES[name]
    with pytest.raises((AssertionError, KeyError)):
        read([text.encode() for text in texts])


async def test_parts_that_come_to_something_else_are_seen() -> None:
    """One merged answer of several that is not the big schema's is a difference."""

    class Changed(ComparisonOverHttp):
        """Changes the last of the merged answers."""

        async def wholes(
            self, made: Plan, operation: Operation, labels: frozenset[str], refusals: list[str]
        ) -> list[Whole]:
            *wholes, last = await super().wholes(made, operation, labels, refusals)
            return [*wholes, replace(last, data={**last.data, "invented": None})]

    async with Changed(SDLS["aliases"]).serving() as comparison:
        operation, labels = comparison.generate("aliases/0", deferring=True)
        difference, _ = await comparison.compare_in_parts(operation, labels)
        assert difference is not None


async def test_what_differs_is_seen() -> None:
    """A response that is not the big schema's, in its data or in one error's code, is a difference."""

    class Changed(ComparisonOverHttp):
        """Changes the last of the three responses."""

        change: Mapping[str, Any]

        async def responses(
            self, operation: Operation, labels: frozenset[str], refusals: list[str]
        ) -> list[Mapping[str, Any]]:
            *responses, last = await super().responses(operation, labels, refusals)
            return [*responses, {**last, **self.change}]

    error = {"message": "It failed.", "path": ["pay"], "extensions": {"code": "INVENTED"}}
    async with Changed(SDLS["mutations"]).serving() as comparison:
        assert isinstance(comparison, Changed)
        operation = replace(comparison.generate("mutations/0")[0], text="{ __typename }", variables={})
        for change, is_seen in (({}, False), ({"data": {"__typename": "Mutation"}}, True), ({"errors": [error]}, True)):
            comparison.change = change
            assert (await comparison.compare(operation) is not None) is is_seen
