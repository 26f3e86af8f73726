"""One operation, answered twice: by the router over generated subgraphs, and by the one big schema."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from random import Random
from types import MappingProxyType
from typing import Any

from graphql import ExecutionResult, GraphQLError, OperationDefinitionNode, parse
from graphql.execution.values import get_variable_values

from tests.execution.incremental import Whole, answer_in_parts, collected, reference, with_defer, without_defer
from tests.execution.joins import read_joins
from tests.execution.monolith import Session, build_monolith, run_monolith
from tests.execution.operations import Operation, generate
from tests.execution.subgraphs import build_subgraph, subgraph_names
from tests.execution.world import World, digest
from trifolio.errors import ErrorCode, PlanningError
from trifolio.executor import Answer, PreparedPlan, SubgraphRequest, SubgraphResponse, Transport, execute, prepare
from trifolio.executor.codegen import selections_below
from trifolio.executor.encoding import decode_json, encode_json
from trifolio.executor.in_flight import InFlight
from trifolio.executor.local import LocalTransport
from trifolio.executor.struct_answer import StructsRoom
from trifolio.executor.transport import BeginningTransport, Tell
from trifolio.limits import Limits
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


class _AsText:
    """A transport whose answers come as bytes, as over HTTP."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send, and write down what is answered."""
        response = await self._transport.send(request)
        return response if response.body is not None else SubgraphResponse(encode_json(response.payload))

    async def close(self) -> None:
        """As the transport inside."""
        await self._transport.close()


class _Begun(BeginningTransport):
    """A transport that is not waited for, as one over HTTP that has a connection."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.send, self.close = transport.send, transport.close

    def can_begin(self) -> bool:
        """Always."""
        return True

    def begin(self, request: SubgraphRequest, tell: Tell, /) -> InFlight:
        """Send in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._transport.send(request))
        task.add_done_callback(partial(_tell, tell))
        return task


def _tell(tell: Tell, task: "asyncio.Task[SubgraphResponse]") -> None:
    if not task.cancelled():
        failure = task.exception()
        assert failure is None or isinstance(failure, Exception)
        tell(failure or task.result())


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


_read = lru_cache(maxsize=8)(parse)
"""An operation's document: read once, however often it is executed."""

ALL_ERRORS = Limits(answer_errors_max=1_000_000)
"""Every error is told, so that none is missing for being one too many."""

Told = tuple[tuple[str | int, ...], str]
"""An error's path and code."""

Response = Mapping[str, Any]
"""A response as JSON."""


def errors_amiss(
    response: Response, expected: ExecutionResult, alone: Callable[[tuple[str | int, ...]], ExecutionResult]
) -> list[str]:
    """What the router's errors say otherwise than those of the big schema over the same data.

    Where a null has taken away what is around it, it has ended other fields there too, and which of these have been
    told by then is nobody's to say: one of the errors has to be the same, or all of them those of fields that fail
    there as well. What fails where nothing does but the field at a path, `alone` says. At objects the router tells of
    fields that only it has asked for.
    """
    data = response["data"]
    mine = {each for each in _told(response) if not isinstance(at(data, each[0]), dict)}
    theirs = _told_by(expected)
    places = {_shown(data, path) for path, _ in mine | theirs}
    amiss = []
    for place in sorted(places, key=str):
        ours, wanted = ({each for each in told if _shown(data, each[0]) == place} for told in (mine, theirs))
        is_there = all(path == place for path, _ in ours | wanted)
        is_lost = at(data, place) is None and at(expected.data, place) is not None
        is_same = ours == wanted if is_there else bool(ours & wanted)
        if not is_same and not is_there:
            is_same = bool(ours) and all(each in _told_by(alone(each[0])) for each in ours)
        if not is_lost and not is_same:
            amiss.append(f"at {list(place)}: {sorted(ours, key=str)} instead of {sorted(wanted, key=str)}")
    return amiss


def _told(response: Response) -> set[Told]:
    return {(tuple(error.get("path") or ()), error["extensions"]["code"]) for error in response.get("errors", ())}


def _told_by(result: ExecutionResult) -> set[Told]:
    return {(tuple(error.path or ()), _code(error)) for error in result.errors or ()}


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    """What a path leads to; None where it ends above."""
    for key in path:
        data = None if data is None else data[key]
    return data


def _code(error: GraphQLError) -> str:
    """The code that the router has for an error of the big schema: what raised tells its own."""
    if error.extensions:
        return str(error.extensions["code"])
    codes = [code.name for text, code in _TEXTS.items() if text in error.message]
    assert codes, error
    return codes[0]


