"""Every code of the wallet's catalogues: what causes it, and its status and code through the faces that can get it.

Deposits and withdrawals are asked over REST and as mutations; the codes of PUT /balance are for services, over REST
alone. The tables must name every code, so that a new one does not go without.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from subgraphs.shared.auth import ANONYMOUS, Caller, user_token
from subgraphs.shared.errors import COMMON_CODES
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.wallet.rules import BALANCE_MINOR_MAX, WALLET_CODES
from subgraphs.wallet.rules_operations import Commit, Credit
from subgraphs.wallet.service import WalletService
from tests.refusals import check_problem, check_refusal
from tests.wallet.conftest import STOCKS, USER_KEY, USERS, Client, bearer, broker, investor, new_id

EVERY = {code.code: code for code in (*COMMON_CODES, *WALLET_CODES)}
MOVE = """mutation($deposit: DepositInput!, $withdraw: WithdrawInput!, $in: Boolean!) {
  deposit(input: $deposit) @include(if: $in) { transaction { id } replayed errors { code message field } }
  withdraw(input: $withdraw) @skip(if: $in) { transaction { id } replayed errors { code message field } } }"""
LIST = """query($r: [_Any!]!, $after: String) { _entities(representations: $r) { ... on User {
  transactions(after: $after) { edges { cursor } } } } }"""

MOVES: list[tuple[str, dict[str, str]]] = [
    ("unauthenticated", {"caller": "nobody"}),
    ("invalid-token", {"caller": "forger"}),
    ("expired-token", {"caller": "late"}),
    ("forbidden", {"caller": "service"}),
    ("invalid-idempotency-key", {"key": ""}),
    ("idempotency-key-reused", {"key": "used"}),
    ("invalid-amount", {"amount": "0"}),
    ("invalid-amount", {"amount": "-1"}),
    ("invalid-amount", {"amount": "1.001"}),
    ("unknown-currency", {"currency": "XXY"}),
    ("insufficient-funds", {"type": "withdraw", "amount": "10.01"}),
    ("insufficient-funds", {"type": "withdraw", "currency": "EUR"}),
    ("balance-limit", {"caller": "rich"}),
]
"""Refused deposits (or withdrawals) of 1 USD by an investor who has 10, with what is different."""


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("code", "changes"), MOVES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(MOVES)])
async def test_a_refused_movement_has_its_status_and_code_through_both_faces(
    client: Client, wallet: WalletService, code: str, changes: Mapping[str, str]
) -> None:
    """The catalogue's status and code over REST, the same code in GraphQL's payload or errors, and a remedy."""
    alice = investor()
    await wallet.move(alice, "deposit", "USD", "10.00", key="used")
    headers = await authorization(wallet, alice, changes.get("caller", ""))
    given = {"currency": "USD", "amount": "1.00", **{name: changes[name] for name in changes.keys() & BODY}}
    kind, key = changes.get("type", "deposit"), changes.get("key", "fresh")
    rest, answer = await ask_both(client, headers, kind, key, given)
    check_refusal(EVERY[code], rest, answer)


BODY = {"currency", "amount"}


async def authorization(wallet: WalletService, alice: Caller, who: str) -> dict[str, str]:
    """The header of alice, or of somebody else who asks in her place."""
    if who == "rich":
        lifted = BALANCE_MINOR_MAX - 1_000
        await wallet.apply(STOCKS, Credit(new_id(), alice.id, "USD", lifted))
    if who == "late":
        return {"Authorization": f"Bearer {user_token(USER_KEY, alice.id, 'investor', now=time.time() - 3_600)}"}
    if who == "forger":
        return {"Authorization": "Bearer x.y.z"}
    return bearer({"nobody": ANONYMOUS, "service": STOCKS}.get(who, alice))


async def ask_both(
    client: Client, headers: Mapping[str, str], kind: str, key: str, given: Mapping[str, str]
) -> tuple[Any, Any]:
    """The same movement over REST and as a mutation."""
    body = {"type": kind, **given}
    rest = await client.http.post("/transactions", json=body, headers={**headers, "Idempotency-Key": key})
    return rest, await ask_graphql(client, headers, kind, key, given)


async def ask_graphql(client: Client, headers: Mapping[str, str], kind: str, key: str, given: Mapping[str, str]) -> Any:
    """A movement as a mutation, as the router asks it."""
    sent = {**given, "idempotencyKey": key}
    variables = {"deposit": sent, "withdraw": sent, "in": kind == "deposit"}
    secret = {**headers, "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
    return (await client.http.post("/graphql", json={"query": MOVE, "variables": variables}, headers=secret)).json()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_refused_reading_has_its_status_and_code_through_both_faces(
    client: Client, wallet: WalletService
) -> None:
    """Another's transaction or commitment, another list's cursor, a page that is too long."""
    alice = investor()
    missing = await client.send(alice, "GET", f"/transactions/{new_id()}")
    answer = await client.graphql(alice, "query($id: ID!) { transaction(id: $id) { id } }", id=new_id())
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
    mandate, eve = new_id(), investor()
    await wallet.move(eve, "deposit", "USD", "10.00", key=None)
    await wallet.apply(USERS, Commit(mandate, eve.id, broker().id, "USD", 1_000))
    for key in (mandate, new_id(), "x"):
        check_problem(EVERY["not-found"], await client.send(alice, "GET", f"/balance/commitments/{key}"))
    check_problem(EVERY["unauthenticated"], await client.send(ANONYMOUS, "GET", f"/balance/commitments/{mandate}"))
    check_problem(EVERY["forbidden"], await client.send(STOCKS, "GET", f"/balance/commitments/{mandate}"))
    asked = [{"__typename": "User", "id": alice.id}]
    for after in ("x", "WyJvcmRlcnMiLDFd"):
        refused = await client.send(alice, "GET", f"/transactions?after={after}")
        answer = await client.graphql(alice, LIST, r=asked, after=after)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid-cursor")
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_CURSOR"]
    for limit in (0, 101):
        refused = await client.send(alice, "GET", f"/transactions?limit={limit}")
        answer = await client.graphql(alice, LIST.replace("after: $after", f"after: $after, first: {limit}"), r=asked)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_REQUEST"]


# ---- PUT /balance ----

Operation = tuple[str, dict[str, str]]
"""An operation of PUT /balance: its name, and the members that differ from those of `send`."""
OPERATIONS: list[tuple[str, list[Operation], Operation]] = [
    ("insufficient-funds", [], ("hold", {"amount": "10.01"})),
    ("insufficient-funds", [], ("commit", {"amount": "10.01"})),
    ("insufficient-funds", [], ("hold", {"authorizationId": "mandate"})),
    ("hold-missing", [], ("post", {})),
    ("hold-voided", [("void", {})], ("hold", {})),
    ("hold-voided", [("hold", {}), ("void", {})], ("post", {})),
    ("hold-posted", [("hold", {}), ("post", {})], ("void", {})),
    ("hold-exceeded", [("hold", {})], ("post", {"cost": "1.01"})),
    ("fees-exceed-proceeds", [], ("credit", {"fee": "1.01"})),
    ("commitment-closed", [("close", {})], ("commit", {})),
    ("commitment-closed", [("commit", {}), ("close", {})], ("hold", {"authorizationId": "mandate"})),
    ("commitment-exists", [("credit", {"authorizationId": "mandate", "brokerId": "bob"})], ("commit", {})),
    ("account-mismatch", [("commit", {})], ("close", {"brokerId": "order"})),
    ("operation-reused", [("hold", {})], ("hold", {"amount": "2.00"})),
    ("operation-forbidden", [], ("hold", {"as": "users"})),
    ("operation-forbidden", [], ("commit", {"as": "stocks"})),
    ("forbidden", [], ("hold", {"as": "alice"})),
    ("unauthenticated", [], ("hold", {"as": "nobody"})),
    ("invalid-request", [], ("steal", {})),
    ("invalid-amount", [], ("hold", {"amount": "0"})),
    ("invalid-amount", [], ("commit", {"amount": "0.001"})),
    ("unknown-currency", [], ("void", {"currency": "XXY"})),
]
"""What an order or a mandate of alice's, who has 10 USD, went through, and the operation that is refused then."""


