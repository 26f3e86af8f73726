"""Every route, and every root field of the subgraph, walked by every kind of caller."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from subgraphs.users.schema import schema
from tests.users.conftest import PASSWORD, Client, Person
from tests.users.mandates import grant
from tests.walked_routes import routes_of

BROKERS = {"her broker": "ACTIVE", "her broker, revoked": "REVOKED", "her broker, expired": "EXPIRED"}
"""Brokers of Alice's, and how the mandate stands that she gave them."""
SERVICES = ("stocks", "wallet")
CALLERS = ("anonymous", "alice", "another investor", *BROKERS, "another broker", *SERVICES)
FINE = "ok"


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice's things by id, who asks for them, and what nobody else may be shown."""

    alice: Person
    bob: Person
    mandate: str
    session: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...]


async def set_scene(client: Client, caller: str) -> Scene:
    """Alice is logged in twice, and has given Bob a mandate; the caller is somebody of `CALLERS`."""
    alice, bob = await client.person(), await client.person("broker", name="Bob")
    again = await client.http.post("/users/login", json={"email": alice.email, "password": PASSWORD})
    assert again.is_success
    mandate = await grant(client, alice, bob, state=BROKERS.get(caller, "ACTIVE"))
    sessions = (await client.http.get("/sessions", headers=alice.bearer)).json()["items"]
    other = next(each["id"] for each in sessions if not each["current"])
    headers: Mapping[str, str] = {}
    if caller in SERVICES:
        headers = client.service_bearer(caller)
    elif caller != "anonymous":
        people = {
            "alice": alice,
            "another investor": await client.person(name="Eve"),
            "another broker": await client.person("broker", name="Mallory"),
            **dict.fromkeys(BROKERS, bob),
        }
        headers = people[caller].bearer
    secrets = (alice.email, alice.access_token, alice.refresh_token, *(each["id"] for each in sessions))
    return Scene(alice, bob, mandate, other, headers, secrets)


PUBLIC = dict.fromkeys(CALLERS, FINE)
SIGNED_IN = {**PUBLIC, "anonymous": "unauthenticated", **dict.fromkeys(SERVICES, "forbidden")}
STRANGERS = ("another investor", "another broker")
ALICES = {**SIGNED_IN, **dict.fromkeys((*STRANGERS, *BROKERS), "not-found")}
PARTIES = {**SIGNED_IN, **dict.fromkeys(STRANGERS, "not-found")}

# Body, and what each caller gets: ok, or the code of the problem. What ends a session of the caller's stands last.
ROUTES: dict[tuple[str, str], tuple[dict[str, object] | None, dict[str, str]]] = {
    ("POST", "/users/register"): (
        {"name": "X", "email": "{email}", "password": PASSWORD, "type": "investor"},
        PUBLIC,
    ),
    ("POST", "/users/login"): ({"email": "{alice_email}", "password": PASSWORD}, PUBLIC),
    ("POST", "/users/refresh"): ({"refreshToken": "none"}, dict.fromkeys(CALLERS, "invalid-refresh-token")),
    ("GET", "/.well-known/jwks.json"): (None, PUBLIC),
    ("GET", "/health"): (None, PUBLIC),
    ("GET", "/ready"): (None, PUBLIC),
    ("GET", "/metrics"): (None, PUBLIC),
    ("GET", "/users"): (None, SIGNED_IN),
    ("GET", "/users/{userId}"): (None, SIGNED_IN),
    ("PUT", "/users/{userId}"): (
        {"name": "Alice Example"},
        {**SIGNED_IN, **dict.fromkeys((*STRANGERS, *BROKERS), "profile-not-yours")},
    ),
    ("GET", "/authorizations"): (None, SIGNED_IN),
    ("GET", "/authorizations/{authorizationId}"): (None, {**PARTIES, "stocks": FINE}),
    ("POST", "/authorizations"): (
        {"type": "capital", "brokerId": "{bob}", "currency": "EUR", "amount": "1.00"},
        {**SIGNED_IN, **dict.fromkeys((*BROKERS, "another broker"), "investors-only"), "stocks": "invalid-request"},
    ),
    ("PUT", "/authorizations/{authorizationId}/revoke"): (
        None,
        {**PARTIES, **dict.fromkeys(BROKERS, "not-the-investor")},
    ),
    ("GET", "/sessions"): (None, SIGNED_IN),
    ("GET", "/sessions/ended"): (
        None,
        {
            **dict.fromkeys(CALLERS, "forbidden"),
            "anonymous": "unauthenticated",
            "stocks": FINE,
            "wallet": FINE,
        },
    ),
    ("DELETE", "/sessions/{sessionId}"): (None, ALICES),
    ("POST", "/users/logout"): ({"all": True}, SIGNED_IN),
}
OWN = frozenset({("POST", "/users/login"), ("GET", "/sessions/ended")})
"""Routes whose answers are of Alice for whoever has her password, and for the services that end her tokens."""


