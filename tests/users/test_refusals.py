"""Every code of the users catalogues: what causes it, and its status and code through both faces.

A case is asked over REST and as a mutation or query. The table must name every code, so that a new one does not go
without.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.errors import COMMON_CODES, ErrorCode
from subgraphs.shared.idempotency import idempotency_key
from subgraphs.shared.keys import development_key
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.users import rules, rules_authorizations
from subgraphs.users.steps import CREATE_ROUTE
from tests.refusals import check_refusal
from tests.users import test_mandates
from tests.users.conftest import PASSWORD, Person
from tests.users.desk import Desk

desk, peer_urls = test_mandates.desk, test_mandates.peer_urls  # the fixtures of the folder's other tests of mandates

NOBODY = "00000000-0000-4000-8000-000000000000"
EVERY = {code.code: code for code in COMMON_CODES} | {
    value.code: value
    for module in (rules, rules_authorizations)
    for value in vars(module).values()
    if isinstance(value, ErrorCode)
}
ERRORS = "errors { code message field }"
REGISTER = f"mutation($input: RegisterInput!) {{ register(input: $input) {{ replayed user {{ id }} {ERRORS} }} }}"
LOGIN = f"mutation($input: LoginInput!) {{ login(input: $input) {{ {ERRORS} }} }}"
REFRESH = f"mutation($token: String!) {{ refresh(refreshToken: $token) {{ {ERRORS} }} }}"
UPDATE = f"mutation($input: UpdateProfileInput!) {{ updateProfile(input: $input) {{ {ERRORS} }} }}"
CREATE = f"""mutation($input: CreateAuthorizationInput!) {{
  createAuthorization(input: $input) {{ replayed authorization {{ id }} {ERRORS} }} }}"""
REVOKE = f"mutation($input: RevokeAuthorizationInput!) {{ revokeAuthorization(input: $input) {{ {ERRORS} }} }}"


@dataclass(frozen=True, slots=True)
class Case:
    """One refused request, as REST and as GraphQL ask it."""

    method: str
    path: str
    query: str
    person: Person | None = None
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, object] = field(default_factory=dict)


Cause = Callable[[Desk], Awaitable[Case]]


def creation(desk: Desk, person: Person | None, keys: tuple[str, str] = ("rest", "graphql"), **changes: object) -> Case:
    """A mandate over 100 EUR for bob, with some members changed (None leaves one out), and the key for each face."""
    body = {"type": "capital", "brokerId": desk.bob.id, "currency": "EUR", "amount": "100.00", **changes}
    body = {name: value for name, value in body.items() if value is not None}
    given = {**body, "type": str(body["type"]).upper(), "idempotencyKey": keys[1]}
    headers, variables = {"idempotency-key": keys[0]}, {"input": given}
    return Case("POST", "/authorizations", CREATE, person, body, headers, variables)


def of_alice(**changes: Any) -> Cause:
    """A mandate of alice's with some members changed."""

    async def cause(desk: Desk) -> Case:
        return creation(desk, desk.alice, **changes)

    return cause


def over_shares(amount: str, *, of_bob: bool = False) -> Cause:
    """A mandate over so many of alice's five shares, asked by her or by somebody else."""

    async def cause(desk: Desk) -> Case:
        holding = await desk.buy("5")
        person = await desk.client.person() if of_bob else desk.alice
        return creation(desk, person, type="stockholding", currency=None, stockholdingId=holding["id"], amount=amount)

    return cause


def registration(email: str, keys: tuple[str, str] = ("rest", "graphql"), **changes: str) -> Case:
    """A registration under that address."""
    body = {"name": "Carol", "email": email, "password": PASSWORD, "type": "investor", **changes}
    given = {**body, "type": body["type"].upper(), "idempotencyKey": keys[1]}
    return Case("POST", "/users/register", REGISTER, None, body, {"idempotency-key": keys[0]}, {"input": given})


def revocation(person: Person | None, mandate: str) -> Case:
    """The end of a mandate."""
    return Case("PUT", f"/authorizations/{mandate}/revoke", REVOKE, person, variables={"input": {"id": mandate}})


async def nobody(desk: Desk) -> Case:
    """A mandate without a token."""
    return creation(desk, None)


