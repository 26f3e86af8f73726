"""Times on the wire: RFC 3339 with an offset, within what can be written again."""

import pytest

from subgraphs.shared.errors import Refusal
from subgraphs.shared.timestamps import TIMESTAMP_MS_MAX, format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("2023-11-14T23:13:20.123999+01:00", 1_700_000_000_123),
        ("9999-12-31T23:59:59.999Z", TIMESTAMP_MS_MAX),
        ("1970-01-01t00:00:00.0000001z", 0),
    ],
)
def test_a_time_is_read_to_the_millisecond(text: str, milliseconds: int) -> None:
    """Any offset is understood; what is written is UTC and is read as the same time."""
    assert parse_timestamp(text, field="at") == milliseconds
    assert parse_timestamp(format_timestamp(milliseconds), field="at") == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-13-31T09:30:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-00:01",
        "20260131T093000Z",
        "2026-01-31 09:30:00Z",
        "2026-W05-6T09:30:00Z",
        "2026-01-31T09:30Z",
        "2026-01-31T09:30:00,5Z",
        "10000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_or_could_not_be_written_is_refused(text: str) -> None:
    """The refusal names the member; no text is a fault of ours."""
    with pytest.raises(Refusal) as refused:
        parse_timestamp(text, field="startsAt")
    assert refused.value.code.code == "invalid-request"
    assert [error.field for error in refused.value.fields] == ["startsAt"]
