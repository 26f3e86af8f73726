"""Every code of the stocks catalogue: what causes it, and its status and code through both faces.

A case is asked over REST and as a mutation or query, each time under a key of its own. The table must name every code,
so that a new one does not go without.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.shared.transport import PeerRequest
from subgraphs.stocks.rules import ERROR_CODES
from tests.in_memory import operation_of
from tests.refusals import check_refusal
from tests.stocks.conftest import ALBA, HANA, STOCKS, Desk, DeskFactory, broker, investor
from tests.stocks.test_broker_orders import authorize, over_shares, parties, revoke
from tests.stocks.test_holdings import commit

NOBODY = "00000000-0000-4000-8000-000000000000"
PLACE = """mutation($input: PlaceOrderInput!) {
  placeOrder(input: $input) { order { id } replayed errors { code message field } } }"""
CANCEL = "mutation($input: CancelOrderInput!) { cancelOrder(input: $input) { errors { code message field } } }"
COMMIT = """mutation($input: SetCommitmentInput!) {
  setCommitment(input: $input) { errors { code message field } } }"""
ORDERS = """query($r: [_Any!]!, $after: String) { _entities(representations: $r) { ... on User {
  orders(after: $after) { edges { cursor } } } } }"""
REMAINING = """query($r: [_Any!]!) { _entities(representations: $r) {
  ... on Authorization { remainingQuantity } } }"""
ENUMS = {"side", "type", "timeInForce"}


@dataclass(frozen=True, slots=True)
class Case:
    """One refused request, as REST and as GraphQL ask it."""

    desk: Desk
    method: str
    path: str
    query: str
    caller: Caller | None = None
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, object] = field(default_factory=dict)
    authorization: str | None = None
    """A header in place of the caller's."""


Cause = Callable[[DeskFactory], Awaitable[Case]]


def order(desk: Desk, caller: Caller | None, key: str | None = None, **changes: object) -> Case:
    """An order for one ALBA at market, unless `changes` say otherwise."""
    body = {"stockId": ALBA, "side": "buy", "quantity": "1", **changes}
    given = {name: str(value).upper() if name in ENUMS else value for name, value in body.items()}
    return Case(
        desk,
        "POST",
        "/orders",
        PLACE,
        caller,
        body,
        headers={} if key is None else {"Idempotency-Key": key},
        variables={"input": {**given, "idempotencyKey": str(uuid.uuid4()) if key is None else key}},
    )


def cancellation(desk: Desk, caller: Caller | None, order_id: str) -> Case:
    """The cancellation of an order."""
    body = {"status": "cancelled"}
    return Case(desk, "PUT", f"/orders/{order_id}", CANCEL, caller, body, variables={"input": {"id": order_id}})


def commitment(desk: Desk, caller: Caller, holding: str, mandate: str, amount: str, version: int | None = None) -> Case:
    """A new amount of a commitment."""
    given: dict[str, object] = {"stockholdingId": holding, "authorizationId": mandate, "committedAmount": amount}
    if version is not None:
        given["expectedVersion"] = version
    return Case(
        desk,
        "PUT",
        f"/stockholdings/{holding}",
        COMMIT,
        caller,
        {"authorizationId": mandate, "commitedAmount": amount},
        headers={} if version is None else {"If-Match": f'"{version}"'},
        variables={"input": given},
    )


def of_an_investor(**changes: Any) -> Cause:
    """An order of an investor with 100,000 EUR."""

    async def cause(make_desk: DeskFactory) -> Case:
        desk, alice = await make_desk(), investor()
        await desk.deposit(alice)
        return order(desk, alice, **changes)

    return cause


def of_a_broker(terms: Mapping[str, object] | None = None, *, ended: bool = False, **changes: Any) -> Cause:
    """A broker's order under a mandate over 1,000 EUR, or on other terms."""

    async def cause(make_desk: DeskFactory) -> Case:
        desk = await make_desk()
        alice, bob = await parties(desk)
        await desk.deposit(alice, "1000000", "JPY")
        mandate = await authorize(desk, alice, bob, **(terms or {}))
        if ended:
            assert (await revoke(desk, alice, mandate)).status_code == 200
        return order(desk, bob, authorizationId=mandate["id"], **changes)

    return cause


