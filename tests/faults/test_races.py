"""Races between transactions of users and stocks on PostgreSQL, every preemption forced statement by statement.

Each race is two things that two processes do at the same time to the same order or mandate. Whatever the interleaving,
all comes to rest with right books, and the end is one that doing the two one after the other can have. The wallet's own
races are in `tests/wallet/test_interleavings.py`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import Refusal
from subgraphs.shared.peers import Peer
from subgraphs.shared.transport import PeerRequest
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.peers import UsersPeer
from subgraphs.stocks.rules import holding_id_of
from tests.conftest import DatabaseFactory, fresh_urls
from tests.faults.cores import processes_on_all_cores
from tests.faults.in_process import Brokerage, Network, Person, build, running
from tests.faults.interleaving import LaneDatabase, interleave, preemptions

STOCK = next(company for company in COMPANIES if company.symbol == "ALBA")
OPERATOR = Caller(kind="service", id="stocks")

SCHEDULES = 12
"""How many preemptions of each race an ordinary run forces; each costs about a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a race is about: its people, and the order and mandate that it prepared."""

    brokerage: Brokerage
    alice: Person
    carol: Person
    order: str = ""
    mandate: str = ""

    async def post(self, person: Person, service: str, path: str, **body: object) -> dict[str, Any]:
        """A request that must be answered with 201 or 202."""
        response = await self.brokerage.send(person, service, "POST", path, body)
        assert response.status_code in (201, 202), response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def place(self, person: Person, **body: object) -> str:
        """Places an order; its id."""
        return str((await self.post(person, "stocks", "/orders", stockId=STOCK.stock_id, **body))["id"])

    async def authorize(self, **body: object) -> str:
        """Gives Carol a mandate; its id."""
        return str((await self.post(self.alice, "users", "/authorizations", brokerId=self.carol.id, **body))["id"])


Prepare = Callable[[Scene], Awaitable[dict[str, str]]]
Act = Callable[[FastAPI, Scene], Awaitable[object]]
"""What one replica of a service does to the scene."""


# ---- what happened before ----


async def working_limit(scene: Scene) -> dict[str, str]:
    return {"order": await scene.place(scene.alice, side="buy", type="limit", limitPrice="80", quantity="2")}


async def triggered_limit(scene: Scene) -> dict[str, str]:
    """An order whose price has come, and that no driver has seen since."""
    order = await working_limit(scene)
    await scene.brokerage.tick(STOCK.symbol, "79", "79.1")
    return order


async def new_buy(scene: Scene) -> dict[str, str]:
    """An order that was accepted while the wallet was away."""
    with scene.brokerage.network.cut(any_call):
        return {"order": await scene.place(scene.alice, side="buy", quantity="2")}


async def new_limit(scene: Scene) -> dict[str, str]:
    with scene.brokerage.network.cut(any_call):
        return await working_limit(scene)


async def share_mandate(scene: Scene) -> dict[str, str]:
    holding = holding_id_of(scene.alice.id, STOCK.stock_id)
    return {"mandate": await scene.authorize(type="stockholding", stockholdingId=holding, amount="4")}


async def capital_mandate(scene: Scene) -> dict[str, str]:
    return {"mandate": await scene.authorize(type="capital", currency=STOCK.currency, amount="1000")}


async def executed_under_mandate(scene: Scene) -> dict[str, str]:
    """A broker's purchase that is executed, and that nobody was told of."""
    mandate = (await capital_mandate(scene))["mandate"]
    with scene.brokerage.network.cut(lambda call: call.method == "POST"):
        order = await scene.place(scene.carol, side="buy", quantity="2", authorizationId=mandate)
    return {"mandate": mandate, "order": order}


async def rolled_over(scene: Scene) -> dict[str, str]:
    """A broker's purchase that rolled over, and that is not settled."""
    mandate = (await capital_mandate(scene))["mandate"]
    with scene.brokerage.network.cut(lambda call: b'"post"' in call.content):
        order = await scene.place(scene.carol, side="buy", quantity="2", authorizationId=mandate)
    return {"mandate": mandate, "order": order}


async def pending_mandate(scene: Scene) -> dict[str, str]:
    with scene.brokerage.network.cut(any_call):
        return await capital_mandate(scene)


def any_call(_request: PeerRequest) -> bool:
    return True


# ---- what the two do ----


async def cancel(stocks: FastAPI, scene: Scene) -> object:
    return await stocks.state.service.saga.cancel(scene.alice.caller, scene.order)


