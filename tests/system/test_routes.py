"""Every documented route, by its documented method and path, with and without a token, over real HTTP.

The marks are the documentation's: `*` needs a logged-in user, `**` is the system's and no user's. The requests are
those of an investor of their own, so that no other test finds the demo users changed.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from brokerage.demo import DEMO_USERS
from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.keys import read_signing_key
from tests.system.brokerages import Brokerage

OK, CREATED, NOT_MODIFIED = 200, 201, 304
UNAUTHENTICATED, FORBIDDEN = 401, 403


Find = Callable[[Brokerage, str], str]
"""Finds, or makes, what a placeholder stands for; gets a brokerage and the visitor's token."""


@dataclass(frozen=True, slots=True)
class Route:
    """A line of the documentation. In the path, `:names` stand for ids, as `{names}` do in the body."""

    service: str
    method: str
    path: str
    mark: str = ""
    status: int = OK
    body: Mapping[str, object] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Find] = field(default_factory=dict)
    """Placeholders that stand for something made for this route alone, as its request uses it up."""

    def __str__(self) -> str:
        return f"{self.method}{self.mark} {self.path}"


def first_of(service: str, path: str) -> Find:
    """Finds the first item of a list."""

    def find(brokerage: Brokerage, token: str) -> str:
        response = httpx.get(brokerage.urls[service] + path, headers=bearer(token))
        found: str = response.json()["items"][0]["id"]
        return found

    return find


def own_id(brokerage: Brokerage, token: str) -> str:
    """The visitor's id."""
    found: str = brokerage.ask("{ me { id } }", token)["data"]["me"]["id"]
    return found


def committed_holding(brokerage: Brokerage, token: str) -> str:
    """The holding that has shares set aside."""
    items = httpx.get(f"{brokerage.urls['stocks']}/stockholdings", headers=bearer(token)).json()["items"]
    found: str = next(holding["id"] for holding in items if holding["commitedAmount"] != "0")
    return found


def new_authorization(brokerage: Brokerage, token: str) -> str:
    """A mandate that nobody else uses."""
    return created(brokerage, token, "users", "/authorizations", MANDATE)


def new_working_order(brokerage: Brokerage, token: str) -> str:
    """An order that waits for a price it will never see."""
    return created(brokerage, token, "stocks", "/orders", ORDER)


def created(brokerage: Brokerage, token: str, service: str, path: str, body: Mapping[str, object]) -> str:
    """The id of what a POST creates."""
    response = send(brokerage, Route(service, "POST", path, "*", body=body), token)
    assert response.status_code == CREATED, response.text
    found: str = response.json()["id"]
    return found


PLACEHOLDERS: Mapping[str, Find] = {
    "userId": own_id,
    "brokerId": first_of("users", "/users?type=broker"),
    "authorizationId": first_of("users", "/authorizations?type=stockholding"),
    "transactionId": first_of("wallet", "/transactions"),
    "stockId": first_of("stocks", "/stocks"),
    "stockholdingId": committed_holding,
    "orderId": first_of("stocks", "/orders"),
    "ownHoldingId": first_of("stocks", "/stockholdings"),
}

REGISTRATION = {"name": "Erin", "email": "erin@example.com", "password": "a-long-password", "type": "investor"}
LOGIN = {"email": DEMO_USERS["bob"].email, "password": DEMO_USERS["bob"].password}
VISITOR = {"name": "Dora", "email": "dora@example.com", "password": "a-long-password", "type": "investor"}
PROFILE = {"name": "Dora", "email": VISITOR["email"]}
MANDATE = {"type": "capital", "brokerId": "{brokerId}", "currency": "EUR", "amount": "5.00"}
DEPOSIT = {"type": "deposit", "currency": "EUR", "amount": "1.00"}
COMMITMENT = {"authorizationId": "{authorizationId}", "commitedAmount": "4"}
PURCHASE = {"stockId": "{stockId}", "side": "buy", "quantity": "10"}
SHARES = {"type": "stockholding", "brokerId": "{brokerId}", "stockholdingId": "{ownHoldingId}", "amount": "5"}
ORDER = {"stockId": "{stockId}", "side": "buy", "type": "limit", "quantity": "1", "limitPrice": "0.0100"}
CANCELLATION = {"status": "cancelled"}

