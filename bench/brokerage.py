"""The whole job: what the brokerage spends on the same facts, five ways, and on an order.

It is started as `make run` starts it, on databases of its own, with prices that stand still, so that answers can be
compared: what the REST routes tell is what each of the GraphQL ways has to tell.
"""

import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.alone import Figure, Report, figures_of
from bench.load import Clients, Question
from bench.machine import ROOT
from bench.processes import NotMeasured, cpu_seconds, free_port, running
from bench.raw_saga import measure_raw_saga
from bench.targets import OURS, Target, started
from bench.twins.__main__ import SCHEMAS
from brokerage import SERVICE_NAMES
from brokerage.demo import fetch_token
from brokerage.development import read_urls
from trifolio.composer import Subgraph, compose

PORTFOLIO = (ROOT / "docs" / "examples" / "30-portfolio.graphql").read_text()
READY_TIMEOUT_S = 90.0
CLIENTS = 16
WARM_UP = 20
IDLE_S = 2.0
"""How long the services are watched without clients: what they spend then is not the orders'."""
_POLL_S = 0.02
_ENVIRONMENT = {"TRIFOLIO_FEED": "manual"}


@dataclass(frozen=True, slots=True)
class Brokerage:
    """A brokerage that runs: where it answers, and the ids of its processes by name."""

    folder: Path
    urls: Mapping[str, str]
    pids: Mapping[str, int]
    start_s: float
    """From its start until the demo data was there."""

    async def headers(self) -> dict[str, str]:
        """Of a user who has some of everything."""
        return {"authorization": f"Bearer {await fetch_token(self.urls, 'alice')}"}


@asynccontextmanager
async def up(folder: Path, *, in_process: bool = False) -> AsyncIterator[Brokerage]:
    """A brokerage on the data in a folder, which is made where there is none, for as long as the block lasts."""
    log = folder.parent / f"up-{uuid.uuid4().hex}.log"
    command = [sys.executable, "-m", "brokerage", "up", "--data", str(folder), "--port", str(free_port(4))]
    began = time.monotonic()
    async with running(
        [*command, *(["--in-process"] if in_process else [])], log, environment=_ENVIRONMENT, folder=ROOT
    ) as program:
        while "is ready" not in log.read_text():
            program.raise_if_ended()
            if time.monotonic() - began > READY_TIMEOUT_S:
                raise NotMeasured(f"the brokerage does not start:\n{log.read_text()}")
            await asyncio.sleep(_POLL_S)
        start_s = time.monotonic() - began
        urls = read_urls(folder)
        assert urls is not None
        pids = {"all in one": program.pid} if in_process else _pids_of_services(program.pid)
        yield Brokerage(folder, urls, pids, start_s)


def _pids_of_services(supervisor: int) -> dict[str, int]:
    """The services by name, and the router: the supervisor's children, which have sessions of their own."""
    pids = {}
    for child in psutil.Process(supervisor).children():
        words = child.cmdline()
        name = words[words.index("brokerage.services") + 1] if "brokerage.services" in words else "router"
        pids[name] = child.pid
    assert pids.keys() == {"router", *SERVICE_NAMES}, pids
    return pids


async def facts(brokerage: Brokerage, headers: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Question]]:
    """What the Portfolio query has to answer, by what the REST routes tell, and the questions to these routes."""
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        me = await _asked(client, brokerage.urls["router"])
        paths = {"users": f"/users/{me}", "wallet": "/balance", "stocks": "/stockholdings?limit=100"}
        told = {name: (await client.get(brokerage.urls[name] + path)).json() for name, path in paths.items()}
    user, balances, holdings = told["users"], told["wallet"]["balances"], told["stocks"]["items"]
    assert balances
    assert holdings
    async with httpx.AsyncClient(trust_env=False) as client:
        listed = (await client.get(f"{brokerage.urls['stocks']}/stocks?limit=100")).json()["items"]
    stocks = {stock["id"]: stock for stock in listed}
    portfolio = {
        "me": {
            **{name: user[name] for name in ("id", "name", "email")},
            "balances": [
                {name: balance[name] for name in ("currency", "available", "committed", "held", "total")}
                for balance in balances
            ],
            "holdings": [
                {
                    **{name: holding[name] for name in ("id", "quantity", "averagePrice", "marketValue", "profitLoss")},
                    "committedAmount": holding["commitedAmount"],  # the documented route's spelling
                    "stock": {name: stocks[holding["stockId"]][name] for name in ("symbol", "name", "price")},
                }
                for holding in holdings
            ],
        }
    }
    return portfolio, {name: _read(path, told[name]) for name, path in paths.items()}


