"""The router alone: what it costs, in front of subgraphs that cost nothing.

CPU is that of the router's processes alone, user and system, divided by the answers that clients got meanwhile.
"""

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.load import Clients, Load, Question
from bench.processes import cpu_seconds, rss_bytes
from bench.targets import OURS, SETTINGS, SHARING, Mocks, Router, Target, serving
from bench.worlds import (
    BALANCES,
    HOLDINGS,
    LIBRARY_OPERATION,
    USER,
    item,
    library_answer,
    price,
    record,
)

Figure = dict[str, Any]
Report = Callable[[Figure], None]

SMALL_SELECTION = "name email balances { currency amount } holdings { id quantity stock { symbol price } }"
SMALL_OPERATION = f"query Small {{ me {{ id {SMALL_SELECTION} }} }}"
SMALL_ANSWER = {"me": {**USER, "balances": BALANCES, "holdings": HOLDINGS}}
FAILING_ANSWER = {"me": {**SMALL_ANSWER["me"], "balances": None}}
CLIENTS = 32
PACE_PER_S = 500.0
"""A fixed pace that every router keeps, on a small machine as well."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of which world, by how many clients."""

    name: str
    title: str
    world: str
    question: Question
    clients: int = CLIENTS
    settings: Mapping[str, Any] = field(default_factory=lambda: SETTINGS)
    size: float = 1.0
    """Of what grows: entities, or kilobytes."""


def _new_operation(number: int) -> bytes:
    selection = SMALL_SELECTION.replace("name", f"n{number}: name", 1)
    return json.dumps({"query": f"query Small {{ me {{ id {selection} }} }}"}).encode()


def _new_answer(number: int) -> Any:
    me = {key if key != "name" else f"n{number}": value for key, value in SMALL_ANSWER["me"].items()}
    return {"me": me}


def _named_operation(number: int) -> bytes:
    return json.dumps({"query": SMALL_OPERATION.replace("Small", f"Small{number}")}).encode()


SMALL = Question.same(SMALL_OPERATION, lambda: SMALL_ANSWER)
LARGE = Question.same(LIBRARY_OPERATION, library_answer)
FAILING = Question.same(SMALL_OPERATION, lambda: FAILING_ANSWER, errors=1)
NAMED = Question(_named_operation, lambda _: SMALL_ANSWER)
NEW = Question(_new_operation, _new_answer, varies=True)


def items(count: int) -> Question:
    """A list of objects, to each of which a second subgraph adds."""
    query = f"query Items {{ items(first: {count}) {{ id name price {{ amount currency }} }} }}"
    return Question.same(query, lambda: {"items": [{**item(n), "price": price(n)} for n in range(count)]})


def records(count: int) -> Question:
    """A list of objects out of one subgraph."""
    query = f"query Records {{ records(first: {count}) {{ id name count share open }} }}"
    return Question.same(query, lambda: {"records": [record(n) for n in range(count)]})


ANSWERS = [
    Workload("s", "S: three fetches, a small answer", "small", SMALL),
    Workload("named", "S under a name never seen before", "small", NAMED),
    Workload("new", "S as an operation never seen before", "small", NEW, clients=4),
    Workload("l", "L: six fetches, an answer of 87 kB", "library", LARGE),
    Workload("d", "D: S, each subgraph waits for 5 ms", "waiting", SMALL),
    Workload("x", "X: S, one of the subgraphs fails", "failing", FAILING),
    Workload("shared", "S, where equal queries share an answer", "small", SMALL, settings=SHARING),
]
"""What one answer costs, by its kind."""

CONNECTIONS = [
    Workload("clients", f"S, {n} client{'s' if n > 1 else ''}", "small", SMALL, clients=n) for n in (1, 32, 128, 500)
]
"""The same answer for more and more clients."""

ENTITIES = [
    Workload(
        "entities",
        "1 entity" if n == 1 else f"{n:,} entities",
        "lists",
        items(n),
        clients=CLIENTS if n < 1_000 else 4,
        size=n,
    )
    for n in (1, 100, 1_000, 10_000)
]
"""More and more objects that a second subgraph adds to."""

SIZES = [
    Workload("size", title, "lists", records(n), clients=CLIENTS if n < 1_000 else 4, size=kilobytes)
    for title, kilobytes, n in (("1 kB", 1, 13), ("66 kB", 66, 850), ("692 kB", 692, 8_600), ("5 MB", 5_000, 60_900))
]
"""Larger and larger answers of one subgraph."""


