"""Random operations with @defer: put together, the parts of the router's answers are the whole answers."""

import pytest

from tests.execution.comparison import Comparison
from tests.execution.operations import Operation
from tests.execution.random_supergraphs import random_supergraph
from tests.execution.test_generated import SUPERGRAPHS

SDLS = {path.stem: path.read_text() for path in SUPERGRAPHS}
OPERATIONS_PER_SUPERGRAPH = 20
RANDOM_SUPERGRAPHS = 12
OPERATIONS_PER_RANDOM_SUPERGRAPH = 15


async def compare(comparison: Comparison, name: str, operations: int) -> int:
    """Compare operations by their seeds; a failure says how to replay it. Returns how many parts came."""
    parts = 0
    for number in range(operations):
        seed = f"{name}/{number}"
        operation, labels = comparison.generate(seed, deferring=True)
        difference, came = await comparison.compare_in_parts(operation, labels)
        assert difference is None, f"python -m tests.execution --deferring --replay {seed}\n{difference}"
        parts += came
    return parts


@pytest.mark.parametrize("name", [path.stem for path in SUPERGRAPHS])
async def test_parts_come_to_the_whole_answer(name: str) -> None:
    """Whatever is deferred, the parts merge to what the operation answers without @defer, errors included."""
    assert await compare(Comparison(SDLS[name]), name, OPERATIONS_PER_SUPERGRAPH) > 0


@pytest.mark.parametrize("number", range(RANDOM_SUPERGRAPHS))
async def test_parts_of_what_composes_come_to_the_whole_answer(number: int) -> None:
    """The same for random supergraphs."""
    name = f"random-{number}"
    await compare(Comparison(random_supergraph(name)), name, OPERATIONS_PER_RANDOM_SUPERGRAPH)


@pytest.mark.parametrize("number", range(RANDOM_SUPERGRAPHS // 2))
async def test_parts_of_objects_whose_keys_may_be_null_come_to_the_whole_answer(number: int) -> None:
    """A part that shows one of several keys is brought by the others as well."""
    name = f"nullable-random-{number}"
    sdl = random_supergraph(name, nullable_keys=True)
    await compare(Comparison(sdl), name, OPERATIONS_PER_RANDOM_SUPERGRAPH)


TYPES_THAT_COME_LATER = (
    "{ risky { ... on Checking @defer { rank checked } checked } }",
    "{ risky { ... on Checking @defer { ... on Account @defer { checked rank } } checked } }",
    "{ risky { ... on Savings @defer { checked balance } ... on Checking @defer { limit } checked risk } }",
)


@pytest.mark.parametrize("text", TYPES_THAT_COME_LATER)
async def test_a_type_that_a_part_brings_is_not_waited_for(text: str) -> None:
    """What the first answer shows of an interface object does not depend on a type that only comes with a part."""
    comparison = Comparison(SDLS["interface-object-requires"])
    for number in range(5):
        difference, _ = await comparison.compare_in_parts(Operation(text, {}, salt=str(number)))
        assert difference is None, str(difference)
