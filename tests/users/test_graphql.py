"""The users subgraph as the router speaks to it."""

from typing import Any

import pytest

from subgraphs.shared.graphql import sdl_is_current
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.users import schema as schema_module
from tests.users.conftest import PASSWORD, Client, ClientFactory
from tests.users.mandates import grant

ME = "{ me { id name type email version registeredAt } }"
REGISTER = """mutation Register($input: RegisterInput!) {
  register(input: $input) { user { id email type } replayed errors { code field message } } }"""
LOGIN = """mutation Login($input: LoginInput!) {
  login(input: $input) { session { accessToken refreshToken expiresIn user { id email } } errors { code } } }"""
REFRESH = """mutation Refresh($token: String!) {
  refresh(refreshToken: $token) { session { refreshToken } errors { code } } }"""
UPDATE = """mutation Update($input: UpdateProfileInput!) {
  updateProfile(input: $input) { user { name email version } errors { code field } } }"""
ENTITIES = """query Entities($representations: [_Any!]!) {
  _entities(representations: $representations) {
    ... on User { id name email } ... on Authorization { id status amount } } }"""


def codes(answer: dict[str, Any]) -> list[tuple[str, list[str | int] | None]]:
    """The code and path of every top-level error."""
    return [(error["extensions"]["code"], error.get("path")) for error in answer.get("errors", [])]


def test_the_committed_sdl_is_current() -> None:
    """`schema.graphql` is what `python -m subgraphs.users.schema` writes."""
    assert sdl_is_current(schema_module.schema, schema_module.__file__)


async def test_me_is_the_caller(client: Client) -> None:
    """A user reads the whole of their own profile."""
    alice = await client.person()
    assert (await client.graphql(ME, person=alice))["data"]["me"] == {
        "id": alice.id,
        "name": "Alice Example",
        "type": "INVESTOR",
        "email": alice.email,
        "version": 1,
        "registeredAt": "2027-01-15T08:00:00.000Z",
    }


async def test_without_a_token_me_is_null_with_a_code(client: Client) -> None:
    """Nobody is told apart from a bad or an expired token by the code."""
    alice = await client.person()
    nobody = await client.graphql(ME)
    assert (nobody["data"], codes(nobody)) == ({"me": None}, [("UNAUTHENTICATED", ["me"])])
    client.clock.advance(16 * 60)
    assert codes(await client.graphql(ME, person=alice)) == [("EXPIRED_TOKEN", ["me"])]
    alice.access_token = "abc"
    assert codes(await client.graphql(ME, person=alice)) == [("INVALID_TOKEN", ["me"])]


async def test_anothers_private_fields_are_null_and_the_rest_stays(client: Client) -> None:
    """E-mail address, version and authorizations of another are null, each with NOT_FOUND and its path."""
    alice, bob = await client.person(), await client.person("broker", name="Bob")
    query = "query($id: ID!) { user(id: $id) { name email version authorizations { edges { cursor } } } }"
    answer = await client.graphql(query, {"id": bob.id}, person=alice)
    assert answer["data"]["user"] == {"name": "Bob", "email": None, "version": None, "authorizations": None}
    paths = [["user", name] for name in ("email", "version", "authorizations")]
    assert sorted(codes(answer)) == sorted(("NOT_FOUND", path) for path in paths)


