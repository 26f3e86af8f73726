"""The query graph: what each subgraph can say where, and how one gets from subgraph to subgraph.

Composer (is everything reachable?) and planner (what is the shortest way?) walk the same graph. It answers five
questions, each from a memo:

* `moves`: standing on a type in a subgraph, which fields can be asked for there, and what stands below. A *view* is the
  part of a @provides selection that holds at this place: it makes external fields available, on this path only.
* `requiring`: which fields the subgraph resolves only for a representation that carries more than a key (@requires,
  @fromContext). No move leads to them, not even where a @provides covers what they require: a subgraph may read it
  from the representation alone. They are reached through an entry. A @requires of what the subgraph itself resolves
  on all its objects, as federation 1 permits, says nothing: such a field is as any other.
* `entries`: for an object type, every way in by `_entities`: subgraph, key, and whose name the representation carries.
* `returns`: ways back in, for a subgraph that has fields with @requires, and keys that it says nobody can enter by. It
  can be asked for such a field of an object that it has returned itself: it is shown its own key again, with what the
  field requires. Composers and planners elsewhere take it so, and libraries make the object of the representation.
* `possible_types`: which runtime types a subgraph itself can return where it says a type.

A graph belongs to one set of progressive @override labels that are on; all other labels are off.

Specifications: Apollo Federation subgraph specification; join v0.5.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

from trifolio.selections import FieldSet, SelectedField, SelectedType, field_set_text, parse_field_set
from trifolio.supergraph import ContextArgument, FieldInSubgraph, Supergraph, TypeInSubgraph, TypeReference

LIKENESSES_KEPT_MAX: Final = 10_000
"""Answers of `likeness` kept: they depend on the fields that clients select together, which nothing else bounds."""

GRAPHS_KEPT_MAX: Final = 32
"""Query graphs kept, one per supergraph and set of labels that are on: a few experiments at a time, not 2^n."""


@dataclass(frozen=True, slots=True)
class Move:
    """A field that a subgraph can be asked for where it stands."""

    name: str
    type: TypeReference
    """The field's type in this subgraph."""
    view: FieldSet = ()
    """What is provided below the field, on this path only."""


@dataclass(frozen=True, slots=True)
class RequiringField:
    """A field that a subgraph resolves only for a representation with `requires` and arguments out of contexts."""

    name: str
    type: TypeReference
    requires: FieldSet
    contexts: tuple[ContextArgument, ...]
    view: FieldSet = ()


