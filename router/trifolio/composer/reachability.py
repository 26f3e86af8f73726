"""Where one can get to from where: the ways in which subgraphs can go on at a place in the graph.

A *way* is a subgraph standing on one of its types, with what a @provides gives it on this path. At an object of type T
a way leads to further ways: a subgraph is entered by `_entities` once the fields of one of its keys can be had, and a
field with @requires is unlocked once what it requires can be had from its own subgraph on. `Reachable` is the least
fixpoint of that: it starts with the way itself and grows while anything can be added. Fields of keys may be objects
with ways of their own, so all fixpoints that depend on one another grow together, in rounds, until one adds nothing.

As in Apollo's composition, every way is followed on its own: two ways that lead to the same place do not pool their
fields to make a key. External fields are not read, also where they are part of a key. And what a key needs is had
without the subgraph that it leads to, and without another key of the same fields: `Excluded` says what is barred while
a key's fields are looked for, further down as well.

An interface object has no runtime type to tell. Where all ways are such, only entries whose representation carries the
interface's name are open, until one of them tells the type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trifolio.query_graph import EntryPoint, QueryGraph, RequiringField
from trifolio.selections import FieldSet, SelectedField

Contexts = frozenset[str]
"""Names of the contexts that objects further up set."""


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """A subgraph standing on its type `on`: the object's own, or an interface that it has as interface object."""

    subgraph: str
    on: str
    view: FieldSet = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What a way leads to through a field: the subgraph's type of the field, and what is provided below."""

    subgraph: str
    type_name: str
    view: FieldSet


@dataclass(frozen=True, slots=True)
class Excluded:
    """What may not be used while the fields of a key, or what a field requires, are looked for."""

    subgraphs: frozenset[str] = frozenset()
    field_sets: frozenset[FieldSet] = frozenset()

    def and_(self, entry: EntryPoint) -> "Excluded":
        """This, and the subgraph and the key of an entry."""
        return Excluded(self.subgraphs | {entry.subgraph}, self.field_sets | {entry.key})

    def bars(self, entry: EntryPoint) -> bool:
        """Whether an entry may not be used."""
        return entry.subgraph in self.subgraphs or entry.key in self.field_sets


NOTHING: Final = Excluded()


@dataclass(slots=True)
class Reachable:
    """What can be had at a place."""

    ways: dict[Way, FieldSet | None] = field(default_factory=dict)
    """Each way with the key that it was entered by; None for one that began here."""
    unlocked: dict[tuple[str, str, str], Target] = field(default_factory=dict)
    """Fields with @requires or contexts that can be resolved: by subgraph, type and field."""
    typed: bool = False
    """Whether the object's runtime type can be told."""

    def add(self, other: "Reachable") -> None:
        """Have what another one has, too."""
        self.ways |= other.ways
        self.unlocked |= other.unlocked
        self.typed |= other.typed

    @property
    def size(self) -> int:
        """Grows whenever anything is added."""
        return len(self.ways) + len(self.unlocked) + self.typed


_Key = tuple[str, Way, Contexts, Excluded]


