"""The text of what a subgraph is asked: from a reach and the facts wanted of it to a GraphQL selection set.

A `Block` is a selection set in the making: fields by type condition, each under its key in the merged tree. Blocks of
several reaches merge, as classes that share a key share its shape. Fields that a subgraph knows on all types of an
abstract position are lifted out of the fragments. A parent left without any field asks `__typename`.

Directives are printed only where the condition of what encloses a field does not imply the field's own.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions, Literal
from trifolio.planner.cells import Child, Demand
from trifolio.planner.facts import Reach
from trifolio.query_graph import QueryGraph
from trifolio.selections import Arguments

_VARIABLE: Final = re.compile(r'"""(?:\\"""|[^"]|"(?!""))*"""|"(?:\\.|[^"\\\n])*"|\$([_A-Za-z][_0-9A-Za-z]*)')
"""A variable in the text of a value; strings are matched first, so that a `$` inside them is none."""

CHARACTERS_PER_UNIT: Final = 100
"""Characters that one unit of work puts together."""

REPEATED_CHARACTERS_PER_UNIT: Final = 4
"""The same where a text may be repeated for every clause of a condition: somebody has to read it all."""

_INTERFACE_OBJECT_NAME: Final = "_interface"
"""The key under which an interface object is asked its name, where nothing else is asked: never `__typename`."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockField:
    """A field of a selection set; never changed, so that fragments can share it."""

    name: str
    arguments: Arguments
    condition: Condition
    below: "Block | None" = None


@dataclass(slots=True, eq=False)
class Block:
    """A selection set in the making; see the module's text."""

    conditions: Conditions
    """The operation's."""
    type_name: str
    """The type it stands on, in the subgraph."""
    by_interface_object: bool = False
    fields: dict[str, dict[str, BlockField]] = field(default_factory=lambda: {"": {}})
    """By type condition ("" is none), by key."""
    texts: dict[Condition, str] = field(default_factory=dict)
    """What it prints, by the condition that holds outside: filled once the block is complete."""

    def add(self, type_condition: str, key: str, new: BlockField) -> None:
        """Add a field; one that is there already is wanted under either condition, and its selections merge."""
        fields = self.fields.setdefault(type_condition, {})
        old = fields.get(key)
        if old is None:
            fields[key] = new
            return
        if old is new:
            return
        below = old.below.merged(new.below) if old.below is not None and new.below is not None else None
        fields[key] = replace(old, condition=self.conditions.or_(old.condition, new.condition), below=below)

    def fill(self, arguments: Iterable[tuple[str, str]]) -> None:
        """Give every field of this selection set more arguments: those that contexts fill."""
        more = tuple(arguments)
        for fields in self.fields.values() if more else ():
            for key, each in fields.items():
                fields[key] = replace(each, arguments=each.arguments + more)

    def merged(self, other: "Block") -> "Block":
        """This block and everything that another block of the same place asks."""
        if other is self:
            return self
        fields = {name: dict(each) for name, each in self.fields.items()}
        self.conditions.work.spend(1 + sum(map(len, fields.values())))
        both = Block(self.conditions, self.type_name, self.by_interface_object, fields)
        for type_condition, more in other.fields.items():
            for key, each in more.items():
                both.add(type_condition, key, each)
        return both


