"""A service's OpenAPI page: Swagger UI from files in this package, so that it works offline and asks no other host."""

import json
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FILES = Path(__file__).parent / "docs_files"
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{path}/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="{path}/swagger-ui-bundle.js"></script>
<script src="{path}/start.js"></script>
</body>
</html>
"""


def add_docs_page(app: FastAPI, path: str) -> None:
    """Serves the page at `path` and its files below it; it shows the application's own OpenAPI document."""
    start = {"url": app.openapi_url, "dom_id": "#page", "deepLinking": True, "validatorUrl": None}
    texts = {
        path: (_PAGE.format(title=app.title, path=path), "text/html"),
        f"{path}/start.js": (f"SwaggerUIBundle({json.dumps(start)});\n", "text/javascript"),
    }

    async def send_text(request: Request) -> Response:
        text, media_type = texts[request.url.path]
        return Response(text, media_type=media_type, headers=_HEADERS)

    async def send_asset(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        return FileResponse(FILES / name, media_type=ASSETS[name], headers=_HEADERS)

    app.router.routes += [Route(place, send_text, include_in_schema=False) for place in texts]
    app.router.routes += [Route(f"{path}/{name}", send_asset, include_in_schema=False) for name in ASSETS]
