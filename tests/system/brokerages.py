"""The brokerage as a user starts it: `python -m brokerage up`, on free ports and a folder of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any

import httpx

from brokerage.development import DEFAULT_HOST, read_urls
from brokerage.supervisor import busy_ports

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "brokerage")
PORTFOLIO = (ROOT / "docs" / "examples" / "30-portfolio.graphql").read_text()
"""The query that the project exists for."""
PORTS_TAKEN = 4
STOP_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Brokerage:
    """A running brokerage: what it printed when it was ready, and where its parts are."""

    folder: Path
    welcome: str
    urls: Mapping[str, str]
    process: subprocess.Popen[str]

    @property
    def printed_token(self) -> str:
        """The token that stands alone on a line of the welcome: it lives for minutes, a shared brokerage for longer."""
        tokens: list[str] = re.findall(r"^(ey\S+)$", self.welcome, flags=re.MULTILINE)
        return tokens[0]

    def fresh_token(self, name: str) -> str:
        """What `python -m brokerage token NAME` prints."""
        command = [*PROGRAM, "token", name, "--data", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def ask(self, query: str, token: str = "", **body: object) -> Any:
        """The router's answer to a GraphQL request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = httpx.post(f"{self.urls['router']}/graphql", json={"query": query, **body}, headers=headers)
        assert response.status_code == httpx.codes.OK, response.text
        return response.json()


@contextmanager
def running_brokerage(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Brokerage]:
    """Starts one, waits until it says that it is ready, and ends it as Ctrl-C does; it has to end well."""
    place = ("--data", str(folder), "--port", str(free_port()))
    process = subprocess.Popen(
        [*PROGRAM, "up", *place, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        welcome = read_welcome(process)
        urls = read_urls(folder)
        assert urls is not None
        yield Brokerage(folder, welcome, urls, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=STOP_TIMEOUT_S)
    assert process.returncode == 0, rest


def free_port() -> int:
    """A port that is free together with the three after it.

    The system hands out ports above 32768 for outgoing connections, so that one found free there may be gone again.
    """
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        if not busy_ports(DEFAULT_HOST, range(port, port + PORTS_TAKEN)):
            return port


def read_welcome(process: subprocess.Popen[str]) -> str:
    """What it prints until it is ready."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("To reset it"):
            return "".join(lines)
    raise AssertionError(f"brokerage up ended with {process.wait()}:\n{''.join(lines)}")
