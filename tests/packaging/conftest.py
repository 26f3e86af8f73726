"""The distributions that an index would get, built once from a copy, so that the build leaves nothing in the tree."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Distributions:
    """What `python -m build` makes of router/."""

    source: Path
    """A copy of router/ as git would have it."""
    sdist: Path
    wheel: Path
    """Built from the sdist, as an index's users would where they take no wheel."""


def build(source: Path, folder: Path, *options: str) -> None:
    """Build the project in `source` with the build tools of this environment; no registry is asked."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    shutil.copytree(
        ROOT / "router", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    )
    build(source, folder)
    [sdist], [wheel] = folder.glob("trifolio-*.tar.gz"), folder.glob("trifolio-*.whl")
    return Distributions(source, sdist, wheel)
