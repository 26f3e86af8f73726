"""The catalogues of codes: one code means one thing in every service, and says what to do."""

from collections import defaultdict
from pathlib import Path

import pytest

from brokerage.error_codes import CATALOGUES, codes_of, error_page
from subgraphs.shared.errors import COMMON_CODES, ErrorCode, Refusal
from subgraphs.shared.statuses import status_of
from subgraphs.stocks.rules import ERROR_CODES
from subgraphs.wallet.rules import WALLET_CODES

EVERY = [code for _, modules in CATALOGUES for code in codes_of(modules)]
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
