"""Hostile documents: each is answered rightly or refused with a code, within its budget, and again at no cost."""

import gc
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

import pytest
from graphql import GraphQLError, GraphQLSchema, parse, validate
from graphql.language import Location, Node, Token

from tests.attacks.counting import CountingTurns, Steps
from tests.attacks.hostile_answers import Subgraphs
from tests.attacks.hostile_documents import FAMILIES, Family, Ground, HostileDocument, largest, make
from tests.execution.comparison import Comparison
from tests.execution.operations import Operation
from trifolio import Response, Router, SubgraphRequest, SubgraphResponse
from trifolio.api_schema import with_defer
from trifolio.config import Config
from trifolio.document import read_document
from trifolio.errors import ErrorCode, RouterError
from trifolio.limits import Limits
from trifolio.supergraph import Supergraph

ROOT = Path(__file__).parents[2]
LIMITS = Limits()
ROUNDS = int(os.environ.get("TRIFOLIO_ATTACK_ROUNDS", "1"))
"""How many seeds are tried of everything; `make attack` tries more."""

STEPS_MAX = 300_000
"""So many steps may lie between two counts, beyond those that the first one announced: some 50 ms, where a turn on the
loop has 10 and the loop may stand still for 250."""
STEPS_PER_CHARACTER = 5
"""What the lexer takes for a character of one token, in which it cannot stop: a limit on documents bounds it."""
REFUSED_STEPS_MAX = 400
"""So many steps may a refusal take that is remembered."""
ANSWER_BYTES_MAX = 20_000_000
"""No answer here is longer, however the document asks for one thing again and again: `answer_values_max` with what a
value and its key take."""

BROKERAGE = "brokerage"
OTHERS = ("mutations", "interface-fields", "shared-mutations", "union-entities", "many-subgraphs", "scalars")
REFUSALS = {
    ErrorCode.GRAPHQL_PARSE_FAILED,
    ErrorCode.GRAPHQL_VALIDATION_FAILED,
    ErrorCode.DOCUMENT_TOO_LARGE,
    ErrorCode.DOCUMENT_TOO_DEEP,
    ErrorCode.TOO_MANY_TOKENS,
    ErrorCode.TOO_MANY_ALIASES,
    ErrorCode.TOO_MANY_ROOT_FIELDS,
    ErrorCode.TOO_MANY_SELECTIONS,
    ErrorCode.OPERATION_TOO_COSTLY,
    ErrorCode.PLANNING_BUDGET_EXCEEDED,
    ErrorCode.OPERATION_RESOLUTION_FAILURE,
    ErrorCode.BAD_USER_INPUT,
}
"""What may be said to a document that is wrong or too much; each is a 400."""


@cache
def supergraph(name: str) -> Supergraph:
    """A supergraph by its name."""
    folder = ROOT / "tests" / "execution" / "supergraphs"
    path = ROOT / "supergraph.graphql" if name == BROKERAGE else folder / f"{name}.graphql"
    return Supergraph.parse(path.read_text())


@cache
def ground(name: str) -> Ground:
    """What an attacker sees of it."""
    return Ground(supergraph(name).api_schema)


