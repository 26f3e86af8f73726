"""Stocks for everybody, holdings for their owners, and the commitments under authorizations."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from subgraphs.shared.auth import Caller
from subgraphs.stocks.companies import COMPANIES
from tests.stocks.conftest import ALBA, STOCKS, USERS, Desk, broker, investor

NOBODY = "00000000-0000-4000-8000-000000000000"


async def commit(
    desk: Desk,
    holding: dict[str, Any],
    bob: Caller,
    amount: str = "4",
    authorization_id: str | None = None,
    op: str = "open",
) -> tuple[str, httpx.Response]:
    """Opens or closes a commitment as users does; the authorization's id and the answer."""
    key = authorization_id or str(uuid.uuid4())
    body = {"op": op, "authorizationId": key, "investorId": holding["userId"], "brokerId": bob.id}
    if op == "open":
        body["amount"] = amount
    return key, await desk.send(USERS, "PUT", f"/stockholdings/{holding['id']}", body)


# ---- reading ----


async def test_stocks_are_public(desk: Desk) -> None:
    """Anybody lists the stocks page by page, and reads one by its id."""
    symbols, path = [], "/stocks?limit=10"
    while path:
        page = await desk.send(None, "GET", path)
        assert page.status_code == 200
        symbols += [stock["symbol"] for stock in page.json()["items"]]
        path = page.headers.get("link", "").partition(";")[0].strip("<>")
    assert symbols == [company.symbol for company in COMPANIES]
    stock = (await desk.send(None, "GET", f"/stocks/{ALBA}")).json()
    assert (stock["symbol"], stock["currency"], stock["price"]) == ("ALBA", "EUR", "84.0000")
    assert (stock["bid"], stock["ask"], stock["seq"]) == ("83.9580", "84.0420", 0)
    assert (await desk.send(None, "GET", f"/stocks/{NOBODY}")).status_code == 404
    for query in ("limit=0", "limit=101", "after=nonsense"):
        assert (await desk.send(None, "GET", f"/stocks?{query}")).status_code in (400, 422)


async def test_private_routes_need_a_token(desk: Desk) -> None:
    """Holdings and orders answer 401 without a token and 403 to a service that has no business there."""
    for method, path in (
        ("GET", "/stockholdings"),
        ("GET", f"/stockholdings/{NOBODY}"),
        ("PUT", f"/stockholdings/{NOBODY}"),
        ("GET", "/orders"),
        ("GET", f"/orders/{NOBODY}"),
        ("POST", "/orders"),
        ("PUT", f"/orders/{NOBODY}"),
    ):
        answer = await desk.send(None, method, path, {} if method in ("POST", "PUT") else None)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        answer = await desk.send(STOCKS, method, path, {} if method in ("POST", "PUT") else None)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
        forged = await desk.http["stocks"].request(method, path, headers={"authorization": "Bearer x.y.z"})
        assert (forged.status_code, forged.json()["code"]) == (401, "invalid-token"), (method, path)


