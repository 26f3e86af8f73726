"""What the router's code does for a request that it has seen before: no more than when that was last measured."""

import json
import sys
from typing import Any

import pytest

from tests.cost.counting import Cost, connect, cost_of
from tests.server import wire
from trifolio.executor.prepare import STRUCTS_AFTER

pytestmark = pytest.mark.no_cover

MEASURED_ON = (3, 11)
"""The Python whose instructions were counted; another one compiles the same code to others."""

SUBGRAPHS = {
    "/users": """
        extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
        type Query { me: User, users: [User!]! }
        type User @key(fields: "id") { id: ID! name: String! email: String }
    """,
    "/wallet": """
        extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
        type User @key(fields: "id") { id: ID! balances: [Balance!] }
        type Balance { currency: String! amount: Float! }
    """,
    "/stocks": """
        extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
        type User @key(fields: "id") { id: ID! holdings: [Holding!] }
        type Holding { id: ID! quantity: Int! stock: Stock! }
        type Stock { symbol: String! price: Float }
    """,
}
QUERY = "{ %s { id name email balances { currency amount } holdings { id quantity stock { symbol price } } } }"
BALANCES = [{"currency": currency, "amount": 12.5} for currency in ("EUR", "USD", "GBP")]
HOLDINGS = [{"id": f"h{n}", "quantity": n, "stock": {"symbol": f"S{n}", "price": n + 0.5}} for n in range(5)]
MANY = 50


def response(body: object, status: str = "200 OK") -> bytes:
    """As an HTTP server sends it."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ndate: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def post(body: dict[str, object] | bytes, content_type: str = "application/json") -> bytes:
    """A client's request, whole."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.post(content, f"content-type: {content_type}", path="/graphql")


def user(number: int) -> dict[str, object]:
    """One of the users, as the first subgraph has them."""
    return {"__typename": "User", "id": f"u{number}", "name": f"User {number}", "email": None}


def entities(count: int, name: str, values: object) -> bytes:
    """So many users, each with these values."""
    return response({"data": {"_entities": [{name: values} for _ in range(count)]}})


CASES: dict[str, tuple[str, int, bool, Cost]] = {
    "one user": ("me", 1, False, Cost(6_050, 390)),
    "fifty users": ("users", MANY, False, Cost(10_200, 590)),
    "one user, and a subgraph that fails": ("me", 1, True, Cost(6_900, 460)),
    "fifty users, and a subgraph that fails": ("users", MANY, True, Cost(29_700, 1_800)),
}
"""By name: the root field, how many users, whether a subgraph fails, and what was measured, rounded up."""


@pytest.mark.skipif(sys.version_info[:2] != MEASURED_ON, reason="another Python executes other instructions")
@pytest.mark.parametrize("name", CASES)
async def test_a_request_costs_what_it_did(name: str) -> None:
    """Three fetches, two of them at the same time: the instructions and calls of the router's own code, when
    the plan has been executed often enough to be compiled."""
    root, count, fails, measured = CASES[name]
    users = [user(number) for number in range(count)]
    wallet = response({"errors": [{"message": "no"}]}, "500 No") if fails else entities(count, "balances", BALANCES)
    responses = {
        "/users": response({"data": {root: users if root == "users" else users[0]}}),
        "/wallet": wallet,
        "/stocks": entities(count, "holdings", HOLDINGS),
    }
    data, cost = await answered_often(SUBGRAPHS, responses, {"query": QUERY % root})
    expected = [each | {"balances": None if fails else BALANCES, "holdings": HOLDINGS} for each in users]
    for each in expected:
        del each["__typename"]
    assert data == {root: expected if root == "users" else expected[0]}
    assert cost.instructions <= measured.instructions
    assert cost.calls <= measured.calls


@pytest.mark.skipif(sys.version_info[:2] != MEASURED_ON, reason="another Python executes other instructions")
async def test_what_is_under_conditions_costs_what_it_does_without() -> None:
    """The same three fetches for fifty users, with all that can be left out under @include."""
    users = [user(number) for number in range(MANY)]
    responses = {
        "/users": response({"data": {"users": users}}),
        "/wallet": entities(MANY, "balances", BALANCES),
        "/stocks": entities(MANY, "holdings", HOLDINGS),
    }
    query = "query ($on: Boolean!) " + QUERY % "users"
    for name in ("email", "balances", "holdings"):
        query = query.replace(name, f"{name} @include(if: $on)")
    data, cost = await answered_often(SUBGRAPHS, responses, {"query": query, "variables": {"on": True}})
    assert data["users"][-1].keys() == {"id", "name", "email", "balances", "holdings"}
    assert cost.instructions <= 10_600
    assert cost.calls <= 630


FEED = {
    "/feed": """
        type Query { feed: [Item!]! }
        interface Item { title: String! }
        type Post implements Item { title: String!, body: String! }
        type Photo implements Item { title: String!, url: String!, width: Int! }
    """,
}


@pytest.mark.skipif(sys.version_info[:2] != MEASURED_ON, reason="another Python executes other instructions")
async def test_objects_that_differ_by_their_types_cost_what_they_did() -> None:
    """One fetch of fifty objects of two types, each with fields of its own."""
    post = {"__typename": "Post", "title": "t", "body": "b"}
    photo = {"__typename": "Photo", "title": "t", "url": "u", "width": 7}
    query = "{ feed { __typename title ... on Post { body } ... on Photo { url width } } }"
    items = [post, photo] * (MANY // 2)
    data, cost = await answered_often(FEED, {"/feed": response({"data": {"feed": items}})}, {"query": query})
    assert data == {"feed": items}
    assert cost.instructions <= 5_000
    assert cost.calls <= 235


async def answered_often(
    sdl_by_path: dict[str, str], responses: dict[str, bytes], body: dict[str, object]
) -> tuple[dict[str, Any], Cost]:
    """The data that a request brings when its plan has been executed often, and what that costs once more."""
    client, subgraphs = connect(sdl_by_path, responses)
    request = post(body)
    for _ in range(STRUCTS_AFTER + 10):
        answer = await client.ask(request)
    before = subgraphs.requests
    cost = await cost_of(lambda: client.ask(request))
    assert subgraphs.requests - before == 2 * len(responses)
    data: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
    return data, cost
