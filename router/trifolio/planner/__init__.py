"""The planner: from an operation to the fewest requests that answer it.

A plan is the shortest sequence of requests, each to one subgraph, each using only facts known before it. `plan` lays
out the operation's facts (`cells`), finds who can tell what (`facts`), searches the shortest sequence run by run
(`decisions`, `search`), decides what each request asks and waits for (`liveness`), and writes it down: fetches
(`requests`, `printing`), the way the answer is read off (`projection`), and what stands apart (`deferral`,
`introspection`).
"""

from typing import Final

from graphql.language import DocumentNode

from trifolio.conditions import ALWAYS
from trifolio.errors import ErrorCode, PlanningError
from trifolio.limits import Limits
from trifolio.operation import Flattener, read_operation
from trifolio.planner.cells import Cells
from trifolio.planner.decisions import decide_requests
from trifolio.planner.deferral import deferred_parts, marked_fetches, parts_of, waited_for
from trifolio.planner.introspection import split_introspection
from trifolio.planner.projection import Projector
from trifolio.planner.requests import RequestWriter
from trifolio.planner.search import Effort
from trifolio.query_graph import query_graph
from trifolio.query_plan import Plan
from trifolio.supergraph import Supergraph
from trifolio.work import Work, WorkExceeded

_LIMITS: Final = Limits()


def plan(
    operation: str | DocumentNode,
    supergraph: Supergraph | str,
    operation_name: str | None = None,
    labels: frozenset[str] = frozenset(),
    *,
    incremental: bool = False,
    work: Work | None = None,
    selections_max: int = _LIMITS.operation_selections_max,
) -> Plan:
    """Plan one operation of a document, given as text or parsed; the supergraph may be given as SDL text.

    `labels` are the progressive @override labels that are on. With `incremental`, parts of a query under @defer are
    planned apart; without, @defer makes no difference. The document is not validated: validate it against
    `supergraph.api_schema` before, as here only what stands in the way of planning is noticed. What planning does is
    counted in `work` as it is done; without, in one of its own, with the default of `Limits.request_work_max`. An
    answer may have `selections_max` fields, fragments followed: what `Limits.operation_selections_max` lets through.

    Raises DocumentError and OperationError where the operation does not fit the supergraph, PlanningError where it is
    beyond the planner's limits or the supergraph has no way to a field, SupergraphError for malformed SDL.
    """
    if isinstance(supergraph, str):
        supergraph = Supergraph.parse(supergraph)
    work = Work(_LIMITS.request_work_max) if work is None else work
    try:
        return _plan(operation, supergraph, operation_name, labels, incremental, work, selections_max)
    except WorkExceeded as error:
        raise PlanningError(ErrorCode.PLANNING_BUDGET_EXCEEDED) from error


def _plan(
    operation: str | DocumentNode,
    supergraph: Supergraph,
    operation_name: str | None,
    labels: frozenset[str],
    incremental: bool,
    work: Work,
    selections_max: int,
) -> Plan:
    graph = query_graph(supergraph, labels)
    read = read_operation(operation, operation_name)
    flattener = Flattener(read, supergraph, incremental=incremental and read.kind == "query", work=work)
    cells = Cells(graph, flattener, read.kind)
    selections = [(read.selection_set, ALWAYS)]
    cells.client(selections)
    parts = parts_of(tuple(flattener.deferrals.values()), flattener.conditions)
    decided = decide_requests(cells, graph, read.kind, Effort(work), parts)
    written = RequestWriter(graph, read.variables, flattener.conditions).write(
        decided.requests, waited_for(len(decided.requests), decided.needs, parts, flattener.conditions)
    )
    readings = [part.reading for part in parts]
    projector = Projector(cells, flattener, written.typename_known, readings, selections_max=selections_max)
    deferred, first_places = deferred_parts(projector, cells.root, selections, parts, decided.needs)
    introspection, variables = split_introspection(read, flattener)
    return Plan(
        kind=read.kind,
        fetches=marked_fetches(written.fetches, decided.parts, parts, first_places),
        selection=projector.selection(cells.root, selections, ALWAYS, parts[0].reading),
        introspection=introspection,
        introspection_variables=variables,
        deferred=deferred,
        proven_minimal=decided.proven_minimal,
    )
