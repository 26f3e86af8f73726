"""Whatever a member of a request is replaced by, no service takes it for its own fault: no 5xx, no INTERNAL_ERROR.

The three services are asked with every member of every body, and every field of every mutation's input, replaced in
turn by what no client of ours sends.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from tests.stocks.conftest import ALBA, STOCKS, USERS, Desk
from tests.stocks.test_broker_orders import authorize, over_shares, parties

VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    2**63,
    10**400,
    "",
    "a\0b",
    "9" * 5_000,
    "\uff11\uff12",
    "\U0001f642" * 30,
    "../users",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    [],
    {"a": 1},
)
RAW = (b'"\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800"', b"NaN", b"1e999")
"""What JSON libraries read and RFC 8259 does not know, as long as a password has to be."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What requests name: alice with shares, mandates and an order, and her broker."""

    desk: Desk
    alice: Caller
    bob: Caller
    holding: str
    shares: str
    capital: str
    order: str


@pytest.fixture
async def scene(desk: Desk) -> Scene:
    """The three services with something of everything in them."""
    alice, bob = await parties(desk)
    holding = (await desk.bought(alice, "10"))["id"]
    capital, shares = await authorize(desk, alice, bob), await over_shares(desk, alice, bob, "4")
    order = (await desk.place(alice, type="limit", limitPrice="1")).json()["id"]
    return Scene(desk, alice, bob, holding, shares["id"], capital["id"], order)


Request = tuple[str, str, str, Caller | None, Mapping[str, object]]


def requests(scene: Scene) -> Iterator[Request]:
    """Every route with a body: service, method, path, caller and a body that fits."""
    alice, bob, new = scene.alice, scene.bob, str(uuid.uuid4())
    person = {"name": "A", "email": "a@example.com", "password": "a-long-password", "type": "investor"}
    window = {"startsAt": "2028-01-01T00:00:00Z", "endsAt": "2029-01-01T00:00:00Z"}
    money = {"type": "capital", "brokerId": bob.id, "currency": "EUR", "amount": "1", **window}
    stocks = {"type": "stockholding", "brokerId": bob.id, "stockholdingId": scene.holding, "amount": "0.001"}
    rollover = {"orderId": new, "authorizationId": scene.capital, "type": "capital", "currency": "EUR", "amount": "1"}
    hold = {"op": "hold", "id": new, "investorId": alice.id, "currency": "EUR", "amount": "1"}
    commit = {**hold, "op": "commit", "brokerId": bob.id}
    opening = {"op": "open", "authorizationId": new, "investorId": alice.id, "brokerId": bob.id, "amount": "0.1"}
    limit = {"type": "stop_limit", "timeInForce": "gtd", "limitPrice": "1", "stopPrice": "100"}
    order = {"stockId": ALBA, "side": "buy", "quantity": "1", **limit, "expiresAt": "2027-02-01T00:00:00Z"}
    passwords = {"currentPassword": "not my password", "newPassword": "another password"}
    yield "users", "POST", "/users/register", None, person
    yield "users", "POST", "/users/login", None, {"email": "a@example.com", "password": "a-long-password"}
    yield "users", "POST", "/users/refresh", None, {"refreshToken": "x"}
    yield "users", "PUT", f"/users/{alice.id}", alice, {"name": "A", "email": "b@example.com", **passwords}
    yield "users", "POST", "/authorizations", alice, money
    yield "users", "POST", "/authorizations", alice, stocks
    yield "users", "POST", "/authorizations", STOCKS, rollover
    yield "wallet", "POST", "/transactions", alice, {"type": "deposit", "currency": "EUR", "amount": "1"}
    yield "wallet", "PUT", "/balance", STOCKS, hold
    yield "wallet", "PUT", "/balance", USERS, commit
    holding = f"/stockholdings/{scene.holding}"
    yield "stocks", "PUT", holding, alice, {"authorizationId": scene.shares, "commitedAmount": "3"}
    yield "stocks", "PUT", holding, USERS, opening
    yield "stocks", "POST", "/orders", alice, {**order, "clientOrderId": "x"}
    yield "stocks", "POST", "/orders", bob, {**order, "authorizationId": scene.capital}
    yield "stocks", "PUT", f"/orders/{scene.order}", alice, {"status": "cancelled"}


async def test_no_body_is_a_fault_of_a_service(scene: Scene) -> None:
    """Every member of every body is replaced: an answer or a refusal, over REST."""
    desk, faults = scene.desk, []
    for service, method, path, caller, body in requests(scene):
        for name in (*body, "surprise"):
            contents = [json.dumps({**body, name: value}).encode() for value in VALUES]
            contents += [json.dumps({**body, name: "@"}).encode().replace(b'"@"', raw) for raw in RAW]
            for content in contents:
                headers = {**desk.bearer(caller, service), "content-type": "application/json"}
                answer = await desk.http[service].request(method, path, content=content, headers=headers)
                if answer.status_code >= 500:
                    faults.append((service, method, path, content[:200]))
    assert faults == []
    await desk.check_books()


