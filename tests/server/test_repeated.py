"""Operations that are executed again: the interpreter has answered the first time, generated code answers after it."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from trifolio import LocalTransport, Response, Router, Subgraph, SubgraphRequest, SubgraphResponse, compose

EXECUTIONS = 3
"""By the interpreter, by the code that is generated then, and once more."""


class Canned:
    """A subgraph that always says the same."""

    def __init__(self, payload: object) -> None:
        self._payload = payload

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Say it; the payload is the executor's from then on, so each time it is another."""
        return SubgraphResponse(payload=copy.deepcopy(self._payload))

    async def close(self) -> None:
        """Nothing is held."""


async def answers(
    sdl: str, payload: object, query: str, variables: Mapping[str, object] | None = None
) -> list[Response]:
    """What a router over one subgraph answers, each time."""
    composed = compose([Subgraph("pets", "http://pets.invalid/", sdl)])
    assert composed.supergraph is not None, composed.diagnostics
    async with Router(composed.supergraph, transports={"pets": Canned(payload)}) as router:
        return [await router.execute(query, variables=variables) for _ in range(EXECUTIONS)]


ONE_IS_SEEN = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@inaccessible"])
type Query { den: Den lair: Lair }
interface Den { size: Int }
type Fox implements Den { size: Int }
type Bear implements Den @inaccessible { size: Int }
union Lair = Fox | Bear
"""


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("{ den { __typename } }", "den"),
        ("{ den { kind: __typename size } }", "den"),
        ("{ lair { __typename } }", "lair"),
        ("{ lair { ... on Fox { size } __typename } }", "lair"),
    ],
)
async def test_an_abstract_type_of_which_one_type_is_seen(query: str, key: str) -> None:
    """`__typename` is answered alike every time, whatever else is selected."""
    payload = {"data": {key: {"__typename": "Fox", "size": 3}}}
    first, *later = await answers(ONE_IS_SEEN, payload, query)
    found: Any = first.data
    assert "Fox" in found[key].values()
    assert [each.to_json() for each in later] == [first.to_json()] * (EXECUTIONS - 1)


@pytest.mark.parametrize("directive", ["@include(if: $shown)", "@skip(if: $shown)"])
async def test_null_decides_no_condition(directive: str) -> None:
    """A variable that may be null as it has a default refuses the operation where null is given for a condition."""
    query = f"query ($shown: Boolean = true) {{ name {directive} }}"
    for variables, is_refused in (({"shown": None}, True), ({}, False), ({"shown": False}, False)):
        for response in await answers("type Query { name: String }", {"data": {"name": "Ada"}}, query, variables):
            assert (response.refusal is not None) is is_refused
            if is_refused:
                assert [str(error.code) for error in response.errors] == ["BAD_USER_INPUT"]


async def test_a_subgraph_says_more_of_its_errors_than_a_code() -> None:
    """Its extensions reach the client, beside the subgraph's name, which is the router's to say."""
    told = {"code": "BUSY", "retryAfterS": 3, "detail": {"queue": [1, 2]}, "subgraph": "elsewhere"}
    payload = {"data": {"name": None}, "errors": [{"message": "Later.", "path": ["name"], "extensions": told}]}
    for response in await answers("type Query { name: String }", payload, "{ name }"):
        body: Any = response.to_json()
        [error] = body["errors"]
        assert error["extensions"] == {**told, "subgraph": "pets"}
        assert error["path"] == ["name"]


def test_a_subgraph_in_memory_is_a_schema() -> None:
    """The text of one is refused where it is given, not when it is asked."""
    with pytest.raises(TypeError, match="a schema object that executes, not a str"):
        LocalTransport("type Query { name: String }")  # type: ignore[arg-type]  # what is refused
