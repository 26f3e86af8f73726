"""The explorer in a real browser, served by the real router over the real brokerage."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, Request, expect

from tests.browser.conftest import find_browser
from tests.browser.visits import ANSWER, NARROW, STATE, WIDE, Visit, visiting
from tests.npm import install
from tests.system.brokerages import ROOT, Brokerage

find_browser()
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.graphql"))
AXE = Path(__file__).parent / "axe"
EDITOR = ".graphiql-query-editor .monaco-editor"
TABS_MAX = 80
"""More presses of the Tab key than the page has places for it."""


@pytest.fixture
async def visit(browser: Browser, brokerage: Brokerage) -> AsyncIterator[Visit]:
    """The explorer, loaded for the first time."""
    async with visiting(browser, brokerage.urls["router"]) as visited:
        response = await visited.page.goto(visited.address)
        assert response is not None
        assert "default-src 'self'" in response.headers["content-security-policy"]
        await expect(visited.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("mutation")
        yield visited


# ---- the examples ----


async def test_every_example_works_on_the_first_click(visit: Visit) -> None:
    """On a fresh page the first tab runs as it is; logged in, every tab does, one after the other."""
    await visit.run()
    assert (await visit.answered())["data"]["register"]["errors"] == []
    await visit.log_in()
    names = [re.findall(r"^(?:query|mutation|subscription) (\w+)", path.read_text(), re.M)[0] for path in EXAMPLES]
    assert await visit.page.get_by_role("tab").all_inner_texts() == names
    assert len(names) >= 8
    for name in names[1:]:
        await visit.open_tab(name)
        async with visit.page.expect_response(lambda response: response.request.method == "POST"):
            await visit.run()
        answer = await visit.answered()
        assert "errors" not in answer, name
        assert [value["errors"] for value in answer["data"].values() if "errors" in value] in ([], [[]]), name
    await expect(visit.page.get_by_label("Status")).to_contain_text(
        re.compile(r"([3-9]|\d\d) events · open"), timeout=30_000
    )
    await visit.page.get_by_role("button", name="Stop query").click()
    await expect(visit.page.get_by_role("button", name="Execute query")).to_be_visible()


async def test_an_example_opens_in_a_tab_of_its_own(visit: Visit) -> None:
    """The list in the header brings back an example whose tab was closed or changed."""
    tabs = visit.page.get_by_role("tab")
    before = await tabs.count()
    await visit.page.get_by_label("Open an example").select_option(label="portfolio")
    await expect(tabs).to_have_count(before + 1)
    await expect(visit.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("Portfolio")
    await expect(tabs.last).to_have_attribute("aria-selected", "true")


async def test_without_a_token_the_answer_says_what_to_do(visit: Visit) -> None:
    """The Portfolio tab without a token shows the refusal with its code; so does one that needs another's answer."""
    for name in ("Portfolio", "GiveMandate"):
        await visit.open_tab(name)
        await visit.run()
        await expect(visit.page.locator(ANSWER)).to_contain_text("UNAUTHENTICATED")


# ---- tokens ----


async def test_portfolio_with_a_pasted_token(visit: Visit, brokerage: Brokerage) -> None:
    """Paste a token, run the Portfolio tab, see the data of all three services and how they were asked."""
    await visit.page.get_by_label("Access token").fill(f"  Bearer {brokerage.fresh_token('alice')}\n")
    await expect(visit.page.locator(STATE)).to_have_text("valid for 15 min")
    await visit.open_tab("Portfolio")
    await visit.run()
    answer = visit.page.locator(ANSWER)
    for text in ("alice@example.com", '"committed": '):
        await expect(answer).to_contain_text(text)
    assert '"averagePrice": ' in json.dumps(await visit.answered())
    await expect(answer).not_to_contain_text('"errors"')
    await expect(answer).not_to_contain_text('"extensions"')
    await visit.picture("graphiql.png")
    await visit.page.get_by_role("button", name="Plan and trace").click()
    await expect(visit.page.get_by_role("group", name="Plan").get_by_role("button")).to_have_count(3)
    await visit.picture("explorer-trace.png")
    await visit.page.emulate_media(color_scheme="dark")
    await visit.page.set_viewport_size(NARROW)
    await visit.page.get_by_label("Status").scroll_into_view_if_needed()
    await visit.picture("explorer-narrow.png")


