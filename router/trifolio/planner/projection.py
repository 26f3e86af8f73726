"""How the answer is read off the merged tree: the client's selections again, in the client's order, over the cells.

For every class of a position the response keys are collected as the specification does; classes that read a field
alike share its output field. A condition is left out where that of the enclosing field implies it.

Specification: GraphQL, sections 6.3.2 (CollectFields) and 6.4.3 (value completion).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from trifolio.conditions import ALWAYS, NEVER, Condition
from trifolio.errors import DocumentError, ErrorCode
from trifolio.operation import INTROSPECTION_FIELDS, Collected, Contribution, Deferral, Flattener, collect
from trifolio.plan import LeafShape, ListShape, ObjectShape, OutputField, RawShape, Selection, Shape, TypenameShape
from trifolio.planner.cells import Cell, Cells, ChildKey, Class
from trifolio.selections import canonical_arguments
from trifolio.supergraph import Supergraph, TypeReference

ANSWER_FIELDS_MAX: Final = 100_000
"""Fields that the answer's selections may unfold to, fragments followed: what executing them must walk through."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Which part of an operation with @defer is read: what the deferrals' variables are for it."""

    inside: Mapping[str, bool]
    outside: Mapping[str, bool] | None = None
    """For a deferred part: what they are for the part around it, whose leaves are not read again."""

    def composite(self, condition: Condition) -> Condition:
        """When a field with a selection belongs to the part."""
        return condition.assuming(self.inside) if self.inside else condition

    def leaf(self, condition: Condition) -> Condition:
        """When a leaf belongs to the part."""
        inside = self.composite(condition)
        return inside if self.outside is None else inside.and_(condition.assuming(self.outside).negated())


WHOLE: Final = Reading({})
"""The reading of an operation without @defer."""


class Projector:
    """Builds the selections of one plan."""

    def __init__(self, cells: Cells, flattener: Flattener, typename_known: Mapping[int, Condition]) -> None:
        self.cells = cells
        self.flattener = flattener
        self.supergraph: Supergraph = cells.graph.supergraph
        self.typename_known = typename_known
        self._memo: dict[object, Selection] = {}
        self._selections: dict[object, Selection] = {}
        self._sizes: dict[int, int] = {}
        """By the identity of a selection, the fields that it unfolds to."""

    def selection(
        self, cell: Cell, contributions: Iterable[Contribution], given: Condition = ALWAYS, reading: Reading = WHOLE
    ) -> Selection:
        """What the client reads at a cell, where `given` is known to hold."""
        contributions = list(contributions)
        key = (cell.index, tuple((id(node), condition) for node, condition in contributions), given, reading)
        if key not in self._memo:
            self._memo[key] = self._selection(cell, contributions, given, reading)
        return self._memo[key]

    def deferred_places(
        self, root: Cell, contributions: Iterable[Contribution]
    ) -> Iterator[tuple[Deferral, Cell, list[Contribution]]]:
        """Every deferral with every cell that it stands at, and all selections there."""
        todo: list[tuple[Cell, list[Contribution]]] = [(root, list(contributions))]
        done: set[object] = set()
        while todo:
            cell, here = todo.pop(0)
            flat = self.flattener.flatten(here, frozenset(cell.types))
            for deferral in self.flattener.met.values():
                yield deferral, cell, here
            for cls in cell.classes:
                for each in collect(flat, cls.representative):
                    child = cls.children.get(self._identity(cell, each))
                    key = child and (child.fact, tuple(id(node) for node, _ in each.contributions))
                    if child is not None and child.cell is not None and key not in done:
                        done.add(key)
                        todo.append((child.cell, each.contributions))

    def _identity(self, cell: Cell, collected: Collected) -> ChildKey:
        node = collected.field.node
        return self.cells.identity(cell, node.name.value, canonical_arguments(node.arguments), collected)

    def _selection(
        self, cell: Cell, contributions: list[Contribution], given: Condition, reading: Reading
    ) -> Selection:
        flat = self.flattener.flatten(contributions, frozenset(cell.types))
        known = self.typename_known.get(cell.index, NEVER)
        is_known = not cell.is_polymorphic or reading.composite(self.cells.goal[cell.exists]).implies(known)
        places = {id(each): index for index, each in enumerate(flat)}
        by_field: dict[tuple[int, object], tuple[OutputField, list[str]]] = {}
        for cls in cell.classes:
            for each in collect(flat, cls.representative):
                output = self._output(cell, cls, each, given, reading)
                if output is None:
                    continue
                place = places[id(each.field)]
                for part in (output,) if is_known else _by_knowledge(output, known):
                    by_field.setdefault((place, _identity(part)), (part, []))[1].extend(cls.types)
        outputs = [
            replace(output, types=frozenset(types) if len(types) < len(cell.types) else None)
            for _, (output, types) in sorted(by_field.items(), key=lambda item: item[0][0])
        ]
        accessible = frozenset(name for name in cell.types if not self.supergraph.types[name].inaccessible)
        return self._interned(tuple(outputs), accessible if is_known else frozenset())

    def _interned(self, outputs: tuple[OutputField, ...], types: frozenset[str]) -> Selection:
        """One object for all equal selections, so that comparing them does not unfold what they share."""
        identity = (tuple(_identity(each) for each in outputs), types)
        found = self._selections.get(identity)
        if found is None:
            found = self._selections[identity] = Selection(outputs, types)
            below = (_selection_below(each) for each in outputs)
            self._sizes[id(found)] = len(outputs) + sum(self._sizes[id(each)] for each in below if each is not None)
            if self._sizes[id(found)] > ANSWER_FIELDS_MAX:
                raise DocumentError(ErrorCode.TOO_MANY_SELECTIONS)
        return found

    def _output(
        self, cell: Cell, cls: Class, collected: Collected, given: Condition, reading: Reading
    ) -> OutputField | None:
        """The output field of a response key at one of its places; None where it is no part of the reading."""
        node = collected.field.node
        name, response_key = node.name.value, collected.field.response_key
        condition = (reading.composite if node.selection_set else reading.leaf)(collected.condition)
        if condition == NEVER:
            return None
        condition = ALWAYS if given.implies(condition) else condition
        coordinate = f"{cls.representative if not cell.is_polymorphic else cell.type_name}.{name}"
        if name == "__typename":
            constant = None if cell.is_polymorphic else cell.types[0]
            return OutputField(response_key, "__typename", TypenameShape(constant), None, condition, coordinate)
        if name in INTROSPECTION_FIELDS:
            raw = RawShape(non_null=name == "__schema")
            return OutputField(response_key, response_key, raw, None, condition, coordinate)
        child = cls.children[self._identity(cell, collected)]
        if child.cell is None:
            shape = leaf_shape(child.type, self.supergraph)
        else:
            inside = given if condition == ALWAYS else given.and_(condition)
            is_serial = self.cells.is_mutation and cell is self.cells.root
            below = collected.contributions_here() if is_serial else collected.contributions
            selection = self.selection(child.cell, below, inside, reading)
            if reading.outside is not None and not selection.fields:
                return None
            shape = _wrapped(ObjectShape(selection, child.type.non_null[-1]), child.type)
        return OutputField(response_key, child.key, shape, None, condition, coordinate)


def _selection_below(output: OutputField) -> Selection | None:
    shape = output.shape
    while isinstance(shape, ListShape):
        shape = shape.item
    return shape.selection if isinstance(shape, ObjectShape) else None


def _identity(output: OutputField) -> object:
    """A value that equal fields share and others do not, as long as equal selections are one object."""
    below = _selection_below(output)
    if below is None:
        return output
    return output.response_key, output.key, id(below), output.types, output.condition, output.coordinate


def _by_knowledge(output: OutputField, known: Condition) -> Iterator[OutputField]:
    """A field split in two where `__typename` is there only if `known` holds: if not, all types read alike."""
    for condition in (output.condition.and_(known), output.condition.and_(known.negated())):
        if condition != NEVER:
            yield replace(output, condition=condition)


def leaf_shape(type_: TypeReference, supergraph: Supergraph) -> Shape:
    """The shape of a field whose type is a scalar or an enum."""
    return _wrapped(LeafShape(type_.name, type_.non_null[-1], supergraph.enums.get(type_.name)), type_)


def _wrapped(shape: Shape, type_: TypeReference) -> Shape:
    for non_null in reversed(type_.non_null[:-1]):
        shape = ListShape(shape, non_null)
    return shape