async def drive(stocks: FastAPI, scene: Scene) -> object:
    """What a driver does whose lease has run out without its knowing."""
    return await stocks.state.saga.driver.drive_leased(await stocks.state.saga.steps.load(scene.order))


async def expire(stocks: FastAPI, scene: Scene) -> object:
    return await stocks.state.saga.steps.expire(scene.order)


async def crossing_tick(stocks: FastAPI, _scene: Scene) -> object:
    market = stocks.state.service.market
    return await market.post_tick(OPERATOR, STOCK.symbol, bid=790_000, ask=791_000, last=790_500, seq=None)


async def broker_sells(stocks: FastAPI, scene: Scene) -> object:
    body = {"stockId": STOCK.stock_id, "side": "sell", "quantity": "3", "authorizationId": scene.mandate}
    async with client_of(stocks) as client:
        return await client.post("http://stocks/orders", json=body, headers=scene.brokerage.bearer(scene.carol))


async def change_commitment(stocks: FastAPI, scene: Scene) -> object:
    """The owner lowers what the broker may sell."""
    path = f"http://stocks/stockholdings/{holding_id_of(scene.alice.id, STOCK.stock_id)}"
    body = {"authorizationId": scene.mandate, "commitedAmount": "2"}
    async with client_of(stocks) as client:
        return await client.put(path, json=body, headers=scene.brokerage.bearer(scene.alice))


async def revoke_elsewhere(stocks: FastAPI, scene: Scene) -> object:
    """A revoke at users, whose close reaches this replica of stocks."""
    network = scene.brokerage.network
    network.apps = {**scene.brokerage.apps, "stocks": stocks}
    try:
        return await scene.brokerage.send(scene.alice, "users", "PUT", f"/authorizations/{scene.mandate}/revoke")
    finally:
        network.apps = scene.brokerage.apps


async def revoke(users: FastAPI, scene: Scene) -> object:
    return await users.state.service.saga.revoke(scene.alice.caller, scene.mandate, cascade=True)


async def step(users: FastAPI, scene: Scene) -> object:
    """One round of the loop, when everything is due."""
    return await users.state.service.saga.driver.step()


async def roll_over(users: FastAPI, scene: Scene) -> object:
    """T4, as stocks sends it."""
    order = await scene.brokerage.apps["stocks"].state.saga.steps.load(scene.order)
    way = Network()
    way.apps = {"users": users}
    return await UsersPeer(Peer("users", "http://users", way, scene.brokerage.stocks_signer)).roll_over(order)


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A client whose every request one replica answers."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app))


@dataclass(frozen=True, slots=True)
class Race:
    """Two things at once in one service."""

    service: str
    prepare: Prepare
    first: Act
    second: Act
    steps_max: int = 14
    """No side takes more steps, its commits included."""


RACES: dict[str, Race] = {
    "cancel against a trigger": Race("stocks", working_limit, cancel, crossing_tick),
    "cancel against expiry": Race("stocks", working_limit, cancel, expire),
    "expiry against a trigger": Race("stocks", working_limit, expire, crossing_tick),
    "expiry against execution": Race("stocks", triggered_limit, expire, drive, steps_max=20),
    "cancel against the execution of a triggered order": Race("stocks", triggered_limit, cancel, drive, steps_max=20),
    "start against a tick": Race("stocks", new_limit, drive, crossing_tick, steps_max=20),
    "cancel against execution": Race("stocks", new_buy, cancel, drive, steps_max=40),
    "two drivers of one order": Race("stocks", new_buy, drive, drive, steps_max=40),
    "two drivers of an executed order": Race("stocks", executed_under_mandate, drive, drive, steps_max=20),
    "a broker's sale against the close": Race("stocks", share_mandate, broker_sells, revoke_elsewhere, steps_max=40),
    "the owner's change against the close": Race("stocks", share_mandate, change_commitment, revoke_elsewhere),
    "a broker's sale against the owner's change": Race(
        "stocks", share_mandate, broker_sells, change_commitment, steps_max=40
    ),
    "settling a rollover against the close": Race("stocks", rolled_over, drive, revoke_elsewhere, steps_max=20),
    "rollover against revoke": Race("users", executed_under_mandate, roll_over, revoke, steps_max=24),
    "activation against revoke": Race("users", pending_mandate, step, revoke, steps_max=24),
}