ROUTES = [
    Route("users", "POST", "/users/register", status=CREATED, body=REGISTRATION),
    Route("users", "POST", "/users/login", body=LOGIN),
    Route("users", "GET", "/users", "*"),
    Route("users", "GET", "/users", "*", query={"type": "broker"}),
    Route("users", "GET", "/users/:userId", "*"),
    Route("users", "PUT", "/users/:userId", "*", body=PROFILE),
    Route("users", "GET", "/authorizations", "*"),
    Route("users", "GET", "/authorizations/:authorizationId", "*"),
    Route("users", "POST", "/authorizations", "*", status=CREATED, body=MANDATE),
    Route("users", "PUT", "/authorizations/:authorizationId/revoke", "*", own={"authorizationId": new_authorization}),
    Route("wallet", "GET", "/balance", "*"),
    Route("wallet", "GET", "/balance/commitments/:authorizationId", "*", own={"authorizationId": new_authorization}),
    Route("wallet", "PUT", "/balance", "**", body={"op": "void", "currency": "EUR"}),
    Route("wallet", "GET", "/transactions", "*"),
    Route("wallet", "GET", "/transactions/:transactionId", "*"),
    Route("wallet", "POST", "/transactions", "*", status=CREATED, body=DEPOSIT),
    Route("stocks", "GET", "/stocks"),
    Route("stocks", "GET", "/stocks/:stockId"),
    Route("stocks", "GET", "/stockholdings", "*"),
    Route("stocks", "GET", "/stockholdings/:stockholdingId", "*"),
    Route("stocks", "GET", "/stockholdings/commitments/:authorizationId", "*"),
    Route("stocks", "PUT", "/stockholdings/:stockholdingId", "*", body=COMMITMENT),
    Route("stocks", "GET", "/orders", "*"),
    Route("stocks", "GET", "/orders/:orderId", "*"),
    Route("stocks", "POST", "/orders", "*", status=CREATED, body=ORDER),
    Route("stocks", "PUT", "/orders/:orderId", "*", body=CANCELLATION, own={"orderId": new_working_order}),
]


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def send(brokerage: Brokerage, route: Route, token: str, ids_from: str = "") -> httpx.Response:
    """Sends a route's request; its placeholders are found with the token of `ids_from`, or with the request's own."""
    path, body = route.path, json.dumps(route.body)
    for name, find in {**PLACEHOLDERS, **route.own}.items():
        if f":{name}" in path or f"{{{name}}}" in body:
            value = find(brokerage, ids_from or token)
            path, body = path.replace(f":{name}", value), body.replace(f"{{{name}}}", value)
    content = None if route.body is None else body
    headers = {"Content-Type": "application/json", **bearer(token)}
    url = brokerage.urls[route.service] + path
    return httpx.request(route.method, url, params=route.query or None, content=content, headers=headers)


@pytest.fixture(scope="session")
def visitors() -> dict[Path, str]:
    """The visitor's token, by the folder of the brokerage."""
    return {}


@pytest.fixture
def visitor(brokerage: Brokerage, visitors: dict[Path, str]) -> str:
    """The token of an investor whom these tests alone know: with money, shares, and a mandate over some of them."""
    if brokerage.folder not in visitors:
        visitors[brokerage.folder] = register_visitor(brokerage)
    return visitors[brokerage.folder]


def register_visitor(brokerage: Brokerage) -> str:
    """Registers the visitor and makes what the placeholders stand for; the token."""
    created(brokerage, "", "users", "/users/register", VISITOR)
    login = Route("users", "POST", "/users/login", body={name: VISITOR[name] for name in ("email", "password")})
    token: str = send(brokerage, login, "").json()["accessToken"]
    created(brokerage, token, "wallet", "/transactions", {**DEPOSIT, "amount": "10000.00"})
    created(brokerage, token, "stocks", "/orders", PURCHASE)
    created(brokerage, token, "users", "/authorizations", SHARES)
    return token


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_documented_route_answers(brokerage: Brokerage, visitor: str, route: Route) -> None:
    """With the right token a documented route answers as documented; a system route refuses a user's with 403."""
    response = send(brokerage, route, visitor if route.mark else "", ids_from=visitor)
    assert response.status_code == (FORBIDDEN if route.mark == "**" else route.status), response.text


