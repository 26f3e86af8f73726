"""The users service over both databases, spoken to as its clients do: by REST and as the router does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.database import Database
from subgraphs.shared.keys import development_key
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.shared.transport import PeerRequest, PeerResponse, TransportFailed
from subgraphs.users.app import create_app
from subgraphs.users.settings import Settings
from tests.in_memory import deliver, host_of, path_of
from tests.shared.both_executions import both_executions  # noqa: F401  # pytest finds it here

PASSWORD = "correct horse battery"
START_MS = 1_800_000_000_000


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


@dataclass(slots=True)
class Person:
    """A registered user with fresh tokens."""

    id: str
    email: str
    access_token: str
    refresh_token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The Authorization header."""
        return {"authorization": f"Bearer {self.access_token}"}


@dataclass(slots=True)
class Client:
    """A client of one running users service."""

    app: FastAPI
    database: Database
    clock: Clock
    network: "Network"
    http: httpx.AsyncClient
    counter: int = field(default=0)

    async def person(self, role: str = "investor", name: str = "Alice Example") -> Person:
        """Registers somebody and logs them in."""
        self.counter += 1
        email = f"person{self.counter}@example.com"
        body = {"name": name, "email": email, "password": PASSWORD, "type": role}
        registered = await self.http.post("/users/register", json=body)
        assert registered.status_code == 201, registered.text
        session = (await self.http.post("/users/login", json={"email": email, "password": PASSWORD})).json()
        return Person(session["user"]["id"], email, session["accessToken"], session["refreshToken"])

    async def graphql(
        self, query: str, variables: dict[str, Any] | None = None, *, person: Person | None = None
    ) -> dict[str, Any]:
        """Asks as the router does, for a person or for nobody."""
        headers = {"x-router-secret": DEVELOPMENT_ROUTER_SECRET, **(person.bearer if person else {})}
        body = {"query": query, "variables": variables or {}}
        response = await self.http.post("/graphql", json=body, headers=headers)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def service_bearer(self, name: str) -> dict[str, str]:
        """The Authorization header of a service."""
        signer = ServiceSigner(name, development_key(name), seconds=lambda: self.clock() / 1_000)
        return {"authorization": f"Bearer {signer.token('users')}"}


ClientFactory = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
def service_package() -> str:
    """The package whose schema `database_url` has here."""
    return "subgraphs.users"


@dataclass(slots=True)
class Network:
    """Carries calls to applications of this process by host name; hosts that are `down` are not reached."""

    apps: dict[str, FastAPI] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    losing: set[str] = field(default_factory=set)
    """Hosts that do what they are asked, and whose replies are lost."""
    calls: list[str] = field(default_factory=list)

    async def send(self, request: PeerRequest) -> PeerResponse:
        """Answers one call."""
        host = host_of(request)
        self.calls.append(f"{host} {request.method} {path_of(request)}")
        if host in self.down or host not in self.apps:
            raise TransportFailed("down")
        response = await deliver(self.apps[host], request)
        if host in self.losing:
            raise TransportFailed("lost")
        return response

    async def close(self) -> None:
        """Holds nothing."""


@pytest.fixture
async def make_client(database_url: str) -> AsyncIterator[ClientFactory]:
    """Starts users services over one database, with settings of the test's choice and no peers at first."""
    clock = Clock()
    async with AsyncExitStack() as closing:

        async def make(**changes: Any) -> Client:
            database, network = Database.open(database_url, clock=clock), Network()
            closing.push_async_callback(database.close)
            peers = {"wallet_url": "http://wallet", "stocks_url": "http://stocks"}
            chosen: dict[str, Any] = {"loops": False, "request_drive_ms": 0, **peers, **changes}
            settings = Settings(mode="development", database_url=SecretStr(database_url), **chosen)
            app = create_app(settings, database=database, clock=clock, transport=network)
            await closing.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
            http = await closing.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://users"))
            return Client(app, database, clock, network, http)

        yield make


@pytest.fixture
async def client(make_client: ClientFactory) -> Client:
    """A client of a users service with default settings."""
    return await make_client()
