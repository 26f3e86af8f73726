"""Every way to ask, to write a rule and to name it: none leads past it."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import build_schema, parse, print_ast

from tests.authorization.graph import REJECT, Executed, Graph, LoggedIn, Policies, composed
from tests.plugins.graph import by_execute, by_stream, codes, paths, post
from trifolio import Config, OperationContext, Plugin, RequestContext, Response, Router, Subgraph, Supergraph, compose
from trifolio.access_rules import AccessRule
from trifolio.authorization import guarded_fields
from trifolio.document import choose_operation, read_document
from trifolio.errors import SupergraphError
from trifolio.hiding import selected_fields, without_fields
from trifolio.limits import Limits
from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned
from trifolio.work import Work, WorkExceeded

PAGE = (Path(__file__).parents[2] / "docs" / "authorization.md").read_text(encoding="utf-8")
TIMES = 4

PETS = """
    type Query { open: Int me: Owner named: [Named] pets: [Pet] }
    type Mutation { a: Int b: Int @authenticated c: Int }
    interface Named { name: String tag: String }
    union Pet = Dog | Cat
    type Dog implements Named { name: String @authenticated tag: String }
    type Cat implements Named { name: String tag: String @requiresScopes(scopes: [["tags"]]) }
    type Owner @key(fields: "id") { id: ID! @authenticated name: String pin: Int @policy(policies: [["owner"]]) }
"""
HOMES = """
    type Owner @key(fields: "id") { id: ID! @authenticated city: String key: String @authenticated }