async def forged_token(desk: Desk) -> Case:
    """A mandate with a token that is none."""
    desk.alice.access_token = "x.y.z"
    return creation(desk, desk.alice)


async def expired_token(desk: Desk) -> Case:
    """A mandate with a token of an hour ago."""
    desk.client.clock.advance(3_600)
    return creation(desk, desk.alice)


async def service(desk: Desk) -> Case:
    """A revoke by a service."""
    mandate = await desk.granted()
    desk.alice.access_token = desk.client.service_bearer("wallet")["authorization"].removeprefix("Bearer ")
    return revocation(desk.alice, mandate)


async def foreign_mandate(desk: Desk) -> Case:
    """A revoke by another investor."""
    return revocation(await desk.client.person(), await desk.granted())


async def the_broker(desk: Desk) -> Case:
    """A revoke by the broker."""
    return revocation(desk.bob, await desk.granted())


async def bad_cursor(desk: Desk) -> Case:
    """A cursor that no list gave."""
    query = "query($after: String) { users(after: $after) { edges { cursor } } }"
    return Case("GET", "/users?after=x", query, desk.alice, variables={"after": "x"})


async def stale_version(desk: Desk) -> Case:
    """A change of a profile that has changed since."""
    path, body = f"/users/{desk.alice.id}", {"name": "Alicia"}
    assert (await desk.send(desk.alice, "PUT", path, body)).status_code == 200
    variables = {"input": {**body, "expectedVersion": 1}}
    return Case("PUT", path, UPDATE, desk.alice, body, {"if-match": '"1"'}, variables)


async def taken_by_a_change(desk: Desk) -> Case:
    """Alice takes the address of bob."""
    body = {"email": desk.bob.email, "currentPassword": PASSWORD}
    return Case("PUT", f"/users/{desk.alice.id}", UPDATE, desk.alice, body, variables={"input": body})


async def taken_by_a_registration(desk: Desk) -> Case:
    """Somebody registers with the address of alice."""
    return registration(desk.alice.email)


async def wrong_password(desk: Desk) -> Case:
    """A login of alice with another password."""
    body = {"email": desk.alice.email, "password": "wrong password"}
    return Case("POST", "/users/login", LOGIN, None, body, variables={"input": body})


async def unknown_refresh_token(desk: Desk) -> Case:
    """A refresh with a token that nobody got."""
    return Case("POST", "/users/refresh", REFRESH, None, {"refreshToken": "none"}, variables={"token": "none"})


async def reused_key(desk: Desk) -> Case:
    """The key of a mandate over 100 EUR, with one over 50."""
    await desk.create(key="k")
    return creation(desk, desk.alice, ("k", "k"), amount="50.00")


async def key_of_another_registration(desk: Desk) -> Case:
    """The key of a registration, with another name."""
    case = registration("carol@example.com", ("k", "k"))
    assert (await ask_rest(desk, case)).status_code == 201
    return registration("carol@example.com", ("k", "k"), name="Caroline")


async def bad_key_of_a_mandate(desk: Desk) -> Case:
    """A mandate under an empty key."""
    return creation(desk, desk.alice, ("", ""))


async def bad_key_of_a_registration(desk: Desk) -> Case:
    """A registration under a key that is too long."""
    return registration("carol@example.com", ("x" * 256, "x" * 256))


async def stocks_down(desk: Desk) -> Case:
    """A share mandate while nobody can say whose the shares are."""
    desk.client.network.down.add("stocks")
    return creation(desk, desk.alice, type="stockholding", currency=None, stockholdingId=NOBODY, amount="1")


async def a_broker(desk: Desk) -> Case:
    """A mandate given by a broker."""
    return creation(desk, desk.bob)


async def to_oneself(desk: Desk) -> Case:
    """A mandate of alice's for herself."""
    return creation(desk, desk.alice, brokerId=desk.alice.id)


async def to_an_investor(desk: Desk) -> Case:
    """A mandate for somebody who is no broker."""
    return creation(desk, desk.alice, brokerId=(await desk.client.person()).id)


