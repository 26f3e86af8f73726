"""Which routes an application has, for walks that leave none out: those that no document names as well."""

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

PAGES = frozenset(
    {"/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/error-codes"}
)
"""What explains the service to anybody, and knows no callers."""


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of each route; HEAD goes with GET."""
    return {
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in PAGES
    }
