"""Starts the brokerage as `make run` does and measures it from outside: the Portfolio query and the market order.

The order's cost is set against a twin measured in the same run: `raw_saga`, the same statements in plain sqlite3. What
lies between the two is HTTP between three services, tokens, rules and SQLAlchemy.
"""

import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.raw_saga import RawSaga, measure_raw_saga
from brokerage.demo import fetch_token
from brokerage.development import read_urls

ROOT = Path(__file__).parents[1]
PORTFOLIO = (ROOT / "docs" / "examples" / "30-portfolio.graphql").read_text()
READY_WITHIN_S = 60.0
WARM_UP = 50
REQUESTS = 300
ORDERS = 200
CLIENTS = 16
IDLE_S = 3.0
"""How long the services are watched without clients: what the market costs then is not the orders'."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one kind of request."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """The percentiles of measured seconds."""
        ordered = sorted(seconds)
        return cls(statistics.median(ordered) * 1e3, ordered[int(len(ordered) * 0.99) - 1] * 1e3)

    def __str__(self) -> str:
        return f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run measured."""

    start_s: float
    portfolio: Latency
    order: Latency
    orders_per_s: float
    order_cpu_ms: float
    raw_saga: RawSaga

    def __str__(self) -> str:
        return (
            f"cold start to the first answer       {self.start_s:.1f} s\n"
            f"Portfolio query, three subgraphs     {self.portfolio}\n"
            f"market order, one client             {self.order}\n"
            f"market orders, {CLIENTS} clients            {self.orders_per_s:.0f} per second\n"
            f"CPU per order, all services          {self.order_cpu_ms:.2f} ms\n"
            f"its {self.raw_saga.commits} commits in plain sqlite3       {self.raw_saga.cpu_ms:.2f} ms; "
            f"ratio {self.order_cpu_ms / self.raw_saga.cpu_ms:.1f}"
        )


async def measure() -> Figures:
    """Runs everything once on fresh databases in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="trifolio-bench-") as folder:
        began = time.monotonic()
        async with _running(Path(folder)) as (supervisor, urls), httpx.AsyncClient(trust_env=False) as client:
            headers = {"authorization": f"Bearer {await fetch_token(urls, 'alice')}"}

            async def portfolio() -> None:
                response = await client.post(f"{urls['router']}/graphql", json={"query": PORTFOLIO}, headers=headers)
                answer = response.json()
                assert "errors" not in answer, answer

            await portfolio()
            start_s = time.monotonic() - began
            order = await _order(client, urls, headers)
            portfolio_seconds = await _timed(portfolio, REQUESTS)
            order_seconds = await _timed(order, ORDERS)
            services = [each for each in supervisor.children() if "brokerage.services" in each.cmdline()]
            idle = _cpu_seconds(services)
            await asyncio.sleep(IDLE_S)
            idle_per_s = (_cpu_seconds(services) - idle) / IDLE_S
            cpu, wall = _cpu_seconds(services), time.monotonic()
            await asyncio.gather(*(_repeat(order, ORDERS // CLIENTS) for _ in range(CLIENTS)))
            placed = ORDERS // CLIENTS * CLIENTS
            wall = time.monotonic() - wall
            cpu = _cpu_seconds(services) - cpu - idle_per_s * wall
        return Figures(
            start_s,
            Latency.of(portfolio_seconds),
            Latency.of(order_seconds),
            placed / wall,
            cpu / placed * 1e3,
            await asyncio.to_thread(measure_raw_saga, Path(folder, "raw")),
        )


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[tuple[psutil.Process, Mapping[str, str]]]:
    command = [sys.executable, "-m", "brokerage", "up", "--data", str(folder), "--port", str(_free_ports())]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            said = b""
            while b"is ready" not in said:
                line = await process.stdout.readline()
                if not line:
                    raise SystemExit(f"the brokerage did not start:\n{said.decode()}")
                said += line
        urls = read_urls(folder)
        assert urls is not None
        yield psutil.Process(process.pid), urls
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


def _free_ports() -> int:
    """The first of four neighbouring ports that nobody listens on."""
    taken = {each.laddr.port for each in psutil.net_connections("tcp") if each.laddr}
    return next(port for port in range(20_000, 60_000, 4) if not taken & set(range(port, port + 4)))


async def _order(
    client: httpx.AsyncClient, urls: Mapping[str, str], headers: Mapping[str, str]
) -> Callable[[], Awaitable[None]]:
    stocks = (await client.get(f"{urls['stocks']}/stocks", params={"limit": "100"})).json()["items"]
    stock = next(each for each in stocks if each["currency"] == "EUR")
    body = {"stockId": stock["id"], "side": "buy", "quantity": "0.01"}

    async def order() -> None:
        key = {"idempotency-key": str(uuid.uuid4())}
        response = await client.post(f"{urls['stocks']}/orders", json=body, headers={**headers, **key})
        assert response.status_code == 201, response.text

    return order


async def _timed(request: Callable[[], Awaitable[None]], times: int) -> list[float]:
    await _repeat(request, WARM_UP)
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        await request()
        seconds.append(time.perf_counter() - began)
    return seconds


async def _repeat(request: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await request()


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
