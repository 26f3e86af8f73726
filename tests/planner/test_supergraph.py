"""Reading a supergraph: indexes, and the schema that clients see."""

import pytest
from graphql import GraphQLSchema, build_client_schema, introspection_from_schema, validate_schema
from graphql.type import is_enum_type, is_input_object_type, is_object_type

from trifolio.errors import SupergraphError
from trifolio.supergraph import Supergraph, TypeReference

SDL = """
schema
  @link(url: "https://specs.apollo.dev/link/v1.0")
  @link(url: "https://specs.apollo.dev/join/v0.4", for: EXECUTION)
  @link(url: "https://specs.apollo.dev/inaccessible/v0.2", as: "hidden", for: SECURITY)
{ query: Query }
directive @join__type(graph: join__Graph!, key: join__FieldSet) repeatable on OBJECT
directive @hidden on FIELD_DEFINITION | OBJECT | ARGUMENT_DEFINITION | ENUM_VALUE
directive @shout(times: Int = 2) on FIELD
enum join__Graph {
  B_ONE @join__graph(name: "b-one", url: "http://b")
  A @join__graph(name: "a", url: "http://a")
}
scalar join__FieldSet
scalar Date @join__type(graph: A) @specifiedBy(url: "https://example.com/date")
type Query @join__type(graph: A) @join__type(graph: B_ONE) {
  "One thing."
  thing(id: ID = "x", secret: Int @hidden, by: Choice): [[Thing!]]! @join__field(graph: A, provides: "name")
  any: [Any] @join__field(graph: B_ONE)
}
type Thing @join__type(graph: A, key: "id") @join__type(graph: B_ONE, key: "id", resolvable: false)
  @join__type(graph: B_ONE, key: "org { id }") {
  id: ID!
  name: String @join__field(graph: A, external: true) @join__field(graph: B_ONE) @deprecated(reason: "old")
  moved: Date @join__field(graph: A, overrideLabel: "half")
    @join__field(graph: B_ONE, override: "a", overrideLabel: "half")
  size: Size @join__field(graph: A, type: "Size!")
  org: Hidden @hidden
}
type Hidden @join__type(graph: B_ONE) @hidden { id: ID }
enum Size @join__type(graph: A) { SMALL @join__enumValue(graph: A) SECRET @hidden }
union Any @join__type(graph: B_ONE) @join__unionMember(graph: B_ONE, member: "Thing") = Thing | Hidden
input Choice @oneOf @join__type(graph: A) { id: ID name: String }
"""


@pytest.fixture(scope="module")
def supergraph() -> Supergraph:
    """The supergraph of this page."""
    return Supergraph.parse(SDL)


def test_subgraphs_by_name(supergraph: Supergraph) -> None:
    """Subgraphs are called by name, sorted by it, and know their URL and enum value."""
    assert [(s.name, s.url, s.graph) for s in supergraph.subgraphs.values()] == [
        ("a", "http://a", "A"),
        ("b-one", "http://b", "B_ONE"),
    ]
    assert supergraph.roots == {"query": "Query"}
    assert supergraph.labels == {"half"}


def test_fields_by_subgraph(supergraph: Supergraph) -> None:
    """A field knows what each subgraph says about it; without a join it is everywhere the type is."""
    thing = supergraph.types["Thing"]
    assert set(thing.fields["id"].subgraphs) == {"a", "b-one"}
    assert thing.fields["name"].subgraphs["a"].external
    assert thing.fields["size"].subgraphs["a"].type == TypeReference("Size", (True,))
    assert thing.fields["size"].type == TypeReference("Size", (False,))
    assert [(key.field_set, key.resolvable) for key in thing.subgraphs["b-one"].keys] == [
        ("id", False),
        ("org { id }", True),
    ]
    assert supergraph.types["Query"].fields["thing"].type == TypeReference("Thing", (True, False, True))
    assert str(supergraph.types["Query"].fields["thing"].type) == "[[Thing!]]!"


def test_possible_types_differ_by_subgraph(supergraph: Supergraph) -> None:
    """A union's runtime types are the supergraph's in general and only its own in a subgraph."""
    union = supergraph.types["Any"]
    assert union.possible_types == ("Hidden", "Thing")
    assert union.subgraphs["b-one"].possible_types == {"Thing"}


