"""A router on a socket, attacked from another process: `python -m tests.attacks --help`.

Everything that the generators make is sent to it, one thing after the other: documents, requests, and documents to
which its subgraphs answer in the wrong way. A probe in the router measures every round of its event loop. Then a great
many connections are held open while a client from elsewhere asks for something small.

It fails where a round took more CPU time than the loop may stand still, where a status is a server's fault that no page
of the documentation names, and where the router's memory grows.
"""

import argparse
import asyncio
import json
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.attacks import hostile_answers, hostile_documents, hostile_requests
from tests.attacks.hostile_answers import BODIES, WIRE, Subgraphs
from tests.attacks.hostile_documents import Ground, HostileDocument
from tests.execution.operations import generate
from trifolio.limits import Limits
from trifolio.supergraph import Supergraph

ROOT = Path(__file__).parents[2]
CPU_MS_MAX = 250
GROWTH_MB_MAX = 64
DOCUMENTED = {503, 504}
"""Server's faults that are no bug: too much to do, and subgraphs that take too long."""
SETTINGS = """introspection: true
access_log: false
limits: {{plan_cache_bytes_max: 10000000, fetch_timeout_ms: 2000, operation_timeout_ms: 5000}}
subgraphs:
{urls}
"""


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=10_000, help="attacks in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3_600, help="for them in all (default: %(default)s)")
    parser.add_argument("--seed", default=str(int(time.time())), help="where to begin; by default the time")
    parser.add_argument("--family", action="append", help="only these; may be given several times")
    parser.add_argument("--supergraph", type=Path, default=ROOT / "supergraph.graphql", help="what is served")
    parser.add_argument("--connections", type=int, default=10_000, help="that are held; 0: none (default: %(default)s)")
    parser.add_argument("--hold-seconds", type=int, default=30, help="for how long (default: %(default)s)")
    return parser.parse_args()


# ---- subgraphs ----