def of_remaining(caller: Caller | None) -> Cause:
    """What remains of a mandate over shares, which both faces tell users."""

    async def cause(make_desk: DeskFactory) -> Case:
        asked = [{"__typename": "Authorization", "id": NOBODY}]
        path = f"/stockholdings/commitments/{NOBODY}"
        return Case(await make_desk(), "GET", path, REMAINING, caller, variables={"r": asked})

    return cause


def with_token(token: str) -> Cause:
    """The list of orders, asked with a token that is none."""

    async def cause(make_desk: DeskFactory) -> Case:
        return listing(await make_desk(), investor(), authorization=f"Bearer {token}")

    return cause


def listing(desk: Desk, caller: Caller | None, after: str | None = None, authorization: str | None = None) -> Case:
    """The orders of a caller."""
    path = "/orders" if after is None else f"/orders?after={after}"
    asked = [{"__typename": "User", "id": NOBODY if caller is None else caller.id}]
    variables = {"r": asked, "after": after}
    return Case(desk, "GET", path, ORDERS, caller, variables=variables, authorization=authorization)


async def expired_token(make_desk: DeskFactory) -> Case:
    """A token of an hour ago."""
    desk, alice = await make_desk(), investor()
    token = desk.bearer(alice, "stocks")["authorization"]
    desk.clock.advance(3_600)
    return listing(desk, alice, authorization=token)


async def bad_cursor(make_desk: DeskFactory) -> Case:
    """A cursor that no list gave."""
    return listing(await make_desk(), investor(), "nonsense")


async def nobody(make_desk: DeskFactory) -> Case:
    """An order without a token."""
    return order(await make_desk(), None)


async def service(make_desk: DeskFactory) -> Case:
    """An order of a service."""
    return order(await make_desk(), STOCKS)


async def foreign_order(make_desk: DeskFactory) -> Case:
    """The cancellation of another investor's order."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice)
    placed = (await desk.place(alice, type="limit", limitPrice="1")).json()
    return cancellation(desk, investor(), placed["id"])


async def stale_version(make_desk: DeskFactory) -> Case:
    """A commitment changed on a holding that has another version by then."""
    desk, alice = await make_desk(), investor()
    holding = await desk.bought(alice, "10")
    mandate, _ = await commit(desk, holding, broker())
    return commitment(desk, alice, holding["id"], mandate, "1", version=holding["version"])


async def ended_commitment(make_desk: DeskFactory) -> Case:
    """A new amount for a mandate that is over."""
    desk, alice, bob = await make_desk(), investor(), broker()
    holding = await desk.bought(alice, "10")
    mandate, _ = await commit(desk, holding, bob)
    await commit(desk, holding, bob, authorization_id=mandate, op="close")
    return commitment(desk, alice, holding["id"], mandate, "1")


async def reused_key(make_desk: DeskFactory) -> Case:
    """The key of an order for one share, with an order for two."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice)
    assert (await desk.place(alice, key="k")).status_code == 201
    return order(desk, alice, key="k", quantity="2")


async def users_down(make_desk: DeskFactory) -> Case:
    """A broker's order while the mandate cannot be verified."""
    desk = await make_desk()
    desk.network.cut("users")
    return order(desk, broker(), authorizationId=NOBODY)


async def foreign_mandate(make_desk: DeskFactory) -> Case:
    """A broker's order under the mandate of another broker."""
    desk = await make_desk()
    alice, bob = await parties(desk)
    return order(desk, broker(), authorizationId=(await authorize(desk, alice, bob))["id"])


async def without_mandate(make_desk: DeskFactory) -> Case:
    """A broker's order on the broker's own account."""
    return order(await make_desk(), broker())


async def too_few_shares(make_desk: DeskFactory) -> Case:
    """A broker's sale of more than the mandate is over."""
    desk = await make_desk()
    alice, bob = await parties(desk)
    await desk.bought(alice, "10")
    mandate = await over_shares(desk, alice, bob, "4")
    return order(desk, bob, side="sell", quantity="5", authorizationId=mandate["id"])


async def closed_market(make_desk: DeskFactory) -> Case:
    """A market order outside of the session."""
    desk, alice = await make_desk(market_sessions="07:00-07:30"), investor()
    await desk.deposit(alice)
    return order(desk, alice)


