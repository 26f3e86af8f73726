"""Apollo Client itself reads our answers in parts: `make interop` does the same, and more."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.interop.client import client_problems
from tests.conftest import REQUIRED

INTEROP = Path(__file__).parents[2] / "bench" / "interop"
FILES = ("package.json", "package-lock.json", ".npmrc", "parts.mjs")
INSTALL_TIMEOUT_S = 60


def install(folder: Path) -> str | None:
    """What the lock file says, into a folder; None, or why that cannot be done here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no Node and npm here; on Debian: apt-get install nodejs npm"
    for name in FILES:
        shutil.copy(INTEROP / name, folder / name)
    try:
        done = subprocess.run(
            ["npm", "ci", "--silent", "--prefer-offline"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"npm ci took more than {INSTALL_TIMEOUT_S} seconds"
    return None if done.returncode == 0 else f"npm ci fails: {done.stderr[-300:]}"


@pytest.mark.node
async def test_apollo_client_reads_the_parts_of_both_formats(tmp_path: Path) -> None:
    """The first result is there before the slow subgraph answers; the last is what @defer made no difference to."""
    obstacle = await asyncio.to_thread(install, tmp_path)
    if obstacle is not None:
        if "node" in REQUIRED:
            pytest.fail(obstacle)
        pytest.skip(obstacle)
    assert await client_problems(tmp_path) == []
