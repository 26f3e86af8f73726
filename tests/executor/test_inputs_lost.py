"""A field whose input is lost with an object that an error took away: whose error it is, and where it is told."""

import json

import pytest

from tests.executor.shop import Canned
from trifolio.composer import Subgraph, compose
from trifolio.executor import execute, prepare
from trifolio.executor.struct_answer import StructsRoom
from trifolio.planner import plan
from trifolio.supergraph import Supergraph

IMPORT = 'import: ["@key", "@external", "@requires"]'
LINK = f'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", {IMPORT}) '
SUBGRAPHS = {
    "root": 'type Query { box: Box } type Box @key(fields: "id") { id: ID! }',
    "scales": 'type Box @key(fields: "id") { id: ID! weight: Int! size: Int! }',
    "post": """
        type Box @key(fields: "id") { id: ID! weight: Int! @external price: Int! @requires(fields: "weight") }
    """,
}


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_it_is_told_at_the_field_that_failed(times: int) -> None:
    """`size` fails and takes the box's weight with it, so the price cannot be asked: the client reads of `size`."""
    result = compose([Subgraph(name, f"http://{name}", LINK + sdl) for name, sdl in SUBGRAPHS.items()])
    assert result.supergraph is not None, result.diagnostics
    prepared = prepare(plan("{ box { price size } }", Supergraph.parse(result.supergraph)), room=StructsRoom(99))
    failure = {"message": "no", "path": ["_entities", 0, "size"]}
    post = Canned({})
    transports = {
        "root": Canned(json.dumps({"data": {"box": {"id": "1"}}}).encode()),
        "scales": Canned(json.dumps({"data": {"_entities": [None]}, "errors": [failure]}).encode()),
        "post": post,
    }
    for _ in range(times):
        answer = await execute(prepared, transports=transports, as_text=times == 3)
    assert answer.to_json()["data"] == {"box": None}
    assert [(error.message, error.path) for error in answer.errors] == [("no", ("box", "size"))]
    assert post.requests == []
