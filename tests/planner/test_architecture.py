"""The example in ARCHITECTURE.md that goes from a query to its fetches is what the planner does."""

import re
from pathlib import Path

from trifolio.composer import Subgraph, compose
from trifolio.planner import plan

ROOT = Path(__file__).parents[2]
LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])\n'


def test_the_worked_example_is_true() -> None:
    """Its schemas compose, and its query takes the requests that it names, each with the keys that it names."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    [section] = re.findall(r"^## A plan, step by step$(.*?)^## ", text, re.S | re.M)
    users, *more, wallet, operation = re.findall(r"`((?:type|\{)[^`]+)`", section.partition("\n1. ")[0])
    subgraphs = {"users": " ".join([users, *more]), "wallet": wallet}
    composed = compose([Subgraph(name, f"http://{name}.example/", LINK + sdl) for name, sdl in subgraphs.items()])
    assert composed.supergraph is not None, composed.diagnostics
    made = plan(operation, composed.supergraph)
    first, second = made.fetches
    assert [first.subgraph, second.subgraph] == ["users", "wallet"]
    assert f"`{first.operation}` to `users`" in section
    assert second.operation.endswith("{...on User{balance}}}")
    assert "`_entities(...){...on User{balance}}` to `wallet`" in section
    assert made.proven_minimal