def schedules_of(race: Race) -> list[tuple[int, ...]]:
    """Every preemption with TRIFOLIO_RACES=all, else about a dozen spread over them."""
    every = list(preemptions(race.steps_max))
    return every if os.environ.get("TRIFOLIO_RACES") == "all" else every[:: max(len(every) // SCHEDULES, 1)]


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest, postgres_factory: DatabaseFactory) -> Iterator[dict[str, Future[None]]]:
    """The races that were asked for, under way on all cores."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    test = test_every_preemption_ends_like_one_after_the_other.__name__
    names = [str(item.callspec.params["name"]) for item in items if item.originalname == test]
    with processes_on_all_cores() as processes:
        yield {name: processes.submit(run_race, name, fresh_urls(postgres_factory)) for name in names}
        processes.shutdown(cancel_futures=True)


def run_race(name: str, urls: dict[str, str]) -> None:
    """One race in a process of its own. Raises AssertionError with the schedule."""

    async def run() -> None:
        async with running(urls) as brokerage:
            await force_every_preemption(RACES[name], brokerage)

    asyncio.run(run())


async def set_scene(brokerage: Brokerage, race: Race, number: int) -> Scene:
    """New people with money and shares, and what happened before the race."""
    alice = await brokerage.person("investor", f"alice {number}")
    carol = await brokerage.person("broker", f"carol {number}")
    scene = Scene(brokerage, alice, carol)
    await brokerage.tick(STOCK.symbol, "83.9", "84.1")
    await scene.post(alice, "wallet", "/transactions", type="deposit", currency=STOCK.currency, amount="5000")
    await scene.place(alice, side="buy", quantity="10")
    return Scene(brokerage, alice, carol, **await race.prepare(scene))


async def ending(scene: Scene) -> str:
    """How it ended for the people: the order, the mandate, money and shares."""
    brokerage = scene.brokerage
    await brokerage.come_to_rest()
    assert await brokerage.violations() == ()
    parts = []
    if scene.order:
        parts.append((await brokerage.send(scene.alice, "stocks", "GET", f"/orders/{scene.order}")).json()["status"])
    if scene.mandate:
        path = f"/authorizations/{scene.mandate}"
        parts.append((await brokerage.send(scene.alice, "users", "GET", path)).json()["status"])
    balances = (await brokerage.send(scene.alice, "wallet", "GET", "/balance")).json()["balances"]
    holdings = (await brokerage.send(scene.alice, "stocks", "GET", "/stockholdings")).json()["items"]
    kept = ("quantity", "freeQuantity", "commitedAmount", "reservedQuantity")
    return f"{parts} {balances} {[{name: item[name] for name in kept} for item in holdings]}"


async def caught(work: Awaitable[object]) -> object:
    """What it returns, or the code of its refusal."""
    try:
        return await work
    except Refusal as refusal:
        return refusal.code.code


async def force_every_preemption(race: Race, brokerage: Brokerage) -> None:
    """Whatever the interleaving, the end is that of some order of the two."""
    number = 0
    ends = set()
    for acts in ((race.first, race.second), (race.second, race.first)):
        scene = await set_scene(brokerage, race, number := number + 1)
        for act in acts:
            await caught(act(brokerage.apps[race.service], scene))
        ends.add(await ending(scene))
    url = brokerage.urls[race.service]
    lanes = LaneDatabase.open(url, clock=brokerage.clock), LaneDatabase.open(url, clock=brokerage.clock)
    watcher = Database.open(url)
    first, second = lanes
    assert isinstance(first, LaneDatabase)
    assert isinstance(second, LaneDatabase)
    replicas = [build(race.service, lane, brokerage.clock, brokerage.network) for lane in lanes]
    for schedule in schedules_of(race):
        scene = await set_scene(brokerage, race, number := number + 1)
        works = caught(race.first(replicas[0], scene)), caught(race.second(replicas[1], scene))
        results = await interleave((first, second), works, schedule, watcher)
        broken = [result for result in results if isinstance(result, BaseException)]
        assert broken == [], f"schedule {schedule}"
        assert await ending(scene) in ends, f"schedule {schedule}"
    for database in (*lanes, watcher):
        await database.close()


@pytest.mark.parametrize("name", RACES)
def test_every_preemption_ends_like_one_after_the_other(name: str, begun: dict[str, Future[None]]) -> None:
    """Whatever the interleaving, the end is that of some order of the two, and the books are right."""
    begun[name].result()