async def test_login_offers_its_token(visit: Visit) -> None:
    """The Login tab's answer holds a token; one click puts it to use, and the other tabs see alice's data."""
    await visit.open_tab("Login")
    await visit.run()
    await visit.page.get_by_role("button", name="Use the token just received").click()
    await expect(visit.page.get_by_label("Access token")).to_have_value(re.compile(r"^ey\S+$"))
    await visit.open_tab("Transactions")
    await visit.run()
    await expect(visit.page.locator(ANSWER)).to_contain_text("TRADE")


async def test_token_stays_in_the_tab(visit: Visit, brokerage: Brokerage) -> None:
    """A token outlives a reload, is in no cookie and no lasting storage, and "Forget" removes it."""
    token = brokerage.fresh_token("bob")
    await visit.page.get_by_label("Access token").fill(token)
    await visit.page.reload()
    await expect(visit.page.get_by_label("Access token")).to_have_value(token)
    assert await visit.page.context.cookies() == []
    assert token not in await _kept(visit.page)
    await visit.page.get_by_role("button", name="Forget").click()
    assert token not in await visit.page.evaluate("() => JSON.stringify(window.sessionStorage)")


async def _kept(page: Page) -> str:
    kept: str = await page.evaluate("() => JSON.stringify(window.localStorage)")
    return kept


async def test_a_session_from_login_to_logout(visit: Visit) -> None:
    """The header's form logs in; shortly before its end the token is exchanged, after a reload as well, and nobody sees
    it; "Log out" ends the session at the router, too."""
    await visit.page.clock.install()
    await visit.log_in()
    field = visit.page.get_by_label("Access token")
    tokens = [await field.input_value()]
    for reloads in (False, True):
        if reloads:
            await visit.page.reload()
            await expect(visit.page.locator(STATE)).to_have_text("logged in as Alice")
        await visit.page.clock.fast_forward("15:00")
        await expect(field).not_to_have_value(tokens[-1])
        tokens.append(await field.input_value())
        await expect(visit.page.locator(STATE)).to_have_text("logged in as Alice")
    assert "" not in tokens
    await visit.page.get_by_role("button", name="Log out").click()
    await expect(visit.page.locator(STATE)).to_have_text("not logged in")
    stored = await _kept(visit.page) + await visit.page.evaluate("() => JSON.stringify(window.sessionStorage)")
    assert [token for token in tokens if token in stored + visit.page.url] == []
    assert "trifolio:refresh" not in stored
    await field.fill(tokens[-1])
    await visit.open_tab("Portfolio")
    await visit.run()
    await expect(visit.page.locator(ANSWER)).to_contain_text("The session has ended")


async def test_what_was_wrong_is_said_in_the_form(visit: Visit) -> None:
    """Who has a token that is over can log in again. A wrong password is told where it was typed; Escape closes the
    form, and everything is as it was."""
    claims = base64.urlsafe_b64encode(b'{"sub": "alice", "exp": 1}').decode().rstrip("=")
    await visit.page.get_by_label("Access token").fill(f"eyJhbGciOiJub25lIn0.{claims}.none")
    await expect(visit.page.locator(STATE)).to_have_text("expired: log in again")
    await visit.page.get_by_role("button", name="Log in").click()
    form = visit.page.get_by_role("dialog")
    await form.get_by_label("Email").fill("alice@example.com")
    await form.get_by_label("Password").fill("not-her-password")
    await form.get_by_role("button", name="Log in").click()
    await expect(form.get_by_role("alert")).not_to_be_empty()
    await visit.page.keyboard.press("Escape")
    await expect(form).to_have_count(0)
    await expect(visit.page.locator(STATE)).to_have_text("expired: log in again")


async def test_a_script_in_a_name_is_text(visit: Visit) -> None:
    """Who registers under a name that is markup is logged in under it, letter by letter; nothing of it is run."""
    name = "<img src=x onerror=document.title=1><script>document.title=2</script>"
    title = await visit.page.title()
    await visit.page.get_by_role("button", name="Register").click()
    form = visit.page.get_by_role("dialog")
    await form.get_by_label("Name").fill(name)
    await form.get_by_label("Email").fill(f"{uuid4().hex}@example.com")
    await form.get_by_label("Password").fill("a-password-of-some-length")
    await form.get_by_label("Type").select_option("INVESTOR")
    await form.get_by_role("button", name="Register").click()
    await expect(visit.page.locator(STATE)).to_have_text(f"logged in as {name}")
    await visit.open_tab("Portfolio")
    await visit.run()
    assert (await visit.answered())["data"]["me"]["name"] == name
    assert await visit.page.title() == title
    assert await visit.page.locator("img[src=x]").count() == 0


# ---- what is kept, and what is told ----


