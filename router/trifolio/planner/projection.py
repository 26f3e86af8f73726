"""How the answer is read off the merged tree: the client's selections again, in the client's order, over the cells.

For every class of a position the response keys are collected as the specification does; classes that read a field
alike share its output field.

A condition says what is asked beside the conditions of all enclosing fields: what holds where an object is read
(`given`) is left out below. So an object that a key leads to at two places, under conditions that exclude one another,
may read differently at each; where it does not, as nothing below asks about what differs, both share one selection. Of
`given` only what the selections below ask about makes a difference: a chain of such places costs what its document
has, and does not double with each.

    { a @include(if: $x) { b @include(if: $x) c @include(if: $y) } }       b: always, c: $y

Specification: GraphQL, sections 6.3.2 (CollectFields) and 6.4.3 (value completion).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions
from trifolio.errors import DocumentError, ErrorCode
from trifolio.hiding import hidden_mark
from trifolio.operation import (
    INTROSPECTION_FIELDS,
    Collected,
    Contribution,
    Deferral,
    FlatField,
    Flattener,
    deferrals_in,
)
from trifolio.planner.cells import Cell, Cells, ChildKey, Class
from trifolio.query_plan import (
    HiddenShape,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    RawShape,
    Selection,
    Shape,
    TypenameShape,
)
from trifolio.supergraph import Supergraph, TypeReference


@dataclass(frozen=True, eq=False)
class Reading:
    """Which part of an operation with @defer is read: what the deferrals' variables are for it."""

    inside: Mapping[str, bool]
    outside: Mapping[str, bool] | None = None
    """For a deferred part: what they are for the part around it, whose leaves are not read again."""
    variable: str | None = None
    """The part's own deferral's."""
    conditions: Conditions | None = None
    """The operation's, where it has deferrals."""
    _memo: dict[tuple[Condition, Condition | None], Condition] = field(default_factory=dict)

    def composite(self, condition: Condition) -> Condition:
        """When a field with a selection belongs to the part."""
        if self.conditions is None or not self.inside:
            return condition
        found = self._memo.get((condition, None))
        if found is None:
            self.conditions.work.spend(2 + 2 * len(condition.clauses))
            found = self._memo[condition, None] = self.conditions.kept(condition.assuming(self.inside))
        return found

    def leaf(self, condition: Condition, everywhere: Condition | None = None) -> Condition:
        """When a leaf belongs to the part: `condition` at its place, `everywhere` at all places of its response key."""
        if self.conditions is None or self.outside is None:
            return self.composite(condition)
        anywhere = everywhere or condition
        found = self._memo.get((condition, anywhere))
        if found is None:
            self.conditions.work.spend(2 + 2 * len(anywhere.clauses))
            before = self.conditions.negated(self.conditions.kept(anywhere.assuming(self.outside)))
            found = self._memo[condition, anywhere] = self.conditions.and_(self.composite(condition), before)
        return found


WHOLE: Final = Reading({})
"""The reading of an operation without @defer."""


@dataclass(frozen=True, slots=True, eq=False)
class DeferredPlace:
    """An object position of the answer that a deferred fragment stands at, with all selections there."""

    deferral: Deferral
    cell: Cell
    contributions: list[Contribution]
    response_keys: tuple[str, ...]
    """The client's keys that lead there."""


