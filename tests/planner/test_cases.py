"""The case files: plans word for word, valid for their subgraphs, and right when they are executed.

Set REWRITE_PLANS=1 to write the plans as they are into the files, and review the difference.
"""

import os
from functools import cache

import pytest
from graphql import GraphQLSchema, parse, validate

from tests.execution.comparison import Comparison
from tests.execution.operations import Operation
from tests.planner.cases import Case, all_cases
from tests.planner.subgraph_schemas import subgraph_schemas
from trifolio.planner import plan
from trifolio.supergraph import Supergraph


@cache
def supergraph_of(sdl: str) -> Supergraph:
    """The supergraph, read once for all tests."""
    return Supergraph.parse(sdl)


@cache
def schemas_of(sdl: str) -> dict[str, GraphQLSchema]:
    """Its subgraphs' schemas."""
    return subgraph_schemas(supergraph_of(sdl))


@cache
def comparison_of(sdl: str) -> Comparison:
    """Subgraphs and one big schema with the same data."""
    return Comparison(sdl)


every_case = pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)


@every_case
def test_plan_prints_as_expected(case: Case) -> None:
    """The plan's text is the file's."""
    printed = str(plan(case.operation, supergraph_of(case.supergraph), labels=case.labels))
    if os.environ.get("REWRITE_PLANS") and printed != case.plan:
        case.rewrite(printed)
    else:
        assert printed == case.plan, case.sentence


@every_case
def test_operation_is_valid_for_clients(case: Case) -> None:
    """A case asks what the API schema allows."""
    assert not validate(supergraph_of(case.supergraph).api_schema, parse(case.operation))


@every_case
def test_subgraph_operations_are_valid(case: Case) -> None:
    """Every operation of the plan is valid against its subgraph's own schema (I4)."""
    for fetch in plan(case.operation, supergraph_of(case.supergraph), labels=case.labels).fetches:
        errors = validate(schemas_of(case.supergraph)[fetch.subgraph], parse(fetch.operation))
        assert not errors, f"{fetch.subgraph}: {fetch.operation}\n{errors}"


@every_case
async def test_answer_is_right(case: Case) -> None:
    """The plan, executed over subgraphs that refuse what is not theirs, answers as one schema would."""
    operation = Operation(case.operation, case.variables)
    difference = await comparison_of(case.supergraph).compare(operation, case.labels)
    assert difference is None, str(difference)
