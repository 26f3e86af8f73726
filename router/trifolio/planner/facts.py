"""What each subgraph can tell: reaches and rules over the facts of an operation's cells.

A *reach* is what a subgraph can say about a cell while it stands there on one of its own types: the facts gained, kept
as a tree so that a request can be printed from it. A *rule* is a way for a subgraph to be asked: facts that must be
known before (`need`) and the reach that it opens. There are six kinds, and what a field requires besides:

    query, mutation,  nothing is needed, or that a cell exists where a type leads back to the query root
    subscription
    entity            the cell, its `__typename` unless only one type is possible, and one resolvable key
    interface object  the same without `__typename`: the representation carries the interface's name
    interface entity  keys of every class; the representation carries the interface's name, the answer brings the type
    (requiring)       any of the first two entries, and what @requires and @fromContext want besides: for one field;
                      also by a key that is not resolvable, for objects that the subgraph has returned itself

Alternative keys are alternative rules. Facts about types that the subgraph cannot return where it produced an object
itself, or that another subgraph of the same shared field cannot return, are *vacuous*: there is nothing to know, as no
such object can be there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Literal

from trifolio.planner.cells import Ancestor, Cell, Cells, Child, ChildKey, Class
from trifolio.query_graph import EntryPoint, QueryGraph, RequiringField
from trifolio.selections import FieldSet, parse_field_set
from trifolio.supergraph import ContextArgument, OperationKind

RuleKind = Literal["query", "mutation", "subscription", "entity", "interface object", "interface entity"]
"""Root rules are named after the kind of operation that they send."""

ActionKind = Literal["query", "mutation", "subscription", "entities"]

Action = tuple[str, ActionKind]
"""One request: a subgraph, and whether it is asked for `_entities` or for root fields. They never share a request."""


@dataclass(slots=True, eq=False)
class ClassReach:
    """What a subgraph can say about one class of a cell."""

    cls: Class
    fields: tuple[tuple[Child, "Reach | None"], ...]
    gain: int
    vacuous: int


@dataclass(slots=True, eq=False)
class Reach:
    """What a subgraph can say about a cell, standing on its own type `type_name`."""

    subgraph: str
    cell: Cell
    type_name: str
    by_interface_object: bool
    classes: tuple[ClassReach, ...]
    gain: int
    vacuous: int

    def on(self, type_name: str) -> "Reach":
        """The same reach, standing on another type of its class."""
        return Reach(
            self.subgraph, self.cell, type_name, self.by_interface_object, self.classes, self.gain, self.vacuous
        )

    def by_representation(self, *, is_typed: bool) -> "list[Reach]":
        """The parts whose objects are represented alike: class by class where the representation has their type."""
        if not is_typed or len(self.classes) == 1:
            return [self]
        return [
            Reach(self.subgraph, self.cell, self.type_name, self.by_interface_object, (part,), part.gain, part.vacuous)
            for part in self.classes
        ]


@dataclass(frozen=True, slots=True)
class ContextNeed:
    """An argument of a requiring field, and where above the field's object its value stands."""

    argument: ContextArgument
    ancestor: Ancestor


@dataclass(slots=True, eq=False)
class Rule:
    """A way to ask a subgraph: with the facts of `need` known, `reach` can be asked for."""

    subgraph: str
    kind: RuleKind
    cell: Cell
    types: tuple[str, ...]
    """The runtime types it takes; all of the cell's where types make no difference."""
    need: int
    gain: int
    vacuous: int
    reach: Reach
    entry: EntryPoint | None = None
    requires: FieldSet = ()
    contexts: tuple[ContextNeed, ...] = ()
    """For a field with @fromContext: where its arguments come from."""

    @property
    def has_nullable_key(self) -> bool:
        """Whether an object may be there whose key is null, or null within."""
        return self.entry is not None and self.entry.may_be_null

    @property
    def action(self) -> Action:
        """The request that the rule can be part of."""
        if self.kind == "query" or self.kind == "mutation" or self.kind == "subscription":
            return self.subgraph, self.kind
        return self.subgraph, "entities"

    @property
    def is_root(self) -> bool:
        """Whether it asks root fields; everything else asks `_entities`."""
        return self.action[1] != "entities"