"""
DOG, CAT = {"__typename": "Dog", "name": "Rex", "tag": "D1"}, {"__typename": "Cat", "name": "Tom", "tag": "C1"}
OWNER = {"__typename": "Owner", "id": "o1", "name": "Ada", "pin": 4711}
VALUES = {"open": 1, "me": OWNER, "named": [DOG, CAT], "pets": [DOG, CAT], "a": 1, "b": 2, "c": 3}
HOME = {"_entities": lambda _info, representations: [{**each, "city": "Bath", "key": "k1"} for each in representations]}
GRAPH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "pets": (PETS, {**VALUES, "_entities": lambda _info, representations: [OWNER for _ in representations]}),
    "homes": (HOMES, HOME),
}

SHUT = "UNAUTHORIZED_FIELD_OR_TYPE"


# ---- ways to ask ----


async def test_all_ways_are_guarded() -> None:
    """Router.execute, Router.stream, POST and GET give the same answer, asked as often as you like."""
    query = "{ me { name pin key } named { tag } }"
    wanted = {"me": {"name": "Ada", "pin": None, "key": None}, "named": [{"tag": None}] * 2}
    where = [["me", "pin"], ["me", "key"], ["named", 0, "tag"], ["named", 1, "tag"]]
    graph = Graph(GRAPH)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(graph.router.asgi()), base_url="http://r") as client:
        for _ in range(TIMES):
            response = await client.get("/graphql", params={"query": query}, headers={"apollo-require-preflight": "1"})
            for body in (
                await by_execute(graph.router, query),
                await by_stream(graph.router, query),
                (await post(graph.router, query)).json(),
                response.json(),
            ):
                assert body["data"] == wanted
                assert (paths(body), set(codes(body))) == (where, {SHUT})
    assert set(graph.asked) == {"pets {me{name} named{__typename}}"}


@pytest.mark.parametrize("spec", ["deferSpec=20220824", "incrementalSpec=v0.2"])
async def test_parts_are_guarded(spec: str) -> None:
    """What is shut is null in its part, and an object that is shut ends its part; nothing is fetched for it."""
    query = """{ me { name
        ... @defer(label: "a") { pin city }
        ... @defer(label: "b") { key id } } }"""
    graph = Graph(GRAPH)
    for _ in range(TIMES):
        response = await post(graph.router, query, {"accept": f"multipart/mixed;{spec}"})
        assert response.text.count(SHUT) >= 3
        assert "Bath" in response.text
        assert not re.search(r"4711|k1|o1", response.text)
        parts = [part async for part in graph.router.stream(query)]
        assert parts[0].data == {"me": {"name": "Ada"}}
        assert {part.label: part.data for part in parts[1:]} == {"a": {"pin": None, "city": "Bath"}, "b": None}
    assert not [asked for asked in graph.asked if re.search(r"\bpin\b|\bkey\b", asked)]
    known = Graph(GRAPH, LoggedIn(), Policies(owner=True))
    text = (await post(known.router, query, {"accept": f"multipart/mixed;{spec}"})).text
    assert re.search(r"4711", text)
    assert re.search(r"k1", text)


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "multipart/mixed"])
async def test_a_rejection_has_its_status_in_every_media_type(accept: str) -> None:
    """401 with the scheme to log in by, 403 for who is logged in."""
    headers = {"accept": f"{accept}, application/json"}
    response = await post(Graph(GRAPH, config=REJECT).router, "{ me { pin } named { tag } }", headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json() == {
        "errors": [
            {"message": f"{name}: The caller may not see this field.", "extensions": {"code": SHUT}}
            for name in ("Owner.pin", "Named.tag")
        ]
    }
    response = await post(Graph(GRAPH, LoggedIn(), config=REJECT).router, "{ me { pin } }", headers)
    assert (response.status_code, "www-authenticate" in response.headers) == (403, False)


async def test_only_what_is_selected_is_rejected() -> None:
    """Fields that conditions leave out, and those of other operations, do not keep an operation from its answer."""
    query = """
        query A($v: Boolean = false) { open ...F @include(if: $v) me @skip(if: true) { pin } }
        query B { me { pin } }
        fragment F on Query { me { ...G } }
        fragment G on Owner { name pin @skip(if: $v) key @include(if: $w) }
    """.replace("($v: Boolean = false)", "($v: Boolean = false, $w: Boolean = false)")
    graph = Graph(GRAPH, config=REJECT)

    async def ask(name: str, **variables: bool) -> Response:
        return await graph.router.execute(query, operation_name=name, variables=variables)

    for _ in range(TIMES):
        assert (await ask("A")).data == {"open": 1}
        assert (await ask("A", v=True)).data == {"open": 1, "me": {"name": "Ada"}}
        rejected = await ask("A", v=True, w=True)
        assert [error.message.partition(":")[0] for error in rejected.errors] == ["Owner.key"]
        assert rejected.data is None
        assert (await ask("B")).refusal is not None
    assert not [asked for asked in graph.asked if "pin" in asked or "key" in asked]


async def test_a_mutation_does_what_is_open() -> None:
    """A root field that is shut is not executed, the others are; where it is set, none is."""
    graph = Graph(GRAPH)
    response = await graph.router.execute("mutation { a b c }")
    assert response.data == {"a": 1, "b": None, "c": 3}
    assert graph.asked == ["pets mutation{a c}"]
    graph = Graph(GRAPH, config=REJECT)
    assert (await graph.router.execute("mutation { a b c }")).data is None
    assert graph.asked == []


# ---- ways to select ----

NAMES = ({"name": None}, {"name": "Tom"})
ROUNDABOUT = {
    "an alias": ("{ pets { ... on Dog { n: name } ... on Cat { n: name } } }", [{"n": None}, {"n": "Tom"}]),
    "a fragment": ("{ pets { ...D ...C } } fragment D on Dog { name } fragment C on Cat { name }", [*NAMES]),
    "a fragment in a fragment": (
        "{ pets { ...P } } fragment P on Pet { ...D ...C } fragment D on Dog { name } fragment C on Cat { name }",
        [*NAMES],
    ),
    "an interface": ("{ pets { ... on Named { name } } }", [{"name": None}, {"name": None}]),
    "an interface under an object": ("{ pets { ... on Dog { ... on Named { name } } } }", [{"name": None}, {}]),
    "a condition": ("{ pets { ... on Dog { name @include(if: true) } } }", [{"name": None}, {}]),
    "what is left out": ("{ pets { ... on Dog { tag name @skip(if: true) } } }", [{"tag": "D1"}, {}]),
    "twice": ("{ pets { ... on Dog { name name } ... on Dog { name } } }", [{"name": None}, {}]),
    "the open one first": ("{ named { ... on Cat { name } name } }", [{"name": None}, {"name": "Tom"}]),
    "the shut one first": ("{ named { name ... on Cat { name } } }", [{"name": None}, {"name": None}]),
}


@pytest.mark.parametrize(("query", "items"), ROUNDABOUT.values(), ids=ROUNDABOUT)
async def test_no_way_leads_to_what_is_shut(query: str, items: list[object]) -> None:
    """Aliases, fragments, interfaces and conditions do not bring a field that is shut, and leave what is open."""
    graph = Graph(GRAPH)
    for _ in range(TIMES):
        response = await graph.router.execute(query)
        assert response.data is not None
        [answered] = response.data.values()
        assert answered == items
        assert "Rex" not in json.dumps(response.to_json())


async def test_keys_are_fetched_and_not_shown() -> None:
    """A key that is guarded is fetched for the router; who may not see it gets null for it, and what it leads to."""
    graph = Graph(GRAPH)
    for _ in range(TIMES):
        response = await graph.router.execute("{ me { name city } }")
        assert response.data == {"me": {"name": "Ada", "city": "Bath"}}
        assert (await graph.router.execute("{ me { id city } }")).data == {"me": None}


async def test_introspection_is_not_guarded() -> None:
    """The schema is the same for everybody, also beside fields that are shut; the directives are not in it."""
    graph = Graph(GRAPH, config=Config(introspection=True))
    response = await graph.router.execute(
        '{ me { pin } __type(name: "Owner") { fields { name } } __schema { directives { name } } __typename }'
    )
    assert response.data is not None
    assert response.data["me"] == {"pin": None}
    assert {"name": "pin"} in response.data["__type"]["fields"]  # type: ignore[index]  # a mapping
    assert "authenticated" not in json.dumps(response.data["__schema"])
    assert response.data["__typename"] == "Query"


# ---- plug-ins ----


async def test_a_hook_is_asked_for_the_policies_of_the_operation() -> None:
    """Only policies that guard a field of this operation are asked for, each unanswered at first."""
    policies = Policies(owner=True)
    graph = Graph(GRAPH, policies)
    assert (await graph.router.execute("{ open }")).data == {"open": 1}
    assert (await graph.router.execute("{ me { pin } }")).data == {"me": {"pin": 4711}}
    assert (await graph.router.execute("query A { open } query B { me { pin } }", operation_name="A")).data
    assert policies.seen == [{}, {"owner": None}, {}]


async def test_later_hooks_may_log_in() -> None:
    """Claims that `on_operation` sets count: rules are decided when every plug-in has had its say."""

    class Late(Plugin):
        async def on_operation(self, operation: OperationContext, /) -> None:
            operation.request.claims = {"scope": "tags"}

    assert (await Graph(GRAPH, Late()).router.execute("{ me { key } }")).data == {"me": {"key": "k1"}}


async def test_plug_ins_hide_beside_the_rules() -> None:
    """What a plug-in hides is hidden, whatever the rules say, and the other way round."""

    class Hide(Plugin):
        async def on_operation(self, operation: OperationContext, /) -> None:
            operation.hidden.add("Owner.name")

    graph = Graph(GRAPH, Hide(), config=REJECT)
    response = await graph.router.execute("{ me { name city } }")
    assert response.data == {"me": {"name": None, "city": "Bath"}}
    assert (await graph.router.execute("{ me { name pin } }")).data is None


async def test_one_caller_does_not_answer_for_the_next() -> None:
    """Who may see a field is decided for every request, in any order."""

    class ByHeader(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            scope = request.headers.get("x-scope")
            request.claims = None if scope is None else {"scope": scope}

    graph = Graph(GRAPH, ByHeader())
    query = "{ pets { ... on Dog { name } ... on Cat { tag } } }"
    for _ in range(TIMES):
        for headers, dog, cat in (({}, None, None), ({"x-scope": ""}, "Rex", None), ({"x-scope": "tags"}, "Rex", "C1")):
            response = await graph.router.execute(query, headers=headers)
            assert response.data == {"pets": [{"name": dog}, {"tag": cat}]}


class Planned:
    """Counts what is planned."""

    def __init__(self) -> None:
        self.operations = 0

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """One more."""
        self.operations += 1

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Of no interest."""

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Of no interest."""


async def test_callers_who_meet_the_same_rules_share_a_plan() -> None:
    """A plan belongs to what is shut in an operation, and never to a caller."""

    class Anybody(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            name = request.headers["x-name"]
            request.claims = {"sub": name, "scope": f"a{name} {'tags' if name < '5' else ''}"}

    planned = Planned()
    graph = Graph(GRAPH, Anybody())
    graph.router.add_observer(planned)
    for name in "0123456789":
        for query in ("{ me { name key } }", "{ open }", "{ pets { ... on Cat { tag } } }"):
            await graph.router.execute(query, headers={"x-name": name})
    assert planned.operations == 4


def test_what_is_not_guarded_has_no_guards() -> None:
    """A supergraph without rules, or an operation that touches none, has nothing to compare per request."""
    guarded = Graph(GRAPH).router.supergraph
    bare = composed(("pets", "type Query { open: Int me: Int }"))
    for supergraph, text, expected in (
        (bare, "{ open me }", None),
        (guarded, "{ open named { __typename } pets { ... on Cat { name } } }", None),
        (guarded, "{ me { pin } }", {"Owner.pin"}),
    ):
        document = read_document(text, supergraph.api_schema, Limits(), introspection=True)
        found = guarded_fields(document, choose_operation(document, None), supergraph)
        assert (None if found is None else set(found.guards)) == expected


# ---- ways to write a rule ----

SUPERGRAPH = """
schema @link(url: "https://specs.apollo.dev/link/v1.0") @link(url: "https://specs.apollo.dev/join/v0.3", for: EXECUTION)
  LINKS { query: Query }