def _read(path: str, told: object) -> Question:
    """A REST route, whose answer stays as it was."""
    return Question(lambda _: b"", lambda _: told, method="GET", path=path, is_graphql=False)


async def _asked(client: httpx.AsyncClient, url: str) -> str:
    """The id of the user who asks."""
    answer = (await client.post(f"{url}/graphql", json={"query": "{ me { id } }"})).json()
    found: str = answer["data"]["me"]["id"]
    return found


async def spent(
    pids: Mapping[str, int], url: str, question: Question, headers: Mapping[str, str], seconds: float
) -> Figure:
    """What processes spend on each answer to a question, by name and together."""
    async with Clients(url, question, CLIENTS, headers) as clients:
        await clients.closed(seconds=min(seconds / 2, 2.0))
        before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
        load = await clients.closed(seconds=seconds)
        after = {name: cpu_seconds([pid]) for name, pid in pids.items()}
    by_process = {name: round((after[name] - before[name]) * 1e3 / load.requests, 4) for name in pids}
    return {**figures_of(load, sum(after.values()) - sum(before.values())), "by_process": by_process}


async def measure_brokerage(
    folder: Path,
    report: Report,
    *,
    seconds: float,
    orders: int,
    parts: Container[str] = ("portfolio", "order"),
    routers: Iterable[Target] = (OURS,),
) -> None:
    """The same facts of four processes, by three REST calls, of the plain twins behind each of the routers, and of one
    process; and an order."""
    data, costs = folder / "data", list[float]()

    def tell(figure: Figure) -> None:
        """Each figure of the same facts beside the first one's."""
        if figure["part"] == "portfolio":
            costs.append(figure["cpu_ms"])
            figure = {**figure, "of_first": round(figure["cpu_ms"] / costs[0], 2)}
        report(figure)

    async with up(data) as brokerage:
        if "portfolio" in parts:
            await _measure_portfolio(brokerage, seconds, tell)
            await _measure_calls(brokerage, seconds, tell)
            await _measure_twins(brokerage, routers, seconds, tell)
        if "order" in parts:
            await _measure_order(brokerage, orders, tell)
    if "portfolio" in parts:
        async with up(data, in_process=True) as brokerage:
            await _measure_portfolio(brokerage, seconds, tell)


def _portfolio(title: str, figure: Figure) -> Figure:
    return {"part": "portfolio", "name": title, "title": title, "clients": CLIENTS, **figure}


async def _measure_portfolio(brokerage: Brokerage, seconds: float, report: Report) -> None:
    headers = await brokerage.headers()
    expected, _ = await facts(brokerage, headers)
    question = Question.same(PORTFOLIO, lambda: expected)
    figure = await spent(brokerage.pids, f"{brokerage.urls['router']}/graphql", question, headers, seconds)
    title = "one process" if len(brokerage.pids) == 1 else "four processes"
    report(_portfolio(title, {**figure, "start_s": round(brokerage.start_s, 2)}))


async def _measure_calls(brokerage: Brokerage, seconds: float, report: Report) -> None:
    headers = await brokerage.headers()
    _, questions = await facts(brokerage, headers)
    calls = [
        await spent({name: brokerage.pids[name]}, brokerage.urls[name] + question.path, question, headers, seconds)
        for name, question in questions.items()
    ]
    report(_portfolio("three REST calls", added(calls)))


def added(calls: Iterable[Figure]) -> Figure:
    """Calls that a client makes one after the other, as one: sums of CPU and of waiting, and so the throughput."""
    calls = list(calls)
    by_process = {name: cost for call in calls for name, cost in call["by_process"].items()}
    return {
        "requests": min(call["requests"] for call in calls),
        "cpu_ms": round(sum(by_process.values()), 4),
        "per_s": round(1 / sum(1 / call["per_s"] for call in calls), 1),
        "p50_ms": round(sum(call["p50_ms"] for call in calls), 3),
        "by_process": by_process,
    }