async def test_tabs_and_history_outlive_the_page(browser: Browser, brokerage: Brokerage) -> None:
    """Another page of the same browser has the tabs and the history; passwords and tokens of the visitor it has not."""
    context = await browser.new_context(viewport=WIDE)
    async with visiting(context, brokerage.urls["router"]) as first:
        await first.load()
        await first.log_in()
        token = await first.page.get_by_label("Access token").input_value()
        await first.open_tab("Login")
        await _type(
            first.page,
            "query",
            'mutation Mine { login(input: {email: "me", password: "hush-in-text"}) { errors { code } } }',
        )
        await _type(first.page, "variables", json.dumps({"password": "hush-in-variables", "note": token}))
        await first.run()
        await first.answered()
        await expect(first.page.get_by_role("tab", name="Mine")).to_be_visible()
        await first.page.wait_for_timeout(1000)  # GraphiQL writes half a second after the last letter
        kept = await _kept(first.page)
    async with visiting(context, brokerage.urls["router"]) as second:
        await second.load()
        await expect(second.page.get_by_role("tab", name="Mine")).to_be_visible()
        await second.page.get_by_role("button", name="Show History").click()
        await expect(second.page.get_by_role("region", name="History")).to_contain_text("Mine")
    assert "Mine" in kept
    assert "dora-demo-password" in kept, "what the examples say stays"
    assert [secret for secret in ("hush-in", token, token.split(".")[1]) if secret in kept] == []
    await context.close()


async def _type(page: Page, editor: str, text: str) -> None:
    """Put another text into an editor."""
    wanted = {"query": "operation", "variables": "variables"}[editor]
    script = (
        "([name, text]) => globalThis.__MONACO.editor.getModels()"
        ".find((each) => each.uri.path.includes(name)).setValue(text)"
    )
    await page.evaluate(script, [wanted, text])


async def test_a_link_opens_what_was_shared(browser: Browser, brokerage: Brokerage) -> None:
    """The share button copies an address that opens operation and variables in a first tab, without what is secret; the
    address bar is clean afterwards."""
    context = await browser.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    async with visiting(context, brokerage.urls["router"]) as first:
        await first.load()
        await first.log_in()
        token = await first.page.get_by_label("Access token").input_value()
        await _type(
            first.page, "query", "query Shared($first: Int!) { stocks(first: $first) { edges { node { symbol } } } }"
        )
        await _type(first.page, "variables", json.dumps({"first": 2, "password": "hush", "mine": token}))
        await first.page.get_by_role("button", name="Copy a link to this operation").click()
        await expect(first.page.get_by_text("Link copied")).to_be_visible()
        link = await first.page.evaluate("() => navigator.clipboard.readText()")
        await first.page.evaluate("() => window.localStorage.clear()")
    assert "hush" not in link
    assert token not in link
    said = parse_qs(urlsplit(link).query)
    assert json.loads(said["variables"][0])["first"] == 2
    other = await browser.new_context(viewport=WIDE)
    async with visiting(other, brokerage.urls["router"]) as second:
        await second.load(f"?{urlsplit(link).query}")
        await expect(second.page.get_by_role("tab", name="Shared")).to_have_attribute("aria-selected", "true")
        await second.run()
        assert len((await second.answered())["data"]["stocks"]["edges"]) == 2
        assert urlsplit(second.page.url).query == ""
        await second.page.reload()
        await expect(second.page.get_by_role("tab", name="Shared")).to_have_count(1)
    await context.close()
    await other.close()


