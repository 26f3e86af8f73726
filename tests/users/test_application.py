"""What every route of the service keeps: who may call it, what OpenAPI says of it, and what a failure shows."""

import logging
import re
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from subgraphs.shared.database import Database
from subgraphs.shared.errors import INTERNAL_ERROR
from subgraphs.shared.keys import signing_key
from subgraphs.users.app import create_app
from subgraphs.users.settings import Settings
from tests.users.conftest import PASSWORD, Client, ClientFactory
from tests.users.mandates import grant

PROFILE = {"name": "Alice Example", "email": "alice@example.com", "currentPassword": PASSWORD}
MANDATE = {"type": "capital", "brokerId": "{bob}", "currency": "EUR", "amount": "1.00"}
DOCUMENTED = [
    ("POST", "/users/register"),
    ("POST", "/users/login"),
    ("POST", "/users/refresh"),
    ("GET", "/users"),
    ("GET", "/users/{userId}"),
    ("PUT", "/users/{userId}"),
    ("GET", "/authorizations"),
    ("GET", "/authorizations/{authorizationId}"),
    ("POST", "/authorizations"),
    ("PUT", "/authorizations/{authorizationId}/revoke"),
]
STARRED = [
    ("GET", "/users", None),
    ("GET", "/users/{alice}", None),
    ("PUT", "/users/{alice}", PROFILE),
    ("GET", "/authorizations", None),
    ("GET", "/authorizations/{mandate}", None),
    ("POST", "/authorizations", MANDATE),
    ("PUT", "/authorizations/{mandate}/revoke", None),
]
STATUSES = {
    # caller:  list users, read user, write user, list mandates, read mandate, give mandate, revoke mandate
    "anonymous": [401, 401, 401, 401, 401, 401, 401],
    "alice": [200, 200, 200, 200, 200, 202, 202],
    "another investor": [200, 200, 403, 200, 404, 202, 404],
    "her broker": [200, 200, 403, 200, 200, 403, 403],
    "another broker": [200, 200, 403, 200, 404, 403, 404],
    "stocks": [403, 403, 403, 403, 200, 422, 403],
    "wallet": [403, 403, 403, 403, 403, 403, 403],
    "expired": [401, 401, 401, 401, 401, 401, 401],
    "forged": [401, 401, 401, 401, 401, 401, 401],
}


async def test_a_method_that_a_route_lacks_is_answered_with_those_it_has(client: Client) -> None:
    """405 names all methods of the path (RFC 9110, 15.5.6), whichever of its routes was declared first."""
    for path, allowed in (
        ("/users", "GET, HEAD, OPTIONS"),
        ("/users/any", "GET, HEAD, OPTIONS, PUT"),
        ("/authorizations", "GET, HEAD, OPTIONS, POST"),
    ):
        response = await client.http.delete(path)
        assert (response.status_code, response.json()["code"]) == (405, "method-not-allowed")
        assert response.headers["allow"] == allowed


@pytest.mark.parametrize("caller", list(STATUSES))
async def test_starred_routes_know_their_callers(client: Client, caller: str) -> None:
    """Each starred route answers each kind of caller with its documented status, and 401 says how to log in."""
    alice, bob = await client.person(), await client.person("broker")
    mandate = await grant(client, alice, bob)
    headers: dict[str, dict[str, str]] = {
        "anonymous": {},
        "alice": alice.bearer,
        "another investor": (await client.person()).bearer,
        "her broker": bob.bearer,
        "another broker": (await client.person("broker")).bearer,
        "stocks": client.service_bearer("stocks"),
        "wallet": client.service_bearer("wallet"),
        "expired": alice.bearer,
        "forged": {"authorization": alice.bearer["authorization"][:-4] + "AAAA"},
    }
    if caller == "expired":
        client.clock.advance(16 * 60)
    for (method, path, body), status in zip(STARRED, STATUSES[caller], strict=True):
        target = path.format(alice=alice.id, mandate=mandate)
        sent = {**MANDATE, "brokerId": bob.id} if body is MANDATE else body
        response = await client.http.request(method, target, json=sent, headers=headers[caller])
        assert response.status_code == status, (method, path)
        assert ("www-authenticate" in response.headers) == (status == 401)


def blank(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"{\w+}", "{}", path)