class BlockBuilder:
    """Builds the blocks of one plan's requests, and notes where `__typename` gets known."""

    def __init__(self, graph: QueryGraph, conditions: Conditions) -> None:
        self.graph = graph
        self.conditions = conditions
        self.typename_known: dict[int, Condition] = {}
        """By index of the cell, when its objects have `__typename` in the merged tree."""
        self.waited_for: Condition = ALWAYS
        """When the answer that is read has waited for the present request: with @defer not every part does."""

    def build(self, reach: Reach, demand: Demand, wanted: int) -> Block:
        """What to ask to get the facts of `wanted`, each under its condition in `demand`."""
        block = Block(self.conditions, reach.type_name, reach.by_interface_object)
        cell = reach.cell
        if cell.typename & wanted and not reach.by_interface_object:
            block.add("", "__typename", BlockField("__typename", (), demand[cell.typename]))
            known = self.typename_known.get(cell.index, NEVER)
            told = self.conditions.and_(demand[cell.typename], self.waited_for)
            self.typename_known[cell.index] = self.conditions.or_(known, told)
        built: dict[int, BlockField | None] = {}
        for part in reach.classes:
            if not part.gain & wanted:
                continue
            conditions = list(self._type_conditions(reach, part.cls.types))
            self.conditions.work.spend(12 + len(part.fields) * (1 + len(conditions)))
            for child, below in part.fields:
                if id(child) not in built:
                    built[id(child)] = self._field(child, below, demand, wanted)
                new = built[id(child)]
                if new is not None:
                    for type_condition in conditions:
                        block.add(type_condition, child.key, new)
        self._lift(reach, block)
        return block

    def _type_conditions(self, reach: Reach, types: tuple[str, ...]) -> Iterator[str]:
        """The fragments that a class's fields stand in; none where the subgraph's type says enough."""
        if reach.by_interface_object or reach.type_name in types:
            yield ""
            return
        possible = self.graph.possible_types(reach.subgraph, reach.type_name)
        yield from (name for name in types if name in possible)

    def _field(self, child: Child, below: Reach | None, demand: Demand, wanted: int) -> BlockField | None:
        if below is None:
            return BlockField(child.name, child.arguments, demand[child.fact]) if child.fact & wanted else None
        if not below.gain & wanted:
            return None
        block = self.build(below, demand, wanted)
        condition = demand.get(child.fact, NEVER)
        returned = below.cell.returned.get(below.subgraph, 0)
        if returned & wanted:
            condition = self.conditions.or_(condition, demand[returned])
        for fields in block.fields.values():
            for each in fields.values():
                condition = self.conditions.or_(condition, each.condition)
        return BlockField(child.name, child.arguments, condition, block)

    def _lift(self, reach: Reach, block: Block) -> None:
        """Move what is asked alike of every possible type out of the fragments, if the interface has it here."""
        owner = self.graph.supergraph.types[reach.type_name]
        possible = self.graph.possible_types(reach.subgraph, reach.type_name)
        if owner.kind != "interface" or not possible or not possible <= set(block.fields):
            return
        moves = self.graph.moves(reach.subgraph, reach.type_name)
        by_type = [block.fields[name] for name in sorted(possible)]
        for key, first in list(by_type[0].items()):
            move = moves.get(first.name)
            if move is None or (first.below is not None and first.below.type_name != move.type.name):
                continue
            if all(self._is_same(key, first, fields.get(key)) for fields in by_type):
                block.add("", key, first)
                for fields in by_type:
                    del fields[key]

    def _is_same(self, key: str, one: BlockField, other: BlockField | None) -> bool:
        if other is None or other is one:
            return other is one
        conditions = self.conditions
        return _field_texts(key, one, ALWAYS, conditions) == _field_texts(key, other, ALWAYS, conditions)


def selection_text(block: Block, given: Condition = ALWAYS) -> str:
    """`{a b{c}...on T{d}}`, for a place that is only reached when `given` holds."""
    if given not in block.texts:
        block.texts[given] = _selection_text(block, given)
    return block.texts[given]


def _selection_text(block: Block, given: Condition) -> str:
    conditions = block.conditions
    parts = [part for key, each in block.fields[""].items() for part in _field_texts(key, each, given, conditions)]
    for type_condition, fields in block.fields.items():
        if not type_condition:
            continue
        inner = [part for key, each in fields.items() for part in _field_texts(key, each, given, conditions)]
        if inner:
            parts.append(f"...on {type_condition}{{{' '.join(inner)}}}")
    if not parts:
        parts = [f"{_INTERFACE_OBJECT_NAME}:__typename" if block.by_interface_object else "__typename"]
    return "{" + " ".join(parts) + "}"


def _field_texts(key: str, each: BlockField, given: Condition, conditions: Conditions) -> list[str]:
    arguments = f"({','.join(f'{name}:{value}' for name, value in each.arguments)})" if each.arguments else ""
    head = (each.name if each.name == key else f"{key}:{each.name}") + arguments
    below = each.below
    return conditional_texts(
        head, each.condition, given, conditions, lambda here: selection_text(below, here) if below is not None else ""
    )


def conditional_texts(
    head: str, condition: Condition, given: Condition, conditions: Conditions, below: Callable[[Condition], str]
) -> list[str]:
    """A field under a condition: its head, directives, and what `below` prints for the condition that holds inside.

    It is printed once for each clause of the condition. Directives do not repeat: what one @include and one @skip do
    not say stands on fragments around the field.
    """
    if conditions.implies(given, condition):
        text = head + below(given)
        conditions.work.spend(3 + len(text) // CHARACTERS_PER_UNIT)
        return [text]
    known: frozenset[Literal] = frozenset.intersection(*given.clauses) if given.clauses else frozenset()
    texts = []
    for clause in condition.sorted_clauses():
        inside = given
        for name, value in clause:
            inside = conditions.and_(inside, Condition.literal(name, value))
        if inside is NEVER:
            continue
        includes = [f"@include(if:${name})" for name, value in clause if value and (name, value) not in known]
        skips = [f"@skip(if:${name})" for name, value in clause if not value and (name, value) not in known]
        text = head + "".join(includes[-1:] + skips[-1:]) + below(inside)
        for directive in includes[:-1] + skips[:-1]:
            text = f"...{directive}{{{text}}}"
        conditions.work.spend(8 + len(text) // REPEATED_CHARACTERS_PER_UNIT)
        texts.append(text)
    return texts


def variables_in(text: str) -> set[str]:
    """The variables that a text uses."""
    return {name for name in _VARIABLE.findall(text) if name}
