"""From a plan to an answer: fetches run as a graph, their results merge into one tree, the answer is read off it."""

from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from graphql import GraphQLSchema

from trifolio.executor.answer import Answer, read_answer, read_plain_answer, too_large
from trifolio.executor.events import open_events
from trifolio.executor.fetch import Around, Execution, Send
from trifolio.executor.introspection import NOTHING, Introspected, introspect
from trifolio.executor.places import Place, tell
from trifolio.executor.prepare import PreparedFetch, PreparedPlan, prepare
from trifolio.executor.schedule import run
from trifolio.executor.traces import Trace, TracedExecution, Watch
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.executor.tree import MergedTree
from trifolio.limits import Limits
from trifolio.observer import Observer
from trifolio.work import InTurns, Work, WorkExceeded, compute_in_turns

if TYPE_CHECKING:
    from trifolio.executor.delivery import FirstAnswer

__all__ = [
    "Answer",
    "Around",
    "InTurns",
    "PreparedPlan",
    "Send",
    "SubgraphRequest",
    "SubgraphResponse",
    "Trace",
    "Transport",
    "Watch",
    "answer_event",
    "execute",
    "execute_in_parts",
    "open_events",
    "prepare",
]

_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})
_LIMITS: Final = Limits()

SMALL_ANSWER_VALUES: Final = 10_000
"""10,000 values are read in about 10 ms: what has more is read in turns."""


async def execute(
    prepared: PreparedPlan,
    *,
    transports: Mapping[str, Transport],
    schema: GraphQLSchema | None = None,
    variables: Mapping[str, object] = _EMPTY,
    coerced: Mapping[str, object] = _EMPTY,
    headers: Mapping[str, str] = _EMPTY,
    context: object = None,
    limits: Limits = _LIMITS,
    observer: Observer | None = None,
    around: Around | None = None,
    in_turns: InTurns | None = None,
    as_text: bool = False,
    trace: Trace | None = None,
) -> Answer:
    """Answer one request with a prepared plan.

    `variables` are as the client sent them and are forwarded untouched; `coerced` are the same with defaults, for @skip
    and @include. `schema` is the API schema, asked for introspection alone; `around` stands before the transports.
    Nothing that a subgraph does raises: it becomes null with an error. Cancelling the call cancels every fetch in
    flight. What takes long to compute is handed to `in_turns`, where there is one. With `as_text` the answer's data
    may come as JSON text. `trace` is told of each fetch, where there is one.

    Raises:
        WorkExceeded: what is asked of the schema takes too much.
    """
    tree, program, introspected = MergedTree(limits.answer_values_max), prepared.code.program(), prepared.introspected
    if introspected is not NOTHING:
        introspected = await _introspected(prepared, tree, schema, variables, limits, in_turns)
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program, around)
    if trace is not None:
        execution = _traced(execution, trace)
    if as_text:
        execution.structs = prepared.structs.begin(coerced, limits.answer_values_max)
    begin = None
    if execution.structs is not None and around is None and trace is None:
        execution.within, begin = copy_context().run, execution.begin
    await run(prepared, execution.perform, begin)
    if execution.structs is not None:
        text = execution.structs.encode()
        if text is not None:
            return Answer(None, execution.structs.errors(limits.answer_errors_max), text=text)
        execution.leave_structs()
    return await _read_in_turns(prepared, execution, introspected, in_turns)


async def answer_event(
    prepared: PreparedPlan,
    event: SubgraphResponse,
    *,
    transports: Mapping[str, Transport],
    variables: Mapping[str, object] = _EMPTY,
    coerced: Mapping[str, object] = _EMPTY,
    headers: Mapping[str, str] = _EMPTY,
    context: object = None,
    limits: Limits = _LIMITS,
    observer: Observer | None = None,
    around: Around | None = None,
    in_turns: InTurns | None = None,
    trace: Trace | None = None,
) -> Answer:
    """Answer one event of a subscription: it is what the plan's first fetch brought, the others are performed for it.

    As `execute`. What is wrong with the event stands in its answer.
    """
    tree, program = MergedTree(limits.answer_values_max), prepared.code.program()
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program, around)
    if trace is not None:
        execution = _traced(execution, trace)

    async def perform(fetch: PreparedFetch) -> None:
        if fetch is prepared.fetches[0]:
            execution.take(fetch, event)
        else:
            await execution.perform(fetch)

    await run(prepared, perform)
    return await _read_in_turns(prepared, execution, NOTHING, in_turns)


