"""Hostile answers of subgraphs: whatever comes is null with an error that has a code, and no more work than it has.

Every body is answered several times, as the second time generated code reads it.
"""

import json
import os
from random import Random

import pytest

from tests.attacks.counting import CountingTurns
from tests.attacks.hostile_answers import BODIES, Family, Subgraphs
from tests.attacks.test_documents import BROKERAGE, OTHERS, ground, supergraph
from tests.execution.operations import generate
from trifolio import Response, Router, SubgraphRequest, SubgraphResponse
from trifolio.config import Config
from trifolio.errors import ErrorCode
from trifolio.limits import Limits

ROUNDS = int(os.environ.get("TRIFOLIO_ATTACK_ROUNDS", "1"))
EXECUTIONS = 3
ERROR_BYTES_MAX = 2_000
"""What an error that the router makes takes at most."""
CODES = {
    ErrorCode.SUBGRAPH_RESPONSE_MALFORMED,
    ErrorCode.SUBGRAPH_ERROR,
    ErrorCode.SUBGRAPH_ENTITY_MISSING,
    ErrorCode.TOO_MANY_REPRESENTATIONS,
    ErrorCode.ANSWER_TOO_LARGE,
    ErrorCode.NULL_IN_NON_NULL,
    ErrorCode.VALUE_NOT_COERCIBLE,
    ErrorCode.UNKNOWN_TYPENAME,
}
"""What a subgraph's answer may come to, beside what is right of it."""


class Misbehaving:
    """A subgraph that makes something else of the right answer; the same of the same."""

    def __init__(self, subgraphs: Subgraphs, family: Family, size: int, seed: str) -> None:
        self._subgraphs = subgraphs
        self._family = family
        self._size = size
        self._seed = seed

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Answer in its way."""
        right = self._subgraphs.answer(request.operation, request.variables)
        body = self._family(right, Random(f"{self._seed} {request.operation}"), self._size)
        return SubgraphResponse(body=body)

    async def close(self) -> None:
        """Nothing is held."""


def judge(response: Response, limits: Limits, told: str) -> None:
    """An answer with no more errors than may be, each with a code of its own, and nothing that is nobody's fault."""
    assert response.refusal is None, told
    assert len(response.errors) <= limits.answer_errors_max, told
    assert {error.code for error in response.errors} <= CODES, f"{told}: {response.errors}"
    for error in response.errors:
        if error.code is not ErrorCode.SUBGRAPH_ERROR:
            assert len(json.dumps(error.to_json())) <= ERROR_BYTES_MAX, told
    body = response.encode()
    assert isinstance(json.loads(body), dict), told


@pytest.mark.parametrize("family", BODIES, ids=lambda each: each.__name__)
async def test_an_answer_of_any_kind_is_an_answer(family: Family) -> None:
    """Random operations over subgraphs that all answer in one wrong way are answered, the same by generated code."""
    names = [BROKERAGE, *OTHERS]
    size = min(BODIES[family], 500)
    limits = Limits()
    for number in range(7 * ROUNDS):
        name = names[number % len(names)]
        seed = f"{family.__name__} {number}"
        subgraph = Misbehaving(Subgraphs(supergraph(name).api_schema), family, size, seed)
        operation = generate(ground(name).schema, Random(seed))
        told = f"seed {seed}, supergraph {name}: {operation.text}"
        transports = dict.fromkeys(supergraph(name).subgraphs, subgraph)
        async with Router(supergraph(name), config=Config(introspection=True), transports=transports) as router:
            answers = [await router.execute(operation.text, variables=operation.variables) for _ in range(EXECUTIONS)]
        if answers[0].refusal is not None:
            assert answers[0].refusal.status == 400, told
            continue
        for answer in answers:
            judge(answer, limits, told)
            assert answer.encode() == answers[0].encode(), told


@pytest.mark.parametrize("family", BODIES, ids=lambda each: each.__name__)
async def test_a_large_answer_takes_no_more_than_it_may(family: Family) -> None:
    """At the largest size, what is computed of an answer is counted up to its limit, and its errors are few."""
    subgraph = Misbehaving(Subgraphs(supergraph(BROKERAGE).api_schema), family, BODIES[family], "large")
    transports = dict.fromkeys(supergraph(BROKERAGE).subgraphs, subgraph)
    limits = Limits()
    turns = CountingTurns()
    async with Router(supergraph(BROKERAGE), config=Config(introspection=True), transports=transports) as router:
        router._turns = turns  # type: ignore[assignment]  # it does the same, all at once
        for _ in range(EXECUTIONS):
            answer = await router.execute(operation())
            judge(answer, limits, family.__name__)
            for run in turns.runs:
                assert run.spent - run.steps.announced <= run.units_max


async def test_the_families_reach_many_codes() -> None:
    """What the generators make is wrong in more ways than one."""
    found: set[ErrorCode] = set()
    for family, size in BODIES.items():
        for number in range(3):
            subgraph = Misbehaving(Subgraphs(supergraph(BROKERAGE).api_schema), family, min(size, 20_000), str(number))
            transports = dict.fromkeys(supergraph(BROKERAGE).subgraphs, subgraph)
            async with Router(supergraph(BROKERAGE), transports=transports) as router:
                found |= {error.code for error in (await router.execute(operation())).errors}
    assert len(found) >= 4, found
    assert {ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, ErrorCode.NULL_IN_NON_NULL} <= found


def operation() -> str:
    """One that needs all three subgraphs, lists in lists and entities."""
    return (
        "{ stocks(first: 2) { edges { cursor node { id symbol } } }"
        " users { edges { node { __typename id name } } } order(id: 1) { id investor { id name } stock { symbol } } }"
    )
