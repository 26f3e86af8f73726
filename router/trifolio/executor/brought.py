"""What fetches bring, as their operations' texts say: which keys, and where objects stand that others can add to.

{ users { name posts { id } } }    users, and below them name and posts, and below these id
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from graphql.language import FragmentSpreadNode

from trifolio.executor.tree import Brings, KeyPath, Sources
from trifolio.query_plan import Entry, Fetch, Plan


@dataclass(frozen=True, slots=True)
class Brought:
    """What a selection of an operation brings to each object that it is about."""

    fields: "Mapping[str, Brought | None]"
    """By key; None for a leaf."""
    is_plain: bool
    """Whether every object has all of it, and what is below: nothing hangs on a type or on a directive."""

    def containers(self) -> Iterator[KeyPath]:
        """The places below that hold objects or lists of objects."""
        for key, below in self.fields.items():
            if below is not None:
                yield (key,)
                for path in below.containers():
                    yield (key, *path)


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
            for fetch, by_alias in self.by_fetch
        }

    @cached_property
    def shares_results(self) -> Mapping[int, tuple[bool, ...]]:
        """By fetch id, for every entry whether objects may share its results; see `PreparedFetch`."""
        has_context = any(entry.context for _, entry in self._plan.entries())
        writes: Counter[KeyPath] = Counter()
        for fetch, by_alias in self.by_fetch:
            for alias in by_alias:
                writes.update(_written(fetch, alias, by_alias[alias]))
        return {
            fetch.id: tuple(
                _is_one_position(fetch, entry.alias, has_context=has_context)
                or all(writes[path] == 1 for path in _containers(fetch, entry.alias, by_alias[entry.alias]))
                for entry in fetch.entries
            )
            for fetch, by_alias in self.by_fetch
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
    def by_fetch(self) -> Sequence[tuple[Fetch, Mapping[str, Brought]]]:
        """Every fetch with what each of its aliases brings; a root fetch has one, the empty alias."""
        return [(fetch, _read_operation(fetch)) for fetch in self._plan.fetches]


def _keys(entry: Entry, brought: Brought) -> frozenset[str]:
    return frozenset(key for _, key in entry.keys) if entry.keys else frozenset(brought.fields)


def _is_one_position(fetch: Fetch, alias: str, *, has_context: bool) -> bool:
    """Whether all objects that sent the same stand at one position and are of one type."""
    entries = [entry for entry in fetch.entries if entry.alias == alias]
    return (
        len(entries) == 1 and len(entries[0].paths) == 1 and not entries[0].representation.typename and not has_context
    )


def _places(fetch: Fetch, alias: str) -> set[KeyPath]:
    """Where the objects stand that take an alias's results."""
    return {tuple(step.key for step in path) for entry in fetch.entries if entry.alias == alias for path in entry.paths}


def _containers(fetch: Fetch, alias: str, brought: Brought) -> set[KeyPath]:
    """Where an alias's results bring objects that something else could be merged into."""
    return {(*place, *below) for place in _places(fetch, alias) for below in brought.containers()}


def _written(fetch: Fetch, alias: str, brought: Brought) -> set[KeyPath]:
    """Every place whose objects an alias's results are merged into or bring."""
    return _places(fetch, alias) | _containers(fetch, alias, brought)


def _read_operation(fetch: Fetch) -> Mapping[str, Brought]:
    document = parse(fetch.operation, no_location=True)
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    whole = _read(operation.selection_set, fragments, levels=0 if fetch.is_entity_fetch else None)
    if not fetch.is_entity_fetch:
        return {"": whole}
    aliases = ((alias, below) for alias, below in whole.fields.items() if below is not None)
    return {alias: Brought(below.fields, below.is_plain and whole.is_plain) for alias, below in aliases}


_Fragments = Mapping[str, FragmentDefinitionNode]


def _read(selection_set: SelectionSetNode, fragments: _Fragments, *, levels: int | None) -> Brought:
    """A selection set; `levels` below the root of an entity request, whose entities a fragment may be about: they are
    all of its type."""
    fields: dict[str, Brought | None] = {}
    is_plain = True
    for node in selection_set.selections:
        is_plain = is_plain and not node.directives
        more: Mapping[str, Brought | None]
        if isinstance(node, FieldNode):
            deeper = None if levels is None else levels + 1
            below = None if node.selection_set is None else _read(node.selection_set, fragments, levels=deeper)
            more = {(node.alias or node.name).value: below}
            is_plain = is_plain and (below is None or below.is_plain)
        else:
            inner = _inside(node, fragments)
            of_entities = levels == 1 and len(selection_set.selections) == 1
            below = _read(inner, fragments, levels=None)
            more = below.fields
            is_plain = is_plain and of_entities and below.is_plain
        is_plain = is_plain and fields.keys().isdisjoint(more)
        for key, each in more.items():
            fields[key] = _united(fields.get(key), each)
    return Brought(fields, is_plain)


def _inside(node: object, fragments: _Fragments) -> SelectionSetNode:
    if isinstance(node, FragmentSpreadNode):
        return fragments[node.name.value].selection_set
    assert isinstance(node, InlineFragmentNode)
    return node.selection_set


def _united(one: Brought | None, other: Brought | None) -> Brought | None:
    """What two selections of one key bring together."""
    if one is None or other is None:
        return one or other
    fields = dict(one.fields)
    for key, each in other.fields.items():
        fields[key] = _united(fields.get(key), each)
    return Brought(fields, is_plain=False)
