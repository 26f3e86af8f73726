"""Random supergraphs: entities, values, interfaces and unions spread over subgraphs that the composer accepts.

Each draft decides for every field which subgraphs have it and how: alone, @shareable, moved by @override, with a
@requires on what others own, or lent by a @provides; some have keys that may be null, fields and types that clients do
not see, mutations that several execute, directives of their own. Drafts that the composer refuses (most often as a
field cannot be reached) are thrown away; what it accepts has to be answered right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from trifolio.composer import Subgraph, compose

ATTEMPTS_MAX = 60
LINK = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@external", "@requires",'
    ' "@provides", "@shareable", "@override", "@interfaceObject", "@inaccessible"])'
)
LEAVES = ("Int", "String", "Float", "Boolean", "ID", "Mood", "JSON", "String!", "[Int!]", "[[String]]")


@dataclass
class _Draft:
    """Type definitions by subgraph: for each type its head and its fields."""

    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    fields: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def open(self, graph: str, name: str, head: str) -> None:
        """Make sure that a subgraph has a type."""
        self.heads.setdefault((graph, name), head)
        self.fields.setdefault((graph, name), {})

    def add(self, graph: str, name: str, key: str, text: str) -> None:
        """Add a field, unless the type has it."""
        self.fields[graph, name].setdefault(key, text)

    def sdl(self, graph: str) -> str:
        """A subgraph's text."""
        parts = [LINK, "enum Mood { GOOD BAD UGLY }", "scalar JSON"]
        for (owner, name), head in self.heads.items():
            if owner == graph:
                fields = " ".join(f"{key}{text}" for key, text in self.fields[owner, name].items())
                parts.append(f"{head} {{ {fields} }}" if fields else head)
        return "\n".join(parts)


def random_supergraph(seed: str, *, nullable_keys: bool = False) -> str:
    """The supergraph that a seed stands for; with `nullable_keys`, some entities have two keys of which one may be
    null."""
    random = Random(seed)
    for _ in range(ATTEMPTS_MAX):
        graphs = [f"s{number}" for number in range(random.randrange(2, 6))]
        draft = _Drafter(random, graphs, nullable_keys=nullable_keys).draft()
        subgraphs = [Subgraph(name=graph, url=f"http://{graph}", sdl=draft.sdl(graph)) for graph in graphs]
        supergraph = compose(subgraphs).supergraph
        if supergraph is not None:
            return supergraph
    raise AssertionError(f"no draft of {seed} composes")


