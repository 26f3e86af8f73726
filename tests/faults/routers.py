"""A router in front of the services, as a process of its own that is killed and comes again at the same address."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from brokerage.development import SUPERGRAPH
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from tests.faults.restarts import DOWN_S
from tests.nginx import free_port

STARTED_WITHIN_S = 60.0
_POLL_S = 0.02


class RouterProcess:
    """One router process at a time. `url` is where it answers."""

    def __init__(self, services: Mapping[str, str], folder: Path) -> None:
        """
        Args:
            services: where the services answer.
            folder: where its settings and its log are written.
        """
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = folder / "router.log"
        secret, self._settings = folder / "router_secret", folder / "router.yaml"
        secret.write_text(DEVELOPMENT_ROUTER_SECRET)
        subgraphs = {
            name: {
                "url": f"{url}/graphql",
                "secret": {"file": str(secret)},
                "subscriptions": {"protocol": "sse"},
            }
            for name, url in services.items()
        }
        self._settings.write_text(json.dumps({"subgraphs": subgraphs}))  # JSON is YAML
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it; returns once it listens."""
        arguments = ("--supergraph", str(SUPERGRAPH), "--settings", str(self._settings), "--port", str(self._port))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "trifolio", "serve", *arguments), stdout=log, stderr=log
            )
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not await self._listens():
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(_POLL_S)

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def crash(self) -> None:
        """Kills it, and starts another one a moment later."""
        await self.kill()
        await asyncio.sleep(DOWN_S)
        await self.start()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@contextlib.asynccontextmanager
async def running_router(services: Mapping[str, str], folder: Path) -> AsyncIterator[RouterProcess]:
    """A router that has started, and ends with the block."""
    router = RouterProcess(services, folder)
    try:
        await router.start()
        yield router
    finally:
        await router.kill()
