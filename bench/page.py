"""docs/performance.md and its plots, made of the published figures: `make bench ARGS=page`.

What the page says stands in performance_page.txt; here the figures are put where it names them. A section whose part
has no figures is left out.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import plots, results
from bench.alone import Figure
from bench.machine import ROOT

PAGE = ROOT / "docs" / "performance.md"
TEMPLATE = Path(__file__).with_name("performance_page.txt")
PROCESSES = ("router", "users", "wallet", "stocks", "all in one")
"""Which processes the whole job may be spread over."""

Figures = Sequence[Figure]
Column = str | Callable[[Figure], object]


def _spent(process: str) -> Column:
    """The column of one process's CPU."""
    return lambda figure: figure["by_process"].get(process, "")


TABLES: dict[str, dict[str, Column]] = {
    "answers": {
        "answer": "title",
        "clients": "clients",
        "CPU-ms": "cpu_ms",
        "times S": "of_first",
        "fetches": "fetches",
        "a second": "per_s",
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "MB": "rss_mb",
    },
    "beside": {
        "what": "title",
        "pairs": "pairs",
        "ours, CPU-ms": "cpu_ms",
        "theirs": "peer_cpu_ms",
        "ours / theirs": lambda figure: f"{figure['ratio']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})",
        "p99, ours / theirs": "p99_ratio",
        "p99.9, ours / theirs": "p99_9_ratio",
        "p99 / p50, ours": "spread",
        "theirs ": "peer_spread",
    },
    "connections": {
        "clients": "clients",
        "CPU-ms": "cpu_ms",
        "a second": "per_s",
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "p99.9 ms": "p99_9_ms",
        "MB": "rss_mb",
    },
    "pace": {
        "pace": "title",
        "a second": "per_s",
        "CPU-ms": "cpu_ms",
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "p99.9 ms": "p99_9_ms",
        "p99 / p50": lambda figure: figure["p99_ms"] / figure["p50_ms"],
    },
    "entities": {
        "answer": "title",
        "clients": "clients",
        "CPU-ms": "cpu_ms",
        "CPU-µs per entity": lambda figure: figure["cpu_ms"] * 1e3 / figure["size"],
        "p50 ms": "p50_ms",
        "MB": "rss_mb",
    },
    "sizes": {
        "answer": "title",
        "clients": "clients",
        "CPU-ms": "cpu_ms",
        "CPU-µs per kB": lambda figure: figure["cpu_ms"] * 1e3 / figure["size"],
        "a second": "per_s",
        "p50 ms": "p50_ms",
        "MB": "rss_mb",
    },
    "memory": {"requests answered": "requests", "MB": "rss_mb"},
    "start": {"": "title", "milliseconds, median": "median_ms", "times": "times"},
    "portfolio": {
        "how": "title",
        "CPU-ms": "cpu_ms",
        "times four processes": "of_first",
        **{process: _spent(process) for process in PROCESSES},
        "p50 ms": "p50_ms",
        "a second": "per_s",
        "start to demo data, s": lambda figure: figure.get("start_s", ""),
    },
    "order": {
        "CPU-ms, all services": "cpu_ms",
        "CPU-ms, raw saga": "raw_cpu_ms",
        "commits": "commits",
        "ratio": lambda figure: figure["cpu_ms"] / figure["raw_cpu_ms"],
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "a second": "per_s",
    },
}
"""By part: what each column says, and where a figure has it."""

PLOTS: dict[str, tuple[str, Callable[[Figures, Path], None]]] = {
    "answers": ("CPU of the router per answer, by kind of answer", plots.bars),
    "beside": ("Our CPU per answer as a share of another router's, with its 95 % interval", plots.ratios),
    "connections": ("Latency of S with 1 to 500 clients", plots.connections),
    "entities": (
        "CPU per answer, and memory, for 1 to 10,000 entities in an answer",
        lambda figures, file: plots.growth(figures, file, "entities in an answer"),
    ),
    "sizes": (
        "CPU per answer, and memory, for answers of 1 kB to 5 MB",
        lambda figures, file: plots.growth(figures, file, "kilobytes in an answer"),
    ),
    "memory": ("Resident memory of the router after more and more requests", plots.memory),
    "portfolio": (
        "CPU of all processes for the same facts about one user",
        lambda figures, file: plots.stacked(figures, file, PROCESSES),
    ),
}
"""By part: what its plot shows, and what draws it."""


def write_page(page: Path = PAGE, published: Path = results.PUBLISHED) -> None:
    """Writes the page, and its plots beside the figures."""
    figures = results.read(published)
    page.write_text(page_text(figures))
    for part, (_, draw) in PLOTS.items():
        chosen = of_part(figures, part)
        if chosen:
            draw(chosen, published.parent / f"{part}.svg")


def page_text(figures: Figures) -> str:
    """The page of these figures."""
    sections = re.split(r"(?m)^(?=## )", TEMPLATE.read_text())
    return "".join(filter(None, (_filled(section, figures) for section in sections)))


def of_part(figures: Figures, part: str) -> Figures:
    """The figures of one part, in the order of their measurement."""
    return [figure for figure in figures if figure["part"] == part]


def _filled(section: str, figures: Figures) -> str:
    """A section with its figures; empty where it wants some and there are none."""
    named = re.search(r"\{\{(\w+)\}\}", section)
    if named is None:
        return section
    chosen = of_part(figures, named[1])
    if not chosen:
        return ""
    return section.replace(named[0], "\n".join([*_plot(named[1]), _table(chosen, TABLES[named[1]]), _runs(chosen)]))


def _plot(part: str) -> list[str]:
    return [f"![{PLOTS[part][0]}](performance/{part}.svg)\n"] if part in PLOTS else []


def _table(figures: Figures, columns: dict[str, Column]) -> str:
    """The columns of which any figure has something to say."""
    rows = [[_cell(_value(figure, column)) for column in columns.values()] for figure in figures]
    shown = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    head = list(columns)
    lines = [[head[place] for place in shown], ["---"] * len(shown)]
    lines += [[row[place] for place in shown] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _value(figure: Figure, column: Column) -> object:
    return figure[column] if isinstance(column, str) else column(figure)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _runs(figures: Figures) -> str:
    """When, where and how it was measured."""
    runs = {figure["run"]["date"]: figure["run"] for figure in figures}
    return "\n\n".join(_run(run) for run in runs.values())


def _run(run: Figure) -> str:
    machine, versions = run["machine"], run["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    return (
        f"<sub>{run['date']} UTC, `{run['command']}`, commit {run['commit'] or 'unknown'}. {machine['cpu']},"
        f" {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}, load {machine['load']} at the"
        f" start. Python {versions['python']}, {packages}.</sub>"
    )