async def test_users_is_a_connection(client: Client) -> None:
    """Pages follow each other by endCursor, and the type filters."""
    alice = await client.person()
    brokers = [(await client.person("broker")).id for _ in range(3)]
    query = """query($after: String) { users(type: BROKER, first: 2, after: $after) {
      edges { cursor node { id type } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    first = (await client.graphql(query, person=alice))["data"]["users"]
    second = (await client.graphql(query, {"after": first["pageInfo"]["endCursor"]}, person=alice))["data"]["users"]
    assert sorted(edge["node"]["id"] for edge in first["edges"] + second["edges"]) == sorted(brokers)
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert (first["pageInfo"]["hasPreviousPage"], second["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert first["pageInfo"]["endCursor"] == first["edges"][-1]["cursor"]


async def test_register_login_refresh_through_graphql(client: Client) -> None:
    """The whole way to a session works through the router too."""
    given = {
        "name": "Carol",
        "email": "carol@example.com",
        "password": PASSWORD,
        "type": "INVESTOR",
        "idempotencyKey": "k",
    }
    registered = (await client.graphql(REGISTER, {"input": given}))["data"]["register"]
    repeated = (await client.graphql(REGISTER, {"input": given}))["data"]["register"]
    assert (registered["replayed"], repeated) == (False, {**registered, "replayed": True})
    assert registered["errors"] == []
    login = {"email": "carol@example.com", "password": PASSWORD}
    session = (await client.graphql(LOGIN, {"input": login}))["data"]["login"]["session"]
    assert session["user"] == {"id": registered["user"]["id"], "email": "carol@example.com"}
    fresh = (await client.graphql(REFRESH, {"token": session["refreshToken"]}))["data"]["refresh"]
    assert fresh["errors"] == []
    assert fresh["session"]["refreshToken"] != session["refreshToken"]


async def test_a_key_is_shared_by_both_faces(client: Client) -> None:
    """A registration repeated through the other face is the same user."""
    body = {"name": "Carol", "email": "carol@example.com", "password": PASSWORD, "type": "investor"}
    rest = await client.http.post("/users/register", json=body, headers={"idempotency-key": "k"})
    given = {**body, "type": "INVESTOR", "idempotencyKey": "k"}
    answer = await client.graphql(REGISTER, {"input": given})
    assert answer["data"]["register"]["user"]["id"] == rest.json()["id"]


async def test_refused_rules_are_payload_errors(client: Client) -> None:
    """A mutation that is refused says why in its payload, field by field, and at the top level nothing."""
    alice = await client.person()
    given = {"name": " ", "email": "x", "password": PASSWORD, "type": "BROKER", "idempotencyKey": "k"}
    answer = await client.graphql(REGISTER, {"input": given})
    assert "errors" not in answer
    assert [(error["code"], error["field"]) for error in answer["data"]["register"]["errors"]] == [
        ("INVALID_REQUEST", "name"),
        ("INVALID_REQUEST", "email"),
    ]
    wrong = await client.graphql(LOGIN, {"input": {"email": alice.email, "password": "wrong password"}})
    assert wrong["data"]["login"] == {"session": None, "errors": [{"code": "INVALID_CREDENTIALS"}]}
    stale = await client.graphql(REFRESH, {"token": "none"})
    assert stale["data"]["refresh"] == {"session": None, "errors": [{"code": "INVALID_REFRESH_TOKEN"}]}


async def test_too_many_attempts_are_a_top_level_error(make_client: ClientFactory) -> None:
    """A limit is no business rule: it is a top-level error that says when to come back."""
    client = await make_client(login_attempts_per_address_max=1)
    variables = {"input": {"email": "nobody@example.com", "password": "wrong password"}}
    await client.graphql(LOGIN, variables)
    answer = await client.graphql(LOGIN, variables)
    assert codes(answer) == [("TOO_MANY_REQUESTS", ["login"])]
    assert answer["errors"][0]["extensions"]["retryAfterS"] > 0


async def test_one_login_per_operation(client: Client) -> None:
    """A request cannot guess twice, by aliases, by fragments or by mixing the fields."""
    login = 'login(input: {email: "a@example.com", password: "x"}) { errors { code } }'
    for query in (
        f"mutation {{ a: {login} b: {login} }}",
        f"mutation {{ a: {login} ...More }} fragment More on Mutation {{ b: {login} }}",
        f'mutation {{ a: {login} refresh(refreshToken: "x") {{ errors {{ code }} }} }}',
    ):
        answer = await client.graphql(query)
        assert (answer["data"], codes(answer)) == (None, [("GRAPHQL_VALIDATION_FAILED", None)]), query


async def test_update_profile_changes_what_is_given(client: Client) -> None:
    """Fields left out stay, the version moves, and an older expected version is refused."""
    alice = await client.person()
    first = await client.graphql(UPDATE, {"input": {"name": "Alice B.", "expectedVersion": 1}}, person=alice)
    assert first["data"]["updateProfile"]["user"] == {"name": "Alice B.", "email": alice.email, "version": 2}
    second = await client.graphql(UPDATE, {"input": {"name": "Alice C.", "expectedVersion": 1}}, person=alice)
    assert second["data"]["updateProfile"]["errors"] == [{"code": "PRECONDITION_FAILED", "field": None}]
    nobody = await client.graphql(UPDATE, {"input": {"name": "X"}})
    assert codes(nobody) == [("UNAUTHENTICATED", ["updateProfile"])]


async def test_entities_come_back_in_order_and_fail_alone(client: Client) -> None:
    """Representations of several types mixed with impossible ones: each slot gets its own answer."""
    alice, bob = await client.person(name="Alice"), await client.person("broker", name="Bob")
    mandate = await grant(client, alice, bob)
    representations: list[Any] = [
        {"__typename": "User", "id": bob.id, "name": "Forged", "email": "forged@example.com"},
        {"__typename": "Authorization", "id": mandate},
        {"__typename": "User", "id": "nobody"},
        {"__typename": "User"},
        {"__typename": "User", "id": 7},
        {"__typename": "Stock", "id": "x"},
        {"id": alice.id},
        "alice",
        {"__typename": "User", "id": alice.id},
    ]
    answer = await client.graphql(ENTITIES, {"representations": representations}, person=alice)
    assert answer["data"]["_entities"] == [
        {"id": bob.id, "name": "Bob", "email": None},
        {"id": mandate, "status": "ACTIVE", "amount": "100.00"},
        *[None] * 6,
        {"id": alice.id, "name": "Alice", "email": alice.email},
    ]
    assert sorted(codes(answer), key=str) == sorted(
        [
            ("NOT_FOUND", ["_entities", 0, "email"]),
            ("INVALID_REQUEST", ["_entities", 3]),
            ("INVALID_REQUEST", ["_entities", 4]),
            ("MALFORMED_REQUEST", ["_entities", 5]),
            ("MALFORMED_REQUEST", ["_entities", 6]),
            ("MALFORMED_REQUEST", ["_entities", 7]),
        ],
        key=str,
    )


@pytest.mark.one_execution
async def test_entities_cost_one_statement_per_type(client: Client) -> None:
    """A hundred users are read at once, however often they repeat."""
    alice = await client.person()
    statements = 0
    reading = client.database.reading

    def counted() -> Any:
        nonlocal statements
        statements += 1
        return reading()

    client.database.reading = counted  # type: ignore[method-assign]  # counts, and does the real thing
    variables = {"representations": [{"__typename": "User", "id": alice.id}] * 100}
    answer = await client.graphql(ENTITIES, variables, person=alice)
    assert [user["id"] for user in answer["data"]["_entities"]] == [alice.id] * 100
    assert statements == 1


async def test_too_many_representations_are_refused(client: Client) -> None:
    """More than a thousand entities at a time are refused as a whole."""
    alice = await client.person()
    variables = {"representations": [{"__typename": "User", "id": alice.id}] * 1_001}
    answer = await client.graphql(ENTITIES, variables, person=alice)
    assert codes(answer) == [("MALFORMED_REQUEST", ["_entities"])]


DOCUMENTS = [
    ("{ me { id ", "GRAPHQL_PARSE_FAILED"),
    ("{ unknown }", "GRAPHQL_VALIDATION_FAILED"),
    ("{ __schema { types { name } } }", "GRAPHQL_VALIDATION_FAILED"),
    ("{ " + " ".join(f"a{n}: __typename" for n in range(201)) + " }", "GRAPHQL_VALIDATION_FAILED"),
    ("{ " + " ".join(f"a{n}: me {{ id }}" for n in range(3_000)) + " }", "GRAPHQL_PARSE_FAILED"),
    ("{ me" * 20 + " }" * 20, "GRAPHQL_VALIDATION_FAILED"),
    ("", "MALFORMED_REQUEST"),
    ("fragment F on User { id }", "MALFORMED_REQUEST"),
]


async def test_documents_are_limited(client: Client) -> None:
    """Broken, unknown, too wide, too long and too deep documents are refused with a code."""
    for query, code in DOCUMENTS:
        answer = await client.graphql(query)
        assert answer["data"] is None, query[:80]
        assert code in {code for code, _ in codes(answer)}, query[:80]


async def test_a_variable_of_the_wrong_type_is_the_clients_fault(client: Client) -> None:
    """A variable that does not fit its type is BAD_USER_INPUT."""
    answer = await client.graphql("query($id: ID!) { user(id: $id) { id } }", {"id": {"a": 1}})
    assert [code for code, _ in codes(answer)] == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("secret", [None, "", "wrong", "development-router-secret "])
async def test_only_the_router_is_answered(client: Client, secret: str | None) -> None:
    """Without the router's secret, _entities included, nothing is executed."""
    alice = await client.person()
    headers = {**alice.bearer, **({} if secret is None else {"x-router-secret": secret})}
    body = {"query": ENTITIES, "variables": {"representations": [{"__typename": "User", "id": alice.id}]}}
    response = await client.http.post("/graphql", json=body, headers=headers)
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("method", "content", "content_type", "status", "code"),
    [
        ("POST", b"{", "application/json", 400, "MALFORMED_REQUEST"),
        ("POST", b"[]", "application/json", 400, "MALFORMED_REQUEST"),
        ("POST", b'{"query": 7}', "application/json", 400, "MALFORMED_REQUEST"),
        ("POST", b'{"query": "{ me { id } }", "variables": []}', "application/json", 400, "MALFORMED_REQUEST"),
        ("POST", b'{"query": "{ me { id } }", "extensions": 1}', "application/json", 400, "MALFORMED_REQUEST"),
        ("POST", b"query={me{id}}", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", b'{"query": "' + b"#" * 1_048_576 + b'"}', "application/json", 413, "BODY_TOO_LARGE"),
        ("GET", b"", "application/json", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_requests_that_cannot_be_read_are_refused(
    client: Client, method: str, content: bytes, content_type: str, status: int, code: str
) -> None:
    """Each kind of unreadable request has its status and code."""
    headers = {"x-router-secret": DEVELOPMENT_ROUTER_SECRET, "content-type": content_type}
    response = await client.http.request(method, "/graphql", content=content, headers=headers)
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (status, code)


JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        (JSON, JSON),
        (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE}, {JSON};q=0.9", GRAPHQL_RESPONSE),
        (f"{JSON}, {GRAPHQL_RESPONSE.upper()} ; charset=utf-8", GRAPHQL_RESPONSE),
        (f"{JSON};q=0.9,{GRAPHQL_RESPONSE};q=0.5", JSON),
        (f"{GRAPHQL_RESPONSE};q=0", JSON),
        (f"{GRAPHQL_RESPONSE};q=nan", JSON),
        (f"{GRAPHQL_RESPONSE};q=1e3", JSON),
    ],
)
async def test_the_media_type_is_the_one_that_is_accepted(client: Client, accept: str | None, media_type: str) -> None:
    """GraphQL's own type where it is asked for: then a status of 400 and no data say that nothing was executed."""
    headers = {"x-router-secret": DEVELOPMENT_ROUTER_SECRET, "accept": accept or ""}
    executed, refused = [
        await client.http.post("/graphql", json={"query": query}, headers=headers)
        for query in ("{ me { id } }", "{ me { nothing } }")
    ]
    assert [each.headers["content-type"] for each in (executed, refused)] == [media_type] * 2
    assert (executed.status_code, executed.json()["data"]) == (200, {"me": None})
    is_plain = media_type == JSON
    assert (refused.status_code, "data" in refused.json()) == ((200, True) if is_plain else (400, False))
    assert codes(refused.json()) == [("GRAPHQL_VALIDATION_FAILED", None)]


async def test_a_batch_of_representations_is_larger_than_a_rest_body(client: Client) -> None:
    """A thousand representations, more than REST's 64 KiB, are answered."""
    alice = await client.person()
    padded = {"__typename": "User", "id": alice.id, "padding": "x" * 50}
    answer = await client.graphql(ENTITIES, {"representations": [padded] * 1_000}, person=alice)
    assert len(answer["data"]["_entities"]) == 1_000
    assert "errors" not in answer


async def test_either_secret_is_accepted_while_one_replaces_the_other(make_client: ClientFactory) -> None:
    """Two configured secrets work side by side."""
    client = await make_client(router_secrets="the-old-secret-of-the-router, the-new-secret-of-the-router")
    for secret in ("the-old-secret-of-the-router", "the-new-secret-of-the-router"):
        response = await client.http.post("/graphql", json={"query": ME}, headers={"x-router-secret": secret})
        assert response.status_code == 200


async def test_in_process_there_is_no_endpoint(make_client: ClientFactory) -> None:
    """Beside a router in the same process GraphQL is answered in memory only, and pages carry the service's name."""
    client = await make_client(in_process=True)
    alice = await client.person()
    assert (await client.http.post("/graphql", json={"query": ME})).status_code == 404
    answer = await client.app.state.subgraph.execute("{ me { id } }", authorization=alice.bearer["authorization"])
    assert answer == {"data": {"me": {"id": alice.id}}}
    pages = [(await client.http.get(path)).status_code for path in ("/docs/users", "/openapi/users.json", "/docs")]
    assert pages == [200, 200, 404]
