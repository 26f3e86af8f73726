"""The catalogues of codes: one code means one thing in every service, and says what to do."""

import re
from collections import defaultdict
from pathlib import Path

import httpx
import orjson
import pytest
from pydantic import SecretStr, ValidationError

from brokerage.error_codes import CATALOGUES, codes_of, error_page
from brokerage.services import Edge
from subgraphs.shared.errors import COMMON_CODES, TOO_MANY_REQUESTS, UNAVAILABLE, ErrorCode, Refusal
from subgraphs.shared.problems import problem_response
from subgraphs.shared.statuses import status_of
from subgraphs.stocks.rules import ERROR_CODES
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.rules import WALLET_CODES
from subgraphs.wallet.settings import Settings as WalletSettings
from tests.shared.test_routing import SERVICES, application
from trifolio.errors import ErrorCode as RouterCode
from trifolio.errors import RequestError

EVERY = [code for _, modules in CATALOGUES for code in codes_of(modules)]
PRIVATE = {"users": "/users", "wallet": "/balance", "stocks": "/orders"}
"""A route of each that wants a token."""
PAGE = Path(__file__).parents[2] / "docs" / "error-codes.md"


def test_the_page_of_codes_is_current() -> None:
    """docs/error-codes.md is what the catalogues say; after a change: make docs."""
    assert PAGE.read_text(encoding="utf-8") == error_page()
    assert {*COMMON_CODES, *ERROR_CODES, *WALLET_CODES} <= set(EVERY)


def test_a_code_means_the_same_in_every_service() -> None:
    """One status and one title, wherever it stands; only the remedy may know who is asked."""
    meanings = defaultdict(set)
    for code in EVERY:
        meanings[code.code].add((status_of(code), code.title))
    assert {code: found for code, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize("code", EVERY, ids=lambda code: str(code.code))
def test_a_code_says_what_is_wrong_and_what_to_do(code: ErrorCode) -> None:
    """The title is a phrase, the remedy a sentence, and a refusal without more words says both."""
    assert code.title[0].isupper()
    assert not code.title.endswith(".")
    assert code.remedy[0].isupper()
    assert code.remedy.endswith(".")
    assert Refusal(code).detail == f"{code.title}. {code.remedy}"
    assert 400 <= status_of(code) < 600


def test_every_code_has_its_place_on_the_page() -> None:
    """The page that problems of a published API lead to has each code's anchor, once."""
    anchors = re.findall('<a id="([^"]+)"></a>', PAGE.read_text(encoding="utf-8"))
    assert sorted(anchors) == sorted({code.code for code in EVERY})


@pytest.mark.parametrize("service", SERVICES)
async def test_a_problem_leads_to_its_explanation(tmp_path: Path, service: str) -> None:
    """The type of a refusal is a URI; what is there explains that code, and every other that the service documents."""
    app = application(service, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for path, code in (("/nothing", "not-found"), (PRIVATE[service], "unauthenticated")):
            refused = await http.get(path)
            target = refused.url.join(refused.json()["type"])
            assert (refused.json()["code"], target.fragment) == (code, code)
            page = await http.get(target)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert f'<tr id="{code}">' in page.text
        anchors = set(re.findall('<tr id="([^"]+)">', page.text))
    documented = re.findall(r"'type': '/error-codes#([a-z-]+)'", str(app.openapi()))
    assert documented
    assert set(documented) <= anchors


async def test_explanations_may_be_published_elsewhere(tmp_path: Path) -> None:
    """A setting names where the tables are; every problem leads there, those too that no route has answered."""
    url = "https://docs.example.com/error-codes"
    settings = WalletSettings(mode="development", database_url=SecretStr("sqlite:///none.db"), problem_types_url=url)
    app = create_wallet(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://wallet") as http:
        assert (await http.get("/nothing")).json()["type"] == f"{url}#not-found"
    _, _, body = Edge(app).refuse(RequestError(RouterCode.HEADERS_TOO_LARGE), None)
    assert orjson.loads(body)["type"] == f"{url}#headers-too-large"


@pytest.mark.parametrize("url", ["", "docs/error-codes.md", "https://docs.example.com/a#b", "javascript:alert(1)"])
def test_where_explanations_are_is_a_web_page(url: str) -> None:
    """What a fragment cannot be added to, or no browser opens, is refused at the start."""
    with pytest.raises(ValidationError):
        WalletSettings(mode="development", database_url=SecretStr("sqlite:///none.db"), problem_types_url=url)


@pytest.mark.parametrize("code", [TOO_MANY_REQUESTS, UNAVAILABLE], ids=lambda code: str(code.code))
def test_what_passes_by_itself_says_when_to_come_back(code: ErrorCode) -> None:
    """429 and 503 have Retry-After, whoever refuses, and what the refusal knows goes before."""
    assert problem_response(Refusal(code), "id").headers["retry-after"] == "1"
    assert problem_response(Refusal(code, retry_after_s=60), "id").headers["retry-after"] == "60"
