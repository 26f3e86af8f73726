"""The people of the fault tests and how they talk to the services: over REST, patiently, always with the same key.

A client here is what a careful client is: it repeats a request with its Idempotency-Key until the answer is final. So
whatever the faults in between, each of its requests ends with exactly one effect, and the books must show that.
"""

import asyncio
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from subgraphs.shared.auth import ServiceSigner, user_token
from subgraphs.shared.keys import development_key
from subgraphs.users.settings import DEVELOPMENT_TOKEN_KEY

ATTEMPT_TIMEOUT_S = 5.0
IMPATIENT_TIMEOUT_S = 1.0
FINAL_WITHIN_S = 20.0
"""A request that is not final by then is a failure of the services: they promise 5 s after the last fault."""
PAUSE_S = 0.05
NOT_FINAL = frozenset({202, 429, 500, 502, 503, 504})
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here is encrypted; a client that is given no context reads all certificates of the machine."""
MOVING = frozenset({"pending", "revoking"})
NAMES: Mapping[str, Literal["investor", "broker"]] = {
    "alice": "investor",
    "bob": "investor",
    "carol": "broker",
    "mallory": "broker",
}
_KEYS = uuid.UUID("5f0c3a52-6c3c-4a52-9a52-0f0c3a526c3c")


class NotFinal(AssertionError):
    """A request had no final answer in time."""


@dataclass(frozen=True, slots=True)
class Person:
    """A registered user."""

    name: str
    id: str

    def headers(self) -> dict[str, str]:
        """A fresh access token, as the users service would sign it."""
        key = development_key(DEVELOPMENT_TOKEN_KEY)
        return {"authorization": f"Bearer {user_token(key, self.id, NAMES[self.name], now=time.time())}"}


def key_of(name: str) -> dict[str, str]:
    """The Idempotency-Key header of a named request: the same name is the same request, in every run."""
    return {"idempotency-key": str(uuid.uuid5(_KEYS, name))}


def _is_put_off(response: httpx.Response) -> bool:
    """Whether it says to come again later than anybody here waits, as to who has been refused too often: for a test
    that is a no."""
    return response.status_code == 429 and int(response.headers["retry-after"]) > FINAL_WITHIN_S


class Clients:
    """Requests to the services at `urls`. `patient`: repeat until the answer is final; otherwise send once."""

    def __init__(
        self,
        urls: Mapping[str, str],
        people: Mapping[str, Person],
        *,
        patient: bool = True,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.people = people
        self._urls = urls
        self._patient = patient
        self._timeout_s = ATTEMPT_TIMEOUT_S if patient else IMPATIENT_TIMEOUT_S
        self._client = client or httpx.AsyncClient(timeout=ATTEMPT_TIMEOUT_S, trust_env=False, verify=PLAIN)
        self._operator = ServiceSigner("stocks", development_key("stocks"))

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._client.aclose()

    def impatient(self) -> "Clients":
        """The same people, each request sent once whatever comes of it."""
        return Clients(self._urls, self.people, patient=False, client=self._client)

    async def send(
        self,
        service: str,
        method: str,
        path: str,
        person: str | None = None,
        *,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One request until its answer is final; an impatient client's is whatever comes of one attempt."""
        deadline = time.monotonic() + FINAL_WITHIN_S
        attempts: Counter[str] = Counter()
        while time.monotonic() < deadline:
            headers = {**(self.people[person].headers() if person else {}), **(key_of(key) if key else {})}
            try:
                response = await self._client.request(
                    method, self._urls[service] + path, json=body, headers=headers, timeout=self._timeout_s
                )
            except httpx.TransportError as error:
                attempts[type(error).__name__] += 1
            else:
                if response.status_code not in NOT_FINAL or not self._patient or _is_put_off(response):
                    return response
                attempts[f"{response.status_code} {response.text[:300]}"] += 1
            if not self._patient:
                return httpx.Response(599, json={})
            await asyncio.sleep(PAUSE_S)
        raise NotFinal(f"{method} {service}{path} {key or ''}: {dict(attempts)}")

    # ---- what people do ----

    async def register(self, name: str) -> Person:
        """Registers one of `NAMES`."""
        body = {
            "name": name.title(),
            "email": f"{name}@example.com",
            "password": "correct horse battery",
            "type": NAMES[name],
        }
        response = await self.send("users", "POST", "/users/register", body=body, key=f"register {name}")
        assert response.status_code == 201, response.text
        return Person(name, response.json()["id"])

    async def deposit(self, person: str, amount: str, currency: str, key: str) -> None:
        """Pays money in."""
        body = {"type": "deposit", "amount": amount, "currency": currency}
        response = await self.send("wallet", "POST", "/transactions", person, body=body, key=key)
        assert response.status_code == 201, response.text

    async def order(self, person: str, key: str, **body: object) -> dict[str, Any]:
        """Places an order and follows it until it is final or working."""
        response = await self.send("stocks", "POST", "/orders", person, body=body, key=key)
        placed: dict[str, Any] = response.json()
        return {**placed, "http": response.status_code}

    async def order_with_status(self, person: str, order_id: str, status: str) -> None:
        """Watches an order, with patience, until it has the status."""
        deadline = time.monotonic() + FINAL_WITHIN_S
        while time.monotonic() < deadline:
            response = await self.send("stocks", "GET", f"/orders/{order_id}", person)
            if response.status_code == 200 and response.json()["status"] == status:
                return
            await asyncio.sleep(PAUSE_S)
        raise NotFinal(f"order {order_id} is not {status}")

    async def cancel(self, person: str, order_id: str) -> httpx.Response:
        """Cancels an order."""
        return await self.send("stocks", "PUT", f"/orders/{order_id}", person, body={"status": "cancelled"})

    async def authorize(self, person: str, key: str, **body: object) -> dict[str, Any]:
        """Creates an authorization and follows it until it is active or failed."""
        response = await self.send("users", "POST", "/authorizations", person, body=body, key=key)
        created: dict[str, Any] = response.json()
        return {**created, "http": response.status_code}

    async def revoke(self, person: str, authorization_id: str) -> httpx.Response:
        """Revokes an authorization and its family."""
        return await self.send("users", "PUT", f"/authorizations/{authorization_id}/revoke", person)

    async def tick(self, symbol: str, bid: str, ask: str, seq: int | None) -> None:
        """Posts one price, as an operator; without `seq`, as the stock's next."""
        headers = {"authorization": f"Bearer {self._operator.token('stocks')}"}
        body = {"symbol": symbol, "bid": bid, "ask": ask, "seq": seq}
        deadline = time.monotonic() + FINAL_WITHIN_S
        while time.monotonic() < deadline:
            try:
                response = await self._client.post(
                    f"{self._urls['stocks']}/market/ticks", json=body, headers=headers, timeout=self._timeout_s
                )
            except httpx.TransportError:
                pass
            else:
                if response.status_code == 200:
                    return
            if not self._patient:
                return
            await asyncio.sleep(PAUSE_S)
        raise NotFinal(f"tick {seq} of {symbol}")