def test_every_route_is_walked(client: Client) -> None:
    """A route that is added, in no document even, cannot be forgotten here."""
    assert routes_of(client.app) == set(ROUTES)


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_knows_its_callers(client: Client, caller: str) -> None:
    """Each route gives each caller an answer or a refusal of its own, and nobody what is Alice's alone."""
    scene = await set_scene(client, caller)
    ids = {"userId": scene.alice.id, "authorizationId": scene.mandate, "sessionId": scene.session}
    texts = {"email": f"{uuid.uuid4()}@example.com", "alice_email": scene.alice.email, "bob": scene.bob.id}
    for (method, path), (body, expected) in ROUTES.items():
        given = body and {name: _filled(value, texts) for name, value in body.items()}
        target = path.format(**ids)
        methods = (method, "HEAD") if method == "GET" else (method,)
        for each in methods:
            response = await client.http.request(each, target, json=given, headers=scene.headers)
            if each != "HEAD":
                assert gotten(response) == expected[caller], (method, path, response.text)
            assert response.is_success == (expected[caller] == FINE), (each, path)
            if caller != "alice" and (method, path) not in OWN:
                assert not [secret for secret in scene.secrets if secret in response.text], (method, path)
                parties = (*BROKERS, "stocks")
                assert caller in parties or scene.mandate not in response.text, (method, path)
    if caller != "alice":
        assert (await client.http.get("/sessions", headers=scene.alice.bearer)).is_success
        shown = (await client.http.get(f"/authorizations/{scene.mandate}", headers=scene.alice.bearer)).json()
        assert shown["status"] == BROKERS.get(caller, "ACTIVE").lower()


def _filled(value: object, texts: Mapping[str, str]) -> object:
    return value.format(**texts) if isinstance(value, str) else value


def gotten(response: httpx.Response) -> str:
    """What the caller got: ok, or the problem's code."""
    code: str = FINE if response.is_success else response.json()["code"]
    return code


