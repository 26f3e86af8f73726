"""Packages of npm for a test: what a lock file says, installed into a folder of the test's own."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import REQUIRED

INSTALL_TIMEOUT_S = 60
PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")


def install(folder: Path, source: Path, programs: Iterable[str]) -> None:
    """Copy a package's files and some programs into a folder, and install what the lock file says.

    Where that cannot be done the test is skipped, unless TRIFOLIO_REQUIRE names node: then it fails.
    """
    obstacle = _install(folder, source, programs)
    if obstacle is not None:
        if "node" in REQUIRED:
            pytest.fail(obstacle)
        pytest.skip(obstacle)


def _install(folder: Path, source: Path, programs: Iterable[str]) -> str | None:
    """None, or why it cannot be done here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no Node and npm here; on Debian: apt-get install nodejs npm"
    for name in (*PACKAGE_FILES, *programs):
        shutil.copy(source / name, folder / name)
    try:
        done = subprocess.run(
            ["npm", "ci", "--silent", "--prefer-offline"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"npm ci took more than {INSTALL_TIMEOUT_S} seconds"
    return None if done.returncode == 0 else f"npm ci fails: {done.stderr[-300:]}"
