"""A page of the explorer, and what the browser noticed while it was open."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, expect

WIDE: ViewportSize = {"width": 1440, "height": 860}
NARROW: ViewportSize = {"width": 390, "height": 844}
ANSWER = ".graphiql-response .view-lines"
STATE = ".explorer-token-state"
SCREENSHOTS = os.environ.get("TRIFOLIO_SCREENSHOTS")
"""The folder for pictures of the page, for the documentation: docs/."""
LOADED_MS = 30_000


@dataclass(slots=True)
class Visit:
    """A page, and what the browser noticed while it was open."""

    page: Page
    address: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    async def load(self, query: str = "") -> None:
        """Go there, and wait until an operation is shown."""
        await self.page.goto(self.address + query)
        await expect(self.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("{", timeout=LOADED_MS)

    async def open_tab(self, name: str) -> None:
        """Show a tab."""
        await self.page.get_by_role("tab", name=name, exact=True).click()

    async def run(self) -> None:
        """Press the play button."""
        await self.page.get_by_role("button", name="Execute query").click()

    async def answered(self) -> Any:
        """The answer, when it is there."""
        await expect(self.page.get_by_label("Status")).to_contain_text(" ms")
        read = (
            "() => { const models = globalThis.__MONACO.editor.getModels();"
            " return JSON.parse(models.find((each) => each.uri.path.includes('response')).getValue() || 'null'); }"
        )
        await self.page.wait_for_function(read)
        return await self.page.evaluate(read)

    async def log_in(self, name: str = "alice") -> None:
        """By the form in the header."""
        await self.page.get_by_role("button", name="Log in").click()
        form = self.page.get_by_role("dialog")
        await form.get_by_label("Email").fill(f"{name}@example.com")
        await form.get_by_label("Password").fill(f"{name}-demo-password")
        await form.get_by_role("button", name="Log in").click()
        await expect(self.page.locator(STATE)).to_contain_text(name.capitalize())

    async def picture(self, name: str) -> None:
        """A picture for the documentation, where it is wanted."""
        if SCREENSHOTS:
            await self.page.screenshot(path=Path(SCREENSHOTS) / name)


@asynccontextmanager
async def visiting(where: Browser | BrowserContext, router: str, **options: Any) -> AsyncIterator[Visit]:
    """A page that is not loaded yet; at the end no other host was asked, and the browser had no complaint."""
    page = await where.new_page(**({"viewport": WIDE, **options} if isinstance(where, Browser) else {}))
    visit = Visit(page, f"{router}/graphql")
    page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("console", lambda entry: visit.complaints.append(entry.text) if entry.type == "error" else None)
    yield visit
    assert visit.hosts <= {urlsplit(router).netloc}
    assert visit.complaints == []
