"""What routes of every service share: parameters of lists and updates, refusing unknown ones, plain JSON responses."""

from collections.abc import Callable, Container, Coroutine, Iterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from subgraphs.shared.app import add_next_link, current_caller, operation_id
from subgraphs.shared.auth import TokenVerifier
from subgraphs.shared.errors import INVALID_REQUEST, UNAUTHENTICATED, FieldError, Refusal
from subgraphs.shared.etags import format_etag, is_known
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.pagination import CURSOR_CHARACTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX

# What is documented here and not enforced by the model is enforced, in better words, where the value is read.
After = Annotated[
    str | None,
    Query(
        description="The `nextCursor` of the page before.",
        json_schema_extra={"maxLength": CURSOR_CHARACTERS_MAX, "pattern": "^[A-Za-z0-9_-]+$"},
    ),
]
Limit = Annotated[
    int | None,
    Query(
        description=f"Items per page: 1 to {LIMIT_MAX}, {LIMIT_DEFAULT} if absent.",
        json_schema_extra={"minimum": 1, "maximum": LIMIT_MAX},
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag that was read; a newer version answers 412.",
        json_schema_extra={"pattern": r'^(\*|"[^",]*")$'},
    ),
]
HTTP_OK, HTTP_NOT_MODIFIED = 200, 304
ID_SCHEMA: dict[str, object] = {"format": "uuid", "pattern": f"^{ID_PATTERN}$"}
"""Of an id in a path. One that is none answers 404 as any other that does not exist."""


def json_response(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response of a document of plain values."""
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def page_response(request: Request, items: list[dict[str, object]], next_cursor: str | None) -> Response:
    """A page of a list of such documents, with its Link header."""
    response = json_response({"items": items, "nextCursor": next_cursor})
    add_next_link(request, response, next_cursor)
    return response


def _conditional(request: Request, response: Response) -> Response:
    """The answer with its ETag, or 304 without the answer if the client has it already (RFC 9110, 13.1.2)."""
    headers = response.headers
    headers.setdefault("ETag", format_etag(text=bytes(response.body)))
    signed_in = "authorization" in request.headers
    headers.setdefault("Cache-Control", "private, no-cache" if signed_in else "no-cache")
    if not is_known(headers["ETag"], ",".join(request.headers.getlist("if-none-match")) or None):
        return response
    kept = {name: headers[name] for name in ("ETag", "Cache-Control", "Vary") if name in headers}
    return Response(status_code=HTTP_NOT_MODIFIED, headers=kept)


class _StrictRequest(Request):
    """A request whose body is the JSON of RFC 8259: no NaN, and no half of a surrogate pair, which no store takes."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class ServiceRoute(APIRoute):
    """The `route_class` of a service's routers: strict JSON, each query parameter once and no other, ETags to read by.

    A mistyped filter would show everything, of two values one would be lost. Who may not call the route at all is told
    that first.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request that matches."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response = await answer(_StrictRequest(request.scope, request.receive))
            reads = request.method == "GET" and response.status_code == HTTP_OK
            return _conditional(request, response) if reads and hasattr(response, "body") else response

        return handler

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the route is the request's; a path that another route spells out is no value of a parameter."""
        match, inside = super().matches(scope)
        if match is not Match.NONE and self.param_convertors and scope["path"] in _literal_paths(scope):
            return Match.NONE, {}
        return match, inside

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; raises Refusal `invalid-request` naming every query parameter at fault."""
        if scope["query_string"] and scope["method"] in (self.methods or ()):
            request = Request(scope)
            dependants = list(_with_dependencies(self.dependant))
            known = sorted({field.alias for each in dependants for field in each.query_params})
            errors = _parameter_errors(request.query_params, known)
            if errors:
                if any(each.call is current_caller for each in dependants):
                    await _require_token(request)
                raise Refusal(INVALID_REQUEST, fields=errors)
        await super().handle(scope, receive, send)


class ServiceRouter(APIRouter):
    """Routes of a service: each is a ServiceRoute, and named as generated clients call it.

    `join` takes the routes of others as its own. A router included in a router would be asked twice, at each level,
    whether it has the request's route: a tenth of all that an order cost.

    Args:
        tag: the heading of its routes in the documentation.
        documented: False keeps them out of it.
    """

    def __init__(self, tag: str | None = None, *, prefix: str = "", documented: bool = True) -> None:
        super().__init__(
            prefix=prefix,
            tags=[] if tag is None else [tag],
            route_class=ServiceRoute,
            generate_unique_id_function=operation_id,
            include_in_schema=documented,
        )

    def join(self, *others: "ServiceRouter") -> "ServiceRouter":
        """Takes the routes of the others, in their order; returns itself."""
        for other in others:
            self.routes.extend(other.routes)
        return self


def _literal_paths(scope: Scope) -> Container[str]:
    """The paths without parameters of a service's application."""
    paths: Container[str] = getattr(scope.get("app"), "literal_paths", ())
    return paths


def _with_dependencies(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _with_dependencies(dependency)


async def _require_token(request: Request) -> None:
    verifier: TokenVerifier = request.app.state.verifier
    caller = await verifier.caller(request.headers.get("authorization"))
    if caller.kind == "anonymous":
        raise Refusal(UNAUTHENTICATED)


def _parameter_errors(given: QueryParams, known: list[str]) -> list[FieldError]:
    here = f"The query parameters here are {', '.join(known)}." if known else "There are no query parameters here."
    errors = [FieldError(name, here) for name in sorted(given.keys() - set(known))]
    repeated = [name for name in known if len(given.getlist(name)) > 1]
    return errors + [FieldError(name, "Give this parameter once.") for name in repeated]
