"""Our router and another one in turns, on the same machine in the same minutes: what can be quoted is their ratio."""

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bench.alone import (
    ANSWERS,
    CONNECTIONS,
    PACE_PER_S,
    Figure,
    Report,
    Workload,
    asking,
    measure,
    measure_paced,
)
from bench.load import Clients
from bench.processes import NotMeasured
from bench.targets import SHARING, Mocks, Router, Target

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t for 95 %, two-sided, with 1, 2, ... degrees of freedom; beyond them the normal distribution's will do."""
T_95_OF_MANY = 1.96
COMPARED = ("s", "l", "d", "x", "clients")
WARM_UP_S = 3.0
"""Asked before anything counts: others compile what they run often, and take seconds until they do."""
LATENCIES = ("p50_ms", "p99_ms")

Side = tuple[Router, Clients]
Turn = Callable[[Side], Awaitable[Figure]]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The mean ratio of pairs, and the ends of its 95 % interval: the geometric mean, as ratios multiply. Raises
    NotMeasured for what is zero, as is what took less than the clock of the system tells.

    >>> ratio([1.0, 1.0], [2.0, 2.0])
    {'ratio': 0.5, 'low': 0.5, 'high': 0.5}
    """
    if not all((*ours, *theirs)):
        raise NotMeasured("too short to be measured: give it more --seconds")
    logarithms = [math.log(one / other) for one, other in zip(ours, theirs, strict=True)]
    mean = statistics.mean(logarithms)
    freedom = len(logarithms) - 1
    t = T_95[freedom - 1] if freedom <= len(T_95) else T_95_OF_MANY
    half = t * statistics.stdev(logarithms) / math.sqrt(len(logarithms)) if freedom else math.inf
    ends = {"ratio": mean, "low": mean - half, "high": mean + half}
    return {name: round(math.exp(value), 3) if value < math.inf else math.inf for name, value in ends.items()}


def compared(target: Target, names: Sequence[str] = COMPARED) -> list[Workload]:
    """The workloads that both answer; where the other shares what is in flight, ours does, too."""
    chosen = [workload for workload in (*ANSWERS, CONNECTIONS[-1]) if workload.name in names]
    return [replace(each, settings=SHARING) for each in chosen] if target.shares else chosen


async def measure_beside(
    target: Target,
    workloads: Sequence[Workload],
    mocks: Mocks,
    *,
    pairs: int,
    seconds: float,
    report: Report,
    paced_per_s: float = PACE_PER_S,
    warm_up_s: float = WARM_UP_S,
) -> None:
    """Both run at once, and are asked in turns: as fast as they answer, and S at a fixed pace as well."""

    async def closed(side: Side) -> Figure:
        return await measure(*side, seconds)

    async def paced(side: Side) -> Figure:
        return await measure_paced(*side, paced_per_s, seconds)

    async def tell(title: str, turn: Turn, sides: tuple[Side, Side], workload: Workload) -> None:
        figure = await in_turns(turn, sides, pairs)
        title = f"{title}, beside {target.title} {target.version}".rstrip()
        named = {"part": "beside", "name": workload.name, "title": title, "peer": target.name}
        report({**named, "clients": workload.clients, "pairs": pairs, **figure})

    for workload in workloads:
        async with asking(workload, mocks) as ours, asking(workload, mocks, target) as theirs:
            for _, clients in (ours, theirs):
                await clients.closed(seconds=warm_up_s)
            await tell(workload.title.partition(":")[0], closed, (ours, theirs), workload)
            if workload.name == "s":
                await tell(f"S, {paced_per_s:,.0f} a second", paced, (ours, theirs), workload)


async def in_turns(turn: Turn, sides: tuple[Side, Side], pairs: int) -> Figure:
    """Two sides in turns, so many times; who is first changes from pair to pair."""
    found: tuple[list[Figure], list[Figure]] = [], []
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            found[side].append(await turn(sides[side]))

    def each(name: str) -> tuple[list[float], list[float]]:
        return [figure[name] for figure in found[0]], [figure[name] for figure in found[1]]

    medians = [{name: statistics.median(each(name)[side]) for name in LATENCIES} for side in (0, 1)]
    costs = each("cpu_ms")
    return {
        "cpu_ms": round(statistics.median(costs[0]), 4),
        "peer_cpu_ms": round(statistics.median(costs[1]), 4),
        **ratio(*costs),
        "p99_ratio": ratio(*each("p99_ms"))["ratio"],
        "p99_9_ratio": ratio(*each("p99_9_ms"))["ratio"],
        "spread": round(medians[0]["p99_ms"] / medians[0]["p50_ms"], 2),
        "peer_spread": round(medians[1]["p99_ms"] / medians[1]["p50_ms"], 2),
    }
