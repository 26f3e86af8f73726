"""Schemathesis asks every documented route what its document allows, and what it does not.

In the suite with a fixed seed and few examples, as the first investor. With TRIFOLIO_SCHEMATHESIS_EXAMPLES=100 (make
long) with so many per route and a new seed, as the broker and the second investor as well.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openapi.people import Person, write_users
from tests.system.brokerages import ROOT, Brokerage

EXAMPLES = os.environ.get("TRIFOLIO_SCHEMATHESIS_EXAMPLES", "")
FEW = ("--max-examples", "3", "--phases", "coverage,stateful", "--seed", "1")
CALLERS = ("investor", "other investor", "broker") if EXAMPLES else ("investor",)
TIMEOUT_S = 3_600 if EXAMPLES else 300


@pytest.mark.parametrize("service", ["users", "wallet", "stocks"])
@pytest.mark.parametrize("caller", CALLERS)
def test_answers_are_as_documented(
    brokerage: Brokerage, people: dict[str, Person], tmp_path: Path, service: str, caller: str
) -> None:
    """No server error, no undocumented answer, nothing undocumented accepted, nobody else's data shown."""
    users = tmp_path / "users.json"
    write_users(people, brokerage.urls["users"], users)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(Path(__file__).parent / "schemathesis.toml")),
        *("run", f"{brokerage.urls[service]}/openapi.json", "--checks", "all", "--no-color"),
        *("--generation-database", "none", *(("--max-examples", EXAMPLES) if EXAMPLES else FEW)),
    ]
    environment = {**os.environ, "SCHEMATHESIS_USERS": str(users), "SCHEMATHESIS_USER": caller}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested:" in done.stdout
