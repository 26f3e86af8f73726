"""compose() with bad input: always diagnostics, never an exception."""

import pytest
from graphql import graphql_sync

from trifolio.composer import Subgraph, compose
from trifolio.composer.subgraph import SDL_BYTES_MAX
from trifolio.supergraph import Supergraph

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])\n'
DEEP = 5_000


def codes(*sdls: str) -> set[str]:
    """The codes of the errors that subgraphs `a`, `b`, ... come to."""
    result = compose([Subgraph(chr(97 + index), "", sdl) for index, sdl in enumerate(sdls)])
    found = {each.code for each in result.diagnostics if each.severity == "error"}
    assert (result.supergraph is None) is bool(found)
    return found


@pytest.mark.parametrize(
    ("sdl", "hint"),
    [
        ("", "empty"),
        (" \n\t# nothing but a comment\n", "Unexpected <EOF>"),
        ("<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        ('{"data": {"__schema": {}}}', "JSON"),
        ("type Query { a: Int", "Expected"),
        ("type Query { a: \x00 }", "U+0000"),
        ("type Query { a: Int }" + " " * SDL_BYTES_MAX, str(SDL_BYTES_MAX)),
        ("query { a }", "part of no schema"),
        ("type Query { a: " + "[" * DEEP + "Int" + "]" * DEEP + " }", "deep"),
        ("type Query { a(b: I = " + "{a: " * DEEP + "1" + "}" * DEEP + "): Int }", "deep"),
    ],
    ids=["empty", "comment", "html", "json", "cut", "control", "20mb", "operation", "deep-list", "deep-value"],
)
def test_what_is_no_schema(sdl: str, hint: str) -> None:
    """A text that is no schema is INVALID_GRAPHQL, with a message that says what it is."""
    result = compose([Subgraph("a", "", sdl)])
    assert result.supergraph is None
    assert {each.code for each in result.diagnostics} == {"INVALID_GRAPHQL"}
    assert any(word in result.diagnostics[0].message for word in hint.split("|")), result.diagnostics[0].message


def test_no_subgraphs() -> None:
    """Nothing to compose is no query."""
    assert codes() == {"NO_QUERIES"}


def test_two_subgraphs_of_one_name() -> None:
    """Subgraphs need names of their own."""
    result = compose([Subgraph("a", "", "type Query { a: Int }"), Subgraph("a", "", "type Query { b: Int }")])
    assert [each.code for each in result.diagnostics] == ["INVALID_SUBGRAPH_NAME"]


@pytest.mark.parametrize(
    "fields",
    ["{" * DEEP, "a " * 3 + "{" * DEEP + "}" * DEEP, "... on T {" * 70 + "id" + "}" * 70, "}", "id }{ id", '"'],
)
def test_field_sets_that_cannot_be_read(fields: str) -> None:
    """A field set that is nested too deeply, or is none, is KEY_INVALID_FIELDS."""
    text = fields.replace('"', '\\"')
    assert codes(LINK + f'type Query {{ t: T }} type T @key(fields: "{text}") {{ id: ID a: T }}') == {
        "KEY_INVALID_FIELDS"
    }


def test_recursive_field_sets() -> None:
    """Keys and requirements that need one another end in a diagnostic, not in an endless loop."""
    link = LINK.replace('"@key"', '"@key", "@external", "@requires"')
    one = link + (
        'type Query { t: T } type T @key(fields: "id") { id: ID a: Int @external b: Int @requires(fields: "a") }'
    )
    other = link + 'type T @key(fields: "id") { id: ID b: Int @external a: Int @requires(fields: "b") }'
    assert codes(one, other) == {"SATISFIABILITY_ERROR"}


def test_types_that_lead_back_to_themselves() -> None:
    """Recursive types are walked once for each way in."""
    one = LINK + 'type Query { t: T } type T @key(fields: "id") { id: ID t: T u: U } type U @shareable { t: T }'
    other = LINK + 'type T @key(fields: "id") { id: ID us: [U] } type U @shareable { t: T us: [[U]] }'
    assert codes(one, other) == {"SATISFIABILITY_ERROR"}
    assert codes(one, other.replace("us: [[U]]", "")) == set()


def test_a_specified_scalar_extended_as_another_kind() -> None:
    """A scalar of the specification that a schema extends as an object is INVALID_GRAPHQL."""
    assert codes(
        LINK + 'type Query { a: T } type T @key(fields: "id") { id: ID } extend type federation__FieldSet { b: Int }'
    ) == {"INVALID_GRAPHQL"}


def test_all_problems_at_once() -> None:
    """Problems of different subgraphs and kinds are reported together, each with its place."""
    one = LINK + 'type Query { t: T }\ntype T @key(fields: "nope") { id: ID }\n'
    other = LINK + 'type T @key(fields: "id x") { id: ID x(y: Int): Int }\ninterface I { a: Int @shareable }\n'
    result = compose(
        [Subgraph("one", "", one), Subgraph("other", "", other), Subgraph("third", "", "type Query { a: B }")]
    )
    found = {(each.code, str(each.locations[0])) for each in result.diagnostics}
    assert found == {
        ("KEY_INVALID_FIELDS", "one:3:8"),
        ("KEY_FIELDS_HAS_ARGS", "other:2:8"),
        ("INVALID_SHAREABLE_USAGE", "other:3:15"),
        ("INVALID_GRAPHQL", "third:1:17"),
    }


def test_the_witness_of_an_unsatisfiable_field() -> None:
    """SATISFIABILITY_ERROR shows a query and, for each subgraph, why it cannot go on."""
    one = "type Query { user(id: ID!): User } type User { id: ID! }"
    other = "type User { id: ID! tags: [String] }"
    result = compose([Subgraph("one", "", one), Subgraph("other", "", other)])
    assert result.diagnostics[0].message == (
        "The following query cannot be answered by the subgraphs:\n"
        "{\n  user(id: <any ID>) {\n    tags\n  }\n}\n"
        "because:\n"
        '- from subgraph "one":\n'
        '  - cannot find field "User.tags".\n'
        '  - cannot move to subgraph "other", which has field "User.tags", because type "User" has no resolvable @key'
        " there."
    )


def test_the_description_of_the_schema_reaches_clients() -> None:
    """Introspection tells the description that a subgraph gives its schema."""
    sdl = '"""All about tea"""\nschema { query: Query }\ntype Query { tea: Int }'
    text = compose([Subgraph("tea", "", sdl)]).supergraph
    assert text is not None
    assert Supergraph.parse(text).api_schema.description == "All about tea"


def test_what_composes_is_a_schema_for_execution() -> None:
    """An implementation that is deprecated alone does not keep operations from being validated and executed."""
    sdl = "type Query { a: A } interface I { x: Int } type A implements I { x: Int @deprecated }"
    text = compose([Subgraph("a", "", sdl)]).supergraph
    assert text is not None
    result = graphql_sync(Supergraph.parse(text).api_schema, "{ a { x } }")
    assert (result.data, result.errors) == ({"a": None}, None)