class Reaches:
    """Builds reaches, each once, over finished cells."""

    def __init__(self, cells: Cells, graph: QueryGraph) -> None:
        self.cells = cells
        self.graph = graph
        self.work = cells.work
        self._reaches: dict[tuple[str, int, str, FieldSet], Reach] = {}
        self._classes: dict[tuple[str, int, str, FieldSet], ClassReach] = {}
        self._everything: dict[int, int] = {}

    def reach(self, subgraph: str, cell: Cell, type_name: str, view: FieldSet = ()) -> Reach:
        """What `subgraph` can say about `cell` where it stands on `type_name` and `view` is provided."""
        key = (subgraph, cell.index, type_name, view)
        found = self._reaches.get(key)
        if found is None:
            found = self._reaches[key] = self._reach(subgraph, cell, type_name, view)
        return found

    def _reach(self, subgraph: str, cell: Cell, type_name: str, view: FieldSet) -> Reach:
        by_interface_object = self.graph.is_interface_object(subgraph, type_name)
        possible = self.graph.possible_types(subgraph, type_name)
        self.work.spend(8 + 2 * len(cell.classes))
        parts: list[ClassReach] = []
        impossible: list[Class] = []
        for cls in cell.classes:
            if by_interface_object:
                if type_name in self.graph.supergraph.types[cls.representative].interfaces:
                    parts.append(self._class_reach(subgraph, cell, cls, type_name, view))
                continue
            if cls.representative in possible:
                parts.append(self._class_reach(subgraph, cell, cls, cls.representative, view))
            if cls.representative not in possible & cell.agreed:
                impossible.append(cls)
        reach = self._joined(subgraph, cell, type_name, parts, impossible)
        reach.gain |= cell.exists | (0 if by_interface_object else cell.typename) | cell.returned.get(subgraph, 0)
        reach.vacuous &= ~reach.gain
        return reach

    def entered(self, subgraph: str, cell: Cell, classes: Sequence[Class], entry: EntryPoint) -> Reach:
        """What `subgraph` can say about the objects of some classes, once it has them by an entry of this kind."""
        by_interface_object = self.graph.is_interface_object(subgraph, entry.type_name)
        parts = [
            self._class_reach(
                subgraph, cell, cls, entry.type_name if by_interface_object else cls.representative, (), by_entry=True
            )
            for cls in classes
        ]
        if by_interface_object and len(classes) > 1:
            parts = self._asked_of_all(parts)
        reach = self._joined(subgraph, cell, entry.type_name, parts, ())
        reach.gain |= cell.exists | (0 if by_interface_object else cell.typename)
        return reach

    def _asked_of_all(self, parts: Sequence[ClassReach]) -> list[ClassReach]:
        """The parts with what is wanted for all their classes: an interface object is asked it of every object alike,
        and a field that some of them fail at would take away what else is asked of these. What is wanted for some
        classes has a rule for each of them."""
        common = set.intersection(*(set(part.cls.children) for part in parts))
        kept = []
        for part in parts:
            self.work.spend(1 + len(part.cls.children) // 4)
            wanted = {id(child) for key, child in part.cls.children.items() if key in common}
            fields = tuple((child, below) for child, below in part.fields if id(child) in wanted)
            kept.append(part if len(fields) == len(part.fields) else class_reach_of(part.cls, fields))
        return kept

    def _joined(
        self, subgraph: str, cell: Cell, type_name: str, parts: Sequence[ClassReach], impossible: Sequence[Class]
    ) -> Reach:
        """One reach of several classes.

        Classes that share a composite field share the facts below it. Who has the field for some of these classes
        cannot tell those facts of all objects that are there, so that the field does not count; classes whose objects
        the subgraph cannot return (`impossible`) stand in nobody's way.
        """
        absent = {id(cls) for cls in impossible}
        self.work.spend(4 + sum(2 * len(part.fields) for part in parts) + sum(len(cls.children) for cls in impossible))
        having = {(id(child), id(part.cls)) for part in parts for child, _ in part.fields}
        gain = vacuous = 0
        kept = []
        for part in parts:
            fields = tuple(
                (child, below)
                for child, below in part.fields
                if len(child.classes) == 1
                or all((id(child), id(cls)) in having or id(cls) in absent for cls in child.classes)
            )
            if len(fields) < len(part.fields):
                part = class_reach_of(part.cls, fields)
            kept.append(part)
            gain, vacuous = gain | part.gain, vacuous | part.vacuous
        for cls in impossible:
            for child in cls.children.values():
                if all(id(each) in absent for each in child.classes):
                    vacuous |= self.everything_below(child)
        by_interface_object = self.graph.is_interface_object(subgraph, type_name)
        return Reach(subgraph, cell, type_name, by_interface_object, tuple(kept), gain, vacuous & ~gain)

    def _class_reach(
        self, subgraph: str, cell: Cell, cls: Class, type_name: str, view: FieldSet, *, by_entry: bool = False
    ) -> ClassReach:
        # An interface object that stands for several classes asks all objects what some are wanted for: it overasks.
        overasks = type_name not in cls.types and not by_entry and len(cell.classes) > 1
        key = (subgraph, -id(cls) if overasks else id(cls), type_name, view)  # the sign tells the two apart
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = self._find_fields(subgraph, cell, cls, type_name, view, overasks=overasks)
        return found

    def _find_fields(
        self, subgraph: str, cell: Cell, cls: Class, type_name: str, view: FieldSet, *, overasks: bool
    ) -> ClassReach:
        moves = self.graph.moves(subgraph, type_name, view)
        self.work.spend(4 + len(cls.children) // 2)
        fields: list[tuple[Child, Reach | None]] = []
        for child_key, child in cls.children.items():
            move = moves.get(child.name)
            if move is None:
                continue
            is_for_some = overasks and any(child_key not in each.children for each in cell.classes)
            if is_for_some and move.type.non_null[0] and self._is_had_by_entry(cls, child.name):
                continue  # asked of all types for the sake of some; one null would take the whole object with it
            below = self.reach(subgraph, child.cell, move.type.name, move.view) if child.cell is not None else None
            fields.append((child, below))
        return class_reach_of(cls, tuple(fields))

    def _is_had_by_entry(self, cls: Class, name: str) -> bool:
        """Whether a subgraph that can be entered has a field of a class's objects."""
        for entry in self.graph.entries(cls.representative):
            on = cls.representative if entry.kind == "entity" else entry.type_name
            if name in self.graph.moves(entry.subgraph, on) or name in self.graph.requiring(entry.subgraph, on):
                return True
        return False

    def field_reach(self, subgraph: str, cls: Class, child: Child, field: RequiringField) -> ClassReach:
        """The reach of one requiring field alone."""
        below = self.reach(subgraph, child.cell, field.type.name, field.view) if child.cell is not None else None
        return class_reach_of(cls, ((child, below),))

    def everything(self, cls: Class) -> int:
        """All facts about the objects of a class."""
        found = self._everything.get(id(cls))
        if found is None:
            found = 0
            self.work.spend(1 + len(cls.children))
            for child in cls.children.values():
                found |= self.everything_below(child)
            self._everything[id(cls)] = found
        return found

    def everything_below(self, child: Child) -> int:
        """All facts about a field and what stands below it."""
        found = child.fact
        if child.cell is not None:
            found = reduce(or_, child.cell.returned.values(), found | child.cell.typename)
            for cls in child.cell.classes:
                found |= self.everything(cls)
        return found


def class_reach_of(cls: Class, fields: tuple[tuple[Child, Reach | None], ...]) -> ClassReach:
    """The reach of some fields of a class."""
    gain = vacuous = 0
    for child, below in fields:
        gain |= child.fact | (below.gain if below is not None else 0)
        vacuous |= below.vacuous if below is not None else 0
    return ClassReach(cls, fields, gain, vacuous & ~gain)


def find_rules(cells: Cells, reaches: Reaches) -> list[Rule]:
    """All rules of an operation's cells, but for its own root; in order of cell, class and subgraph."""
    query_root = reaches.graph.supergraph.roots["query"]
    rules: list[Rule] = []
    for cell in cells.all:
        if cell is cells.root:
            continue
        if cell.type_name == query_root:
            rules += root_rules(reaches, cell, "query", cell.exists)
        for classes in _entered_together(cell):
            representative = classes[0].representative
            for entry in (*reaches.graph.entries(representative), *reaches.graph.returns(representative)):
                rules += _entry_rules(cells, reaches, cell, classes, entry)
    return [rule for rule in rules if rule.gain | rule.vacuous]


def root_rules(reaches: Reaches, cell: Cell, kind: OperationKind, need: int) -> Iterator[Rule]:
    """The rules that ask root fields at a cell: the operation's root, or a place that leads back to the query root."""
    for subgraph in sorted(reaches.graph.supergraph.types[cell.type_name].subgraphs):
        reaches.work.spend(4)
        reach = reaches.reach(subgraph, cell, cell.type_name)
        yield Rule(subgraph, kind, cell, cell.types, need, reach.gain, reach.vacuous, reach)


def _entered_together(cell: Cell) -> list[tuple[Class, ...]]:
    """The classes one by one, and those together that share a field."""
    together: dict[tuple[Class, ...], None] = {(cls,): None for cls in cell.classes}
    for cls in cell.classes:
        together |= {child.classes: None for child in cls.children.values()}
    return list(together)


def _entry_rules(
    cells: Cells, reaches: Reaches, cell: Cell, classes: tuple[Class, ...], entry: EntryPoint
) -> Iterator[Rule]:
    is_first = classes == (cell.classes[0],)
    reaches.work.spend(6 + len(classes[0].children) // 8)
    if entry.kind == "interface entity":
        if is_first:
            yield from _interface_entity_rules(cells, reaches, cell, entry)
        return
    if entry.kind == "interface object" and cell.is_polymorphic and is_first:
        yield from _untyped_rules(cells, reaches, cell, entry)
    need = cell.exists | (cell.typename if cell.is_polymorphic else 0) | _returned(cell, entry)
    for cls in classes:
        key = cells.need(cell, cls, entry.key)
        if key is None or not _has_entry(reaches.graph, cls, entry):
            return
        need |= key
    if not entry.is_return:
        reach = reaches.entered(entry.subgraph, cell, classes, entry)
        yield _rule(entry, cell, tuple(name for cls in classes for name in cls.types), need, reach)
    requiring = reaches.graph.requiring(entry.subgraph, entry.type_name)
    for child_key, child in classes[0].children.items() if requiring else ():
        if child.name in requiring and child.classes == classes:
            yield from _requiring_rule(cells, reaches, cell, classes, entry, need, child_key)


def _returned(cell: Cell, entry: EntryPoint) -> int:
    """That the subgraph has returned the objects, where the entry is open for no others."""
    return cell.returned[entry.subgraph] if entry.is_return else 0


def _has_entry(graph: QueryGraph, cls: Class, entry: EntryPoint) -> bool:
    """Whether a class has the entry that another class has."""
    theirs = graph.returns(cls.representative) if entry.is_return else graph.entries(cls.representative)
    return any(
        (each.subgraph, each.kind, each.key) == (entry.subgraph, entry.kind, entry.key)
        and (each.type_name == entry.type_name or entry.kind == "entity")
        for each in theirs
    )


def _rule(entry: EntryPoint, cell: Cell, types: tuple[str, ...], need: int, reach: Reach) -> Rule:
    return Rule(entry.subgraph, entry.kind, cell, types, need, reach.gain, reach.vacuous, reach, entry)


def _untyped_rules(cells: Cells, reaches: Reaches, cell: Cell, entry: EntryPoint) -> Iterator[Rule]:
    """Entries into an interface object before anybody knows the objects' types: all of them are asked alike."""
    need = _need_of_all(cells, cell, entry)
    if need is None:
        return
    if not entry.is_return:
        yield _rule(entry, cell, cell.types, need, reaches.reach(entry.subgraph, cell, entry.type_name))
    requiring = reaches.graph.requiring(entry.subgraph, entry.type_name)
    for child_key, child in cell.classes[0].children.items() if requiring else ():
        if child.name in requiring and all(child_key in cls.children for cls in cell.classes):
            yield from _requiring_rule(cells, reaches, cell, tuple(cell.classes), entry, need, child_key)


def _requiring_rule(
    cells: Cells,
    reaches: Reaches,
    cell: Cell,
    classes: tuple[Class, ...],
    entry: EntryPoint,
    need: int,
    child_key: ChildKey,
) -> Iterator[Rule]:
    """The rule of one requiring field on the objects of some classes, entered with the facts of `need` known."""
    parts = []
    gain = vacuous = 0
    field = reaches.graph.requiring(entry.subgraph, entry.type_name)[child_key[0]]
    for cls in classes:
        required = cells.need(cell, cls, field.requires)
        if required is None:
            return
        need |= required
        part = reaches.field_reach(entry.subgraph, cls, cls.children[child_key], field)
        parts.append(part)
        gain, vacuous = gain | part.gain, vacuous | part.vacuous
    by_interface_object = entry.kind == "interface object"
    reach = Reach(entry.subgraph, cell, entry.type_name, by_interface_object, tuple(parts), gain, vacuous & ~gain)
    rule = _rule(entry, cell, tuple(name for cls in classes for name in cls.types), need, reach)
    rule.requires = field.requires
    for argument in field.contexts:
        ancestor = cells.ancestor(cell, argument.context)
        if ancestor is None:
            return
        required = cells.need(ancestor.cell, ancestor.cls, parse_field_set(argument.selection))
        if required is None:
            return
        rule.need |= required
        rule.contexts = (*rule.contexts, ContextNeed(argument, ancestor))
    yield rule


def _need_of_all(cells: Cells, cell: Cell, entry: EntryPoint) -> int | None:
    """The keys of all classes at once; None where a type is no implementation of the entry's interface."""
    need = cell.exists | _returned(cell, entry)
    for cls in cell.classes:
        key = cells.need(cell, cls, entry.key)
        if key is None or entry.type_name not in cells.graph.supergraph.types[cls.representative].interfaces:
            return None
        need |= key
    return need


def _interface_entity_rules(cells: Cells, reaches: Reaches, cell: Cell, entry: EntryPoint) -> Iterator[Rule]:
    need = _need_of_all(cells, cell, entry)
    possible = reaches.graph.possible_types(entry.subgraph, entry.type_name)
    if need is None or not all(cls.representative in possible for cls in cell.classes):
        return
    reach = reaches.reach(entry.subgraph, cell, entry.type_name)
    yield _rule(entry, cell, cell.types, need, reach)
