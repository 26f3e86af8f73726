"""The whole job, with a handful of requests: each way to the same facts, and an order beside its raw saga."""

from pathlib import Path

import pytest

from bench.alone import Figure
from bench.brokerage import added, measure_brokerage

pytestmark = pytest.mark.no_cover


async def test_the_whole_job_is_measured(tmp_path: Path) -> None:
    """Four processes, three REST calls, plain twins of the subgraphs and one process tell a user's portfolio alike, and
    what each process spends on it is seen. Orders are completed, and what one wrote can be repeated without the
    services."""
    figures: list[Figure] = []
    await measure_brokerage(tmp_path, figures.append, seconds=0.2, orders=3)
    services = {"users", "wallet", "stocks"}
    assert {figure["title"]: set(figure.get("by_process", ())) for figure in figures} == {
        "four processes": {"router", *services},
        "three REST calls": services,
        "plain twins, Trifolio": {"router", *services},
        "a market order": set(),
        "one process": {"all in one"},
    }
    assert all(figure["requests"] > 0 for figure in figures)
    (order,) = (figure for figure in figures if figure["part"] == "order")
    assert order["requests"] == 16
    assert order["commits"] > 5
    assert order["raw_cpu_ms"] > 0


def test_calls_that_follow_one_another_add_up() -> None:
    """Three calls cost what each costs, and are waited for one after the other."""
    calls = [
        {"requests": 10, "per_s": 100.0, "p50_ms": 1.0, "by_process": {"users": 0.25}},
        {"requests": 8, "per_s": 50.0, "p50_ms": 2.0, "by_process": {"wallet": 0.5}},
    ]
    assert added(calls) == {
        "requests": 8,
        "cpu_ms": 0.75,
        "per_s": 33.3,
        "p50_ms": 3.0,
        "by_process": {"users": 0.25, "wallet": 0.5},
    }
