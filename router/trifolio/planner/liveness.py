"""Who asks what: from a sequence of requests to demands and dependencies, from the last request to the first.

When a request is reached, every demand on it is known, as only later requests make demands on it. For each demanded
fact a rule of the request is chosen; the rule's need becomes demand on earlier requests, each fact on the one that has
it soonest; and these are what the request waits for: a DAG, not the sequence. A request on which nothing was demanded
is dropped.

Conditions (@skip, @include) flow along: a need is wanted whenever something that rests on it is.

An entry whose key may be null asks for every other key that the subgraph takes, of the requests that it waits for
anyway: which objects it finds must not depend on whether the client happens to select another key, too. The first key
that is whole in an object is sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from types import MappingProxyType

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions
from trifolio.limits import Limits
from trifolio.planner.cells import Demand, bits
from trifolio.planner.facts import Action, Rule
from trifolio.planner.search import Found
from trifolio.query_graph import QueryGraph
from trifolio.work import Work


@dataclass(slots=True, eq=False)
class Use:
    """A rule that a request uses, and the facts wanted of it."""

    rule: Rule
    demand: Demand
    alternatives: list[Rule] = field(default_factory=list)
    """The same entry by other keys, for objects whose key is null."""


@dataclass(slots=True, eq=False)
class Request:
    """A request of the plan."""

    action: Action
    uses: list[Use] = field(default_factory=list)
    depends_on: set[int] = field(default_factory=set)
    """Indexes of other requests in the same list."""
    known: int = 0
    """The facts that the requests it waits for have brought."""
    step: int = 0
    """Its place in the sequence that was found."""


@dataclass(slots=True)
class _Candidate:
    """A rule that can be used in a step, and on which round trip its needs are there at the soonest."""

    rule: Rule
    level: int


@dataclass(frozen=True, slots=True)
class _Source:
    """A step that has a fact, and on which round trip."""

    level: int
    step: int


class Liveness:
    """Decides the requests of one found sequence."""

    def __init__(
        self,
        rules: Sequence[Rule],
        found: Found,
        known: int,
        polymorphic: int,
        span: Mapping[int, tuple[int, int]] = MappingProxyType({}),
        conditions: Conditions | None = None,
    ) -> None:
        """`known` facts are given; `conditions` are the operation's. A fact of the goal that has a `span` is taken from
        the steps from its first number to before its second; what requests need of one another, from wherever it is.
        """
        self.found = found
        self.given = known
        self.polymorphic = polymorphic
        self.span = span
        self.conditions = Conditions(Work(Limits().request_work_max)) if conditions is None else conditions
        work = self.conditions.work
        self.candidates: list[list[_Candidate]] = []
        self.sources: dict[int, list[_Source]] = {}
        """For each fact the steps that have it, each on an earlier round trip than the steps before it."""
        self.goal_sources: dict[int, list[_Source]] = {}
        """The same within the fact's span, where it has one."""
        self.rules: dict[Action, list[Rule]] = {}
        for rule in rules:
            self.rules.setdefault(rule.action, []).append(rule)
        for index, step in enumerate(found.steps):
            possible = self.rules[step.action]
            work.spend(1 + len(possible))
            usable = [rule for rule in possible if rule.need & step.known == rule.need]
            self.candidates.append([_Candidate(rule, 1 + self._level(rule.need)) for rule in usable])
            for candidate in self.candidates[-1]:
                brought = (candidate.rule.gain | candidate.rule.vacuous) & ~known
                work.spend(4 + 2 * (brought.bit_count() + candidate.rule.need.bit_count()))
                for fact in bits(brought):
                    source = _Source(candidate.level, index)
                    _add_source(self.sources.setdefault(fact, []), source)
                    start, end = span.get(fact, (0, 0))
                    if start <= index < end:
                        _add_source(self.goal_sources.setdefault(fact, []), source)

    def _level(self, need: int) -> int:
        return max((self.sources[fact][-1].level for fact in bits(need & ~self.given)), default=0)

    def _source(self, fact: int, before: int) -> int:
        """The step that has a fact soonest, among those before the one that needs it."""
        return next(source.step for source in reversed(self.sources[fact]) if source.step < before)

    def _goal_source(self, fact: int) -> int:
        """The step that a fact of the goal is taken from."""
        return self.goal_sources[fact][-1].step if fact in self.span else self._source(fact, len(self.found.steps))

    def sources_of(self, goal: Iterable[int]) -> set[int]:
        """The steps that bring facts of the goal."""
        return {self._goal_source(fact) for fact in goal if not fact & self.given}

    def requests(self, goal: Demand) -> list[Request]:
        """The requests in order, each with what it asks and what it waits for; idle steps are left out."""
        steps = self.found.steps
        demands: list[Demand] = [{} for _ in steps]
        requests = [Request(step.action, step=index) for index, step in enumerate(steps)]
        for fact, condition in goal.items():
            if not fact & self.given:
                demands[self._goal_source(fact)][fact] = condition
        for index in range(len(steps) - 1, -1, -1):
            requests[index].uses = self._choose(index, demands[index])
            for use in requests[index].uses:
                condition = self._any_of(use.demand)
                self.conditions.work.spend(4 + 2 * use.rule.need.bit_count())
                sources = {fact: self._source(fact, index) for fact in bits(use.rule.need & ~self.given)}
                if use.rule.has_nullable_key:
                    sources |= self._other_keys(index, use, set(sources.values()))
                for fact, source in sources.items():
                    demands[source][fact] = self.conditions.or_(demands[source].get(fact, NEVER), condition)
                    requests[index].depends_on.add(source)
        self._find_alternatives(requests, demands)
        return _without_idle(requests)

    def _other_keys(self, index: int, use: Use, steps: set[int]) -> dict[int, int]:
        """Note the other keys of an entry whose key may be null, and tell their facts with the steps that bring them.

        They are asked of the requests that the entry waits for in any case, whatever else the operation asks there: in
        a deferred part also a key that the part itself shows.
        """
        at_hand = self.given
        for step in steps:
            at_hand |= self._brought(step)
        sources: dict[int, int] = {}
        rules = sorted(self.rules[self.found.steps[index].action], key=_key_rank, reverse=True)
        self.conditions.work.spend(2 * len(rules))
        for rule in rules:
            if rule.need & at_hand == rule.need and _is_alternative(rule, use.rule):
                use.alternatives.append(rule)
                for fact in bits(rule.need & ~use.rule.need & ~self.given):
                    sources[fact] = min(step for step in steps if fact & self._brought(step))
        return sources

    def _brought(self, step: int) -> int:
        """Everything that a step can bring."""
        return reduce(or_, (candidate.rule.gain for candidate in self.candidates[step]), 0)

    def _find_alternatives(self, requests: Sequence[Request], demands: Sequence[Demand]) -> None:
        """Note for every entry whose key is never null the other keys that the requests before it bring in any case:
        a subgraph may fail to bring the one, or break its promise."""
        brought: list[int] = []
        for index, request in enumerate(requests):
            here = self.given
            for other in request.depends_on:
                here |= brought[other]
            request.known = here
            for use in request.uses:
                if use.rule.has_nullable_key:
                    continue
                use.alternatives = [
                    candidate.rule
                    for candidate in self.candidates[index]
                    if _is_alternative(candidate.rule, use.rule) and candidate.rule.need & here == candidate.rule.need
                ]
            brought.append(reduce(or_, demands[index], here))

    def depth(self, goal: Demand) -> int:
        """How many round trips the requests take."""
        return depth(self.requests(goal))

    def _choose(self, index: int, demand: Demand) -> list[Use]:
        """A rule for every demanded fact: as few rules as a greedy choice gives."""
        wanted = reduce(or_, demand, 0)
        candidates = [candidate for candidate in self.candidates[index] if candidate.rule.gain & wanted]
        left = reduce(or_, (candidate.rule.gain for candidate in candidates), 0) & wanted
        # What nothing gains is vacuous: no such object can be there.
        uses: list[Use] = []
        while left:
            self.conditions.work.spend(4 + 2 * len(candidates))
            best = max(candidates, key=lambda candidate: _rank(candidate, left))
            taken = best.rule.gain & left
            left &= ~taken
            uses.append(Use(best.rule, {fact: demand[fact] for fact in bits(taken)}))
            self.conditions.work.spend(2 * len(uses[-1].demand))
            for fact in bits(taken & self.polymorphic):
                typename = fact << 1
                if best.rule.gain & typename:  # who brings objects of several types says which, as it costs nothing
                    demand[typename] = self.conditions.or_(demand.get(typename, NEVER), demand[fact])
                    uses[-1].demand[typename] = demand[typename]
        return uses

    def _any_of(self, demand: Demand) -> Condition:
        condition = NEVER
        for each in demand.values():
            if condition is ALWAYS:
                break
            condition = self.conditions.or_(condition, each)
        return condition


