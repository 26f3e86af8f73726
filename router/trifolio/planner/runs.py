"""One problem per run: queries are one, mutations one for each run of adjacent root fields of one subgraph.

A mutation's root fields are executed in the client's order. Adjacent fields of one subgraph share a request, which
keeps the order by itself; the next run starts when everything that belongs to the run before has ended. A
subscription's root field brings the facts that its entity requests start from.

Specification: GraphQL, section 6.2.2 (serial execution of mutations).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from types import MappingProxyType
from typing import Final

from trifolio.conditions import NEVER
from trifolio.errors import ClientText, ErrorCode, PlanningError
from trifolio.planner.cells import Cells, Child, Demand, path_keys
from trifolio.planner.deferral import Part, goal_of
from trifolio.planner.facts import ClassReach, Reach, Reaches, Rule, find_rules, root_rules
from trifolio.planner.liveness import Liveness, Request, depth
from trifolio.planner.search import Effort, Found, Step, search
from trifolio.query_graph import QueryGraph
from trifolio.supergraph import OperationKind

GENERATIONS: Final = (2, 4, 12)
"""How many field sets may follow one another, each from where the one before led (a key that needs a key...): the
search starts small and goes on only where it found no way. Requirements that never end stop here."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The requests of a plan, in order; `depends_on` of each are indexes in this list."""

    requests: tuple[Request, ...]
    proven_minimal: bool
    parts: tuple[int, ...] = ()
    """For each request the part of the operation that it serves, where parts are deferred."""
    needs: tuple[tuple[int, ...], ...] = ()
    """For each part the requests that bring its facts, where parts are deferred."""


def decide_requests(
    cells: Cells, graph: QueryGraph, kind: OperationKind, effort: Effort, parts: Sequence[Part] = ()
) -> Decided:
    """Decide the requests for the goal of `cells`, and for its deferred `parts` apart where there are several.

    Raises PlanningError where the supergraph has no way to the goal.
    """
    if not cells.goal:
        return Decided((), proven_minimal=True)
    answered = _by_one_request(cells, graph, kind) if len(parts) <= 1 else None
    if answered is not None:
        return answered
    rules: list[Rule] = []
    for generation_max in GENERATIONS:
        cells.hidden(generation_max)
        reaches = Reaches(cells, graph)
        rules = find_rules(cells, reaches)
        if kind != "query":
            decided = _decide_serially(cells, reaches, rules, kind, effort)
        elif len(parts) > 1:
            decided = _decide_parts(cells, reaches, rules, parts, effort)
        else:
            decided = _decide_query(cells, reaches, rules, effort)
        if decided is not None:
            return decided
    everything = [*root_rules(Reaches(cells, graph), cells.root, kind, 0), *rules]
    raise PlanningError(ErrorCode.PLANNING_FAILED, _unreachable(cells, everything, kind))


def _by_one_request(cells: Cells, graph: QueryGraph, kind: OperationKind) -> Decided | None:
    """The plan where one subgraph answers everything: found without looking at keys."""
    goal = _facts(cells.goal)
    for rule in root_rules(Reaches(cells, graph), cells.root, kind, 0):
        if (rule.gain | rule.vacuous) & goal == goal:
            found = Found((Step(rule.action, 0),), goal, proven_minimal=True)
            return Decided(tuple(_liveness(cells, [rule], found).requests(cells.goal)), proven_minimal=True)
    return None


def _decide_query(cells: Cells, reaches: Reaches, rules: Sequence[Rule], effort: Effort) -> Decided | None:
    rules = [*root_rules(reaches, cells.root, "query", 0), *rules]
    decided: dict[Found, list[Request]] = {}

    def depth_of(found: Found) -> int:
        requests = decided[found] = _liveness(cells, rules, found).requests(cells.goal)
        return depth(requests)

    found = search(rules, 0, _facts(cells.goal), depth_of, effort)
    if found is None:
        return None
    requests = decided.get(found) or _liveness(cells, rules, found).requests(cells.goal)
    return Decided(tuple(requests), found.proven_minimal)


def _decide_parts(
    cells: Cells, reaches: Reaches, rules: Sequence[Rule], parts: Sequence[Part], effort: Effort
) -> Decided | None:
    """The first answer, then every deferred part from what is known by then."""
    entries, rules = rules, [*root_rules(reaches, cells.root, "query", 0), *rules]
    root_fields = reduce(or_, (child.fact for child in cells.root.classes[0].children.values()), 0)
    steps: list[Step] = []
    part_of_step: list[int] = []
    whole: Demand = {}
    span: dict[int, tuple[int, int]] = {}
    """What is new in a part comes from its own requests; what an earlier part reads, from no later part's."""
    known, proven = 0, True
    for number, part in enumerate(parts):
        goal = goal_of(part, cells.goal)
        own = _facts(goal) & ~_facts(whole)
        start = known & ~own
        usable = rules if own & root_fields else entries  # root fields are not asked twice for what stands below them
        found = search(usable, start, _facts(goal), partial(_depth_from, cells, usable, start, goal), effort)
        first = len(steps)
        if found is None:  # no way to enter again: it comes along with what it stands in
            found = search(rules, known, _facts(goal), partial(_depth_from, cells, rules, known, goal), effort)
            if found is None:
                return None
            first = 0
        steps += found.steps
        part_of_step += [number] * len(found.steps)
        known |= found.known
        proven = proven and found.proven_minimal
        for fact, condition in goal.items():
            whole[fact] = cells.conditions.or_(whole.get(fact, NEVER), condition)
            span.setdefault(fact, (first, len(steps)))
    all_found = Found(tuple(steps), known, proven)
    liveness = _liveness(cells, rules, all_found, span)
    requests = liveness.requests(whole)
    by_step = {request.step: index for index, request in enumerate(requests)}
    sources = [liveness.sources_of(goal_of(part, cells.goal)) for part in parts]
    return Decided(
        tuple(requests),
        proven,
        tuple(part_of_step[request.step] for request in requests),
        tuple(tuple(sorted(by_step[step] for step in steps if step in by_step)) for steps in sources),
    )


