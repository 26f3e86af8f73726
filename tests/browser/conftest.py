"""A real browser: Debian's chromium, headless, driven by Playwright. It downloads nothing."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.conftest import REQUIRED
from tests.system.brokerages import Brokerage, running_brokerage

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Containers have no room for its sandbox; the rest keeps it from calling its maker."""


def find_browser() -> str:
    """The program; a module of tests that finds none is skipped as one, unless TRIFOLIO_REQUIRE names the browser."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if "browser" in REQUIRED:
            raise RuntimeError("a browser is required here and there is none; on Debian: apt-get install chromium")
        pytest.skip("no chromium here; on Debian: apt-get install chromium", allow_module_level=True)
    return program


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of its own for each test, with nothing remembered."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=find_browser(), headless=True, args=OPTIONS)
        yield started
        await started.close()


@pytest.fixture(scope="module")
def brokerage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """The router and the services that the page talks to."""
    folder: Path = tmp_path_factory.mktemp("browser") / "data"
    with running_brokerage(folder, "--in-process") as running:
        yield running
