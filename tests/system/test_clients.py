"""Clients of other languages as people use them: each gets the portfolio, whatever its library does by itself."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import REQUIRED
from tests.system.brokerages import PORTFOLIO, Brokerage

CLIENTS = Path(__file__).parent / "clients"
TIMEOUT_S = 600
"""Long enough for compilers on a busy machine."""
CURL = ("curl", "--silent", "--show-error", "--fail-with-body", "--data-binary", "@-")
JSON = ("--header", "content-type: application/json")

PROGRAMS = {
    "java": ("java", str(CLIENTS / "Portfolio.java"), "URL", "TOKEN"),
    "go": ("go", "run", str(CLIENTS / "portfolio.go"), "URL", "TOKEN"),
    "node": ("node", str(CLIENTS / "portfolio.mjs"), "URL", "TOKEN"),
    "curl": (*CURL, *JSON, "--header", "authorization: Bearer TOKEN", "URL"),
    "curl, offering HTTP/2": (*CURL, "--http2", *JSON, "--header", "authorization: Bearer TOKEN", "URL"),
    "curl, asking before it sends": (
        *(*CURL, *JSON, "--header", "expect: 100-continue", "--expect100-timeout", "60"),
        *("--header", "authorization: Bearer TOKEN", "URL"),
    ),
    "curl, in chunks": (
        *(*CURL, *JSON, "--header", "transfer-encoding: chunked", "--header", "authorization: Bearer TOKEN", "URL"),
    ),
    "curl, with HTTP/1.0": (*CURL, "--http1.0", *JSON, "--header", "authorization: Bearer TOKEN", "URL"),
}


def ask(command: Sequence[str], url: str, token: str) -> str:
    """What a program prints that is given the request's body."""
    written = [part.replace("TOKEN", token).replace("URL", url) for part in command]
    body = json.dumps({"query": PORTFOLIO})
    done = subprocess.run(written, input=body, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_gets_the_portfolio(four_processes: Brokerage, name: str) -> None:
    """The answer is the one that Python's client gets, byte for byte the same twice on a kept connection."""
    command = PROGRAMS[name]
    if shutil.which(command[0]) is None:
        assert command[0] not in REQUIRED, f"{command[0]} has to be here"
        pytest.skip(f"{command[0]} is not here")
    token = four_processes.fresh_token("alice")
    answer = json.loads(ask(command, f"{four_processes.urls['router']}/graphql", token))
    assert answer == four_processes.ask(PORTFOLIO, token)
    assert "errors" not in answer
    assert answer["data"]["me"]["holdings"]


@pytest.mark.parametrize("name", ["curl, in chunks", "curl, offering HTTP/2", "curl, asking before it sends"])
def test_services_are_asked_in_the_same_ways(four_processes: Brokerage, name: str) -> None:
    """A service's own REST routes take a body from such a client too: the refusal is about the body's content."""
    command = PROGRAMS[name]
    if shutil.which(command[0]) is None:
        assert command[0] not in REQUIRED, f"{command[0]} has to be here"
        pytest.skip(f"{command[0]} is not here")
    kept = tuple(part for part in command if part != "--fail-with-body")
    answer = json.loads(ask(kept, f"{four_processes.urls['users']}/users/login", ""))
    assert (answer["status"], answer["code"]) == (422, "invalid-request")
