"""The README's worked example through the router: an investor authorizes a broker, who buys; then she revokes.

Each answer joins the services that own its parts: users the mandate, wallet the money that remains of it, stocks the
order and the shares that remain.
"""

import uuid
from typing import Any

import httpx
import pytest

from tests.system.brokerages import Brokerage

PASSWORD = "a-long-password"
REGISTER = """mutation($input: RegisterInput!) {
  register(input: $input) { user { id } replayed errors { code } } }"""
LOGIN = "mutation($input: LoginInput!) { login(input: $input) { session { accessToken } errors { code } } }"
DEPOSIT = """mutation($input: DepositInput!) {
  deposit(input: $input) { transaction { amount } replayed errors { code } } }"""
AUTHORIZE = """mutation($input: CreateAuthorizationInput!) { createAuthorization(input: $input) {
  authorization { id status broker { name } remainingCapital { currency amount } remainingQuantity }
  replayed errors { code message field } } }"""
PLACE = """mutation($input: PlaceOrderInput!) { placeOrder(input: $input) {
  order { id status cost investor { id name } placedBy { id name registeredAt }
    authorization { id type remainingCapital { amount } }
    rollover { id type status remainingQuantity stock { symbol } stockholding { id } } }
  replayed errors { code message field } } }"""
COMMIT = """mutation($input: SetCommitmentInput!) { setCommitment(input: $input) {
  stockholding { committedAmount freeQuantity } errors { code } } }"""
REVOKE = """mutation($input: RevokeAuthorizationInput!) { revokeAuthorization(input: $input) {
  authorization { status remainingCapital { amount } } errors { code } } }"""
CANCEL = "mutation($input: CancelOrderInput!) { cancelOrder(input: $input) { order { status } errors { code } } }"
MINE = """{ me { balances { currency available committed held } orders(status: COMPLETED) { edges { node { id } } }
  authorizations { edges { node { id type status parentId remainingCapital { amount } remainingQuantity
    stock { symbol } stockholding { id } } } } } }"""


def ask(brokerage: Brokerage, query: str, token: str = "", **given: object) -> Any:
    """The payload of a mutation with that input; it has no top-level error."""
    answer = brokerage.ask(query, token, variables={"input": given})
    assert "errors" not in answer, answer
    (payload,) = answer["data"].values()
    return payload


@pytest.fixture
def alma(brokerage: Brokerage) -> str:
    """The token of a new investor with 5,000 USD, come in through the router alone."""
    email = f"{uuid.uuid4()}@example.com"

    person = {"name": "Alma", "email": email, "password": PASSWORD, "type": "INVESTOR", "idempotencyKey": email}
    first, again = ask(brokerage, REGISTER, **person), ask(brokerage, REGISTER, **person)
    assert (first["replayed"], again) == (False, {**first, "replayed": True})
    token: str = ask(brokerage, LOGIN, email=email, password=PASSWORD)["session"]["accessToken"]
    ask(brokerage, DEPOSIT, token, currency="USD", amount="5000.00", idempotencyKey="money")
    return token


