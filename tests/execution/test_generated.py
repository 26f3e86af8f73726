"""Random operations on many supergraphs: the router's answers equal those of one big schema."""

from functools import partial
from pathlib import Path

import pytest

from tests.execution.comparison import Comparison, errors_amiss
from tests.execution.random_supergraphs import random_supergraph

SUPERGRAPHS = sorted((Path(__file__).parent / "supergraphs").glob("*.graphql"))
OPERATIONS_PER_SUPERGRAPH = 80
RANDOM_SUPERGRAPHS = 20
OPERATIONS_PER_RANDOM_SUPERGRAPH = 30


@pytest.fixture(params=SUPERGRAPHS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each supergraph in turn."""
    chosen: Path = request.param
    return chosen


@pytest.fixture
def comparison(path: Path) -> Comparison:
    """The supergraph, ready for operations."""
    return Comparison(path.read_text())


async def test_random_operations_are_answered_as_by_one_schema(path: Path, comparison: Comparison) -> None:
    """Whatever is asked, data and the presence of errors are what graphql-core says over the same values."""
    await compare(comparison, path.stem, OPERATIONS_PER_SUPERGRAPH)


@pytest.mark.parametrize("nullable_keys", [False, True], ids=["keys", "nullable keys"])
@pytest.mark.parametrize("number", range(RANDOM_SUPERGRAPHS))
async def test_what_composes_is_answered_right(number: int, nullable_keys: bool) -> None:
    """The same for random supergraphs: what the composer accepts, planner and executor can answer."""
    name = f"{'nullable-' if nullable_keys else ''}random-{number}"
    sdl = random_supergraph(name, nullable_keys=nullable_keys)
    await compare(Comparison(sdl), name, OPERATIONS_PER_RANDOM_SUPERGRAPH // 2)


async def compare(comparison: Comparison, name: str, operations: int) -> None:
    """Compare operations by their seeds; a failure says how to replay it."""
    for number in range(operations):
        seed = f"{name}/{number}"
        operation, labels = comparison.generate(seed)
        difference = await comparison.compare(operation, labels)
        assert difference is None, f"python -m tests.execution --replay {seed}\n{difference}"
    assert not comparison.uncovered, f"{comparison.uncovered} operations were left to the interpreter"


def test_there_are_many_supergraphs() -> None:
    """At least 30 supergraphs of our own, one for each thing that federation can express."""
    assert len(SUPERGRAPHS) >= 30


async def test_of_two_fields_that_end_an_object_either_may_be_told() -> None:
    """What a null has taken away is told by one of the fields that fail there; by any other it is a difference."""
    name = "nullable-random-final-1.49"
    comparison = Comparison(random_supergraph(name, nullable_keys=True))
    operation, labels = comparison.generate(f"{name}/final-1.38")
    assert await comparison.compare(operation, labels) is None
    told = [
        (["s3_0", "extra"], "EXTRA_IN_TROUBLE", True),
        (["s3_0", "f2"], "F2_IN_TROUBLE", True),
        (["s3_0", "f2"], "EXTRA_IN_TROUBLE", False),
        (["s3_0", "a"], "F1_IN_TROUBLE", False),
    ]
    with comparison.troubles_of(operation):
        expected, alone = comparison.expected(operation), partial(comparison.expected, operation)
        for path, code, is_right in told:
            error = {"path": path, "extensions": {"code": code}}
            assert bool(errors_amiss({"data": {"s3_0": None}, "errors": [error]}, expected, alone)) is not is_right