@pytest.mark.parametrize(
    ("code", "before", "refused"),
    OPERATIONS,
    ids=[f"{code}-{number}" for number, (code, _, _) in enumerate(OPERATIONS)],
)
async def test_a_refused_operation_has_its_status_and_code(
    client: Client, wallet: WalletService, code: str, before: list[Operation], refused: Operation
) -> None:
    """The catalogue's status and code, the first time and when it is repeated; the balance stays as it was."""
    alice = investor()
    ids = {"alice": alice.id, "bob": broker().id, "order": new_id(), "mandate": new_id()}
    await wallet.move(alice, "deposit", "USD", "10.00", key=None)
    for operation in before:
        answer = await send(client, alice, ids, operation)
        assert answer.status_code == 200, answer.text
    balance = await wallet.balances(alice)
    for _ in range(2):
        answer = await send(client, alice, ids, refused)
        check_problem(EVERY[code], answer)
        assert await wallet.balances(alice) == balance


async def send(client: Client, alice: Caller, ids: Mapping[str, str], operation: Operation) -> Any:
    """Sends an operation over 1 USD as the service that may, unless its members say otherwise."""
    op, changes = operation
    of_mandate = op in ("commit", "close")
    amounts = {"hold": "amount", "commit": "amount", "post": "cost", "credit": "proceeds"}
    body = {"op": op, "id": ids["mandate" if of_mandate else "order"], "investorId": alice.id, "currency": "USD"}
    if of_mandate:
        body["brokerId"] = ids["bob"]
    if op in amounts:
        body[amounts[op]] = "1.00"
    body |= {name: ids.get(value, value) for name, value in changes.items() if name != "as"}
    senders = {"stocks": STOCKS, "users": USERS, "alice": alice, "nobody": ANONYMOUS}
    return await client.send(
        senders[changes.get("as", "users" if of_mandate else "stocks")], "PUT", "/balance", json=body
    )


