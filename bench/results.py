"""Results: one line of JSON for each figure, with the run that it is of.

    {"run": {"date", "machine", "versions", "commit", "command"}, "part": "answers", "name": "s", "cpu_ms": ...}

A published file holds the latest run of every part; a run that measures some parts replaces the lines of these.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.alone import Figure
from bench.machine import ROOT

PUBLISHED = ROOT / "docs" / "performance" / "results.jsonl"
KEPT = ROOT / ".bench" / "results.jsonl"
"""Every run of this machine, one after the other; git does not know it."""


def read(file: Path = PUBLISHED) -> list[Figure]:
    """The figures in a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def append(figure: Figure, file: Path = KEPT) -> None:
    """Adds one figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as output:
        output.write(json.dumps(figure) + "\n")


def publish(figures: Sequence[Figure], file: Path = PUBLISHED) -> None:
    """Puts a run's figures in the place of earlier ones; other routers are replaced one by one."""

    def part(figure: Figure) -> tuple[str, str]:
        return figure["part"], figure.get("peer", "")

    measured = {part(figure) for figure in figures}
    kept = [figure for figure in read(file) if part(figure) not in measured]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(figure) + "\n" for figure in [*kept, *figures]))