EntryKind = Literal["entity", "interface object", "interface entity"]


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A way into objects of one type by `_entities`."""

    subgraph: str
    kind: EntryKind
    type_name: str
    """The name that the representation carries: the object type's, or the interface's in the two interface kinds."""
    key: FieldSet
    may_be_null: bool = False
    """Whether the key, or something in it, may be null: there may be objects that cannot be entered this way."""
    is_return: bool = False
    """Whether it is open only for objects that the subgraph has returned itself, and only for what requires."""


class QueryGraph:
    """The query graph of a supergraph under one set of labels; a memo over immutable data, safe to share."""

    def __init__(self, supergraph: Supergraph, labels: frozenset[str]) -> None:
        self.supergraph = supergraph
        self.labels = labels
        self._moves: dict[tuple[str, str, FieldSet], Mapping[str, Move]] = {}
        self._requiring: dict[tuple[str, str], Mapping[str, RequiringField]] = {}
        self._entries: dict[str, tuple[EntryPoint, ...]] = {}
        self._returns: dict[str, tuple[EntryPoint, ...]] = {}
        self._requirements: dict[tuple[str, str], tuple[FieldSet, ...]] = {}
        self._extended_keys: dict[tuple[str, str], Mapping[str, FieldSet]] = {}
        self._field_likeness: dict[tuple[str, str], int] = {}
        self._likeness: dict[tuple[str, frozenset[str]], int] = {}
        self._numbers: dict[Hashable, int] = {}

    # ---- standing on a type ----

    def moves(self, subgraph: str, type_name: str, view: FieldSet = ()) -> Mapping[str, Move]:
        """The fields that `subgraph` can be asked for on its own type `type_name`, where `view` is provided."""
        key = (subgraph, type_name, view)
        if key not in self._moves:
            self._moves[key] = self._find_moves(subgraph, type_name, self.narrow(view, type_name))
        return self._moves[key]

    def _find_moves(self, subgraph: str, type_name: str, view: tuple[SelectedField, ...]) -> dict[str, Move]:
        moves: dict[str, Move] = {}
        provided: dict[str, FieldSet] = {}
        for node in view:
            provided[node.name] = provided.get(node.name, ()) + node.selection
        extended_keys = self.extended_keys(subgraph, type_name)
        for name, field in self.supergraph.types[type_name].fields.items():
            here = field.subgraphs.get(subgraph)
            below = parse_field_set(here.provides) if here and here.provides else ()
            if name in provided:
                moves[name] = Move(name, here.type if here else field.type, provided[name] + below)
            elif here and self.is_active(here) and not here.context_arguments:
                if here.requires and self._required(subgraph, type_name, here.requires):
                    continue
                if not here.external:
                    moves[name] = Move(name, here.type, below)
                elif name in extended_keys:
                    moves[name] = Move(name, here.type, extended_keys[name] + below)
        return moves

    def is_active(self, field: FieldInSubgraph) -> bool:
        """Whether a field is the subgraph's to resolve under the labels that are on (@override)."""
        if field.label is None:
            return not field.used_overridden
        return (field.label in self.labels) is (field.override is not None)

    def extended_keys(self, subgraph: str, type_name: str) -> Mapping[str, FieldSet]:
        """Fields in any key of a type that the subgraph extends, with what the keys select below: that is federation
        1's way to say that the subgraph has them, and its @external says nothing there. Elsewhere external is external,
        in a key, too: only who provides such a field can be asked for it."""
        key = (subgraph, type_name)
        if key not in self._extended_keys:
            fields: dict[str, FieldSet] = {}
            here = self.supergraph.types[type_name].subgraphs.get(subgraph)
            for each in here.keys if here and here.is_extension else ():
                for node in self.narrow(parse_field_set(each.field_set), type_name):
                    fields[node.name] = fields.get(node.name, ()) + node.selection
            self._extended_keys[key] = fields
        return self._extended_keys[key]

    def requiring(self, subgraph: str, type_name: str) -> Mapping[str, RequiringField]:
        """The fields that `subgraph` resolves on `type_name` only through an entry that carries what they require."""
        key = (subgraph, type_name)
        if key not in self._requiring:
            found: dict[str, RequiringField] = {}
            for name, field in self.supergraph.types[type_name].fields.items():
                here = field.subgraphs.get(subgraph)
                if not here or here.external or not self.is_active(here):
                    continue
                required = self._required(subgraph, type_name, here.requires) if here.requires else ()
                if required or here.context_arguments:
                    found[name] = RequiringField(
                        name,
                        here.type,
                        required,
                        here.context_arguments,
                        parse_field_set(here.provides) if here.provides else (),
                    )
            self._requiring[key] = found
        return self._requiring[key]

    def _required(self, subgraph: str, type_name: str, requires: str) -> FieldSet:
        """What a field set of @requires asks of others; empty where the subgraph has all of it itself."""
        required = parse_field_set(requires)
        return () if self._resolves(subgraph, type_name, required) else required

    def _resolves(self, subgraph: str, type_name: str, field_set: FieldSet) -> bool:
        """Whether a subgraph itself resolves all that a field set selects on its type, and needs nothing for it."""
        for node in field_set:
            if isinstance(node, SelectedType):
                if not self._resolves(subgraph, node.type_condition or type_name, node.selection):
                    return False
                continue
            owner = self.supergraph.types.get(type_name)
            declared = owner.fields.get(node.name) if owner else None
            here = declared.subgraphs.get(subgraph) if declared else None
            if here is None or here.external or not self.is_active(here) or here.requires or here.context_arguments:
                return False
            if node.selection and not self._resolves(subgraph, here.type.name, node.selection):
                return False
        return True

    def possible_types(self, subgraph: str, type_name: str) -> frozenset[str]:
        """The runtime types that `subgraph` can return where it says `type_name`; unknown ones of an interface object
        are none, as it cannot name any."""
        here = self.supergraph.types[type_name].subgraphs.get(subgraph)
        if here is None or here.is_interface_object:
            return frozenset()
        return here.possible_types

    def is_interface_object(self, subgraph: str, type_name: str) -> bool:
        """Whether `subgraph` has the interface as an object (@interfaceObject)."""
        here = self.supergraph.types[type_name].subgraphs.get(subgraph)
        return here is not None and here.is_interface_object

    # ---- from subgraph to subgraph ----

    def entries(self, type_name: str) -> tuple[EntryPoint, ...]:
        """Every way into objects of the object type `type_name`, in an order that does not depend on the SDL's."""
        if type_name not in self._entries:
            own = self._entries_by(type_name, "entity")
            by_interface = [
                entry
                for interface in self.supergraph.types[type_name].interfaces
                for entry in self._entries_by(interface, "interface entity")
                if entry.kind == "interface object" or type_name in self.possible_types(entry.subgraph, entry.type_name)
            ]
            found = [*own, *by_interface]
            self._entries[type_name] = tuple(sorted(found, key=lambda e: (e.subgraph, e.kind, field_set_text(e.key))))
        return self._entries[type_name]

    def returns(self, type_name: str) -> tuple[EntryPoint, ...]:
        """The ways back into objects of the object type `type_name`, for fields with @requires: one for each key of its
        own that a subgraph has, where it has none by which it can be entered."""
        if type_name not in self._returns:
            found: list[EntryPoint] = []
            for owner in (type_name, *self.supergraph.types[type_name].interfaces):
                for subgraph, here in self.supergraph.types[owner].subgraphs.items():
                    if owner != type_name and not here.is_interface_object:
                        continue
                    if any(field.requires for field in self.requiring(subgraph, owner).values()):
                        found += self._returns_by(subgraph, owner, here)
            self._returns[type_name] = tuple(sorted(found, key=lambda e: (e.subgraph, e.kind, field_set_text(e.key))))
        return self._returns[type_name]

    def _returns_by(self, subgraph: str, type_name: str, here: TypeInSubgraph) -> Iterator[EntryPoint]:
        own = {each: parse_field_set(each.field_set) for each in here.keys}
        own = {each: key for each, key in own.items() if self._can_show(subgraph, type_name, key)}
        if any(each.resolvable for each in own):
            return
        kind: EntryKind = "interface object" if here.is_interface_object else "entity"
        for key in dict.fromkeys(own.values()):
            yield EntryPoint(subgraph, kind, type_name, key, self._may_be_null(type_name, key), is_return=True)

    def _can_show(self, subgraph: str, type_name: str, field_set: FieldSet) -> bool:
        """Whether a subgraph can be asked for all that a field set selects on its type."""
        moves = self.moves(subgraph, type_name)
        return all(
            node.name in moves
            and (not node.selection or self._can_show(subgraph, moves[node.name].type.name, node.selection))
            for node in self.narrow(field_set, type_name)
        )

    def _entries_by(self, type_name: str, kind: EntryKind) -> list[EntryPoint]:
        found = []
        for subgraph, here in self.supergraph.types[type_name].subgraphs.items():
            kind_here: EntryKind = "interface object" if here.is_interface_object else kind
            texts = dict.fromkeys(each.field_set for each in here.keys if each.resolvable)
            found += [
                EntryPoint(subgraph, kind_here, type_name, key, self._may_be_null(type_name, key))
                for key in map(parse_field_set, texts)
            ]
        return found

    def _may_be_null(self, type_name: str, field_set: FieldSet) -> bool:
        for node in self.narrow(field_set, type_name):
            field = self.supergraph.types[type_name].fields.get(node.name)
            if field is None:
                continue
            if not all(field.type.non_null):
                return True
            below = self.supergraph.possible_types.get(field.type.name, ()) if node.selection else ()
            if any(self._may_be_null(each, node.selection) for each in sorted(below)):
                return True
        return False

    def requirements(self, type_name: str, field_name: str) -> tuple[FieldSet, ...]:
        """Everything that any subgraph requires to resolve the field on the object type, each selection once."""
        key = (type_name, field_name)
        if key not in self._requirements:
            found: dict[FieldSet, None] = {}
            for owner in (type_name, *self.supergraph.types[type_name].interfaces):
                field = self.supergraph.types[owner].fields.get(field_name)
                for subgraph in field.subgraphs if field else ():
                    if owner == type_name or self.is_interface_object(subgraph, owner):
                        requiring = self.requiring(subgraph, owner).get(field_name)
                        if requiring and requiring.requires:
                            found[requiring.requires] = None
            self._requirements[key] = tuple(sorted(found, key=field_set_text))
        return self._requirements[key]

    def contexts(self, type_name: str, field_name: str) -> tuple[ContextArgument, ...]:
        """Every argument that any subgraph fills from a context to resolve the field on the object type."""
        return tuple(
            argument
            for subgraph in self.supergraph.types[type_name].fields[field_name].subgraphs
            if (requiring := self.requiring(subgraph, type_name).get(field_name)) is not None
            for argument in requiring.contexts
        )

    def sets_context(self, type_name: str, context: str) -> bool:
        """Whether objects of the type set the context, by their own type or by an interface or union they belong to."""
        owners = self.supergraph.contexts.get(context, frozenset())
        return any(owner == type_name or type_name in self.supergraph.possible_types[owner] for owner in owners)

    # ---- likeness ----

    def likeness(self, type_name: str, fields: frozenset[str]) -> int:
        """A number that two object types share when no subgraph treats them differently, as far as `fields` go: same
        subgraphs, interfaces and keys, same place of each field, of the keys' fields and of what they require."""
        key = (type_name, fields)
        if key not in self._likeness:
            own = self.supergraph.types[type_name]
            names = self._with_dependencies(type_name, fields)
            value = (
                frozenset((subgraph, here.interfaces) for subgraph, here in own.subgraphs.items()),
                frozenset(own.interfaces),
                frozenset(context for context in self.supergraph.contexts if self.sets_context(type_name, context)),
                tuple(map(_alike, (*self.entries(type_name), *self.returns(type_name)))),
                tuple(
                    (name, field.type, tuple(sorted(field.subgraphs.items(), key=lambda item: item[0])))
                    for name, field in sorted(own.fields.items())
                    if name in names
                ),
                frozenset(c for c in self._named_conditions if self.applies(SelectedType(c, ()), type_name)),
            )
            self._likeness[key] = self._number(value)
        return self._likeness[key]

    def trim(self) -> None:
        """Forget the likenesses where they have become too many; numbers from before must not be compared with later
        ones, so that this is done between walks."""
        if len(self._likeness) > LIKENESSES_KEPT_MAX:
            self._likeness.clear()
            self._field_likeness.clear()
            self._numbers.clear()

    def _number(self, value: Hashable) -> int:
        """A number for a value: quicker to compare."""
        return self._numbers.setdefault(value, len(self._numbers))

    def field_likeness(self, type_name: str, field_name: str) -> int:
        """A number that two object types share when every subgraph treats this one field of theirs alike: where it is,
        what it says and requires there, and how one enters the type there."""
        key = (type_name, field_name)
        if key not in self._field_likeness:
            own = self.supergraph.types[type_name]
            places = [("", own.fields[field_name])] + [
                (interface, self.supergraph.types[interface].fields[field_name])
                for interface in own.interfaces
                if field_name in self.supergraph.types[interface].fields
            ]
            here = [
                (owner, subgraph, field.subgraphs[subgraph])
                for owner, field in places
                for subgraph in sorted(field.subgraphs)
                if not owner or self.is_interface_object(subgraph, owner)
            ]
            subgraphs = {subgraph for _, subgraph, _ in here}
            value = (
                own.fields[field_name].type,
                tuple(here),
                tuple(
                    _alike(entry)
                    for entry in (*self.entries(type_name), *self.returns(type_name))
                    if entry.subgraph in subgraphs
                ),
                frozenset(context for context in self.supergraph.contexts if self.sets_context(type_name, context)),
                frozenset(c for c in self._named_conditions if self.applies(SelectedType(c, ()), type_name)),
            )
            self._field_likeness[key] = self._number(value)
        return self._field_likeness[key]

    def _with_dependencies(self, type_name: str, fields: frozenset[str]) -> set[str]:
        names = set(fields)
        entries = (*self.entries(type_name), *self.returns(type_name))
        names |= {node.name for entry in entries for node in self.narrow(entry.key, type_name)}
        todo = list(names)
        while todo:
            for requires in self.requirements(type_name, todo.pop()):
                new = {node.name for node in self.narrow(requires, type_name)} - names
                names |= new
                todo += new
        return names

    @cached_property
    def _field_sets(self) -> tuple[FieldSet, ...]:
        """Every field set of the supergraph, each once."""
        texts: dict[str, None] = {}
        for each in self.supergraph.types.values():
            for here in each.subgraphs.values():
                texts |= dict.fromkeys(key.field_set for key in here.keys)
            for field in each.fields.values():
                for place in field.subgraphs.values():
                    texts |= dict.fromkeys(text for text in (place.requires, place.provides) if text)
                    texts |= dict.fromkeys(argument.selection for argument in place.context_arguments)
        return tuple(parse_field_set(text) for text in texts)

    @cached_property
    def _named_conditions(self) -> frozenset[str]:
        """The types that any field set names in an inline fragment."""
        nodes = (node for field_set in self._field_sets for node in _nodes(field_set))
        return frozenset(
            node.type_condition for node in nodes if isinstance(node, SelectedType) and node.type_condition is not None
        )

    @cached_property
    def field_set_composites(self) -> frozenset[str]:
        """The names of fields below which any field set selects something."""
        nodes = (node for field_set in self._field_sets for node in _nodes(field_set))
        return frozenset(node.name for node in nodes if isinstance(node, SelectedField) and node.selection)

    # ---- field sets ----

    def narrow(self, field_set: FieldSet, type_name: str) -> tuple[SelectedField, ...]:
        """The fields of a field set that apply to objects of `type_name`: its inline fragments taken or dropped."""
        fields: list[SelectedField] = []
        for node in field_set:
            if isinstance(node, SelectedField):
                fields.append(node)
            elif self.applies(node, type_name):
                fields += self.narrow(node.selection, type_name)
        return tuple(fields)

    def applies(self, node: SelectedType, type_name: str) -> bool:
        """Whether an inline fragment's condition can hold for `type_name`."""
        if node.type_condition is None or node.type_condition == type_name:
            return True
        condition = self.supergraph.types.get(node.type_condition)
        return condition is not None and type_name in (*condition.possible_types,)


def _alike(entry: EntryPoint) -> tuple[object, ...]:
    """What two types share where one enters them alike."""
    return entry.subgraph, entry.kind, entry.type_name if entry.kind != "entity" else "", entry.key, entry.is_return


def _nodes(field_set: FieldSet) -> Iterator[SelectedField | SelectedType]:
    for node in field_set:
        yield node
        yield from _nodes(node.selection)


def query_graph(supergraph: Supergraph, labels: frozenset[str] = frozenset()) -> QueryGraph:
    """The graph of a supergraph with these @override labels on; labels that it does not use make no difference."""
    graph = _kept_query_graph(supergraph, labels & supergraph.labels)
    graph.trim()
    return graph


@lru_cache(maxsize=GRAPHS_KEPT_MAX)
def _kept_query_graph(supergraph: Supergraph, labels: frozenset[str]) -> QueryGraph:
    return QueryGraph(supergraph, labels)
