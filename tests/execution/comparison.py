"""One operation, answered twice: by the router over generated subgraphs, and by the one big schema."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from graphql import OperationDefinitionNode, parse
from graphql.execution.values import get_variable_values

from router.executor import execute, prepare
from router.executor.local import LocalTransport
from router.plan import Plan
from router.planner import plan
from router.supergraph import Supergraph
from tests.execution.joins import read_joins
from tests.execution.monolith import Session, build_monolith, run_monolith
from tests.execution.operations import Operation, generate
from tests.execution.subgraphs import build_subgraph, subgraph_names
from tests.execution.world import World


@dataclass(frozen=True)
class Difference:
    """What is wrong about one answer, with all that is needed to see it again."""

    operation: Operation
    labels: frozenset[str]
    expected: object
    got: object
    errors: object
    plan: Plan | None

    def __str__(self) -> str:
        return "\n".join(
            (
                self.operation.text,
                f"variables: {json.dumps(self.operation.variables, ensure_ascii=False)}",
                f"labels: {sorted(self.labels)}",
                f"expected: {json.dumps(self.expected, ensure_ascii=False)}",
                f"got:      {json.dumps(self.got, ensure_ascii=False, default=str)}",
                f"errors:   {self.errors}",
                self.plan.text() if hasattr(self.plan, "text") else str(self.plan),
            )
        )


class Comparison:
    """A supergraph with its subgraphs, its big schema and its planner, ready for any number of operations."""

    def __init__(self, sdl: str) -> None:
        self._joins = read_joins(sdl)
        world = World(self._joins)
        self._monolith = build_monolith(world)
        self._supergraph = Supergraph.parse(sdl)
        self._transports = {name: LocalTransport(build_subgraph(world, name)) for name in subgraph_names(self._joins)}

    def generate(self, seed: str) -> tuple[Operation, frozenset[str]]:
        """The operation and the override labels that a seed stands for."""
        random = Random(seed)
        labels = frozenset(label for label in self._joins.labels if random.random() < 0.5)
        return generate(self._monolith, random), labels

    async def compare(self, operation: Operation, labels: frozenset[str] = frozenset()) -> Difference | None:
        """None where both answers are equal: the data, the order of its keys, and whether there are errors.

        The order is not compared where @skip or @include can move a field's first appearance.
        """
        document = parse(operation.text)
        expected = run_monolith(self._monolith, document, operation.variables)
        definition = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
        values = get_variable_values(self._monolith, definition.variable_definitions or (), operation.variables)
        coerced: Mapping[str, Any] = {} if isinstance(values, list) else values.coerced
        session = Session(labels)
        made: Plan | None = None
        try:
            made = plan(operation.text, self._supergraph, labels=labels)
            answer = await execute(
                prepare(made),
                transports=self._transports,
                schema=self._supergraph.api_schema,
                variables=operation.variables,
                coerced=coerced,
                context=session,
            )
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
            return Difference(operation, labels, expected.data, repr(error), None, made)
        has_conditions = "@skip" in operation.text or "@include" in operation.text
        same = json.dumps(answer.data, sort_keys=has_conditions) == json.dumps(expected.data, sort_keys=has_conditions)
        if same and bool(answer.errors) == bool(expected.errors) and not session.refusals:
            return None
        errors = [*[str(error.to_json()) for error in answer.errors[:5]], *session.refusals, expected.errors]
        return Difference(operation, labels, expected.data, answer.data, errors, made)
