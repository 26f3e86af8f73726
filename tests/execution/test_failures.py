"""Random operations while a subgraph fails or answers nonsense: what the others know stays, and errors say the rest."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.execution.comparison import Comparison
from tests.execution.test_generated import SUPERGRAPHS
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor import Answer, SubgraphRequest, SubgraphResponse, Transport

OPERATIONS_PER_SUPERGRAPH = 12
NONSENSE: tuple[Any, ...] = (None, True, -1, 2**40, 1.5, "nonsense", [], [None], {}, {"__typename": "Nobody"})


class Failing:
    """A subgraph that cannot be reached."""

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Fail as a transport does."""
        raise SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, request.subgraph)

    async def close(self) -> None:
        """Nothing is held."""


class Corrupting:
    """A subgraph whose answers are changed at random places."""

    def __init__(self, transport: Transport, seed: str) -> None:
        self._transport = transport
        self._seed = seed

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Answer, and change one to three values anywhere in the answer; the same request gets the same changes."""
        response = await self._transport.send(request)
        payload = json.loads(json.dumps(response.payload))
        random = Random(f"{self._seed} {request.operation}")
        for _ in range(random.randrange(1, 4)):
            _corrupt(payload, random)
        return SubgraphResponse(payload=payload)

    async def close(self) -> None:
        """Nothing is held."""


def _corrupt(payload: dict[str, Any], random: Random) -> None:
    """Replace, remove or repeat one value."""
    places = list(_places(payload))
    if not places:
        return
    holder, key = random.choice(places)
    roll = random.random()
    if roll < 0.6:
        holder[key] = json.loads(json.dumps(random.choice(NONSENSE)))
    elif isinstance(holder, dict) or roll < 0.8:
        del holder[key]
    else:
        holder.append(holder[key])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def kept_or_null(expected: Any, got: Any) -> bool:
    """Whether `got` is `expected` with nothing but nulls in the place of some of its parts."""
    if got is None:
        return True
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(kept_or_null(expected[key], got[key]) for key in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(kept_or_null, expected, got))
    return json.dumps(expected) == json.dumps(got)


def leads_to_null(data: Any, path: tuple[str | int, ...]) -> bool:
    """Whether an error's path leads to a null of the answer, or to one above it."""
    for key in path:
        if data is None:
            return True
        data = data[key]
    return data is None


@pytest.fixture(params=SUPERGRAPHS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each supergraph in turn."""
    chosen: Path = request.param
    return chosen


@pytest.fixture
def comparison(path: Path) -> Comparison:
    """The supergraph, ready for operations."""
    return Comparison(path.read_text())


async def test_subgraph_that_fails_nulls_its_own_fields(path: Path, comparison: Comparison) -> None:
    """Every value is the right one or null, and each null that should not be one is told with its path and code."""
    for number in range(OPERATIONS_PER_SUPERGRAPH):
        seed = f"{path.stem}/failing/{number}"
        operation, labels = comparison.generate(seed)
        if operation.text.startswith("mutation"):
            continue  # a mutation's data says which mutations ran before it
        whole, *_ = await comparison.answers(operation, labels)
        victim = Random(seed).choice(sorted(comparison.transports))
        answer, *again = await comparison.answers(operation, labels, {victim: Failing()})
        assert all(each == answer for each in again), seed
        assert kept_or_null(whole.data, answer.data), (seed, operation.text, whole.data, answer.to_json())
        if json.dumps(whole.data) != json.dumps(answer.data):
            assert any(error.code is ErrorCode.SUBGRAPH_UNREACHABLE for error in answer.errors), (seed, operation.text)
        for error in answer.errors[len(whole.errors) :]:
            assert error.path is None or leads_to_null(answer.data, error.path), (seed, operation.text, error)


async def test_errors_of_fields_stand_at_the_clients_paths(path: Path) -> None:
    """Where fields fail in the subgraphs, data, messages and paths are what one schema with the same failures says."""
    comparison = Comparison(await asyncio.to_thread(path.read_text), failing=True)
    for number in range(OPERATIONS_PER_SUPERGRAPH):
        seed = f"{path.stem}/errors/{number}"
        operation, labels = comparison.generate(seed)
        expected = comparison.expected(operation)
        answer, *again = await comparison.answers(operation, labels)
        assert all(each == answer for each in again), seed
        assert json.dumps(answer.data, sort_keys=True) == json.dumps(expected.data, sort_keys=True), seed
        told = {_told(error.message, error.path) for error in answer.errors}
        wanted = {_told(error.message, error.path) for error in expected.errors or ()}
        assert wanted <= told, seed
        assert all(_is_object(answer.data, place) for _, place in told - wanted), (seed, told - wanted)


def _told(message: str, path: Sequence[str | int] | None) -> tuple[str, tuple[str | int, ...]]:
    """An error to compare; what completing values says is the router's own text."""
    return message if message.endswith(" fails.") else "", tuple(path or ())


def _is_object(data: Any, path: tuple[str | int, ...]) -> bool:
    """Whether a path leads to an object or above a null: where errors of fields stand that the client did not ask."""
    for key in path:
        if data is None:
            return True
        data = data[key]
    return data is None or isinstance(data, dict)


async def test_nonsense_in_answers_is_survived(path: Path, comparison: Comparison) -> None:
    """Whatever stands in the subgraphs' answers: there is an answer, errors have codes, and both ways agree."""
    for number in range(OPERATIONS_PER_SUPERGRAPH):
        seed = f"{path.stem}/nonsense/{number}"
        operation, labels = comparison.generate(seed)
        corrupting: Mapping[str, Transport] = {
            name: Corrupting(transport, seed) for name, transport in comparison.transports.items()
        }
        answer, *again = await asyncio.wait_for(comparison.answers(operation, labels, corrupting), timeout=30)
        assert all(_comparable(each) == _comparable(answer) for each in again), (seed, operation.text)


def _comparable(answer: Answer) -> str:
    return json.dumps(answer.to_json())
