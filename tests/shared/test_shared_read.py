"""Readers that are woken together share a read, which outlives none of them."""

import asyncio

import pytest

from subgraphs.shared.wakening import SharedRead

ROUNDS = 5
"""Of the loop, in which whatever can go on does."""


class Table:
    """What is read: it tells how often, and lets a read wait."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.goes_on = asyncio.Event()

    async def read(self) -> int:
        """The number of the read, once reads go on."""
        self.begun += 1
        number = self.begun
        try:
            await self.goes_on.wait()
        finally:
            self.ended += 1
        return number


async def rounds() -> None:
    """Lets the others go on."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def test_who_asks_before_it_begins_shares_it() -> None:
    """Ten that ask at once are told the same; one who asks when it has begun is told what comes of another."""
    table = Table()
    shared = SharedRead(table.read)
    together = [asyncio.create_task(shared.get()) for _ in range(10)]
    await rounds()
    later = asyncio.create_task(shared.get())
    await rounds()
    table.goes_on.set()
    assert await asyncio.gather(*together, later) == [1] * 10 + [2]


async def test_the_others_are_told_when_one_goes() -> None:
    """Who is cancelled takes nothing away from those who wait as well."""
    table = Table()
    shared = SharedRead(table.read)
    goes, stays = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await rounds()
    goes.cancel()
    await rounds()
    assert (goes.cancelled(), table.ended) == (True, 0)
    table.goes_on.set()
    assert await stays == 1


@pytest.mark.parametrize("has_begun", [True, False])
async def test_when_all_have_gone_it_has_ended(has_begun: bool) -> None:
    """The last one goes when the read has let go of what it held; the next one has a read of its own."""
    table = Table()
    shared = SharedRead(table.read)
    readers = [asyncio.create_task(shared.get()) for _ in range(2)]
    await (rounds() if has_begun else asyncio.sleep(0))
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert table.ended == table.begun == has_begun
    table.goes_on.set()
    assert await shared.get() == has_begun + 1


async def test_a_failure_is_told_to_all() -> None:
    """Nobody waits for a read that has failed."""

    async def fail() -> int:
        raise LookupError("gone")

    shared = SharedRead(fail)
    found = await asyncio.gather(*(shared.get() for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in found] == ["gone"] * 3
