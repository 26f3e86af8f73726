"""Cursors: each list reads its own, and no forged one reaches a database."""

import base64

import orjson
import pytest

from subgraphs.shared.errors import Refusal
from subgraphs.shared.pagination import CURSOR_INTEGER_MAX, decode_cursor, encode_cursor, page_limit, page_of


def forged(key: object) -> str:
    """A cursor of anybody's making."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


@pytest.mark.parametrize("key", [(0, "a"), (CURSOR_INTEGER_MAX, "\u00fc"), (7, "")])
def test_a_cursor_is_read_as_it_was_written(key: tuple[int, str]) -> None:
    """The list that issued a cursor gets its key back."""
    assert decode_cursor(encode_cursor("orders", *key), "orders", int, str) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "\u00fc",
        "x" * 513,
        encode_cursor("users", 1, "a"),
        encode_cursor("orders", 1),
        encode_cursor("orders", "a", 1),
        forged({"orders": 1}),
        forged([]),
        forged([1, "a"]),
        forged([["orders"], 1, "a"]),
        forged(["orders", True, "a"]),
        forged(["orders", None, "a"]),
        forged(["orders", 1.0, "a"]),
        forged(["orders", -1, "a"]),
        forged(["orders", 2**63, "a"]),
        forged(["orders", 2**64 - 1, "a"]),
        forged(["orders", 1, "a\0b"]),
    ],
)
def test_any_other_cursor_is_refused(text: str) -> None:
    """Another list's, a damaged one, and what no column can be compared with are one refusal."""
    with pytest.raises(Refusal) as refused:
        decode_cursor(text, "orders", int, str)
    assert refused.value.code.code == "invalid-cursor"


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    """A page has 1 to 100 items; the refusal names the parameter."""
    with pytest.raises(Refusal) as refused:
        page_limit(limit)
    assert [error.field for error in refused.value.fields] == ["limit"]


def test_the_item_too_many_says_that_there_is_a_next_page() -> None:
    """Without it the page is the last one and has no cursor to go on from."""
    assert page_of("abc", ["1", "2", "3"], 2).next_cursor == "2"
    assert page_of("ab", ["1", "2"], 2).next_cursor is None
