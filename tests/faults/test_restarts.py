"""Services and PostgreSQL are restarted under a load: one repetition by its key gets every client its answer."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import databases_on, running_postgres
from tests.faults.crashes import Stage
from tests.faults.processes import Zygote
from tests.faults.restarts import DOWN_S, Load, Restart

SECONDS = float(os.environ.get("TRIFOLIO_RESTART_SECONDS", "0"))
"""How long it goes on; each is restarted once at least."""
SEED = int(os.environ.get("TRIFOLIO_STORM_SEED", "20261127"))


def assert_promise(load: Load, figures: list[str]) -> None:
    """Nobody was left without an answer or got another one later, the books are right, and each heard all once."""
    figures.append(str(load))
    assert load.unanswered == []
    assert load.changed == []
    assert load.violations == ()
    assert load.sent_again < load.requests
    assert load.heard
    assert load.misheard == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_services_are_restarted_under_a_load(stage: Stage, figures: list[str]) -> None:
    """On SQLite: each service ends what it has begun, is away, and comes back."""
    assert_promise(await stage.restarts({}, seconds=SECONDS, seed=SEED), figures)


@pytest.fixture
def own_server() -> Iterator[tuple[str, dict[str, Restart]]]:
    """A PostgreSQL server that nobody else uses: its URL, and how it is stopped and started, and crashes."""
    with running_postgres(crashes=True) as server:

        async def restart() -> None:
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(server.ensure_postgres_running)

        async def crash() -> None:
            os.kill(server.get_pid(), signal.SIGQUIT)  # what `pg_ctl stop -m immediate` sends
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(server.ensure_postgres_running)

        yield server.get_uri(), {"PostgreSQL": restart, "PostgreSQL (crash)": crash}


async def test_postgresql_is_restarted_under_a_load(
    own_server: tuple[str, dict[str, Restart]], zygote: Zygote, tmp_path: Path, figures: list[str]
) -> None:
    """The server, each service and each replica: one after the other."""
    url, restarts = own_server
    stage = Stage("postgresql", zygote, tmp_path, databases_on(url))
    assert_promise(await stage.restarts(restarts, seconds=SECONDS, seed=SEED), figures)
