"""A load of reads and orders while services and their PostgreSQL server are restarted, one after the other.

What is promised: a client that sends what failed once more, with the same key and no sooner than Retry-After says, gets
its answer, through REST and through the router. What was accepted (202, PENDING) is looked up until it is over. So a
client here gives up after the second failure, and a request without an answer is named in the result.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from brokerage.development import SUPERGRAPH
from subgraphs.shared.database import Database
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from tests.faults.books import at_rest, violations_of
from tests.faults.people import FINAL_WITHIN_S, MOVING, PAUSE_S, Clients, NotFinal, Person, key_of
from tests.faults.processes import SERVICES, World
from tests.faults.scenarios import CURRENCY, STOCK
from trifolio import Config, Router, Secret, SubgraphConfig

CLIENTS = 8
RETRY_AFTER_S = 1.0
"""The pause of a careful client to whom no answer said how long."""
BETWEEN_S = 1.5
"""From one restart to the next; and until what failed is answered: two may fail one request twice."""
DOWN_S = 0.3
"""How long what is restarted is away, beside what its end and its start take."""
FAILED = frozenset({429, 500, 502, 503, 504})
PORTFOLIO = """
query Portfolio {
  me { id name balances { currency total } holdings { id quantity stock { symbol price } } netWorth { amount } }
}"""
PLACE_ORDER = """
mutation Place($input: PlaceOrderInput!) {
  placeOrder(input: $input) { order { id status } errors { code } }
}"""
DEPOSIT = """
mutation Deposit($input: DepositInput!) {
  deposit(input: $input) { transaction { id } errors { code } }
}"""
ORDER = "query Order($id: ID!) { order(id: $id) { id status } }"

T = TypeVar("T")
Restart = Callable[[], Awaitable[None]]


@dataclass
class Load:
    """What became of a load: `unanswered` names the requests that failed twice, `changed` the answers that differ.

    `heard` counts the events that listeners were told of, `misheard` says which of them heard anything else than was
    written for them.
    """

    seed: int
    restarted: list[str] = field(default_factory=list)
    requests: int = 0
    sent_again: int = 0
    sending_again: int = 0
    unanswered: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    violations: tuple[str, ...] = ()
    heard: int = 0
    misheard: list[str] = field(default_factory=list)

    async def is_answered(self) -> None:
        """Waits until nobody sends a request again."""
        deadline = time.monotonic() + FINAL_WITHIN_S
        while self.sending_again and time.monotonic() < deadline:  # noqa: ASYNC110  # a count has no event
            await asyncio.sleep(PAUSE_S)

    def __str__(self) -> str:
        return (
            f"restarts (seed {self.seed}) of {', '.join(self.restarted)}: {self.requests} requests, "
            f"{self.sent_again} sent again, {len(self.unanswered)} unanswered, {len(self.violations)} violations; "
            f"{self.heard} events heard, {len(self.misheard)} misheard"
        )


class _Failed(Exception):
    """No answer, or one that says to try again; `pause_s` later."""

    def __init__(self, what: str, pause_s: float = RETRY_AFTER_S) -> None:
        super().__init__(what)
        self.pause_s = pause_s


class OnceMore(Clients):
    """People who send what failed once more, and no more often; to the services, and to the router in front of them."""

    def __init__(self, urls: Mapping[str, str], people: Mapping[str, Person], load: Load) -> None:
        super().__init__(urls, people)
        self.load = load
        secret = Secret(DEVELOPMENT_ROUTER_SECRET)
        subgraphs = {name: SubgraphConfig(url=f"{urls[name]}/graphql", secret=secret) for name in SERVICES}
        self._router = Router(SUPERGRAPH.read_text(), config=Config(subgraphs=subgraphs))

    async def __aexit__(self, *exception: object) -> None:
        await self._router.close()
        await super().__aexit__(*exception)

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
        """One request, at most twice; what was accepted is looked up until it is over."""
        url, named = self._urls[service] + path, f"{method} {service}{path} {key or ''}"
        keyed = key_of(key) if key else {}

        async def once() -> httpx.Response:
            headers = {**(self.people[person].headers() if person else {}), **keyed}
            try:
                response = await self._client.request(method, url, json=body, headers=headers)
            except httpx.TransportError as error:
                raise _Failed(type(error).__name__) from error
            if response.status_code in FAILED:
                pause_s = float(response.headers.get("retry-after", RETRY_AFTER_S))
                raise _Failed(f"{response.status_code} {response.text[:200]}", pause_s)
            return response

        response = await self._twice(named, once)
        if response.status_code != httpx.codes.ACCEPTED:
            return response
        place = response.headers.get("location", path)
        deadline = time.monotonic() + FINAL_WITHIN_S
        while time.monotonic() < deadline:
            found = await self.send(service, "GET", place, person)
            if found.json().get("status") not in MOVING:
                return found
            await asyncio.sleep(PAUSE_S)
        raise NotFinal(f"{named}: accepted, and never over")

    async def ask(self, query: str, person: str, **variables: object) -> dict[str, Any]:
        """One GraphQL operation, at most twice: its data. Whatever is an error here is a failure of a service."""

        async def once() -> dict[str, Any]:
            headers = self.people[person].headers()
            response = await self._router.execute(query, variables=variables, headers=headers)
            if response.errors or response.data is None:
                raise _Failed(str([error.to_json() for error in response.errors])[:300])
            return dict(response.data)

        return await self._twice(f"{query.split()[1]} {variables}", once)

    async def _twice(self, named: str, once: Callable[[], Awaitable[T]]) -> T:
        self.load.requests += 1
        try:
            return await once()
        except _Failed as failure:
            first = failure
        self.load.sent_again += 1
        self.load.sending_again += 1
        try:
            await asyncio.sleep(first.pause_s)
            return await once()
        except _Failed as failure:
            raise NotFinal(f"{named}: {first}; then {failure}") from failure
        finally:
            self.load.sending_again -= 1


async def endure(
    world: World,
    clients: OnceMore,
    databases: Mapping[str, Database],
    restarts: Mapping[str, Restart],
    *,
    seconds: float,
) -> Load:
    """Loads the services while each of `restarts` is done in turn, until all were and `seconds` are over."""
    load, calm = clients.load, asyncio.Event()
    actors = [asyncio.create_task(_act(clients, number, calm)) for number in range(CLIENTS)]
    until = time.monotonic() + seconds
    while not load.restarted or time.monotonic() < until:
        for name, restart in restarts.items():
            await asyncio.sleep(BETWEEN_S)
            await load.is_answered()
            await restart()
            load.restarted.append(name)
    await asyncio.sleep(BETWEEN_S)
    calm.set()
    await asyncio.gather(*actors)
    await at_rest(databases, world.clock)
    load.violations = await violations_of(databases)
    return load


def service_restarts(world: World) -> dict[str, Restart]:
    """A restart of each process of the world, as an operator restarts it."""

    def restart(replica: str) -> Restart:
        async def down_and_up() -> None:
            process = world.processes[replica]
            process.terminate()
            await process.wait()
            await asyncio.sleep(DOWN_S)
            world.start(replica)

        return down_and_up

    return {replica: restart(replica) for replica in world.processes}


async def _act(clients: OnceMore, number: int, calm: asyncio.Event) -> None:
    chance = random.Random(clients.load.seed * CLIENTS + number)
    step = 0
    while not calm.is_set():
        step += 1
        deed, key = chance.choice(_DEEDS), f"load {clients.load.seed} {number} {step}"
        sent_again = clients.load.sent_again
        try:
            answer = await deed(clients, key)
            if clients.load.sent_again > sent_again and answer is not None and answer != await deed(clients, key):
                clients.load.changed.append(f"{key}: {answer}")
        except NotFinal as failure:
            clients.load.unanswered.append(str(failure))


async def _deposits(clients: OnceMore, key: str) -> object:
    body = {"type": "deposit", "amount": "500.00", "currency": CURRENCY}
    return (await clients.send("wallet", "POST", "/transactions", "alice", body=body, key=key)).json()["id"]


async def _buys(clients: OnceMore, key: str) -> object:
    order = await clients.order("alice", key, stockId=STOCK.stock_id, side="buy", quantity="2")
    return order["id"], order["status"]


async def _sells(clients: OnceMore, key: str) -> object:
    order = await clients.order("alice", key, stockId=STOCK.stock_id, side="sell", quantity="1")
    return order.get("id", order.get("orderId")), order.get("code", order["status"])


async def _broker_buys(clients: OnceMore, key: str) -> object:
    carol = clients.people["carol"].id
    given = {"brokerId": carol, "type": "capital", "currency": CURRENCY, "amount": "400.00"}
    mandate = await clients.authorize("alice", f"{key} mandate", **given)
    order = {"stockId": STOCK.stock_id, "side": "buy", "quantity": "1", "authorizationId": mandate["id"]}
    placed = await clients.order("carol", key, **order)
    await clients.revoke("alice", mandate["id"])
    return mandate["id"], placed["id"]


async def _reads(clients: OnceMore, _key: str) -> None:
    places: Sequence[tuple[str, str]] = (
        ("users", "/users"),
        ("users", "/authorizations"),
        ("wallet", "/balance"),
        ("wallet", "/transactions"),
        ("stocks", "/stocks"),
        ("stocks", "/stockholdings"),
        ("stocks", "/orders"),
    )
    for service, path in places:
        response = await clients.send(service, "GET", path, "alice")
        assert response.status_code == httpx.codes.OK, response.text


async def _looks(clients: OnceMore, _key: str) -> None:
    answer = await clients.ask(PORTFOLIO, "alice")
    assert answer["me"]["balances"], answer


async def _orders_in_the_graph(clients: OnceMore, key: str) -> object:
    wanted = {"stockId": STOCK.stock_id, "side": "BUY", "quantity": "1", "idempotencyKey": key}
    placed = (await clients.ask(PLACE_ORDER, "alice", input=wanted))["placeOrder"]
    order, deadline = placed["order"], time.monotonic() + FINAL_WITHIN_S
    while order["status"] == "PENDING":
        if time.monotonic() > deadline:
            raise NotFinal(f"order {order['id']}: placed, and never over")
        await asyncio.sleep(PAUSE_S)
        order = (await clients.ask(ORDER, "alice", id=order["id"]))["order"]
    return order["id"], order["status"]


async def _deposits_in_the_graph(clients: OnceMore, key: str) -> object:
    wanted = {"currency": CURRENCY, "amount": "250.00", "idempotencyKey": key}
    return (await clients.ask(DEPOSIT, "alice", input=wanted))["deposit"]["transaction"]["id"]


_DEEDS = (
    _deposits,
    _buys,
    _sells,
    _broker_buys,
    _reads,
    _reads,
    _looks,
    _looks,
    _orders_in_the_graph,
    _deposits_in_the_graph,
)