def test_a_mandate_from_its_beginning_to_its_end(brokerage: Brokerage, alma: str) -> None:
    """Authorized, used, rolled over, cut back and revoked: each answer is right across the services."""
    carol = brokerage.fresh_token("carol")
    broker = brokerage.ask("{ me { id } }", carol)["data"]["me"]["id"]
    stock = brokerage.ask('{ stock(symbol: "CIRR") { id } }')["data"]["stock"]["id"]

    terms = {"type": "CAPITAL", "brokerId": broker, "currency": "USD", "amount": "1000", "idempotencyKey": "mandate"}
    granted = ask(brokerage, AUTHORIZE, alma, **terms)
    mandate = granted["authorization"]["id"]
    assert granted == {
        "authorization": {
            "id": mandate,
            "status": "ACTIVE",
            "broker": {"name": "Carol"},
            "remainingCapital": {"currency": "USD", "amount": "1000.00"},
            "remainingQuantity": None,
        },
        "replayed": False,
        "errors": [],
    }
    assert ask(brokerage, AUTHORIZE, alma, **terms) == {**granted, "replayed": True}

    buying = {"stockId": stock, "side": "BUY", "quantity": "5", "authorizationId": mandate, "idempotencyKey": "order"}
    placed = ask(brokerage, PLACE, carol, **buying)
    assert (placed["replayed"], placed["errors"]) == (False, [])
    order, child = placed["order"], placed["order"]["rollover"]
    assert (order["status"], order["investor"]["name"], order["placedBy"]["name"]) == ("COMPLETED", "Alma", "Carol")
    over_rest = httpx.get(
        f"{brokerage.urls['stocks']}/orders/{order['id']}", headers={"authorization": f"Bearer {alma}"}
    ).json()
    shown = (over_rest["placedBy"], over_rest["placedByRegisteredAt"])
    assert shown == (order["placedBy"]["id"], order["placedBy"]["registeredAt"])
    remaining = float(order["authorization"]["remainingCapital"]["amount"])
    assert remaining == pytest.approx(1000 - float(order["cost"]) * 1.015, abs=0.02)
    expected = {"type": "STOCKHOLDING", "status": "ACTIVE", "remainingQuantity": "5", "stock": {"symbol": "CIRR"}}
    assert {**child, "id": "", "stockholding": ""} == {**expected, "id": "", "stockholding": ""}
    assert child["stockholding"] is None  # whose holding it is stays the investor's
    assert ask(brokerage, PLACE, carol, **buying) == {**placed, "replayed": True}

    mine = brokerage.ask(MINE, alma)["data"]["me"]
    listed = {edge["node"]["id"]: edge["node"] for edge in mine["authorizations"]["edges"]}
    assert (listed[child["id"]]["parentId"], listed[mandate]["parentId"]) == (mandate, None)
    assert [edge["node"]["id"] for edge in mine["orders"]["edges"]] == [order["id"]]
    holding = listed[child["id"]]["stockholding"]["id"]
    kept = ask(brokerage, COMMIT, alma, stockholdingId=holding, authorizationId=child["id"], committedAmount="2")
    assert kept == {"stockholding": {"committedAmount": "2", "freeQuantity": "3"}, "errors": []}
    selling = {"stockId": stock, "side": "SELL", "quantity": "3", "authorizationId": child["id"]}
    short = ask(brokerage, PLACE, carol, **selling, idempotencyKey="too many")
    assert [error["code"] for error in short["errors"]] == ["INSUFFICIENT_SHARES"]
    assert short["order"]["status"] == "REJECTED"

    refused = ask(brokerage, REVOKE, carol, id=mandate)
    assert refused == {"authorization": None, "errors": [{"code": "NOT_THE_INVESTOR"}]}
    revoked = ask(brokerage, REVOKE, alma, id=child["id"])
    assert (revoked["authorization"]["status"], revoked["errors"]) == ("REVOKED", [])
    late = ask(brokerage, PLACE, carol, **{**buying, "idempotencyKey": "late"})
    assert (late["order"], [error["code"] for error in late["errors"]]) == (None, ["AUTHORIZATION_INACTIVE"])
    mine = brokerage.ask(MINE, alma)["data"]["me"]
    assert {node["status"] for node in (edge["node"] for edge in mine["authorizations"]["edges"])} == {"REVOKED"}
    (dollars,) = mine["balances"]
    assert (dollars["committed"], dollars["held"]) == ("0.00", "0.00")
    assert float(dollars["available"]) == pytest.approx(4000 + remaining)


def test_an_order_of_ones_own_is_placed_and_cancelled(brokerage: Brokerage, alma: str) -> None:
    """A limit far from the market waits, holds its money, and gives it back."""
    stock = brokerage.ask('{ stock(symbol: "CIRR") { id } }')["data"]["stock"]["id"]
    limit = {"stockId": stock, "side": "BUY", "type": "LIMIT", "limitPrice": "1", "quantity": "10"}
    placed = ask(brokerage, PLACE, alma, **limit, idempotencyKey="limit")["order"]
    assert placed["status"] == "WORKING"
    assert brokerage.ask(MINE, alma)["data"]["me"]["balances"][0]["held"] == "11.00"
    cancelled = ask(brokerage, CANCEL, alma, id=placed["id"])
    assert cancelled == {"order": {"status": "CANCELLED"}, "errors": []}
    assert brokerage.ask(MINE, alma)["data"]["me"]["balances"][0]["available"] == "5000.00"
    again = ask(brokerage, PLACE, alma, **{**limit, "quantity": "11"}, idempotencyKey="limit")
    assert [error["code"] for error in again["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]


def test_without_a_token_nothing_is_changed(brokerage: Brokerage) -> None:
    """A mutation of each service is null, with its path and a top-level code."""
    for query, field, given in (
        (AUTHORIZE, "createAuthorization", {"type": "CAPITAL", "brokerId": "x", "amount": "1"}),
        (PLACE, "placeOrder", {"stockId": "x", "side": "BUY", "quantity": "1"}),
        (DEPOSIT, "deposit", {"currency": "USD", "amount": "1"}),
    ):
        answer = brokerage.ask(query, variables={"input": {**given, "idempotencyKey": "k"}})
        assert answer["data"] == {field: None}
        assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
            ([field], "UNAUTHENTICATED")
        ]
