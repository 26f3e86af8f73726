"""What holds for every plan, over random operations on every supergraph of the generated execution test.

Each property is one test; a failure names the supergraph and the seed that show it again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from random import Random
from typing import Any, TypeVar

import pytest
from graphql import (
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldNode,
    InlineFragmentNode,
    InputObjectTypeDefinitionNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    print_ast,
    validate,
)
from graphql.language import DirectiveNode, Visitor, visit

from tests.execution.operations import generate
from tests.planner.cases import SUPERGRAPHS
from tests.planner.subgraph_schemas import subgraph_schemas
from trifolio.conditions import ALWAYS
from trifolio.operation import Flattener, read_operation
from trifolio.planner import plan
from trifolio.planner.cells import Cells, Demand
from trifolio.planner.facts import Reaches, Rule, find_rules, root_rules
from trifolio.planner.liveness import Liveness
from trifolio.planner.search import Found, Moves, search
from trifolio.query_graph import query_graph
from trifolio.query_plan import Fetch, ObjectShape, Path, Plan, RepresentationField, Selection, Shape
from trifolio.supergraph import Supergraph

OPERATIONS_PER_SUPERGRAPH = 25
NAMES = tuple(sorted(path.stem for path in SUPERGRAPHS.glob("*.graphql")))

WITH_IMPOSSIBLE_OBJECTS = frozenset({"partial-unions", "subtypes"})
"""Where some runtime types cannot be returned by all subgraphs that resolve a field, and so are rightly not fetched."""

every_supergraph = pytest.mark.parametrize("name", NAMES)

Place = tuple[str, ...]
NodeT = TypeVar("NodeT", bound=Node)
"""Keys from the root of the merged tree."""


@cache
def supergraph_of(name: str) -> Supergraph:
    """The supergraph of that file."""
    return Supergraph.parse((SUPERGRAPHS / f"{name}.graphql").read_text())


@cache
def operations_of(name: str) -> tuple[tuple[str, str], ...]:
    """Random valid operations, each with the seed that makes it."""
    schema = supergraph_of(name).api_schema
    seeds = [f"{name}/{number}" for number in range(OPERATIONS_PER_SUPERGRAPH)]
    return tuple((seed, generate(schema, Random(seed)).text) for seed in seeds)


@cache
def plans_of(name: str) -> tuple[tuple[str, Plan], ...]:
    """Their plans."""
    return tuple((f"{seed}: {text}", plan(text, supergraph_of(name))) for seed, text in operations_of(name))


# ---- what a fetch brings and reads ----


def keys_of(path: Path) -> Place:
    """The keys of a path."""
    return tuple(step.key for step in path)


def brought(selection_set: SelectionSetNode, place: Place, types: str = "") -> Iterator[tuple[Place, str]]:
    """Every field that a selection set brings, with the type condition that it stands under."""
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            key = node.alias.value if node.alias else node.name.value
            yield (*place, key), types
            if node.selection_set:
                yield from brought(node.selection_set, (*place, key))
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition else types
            yield from brought(node.selection_set, place, condition)


def brings(fetch: Fetch) -> set[tuple[Place, str]]:
    """Everything that a fetch brings into the merged tree."""
    document = parse(fetch.operation)
    definition = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    result: set[tuple[Place, str]] = set()
    for entry in fetch.entries:
        renamed = dict(entry.keys)
        for key, selection_set in top_level(definition.selection_set):
            for path in entry.paths:
                if entry.alias and key == entry.alias and selection_set is not None:
                    result |= set(brought(selection_set, keys_of(path)))
                elif not entry.alias and (not entry.keys or key in renamed):
                    place = (*keys_of(path), renamed.get(key, key))
                    result |= {(place, "")} | (set(brought(selection_set, place)) if selection_set else set())
    return result


def top_level(selection_set: SelectionSetNode) -> Iterator[tuple[str, SelectionSetNode | None]]:
    """The root's fields, through fragments that carry conditions."""
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            yield node.alias.value if node.alias else node.name.value, node.selection_set
        elif isinstance(node, InlineFragmentNode):
            yield from top_level(node.selection_set)


def read_fields(fields: tuple[RepresentationField, ...], place: Place) -> Iterator[Place]:
    """Everything that a representation reads."""
    for field in fields:
        yield (*place, field.key)
        yield from read_fields(field.selection, (*place, field.key))


def reads(fetch: Fetch) -> Iterator[Place]:
    """Everything that a fetch reads in the merged tree."""
    for entry in fetch.entries:
        for path in entry.paths:
            place = keys_of(path)
            yield from (place[: end + 1] for end in range(len(place)))
            yield from read_fields(entry.representation.fields, place)
            for fallback in entry.fallbacks:
                yield from read_fields(fallback.fields, place)
            for argument in entry.context:
                yield from read_fields((argument.value,), place[: len(place) - argument.levels_up])


def before(made: Plan, fetch: Fetch) -> set[int]:
    """Every fetch that ends before this one starts."""
    result: set[int] = set()
    todo = list(fetch.depends_on)
    while todo:
        number = todo.pop()
        result.add(number)
        todo += made.fetches[number].depends_on
    return result


def leaves(selection: Selection, place: Place) -> Iterator[Place]:
    """Where the answer is read off."""
    for field in selection.fields:
        shape: Shape = field.shape
        while hasattr(shape, "item"):
            shape = shape.item
        if isinstance(shape, ObjectShape):
            yield from leaves(shape.selection, (*place, field.key))
        elif type(shape).__name__ == "LeafShape":
            yield (*place, field.key)


# ---- the properties ----


