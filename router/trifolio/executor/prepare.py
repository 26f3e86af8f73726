"""What is worked out once per plan rather than once per request."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from graphql import (
    GraphQLSchema,
)

from trifolio.conditions import ALWAYS
from trifolio.executor.brought import BroughtOnDemand
from trifolio.executor.codegen import FIELDS_MAX, OnDemand, count_fields, selections_below
from trifolio.executor.completion import make_room
from trifolio.executor.introspection import NOTHING, Introspected, introspect
from trifolio.executor.struct_answer import StructsByCombination, StructsRoom
from trifolio.executor.structs import generate_structs
from trifolio.executor.tree import Brings, Sources
from trifolio.query_plan import Entry, Fetch, Plan
from trifolio.work import Work

STRUCTS_AFTER: Final = 100
"""100 answers: making structs takes as long as they save in some tens of answers."""

STRUCT_FIELDS_MAX: Final = 200
"""200 output fields, at most 80 ms at once to make them: for more nobody may have to wait."""


@dataclass(frozen=True, slots=True)
class PreparedFetch:
    """A fetch and what its operation's text says about the merged tree."""

    fetch: Fetch
    is_entity_fetch: bool
    is_conditional: bool
    """Whether there are requests that do not send it."""
    aliases: tuple[tuple[int, Entry], ...]
    """The first entry of every alias, with its place in the fetch."""
    _brought: BroughtOnDemand

    def brings_of(self, index: int) -> Brings:
        """What the results of an entry bring, by its place in the fetch."""
        return self._brought.brings[self.fetch.id][index]

    @property
    def shares_results(self) -> tuple[bool, ...]:
        """For every entry whether objects that sent one representation may hold the very same result.

        They may where nothing else is merged into what the results bring, or where they stand at one position: there,
        one key means one thing for all of them, whatever is fetched below. Not where ancestors tell them apart
        (@fromContext) or where one representation stands for several types.
        """
        return self._brought.shares_results[self.fetch.id]


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, ready to be executed for any number of requests at the same time."""

    plan: Plan
    fetches: tuple[PreparedFetch, ...]
    name: str
    """The operation's name or hash, for tracebacks."""
    first: tuple[int, ...]
    """The fetches that wait for none, by their places in `fetches`."""
    waits: tuple[int, ...]
    """For every fetch how many others it waits for."""
    dependants: tuple[tuple[int, ...], ...]
    """For every fetch the places of those that wait for it."""
    code: OnDemand
    """The plan as Python."""
    structs: StructsByCombination
    """The answer's shape, for plans that are used often."""
    introspected: Introspected | None
    """What the schema says; None where that is asked for each request, as it takes variables."""
    held_bytes: int
    """What the plan and all that is made of it take in memory, by estimate."""
    _brought: BroughtOnDemand

    def sources(self) -> Sources:
        """Where the values of the merged tree come from."""
        return self._brought.sources