async def slow_wallet(make_desk: DeskFactory) -> Case:
    """An order whose hold takes longer than its price is good for."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice)

    async def wait(request: PeerRequest) -> None:
        desk.clock.advance(31 if operation_of(request) == "hold" else 0)

    desk.network.after = wait
    return order(desk, alice)


async def completed_order(make_desk: DeskFactory) -> Case:
    """The cancellation of an order that is completed."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice)
    return cancellation(desk, alice, (await desk.place(alice)).json()["id"])


async def rejected_order(make_desk: DeskFactory) -> Case:
    """The cancellation of an order that was rejected."""
    desk, alice = await make_desk(), investor()
    return cancellation(desk, alice, (await desk.place(alice)).json()["orderId"])


LIMIT: dict[str, Any] = {"type": "limit", "limitPrice": "80"}
CAUSES: list[tuple[str, Cause]] = [
    ("invalid-cursor", bad_cursor),
    ("invalid-idempotency-key", of_an_investor(key="")),
    ("invalid-idempotency-key", of_an_investor(key="x" * 256)),
    ("unauthenticated", nobody),
    ("unauthenticated", of_remaining(None)),
    ("invalid-token", with_token("x.y.z")),
    ("expired-token", expired_token),
    ("forbidden", service),
    ("forbidden", of_remaining(STOCKS)),
    ("not-found", foreign_order),
    ("precondition-failed", stale_version),
    ("invalid-request", of_an_investor(type="limit")),
    ("invalid-request", of_an_investor(limitPrice="80")),
    ("invalid-quantity", of_an_investor(quantity="0")),
    ("invalid-quantity", of_an_investor(quantity="-1")),
    ("invalid-quantity", of_an_investor(quantity="0.0000001")),
    ("invalid-price", of_an_investor(type="limit", limitPrice="0")),
    ("invalid-price", of_an_investor(type="limit", limitPrice="-1")),
    ("invalid-price", of_an_investor(type="stop", stopPrice="80.00001")),
    ("idempotency-key-reused", reused_key),
    ("unavailable", users_down),
    ("unknown-stock", of_an_investor(stockId=NOBODY)),
    ("unknown-authorization", foreign_mandate),
    ("authorization-required", without_mandate),
    ("authorization-not-allowed", of_an_investor(authorizationId=NOBODY)),
    ("authorization-inactive", of_a_broker(ended=True)),
    ("authorization-inactive", of_a_broker({"startsAt": "2028-01-01T00:00:00Z"})),
    ("authorization-mismatch", of_a_broker(side="sell")),
    ("automated-order-invalid", of_an_investor(authorizationId=NOBODY, **LIMIT)),
    ("automated-order-invalid", of_a_broker(**LIMIT)),
    ("currency-mismatch", of_a_broker({"currency": "JPY", "amount": "50000"})),
    ("insufficient-funds", of_an_investor(quantity="2000")),
    ("insufficient-funds", of_an_investor(stockId=HANA)),
    ("insufficient-funds", of_a_broker(quantity="12")),
    ("insufficient-shares", of_an_investor(side="sell")),
    ("insufficient-shares", too_few_shares),
    ("insufficient-liquidity", of_an_investor(quantity="4000001")),
    ("market-closed", closed_market),
    ("order-too-small", of_a_broker(quantity="0.25")),
    ("price-moved", of_an_investor(type="stop", stopPrice="50")),
    ("stale-price", slow_wallet),
    ("commitment-closed", ended_commitment),
    ("order-completed", completed_order),
    ("order-final", rejected_order),
]
ELSEWHERE = {
    "request-timeout": "of the connection: tests/system/test_framing",
    "url-too-long": "of the connection: tests/system/test_framing",
    "headers-too-large": "of the connection: tests/system/test_framing",
    "malformed-request": "of a body, which a face reads before anything else: tests/users",
    "method-not-allowed": "of REST alone: tests/users",
    "body-too-large": "of a body: tests/users",
    "unsupported-media-type": "of a body: tests/users",
    "result-too-large": "of statements: tests/stocks/test_statements.py",
    "invalid-amount": "no client names an amount of money here",
    "unknown-currency": "no client names a currency here",
    "too-many-requests": "of more orders than a minute has: tests/stocks/test_order_sizes.py",
    "internal-error": "our own fault: tests/users",
}
"""Codes of the shared catalogue that no client's request to this service is refused with."""


