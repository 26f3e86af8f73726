"""The REST face as documented: /balance and /transactions, and PUT /balance for services alone."""

import asyncio
import time
from typing import Any

import pytest
from fastapi import FastAPI

from subgraphs.shared.auth import ANONYMOUS, Caller, user_token
from subgraphs.shared.keys import development_key
from tests.wallet.conftest import STOCKS, USER_KEY, USERS, Client, bearer, broker, investor, new_id

no_matter_which_database = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""For what is refused before any statement runs."""

DEPOSIT = {"type": "deposit", "currency": "USD", "amount": "100.00"}


async def test_a_deposit_shows_in_the_balance_and_in_the_list(client: Client) -> None:
    """A deposit is created with its location, raises the balance, and stands first in the list."""
    alice = investor()
    created = await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    assert created.status_code == 201
    body = created.json()
    assert created.headers["Location"] == f"/transactions/{body['id']}"
    assert created.headers["Idempotency-Key"]
    assert "Idempotent-Replayed" not in created.headers
    assert {**body, "id": "", "createdAt": ""} == {
        "id": "",
        "type": "deposit",
        "kind": "deposit",
        "direction": "in",
        "currency": "USD",
        "amount": "100.00",
        "orderId": None,
        "authorizationId": None,
        "createdAt": "",
    }
    assert (await client.send(alice, "GET", created.headers["Location"])).json() == body
    assert (await client.send(alice, "GET", "/transactions")).json() == {"items": [body], "nextCursor": None}
    balance = {"currency": "USD", "available": "100.00", "committed": "0.00", "held": "0.00", "total": "100.00"}
    assert (await client.send(alice, "GET", "/balance")).json() == {"balances": [balance]}


async def test_what_remains_of_a_mandate_is_read_at_the_wallet(client: Client) -> None:
    """Investor and broker read the same: what was set aside, less what orders hold, and after the end nothing."""
    alice, bob, mandate = investor(), broker(), new_id()
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    parties = {"investorId": alice.id, "currency": "USD"}
    given = {**parties, "id": mandate, "brokerId": bob.id}
    hold = {**parties, "op": "hold", "id": new_id(), "amount": "12.34", "authorizationId": mandate}
    steps = (
        (USERS, {**given, "op": "commit", "amount": "80.00"}, "80.00", "open"),
        (STOCKS, hold, "67.66", "open"),
        (USERS, {**given, "op": "close"}, "0.00", "closed"),
    )
    for service, operation, remaining, status in steps:
        assert (await client.send(service, "PUT", "/balance", json=operation)).status_code == 200
        for party in (alice, bob):
            shown = await client.send(party, "GET", f"/balance/commitments/{mandate}")
            expected = {"authorizationId": mandate, "currency": "USD", "remaining": remaining, "status": status}
            assert (shown.status_code, shown.json()) == (200, expected)


@no_matter_which_database
async def test_a_list_is_filtered_by_type_as_by_kind(client: Client) -> None:
    """The word that a transaction is created with filters the list, too; two words that differ are refused."""
    alice = investor()
    for type in ("deposit", "withdraw"):
        await client.send(alice, "POST", "/transactions", json={**DEPOSIT, "type": type})
    for query in ("type=withdraw", "kind=withdraw", "type=withdraw&kind=withdraw"):
        items = (await client.send(alice, "GET", f"/transactions?{query}")).json()["items"]
        assert [item["type"] for item in items] == ["withdraw"]
    for query in ("type=withdraw&kind=fee", "type=fee"):
        refused = await client.send(alice, "GET", f"/transactions?{query}")
        assert (refused.status_code, [error["field"] for error in refused.json()["errors"]]) == (422, ["type"])


async def test_each_currency_has_its_own_decimals(client: Client) -> None:
    """Yen have none, dinars three; more than the currency has is refused and not rounded."""
    alice = investor()
    for currency, amount, shown in (("JPY", "5", "5"), ("KWD", "1.5", "1.500"), ("EUR", "0.1", "0.10")):
        json = {"type": "deposit", "currency": currency, "amount": amount}
        assert (await client.send(alice, "POST", "/transactions", json=json)).json()["amount"] == shown
    balances = (await client.send(alice, "GET", "/balance")).json()["balances"]
    assert [(balance["currency"], balance["total"]) for balance in balances] == [
        ("EUR", "0.10"),
        ("JPY", "5"),
        ("KWD", "1.500"),
    ]


async def test_a_repeated_post_has_one_effect(client: Client) -> None:
    """The same key and body answers the stored transaction and says so; another body is refused."""
    alice, key = investor(), {"Idempotency-Key": "monday"}
    first = await client.send(alice, "POST", "/transactions", json=DEPOSIT, headers=key)
    again = await client.send(alice, "POST", "/transactions", json={**DEPOSIT, "amount": "100"}, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Idempotency-Key"] == "monday"
    other = await client.send(alice, "POST", "/transactions", json={**DEPOSIT, "amount": "101"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    bob = await client.send(investor(), "POST", "/transactions", json=DEPOSIT, headers=key)
    assert bob.json()["id"] != first.json()["id"]
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["total"] == "100.00"


async def test_concurrent_duplicates_have_one_effect(client: Client) -> None:
    """Ten simultaneous requests with one key make one deposit, and all of them tell the same one."""
    alice, key = investor(), {"Idempotency-Key": "once"}
    requests = [client.send(alice, "POST", "/transactions", json=DEPOSIT, headers=key) for _ in range(10)]
    answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 9
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["total"] == "100.00"


async def test_a_withdrawal_takes_what_is_available_and_no_more(client: Client) -> None:
    """A withdrawal above what is available is refused, and another one is carried out once there is enough."""
    alice, key = investor(), {"Idempotency-Key": "rent"}
    withdrawal = {"type": "withdraw", "currency": "USD", "amount": "150.00"}
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    short = await client.send(alice, "POST", "/transactions", json=withdrawal, headers=key)
    assert (short.status_code, short.json()["code"]) == (422, "insufficient-funds")
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    done = await client.send(alice, "POST", "/transactions", json=withdrawal)
    assert (done.status_code, done.json()["direction"]) == (201, "out")
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["available"] == "50.00"


async def test_concurrent_withdrawals_never_overdraw(client: Client) -> None:
    """Of ten simultaneous withdrawals of a third each, three succeed."""
    alice = investor()
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    withdrawal = {"type": "withdraw", "currency": "USD", "amount": "33.33"}
    answers = await asyncio.gather(*(client.send(alice, "POST", "/transactions", json=withdrawal) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [422] * 7
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["total"] == "0.01"


async def test_the_list_is_read_page_by_page(client: Client) -> None:
    """Pages follow one another by cursor or Link, newest first, each line once; `kind` narrows them."""
    alice = investor()
    for cents in range(1, 6):
        json = {"type": "deposit", "currency": "USD", "amount": f"0.0{cents}"}
        await client.send(alice, "POST", "/transactions", json=json)
    withdrawal = {"type": "withdraw", "currency": "USD", "amount": "0.01"}
    await client.send(alice, "POST", "/transactions", json=withdrawal)
    first = await client.send(alice, "GET", "/transactions?limit=2&kind=deposit")
    amounts, path = [], "/transactions?limit=2&kind=deposit"
    for _ in range(3):
        page = await client.send(alice, "GET", path)
        amounts += [item["amount"] for item in page.json()["items"]]
        link = page.headers.get("Link")
        path = link[1 : link.index(">")] if link else ""
    assert amounts == ["0.05", "0.04", "0.03", "0.02", "0.01"]
    assert path == ""
    after = f"/transactions?limit=100&after={first.json()['nextCursor']}"
    assert [item["amount"] for item in (await client.send(alice, "GET", after)).json()["items"]] == [
        "0.03",
        "0.02",
        "0.01",
    ]


@no_matter_which_database
@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "kind=bribe", "after=%00", "after=WyJ4Il0"])
async def test_a_bad_list_request_is_refused(client: Client, query: str) -> None:
    """Limits, kinds and cursors that no list ever gave are refused."""
    answer = await client.send(investor(), "GET", f"/transactions?{query}")
    assert (answer.status_code, answer.json()["code"]) in ((422, "invalid-request"), (400, "invalid-cursor"))


async def test_another_users_transaction_is_not_found(client: Client) -> None:
    """Another user's transaction answers exactly what a missing one does."""
    alice, mallory = investor(), investor()
    created = (await client.send(alice, "POST", "/transactions", json=DEPOSIT)).json()
    answers = [
        await client.send(mallory, "GET", f"/transactions/{transaction}")
        for transaction in (created["id"], new_id(), "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text.replace(answer.json()["requestId"], "") for answer in answers}) == 1
    assert (await client.send(mallory, "GET", "/transactions")).json()["items"] == []
    assert (await client.send(mallory, "GET", "/balance")).json() == {"balances": []}


@no_matter_which_database
@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({**DEPOSIT, "amount": "0"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "0.00"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "-1"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "1.001"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "1e3"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "NaN"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": " 1"}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": ""}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": "1" * 19}, 422, "invalid-amount", "amount"),
        ({**DEPOSIT, "amount": 100}, 422, "invalid-request", "amount"),
        ({**DEPOSIT, "amount": None}, 422, "invalid-request", "amount"),
        ({**DEPOSIT, "currency": "usd"}, 422, "unknown-currency", "currency"),
        ({**DEPOSIT, "currency": "ZZZ"}, 422, "unknown-currency", "currency"),
        ({**DEPOSIT, "type": "trade"}, 422, "invalid-request", "type"),
        ({**DEPOSIT, "userId": "x"}, 422, "invalid-request", "userId"),
        ({"type": "deposit", "currency": "USD"}, 422, "invalid-request", "amount"),
        ([], 422, "invalid-request", ""),
    ],
)
async def test_a_bad_body_changes_nothing(client: Client, body: object, status: int, code: str, field: str) -> None:
    """Every wrong member is named, with the documented status and code, and no money moves."""
    alice = investor()
    answer = await client.send(alice, "POST", "/transactions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await client.send(alice, "GET", "/balance")).json() == {"balances": []}


async def test_a_deposit_beyond_the_limit_is_refused(client: Client) -> None:
    """What one user may have is bounded, so that sums stay far below 64 bits."""
    alice = investor()
    largest = {"type": "deposit", "currency": "JPY", "amount": str(10**13)}
    answers = [await client.send(alice, "POST", "/transactions", json=largest) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    above = {**largest, "amount": str(10**13 + 1)}
    refused = await client.send(alice, "POST", "/transactions", json=above)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-amount")


@no_matter_which_database
@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", {"content-type": "application/json"}, 400, "malformed-request"),
        (b"\xff", {"content-type": "application/json"}, 400, "malformed-request"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported-media-type"),
        (b"[" + b" " * 5_000_000, {"content-type": "application/json"}, 413, "body-too-large"),
    ],
)
async def test_an_unreadable_body_is_refused(
    client: Client, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Malformed, undeclared and oversized bodies get their own status."""
    answer = await client.http.post("/transactions", content=content, headers={**bearer(investor()), **headers})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@no_matter_which_database
@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b"])
async def test_a_bad_idempotency_key_is_refused(client: Client, key: str) -> None:
    """A key is 1 to 255 printable characters."""
    answer = await client.send(investor(), "POST", "/transactions", json=DEPOSIT, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-idempotency-key")


ROUTES = [("GET", "/balance"), ("GET", "/transactions"), ("GET", "/transactions/x"), ("POST", "/transactions")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_needs_a_users_token(client: Client, method: str, path: str) -> None:
    """Nobody is 401 with a challenge, a service is 403, a bad, foreign or expired token 401 `invalid_token`."""
    json = DEPOSIT if method == "POST" else None
    nobody = await client.send(ANONYMOUS, method, path, json=json)
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    service = await client.send(STOCKS, method, path, json=json)
    assert (service.status_code, service.json()["code"]) == (403, "forbidden")
    stranger = user_token(development_key("stranger"), new_id(), "investor", now=time.time())
    none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0."
    for token in ("garbage", stranger, none):
        headers = {"Authorization": f"Bearer {token}"}
        forged = await client.http.request(method, path, headers=headers)
        assert (forged.status_code, forged.json()["code"]) == (401, "invalid-token")
        assert forged.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_an_expired_token_is_named_so(client: Client) -> None:
    """An expired token is 401 `expired-token`, so that a client knows to refresh."""
    token = user_token(USER_KEY, new_id(), "investor", now=time.time() - 3_600)
    answer = await client.http.get("/balance", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "expired-token")


# ---- PUT /balance ----


def hold(alice: Caller, **members: Any) -> dict[str, Any]:
    body = {"op": "hold", "id": new_id(), "investorId": alice.id, "currency": "USD", "amount": "60.00"}
    return {**body, **members}


async def test_a_service_moves_money_by_put_balance(client: Client) -> None:
    """Hold, post and credit answer what moved where; a repetition answers the same and says so."""
    alice, bob = investor(), broker()
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    body = hold(alice)
    first, again = [await client.send(STOCKS, "PUT", "/balance", json=body) for _ in range(2)]
    expected = {
        "op": "hold",
        "id": body["id"],
        "status": "held",
        "currency": "USD",
        "amount": "60.00",
        "target": "hold",
    }
    assert (first.status_code, first.json(), again.json()) == (200, expected, expected)
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    common = {"id": body["id"], "investorId": alice.id, "currency": "USD", "fee": "0.25"}
    post = {**common, "op": "post", "cost": "50.00", "brokerFee": "0.50", "brokerId": bob.id}
    posted = (await client.send(STOCKS, "PUT", "/balance", json=post)).json()
    assert (posted["status"], posted["amount"], posted["target"]) == ("posted", "9.25", "available")
    credit = {**common, "op": "credit", "id": new_id(), "proceeds": "10.00"}
    credited = (await client.send(STOCKS, "PUT", "/balance", json=credit)).json()
    assert (credited["status"], credited["amount"], credited["target"]) == ("credited", "9.75", "available")
    lines = (await client.send(alice, "GET", "/transactions")).json()["items"]
    assert [(line["kind"], line["direction"], line["amount"], line["type"]) for line in lines] == [
        ("fee", "out", "0.25", None),
        ("trade", "in", "10.00", None),
        ("commission", "out", "0.50", None),
        ("fee", "out", "0.25", None),
        ("trade", "out", "50.00", None),
        ("deposit", "in", "100.00", "deposit"),
    ]
    earned = (await client.send(bob, "GET", "/transactions")).json()["items"]
    assert [(line["kind"], line["direction"], line["orderId"]) for line in earned] == [("commission", "in", body["id"])]


async def test_a_mandate_is_driven_by_put_balance(client: Client) -> None:
    """Users commits and closes, stocks holds from the commitment and voids."""
    alice, bob, mandate = investor(), broker(), new_id()
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    parties = {"id": mandate, "investorId": alice.id, "brokerId": bob.id, "currency": "USD"}
    commit = await client.send(USERS, "PUT", "/balance", json={**parties, "op": "commit", "amount": "80"})
    assert (commit.json()["status"], commit.json()["target"]) == ("committed", "commitment")
    held = hold(alice, authorizationId=mandate)
    assert (await client.send(STOCKS, "PUT", "/balance", json=held)).status_code == 200
    balance = (await client.send(alice, "GET", "/balance")).json()["balances"][0]
    assert (balance["available"], balance["committed"], balance["held"]) == ("20.00", "20.00", "60.00")
    void = {"op": "void", "id": held["id"], "investorId": alice.id, "currency": "USD"}
    assert (await client.send(STOCKS, "PUT", "/balance", json=void)).json()["target"] == "commitment"
    closed = await client.send(USERS, "PUT", "/balance", json={**parties, "op": "close"})
    assert (closed.json()["amount"], closed.json()["target"]) == ("80.00", "available")


async def test_a_refused_operation_is_a_problem(client: Client) -> None:
    """A refusal carries its code, the first time and on every repetition; another body under the id is refused."""
    alice = investor()
    body = hold(alice)
    for _ in range(2):
        answer = await client.send(STOCKS, "PUT", "/balance", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "insufficient-funds")
    other = await client.send(STOCKS, "PUT", "/balance", json={**body, "amount": "1"})
    assert (other.status_code, other.json()["code"]) == (422, "operation-reused")


async def test_put_balance_is_for_the_right_service_only(client: Client) -> None:
    """Nobody is 401, users and the wrong service 403, whatever the body; a token for another service is 401."""
    alice = investor()
    for body in (hold(alice), {}):
        assert (await client.send(ANONYMOUS, "PUT", "/balance", json=body)).status_code == 401
        user = await client.send(alice, "PUT", "/balance", json=body)
        assert (user.status_code, user.json()["code"]) == (403, "forbidden")
    malformed = await client.http.put("/balance", content=b"{", headers=bearer(alice))
    assert malformed.status_code == 403
    wrong = await client.send(USERS, "PUT", "/balance", json=hold(alice))
    assert (wrong.status_code, wrong.json()["code"]) == (403, "operation-forbidden")


@no_matter_which_database
@pytest.mark.parametrize(
    "change",
    [
        {"op": "seize"},
        {"id": "order"},
        {"id": "7E57D004-2B97-5E7A-B45F-5387367791CD"},
        {"investorId": None},
        {"amount": "0"},
        {"amount": "1.005"},
        {"amount": 5},
        {"currency": "ZZZ"},
        {"authorizationId": "x"},
        {"force": True},
    ],
)
async def test_a_bad_operation_is_refused(client: Client, change: dict[str, Any]) -> None:
    """Unknown operations, ids that are no UUIDs and wrong amounts are refused before anything is stored."""
    alice = investor()
    await client.send(alice, "POST", "/transactions", json=DEPOSIT)
    answer = await client.send(STOCKS, "PUT", "/balance", json=hold(alice, **change))
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["held"] == "0.00"


def test_openapi_names_every_route_but_the_system_route(app: FastAPI) -> None:
    """The pages name methods, bodies, errors and the bearer scheme; PUT /balance is not for users to see."""
    document = app.openapi()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented >= {
        ("GET", "/balance"),
        ("GET", "/transactions"),
        ("GET", "/transactions/{transactionId}"),
        ("POST", "/transactions"),
    }
    assert ("PUT", "/balance") not in documented
    assert "hold" not in str(document["components"]["schemas"].keys()).lower()
    create = document["paths"]["/transactions"]["post"]
    assert create["security"] == [{"HTTPBearer": []}]
    assert set(create["responses"]) >= {"201", "400", "401", "413", "415", "422", "500", "503"}
    assert "insufficient-funds" in create["responses"]["422"]["description"]
