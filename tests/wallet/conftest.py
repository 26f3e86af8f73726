"""The wallet over a fresh database of each kind: its service, its application, and callers with their tokens."""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from subgraphs.shared.auth import Caller, LocalKeys, ServiceSigner, user_token
from subgraphs.shared.database import Database
from subgraphs.shared.keys import development_key
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from subgraphs.wallet.app import create_app
from subgraphs.wallet.service import WalletService
from subgraphs.wallet.settings import Settings
from tests.shared.both_executions import both_executions  # noqa: F401  # pytest finds it here

STOCKS = Caller(kind="service", id="stocks")
USERS = Caller(kind="service", id="users")
USER_KEY = development_key("user tokens of the wallet's tests")


def investor() -> Caller:
    """A user nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="investor")


def broker() -> Caller:
    """A broker nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="broker")


def new_id() -> str:
    """An order's or an authorization's id."""
    return str(uuid.uuid4())


def bearer(caller: Caller) -> dict[str, str]:
    """The header that proves the caller, empty for the anonymous one."""
    if caller.kind == "anonymous":
        return {}
    if caller.kind == "service":
        token = ServiceSigner(caller.id, development_key(caller.id)).token("wallet")
    else:
        assert caller.role is not None
        token = user_token(USER_KEY, caller.id, caller.role, now=time.time())
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to the application as a caller."""

    http: httpx.AsyncClient

    async def send(
        self, caller: Caller, method: str, path: str, *, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One REST request."""
        sent = {**bearer(caller), **(headers or {})}
        if json is None:
            return await self.http.request(method, path, headers=sent)
        return await self.http.request(method, path, json=json, headers=sent)

    async def graphql(self, caller: Caller, query: str, **variables: object) -> Any:
        """One GraphQL request as the router sends it; the decoded response."""
        headers = {**bearer(caller), "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="session")
def service_package() -> str:
    """Databases of these tests have the wallet's schema."""
    return "subgraphs.wallet"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh wallet database."""
    opened = Database.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def wallet(database: Database) -> WalletService:
    """The wallet's service over it."""
    return WalletService(database)


@pytest.fixture
def app(database: Database, database_url: str) -> FastAPI:
    """The wallet's application over the same database."""
    settings = Settings(mode="development", database_url=SecretStr(database_url))
    return create_app(settings, database=database, user_keys=LocalKeys({USER_KEY.kid: USER_KEY.public}))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[Client]:
    """Requests to the application in memory."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wallet") as http:
        yield Client(http)