class Answering:
    """A subgraph that answers rightly, and counts how often it was asked."""

    def __init__(self, subgraphs: Subgraphs) -> None:
        self._subgraphs = subgraphs
        self.asked = 0

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Answer."""
        self.asked += 1
        return SubgraphResponse(body=json.dumps(self._subgraphs.answer(request.operation, request.variables)).encode())

    async def close(self) -> None:
        """Nothing is held."""


class Attacked:
    """A router whose work is counted, over one subgraph that stands for all."""

    def __init__(self, name: str) -> None:
        self.subgraph = Answering(Subgraphs(supergraph(name).api_schema))
        transports = dict.fromkeys(supergraph(name).subgraphs, self.subgraph)
        self.router = Router(supergraph(name), config=Config(introspection=True), transports=transports)
        self.turns = CountingTurns()
        self.router._turns = self.turns  # type: ignore[assignment]  # it does the same, all at once

    async def attack(self, document: HostileDocument, told: str) -> ErrorCode | None:
        """Send a document twice, and judge what becomes of it; returns the code of a refusal."""
        response = await self._ask(document)
        body = response.encode()
        steps_max = STEPS_MAX + STEPS_PER_CHARACTER * max(map(len, re.split(r"[\s,{}()]+", document.query)))
        for run in self.turns.runs:
            assert run.spent - run.steps.announced <= run.units_max, told
            assert run.steps.worst <= steps_max, f"{told}: {run.steps}"
        if response.refusal is None:
            assert response.errors == (), told
            assert len(body) <= ANSWER_BYTES_MAX, told
            if response.later is not None:
                await response.later.aclose()
            return None
        code = response.refusal.code
        assert code in REFUSALS, told
        assert code.status == 400
        assert {error.code for error in response.errors} == {code}
        assert len(body) <= max(1.5 * len(document.query), 20_000), told
        assert self.subgraph.asked == 0, told
        if code is not ErrorCode.BAD_USER_INPUT:
            assert self.router.state.plans == 0, told
            await self._attack_again(document, body, told)
        return code

    async def _attack_again(self, document: HostileDocument, body: bytes, told: str) -> None:
        self.turns.runs.clear()
        steps = Steps()
        sys.setprofile(steps.profile)
        try:
            again = await self._ask(document)
        finally:
            sys.setprofile(None)
        assert self.turns.runs == [], told
        assert steps.since <= REFUSED_STEPS_MAX, told
        assert again.encode() == body, told

    async def _ask(self, document: HostileDocument) -> Response:
        return await self.router.answer(
            document.query,
            variables=document.variables,
            operation_name=document.operation_name,
            incremental=document.incremental,
        )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("part", [1, 20])
async def test_a_document_takes_no_more_than_it_may(family: Family, part: int) -> None:
    """At every size a document is answered or refused by its code, counted step by step; refused, nothing is planned,
    nothing fetched, and the same again is not looked at again."""
    for name in (BROKERAGE, *OTHERS) if ROUNDS > 1 else (BROKERAGE,):
        for seed in range(ROUNDS):
            size = max(1, largest(family, ground(name), str(seed), LIMITS) // part)
            told = f"{family.__name__}, size {size}, seed {seed}, supergraph {name}"
            await Attacked(name).attack(make(family.__name__, ground(name), str(seed), size), told)


async def test_the_families_are_not_all_refused() -> None:
    """What the generators make reaches every phase: a good part is answered, and codes of all kinds come up."""
    codes: Counter[ErrorCode | None] = Counter()
    for family, size_max in FAMILIES.items():
        size = max(1, min(size_max, 12))
        document = make(family.__name__, ground(BROKERAGE), "0", size)
        codes[await Attacked(BROKERAGE).attack(document, family.__name__)] += 1
    assert codes[None] > len(FAMILIES) // 3, codes
    assert {ErrorCode.GRAPHQL_PARSE_FAILED, ErrorCode.GRAPHQL_VALIDATION_FAILED} <= set(codes)


@pytest.mark.parametrize("name", OTHERS if ROUNDS > 1 else OTHERS[::2])
async def test_what_is_answered_is_right(name: str) -> None:
    """Hostile or not: a small document that graphql-core finds valid has the answer that one big schema gives, and one
    that it does not find valid is refused."""
    comparison = Comparison((ROOT / "tests" / "execution" / "supergraphs" / f"{name}.graphql").read_text())
    schema = with_defer(supergraph(name).api_schema)
    compared = 0
    for family, size_max in FAMILIES.items():
        for seed in range(ROUNDS):
            size = min(size_max, 7)
            document = make(family.__name__, ground(name), f"right {seed}", size)
            told = f"{family.__name__}, size {size}, seed right {seed}, supergraph {name}"
            assert (verdict(document.query, schema) is None) is is_valid(document.query, name), told
            if not is_valid(document.query, name):
                continue
            if document.operation_name is not None or not fits(document.variables):
                continue
            operation = Operation(document.query, dict(document.variables), told)
            if document.incremental:
                difference, _ = await comparison.compare_in_parts(operation)
            else:
                difference = await comparison.compare(operation)
            assert difference is None, f"{told}: {difference}"
            compared += 1
    assert compared > 10


def is_valid(text: str, name: str) -> bool:
    """What graphql-core says of a document."""
    try:
        return not validate(with_defer(supergraph(name).api_schema), parse(text))
    except GraphQLError:
        return False


def fits(variables: Mapping[str, object]) -> bool:
    """Whether values are certainly right: those of conditions are."""
    return all(isinstance(value, bool) for value in variables.values())


CIRCLING_MAX = 600
"""So many nodes and tokens may a document leave in circles, however large it is: those that its errors quote."""


def test_a_document_that_was_read_leaves_no_circles() -> None:
    """What a document took goes when it goes: little of it waits for a search for circles, which stops the loop."""
    schema = with_defer(supergraph(BROKERAGE).api_schema)
    for family, size in FAMILIES.items():
        document = make(family.__name__, ground(BROKERAGE), "garbage", max(1, size // 5))
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            verdict(document.query, schema)
            gc.collect()
            circling = sum(isinstance(each, Node | Token | Location) for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert circling <= CIRCLING_MAX, family.__name__


# ---- anything ----

WORDS = (
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "...",
    "!",
    "$",
    "&",
    ":",
    "=",
    "@",
    "|",
    ",",
    "#",
    '"',
    '"""',
    "\\",
    "\n",
    "\ufeff",
)
NAMES = (
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "type",
    "schema",
    "extend",
    "true",
    "null",
    "a",
    "__schema",
)
OTHERS_WORDS = (
    "0",
    "-1",
    "1.5e3",
    "00",
    ".5",
    '"a"',
    '"\\u00"',
    '"""a"""',
    "é",
    "\x00",
    "\ud800",
    "@defer",
    "@skip(if: true)",
)


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
def test_any_text_is_a_document_or_a_refusal(seed: int) -> None:
    """Soups of tokens, and hostile documents with pieces cut out, put in and exchanged, are read or refused, as
    graphql-core reads or refuses them."""
    chance = Random(f"soup {seed}")
    grown = ground(BROKERAGE)
    schema = with_defer(supergraph(BROKERAGE).api_schema)
    pieces = [*WORDS, *NAMES, *OTHERS_WORDS, *grown.fields(grown.root), *list(grown.schema.type_map)[:20]]
    for number in range(100):
        if number % 3 == 0:
            text = chance.choice(["", " "]).join(chance.choices(pieces, k=chance.randint(0, 40)))
        else:
            family = chance.choice([*FAMILIES])
            text = make(family.__name__, grown, f"{seed}.{number}", chance.randint(1, min(FAMILIES[family], 4))).query
            for _ in range(chance.randint(1, 5)):
                start = chance.randrange(len(text) + 1)
                text = text[:start] + chance.choice(pieces) + text[start + chance.choice([0, 0, 1, 5, 20]) :]
        told = f"seed {seed}, number {number}: {text!r}"
        code = verdict(text, schema)
        assert code is None or code in REFUSALS, told
        if code in {None, ErrorCode.GRAPHQL_PARSE_FAILED, ErrorCode.GRAPHQL_VALIDATION_FAILED}:
            assert is_valid(text, BROKERAGE) is (code is None), told


def verdict(text: str, schema: GraphQLSchema) -> ErrorCode | None:
    """The code with which a document is refused, if it is."""
    try:
        read_document(text, schema, LIMITS, introspection=True)
    except RouterError as refusal:
        return refusal.code
    return None
