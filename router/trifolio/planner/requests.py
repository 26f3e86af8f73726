"""From decided requests to the plan's fetches: entries, representations, aliases and the operations' text.

The uses of an entity request become entries. Uses of one cell whose representations agree are asked together, a
fragment per type; entries that send and ask the same at different paths share one alias. @requires keeps an alias of
its own: what other fetches fail to bring takes only the fields with it that need it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions
from trifolio.operation import Variable
from trifolio.planner.cells import Cell, Class, Demand
from trifolio.planner.facts import ContextNeed, Rule
from trifolio.planner.liveness import Request, Use
from trifolio.planner.printing import (
    CHARACTERS_PER_UNIT,
    Block,
    BlockBuilder,
    conditional_texts,
    selection_text,
    variables_in,
)
from trifolio.query_graph import QueryGraph
from trifolio.query_plan import (
    ContextVariable,
    Entry,
    Fetch,
    OperationKind,
    Path,
    PathStep,
    Representation,
    RepresentationField,
)
from trifolio.selections import FieldSet, parse_field_set
from trifolio.work import Work

_GroupKey = tuple[int, Representation, tuple[Representation, ...], tuple[ContextVariable, ...], tuple[str, ...]]
"""What uses of one group share: the cell, how objects are represented, and where an interface object takes them, their
types."""


@dataclass(slots=True, eq=False)
class _EntityGroup:
    """Uses at one cell with one representation."""

    cell: Cell
    types: set[str]
    representation: Representation
    fallbacks: tuple[Representation, ...]
    context: tuple[ContextVariable, ...]
    blocks: dict[str, Block]
    """What is asked, by the type that it is asked on."""
    condition: Condition

    def ask(self, type_name: str, block: Block) -> None:
        """Ask what a block asks, on a type."""
        self.blocks[type_name] = self.blocks[type_name].merged(block) if type_name in self.blocks else block

    def text(self, head: str, given: Condition) -> str:
        """The `_entities` field that begins with `head`."""
        conditions = next(iter(self.blocks.values())).conditions
        return " ".join(conditional_texts(head, self.condition, given, conditions, self._below))

    def _below(self, given: Condition) -> str:
        fragments = (f"...on {name}{selection_text(each, given)}" for name, each in self.blocks.items())
        return "{" + " ".join(fragments) + "}"


@dataclass(frozen=True, slots=True)
class Written:
    """The requests of a plan, written down."""

    fetches: tuple[Fetch, ...]
    typename_known: Mapping[int, Condition]
    """By index of a cell, when the requests bring the `__typename` of its objects."""


class RequestWriter:
    """Writes the fetches of one plan."""

    def __init__(self, graph: QueryGraph, variables: Mapping[str, Variable], conditions: Conditions) -> None:
        self.graph = graph
        self.variables = variables
        self.conditions = conditions
        self.builder = BlockBuilder(graph, conditions)
        self._known = 0
        """The facts that are there when the current fetch starts."""
        self._context_types: dict[str, str] = {}
        """The variables of the current fetch that carry context values, and their types."""

    def write(self, requests: Sequence[Request], waited_for: Sequence[Condition] = ()) -> Written:
        """Write all requests, in order; none repeats what a fetch that it waits for waits for.

        `waited_for` says of each when what is read has waited for it, where parts are deferred.
        """
        ancestors: list[set[int]] = []
        fetches = []
        for number, request in enumerate(requests):
            self.conditions.work.spend(40 + sum(len(ancestors[near]) for near in request.depends_on) // 4)
            indirect = {far for near in request.depends_on for far in ancestors[near]}
            ancestors.append(indirect | request.depends_on)
            self.builder.waited_for = waited_for[number] if waited_for else ALWAYS
            fetches.append(self._fetch(number, request, request.depends_on - indirect))
        return Written(tuple(fetches), dict(self.builder.typename_known))

    def _fetch(self, number: int, request: Request, depends_on: set[int]) -> Fetch:
        condition = NEVER
        for use in request.uses:
            condition = self.conditions.or_(condition, self._any_of(use.demand))
        self._context_types = {}
        self._known = request.known
        subgraph, action = request.action
        kind: OperationKind = "query" if action == "entities" else action
        write = self._entity_entries if action == "entities" else self._root_entries
        entries, body = write(request.uses, condition)
        self.conditions.work.spend(len(body) // CHARACTERS_PER_UNIT)
        used = [name for name in sorted(variables_in(body)) if name in self.variables]
        return Fetch(
            id=number,
            subgraph=subgraph,
            kind=kind,
            operation=self._operation(kind, used, entries, body),
            entries=entries,
            variables=tuple(used),
            depends_on=tuple(sorted(depends_on)),
            condition=condition,
        )

    def _any_of(self, demand: Demand) -> Condition:
        condition = NEVER
        self.conditions.work.spend(1 + len(demand) // 4)
        for each in demand.values():
            if condition is ALWAYS:
                break
            condition = self.conditions.or_(condition, each)
        return condition

    def _operation(self, kind: OperationKind, used: list[str], entries: tuple[Entry, ...], body: str) -> str:
        names = dict.fromkeys(entry.variable for entry in entries if entry.variable)
        definitions = [f"${name}:[_Any!]!" for name in names]
        definitions += [f"${name}:{type_text}" for name, type_text in self._context_types.items()]
        definitions += [self.variables[name].definition for name in used]
        if not definitions:
            return body if kind == "query" else kind + body
        return f"{kind}({','.join(definitions)}){body}"

    def _path(self, cell: Cell) -> Path:
        [path] = merged_paths([cell], self._known, self.conditions.work)
        return path

    # ---- root fields ----

    def _root_entries(self, uses: Sequence[Use], given: Condition) -> tuple[tuple[Entry, ...], str]:
        by_cell: dict[int, tuple[Rule, Block]] = {}
        for use in uses:
            block = self.builder.build(use.rule.reach, use.demand, reduce(or_, use.demand, 0))
            _, before = by_cell.get(use.rule.cell.index, (use.rule, block))
            by_cell[use.rule.cell.index] = (use.rule, before.merged(block))
        if len(by_cell) == 1:
            [(rule, block)] = by_cell.values()
            return (Entry(paths=(self._path(rule.cell),)),), selection_text(block, given)
        return self._shared_root(list(by_cell.values()), given)

    def _shared_root(self, places: list[tuple[Rule, Block]], given: Condition) -> tuple[tuple[Entry, ...], str]:
        """Several places that lead to the query root: every field gets a response key of its own in the request."""
        whole = Block(self.conditions, places[0][1].type_name)
        entries: list[Entry] = []
        for rule, block in places:
            keys = []
            for key, each in block.fields[""].items():
                response_key = f"_{len(entries)}_{key}"
                keys.append((response_key, key))
                whole.add("", response_key, each)
            entries.append(Entry(paths=(self._path(rule.cell),), keys=tuple(keys)))
        return tuple(entries), selection_text(whole, given)

    # ---- entities ----

    def _entity_entries(self, uses: Sequence[Use], given: Condition) -> tuple[tuple[Entry, ...], str]:
        shared: dict[object, list[_EntityGroup]] = {}
        for group in self._entity_groups(uses):
            text = group.text("", given)
            shared.setdefault((text, group.representation, group.fallbacks, group.context), []).append(group)
        entries: list[Entry] = []
        parts: list[str] = []
        has_context = any(group.context for places in shared.values() for group in places)
        for number, places in enumerate(shared.values()):
            alias, variable = "_entities", "representations"
            if len(shared) > 1 or has_context:
                alias, variable = f"_e{number}", f"representations_{number}"
            variable = self._free_name(variable)
            entries += self._entries_of(places, alias, variable, given)
            head = alias if alias == "_entities" else f"{alias}:_entities"
            parts.append(places[0].text(f"{head}(representations:${variable})", given))
        return tuple(entries), "{" + " ".join(parts) + "}"

    def _entries_of(
        self, places: Sequence[_EntityGroup], alias: str, variable: str, given: Condition
    ) -> Iterator[Entry]:
        """The entries that share one alias: one for each set of runtime types."""
        first = places[0]
        by_cell: dict[Cell, set[str]] = {}
        for place in places:
            by_cell.setdefault(place.cell, set()).update(place.types)
        by_types: dict[tuple[str, ...], list[Cell]] = {}
        for cell, found in by_cell.items():
            types = tuple(sorted(found)) if len(found) < len(cell.types) else ()
            by_types.setdefault(types, []).append(cell)
        for types, cells in by_types.items():
            yield Entry(
                merged_paths(cells, self._known, self.conditions.work),
                alias,
                variable,
                types,
                first.representation,
                first.fallbacks,
                first.context,
                condition=ALWAYS if self.conditions.implies(given, first.condition) else first.condition,
            )

    def _free_name(self, name: str) -> str:
        """A variable's name that the client does not use."""
        while name in self.variables:
            name = "_" + name
        return name

    def _entity_groups(self, uses: Sequence[Use]) -> list[_EntityGroup]:
        groups: dict[_GroupKey, _EntityGroup] = {}
        contexts = 0
        for use in uses:
            rule = use.rule
            assert rule.entry is not None
            context = tuple(self._context_variable(need, contexts + i) for i, need in enumerate(rule.contexts))
            contexts += len(context)
            wanted = reduce(or_, use.demand, 0)
            condition = self._any_of(use.demand)
            for reach in rule.reach.by_representation(is_typed=rule.kind == "entity"):
                if not reach.gain & wanted:
                    continue
                cls = reach.classes[0].cls
                representation = self.representation(rule, cls)
                fallbacks = tuple(dict.fromkeys(self.representation(each, cls) for each in use.alternatives))
                types = () if rule.kind == "entity" else rule.types
                key = (rule.cell.index, representation, fallbacks, context, types)
                group = groups.get(key)
                if group is None:
                    group = groups[key] = _EntityGroup(rule.cell, set(), representation, fallbacks, context, {}, NEVER)
                group.types |= set(cls.types if rule.kind == "entity" else rule.types)
                group.condition = self.conditions.or_(group.condition, condition)
                for name in cls.types if rule.kind == "entity" else (rule.entry.type_name,):
                    block = self.builder.build(reach.on(name), use.demand, wanted)
                    block.fill(
                        (need.argument.name, f"${argument.variable}")
                        for need, argument in zip(rule.contexts, context, strict=True)
                    )
                    group.ask(name, block)
        return self._apart(groups)

    def _apart(self, groups: Mapping[_GroupKey, _EntityGroup]) -> list[_EntityGroup]:
        """The groups; of those at one cell that are represented alike, whatever their types, every object is in one.

        Only an interface object takes objects of several types alike. What is wanted for some of the types is asked of
        these alone: were it asked of all, an object that it fails at would lose what is wanted there. Where it depends
        on the request whether some of it is asked, it may do so as well whether the types are known: there the groups
        stay as they are, and an object can be in several.
        """
        alike: dict[_GroupKey, list[_EntityGroup]] = {}
        for key, group in groups.items():
            alike.setdefault((*key[:-1], ()), []).append(group)
        result: list[_EntityGroup] = []
        for several in alike.values():
            if len(several) == 1 or any(group.condition != several[0].condition for group in several):
                result += several
                continue
            wider: dict[tuple[int, ...], _EntityGroup] = {}
            for name in sorted(set().union(*(group.types for group in several))):
                self.conditions.work.spend(1 + len(several))
                within = tuple(number for number, group in enumerate(several) if name in group.types)
                if within not in wider:
                    wider[within] = replace(several[within[0]], types=set(), blocks={})
                    for number in within:
                        for type_name, block in several[number].blocks.items():
                            wider[within].ask(type_name, block)
                wider[within].types.add(name)
            result += wider.values()
        return result

    def _context_variable(self, need: ContextNeed, number: int) -> ContextVariable:
        field_set = parse_field_set(need.argument.selection)
        [value] = self._fields(need.ancestor.cell, need.ancestor.cls, field_set, is_required=True)
        variable = self._free_name(f"context_{number}")
        self._context_types[variable] = str(need.argument.type)
        return ContextVariable(variable, need.ancestor.levels_up, value)

    def representation(self, rule: Rule, cls: Class) -> Representation:
        """How the objects of one class that a rule takes are shown to its subgraph."""
        assert rule.entry is not None
        fields = self._fields(rule.cell, cls, rule.entry.key, is_required=False)
        fields = _merged((*fields, *self._fields(rule.cell, cls, rule.requires, is_required=True)))
        if rule.kind != "entity":
            return Representation(fields, rule.entry.type_name)
        return Representation(fields, None if rule.cell.is_polymorphic else rule.cell.types[0])

    def _fields(
        self, cell: Cell, cls: Class, field_set: FieldSet, *, is_required: bool
    ) -> tuple[RepresentationField, ...]:
        fields = []
        for node in self.graph.narrow(field_set, cls.representative):
            if node.name == "__typename":
                continue
            child = cls.children[node.name, node.arguments, ""]
            below: tuple[RepresentationField, ...] = ()
            if child.cell is not None:
                below = self._fields_below(child.cell, node.selection, is_required=is_required)
            fields.append(RepresentationField(node.name, child.key, below, (), is_required))
        return _merged(tuple(fields))

    def _fields_below(self, cell: Cell, field_set: FieldSet, *, is_required: bool) -> tuple[RepresentationField, ...]:
        if len(cell.types) == 1:
            return self._fields(cell, cell.classes[0], field_set, is_required=is_required)
        fields = [RepresentationField("__typename", "__typename", (), (), is_required)]
        for cls in cell.classes:
            here = self._fields(cell, cls, field_set, is_required=is_required)
            fields += [replace(each, types=cls.types) for each in here]
        return _merged(tuple(fields))


