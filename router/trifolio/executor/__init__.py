"""From a plan to an answer: fetches run as a graph, their results merge into one tree, the answer is read off it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from graphql import GraphQLSchema

from trifolio.errors import AnswerError
from trifolio.executor.answer import Answer, read_answer, read_plain_answer
from trifolio.executor.fetch import Around, Execution, Send
from trifolio.executor.introspection import introspect
from trifolio.executor.places import Place, tell
from trifolio.executor.prepare import PreparedPlan, prepare
from trifolio.executor.schedule import run
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.executor.tree import MergedTree
from trifolio.limits import Limits
from trifolio.observer import Observer
from trifolio.query_plan import Plan

if TYPE_CHECKING:
    from trifolio.executor.delivery import FirstAnswer

__all__ = [
    "Answer",
    "Around",
    "PreparedPlan",
    "Send",
    "SubgraphRequest",
    "SubgraphResponse",
    "Transport",
    "execute",
    "execute_in_parts",
    "prepare",
]

_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})
_LIMITS: Final = Limits()


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
) -> Answer:
    """Answer one request with a prepared plan.

    `variables` are as the client sent them and are forwarded untouched; `coerced` are the same with defaults, for @skip
    and @include. `schema` is the API schema, asked for introspection alone; `around` stands before the transports.
    Nothing that a subgraph does raises: it becomes null with an error. Cancelling the call cancels every fetch in
    flight.
    """
    plan, tree = prepared.plan, MergedTree()
    told = _introspect(plan, tree, schema, variables)
    program = prepared.code.program()
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program, around)
    await run(prepared, execution.perform)
    answer = read_plain_answer(program, tree, coerced) if program and not told else None
    if answer is not None:
        return answer
    if tree.located:
        shown, errors_max = [(tree.root, Place((), plan.selection))], limits.answer_errors_max
        told += tuple(item.error for item in tell(tree.located, shown, coerced, errors_max=errors_max))
    return read_answer(plan.selection, tree, coerced, told=told, errors_max=limits.answer_errors_max)


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
) -> "FirstAnswer":
    """Answer one request with a plan that has deferred parts: the first answer, and what comes later.

    As `execute`, but at the event loop's time `deadline` the fetches end: before the first answer that raises
    TimeoutError, after it the parts that are left fail.
    """
    from trifolio.executor.delivery import deliver  # late: few operations have @defer, and everybody starts

    tree = MergedTree()
    told = _introspect(prepared.plan, tree, schema, variables)
    program = prepared.code.program()
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program, around)
    return await deliver(prepared, execution, told, deadline)


def _introspect(
    plan: Plan, tree: MergedTree, schema: GraphQLSchema | None, variables: Mapping[str, object]
) -> tuple[AnswerError, ...]:
    """Put what the operation asks of the schema itself into the tree; returns the errors of that."""
    if plan.introspection is None or schema is None:
        return ()
    used = {name: variables[name] for name in plan.introspection_variables if name in variables}
    tree.root, told = introspect(plan.introspection, schema, used)
    return told
