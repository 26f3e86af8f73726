"""Random sets of subgraphs in all that the composer reads: federation 1 and every version of federation 2, renamed and
prefixed imports, foreign specifications under any name, values written in several ways, descriptions, deprecations.

Most sets are meant to compose: what several subgraphs have is written alike, but for now and then. Which ones do is
the composer's to say, and other composers' and planners' to confirm (`python -m tests.composer --help`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from trifolio.composer import Subgraph
from trifolio.federation import FEDERATION_1, FEDERATION_LATEST, Version, directives_of

LEAVES = ("Int", "String", "Float", "Boolean", "ID", "Mood", "Date", "String!", "[Int!]", "[[String]]", "Mood!")
SAME_VALUES = {
    "Int": ("3",),
    "Float": ("200", "200.0", "2e2", "200.00"),
    "String": ('"a"', '"""a"""', '"\\u0061"', '"""\n    a\n  """'),
    "ID": ('"7"', "7"),
    "Boolean": ("true",),
    "Mood": ("GOOD",),
    "[Int!]": ("[1, 2]", "[1 2]"),
    "[String]": ('["x", null]',),
    "Filter": ("{mood: GOOD, n: 3}", "{n: 3, mood: GOOD}"),
    "[Filter!]": ("[{n: 1}]", "[{n: 1},]"),
    "Date": ('"2024-01-01"', '"""2024-01-01"""'),
}
"""By input type the ways to write one value."""
OTHER_VALUES = {"Int": "4", "Float": "-1.5", "String": '"b\\n"', "[Int!]": "1", "Filter": "{}", "Boolean": "null"}
FOREIGN = (
    ("https://example.com/house-rules/v1.0", "house"),
    ("https://specs.example.com/a.b/v0.3", "ab"),
    ("https://example.com/rules/v2.1", None),
    ("https://example.com/house/rules_of-it/v1.2", "roi"),
    ("https://user@example.com:8080/x.y-z/v1.0", "xyz"),
    ("https://example.com/9lives/v0.1", "nine"),
    ("https://specs.apollo.dev/unheard-of/v0.1", "unheard"),
)
"""Specifications that nobody knows, and a name for each where its own is no name of GraphQL."""
TEXTS = (
    '"short"',
    '"""block"""',
    '"""\n  two\n    lines\n  """',
    '"""with \\""" inside, and a \\\\ too"""',
    '"\\"quoted\\" ünï 🎈"',
    '""',
)
DEPRECATIONS = ("", '(reason: "gone")', '(reason: """\n two\n lines\n""")')


@dataclass
class _Type:
    """A type in one subgraph: what stands before its name, behind it, and within."""

    keyword: str
    behind: list[str] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass
class _Graph:
    """One subgraph: its link to federation, if it has one, and its types."""

    name: str
    version: Version
    names: dict[str, str]
    """What it calls federation's directives, where not by their own names."""
    types: dict[str, _Type] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    roots: dict[str, str] = field(default_factory=dict)

    @property
    def is_federation_2(self) -> bool:
        """Whether it links federation."""
        return self.version > FEDERATION_1

    def knows(self, directive: str) -> bool:
        """Whether its version of federation has the directive."""
        return directive in directives_of(self.version)