class _Drafter:
    """Makes one draft."""

    def __init__(self, random: Random, graphs: Sequence[str], *, nullable_keys: bool) -> None:
        self._random = random
        self._nullable_keys = nullable_keys
        self._graphs = list(graphs)
        self._draft = _Draft()
        self._entities = [f"E{number}" for number in range(random.randrange(2, 5))]
        self._values = [f"V{number}" for number in range(random.randrange(3))]
        self._homes: dict[str, list[str]] = {}
        self._keys: dict[tuple[str, str], list[str]] = {}
        self._leaves: dict[str, list[tuple[str, str, str]]] = {name: [] for name in self._entities}
        """By entity the leaf fields that others can require: name, type and owner."""
        self._inputs: dict[str, list[tuple[str, str, str, str]]] = {name: [] for name in self._entities}
        """The same for fields that return objects, with what is required of these."""

    def draft(self) -> _Draft:
        """Entities first, then what refers to them, and the roots last."""
        for name in self._values:
            self._value_type(name)
        for name in self._entities:
            self._homes[name] = sorted(self._random.sample(self._graphs, self._random.randint(1, len(self._graphs))))
            self._entity(name)
        if self._chance(0.6):
            self._interface()
        if self._chance(0.5):
            self._union()
        for name in self._entities:
            self._references(name)
            self._requirements(name)
        for graph in self._graphs:
            self._roots(graph)
        if self._chance(0.4):
            self._shared_mutation()
        if self._chance(0.4):
            self._hidden()
        if self._chance(0.3):
            self._custom_directive()
        return self._draft

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    # ---- types ----

    def _value_type(self, name: str) -> None:
        """A type without key: every subgraph can have it, with shared and with own fields."""
        for graph in self._graphs:
            self._draft.open(graph, name, f"type {name}")
            self._draft.add(graph, name, "common", ": String @shareable")
            if self._chance(0.4):
                self._draft.add(graph, name, f"own_{graph}", f": {self._random.choice(LEAVES)}")

    def _entity(self, name: str) -> None:
        """Keys that chain the subgraphs, and leaves that one or two of them own."""
        homes = self._homes[name]
        two_keys = len(homes) > 2 and self._chance(0.4)
        if self._chance(0.15):
            self._draft_nested_key(name, homes)
            return
        if self._nullable_keys and self._chance(0.25):
            self._draft_nullable_keys(name, homes)
            return
        for number, graph in enumerate(homes):
            keys = ["id"]
            if two_keys:
                keys = (
                    ["id"] if number == 0 else ["id", "code"] if number == 1 else [self._random.choice(("id", "code"))]
                )
            self._keys[name, graph] = keys
            head = " ".join(f'@key(fields: "{key}")' for key in keys)
            self._draft.open(graph, name, f"type {name} {head}")
            for key in keys:
                self._draft.add(graph, name, key, ": ID!" if key == "id" else ": String!")
        for number in range(self._random.randrange(2, 6)):
            self._leaf(name, f"f{number}", homes)

    def _draft_nullable_keys(self, name: str, homes: list[str]) -> None:
        """An entity with two keys in every subgraph, either of which may be null."""
        for graph in homes:
            self._keys[name, graph] = ["code", "ean"]
            self._draft.open(graph, name, f'type {name} @key(fields: "code") @key(fields: "ean")')
            self._draft.add(graph, name, "code", ": String")
            self._draft.add(graph, name, "ean", ": ID")
        for number in range(self._random.randrange(2, 5)):
            self._leaf(name, f"f{number}", homes)

    def _draft_nested_key(self, name: str, homes: list[str]) -> None:
        """An entity whose key stands in an object of its own."""
        for graph in homes:
            self._keys[name, graph] = ["ref"]
            self._draft.open(graph, f"Ref{name}", f"type Ref{name}")
            self._draft.add(graph, f"Ref{name}", "id", ": ID! @shareable")
            self._draft.open(graph, name, f'type {name} @key(fields: "ref {{ id }}")')
            self._draft.add(graph, name, "ref", f": Ref{name}! @shareable")
        for number in range(self._random.randrange(2, 5)):
            self._leaf(name, f"f{number}", homes)

    def _leaf(self, name: str, key: str, homes: list[str]) -> None:
        leaf = self._random.choice(LEAVES)
        arguments = self._random.choice(("", "", "(x: Int = 3)", "(mood: Mood, list: [ID!])"))
        owner, *others = self._random.sample(homes, len(homes))
        roll = self._random.random()
        if roll < 0.2 and others:
            self._draft.add(owner, name, key, f"{arguments}: {leaf} @shareable")
            self._draft.add(others[0], name, key, f"{arguments}: {leaf} @shareable")
        elif roll < 0.3 and others:
            self._draft.add(owner, name, key, f'{arguments}: {leaf} @override(from: "{others[0]}")')
            self._draft.add(others[0], name, key, f"{arguments}: {leaf}")
        else:
            self._draft.add(owner, name, key, f"{arguments}: {leaf}")
            if not arguments:
                self._leaves[name].append((key, leaf, owner))

    def _interface(self) -> None:
        """An interface over some entities: in one subgraph, and perhaps as an object in another."""
        graph = self._random.choice(self._graphs)
        members = [name for name in self._entities if "id" in self._keys.get((name, graph), ())]
        if not members:
            return
        others = [other for other in self._graphs if other != graph]
        outside = [other for other in others if not any((name, other) in self._keys for name in members)]
        is_entity = bool(outside) and self._chance(0.7)
        self._draft.open(graph, "I", 'interface I @key(fields: "id")' if is_entity else "interface I")
        self._draft.add(graph, "I", "id", ": ID!")
        for name in members:
            head = self._draft.heads[graph, name]
            self._draft.heads[graph, name] = head.replace(f"type {name}", f"type {name} implements I", 1)
        self._homes["I"] = [graph]
        if is_entity:
            other = self._random.choice(outside)
            self._draft.open(other, "I", 'type I @interfaceObject @key(fields: "id")')
            self._draft.add(other, "I", "id", ": ID!")
            self._draft.add(other, "I", "extra", f"(x: Int): {self._random.choice(LEAVES)}")
            self._homes["I"].append(other)

    def _union(self) -> None:
        """A union whose members differ from subgraph to subgraph."""
        for graph in self._random.sample(self._graphs, self._random.randint(1, len(self._graphs))):
            known = [name for name in self._entities if (name, graph) in self._keys] + self._values
            if known:
                members = sorted(self._random.sample(known, self._random.randint(1, len(known))))
                self._draft.open(graph, "U", f"union U = {' | '.join(members)}")
                self._homes.setdefault("U", []).append(graph)

    # ---- fields between types ----

    def _types_in(self, graph: str) -> list[str]:
        """What fields of a subgraph can return."""
        entities = [name for name in self._entities if (name, graph) in self._keys]
        abstract = [name for name in ("I", "U") if graph in self._homes.get(name, ())]
        return [*entities, *entities, *self._values, *abstract]

    def _wrapped(self, name: str) -> str:
        return self._random.choice(("{}", "{}", "{}!", "[{}]", "[{}!]", "[{}!]!", "[[{}]]")).format(name)

    def _references(self, name: str) -> None:
        for number in range(self._random.randrange(3)):
            graph = self._random.choice(self._homes[name])
            target = self._random.choice(self._types_in(graph))
            wrapped = self._wrapped(target)
            self._draft.add(graph, name, f"r{number}", f": {wrapped}{self._provided(graph, target)}")
            if target in self._values:
                self._inputs[name].append((f"r{number}", wrapped, graph, " { common }"))
            elif target in self._entities:
                key = self._keys[target, graph][0]
                self._inputs[name].append((f"r{number}", wrapped, graph, f" {{ {'id' if key == 'ref' else key} }}"))

    def _provided(self, graph: str, target: str) -> str:
        """A @provides of a leaf that another subgraph owns and shares."""
        lendable = [item for item in self._leaves.get(target, ()) if item[2] != graph]
        if not lendable or not self._chance(0.3):
            return ""
        key, leaf, owner = self._random.choice(lendable)
        if key in self._draft.fields[graph, target] and "@external" not in self._draft.fields[graph, target][key]:
            return ""
        self._draft.add(graph, target, key, f": {leaf} @external")
        self._draft.fields[owner, target][key] = f": {leaf} @shareable"
        return f' @provides(fields: "{key}")'

    def _requirements(self, name: str) -> None:
        """Fields that need what other subgraphs own, these again among it."""
        for number in range(self._random.randrange(3)):
            graph = self._random.choice(self._homes[name])
            leaves = [(*item, "") for item in self._leaves[name]]
            inputs = [item for item in [*leaves, *self._inputs[name]] if item[2] != graph]
            if not inputs:
                continue
            chosen = self._random.sample(inputs, self._random.randint(1, min(2, len(inputs))))
            for key, wrapped, _, _ in chosen:
                if wrapped.strip("[]!") not in self._entities or (wrapped.strip("[]!"), graph) in self._keys:
                    self._draft.add(graph, name, key, f": {wrapped} @external")
            if not all("@external" in self._draft.fields[graph, name].get(key, "") for key, _, _, _ in chosen):
                continue
            fields = " ".join(key + below for key, _, _, below in chosen)
            key = f"q{number}"
            leaf = self._random.choice(LEAVES)
            self._draft.add(graph, name, key, f': {leaf} @requires(fields: "{fields}")')
            self._leaves[name].append((key, leaf, graph))

    def _shared_mutation(self) -> None:
        """A mutation that several subgraphs have: one of them executes it, once."""
        for graph in self._random.sample(self._graphs, 2):
            self._draft.open(graph, "Mutation", "type Mutation")
            self._draft.add(graph, "Mutation", "shared", "(x: Int = 1): Int @shareable")
            self._draft.add(graph, "Mutation", f"also_{graph}", ": String")

    def _hidden(self) -> None:
        """Fields that clients do not see, and a member of the union that they do not."""
        for name in self._entities:
            graph = self._random.choice(self._homes[name])
            self._draft.add(graph, name, "secret", ": String @inaccessible")
            self._draft.add(graph, name, "hidden", f": {name} @inaccessible")
        for graph in self._homes.get("U", ())[:1]:
            self._draft.open(graph, "Secret", "type Secret @inaccessible")
            self._draft.add(graph, "Secret", "only", ": Int")
            self._draft.heads[graph, "U"] += " | Secret"

    def _custom_directive(self) -> None:
        """A directive of the subgraphs' own, wherever one can stand; it is theirs alone."""
        for graph in self._graphs:
            self._draft.open(graph, "@own", "directive @own(of: String) repeatable on OBJECT | FIELD_DEFINITION")
            for owner, name in list(self._draft.fields):
                if owner == graph and self._draft.heads[owner, name].startswith("type ") and self._chance(0.3):
                    self._draft.heads[owner, name] += ' @own @own(of: "it")'
                    for key in self._draft.fields[owner, name]:
                        self._draft.fields[owner, name][key] += " @own"

    def _roots(self, graph: str) -> None:
        if self._chance(0.3) and self._types_in(graph):
            self._draft.open(graph, "Mutation", "type Mutation")
            target = self._random.choice([*self._types_in(graph), "Int"])
            self._draft.add(graph, "Mutation", f"do_{graph}", f"(x: Int = 1): {self._wrapped(target)}")
        self._draft.open(graph, "Query", "type Query")
        for number in range(self._random.randrange(1, 3)):
            types = self._types_in(graph)
            if types:
                target = self._random.choice(types)
                arguments = self._random.choice(("", "(first: Int)"))
                lent = self._provided(graph, target)
                self._draft.add(graph, "Query", f"{graph}_{number}", f"{arguments}: {self._wrapped(target)}{lent}")
        self._draft.add(graph, "Query", f"{graph}_leaf", ": Int")