enum join__Graph { ONE @join__graph(name: "one", url: "http://one.invalid/") }
type Query @join__type(graph: ONE) { open: Int shut: Int RULE }
"""


def one(sdl: str, values: Mapping[str, Any], *plugins: object) -> tuple[Router, list[str]]:
    """A router over a supergraph as it is written, whose one subgraph has these values, and what is asked."""
    asked: list[str] = []
    supergraph = Supergraph.parse(sdl)
    plain = re.sub(r"@\w+(\((?:[^()]|\([^()]*\))*\))?", "", sdl)
    plain = re.sub(r"(?s)schema.*?\}|enum join__Graph.*?\}", "", plain, count=2)
    return Router(supergraph, transports={"one": Executed("one", plain, values, asked)}, plugins=plugins), asked


def _spec(name: str, rest: str = ", for: SECURITY") -> str:
    return f'@link(url: "https://specs.apollo.dev/{name}/v0.1"{rest})'


SPELLINGS = {
    "plain": (_spec("authenticated"), "@authenticated"),
    "with its prefix": (_spec("authenticated"), "@authenticated__authenticated"),
    "as": (_spec("authenticated", ', as: "login", for: SECURITY'), "@login"),
    "as, with the prefix": (_spec("authenticated", ', as: "login"'), "@login__authenticated"),
    "imported": (_spec("authenticated", ', import: ["@authenticated"]'), "@authenticated"),
    "imported by another name": (
        _spec("authenticated", ', import: [{name: "@authenticated", as: "@member"}]'),
        "@member",
    ),
    "both": (_spec("authenticated", ', as: "l", import: [{name: "@authenticated", as: "@member"}]'), "@member"),
    "without a purpose": (_spec("authenticated", ""), "@authenticated"),
    "for execution": (_spec("authenticated", ", for: EXECUTION"), "@authenticated"),
    "not linked": ("", "@authenticated"),
    "not linked, scopes": ("", '@requiresScopes(scopes: [["a"]])'),
    "scopes in one list": (_spec("requiresScopes"), '@requiresScopes(scopes: ["a"])'),
    "scopes in no list": (_spec("requiresScopes"), '@requiresScopes(scopes: "a")'),
    "no scope to choose from": (_spec("requiresScopes"), "@requiresScopes(scopes: [])"),
    "twice": (_spec("requiresScopes"), '@requiresScopes(scopes: [[]]) @requiresScopes(scopes: [["a"]])'),
    "a policy": (_spec("policy", ', as: "rule"'), '@rule(policies: [["a"]])'),
    "two of them": (_spec("policy") + _spec("authenticated"), "@policy(policies: [[]]) @authenticated"),
}


@pytest.mark.parametrize(("links", "rule"), SPELLINGS.values(), ids=SPELLINGS)
async def test_a_rule_holds_under_any_name(links: str, rule: str) -> None:
    """However a composer writes a rule, and whatever a supergraph calls it, it is enforced."""
    router, asked = one(SUPERGRAPH.replace("LINKS", links).replace("RULE", rule), {"open": 1, "shut": 2})
    assert (await router.execute("{ open shut }")).data == {"open": 1, "shut": None}
    assert asked == ["one {open}"]


@pytest.mark.parametrize(
    ("links", "rule"),
    [
        (_spec("requiresScopes"), "@requiresScopes(scopes: [[]])"),
        (_spec("policy"), "@policy(policies: [[]])"),
        (
            '@link(url: "https://rules.example/rules/v1.0", import: ["@authenticated"])',
            "@authenticated",
        ),
    ],
)
async def test_what_demands_nothing_is_open(links: str, rule: str) -> None:
    """A rule with nothing in it is met by everybody, and another specification's directive is none of ours."""
    router, _ = one(SUPERGRAPH.replace("LINKS", links).replace("RULE", rule), {"open": 1, "shut": 2})
    assert (await router.execute("{ open shut }")).data == {"open": 1, "shut": 2}