async def ended_before(desk: Desk) -> Case:
    """A mandate whose end has reached the wallet before its beginning."""
    signer = ServiceSigner("users", development_key("users"), seconds=lambda: desk.client.clock() / 1_000)
    system = Person("", "", signer.token("wallet"), "")
    parties = {"investorId": desk.alice.id, "brokerId": desk.bob.id, "currency": "EUR"}
    for key in ("rest", "graphql"):
        mandate = idempotency_key(desk.alice.id, CREATE_ROUTE, key, None).object_id
        closed = await desk.send(system, "PUT", "/balance", {"op": "close", "id": mandate, **parties}, host="wallet")
        assert closed.status_code == 200, closed.text
    return creation(desk, desk.alice)


async def not_opened_in_time(desk: Desk) -> Case:
    """A mandate that the wallet did not hear of for half a minute."""
    desk.client.network.down.add("wallet")
    assert (await desk.create(key="k")).status_code == 202
    desk.client.clock.advance(31)
    desk.client.network.down.clear()
    await desk.settle()
    return creation(desk, desk.alice, ("k", "k"))


CAUSES: list[tuple[str, Cause]] = [
    ("invalid-cursor", bad_cursor),
    ("invalid-idempotency-key", bad_key_of_a_mandate),
    ("invalid-idempotency-key", bad_key_of_a_registration),
    ("unauthenticated", nobody),
    ("invalid-token", forged_token),
    ("expired-token", expired_token),
    ("forbidden", service),
    ("not-found", foreign_mandate),
    ("precondition-failed", stale_version),
    ("invalid-request", of_alice(stockholdingId=NOBODY)),
    ("invalid-amount", of_alice(amount="0")),
    ("invalid-amount", of_alice(amount="-1")),
    ("invalid-amount", of_alice(amount="1.001")),
    ("invalid-quantity", over_shares("0")),
    ("invalid-quantity", over_shares("-1")),
    ("invalid-quantity", over_shares("0.0000001")),
    ("unknown-currency", of_alice(currency="XXY")),
    ("idempotency-key-reused", reused_key),
    ("idempotency-key-reused", key_of_another_registration),
    ("unavailable", stocks_down),
    ("email-taken", taken_by_a_registration),
    ("email-taken", taken_by_a_change),
    ("invalid-credentials", wrong_password),
    ("invalid-refresh-token", unknown_refresh_token),
    ("investors-only", a_broker),
    ("not-the-investor", the_broker),
    ("self-authorization", to_oneself),
    ("unknown-broker", to_an_investor),
    ("unknown-broker", of_alice(brokerId=NOBODY)),
    ("unknown-stockholding", over_shares("1", of_bob=True)),
    ("invalid-window", of_alice(endsAt="2020-01-01T00:00:00Z")),
    ("insufficient-funds", of_alice(amount="1000.01")),
    ("insufficient-shares", over_shares("5.1")),
    ("authorization-ended", ended_before),
    ("authorization-timed-out", not_opened_in_time),
]
ELSEWHERE = {
    "request-timeout": "of the connection: tests/system/test_framing",
    "url-too-long": "of the connection: tests/system/test_framing",
    "headers-too-large": "of the connection: tests/system/test_framing",
    "malformed-request": "of a body: test_accounts, test_graphql",
    "method-not-allowed": "of the transport: test_application, test_graphql",
    "body-too-large": "of a body: test_accounts, test_graphql",
    "unsupported-media-type": "of a body: test_accounts, test_graphql",
    "result-too-large": "no statements here",
    "invalid-price": "no prices here",
    "too-many-requests": "after many attempts: test_accounts, test_graphql",
    "internal-error": "our own fault: test_application, through both faces",
    "profile-not-yours": "REST names a profile by its address: test_users; updateProfile knows but one's own",
}
"""Codes that stand in other tests, or that a client cannot get here."""


def test_the_table_names_every_code() -> None:
    """A code is caused here, or it is said where and why not."""
    assert {code for code, _ in CAUSES} | set(ELSEWHERE) == set(EVERY)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("code", "cause"), CAUSES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(CAUSES)])
async def test_a_refusal_has_its_status_and_code_through_both_faces(desk: Desk, code: str, cause: Cause) -> None:
    """The catalogue's status and code over REST, the same code in GraphQL's payload or errors, and a remedy."""
    case = await cause(desk)
    rest = await ask_rest(desk, case)
    check_refusal(EVERY[code], rest, await ask_graphql(desk, case))