class RandomSubgraphs:
    """Makes one set; `subgraphs` is the result."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        count = self._random.choice((1, 2, 2, 3, 3, 4))
        composed = ("tag", "inaccessible")
        self._composed_names = {each: self._random.choice((each, each, f"my_{each}")) for each in composed}
        self._graphs = [self._graph(name) for name in self._random.sample(("a", "b", "c-c", "d.d", "E_e"), count)]
        self._entities = [f"E{number}" for number in range(self._random.randrange(1, 4))]
        self._owned: dict[str, list[tuple[str, str, _Graph]]] = {name: [] for name in self._entities}
        """By entity the leaves that one subgraph has: name, type, subgraph."""
        self._inputs = self._random.sample(("texts", "inner", "day"), 2)

    def subgraphs(self) -> list[Subgraph]:
        """The set."""
        for graph in self._graphs:
            self._leaf_types(graph)
            self._values(graph)
        for name in self._entities:
            self._entity(name)
        for step, probability in (
            (self._interface, 0.5),
            (self._union, 0.4),
            (self._requirements, 0.6),
            (self._requirements_with_arguments, 0.2),
            (self._override, 0.3),
            (self._context, 0.25),
            (self._hidden, 0.35),
            (self._access, 0.35),
            (self._costs, 0.35),
            (self._foreign, 0.4),
            (self._executable, 0.3),
            (self._mutation, 0.3),
        ):
            if self._chance(probability):
                step()
        for graph in self._graphs:
            self._query(graph)
            self._decorate(graph)
        return [Subgraph(each.name, f"http://{each.name}.example/graphql", self._sdl(each)) for each in self._graphs]

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    # ---- the subgraphs' heads ----

    def _graph(self, name: str) -> _Graph:
        if self._chance(0.15):
            return _Graph(name, FEDERATION_1, {})
        newest = FEDERATION_LATEST[1]
        version = (2, newest if self._chance(0.4) else self._random.randrange(newest + 1))
        names = {}
        if self._chance(0.3):
            for directive in ("key", "external", "shareable", "requires", "provides", "override"):
                names[directive] = self._random.choice((f"federation__{directive}", f"my_{directive}", directive))
        if self._chance(0.97):
            names |= self._composed_names
        return _Graph(name, version, names)

    def _use(self, graph: _Graph, directive: str, arguments: str = "") -> str:
        """An application of one of federation's directives; nothing where the subgraph's version has it not."""
        if not graph.knows(directive):
            return ""
        graph.used.add(directive)
        return f" @{graph.names.get(directive, directive)}" + (f"({arguments})" if arguments else "")

    def _link(self, graph: _Graph) -> str:
        imports = []
        for directive in sorted(graph.used):
            local = graph.names.get(directive, directive)
            if local == directive:
                imports.append(f'"@{directive}"')
            elif not local.startswith("federation__"):
                imports.append(f'{{name: "@{directive}", as: "@{local}"}}')
        version = ".".join(map(str, graph.version))
        return f'@link(url: "https://specs.apollo.dev/federation/v{version}", import: [{", ".join(imports)}])'

    def _sdl(self, graph: _Graph) -> str:
        links = [self._link(graph), *graph.links] if graph.is_federation_2 else []
        parts = []
        if graph.roots:
            roots = " ".join(f"{kind}: {name}" for kind, name in graph.roots.items())
            text = f"{self._random.choice(TEXTS)}\n" if self._chance(0.2) else ""
            parts.append(f"{text}schema {' '.join(links)} {{ {roots} }}")
        elif links:
            parts.append(f"extend schema {' '.join(links)}")
        parts += graph.definitions
        for name, each in graph.types.items():
            parts += self._type_text(graph, name, each)
        if not graph.is_federation_2 and self._chance(0.3):
            parts.append("scalar _FieldSet directive @key(fields: _FieldSet) repeatable on OBJECT | INTERFACE")
        self._random.shuffle(parts)
        return "\n\n".join(parts) + "\n"

    def _type_text(self, graph: _Graph, name: str, each: _Type) -> Iterable[str]:
        interfaces = f" implements {' & '.join(each.interfaces)}" if each.interfaces else ""
        head = f"{each.description}\n{each.keyword} {name}{interfaces}{''.join(each.behind)}".lstrip()
        if each.keyword in ("scalar", "union"):
            return [head]
        lines = [f"  {text}" for text in each.fields.values()]
        if each.keyword == "type" and len(lines) > 1 and not each.description and self._chance(0.1):
            middle = len(lines) // 2
            return [
                f"{head} {{\n{chr(10).join(lines[:middle])}\n}}",
                f"extend type {name} {{\n{chr(10).join(lines[middle:])}\n}}",
            ]
        if name in ("Query", "Mutation") and self._chance(0.2) and not each.description:
            head = f"extend {head}"
        return [f"{head} {{\n{chr(10).join(lines)}\n}}"]

    # ---- types ----

    def _leaf_types(self, graph: _Graph) -> None:
        moods = ["GOOD", "BAD"] + (["UGLY"] if self._chance(0.02) else [])
        graph.types["Mood"] = _Type("enum", fields={each: each for each in moods})
        specified = ' @specifiedBy(url: "https://example.com/date")' if self._chance(0.3) else ""
        graph.types["Date"] = _Type("scalar", [specified])
        every = {
            "n": f"n: Int{self._default('Int')}",
            "mood": f"mood: Mood{self._default('Mood')}",
            "texts": f"texts: [String]{self._default('[String]')}",
            "inner": "inner: Filter",
            "day": "day: Date",
        }
        chosen = {"n": every["n"], "mood": every["mood"]} | {key: every[key] for key in self._inputs}
        if self._chance(0.1):
            chosen["more"] = "more: [Float!]"
        graph.types["Filter"] = _Type("input", fields=chosen)

    def _default(self, type_text: str) -> str:
        """A default value for some element: the same in every subgraph, but for now and then."""
        if self._chance(0.02) and type_text in OTHER_VALUES:
            return f" = {OTHER_VALUES[type_text]}"
        return f" = {self._random.choice(SAME_VALUES[type_text])}" if type_text in SAME_VALUES else ""

    def _shareable(self, graph: _Graph) -> str:
        return self._use(graph, "shareable")

    def _values(self, graph: _Graph) -> None:
        """A type without key, of which each subgraph has the same field and perhaps one of its own."""
        fields = {"common": f"common: String{self._shareable(graph)}"}
        if self._chance(0.08):
            own = f"own{self._graphs.index(graph)}"
            fields[own] = f"{own}: {self._random.choice(LEAVES)}"
        graph.types["V"] = _Type("type", fields=fields)

    def _arguments(self) -> Sequence[str]:
        """Arguments' types for one field, by the numbers of the arguments."""
        if self._chance(0.6):
            return ()
        return tuple(self._random.choice(tuple(SAME_VALUES)) for _ in range(self._random.randint(1, 2)))

    def _argument_text(self, types: Sequence[str]) -> str:
        parts = [f"x{number}: {each}{self._default(each)}" for number, each in enumerate(types)]
        return f"({', '.join(parts)})" if parts else ""

    def _entity(self, name: str) -> None:
        homes = self._random.sample(self._graphs, self._random.randint(1, len(self._graphs)))
        composite = self._chance(0.2)
        for number, graph in enumerate(homes):
            key = "id ref { x }" if composite else "id"
            resolvable = ", resolvable: false" if graph.is_federation_2 and self._chance(0.05) else ""
            each = _Type("type", [self._use(graph, "key", f'fields: "{key}"{resolvable}')])
            if not graph.is_federation_2 and number:
                each.keyword = "extend type"
            is_external = not graph.is_federation_2 and number
            each.fields["id"] = "id: ID!" + (self._use(graph, "external") if is_external else "")
            if composite:
                graph.types[f"Ref{name}"] = _Type("type", fields={"x": f"x: Int{self._shareable(graph)}"})
                each.fields["ref"] = f"ref: Ref{name}!{self._shareable(graph)}"
            graph.types[name] = each
        for number in range(self._random.randrange(1, 5)):
            self._field(name, f"f{number}", homes)
        for number in range(self._random.randrange(2)):
            graph = self._random.choice(homes)
            target = self._random.choice([each for each in (*self._entities, "V") if each in graph.types])
            wrapped = self._random.choice(("{}", "{}!", "[{}]", "[{}!]!")).format(target)
            graph.types[name].fields[f"r{number}"] = f"r{number}: {wrapped}"

    def _field(self, name: str, key: str, homes: list[_Graph]) -> None:
        leaf = self._random.choice(LEAVES)
        types = self._arguments()
        owners = [each for each in homes if each.is_federation_2] or homes
        owner = self._random.choice(owners)
        owner.types[name].fields[key] = f"{key}{self._argument_text(types)}: {leaf}"
        others = [each for each in owners if each is not owner]
        if others and self._chance(0.3) and owner.is_federation_2:
            other = self._random.choice(others)
            other.types[name].fields[key] = f"{key}{self._argument_text(types)}: {leaf}{self._shareable(other)}"
            owner.types[name].fields[key] += self._shareable(owner)
        elif not types:
            self._owned[name].append((key, leaf, owner))

    def _with(self, *directives: str, federation_2: bool = True) -> list[_Graph]:
        """The subgraphs whose federation has all these directives."""
        return [
            each
            for each in self._graphs
            if (each.is_federation_2 or not federation_2) and all(map(each.knows, directives))
        ]

    # ---- features ----

    def _interface(self) -> None:
        graph = self._random.choice(self._graphs)
        members = [name for name in self._entities if name in graph.types and "ref" not in graph.types[name].fields]
        if not members:
            return
        outside = [each for each in self._with("interfaceObject") if not any(name in each.types for name in members)]
        is_entity = bool(outside) and graph.version >= (2, 3) and self._chance(0.8)
        each = _Type(
            "interface", [self._use(graph, "key", 'fields: "id"')] if is_entity else [], fields={"id": "id: ID!"}
        )
        if self._chance(0.3):
            each.fields["shown"] = "shown(x0: Int = 1): String"
        graph.types["I"] = each
        for name in members:
            graph.types[name].interfaces.append("I")
            if "shown" in each.fields:
                shared = self._shareable(graph) if graph.is_federation_2 else ""
                deprecated = " @deprecated" if self._chance(0.2) else ""
                graph.types[name].fields["shown"] = f"shown(x0: Int = 1): String{shared}{deprecated}"
        if is_entity:
            other = self._random.choice(outside)
            behind = [self._use(other, "interfaceObject"), self._use(other, "key", 'fields: "id"')]
            extra = f"extra: {self._random.choice(LEAVES)}"
            other.types["I"] = _Type("type", behind, fields={"id": "id: ID!", "extra": extra})

    def _union(self) -> None:
        for graph in self._random.sample(self._graphs, self._random.randint(1, len(self._graphs))):
            known = [name for name in (*self._entities, "V") if name in graph.types]
            members = sorted(self._random.sample(known, self._random.randint(1, len(known))))
            graph.types["U"] = _Type("union", [f" = {' | '.join(members)}"])

    def _requirements(self) -> None:
        """@requires and @provides of what others own."""
        for name in self._entities:
            for key, leaf, owner in self._random.sample(self._owned[name], min(2, len(self._owned[name]))):
                others = [each for each in self._graphs if each is not owner and name in each.types]
                if not others:
                    continue
                graph = self._random.choice(others)
                if key in graph.types[name].fields:
                    continue
                external = f"{key}: {leaf}{self._use(graph, 'external')}"
                if self._chance(0.7):
                    graph.types[name].fields[key] = external
                    requires = self._use(graph, "requires", f'fields: "{key}"')
                    graph.types[name].fields[f"q_{key}"] = f"q_{key}: {self._random.choice(LEAVES)}{requires}"
                elif owner.is_federation_2 and graph.is_federation_2:
                    graph.types[name].fields[key] = external
                    owner.types[name].fields[key] += self._shareable(owner)
                    lent = self._use(graph, "provides", f'fields: "{key}"')
                    query = graph.types.setdefault("Query", _Type("type"))
                    query.fields[f"lent_{name}_{key}"] = f"lent_{name}_{key}: {name}{lent}"

    def _requirements_with_arguments(self) -> None:
        """@requires of a field with an argument, whose value is mostly one."""
        for name in self._entities:
            homes = [each for each in self._graphs if name in each.types and each.is_federation_2]
            if len(homes) < 2:
                continue
            owner, graph = self._random.sample(homes, 2)
            given = self._random.choice(tuple(SAME_VALUES))
            owner.types[name].fields["sized"] = f"sized(x0: {given}): Int"
            graph.types[name].fields["sized"] = f"sized(x0: {given}): Int{self._use(graph, 'external')}"
            value = self._random.choice([*SAME_VALUES[given], "null", "null", "BAD"])
            value = value.replace('"""', '\\"""')
            requires = self._use(graph, "requires", f'fields: """sized(x0: {value})"""')
            graph.types[name].fields["q_sized"] = f"q_sized: Int{requires}"

    def _override(self) -> None:
        for name in self._entities:
            graphs = [each for each in self._with("override") if name in each.types]
            movable = [(key, leaf, owner) for key, leaf, owner in self._owned[name] if owner in graphs]
            if len(graphs) > 1 and movable:
                key, leaf, owner = self._random.choice(movable)
                target = self._random.choice([each for each in graphs if each is not owner])
                if key not in target.types[name].fields and not any(
                    f"q_{key}" in each.types[name].fields or f"lent_{name}_{key}" in str(each.types.get("Query"))
                    for each in graphs
                ):
                    label = ', label: "percent(5)"' if target.version >= (2, 7) and self._chance(0.5) else ""
                    moved = self._use(target, "override", f'from: "{owner.name}"{label}')
                    target.types[name].fields[key] = f"{key}: {leaf}{moved}"

    def _context(self) -> None:
        for graph in self._with("context", "fromContext"):
            names = [name for name in self._entities if name in graph.types]
            if not names:
                continue
            holder = self._random.choice(names)
            graph.types[holder].behind.append(self._use(graph, "context", 'name: "here"'))
            graph.types[holder].fields["set"] = "set: String!"
            given = self._use(graph, "fromContext", 'field: "$here { set }"')
            graph.types["Below"] = _Type(
                "type",
                [self._use(graph, "key", 'fields: "id"')],
                fields={"id": "id: ID!", "told": f"told(of: String{given}, x0: Int): Int"},
            )
            graph.types[holder].fields["below"] = "below: Below!"
            return

    def _hidden(self) -> None:
        for graph in self._with("inaccessible"):
            hidden = self._use(graph, "inaccessible")
            for name in self._entities:
                if name in graph.types and self._chance(0.5):
                    graph.types[name].fields[f"hidden_{graph.name[0]}"] = f"hidden_{graph.name[0]}: Mood{hidden}"
            if self._chance(0.2):
                graph.types["Mood"].fields["SECRET"] = f"SECRET{hidden}"
            if self._chance(0.2) and "U" in graph.types:
                graph.types["Secret"] = _Type("type", [hidden], fields={"only": "only: Int"})
                graph.types["U"].behind.append(" | Secret")
            if self._chance(0.2):
                graph.types["Filter"].fields["kept"] = f"kept: Int = 1{hidden}"

    def _access(self) -> None:
        for graph in self._with("authenticated"):
            for name in self._entities:
                if name not in graph.types:
                    continue
                rules = [
                    self._use(graph, "authenticated"),
                    self._use(graph, "requiresScopes", 'scopes: [["a", "b"], ["c"]]'),
                ]
                if graph.knows("policy"):
                    rules.append(self._use(graph, "policy", 'policies: [["p"]]'))
                key = f"guarded_{graph.name[0]}"
                graph.types[name].fields[key] = f"{key}: Int{self._random.choice(rules)}"
            if self._chance(0.2):
                graph.types["Date"].behind.append(self._use(graph, "authenticated"))

    def _costs(self) -> None:
        for graph in self._with("cost", "listSize"):
            for name in self._entities:
                if name in graph.types:
                    key = f"costly_{graph.name[0]}"
                    size = self._random.choice(
                        (
                            "assumedSize: 5",
                            'slicingArguments: ["first"], requireOneSlicingArgument: false',
                            'assumedSize: 3, slicingArguments: ["first", "last"]',
                        )
                    )
                    cost = self._use(graph, "cost", f"weight: {self._random.choice((0, 5, 100))}")
                    graph.types[name].fields[key] = (
                        f"{key}(first: Int{cost}, last: Int): [Int]{self._use(graph, 'listSize', size)}"
                    )
            if self._chance(0.3):
                graph.types["Mood"].behind.append(self._use(graph, "cost", "weight: 2"))

    def _foreign(self) -> None:
        """Specifications of others, their directives composed or not; two may have one name, or a name of ours."""
        for directive in self._random.choice((("note",), ("note",), ("note", "mark"), ("note", "policy"))):
            url, alias = self._random.choice(FOREIGN)
            local = self._random.choice((directive, directive, f"my_{directive}"))
            for graph in self._with("composeDirective" if directive == "policy" else "key"):
                if self._chance(0.7):
                    name = f"other_{directive}" if self._chance(0.03) else local
                    self._foreign_directive(graph, url, alias, directive, name)

    def _foreign_directive(self, graph: _Graph, url: str, alias: str | None, directive: str, name: str) -> None:
        """Link a specification and define, apply and compose its directive under a name."""
        if url.rpartition("/v")[0] in "".join(graph.links) or name in graph.used:
            return
        if self._chance(0.1):
            url = url[:-1] + str(int(url[-1]) + 1)
        imported = f'"@{name}"' if name == directive else f'{{name: "@{directive}", as: "@{name}"}}'
        shown = f', as: "{alias}"' if alias and self._chance(0.5) else ""
        purpose = ", for: SECURITY" if self._chance(0.03) else ""
        graph.links.append(f'@link(url: "{url}"{shown}, import: [{imported}]{purpose})')
        default = self._random.choice(SAME_VALUES["String"])
        graph.definitions.append(f"directive @{name}(of: String = {default}) on OBJECT | FIELD_DEFINITION")
        # A name of federation's is always composed: where it is not, Apollo's composition takes it for federation's.
        if graph.knows("composeDirective") and (self._chance(0.7) or directive == "policy"):
            graph.links.append(self._use(graph, "composeDirective", f'name: "@{name}"').strip())
        for owner in self._entities:
            if owner in graph.types:
                graph.types[owner].fields["id"] += f' @{name}(of: "it")'

    def _executable(self) -> None:
        for graph in self._graphs:
            if self._chance(0.8):
                graph.definitions.append(f"directive @seen(x0: Float{self._default('Float')}) on FIELD | QUERY")

    def _mutation(self) -> None:
        for graph in self._random.sample(self._graphs, self._random.randint(1, len(self._graphs))):
            target = self._random.choice([*(name for name in self._entities if name in graph.types), "V", "Int"])
            key = f"do_{self._graphs.index(graph)}"
            fields = {key: f"{key}{self._argument_text(self._arguments())}: {target}"}
            if graph.is_federation_2:
                fields["shared"] = f"shared(x0: Int = 3): Int{self._shareable(graph)}"
            graph.types["Mutation"] = _Type("type", fields=fields)

    # ---- roots, and what adorns it all ----

    def _query(self, graph: _Graph) -> None:
        query = graph.types.setdefault("Query", _Type("type"))
        targets = [name for name in (*self._entities, "V", "I", "U", "Below") if name in graph.types]
        index = self._graphs.index(graph)
        for number in range(self._random.randrange(1, 4)):
            target = self._random.choice([*targets, "Mood", "Date"])
            if target == "I" and graph.types["I"].keyword == "type":
                target = "V"
            if target == "Below" and self._chance(0.9):
                target = "V"
            wrapped = self._random.choice(("{}", "{}", "[{}]", "[{}!]!")).format(target)
            key = f"q{index}_{number}"
            query.fields[key] = f"{key}{self._argument_text(self._arguments())}: {wrapped}"
        if graph.is_federation_2 and self._chance(0.4):
            query.fields["common"] = f"common{self._argument_text(('Filter', 'Float'))}: Mood{self._shareable(graph)}"
        if self._chance(0.1):
            graph.types["RootOfAll"] = graph.types.pop("Query")
            graph.roots["query"] = "RootOfAll"
            if "Mutation" in graph.types:
                graph.roots["mutation"] = "Mutation"

    def _decorate(self, graph: _Graph) -> None:
        """Descriptions, deprecations and tags, wherever they can stand."""
        for name, each in graph.types.items():
            if each.keyword.startswith("extend"):
                continue
            if self._chance(0.15):
                each.description = self._random.choice(TEXTS)
            for key, text in each.fields.items():
                added = text
                if (
                    self._chance(0.08)
                    and "@deprecated" not in text
                    and "!" not in text
                    and "external" not in text
                    and each.keyword != "interface"
                ):
                    added += f" @deprecated{self._random.choice(DEPRECATIONS)}"
                if self._chance(0.05) and "external" not in text:
                    added += self._use(graph, "tag", f'name: "{self._random.choice(("x", "y/z", "w-1"))}"')
                if self._chance(0.06):
                    added = f"{self._random.choice(TEXTS)}\n  {added}"
                each.fields[key] = added
            if self._chance(0.05) and each.keyword in ("type", "enum", "input") and name != "RootOfAll":
                each.behind.append(self._use(graph, "tag", 'name: "t"'))


def random_subgraphs(seed: str) -> list[Subgraph]:
    """The set that a seed stands for."""
    return RandomSubgraphs(seed).subgraphs()
