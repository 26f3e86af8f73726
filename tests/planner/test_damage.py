"""Damaged texts: a supergraph or an operation with tokens lost or swapped is planned or refused, never a crash."""

import re
from contextlib import suppress
from random import Random

import pytest

from tests.execution.operations import generate
from tests.planner.cases import SUPERGRAPHS
from trifolio.errors import RouterError
from trifolio.planner import plan
from trifolio.supergraph import Supergraph

DAMAGES_PER_SUPERGRAPH = 10
OPERATIONS_PER_SUPERGRAPH = 4
DAMAGES_PER_OPERATION = 10

every_supergraph = pytest.mark.parametrize("name", sorted(path.stem for path in SUPERGRAPHS.glob("*.graphql")))

_TOKEN = re.compile(r"\w+|\W")


def damaged(text: str, random: Random, words: list[str]) -> str:
    """The text with a few tokens removed, replaced or inserted."""
    tokens = _TOKEN.findall(text)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(tokens))
        tokens[at : at + random.choice((0, 1, 1))] = random.choice(([], [random.choice(words)]))
    return "".join(tokens)


@every_supergraph
def test_damaged_supergraphs(name: str) -> None:
    """What is left of a supergraph loads or is refused; what loads plans or raises an error of the tree."""
    sdl = (SUPERGRAPHS / f"{name}.graphql").read_text()
    text = generate(Supergraph.parse(sdl).api_schema, Random(name)).text
    for number in range(DAMAGES_PER_SUPERGRAPH):
        broken = damaged(sdl, Random(f"{name}/{number}"), _TOKEN.findall(sdl))
        with suppress(RouterError):  # anything else, a KeyError say, fails the test
            supergraph = Supergraph.parse(broken)
            assert supergraph.api_schema.query_type
            assert plan(text, supergraph).kind in ("query", "mutation")


@every_supergraph
def test_damaged_operations(name: str) -> None:
    """An operation that was never validated is planned, or refused with an error of the tree."""
    supergraph = Supergraph.parse((SUPERGRAPHS / f"{name}.graphql").read_text())
    words = [
        *supergraph.types,
        *(field for each in supergraph.types.values() for field in each.fields),
        "__schema",
        "{",
    ]
    for number in range(OPERATIONS_PER_SUPERGRAPH * DAMAGES_PER_OPERATION):
        random = Random(f"{name}/{number}")
        text = generate(supergraph.api_schema, Random(f"{name}/{number % OPERATIONS_PER_SUPERGRAPH}")).text
        with suppress(RouterError):
            assert plan(damaged(text, random, words), supergraph, incremental=random.random() < 0.5).kind
