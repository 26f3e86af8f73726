"""Other routers, installed from npm: they answer the workloads as ours does, so that they can be measured beside it."""

import platform
import shutil
import sys
from pathlib import Path

import pytest

from bench.alone import Figure
from bench.beside import compared, measure_beside
from bench.load import Clients
from bench.targets import HERE, PEERS, Target, mocks, read_peers, serving
from tests.npm import install

pytestmark = [pytest.mark.node, pytest.mark.no_cover]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    """Those of peers.toml, in a folder of their own."""
    folder = tmp_path_factory.mktemp("routers")
    shutil.copytree(HERE / "peers", folder / "peers", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(PEERS, folder)
    install(folder / "peers", HERE / "peers", ())
    return read_peers(folder / PEERS.name)


@pytest.mark.parametrize("name", ["apollo", "grafbase"])
async def test_another_router_answers_the_workloads(peers: dict[str, Target], name: str, tmp_path: Path) -> None:
    """What the mocks answer is right whoever asks, and however the other plans."""
    if name == "grafbase" and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("its binary is for another machine")
    async with mocks(tmp_path) as subgraphs:
        for workload in compared(peers[name], ("l", "x")):
            async with (
                serving(peers[name], workload.world, subgraphs, workload.question) as router,
                Clients(router.url, workload.question, 2) as clients,
            ):
                assert (await clients.closed(requests=10)).requests == 10


async def test_ours_is_measured_beside_another(peers: dict[str, Target], tmp_path: Path) -> None:
    """Both are asked in turns, and the figure says how many times the other's CPU ours is."""
    figures: list[Figure] = []
    target = peers["apollo"]
    async with mocks(tmp_path) as subgraphs:
        await measure_beside(
            target, compared(target, ("s",)), subgraphs, pairs=2, seconds=0.4, report=figures.append, warm_up_s=0.2
        )
    titles = [figure["title"] for figure in figures]
    assert titles == [f"{what}, beside Apollo Gateway {target.version}" for what in ("S", "S, 500 a second")]
    for figure in figures:
        assert 0 < figure["low"] <= figure["ratio"] <= figure["high"]
