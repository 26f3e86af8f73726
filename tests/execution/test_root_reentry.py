"""Types that lead back to the query root: what one place of it loses, the others keep."""

from pathlib import Path

import pytest

from tests.execution.comparison import Comparison
from tests.execution.operations import Operation

SDL = (Path(__file__).parent / "supergraphs" / "root-reentry.graphql").read_text()
OPERATIONS = (
    "{ hello world { query { start { label } } } }",
    "{ hello number world { a: query { hello start { label } } b: query { hello nodes { query { hello } } } } }",
    "{ nodes { label query { number world { query { start { query { hello } } } } } } hello }",
)
WORLDS = 60


@pytest.mark.parametrize("text", OPERATIONS)
async def test_a_field_that_is_never_null_takes_nothing_from_other_places(text: str) -> None:
    """A root field of a subgraph fails at one place: its answer's data is null, and fields of other places are not."""
    comparison = Comparison(SDL)
    for number in range(WORLDS):
        difference = await comparison.compare(Operation(text, {}, salt=f"{text} {number}"))
        assert difference is None, difference
