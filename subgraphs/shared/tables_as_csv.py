"""Answers that are tables, as CSV where the client asks for it instead of JSON."""

import csv
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from subgraphs.shared.months import MONTH_PATTERN

CSV_TYPE = "text/csv"
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The month; as a table where `Accept` asks for `text/csv`.",
        "content": {CSV_TYPE: {"schema": {"type": "string"}}},
    }
}
"""What OpenAPI says of a route that has both forms."""

MonthText = Annotated[
    str, Query(description="A month of UTC, as `2026-01`.", examples=["2026-01"], pattern=MONTH_PATTERN)
]
"""The `month` of such an answer."""


def wants_csv(request: Request) -> bool:
    """Whether the Accept header names CSV, and no JSON before it."""
    accepted = [each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")]
    return next((each for each in accepted if each in (CSV_TYPE, "application/json", "*/*")), "") == CSV_TYPE


def csv_response(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A table as RFC 4180 writes it, to be saved as `name`; None is an empty field."""
    text = _Text()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"}
    return Response("".join(text.lines), headers=headers, media_type=f"{CSV_TYPE}; charset=utf-8; header=present")


class _Text:
    """What a CSV writer writes to."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)
