"""The loop that stores a feed's ticks: one feeder at a time over all replicas, each tick once and in order."""

import asyncio
from collections.abc import AsyncIterator

from subgraphs.shared.database import Database
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.feed import TickSource
from subgraphs.stocks.rules import Tick
from subgraphs.stocks.service_market import MarketService, StoredTick

FEEDER_LOCK = "stocks-feeder"
FEEDER_RETRY_S = 1.0
"""How often a replica without the lock looks whether the feeder has gone."""

STEPS_PER_CLEANING = 1_000


class Feeder:
    """Stores the ticks of one source. `step` stores the next one, `run` does so for ever while it has the lock."""

    def __init__(self, market: MarketService, source: TickSource, database: Database, *, interval_ms: int) -> None:
        self._market = market
        self._source = source
        self._database = database
        self._interval_ms = interval_ms
        self._ticks: AsyncIterator[Tick] | None = None

    async def step(self) -> StoredTick | None:
        """Stores the next tick and triggers what it crosses; None when closed, or at the end of the source."""
        if not await self._market.is_open():
            return None
        if self._ticks is None:
            self._ticks = self._source.ticks(await self._market.stored_seqs())
        try:
            tick = await anext(self._ticks, None)
            return None if tick is None else await self._market.store_tick(tick)
        except BaseException:
            # The tick that was not stored must come again: the source is asked anew where the database stands.
            self._ticks = None
            raise

    async def run(self) -> None:
        """Lists the companies if they are not, then feeds for ever, whenever no other replica does."""
        await self._market.list_companies(COMPANIES)
        while True:
            async with self._database.advisory_lock(FEEDER_LOCK) as lock:
                self._ticks, steps = None, 0
                while lock.held:
                    await self.step()
                    await asyncio.sleep(self._interval_ms / 1_000)
                    steps += 1
                    if steps % STEPS_PER_CLEANING == 0:
                        await self._market.delete_old_ticks()
                        await self._market.delete_old_bars()
            await asyncio.sleep(FEEDER_RETRY_S)