ELSEWHERE = {
    "request-timeout": "of the connection: tests/system/test_framing",
    "url-too-long": "of the connection: tests/system/test_framing",
    "headers-too-large": "of the connection: tests/system/test_framing",
    "malformed-request": "of a body: test_routes",
    "method-not-allowed": "of REST alone: tests/users",
    "precondition-failed": "nothing here has a version",
    "body-too-large": "of a body: test_routes",
    "unsupported-media-type": "of a body: test_routes",
    "result-too-large": "of statements: test_statements",
    "invalid-quantity": "no shares here",
    "invalid-price": "no prices here",
    "too-many-requests": "only logins and registrations are counted: tests/users",
    "internal-error": "our own fault: tests/users",
    "unavailable": "the wallet asks no other service; its own database away: tests/users",
}
"""Codes of the shared catalogue that no request of a client to this service is refused with."""
READING = {"not-found", "invalid-cursor"}


def test_the_tables_name_every_code() -> None:
    """A code is caused here, or it is said where and why not."""
    caused = {code for code, _ in MOVES} | {code for code, _, _ in OPERATIONS} | READING
    assert caused | set(ELSEWHERE) == set(EVERY)


async def test_concurrent_duplicates_through_both_faces_have_one_effect(client: Client, wallet: WalletService) -> None:
    """Eight equal deposits at once, half of them by GraphQL: one effect, and one answer that is no repetition."""
    alice, given = investor(), {"currency": "USD", "amount": "1.00"}
    pairs = await asyncio.gather(*(ask_both(client, bearer(alice), "deposit", "k", given) for _ in range(4)))
    ids = {rest.json()["id"] for rest, _ in pairs}
    payloads = [answer["data"]["deposit"] for _, answer in pairs]
    assert ids == {payload["transaction"]["id"] for payload in payloads}
    repeated = [rest.headers.get("idempotent-replayed") == "true" for rest, _ in pairs]
    repeated += [payload["replayed"] for payload in payloads]
    assert (len(ids), sorted(repeated)) == (1, [False] + [True] * 7)
    assert (await wallet.balance(alice, "USD")).total == 100
