"""Interface objects that fail at some of their objects: nothing is lost that the client did not tie to what failed."""

from pathlib import Path

import pytest

from tests.execution.comparison import Comparison
from tests.execution.operations import Operation

OPERATIONS: dict[str, tuple[str, dict[str, bool]]] = {
    "one type": ("{ media { id reviews { text } ... on Film { stars } } }", {}),
    "an alias": ("{ media { a: reviews(first: 2) { score } ... on Song { stars b: reviews { text } } } }", {}),
    "a condition": (
        "query ($on: Boolean!) { media { reviews { text } ... on Film @include(if: $on) { stars } } }",
        {"on": True},
    ),
    "another condition": (
        "query ($on: Boolean!) { media { reviews { text } ... on Film @include(if: $on) { stars } } }",
        {"on": False},
    ),
}
WORLDS = 60


@pytest.mark.parametrize("name", OPERATIONS)
async def test_what_some_types_are_asked_takes_nothing_from_others(name: str) -> None:
    """A field that is never null, wanted for some types only, fails at objects of the others without being noticed."""
    text, variables = OPERATIONS[name]
    comparison = Comparison((Path(__file__).parent / "supergraphs" / "interface-object.graphql").read_text())
    for number in range(WORLDS):
        difference = await comparison.compare(Operation(text, variables, salt=f"{name} {number}"))
        assert difference is None, difference