FIELDS = {
    "me": "{ me { id } }",
    "user": "query($alice: ID!) { user(id: $alice) { id } }",
    "users": "{ users { edges { node { id } } } }",
    "sessions": "{ sessions { id } }",
    "authorization": "query($mandate: ID!) { authorization(id: $mandate) { id } }",
    "_entities": """query($representations: [_Any!]!) { _entities(representations: $representations) {
      ... on User { id } ... on Authorization { id } } }""",
    "register": """mutation($name: String!) { register(input: {name: "X", email: $name, type: INVESTOR,
      password: "correct horse battery", idempotencyKey: $name}) { user { id } errors { code } } }""",
    "login": """mutation($email: String!, $password: String!) {
      login(input: {email: $email, password: $password}) { session { expiresIn } errors { code } } }""",
    "refresh": 'mutation { refresh(refreshToken: "none") { errors { code } } }',
    "updateProfile": 'mutation { updateProfile(input: {name: "Y"}) { user { name } errors { code } } }',
    "createAuthorization": """mutation($broker: ID!) { createAuthorization(input: {type: CAPITAL, brokerId: $broker,
      currency: "EUR", amount: "1.00", idempotencyKey: "k"}) { authorization { status } errors { code } } }""",
    "revokeAuthorization": """mutation($mandate: ID!) {
      revokeAuthorization(input: {id: $mandate}) { authorization { status } errors { code } } }""",
    "endSession": "mutation($session: ID!) { endSession(id: $session) { errors { code } } }",
    "logout": "mutation { logout { errors { code } } }",
}
OK, PAYLOAD = "data", "payload "
# What each caller gets: data, a top-level code, or a code in the payload.
EXPECTED: dict[str, dict[str, str]] = {
    "anonymous": {
        "register": OK,
        "login": OK,
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "otherwise": "UNAUTHENTICATED",
    },
    "her broker": {
        "createAuthorization": PAYLOAD + "INVESTORS_ONLY",
        "revokeAuthorization": PAYLOAD + "NOT_THE_INVESTOR",
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "endSession": PAYLOAD + "NOT_FOUND",
        "otherwise": OK,
    },
    "her broker, revoked": {
        "createAuthorization": PAYLOAD + "INVESTORS_ONLY",
        "revokeAuthorization": PAYLOAD + "NOT_THE_INVESTOR",
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "endSession": PAYLOAD + "NOT_FOUND",
        "otherwise": OK,
    },
    "her broker, expired": {
        "createAuthorization": PAYLOAD + "INVESTORS_ONLY",
        "revokeAuthorization": PAYLOAD + "NOT_THE_INVESTOR",
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "endSession": PAYLOAD + "NOT_FOUND",
        "otherwise": OK,
    },
    "another broker": {
        "authorization": "NOT_FOUND",
        "createAuthorization": PAYLOAD + "INVESTORS_ONLY",
        "revokeAuthorization": PAYLOAD + "NOT_FOUND",
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "endSession": PAYLOAD + "NOT_FOUND",
        "otherwise": OK,
    },
    "another investor": {
        "authorization": "NOT_FOUND",
        "revokeAuthorization": PAYLOAD + "NOT_FOUND",
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "endSession": PAYLOAD + "NOT_FOUND",
        "otherwise": OK,
    },
    **{
        service: {
            "register": OK,
            "login": OK,
            "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
            "otherwise": "FORBIDDEN",
        }
        for service in SERVICES
    },
}


def verdict(answer: dict[str, Any], field: str) -> str:
    """What the caller got."""
    if "errors" in answer:
        code: str = answer["errors"][0]["extensions"]["code"]
        return code
    value = answer["data"][field]
    errors = value.get("errors") if isinstance(value, dict) else None
    return PAYLOAD + errors[0]["code"] if errors else OK


@pytest.mark.parametrize("caller", list(EXPECTED))
async def test_every_root_field_knows_its_callers(client: Client, caller: str) -> None:
    """Each field gives each caller data, a payload error or a top-level error, and nobody another's object."""
    alice, bob = await client.person(), await client.person("broker")
    mandate = await grant(client, alice, bob, state=BROKERS.get(caller, "ACTIVE"))
    people = {
        "another broker": await client.person("broker"),
        "another investor": await client.person(),
        **dict.fromkeys(BROKERS, bob),
    }
    person = people.get(caller)
    if caller in SERVICES:
        person = Person("", "", client.service_bearer(caller)["authorization"].removeprefix("Bearer "), "")
    session = (await client.http.get("/sessions", headers=alice.bearer)).json()["items"][0]["id"]
    variables = {
        "alice": alice.id,
        "session": session,
        "broker": bob.id,
        "mandate": mandate,
        "name": f"{caller.replace(' ', '-').replace(',', '')}@example.com",
        "email": alice.email,
        "password": PASSWORD,
        "representations": [{"__typename": "User", "id": alice.id}, {"__typename": "Authorization", "id": mandate}],
    }
    for field, query in FIELDS.items():
        used = {name: value for name, value in variables.items() if f"${name}:" in query}
        answer = await client.graphql(query, used, person=person)
        expected = EXPECTED[caller].get(field, EXPECTED[caller]["otherwise"])
        assert verdict(answer, field) == expected, (field, answer)
        if field == "_entities" and expected == OK:
            seen = answer["data"]["_entities"][1]
            assert (seen is not None) == (person is bob), field
    assert (await client.http.get(f"/users/{alice.id}", headers=alice.bearer)).json()["name"] == "Alice Example"


def test_every_root_field_is_walked() -> None:
    """A root field that is added cannot be forgotten here."""
    executable = schema._schema
    assert executable.query_type is not None
    assert executable.mutation_type is not None
    roots = {*executable.query_type.fields, *executable.mutation_type.fields}
    assert roots - {"_service"} == set(FIELDS)