Mutation = tuple[str, Caller, str, str, dict[str, object]]


def mutations(scene: Scene) -> Iterator[Mutation]:
    """Every mutation with an input: service, caller, field, what is selected, and an input that fits."""
    alice, bob = scene.alice, scene.bob
    person = {"name": "A", "email": "a@example.com", "password": "a-long-password", "type": "INVESTOR"}
    window = {"startsAt": "2028-01-01T00:00:00Z", "endsAt": "2029-01-01T00:00:00Z"}
    mandate = {"type": "CAPITAL", "brokerId": bob.id, "currency": "EUR", "amount": "1", **window}
    limit = {"type": "STOP_LIMIT", "timeInForce": "GTD", "limitPrice": "1", "stopPrice": "100", "clientOrderId": "x"}
    order = {"stockId": ALBA, "side": "BUY", "quantity": "1", **limit, "expiresAt": "2027-02-01T00:00:00Z"}
    new = {"stockholdingId": scene.holding, "authorizationId": scene.shares, "committedAmount": "3"}
    key = {"idempotencyKey": "k"}
    yield "users", alice, "register", "user { id email registeredAt }", {**person, **key}
    yield "users", alice, "updateProfile", "user { name version }", {"name": "A", "email": "b@example.com"}
    yield "users", alice, "createAuthorization", "authorization { startsAt endsAt amount }", {**mandate, **key}
    yield "users", alice, "revokeAuthorization", "authorization { status }", {"id": scene.order, "cascade": True}
    yield "wallet", alice, "deposit", "transaction { amount }", {"currency": "EUR", "amount": "1", **key}
    yield "wallet", alice, "withdraw", "transaction { amount }", {"currency": "EUR", "amount": "1", **key}
    yield "stocks", alice, "placeOrder", "order { status expiresAt }", {**order, **key}
    yield "stocks", bob, "placeOrder", "order { status }", {**order, "authorizationId": scene.capital, **key}
    yield "stocks", alice, "cancelOrder", "order { status }", {"id": scene.order}
    yield "stocks", alice, "setCommitment", "stockholding { version }", {**new, "expectedVersion": 1}


async def test_no_input_of_a_mutation_is_a_fault_of_a_service(scene: Scene) -> None:
    """Every field of every input is replaced: a payload, or an error that says whose fault it is."""
    faults = []
    for service, caller, field, selection, given in mutations(scene):
        kind = f"{field[0].upper()}{field[1:]}Input"
        query = f"mutation($input: {kind}!) {{ {field}(input: $input) {{ {selection} errors {{ code message }} }} }}"
        for name in given:
            for value in VALUES:
                fresh = {"idempotencyKey": str(uuid.uuid4())} if "idempotencyKey" in given else {}
                changed = {**given, **fresh, name: value}
                codes = await refusals(scene.desk, service, caller, query, {"input": changed})
                if codes & {"INTERNAL_ERROR", "UNAVAILABLE", None}:
                    faults.append((field, name, str(value)[:60], codes))
    assert faults == []
    await scene.desk.check_books()


KEYS: tuple[object, ...] = ("", "a\0b", 7, None, "x" * 5_000, [], ALBA)


async def test_no_representation_is_a_fault_of_a_service(scene: Scene) -> None:
    """Every entity of every service is asked by every kind of key, good and bad ones together."""
    fields = {"users": ("User", "Authorization"), "wallet": ("User", "Authorization", "Transaction")}
    fields["stocks"] = ("User", "Authorization", "Stock", "StockHolding", "Order")
    for service, names in fields.items():
        for name in names:
            query = f"query($r: [_Any!]!) {{ _entities(representations: $r) {{ ... on {name} {{ id }} }} }}"
            asked = [{"__typename": name, "id": key} for key in KEYS]
            codes = await refusals(scene.desk, service, scene.alice, query, {"r": asked})
            assert not codes & {"INTERNAL_ERROR", "UNAVAILABLE", None}, (service, name, codes)


async def refusals(
    desk: Desk, service: str, caller: Caller, query: str, variables: Mapping[str, Any]
) -> set[str | None]:
    """The codes of the top-level errors that a request gets; None for one without a code, or for no answer at all."""
    headers = {**desk.bearer(caller, service), "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
    content = json.dumps({"query": query, "variables": variables})
    headers["content-type"] = "application/json"
    answer = await desk.http[service].post("/graphql", content=content, headers=headers)
    if answer.status_code >= 500:
        return {None}
    return {error["extensions"].get("code") for error in answer.json().get("errors", [])}
