"""Where an operation's facts stand: cells, their classes, and the key of every field in the merged tree.

A *cell* is an object position of the operation as one chain of runtime types reaches it: (parent cell, parent class,
field with arguments). Lists are flattened. Its possible runtime types are split into *classes*, the coarsest partition
on which the client's selections, the keys and every subgraph's share agree, so that all types of a class can be planned
as one. Classes on which a composite field is selected alike and resolved alike share its cell, else nested interfaces
would multiply: a subgraph knows a shared cell's facts only where it has the field for all of these classes. Everything
the planner can know is a *fact*, one bit each: a leaf of a class, that a cell's objects exist, that their `__typename`
is known, that a certain subgraph has returned them. A set of facts is an int.

Cells that lie at the same place of the merged tree (the `owner` of cats and the `owner` of dogs) share a *position*,
which gives every (field, arguments) one key; fields whose shapes could clash in one response get keys of their own.

`client` builds what the operation asks for, and collects its goal. `hidden` adds what keys and @requires may need:
first for the client's cells, then, as long as the search finds no plan, for cells that were added themselves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Final

from graphql.language import SelectionSetNode

from trifolio.conditions import NEVER, Condition, Conditions
from trifolio.errors import ClientText, DocumentError, ErrorCode, OperationError, PlanningError
from trifolio.operation import (
    INTROSPECTION_FIELDS,
    Collected,
    Contribution,
    FlatField,
    Flattener,
    deferrals_in,
)
from trifolio.planner.aliases import Apart, Risks
from trifolio.query_graph import QueryGraph
from trifolio.selections import Arguments, FieldSet, SelectedField, parse_field_set
from trifolio.supergraph import Field, OperationKind, TypeReference

CELLS_MAX: Final = 5_000
"""Object positions of one operation, hidden ones included: far beyond honest operations, and a second of planning."""

DEPTH_MAX: Final = 128
"""Levels of nesting, fragments followed: what prints and projects a plan recurses, and Python's stack is short."""

FACTS_MAX: Final = 30_000
"""Facts of one operation: each is as many bits long as there are facts before it, so that this bounds memory."""

FACTS_PER_UNIT: Final = 1_000
"""Facts in a set that one unit of work combines: a set is a number of as many bits."""

_CHUNK_BITS: Final = 240
_CHUNK: Final = (1 << _CHUNK_BITS) - 1

Demand = dict[int, Condition]
"""Facts (single bits) and when they are wanted."""


@dataclass(slots=True)
class _Group:
    """Fields that share a key at a position, as their values have the same shape in every subgraph."""

    key: str
    type_name: str
    shapes: dict[str, object]
    position: "Position | None" = None


@dataclass(slots=True, eq=False)
class Position:
    """A place in the merged tree: hands out the keys of the fields below it."""

    groups: dict[tuple[str, Arguments, str], list[_Group]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: {"__typename"})


@dataclass(slots=True, eq=False)
class Child:
    """A field with arguments, on the objects of one class."""

    name: str
    arguments: Arguments
    key: str
    """Where its value stands in the merged tree."""
    type: TypeReference
    """Its type in the supergraph."""
    fact: int
    """The bit of a leaf; for a composite field the `exists` bit of its cell."""
    cell: "Cell | None" = None
    classes: "tuple[Class, ...]" = ()
    """The classes that it is a field of: several share the cell of a composite field."""


ChildKey = tuple[str, Arguments, str]
"""Name, arguments, and what tells apart equal fields that are asked twice (in mutations, and aliases that must not lose
their objects together), else empty."""


@dataclass(slots=True, eq=False)
class Class:
    """Runtime types of a cell that nothing tells apart."""

    types: tuple[str, ...]
    children: dict[ChildKey, Child] = field(default_factory=dict)

    @property
    def representative(self) -> str:
        """A type that stands for all of them."""
        return self.types[0]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """Where a cell finds a context: so many steps up, on the objects of one class."""

    levels_up: int
    cell: "Cell"
    cls: Class


@dataclass(slots=True, eq=False)
class _Wish:
    """What the client wants of one field on one class, all its appearances together."""

    response_key: str
    condition: Condition
    by_node: dict[int, dict[frozenset[str], Contribution]]
    """The contributions by the identity of the selection set, and by the deferrals that it stands in: a fragment that
    is deferred in it is a part of its own inside each of them."""
    is_composite: bool = False

    def add(self, selection_set: SelectionSetNode, condition: Condition, conditions: Conditions) -> None:
        """Note a selection set below the field; where it is there under a wider condition, nothing is new."""
        there = self.by_node.setdefault(id(selection_set), {})
        if there and conditions.implies(condition, reduce(conditions.or_, (wanted for _, wanted in there.values()))):
            return
        deferrals = deferrals_in(condition)
        seen = there.get(deferrals)
        there[deferrals] = (selection_set, condition if seen is None else conditions.or_(seen[1], condition))

    @property
    def contributions(self) -> list[Contribution]:
        """What is selected below the field, and when."""
        return [each for there in self.by_node.values() for each in there.values()]


