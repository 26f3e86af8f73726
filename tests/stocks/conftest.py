"""The stocks service over both databases, with a real wallet and real users beside it in the same process.

Calls between the services go straight into the peers' applications. Users of these tests hold tokens signed
with the key that users publishes; loops are off and stepped by hand, and time moves when a test says so.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from brokerage.audit import audit
from subgraphs.shared.auth import Caller, ServiceSigner, user_token
from subgraphs.shared.database import Database
from subgraphs.shared.keys import development_key
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.shared.transport import PeerRequest, PeerResponse, TransportFailed
from subgraphs.stocks.app import create_app
from subgraphs.stocks.audit import audit as audit_stocks
from subgraphs.stocks.companies import COMPANIES, Company
from subgraphs.stocks.settings import Settings
from subgraphs.users.app import create_app as create_users
from subgraphs.users.settings import Settings as UsersSettings
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.settings import Settings as WalletSettings
from tests.in_memory import deliver, host_of, path_of, peers_of
from tests.shared.both_executions import both_executions  # noqa: F401  # pytest finds it here

START_MS = 1_800_000_000_000
COMPANY: dict[str, Company] = {company.symbol: company for company in COMPANIES}
ALBA = COMPANY["ALBA"].stock_id
HANA = COMPANY["HANA"].stock_id


@dataclass(slots=True)
class Clock:
    """A clock that moves when a test says so: milliseconds since the epoch."""

    now: int = START_MS

    def __call__(self) -> int:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += int(seconds * 1_000)


Interfere = Callable[[PeerRequest], Awaitable[PeerResponse | None]]


@dataclass(slots=True)
class Network:
    """Carries calls to the applications of this process, by host name.

    `before` sees each call first and may answer it or raise; `after` runs once the peer has answered, and may raise.
    """

    apps: dict[str, FastAPI] = field(default_factory=dict)
    before: Interfere | None = None
    after: Callable[[PeerRequest], Awaitable[None]] | None = None
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    async def send(self, request: PeerRequest) -> PeerResponse:
        """Answers one call."""
        host, path = host_of(request), path_of(request)
        self.calls.append((host, request.method, path))
        if self.before is not None:
            answer = await self.before(request)
            if answer is not None:
                return answer
        response = await deliver(self.apps[host], request)
        if self.after is not None:
            await self.after(request)
        return response

    async def close(self) -> None:
        """Holds nothing."""

    def cut(self, host: str) -> None:
        """Lets no call reach that host any more."""

        async def refuse(request: PeerRequest) -> PeerResponse | None:
            if host_of(request) == host:
                raise TransportFailed("cut")
            return None

        self.before = refuse

    def mend(self) -> None:
        """Lets everything through again."""
        self.before = self.after = None


@dataclass(slots=True)
class Desk:
    """Clients of the three running services, and what tests do with them again and again."""

    stocks: FastAPI
    databases: dict[str, Database]
    network: Network
    clock: Clock
    http: dict[str, httpx.AsyncClient]

    async def send(
        self,
        caller: Caller | None,
        method: str,
        path: str,
        json: object = None,
        *,
        service: str = "stocks",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One REST request as that caller."""
        sent = {**self.bearer(caller, service), **(headers or {})}
        arguments: dict[str, Any] = {} if json is None else {"json": json}
        return await self.http[service].request(method, path, headers=sent, **arguments)

    async def graphql(self, caller: Caller | None, query: str, **variables: object) -> Any:
        """One GraphQL request as the router sends it."""
        headers = {**self.bearer(caller, "stocks"), "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
        body = {"query": query, "variables": variables}
        response = await self.http["stocks"].post("/graphql", json=body, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    def bearer(self, caller: Caller | None, audience: str) -> dict[str, str]:
        """The Authorization header of a caller."""
        if caller is None:
            return {}
        if caller.kind == "service":
            signer = ServiceSigner(caller.id, development_key(caller.id), seconds=lambda: self.clock() / 1_000)
            return {"authorization": f"Bearer {signer.token(audience)}"}
        assert caller.role is not None
        key = UsersSettings(mode="development", database_url=SecretStr("sqlite:///unused")).access_token_key()
        return {"authorization": f"Bearer {user_token(key, caller.id, caller.role, now=self.clock() / 1_000)}"}

    async def deposit(self, caller: Caller, amount: str = "100000.00", currency: str = "EUR") -> None:
        """Gives a user money."""
        body = {"type": "deposit", "currency": currency, "amount": amount}
        response = await self.send(caller, "POST", "/transactions", body, service="wallet")
        assert response.status_code == 201, response.text

    async def balance(self, caller: Caller, currency: str = "EUR") -> dict[str, str]:
        """A user's balance in one currency."""
        answer = (await self.send(caller, "GET", "/balance", service="wallet")).json()
        found: dict[str, str] = next(item for item in answer["balances"] if item["currency"] == currency)
        return found

    async def place(self, caller: Caller, key: str | None = None, **changes: object) -> httpx.Response:
        """POST /orders: one ALBA bought at market, unless `changes` say otherwise."""
        body: dict[str, object] = {"stockId": ALBA, "side": "buy", "quantity": "1", **changes}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.send(caller, "POST", "/orders", body, headers=headers)

    async def bought(self, caller: Caller, quantity: str = "10", stock_id: str = ALBA) -> dict[str, Any]:
        """The holding after a purchase that is paid out of a fresh deposit."""
        currency = next(company.currency for company in COMPANIES if company.stock_id == stock_id)
        await self.deposit(caller, "1000000" if currency == "JPY" else "100000.00", currency)
        response = await self.place(caller, quantity=quantity, stockId=stock_id)
        assert response.status_code == 201, response.text
        return await self.holding(caller, stock_id)

    async def holding(self, caller: Caller, stock_id: str = ALBA) -> dict[str, Any]:
        """The caller's holding of a stock."""
        items = (await self.send(caller, "GET", "/stockholdings")).json()["items"]
        found: dict[str, Any] = next(item for item in items if item["stockId"] == stock_id)
        return found

    async def order(self, caller: Caller, order_id: str) -> dict[str, Any]:
        """An order as it stands."""
        response = await self.send(caller, "GET", f"/orders/{order_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def tick(self, bid: str, ask: str, symbol: str = "ALBA", **more: object) -> dict[str, Any]:
        """Posts a price by hand."""
        body = {"symbol": symbol, "bid": bid, "ask": ask, **more}
        response = await self.send(STOCKS, "POST", "/market/ticks", body)
        assert response.status_code == 200, response.text
        stored: dict[str, Any] = response.json()
        return stored

    async def settle(self) -> None:
        """Steps the driver of orders until it finds nothing due, letting time pass so that nothing is too early."""
        for _ in range(50):
            self.clock.advance(2.1)
            if await self.stocks.state.saga.driver.step() == 0:
                return
        raise AssertionError("orders do not come to rest")

    async def settle_users(self) -> None:
        """The same for the driver of authorizations."""
        for _ in range(50):
            self.clock.advance(2.1)
            if await self.network.apps["users"].state.saga.driver.step() == 0:
                return
        raise AssertionError("authorizations do not come to rest")

    async def check_books(self) -> None:
        """The books of all three services are right, each by itself and together."""
        assert await audit(*(self.databases[name] for name in ("users", "wallet", "stocks")), quiet=True) == ()

    async def check_shares(self) -> None:
        """The books of stocks are right by themselves, where a test commits shares without an authorization."""
        assert await audit_stocks(self.databases["stocks"]) == ()


STOCKS = Caller(kind="service", id="stocks")
USERS = Caller(kind="service", id="users")


def investor() -> Caller:
    """An investor nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="investor")


def broker() -> Caller:
    """A broker nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="broker")


DeskFactory = Callable[..., Awaitable[Desk]]


@pytest.fixture(scope="session")
def service_package() -> str:
    """The package whose schema `database_url` has here."""
    return "subgraphs.stocks"


@pytest.fixture
async def make_desk(urls: dict[str, str]) -> AsyncIterator[DeskFactory]:
    """Starts the three services over the test's databases, stocks with settings of the test's choice."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def make(**settings: Any) -> Desk:
        clock, network = Clock(), Network()
        databases = {name: Database.open(url, clock=clock) for name, url in urls.items()}
        users = create_users(
            UsersSettings(
                mode="development", database_url=SecretStr(urls["users"]), loops=False, **peers_of(UsersSettings)
            ),
            database=databases["users"],
            clock=clock,
            transport=network,
        )
        keys = users.state.verifier._user_keys
        wallet = create_wallet(
            WalletSettings(mode="development", database_url=SecretStr(urls["wallet"]), **peers_of(WalletSettings)),
            database=databases["wallet"],
            clock=clock,
            user_keys=keys,
        )
        chosen = {"feed": "manual", "loops": False, "request_drive_ms": 0, **settings}
        stocks = create_app(
            Settings(mode="development", database_url=SecretStr(urls["stocks"]), **peers_of(Settings), **chosen),
            database=databases["stocks"],
            clock=clock,
            user_keys=keys,
            transport=network,
        )
        network.apps = {"users": users, "wallet": wallet, "stocks": stocks}
        http = {
            name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{name}")
            for name, app in network.apps.items()
        }
        await stocks.state.service.market.list_companies(COMPANIES)
        closing.extend(client.aclose for client in http.values())
        closing.extend(app.state.streams.closed for app in network.apps.values())
        closing.extend(database.close for database in databases.values())
        return Desk(stocks, databases, network, clock, http)

    yield make
    for close in closing:
        await close()


@pytest.fixture
async def desk(make_desk: DeskFactory) -> Desk:
    """The three services with their default settings."""
    return await make_desk()
