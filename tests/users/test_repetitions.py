"""A request to register has one answer, yes or no, on both faces and for good."""

from tests.users.conftest import Client

REGISTER = "mutation($i: RegisterInput!) { register(input: $i) { user { id } replayed errors { code field } } }"
ALICE = {"name": "Alice", "email": "alice@example.com", "password": "correct horse battery", "type": "investor"}


async def test_a_taken_address_stays_taken(client: Client) -> None:
    """A registration that came second is refused again when the first has moved to another address."""
    first = await client.http.post("/users/register", json=ALICE)
    assert first.status_code == 201
    headers, second = {"Idempotency-Key": "second"}, {**ALICE, "name": "Another Alice"}
    refused = await client.http.post("/users/register", json=second, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "email-taken")
    login = await client.http.post("/users/login", json={"email": ALICE["email"], "password": ALICE["password"]})
    bearer = {"authorization": f"Bearer {login.json()['accessToken']}"}
    change = {"email": "moved@example.com", "currentPassword": ALICE["password"]}
    moved = await client.http.put(f"/users/{first.json()['id']}", json=change, headers=bearer)
    assert moved.status_code == 200, moved.text
    again = await client.http.post("/users/register", json=second, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (409, "true")
    assert {**again.json(), "requestId": ""} == {**refused.json(), "requestId": ""}
    answer = await client.graphql(REGISTER, {"i": {**second, "type": "INVESTOR", "idempotencyKey": "second"}})
    shown = {"user": None, "replayed": True, "errors": [{"code": "EMAIL_TAKEN", "field": "email"}]}
    assert answer["data"]["register"] == shown
    fresh = await client.http.post("/users/register", json=second, headers={"Idempotency-Key": "third"})
    assert fresh.status_code == 201
