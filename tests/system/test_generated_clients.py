"""Clients that programs make of the OpenAPI documents: each builds without a warning, and does what a person does."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from tests.npm import install
from tests.system.brokerages import Brokerage

CLIENTS = Path(__file__).parent / "clients" / "generated"
SERVICES = ("users", "wallet", "stocks")
PASSWORD = "a-long-password"  # of users that live as long as the test
TIMEOUT_S = 300
"""Long enough for a compiler on a busy machine."""
DONE = {
    "replayed": "true",
    "same": True,
    "deposits": ["1000.00"],
    "status": "completed",
    "quantity": "1",
    "missing": "not-found",
    "refused": "insufficient-funds",
    "namesTheOrder": True,
}
"""What either scenario tells."""


def run(command: Sequence[str], folder: Path) -> str:
    """What a program prints that ends well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_documents(brokerage: Brokerage, folder: Path) -> None:
    """The documents as the services serve them."""
    for service in SERVICES:
        (folder / f"{service}.json").write_text(httpx.get(f"{brokerage.urls[service]}/openapi.json").text)


def addresses(urls: Mapping[str, str], email: str) -> list[str]:
    """What the scenarios are told: where the services are, and who registers."""
    return [*(urls[service] for service in SERVICES), email, PASSWORD]


def test_a_python_client_is_made_and_works(four_processes: Brokerage, tmp_path: Path) -> None:
    """openapi-python-client has nothing to warn of, and its classes take and give what the services do."""
    write_documents(four_processes, tmp_path)
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    for service in SERVICES:
        made = ("--path", f"{service}.json", "--output-path", f"{service}_client", "--meta", "none")
        options = ("--config", "config.yml", "--fail-on-warning")
        run([sys.executable, "-m", "openapi_python_client", "generate", *made, *options], tmp_path)
    (tmp_path / "scenario.py").write_text((CLIENTS / "scenario.py").read_text())
    told = run([sys.executable, "scenario.py", *addresses(four_processes.urls, "python@clients.example")], tmp_path)
    assert json.loads(told) == DONE


@pytest.mark.node
def test_a_typescript_client_is_made_and_works(four_processes: Brokerage, tmp_path: Path) -> None:
    """By the types of openapi-typescript the scenario compiles with every strictness, and does the same."""
    install(tmp_path, CLIENTS, ["scenario.ts", "tsconfig.json"])
    write_documents(four_processes, tmp_path)
    for service in SERVICES:
        generated = ("node_modules/openapi-typescript/bin/cli.js", f"{service}.json", "-o", f"{service}.ts")
        run(["node", *generated], tmp_path)
    run(["node", "node_modules/typescript/bin/tsc"], tmp_path)
    told = run(["node", "scenario.js", *addresses(four_processes.urls, "typescript@clients.example")], tmp_path)
    assert json.loads(told) == DONE
