"""Every root field of the subgraph, walked by every kind of caller."""

from typing import Any

import pytest

from subgraphs.users.schema import schema
from tests.users.conftest import PASSWORD, Client, Person
from tests.users.mandates import grant

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
    "stocks": {
        "register": OK,
        "login": OK,
        "refresh": PAYLOAD + "INVALID_REFRESH_TOKEN",
        "otherwise": "FORBIDDEN",
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
    state = {"her broker, revoked": "REVOKED", "her broker, expired": "EXPIRED"}.get(caller, "ACTIVE")
    mandate = await grant(client, alice, bob, state=state)
    people = {
        "another broker": await client.person("broker"),
        "another investor": await client.person(),
        **dict.fromkeys(("her broker", "her broker, revoked", "her broker, expired"), bob),
    }
    token = client.service_bearer("stocks")["authorization"].removeprefix("Bearer ")
    person = Person("", "", token, "") if caller == "stocks" else people.get(caller)
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
