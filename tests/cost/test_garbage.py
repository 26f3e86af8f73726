"""What a request leaves for the garbage collector to find: nothing that another one would wait for.

An exception that a variable of its own traceback's frames holds is a cycle, which keeps all that these frames hold.
"""

import gc

import pytest

from tests.cost.counting import connect
from tests.cost.test_requests import BALANCES, HOLDINGS, QUERY, SUBGRAPHS, entities, post, response, user
from trifolio.executor.prepare import STRUCTS_AFTER

BROKEN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{"
OTHERS: dict[str, dict[str, bytes]] = {
    "nothing fails": {},
    "a subgraph fails": {"/wallet": response({"errors": [{"message": "no"}]}, "500 No")},
    "a subgraph answers with no JSON": {"/wallet": BROKEN},
    "a subgraph has an error beside its data": {
        "/wallet": response({"data": {"_entities": [None]}, "errors": [{"message": "no", "path": ["_entities", 0]}]})
    },
    "there is no user": {"/users": response({"data": {"me": None}})},
    "the first subgraph fails": {"/users": response({"errors": [{"message": "no"}]}, "503 No")},
}
"""What subgraphs answer in place of what is right."""


@pytest.mark.parametrize("name", OTHERS)
async def test_an_answer_leaves_no_garbage(name: str) -> None:
    """An operation that has been executed often, whatever subgraphs answer."""
    responses = {
        "/users": response({"data": {"me": user(0)}}),
        "/wallet": entities(1, "balances", BALANCES),
        "/stocks": entities(1, "holdings", HOLDINGS),
    }
    assert await garbage_of(post({"query": QUERY % "me"}), responses | OTHERS[name]) == 0


REFUSED: dict[str, bytes] = {
    "no JSON": post(b"{"),
    "no GraphQL": post({"query": "{ me { id "}),
    "no such field": post({"query": "{ nothing }"}),
    "no such operation": post({"query": "query A { me { id } }", "operationName": "B"}),
    "another content type": post({"query": "{ me { id } }"}, content_type="text/plain"),
    "no such path": b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n",
    "what a foreign page can send": b"GET /graphql?query=%7Bme%7Bid%7D%7D HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_leaves_no_garbage(name: str) -> None:
    """Who sends what is refused, again and again, does not make the collector run."""
    assert await garbage_of(REFUSED[name], {}) == 0


TURNS = 3
"""How often ten requests are measured: what another test has left may fall into one turn, a request's own into each."""


async def garbage_of(request: bytes, responses: dict[str, bytes]) -> int:
    """How many objects ten of the same requests leave at the least, when it has been sent often."""
    client, _ = connect(SUBGRAPHS, responses)
    for _ in range(STRUCTS_AFTER + 10):
        await client.ask(request)
    found = []
    gc.disable()
    try:
        for _ in range(TURNS):
            gc.collect()
            for _ in range(10):
                await client.ask(request)
            found.append(gc.collect())
    finally:
        gc.enable()
    return min(found)
