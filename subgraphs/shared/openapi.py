"""What a service's OpenAPI document says beyond what FastAPI reads off the routes.

Made of the document itself, by rules that every service keeps: a route with an `Idempotency-Key` returns it, a list has
a `Link`, a refusal with 429 or 503 says `Retry-After`. So a new route is described like the others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

OK, CREATED, ACCEPTED, NO_CONTENT = "200", "201", "202", "204"
CONDITIONAL = "304"
_COMPONENTS = "#/components"


def _text(description: str, **more: object) -> Json:
    """A header that is text."""
    return {"description": description, "schema": {"type": "string", **more}}


HEADERS: Mapping[str, Json] = {
    "X-Request-Id": _text(
        "The id that the request is logged under: the client's own, if it sent one.", pattern="^[A-Za-z0-9._:-]{1,128}$"
    ),
    "WWW-Authenticate": _text("How to authenticate (RFC 6750)."),
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "Idempotency-Key": _text("The key that the answer is stored under: the client's, or the one made for it."),
    "Idempotent-Replayed": _text("The answer is that of an earlier request with the key.", const="true"),
    "Location": _text("Where the object is.", format="uri-reference"),
    "Link": _text('The next page, as `<...>; rel="next"` (RFC 8288); absent on the last one.'),
    "ETag": _text("The version of the answer, for If-None-Match and If-Match.", pattern='^(W/)?"[^"]*"$'),
    "Cache-Control": _text("Who may keep the answer, and for how long."),
    "Content-Disposition": _text("The name to save a table by."),
    "Vary": _text("The request headers that the answer depends on."),
}
"""Every header that an answer of a documented route may have for its client to read."""
ALWAYS = frozenset({"X-Request-Id", "WWW-Authenticate", "Retry-After", "Location", "ETag"})
"""Headers that an answer always has, if it ever has them; but see `_header_names`."""


IF_NONE_MATCH: Mapping[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of answers that the client has; 304 if this would be one of them.",
    "schema": {"type": "string"},
}
"""Of every route that reads."""
PROBES = "Health"
"""The tag of routes that say how the service is, and no client keeps."""


def finish_document(document: Json, problem: Json) -> Json:
    """Adds to a document what FastAPI leaves out: the problem's schema, response headers, plain parameters.

    Args:
        problem: the JSON schema of the service's problem document, with its `$defs`.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    nested = problem.pop("$defs", {})
    problem["properties"] = {name: _without_null(schema) for name, schema in problem["properties"].items()}
    schemas.update({"Problem": problem, **nested})
    headers = {name: {**header, "required": True} if name in ALWAYS else header for name, header in HEADERS.items()}
    document["components"]["headers"] = headers
    for method, operation in _operations(document):
        _hoist_body(operation, schemas)
        if method == "get" and PROBES not in operation["tags"]:
            operation.setdefault("parameters", []).append(dict(IF_NONE_MATCH))
            operation["responses"][CONDITIONAL] = {"description": "The client has this answer: it is as it was."}
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
        for status, response in operation["responses"].items():
            names = _header_names(operation, status, response)
            response["headers"] = {name: {"$ref": f"{_COMPONENTS}/headers/{name}"} for name in names}
    _add_links(document["paths"])
    _leave_out_titles(schemas)
    _leave_out_titles(document["paths"])
    return document


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for methods in document["paths"].values():
        yield from methods.items()


def _header_names(operation: Json, status: str, response: Json) -> list[str]:
    """The headers of one of an operation's answers."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    names = ["X-Request-Id"]
    if status == "401":
        names.append("WWW-Authenticate")
    if status in ("429", "503"):
        names.append("Retry-After")
    if "Idempotency-Key" in parameters and (status in (CREATED, ACCEPTED) or int(status) in (404, 409, 422)):
        names += ["Idempotency-Key", "Idempotent-Replayed"]
    if status in (CREATED, ACCEPTED):
        names.append("Location")
    if "after" in parameters and status == OK:
        names.append("Link")
    if status in (OK, CONDITIONAL) and parameters & {"If-Match", "If-None-Match"}:
        names.append("ETag")
    if status in (OK, CONDITIONAL) and "If-None-Match" in parameters:
        names.append("Cache-Control")
    if "text/csv" in response.get("content", ()):
        names += ["Content-Disposition", "Vary"]
    return names


def _add_links(paths: Json) -> None:
    """Says where what a route creates or lists is found by its id: `POST /orders` leads to `GET /orders/{orderId}`."""
    for path, methods in paths.items():
        parent, _, last = path.rpartition("/")
        if not last.startswith("{") or parent not in paths:
            continue
        for method, status, place in (("post", CREATED, "/id"), ("get", OK, "/items/0/id")):
            response = paths[parent].get(method, {"responses": {}})["responses"].get(status)
            if response is not None:
                parameters = {last.strip("{}"): f"$response.body#{place}"}
                names = [operation["operationId"] for operation in methods.values()]
                response["links"] = {name: {"operationId": name, "parameters": parameters} for name in names}


def _hoist_body(operation: Json, schemas: Json) -> None:
    """Moves a body's schema that stands in the operation to the others, where generated code finds its name."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "properties" in schema and "title" in schema:
            schemas[schema["title"]] = schema
            content["schema"] = {"$ref": f"{_COMPONENTS}/schemas/{schema['title']}"}


def _without_null(schema: Json) -> Json:
    """The schema of a parameter: one that is absent is not null, which no URL and no header can say."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    outside = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return {**options[0], **outside}


def _leave_out_titles(value: Any) -> None:
    """Takes the titles away that Pydantic makes of names: "Stockid" says no more than `stockId`."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            del value["title"]
        for name, inside in value.items():
            if name not in ("default", "example", "examples"):
                _leave_out_titles(inside)
    elif isinstance(value, list):
        for inside in value:
            _leave_out_titles(inside)
