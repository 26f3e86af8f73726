"""Tick to pixel: how long a change takes from a subgraph into an explorer that somebody looks at.

    python -m bench.pixel                 one page in chromium, beside 199 connections of a script
    python -m bench.pixel --events 200

The router has all of them in one process, and joins each event with another subgraph's field. The clock runs from when
the subgraph tells of the event until the browser draws a frame that has it. All share this machine.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlencode

from playwright.async_api import Page, async_playwright

from tests.browser.conftest import OPTIONS, find_browser
from tests.server.conftest import listening
from tests.subscriptions.world import TICKED, World
from trifolio.config import Config
from trifolio.limits import Limits

OTHERS = 199
PAUSE_S = 0.4
FIRST = 1000
"""The first event's price: all have as many digits."""
WATCH = r"""() => {
  window.seen = {};
  const answer = document.querySelector(".graphiql-response .view-lines");
  const look = () => {
    const price = /"price": (\d+)/.exec(answer.innerText.replaceAll("\u00a0", " "))?.[1];
    if (!price || price in window.seen) return;
    window.seen[price] = null;
    requestAnimationFrame(() => { window.seen[price] = performance.timeOrigin + performance.now(); });
  };
  new MutationObserver(look).observe(answer, { subtree: true, childList: true, characterData: true });
}"""
OTHER = """
import asyncio, httpx, json, sys
async def read(client, url, query, events):
    count = 0
    headers = {"accept": "text/event-stream"}
    async with client.stream("POST", url, json={"query": query}, headers=headers) as response:
        async for line in response.aiter_lines():
            count += line.startswith("data: {")
            if count == events:
                return count
    return count
async def main(url, query, events, others):
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=None, limits=limits) as client:
        reading = [read(client, url, query, int(events)) for _ in range(int(others))]
        print(json.dumps(await asyncio.gather(*reading)))
asyncio.run(main(*sys.argv[1:]))
"""


async def measure(events: int) -> tuple[list[float], list[int]]:
    """How many milliseconds each event took into the page, and how many events each of the others has read."""
    limits = Limits(subscriptions_per_client_max=OTHERS + 1, connections_per_address_max=2 * OTHERS)
    config = Config(introspection=True, explorer=True, traces=True, access_log=False, limits=limits)
    world = World(config)
    async with AsyncExitStack() as open_until_then:
        url = await open_until_then.enter_async_context(listening(world.router.asgi())) + "/graphql"
        playwright = await open_until_then.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=OPTIONS)
        page = await browser.new_page()
        await page.goto(f"{url}?{urlencode({'query': TICKED})}")
        await page.get_by_role("button", name="Execute query").click()
        await world.exchange.has(1)
        await page.evaluate(WATCH)
        command = (sys.executable, "-c", OTHER, url, TICKED, str(events), str(OTHERS))
        others = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await world.exchange.has(OTHERS + 1)
        told = {}
        for price in range(FIRST, FIRST + events):
            told[str(price)] = time.time() * 1000
            world.exchange.tell("A", price)
            await asyncio.sleep(PAUSE_S)
        output, _ = await others.communicate()
        seen = await _seen(page, events)
        await browser.close()
        await world.router.close()
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
    events = parser.parse_args(arguments).events
    took, others = asyncio.run(measure(events))
    took.sort()
    half, most = (took[max(0, math.ceil(len(took) * share) - 1)] for share in (0.5, 0.95))
    print(f"{len(took)} of {events} events drawn: half within {half:.0f} ms, 95 % within {most:.0f} ms")
    print(f"{sum(count == events for count in others)} of {OTHERS} other connections have every event")
    return 0 if len(took) == events and others == [events] * OTHERS else 1


if __name__ == "__main__":
    raise SystemExit(main())