@every_supergraph
def test_fetches_wait_for_their_inputs(name: str) -> None:
    """I1: whatever a fetch reads was brought by fetches that it waits for, and ids follow dependencies."""
    for seed, made in plans_of(name):
        for fetch in made.fetches:
            assert all(number < fetch.id for number in fetch.depends_on), seed
            there = {place for number in before(made, fetch) for place, _ in brings(made.fetches[number])}
            missing = set(reads(fetch)) - there
            assert not missing, f"{seed}\nfetch {fetch.id} reads {missing}\n{made}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_IMPOSSIBLE_OBJECTS])
def test_every_leaf_is_fetched(name: str) -> None:
    """I2: every leaf of the answer is brought by some fetch."""
    for seed, made in plans_of(name):
        there = {place for fetch in made.fetches for place, _ in brings(fetch)}
        missing = set(leaves(made.selection, ())) - there
        assert not missing, f"{seed}\n{missing}\n{made}"


@every_supergraph
def test_no_fetch_is_idle(name: str) -> None:
    """I3: every fetch brings something that no other fetch brings."""
    for seed, made in plans_of(name):
        all_brought = [brings(fetch) for fetch in made.fetches]
        for fetch in made.fetches:
            others = set().union(*(each for i, each in enumerate(all_brought) if i != fetch.id))
            assert all_brought[fetch.id] - others, f"{seed}\nfetch {fetch.id} is idle\n{made}"


@every_supergraph
def test_subgraph_operations_are_valid(name: str) -> None:
    """I4: every operation is valid against its subgraph's own schema."""
    schemas = subgraph_schemas(supergraph_of(name))
    for seed, made in plans_of(name):
        for fetch in made.fetches:
            errors = validate(schemas[fetch.subgraph], parse(fetch.operation))
            assert not errors, f"{seed}\n{fetch.operation}\n{errors}"


@every_supergraph
def test_search_agrees_with_its_twin(name: str) -> None:
    """I5: a search through all sequences, without any pruning, finds none that is shorter."""
    graph = query_graph(supergraph_of(name))
    for seed, text in operations_of(name):
        read = read_operation(text)
        if read.kind != "query":
            continue
        cells = Cells(graph, Flattener(read, graph.supergraph), read.kind)
        cells.client([(read.selection_set, ALWAYS)])
        cells.hidden(2)
        reaches = Reaches(cells, graph)
        rules = [*root_rules(reaches, cells.root, "query", 0), *find_rules(cells, reaches)]
        goal = sum(cells.goal)
        found = search(rules, 0, goal, partial(depth_of, rules, cells.goal))
        assert found is not None, seed
        assert found.proven_minimal, seed
        if len(found.steps) <= 5:
            assert len(found.steps) == shortest_of_all(Moves(rules, 0, goal)), seed


def depth_of(rules: list[Rule], goal: Demand, found: Found) -> int:
    """The round trips that a sequence takes."""
    return Liveness(rules, found, 0, 0).depth(goal)


def shortest_of_all(moves: Moves) -> int:
    """Breadth first over all sequences of requests."""
    states, length = {0}, 0
    while not any(state & moves.goal == moves.goal for state in states):
        states = {moves.fire(state, action) for state in states for action in moves.actions}
        length += 1
    return length


@every_supergraph
def test_order_of_subgraphs_makes_no_difference(name: str) -> None:
    """I6: the supergraph's definitions, graphs and directives in any order give the same plan, byte for byte."""
    sdl = (SUPERGRAPHS / f"{name}.graphql").read_text()
    shuffled = Supergraph.parse(print_ast(shuffled_document(parse(sdl), Random(name))))
    for (seed, text), (_, made) in zip(operations_of(name), plans_of(name), strict=True):
        other = plan(text, shuffled)
        assert (str(other), other) == (str(made), made), seed


def shuffled_document(document: DocumentNode, random: Random) -> DocumentNode:
    """The same supergraph, written down in another order."""

    def shuffled(nodes: Iterable[NodeT] | None) -> tuple[NodeT, ...]:
        result = list(nodes or ())
        random.shuffle(result)
        return tuple(result)

    definitions = []
    for node in document.definitions:
        changes: dict[str, Any] = {}
        for attribute in ("directives", "interfaces"):
            if getattr(node, attribute, None):
                changes[attribute] = shuffled(getattr(node, attribute))
        if getattr(node, "fields", None) and not isinstance(node, InputObjectTypeDefinitionNode):
            fields = [replace(field, directives=shuffled(field.directives)) for field in getattr(node, "fields", ())]
            changes["fields"] = shuffled(fields)
        if isinstance(node, EnumTypeDefinitionNode) and node.name.value == "join__Graph":
            changes["values"] = shuffled(node.values)
        definitions.append(replace(node, **changes))
    return replace(document, definitions=shuffled(definitions))


@every_supergraph
def test_aliases_and_conditions_cost_no_request(name: str) -> None:
    """I8: new aliases, and conditions that hold, change nothing about the number of requests."""
    for (seed, text), (_, made) in zip(operations_of(name), plans_of(name), strict=True):
        changed = print_ast(visit(parse(text), Renamed()))
        assert len(plan(changed, supergraph_of(name)).fetches) == len(made.fetches), f"{seed}\n{changed}"


class Renamed(Visitor):
    """Gives every field an alias of its field name, and a condition that holds."""

    def leave_field(self, node: FieldNode, *_: object) -> FieldNode:
        """A copy under another response key."""
        key = f"{node.alias.value if node.alias else node.name.value}_renamed"
        return replace(
            node, alias=replace(node.name, value=key), directives=(*(node.directives or ()), ALWAYS_INCLUDED)
        )


def included() -> DirectiveNode:
    """`@include(if: true)`."""
    definition = parse("{ a @include(if: true) }").definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    [node] = definition.selection_set.selections
    [directive] = node.directives or ()
    return directive


ALWAYS_INCLUDED = included()
