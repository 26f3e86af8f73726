"""What fetches bring, as their operations' texts say: which keys, and where objects stand that others can add to.

{ users { name posts { id } } }    users, and below them name and posts, and below these id
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    parse,
)
from graphql.language import FragmentSpreadNode

from trifolio.conditions import Literal
from trifolio.executor.tree import Brings, KeyPath, Sources
from trifolio.query_plan import Entry, Fetch, Plan

NO_VALUES: Final[Mapping[str, bool]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Brought:
    """What a selection of an operation brings to each object that it is about."""

    fields: "Mapping[str, Brought | None]"
    """By key; None for a leaf."""
    is_plain: bool
    """Whether it is known which objects have what of it, and of what is below: nothing hangs on a variable of which the
    value is not given."""
    types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The types that alone have a key, where not all objects have it."""

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

    def __init__(self, plan: Plan, values: Mapping[str, bool] = NO_VALUES) -> None:
        """Where `values` of the variables of @skip and @include are given, it is what is brought with these."""
        self._plan = plan
        self._values = values

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
        return [(fetch, _read_operation(fetch, self._values)) for fetch in self._plan.fetches]


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


def _read_operation(fetch: Fetch, values: Mapping[str, bool]) -> Mapping[str, Brought]:
    document = parse(fetch.operation, no_location=True)
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    reader = _Reader(fragments, values)
    whole = reader.read(operation.selection_set, levels=0 if fetch.is_entity_fetch else None)
    if not fetch.is_entity_fetch:
        return {"": whole}
    brought = {entry.alias: Brought({}, is_plain=True) for entry in fetch.entries}  # where an alias is not asked for
    aliases = ((alias, below) for alias, below in whole.fields.items() if below is not None)
    return brought | {alias: replace(below, is_plain=below.is_plain and whole.is_plain) for alias, below in aliases}


class _Reader:
    """Reads the selection sets of one operation."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], values: Mapping[str, bool]) -> None:
        self._fragments = fragments
        self._values = values

    def read(self, selection_set: SelectionSetNode, *, levels: int | None) -> Brought:
        """A selection set; `levels` below the root of an entity request, whose entities a fragment may be about: they
        are all of its type."""
        fields: dict[str, Brought | None] = {}
        types: dict[str, frozenset[str]] = {}
        is_plain = True
        for node in selection_set.selections:
            is_there = self._is_there(node)
            if is_there is False:
                continue
            is_plain = is_plain and is_there is True
            more: Mapping[str, Brought | None]
            type_name = ""
            if isinstance(node, FieldNode):
                deeper = None if levels is None else levels + 1
                below = None if node.selection_set is None else self.read(node.selection_set, levels=deeper)
                more = {(node.alias or node.name).value: below}
                is_plain = is_plain and (below is None or below.is_plain)
            else:
                inner, type_name = self._inside(node)
                below = self.read(inner, levels=None if type_name else levels)
                more = below.fields
                is_plain = is_plain and below.is_plain and not below.types
                if levels == 1 and len(selection_set.selections) == 1:
                    type_name = ""
            for key, each in more.items():
                if key in fields:  # under another type it may be, where it is the same
                    is_plain = is_plain and (fields[key] == each if type_name else key not in types)
                if type_name and (key in types or key not in fields):
                    types[key] = types.get(key, frozenset()) | {type_name}
                fields[key] = _united(fields.get(key), each)
        return Brought(fields, is_plain, types)

    def _is_there(self, node: SelectionNode) -> bool | None:
        """What the directives of a field or fragment come to; None where that is not known beforehand."""
        known = True
        for directive in node.directives or ():
            literal = _literal(directive)
            if literal is None or literal[0] not in self._values:
                known = False
            elif self._values[literal[0]] is not literal[1]:
                return False
        return True if known else None

    def _inside(self, node: object) -> tuple[SelectionSetNode, str]:
        """What stands in a fragment, and the type that it is for, empty for none."""
        if isinstance(node, FragmentSpreadNode):
            fragment = self._fragments[node.name.value]
            return fragment.selection_set, fragment.type_condition.name.value
        assert isinstance(node, InlineFragmentNode)
        return node.selection_set, node.type_condition.name.value if node.type_condition else ""


def _literal(directive: DirectiveNode) -> Literal | None:
    """The variable that @skip or @include looks at, and the value that lets through what it stands on."""
    if directive.name.value not in ("skip", "include"):
        return None
    [argument] = directive.arguments or ()
    value = argument.value
    return (value.name.value, directive.name.value == "include") if isinstance(value, VariableNode) else None


def _united(one: Brought | None, other: Brought | None) -> Brought | None:
    """What two selections of one key bring together."""
    if one is None or other is None:
        return one or other
    fields = dict(one.fields)
    for key, each in other.fields.items():
        fields[key] = _united(fields.get(key), each)
    return Brought(fields, one.is_plain and other.is_plain and one.types == other.types, one.types)
