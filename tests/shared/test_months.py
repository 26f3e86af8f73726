"""Months of statements: what is one, and where it begins and ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraphs.shared.errors import Refusal
from subgraphs.shared.months import month_id, month_of_id, parse_month


@given(st.integers(0, parse_month("9998-11").end - 1))
def test_every_moment_is_in_its_month(milliseconds: int) -> None:
    """A month has all its moments and none of the next one, which begins where it ends."""
    month = parse_month(f"{datetime.fromtimestamp(milliseconds / 1_000, UTC):%Y-%m}")
    assert month.start <= milliseconds < month.end
    following = datetime.fromtimestamp(month.end / 1_000, UTC)
    assert (following.day, following.hour, following.minute) == (1, 0, 0)
    assert parse_month(f"{following:%Y-%m}").start == month.end
    assert month_of_id(month_id("someone", month)) == ("someone", month)


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-0", "2026-00", "2026-13", "2026-1", "26-01", "2026-01-01", "1969-12", "9999-12", " 2026-01",
     "2026-01\n", "٢٠٢٦-٠١", "2026/01", "0000-01", "-026-01"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """What is no month is refused by the name of its field."""
    with pytest.raises(Refusal) as refused:
        parse_month(text)
    assert [each.field for each in refused.value.fields] == ["month"]