def _decide_serially(
    cells: Cells, reaches: Reaches, rules: Sequence[Rule], kind: OperationKind, effort: Effort
) -> Decided | None:
    requests: list[Request] = []
    proven = True
    for subgraph, children in _runs(cells, reaches.graph):
        root = _run_rule(cells, reaches, subgraph, children, kind)
        goal = {fact: condition for fact, condition in cells.goal.items() if fact & _below(reaches, children)}
        known = root.gain | root.vacuous
        rest = search(rules, known, _facts(goal), partial(_depth_from, cells, rules, known, goal), effort)
        if rest is None:
            return None
        found = Found((Step(root.action, 0), *rest.steps), rest.known, rest.proven_minimal)
        run = _liveness(cells, [root, *rules], found).requests(goal)
        earlier, before = len(requests), _current_run(requests)
        for request in run:
            request.depends_on = {each + earlier for each in request.depends_on}
        run[0].depends_on |= before
        requests += run
        proven = proven and rest.proven_minimal
    return Decided(tuple(requests), proven)


def _liveness(
    cells: Cells, rules: Sequence[Rule], found: Found, span: Mapping[int, tuple[int, int]] = MappingProxyType({})
) -> Liveness:
    return Liveness(rules, found, 0, cells.polymorphic, span, cells.conditions)


def _depth_from(cells: Cells, rules: Sequence[Rule], known: int, goal: Demand, found: Found) -> int:
    return Liveness(rules, found, known, 0, conditions=cells.conditions).depth(goal)


def _current_run(requests: Sequence[Request]) -> set[int]:
    """The indexes of the last run's requests: from the last one that asks the operation's root."""
    start = max((i for i, each in enumerate(requests) if each.action[1] not in ("entities", "query")), default=0)
    return set(range(start, len(requests)))


def _runs(cells: Cells, graph: QueryGraph) -> Iterator[tuple[str, list[Child]]]:
    """Adjacent root fields that one subgraph has, as many as go together, with the subgraph first by name."""
    root = cells.root.type_name
    subgraphs = sorted(graph.supergraph.types[root].subgraphs)
    able: set[str] = set()
    run: list[Child] = []
    for child in cells.root.classes[0].children.values():
        here = {subgraph for subgraph in subgraphs if child.name in graph.moves(subgraph, root)}
        if not here:
            message = f'No subgraph resolves "{root}.{child.name}".'
            raise PlanningError(ErrorCode.PLANNING_FAILED, ClientText(message))
        if run and not able & here:
            yield min(able), run
            able, run = set(), []
        able = able & here if run else here
        run.append(child)
    if run:
        yield min(able), run


def _run_rule(cells: Cells, reaches: Reaches, subgraph: str, children: Sequence[Child], kind: OperationKind) -> Rule:
    """The root rule of one run: of the root's fields it asks only the run's."""
    whole = reaches.reach(subgraph, cells.root, cells.root.type_name)
    [part] = whole.classes
    fields = tuple((child, below) for child, below in part.fields if child in children)
    gain, vacuous = cells.root.exists | cells.root.typename, 0
    for child, below in fields:
        gain |= below.gain if below else child.fact
        vacuous |= below.vacuous if below else 0
    reach = Reach(
        subgraph, cells.root, whole.type_name, False, (ClassReach(part.cls, fields, gain, vacuous),), gain, vacuous
    )
    return Rule(subgraph, kind, cells.root, cells.root.types, 0, gain, vacuous, reach)


def _below(reaches: Reaches, children: Sequence[Child]) -> int:
    facts = 0
    for child in children:
        facts |= reaches.everything_below(child)
    return facts


def _facts(demand: Demand) -> int:
    facts = 0
    for fact in demand:
        facts |= fact
    return facts


def _unreachable(cells: Cells, rules: Sequence[Rule], kind: OperationKind) -> ClientText:
    """Names the first field of the operation that no sequence of requests reaches."""
    known, before = cells.root.exists | cells.root.typename, 0
    while known != before:
        before = known
        for rule in rules:
            if rule.need & known == rule.need:
                known |= rule.gain | rule.vacuous
    for cell in cells.all:
        for cls in cell.classes:
            for child in cls.children.values():
                if child.fact in cells.goal and not child.fact & known:
                    place = ".".join(path_keys(cell))
                    where = f' at "{place}"' if place else ""
                    coordinate = f"{cls.representative}.{child.name}"
                    return ClientText(f'No sequence of subgraph requests reaches the field "{coordinate}"{where}.')
    return ClientText(f"No sequence of subgraph requests brings the types of all objects of this {kind}.")
