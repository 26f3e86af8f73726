"""Routers in front of a world's subgraphs: ours, and others that a file names (`peers.toml`)."""

import asyncio
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from bench.load import Question
from bench.processes import NotMeasured, Program, free_port, running
from bench.worlds import WORLDS
from trifolio.composer import Subgraph, compose

HERE = Path(__file__).parent
PEERS = HERE / "peers.toml"
READY_TIMEOUT_S = 60.0
_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Target:
    """A router: how it is started, and where it answers. `command` is the shell's; see `peers.toml` for what it finds
    in its environment."""

    name: str
    title: str
    command: str
    path: str = "/graphql"
    version: str = ""
    shares: bool = False
    """Whether it shares what is in flight, so that ours is to do so beside it."""
    place: Path = HERE
    """Where its command runs."""


@dataclass(frozen=True, slots=True)
class Router:
    """A router that runs."""

    program: Program
    url: str
    start_s: float
    """From its start to its first right answer."""


OURS = Target("trifolio", "Trifolio", f'exec "{sys.executable}" -m trifolio serve --supergraph "$SUPERGRAPH" '
              '--settings "$SETTINGS" --port "$PORT"')  # fmt: skip


def read_peers(file: Path = PEERS) -> dict[str, Target]:
    """The routers that a file names. Their commands run in the folder `peers` beside it, or where the file is."""
    place = file.parent / "peers"
    return {
        name: Target(
            name,
            each["title"],
            each["command"],
            each.get("path", "/graphql"),
            each.get("version", ""),
            each.get("shares", False),
            place if place.is_dir() else file.parent,
        )
        for name, each in tomllib.loads(file.read_text()).items()
    }


def install_peers() -> None:
    """What npm has to bring for the peers of `peers.toml`. Raises NotMeasured where that cannot be done."""
    lock, done = HERE / "peers" / "package-lock.json", HERE / "peers" / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    try:
        subprocess.run(["npm", "ci", "--silent"], cwd=HERE / "peers", check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotMeasured(f"the peers need Node 20 and npm: {error}") from error


class Mocks:
    """The subgraphs of all worlds, running."""

    def __init__(self, program: Program, port: int, folder: Path) -> None:
        self.program = program
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder

    async def count(self) -> int:
        """How many requests they have had."""
        async with httpx.AsyncClient(trust_env=False) as client:
            found: int = (await client.get(f"{self.url}/count")).json()["requests"]
            return found


@asynccontextmanager
async def mocks(folder: Path) -> AsyncIterator[Mocks]:
    """The subgraphs of all worlds, for as long as the block lasts; `folder` gets logs and supergraphs."""
    log = folder / "mocks.log"
    command = [sys.executable, "-m", "bench.mock_subgraphs"]
    async with running(command, log, folder=HERE.parent) as program:
        while not log.read_text().strip():
            program.raise_if_ended()
            await asyncio.sleep(_POLL_S)
        yield Mocks(program, int(log.read_text()), folder)


@cache
def supergraph(world: str, url: str) -> str:
    """A world's supergraph, with the places of its subgraphs."""
    places = WORLDS[world]
    result = compose([Subgraph(name, url + places.path(name), source.sdl) for name, source in places.sources.items()])
    assert result.supergraph is not None, result.diagnostics
    return result.supergraph


SETTINGS: Mapping[str, Any] = {"limits": {"lame_duck_ms": 1}}
"""Ours as it comes, but for the time that load balancers would need at its end."""
SHARING: Mapping[str, Any] = {**SETTINGS, "sharing": {"queries": True, "fetches": True}}


@asynccontextmanager
async def serving(
    target: Target, world: str, mocks: Mocks, question: Question, *, settings: Mapping[str, Any] = SETTINGS
) -> AsyncIterator[Router]:
    """A router in front of a world, for as long as the block lasts; it has answered the question once."""
    schemas = {name: source.sdl for name, source in WORLDS[world].sources.items()}
    text, subgraphs = supergraph(world, mocks.url), f"{mocks.url}/{world}/"
    folder = mocks.folder / f"{target.name}-{world}"
    async with started(
        target, text, folder, question, settings=settings, schemas=schemas, subgraphs=subgraphs
    ) as router:
        yield router


@asynccontextmanager
async def started(
    target: Target,
    supergraph: str,
    folder: Path,
    question: Question,
    *,
    settings: Mapping[str, Any] = SETTINGS,
    schemas: Mapping[str, str] = MappingProxyType({}),
    subgraphs: str = "",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Router]:
    """A router that serves a supergraph, for as long as the block lasts; it has answered the question once.

    What its command finds in its environment is said in `peers.toml`.
    """
    port = free_port()
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (folder / "schemas" / f"{name}.graphql").write_text(schema)
    (folder / "supergraph.graphql").write_text(supergraph)
    (folder / "router.yaml").write_text(json.dumps(settings))
    environment = {
        "SUPERGRAPH": str(folder / "supergraph.graphql"),
        "SETTINGS": str(folder / "router.yaml"),
        "SCHEMAS": str(folder / "schemas"),
        "SUBGRAPHS": subgraphs,
        "FOLDER": str(folder),
        "PORT": str(port),
        "NODE_ENV": "production",
    }
    command = ["bash", "-c", target.command]
    # The client is made before the clock runs: it reads certificates that nobody needs here.
    async with httpx.AsyncClient(trust_env=False, timeout=READY_TIMEOUT_S) as client:
        began = time.perf_counter()
        async with running(command, folder / "log", environment=environment, folder=target.place) as program:
            url = f"http://127.0.0.1:{port}{target.path}"
            await program.wait_for_port(port)
            await _first_answer(program, client, url, question, headers or {})
            yield Router(program, url, time.perf_counter() - began)


async def _first_answer(
    program: Program, client: httpx.AsyncClient, url: str, question: Question, headers: Mapping[str, str]
) -> None:
    """Waits until a program answers a question right. Raises NotMeasured, with what it said last, if it never does."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    said = "nothing"
    fields = {"content-type": "application/json", "accept": "application/json", **headers}
    while time.monotonic() < deadline:
        program.raise_if_ended()
        try:
            response = await client.request(question.method, url, content=question.body(0), headers=fields)
            said = response.text
            if question.problem(0, response.status_code, response.content) == "":
                return
        except httpx.HTTPError as error:
            said = repr(error)
        await asyncio.sleep(_POLL_S)
    raise NotMeasured(f"{url} does not answer as expected, see {program.log}; it said {said[:500]}")
