"""One problem per run: queries are one, mutations one for each run of adjacent root fields of one subgraph.

A mutation's root fields are executed in the client's order, each once. Adjacent fields of one subgraph share a request,
which keeps the order by itself; the next run starts when everything that belongs to the run before has ended. Where
several subgraphs have a field, the one is chosen with which there are fewest requests in all. A subscription's root
field brings the facts that its entity requests start from.

Specification: GraphQL, section 6.2.2 (serial execution of mutations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import or_
from types import MappingProxyType
from typing import Final

from trifolio.conditions import NEVER
from trifolio.errors import ClientText, ErrorCode, PlanningError
from trifolio.planner.cells import Cell, Cells, Child, Demand, path_keys
from trifolio.planner.deferral import Part, goal_of
from trifolio.planner.facts import ClassReach, Reach, Reaches, Rule, find_rules, root_rules
from trifolio.planner.liveness import Liveness, Request, depth, places_apart
from trifolio.planner.search import Effort, Found, Step, search
from trifolio.query_graph import QueryGraph
from trifolio.supergraph import OperationKind

GENERATIONS: Final = (2, 4, 12)
"""How many field sets may follow one another, each from where the one before led (a key that needs a key...): the
search starts small and goes on only where it found no way. Requirements that never end stop here."""

RUNS_TRIED_MAX: Final = 60
"""Runs that are tried from one root field of a mutation on: where there are more ways, the longest are tried."""


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
    return Decided(tuple(places_apart(requests, reaches.graph)), found.proven_minimal)


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
    requests = places_apart(liveness.requests(whole), reaches.graph)
    by_step: dict[int, list[int]] = {}
    for index, request in enumerate(requests):
        by_step.setdefault(request.step, []).append(index)
    sources = [liveness.sources_of(goal_of(part, cells.goal)) for part in parts]
    return Decided(
        tuple(requests),
        proven,
        tuple(part_of_step[request.step] for request in requests),
        tuple(tuple(sorted(index for step in steps for index in by_step.get(step, ()))) for steps in sources),
    )


def _decide_serially(
    cells: Cells, reaches: Reaches, rules: Sequence[Rule], kind: OperationKind, effort: Effort
) -> Decided | None:
    serial = _Serial(cells, reaches, rules, kind, effort)
    best = serial.best_from(0)
    if best is None:
        return None
    requests: list[Request] = []
    for run in best.runs:
        earlier, before = len(requests), _current_run(requests)
        decided = _liveness(cells, [run.root, *serial.rules(run)], run.found).requests(serial.goal(run))
        decided = places_apart(decided, reaches.graph)
        for request in decided:
            request.depends_on = {each + earlier for each in request.depends_on}
        decided[0].depends_on |= before
        requests += decided
    return Decided(tuple(requests), serial.proven and all(run.found.proven_minimal for run in best.runs))


@dataclass(frozen=True, slots=True)
class _Run:
    """Root fields from the number `start` to before `end`, as one subgraph executes them."""

    start: int
    end: int
    root: Rule
    found: Found


@dataclass(frozen=True, slots=True)
class _Best:
    """The best way to execute the root fields from some number on."""

    requests: int
    runs: tuple[_Run, ...]


class _Serial:
    """Finds the runs of a mutation: which subgraph executes each root field is chosen so that fewest requests do.

    A field that several subgraphs have is executed by one of them, once. Runs are independent of one another, as each
    field's payload has cells of its own; so the best way from a field on is the best of its possible runs, with the
    best way from where the run ends.
    """

    def __init__(
        self, cells: Cells, reaches: Reaches, rules: Sequence[Rule], kind: OperationKind, effort: Effort
    ) -> None:
        self.cells = cells
        self.reaches = reaches
        self.kind = kind
        self.effort = effort
        self.children = list(cells.root.classes[0].children.values())
        self.able = [self._able(child) for child in self.children]
        self.proven = True
        self._best: dict[int, _Best | None] = {len(self.children): _Best(0, ())}
        self._rules: list[list[Rule]] = [[] for _ in self.children]
        self._goals: list[Demand] = [{} for _ in self.children]
        field_of_fact = {}
        for cell, number in self._fields_of_cells().items():
            cells.work.spend(2 + sum(len(cls.children) for cls in cell.classes))
            field_of_fact[cell.exists] = field_of_fact[cell.typename] = number
            field_of_fact |= {child.fact: number for cls in cell.classes for child in cls.children.values()}
        field_of_fact |= {child.fact: number for number, child in enumerate(self.children)}
        for fact, condition in cells.goal.items():
            if fact in field_of_fact:
                self._goals[field_of_fact[fact]][fact] = condition
        for rule in rules:
            self._rules[field_of_fact[rule.cell.exists]].append(rule)

    def _able(self, child: Child) -> frozenset[str]:
        """The subgraphs that can execute a root field."""
        root, graph = self.cells.root.type_name, self.reaches.graph
        able = frozenset(s for s in graph.supergraph.types[root].subgraphs if child.name in graph.moves(s, root))
        if not able:
            message = f'No subgraph resolves "{root}.{child.name}".'
            raise PlanningError(ErrorCode.PLANNING_FAILED, ClientText(message))
        return able

    def _fields_of_cells(self) -> dict[Cell, int]:
        """The cells below the root, each with the number of the root field that it is below of."""
        numbers = {id(child): number for number, child in enumerate(self.children)}
        found: dict[Cell, int] = {}
        for cell in self.cells.all:
            if cell.parent is not None:
                above, child = cell.parent
                found[cell] = numbers[id(child)] if above is self.cells.root else found[above]
        return found

    def rules(self, run: _Run) -> list[Rule]:
        """The rules of a run's payloads."""
        return [rule for rules in self._rules[run.start : run.end] for rule in rules]

    def goal(self, run: _Run) -> Demand:
        """What the client wants of a run's fields."""
        return {fact: condition for goal in self._goals[run.start : run.end] for fact, condition in goal.items()}

    def best_from(self, start: int) -> _Best | None:
        """The best way to execute the root fields from a number on; None where some cannot be planned."""
        todo = [start]
        while todo:
            ends = [end for subgraph in self._subgraphs(todo[-1]) for end in self._ends(todo[-1], subgraph)]
            missing = [end for end in dict.fromkeys(ends) if end not in self._best]
            if missing:
                todo += missing
            else:
                first = todo.pop()
                if first not in self._best:
                    self._best[first] = self._choose(first)
        return self._best[start]

    def _choose(self, start: int) -> _Best | None:
        best: _Best | None = None
        for subgraph in self._subgraphs(start):
            for end in self._ends(start, subgraph):
                rest = self._best[end]
                if rest is None or (best is not None and 1 + rest.requests >= best.requests):
                    continue
                run = self._run(start, end, subgraph)
                if run is not None and (best is None or len(run.found.steps) + rest.requests < best.requests):
                    best = _Best(len(run.found.steps) + rest.requests, (run, *rest.runs))
        return best

    def _subgraphs(self, start: int) -> list[str]:
        return sorted(self.able[start])

    def _ends(self, start: int, subgraph: str) -> list[int]:
        """Where a run may end, the furthest first: where the subgraph has to stop, or another one can go on."""
        ends = []
        end = start
        while end < len(self.able) and subgraph in self.able[end]:
            end += 1
            if end == len(self.able) or self.able[end] != {subgraph}:
                ends.append(end)
        if len(ends) * len(self.able[start]) > RUNS_TRIED_MAX:
            self.proven = False
            del ends[: -1 - RUNS_TRIED_MAX // len(self.able[start])]
        return ends[::-1]

    def _run(self, start: int, end: int, subgraph: str) -> _Run | None:
        """The run of some fields by one subgraph; None where what is asked cannot be reached from it."""
        root = _run_rule(self.cells, self.reaches, subgraph, self.children[start:end], self.kind)
        run = _Run(start, end, root, Found((), 0, proven_minimal=True))
        rules, goal, known = self.rules(run), self.goal(run), root.gain | root.vacuous
        self.effort.work.spend(2 + len(goal) + len(rules) // 2)
        rest = search(rules, known, _facts(goal), partial(_depth_from, self.cells, rules, known, goal), self.effort)
        if rest is None:
            return None
        return replace(run, found=Found((Step(root.action, 0), *rest.steps), rest.known, rest.proven_minimal))


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