@pytest.mark.parametrize(
    "rule",
    [
        "@requiresScopes",
        "@requiresScopes(scopes: null)",
        "@requiresScopes(scopes: [[1]])",
        '@requiresScopes(scopes: [["a", null]])',
        '@requiresScopes(scopes: [[["a"]]])',
        "@policy",
        '@policy(scopes: [["a"]])',
        "@policy(policies: {a: 1})",
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule: str) -> None:
    """A rule of which nobody can tell what it demands keeps a router from starting."""
    with pytest.raises(SupergraphError, match=r"Query\.shut.*does not say"):
        Supergraph.parse(SUPERGRAPH.replace("LINKS", "").replace("RULE", rule))


@pytest.mark.parametrize(
    "place",
    [
        "union U @authenticated = Query",
        "enum E { A @authenticated }",
        "input I @authenticated { a: Int }",
        "input I { a: Int @authenticated }",
        "type T { a(b: Int @authenticated): Int }",
        "directive @d(a: Int @authenticated) on FIELD",
        "extend schema @authenticated",
    ],
)
def test_a_rule_that_cannot_be_enforced_is_refused(place: str) -> None:
    """Where the specification has no rules, one keeps a router from starting."""
    with pytest.raises(SupergraphError, match="cannot be enforced"):
        Supergraph.parse(SUPERGRAPH.replace("LINKS", "").replace("RULE", "") + place)


OLD = """
schema @link(url: "https://specs.apollo.dev/link/v1.0") @link(url: "https://specs.apollo.dev/join/v0.3", for: EXECUTION)
  @link(url: "https://specs.apollo.dev/authenticated/v0.1", for: SECURITY) { query: Query }
enum join__Graph { ONE @join__graph(name: "one", url: "http://one.invalid/") }
type Query @join__type(graph: ONE) { named: [Named] pets: [Pet] cat: Cat }
interface Named @join__type(graph: ONE) ON_INTERFACE { name: String ON_INTERFACE_FIELD }
union Pet @join__type(graph: ONE) = Dog | Cat
type Dog implements Named @join__type(graph: ONE) ON_OBJECT { name: String ON_FIELD }
type Cat implements Named @join__type(graph: ONE) { name: String }
"""


def old(**rules: str) -> str:
    """What a composer writes that leaves interfaces as their authors wrote them."""
    text = OLD
    for place in ("ON_INTERFACE_FIELD", "ON_INTERFACE", "ON_OBJECT", "ON_FIELD"):
        text = text.replace(place, rules.get(place.lower(), ""))
    return text


BOTH, NONE = [{"name": "Rex"}, {"name": "Tom"}], [{"name": None}, {"name": None}]


@pytest.mark.parametrize(
    ("rules", "named", "on_cat", "cat", "typenames"),
    [
        ({}, BOTH, [{}, {"name": "Tom"}], {"name": "Tom"}, ["Dog", "Cat"]),
        ({"on_object": "@authenticated"}, NONE, [{}, {"name": "Tom"}], {"name": "Tom"}, [None, "Cat"]),
        ({"on_field": "@authenticated"}, NONE, [{}, {"name": "Tom"}], {"name": "Tom"}, ["Dog", "Cat"]),
        ({"on_interface": "@authenticated"}, None, None, None, None),
        ({"on_interface_field": "@authenticated"}, NONE, [{}, {"name": None}], {"name": None}, ["Dog", "Cat"]),
    ],
)
async def test_older_composers_leave_interfaces_to_the_router(
    rules: dict[str, str], named: object, on_cat: object, cat: object, typenames: list[str | None] | None
) -> None:
    """What an implementation demands holds behind its interface, and what only the interface demands, in each of its
    implementations."""
    values = {"named": [DOG, CAT], "pets": [DOG, CAT], "cat": CAT}
    router, _ = one(old(**rules), values)
    assert (await router.execute("{ named { name } }")).data == {"named": named}
    if on_cat is not None:
        assert (await router.execute("{ named { ... on Cat { name } } }")).data == {"named": on_cat}
    assert (await router.execute("{ cat { name } }")).data == {"cat": cat}
    kinds = None if typenames is None else [None if each is None else {"__typename": each} for each in typenames]
    assert (await router.execute("{ pets { __typename } }")).data == {"pets": kinds}
    assert (await router.execute("{ named { __typename } }")).data == {"named": kinds}
    logged_in, _ = one(old(**rules), values, LoggedIn())
    response = await logged_in.execute("{ named { name __typename } cat { name } }")
    everything = [{"name": "Rex", "__typename": "Dog"}, {"name": "Tom", "__typename": "Cat"}]
    assert response.data == {"named": everything, "cat": {"name": "Tom"}}
    assert response.errors == ()


def test_the_composer_names_every_rule() -> None:
    """What is composed under other names is read under them."""
    made = compose(
        [
            Subgraph(
                name="one",
                url="http://one.invalid/",
                sdl="""
                extend schema @link(url: "https://specs.apollo.dev/federation/v2.9",
                  import: [{name: "@authenticated", as: "@member"}, "@requiresScopes"])
                type Query { a: Int @member b: Int @requiresScopes(scopes: [["x", "y"], ["z"]]) c: Level }
                enum Level @federation__policy(policies: [["p"]]) { HIGH }
                """,
            )
        ]
    )
    assert made.supergraph is not None, made.diagnostics
    access = Supergraph.parse(made.supergraph).access
    assert access.fields == {
        ("Query", "a"): {AccessRule("authenticated")},
        ("Query", "b"): {AccessRule("requiresScopes", frozenset({frozenset({"x", "y"}), frozenset({"z"})}))},
    }
    assert access.types == {"Level": {AccessRule("policy", frozenset({frozenset({"p"})}))}}


# ---- the page ----

MODULES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's modules as files that can be imported."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


async def test_the_page_logs_callers_in() -> None:
    """The plug-in of the page knows sessions by their key."""
    sessions = import_module("sessions").Sessions({"abc": {"sub": "ada", "scope": "tags"}})
    graph = Graph(GRAPH, sessions)
    for headers, key in (({}, None), ({"x-session": "abd"}, None), ({"x-session": "abc"}, "k1")):
        assert (await graph.router.execute("{ me { key } }", headers=headers)).data == {"me": {"key": key}}


@pytest.mark.parametrize(("hour", "value"), [(7, None), (8, 2), (17, 2), (18, None)])
async def test_the_page_answers_a_policy(hour: int, value: int | None) -> None:
    """The plug-in of the page says yes in office hours."""
    hours = import_module("office_hours").OfficeHours(lambda: datetime(2026, 5, 1, hour, tzinfo=UTC))
    sdl = 'type Query { a: Int @policy(policies: [["office-hours"]]) b: Int @policy(policies: [["other"]]) }'
    graph = Graph({"one": (sdl, {"a": 2, "b": 3})}, hours)
    assert (await graph.router.execute("{ a b }")).data == {"a": value, "b": None}


# ---- the work of it ----


@pytest.mark.parametrize("members", [10, 200])
def test_to_tell_types_apart_costs_no_more_for_many_types(members: int) -> None:
    """Each `__typename` is replaced by two fragments, however many types there are, and what is done is counted."""
    names = [f"T{number}" for number in range(members)]
    schema = build_schema(
        f"type Query {{ u: U }} union U = {' | '.join(names)} "
        + " ".join(f"type {each} {{ a: Int }}" for each in names)
    )
    document = parse("{ u { " + " ".join(f"t{number}: __typename" for number in range(20)) + " } }")
    work = Work(1_000_000)
    changed = without_fields(document, schema, frozenset(), frozenset({"T3.__typename"}), work)
    assert print_ast(changed).count("... on") == 40
    assert 20 * 100 < work.spent < 20 * (300 + members)
    with pytest.raises(WorkExceeded):
        without_fields(document, schema, frozenset(), frozenset({"T3.__typename"}), Work(2_000))


def test_to_look_for_guards_is_counted() -> None:
    """Reading which fields are guarded, and which are selected, spends the request's work."""
    supergraph = Graph(GRAPH).router.supergraph
    document = parse("{ " + " ".join(f"a{number}: me {{ pin }}" for number in range(100)) + " }")
    operation = choose_operation(document, None)
    for look in (
        lambda work: guarded_fields(document, operation, supergraph, work),
        lambda work: selected_fields(document, supergraph.api_schema, work),
    ):
        work = Work(1_000_000)
        look(work)
        assert work.spent > 300
        with pytest.raises(WorkExceeded):
            look(Work(300))
