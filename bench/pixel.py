"""Tick to pixel: how long a change takes from a subgraph into an explorer that somebody looks at.

    python -m bench.pixel                        one page in chromium, beside 199 connections of a script
    python -m bench.pixel --events 200
    python -m bench.pixel --of brokerage         the brokerage's own prices, as `python -m brokerage up` runs it
    python -m bench.pixel --of brokerage-in-process

The example is a router and two subgraphs in one process: each event is joined with the other subgraph's field, and the
clock runs from when the subgraph tells of the event until the browser draws a frame that has it. Of the brokerage it
runs from before a price is posted to stocks, so that it has that request and the commit in it; a stock has no field of
another service. All share this machine.
"""

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx
from playwright.async_api import Page, async_playwright

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.keys import read_signing_key
from tests.browser.conftest import OPTIONS, find_browser
from tests.server.conftest import listening
from tests.subscriptions.world import TICKED, World
from tests.system.brokerages import running_brokerage
from trifolio.config import Config
from trifolio.limits import Limits

OTHERS = 199
PAUSE_S = 0.4
PATIENCE_S = 60
FIRST = 1000
"""The first event's price: all have as many digits, and none has that is told before everybody listens."""
PRICES = 'subscription { priceTicked(symbols: ["ALBA"]) { symbol name price } }'
WATCH = r"""() => {
  window.seen = {};
  const answer = document.querySelector(".graphiql-response .view-lines");
  const look = () => {
    const price = /"price": "?(\d+)/.exec(answer.innerText.replaceAll("\u00a0", " "))?.[1];
    if (!price || price in window.seen) return;
    window.seen[price] = null;
    requestAnimationFrame(() => { window.seen[price] = performance.timeOrigin + performance.now(); });
  };
  new MutationObserver(look).observe(answer, { subtree: true, childList: true, characterData: true });
}"""
OTHER = r"""
import asyncio, json, re, sys
from urllib.parse import urlsplit
async def read(url, query, last, hears):
    count, body = 0, json.dumps({"query": query}).encode()
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-type: application/json\r\n"
    head += f"accept: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async for line in reader:
        price = re.search(rb'"price":"?(\d+)', line)
        if price:
            hears.set()
            count += len(price[1]) == len(last)
            if price[1].decode() == last:
                break
    writer.close()
    return count
async def main(url, query, last, others):
    hearing = [asyncio.Event() for _ in range(int(others))]
    reading = asyncio.gather(*(read(urlsplit(url), query, last, each) for each in hearing))
    for each in hearing:
        await each.wait()
    print("all hear", flush=True)
    print(json.dumps(await reading))
asyncio.run(main(*sys.argv[1:]))
"""
"""The others, as cheap as they can be had: they are on the same machine as what is measured."""


@dataclass(frozen=True, slots=True)
class Market:
    """Prices that are subscribed to."""

    url: str
    """The endpoint, and the page."""
    query: str
    """A subscription to one price."""
    has: Callable[[int], Awaitable[None]]
    """Waits until there are so many subscribers."""
    tell: Callable[[int], Awaitable[None]]
    """Lets the price be so much."""


@asynccontextmanager
async def example() -> AsyncIterator[Market]:
    """Two subgraphs in memory."""
    limits = Limits(subscriptions_per_client_max=OTHERS + 1, connections_per_address_max=2 * OTHERS)
    config = Config(introspection=True, explorer=True, traces=True, access_log=False, limits=limits)
    world = World(config)

    async def tell(price: int) -> None:
        world.exchange.tell("A", price)

    async with listening(world.router.asgi()) as url:
        yield Market(f"{url}/graphql", TICKED, world.exchange.has, tell)
        await world.router.close()