_TEXTS = {
    "cannot represent": ErrorCode.VALUE_NOT_COERCIBLE,
    "Abstract type": ErrorCode.UNKNOWN_TYPENAME,
    "non-nullable": ErrorCode.NULL_IN_NON_NULL,
}
"""What graphql-core says of a value that does not fit, and the router's code for it."""


def _is_typed(made: Plan) -> bool:
    """Whether it shows some fields of objects of some types alone."""
    pending = [made.selection]
    while pending:
        selection = pending.pop()
        if any(each.types is not None for each in selection.fields):
            return True
        pending += selections_below(selection)
    return False


def _shown(data: object, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """As much of a path as leads to something, a null at most."""
    for depth, key in enumerate(path):
        if data is None:
            return path[:depth]
        data = data[key]  # type: ignore[index]  # paths lead through objects and lists
    return path


class Comparison:
    """A supergraph with its subgraphs, its big schema and its planner, ready for any number of operations."""

    def __init__(self, sdl: str, *, failing: bool = False) -> None:
        """With `failing`, some leaves raise in the big schema and in the subgraphs alike."""
        self._joins = read_joins(sdl)
        self._world = world = World(self._joins, failing=failing)
        self._monolith = build_monolith(world)
        self._deferring = with_defer(self._monolith)
        self._supergraph = Supergraph.parse(sdl)
        self._planned: tuple[str, frozenset[str], Plan | None] = "", frozenset(), None
        """The last plan, and what it is of."""
        self.too_much = 0
        """Deferred operations that were planned to be answered at once, as their parts are beyond the limits."""
        self.generated = 0
        """Operations that generated code has answered in the end, all of it."""
        self.structs = 0
        """Operations of which the answer was made of structs."""
        self.conditional_structs = 0
        """Those of them that give values to what @skip and @include look at."""
        self.typed_structs = 0
        """Those of them that show some fields of objects of some types alone."""
        self.uncovered = 0
        """Operations that generated code has left to the interpreter, though nothing was amiss with the data."""
        self.transports: Mapping[str, Transport] = {
            name: _Unhurried(LocalTransport(build_subgraph(world, name))) for name in subgraph_names(self._joins)
        }

    def generate(self, seed: str, *, deferring: bool = False) -> tuple[Operation, frozenset[str]]:
        """The operation and the override labels that a seed stands for; with `deferring`, queries have @defer."""
        random = Random(seed)
        labels = frozenset(label for label in self._joins.labels if random.random() < 0.5)
        schema = self._deferring if deferring else self._monolith
        return replace(generate(schema, random, deferring=deferring), salt=seed), labels

    def expected(self, operation: Operation, raising: tuple[str | int, ...] | None = None) -> ExecutionResult:
        """What the big schema answers; with `raising`, where nothing but the field at that path may raise."""
        self._world.salt = operation.salt
        return run_monolith(self._monolith, _read(operation.text), operation.variables, raising=raising)

    async def answers(
        self,
        operation: Operation,
        labels: frozenset[str] = frozenset(),
        transports: Mapping[str, Transport] = MappingProxyType({}),
        refusals: list[str] | None = None,
    ) -> tuple[Answer, Answer, Answer, Answer]:
        """The router's answers to four equal requests: the plan is interpreted once, then its generated code runs, and
        at last the answer is made of structs, where it can be; before that with the other values of what @skip and
        @include look at, which has structs of its own.

        `transports` stand in for some subgraphs; `refusals` takes up what subgraphs were asked and do not own.
        """
        self._world.salt = operation.salt
        prepared = prepare(self._plan(operation, labels), room=StructsRoom(10_000), structs_after=0)
        first, second, third, _, fourth = [
            await self._execute(prepared, each, Session(labels, operation.salt), transports, refusals, as_text=as_text)
            for each, as_text in (*[(operation, False)] * 3, (operation.otherwise, True), (operation, True))
        ]
        self.generated += prepared.code.program() is not None and not third.fallbacks
        if fourth.text is not None:
            self.structs += 1
            self.typed_structs += _is_typed(prepared.plan)
            self.conditional_structs += operation.variables != operation.otherwise.variables
            data: Any = decode_json(fourth.text)
            fourth = replace(fourth, data=data, text=None)
        return first, second, third, fourth

    def _plan(self, operation: Operation, labels: frozenset[str]) -> Plan:
        """The operation's plan, made once for all its executions."""
        text, held_labels, made = self._planned
        if made is None or (text, held_labels) != (operation.text, labels):
            made = plan(operation.text, self._supergraph, labels=labels)
            self._planned = operation.text, labels, made
        return made

    async def _execute(
        self,
        prepared: PreparedPlan,
        operation: Operation,
        session: Session,
        transports: Mapping[str, Transport],
        refusals: list[str] | None,
        *,
        as_text: bool,
    ) -> Answer:
        document = _read(operation.text)
        definition = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
        values = get_variable_values(self._monolith, definition.variable_definitions or (), operation.variables)
        used = {**self.transports, **transports}
        if as_text and digest("written", operation.salt) % 2:
            used = {name: _AsText(each) for name, each in used.items()}
        if as_text and digest("begun", operation.salt) % 3:
            used = {name: _Begun(each) for name, each in used.items()}
        answer = await execute(
            prepared,
            transports=used,
            schema=self._supergraph.api_schema,
            variables=operation.variables,
            coerced={} if isinstance(values, list) else values.coerced,
            context=session,
            limits=ALL_ERRORS,
            as_text=as_text,
        )
        if refusals is not None:
            refusals.extend(session.refusals)
        return answer

    async def responses(self, operation: Operation, labels: frozenset[str], refusals: list[str]) -> list[Response]:
        """The router's responses to three equal requests; `refusals` takes up what subgraphs were asked and do not own.

        Within the process; `ComparisonOverHttp` asks in another way.
        """
        answers = await self.answers(operation, labels, refusals=refusals)
        self.uncovered += not self._world.troubled and not answers[2].errors and answers[2].fallbacks > 0
        return [json.loads(json.dumps(answer.to_json())) for answer in answers]

    async def compare(self, operation: Operation, labels: frozenset[str] = frozenset()) -> Difference | None:
        """None where all answers are equal: the data, the order of its keys, and the errors, by path and code.

        The router answers three times, and every second operation meets troubles, all of them in both.
        """
        with self.troubles_of(operation):
            return await self._compare(operation, labels)

    @contextmanager
    def troubles_of(self, operation: Operation) -> Iterator[None]:
        """With the troubles that an operation meets."""
        troubled = self._world.troubled
        self._world.troubled = troubled or digest("troubled", operation.salt) % 2 == 0
        try:
            yield
        finally:
            self._world.troubled = troubled

    async def _compare(self, operation: Operation, labels: frozenset[str]) -> Difference | None:
        expected = self.expected(operation)
        made: Plan | None = None
        refusals: list[str] = []
        try:
            made = self._plan(operation, labels)
            response, *again = await self.responses(operation, labels, refusals)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
            return Difference(operation, labels, expected.data, repr(error), None, made)
        data = response["data"]
        same = json.dumps(data) == json.dumps(expected.data)
        same = same and all(json.dumps(each) == json.dumps(response) for each in again)
        amiss = errors_amiss(response, expected, partial(self.expected, operation)) if same else []
        if same and not amiss and not refusals:
            return None
        errors = [*amiss, *[str(error) for error in response.get("errors", ())[:5]], *refusals, expected.errors]
        errors += [f"generated code: {each}" for each in again if each != response]
        return Difference(operation, labels, expected.data, data, errors, made)

    async def compare_in_parts(
        self, operation: Operation, labels: frozenset[str] = frozenset()
    ) -> tuple[Difference | None, int]:
        """None where the parts of a deferred operation come to what it answers at once, and to what graphql-core's
        incremental executor comes to, when all is well and when leaves fail; and how many parts came."""
        document = _read(operation.text)
        undeferred = parse(without_defer(document))
        try:
            made = self._plan_in_parts(operation, labels)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a difference
            return Difference(operation, labels, None, repr(error), None, None), 0
        failing, count = self._world.failing, 0
        try:
            for self._world.failing in (False, True):
                self._world.salt = operation.salt
                expected = await reference(self._deferring, document, operation.variables, Session())
                refusals: list[str] = []
                try:
                    wholes = await self.wholes(made, operation, labels, refusals)
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

    async def wholes(
        self, made: Plan, operation: Operation, labels: frozenset[str], refusals: list[str]
    ) -> list[Whole]:
        """The router's answers in parts, put together: interpreted, and by generated code. `refusals` takes up what
        subgraphs were asked and do not own.

        Within the process; `ComparisonOverHttp` asks in another way.
        """
        wholes = []
        for interpretations in (None, 0):
            session = Session(labels, operation.salt)
            first = await answer_in_parts(
                prepare(made, interpretations=interpretations),
                _read(operation.text),
                operation.variables,
                schema=self._supergraph.api_schema,
                transports=self.transports,
                session=session,
            )
            wholes.append(await collected(first))
            refusals += session.refusals
        return wholes

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
        ours = [str(error) for each in wholes for error in each.errors[:5]]
        return ["leaves fail" if self._world.failing else "all is well", *ours, *refusals, expected.errors]