class HostileSubgraphs:
    """All subgraphs on one port, which answer as they are told to."""

    def __init__(self, subgraphs: Subgraphs) -> None:
        self._subgraphs = subgraphs
        self.family = "as_it_should_be"
        self.seed = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the router."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                asked = json.loads(await reader.readexactly(int(length[1]) if length else 0))
                right = self._subgraphs.answer(asked["query"], asked.get("variables") or {})
                if self.family in WIRE:
                    for piece in WIRE[self.family](json.dumps(right).encode()):
                        if piece is None:
                            await asyncio.sleep(1)
                            continue
                        writer.write(piece)
                        await writer.drain()
                    return
                family = hostile_answers.BODIES_BY_NAME[self.family]
                chance = Random(f"{self.seed} {asked['query']}")
                body = family(right, chance, max(1, chance.choice([BODIES[family], BODIES[family] // 50])))
                writer.write(hostile_answers.head(f"content-length: {len(body)}") + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the router has had enough
        finally:
            writer.close()


# ---- the router ----


class Victim:
    """A router in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def measured(self) -> dict[str, float]:
        """What its probe has to say since it was asked last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        found: dict[str, float] = json.loads(await self._process.stdout.readline())
        return found


def _write(settings: Path, urls: Mapping[str, str]) -> None:
    settings.write_text(SETTINGS.format(urls="\n".join(f"  {name}: {{url: {url}}}" for name, url in urls.items())))


@asynccontextmanager
async def running(supergraph: Path, urls: Mapping[str, str]) -> AsyncIterator[Victim]:
    """Start it, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "router.yaml")
        _write(settings, urls)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.attacks.probe", str(supergraph), str(settings)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            victim = Victim(process, int(await process.stdout.readline()))
            yield victim
        finally:
            for _ in range(2):  # the second one ends the time in which it says goodbye
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.5)
            await process.wait()


async def answered(port: int, parts: list[bytes], *, patience_s: float = 30) -> tuple[list[int], bytes]:
    """The statuses of what comes back for these bytes, and all of it, until the router closes or is silent for long."""
    received = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return [], b""
    try:
        for part in parts:
            writer.write(part)
            await asyncio.wait_for(writer.drain(), patience_s)
        while piece := await asyncio.wait_for(reader.read(1 << 20), patience_s):
            received += piece
    except (OSError, TimeoutError):
        pass  # it was closed in between: what came is what there is
    finally:
        writer.transport.abort()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)], received


def request_of(document: HostileDocument) -> bytes:
    """A document as an HTTP request."""
    body = json.dumps(
        {
            "query": document.query,
            "variables": dict(document.variables),
            "operationName": document.operation_name,
        }
    ).encode()
    accept = "application/graphql-response+json"
    if document.incremental:
        accept = f"multipart/mixed;deferSpec=20220824, {accept}"
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: {accept}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


# ---- the attack ----


@dataclass
class Row:
    """What became of one family."""

    number: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    cpu_ms: float = 0
    collection_ms: float = 0
    """How much of that was a collection of garbage, at most."""
    wall_ms: float = 0
    growth_mb: float = 0
    worst: str = ""
    bugs: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether all stayed within its limits."""
        return self.cpu_ms <= CPU_MS_MAX and self.growth_mb <= GROWTH_MB_MAX and not self.bugs

    def __str__(self) -> str:
        statuses = " ".join(f"{status}x{number}" for status, number in sorted(self.statuses.items()))
        figures = (
            f"{self.number:6} {self.cpu_ms:8.0f} {self.collection_ms:8.0f} {self.wall_ms:8.0f} {self.growth_mb:8.1f}"
        )
        return (
            f"{figures}  {'right' if self.is_right else 'WRONG'}  {statuses}  {self.worst}  {' '.join(self.bugs[:3])}"
        )


Attack = Callable[[str], Awaitable[tuple[list[int], bytes, str]]]
"""Attacks once, from a seed; what came back, and how to see it again."""


def attacks(supergraph: Supergraph, port: int, subgraphs: HostileSubgraphs) -> dict[str, Attack]:
    """Every family by its name."""
    ground = Ground(supergraph.api_schema)
    limits = Limits()

    def of_documents(family: hostile_documents.Family) -> Attack:
        async def attack(seed: str) -> tuple[list[int], bytes, str]:
            subgraphs.family = "as_it_should_be"
            largest = hostile_documents.largest(family, ground, seed, limits)
            size = max(1, int(largest * Random(seed).choice([0.05, 0.3, 1, 1])))
            document = hostile_documents.make(family.__name__, ground, seed, size)
            return *await answered(port, [request_of(document)]), f"size {size}, seed {seed!r}"

        return attack

    def of_requests(family: hostile_requests.Family) -> Attack:
        async def attack(seed: str) -> tuple[list[int], bytes, str]:
            size = max(1, int(hostile_requests.FAMILIES[family] * Random(seed).random()))
            return *await answered(port, family(Random(seed), size), patience_s=0.5), f"size {size}, seed {seed!r}"

        return attack

    def of_answers(name: str) -> Attack:
        async def attack(seed: str) -> tuple[list[int], bytes, str]:
            subgraphs.family, subgraphs.seed = name, seed
            operation = generate(ground.schema, Random(seed))
            document = HostileDocument(operation.text, operation.variables)
            return *await answered(port, [request_of(document)]), f"seed {seed!r}"

        return attack

    return {
        **{f"document {each.__name__}": of_documents(each) for each in hostile_documents.FAMILIES},
        **{f"request {each.__name__}": of_requests(each) for each in hostile_requests.FAMILIES},
        **{f"answer {each.__name__}": of_answers(each.__name__) for each in BODIES},
        **{f"answer {each}": of_answers(each) for each in WIRE},
    }


async def run_family(attack: Attack, victim: Victim, seed: str, number: int, seconds: float) -> Row:
    """Attack so often, or for so long."""
    row = Row()
    before = (await victim.measured())["resident_mb"]
    end = time.monotonic() + seconds
    while row.number < number and (row.number == 0 or time.monotonic() < end):
        statuses, received, told = await attack(f"{seed}.{row.number}")
        measured = await victim.measured()
        row.number += 1
        row.statuses.update(statuses or [0])
        row.wall_ms = max(row.wall_ms, measured["wall_ms_max"])
        row.collection_ms = max(row.collection_ms, measured["collection_ms_max"])
        if measured["cpu_ms_max"] > row.cpu_ms:
            row.cpu_ms, row.worst = measured["cpu_ms_max"], told
        if b"INTERNAL_SERVER_ERROR" in received or any(each >= 500 and each not in DOCUMENTED for each in statuses):
            row.bugs.append(f"[{told}: {received[-300:]!r}]")
        row.growth_mb = measured["resident_mb"] - before
    return row


async def run_together(every: Mapping[str, Attack], victim: Victim, seed: str, number: int) -> Row:
    """Documents of all families at once."""
    row = Row(worst="all documents at once")
    before = (await victim.measured())["resident_mb"]
    several = [attack for name, attack in every.items() if name.startswith("document ")]
    for start in range(0, number, 50):
        chosen = [several[(start + n) % len(several)] for n in range(50)]
        found = await asyncio.gather(*(attack(f"{seed}.together.{start + n}") for n, attack in enumerate(chosen)))
        row.number += len(found)
        for statuses, received, told in found:
            row.statuses.update(statuses or [0])
            if b"INTERNAL_SERVER_ERROR" in received:
                row.bugs.append(f"[{told}]")
    measured = await victim.measured()
    row.cpu_ms, row.wall_ms = measured["cpu_ms_max"], measured["wall_ms_max"]
    row.collection_ms = measured["collection_ms_max"]
    row.growth_mb = measured["resident_mb"] - before
    return row


async def run_hold(victim: Victim, number: int, seconds: int) -> bool:
    """Hold connections while somebody else asks; whether that one is served."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(number, hard - 500)
    before = (await victim.measured())["resident_mb"]
    quiet = await asked(victim.port, 5)
    holding = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.attacks.holding", str(victim.port), str(number), str(seconds)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holding.stdout is not None
    held = await holding.stdout.readline()
    during = await asked(victim.port, max(1, seconds - 2))
    ended = await holding.stdout.read()
    await holding.wait()
    measured = await victim.measured()
    print(
        f"held {held.decode().strip() or 'none'} of {number} connections; closed, and refused when they came again: "
        f"{ended.decode().strip()}"
    )
    print(f"another client, quiet:       {quiet}")
    print(f"another client, during that: {during}")
    print(
        f"loop: {measured['cpu_ms_max']:.0f} ms CPU at most, {measured['cpu_ms_p99']:.1f} ms p99;"
        f" memory {before:.0f} MB before, {measured['resident_mb']:.0f} MB after"
    )
    return not during["failed"] and measured["cpu_ms_max"] <= CPU_MS_MAX


async def asked(port: int, seconds: float) -> dict[str, float]:
    """How a client fares that only wants its answer."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.attacks.asking", str(port), str(seconds)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asking.communicate()
    found: dict[str, float] = json.loads(output)
    return {name: round(value, 1) for name, value in found.items()}


async def main(arguments: argparse.Namespace) -> int:
    """Run what the command line asks for; 1 where something was wrong."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    supergraph = Supergraph.parse(arguments.supergraph.read_text())
    subgraphs = HostileSubgraphs(Subgraphs(supergraph.api_schema))
    server = await asyncio.start_server(subgraphs.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    wrong = 0
    async with running(arguments.supergraph, dict.fromkeys(supergraph.subgraphs, url)) as victim:
        every = attacks(supergraph, victim.port, subgraphs)
        chosen = {
            name: attack
            for name, attack in every.items()
            if not arguments.family or name in arguments.family or name.partition(" ")[2] in arguments.family
        }
        for attack in every.values():  # so that nobody's memory is what everybody needs
            await attack("first")
        await run_together(every, victim, "first", 50)
        begun = (await victim.measured())["resident_mb"]
        each = max(1, -(-arguments.number // len(chosen)))
        print(f"seed {arguments.seed}; {len(chosen)} families, up to {each} each; {begun:.0f} MB\n")
        print(f"{'family':38} number   cpu ms  garbage  wall ms  grew MB")
        for name, attack in chosen.items():
            row = await run_family(attack, victim, arguments.seed, each, arguments.seconds / len(chosen))
            print(f"{name:38} {row}", flush=True)
            wrong += not row.is_right
        row = await run_together(every, victim, arguments.seed, min(1_000, each * 5))
        print(f"{'together':38} {row}", flush=True)
        wrong += not row.is_right
        grew = (await victim.measured())["resident_mb"] - begun
        print(f"\nmemory grew by {grew:.0f} MB in all\n")
        if arguments.connections:
            wrong += not await run_hold(victim, arguments.connections, arguments.hold_seconds)
    server.close()
    print(f"\n{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse_arguments())))