def depth(requests: Iterable[Request]) -> int:
    """How many round trips requests take."""
    depths: list[int] = []
    for request in requests:
        depths.append(1 + max((depths[each] for each in request.depends_on), default=0))
    return max(depths, default=0)


def _add_source(sources: list[_Source], source: _Source) -> None:
    if not sources or source.level < sources[-1].level:
        sources.append(source)


def _rank(candidate: _Candidate, left: int) -> tuple[bool, bool, int, int, tuple[bool, int]]:
    """Rules that cover something come first; an interface's name is sent only where nobody knows the types yet."""
    rule = candidate.rule
    covered = (rule.gain & left).bit_count()
    is_last_resort = rule.kind == "interface entity" and not rule.cell.typename & left
    return covered > 0, not is_last_resort, covered, -candidate.level, _key_rank(rule)


def _key_rank(rule: Rule) -> tuple[bool, int]:
    """Keys that are never null come first, then short ones."""
    return not rule.has_nullable_key, -rule.need.bit_count()


def _is_alternative(rule: Rule, used: Rule) -> bool:
    return (
        rule is not used
        and rule.cell is used.cell
        and (rule.kind, rule.types, rule.requires) == (used.kind, used.types, used.requires)
        and rule.entry is not None
        and used.entry is not None
        and rule.entry.type_name == used.entry.type_name
        and rule.entry.key != used.entry.key
        and not used.contexts
    )


