"""The explorer in a real browser, served by the real router over the real brokerage."""

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, ViewportSize, expect

from tests.browser.conftest import find_browser
from tests.system.brokerages import Brokerage

find_browser()
ANSWER = ".graphiql-response .view-lines"
SCREENSHOT = os.environ.get("TRIFOLIO_SCREENSHOT")
"""Where a picture of the page goes, for the documentation: docs/graphiql.png."""
SIZE: ViewportSize = {"width": 1440, "height": 860}


@dataclass(slots=True)
class Visit:
    """A page, and what the browser noticed while it was open."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
async def visit(browser: Browser, brokerage: Brokerage) -> AsyncIterator[Visit]:
    """The explorer, loaded; at the end no other host was asked and the browser had no complaint."""
    page = await browser.new_page(viewport=SIZE)
    visited = Visit(page)
    page.on("request", lambda request: visited.hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    page.on("console", lambda entry: visited.complaints.append(entry.text) if entry.type == "error" else None)
    response = await page.goto(f"{brokerage.urls['router']}/graphql")
    assert response is not None
    assert "default-src 'self'" in response.headers["content-security-policy"]
    await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("mutation")
    yield visited
    assert visited.hosts == {urlsplit(brokerage.urls["router"]).netloc}
    assert visited.complaints == []


async def run_tab(page: Page, name: str) -> None:
    """Opens a tab and runs what is in it."""
    await page.get_by_role("tab", name=name).click()
    await page.get_by_role("button", name="Execute query").click()


async def test_portfolio_with_a_pasted_token(visit: Visit, brokerage: Brokerage) -> None:
    """Paste a token, run the Portfolio tab, see the data of all three services."""
    await visit.page.get_by_label("Access token").fill(f"  Bearer {brokerage.fresh_token('alice')}\n")
    await expect(visit.page.locator("output")).to_have_text("valid for 15 min")
    await run_tab(visit.page, "Portfolio")
    answer = visit.page.locator(ANSWER)
    for text in ("alice@example.com", '"committed": ', '"averagePrice": '):
        await expect(answer).to_contain_text(text)
    await expect(answer).not_to_contain_text('"errors"')
    if SCREENSHOT:
        await visit.page.screenshot(path=SCREENSHOT)


async def test_login_offers_its_token(visit: Visit) -> None:
    """The Login tab's answer holds a token; one click puts it to use, and the other tabs see alice's data."""
    await run_tab(visit.page, "Login")
    await visit.page.get_by_role("button", name="Use the token just received").click()
    await expect(visit.page.get_by_label("Access token")).to_have_value(re.compile(r"^ey\S+$"))
    await run_tab(visit.page, "Transactions")
    await expect(visit.page.locator(ANSWER)).to_contain_text("TRADE")


async def test_token_stays_in_the_tab(visit: Visit, brokerage: Brokerage) -> None:
    """A token outlives a reload, is in no cookie and no lasting storage, and "Forget" removes it."""
    token = brokerage.fresh_token("bob")
    await visit.page.get_by_label("Access token").fill(token)
    await visit.page.reload()
    await expect(visit.page.get_by_label("Access token")).to_have_value(token)
    assert await visit.page.context.cookies() == []
    assert await visit.page.evaluate("() => JSON.stringify(window.localStorage)") == "{}"
    await visit.page.get_by_role("button", name="Forget").click()
    assert token not in await visit.page.evaluate("() => JSON.stringify(window.sessionStorage)")


async def test_without_a_token_the_answer_says_what_to_do(visit: Visit) -> None:
    """The Portfolio tab without a token shows the refusal with its code."""
    await run_tab(visit.page, "Portfolio")
    await expect(visit.page.locator(ANSWER)).to_contain_text("UNAUTHENTICATED")


async def test_schema_is_documented(visit: Visit) -> None:
    """The book icon shows the whole graph's types."""
    await visit.page.get_by_role("button", name="Show Documentation Explorer").click()
    await expect(visit.page.locator(".graphiql-doc-explorer")).to_contain_text("StockHolding")


async def test_first_load_is_small(browser: Browser, brokerage: Brokerage) -> None:
    """A page that nothing is kept of takes less than 2.5 MB off the network, workers and schema included."""
    page = await browser.new_page(viewport=SIZE)
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))  # it takes no built-in
    await page.goto(f"{brokerage.urls['router']}/graphql")
    await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("mutation")
    await page.wait_for_load_state("networkidle")
    sizes = [await request.sizes() for request in requests]
    taken = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert any("graphql.worker" in request.url for request in requests)
    assert 500_000 < taken < 2_500_000


@pytest.mark.parametrize(
    ("service", "route"), [("users", "/users/login"), ("wallet", "/balance"), ("stocks", "/orders")]
)
async def test_openapi_page_works_offline(browser: Browser, brokerage: Brokerage, service: str, route: str) -> None:
    """A service's OpenAPI page shows its routes and the place for the token, and asks no other host for anything."""
    page = await browser.new_page(viewport=SIZE)
    hosts, complaints = set[str](), list[str]()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda entry: complaints.append(entry.text) if entry.type == "error" else None)
    await page.goto(f"{brokerage.urls[service]}/docs/{service}")
    await expect(page.locator(".opblock-summary-path").filter(has_text=route).first).to_be_visible()
    await expect(page.get_by_role("button", name="Authorize")).to_be_visible()
    assert hosts - {""} == {urlsplit(brokerage.urls[service]).netloc}
    assert complaints == []
