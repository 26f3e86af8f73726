"""A plan: the requests that answer one operation, how their results make one tree, and how the answer is read off.

Between planner and executor stands one picture, the *merged tree*: a JSON object that starts empty and into which
every fetch's result is merged. Its rules are what keeps the executor simple:

* **One key per fact.** At each object position the planner gives every (field, arguments) one key in the merged tree,
  and every subgraph operation aliases to that key. So merging never renames: objects merge by key, lists by index, a
  leaf that is there already stays.
* **Keys are the client's response keys where the client asked**, and the field's own name (or `_name_1` where that is
  taken) for what only the plan needs: keys, @requires, `__typename`. What no projection reads never leaves the router.
* **`__typename`** stands under `__typename` and is always an object type of the API schema's subgraphs, never an
  interface's name (a subgraph that has the type as @interfaceObject is never asked for it under that key).
* **The answer is a projection** of the merged tree, in the client's order, completed against the API schema: nothing
  that a subgraph sent is trusted to have the right shape.

A `Plan` is a DAG: a fetch may start as soon as all fetches in its `depends_on` have ended (mutations: the first fetch
of the next run depends on every fetch of the run before). Everything here is frozen, holds no reference to a schema,
and is equal whenever it prints the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from graphql import parse, print_ast

from trifolio.conditions import ALWAYS, NEVER, Condition

# ---- where things stand in the merged tree ----


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step down the merged tree: from objects of `types` through `key`, then through `lists` levels of lists."""

    key: str
    """The key under which the value stands in the parent object."""
    lists: int = 0
    """How many list levels the value's type has; each is entered at every index."""
    types: tuple[str, ...] = ()
    """Only parent objects of these runtime types are entered; empty means all."""


Path = tuple[PathStep, ...]
"""From the root of the merged tree to an object position; empty is the root itself."""


def path_text(path: Path) -> str:
    """`pets.@|[Cat,Dog].owner`: keys, `@` per list level, and the types a step is limited to."""
    parts = []
    for step in path:
        condition = f"|[{','.join(step.types)}]." if step.types else ""
        parts.append(condition + step.key + ".@" * step.lists)
    return ".".join(parts).replace(".|", "|")


# ---- what is asked of the subgraphs ----


@dataclass(frozen=True, slots=True)
class RepresentationField:
    """One field of a representation, copied out of the merged tree."""

    name: str
    """The field's name in the representation."""
    key: str
    """Where its value stands in the merged tree, relative to the object."""
    selection: tuple["RepresentationField", ...] = ()
    """The fields of a composite value; empty for a leaf, which is copied as it is."""
    types: tuple[str, ...] = ()
    """Only for (sub)objects of these runtime types; empty means all."""
    required: bool = False
    """True for @requires: null is sent as null. False for a key: null means that no representation can be built. A
    value that is absent altogether (its fetch failed) prevents the representation in both cases."""


@dataclass(frozen=True, slots=True)
class Representation:
    """How an object of the merged tree is shown to a subgraph's `_entities` (federation subgraph specification)."""

    fields: tuple[RepresentationField, ...] = ()
    typename: str | None = None
    """A constant `__typename` (an interface's name for interface objects and entity interfaces, or the only possible
    type); None sends the object's own."""


