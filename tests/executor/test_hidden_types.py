"""Objects of types that clients do not see: null with an error, whatever is selected, and never a name that leaks."""

from typing import Any

import pytest

from tests.executor.shop import Canned
from trifolio.composer import Subgraph, compose
from trifolio.errors import ErrorCode
from trifolio.gateway import Router

_LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@inaccessible"])'
_QUERY = "type Query { pet: Pet herd: [Pet] sure: Pet! }"
_WOLF = "type Wolf implements Pet @inaccessible { name: String }"
ALL_HIDDEN = f"{_LINK} {_QUERY} interface Pet {{ name: String }} {_WOLF}"
NONE_AT_ALL = f"{_LINK} {_QUERY} interface Pet {{ name: String }}"
SOME_HIDDEN = f"{ALL_HIDDEN} type Cat implements Pet {{ name: String }} type Dog implements Pet {{ name: String }}"
ONE_SEEN = f"{ALL_HIDDEN} type Cat implements Pet {{ name: String }}"
WOLF = {"__typename": "Wolf", "name": "Akela"}
CAT = {"__typename": "Cat", "name": "Tom"}


async def answers(sdl: str, query: str, data: Any) -> list[Any]:
    """The answers to the same request, by the interpreter and then by generated code."""
    supergraph = compose([Subgraph("pets", "http://pets.example/", sdl)]).supergraph
    assert supergraph is not None
    async with Router(supergraph, transports={"pets": Canned({"data": data})}) as router:
        return [await router.execute(query) for _ in range(3)]


@pytest.mark.parametrize("sdl", [ALL_HIDDEN, NONE_AT_ALL, SOME_HIDDEN, ONE_SEEN], ids=["all", "none", "some", "one"])
@pytest.mark.parametrize("selection", ["{ name }", "{ __typename }", "{ __typename name }", "{ n: name }"])
async def test_an_object_of_a_type_that_nobody_sees_is_null(sdl: str, selection: str) -> None:
    """One object, in a list, and where null may not stand; the error names the subgraph that has sent it."""
    for response in await answers(sdl, f"{{ pet {selection} }}", {"pet": WOLF}):
        assert response.data == {"pet": None}
        assert [(error.code, error.path, error.subgraph) for error in response.errors] == [
            (ErrorCode.UNKNOWN_TYPENAME, ("pet",), "pets")
        ]
        assert "Wolf" not in str(response.to_json())
    for response in await answers(sdl, f"{{ herd {selection} }}", {"herd": [WOLF, None, WOLF]}):
        assert response.data == {"herd": [None] * 3}
        assert [error.path for error in response.errors] == [("herd", 0), ("herd", 2)]
    for response in await answers(sdl, f"{{ sure {selection} }}", {"sure": WOLF}):
        assert response.data is None
        assert [error.code for error in response.errors] == [ErrorCode.UNKNOWN_TYPENAME]


@pytest.mark.parametrize("sdl", [SOME_HIDDEN, ONE_SEEN], ids=["some", "one"])
async def test_objects_of_other_types_stand_beside_it(sdl: str) -> None:
    """Only the hidden one is null."""
    for response in await answers(sdl, "{ herd { name } }", {"herd": [CAT, WOLF, CAT]}):
        assert response.data == {"herd": [{"name": "Tom"}, None, {"name": "Tom"}]}
        assert [error.path for error in response.errors] == [("herd", 1)]


@pytest.mark.parametrize(
    "query",
    ["{ name @shout }", "query @shout { name }", "{ ... @shout { name } }", "query ($x: Int @shout) { name(n: $x) }"],
)
async def test_a_directive_that_nobody_carries_out_is_refused(query: str) -> None:
    """A subgraph's own directive is not passed on, and an answer as if it had not been written would be wrong."""
    places = "FIELD | INLINE_FRAGMENT | QUERY | VARIABLE_DEFINITION"
    sdl = f"directive @shout on {places} type Query {{ name(n: Int): String }}"
    for response in await answers(sdl, query, {"name": "Ada"}):
        assert response.data is None
        assert [error.code for error in response.errors] == [ErrorCode.GRAPHQL_VALIDATION_FAILED]
        assert "'@shout' is not carried out" in response.errors[0].message
        assert response.errors[0].locations