class Projector:
    """Builds the selections of one plan."""

    def __init__(
        self,
        cells: Cells,
        flattener: Flattener,
        typename_known: Mapping[int, Condition],
        readings: Sequence[Reading] = (WHOLE,),
        *,
        selections_max: int,
    ) -> None:
        """`readings` are those of the first answer and of every deferred part; with more fields than `selections_max`
        an answer is refused: executing the plan would walk through them all."""
        self.cells = cells
        self.flattener = flattener
        self.supergraph: Supergraph = cells.graph.supergraph
        self.typename_known = typename_known
        self.readings = readings
        self._selections_max = selections_max
        self.conditions = cells.conditions
        self.work = cells.work
        self._defers = bool(flattener.deferrals)
        """Whether anything that is asked for is deferred: what can never be asked for is not looked at before."""
        self._memo: dict[object, Selection] = {}
        self._flat: dict[object, Selection] = {}
        self._selections: dict[object, Selection] = {}
        self._differences: dict[tuple[Condition, Condition], Condition] = {}
        self._sizes: dict[int, int] = {}
        """By the identity of a selection, the fields that it unfolds to."""

    def selection(
        self,
        cell: Cell,
        contributions: Iterable[Contribution],
        given: Condition = ALWAYS,
        reading: Reading = WHOLE,
        around: Condition | None = None,
    ) -> Selection:
        """What the client reads at a cell, where `given` is known to hold.

        `around` is, within a deferred part, when the client asked for the object at all; None at the part's own place.
        """
        conditions = self.conditions
        contributions = list(contributions)
        if given is not ALWAYS:
            about = frozenset[str]() if around is None else around.variables
            for node, condition in contributions:
                about |= condition.variables | self.flattener.variables_below(node)
            self.work.spend(2 * len(contributions))
            given = conditions.restricted(given, about)
            if not self._defers:  # which deferral a fragment stands in, its condition says
                here = ((node, conditions.under(given, condition)) for node, condition in contributions)
                contributions = [each for each in here if each[1] is not NEVER]
            around = None if around is None else conditions.under(given, around)
        self.work.spend(8 + len(contributions))
        key = (cell.index, tuple([(id(node), condition) for node, condition in contributions]), given, reading, around)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._selection(cell, contributions, given, reading, around)
        return found

    def deferred_places(self, root: Cell, contributions: Iterable[Contribution]) -> Iterator[DeferredPlace]:
        """Every place of every deferral, outer ones first."""
        todo: list[tuple[Cell, list[Contribution], tuple[str, ...]]] = [(root, list(contributions), ())]
        done: set[object] = set()
        while todo:
            cell, here, keys = todo.pop(0)
            flat = self.flattener.flatten(here, frozenset(cell.types), position=cell.index)
            for deferral in self.flattener.met.values():
                yield DeferredPlace(deferral, cell, here, keys)
            for cls in cell.classes:
                for each in self.flattener.collect(flat, cls.representative):
                    child = cls.children.get(self._identity(cell, each))
                    path = (*keys, each.field.response_key)
                    key = child and (child.fact, path, tuple(id(node) for node, _ in each.contributions))
                    if child is not None and child.cell is not None and key not in done:
                        done.add(key)
                        todo.append((child.cell, each.contributions, path))

    def _identity(self, cell: Cell, collected: Collected) -> ChildKey:
        node = collected.field.node
        return self.cells.identity(cell, node.name.value, self.flattener.arguments(node), collected)

    def _selection(
        self,
        cell: Cell,
        contributions: list[Contribution],
        given: Condition,
        reading: Reading,
        around: Condition | None,
    ) -> Selection:
        flat = self.flattener.flatten(contributions, frozenset(cell.types), position=cell.index)
        if given is not ALWAYS and not self._defers:  # as in `selection`
            flat = [each for each in map(partial(self._under, given), flat) if each.condition is not NEVER]
        key = (
            cell.index,
            tuple([(id(each.node), each.types, each.condition) for each in flat]),
            given,
            reading,
            around,
        )
        found = self._flat.get(key)
        if found is None:
            found = self._flat[key] = self._selection_of(cell, flat, given, reading, around)
        return found

    def _under(self, given: Condition, each: FlatField) -> FlatField:
        condition = self.conditions.under(given, each.condition)
        return each if condition is each.condition else replace(each, condition=condition)

    def _selection_of(
        self, cell: Cell, flat: list[FlatField], given: Condition, reading: Reading, around: Condition | None
    ) -> Selection:
        known = reading.composite(self.typename_known.get(cell.index, NEVER))
        is_known = not cell.is_polymorphic or self.conditions.implies(
            reading.composite(self.cells.goal[cell.exists]), known
        )
        places = {id(each): index for index, each in enumerate(flat)}
        by_field: dict[tuple[int, object], tuple[OutputField, list[str]]] = {}
        unknown: dict[object, int] = {}
        """By what is read where no type is known, its place."""
        several = len(cell.classes) > 1
        for cls in cell.classes:
            collected = self.flattener.collect(flat, cls.representative)
            everywhere: dict[str, Condition] = {}
            if reading.outside is not None:
                for each in collected:
                    key = each.field.response_key
                    everywhere[key] = self.conditions.or_(everywhere.get(key, NEVER), each.condition)
            for each in collected:
                self.work.spend(10)
                output = self._output(
                    cell, cls, each, given, reading, everywhere.get(each.field.response_key, each.condition), around
                )
                if output is None:
                    continue
                place = places[id(each.field)]
                for part, is_typed in ((output, True),) if is_known else self._by_knowledge(output, known):
                    identity = _identity(part) if several else part.condition
                    if several and not is_typed:  # all types read it, though one may have it in a fragment before
                        place = unknown.setdefault(identity, place)
                    by_field.setdefault((place, identity), (part, []))[1].extend(cls.types)
        outputs = [
            output if len(types) == len(cell.types) else replace(output, types=frozenset(types))
            for _, (output, types) in sorted(by_field.items(), key=lambda item: item[0][0])
        ]
        accessible = frozenset(name for name in cell.types if not self.supergraph.types[name].inaccessible)
        return self._interned(tuple(outputs), accessible if is_known else frozenset(), is_possible=bool(accessible))

    def _by_knowledge(self, output: OutputField, known: Condition) -> Iterator[tuple[OutputField, bool]]:
        """A field split in two where `__typename` is there only if `known` holds: if not, all types read alike.

        With each half whether the type is there.
        """
        conditions = self.conditions
        for knowledge in (known, conditions.negated(known)):
            condition = conditions.and_(output.condition, knowledge)
            if condition is not NEVER:
                yield replace(output, condition=condition), knowledge is known

    def _interned(self, outputs: tuple[OutputField, ...], types: frozenset[str], *, is_possible: bool) -> Selection:
        """One object for all equal selections, so that comparing them does not unfold what they share."""
        identity = (tuple(_identity(each) for each in outputs), types, is_possible)
        found = self._selections.get(identity)
        if found is None:
            found = self._selections[identity] = Selection(outputs, types, is_possible)
            sizes: dict[str, int] = {}
            for each in outputs:  # of the places of one key, an object reads at most one
                below = _selection_below(each)
                size = 1 if below is None else 1 + self._sizes[id(below)]
                sizes[each.response_key] = max(size, sizes.get(each.response_key, 0))
            self._sizes[id(found)] = sum(sizes.values())
            if self._sizes[id(found)] > self._selections_max:
                raise DocumentError(ErrorCode.TOO_MANY_SELECTIONS)
        return found

    def _output(
        self,
        cell: Cell,
        cls: Class,
        collected: Collected,
        given: Condition,
        reading: Reading,
        everywhere: Condition,
        around: Condition | None,
    ) -> OutputField | None:
        """The output field of a response key at one of its places; None where it is no part of the reading.

        `everywhere` is when the key stands at any of its places.
        """
        node = collected.field.node
        name, response_key = node.name.value, collected.field.response_key
        if node.selection_set:
            condition = reading.composite(collected.condition)
        else:
            condition = reading.leaf(collected.condition, everywhere)
        if condition is NEVER:
            return None
        fails_part = NEVER if around is None else self._differs(everywhere, around)
        condition = self.conditions.under(given, condition)
        coordinate = f"{cls.representative if not cell.is_polymorphic else cell.type_name}.{name}"
        mark = hidden_mark(node.directives) if node.directives else None
        if mark is not None:
            hidden, non_null = mark
            return OutputField(response_key, "__typename", HiddenShape(non_null), None, condition, hidden, fails_part)
        if name == "__typename":
            constant = None if cell.is_polymorphic else cell.types[0]
            return OutputField(response_key, "__typename", TypenameShape(constant), None, condition, coordinate)
        if name in INTROSPECTION_FIELDS:
            raw = RawShape(non_null=name == "__schema")
            return OutputField(response_key, response_key, raw, None, condition, coordinate, fails_part)
        child = cls.children[self._identity(cell, collected)]
        if child.cell is None:
            shape = leaf_shape(child.type, self.supergraph)
        else:
            inside = self.conditions.and_(given, condition)
            is_serial = self.cells.is_mutation and cell is self.cells.root
            below = self.flattener.contributions_at(collected) if is_serial else collected.contributions
            shown = None if reading.outside is None else everywhere
            selection = self.selection(child.cell, below, inside, reading, shown)
            if reading.outside is not None and not selection.fields:
                # With nothing new in it, the object is worth showing where it is new itself.
                condition = reading.leaf(collected.condition, everywhere)
                if condition is NEVER:
                    return None
            shape = _wrapped(ObjectShape(selection, child.type.non_null[-1]), child.type)
        return OutputField(response_key, child.key, shape, None, condition, coordinate, fails_part)

    def _differs(self, asked: Condition, around: Condition) -> Condition:
        """When a field and the object around it do not belong to the same parts."""
        found = self._differences.get((asked, around))
        if found is not None:
            return found
        differs, conditions = NEVER, self.conditions
        self.work.spend(2 * len(self.readings))
        concerned = deferrals_in(asked) | deferrals_in(around)
        for reading in self.readings:
            if reading.variable is not None and reading.variable not in concerned:
                continue  # neither belongs to that part
            mine, theirs = reading.leaf(asked), reading.leaf(around)
            if mine != theirs:
                differs = conditions.or_(differs, conditions.and_(mine, conditions.negated(theirs)))
                differs = conditions.or_(differs, conditions.and_(theirs, conditions.negated(mine)))
        self._differences[asked, around] = differs
        return differs


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
    return (
        output.response_key,
        output.key,
        id(below),
        output.types,
        output.condition,
        output.coordinate,
        output.fails_part,
    )


def leaf_shape(type_: TypeReference, supergraph: Supergraph) -> Shape:
    """The shape of a field whose type is a scalar or an enum."""
    return _wrapped(LeafShape(type_.name, type_.non_null[-1], supergraph.enums.get(type_.name)), type_)


def _wrapped(shape: Shape, type_: TypeReference) -> Shape:
    for non_null in reversed(type_.non_null[:-1]):
        shape = ListShape(shape, non_null)
    return shape
