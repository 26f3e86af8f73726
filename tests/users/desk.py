"""Users with a real wallet and real stocks beside it, in one process."""

from dataclasses import dataclass
from typing import Any

import httpx

from subgraphs.stocks.companies import COMPANIES
from subgraphs.users.saga import AuthorizationSaga
from tests.users.conftest import Client, Person

ALBA = next(company.stock_id for company in COMPANIES if company.symbol == "ALBA")


@dataclass(slots=True)
class Desk:
    """What the tests of authorizations do again and again."""

    client: Client
    alice: Person
    """An investor with 1000 EUR."""
    bob: Person
    """A broker."""

    @property
    def saga(self) -> AuthorizationSaga:
        """The driver, stepped by hand."""
        saga: AuthorizationSaga = self.client.app.state.service.saga
        return saga

    async def send(
        self, person: Person, method: str, path: str, body: object = None, *, host: str = "users", **headers: str
    ) -> httpx.Response:
        """One REST request of a person to one of the services."""
        sent = {**person.bearer, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if host == "users":
            return await self.client.http.request(method, path, json=body, headers=sent)
        transport = httpx.ASGITransport(self.client.network.apps[host])
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
            return await http.request(method, path, json=body, headers=sent)

    async def deposit(self, person: Person, amount: str) -> None:
        """Gives a user euros."""
        body = {"type": "deposit", "currency": "EUR", "amount": amount}
        response = await self.send(person, "POST", "/transactions", body, host="wallet")
        assert response.status_code == 201, response.text

    async def money(self) -> tuple[str, str]:
        """What of Alice's euros is available, and what is committed."""
        balances = (await self.send(self.alice, "GET", "/balance", host="wallet")).json()["balances"]
        euros = next(balance for balance in balances if balance["currency"] == "EUR")
        return euros["available"], euros["committed"]

    async def buy(self, quantity: str) -> dict[str, Any]:
        """Alice's holding after she has bought some shares."""
        body = {"stockId": ALBA, "side": "buy", "quantity": quantity}
        response = await self.send(self.alice, "POST", "/orders", body, host="stocks")
        assert response.status_code == 201, response.text
        return await self.holding()

    async def holding(self) -> dict[str, Any]:
        """Alice's holding."""
        items = (await self.send(self.alice, "GET", "/stockholdings", host="stocks")).json()["items"]
        holding: dict[str, Any] = items[0]
        return holding

    async def create(self, person: Person | None = None, *, key: str | None = None, **changes: Any) -> httpx.Response:
        """Alice's request for a mandate over 100 EUR for Bob, with some members changed; None leaves one out."""
        body = {"type": "capital", "brokerId": self.bob.id, "currency": "EUR", "amount": "100.00", **changes}
        given = {name: value for name, value in body.items() if value is not None}
        headers = {} if key is None else {"idempotency_key": key}
        return await self.send(person or self.alice, "POST", "/authorizations", given, **headers)

    async def granted(self, **changes: Any) -> str:
        """The id of an active mandate."""
        response = await self.create(**changes)
        assert (response.status_code, response.json()["status"]) == (201, "active"), response.text
        authorization_id: str = response.json()["id"]
        return authorization_id

    async def revoke(self, authorization_id: str, person: Person | None = None, query: str = "") -> httpx.Response:
        """A request to revoke a mandate."""
        return await self.send(person or self.alice, "PUT", f"/authorizations/{authorization_id}/revoke{query}")

    async def status(self, authorization_id: str) -> str:
        """A mandate's public status."""
        response = await self.send(self.alice, "GET", f"/authorizations/{authorization_id}")
        status: str = response.json()["status"]
        return status

    async def roll_over(self, used: str, order: str, **changes: Any) -> httpx.Response:
        """Stocks' report of an order under a mandate that brought 40 EUR."""
        body = {"orderId": order, "authorizationId": used, "type": "capital", "currency": "EUR", "amount": "40.00"}
        headers = self.client.service_bearer("stocks")
        return await self.client.http.post("/authorizations", json={**body, **changes}, headers=headers)

    async def settle(self) -> None:
        """Lets time pass and the driver work until nothing is due."""
        for _ in range(20):
            self.client.clock.advance(2.1)
            if await self.saga.driver.step() == 0:
                return
        raise AssertionError("authorizations do not come to rest")
