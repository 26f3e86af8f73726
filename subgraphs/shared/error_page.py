"""The page that the `type` of a problem leads to: every code that a service answers with, each at its own anchor."""

import html
from collections.abc import Iterable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from subgraphs.shared.errors import ErrorCode
from subgraphs.shared.statuses import status_of

ERROR_PAGE_PATH = "/error-codes"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Error codes of {title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
td {{ padding: 0.3em 1em; }}
tr:target {{ background: #ffd; }}
</style>
</head>
<body>
<h1>Error codes of {title}</h1>
<table>
<tr><th>code</th><th>status</th><th>what is wrong</th><th>what to do</th></tr>
{rows}
</table>
</body>
</html>
"""


def problem_type(base: str, code: ErrorCode) -> str:
    """The URI of a code on the page at `base`."""
    return f"{base}#{code.code}"


def add_error_page(app: FastAPI, path: str, codes: Iterable[ErrorCode]) -> None:
    """Serves the page of these codes at `path`; the service's own words for a code go before the shared ones."""
    by_code: dict[str, ErrorCode] = {}
    for code in codes:
        by_code.setdefault(code.code, code)
    page = _PAGE.format(title=html.escape(app.title), rows="\n".join(_row(code) for code in by_code.values()))

    async def send_page(_request: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    app.router.routes.append(Route(path, send_page, include_in_schema=False))


def _row(code: ErrorCode) -> str:
    words = (f"<code>{code.code}</code>", str(status_of(code)), html.escape(code.title), html.escape(code.remedy))
    cells = "".join(f"<td>{each}</td>" for each in words)
    return f'<tr id="{code.code}">{cells}</tr>'
