"""The explorer over small graphs of other people's: events, parts, traces, and what it does where there is no login."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, BrowserContext, Route, expect

from bench.pixel import OTHERS, measure
from tests.browser.conftest import find_browser
from tests.browser.visits import ANSWER, STATE, WIDE, Visit, visiting
from tests.parts.world import World as PartsWorld
from tests.server.conftest import listening
from tests.subscriptions.world import COMPANIES, TICKED
from tests.subscriptions.world import World as EventsWorld
from trifolio.config import Config
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.gateway import Router
from trifolio.server.explorer import ASSETS

find_browser()
OPEN = Config(introspection=True, explorer=True, traces=True)
DEFERRED = "{ everyone { name ... @defer { homes { city } } } }"


@asynccontextmanager
async def exploring(
    where: Browser | BrowserContext, router: Router, query: str = "", variables: str = ""
) -> AsyncIterator[Visit]:
    """A page over a router, with an operation open."""
    async with listening(router.asgi()) as url, visiting(where, url) as visit:
        given = {"query": query, **({"variables": variables} if variables else {})}
        await visit.load(f"?{urlencode(given)}" if query else "")
        yield visit
        await visit.page.close()


async def test_events_are_shown_as_they_come(browser: Browser) -> None:
    """Each event is the answer when it comes, joined with the other subgraph's field, and stands in the list; the
    square ends the subscription, at the subgraph too."""
    world = EventsWorld(OPEN)
    async with exploring(browser, world.router, TICKED) as visit:
        await visit.run()
        await world.exchange.has(1)
        for number, symbol in enumerate(COMPANIES, 1):
            world.exchange.tell(symbol, number + 0.5)
            await expect(visit.page.locator(ANSWER)).to_contain_text(COMPANIES[symbol])
            assert (await visit.answered())["data"]["ticked"]["price"] == number + 0.5
        await expect(visit.page.get_by_label("Status")).to_contain_text("200 OK")
        await expect(visit.page.get_by_label("Status")).to_contain_text("2 events · open")
        await visit.page.get_by_role("button", name="Events").click()
        events = visit.page.get_by_role("list", name="Newest first").get_by_role("listitem")
        await expect(events).to_have_count(2)
        await expect(events.first).to_contain_text("Beta")
        await visit.page.get_by_role("button", name="Plan and trace").click()
        await expect(visit.page.get_by_role("group", name="Plan").get_by_role("button")).to_have_count(2)
        await visit.page.get_by_role("button", name="Stop query").click()
        await world.exchange.has(0)
        await expect(visit.page.get_by_label("Status")).not_to_contain_text("open")
        await expect(visit.page.locator(ANSWER)).to_contain_text("Beta")
    world.holds_nothing()
    await world.router.close()


async def test_leaving_the_page_ends_its_subscription(browser: Browser) -> None:
    """A page that is closed leaves nothing behind."""
    world = EventsWorld(OPEN)
    async with exploring(browser, world.router, TICKED) as visit:
        await visit.run()
        await world.exchange.has(1)
        await visit.page.close()
        await world.exchange.has(0)
    await world.router.close()


async def test_the_end_of_a_subscription_is_said(browser: Browser) -> None:
    """What the subgraph, or the router, ends is over; a reason is shown as the last answer."""
    world = EventsWorld(OPEN)
    async with exploring(browser, world.router, TICKED) as visit:
        await visit.run()
        await world.exchange.has(1)
        world.exchange.tell()
        await visit.answered()
        world.exchange.end()
        await expect(visit.page.get_by_label("Status")).to_contain_text("1 event")
        await expect(visit.page.get_by_role("button", name="Execute query")).to_be_visible()
        await visit.run()
        await world.exchange.has(1)
        world.router.end_subscriptions()
        await expect(visit.page.locator(ANSWER)).to_contain_text("SUBSCRIPTION_DRAINED")
        await expect(visit.page.get_by_role("button", name="Execute query")).to_be_visible()
    await world.router.close()


async def test_a_page_keeps_up_beside_199_others() -> None:
    """Where it is measured how long a change takes into a page, the page draws the last, and nobody misses any."""
    took, others = await measure(5)
    assert 1 <= len(took) <= 5
    assert others == [5] * OTHERS


async def test_markup_in_an_event_is_text(browser: Browser) -> None:
    """What a subgraph sends is shown letter by letter, in the answer, in the list and in the trace."""
    world = EventsWorld(OPEN)
    name = "<img src=x onerror=document.title=1>"
    async with exploring(browser, world.router, TICKED) as visit:
        title = await visit.page.title()
        await visit.run()
        await world.exchange.has(1)
        world.exchange.tell(name)
        assert (await visit.answered())["data"]["ticked"]["symbol"] == name
        await visit.page.get_by_role("button", name="Events").click()
        await expect(visit.page.get_by_role("list", name="Newest first")).to_contain_text(name)
        await visit.page.get_by_role("button", name="Plan and trace").click()
        await visit.page.get_by_role("group", name="Plan").get_by_role("button").last.click()
        await expect(visit.page.get_by_label("Variables", exact=True).last).to_contain_text(name)
        assert await visit.page.title() == title
        assert await visit.page.locator("img[src=x]").count() == 0
        await visit.page.get_by_role("button", name="Stop query").click()
        await world.exchange.has(0)
    await world.router.close()


async def test_parts_are_shown_as_they_come(browser: Browser) -> None:
    """The first part is there while the slow subgraph has not answered; the whole is what it is without @defer."""
    world = PartsWorld(OPEN)
    whole = "{ everyone { name homes { city } } }"
    async with exploring(browser, world.router, DEFERRED) as visit:
        await visit.run()
        await expect(visit.page.get_by_label("Status")).to_contain_text("open")
        first = await visit.answered()
        assert first == {"data": {"everyone": [{"name": "Ada"}, {"name": "Bob"}, {"name": "Cid"}]}}
        world.places.open.set()
        await expect(visit.page.locator(ANSWER)).to_contain_text("Graz")
        expected = await world.router.execute(whole)
        assert (await visit.answered())["data"] == expected.data
        await expect(visit.page.get_by_label("Status")).to_contain_text("2 parts")
        await expect(visit.page.get_by_label("Status")).not_to_contain_text("open")
        await visit.page.get_by_role("button", name="Plan and trace").click()
        nodes = visit.page.get_by_role("group", name="Plan").get_by_role("button")
        await expect(nodes).to_have_count(2)
        await expect(nodes.last).to_contain_text("3 entities, deferred")
    await world.router.close()


# ---- plan and trace ----


async def test_a_trace_can_be_read_and_copied(browser: Browser) -> None:
    """The graph has an edge for each thing that a fetch waits for, the bars stand where the fetches were; a click shows
    operation and variables, and the copy has it all."""
    world = PartsWorld(OPEN)
    world.places.open.set()
    context = await browser.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    async with exploring(context, world.router, "{ me { name homes { city } owed } }") as visit:
        await visit.page.get_by_role("button", name="Plan and trace").click()
        await expect(visit.page.get_by_text("Run an operation to see how it is answered.")).to_be_visible()
        await visit.run()
        answer = await visit.answered()
        assert "extensions" not in answer
        graph = visit.page.get_by_role("group", name="Plan")
        await expect(graph.get_by_role("button")).to_have_count(3)
        await expect(graph.locator("path")).to_have_count(2)
        rows = visit.page.get_by_role("list", name="Fetches by time").get_by_role("button")
        bars = [await row.locator(".trace-bar").bounding_box() for row in await rows.all()]
        starts = [box["x"] for box in bars if box is not None]
        assert len(starts) == 3
        assert starts[0] <= min(starts[1:])
        await rows.last.click()
        details = visit.page.get_by_role("region", name="Fetch")
        await expect(details.get_by_label("Operation")).to_contain_text("_entities(representations:")
        await expect(details.get_by_label("Variables")).to_contain_text('"__typename": "Person"')
        await visit.page.get_by_role("button", name="Copy as text").click()
        await expect(visit.page.get_by_text("Copied")).to_be_visible()
        text = await visit.page.evaluate("() => navigator.clipboard.readText()")
        for part in ("3 fetches", "#0 people", " after #0", "_entities(representations:", '"__typename": "Person"'):
            assert part in text
    await context.close()
    await world.router.close()


async def test_a_fetch_that_fails_is_seen(browser: Browser) -> None:
    """Its node and its bar say that something went wrong, and with which code."""
    world = PartsWorld(OPEN)
    world.places.failure = SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "places")
    world.places.open.set()
    async with exploring(browser, world.router, "{ me { name homes { city } } }") as visit:
        await visit.run()
        await visit.answered()
        await visit.page.get_by_role("button", name="Plan and trace").click()
        node = visit.page.get_by_role("group", name="Plan").get_by_role("button", name="places")
        await expect(node).to_contain_text("SUBGRAPH_TIMEOUT")
        assert "wrong" in (await node.get_attribute("class") or "")
        await expect(visit.page.locator(".trace-bar.wrong")).to_have_count(1)
    await world.router.close()


GROWS = """(bar) => new Promise((resolve) => {
  let width = Infinity;
  const look = () => {
    const now = bar.getBoundingClientRect().width;
    if (now > width) return resolve(true);
    width = now;
    requestAnimationFrame(look);
  };
  look();
})"""
"""Whether a bar is wider than it was a frame ago, as soon as it is."""
MOVES = "(bar) => getComputedStyle(bar).animationName"


@pytest.mark.parametrize("query", ["{ me { name homes { city } owed } }", DEFERRED])
async def test_a_fetch_is_a_bar_that_grows_while_it_runs(browser: Browser, query: str) -> None:
    """A subgraph that has not answered is seen: its bar grows, its node says that it is under way, a click shows what
    it is asked; with its answer it stands still."""
    world = PartsWorld(OPEN)
    async with exploring(browser, world.router, query) as visit:
        page = visit.page
        await page.get_by_role("button", name="Plan and trace").click()
        await visit.run()
        running = page.locator(".trace-bar.running")
        await expect(running).to_have_count(1)
        assert await running.evaluate(GROWS)
        assert await running.evaluate(MOVES) == "trace-running"
        assert world.places.in_flight == 1
        rows = page.get_by_role("list", name="Fetches by time").get_by_role("button")
        slow = rows.filter(has_text="places")
        await expect(slow).to_contain_text("…")
        await expect(rows.filter(has_text="people")).not_to_contain_text("…")
        node = page.get_by_role("group", name="Plan").get_by_role("button", name="places")
        await expect(node).to_contain_text("under way")
        await expect(page.locator(".trace-head")).to_contain_text("so far")
        await slow.click()
        details = page.get_by_role("region", name="Fetch")
        await expect(details.get_by_label("Operation")).to_contain_text("homes")
        await expect(details.get_by_label("Variables")).to_contain_text('"__typename": "Person"')
        if query != DEFERRED:
            await expect(page.get_by_label("Status")).to_have_text("under way…")
        world.places.open.set()
        await expect(running).to_have_count(0)
        await expect(page.locator(ANSWER)).to_contain_text("London")
        await expect(slow).not_to_contain_text("…")
        await expect(node).not_to_contain_text("under way")
        await expect(page.locator(".trace-head")).not_to_contain_text("so far")
        expected = await world.router.execute(query)
        assert (await visit.answered()) == {"data": expected.data}
        assert len(await page.locator(".trace-bar").all()) == len(await rows.all())
    await world.router.close()


async def test_a_query_can_be_stopped_while_it_runs(browser: Browser) -> None:
    """The square ends the operation at the subgraph, too, and what it waited for is no longer under way."""
    world = PartsWorld(OPEN)
    context = await browser.new_context(viewport=WIDE, reduced_motion="reduce")
    async with exploring(context, world.router, "{ me { name homes { city } } }") as visit:
        await visit.page.get_by_role("button", name="Plan and trace").click()
        await visit.run()
        running = visit.page.locator(".trace-bar.running")
        await expect(running).to_have_count(1)
        assert await running.evaluate(MOVES) == "none", "nothing moves for who wants it so"
        await visit.page.get_by_role("button", name="Stop query").click()
        await world.places.ended.wait()
        await expect(running).to_have_count(0)
        await expect(visit.page.get_by_role("group", name="Plan").get_by_role("button", name="places")).to_contain_text(
            "not ended"
        )
        assert (world.places.cancelled, world.in_flight) == (1, 0)
    await context.close()
    await world.router.close()


async def test_without_leave_there_is_no_trace(browser: Browser) -> None:
    """Where the configuration has no traces, the page does not ask for one and says so."""
    world = PartsWorld(replace(OPEN, traces=False))
    world.places.open.set()
    async with exploring(browser, world.router, "{ me { name } }") as visit:
        async with visit.page.expect_request(lambda request: request.method == "POST") as sent:
            await visit.run()
        assert "trifolio-trace" not in (await (await sent.value).all_headers())
        assert await visit.answered() == {"data": {"me": {"name": "Ada"}}}
        await visit.page.get_by_role("button", name="Plan and trace").click()
        await expect(visit.page.get_by_text("This router tells no traces.")).to_be_visible()
    await world.router.close()


# ---- any graph ----


async def test_a_graph_without_logins_has_no_forms(browser: Browser) -> None:
    """There is the place for a token and no form; the token goes along with a request, and nothing else does."""
    world = PartsWorld(OPEN)
    world.places.open.set()
    async with exploring(browser, world.router) as visit:
        await visit.page.get_by_label("Access token").fill("opaque-token")
        await expect(visit.page.locator(STATE)).to_have_text("token set")
        await visit.page.get_by_role("button", name="Show Documentation Explorer").click()
        await expect(visit.page.locator(".graphiql-doc-explorer")).to_contain_text("Query")
        for name in ("Log in", "Register", "Log out"):
            await expect(visit.page.get_by_role("button", name=name)).to_have_count(0)
        async with visit.page.expect_request(lambda request: request.method == "POST") as sent:
            await visit.run()
        request = await sent.value
        headers = await request.all_headers()
        assert headers["authorization"] == "Bearer opaque-token"
        assert "cookie" not in headers
        assert "opaque-token" not in request.url + (request.post_data or "")
        assert await visit.answered() == {"data": {"__typename": "Query"}}
    await world.router.close()


async def test_what_is_no_answer_is_said(browser: Browser) -> None:
    """Something in between that answers in the router's place is shown for what it is, with its status."""
    world = PartsWorld(OPEN)
    async with exploring(browser, world.router, "query Mine { me { name } }") as visit:
        for status, body in enumerate(("<html>no</html>", "", "[1"), 200):

            async def answer(route: Route, *, status: int = status, body: str = body) -> None:
                """In place of the router, but for the schema."""
                if "Mine" in (route.request.post_data or ""):
                    await route.fulfill(status=status, body=body)
                else:
                    await route.continue_()

            await visit.page.route("**/graphql", answer)
            await visit.run()
            await expect(visit.page.locator(ANSWER)).to_contain_text(f"HTTP {status}")
            await expect(visit.page.get_by_label("Status")).to_contain_text(str(status))
    await world.router.close()


async def test_formulas_are_the_deployments_alone(browser: Browser) -> None:
    """What looks like a formula in a link, and is in no example, is sent as it is."""
    world = EventsWorld(OPEN)
    query = "query ($symbol: ID!) { price(symbol: $symbol) { symbol } }"
    async with exploring(browser, world.router, query, json.dumps({"symbol": "= uuid"})) as visit:
        async with visit.page.expect_request(lambda request: request.method == "POST") as sent:
            await visit.run()
        body: Any = (await sent.value).post_data_json
        assert body["variables"] == {"symbol": "= uuid"}
    await world.router.close()


async def test_the_page_works_without_its_settings(browser: Browser) -> None:
    """A deployment whose settings cannot be had still has a page that works."""
    world = PartsWorld(OPEN)
    async with listening(world.router.asgi()) as url, visiting(browser, url) as visit:
        await visit.page.route(f"**/{ASSETS}/explorer.json", lambda route: route.fulfill(status=200, body="no json"))
        await visit.load()
        await visit.run()
        assert await visit.answered() == {"data": {"__typename": "Query"}}
        await visit.page.close()
    await world.router.close()
