"""@defer: what is planned apart, what comes at once, and how the parts are read."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.planner.cases import SUPERGRAPHS
from trifolio.planner import plan
from trifolio.query_plan import ListShape, ObjectShape, Plan, Selection, path_text
from trifolio.supergraph import Supergraph


@pytest.fixture(scope="module")
def supergraph() -> Supergraph:
    """Users, their posts, and the posts' tags, each in a subgraph."""
    return Supergraph.parse((SUPERGRAPHS / "federation-1.graphql").read_text())


def keys(selection: Selection) -> Iterator[Any]:
    """The response keys, nested: a leaf's key, or the key and what stands below it."""
    for field in selection.fields:
        shape = field.shape
        while isinstance(shape, ListShape):
            shape = shape.item
        key = field.response_key if str(field.condition) == "true" else f"{field.response_key} if {field.condition}"
        yield (key, list(keys(shape.selection))) if isinstance(shape, ObjectShape) else key


def services(made: Plan) -> list[tuple[str, int | None]]:
    """Each fetch's subgraph and the part that it serves."""
    return [(fetch.subgraph, fetch.deferred) for fetch in made.fetches]


def test_without_incremental_defer_makes_no_difference(supergraph: Supergraph) -> None:
    """By default everything is in the first answer."""
    made = plan("{ me { id ... @defer { name } } }", supergraph)
    assert made == plan("{ me { id ... { name } } }", supergraph)


def test_deferred_field_of_the_same_subgraph_has_its_own_fetch(supergraph: Supergraph) -> None:
    """An entity is entered again for its deferred fields, so that the first answer does not wait for them."""
    made = plan('{ users { id ... @defer(label: "names") { name } } }', supergraph, incremental=True)
    assert services(made) == [("users", None), ("users", 0)]
    assert list(keys(made.selection)) == [("users", ["id"])]
    [part] = made.deferred
    assert (path_text(part.path), part.label, part.parent) == ("users.@", "names", None)
    assert list(keys(part.selection)) == ["name"]


def test_key_for_a_deferred_part_comes_with_the_first_answer(supergraph: Supergraph) -> None:
    """What a deferred fetch needs is asked by the fetches that run anyway."""
    made = plan("{ posts { title ... @defer { tags } } }", supergraph, incremental=True)
    assert services(made) == [("posts", None), ("tags", 0)]
    assert "id" in made.fetches[0].operation


def test_field_outside_and_inside_is_not_deferred(supergraph: Supergraph) -> None:
    """A leaf that the first answer has is not read again; objects stand again around what is new."""
    made = plan(
        "{ me { name posts { title } ... @defer { name posts { title tags } } } }", supergraph, incremental=True
    )
    assert list(keys(made.selection)) == [("me", ["name", ("posts", ["title"])])]
    assert [list(keys(part.selection)) for part in made.deferred] == [[("posts", ["tags"])]]


def test_nested_deferral_names_its_parent(supergraph: Supergraph) -> None:
    """A deferred fragment inside another knows the part it is nested in, and is planned after it."""
    made = plan("{ me { id ... @defer { posts { title ... @defer { tags } } } } }", supergraph, incremental=True)
    assert [(path_text(part.path), part.parent) for part in made.deferred] == [("me", None), ("me.posts.@", 0)]
    assert services(made) == [("users", None), ("posts", 0), ("tags", 1)]


def test_condition_of_a_deferral(supergraph: Supergraph) -> None:
    """With `if` the fields belong to the first answer when it is false and to the part when it is true."""
    made = plan("query ($x: Boolean!) { me { id ... @defer(if: $x) { name } } }", supergraph, incremental=True)
    assert list(keys(made.selection)) == [("me", ["id", "name if NOT $x"])]
    assert [(str(part.condition), list(keys(part.selection))) for part in made.deferred] == [("$x", ["name if $x"])]


def test_constant_false_defers_nothing(supergraph: Supergraph) -> None:
    """`@defer(if: false)` is no deferral."""
    made = plan("{ me { id ... @defer(if: false) { name } } }", supergraph, incremental=True)
    assert not made.deferred
    assert services(made) == [("users", None)]


def test_what_cannot_be_entered_again_comes_at_once() -> None:
    """A value object has no key: its deferred fields are fetched with it and read as a part all the same."""
    supergraph = Supergraph.parse((SUPERGRAPHS / "nested-lists.graphql").read_text())
    made = plan("{ rows { ... @defer { label } } }", supergraph, incremental=True)
    assert services(made) == [("grid", None)]
    assert [list(keys(part.selection)) for part in made.deferred] == [["label"]]


def test_deferred_fragment_at_the_root(supergraph: Supergraph) -> None:
    """Root fields can be deferred: they are fetched by a root request of their own."""
    made = plan("{ me { id } ... @defer { users { id } } }", supergraph, incremental=True)
    assert services(made) == [("users", None), ("users", 0)]
    assert [path_text(part.path) for part in made.deferred] == [""]


NESTED = """
query ($some: Boolean! = false) {
  pair {
    ... on Pair @defer(label: "outer", if: $some) {
      right { ... on Red @defer { shade } ...Names @defer }
      name: right { ... on Item @defer(label: "inner") { ... on Blue { width } } }
      left { ... on Item @defer { ... on Red @defer { value } } }
    }
  }
}
fragment Names on Blue { ... on Blue @defer { names } }
"""


def test_the_first_answer_asks_about_no_deferral() -> None:
    """What stands in a deferral that may be off belongs to its own parts; the first answer has nothing of them."""
    made = plan(NESTED, (SUPERGRAPHS / "conflicting-fields.graphql").read_text(), incremental=True)
    selections, asked, shown = [made.selection], set[str](), set[str]()
    while selections:
        for field in selections.pop().fields:
            shown.add(field.response_key)
            asked |= field.condition.variables
            if isinstance(field.shape, ObjectShape):
                selections.append(field.shape.selection)
    assert asked == {"some"}
    assert shown == {"pair", "right", "name", "left"}
    assert len(made.deferred) == 5


def test_what_is_never_asked_for_defers_nothing(supergraph: Supergraph) -> None:
    """A deferral under conditions that contradict one another stands nowhere: the plan is the one without it."""
    text = "query ($on: Boolean!) {{ users @skip(if: $on) {{ id ... @include(if: $on) {{ name {0} }} }} }}"
    made = plan(text.format("... @defer { posts { id } }"), supergraph, incremental=True)
    assert made == plan(text.format("posts { id }"), supergraph, incremental=True)
    assert not made.deferred