def _merged(fields: tuple[RepresentationField, ...]) -> tuple[RepresentationField, ...]:
    """Fields that are the same but for the types they stand on, or for what is read below them, become one."""
    merged: list[RepresentationField] = []
    for each in fields:
        for index, other in enumerate(merged):
            if (other.name, other.key, other.types) == (each.name, each.key, each.types):
                below = _merged((*other.selection, *each.selection))
                merged[index] = replace(other, selection=below, required=other.required and each.required)
                break
            if replace(other, types=()) == replace(each, types=()) and other.types and each.types:
                merged[index] = replace(other, types=tuple(sorted({*other.types, *each.types})))
                break
        else:
            merged.append(each)
    return tuple(merged)


@dataclass(frozen=True, slots=True)
class _Step:
    """A path step, with the types that it would have to name to mean all."""

    key: str
    lists: int
    types: tuple[str, ...]
    possible: tuple[str, ...]


def merged_paths(cells: Iterable[Cell], known: int, work: Work) -> tuple[Path, ...]:
    """The paths to some cells where the facts of `known` are there; what differs in one step's types alone is joined.

    A step is limited to types only where the objects' `__typename` is there to look at; elsewhere all are entered,
    which can ask too much but never too little.
    """
    alike: dict[tuple[str, ...], list[tuple[_Step, ...]]] = {}
    for steps in dict.fromkeys(_steps(cell, known, work) for cell in cells):
        alike.setdefault(tuple(step.key for step in steps), []).append(steps)
    paths = [path for group in alike.values() for path in _all_joined(group, work)]
    return tuple(
        tuple(
            PathStep(step.key, step.lists, step.types if len(step.types) < len(step.possible) else ()) for step in path
        )
        for path in paths
    )


