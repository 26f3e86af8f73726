"""The catalogues of codes: one code means one thing in every service, and says what to do."""

from collections import defaultdict
from types import ModuleType

import pytest

from subgraphs.shared import errors
from subgraphs.shared.errors import ErrorCode, Refusal
from subgraphs.stocks import rules as stocks_rules
from subgraphs.users import rules as users_rules
from subgraphs.users import rules_authorizations
from subgraphs.wallet import rules as wallet_rules

CATALOGUES = (errors, stocks_rules, users_rules, rules_authorizations, wallet_rules)


def codes_of(module: ModuleType) -> list[ErrorCode]:
    """The codes that a module defines."""
    return [value for value in vars(module).values() if isinstance(value, ErrorCode)]


EVERY = [code for module in CATALOGUES for code in codes_of(module)]


def test_a_code_means_the_same_in_every_service() -> None:
    """One status and one title, wherever it stands; only the remedy may know who is asked."""
    meanings = defaultdict(set)
    for code in EVERY:
        meanings[code.code].add((code.status, code.title))
    assert {code: found for code, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize("code", EVERY, ids=lambda code: str(code.code))
def test_a_code_says_what_is_wrong_and_what_to_do(code: ErrorCode) -> None:
    """The title is a phrase, the remedy a sentence, and a refusal without more words says both."""
    assert code.title[0].isupper()
    assert not code.title.endswith(".")
    assert code.remedy[0].isupper()
    assert code.remedy.endswith(".")
    assert Refusal(code).detail == f"{code.title}. {code.remedy}"
    assert 400 <= code.status < 600
