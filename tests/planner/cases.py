"""Planner cases: one file each, read and rewritten here.

A case file's first line says the behaviour in one sentence. Then come the supergraph (the name of a file in
tests/execution/supergraphs, or its SDL in a block of its own), the @override labels that are on, the operation, its
variables for the run against real subgraphs, and last the plan as it prints.
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cases"
SUPERGRAPHS = Path(__file__).parent.parent / "execution" / "supergraphs"

_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


@dataclass(frozen=True)
class Case:
    """One case file."""

    path: Path
    sentence: str
    supergraph: str
    operation: str
    variables: dict[str, Any]
    labels: frozenset[str]
    plan: str
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def rewrite(self, plan: str) -> None:
        """Put another plan into the file."""
        start = self.text.rindex("```text\n")
        self.path.write_text(f"{self.text[:start]}```text\n{plan}\n```\n")


def read_case(path: Path) -> Case:
    """Read a case file."""
    text = path.read_text()
    blocks: dict[str, list[str]] = {}
    for language, body in _BLOCK.findall(text):
        blocks.setdefault(language, []).append(body)
    name = re.search(r"^Supergraph: `(.+)`$", text, re.M)
    labels = re.search(r"^Labels: (.*)$", text, re.M)
    *inline, operation = blocks["graphql"]
    return Case(
        path=path,
        sentence=text.splitlines()[0],
        supergraph=(SUPERGRAPHS / f"{name[1]}.graphql").read_text() if name else inline[0],
        operation=operation,
        variables=json.loads(blocks["json"][0]) if "json" in blocks else {},
        labels=frozenset(re.findall(r"`([^`]+)`", labels[1])) if labels else frozenset(),
        plan=blocks["text"][0].strip(),
        text=text,
    )


@lru_cache(maxsize=1)
def all_cases() -> tuple[Case, ...]:
    """Every case file, by name."""
    return tuple(read_case(path) for path in sorted(FOLDER.glob("*.md")))
