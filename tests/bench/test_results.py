"""What becomes of figures: ratios with their intervals, the published file, and the page."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.beside import compared, in_turns, ratio
from bench.machine import about
from bench.page import PAGE, PLOTS, TABLES, of_part, page_text, write_page
from bench.processes import NotMeasured
from bench.targets import HERE, PEERS, SHARING, read_peers

FIGURE: dict[str, Any] = {
    "title": "a title",
    "clients": 32,
    "size": 10.0,
    "requests": 1_000,
    "cpu_ms": 0.5,
    "peer_cpu_ms": 0.25,
    "ratio": 2.0,
    "low": 1.9,
    "high": 2.1,
    "p99_ratio": 1.5,
    "p99_9_ratio": 1.5,
    "spread": 2.0,
    "peer_spread": 3.0,
    "of_first": 1.5,
    "pairs": 5,
    "fetches": 3.0,
    "per_s": 1234.5,
    "p50_ms": 1.5,
    "p99_ms": 3.0,
    "p99_9_ms": 9.0,
    "rss_mb": 55.5,
    "median_ms": 700.0,
    "times": 3,
    "by_process": {"router": 0.1, "users": 0.4},
    "raw_cpu_ms": 0.1,
    "commits": 9,
    "start_s": 2.5,
}
"""Has whatever a table or a plot may ask for."""


def figures_of(*parts: str) -> list[dict[str, Any]]:
    """Two figures of each part."""
    run = about("make bench")
    return [
        {"run": run, "part": part, "name": part, **FIGURE, "size": size} for part in parts for size in (10.0, 100.0)
    ]


def test_a_ratio_is_that_of_pairs() -> None:
    """Pairs that agree leave no doubt; those that do not make the interval wide, around the geometric mean; one pair
    alone tells nothing of it. The bounds are those of Student's t for the logarithms."""
    assert ratio([1.0, 3.0], [2.0, 6.0]) == {"ratio": 0.5, "low": 0.5, "high": 0.5}
    spread = ratio([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    half = 4.303 * math.log(2) / math.sqrt(3)
    assert spread == {"ratio": 2.0, "low": round(2 / math.exp(half), 3), "high": round(2 * math.exp(half), 3)}
    assert ratio([1.0], [2.0])["high"] == math.inf
    with pytest.raises(NotMeasured, match="too short"):
        ratio([1.0, 0.0], [1.0, 1.0])
    many = ratio([1.0, 2.0] * 20, [1.0] * 40)
    assert 1.2 < many["low"] < many["ratio"] < many["high"] < 1.7


async def test_turns_change_who_is_first() -> None:
    """Pairs are measured one after the other, and in every second one the other is first; latencies are told as ratios
    and as the spread of each."""
    asked: list[str] = []

    async def turn(side: Any) -> dict[str, Any]:
        asked.append(side)
        factor = 2.0 if side == "ours" else 1.0
        return {"cpu_ms": factor, "p50_ms": 1.0, "p99_ms": 3 * factor, "p99_9_ms": 8 * factor}

    sides: Any = ("ours", "theirs")
    figure = await in_turns(turn, sides, 3)
    assert asked == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert figure == {
        "cpu_ms": 2.0,
        "peer_cpu_ms": 1.0,
        "ratio": 2.0,
        "low": 2.0,
        "high": 2.0,
        "p99_ratio": 2.0,
        "p99_9_ratio": 2.0,
        "spread": 6.0,
        "peer_spread": 3.0,
    }


def test_publishing_replaces_the_parts_that_were_measured(tmp_path: Path) -> None:
    """A run of some parts leaves the others' figures, and one other router those of another."""
    file = tmp_path / "results.jsonl"
    results.publish([{"part": "answers", "cpu_ms": 1}, {"part": "memory", "rss_mb": 2}], file)
    results.publish([{"part": "answers", "cpu_ms": 3}, {"part": "beside", "peer": "a"}], file)
    results.publish([{"part": "beside", "peer": "b"}], file)
    assert results.read(file) == [
        {"part": "memory", "rss_mb": 2},
        {"part": "answers", "cpu_ms": 3},
        {"part": "beside", "peer": "a"},
        {"part": "beside", "peer": "b"},
    ]


def test_the_page_has_every_part_that_has_figures(tmp_path: Path) -> None:
    """Each part has a section with its table, its plot and the run; a part without figures has none. The same
    figures make the same plots."""
    published, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    results.publish(figures_of(*TABLES), published)
    write_page(page, published)
    text = page.read_text()
    plots = {part: (tmp_path / f"{part}.svg").read_text() for part in PLOTS}
    assert text.count("<sub>") == len(TABLES)
    assert "{{" not in text
    for part, plot in plots.items():
        assert f"(performance/{part}.svg)" in text
        assert plot.startswith("<?xml")
    for part in TABLES:
        left = page_text([figure for figure in results.read(published) if figure["part"] != part])
        assert left.count("<sub>") == len(TABLES) - 1
    write_page(page, published)
    assert {part: (tmp_path / f"{part}.svg").read_text() for part in PLOTS} == plots


def test_the_page_is_current() -> None:
    """The page is what its figures and the text make, and its plots are there: make bench ARGS=page."""
    figures = results.read()
    assert page_text(figures) == PAGE.read_text()
    for part in PLOTS:
        assert (results.PUBLISHED.parent / f"{part}.svg").exists() == bool(of_part(figures, part))


def test_published_figures_say_where_they_are_from() -> None:
    """Each has its day, machine, versions, commit and command."""
    for figure in results.read():
        run = figure["run"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", run["date"])
        assert run["machine"].keys() == {"cpu", "cores", "memory_gb", "kernel", "load"}
        assert {"python", "trifolio", "uvloop"} <= run["versions"].keys()
        assert run["command"].startswith("make bench")


def test_the_peers_versions_are_those_that_are_installed() -> None:
    """What the page says of another router's version is what npm is told to install."""
    packages = json.loads((HERE / "peers" / "package.json").read_text())
    installed = packages["dependencies"] | packages["optionalDependencies"]
    peers = tomllib.loads(PEERS.read_text())
    assert {"apollo", "grafbase"} <= peers.keys()
    for peer in peers.values():
        if "package" in peer:
            assert installed[peer["package"]] == peer["version"]


@pytest.mark.parametrize(("name", "shares"), [("grafbase", False), ("grafbase-sharing", True)])
def test_what_shares_is_measured_beside_what_shares(name: str, shares: bool) -> None:
    """Where the other router gives equal requests one answer, ours is configured to do so as well."""
    workloads = compared(read_peers()[name])
    assert [workload.name for workload in workloads] == ["s", "l", "d", "x", "clients"]
    assert all((workload.settings == SHARING) == shares for workload in workloads)
