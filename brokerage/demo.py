"""The demo data: two investors and a broker, put in through the documented REST routes like anybody's data.

Every request carries an idempotency key of its own, so that seeding a second time changes nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from brokerage.failures import CommandFailed

REQUEST_TIMEOUT_S = 10.0
POLL_S = 0.1
POLLS_MAX = 100
"""Ten seconds: for the first prices of a new market, and for orders that are not final within their request."""


@dataclass(frozen=True, slots=True)
class DemoUser:
    """Who logs in; the password is for development and public."""

    name: str
    type: str

    @property
    def email(self) -> str:
        """The name, at the domain that RFC 2606 reserves for examples."""
        return f"{self.name}@example.com"

    @property
    def password(self) -> str:
        """Long enough for the rules, and easy to type."""
        return f"{self.name}-demo-password"


DEMO_USERS: Mapping[str, DemoUser] = {
    "alice": DemoUser("alice", "investor"),
    "bob": DemoUser("bob", "investor"),
    "carol": DemoUser("carol", "broker"),
}
DEPOSITS: Mapping[str, Mapping[str, str]] = {
    "alice": {"USD": "25000.00", "EUR": "18000.00", "JPY": "3000000"},
    "bob": {"USD": "8000.00", "EUR": "12000.00", "JPY": "900000"},
}
PURCHASES: Mapping[str, Mapping[str, str]] = {
    "alice": {"JUNO": "12", "LUMA": "40", "FJRD": "60.5", "HANA": "100"},
    "bob": {"ALBA": "30", "CIRR": "10"},
}
COMMITTED_CAPITAL = {"currency": "USD", "amount": "2500.00"}
COMMITTED_STOCK, COMMITTED_QUANTITY = "FJRD", "10"


class DemoFailed(CommandFailed):
    """The brokerage does not answer, or refused what the demo needs. The text is for the user."""


async def seed(urls: Mapping[str, str]) -> None:
    """Puts the demo data into the brokerage at these URLs; what is there stays. Raises DemoFailed."""
    async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
        demo = _Demo(client, urls)
        if await demo.is_there():
            return
        for user in DEMO_USERS.values():
            await demo.register(user)
        sessions = {name: await demo.log_in(user) for name, user in DEMO_USERS.items()}
        tokens = {name: session["accessToken"] for name, session in sessions.items()}
        for name, amounts in DEPOSITS.items():
            for currency, amount in amounts.items():
                body = {"type": "deposit", "currency": currency, "amount": amount}
                await demo.create("wallet", "/transactions", body, tokens[name], key=f"demo-{name}-{currency}")
        stock_ids = await demo.stock_ids()
        for name, quantities in PURCHASES.items():
            for symbol, quantity in quantities.items():
                body = {"stockId": stock_ids[symbol], "side": "buy", "quantity": quantity}
                await demo.create("stocks", "/orders", body, tokens[name], key=f"demo-{name}-{symbol}")
        await _authorize(demo, tokens["alice"], sessions["carol"]["user"]["id"])


async def _authorize(demo: "_Demo", investor_token: str, broker_id: str) -> None:
    """One mandate over shares and one over money; the last of the demo's data."""
    holding = await demo.holding_id(COMMITTED_STOCK, investor_token)
    shares = {"type": "stockholding", "stockholdingId": holding, "amount": COMMITTED_QUANTITY, "brokerId": broker_id}
    money = {"type": "capital", **COMMITTED_CAPITAL, "brokerId": broker_id}
    for body in (shares, money):
        await demo.create("users", "/authorizations", body, investor_token, key=f"demo-{body['type']}")


async def fetch_token(urls: Mapping[str, str], name: str) -> str:
    """A fresh access token of a demo user. Raises DemoFailed."""
    async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
        token: str = (await _Demo(client, urls).log_in(DEMO_USERS[name]))["accessToken"]
        return token


class _Demo:
    """The requests of the demo, over one client."""

    def __init__(self, client: httpx.AsyncClient, urls: Mapping[str, str]) -> None:
        self._client = client
        self._urls = urls

    async def is_there(self) -> bool:
        """Whether the last thing that the demo makes exists, so that all before it do."""
        login = await self._send("POST", "users", "/users/login", _credentials(DEMO_USERS["alice"]))
        if login.status_code != httpx.codes.OK:
            return False
        listed = await self._send("GET", "users", "/authorizations", token=login.json()["accessToken"])
        return bool(_answer(listed)["items"])

    async def register(self, user: DemoUser) -> None:
        """Registers a user; one who is registered already stays as before."""
        body = {**_credentials(user), "name": user.name.title(), "type": user.type}
        response = await self._send("POST", "users", "/users/register", body)
        if response.status_code != httpx.codes.CONFLICT:
            _answer(response)

    async def log_in(self, user: DemoUser) -> Any:
        """The session of a demo user."""
        response = await self._send("POST", "users", "/users/login", _credentials(user))
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise DemoFailed(f"{user.name} is not there; add the demo data with: python -m brokerage seed")
        return _answer(response)

    async def create(self, service: str, path: str, body: Mapping[str, object], token: str, *, key: str) -> Any:
        """Creates something, once per key; what takes longer than its request is waited for."""
        response = await self._send("POST", service, path, body, token=token, key=key)
        for _ in range(POLLS_MAX):
            if response.status_code != httpx.codes.ACCEPTED:
                break
            await asyncio.sleep(POLL_S)
            response = await self._send("POST", service, path, body, token=token, key=key)
        return _answer(response)

    async def stock_ids(self) -> dict[str, str]:
        """The id of every stock by its symbol, as soon as the market is open for the first time."""
        for _ in range(POLLS_MAX):
            listed = _answer(await self._send("GET", "stocks", "/stocks?limit=100"))["items"]
            if listed:
                return {stock["symbol"]: stock["id"] for stock in listed}
            await asyncio.sleep(POLL_S)
        raise DemoFailed("stocks lists no stocks; its log says why")

    async def holding_id(self, symbol: str, token: str) -> str:
        """The id of a user's holding of a stock."""
        holdings = _answer(await self._send("GET", "stocks", "/stockholdings", token=token))["items"]
        found: str = next(holding["id"] for holding in holdings if holding["symbol"] == symbol)
        return found

    async def _send(
        self,
        method: str,
        service: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        token: str = "",
        key: str = "",
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        try:
            return await self._client.request(method, self._urls[service] + path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise DemoFailed(f"{service} does not answer at {self._urls[service]}: is it running?") from error


def _credentials(user: DemoUser) -> dict[str, object]:
    return {"email": user.email, "password": user.password}


def _answer(response: httpx.Response) -> Any:
    """The body of a successful response. Raises DemoFailed with what the service says of another."""
    if not response.is_success:
        request = response.request
        raise DemoFailed(f"{request.method} {request.url.path} answered {response.status_code}: {response.text}")
    return response.json()