@pytest.fixture(scope="module")
def api_schema(supergraph: Supergraph) -> GraphQLSchema:
    """What clients see of it."""
    return supergraph.api_schema


def test_api_schema_hides_machinery_and_inaccessible(api_schema: GraphQLSchema) -> None:
    """Nothing inaccessible and nothing of join or link is left, under whatever name it was linked."""
    assert not validate_schema(api_schema)
    names = {name for name in api_schema.type_map if not name.startswith("__")}
    assert names == {"Query", "Thing", "Size", "Any", "Choice", "Date", "ID", "Int", "String", "Boolean"}
    thing = api_schema.type_map["Thing"]
    assert is_object_type(thing)
    assert "org" not in thing.fields
    size = api_schema.type_map["Size"]
    assert is_enum_type(size)
    assert list(size.values) == ["SMALL"]
    assert api_schema.directives[0].name == "shout"
    assert "hidden" not in {d.name for d in api_schema.directives}


def test_api_schema_keeps_what_introspection_shows(api_schema: GraphQLSchema) -> None:
    """Descriptions, deprecations, specifiedBy, oneOf and default values survive; introspection reads them."""
    introspected = build_client_schema(introspection_from_schema(api_schema))
    query, choice = introspected.type_map["Query"], introspected.type_map["Choice"]
    assert is_object_type(query)
    assert is_input_object_type(choice)
    assert query.fields["thing"].description == "One thing."
    assert set(query.fields["thing"].args) == {"id", "by"}
    thing = introspected.type_map["Thing"]
    assert is_object_type(thing)
    assert thing.fields["name"].deprecation_reason == "old"
    choice_here = api_schema.type_map["Choice"]
    assert is_input_object_type(choice_here)
    assert choice_here.is_one_of
    assert getattr(api_schema.type_map["Date"], "specified_by_url", None) == "https://example.com/date"


def test_api_schema_is_built_once(supergraph: Supergraph) -> None:
    """Asking twice gives the same object."""
    assert supergraph.api_schema is supergraph.api_schema


@pytest.mark.parametrize(
    ("sdl", "message"),
    [
        ("type Query {", "cannot be parsed"),
        ("type Query { a: Int }", "names no subgraph"),
        ("type Other { a: Int }", "no query root"),
        (SDL.replace('key: "org { id }"', 'key: "org { nothing }"'), "nothing"),
        (SDL.replace('key: "org { id }"', 'key: "org"'), "wrong kind of selection"),
        (SDL.replace('key: "org { id }"', 'key: "org {"'), "cannot be parsed"),
        (SDL.replace('member: "Thing"', 'member: "Size"'), '"Size"'),
        (SDL.replace(', member: "Thing"', ""), 'lacks the argument "member"'),
        (SDL.replace("@join__field(graph: B_ONE)\n}", "@join__field(graph: NOWHERE)\n}"), "NOWHERE"),
    ],
)
def test_malformed_supergraphs_are_refused(sdl: str, message: str) -> None:
    """What is no supergraph raises SupergraphError with the reason."""
    with pytest.raises(SupergraphError, match=message):
        Supergraph.parse(sdl)


def test_join_v0_1_owners_and_value_types() -> None:
    """In join v0.1 a field without a graph is its owner's, keys are everywhere, and value types live anywhere."""
    supergraph = Supergraph.parse(
        """
        schema @core(feature: "https://specs.apollo.dev/core/v0.1") @core(feature: "https://specs.apollo.dev/join/v0.1")
        { query: Query }
        enum join__Graph { A @join__graph(name: "a", url: "") B @join__graph(name: "b", url: "") }
        type Query { user: User @join__field(graph: A) }
        type User @join__owner(graph: A) @join__type(graph: A, key: "id") @join__type(graph: B, key: "id") {
          id: ID! @join__field(graph: A)
          name: String @join__field(graph: A)
          score: Int @join__field(graph: B, requires: "name")
          at: Place
        }
        type Place { x: Int }
        """
    )
    user = supergraph.types["User"]
    assert set(user.fields["id"].subgraphs) == {"a", "b"}
    assert set(user.fields["at"].subgraphs) == {"a"}
    assert set(user.fields["score"].subgraphs) == {"b"}
    assert set(supergraph.types["Place"].fields["x"].subgraphs) == {"a", "b"}
    assert set(supergraph.types["Query"].subgraphs) == {"a"}
