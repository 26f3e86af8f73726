"""The three services as applications that are built, and have served, before they are forked.

Building the applications, analyzing their routes, compiling their statements and meeting a kind of database for the
first time cost ten times what a crash scenario does, so all that is done once per kind of database, in the parent. A
child inherits it and turns to its own world: `redirect` lets engines connect to the world's database, and `Addresses`
carries calls to the world's services. What a service learns from its peers is forgotten before: `Keys`.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import event, make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect

from subgraphs.shared.auth import RemoteKeys
from subgraphs.shared.database import Database, asyncpg_url
from subgraphs.shared.keys import VerifyingKey
from subgraphs.shared.transport import HttpTransport, PeerRequest, PeerResponse, Transport
from subgraphs.stocks.app import create_app as create_stocks
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.rules import holding_id_of
from subgraphs.stocks.settings import Settings as StocksSettings
from subgraphs.users.app import create_app as create_users
from subgraphs.users.settings import Settings as UsersSettings
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.settings import Settings as WalletSettings
from tests.faults.in_process import SERVICES, Brokerage, Clock, Network, Person
from tests.in_memory import deliver, host_of, path_of, peers_of

STOCK = COMPANIES[0]
FEED_INTERVAL_MS = 60_000
"""Prices are posted by the tests; the feeder, which has none, need not look for them."""


class Addresses:
    """Carries calls to http://users, http://wallet and http://stocks to where these are, at first in this process."""

    def __init__(self) -> None:
        self.apps: Mapping[str, FastAPI] = {}
        self.urls: Mapping[str, str] = {}
        self._http = HttpTransport()

    async def send(self, request: PeerRequest) -> PeerResponse:
        """The peer's response."""
        if not self.urls:
            return await deliver(self.apps[host_of(request)], request)
        return await self._http.send(replace(request, url=self.urls[host_of(request)] + path_of(request)))

    async def close(self) -> None:
        """Closes every connection."""
        await self._http.close()


class Keys:
    """The keys of user tokens as a service fetches them, which can be forgotten."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.forget()

    def forget(self) -> None:
        """As after a start: the next token makes the service fetch them."""
        self._remote = RemoteKeys("http://users/.well-known/jwks.json", self._transport)

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key of that id."""
        return await self._remote.find(kid)


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """The services over one kind of database."""

    apps: Mapping[str, FastAPI]
    addresses: Addresses


def kind_of(url: str) -> str:
    """The kind of the database at `url`: sqlite or postgresql."""
    return make_url(url).get_backend_name()


def prebuilt(urls: Mapping[str, str]) -> Prebuilt:
    """Builds the services for databases of the kind of these, which are migrated, empty, and written to here."""
    databases = {name: Database.open(urls[name]) for name in SERVICES}
    addresses = Addresses()
    keys = Keys(addresses)
    addresses.apps = _create(databases, addresses, keys)
    asyncio.run(_exercise(urls, databases, addresses.apps))
    keys.forget()
    return Prebuilt(addresses.apps, addresses)


def _create(databases: Mapping[str, Database], transport: Transport, keys: Keys) -> dict[str, FastAPI]:
    common: dict[str, Any] = {
        "mode": "development",
        "database_url": "sqlite:///unused.db",
    }
    users, wallet = (
        UsersSettings(**common, **peers_of(UsersSettings)),
        WalletSettings(**common, **peers_of(WalletSettings)),
    )
    stocks = StocksSettings(feed="manual", feed_interval_ms=FEED_INTERVAL_MS, **common, **peers_of(StocksSettings))
    return {
        "users": create_users(users, database=databases["users"], transport=transport),
        "wallet": create_wallet(wallet, database=databases["wallet"], transport=transport, user_keys=keys),
        "stocks": create_stocks(stocks, database=databases["stocks"], transport=transport, user_keys=keys),
    }


def redirect(url: str) -> None:
    """Lets every engine of this process connect to the database at `url` from its next connection on."""
    target = make_url(url if kind_of(url) == "sqlite" else asyncpg_url(url))

    def to_target(dialect: Dialect, _record: object, cargs: list[Any], cparams: dict[str, Any]) -> None:
        arguments, parameters = dialect.create_connect_args(target)
        cargs[:] = arguments
        if dialect.name == "postgresql":
            cparams.update(parameters)

    for kind in (SQLiteDialect_pysqlite, PGDialect_asyncpg):
        event.listen(kind, "do_connect", to_target)


async def _exercise(urls: Mapping[str, str], databases: Mapping[str, Database], apps: Mapping[str, FastAPI]) -> None:
    """Everything that the scenarios do, once, in one process: whatever is made at its first use is made then."""
    clock = Clock(time.time_ns() // 1_000_000)
    await apps["stocks"].state.service.market.list_companies(COMPANIES)
    async with httpx.AsyncClient(
        mounts={f"http://{name}": httpx.ASGITransport(app) for name, app in apps.items()}
    ) as http:
        brokerage = Brokerage(urls, databases, apps, Network(), clock, http)
        alice, carol = await brokerage.person("investor", "alice"), await brokerage.person("broker", "carol")
        await brokerage.tick(STOCK.symbol, "83.9", "84.1")
        deposit = {"type": "deposit", "currency": STOCK.currency, "amount": "9000"}
        await _post(brokerage, alice, "wallet", "/transactions", **deposit)
        await _trade(brokerage, alice, side="buy", quantity="10")
        await _trade(brokerage, alice, side="sell", quantity="1")
        mandate = {"brokerId": carol.id, "type": "capital", "currency": STOCK.currency, "amount": "900"}
        capital = await _post(brokerage, alice, "users", "/authorizations", **mandate)
        holding = holding_id_of(alice.id, STOCK.stock_id)
        mandate = {"brokerId": carol.id, "type": "stockholding", "stockholdingId": holding, "amount": "4"}
        shares = await _post(brokerage, alice, "users", "/authorizations", **mandate)
        await _trade(brokerage, carol, side="buy", quantity="2", authorizationId=capital)
        await _trade(brokerage, carol, side="sell", quantity="2", authorizationId=shares)
        for price in ("70", "80"):
            order = await _trade(brokerage, alice, side="buy", quantity="1", type="limit", limitPrice=price)
        await brokerage.tick(STOCK.symbol, "79.9", "80")
        await brokerage.send(alice, "stocks", "PUT", f"/orders/{order}", {"status": "cancelled"})
        for given in (capital, shares):
            await brokerage.send(alice, "users", "PUT", f"/authorizations/{given}/revoke")
        await brokerage.send(alice, "stocks", "GET", f"/orders/{order}")
        await brokerage.step()
        await apps["users"].state.service.accounts.forget_expired_sessions()
        await apps["stocks"].state.feeder.step()
        for name in SERVICES:
            await http.get(f"http://{name}/ready")
    for database in databases.values():
        await database.close()


async def _trade(brokerage: Brokerage, person: Person, **body: object) -> str:
    return await _post(brokerage, person, "stocks", "/orders", stockId=STOCK.stock_id, **body)


async def _post(brokerage: Brokerage, person: Person, service: str, path: str, **body: object) -> str:
    response = await brokerage.send(person, service, "POST", path, body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])