@dataclass(slots=True, eq=False)
class Cell:
    """An object position of the operation; see the module's text."""

    index: int
    type_name: str
    """The supergraph's type of the field that leads here."""
    position: Position
    exists: int
    typename: int
    types: tuple[str, ...]
    """The possible runtime types, sorted."""
    standing: tuple[tuple[str, str], ...]
    """(subgraph, type) for each subgraph that can say the field that leads here, and the type it says."""
    agreed: frozenset[str]
    """The runtime types that all subgraphs that resolve the field can return: as they resolve it alike, no object of
    another type comes here."""
    generation: int
    """0 where the client asks; else how many field sets led here, each from the cell of the one before."""
    depth: int
    """Steps from the root."""
    parent: "tuple[Cell, Child] | None" = None
    classes: list[Class] = field(default_factory=list)
    apart: Apart = field(default_factory=dict)
    """Which aliases of one field are asked apart."""
    returned: dict[str, int] = field(default_factory=dict)
    """For subgraphs that can be entered only by who has the object of them: the bit that they have returned it."""

    @property
    def is_polymorphic(self) -> bool:
        """Whether an object's type has to be looked up at run time."""
        return len(self.types) > 1


class Cells:
    """All cells of one operation, while the planner builds them."""

    def __init__(self, graph: QueryGraph, flattener: Flattener, kind: OperationKind) -> None:
        root_type = graph.supergraph.roots.get(kind)
        if root_type is None:
            message = f"The schema has no {kind} type."
            raise OperationError(ErrorCode.OPERATION_RESOLUTION_FAILURE, ClientText(message))
        self.graph = graph
        self.flattener = flattener
        self.conditions = flattener.conditions
        self.work = flattener.work
        self.is_mutation = kind == "mutation"
        self.answered_here = INTROSPECTION_FIELDS if kind == "query" else frozenset()
        self.all: list[Cell] = []
        self.goal: Demand = {}
        self._risks = Risks(flattener)
        self._bits = 0
        self._hidden_done: dict[int, int] = {}
        self.root = self._new_cell(root_type, Position(), (), frozenset((root_type,)), 0, 0)
        self.root.classes = [Class((root_type,))]

    @property
    def polymorphic(self) -> int:
        """The `exists` bits of all cells whose objects' types have to be looked up; `typename` is the next bit."""
        return reduce(or_, (cell.exists for cell in self.all if cell.is_polymorphic), 0)

    # ---- building ----

    def _bit(self) -> int:
        if self._bits >= FACTS_MAX:
            raise PlanningError(ErrorCode.PLANNING_BUDGET_EXCEEDED)
        self.work.spend(4 + self._bits // FACTS_PER_UNIT)
        self._bits += 1
        return 1 << (self._bits - 1)

    def _new_cell(
        self,
        type_name: str,
        position: Position,
        standing: tuple[tuple[str, str], ...],
        agreed: frozenset[str],
        generation: int,
        depth: int,
    ) -> Cell:
        if len(self.all) >= CELLS_MAX:
            message = f"The operation has more than {CELLS_MAX} object positions to plan."
            raise PlanningError(ErrorCode.PLANNING_BUDGET_EXCEEDED, ClientText(message))
        if depth > DEPTH_MAX:
            raise DocumentError(ErrorCode.DOCUMENT_TOO_DEEP)
        types = self.graph.supergraph.types[type_name].possible_types
        index, exists, typename = len(self.all), self._bit(), self._bit()
        cell = Cell(index, type_name, position, exists, typename, types, standing, agreed, generation, depth)
        self.all.append(cell)
        return cell

    def child(self, cell: Cell, classes: tuple[Class, ...], identity: ChildKey, response_key: str = "") -> Child:
        """The child of classes for a field with arguments, made where there is none; `response_key` is a wish.

        Raises DocumentError where the type has no such field.
        """
        found = classes[0].children.get(identity)
        if found is None:
            found = self._new_child(cell, classes, identity, response_key)
            for cls in classes:
                cls.children[identity] = found
        return found

    def identity(self, cell: Cell, name: str, arguments: Arguments, collected: Collected) -> ChildKey:
        """Which child of its class a client's field is: the same for all of this name and arguments, but for aliases
        that are asked apart. A mutation executes each root field for itself, and where a condition moves it, at each
        of its places."""
        if self._executes_each_place(cell):
            return name, arguments, f"{collected.field.response_key} {collected.place}"
        if cell.apart:
            return name, arguments, cell.apart.get((name, arguments, collected.field.response_key), "")
        return name, arguments, ""

    def _executes_each_place(self, cell: Cell) -> bool:
        """Whether fields are executed one after the other, each where it stands: those of a mutation's root."""
        return self.is_mutation and cell is self.root

    def _new_child(self, cell: Cell, classes: tuple[Class, ...], identity: ChildKey, response_key: str) -> Child:
        name, arguments, _ = identity
        cls = classes[0]
        definition = self.graph.supergraph.types[cls.representative].fields.get(name)
        if definition is None:
            message = f'The type "{cls.representative}" has no field "{name}".'
            raise DocumentError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(message))
        group = self._group(cell.position, cls, identity, definition, response_key)
        type_name = definition.type.name
        if type_name not in self.graph.supergraph.types:
            return Child(name, arguments, group.key, definition.type, self._bit(), None, classes)
        if group.position is None:
            group.position = Position()
        standing = tuple(self._standing(cls, name, definition))
        agreed = self._agreed(definition)
        below = self._new_cell(type_name, group.position, standing, agreed, cell.generation, cell.depth + 1)
        child = Child(name, arguments, group.key, definition.type, below.exists, below, classes)
        below.parent = (cell, child)
        return child

    def _standing(self, cls: Class, name: str, definition: Field) -> Iterator[tuple[str, str]]:
        for subgraph, here in sorted(definition.subgraphs.items()):
            yield subgraph, here.type.name
        for interface in self.graph.supergraph.types[cls.representative].interfaces:
            inherited = self.graph.supergraph.types[interface].fields.get(name)
            for subgraph, here in sorted(inherited.subgraphs.items()) if inherited else ():
                if self.graph.is_interface_object(subgraph, interface):
                    yield subgraph, here.type.name

    def _agreed(self, definition: Field) -> frozenset[str]:
        """The runtime types that every subgraph that resolves a field can return; all of them where there is none."""
        agreed = everyone = frozenset(self.graph.supergraph.types[definition.type.name].possible_types)
        for subgraph, here in definition.subgraphs.items():
            resolves = not here.external and self.graph.is_active(here)
            if resolves and not self.graph.is_interface_object(subgraph, here.type.name):
                agreed &= self.graph.possible_types(subgraph, here.type.name)
        return agreed or everyone

    def _group(self, position: Position, cls: Class, identity: ChildKey, field: Field, response_key: str) -> _Group:
        """The key for a field: one for all fields of this name and arguments whose shapes agree in every subgraph."""
        groups = position.groups.setdefault(identity, [])
        shapes: dict[str, object] = {"": field.type.non_null}
        composite = field.type.name in self.graph.supergraph.types
        for owner in (cls.representative, *self.graph.supergraph.types[cls.representative].interfaces):
            declared = self.graph.supergraph.types[owner].fields.get(field.name)
            for subgraph, here in declared.subgraphs.items() if declared else ():
                if owner == cls.representative or self.graph.is_interface_object(subgraph, owner):
                    shapes[subgraph] = (here.type.non_null, composite or here.type.name)
        for group in groups:
            if group.type_name == field.type.name and all(
                group.shapes.get(subgraph, shape) == shape for subgraph, shape in shapes.items()
            ):
                group.shapes |= shapes
                return group
        key, number = response_key or field.name, 0
        while key in position.taken:
            number += 1
            key = f"_{field.name}_{number}"
        position.taken.add(key)
        groups.append(_Group(key, field.type.name, shapes))
        return groups[-1]

    # ---- what the client asks for ----

    def client(self, contributions: Iterable[Contribution]) -> None:
        """Build the cells of the client's selections and collect the goal."""
        todo: list[tuple[Cell, list[Contribution]]] = [(self.root, list(contributions))]
        while todo:
            cell, here = todo.pop()
            flat = self.flattener.flatten(here, frozenset(cell.types), position=cell.index)
            self._split(cell, flat)
            cell.apart = {} if self._executes_each_place(cell) else self._risks.apart(flat)
            self._want_typename(cell, flat)
            wishes = {id(cls): self._wishes(cell, cls, flat) for cls in cell.classes}
            below: dict[int, tuple[Cell, list[Contribution]]] = {}
            for cls in cell.classes:
                for identity, wish in wishes[id(cls)].items():
                    alike = self._alike(cell, cls, identity, wishes)
                    child = self.child(cell, alike, identity, wish.response_key)
                    wanted = self.goal.get(child.fact, NEVER)
                    self.goal[child.fact] = self.conditions.or_(wanted, wish.condition)
                    if child.cell is not None:
                        below[child.cell.index] = (child.cell, wish.contributions)
                    self._check_selection(cls, child, wish)
            todo += below.values()

    def _wishes(self, cell: Cell, cls: Class, flat: list[FlatField]) -> dict[ChildKey, _Wish]:
        wishes: dict[ChildKey, _Wish] = {}
        by_place = self._executes_each_place(cell)
        for each in self._selected(cell, cls, flat):
            node = each.field.node
            if node.name.value == "__typename" or (cell is self.root and node.name.value in self.answered_here):
                continue
            self.work.spend(2)
            identity = self.identity(cell, node.name.value, self.flattener.arguments(node), each)
            wish = wishes.setdefault(identity, _Wish(each.field.response_key, NEVER, {}))
            wish.condition = self.conditions.or_(wish.condition, each.condition)
            wish.is_composite = wish.is_composite or node.selection_set is not None
            here = self.flattener.contributions_at(each) if by_place else each.contributions
            for selection_set, condition in here:
                wish.add(selection_set, condition, self.conditions)
        return wishes

    def _selected(self, cell: Cell, cls: Class, flat: list[FlatField]) -> list[Collected]:
        """Every selected field alone, as aliases of one field may lead here; a mutation's root fields as executed."""
        if self._executes_each_place(cell):
            return self.flattener.collect(flat, cls.representative)
        self.work.spend(len(flat))
        return [_alone(field) for field in flat if cls.representative in field.types]

    def _alike(
        self, cell: Cell, cls: Class, identity: ChildKey, wishes: dict[int, dict[ChildKey, _Wish]]
    ) -> tuple[Class, ...]:
        """The classes that share the field with this one: selected alike, and resolved alike by every subgraph."""
        wish = wishes[id(cls)][identity]
        if len(cell.classes) == 1 or not wish.is_composite:
            return (cls,)
        likeness = self.graph.field_likeness(cls.representative, identity[0])
        alike = []
        self.work.spend(len(cell.classes) // 2)
        for other in cell.classes:
            theirs = wishes[id(other)].get(identity)
            if (
                theirs is not None
                and theirs.by_node == wish.by_node
                and (other.representative in cell.agreed) is (cls.representative in cell.agreed)
                and self.graph.field_likeness(other.representative, identity[0]) == likeness
            ):
                alike.append(other)
        return tuple(alike)

    def _check_selection(self, cls: Class, child: Child, wish: _Wish) -> None:
        if (child.cell is not None) is not wish.is_composite:
            message = f'The field "{child.name}" of "{cls.representative}" must{" not" * (child.cell is None)} have'
            raise DocumentError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(f"{message} a selection of subfields."))

    def _want_typename(self, cell: Cell, flat: list[FlatField]) -> None:
        """`__typename` is a goal where the client asks it, where a field is selected for some types only, and where an
        object may be of a type that clients do not see."""
        if not cell.is_polymorphic:
            return
        hides = any(self.graph.supergraph.types[name].inaccessible for name in cell.types)
        condition = NEVER
        for each in flat:
            if hides or each.node.name.value == "__typename" or len(each.types) < len(cell.types):
                condition = self.conditions.or_(condition, each.condition)
        if condition != NEVER:
            self.goal[cell.typename] = condition

    def _split(self, cell: Cell, flat: list[FlatField]) -> None:
        """Split the runtime types of a cell into classes; all are told apart where a field set may look inside."""
        if not cell.is_polymorphic:
            cell.classes = [Class(cell.types)] if cell.types else []
            return
        if cell.parent and cell.parent[1].name in self.graph.field_set_composites:
            cell.classes = [Class((type_name,)) for type_name in cell.types]
            return
        blocks: dict[object, list[str]] = {}
        self.work.spend(len(cell.types) * (2 + len(flat) // 4))
        for type_name in cell.types:
            applicable = tuple(i for i, each in enumerate(flat) if type_name in each.types)
            names = frozenset(flat[i].node.name.value for i in applicable)
            blocks.setdefault((applicable, self._likeness(cell, type_name, names)), []).append(type_name)
        cell.classes = [Class(tuple(types)) for types in blocks.values()]

    def _likeness(self, cell: Cell, type_name: str, names: frozenset[str]) -> object:
        returned = tuple(type_name in self.graph.possible_types(subgraph, said) for subgraph, said in cell.standing)
        return returned, self.graph.likeness(type_name, names)

    # ---- what only the plan needs ----

    def hidden(self, generation_max: int) -> None:
        """Add what keys and requirements may need, for all cells of a generation below `generation_max`."""
        before = -1
        while before < self._bits:
            before, index = self._bits, 0
            while index < len(self.all):
                cell = self.all[index]
                index += 1
                if cell is not self.root and cell.generation < generation_max:
                    for cls in cell.classes:
                        self._hide(cell, cls)

    def _hide(self, cell: Cell, cls: Class) -> None:
        if id(cls) in self._hidden_done and self._hidden_done[id(cls)] == len(cls.children):
            return
        generation = cell.generation + 1
        self.work.spend(4 + 2 * len(cls.children))
        for entry in self.graph.entries(cls.representative):
            self.require(cell, cls, entry.key, generation)
        for entry in self.graph.returns(cls.representative):
            self.require(cell, cls, entry.key, generation)
            if entry.subgraph not in cell.returned:
                cell.returned[entry.subgraph] = self._bit()
        done = 0
        while done < len(cls.children):
            children = list(cls.children.values())
            for child in children[done:]:
                for requires in self.graph.requirements(cls.representative, child.name):
                    self.require(cell, cls, requires, generation)
                for argument in self.graph.contexts(cls.representative, child.name):
                    ancestor = self.ancestor(cell, argument.context)
                    if ancestor is not None:
                        self.require(ancestor.cell, ancestor.cls, parse_field_set(argument.selection), generation)
            done = len(children)
        self._hidden_done[id(cls)] = len(cls.children)

    def require(self, cell: Cell, cls: Class, field_set: FieldSet, generation: int) -> None:
        """Add the children that a field set on objects of a class reads; new cells are of `generation`."""
        for node in self.graph.narrow(field_set, cls.representative):
            self.work.spend(2)
            if node.name == "__typename":
                continue
            child = self.child(cell, (cls,), (node.name, node.arguments, ""))
            if child.cell is not None:
                if not child.cell.classes:
                    child.cell.generation = generation
                    self._split(child.cell, [])
                for below in child.cell.classes:
                    self.require(child.cell, below, node.selection, generation)

    def ancestor(self, cell: Cell, context: str) -> Ancestor | None:
        """The nearest objects above a cell that set a context; None where there are none for certain."""
        levels_up = 0
        while cell.parent is not None:
            cell, child = cell.parent
            levels_up += 1
            if self.graph.sets_context(child.classes[0].representative, context):
                return Ancestor(levels_up, cell, child.classes[0])
        return None

    def need(self, cell: Cell, cls: Class, field_set: FieldSet) -> int | None:
        """The facts that a field set reads on objects of a class; None where they are not built."""
        facts = 0
        for node in self.graph.narrow(field_set, cls.representative):
            below = self._need_field(cell, cls, node)
            if below is None:
                return None
            facts |= below
        return facts

    def _need_field(self, cell: Cell, cls: Class, node: SelectedField) -> int | None:
        if node.name == "__typename":
            return cell.typename if cell.is_polymorphic else 0
        child = cls.children.get((node.name, node.arguments, ""))
        if child is None:
            return None
        facts = child.fact
        if child.cell is not None:
            if child.cell.is_polymorphic:
                facts |= child.cell.typename
            for each in child.cell.classes:
                below = self.need(child.cell, each, node.selection)
                if below is None:
                    return None
                facts |= below
        return facts


def _alone(field: FlatField) -> Collected:
    """A field as it is collected where no other has its response key."""
    node = field.node.selection_set
    return Collected(field, field.condition, 0, [] if node is None else [(node, field.condition)])


def path_keys(cell: Cell) -> list[str]:
    """The keys from the root of the merged tree to a cell."""
    keys = []
    while cell.parent is not None:
        cell, child = cell.parent
        keys.append(child.key)
    return keys[::-1]


def bits(facts: int) -> Iterator[int]:
    """The single facts of a set, lowest first."""
    start = 0
    while facts >> _CHUNK_BITS:  # a long number is copied with every step: in pieces it is copied less
        piece = facts & _CHUNK
        while piece:
            lowest = piece & -piece
            yield lowest << start
            piece ^= lowest
        facts >>= _CHUNK_BITS
        start += _CHUNK_BITS
    while facts:
        lowest = facts & -facts
        yield lowest << start
        facts ^= lowest
