"""The three services in one process, over a network that a seed makes unreliable and a clock that the test moves.

Nothing waits here: a call that is lost fails at once, a driver is stepped by hand, and time passes only when the test
says so. Everything random is drawn from the seed, so a seed that failed fails again.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import insert

from brokerage.audit import audit
from subgraphs.shared.auth import USER_TOKEN_LIFETIME_S, Caller, LocalKeys, ServiceSigner, user_token
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.keys import development_key
from subgraphs.shared.transport import PeerRequest, PeerResponse, TransportFailed
from subgraphs.stocks.app import create_app as create_stocks
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.settings import Settings as StocksSettings
from subgraphs.users.app import create_app as create_users
from subgraphs.users.settings import DEVELOPMENT_TOKEN_KEY
from subgraphs.users.settings import Settings as UsersSettings
from subgraphs.users.tables import users as users_table
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.settings import Settings as WalletSettings
from tests.faults.books import is_quiet
from tests.in_memory import deliver, host_of, peers_of

SERVICES = ("users", "wallet", "stocks")
TOKEN_KEY = development_key(DEVELOPMENT_TOKEN_KEY)
START_MS = 1_800_000_000_000
REST_STEPS_MAX = 60
"""Rounds of all drivers until everything is quiet, two seconds apart: the pauses between attempts end at one second."""


@dataclass(slots=True)
class Clock:
    """Milliseconds since the epoch, moved by hand."""

    now: int = START_MS

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += int(seconds * 1_000)


@dataclass(frozen=True, slots=True)
class Odds:
    """How often each thing happens to a call, in percent; what is left is an ordinary delivery."""

    lost_request: int = 12
    lost_reply: int = 15
    duplicate: int = 12
    late: int = 15
    late_arrival: int = 30
    """How often, at any call, a late one arrives first."""


class Network:
    """Carries the calls between the services. With a seed it loses, doubles, delays and reorders them."""

    def __init__(self) -> None:
        self.apps: Mapping[str, FastAPI] = {}
        self.faults = 0
        self._random: Random | None = None
        self._odds = Odds()
        self._late: list[PeerRequest] = []
        self._is_cut: Callable[[PeerRequest], bool] = _never

    @contextmanager
    def cut(self, is_cut: Callable[[PeerRequest], bool]) -> Iterator[None]:
        """Lets no such call through for a while."""
        self._is_cut = is_cut
        try:
            yield
        finally:
            self._is_cut = _never

    def disturb(self, random: Random, odds: Odds | None = None) -> None:
        """Makes it unreliable."""
        self._random = random
        self._odds = odds or Odds()

    async def calm(self) -> None:
        """Makes it reliable again; what is under way arrives, in any order."""
        self._random, random = None, self._random
        if random is not None:
            random.shuffle(self._late)
        while self._late:
            await self._deliver(self._late.pop())

    async def send(self, request: PeerRequest) -> PeerResponse:
        """Delivers a call, or what becomes of it."""
        if self._is_cut(request):
            raise TransportFailed("cut")
        if self._random is None:
            return await self._deliver(request)
        return await self._mistreat(request, self._random)

    async def close(self) -> None:
        """Holds nothing."""

    async def _mistreat(self, request: PeerRequest, random: Random) -> PeerResponse:
        odds, draw = self._odds, random.randrange(100)
        if self._late and random.randrange(100) < odds.late_arrival:
            self.faults += 1
            await self._deliver(self._late.pop(random.randrange(len(self._late))))
        for chance, fate in (
            (odds.lost_request, "lost request"),
            (odds.lost_reply, "lost reply"),
            (odds.duplicate, "duplicate"),
            (odds.late, "late"),
        ):
            draw -= chance
            if draw < 0:
                self.faults += 1
                return await self._strike(request, fate)
        return await self._deliver(request)

    async def _strike(self, request: PeerRequest, fate: str) -> PeerResponse:
        if fate == "duplicate":
            await self._deliver(request)
            return await self._deliver(request)
        if fate == "lost reply":
            await self._deliver(request)
        if fate == "late":
            self._late.append(request)
        raise TransportFailed(fate)

    async def _deliver(self, request: PeerRequest) -> PeerResponse:
        return await deliver(self.apps[host_of(request)], request)


def _never(_request: PeerRequest) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a token."""

    caller: Caller

    @property
    def id(self) -> str:
        return self.caller.id