@pytest.mark.parametrize("route", [route for route in ROUTES if route.mark], ids=str)
def test_starred_route_wants_a_token(brokerage: Brokerage, visitor: str, route: Route) -> None:
    """Without a token a starred route answers 401, a problem document with a code, and says how to authenticate."""
    response = send(brokerage, route, "", ids_from=visitor)
    assert response.status_code == UNAUTHENTICATED
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "unauthenticated"


def test_system_route_serves_a_service(brokerage: Brokerage) -> None:
    """PUT /balance answers a service that signs with its own key: here, the void of a hold that never came."""
    key = read_signing_key((brokerage.folder / "secrets" / "stocks_service_key").read_text())
    token = ServiceSigner("stocks", key).token("wallet")
    body = {"op": "void", "id": str(uuid.uuid4()), "investorId": str(uuid.uuid4()), "currency": "EUR"}
    response = httpx.put(f"{brokerage.urls['wallet']}/balance", json=body, headers=bearer(token))
    assert (response.status_code, response.json()["status"]) == (OK, "voided")


def test_users_can_be_limited_to_brokers(brokerage: Brokerage) -> None:
    """GET /users?type=broker lists brokers and nobody else, and nobody's e-mail address."""
    url = f"{brokerage.urls['users']}/users"
    response = httpx.get(url, params={"type": "broker"}, headers=bearer(brokerage.fresh_token("alice")))
    assert [(user["name"], user["type"], "email" in user) for user in response.json()["items"]] == [
        ("Carol", "broker", False)
    ]


def test_mistyped_filter_is_refused(brokerage: Brokerage, visitor: str) -> None:
    """?stauts= would list every order: it is refused, and the parameters that there are are named."""
    url = f"{brokerage.urls['stocks']}/orders?stauts=working"
    response = httpx.get(url, headers=bearer(visitor))
    assert (response.status_code, response.json()["code"]) == (422, "invalid-request")
    assert [error["field"] for error in response.json()["errors"]] == ["stauts"]
    assert "status" in response.json()["errors"][0]["message"]
    assert httpx.get(url).status_code == UNAUTHENTICATED


@pytest.mark.parametrize(("service", "path"), [("users", "/users"), ("wallet", "/balance"), ("stocks", "/orders")])
def test_a_problem_leads_to_its_explanation(brokerage: Brokerage, service: str, path: str) -> None:
    """Whichever way it runs, the type of a service's problem is a page that has the code."""
    refused = httpx.get(brokerage.urls[service] + path)
    explanation = httpx.get(refused.url.join(refused.json()["type"]))
    assert explanation.status_code == OK
    assert '<tr id="unauthenticated">' in explanation.text


def test_head_and_options_over_http(brokerage: Brokerage) -> None:
    """HEAD has the headers of the GET and nothing after them on the connection; OPTIONS says what there is."""
    with httpx.Client(base_url=brokerage.urls["stocks"]) as client:
        shown = client.get("/stocks")
        for _ in range(2):
            head = client.head("/stocks")
            assert (head.status_code, head.content, head.headers["etag"]) == (OK, b"", shown.headers["etag"])
            assert head.headers["content-length"] == str(len(shown.content))
        assert client.get("/stocks", headers={"if-none-match": shown.headers["etag"]}).status_code == NOT_MODIFIED
        assert client.options("/orders").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_documentation_names_every_public_route(brokerage: Brokerage) -> None:
    """Each service's OpenAPI has its documented routes, and never the system's."""
    for service in ("users", "wallet", "stocks"):
        base = brokerage.urls[service]
        in_process = base == brokerage.urls["router"]
        paths = httpx.get(f"{base}/openapi{f'/{service}' if in_process else ''}.json").json()["paths"]
        shapes = {(method.upper(), anonymous(path)) for path, methods in paths.items() for method in methods}
        documented = {(route.method, anonymous(route.path)) for route in ROUTES if route.service == service}
        system = {("PUT", "/balance")}
        assert documented - system <= shapes
        assert not system & shapes


def anonymous(path: str) -> str:
    """A path with its placeholders' names taken out, as the two notations spell them differently."""
    return re.sub(r":\w+|\{\w+\}", "*", path)