async def test_a_link_with_a_script_is_text(visit: Visit) -> None:
    """What an address says is an operation to look at: it is not run, whatever it is."""
    title = await visit.page.title()
    await visit.load("?query=%7B%22%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E%22%7D&variables=%3Cscript%3E")
    await expect(visit.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("onerror")
    assert await visit.page.title() == title
    await expect(visit.page.get_by_label("Status")).to_have_text("nothing run yet")


async def test_the_answers_headers_are_shown(visit: Visit) -> None:
    """Beside status, size and time, the response's headers can be read."""
    await visit.open_tab("Portfolio")
    await visit.run()
    await expect(visit.page.get_by_label("Status")).to_have_text(re.compile(r"^200 OK · [\d.]+ k?B · [\d.]+ ms$"))
    await visit.page.get_by_role("button", name="Headers").last.click()
    row = visit.page.get_by_role("row", name="x-request-id")
    await expect(row).to_be_visible()


async def test_schema_is_documented(visit: Visit) -> None:
    """The book icon shows the whole graph's types."""
    await visit.page.get_by_role("button", name="Show Documentation Explorer").click()
    await expect(visit.page.locator(".graphiql-doc-explorer")).to_contain_text("StockHolding")


# ---- for everybody ----


async def test_a_small_screen_is_enough(browser: Browser, brokerage: Brokerage) -> None:
    """At 390 pixels nothing is beside the screen, and operation, answer and trace have its width."""
    async with visiting(browser, brokerage.urls["router"], viewport=NARROW) as visit:
        await visit.load()
        await visit.log_in()
        await visit.page.get_by_role("tab", name="Portfolio").evaluate("(tab) => tab.click()")
        await visit.run()
        await visit.answered()
        await visit.page.get_by_role("button", name="Plan and trace").click()
        for selector in (".graphiql-query-editor .monaco-editor", ".graphiql-response .monaco-editor", ".trace"):
            box = await visit.page.locator(selector).bounding_box()
            assert box is not None
            assert box["width"] > 250, selector
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= NARROW["width"], selector
        width, height = await visit.page.evaluate("() => [document.body.scrollWidth, document.body.scrollHeight]")
        assert width == NARROW["width"]
        assert height < 4 * NARROW["height"]


async def test_light_and_dark_are_whole(visit: Visit) -> None:
    """The bar, the editors and the panels are of one scheme: the system's, or what was chosen against it."""
    await visit.page.emulate_media(color_scheme="light")
    await _is_all(visit.page, "light")
    await visit.page.emulate_media(color_scheme="dark")
    await _is_all(visit.page, "dark")
    for chosen in ("Light", "Dark"):
        await visit.page.get_by_role("button", name="Open settings dialog").click()
        await visit.page.get_by_role("button", name=chosen, exact=True).click()
        await visit.page.keyboard.press("Escape")
        await visit.page.emulate_media(color_scheme="dark" if chosen == "Light" else "light")
        await _is_all(visit.page, chosen.lower())


async def _is_all(page: Page, scheme: str) -> None:
    """Wait until the backgrounds of the page's parts, and the words in its editor, are made for this scheme.

    A page follows when it draws the next time, not before the change of its media returns.
    """
    script = """([names, editor, scheme]) => {
        const background = (name) => {
            for (let at = document.querySelector(name); at; at = at.parentElement) {
                const found = getComputedStyle(at).backgroundColor.match(/[\\d.]+/g).map(Number);
                if (found.length === 3 || found[3] > 0.5) return found[0] + found[1] + found[2];
            }
            return 765;
        };
        const words = document.querySelector(editor).classList.contains("vs-dark") ? "dark" : "light";
        return words === scheme && names.every((name) => (background(name) < 300 ? "dark" : "light") === scheme);
    }"""
    places = ["body", ".explorer-bar", ".outcome", ".graphiql-container", ".graphiql-editors"]
    await page.wait_for_function(script, arg=[places, EDITOR, scheme])


async def test_the_keyboard_is_enough(visit: Visit) -> None:
    """The Tab key reaches everything and gets out of every editor; to log in, run, look at the trace and close a tab
    takes no pointer."""
    reached = await _tab_through(visit.page)
    for name in ("Access token", "Log in", "Register", "Portfolio", "Execute query", "Plan and trace", "Headers"):
        assert any(each.startswith(name) for each in reached), (name, reached)
    assert reached.count("editor") == 3, reached
    await _tab_to(visit.page, "editor")
    await visit.page.keyboard.press("Enter")
    await visit.page.keyboard.press("Control+End")
    await visit.page.keyboard.type("# typed")
    assert await visit.page.evaluate(_FOCUSED) == "inside"
    await visit.page.keyboard.press("Tab")
    assert await visit.page.evaluate(_FOCUSED) != "inside"
    await expect(visit.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("# typed")
    await _tab_to(visit.page, "Log in")
    await visit.page.keyboard.press("Enter")
    await visit.page.keyboard.type("alice@example.com")
    await visit.page.keyboard.press("Tab")
    await visit.page.keyboard.type("alice-demo-password")
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator(STATE)).to_have_text("logged in as Alice")
    await _tab_to(visit.page, "Portfolio")
    await visit.page.keyboard.press("Enter")
    await _tab_to(visit.page, "Execute query")
    await visit.page.keyboard.press("Enter")
    assert (await visit.answered())["data"]["me"]["name"] == "Alice"
    await _tab_to(visit.page, "Plan and trace")
    await visit.page.keyboard.press("Enter")
    await _tab_to(visit.page, "#1 stocks")
    await visit.page.keyboard.press("Space")
    await expect(visit.page.get_by_role("region", name="Fetch")).to_contain_text("_entities")
    before = await visit.page.get_by_role("tab").count()
    await _tab_to(visit.page, "Portfolio")
    await visit.page.keyboard.press("ArrowRight")
    assert await visit.page.evaluate(_FOCUSED) == "Transactions"
    await visit.page.keyboard.press("Delete")
    await expect(visit.page.get_by_role("tab", name="Transactions")).to_have_count(0)
    assert await visit.page.evaluate(_FOCUSED) == "Portfolio"
    await expect(visit.page.get_by_role("tab")).to_have_count(before - 1)


_FOCUSED = (
    "() => { const at = document.activeElement; const label = at.labels?.[0]?.innerText;"
    " return at.matches('.monaco-editor *') ? 'inside' : at.matches('.graphiql-editor, .result-window') ? 'editor'"
    " : label || at.ariaLabel || (at.querySelector('b') ?? at).innerText?.trim() || at.tagName; }"
)


async def _tab_through(page: Page) -> list[str]:
    """What has the focus, place by place, until it leaves the page or begins again."""
    reached: list[str] = []
    for _ in range(TABS_MAX):
        await page.keyboard.press("Tab")
        name = await page.evaluate(_FOCUSED)
        if len(reached) > 2 and name == reached[0]:
            break
        reached.append(name)
    assert len(reached) < TABS_MAX, reached
    return reached


async def _tab_to(page: Page, name: str) -> None:
    """Press Tab until something of that name has the focus."""
    for _ in range(2 * TABS_MAX):
        await page.keyboard.press("Tab")
        if (await page.evaluate(_FOCUSED)).startswith(name):
            return
    raise AssertionError(name)


@pytest.mark.node
async def test_axe_finds_nothing_serious(visit: Visit, tmp_path: Path) -> None:
    """axe-core has no serious complaint of the page, large and small, light and dark, with an answer, a trace and the
    form of who registers."""
    await asyncio.to_thread(install, tmp_path, AXE, [])
    await visit.page.evaluate((tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text())
    await visit.open_tab("Portfolio")
    await visit.run()
    await visit.page.get_by_role("button", name="Plan and trace").click()
    await expect(visit.page.get_by_role("group", name="Plan")).to_be_visible()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for size, scheme in product((WIDE, NARROW), schemes):
        await visit.page.set_viewport_size(size)
        await visit.page.emulate_media(color_scheme=scheme)
        theme = re.compile(r"\bvs-dark\b" if scheme == "dark" else r"\bvs\b(?!-)")
        await expect(visit.page.locator(EDITOR)).to_have_class(theme)
        assert await _serious(visit.page) == [], (size, scheme)
        await visit.page.get_by_role("button", name="Register").click()
        await expect(visit.page.get_by_role("dialog")).to_be_visible()
        assert await _serious(visit.page) == [], (size, scheme)
        await visit.page.keyboard.press("Escape")


async def _serious(page: Page) -> list[str]:
    found = await page.evaluate("() => axe.run()")
    assert len(found["passes"]) > 10
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


async def test_first_load_is_small(browser: Browser, brokerage: Brokerage) -> None:
    """A page that nothing is kept of takes less than 2.5 MB off the network, workers and schema included."""
    async with visiting(browser, brokerage.urls["router"]) as visit:
        requests: list[Request] = []
        visit.page.on("requestfinished", lambda request: requests.append(request))  # it takes no built-in
        async with visit.page.expect_event("requestfinished", lambda request: "graphql.worker" in request.url):
            await visit.load()
        await visit.page.get_by_role("button", name="Show Documentation Explorer").click()
        await expect(visit.page.locator(".graphiql-doc-explorer")).to_contain_text("StockHolding")
        sizes = [await request.sizes() for request in requests]
    taken = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    assert 500_000 < taken < 2_500_000


@pytest.mark.parametrize(
    ("service", "route"), [("users", "/users/login"), ("wallet", "/balance"), ("stocks", "/orders")]
)
async def test_openapi_page_works_offline(browser: Browser, brokerage: Brokerage, service: str, route: str) -> None:
    """A service's OpenAPI page shows its routes and the place for the token, and asks no other host for anything."""
    page = await browser.new_page(viewport=WIDE)
    hosts, complaints = set[str](), list[str]()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda entry: complaints.append(entry.text) if entry.type == "error" else None)
    await page.goto(f"{brokerage.urls[service]}/docs/{service}")
    await expect(page.locator(".opblock-summary-path").filter(has_text=route).first).to_be_visible()
    await expect(page.get_by_role("button", name="Authorize")).to_be_visible()
    assert hosts - {""} == {urlsplit(brokerage.urls[service]).netloc}
    assert complaints == []