def test_the_table_names_every_code() -> None:
    """A code is caused here, or it is said where and why not."""
    assert {code for code, _ in CAUSES} | set(ELSEWHERE) == {code.code for code in ERROR_CODES}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("code", "cause"), CAUSES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(CAUSES)])
async def test_a_refusal_has_its_status_and_code_through_both_faces(
    make_desk: DeskFactory, code: str, cause: Cause
) -> None:
    """The catalogue's status and code over REST, the same code in GraphQL's payload or errors, and a remedy."""
    case, known = await cause(make_desk), next(each for each in ERROR_CODES if each.code == code)
    rest = await ask_rest(case)
    check_refusal(known, rest, await ask_graphql(case))


async def ask_rest(case: Case) -> Any:
    """The case as REST asks it."""
    return await case.desk.http["stocks"].request(
        case.method,
        case.path,
        json=case.body,
        headers={**authorization_of(case), **case.headers},
    )


async def ask_graphql(case: Case) -> Any:
    """The case as the router asks it."""
    headers = {**authorization_of(case), "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
    body = {"query": case.query, "variables": case.variables}
    return (await case.desk.http["stocks"].post("/graphql", json=body, headers=headers)).json()


def authorization_of(case: Case) -> dict[str, str]:
    """The header that says who asks."""
    if case.authorization is not None:
        return {"authorization": case.authorization}
    return case.desk.bearer(case.caller, "stocks")


async def test_concurrent_cancellations_through_both_faces_give_back_once(make_desk: DeskFactory) -> None:
    """Six at once: all find it cancelled, and the money is back once."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice, "1000.00")
    placed = (await desk.place(alice, type="limit", limitPrice="80")).json()
    case = cancellation(desk, alice, placed["id"])
    answers = await asyncio.gather(*(ask_rest(case) for _ in range(3)), *(ask_graphql(case) for _ in range(3)))
    assert {answer.json()["status"] for answer in answers[:3]} == {"cancelled"}
    assert [answer["data"]["cancelOrder"]["errors"] for answer in answers[3:]] == [[]] * 3
    await desk.settle()
    balance = await desk.balance(alice)
    assert (balance["available"], balance["held"]) == ("1000.00", "0.00")
    await desk.check_books()


async def test_of_concurrent_changes_of_one_version_one_wins(make_desk: DeskFactory) -> None:
    """Six new amounts on the same version of a holding, through both faces: one is set, five are told to read again."""
    desk, alice = await make_desk(), investor()
    holding = await desk.bought(alice, "10")
    mandate, _ = await commit(desk, holding, broker())
    version = (await desk.holding(alice))["version"]
    cases = [commitment(desk, alice, holding["id"], mandate, str(amount), version=version) for amount in range(1, 7)]
    answers = await asyncio.gather(*map(ask_rest, cases[:3]), *map(ask_graphql, cases[3:]))
    refused = [answer.status_code == 412 for answer in answers[:3]]
    refused += [bool(answer["data"]["setCommitment"]["errors"]) for answer in answers[3:]]
    assert sorted(refused) == [False] + [True] * 5
    assert (await desk.holding(alice))["commitedAmount"] == str(refused.index(False) + 1)
    await desk.check_shares()


async def test_concurrent_duplicates_through_both_faces_have_one_effect(make_desk: DeskFactory) -> None:
    """Eight equal requests at once, half of them by GraphQL: one order, which each is answered with."""
    desk, alice = await make_desk(), investor()
    await desk.deposit(alice)
    case = order(desk, alice, key="k", quantity="3")
    answers = await asyncio.gather(*(ask_rest(case) for _ in range(4)), *(ask_graphql(case) for _ in range(4)))
    payloads = [answer["data"]["placeOrder"] for answer in answers[4:]]
    ids = {answer.json()["id"] for answer in answers[:4]} | {payload["order"]["id"] for payload in payloads}
    assert len(ids) == 1
    assert sum(not payload["replayed"] for payload in payloads) <= 1
    assert (await desk.holding(alice))["quantity"] == "3"
    final, repeated = await ask_rest(case), (await ask_graphql(case))["data"]["placeOrder"]
    assert (final.status_code, final.headers["idempotent-replayed"], repeated["replayed"]) == (201, "true", True)
    await desk.check_books()