@asynccontextmanager
async def brokerage(*options: str) -> AsyncIterator[Market]:
    """The brokerage with its demo data, whose prices are posted by hand."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        begin = partial(running_brokerage, folder, *options, environment={"TRIFOLIO_FEED": "manual"})
        running = await asyncio.to_thread(stack.enter_context, begin())
        signer = ServiceSigner("stocks", read_signing_key((folder / "secrets" / "stocks_service_key").read_text()))
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:

            async def has(subscribers: int) -> None:
                async with asyncio.timeout(PATIENCE_S):
                    while True:  # at the service: the router counts those that it is about to begin there, too
                        told = (await client.get(f"{running.urls['stocks']}/metrics")).text
                        streams = re.findall(r"^trifolio_streams\S* (\d+)", told, flags=re.MULTILINE)
                        if sum(map(int, streams)) == subscribers:
                            return
                        await asyncio.sleep(0.05)

            async def tell(price: int) -> None:
                body = {"symbol": "ALBA", "bid": f"{price}.0000", "ask": f"{price}.5000", "last": f"{price}.0000"}
                headers = {"authorization": f"Bearer {signer.token('stocks')}"}
                posted = await client.post(f"{running.urls['stocks']}/market/ticks", json=body, headers=headers)
                posted.raise_for_status()

            yield Market(f"{running.urls['router']}/graphql", PRICES, has, tell)


MARKETS: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[Market]]]] = {
    "example": example,
    "brokerage": brokerage,
    "brokerage-in-process": partial(brokerage, "--in-process"),
}


async def measure(events: int, of: str = "example") -> tuple[list[float], list[int]]:
    """How many milliseconds each event took into the page, and how many events each of the others has read."""
    async with MARKETS[of]() as market, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=OPTIONS)
        page = await browser.new_page()
        await page.goto(f"{market.url}?{urlencode({'query': market.query})}")
        await page.get_by_role("button", name="Execute query").click()
        await market.has(1)
        await page.evaluate(WATCH)
        last = FIRST + events - 1
        command = (sys.executable, "-c", OTHER, market.url, market.query, str(last), str(OTHERS))
        others = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await market.has(OTHERS + 1)
        assert others.stdout is not None
        hearing = asyncio.ensure_future(others.stdout.readline())
        for price in count(FIRST // 10):  # who subscribes is counted a moment before it hears
            if hearing.done():
                break
            await market.tell(price)
            await asyncio.wait({hearing}, timeout=PAUSE_S)
        told = {}
        for price in range(FIRST, FIRST + events):
            told[str(price)] = time.time() * 1000
            await market.tell(price)
            await asyncio.sleep(PAUSE_S)
        output, _ = await others.communicate()
        seen = await _seen(page, events)
        await browser.close()
    return [seen[price] - at for price, at in told.items() if price in seen], json.loads(output)


async def _seen(page: Page, events: int) -> dict[str, float]:
    """When each price was drawn."""
    await page.wait_for_function(f"() => window.seen[{FIRST + events - 1}]")
    seen: dict[str, float | None] = await page.evaluate("() => window.seen")
    return {price: at for price, at in seen.items() if at is not None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was measured; 1 where an event was not seen by everybody."""
    parser = argparse.ArgumentParser(prog="python -m bench.pixel", description=__doc__)
    parser.add_argument("--events", type=int, default=50, help="how many changes (default: %(default)s)")
    parser.add_argument("--of", choices=sorted(MARKETS), default="example", help="whose prices (default: %(default)s)")
    options = parser.parse_args(arguments)
    events: int = options.events
    took, others = asyncio.run(measure(events, options.of))
    took.sort()
    half, most = (took[max(0, math.ceil(len(took) * share) - 1)] for share in (0.5, 0.95))
    print(f"{len(took)} of {events} events drawn: half within {half:.0f} ms, 95 % within {most:.0f} ms")
    print(f"{sum(count == events for count in others)} of {OTHERS} other connections have every event")
    return 0 if len(took) == events and others == [events] * OTHERS else 1


if __name__ == "__main__":
    raise SystemExit(main())
