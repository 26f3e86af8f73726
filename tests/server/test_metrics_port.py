"""The counters on a port of their own: what is there, on which port, and what keeps `serve` from starting."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import SUPERGRAPH
from tests.server.test_cli import started
from trifolio.command.metrics_port import MetricsPort
from trifolio.errors import ConfigError


def free_ports(count: int) -> int:
    """The first of some ports in a row that nobody has."""
    for _ in range(100):
        with ExitStack() as stack:
            first = stack.enter_context(closing(socket.socket()))
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for other in range(port + 1, port + count):
                    stack.enter_context(closing(socket.socket())).bind(("127.0.0.1", other))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no ports are free")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody has."""
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A supergraph, and where its settings will be."""
    (tmp_path / "supergraph.graphql").write_text(SUPERGRAPH)
    return tmp_path / "supergraph.graphql", tmp_path / "router.yaml"


async def test_it_has_the_counters_and_nothing_else() -> None:
    """GET and HEAD of /metrics are answered, everything else is a 404; when it is left, the port is free."""
    port = free_ports(1)
    async with (
        MetricsPort(lambda: "a 1\n", "127.0.0.1", range(port, port + 1)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        response = await client.get("/metrics")
        assert (response.status_code, response.text) == (200, "a 1\n")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert (await client.head("/metrics")).status_code == 200
        for method, path in (("POST", "/metrics"), ("GET", "/graphql"), ("GET", "/"), ("GET", "/health")):
            assert (await client.request(method, path)).status_code == 404
    with closing(socket.socket()) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended may linger
        free.bind(("127.0.0.1", port))
        free.listen()


async def test_it_takes_the_first_port_that_is_free() -> None:
    """As many as there are ports for find one each; one more does not."""
    port = free_ports(2)
    ports = range(port, port + 2)
    async with MetricsPort(lambda: "a", "127.0.0.1", ports), MetricsPort(lambda: "b", "127.0.0.1", ports):
        async with httpx.AsyncClient(trust_env=False) as client:
            texts = [(await client.get(f"http://127.0.0.1:{each}/metrics")).text for each in ports]
        assert texts == ["a", "b"]
        with pytest.raises(ConfigError, match=f"metrics cannot be served on port {port + 1} of 127.0.0.1: "):
            async with MetricsPort(lambda: "c", "127.0.0.1", ports):
                pass


@pytest.mark.parametrize(("host", "port"), [("no such host", 9400), ("x" * 70, 9400), ("127.0.0.1", 65_536)])
async def test_an_address_that_cannot_be_is_told(host: str, port: int) -> None:
    """A name that nobody has and a port beyond all are an error of the settings."""
    with pytest.raises(ConfigError, match=f"metrics cannot be served on port {port}"):
        async with MetricsPort(lambda: "", host, range(port, port + 1)):
            pass


@pytest.mark.parametrize("workers", [1, 2])
async def test_serve_has_a_port_for_each_workers_counters(files: tuple[Path, Path], workers: int) -> None:
    """Each worker's counters are on a port of their own, and not on the endpoint's; all operations are counted."""
    supergraph, settings = files
    port = free_ports(workers)
    settings.write_text(f"metrics: {{port: {port}}}\nlimits: {{lame_duck_ms: 1}}\n")
    arguments = ("--supergraph", supergraph, "--settings", settings, "--workers", str(workers))
    async with started(*arguments) as (_, url), httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for _ in range(3):
            assert (await client.post(url, json={"query": "{ __typename }"})).status_code == 200
        assert (await client.get(url.replace("/graphql", "/metrics"))).status_code == 404
        async with asyncio.timeout(60):
            await _until_answered(client, range(port, port + workers), 3)


async def _until_answered(client: httpx.AsyncClient, ports: range, wanted: int) -> None:
    """Look until all of the ports together tell of so many responses: one is counted when it has been sent."""
    if await _answered(client, ports) != wanted:
        await asyncio.sleep(0.05)
        await _until_answered(client, ports, wanted)


async def _answered(client: httpx.AsyncClient, ports: range) -> int | None:
    """How many responses with 200 all of the ports tell of; None where one is not there yet."""
    counted = 0
    for port in ports:
        try:
            lines = (await client.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
        except httpx.ConnectError:  # another worker answered, this one is still starting
            return None
        counts = [line for line in lines if line.startswith('router_http_responses_total{status="200"}')]
        counted += sum(int(line.split()[1]) for line in counts)
    return counted


async def test_serve_ends_where_the_port_is_taken(files: tuple[Path, Path], taken: int) -> None:
    """A port that somebody has ends `serve` with 1, and a line that names it."""
    supergraph, settings = files
    settings.write_text(f"metrics: {{port: {taken}}}\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trifolio", "serve", "--port", "0"),
        *("--supergraph", str(supergraph), "--settings", str(settings)),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 1
    assert f"metrics cannot be served on port {taken} of 127.0.0.1" in errors.decode()
    assert "Traceback" not in errors.decode()
