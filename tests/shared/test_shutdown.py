"""A service that is told to end ends, whatever its background loops are in the middle of."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from subgraphs.shared import app as module
from subgraphs.shared.sessions import EndedSessions
from subgraphs.wallet.app import create_app
from subgraphs.wallet.settings import Settings
from tests.in_memory import peers_of


class Stubborn:
    """A loop whose cleaning up fails as often as `failures` says: what had cancelled it is lost."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.starts = 0

    async def __call__(self, _sessions: EndedSessions) -> None:
        self.starts += 1
        try:
            await asyncio.Event().wait()
        finally:
            if self.starts <= self.failures:
                raise ConnectionError("the connection is lost")


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_a_loop_that_loses_its_cancellation_is_cancelled_again(
    failures: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exception of its cleaning up takes the cancellation's place and starts the loop anew; it ends nevertheless."""
    loop = Stubborn(failures)

    async def run(sessions: EndedSessions) -> None:
        await loop(sessions)

    monkeypatch.setattr(module, "RESTART_S", 0)
    monkeypatch.setattr(module, "CANCELLED_AGAIN_S", 0.01)
    monkeypatch.setattr(EndedSessions, "run", run)
    app = create_app(
        Settings(mode="development", database_url=SecretStr(f"sqlite:///{tmp_path}/wallet.db"), **peers_of(Settings))
    )
    before = asyncio.all_tasks()
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    assert loop.starts == failures + 1
