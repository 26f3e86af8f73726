"""One operation, answered twice: by the router over generated subgraphs, and by the one big schema."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from graphql import DocumentNode, ExecutionResult, OperationDefinitionNode, parse
from graphql.execution.values import get_variable_values

from tests.execution.incremental import Whole, answer_in_parts, collected, reference, with_defer, without_defer
from tests.execution.joins import read_joins
from tests.execution.monolith import Session, build_monolith, run_monolith
from tests.execution.operations import Operation, generate
from tests.execution.subgraphs import build_subgraph, subgraph_names
from tests.execution.world import World
from trifolio.errors import PlanningError
from trifolio.executor import Answer, PreparedPlan, SubgraphRequest, SubgraphResponse, Transport, execute, prepare
from trifolio.executor.local import LocalTransport
from trifolio.planner import plan
from trifolio.query_plan import Plan
from trifolio.supergraph import Supergraph


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
                str(self.plan),
            )
        )


class _Unhurried:
    """A transport that lets others go first now and then, so that responses arrive in every order.

    The same operation over the same data sees the same order: where subgraphs contradict one another, the first counts.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send after a few turns of the event loop."""
        session = request.context
        assert isinstance(session, Session)
        for _ in range(Random(f"{session.salt} {request.operation}").randrange(4)):
            await asyncio.sleep(0)
        return await self._transport.send(request)

    async def close(self) -> None:
        """Nothing is held."""


class Comparison:
    """A supergraph with its subgraphs, its big schema and its planner, ready for any number of operations."""

    def __init__(self, sdl: str, *, failing: bool = False) -> None:
        """With `failing`, some leaves raise in the big schema and in the subgraphs alike."""
        self._joins = read_joins(sdl)
        self._world = world = World(self._joins, failing=failing)
        self._monolith = build_monolith(world)
        self._deferring = with_defer(self._monolith)
        self._supergraph = Supergraph.parse(sdl)
        self.too_much = 0
        """Deferred operations that were planned to be answered at once, as their parts are beyond the limits."""
        self.transports: Mapping[str, Transport] = {
            name: _Unhurried(LocalTransport(build_subgraph(world, name))) for name in subgraph_names(self._joins)
        }

    def generate(self, seed: str, *, deferring: bool = False) -> tuple[Operation, frozenset[str]]:
        """The operation and the override labels that a seed stands for; with `deferring`, queries have @defer."""
        random = Random(seed)
        labels = frozenset(label for label in self._joins.labels if random.random() < 0.5)
        schema = self._deferring if deferring else self._monolith
        return replace(generate(schema, random, deferring=deferring), salt=seed), labels

    def expected(self, operation: Operation) -> ExecutionResult:
        """What the big schema answers."""
        self._world.salt = operation.salt
        return run_monolith(self._monolith, parse(operation.text), operation.variables)

    async def answers(
        self,
        operation: Operation,
        labels: frozenset[str] = frozenset(),
        transports: Mapping[str, Transport] = MappingProxyType({}),
        refusals: list[str] | None = None,
    ) -> tuple[Answer, Answer]:
        """The router's answers, by interpreting the plan and by its generated code.

        `transports` stand in for some subgraphs; `refusals` takes up what subgraphs were asked and do not own.
        """
        self._world.salt = operation.salt
        made = plan(operation.text, self._supergraph, labels=labels)
        interpreted, generated = [
            await self._execute(
                prepare(made, interpret=interpret), operation, Session(labels, operation.salt), transports, refusals
            )
            for interpret in (None, 0)
        ]
        return interpreted, generated

    async def _execute(
        self,
        prepared: PreparedPlan,
        operation: Operation,
        session: Session,
        transports: Mapping[str, Transport],
        refusals: list[str] | None,
    ) -> Answer:
        document = parse(operation.text)
        definition = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
        values = get_variable_values(self._monolith, definition.variable_definitions or (), operation.variables)
        answer = await execute(
            prepared,
            transports={**self.transports, **transports},
            schema=self._supergraph.api_schema,
            variables=operation.variables,
            coerced={} if isinstance(values, list) else values.coerced,
            context=session,
        )
        if refusals is not None:
            refusals.extend(session.refusals)
        return answer

    async def compare(self, operation: Operation, labels: frozenset[str] = frozenset()) -> Difference | None:
        """None where all answers are equal: the data, the order of its keys, and whether there are errors.

        The router answers twice as well, with its plan interpreted and with its plan's generated code.
        """
        expected = self.expected(operation)
        made: Plan | None = None
        refusals: list[str] = []
        try:
            made = plan(operation.text, self._supergraph, labels=labels)
            answer, generated = await self.answers(operation, labels, refusals=refusals)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
            return Difference(operation, labels, expected.data, repr(error), None, made)
        same = json.dumps(answer.data) == json.dumps(expected.data)
        same = same and json.dumps(generated.to_json()) == json.dumps(answer.to_json())
        if same and bool(answer.errors) == bool(expected.errors) and not refusals:
            return None
        errors = [*[str(error.to_json()) for error in answer.errors[:5]], *refusals, expected.errors]
        if generated != answer:
            errors.append(f"generated code: {generated}")
        return Difference(operation, labels, expected.data, answer.data, errors, made)

    async def compare_in_parts(
        self, operation: Operation, labels: frozenset[str] = frozenset()
    ) -> tuple[Difference | None, int]:
        """None where the parts of a deferred operation come to what it answers at once, and to what graphql-core's
        incremental executor comes to, when all is well and when leaves fail; and how many parts came."""
        document = parse(operation.text)
        undeferred = parse(without_defer(document))
        try:
            made = self._plan_in_parts(operation, labels)
            ways = [prepare(made, interpret=interpret) for interpret in (None, 0)]
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
            return Difference(operation, labels, None, repr(error), None, None), 0
        failing, count = self._world.failing, 0
        try:
            for self._world.failing in (False, True):
                self._world.salt = operation.salt
                expected = await reference(self._deferring, document, operation.variables, Session())
                refusals: list[str] = []
                try:
                    wholes = [
                        await self._in_parts(prepared, document, operation, labels, refusals) for prepared in ways
                    ]
                except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
                    return Difference(operation, labels, expected.data, repr(error), None, made), count
                at_once = run_monolith(self._monolith, undeferred, operation.variables)
                errors = self._errors_in_parts(wholes, expected, at_once, refusals, expects_parts=bool(made.deferred))
                if errors is not None:
                    data = [expected.data, at_once.data]
                    return Difference(operation, labels, data, [each.data for each in wholes], errors, made), count
                count += wholes[0].parts
        finally:
            self._world.failing = failing
        return None, count

    def _plan_in_parts(self, operation: Operation, labels: frozenset[str]) -> Plan:
        """As the engine does: what is too much to plan in parts is answered at once."""
        try:
            return plan(operation.text, self._supergraph, labels=labels, incremental=True)
        except PlanningError:
            self.too_much += 1
            return plan(operation.text, self._supergraph, labels=labels)

    async def _in_parts(
        self,
        prepared: PreparedPlan,
        document: DocumentNode,
        operation: Operation,
        labels: frozenset[str],
        refusals: list[str],
    ) -> Whole:
        session = Session(labels, operation.salt)
        first = await answer_in_parts(
            prepared,
            document,
            operation.variables,
            schema=self._supergraph.api_schema,
            transports=self.transports,
            session=session,
        )
        whole = await collected(first)
        refusals += session.refusals
        return whole

    def _errors_in_parts(
        self,
        wholes: list[Whole],
        expected: Whole,
        at_once: ExecutionResult,
        refusals: list[str],
        *,
        expects_parts: bool,
    ) -> object:
        """What is to be told where the answers differ; None where they do not."""
        # A null that ends a part stops there, and goes on without @defer.
        whole = Whole(at_once.data, list(at_once.errors or ()))
        twins = ([expected] if expects_parts else [whole]) if expected.failed else [expected, whole]
        same = {each.canonical for each in (*wholes, *twins)}
        # Where a type comes with a part, more is asked than is shown, and can fail.
        told = all(each.errors for each in wholes) or not any(each.errors for each in twins)
        invented = any(each.errors for each in wholes) and not expected.errors and not self._world.failing
        if len(same) == 1 and told and not invented and not refusals:
            return None
        ours = [str(error.to_json()) for each in wholes for error in each.errors[:5]]
        return ["leaves fail" if self._world.failing else "all is well", *ours, *refusals, expected.errors]
