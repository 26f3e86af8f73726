"""Random sets of subgraphs: composing never raises, and what composes is read and planned."""

from random import Random

import pytest

from tests.composer.random_subgraphs import random_subgraphs
from tests.execution.operations import generate
from trifolio.composer import compose
from trifolio.composer.diagnostics import Code
from trifolio.planner import plan
from trifolio.supergraph import Supergraph

PARTS = 4
SETS_PER_PART = 12
OPERATIONS_PER_SET = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_subgraphs(part: int) -> None:
    """Every set ends with errors out of the catalogue or with a supergraph all of whose operations are planned."""
    composed = 0
    for number in range(SETS_PER_PART):
        seed = f"{part}.{number}"
        subgraphs = random_subgraphs(seed)
        result = compose(subgraphs)
        errors = [each for each in result.diagnostics if each.severity == "error"]
        assert {each.code for each in errors} <= {code.name for code in Code}
        assert (result.supergraph is None) is bool(errors), seed
        assert all("None" not in each.message for each in result.diagnostics), seed
        if result.supergraph is None:
            continue
        composed += 1
        assert compose(subgraphs[::-1]).supergraph == result.supergraph, seed
        supergraph = Supergraph.parse(result.supergraph)
        random = Random(seed)
        for _ in range(OPERATIONS_PER_SET):
            operation = generate(supergraph.api_schema, random)
            plan(operation.text, supergraph)
    assert composed > SETS_PER_PART // 3, "most sets are meant to compose"


def test_random_subgraphs_have_everything() -> None:
    """The sets have what they are to have: each of these texts is in many of them."""
    sdls = ["\n".join(each.sdl for each in random_subgraphs(f"all.{number}")) for number in range(100)]
    words = (
        *("@override(", "@inaccessible", "@interfaceObject", "requires(", "provides(", "@context", "@fromContext"),
        *("@cost(", "@listSize(", "@authenticated", "@composeDirective", "federation__", "house-rules", "a.b/v"),
        *('"""', "= [1, 2]", "200.0", "@deprecated", "extend type", "mutation: Mutation", "union U"),
        *(f"federation/v2.{minor}" for minor in range(15)),
    )
    for word in words:
        assert sum(word in each for each in sdls) >= 3, word
    assert any("specs.apollo.dev/federation" not in each for each in sdls)