def _all_joined(paths: list[tuple[_Step, ...]], work: Work) -> list[tuple[_Step, ...]]:
    """The paths, two by two made one as long as any two can be."""
    index = 0
    while index < len(paths):
        work.spend(1 + (len(paths) - index) * len(paths[index]) // 2)
        for other in paths[index + 1 :]:
            both = _joined(paths[index], other)
            if both is not None:
                paths[index] = both
                paths.remove(other)
                index = -1  # what is wider now may go with one that was passed
                break
        index += 1
    return paths


def _steps(cell: Cell, known: int, work: Work) -> tuple[_Step, ...]:
    work.spend(4 + 4 * cell.depth)
    steps: list[_Step] = []
    while cell.parent is not None:
        cell, child = cell.parent
        types = tuple(name for cls in child.classes for name in cls.types) if known & cell.typename else cell.types
        steps.append(_Step(child.key, child.type.lists, types, cell.types))
    return tuple(reversed(steps))


def _joined(one: tuple[_Step, ...], other: tuple[_Step, ...]) -> tuple[_Step, ...] | None:
    different = [index for index, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(different) != 1:
        return None
    [index] = different
    a, b = one[index], other[index]
    if a.possible != b.possible:
        return None
    return (*one[:index], replace(a, types=tuple(sorted({*a.types, *b.types}))), *one[index + 1 :])
