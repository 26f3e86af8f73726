"""Subscriptions of routers that are processes of their own: with one worker and with several, to the end."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.server.test_cli import started
from tests.subscriptions.test_http import SSE, Events

CONFIG = "subgraphs:\n  clock: {schema: {python: 'tests.subscriptions.schemas:CLOCK'}}\n"


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [((), signal.SIGTERM, 0), (("--workers", "2"), signal.SIGTERM, 0), ((), signal.SIGINT, 130)],
    ids=["one worker", "several", "interrupted"],
)
async def test_streams_end_before_the_process_does(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    """A signal completes subscriptions with a code, and then the process ends."""
    (tmp_path / "supergraph.yaml").write_text(CONFIG)
    (tmp_path / "router.yaml").write_text("limits: {lame_duck_ms: 200}\n")
    given: list[str | Path] = [
        "--config",
        tmp_path / "supergraph.yaml",
        "--settings",
        tmp_path / "router.yaml",
        *arguments,
    ]
    async with (
        started(*given) as (process, url),
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("POST", url, json={"query": "subscription { time }"}, headers={"accept": SSE}) as response,
    ):
        stream = Events(response)
        assert await stream.next() == ("next", {"data": {"time": 1}})
        process.send_signal(number)
        [last] = await stream.rest()
        assert last["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_DRAINED"
        async with asyncio.timeout(20):
            assert await process.wait() == code
