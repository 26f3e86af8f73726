"""Loading fails closed: what a supergraph says is obeyed, refused, or ignored for a reason that the docs give."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from trifolio import Router, Subgraph, compose
from trifolio.errors import ErrorCode, SupergraphError
from trifolio.features import (
    DOCUMENT_DIRECTIVES,
    FEATURES,
    PURPOSES,
    SUPERGRAPH_DIRECTIVES,
    DirectiveRule,
    Feature,
    Treatment,
)
from trifolio.federation import version_text

PAGE = (Path(__file__).parents[2] / "docs" / "directives.md").read_text()

JOIN = "https://specs.apollo.dev/join/v0.3"
SDL = """
schema LINKS { query: Query }
directive @join__type(graph: join__Graph!, key: String) repeatable on OBJECT
enum join__Graph {
  A @join__graph(name: "a", url: "http://a.invalid/")
  B @join__graph(name: "b", url: "http://b.invalid/")
}
type Query @join__type(graph: A) { open: Int shut: Int @guard MORE }
EXTRA
"""


def sdl(*links: str, extra: str = "", more: str = "", own: str = f'@link(url: "{JOIN}", for: EXECUTION)') -> str:
    """A supergraph with these links beside that to join."""
    begin = '@link(url: "https://specs.apollo.dev/link/v1.0")'
    return SDL.replace("LINKS", " ".join((begin, own, *links))).replace("EXTRA", extra).replace("MORE", more)


def refusal(text: str) -> str:
    """Why a router does not load a supergraph."""
    with pytest.raises(SupergraphError) as caught:
        Router(text)
    assert caught.value.code is ErrorCode.SUPERGRAPH_INVALID
    return str(caught.value)


UNKNOWN = "https://guards.example/guard/v1.0"


@pytest.mark.parametrize("purpose", ["SECURITY", "EXECUTION", "PROFIT", '"SECURITY"'])
@pytest.mark.parametrize(
    "rest",
    ["", ', as: "g"', ', import: ["@guard"]', ', import: [{name: "@guard", as: "@g"}]'],
    ids=["plain", "as", "import", "renamed"],
)
def test_what_is_not_known_is_refused_by_its_purpose(purpose: str, rest: str) -> None:
    """A specification that nobody knows keeps a router from starting where its link has a purpose."""
    text = refusal(sdl(f'@link(url: "{UNKNOWN}", for: {purpose}{rest})'))
    assert UNKNOWN in text
    assert "compose again" in text


@pytest.mark.parametrize(
    "link",
    [
        f'@link(url: "{UNKNOWN}")',
        f'@link(url: "{UNKNOWN}", import: ["@guard"])',
        f'@link(url: "{UNKNOWN}", for: null)',
        '@link(url: "https://specs.apollo.dev/tag/v7.0")',
        '@link(url: "https://specs.apollo.dev/unheard/v1.0", as: "tag")',
        '@link(url: "https://spec.graphql.org/specified/v1.6")',
        '@link(url: "mailto:somebody")',
        '@contact(name: "us", url: "https://specs.apollo.dev/join/v0.9", for: SECURITY)',
        '@link(url: "https://specs.apollo.dev/tag/v0.3", for: SECURITY)',
        '@link(url: "https://specs.apollo.dev/cost/v0.1", for: EXECUTION)',
    ],
)
async def test_metadata_is_served(link: str) -> None:
    """A link without a purpose, one to what is ignored for a reason, and what is no link keep nobody from starting."""
    async with Router(sdl(link)) as router:
        assert (await router.execute("{ __typename }")).data == {"__typename": "Query"}


@pytest.mark.parametrize("purpose", ["", ", for: SECURITY", ", for: EXECUTION"])
@pytest.mark.parametrize("feature", [each for each in FEATURES if each.treatment is Treatment.OBEYED], ids=str)
def test_unknown_versions_of_what_is_obeyed_are_refused(feature: Feature, purpose: str) -> None:
    """Of a specification that the router reads, another version would be misread: refused whatever its purpose."""
    for version in ("v0.9", "v2.0", "v1.1", "latest"):
        url = f"https://specs.apollo.dev/{feature.name}/{version}"
        if version == "latest":
            url = f"https://specs.apollo.dev/{feature.name}"
        link = f'@link(url: "{url}", as: "other"{purpose})'
        text = sdl(own=link) if feature.name == "join" else sdl(link)
        assert url in refusal(text)
        assert version_text(feature.versions[-1]) in refusal(text)


@pytest.mark.parametrize("feature", [each for each in FEATURES if each.treatment is Treatment.IGNORED], ids=str)
def test_unknown_versions_of_what_is_ignored_are_judged_by_their_purpose(feature: Feature) -> None:
    """A version of which nobody knows that it may be passed over is passed over only without a purpose."""
    url = f"https://specs.apollo.dev/{feature.name}/v7.0"
    assert url in refusal(sdl(f'@link(url: "{url}", for: EXECUTION)'))
    assert Router(sdl(f'@link(url: "{url}")')).supergraph.subgraphs.keys() == {"a", "b"}


@pytest.mark.parametrize("version", ["v0.1", "v0.4", "v3.1"])
@pytest.mark.parametrize("purpose", ["", ", for: EXECUTION"])
def test_connectors_are_refused(version: str, purpose: str) -> None:
    """A supergraph whose subgraphs are REST is not served, in any version."""
    url = f"https://specs.apollo.dev/connect/{version}"
    assert url in refusal(sdl(f'@link(url: "{url}"{purpose})'))


SPELLINGS = {
    "a slash at the end": UNKNOWN + "/",
    "a query": UNKNOWN + "?tag=/v1.0",
    "a fragment": UNKNOWN + "#x",
    "no version": "https://guards.example/guard",
    "no name": "https://guards.example/v1.0",
    "no scheme": "guards.example/guard/v1.0",
    "another host's join": "https://guards.example/join/v0.3",
    "a host like Apollo's": "https://specs.apollo.dev.guards.example/tag/v0.3",
    "a user like Apollo's host": "https://specs.apollo.dev@guards.example/tag/v0.3",
    "a longer path": "https://specs.apollo.dev/guards/tag/v0.3",
    "another case": "https://specs.apollo.dev/Tag/v0.3",
}


@pytest.mark.parametrize("url", SPELLINGS.values(), ids=SPELLINGS)
def test_a_url_is_what_it_says(url: str) -> None:
    """Whatever form a URL has, it is not taken for one that is known."""
    assert url in refusal(sdl(f'@link(url: "{url}", for: SECURITY)'))


@pytest.mark.parametrize(
    "links",
    [
        '@core(feature: "https://specs.apollo.dev/core/v0.2") @core(feature: "{url}", for: SECURITY)',
        '@core(feature: "https://specs.apollo.dev/core/v0.2", as: "uses") @uses(feature: "{url}", for: SECURITY)',
        '@uses(feature: "{url}", for: SECURITY) @uses(feature: "https://specs.apollo.dev/core/v0.2", as: "uses")',
        '@lk(url: "https://specs.apollo.dev/link/v1.0", import: [{name: "@link", as: "@lk"}])'
        ' @lk(url: "{url}", for: SECURITY)',
        '@chain(url: "https://specs.apollo.dev/link/v1.0", as: "chain") @chain(url: "{url}", for: SECURITY)',
        '@link(url: "{url}", for: SECURITY)',
    ],
)
def test_links_are_found_under_any_name(links: str) -> None:
    """@core, @link, and what a supergraph calls them are read alike, in any order, on the schema and its extension."""
    replaced = links.replace("{url}", UNKNOWN)
    assert UNKNOWN in refusal(SDL.replace("LINKS", replaced).replace("EXTRA", "").replace("MORE", ""))
    extended = SDL.replace("LINKS", "").replace("EXTRA", f"extend schema {replaced}").replace("MORE", "")
    assert UNKNOWN in refusal(extended)


def test_of_several_majors_each_is_judged() -> None:
    """A known version beside an unknown one does not answer for it; and join is linked once."""
    tag = "https://specs.apollo.dev/tag"
    assert "v3.0" in refusal(sdl(f'@link(url: "{tag}/v0.3")', f'@link(url: "{tag}/v3.0", as: "tag3", for: SECURITY)'))
    assert "more than once" in refusal(sdl(f'@link(url: "{JOIN}", as: "joint", for: EXECUTION)'))


def test_what_is_carried_out_of_a_subgraph_is_judged() -> None:
    """@join__directive may carry links and cache tags; what else it carries is refused, and a link as any other."""
    carry = '@join__directive(graphs: [A], name: "{}", args: {})'
    cache = carry.format("federation__cacheTag", '{format: "x"}')
    passed_over = sdl(carry.format("link", '{url: "https://specs.apollo.dev/tag/v0.3"}'), more=cache)
    assert Router(passed_over).supergraph.subgraphs.keys() == {"a", "b"}
    assert "@guard" in refusal(sdl(more=carry.format("guard", "{}")))
    assert UNKNOWN in refusal(sdl(carry.format("link", f'{{url: "{UNKNOWN}", for: "SECURITY"}}')))
    assert "@connect" in refusal(
        sdl(extra=f"type T @join__type(graph: A) {carry.format('connect', '{}')} {{ a: Int }}")
    )


BROKEN = {
    "an empty type": ("type T @join__type(graph: A) { a: Int @inaccessible }", "T"),
    "nothing left to ask": ("extend schema { mutation: M } type M @join__type(graph: A) { a: Int @inaccessible }", "M"),
    "a root that is not there": ("extend schema { mutation: Mutation }", "Mutation"),
    "a root that is no object": ("extend schema { mutation: M } interface M { a: Int }", "M"),
    "an unknown type": ("type T @join__type(graph: A) { a: Lost }", "Lost"),
    "an interface that is not fulfilled": (
        "interface I @join__type(graph: A) { a: Int } type T implements I @join__type(graph: A) { b: Int }",
        "I",
    ),
    "an input that contains itself": ("input I { i: I! } type T @join__type(graph: A) { a(i: I): Int }", "I"),
    "a default that does not fit": ("type T @join__type(graph: A) { a(n: Int = true): Int }", "n"),
    "an output type as an argument": ("type T @join__type(graph: A) { a(t: T): Int }", "T"),
    "an empty union": ("union U @join__type(graph: A)", "U"),
    "an empty enum": ("enum E { A @inaccessible } type T @join__type(graph: A) { e: E }", "E"),
    "two types of one name": ("type T @join__type(graph: A) { a: Int } type T { b: Int }", "T"),
    "two fields of one name": ("type T @join__type(graph: A) { a: Int @guard a: Int }", "a"),
    "two arguments of one name": ("type T @join__type(graph: A) { a(b: Int b: Int): Int }", "b"),
    "two directives of one name": ("directive @d on FIELD directive @d on QUERY", "d"),
    "two values of one name": ("enum E { A A } type T @join__type(graph: A) { e: E }", "A"),
    "two schemas": ("schema { query: Query }", "schema"),
    "an extension": ("extend type Query { b: Int }", "Query"),
    "an operation": ("query { open }", "operation"),
    "a field that nobody may be asked for": (
        "type T @join__type(graph: A) { a: Int @join__field(graph: A, external: true) b: Int }",
        "T.a",
    ),
    "a field that everybody has given away": (
        "type T @join__type(graph: A) { a: Int @join__field(graph: A, usedOverridden: true) b: Int }",
        "T.a",
    ),
    "a field in no subgraph": ("type T @join__type(graph: A) { a: Int @join__field b: Int }", "T.a"),
    "a field where its type is not": (
        "extend schema { mutation: M } type M @join__type(graph: A) { t: T } "
        "type T @join__type(graph: B) { a: Int @join__field(graph: A) }",
        "T.a",
    ),
    "a context that no type sets": (
        "type T @join__type(graph: A) { a(n: Int): Int @join__field(graph: A, contextArguments: "
        '[{context: "a__c", name: "n", type: "Int", selection: "open"}]) }',
        "a__c",
    ),
}


@pytest.mark.parametrize(("extra", "named"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_served_does_not_load(extra: str, named: str) -> None:
    """A supergraph whose API schema is not valid, or that can be read in two ways, fails at load."""
    assert named in refusal(sdl(extra=extra))


def test_subgraphs_have_names_of_their_own() -> None:
    """Two subgraphs of one name would be asked at one URL: such a supergraph does not load."""
    assert "one name" in refusal(sdl().replace('name: "b"', 'name: "a"'))


def test_every_problem_is_told() -> None:
    """What is wrong with an API schema is told at once, a line for each problem."""
    text = refusal(sdl(extra="type T @join__type(graph: A) { a(n: Int = true, m: Int = true): Int } union U"))
    assert len(text.splitlines()) == 3


def test_what_composes_loads() -> None:
    """compose and serve have one opinion: subgraphs that use every directive of the table compose to what loads."""
    made = compose(
        [
            Subgraph(
                name="a",
                url="http://a.invalid/",
                sdl="""
                extend schema @link(url: "https://specs.apollo.dev/federation/v2.12", import: ["@key", "@tag",
                  "@inaccessible", {name: "@authenticated", as: "@member"}, "@requiresScopes", "@policy", "@cost",
                  "@listSize", "@context", "@fromContext", "@cacheTag", "@override"])
                type Query { t: T @cacheTag(format: "t") old: Int @deprecated list: [Int] @listSize(assumedSize: 2) }
                type T @key(fields: "id") @context(name: "c") {
                  id: ID! n: Int @tag(name: "x") m: Int @member r: Int @requiresScopes(scopes: [["r"]])
                  p: Int @policy(policies: [["p"]]) hidden: Int @inaccessible u: U c: Int @cost(weight: 3)
                }
                type U @key(fields: "id") { id: ID! a(n: Int @fromContext(field: "$c { n }")): Int d: D }
                scalar D @specifiedBy(url: "https://example.com/d")
                """,
            )
        ]
    )
    assert made.supergraph is not None, made.diagnostics
    assert Router(made.supergraph).supergraph.subgraphs.keys() == {"a"}
    assert '{name: "@authenticated", as: "@member"}' in made.supergraph


# ---- the page ----


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in lines]
    return [row for row in cells if set(row) != {"---"}]


def directive_rows(rules: Iterable[DirectiveRule]) -> list[tuple[str, ...]]:
    """The table's rows as they have to stand in the page."""
    return [(f"`@{each.name}`", each.feature, each.treatment, each.why) for each in rules]


def test_the_page_is_the_table_of_specifications() -> None:
    """docs/directives.md has every specification and every purpose of the code, and no other."""
    features = [
        (f"`{each.name}`", ", ".join(map(version_text, each.versions)) or "all", each.treatment.value, each.why)
        for each in FEATURES
    ]
    purposes = [(f"`{each.name}`" if each.name else "none", each.treatment.value, each.why) for each in PURPOSES]
    found = rows("Specifications that a supergraph links")
    assert [row for row in found if len(row) == 4][1:] == features
    assert [row for row in found if len(row) == 3][1:] == purposes


@pytest.mark.parametrize(
    ("heading", "rules"),
    [
        ("Directives in a supergraph", SUPERGRAPH_DIRECTIVES),
        ("Directives in a client's document", DOCUMENT_DIRECTIVES),
    ],
)
def test_the_page_is_the_table_of_directives(heading: str, rules: tuple[DirectiveRule, ...]) -> None:
    """docs/directives.md has every directive of the code, and no other."""
    assert rows(heading)[1:] == directive_rows(rules)