def places_apart(requests: Sequence[Request], graph: QueryGraph) -> list[Request]:
    """The requests, in order; one that asks root fields at several places is split where a field that is never null
    could take away, with the whole answer, what stands at another place.

    Such places share a request only because a type leads back to the query root: to the client they are different
    objects, and what one loses the other keeps.
    """
    result: list[Request] = []
    numbers: list[list[int]] = []
    for request in requests:
        depends_on = {new for old in request.depends_on for new in numbers[old]}
        groups = _groups_of_places(request, graph) if request.action[1] == "query" else [request.uses]
        numbers.append(list(range(len(result), len(result) + len(groups))))
        for uses in groups:
            waits = any(use.rule.need for use in uses)  # the operation's own root needs nothing
            result.append(replace(request, uses=uses, depends_on=set(depends_on) if waits else set()))
    return result


def _groups_of_places(request: Request, graph: QueryGraph) -> list[list[Use]]:
    """The uses of a request for root fields, those apart that must not share it with others."""
    by_place: dict[int, list[Use]] = {}
    for use in request.uses:
        by_place.setdefault(use.rule.cell.index, []).append(use)
    if len(by_place) == 1:
        return [request.uses]
    apart, together = [], []
    for uses in by_place.values():
        if any(_can_take_all(use, graph) for use in uses):
            apart.append(uses)
        else:
            together += uses
    return [together, *apart] if together else apart


def _can_take_all(use: Use, graph: QueryGraph) -> bool:
    """Whether a root field is asked that is never null."""
    rule = use.rule
    wanted = reduce(or_, use.demand, 0)
    moves = graph.moves(rule.subgraph, rule.cell.type_name)
    fields = (field for part in rule.reach.classes for field in part.fields)
    return any(
        moves[child.name].type.non_null[0]
        for child, below in fields
        if (child.fact if below is None else below.gain) & wanted
    )


def _without_idle(requests: list[Request]) -> list[Request]:
    kept = [index for index, request in enumerate(requests) if request.uses]
    renumbered = {old: new for new, old in enumerate(kept)}
    for index in kept:
        requests[index].depends_on = {renumbered[each] for each in requests[index].depends_on}
    return [requests[index] for index in kept]
