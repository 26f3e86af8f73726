"""Many clients at once while random services are killed -9 again and again.

Only a service that is ready is killed, so that the services do work between the kills: a storm that lets nothing be
completed proves nothing, and so the share of completed orders is part of the result. For the same reason money and
mandates do not run out, however long it lasts.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from subgraphs.shared.database import Database
from subgraphs.stocks.tables import orders
from tests.faults.books import at_rest, violations_of
from tests.faults.people import Clients, NotFinal
from tests.faults.processes import World, service_of
from tests.faults.scenarios import CURRENCY, STOCK, SYMBOL

CLIENTS = 16
KILL_PAUSE_S = (0.1, 0.6)
COMPLETED_SHARE_MIN = 0.4
RECOVERED_WITHIN_S = 5.0


@dataclass
class Weather:
    """What a storm was: `unfinished` names the requests that never got a final answer."""

    seed: int
    processes: int = 0
    kills: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    recovery_s: float = 0.0
    violations: tuple[str, ...] = ()
    unfinished: list[str] = field(default_factory=list)

    @property
    def orders(self) -> int:
        """How many orders were placed."""
        return sum(self.states.values())

    @property
    def completed_share(self) -> float:
        """The part of them that was completed."""
        return self.states.get("completed", 0) / max(self.orders, 1)

    def __str__(self) -> str:
        return (
            f"storm (seed {self.seed}): {self.kills} kills of {self.processes} processes, "
            f"{self.orders} orders {dict(self.states)}, {self.completed_share:.0%} completed, "
            f"{len(self.violations)} violations, all terminal {self.recovery_s:.2f} s after the last kill"
        )


async def rage(
    world: World,
    clients: Clients,
    databases: Mapping[str, Database],
    *,
    seconds: float,
    seed: int,
) -> Weather:
    """Storms for `seconds`, lets everything come to rest, and says what is left."""
    weather = Weather(seed, len(world.processes))
    until = time.monotonic() + seconds
    actors = [asyncio.create_task(_act(clients, number, seed, until, weather)) for number in range(CLIENTS)]
    await _kill(world, clients, random.Random(seed), until, weather)
    calm = time.monotonic()
    await asyncio.gather(*actors)
    await at_rest(databases, world.clock)
    weather.recovery_s = time.monotonic() - calm
    statement = select(orders.c.state, func.count().label("number")).group_by(orders.c.state)
    async with databases["stocks"].reading() as connection:
        weather.states = {row.state: row.number for row in (await connection.execute(statement)).all()}
    weather.violations = await violations_of(databases)
    return weather


async def _kill(world: World, clients: Clients, chance: random.Random, until: float, weather: Weather) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(*KILL_PAUSE_S))
        victim = chance.choice(list(world.processes))
        await clients.send(service_of(victim), "GET", "/ready")
        process = world.processes[victim]
        process.kill()
        await process.wait()
        weather.kills += 1
        world.start(victim)


async def _act(clients: Clients, number: int, seed: int, until: float, weather: Weather) -> None:
    chance = random.Random(seed * CLIENTS + number)
    step = 0
    while time.monotonic() < until:
        step += 1
        key = f"storm {seed} {number} {step}"
        try:
            await chance.choice(_DEEDS)(clients, key, chance)
        except NotFinal as failure:
            weather.unfinished.append(str(failure))


async def _deposits(clients: Clients, key: str, _chance: random.Random) -> None:
    """Money keeps coming in: a storm of any length goes on buying."""
    await clients.deposit("alice", "2000.00", CURRENCY, key)


async def _buys(clients: Clients, key: str, chance: random.Random) -> None:
    quantity = str(chance.randint(1, 4))
    await clients.order("alice", key, stockId=STOCK.stock_id, side="buy", quantity=quantity)


async def _sells(clients: Clients, key: str, chance: random.Random) -> None:
    quantity = str(chance.randint(1, 4))
    await clients.order("alice", key, stockId=STOCK.stock_id, side="sell", quantity=quantity)


async def _waits(clients: Clients, key: str, chance: random.Random) -> None:
    price = f"{chance.randint(70, 83)}.0000"
    order = await clients.order(
        "alice",
        key,
        stockId=STOCK.stock_id,
        side="buy",
        quantity="1",
        type="limit",
        limitPrice=price,
        timeInForce="gtc",
    )
    if chance.random() < 0.5 and "id" in order:
        await clients.cancel("alice", order["id"])


async def _broker_trades(clients: Clients, key: str, _chance: random.Random) -> None:
    """A broker buys under a mandate, and sells half of it under the mandate that it rolled over to."""
    mandate = await _capital_mandate(clients, key)
    bought = await _broker_order(clients, f"{key} bought", mandate, side="buy", quantity="2")
    if bought.get("rolloverAuthorizationId"):
        await _broker_order(clients, f"{key} sold", bought["rolloverAuthorizationId"], side="sell", quantity="1")


async def _authorizes_and_revokes(clients: Clients, key: str, chance: random.Random) -> None:
    mandate = await _capital_mandate(clients, key)
    await asyncio.gather(
        _broker_order(clients, f"{key} order", mandate, side="buy", quantity="2"),
        clients.revoke("alice", mandate) if mandate and chance.random() < 0.7 else asyncio.sleep(0),
    )


async def _capital_mandate(clients: Clients, key: str) -> str | None:
    carol = clients.people["carol"].id
    mandate = await clients.authorize("alice", key, brokerId=carol, type="capital", currency=CURRENCY, amount="400.00")
    return str(mandate["id"]) if mandate.get("status") == "active" else None


async def _broker_order(clients: Clients, key: str, mandate: str | None, **body: object) -> dict[str, Any]:
    if mandate is None:
        return {}
    return await clients.order("carol", key, stockId=STOCK.stock_id, authorizationId=mandate, **body)


async def _ticks(clients: Clients, _key: str, chance: random.Random) -> None:
    middle = chance.randint(75, 90)
    await clients.tick(SYMBOL, f"{middle}.0000", f"{middle}.2000", seq=None)


_DEEDS = (_deposits, _buys, _buys, _sells, _sells, _waits, _broker_trades, _authorizes_and_revokes, _ticks)
