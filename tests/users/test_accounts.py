"""Registering, logging in and staying logged in."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import select

from subgraphs.users.tables import audit_log, idempotency_keys, refresh_tokens, sessions
from tests.users.conftest import PASSWORD, Client, ClientFactory

ALICE = {"name": "Alice Example", "email": "Alice@Example.com ", "password": PASSWORD, "type": "investor"}


async def test_register_returns_the_profile_and_where_it_is(client: Client) -> None:
    """201 with the profile in normal form, without the password, and its Location, ETag and key."""
    response = await client.http.post("/users/register", json=ALICE)
    body = response.json()
    assert response.status_code == 201
    assert body == {
        "id": body["id"],
        "name": "Alice Example",
        "type": "investor",
        "registeredAt": "2027-01-15T08:00:00.000Z",
        "email": "alice@example.com",
    }
    assert response.headers["location"] == f"/users/{body['id']}"
    assert response.headers["etag"] == '"1"'
    assert response.headers["idempotency-key"]


async def test_an_address_registers_once_in_any_case(client: Client) -> None:
    """The same e-mail address in other letters is taken."""
    await client.http.post("/users/register", json=ALICE)
    response = await client.http.post("/users/register", json={**ALICE, "email": "ALICE@example.com"})
    assert (response.status_code, response.json()["code"]) == (409, "email-taken")


async def test_concurrent_registrations_of_an_address_make_one_user(client: Client) -> None:
    """Of five at once one wins, the others are told that the address is taken."""
    responses = await asyncio.gather(*(client.http.post("/users/register", json=ALICE) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]


async def test_a_repeated_registration_gets_the_stored_answer(client: Client) -> None:
    """Same key and body: the same user and a header that says so, also when sent concurrently."""
    headers = {"idempotency-key": "key-1"}
    responses = await asyncio.gather(
        *(client.http.post("/users/register", json=ALICE, headers=headers) for _ in range(3))
    )
    assert [response.status_code for response in responses] == [201, 201, 201]
    assert len({response.content for response in responses}) == 1
    assert sorted("idempotent-replayed" in response.headers for response in responses) == [False, True, True]


@pytest.mark.parametrize("change", [{"name": "Mallory"}, {"password": "another password"}])
async def test_a_key_is_for_one_registration(client: Client, change: dict[str, str]) -> None:
    """The same key with another body is refused, and so is one with another password, which is never stored."""
    headers = {"idempotency-key": "key-1"}
    await client.http.post("/users/register", json=ALICE, headers=headers)
    response = await client.http.post("/users/register", json={**ALICE, **change}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")


async def test_strangers_with_one_key_do_not_meet(client: Client) -> None:
    """A key belongs to the address that registers: another person's with the same key is a request of its own."""
    headers = {"idempotency-key": "1"}
    first = await client.http.post("/users/register", json=ALICE, headers=headers)
    bob = {**ALICE, "email": "bob@example.com", "name": "Bob"}
    second = await client.http.post("/users/register", json=bob, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert "idempotent-replayed" not in second.headers
    assert first.json()["id"] != second.json()["id"]
    again = await client.http.post("/users/register", json={**ALICE, "email": "alice@EXAMPLE.com"}, headers=headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_a_strangers_refusal_is_nobody_elses(client: Client) -> None:
    """A refusal that is stored under a key answers it for that address alone, and keys name no address in the clear."""
    await client.http.post("/users/register", json=ALICE)
    headers = {"idempotency-key": "1"}
    for replayed in (False, True):
        refused = await client.http.post("/users/register", json={**ALICE, "name": "Mallory"}, headers=headers)
        assert (refused.json()["code"], "idempotent-replayed" in refused.headers) == ("email-taken", replayed)
    accepted = await client.http.post("/users/register", json={**ALICE, "email": "bob@example.com"}, headers=headers)
    assert accepted.status_code == 201
    async with client.database.reading() as connection:
        namespaces = (await connection.execute(select(idempotency_keys.c.namespace))).scalars().all()
    assert len(set(namespaces)) == 2
    assert not [namespace for namespace in namespaces if "@" in namespace]


BAD_REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"name": "  "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\u0000b"}, "name"),
    ({"email": "nobody"}, "email"),
    ({"email": "a b@example.com"}, "email"),
    ({"email": "a@b@example.com"}, "email"),
    ({"email": "a" * 250 + "@example.com"}, "email"),
    ({"password": "short"}, "password"),
    ({"password": "x" * 129}, "password"),
    ({"type": "admin"}, "type"),
    ({"name": 7}, "name"),
    ({"isAdmin": True}, "isAdmin"),
    ({"password": None}, "password"),
]


async def test_a_bad_registration_names_the_field(client: Client) -> None:
    """422 with the member at fault, and never the value that was sent."""
    for change, field in BAD_REGISTRATIONS:
        response = await client.http.post("/users/register", json={**ALICE, **change})
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid-request"), change
        assert response.headers["content-type"] == "application/problem+json"
        assert [error["field"] for error in problem["errors"]] == [field], change
        assert PASSWORD not in response.text


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed-request"),
        (b"\xff\xfe", "application/json", 400, "malformed-request"),
        (b"", "application/json", 400, "malformed-request"),
        (b'{"name": "\\ud800"}', "application/json", 400, "malformed-request"),
        (b'{"name": NaN}', "application/json", 400, "malformed-request"),
        (b"[]", "application/json", 422, "invalid-request"),
        (b"name=Alice", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b'{"name": "' + b"x" * 70_000 + b'"}', "application/json", 413, "body-too-large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    client: Client, content: bytes, content_type: str, status: int, code: str
) -> None:
    """Each kind of unreadable body has its status and code."""
    response = await client.http.post("/users/register", content=content, headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_body_without_a_declared_length_is_limited_too(client: Client) -> None:
    """A client that streams for ever is stopped at the limit."""
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 5_000_000:
            sent += 10_000
            yield b" " * 10_000

    headers = {"content-type": "application/json"}
    response = await client.http.post("/users/register", content=stream(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "body-too-large")
    assert sent < 100_000


async def test_login_gives_a_token_that_others_can_verify(client: Client) -> None:
    """The access token is EdDSA-signed by a published key, typed, and lives 15 minutes."""
    person = await client.person("broker")
    keys = jwt.PyJWKSet.from_dict((await client.http.get("/.well-known/jwks.json")).json())
    header = jwt.get_unverified_header(person.access_token)
    claims = jwt.decode(
        person.access_token,
        keys[header["kid"]],
        algorithms=["EdDSA"],
        audience="trifolio",
        issuer="trifolio-users",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert (header["typ"], header["alg"]) == ("at+jwt", "EdDSA")
    assert (claims["sub"], claims["role"]) == (person.id, "broker")
    assert claims["exp"] - claims["nbf"] == 900


async def test_wrong_password_and_unknown_address_look_alike(client: Client) -> None:
    """Both are 401 with the same body but for the request's id."""
    person = await client.person()
    answers = []
    for email in (person.email, "nobody@example.com"):
        response = await client.http.post("/users/login", json={"email": email, "password": "wrong password"})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        answers.append({**response.json(), "requestId": ""})
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "invalid-credentials"


async def test_wrong_passwords_lock_an_account_for_a_while(make_client: ClientFactory) -> None:
    """After the limit even the right password waits, Retry-After says how long; the next window lets it in."""
    client = await make_client(login_attempts_per_account_max=3)
    person = await client.person()
    wrong = {"email": person.email, "password": "wrong password"}
    right = {"email": person.email.upper(), "password": PASSWORD}
    for _ in range(3):
        assert (await client.http.post("/users/login", json=wrong)).status_code == 401
    refused = await client.http.post("/users/login", json=right)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
    client.clock.advance(int(refused.headers["retry-after"]))
    assert (await client.http.post("/users/login", json=right)).status_code == 200


async def test_right_passwords_do_not_count(make_client: ClientFactory) -> None:
    """One may log in more often than one may fail."""
    client = await make_client(login_attempts_per_account_max=2)
    person = await client.person()
    for _ in range(5):
        response = await client.http.post("/users/login", json={"email": person.email, "password": PASSWORD})
        assert response.status_code == 200


async def test_attempts_are_counted_per_address_over_all_replicas(make_client: ClientFactory) -> None:
    """One address trying many accounts is stopped, also when it changes servers."""
    replicas = [await make_client(login_attempts_per_address_max=4) for _ in range(2)]
    codes = []
    for number in range(6):
        body = {"email": f"nobody{number}@example.com", "password": "wrong password"}
        codes.append((await replicas[number % 2].http.post("/users/login", json=body)).status_code)
    assert codes == [401, 401, 401, 401, 429, 429]


async def test_an_address_header_counts_only_beside_the_routers_secret(make_client: ClientFactory) -> None:
    """A client cannot dodge the limit by naming another address; the router can name it for them."""
    client = await make_client(login_attempts_per_address_max=1)
    body = {"email": "nobody@example.com", "password": "wrong password"}

    async def code(**headers: str) -> int:
        return (await client.http.post("/users/login", json=body, headers=headers)).status_code

    assert await code() == 401
    assert await code(**{"x-forwarded-for": "198.51.100.1"}) == 429
    trusted = {"x-forwarded-for": "198.51.100.1", "x-router-secret": "development-router-secret"}
    assert await code(**trusted) == 401


async def test_registrations_are_limited(make_client: ClientFactory) -> None:
    """One address registers a limited number of users per hour."""
    client = await make_client(registrations_per_address_max=2)
    codes = [
        (await client.http.post("/users/register", json={**ALICE, "email": f"a{n}@example.com"})).status_code
        for n in range(3)
    ]
    assert codes == [201, 201, 429]


async def test_refresh_rotates(client: Client) -> None:
    """Each refresh token works once and gives the next one; the new access token works."""
    person = await client.person()
    client.clock.advance(60)
    first = await client.http.post("/users/refresh", json={"refreshToken": person.refresh_token})
    second = await client.http.post("/users/refresh", json={"refreshToken": first.json()["refreshToken"]})
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["cache-control"] == "no-store"
    headers = {"authorization": f"Bearer {second.json()['accessToken']}"}
    assert (await client.http.get(f"/users/{person.id}", headers=headers)).status_code == 200


async def refreshed(client: Client, token: str) -> httpx.Response:
    """The answer to POST /users/refresh."""
    return await client.http.post("/users/refresh", json={"refreshToken": token})


async def test_a_refresh_token_shown_later_ends_the_session(client: Client) -> None:
    """Reuse revokes the family: the thief's and the owner's tokens both stop working, other sessions go on."""
    person = await client.person()
    login = {"email": person.email, "password": PASSWORD}
    other = (await client.http.post("/users/login", json=login)).json()["refreshToken"]
    fresh = (await refreshed(client, person.refresh_token)).json()
    client.clock.advance(10.001)
    tokens = (person.refresh_token, fresh["refreshToken"], other)
    assert [(await refreshed(client, token)).status_code for token in tokens] == [401, 401, 200]


async def test_two_tabs_that_refresh_at_once_both_win(client: Client) -> None:
    """All that show one token at once, or within seconds, get one successor, and each gets the next one with it."""
    person = await client.person()
    responses = await asyncio.gather(*(refreshed(client, person.refresh_token) for _ in range(3)))
    client.clock.advance(10)
    responses.append(await refreshed(client, person.refresh_token))
    assert {response.status_code for response in responses} == {200}
    (successor,) = {response.json()["refreshToken"] for response in responses}
    assert (await refreshed(client, successor)).status_code == 200
    assert (await refreshed(client, successor)).status_code == 200


async def test_the_grace_ends_when_the_successor_is_used(client: Client) -> None:
    """Once somebody has gone on, the token before is a thief's, however soon it is shown."""
    person = await client.person()
    successor = (await refreshed(client, person.refresh_token)).json()["refreshToken"]
    latest = (await refreshed(client, successor)).json()["refreshToken"]
    tokens = (person.refresh_token, successor, latest)
    assert [(await refreshed(client, token)).status_code for token in tokens] == [401, 401, 401]


async def test_no_table_holds_a_token_that_works(client: Client) -> None:
    """What is stored of refresh tokens is their hashes, of the successor that is given again, too."""
    person = await client.person()
    successor = (await refreshed(client, person.refresh_token)).json()["refreshToken"]
    async with client.app.state.service.accounts._database.reading() as connection:
        stored = (await connection.execute(select(refresh_tokens.c.token_hash))).scalars().all()
    assert sorted(stored) == sorted(
        hashlib.sha256(each.encode()).hexdigest() for each in (person.refresh_token, successor)
    )


async def test_a_refresh_token_expires(client: Client) -> None:
    """A client unused for thirty days logs in again."""
    person = await client.person()
    client.clock.advance(30 * 24 * 3_600)
    response = await client.http.post("/users/refresh", json={"refreshToken": person.refresh_token})
    assert (response.status_code, response.json()["code"]) == (401, "invalid-refresh-token")


async def test_expired_sessions_are_forgotten(client: Client) -> None:
    """Tokens past their end leave no rows behind; living sessions, used tokens included, stay."""
    gone, stays = await client.person(), await client.person()
    client.clock.advance(20 * 24 * 3_600)
    fresh = await client.http.post("/users/refresh", json={"refreshToken": stays.refresh_token})
    client.clock.advance(15 * 24 * 3_600)
    await client.app.state.service.accounts.forget_expired_sessions()
    async with client.database.reading() as connection:
        owners = [row.user_id for row in await connection.execute(select(sessions.c.user_id))]
    assert (owners, gone.id in owners) == ([stays.id], False)
    again = await client.http.post("/users/refresh", json={"refreshToken": fresh.json()["refreshToken"]})
    assert again.status_code == 200


async def test_no_secret_is_stored(client: Client) -> None:
    """The database holds neither password nor refresh token, and the audit log no e-mail address."""
    person = await client.person()
    await client.http.post("/users/login", json={"email": person.email, "password": "wrong password"})
    async with client.database.reading() as connection:
        actions = (await connection.execute(audit_log.select().order_by(audit_log.c.id))).all()
        tables = ("users", "sessions", "refresh_tokens", "attempts", "idempotency_keys", "audit_log")
        stored = {}
        for table in tables:
            rows = (await connection.execute(audit_log.metadata.tables[table].select())).all()
            stored[table] = "\n".join(str(tuple(row)) for row in rows)
    assert [row.action for row in actions] == ["user.register", "user.login", "user.login-failed"]
    assert person.email in stored["users"]
    assert person.email not in stored["audit_log"] + stored["attempts"]
    assert all(PASSWORD not in text and person.refresh_token not in text for text in stored.values())