async def ask_rest(desk: Desk, case: Case) -> Any:
    """The case as REST asks it."""
    headers = {**({} if case.person is None else case.person.bearer), **case.headers}
    return await desk.client.http.request(case.method, case.path, json=case.body, headers=headers)


async def ask_graphql(desk: Desk, case: Case) -> Any:
    """The case as the router asks it."""
    bearer = {} if case.person is None else case.person.bearer
    headers = {**bearer, "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
    body = {"query": case.query, "variables": case.variables}
    return (await desk.client.http.post("/graphql", json=body, headers=headers)).json()


async def test_concurrent_duplicates_through_both_faces_have_one_effect(desk: Desk) -> None:
    """Six equal mandates at once, half of them by GraphQL: one effect, and every answer tells the same one."""
    case = creation(desk, desk.alice, ("k", "k"))
    answers = await asyncio.gather(
        *(ask_rest(desk, case) for _ in range(3)), *(ask_graphql(desk, case) for _ in range(3))
    )
    payloads = [answer["data"]["createAuthorization"] for answer in answers[3:]]
    ids = {answer.json()["id"] for answer in answers[:3]} | {payload["authorization"]["id"] for payload in payloads}
    assert len(ids) == 1
    assert sum(not payload["replayed"] for payload in payloads) <= 1
    await desk.settle()
    assert await desk.money() == ("900.00", "100.00")
    final, repeated = await ask_rest(desk, case), (await ask_graphql(desk, case))["data"]["createAuthorization"]
    assert (final.status_code, final.headers["idempotent-replayed"], repeated["replayed"]) == (201, "true", True)


async def test_concurrent_revocations_through_both_faces_give_back_once(desk: Desk) -> None:
    """Six at once: all are told that it is over, and the money is back once."""
    case = revocation(desk.alice, await desk.granted())
    answers = await asyncio.gather(
        *(ask_rest(desk, case) for _ in range(3)), *(ask_graphql(desk, case) for _ in range(3))
    )
    assert {answer.json()["status"] for answer in answers[:3]} <= {"revoked", "revoking"}
    assert [answer["data"]["revokeAuthorization"]["errors"] for answer in answers[3:]] == [[]] * 3
    await desk.settle()
    assert await desk.money() == ("1000.00", "0.00")


async def test_concurrent_registrations_through_both_faces_make_one_user(desk: Desk) -> None:
    """Six equal registrations at once, half of them by GraphQL: one user, and one answer that is no repetition."""
    case = registration("carol@example.com", ("k", "k"))
    answers = await asyncio.gather(
        *(ask_rest(desk, case) for _ in range(3)), *(ask_graphql(desk, case) for _ in range(3))
    )
    payloads = [answer["data"]["register"] for answer in answers[3:]]
    ids = {answer.json()["id"] for answer in answers[:3]} | {payload["user"]["id"] for payload in payloads}
    repeated = [answer.headers.get("idempotent-replayed") == "true" for answer in answers[:3]]
    repeated += [payload["replayed"] for payload in payloads]
    assert (len(ids), sorted(repeated)) == (1, [False] + [True] * 5)


@pytest.mark.parametrize(("cascade", "child_status"), [(None, "revoked"), (True, "revoked"), (False, "active")])
async def test_a_revoke_by_graphql_takes_the_family_along_unless_told_not_to(
    desk: Desk, cascade: bool | None, child_status: str
) -> None:
    """`cascade: false` keeps what the broker's orders turned the mandate into, as over REST."""
    mandate = await desk.granted()
    child = (await desk.roll_over(mandate, NOBODY, currency="USD")).json()["authorizationId"]
    asked: dict[str, object] = {"id": mandate} if cascade is None else {"id": mandate, "cascade": cascade}
    answer = await desk.client.graphql(REVOKE, {"input": asked}, person=desk.alice)
    assert answer["data"]["revokeAuthorization"]["errors"] == []
    await desk.settle()
    assert (await desk.status(mandate), await desk.status(child)) == ("revoked", child_status)