async def _measure_twins(brokerage: Brokerage, routers: Iterable[Target], seconds: float, report: Report) -> None:
    """Plain subgraphs over the same databases, behind several routers."""
    headers = await brokerage.headers()
    expected, _ = await facts(brokerage, headers)
    question = Question.same(PORTFOLIO, lambda: expected)
    async with twins(brokerage) as (supergraph, pids):
        for target in routers:
            folder = brokerage.folder.parent / f"twins-{target.name}"
            async with started(target, supergraph, folder, question, headers=headers) as router:
                figure = await spent({"router": router.program.pid, **pids}, router.url, question, headers, seconds)
            report(_portfolio(f"plain twins, {target.title}", figure))


@asynccontextmanager
async def twins(brokerage: Brokerage) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """The twins of the subgraphs over a brokerage's databases: their supergraph, and their processes by name."""
    keys = brokerage.folder.parent / "keys.json"
    async with httpx.AsyncClient(trust_env=False) as client:
        keys.write_bytes((await client.get(f"{brokerage.urls['users']}/.well-known/jwks.json")).content)
    subgraphs, pids = [], {}
    async with AsyncExitStack() as stack:
        for name, schema in SCHEMAS.items():
            port, log = free_port(), keys.with_name(f"twin-{name}.log")
            files = ("--database", str(brokerage.folder / f"{name}.db"), "--keys", str(keys))
            command = [sys.executable, "-m", "bench.twins", name, *files, "--port", str(port)]
            program = await stack.enter_async_context(running(command, log, folder=ROOT))
            await program.wait_for_port(port)
            pids[name] = program.pid
            subgraphs.append(Subgraph(name, f"http://127.0.0.1:{port}/graphql", schema.as_str()))
        composed = compose(subgraphs)
        assert composed.supergraph is not None, composed.diagnostics
        yield composed.supergraph, pids


async def _measure_order(brokerage: Brokerage, orders: int, report: Report) -> None:
    """What a client waits for, what the services spend, and what the statements alone cost."""
    async with httpx.AsyncClient(trust_env=False) as client:
        order = await _order(client, brokerage.urls, await brokerage.headers())
        await _repeat(order, min(WARM_UP, orders))
        latencies = sorted(await _timed(order, orders))
        services = [brokerage.pids[name] for name in SERVICE_NAMES]
        idle = cpu_seconds(services)
        await asyncio.sleep(IDLE_S)
        idle_per_s = (cpu_seconds(services) - idle) / IDLE_S
        each = -(-orders // CLIENTS)
        cpu, wall = cpu_seconds(services), time.monotonic()
        await asyncio.gather(*(_repeat(order, each) for _ in range(CLIENTS)))
        wall = time.monotonic() - wall
        cpu = cpu_seconds(services) - cpu - idle_per_s * wall
    raw = await asyncio.to_thread(measure_raw_saga, brokerage.folder.parent / "raw", 2 * orders)
    report(
        {
            "part": "order",
            "name": "order",
            "title": "a market order",
            "clients": CLIENTS,
            "requests": each * CLIENTS,
            "cpu_ms": round(cpu / (each * CLIENTS) * 1e3, 3),
            "raw_cpu_ms": round(raw.cpu_ms, 3),
            "commits": raw.commits,
            "per_s": round(each * CLIENTS / wall, 1),
            "p50_ms": round(statistics.median(latencies) * 1e3, 2),
            "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1e3, 2),
        }
    )


async def _order(
    client: httpx.AsyncClient, urls: Mapping[str, str], headers: Mapping[str, str]
) -> Callable[[], Awaitable[None]]:
    stocks = (await client.get(f"{urls['stocks']}/stocks", params={"limit": "100"})).json()["items"]
    stock = next(each for each in stocks if each["currency"] == "EUR")
    body = {"stockId": stock["id"], "side": "buy", "quantity": "0.01"}

    async def order() -> None:
        key = {"idempotency-key": str(uuid.uuid4())}
        response = await client.post(f"{urls['stocks']}/orders", json=body, headers={**headers, **key})
        if response.status_code != httpx.codes.CREATED or response.json()["status"] != "completed":
            raise NotMeasured(f"an order was answered with {response.status_code}: {response.text}")

    return order


async def _timed(request: Callable[[], Awaitable[None]], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        await request()
        seconds.append(time.perf_counter() - began)
    return seconds


async def _repeat(request: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await request()