async def test_a_holding_is_its_owners_alone(desk: Desk) -> None:
    """Another investor and a broker find nothing; the market's own holding is nobody's."""
    alice = investor()
    holding = await desk.bought(alice, "10")
    path = f"/stockholdings/{holding['id']}"
    assert (await desk.send(alice, "GET", path)).json() == holding
    for stranger in (investor(), broker()):
        assert (await desk.send(stranger, "GET", path)).status_code == 404
        change = {"authorizationId": NOBODY, "commitedAmount": "1"}
        assert (await desk.send(stranger, "PUT", path, change)).status_code == 404
        assert (await desk.send(stranger, "GET", "/stockholdings")).json()["items"] == []
        shown = await desk.graphql(stranger, "query($id: ID!) { stockholding(id: $id) { id } }", id=holding["id"])
        assert shown["data"] == {"stockholding": None}
        assert shown["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert (await desk.send(USERS, "GET", path)).json()["userId"] == alice.id


async def test_a_holding_that_is_sold_leaves_the_list(desk: Desk) -> None:
    """Who holds nothing of a stock does not list it; the holding itself can still be read."""
    alice = investor()
    holding = await desk.bought(alice, "10")
    await desk.place(alice, side="sell", quantity="10")
    assert (await desk.send(alice, "GET", "/stockholdings")).json()["items"] == []
    left = (await desk.send(alice, "GET", f"/stockholdings/{holding['id']}")).json()
    assert (left["quantity"], left["averagePrice"], left["profitLoss"]) == ("0", None, "0.00")


# ---- commitments ----


async def test_opening_and_closing_a_commitment(desk: Desk) -> None:
    """Opening moves shares from free to committed, closing frees what remains; both answer a repetition alike."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, opened = await commit(desk, holding, bob)
    assert opened.status_code == 200
    assert (opened.json()["status"], opened.json()["remaining"], opened.json()["stockId"]) == ("open", "4", ALBA)
    _, again = await commit(desk, holding, bob, authorization_id=key)
    assert again.json() == opened.json()
    now = await desk.holding(alice)
    assert (now["freeQuantity"], now["commitedAmount"], now["quantity"]) == ("6", "4", "10")
    _, closed = await commit(desk, holding, bob, authorization_id=key, op="close")
    assert (closed.json()["status"], closed.json()["returned"]) == ("closed", "4")
    _, again = await commit(desk, holding, bob, authorization_id=key, op="close")
    assert again.json() == closed.json()
    assert (await desk.holding(alice))["freeQuantity"] == "10"
    await desk.check_shares()


async def test_a_close_before_its_opening_refuses_the_opening(desk: Desk) -> None:
    """The tombstone of a revoked authorization stops a delayed opening."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, closed = await commit(desk, holding, bob, op="close")
    assert (closed.status_code, closed.json()["returned"]) == (200, "0")
    _, late = await commit(desk, holding, bob, authorization_id=key)
    assert (late.status_code, late.json()["code"]) == (409, "commitment-closed")
    assert (await desk.holding(alice))["commitedAmount"] == "0"


async def test_a_commitment_is_refused_for_its_reasons(desk: Desk) -> None:
    """Too few free shares, somebody else's holding, the same id with another body: nothing changes."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    cases = [
        ({"amount": "10.1"}, 422, "insufficient-shares"),
        ({"amount": "0"}, 422, "invalid-quantity"),
        ({"investorId": NOBODY}, 404, "not-found"),
        ({"op": "steal"}, 422, "invalid-request"),
    ]
    body = {
        "op": "open",
        "authorizationId": str(uuid.uuid4()),
        "investorId": alice.id,
        "brokerId": bob.id,
        "amount": "4",
    }
    path = f"/stockholdings/{holding['id']}"
    for changes, status, code in cases:
        answer = await desk.send(USERS, "PUT", path, {**body, **changes})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await desk.send(USERS, "PUT", path, body)).status_code == 200
    other = await desk.send(USERS, "PUT", path, {**body, "amount": "5"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    for caller, status in ((alice, 403), (STOCKS, 403), (None, 401)):
        assert (await desk.send(caller, "PUT", path, body)).status_code == status
    assert (await desk.holding(alice))["commitedAmount"] == "4"


async def test_concurrent_openings_never_commit_a_share_twice(desk: Desk) -> None:
    """Ten authorizations over all shares at once: one gets them."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    answers = await asyncio.gather(*(commit(desk, holding, bob, "10") for _ in range(10)))
    assert sorted(answer.status_code for _, answer in answers) == [200] + [422] * 9
    await desk.check_shares()


async def test_concurrent_open_and_close_end_closed(desk: Desk) -> None:
    """Whichever comes first, after both nothing is committed."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    for _ in range(5):
        key = str(uuid.uuid4())
        await asyncio.gather(
            commit(desk, holding, bob, authorization_id=key),
            commit(desk, holding, bob, authorization_id=key, op="close"),
        )
        assert (await desk.holding(alice))["commitedAmount"] == "0"
    await desk.check_shares()


SET = """mutation Set($input: SetCommitmentInput!) {
  setCommitment(input: $input) { stockholding { committedAmount version } errors { code } } }"""


async def test_the_owner_changes_an_open_commitment(desk: Desk) -> None:
    """The new amount takes from or gives to the free shares, through both faces, if the version is as read."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, _ = await commit(desk, holding, bob)
    path = f"/stockholdings/{holding['id']}"
    read = await desk.send(alice, "GET", path)
    body = {"authorizationId": key, "commitedAmount": "7"}
    changed = await desk.send(alice, "PUT", path, body, headers={"If-Match": read.headers["etag"]})
    assert (changed.json()["commitedAmount"], changed.json()["freeQuantity"]) == ("7", "3")
    stale = await desk.send(alice, "PUT", path, body, headers={"If-Match": read.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition-failed")
    given: dict[str, object] = {"stockholdingId": holding["id"], "authorizationId": key, "committedAmount": "2"}
    version = changed.json()["version"]
    payload = await desk.graphql(alice, SET, input={**given, "expectedVersion": version})
    shown = payload["data"]["setCommitment"]
    assert shown == {"stockholding": {"committedAmount": "2", "version": version + 1}, "errors": []}
    payload = await desk.graphql(alice, SET, input={**given, "expectedVersion": version})
    assert payload["data"]["setCommitment"]["errors"] == [{"code": "PRECONDITION_FAILED"}]
    await desk.check_shares()


async def test_a_holding_is_read_again_when_its_price_moves(desk: Desk) -> None:
    """The tag tells a new price, which 304 would hide; an update asks for the version alone, which prices leave."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, _ = await commit(desk, holding, bob)
    path = f"/stockholdings/{holding['id']}"
    tag = (await desk.send(alice, "GET", path)).headers["etag"]
    known = {"If-None-Match": tag}
    assert (await desk.send(alice, "GET", path, headers=known)).status_code == 304
    await desk.tick("90", "91")
    moved = await desk.send(alice, "GET", path, headers=known)
    assert (moved.status_code, moved.json()["marketValue"]) == (200, "900.00")
    assert moved.headers["etag"] != tag
    body = {"authorizationId": key, "commitedAmount": "7"}
    changed = await desk.send(alice, "PUT", path, body, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert (await desk.send(alice, "GET", path)).headers["etag"] == changed.headers["etag"]


async def test_a_commitment_has_two_spellings(desk: Desk) -> None:
    """The route's documentation writes one t less: both are read, the document's is written, and one is sent."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, _ = await commit(desk, holding, bob)
    path, named = f"/stockholdings/{holding['id']}", {"authorizationId": key}
    changed = await desk.send(alice, "PUT", path, {**named, "committedAmount": "3", "commitedAmount": None})
    assert (changed.status_code, changed.json()["commitedAmount"]) == (200, "3")
    for body in (named, {**named, "commitedAmount": "2", "committedAmount": "2"}):
        refused = await desk.send(alice, "PUT", path, body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
        assert [error["field"] for error in refused.json()["errors"]] == ["commitedAmount"]
    refused = await desk.send(alice, "PUT", path, {**named, "committedAmount": "x"})
    assert [error["field"] for error in refused.json()["errors"]] == ["committedAmount"]


async def test_a_commitment_cannot_be_changed_for_its_reasons(desk: Desk, subtests: pytest.Subtests) -> None:
    """Too many shares, no such authorization, a used-up mandate: each has its code through both faces."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    key, _ = await commit(desk, holding, bob)
    ended, _ = await commit(desk, holding, bob)
    await commit(desk, holding, bob, authorization_id=ended, op="close")
    for authorization_id, amount, status, code in (
        (key, "10.1", 422, "insufficient-shares"),
        (key, "-1", 422, "invalid-quantity"),
        (key, "0.0000001", 422, "invalid-quantity"),
        (NOBODY, "1", 422, "unknown-authorization"),
        (ended, "1", 409, "commitment-closed"),
    ):
        with subtests.test(code):
            body = {"authorizationId": authorization_id, "commitedAmount": amount}
            answer = await desk.send(alice, "PUT", f"/stockholdings/{holding['id']}", body)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            given = {
                "stockholdingId": holding["id"],
                "authorizationId": authorization_id,
                "committedAmount": amount,
            }
            payload = (await desk.graphql(alice, SET, input=given))["data"]["setCommitment"]
            assert payload["errors"] == [{"code": code.replace("-", "_").upper()}]
    extra = {"authorizationId": key, "commitedAmount": "1", "free": "9"}
    answer = await desk.send(alice, "PUT", f"/stockholdings/{holding['id']}", extra)
    assert [error["field"] for error in answer.json()["errors"]] == ["free"]
    assert (await desk.holding(alice))["commitedAmount"] == "4"
