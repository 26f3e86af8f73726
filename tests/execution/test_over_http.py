"""Random operations over HTTP: what a client gets from a router on a socket is what one big schema says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.execution.operations import Operation
from tests.execution.over_http import ComparisonOverHttp, served
from tests.execution.random_supergraphs import random_supergraph
from tests.execution.test_incremental import SDLS

OPERATIONS_PER_SUPERGRAPH = 4
RANDOM_SUPERGRAPHS = 6
OPERATIONS_PER_RANDOM_SUPERGRAPH = 8


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
