"""Other people's projects: the wheel takes no name of theirs, and its pytest plugin leaves their tests alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import Distributions


@pytest.mark.wheel
def test_a_project_keeps_its_own_router_subgraphs_and_brokerage(distributions: Distributions, tmp_path: Path) -> None:
    """Where the wheel is installed, a project's own modules of those names are what its tests import."""
    script = Path(__file__).with_name("name_clash.sh")
    done = subprocess.run(
        ["bash", str(script), str(distributions.wheel), sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 passed") == 4
