"""Where prices come from: `async for tick in source` behind one interface, whatever the source.

    synthetic   the invented market, for running without any provider
    replay      recorded prices from a CSV file
    manual      prices that an operator posts, for tests and demonstrations

The synthetic market is a pure function of a seed and a tick number, in integers only, so the same seed is the same
market on every machine and a restart goes on where it stopped. A price is its company's base price times one plus a
sum of octaves; an octave is value noise: pseudo-random heights at every `period` ticks, joined by straight lines.
Longer periods swing further, as the square root of the period, which looks like a random walk that stays near the base.
"""

import csv
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Protocol

from subgraphs.shared.money import parse_price
from subgraphs.stocks.companies import Company
from subgraphs.stocks.rules import Tick
from subgraphs.stocks.rules_pricing import spread_around

ONE_PPM = 1_000_000
OCTAVES: tuple[tuple[int, int], ...] = (
    (4, 600),
    (16, 1_200),
    (64, 2_400),
    (256, 4_800),
    (1_024, 9_600),
    (4_096, 19_200),
    (16_384, 38_400),
    (65_536, 76_800),
)
"""(period in ticks, amplitude in parts per million of the base price); together they stay within 15 % of the base."""

_LATTICE_CACHE_POINTS_MAX = 4_096


class TickSource(Protocol):
    """Ticks in order, without end or until the recording ends; whoever reads them sets the pace."""

    def ticks(self, stored: Mapping[str, int]) -> AsyncIterator[Tick]:
        """The ticks that follow. `stored` maps each symbol to its last stored seq, where the source goes on."""
        ...


def synthetic_price(seed: str, company: Company, number: int) -> int:
    """The last price of `company` at tick `number`, in price units; at least one unit."""
    swing_ppm = sum(
        amplitude * _noise(f"{seed}:{company.symbol}:{period}", number, period) // ONE_PPM
        for period, amplitude in OCTAVES
    )
    return max(company.price * (ONE_PPM + swing_ppm) // ONE_PPM, 1)


def synthetic_tick(seed: str, company: Company, number: int, ts: int) -> Tick:
    """Tick `number` of `company`, with bid and ask around its price."""
    last = synthetic_price(seed, company, number)
    bid, ask = spread_around(last)
    return Tick(company.symbol, number, bid, ask, last, ts)


def _noise(name: str, number: int, period: int) -> int:
    """Value noise at `number`, in parts per million between -1 and 1."""
    index, offset = divmod(number, period)
    here, there = _height(name, index), _height(name, index + 1)
    return here + (there - here) * offset // period


@lru_cache(maxsize=_LATTICE_CACHE_POINTS_MAX)
def _height(name: str, index: int) -> int:
    digest = hashlib.blake2b(f"{name}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % (2 * ONE_PPM + 1) - ONE_PPM


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """The invented market: the companies take turns, for ever. `clock` gives the time in milliseconds."""

    seed: str
    companies: Sequence[Company]
    clock: Callable[[], int]

    async def ticks(self, stored: Mapping[str, int]) -> AsyncIterator[Tick]:
        """One tick of every company, again and again; each company goes on from its own last seq."""
        for turn in count(1):
            for company in self.companies:
                number = stored.get(company.symbol, 0) + turn
                yield synthetic_tick(self.seed, company, number, self.clock())


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """Recorded prices: a CSV file with the columns `symbol,bid,ask,last`, one tick per line."""

    path: Path
    clock: Callable[[], int]

    async def ticks(self, stored: Mapping[str, int]) -> AsyncIterator[Tick]:
        """The file's ticks that are not stored yet, in the file's order; it ends with the file."""
        with self.path.open(newline="") as file:
            for symbol, seq, bid, ask, last in _numbered(csv.DictReader(file)):
                if seq > stored.get(symbol, 0):
                    yield Tick(symbol, seq, bid, ask, last, self.clock())


@dataclass(frozen=True, slots=True)
class ManualSource:
    """No ticks of its own: prices come one by one through the system route `POST /market/ticks`."""

    async def ticks(self, stored: Mapping[str, int]) -> AsyncIterator[Tick]:
        """Ends at once."""
        nothing: tuple[Tick, ...] = ()
        for tick in nothing:
            yield tick


def _numbered(lines: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, int, int, int, int]]:
    """Counts each symbol's lines: (symbol, seq, bid, ask, last), prices read as price units."""
    counts: dict[str, int] = {}
    for line in lines:
        symbol = line["symbol"]
        counts[symbol] = counts.get(symbol, 0) + 1
        bid, ask, last = (parse_price(line[name], field=name) for name in ("bid", "ask", "last"))
        yield symbol, counts[symbol], bid, ask, last