def prepare(
    plan: Plan,
    *,
    name: str = "",
    interpretations: int | None = 1,
    room: StructsRoom | None = None,
    structs_after: int = STRUCTS_AFTER,
    schema: GraphQLSchema | None = None,
    work: Work | None = None,
) -> PreparedPlan:
    """Read the fetches' operations and turn `depends_on` round, counted in `work`.

    So many first executions are interpretations, later ones run generated code; None: all are interpreted. Those that
    are wanted as JSON text are made of structs after so many, where there is `room`.
    `schema` is the API schema, asked for introspection alone. Raises WorkExceeded where that takes too much.
    """
    introspected: Introspected | None = NOTHING
    if plan.introspection is not None:
        introspected = None
        if schema is not None and not plan.introspection_variables:
            introspected = introspect(plan.introspection, schema, {}, Work(_UNBOUNDED) if work is None else work)
    if work is not None:
        work.spend(sum(len(fetch.operation) for fetch in plan.fetches) // _CHARACTERS_PER_UNIT)
    make_room(plan.selection)
    index_of = {fetch.id: index for index, fetch in enumerate(plan.fetches)}
    dependants: list[list[int]] = [[] for _ in plan.fetches]
    for index, fetch in enumerate(plan.fetches):
        for other in fetch.depends_on:
            dependants[index_of[other]].append(index)
    waits = tuple(len(fetch.depends_on) for fetch in plan.fetches)
    brought = BroughtOnDemand(plan)
    structs = _structs(plan, name, room, structs_after)
    fetches = tuple(_prepare_fetches(plan, brought))
    return PreparedPlan(
        plan=plan,
        fetches=fetches,
        name=name,
        first=tuple(index for index, count in enumerate(waits) if not count),
        waits=waits,
        dependants=tuple(map(tuple, dependants)),
        code=OnDemand(plan, name=name, after=interpretations),
        structs=structs,
        introspected=introspected,
        held_bytes=_held_bytes(plan) + structs.held_bytes + (0 if introspected is None else introspected.held_bytes),
        _brought=brought,
    )


def _structs(plan: Plan, name: str, room: StructsRoom | None, after: int) -> StructsByCombination:
    fields = count_fields(plan.selection, STRUCT_FIELDS_MAX)
    if fields > STRUCT_FIELDS_MAX:
        room = None
    variables = () if room is None else _conditional_variables(plan)
    generate = partial(generate_structs, plan, name=name)
    return StructsByCombination(generate, variables, fields=fields, room=room, after=after)


def _conditional_variables(plan: Plan) -> tuple[str, ...]:
    """The variables that decide what is asked and what is shown."""
    conditions = {fetch.condition for fetch in plan.fetches}
    conditions.update(entry.condition for _, entry in plan.entries())
    pending = [plan.selection]
    while pending:
        selection = pending.pop()
        conditions.update(each.condition for each in selection.fields)
        pending += selections_below(selection)
    return tuple(sorted({name for each in conditions for name in each.variables}))


_UNBOUNDED: Final = 10**9
"""More work than anybody waits for."""


_CHARACTERS_PER_UNIT: Final = 3
"""Characters of operations to subgraphs that are read in one unit."""

_PLAN_BYTES: Final = 10_000
_FETCH_BYTES: Final = 3_000
_ENTRY_BYTES: Final = 1_500
_FIELD_BYTES: Final = 360
_LINE_BYTES: Final = 1_100
_GUARDED_LINE_BYTES: Final = 1_000
"""What they take in memory, measured: a plan, a fetch, an entry, an output field, and a field in generated code, in the
text for whole answers and in that for answers in which something is missing."""


def _held_bytes(plan: Plan) -> int:
    """What a plan takes with its code. Fields of shared selections are held once, their code is written each time."""
    seen: set[int] = set()
    fields = 0
    pending = [plan.selection, *(part.selection for part in plan.deferred)]
    while pending:
        selection = pending.pop()
        if id(selection) not in seen:
            seen.add(id(selection))
            fields += len(selection.fields)
            pending += selections_below(selection)
    lines = count_fields(plan.selection, FIELDS_MAX)
    entries = sum(1 for _ in plan.entries())
    texts = sum(3 * len(fetch.operation) for fetch in plan.fetches) + 2 * len(plan.introspection or "")
    code = lines * (_LINE_BYTES + _GUARDED_LINE_BYTES) if lines <= FIELDS_MAX else 0
    return (
        _PLAN_BYTES + len(plan.fetches) * _FETCH_BYTES + entries * _ENTRY_BYTES + fields * _FIELD_BYTES + texts + code
    )


def _prepare_fetches(plan: Plan, brought: BroughtOnDemand) -> Iterator[PreparedFetch]:
    for fetch in plan.fetches:
        first: dict[str, tuple[int, Entry]] = {}
        for index, entry in enumerate(fetch.entries):
            first.setdefault(entry.alias if fetch.is_entity_fetch else "", (index, entry))
        yield PreparedFetch(
            fetch=fetch,
            is_entity_fetch=fetch.is_entity_fetch,
            is_conditional=fetch.condition != ALWAYS,
            aliases=tuple(first.values()),
            _brought=brought,
        )
