"""The plots of the results page, as SVG: the same figures give the same file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from bench.alone import Figure

BELOW: Any = {"textcoords": "offset points", "xytext": (4, -14)}
COLOR, SECOND, LIGHT = "#2b6777", "#c8553d", "#9fb8ad"
STYLE: Any = {
    "svg.hashsalt": "trifolio",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "figure.facecolor": "white",
}


def _draw(file: Path, draw: Callable[[Axes], None], *, height: float = 3.4) -> None:
    """One plot with one pair of axes."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, height), layout="constrained")
        draw(axes)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    # The library leaves blanks at the ends of lines.
    file.write_text("".join(f"{line.rstrip()}\n" for line in file.read_text().splitlines()))


def _label(axes: Axes, *, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _whole_numbers(axes: Axes, ticks: Sequence[float]) -> None:
    axes.set_xticks(ticks, minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def bars(figures: Sequence[Figure], file: Path) -> None:
    """A bar for each kind of answer, with its CPU beside it."""

    def draw(axes: Axes) -> None:
        costs = [figure["cpu_ms"] for figure in figures]
        axes.bar_label(axes.barh(range(len(costs)), costs, color=COLOR), [f"{each:.2f}" for each in costs], padding=3)
        axes.set_yticks(range(len(costs)), [figure["title"] for figure in figures])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(costs) * 1.15)
        _label(axes, x="CPU-ms per answer")

    _draw(file, draw, height=0.8 + 0.36 * len(figures))


def stacked(figures: Sequence[Figure], file: Path, processes: Sequence[str]) -> None:
    """A bar for each way to the same facts, made of what each of its processes spent."""

    def draw(axes: Axes) -> None:
        left = [0.0] * len(figures)
        for process, color in zip(processes, (COLOR, "#52ab98", LIGHT, "#e4c590", SECOND), strict=True):
            widths = [figure["by_process"].get(process, 0.0) for figure in figures]
            if any(widths):
                axes.barh(range(len(figures)), widths, left=left, color=color, label=process)
                left = [one + other for one, other in zip(left, widths, strict=True)]
        for place, total in enumerate(left):
            axes.text(total, place, f" {total:.2f}", va="center")
        axes.set_yticks(range(len(figures)), [figure["title"] for figure in figures])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(left) * 1.12)
        shape: Any = {"frameon": False, "handlelength": 1.0, "columnspacing": 1.0}
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(processes), **shape)
        _label(axes, x="CPU-ms per answer, all processes")

    _draw(file, draw, height=1.2 + 0.42 * len(figures))


def growth(figures: Sequence[Figure], file: Path, label: str) -> None:
    """CPU and memory of an answer that grows, both axes logarithmic."""

    def draw(axes: Axes) -> None:
        sizes = [figure["size"] for figure in figures]
        axes.loglog(sizes, [figure["cpu_ms"] for figure in figures], "o-", color=COLOR, label="CPU-ms per answer")
        axes.loglog(sizes, [figure["rss_mb"] for figure in figures], "s--", color=SECOND, label="memory, MB")
        for figure in figures:
            axes.annotate(f"{figure['cpu_ms']:.3g}", (figure["size"], figure["cpu_ms"]), **BELOW)
        axes.margins(0.08)
        _whole_numbers(axes, sizes)
        axes.legend(frameon=False)
        _label(axes, x=label)

    _draw(file, draw)


def connections(figures: Sequence[Figure], file: Path) -> None:
    """What clients wait for when there are more of them."""

    def draw(axes: Axes) -> None:
        xs = [figure["clients"] for figure in figures]
        axes.loglog(xs, [figure["p50_ms"] for figure in figures], "o-", color=COLOR, label="p50")
        axes.loglog(xs, [figure["p99_ms"] for figure in figures], "s--", color=SECOND, label="p99")
        for figure in figures:
            axes.annotate(f"{figure['per_s']:,.0f}/s", (figure["clients"], figure["p50_ms"]), **BELOW)
        axes.margins(0.08)
        _whole_numbers(axes, xs)
        axes.legend(frameon=False)
        _label(axes, x="clients", y="milliseconds")

    _draw(file, draw)


def memory(figures: Sequence[Figure], file: Path) -> None:
    """What is held after more and more requests."""

    def draw(axes: Axes) -> None:
        axes.plot(
            [figure["requests"] for figure in figures], [figure["rss_mb"] for figure in figures], "o-", color=COLOR
        )
        axes.set_ylim(0, max(figure["rss_mb"] for figure in figures) * 1.3)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _label(axes, x="requests answered", y="resident memory, MB")

    _draw(file, draw, height=2.8)


def ratios(figures: Sequence[Figure], file: Path) -> None:
    """Our CPU as a share of another router's, with the 95 % interval; left of 1 ours costs less."""

    def draw(axes: Axes) -> None:
        places = range(len(figures))
        middle = [figure["ratio"] for figure in figures]
        below = [figure["ratio"] - figure["low"] for figure in figures]
        above = [figure["high"] - figure["ratio"] for figure in figures]
        axes.errorbar(middle, places, xerr=(below, above), fmt="o", color=COLOR, capsize=3)
        for place, figure in zip(places, figures, strict=True):
            axes.annotate(f"{figure['ratio']:.2f}", (figure["ratio"], place), textcoords="offset points", xytext=(0, 6))
        axes.axvline(1.0, color=SECOND, linewidth=1)
        axes.set_yticks(places, [figure["title"] for figure in figures])
        axes.set_ylim(len(figures) - 0.5, -0.7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="x", which="minor", labelsize=8)
        axes.grid(visible=False, axis="y")
        _label(axes, x="our CPU per answer / theirs (less than 1: ours costs less)")

    _draw(file, draw, height=1.2 + 0.45 * len(figures))