def figures_of(load: Load, cpu_s: float) -> Figure:
    """What clients saw, and what each of their answers cost."""
    return {
        "requests": load.requests,
        "cpu_ms": round(cpu_s * 1e3 / load.requests, 4),
        "per_s": round(load.per_s, 1),
        "p50_ms": round(load.percentile(50), 3),
        "p99_ms": round(load.percentile(99), 3),
        "p99_9_ms": round(load.percentile(99.9), 3),
    }


async def measure(router: Router, clients: Clients, seconds: float) -> Figure:
    """One measurement of a router under load, after a shorter one that nobody counts."""
    await clients.closed(seconds=min(seconds / 3, 2.0))
    pids = router.program.pids
    cpu = cpu_seconds(pids)
    load = await clients.closed(seconds=seconds)
    return {**figures_of(load, cpu_seconds(pids) - cpu), "rss_mb": round(rss_bytes(pids) / 1e6, 1)}


@asynccontextmanager
async def asking(workload: Workload, mocks: Mocks, target: Target = OURS) -> AsyncIterator[tuple[Router, Clients]]:
    """A router that answers a workload's question, and the clients that ask it."""
    async with (
        serving(target, workload.world, mocks, workload.question, settings=workload.settings) as router,
        Clients(router.url, workload.question, workload.clients) as clients,
    ):
        yield router, clients


async def measure_paced(router: Router, clients: Clients, per_s: float, seconds: float) -> Figure:
    """One measurement of a router that is asked at a fixed pace."""
    pids = router.program.pids
    cpu = cpu_seconds(pids)
    load = await clients.paced(per_s=per_s, seconds=seconds)
    return figures_of(load, cpu_seconds(pids) - cpu)


async def measure_alone(workloads: list[Workload], mocks: Mocks, seconds: float, part: str, report: Report) -> None:
    """Each workload in front of a router of its own; each figure beside the first one's."""
    first: float | None = None
    for workload in workloads:
        async with asking(workload, mocks) as (router, clients):
            before = await mocks.count()
            figure = await measure(router, clients, seconds)
            fetches = (await mocks.count() - before) / clients.asked
        first = figure["cpu_ms"] if first is None else first
        named = {"part": part, "name": workload.name, "title": workload.title, "clients": workload.clients}
        others = {"size": workload.size, "fetches": round(fetches, 2), "of_first": round(figure["cpu_ms"] / first, 2)}
        report({**named, **figure, **others})


async def measure_pace(mocks: Mocks, seconds: float, report: Report, *, fixed_per_s: float = PACE_PER_S) -> None:
    """Latency where clients do not wait for one another: at 70 % of what the router can do, and at a fixed pace."""
    workload = Workload("pace", "S", "small", SMALL, clients=128)
    async with asking(workload, mocks) as (router, clients):
        most = (await measure(router, clients, seconds))["per_s"]
        paces = {f"70 % of {most:,.0f} a second": most * 0.7, f"{fixed_per_s:,.0f} a second": fixed_per_s}
        for title, per_s in paces.items():
            figure = await measure_paced(router, clients, per_s, seconds)
            report({"part": "pace", "name": "pace", "title": title, **figure, "wanted_per_s": round(per_s, 1)})


async def measure_memory(mocks: Mocks, requests: int, report: Report, *, steps: int = 10) -> None:
    """What the router holds after more and more requests."""
    workload = Workload("memory", "S", "small", SMALL)
    async with asking(workload, mocks) as (router, clients):
        for step in range(steps + 1):
            if step:
                await clients.closed(requests=max(requests // steps, 1))
            figure = {"requests": clients.asked, "rss_mb": round(rss_bytes(router.program.pids) / 1e6, 1)}
            report({"part": "memory", "name": "memory", "title": f"after {clients.asked:,} requests", **figure})


_IMPORT = "import time; began = time.perf_counter(); import trifolio; print(time.perf_counter() - began)"


def _import_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


async def measure_start(mocks: Mocks, times: int, report: Report) -> None:
    """From the start of the program to its first right answer, and what importing the package takes."""
    starts = []
    for _ in range(times):
        async with serving(OURS, "small", mocks, SMALL) as router:
            starts.append(router.start_s)
    imports = [await asyncio.to_thread(_import_seconds) for _ in range(times)]
    for name, title, seconds in (
        ("start", "start to first answer", starts),
        ("import", "import of trifolio", imports),
    ):
        figure = {"median_ms": round(statistics.median(seconds) * 1e3, 1), "times": times}
        report({"part": "start", "name": name, "title": title, **figure})
