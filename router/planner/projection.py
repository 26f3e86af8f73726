"""How the answer is read off the merged tree: the client's selections again, in the client's order, over the cells.

For every class of a position the response keys are collected as the specification does; classes that read alike share
their output fields. A condition is left out where that of the enclosing field implies it.

Specification: GraphQL, sections 6.3.2 (CollectFields) and 6.4.3 (value completion).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from router.conditions import ALWAYS, Condition
from router.operation import Contribution, FlatField, Flattener
from router.plan import LeafShape, ListShape, ObjectShape, OutputField, RawShape, Selection, Shape, TypenameShape
from router.planner.cells import Cell, Cells, Child, Class
from router.selections import canonical_arguments
from router.supergraph import Supergraph, TypeReference

INTROSPECTION_FIELDS = frozenset({"__schema", "__type"})
"""Root fields that the router answers itself."""


@dataclass(slots=True)
class _Collected:
    """One response key of one class, with all that is selected below it."""

    field: FlatField
    condition: Condition
    contributions: dict[int, Contribution]


class Projector:
    """Builds the selections of one plan."""

    def __init__(self, cells: Cells, flattener: Flattener, typename_known: set[int]) -> None:
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
        by_fields: dict[tuple[OutputField, ...], list[str]] = {}
        for cls in cell.classes:
            fields = tuple(self._output(cell, cls, each, given) for each in _collect(flat, cls.representative))
            by_fields.setdefault(fields, []).extend(cls.types)
        outputs: list[OutputField] = []
        for fields, types in by_fields.items():
            limited = frozenset(types) if len(by_fields) > 1 else None
            outputs += [replace(each, types=limited) for each in fields]
        accessible = frozenset(name for name in cell.types if not self.supergraph.types[name].inaccessible)
        is_known = not cell.is_polymorphic or cell.index in self.typename_known
        return Selection(tuple(outputs), accessible if is_known else frozenset())

    def _output(self, cell: Cell, cls: Class, collected: _Collected, given: Condition) -> OutputField:
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
        is_serial = self.cells.is_mutation and cell is self.cells.root
        child = cls.children[name, canonical_arguments(node.arguments), response_key if is_serial else ""]
        inside = given if condition == ALWAYS else given.and_(condition)
        shape = self._shape(child, collected, inside)
        return OutputField(response_key, child.key, shape, None, condition, coordinate)

    def _shape(self, child: Child, collected: _Collected, given: Condition) -> Shape:
        if child.cell is None:
            return leaf_shape(child.type, self.supergraph)
        selection = self.selection(child.cell, collected.contributions.values(), given)
        return _wrapped(ObjectShape(selection, child.type.non_null[-1]), child.type)


def _collect(flat: list[FlatField], type_name: str) -> list[_Collected]:
    """The response keys of an object of one type, each at its first place, with everything selected under it."""
    collected: dict[str, _Collected] = {}
    for each in flat:
        if type_name not in each.types:
            continue
        here = collected.get(each.response_key)
        if here is None:
            here = collected[each.response_key] = _Collected(each, each.condition, {})
        else:
            here.condition = here.condition.or_(each.condition)
        node = each.node.selection_set
        if node is not None:
            seen = here.contributions.get(id(node))
            condition = each.condition if seen is None else seen[1].or_(each.condition)
            here.contributions[id(node)] = (node, condition)
    return list(collected.values())


def leaf_shape(type_: TypeReference, supergraph: Supergraph) -> Shape:
    """The shape of a field whose type is a scalar or an enum."""
    return _wrapped(LeafShape(type_.name, type_.non_null[-1], supergraph.enums.get(type_.name)), type_)


def _wrapped(shape: Shape, type_: TypeReference) -> Shape:
    for non_null in reversed(type_.non_null[:-1]):
        shape = ListShape(shape, non_null)
    return shape