async def _read_in_turns(
    prepared: PreparedPlan, execution: Execution, introspected: Introspected, in_turns: InTurns | None
) -> Answer:
    """The answer, when every fetch has ended: at once where it is small."""
    try:
        return _read(prepared, execution, introspected, Work(SMALL_ANSWER_VALUES))
    except WorkExceeded:  # it is read again from the start, with pauses for others
        prepared.structs.hurry(execution.coerced)
    try:
        return await compute_in_turns(
            partial(_read, prepared, execution, introspected), execution.limits.answer_values_max, in_turns
        )
    except WorkExceeded:
        return too_large()


def _read(prepared: PreparedPlan, execution: Execution, introspected: Introspected, work: Work) -> Answer:
    """The answer, when every fetch has ended. Raises WorkExceeded where it has more values than `work` allows."""
    tree, coerced, program = execution.tree, execution.coerced, execution.program
    if introspected is not NOTHING:
        work.spend(introspected.values)
    if program is not None and not introspected.errors:
        answer = read_plain_answer(program, tree, coerced, work)
        if answer is not None:
            return answer
    plan, told = prepared.plan, introspected.errors
    errors_max = execution.limits.answer_errors_max
    if tree.located:
        shown = [(tree.root, Place((), plan.selection))]
        located = tell(tree.located, shown, coerced, errors_max=errors_max, work=work)
        told += tuple(item.error for item in located)
    return read_answer(
        plan.selection,
        tree,
        coerced,
        told=told,
        guarded=None if program is None else prepared.code.guarded(),
        sources=prepared.sources,
        errors_max=errors_max,
        work=work,
    )


async def execute_in_parts(
    prepared: PreparedPlan,
    *,
    transports: Mapping[str, Transport],
    deadline: float,
    schema: GraphQLSchema | None = None,
    variables: Mapping[str, object] = _EMPTY,
    coerced: Mapping[str, object] = _EMPTY,
    headers: Mapping[str, str] = _EMPTY,
    context: object = None,
    limits: Limits = _LIMITS,
    observer: Observer | None = None,
    around: Around | None = None,
    in_turns: InTurns | None = None,
    trace: Trace | None = None,
) -> "FirstAnswer":
    """Answer one request with a plan that has deferred parts: the first answer, and what comes later.

    As `execute`, but at the event loop's time `deadline` the fetches end: before the first answer that raises
    TimeoutError, after it the parts that are left fail.
    """
    from trifolio.executor.delivery import deliver  # late: few operations have @defer, and everybody starts

    tree = MergedTree(limits.answer_values_max)
    introspected = await _introspected(prepared, tree, schema, variables, limits, in_turns)
    program = prepared.code.program()
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program, around)
    if trace is not None:
        execution = _traced(execution, trace)
    return await deliver(prepared, execution, introspected, deadline, in_turns)


def _traced(execution: Execution, trace: Trace) -> Execution:
    """The same, which has done nothing yet, as one that tells of its fetches."""
    given = {each.name: getattr(execution, each.name) for each in fields(execution)}
    return TracedExecution(**given, trace=trace)


async def _introspected(
    prepared: PreparedPlan,
    tree: MergedTree,
    schema: GraphQLSchema | None,
    variables: Mapping[str, object],
    limits: Limits,
    in_turns: InTurns | None,
) -> Introspected:
    """Put what the operation asks of the schema itself into the tree."""
    introspected, plan = prepared.introspected, prepared.plan
    if introspected is None and plan.introspection is not None and schema is not None:
        used = {name: variables[name] for name in plan.introspection_variables if name in variables}
        compute = partial(introspect, plan.introspection, schema, used)
        introspected = await compute_in_turns(compute, limits.request_work_max, in_turns)
    if introspected is None or introspected is NOTHING:
        return NOTHING
    tree.root = dict(introspected.fields)
    return introspected
