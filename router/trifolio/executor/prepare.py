"""What is worked out once per plan rather than once per request."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from graphql.language import FragmentSpreadNode

from trifolio.conditions import ALWAYS
from trifolio.executor.codegen import FIELDS_MAX, OnDemand, count_fields, selections_below
from trifolio.executor.completion import make_room
from trifolio.executor.introspection import NOTHING, Introspected, introspect
from trifolio.executor.structs import StructProgram, StructsOnDemand, StructsRoom, generate_structs
from trifolio.executor.tree import Brings, KeyPath, Sources
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
    _brought: "BroughtOnDemand"

    @property
    def brings(self) -> tuple[Brings, ...]:
        """For every entry what its results bring."""
        return self._brought.brings[self.fetch.id]

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
    dependants: tuple[tuple[int, ...], ...]
    """For every fetch, by its place in `fetches`, the places of those that wait for it."""
    code: OnDemand
    """The plan as Python."""
    structs: StructsOnDemand
    """The answer's shape, for plans that are used often."""
    introspected: Introspected | None
    """What the schema says; None where that is asked for each request, as it takes variables."""
    held_bytes: int
    """What the plan and all that is made of it take in memory, by estimate."""
    _brought: "BroughtOnDemand"

    @property
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
    brought = BroughtOnDemand(plan)
    fetches = tuple(_prepare_fetches(plan, brought))
    return PreparedPlan(
        plan=plan,
        fetches=fetches,
        name=name,
        dependants=tuple(map(tuple, dependants)),
        code=OnDemand(plan, name=name, after=interpretations),
        structs=_structs(plan, brought, name, room, structs_after),
        introspected=introspected,
        held_bytes=_held_bytes(plan) + (0 if introspected is None else introspected.held_bytes),
        _brought=brought,
    )


def _structs(
    plan: Plan, brought: "BroughtOnDemand", name: str, room: StructsRoom | None, after: int
) -> StructsOnDemand:
    fields = count_fields(plan.selection, STRUCT_FIELDS_MAX)

    def make() -> StructProgram | None:
        shares = {
            (fetch.id, entry.alias): shared
            for fetch in plan.fetches
            for entry, shared in zip(fetch.entries, brought.shares_results[fetch.id], strict=True)
        }
        return generate_structs(plan, shares, name=name)

    return StructsOnDemand(make, fields=fields, room=room if fields <= STRUCT_FIELDS_MAX else None, after=after)


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


def _prepare_fetches(plan: Plan, brought: "BroughtOnDemand") -> Iterator[PreparedFetch]:
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


# ---- what the operations' texts say ----


class BroughtOnDemand:
    """What a plan's fetches bring, read off their texts when it is first asked for: by most requests never.

    It takes longer to read than the rest of preparing, and is of use where something is missing, or where several
    objects have asked for the same.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def brings(self) -> Mapping[int, tuple[Brings, ...]]:
        """By fetch id, for every entry what its results bring."""
        return {
            fetch.id: tuple(Brings(fetch.id, _keys(entry, by_alias[entry.alias])) for entry in fetch.entries)
            for fetch, by_alias in self._by_fetch
        }

    @cached_property
    def shares_results(self) -> Mapping[int, tuple[bool, ...]]:
        """By fetch id, for every entry whether objects may share its results; see `PreparedFetch`."""
        has_context = any(entry.context for _, entry in self._plan.entries())
        writes: Counter[KeyPath] = Counter()
        for fetch, by_alias in self._by_fetch:
            for alias in by_alias:
                writes.update(_written(fetch, alias, by_alias[alias]))
        return {
            fetch.id: tuple(
                _is_one_position(fetch, entry.alias, has_context=has_context)
                or all(writes[path] == 1 for path in _containers(fetch, entry.alias, by_alias[entry.alias]))
                for entry in fetch.entries
            )
            for fetch, by_alias in self._by_fetch
        }

    @cached_property
    def sources(self) -> Sources:
        """Where the values of the merged tree come from."""
        found: dict[tuple[KeyPath, str], str | None] = {}
        for fetch in self._plan.fetches:
            for entry, brings in zip(fetch.entries, self.brings[fetch.id], strict=True):
                for path in entry.paths:
                    for key in brings.keys:
                        place = tuple(step.key for step in path), key
                        is_alone = found.get(place, fetch.subgraph) == fetch.subgraph
                        found[place] = fetch.subgraph if is_alone else None
        return {place: subgraph for place, subgraph in found.items() if subgraph is not None}

    @cached_property
    def _by_fetch(self) -> "list[tuple[Fetch, dict[str, _Brought]]]":
        return [(fetch, _read_operation(fetch)) for fetch in self._plan.fetches]


@dataclass(frozen=True, slots=True)
class _Brought:
    """What the results of one alias write into the merged tree."""

    keys: frozenset[str]
    """The keys of each of its objects."""
    containers: frozenset[KeyPath]
    """The places below its objects that hold objects or lists of objects."""


def _keys(entry: Entry, brought: _Brought) -> frozenset[str]:
    return frozenset(key for _, key in entry.keys) if entry.keys else brought.keys


def _is_one_position(fetch: Fetch, alias: str, *, has_context: bool) -> bool:
    """Whether all objects that sent the same stand at one position and are of one type."""
    entries = [entry for entry in fetch.entries if entry.alias == alias]
    return (
        len(entries) == 1 and len(entries[0].paths) == 1 and not entries[0].representation.typename and not has_context
    )


def _places(fetch: Fetch, alias: str) -> set[KeyPath]:
    """Where the objects stand that take an alias's results."""
    return {tuple(step.key for step in path) for entry in fetch.entries if entry.alias == alias for path in entry.paths}


def _containers(fetch: Fetch, alias: str, brought: _Brought) -> set[KeyPath]:
    """Where an alias's results bring objects that something else could be merged into."""
    return {(*place, *below) for place in _places(fetch, alias) for below in brought.containers}


def _written(fetch: Fetch, alias: str, brought: _Brought) -> set[KeyPath]:
    """Every place whose objects an alias's results are merged into or bring."""
    return _places(fetch, alias) | _containers(fetch, alias, brought)


def _read_operation(fetch: Fetch) -> dict[str, _Brought]:
    """What each alias of a fetch brings; a root fetch has one, the empty alias."""
    document = parse(fetch.operation, no_location=True)
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    root = list(_fields(operation.selection_set, fragments))
    if not fetch.is_entity_fetch:
        return {"": _read_fields(root, fragments)}
    aliases = dict.fromkeys(entry.alias for entry in fetch.entries)
    return {
        alias: _read_fields(
            [pair for key, node in root if key == alias for pair in _fields(node.selection_set, fragments)], fragments
        )
        for alias in aliases
    }


def _read_fields(fields: list[tuple[str, FieldNode]], fragments: Mapping[str, FragmentDefinitionNode]) -> _Brought:
    containers: set[KeyPath] = set()
    pending: list[tuple[KeyPath, list[tuple[str, FieldNode]]]] = [((), fields)]
    while pending:
        path, inner = pending.pop()
        for key, node in inner:
            if node.selection_set is not None:
                containers.add((*path, key))
                pending.append(((*path, key), list(_fields(node.selection_set, fragments))))
    return _Brought(frozenset(key for key, _ in fields), frozenset(containers))


def _fields(
    selection_set: SelectionSetNode | None, fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterator[tuple[str, FieldNode]]:
    """The response keys of a selection set with their fields, those inside fragments included."""
    for node in selection_set.selections if selection_set else ():
        if isinstance(node, FieldNode):
            yield (node.alias or node.name).value, node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)
