"""Apollo Client itself reads our answers in parts: `make interop` does the same, and more."""

import asyncio
from pathlib import Path

import pytest

from bench.interop.client import client_problems
from tests.npm import install

INTEROP = Path(__file__).parents[2] / "bench" / "interop"


@pytest.mark.node
async def test_apollo_client_reads_the_parts_of_both_formats(tmp_path: Path) -> None:
    """The first result is there before the slow subgraph answers; the last is what @defer made no difference to."""
    await asyncio.to_thread(install, tmp_path, INTEROP, ["parts.mjs"])
    assert await client_problems(tmp_path) == []