class Reachability:
    """The fixpoints of one query graph, each computed once."""

    def __init__(self, graph: QueryGraph) -> None:
        self.graph = graph
        self.types = graph.supergraph.types
        self.query = graph.supergraph.roots.get("query", "")
        self._found: dict[_Key, Reachable] = {}
        self._growing: list[_Key] = []
        self._is_growing = False

    # ---- places ----

    def at(self, type_name: str, ways: Iterable[Way], contexts: Contexts, excluded: Excluded = NOTHING) -> Reachable:
        """What can be had at an object of `type_name` that was reached by several ways."""
        result = Reachable()
        for way in ways:
            result.add(self._reachable(type_name, way, contexts, excluded))
        return result

    def arrivals(self, targets: Iterable[Target], type_name: str) -> frozenset[Way]:
        """The ways at an object of runtime type `type_name` that a field leads to.

        None where some subgraph cannot return that type: asking that one is always an answer, so nothing has to be
        proven for objects that only others would return.
        """
        interfaces = self.types[type_name].interfaces
        found = set()
        for target in targets:
            if target.type_name == type_name or type_name in self.graph.possible_types(
                target.subgraph, target.type_name
            ):
                found.add(Way(target.subgraph, type_name, target.view))
            elif target.type_name in interfaces and self.graph.is_interface_object(target.subgraph, target.type_name):
                found.add(Way(target.subgraph, target.type_name, target.view))
            elif self.types[target.type_name].is_abstract:
                return frozenset()
        return frozenset(found)

    def below(self, type_name: str, contexts: Contexts) -> Contexts:
        """The contexts that hold below an object of `type_name`."""
        own = {context for context in self.graph.supergraph.contexts if self.graph.sets_context(type_name, context)}
        return contexts | own if own else contexts

    # ---- fields ----

    def targets(self, reachable: Reachable, type_name: str, name: str) -> tuple[Target, ...]:
        """What a field of an object leads to, by everything that can be had there; empty where nobody resolves it."""
        found: dict[Target, None] = {}
        for way in reachable.ways:
            target = self._move(way, name)
            if target is not None:
                found[target] = None
        for (_, on, unlocked), target in reachable.unlocked.items():
            if unlocked == name and on in (type_name, *self.types[type_name].interfaces):
                found[target] = None
        return tuple(found)

    def _move(self, way: Way, name: str) -> Target | None:
        move = self.graph.moves(way.subgraph, way.on, way.view).get(name)
        return None if move is None else Target(way.subgraph, move.type.name, move.view)

    def has_all(
        self,
        type_name: str,
        reachable: Reachable,
        field_set: FieldSet,
        contexts: Contexts,
        excluded: Excluded = NOTHING,
    ) -> bool:
        """Whether everything that a field set selects on an object can be had."""
        for node in self.graph.narrow(field_set, type_name):
            if node.name == "__typename":
                if not reachable.typed:
                    return False
                continue
            declared = self.types[type_name].fields.get(node.name)
            targets = self.targets(reachable, type_name, node.name) if declared else ()
            if declared is None or not targets:
                return False
            if node.selection and not self._has_below(type_name, targets, node, contexts, excluded):
                return False
        return True

    def _has_below(
        self, parent: str, targets: tuple[Target, ...], node: SelectedField, contexts: Contexts, excluded: Excluded
    ) -> bool:
        inner = self.below(parent, contexts)
        for runtime_type in self.types[self.types[parent].fields[node.name].type.name].possible_types:
            ways = self.arrivals(targets, runtime_type)
            if not ways:
                continue
            reachable = self.at(runtime_type, ways, inner, excluded)
            if not self.has_all(runtime_type, reachable, node.selection, inner, excluded):
                return False
        return True

    # ---- fixpoints ----

    def _reachable(self, type_name: str, way: Way, contexts: Contexts, excluded: Excluded) -> Reachable:
        key = (type_name, way, contexts, excluded)
        found = self._found.get(key)
        if found is not None:
            return found
        reachable = Reachable(ways={way: None}, typed=way.on == type_name)
        self._found[key] = reachable
        self._growing.append(key)
        if not self._is_growing:
            self._is_growing = True
            # A fixpoint asked for while others grow is unfinished; it is grown on by the rounds here.
            while self._grow_all():
                pass
            self._growing.clear()
            self._is_growing = False
        return reachable

    def _grow_all(self) -> bool:
        grown = False
        for key in self._growing:
            reachable = self._found[key]
            before = (reachable.size, len(self._growing))
            self._grow(key, reachable)
            grown |= before != (reachable.size, len(self._growing))
        return grown

    def _grow(self, key: _Key, reachable: Reachable) -> None:
        type_name, _, contexts, excluded = key
        if type_name == self.query:
            subgraphs = self.types[type_name].subgraphs.keys() - excluded.subgraphs
            reachable.ways |= {Way(subgraph, type_name): None for subgraph in sorted(subgraphs)}
        # Shortest chains of keys first: what is entered in this round leads further in the next one.
        sources = tuple(reachable.ways)
        for entry in self.graph.entries(type_name):
            way = self.entered(entry, type_name)
            adds = way not in reachable.ways or (not reachable.typed and entry.kind == "interface entity")
            if adds and not excluded.bars(entry) and self._can_enter(key, sources, reachable, entry):
                reachable.ways.setdefault(way, entry.key)
                reachable.typed |= entry.kind != "interface object"
        for way in tuple(reachable.ways):
            for name, requiring in self.graph.requiring(way.subgraph, way.on).items():
                where = (way.subgraph, way.on, name)
                if where not in reachable.unlocked and self._is_unlocked(type_name, way, requiring, contexts):
                    reachable.unlocked[where] = Target(way.subgraph, requiring.type.name, requiring.view)

    def _can_enter(self, key: _Key, sources: tuple[Way, ...], reachable: Reachable, entry: EntryPoint) -> bool:
        """Whether the ways found so far have the fields of an entry's key.

        A way that was entered by the same key is not asked: where it came from could have gone on directly.
        """
        type_name, _, contexts, excluded = key
        if not self.is_open(entry, reachable):
            return False
        ways = {way: reachable.ways[way] for way in sources if reachable.ways[way] != entry.key}
        asked = Reachable(ways, reachable.unlocked, typed=reachable.typed)
        return self.has_all(type_name, asked, entry.key, contexts, excluded.and_(entry))

    def _is_unlocked(self, type_name: str, way: Way, requiring: RequiringField, contexts: Contexts) -> bool:
        """Whether a subgraph can be given what a field of it requires, starting from the subgraph itself."""
        if not all(argument.context in contexts for argument in requiring.contexts):
            return False
        if not self.can_return(type_name, way, contexts):
            return False
        barred = Excluded(field_sets=frozenset({requiring.requires}))
        reachable = self._reachable(type_name, way, contexts, barred)
        return self.has_all(type_name, reachable, requiring.requires, contexts, barred)

    def entered(self, entry: EntryPoint, type_name: str) -> Way:
        """Where an entry leads."""
        return Way(entry.subgraph, entry.type_name if entry.kind == "interface object" else type_name)

    def is_open(self, entry: EntryPoint, reachable: Reachable) -> bool:
        """Whether the name that an entry's representation carries is known."""
        return reachable.typed or entry.kind != "entity"

    def can_return(self, type_name: str, way: Way, contexts: Contexts) -> bool:
        """Whether a subgraph can be shown the object again by a key of its own, as a field with @requires needs."""
        alone = Reachable({way: None}, typed=True)
        return any(
            entry.subgraph == way.subgraph
            and self.entered(entry, type_name).on == way.on
            and self.has_all(type_name, alone, entry.key, contexts)
            for entry in (*self.graph.entries(type_name), *self.graph.returns(type_name))
        )

    def subgraphs_with(self, type_name: str, name: str) -> Mapping[str, str]:
        """The subgraphs that resolve a field of an object type, and the type on which each has it."""
        found: dict[str, str] = {}
        for on in (type_name, *self.types[type_name].interfaces):
            declared = self.types[on].fields.get(name)
            for subgraph, here in declared.subgraphs.items() if declared else ():
                owns = on == type_name or self.graph.is_interface_object(subgraph, on)
                if owns and not here.external and self.graph.is_active(here):
                    found.setdefault(subgraph, on)
        return found
