"""How the answer is read off the merged tree: the client's selections again, in the client's order, over the cells.

For every class of a position the response keys are collected as the specification does; classes that read a field
alike share its output field. A condition is left out where that of the enclosing field implies it.

Specification: GraphQL, sections 6.3.2 (CollectFields) and 6.4.3 (value completion).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from router.conditions import ALWAYS, NEVER, Condition
from router.operation import Collected, Contribution, Flattener, collect
from router.plan import LeafShape, ListShape, ObjectShape, OutputField, RawShape, Selection, Shape, TypenameShape
from router.planner.cells import Cell, Cells, Child, Class
from router.selections import canonical_arguments
from router.supergraph import Supergraph, TypeReference

INTROSPECTION_FIELDS = frozenset({"__schema", "__type"})
"""Root fields that the router answers itself."""


class Projector:
    """Builds the selections of one plan."""

    def __init__(self, cells: Cells, flattener: Flattener, typename_known: Mapping[int, Condition]) -> None:
        self.cells = cells
        self.flattener = flattener
        self.supergraph: Supergraph = cells.graph.supergraph
        self.typename_known = typename_known
        self._memo: dict[object, Selection] = {}

    def selection(self, cell: Cell, contributions: Iterable[Contribution], given: Condition = ALWAYS) -> Selection:
        """What the client reads at a cell, where `given` is known to hold."""
        contributions = list(contributions)
        key = (cell.index, tuple((id(node), condition) for node, condition in contributions), given)
        if key not in self._memo:
            self._memo[key] = self._selection(cell, contributions, given)
        return self._memo[key]

    def _selection(self, cell: Cell, contributions: list[Contribution], given: Condition) -> Selection:
        flat = self.flattener.flatten(contributions, frozenset(cell.types))
        known = self.typename_known.get(cell.index, NEVER)
        is_known = not cell.is_polymorphic or self.cells.goal[cell.exists].implies(known)
        places = {id(each): index for index, each in enumerate(flat)}
        by_field: dict[tuple[int, OutputField], list[str]] = {}
        for cls in cell.classes:
            for each in collect(flat, cls.representative):
                output = self._output(cell, cls, each, given)
                place = places[id(each.field)]
                for part in (output,) if is_known else _by_knowledge(output, known):
                    by_field.setdefault((place, part), []).extend(cls.types)
        outputs = [
            replace(output, types=frozenset(types) if len(types) < len(cell.types) else None)
            for (_, output), types in sorted(by_field.items(), key=lambda item: item[0][0])
        ]
        accessible = frozenset(name for name in cell.types if not self.supergraph.types[name].inaccessible)
        return Selection(tuple(outputs), accessible if is_known else frozenset())

    def _output(self, cell: Cell, cls: Class, collected: Collected, given: Condition) -> OutputField:
        node = collected.field.node
        name, response_key = node.name.value, collected.field.response_key
        condition = ALWAYS if given.implies(collected.condition) else collected.condition
        coordinate = f"{cls.representative if not cell.is_polymorphic else cell.type_name}.{name}"
        if name == "__typename":
            constant = None if cell.is_polymorphic else cell.types[0]
            return OutputField(response_key, "__typename", TypenameShape(constant), None, condition, coordinate)
        if name in INTROSPECTION_FIELDS:
            shape: Shape = RawShape(non_null=name == "__schema")
            return OutputField(response_key, response_key, shape, None, condition, coordinate)
        child = cls.children[self.cells.identity(cell, name, canonical_arguments(node.arguments), collected)]
        inside = given if condition == ALWAYS else given.and_(condition)
        shape = self._shape(child, collected, inside)
        return OutputField(response_key, child.key, shape, None, condition, coordinate)

    def _shape(self, child: Child, collected: Collected, given: Condition) -> Shape:
        if child.cell is None:
            return leaf_shape(child.type, self.supergraph)
        selection = self.selection(child.cell, collected.contributions, given)
        return _wrapped(ObjectShape(selection, child.type.non_null[-1]), child.type)


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
