"""A request to move money has one answer, yes or no, on both faces and for good."""

import asyncio
from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from tests.wallet.conftest import Client, investor

WITHDRAW = (
    "mutation($i: WithdrawInput!) { withdraw(input: $i) { transaction { id } replayed errors { code message } } }"
)
MOVEMENT: dict[str, Any] = {"currency": "USD", "amount": "5.00"}


async def deposit(client: Client, caller: Caller, amount: str) -> None:
    """Money comes in under a key of its own."""
    body = {"type": "deposit", "currency": "USD", "amount": amount}
    assert (await client.send(caller, "POST", "/transactions", json=body)).status_code == 201


async def test_a_refused_withdrawal_stays_refused(client: Client) -> None:
    """Sent again after a deposit it moves nothing, and says so in the same words on either face."""
    alice, headers, body = investor(), {"Idempotency-Key": "k"}, {"type": "withdraw", **MOVEMENT}
    first = await client.send(alice, "POST", "/transactions", json=body, headers=headers)
    assert (first.status_code, first.headers["Idempotency-Key"]) == (422, "k")
    assert "Idempotent-Replayed" not in first.headers
    await deposit(client, alice, "100.00")
    again = await client.send(alice, "POST", "/transactions", json=body, headers=headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (422, "true")
    assert {**again.json(), "requestId": ""} == {**first.json(), "requestId": ""}
    answer = await client.graphql(alice, WITHDRAW, i={**MOVEMENT, "idempotencyKey": "k"})
    detail = first.json()["detail"]
    refused = {"code": "INSUFFICIENT_FUNDS", "message": detail}
    assert answer["data"]["withdraw"] == {"transaction": None, "replayed": True, "errors": [refused]}
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["available"] == "100.00"


async def test_a_refused_mutation_stays_refused(client: Client) -> None:
    """The other way round: first as a mutation, then over REST."""
    alice, given = investor(), {**MOVEMENT, "idempotencyKey": "k"}
    first = (await client.graphql(alice, WITHDRAW, i=given))["data"]["withdraw"]
    assert (first["replayed"], [error["code"] for error in first["errors"]]) == (False, ["INSUFFICIENT_FUNDS"])
    await deposit(client, alice, "100.00")
    headers = {"Idempotency-Key": "k"}
    again = await client.send(alice, "POST", "/transactions", json={"type": "withdraw", **MOVEMENT}, headers=headers)
    assert (again.status_code, again.json()["code"]) == (422, "insufficient-funds")


async def test_another_request_under_a_refused_key_is_refused(client: Client) -> None:
    """A refusal takes its key as an acceptance does; without a key nothing is kept."""
    alice, headers, body = investor(), {"Idempotency-Key": "k"}, {"type": "withdraw", **MOVEMENT}
    await client.send(alice, "POST", "/transactions", json=body, headers=headers)
    await deposit(client, alice, "100.00")
    other = {**body, "amount": "4.00"}
    reused = await client.send(alice, "POST", "/transactions", json=other, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency-key-reused")
    assert (await client.send(alice, "POST", "/transactions", json=body)).status_code == 201


@pytest.mark.parametrize("amount", ["5.00", "50.00"])
async def test_many_at_once_get_one_answer(client: Client, amount: str) -> None:
    """Withdrawals under one key race with a deposit that makes the difference: all are told the same, once final."""
    alice = investor()
    body = {"type": "withdraw", "currency": "USD", "amount": amount}

    async def withdraw() -> tuple[int, str]:
        response = await client.send(alice, "POST", "/transactions", json=body, headers={"Idempotency-Key": "k"})
        return response.status_code, response.json().get("id", response.json().get("code"))

    *answers, _ = await asyncio.gather(*(withdraw() for _ in range(6)), deposit(client, alice, "20.00"))
    assert len({*answers, await withdraw()}) == 1