@dataclass(frozen=True, slots=True)
class ContextVariable:
    """The value of an argument that @fromContext fills from an ancestor; objects with different ones share no alias."""

    variable: str
    """The variable in the fetch's operation that carries the value."""
    levels_up: int
    """How many path steps above the entry's object the ancestor stands."""
    value: RepresentationField
    """What is read there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place where a fetch's result enters the merged tree.

    For an entity fetch: objects at `paths` with a runtime type in `types` become representations in `variable`, and
    item i of the result's list under `alias` is merged into every object that sent representation i. For a root fetch:
    `alias` is empty, there is nothing to send, and the result itself is merged into the objects at `paths` (the root of
    the tree, or places where a type leads back to the root type).
    """

    paths: tuple[Path, ...] = ((),)
    alias: str = ""
    variable: str = ""
    types: tuple[str, ...] = ()
    """Runtime types of the objects that this entry takes; empty means all."""
    representation: Representation = Representation()
    fallbacks: tuple[Representation, ...] = ()
    """Tried in order where `representation` cannot be built as a key is null; nothing is fetched for these alone."""
    context: tuple[ContextVariable, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    """Root fetches that enter at several places: which response keys belong to this entry, and the merged tree's key of
    each. Empty means: all of the result, under its own keys."""
    condition: Condition = ALWAYS
    """Where it does not hold, the entry is not asked: nothing is sent for it and its alias is not in the result."""


OperationKind = Literal["query", "mutation", "subscription"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """ONE request to a subgraph."""

    id: int
    """From 0, in an order in which every fetch follows those that it depends on."""
    subgraph: str
    """The subgraph's name."""
    kind: OperationKind
    """Whether `operation` is a query, a mutation or a subscription."""
    operation: str
    """The operation's text, ready to send."""
    entries: tuple[Entry, ...]
    """Where the result enters the merged tree."""
    variables: tuple[str, ...] = ()
    """The client's variables that `operation` uses: forwarded untouched, left out where the client left them out."""
    depends_on: tuple[int, ...] = ()
    """The ids of the fetches that have to end before this one starts."""
    condition: Condition = ALWAYS
    """Where it does not hold the request is not sent, and its dependants find nothing to ask."""
    deferred: int | None = None
    """Index into `Plan.deferred`: the fetch serves only that deferred part; None: it belongs to the first answer."""

    @property
    def is_entity_fetch(self) -> bool:
        """Whether the request asks `_entities` (root fields and `_entities` never share a request)."""
        return bool(self.entries) and bool(self.entries[0].alias)


# ---- how the answer is read off ----


@dataclass(frozen=True, slots=True)
class LeafShape:
    """A scalar or enum in the answer, completed as the GraphQL specification's section 6.4.3 says."""

    name: str
    """The type's name: `Int`, `Float`, `String`, `Boolean` and `ID` are coerced, custom scalars pass as they are."""
    non_null: bool = False
    values: frozenset[str] | None = None
    """An enum's values in the API schema; anything else becomes null and an error. None for scalars."""


@dataclass(frozen=True, slots=True)
class TypenameShape:
    """`__typename`: the merged tree's, where it is one of the position's possible types; a constant where one is."""

    constant: str | None = None
    non_null: bool = True


@dataclass(frozen=True, slots=True)
class RawShape:
    """A value that the router made itself and passes as it is: the results of introspection."""

    non_null: bool = False


@dataclass(frozen=True, slots=True)
class HiddenShape:
    """A field that the caller may not see: null, and an error that says so."""

    non_null: bool = False


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list in the answer."""

    item: "Shape"
    non_null: bool = False


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """An object in the answer."""

    selection: "Selection"
    non_null: bool = False


Shape = LeafShape | TypenameShape | RawShape | HiddenShape | ListShape | ObjectShape


@dataclass(frozen=True, slots=True)
class OutputField:
    """One field of the answer."""

    response_key: str
    key: str
    """Where the value stands in the merged tree's object."""
    shape: Shape
    types: frozenset[str] | None = None
    """Only in objects of these runtime types; None means all."""
    condition: Condition = ALWAYS
    coordinate: str = ""
    """`Type.field`, for messages."""
    fails_part: Condition = NEVER
    """Only in deferred parts. Where it holds, a null that may not stand here ends the whole part, and not the object
    around it: that object belongs to another part, or to the first answer, and has gone to the client."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The fields of one object position, in the client's order.

    A response key can stand more than once, under types and conditions that exclude one another: for an object and a
    request at most one of them applies.
    """

    fields: tuple[OutputField, ...]
    types: frozenset[str] = frozenset()
    """The possible runtime types by the API schema. A position with one type needs no `__typename` in the merged tree;
    at one with several, an object whose `__typename` is none of them becomes null with an error."""
    is_possible: bool = True
    """False where clients see no type at all that an object here could be of: each becomes null with an error."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A part of the answer that @defer lets come later, at every object of one position."""

    path: Path
    """Where the objects stand in the merged tree."""
    response_keys: tuple[str, ...]
    """The client's keys for the steps of `path`."""
    selection: Selection
    """What the part brings. Objects that the first answer or a part around this one has shown stand here again, with
    what is new in them."""
    needs: tuple[int, ...]
    """The ids of the fetches that bring it."""
    label: str | None = None
    condition: Condition = ALWAYS
    parent: int | None = None
    """The deferred part that it is nested in, as index into `Plan.deferred`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the executor needs to answer one operation, for every request that sends it."""

    kind: OperationKind
    """Whether it is a query, a mutation or a subscription."""
    fetches: tuple[Fetch, ...]
    """The requests to subgraphs, each after those that it depends on."""
    selection: Selection
    """How the answer is read off the merged tree."""
    introspection: str | None = None
    """An operation with the `__schema` and `__type` fields alone, for the router's own schema. Its result stands in the
    merged tree under the response keys and is read through `RawShape`."""
    introspection_variables: tuple[str, ...] = ()
    """The client's variables that `introspection` uses."""
    deferred: tuple[Deferred, ...] = ()
    """The parts of the answer that @defer lets come later."""
    proven_minimal: bool = True
    """False where the search ended at its budget with a plan that may not be the shortest."""

    @property
    def depth(self) -> int:
        """Fetches on the longest chain of dependencies: how many round trips a client waits for."""
        depths: dict[int, int] = {}
        for fetch in self.fetches:
            depths[fetch.id] = 1 + max((depths[other] for other in fetch.depends_on), default=0)
        return max(depths.values(), default=0)

    def entries(self) -> Iterator[tuple[Fetch, Entry]]:
        """Every entry with its fetch, in order."""
        return ((fetch, entry) for fetch in self.fetches for entry in fetch.entries)

    def __str__(self) -> str:
        """The plan in Apollo's notation, but as the DAG that it is: each fetch with its id and what it waits for.

        QueryPlan {
          Fetch(id: 0, service: "products") {
            { top { upc } }
          },
          Fetch(id: 1, service: "reviews", after: [0]) {
            Flatten(path: "top.@") { { ... on Product { __typename upc } } } =>
            query ($representations: [_Any!]!) { ... }
          },
        }
        """
        lines = ["QueryPlan {"]
        for fetch in self.fetches:
            lines += _indented(_fetch_lines(fetch))
        if self.introspection is not None:
            lines += _indented(["Introspection {", *_indented(_operation_lines(self.introspection)), "},"])
        for index, part in enumerate(self.deferred):
            lines += _indented([_deferred_line(index, part)])
        if not self.proven_minimal:
            lines.append("  # the search ended at its budget: there may be a plan with fewer fetches")
        return "\n".join([*lines, "}"])

    def to_json(self) -> dict[str, object]:
        """The DAG as JSON data: fetches with their operations, entries and dependencies."""
        return {
            "kind": self.kind,
            "provenMinimal": self.proven_minimal,
            "depth": self.depth,
            "fetches": [_fetch_json(fetch) for fetch in self.fetches],
            "introspection": self.introspection,
            "deferred": [
                {
                    "path": path_text(part.path),
                    "label": part.label,
                    "needs": list(part.needs),
                    "condition": str(part.condition),
                    "parent": part.parent,
                }
                for part in self.deferred
            ],
        }


# ---- the text form ----


def _indented(lines: Iterable[str]) -> list[str]:
    return ["  " + line for line in lines]


def _operation_lines(operation: str) -> list[str]:
    return print_ast(parse(operation, no_location=True)).splitlines()


def _fetch_lines(fetch: Fetch) -> list[str]:
    facts = [f"id: {fetch.id}", f'service: "{fetch.subgraph}"']
    if fetch.depends_on:
        facts.append(f"after: {list(fetch.depends_on)}")
    if fetch.condition != ALWAYS:
        facts.append(f'if: "{fetch.condition}"')
    if fetch.deferred is not None:
        facts.append(f"defer: {fetch.deferred}")
    lines = []
    for entry in fetch.entries:
        if entry.alias or entry.paths != ((),):
            lines += _entry_lines(entry)
    return [f"Fetch({', '.join(facts)}) {{", *_indented([*lines, *_operation_lines(fetch.operation)]), "},"]


def _entry_lines(entry: Entry) -> list[str]:
    paths = ", ".join(f'"{path_text(path)}"' for path in entry.paths)
    facts = [f"path: {paths}"]
    if entry.alias not in ("", "_entities"):
        facts.append(f"alias: {entry.alias}")
    if entry.condition != ALWAYS:
        facts.append(f'if: "{entry.condition}"')
    facts += [
        f"${argument.variable}: up {argument.levels_up} {' '.join(_field_lines(argument.value))}"
        for argument in entry.context
    ]
    if not entry.alias:
        keys = ", ".join(f"{response_key} as {key}" for response_key, key in entry.keys)
        return [f"Flatten({', '.join(facts)}){f' {{ {keys} }}' if keys else ''} =>"]
    shown = [_representation_lines(each, entry.types) for each in (entry.representation, *entry.fallbacks)]
    lines = [f"Flatten({', '.join(facts)}) {{", *_indented(shown[0])]
    for fallback in shown[1:]:
        lines += ["} else {", *_indented(fallback)]
    return [*lines, "} =>"]


def _representation_lines(representation: Representation, types: tuple[str, ...]) -> list[str]:
    name = "|".join(types) or representation.typename
    typename = f'__typename: "{representation.typename}"' if representation.typename else "__typename"
    fields = [line for each in representation.fields for line in _field_lines(each)]
    fragment = f"... on {name}" if name else "..."
    return ["{", *_indented([f"{fragment} {{", *_indented([typename, *fields]), "}"]), "}"]


def _field_lines(field: RepresentationField) -> list[str]:
    head = field.name if field.name == field.key else f"{field.name}: {field.key}"
    if not field.selection:
        lines = [head]
    else:
        lines = [f"{head} {{", *_indented(line for each in field.selection for line in _field_lines(each)), "}"]
    return [f"... on {'|'.join(field.types)} {{", *_indented(lines), "}"] if field.types else lines


def _deferred_line(index: int, part: Deferred) -> str:
    facts = [f"id: {index}", f'path: "{path_text(part.path)}"']
    if part.label is not None:
        facts.append(f'label: "{part.label}"')
    if part.parent is not None:
        facts.append(f"parent: {part.parent}")
    if part.condition != ALWAYS:
        facts.append(f'if: "{part.condition}"')
    return f"Defer({', '.join(facts)}),"


# ---- the JSON form ----


def _fetch_json(fetch: Fetch) -> dict[str, object]:
    return {
        "id": fetch.id,
        "subgraph": fetch.subgraph,
        "kind": fetch.kind,
        "operation": fetch.operation,
        "variables": list(fetch.variables),
        "dependsOn": list(fetch.depends_on),
        "condition": str(fetch.condition),
        "deferred": fetch.deferred,
        "entries": [_entry_json(entry) for entry in fetch.entries],
    }


def _entry_json(entry: Entry) -> dict[str, object]:
    return {
        "paths": [path_text(path) for path in entry.paths],
        "alias": entry.alias,
        "variable": entry.variable,
        "types": list(entry.types),
        "condition": str(entry.condition),
        "representation": _representation_json(entry.representation),
        "fallbacks": [_representation_json(each) for each in entry.fallbacks],
        "context": [
            {"variable": each.variable, "levelsUp": each.levels_up, "value": _field_json(each.value)}
            for each in entry.context
        ],
        "keys": [list(each) for each in entry.keys],
    }


def _representation_json(representation: Representation) -> dict[str, object]:
    return {"typename": representation.typename, "fields": [_field_json(each) for each in representation.fields]}


def _field_json(field: RepresentationField) -> dict[str, object]:
    return {
        "name": field.name,
        "key": field.key,
        "types": list(field.types),
        "required": field.required,
        "selection": [_field_json(each) for each in field.selection],
    }
