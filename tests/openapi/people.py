"""The people who ask: two investors and the broker of one of them, with money, shares, mandates and orders."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.system.brokerages import Brokerage

PASSWORD = "a-long-password"  # of users that live as long as the test
TOKEN = {
    "extractFrom": "body",
    "extractSelector": "/accessToken",
    "sendIn": "header",
    "sendName": "Authorization",
    "sendTemplate": "Bearer {token}",
}


@dataclass(frozen=True, slots=True)
class Person:
    """A registered user."""

    id: str
    email: str
    role: str


def people_of(brokerage: Brokerage) -> dict[str, Person]:
    """Registers them; the first investor has everything, the second one some money."""
    roles = {"investor": "investor", "other investor": "investor", "broker": "broker"}
    people = {name: registered(brokerage, name, role) for name, role in roles.items()}
    stocks = get(brokerage, "stocks", "/stocks", "")["items"]
    for name in ("investor", "other investor"):
        token = token_of(brokerage, people[name])
        for currency in ("USD", "EUR"):
            body = {"type": "deposit", "currency": currency, "amount": "100000.00"}
            post(brokerage, "wallet", "/transactions", token, body)
    token = token_of(brokerage, people["investor"])
    euro = next(stock for stock in stocks if stock["currency"] == "EUR")
    post(brokerage, "stocks", "/orders", token, {"stockId": euro["id"], "side": "buy", "quantity": "20"})
    waiting = {"stockId": euro["id"], "side": "buy", "type": "limit", "quantity": "1", "limitPrice": "0.0100"}
    post(brokerage, "stocks", "/orders", token, waiting)
    holding = get(brokerage, "stocks", "/stockholdings", token)["items"][0]["id"]
    broker = {"brokerId": people["broker"].id}
    money = {**broker, "type": "capital", "currency": "EUR", "amount": "5000.00"}
    shares = {**broker, "type": "stockholding", "stockholdingId": holding, "amount": "5"}
    mandate = post(brokerage, "users", "/authorizations", token, money)["id"]
    post(brokerage, "users", "/authorizations", token, shares)
    placed = {"stockId": euro["id"], "side": "buy", "quantity": "20", "authorizationId": mandate}
    post(brokerage, "stocks", "/orders", token_of(brokerage, people["broker"]), placed)
    return people


def write_users(people: dict[str, Person], users_url: str, path: Path) -> None:
    """Writes how each of them logs in, in the format of Web Fuzzing Commons."""
    auth = [
        {
            "name": name,
            "loginEndpointAuth": {
                "verb": "POST",
                "externalEndpointURL": f"{users_url}/users/login",
                "contentType": "application/json",
                "payloadUserPwd": {
                    "username": person.email,
                    "password": PASSWORD,
                    "usernameField": "email",
                    "passwordField": "password",
                },
                "token": TOKEN,
            },
        }
        for name, person in people.items()
    ]
    path.write_text(json.dumps({"auth": auth}))


def registered(brokerage: Brokerage, name: str, role: str) -> Person:
    """Registers one of them."""
    email = f"{name.replace(' ', '-')}@openapi.example"
    body = {"name": name.title(), "email": email, "password": PASSWORD, "type": role}
    return Person(post(brokerage, "users", "/users/register", "", body)["id"], email, role)


def token_of(brokerage: Brokerage, person: Person) -> str:
    """A fresh access token."""
    body = {"email": person.email, "password": PASSWORD}
    response = httpx.post(f"{brokerage.urls['users']}/users/login", json=body)
    token: str = response.json()["accessToken"]
    return token


def post(brokerage: Brokerage, service: str, path: str, token: str, body: dict[str, str]) -> Any:
    """What a POST creates."""
    response = httpx.post(brokerage.urls[service] + path, json=body, headers=bearer(token))
    assert response.status_code == httpx.codes.CREATED, response.text
    return response.json()


def get(brokerage: Brokerage, service: str, path: str, token: str) -> Any:
    """What a GET shows."""
    response = httpx.get(brokerage.urls[service] + path, headers=bearer(token))
    assert response.status_code == httpx.codes.OK, response.text
    return response.json()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}