@dataclass(slots=True)
class Brokerage:
    """The running services and what tests do with them."""

    urls: Mapping[str, str]
    databases: Mapping[str, Database]
    apps: Mapping[str, FastAPI]
    network: Network
    clock: Clock
    http: httpx.AsyncClient
    stocks_signer: ServiceSigner = field(init=False)
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stocks_signer = ServiceSigner("stocks", development_key("stocks"), seconds=self._seconds)

    def _seconds(self) -> float:
        return self.clock() / 1_000

    async def person(self, role: str, key: str) -> Person:
        """A user in the users database, without the cost of a password; the same key is the same user."""
        user_id = str(uuid.uuid5(uuid.NAMESPACE_OID, key))

        async def work(connection: Connection) -> None:
            row = {
                "id": user_id,
                "name": key,
                "email": f"{user_id}@example.com",
                "type": role,
                "password_hash": "",
                "registered_at": self.clock(),
                "version": 1,
            }
            await connection.execute(insert(users_table).values(row))

        await self.databases["users"].write(work)
        return Person(Caller("user", user_id, "broker" if role == "broker" else "investor"))

    async def send(
        self,
        person: Person,
        service: str,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
    ) -> httpx.Response:
        """One request of a client; the clients' own network is reliable."""
        headers = {**self.bearer(person), **({"idempotency-key": key} if key else {})}
        return await self.http.request(method, f"http://{service}{path}", json=body, headers=headers)

    def bearer(self, person: Person) -> dict[str, str]:
        """The header that proves the person."""
        role = person.caller.role
        assert role is not None
        token, signed_at = self._tokens.get(person.id, ("", 0.0))
        if self._seconds() - signed_at > USER_TOKEN_LIFETIME_S / 2:
            signed_at = self._seconds()
            token = user_token(TOKEN_KEY, person.id, role, now=signed_at)
            self._tokens[person.id] = token, signed_at
        return {"authorization": f"Bearer {token}"}

    async def tick(self, symbol: str, bid: str, ask: str) -> None:
        """Posts a price."""
        headers = {"authorization": f"Bearer {self.stocks_signer.token('stocks')}"}
        body = {"symbol": symbol, "bid": bid, "ask": ask}
        response = await self.http.post("http://stocks/market/ticks", json=body, headers=headers)
        assert response.status_code == 200, response.text

    async def step(self) -> None:
        """One round of every driver."""
        await self.apps["stocks"].state.saga.driver.step()
        await self.apps["users"].state.service.saga.driver.step()

    async def come_to_rest(self) -> None:
        """Drives everything to its end over a reliable network."""
        await self.network.calm()
        for _ in range(REST_STEPS_MAX):
            self.clock.advance(2.1)
            await self.step()
            if await is_quiet(self.databases, self.clock()):
                return
        raise AssertionError("the services never came to rest")

    async def violations(self) -> tuple[str, ...]:
        """Every broken invariant, at rest."""
        found = await audit(self.databases["users"], self.databases["wallet"], self.databases["stocks"], quiet=True)
        return tuple(str(violation) for violation in found)


def build(service: str, database: Database, clock: Callable[[], int], network: Network) -> FastAPI:
    """One replica of a service over an open database, its loops stepped by hand."""
    common: dict[str, Any] = {"mode": "development", "database_url": "sqlite:///unused.db"}
    parts: dict[str, Any] = {"database": database, "clock": clock}
    user_keys = LocalKeys({TOKEN_KEY.kid: TOKEN_KEY.public})
    if service == "users":
        users = UsersSettings(loops=False, request_drive_ms=0, **common, **peers_of(UsersSettings))
        return create_users(users, transport=network, **parts)
    if service == "wallet":
        return create_wallet(WalletSettings(**common, **peers_of(WalletSettings)), user_keys=user_keys, **parts)
    stocks = StocksSettings(feed="manual", loops=False, request_drive_ms=0, **common, **peers_of(StocksSettings))
    return create_stocks(stocks, user_keys=user_keys, transport=network, **parts)


def _off_clock(clock: Clock, off: Mapping[str, int], service: str) -> int:
    return clock() + off[service]


@asynccontextmanager
async def running(urls: Mapping[str, str], off: Mapping[str, int] | None = None) -> AsyncIterator[Brokerage]:
    """The three services over these databases; `off` has how far each one's clock is off, in milliseconds."""
    clock, network = Clock(), Network()
    clocks: dict[str, Callable[[], int]] = dict.fromkeys(SERVICES, clock)
    if off is not None:
        clocks = {name: partial(_off_clock, clock, off, name) for name in SERVICES}
    databases = {name: Database.open(urls[name], clock=clocks[name]) for name in SERVICES}
    apps = {name: build(name, database, clocks[name], network) for name, database in databases.items()}
    network.apps = apps
    await apps["stocks"].state.service.market.list_companies(COMPANIES)
    ways = {f"http://{name}": httpx.ASGITransport(app) for name, app in apps.items()}
    async with httpx.AsyncClient(mounts=ways) as http:
        yield Brokerage(urls, databases, apps, network, clock, http)
    for database in databases.values():
        await database.close()
