"""Our router and another one in turns, on the same machine in the same minutes: what can be quoted is their ratio."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.alone import ANSWERS, Report, Workload, asking, measure
from bench.targets import SHARING, Mocks, Target

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t for 95 %, two-sided, with 1, 2, ... degrees of freedom; beyond them the normal distribution's will do."""
T_95_OF_MANY = 1.96
COMPARED = ("s", "l", "d", "x")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The mean ratio of pairs, and the ends of its 95 % interval: the geometric mean, as ratios multiply.

    >>> ratio([1.0, 1.0], [2.0, 2.0])
    {'ratio': 0.5, 'low': 0.5, 'high': 0.5}
    """
    logarithms = [math.log(one / other) for one, other in zip(ours, theirs, strict=True)]
    mean = statistics.mean(logarithms)
    freedom = len(logarithms) - 1
    t = T_95[freedom - 1] if freedom <= len(T_95) else T_95_OF_MANY
    half = t * statistics.stdev(logarithms) / math.sqrt(len(logarithms)) if freedom else math.inf
    ends = {"ratio": mean, "low": mean - half, "high": mean + half}
    return {name: round(math.exp(value), 3) if value < math.inf else math.inf for name, value in ends.items()}


def compared(target: Target, names: Sequence[str] = COMPARED) -> list[Workload]:
    """The workloads that both answer; where the other shares what is in flight, ours does, too."""
    chosen = [workload for workload in ANSWERS if workload.name in names]
    return [replace(each, settings=SHARING) for each in chosen] if target.shares else chosen


async def measure_beside(
    target: Target, workloads: Sequence[Workload], mocks: Mocks, *, pairs: int, seconds: float, report: Report
) -> None:
    """Both run at once, and are asked in turns; who is first changes from pair to pair."""
    for workload in workloads:
        async with asking(workload, mocks) as ours, asking(workload, mocks, target) as theirs:
            costs: tuple[list[float], list[float]] = [], []
            latencies: tuple[list[float], list[float]] = [], []
            for pair in range(pairs):
                for side in (0, 1) if pair % 2 == 0 else (1, 0):
                    figure = await measure(*(ours, theirs)[side], seconds)
                    costs[side].append(figure["cpu_ms"])
                    latencies[side].append(figure["p99_ms"])
        report(
            {
                "part": "beside",
                "name": workload.name,
                "title": f"{workload.title.partition(':')[0]}, beside {target.title} {target.version}".rstrip(),
                "peer": target.name,
                "clients": workload.clients,
                "pairs": pairs,
                "cpu_ms": round(statistics.median(costs[0]), 4),
                "peer_cpu_ms": round(statistics.median(costs[1]), 4),
                **ratio(*costs),
                "p99_ratio": ratio(*latencies)["ratio"],
            }
        )