async def test_openapi_describes_every_documented_route(client: Client) -> None:
    """Each route is there with its body, its errors by code and the bearer scheme where it is starred."""
    document = (await client.http.get("/openapi.json")).json()
    for method, path in DOCUMENTED:
        operation = document["paths"][path][method.lower()]
        assert operation["summary"], path
        starred = any(method == other and blank(path) == blank(target) for other, target, _ in STARRED)
        assert ("security" in operation) == starred, path
        assert "application/problem+json" in operation["responses"]["422"]["content"], path
        assert ("401" in operation["responses"]) == (starred or path.endswith(("login", "refresh"))), path
        assert ("requestBody" in operation) == (method != "GET" and not path.endswith("revoke")), path
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]
    assert "HTTPBearer" in document["components"]["securitySchemes"]
    assert not [path for path in document["paths"] if "graphql" in path]
    assert (await client.http.get("/docs")).status_code == 200


def references(value: Any) -> set[str]:
    """Every part that a document refers to."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(references(each) for each in value))
    return set()


async def test_openapi_refers_to_nothing_that_is_missing(client: Client) -> None:
    """Every reference in the document leads to a schema or a header in it."""
    document = (await client.http.get("/openapi.json")).json()
    known = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in document["components"][kind]}
    assert references(document) <= known


@pytest.mark.parametrize(("method", "path", "status"), [("DELETE", "/users", 405), ("GET", "/nothing", 404)])
async def test_unknown_routes_are_problems_too(client: Client, method: str, path: str, status: int) -> None:
    """A wrong path or method answers as a problem document; 405 says which methods there are."""
    response = await client.http.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert ("allow" in response.headers) == (status == 405)


async def test_a_fault_shows_its_request_id_and_nothing_else(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is 500 `internal-error`, logged under the id that the client gets, over both faces."""
    alice = await client.person()

    def broken() -> Any:
        raise RuntimeError("the secret reason")

    client.database.reading = broken  # type: ignore[method-assign]  # a fault of our own
    with caplog.at_level(logging.ERROR):
        headers = {**alice.bearer, "x-request-id": "request-7"}
        response = await client.http.get("/users", headers=headers)
        answer = await client.graphql("{ me { id } }", person=alice)
    assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert response.json()["requestId"] == response.headers["x-request-id"] == "request-7"
    assert "secret" not in response.text
    assert answer["data"] == {"me": None}
    assert (answer["errors"][0]["message"], answer["errors"][0]["extensions"]["code"]) == (
        INTERNAL_ERROR.detail,
        "INTERNAL_ERROR",
    )
    assert "request-7" in caplog.text
    assert "the secret reason" in caplog.text


async def test_a_lost_database_is_503(unused_tcp_port: int) -> None:
    """While the database is away requests are told to come back, and the service says it is not ready but alive."""
    url = f"postgresql://127.0.0.1:{unused_tcp_port}/users"
    database = Database.open(url)
    app = create_app(Settings(mode="development", database_url=SecretStr(url), loops=False), database=database)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://users") as http:
        ready, alive = await http.get("/ready"), await http.get("/health")
        login = await http.post("/users/login", json={"email": "a@example.com", "password": "x"})
    await database.close()
    assert [ready.status_code, alive.status_code, login.status_code] == [503, 200, 503]
    assert (login.json()["code"], login.headers["retry-after"]) == ("unavailable", "1")


async def test_the_jwk_set_shows_public_halves_only(client: Client) -> None:
    """The signing key's public half is there with its algorithm, its private half is not, and caches may keep it."""
    response = await client.http.get("/.well-known/jwks.json")
    assert [key["alg"] for key in response.json()["keys"]] == ["EdDSA"]
    assert "d" not in response.json()["keys"][0]
    assert response.headers["cache-control"] == "public, max-age=300"


async def test_keys_rotate_without_downtime(make_client: ClientFactory) -> None:
    """After the signing key was replaced, tokens of the old one live on, and both are published."""
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    before = await make_client(token_signing_key=private_pem(old), token_verifying_keys=(public_pem(new),))
    alice = await before.person()
    after = await make_client(token_signing_key=private_pem(new), token_verifying_keys=(public_pem(old),))
    refreshed = await after.http.post("/users/refresh", json={"refreshToken": alice.refresh_token})
    fresh = {"authorization": f"Bearer {refreshed.json()['accessToken']}"}
    for replica in (before, after):
        codes = [(await replica.http.get("/users", headers=headers)).status_code for headers in (alice.bearer, fresh)]
        assert codes == [200, 200]
        published = (await replica.http.get("/.well-known/jwks.json")).json()["keys"]
        assert {key["kid"] for key in published} == {signing_key(old).kid, signing_key(new).kid}


def private_pem(key: Ed25519PrivateKey) -> str:
    """A private key as it stands in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public half as it stands in a file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
