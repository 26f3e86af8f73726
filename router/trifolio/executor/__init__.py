"""From a plan to an answer: fetches run as a graph, their results merge into one tree, the answer is read off it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from graphql import GraphQLSchema

from trifolio.errors import AnswerError
from trifolio.executor.answer import Answer, read_answer, read_plain_answer
from trifolio.executor.fetch import Execution
from trifolio.executor.introspection import introspect
from trifolio.executor.prepare import PreparedPlan, prepare
from trifolio.executor.schedule import run
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.executor.tree import MergedTree
from trifolio.limits import Limits
from trifolio.observer import Observer

__all__ = [
    "Answer",
    "PreparedPlan",
    "SubgraphRequest",
    "SubgraphResponse",
    "Transport",
    "execute",
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
) -> Answer:
    """Answer one request with a prepared plan.

    `variables` are as the client sent them and are forwarded untouched; `coerced` are the same with defaults, for @skip
    and @include. `schema` is the API schema, asked for introspection alone. Nothing that a subgraph does raises: it
    becomes null with an error. Cancelling the call cancels every fetch in flight.
    """
    plan = prepared.plan
    tree = MergedTree()
    told: tuple[AnswerError, ...] = ()
    if plan.introspection is not None and schema is not None:
        used = {name: variables[name] for name in plan.introspection_variables if name in variables}
        tree.root, told = introspect(plan.introspection, schema, used)
    program = prepared.code.program()
    execution = Execution(transports, variables, coerced, headers, context, limits, observer, tree, program)
    await run(prepared, execution.perform)
    answer = read_plain_answer(program, tree, coerced) if program and not told else None
    return answer or read_answer(plan.selection, tree, coerced, told=told, errors_max=limits.answer_errors_max)
