"""REST errors as problem documents (RFC 9457), when they happen and in OpenAPI."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from subgraphs.shared.bodies import ResponseBody
from subgraphs.shared.error_page import ERROR_PAGE_PATH, problem_type
from subgraphs.shared.errors import (
    BODY_TOO_LARGE,
    COMMON_CODES,
    EXPIRED_TOKEN,
    FORBIDDEN,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    INVALID_TOKEN,
    MALFORMED_REQUEST,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ErrorCode,
    FieldError,
    Refusal,
)
from subgraphs.shared.ids import ID_PATTERN, NO_ID
from subgraphs.shared.statuses import status_of
from subgraphs.shared.texts import text_refusal

LOGGER = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""Where nobody knows how long it will take."""
SIGNED_IN: tuple[ErrorCode, ...] = (UNAUTHENTICATED, INVALID_TOKEN, EXPIRED_TOKEN, FORBIDDEN)
"""What any route can answer that wants to know who calls."""
_OF_BODIES: tuple[ErrorCode, ...] = (MALFORMED_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_NO_OBJECT = ("model_type", "model_attributes_type", "dict_type")
_MESSAGES: Mapping[str, str] = {
    "extra_forbidden": "There is no such member. Leave it out.",
    "missing": "This is required.",
}
_BY_STATUS: Mapping[int, ErrorCode] = {status_of(code): code for code in reversed(COMMON_CODES)}


class ProblemField(ResponseBody):
    """What is wrong with one member of the request."""

    field: str = Field(examples=["amount"])
    message: str = Field(examples=["At most 2 decimals are allowed here."])


class Problem(ResponseBody):
    """An RFC 9457 problem document."""

    type: str = Field(
        examples=["/error-codes#not-found"],
        description="Where the code is explained, relative to this answer.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(examples=["There is no such object"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["not-found"], description="Stable: programs decide by this.")
    detail: str = Field(description="What is wrong, and what to do about it.")
    errors: list[ProblemField] = Field(description="The members of the request at fault, if any are.")
    request_id: str = Field(description="Tell it to whoever runs the service.")


def problem_responses(*codes: ErrorCode, reads_body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route, from the codes it can answer with.

    What any route can answer (422, 500, 503) is added, and what any one that reads a body can (400, 413, 415).
    """
    every = (*codes, *(_OF_BODIES if reads_body else ()), INVALID_REQUEST, INTERNAL_ERROR, UNAVAILABLE)
    by_status: dict[int, dict[str, ErrorCode]] = {}
    for code in every:
        by_status.setdefault(status_of(code), {})[code.code] = code
    return {status: _response(list(found.values())) for status, found in sorted(by_status.items())}


def problem_for(request: Request, refusal: Refusal) -> Response:
    """The HTTP response of a refusal to a request."""
    return problem_response(refusal, request_id_of(request), request.app.state.problem_types)


def problem_response(refusal: Refusal, request_id: str, types: str = ERROR_PAGE_PATH) -> Response:
    """The HTTP response of a refusal, where there is no request of the application; `types` explains codes."""
    headers = {}
    status, retry_after_s = status_of(refusal.code), refusal.retry_after_s
    if status in (429, 503) and retry_after_s is None:
        retry_after_s = RETRY_AFTER_S
    if status == 401:
        bad = refusal.code in (INVALID_TOKEN, EXPIRED_TOKEN)
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if bad else "Bearer"
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if refusal.key is not None:
        headers["Idempotency-Key"] = refusal.key
    if refusal.replayed:
        headers["Idempotent-Replayed"] = "true"
    body = {
        "type": problem_type(types, refusal.code),
        "title": refusal.code.title,
        "status": status,
        "code": refusal.code.code,
        "detail": refusal.detail,
        "errors": [{"field": error.field, "message": error.message} for error in refusal.fields],
        "requestId": request_id,
        **refusal.extra,
    }
    return Response(orjson.dumps(body), status, headers, media_type=PROBLEM_MEDIA_TYPE)


def problem_of_status(status: int, request_id: str, types: str = ERROR_PAGE_PATH) -> Response:
    """The HTTP response to what was refused before a route had a say in it."""
    fallback = UNAVAILABLE if status >= 500 else MALFORMED_REQUEST
    return problem_response(Refusal(_BY_STATUS.get(status, fallback)), request_id, types)


def install_problem_handlers(app: FastAPI) -> None:
    """Makes the application answer every refusal, validation failure and routing failure with a problem document."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DBAPIError, _on_database_error)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem_for(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_for(request, _validation_refusal(error, request))


async def _on_database_error(request: Request, error: Exception) -> Response:
    refusal = text_refusal(error)
    if refusal is None:
        raise error
    return problem_for(request, refusal)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {}
    if error.headers and "Allow" in error.headers:
        headers["Allow"] = _allowed_methods(request, error.headers["Allow"])
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    response = problem_of_status(error.status_code, request_id_of(request), request.app.state.problem_types)
    response.headers.update(headers)
    return response


def _allowed_methods(request: Request, of_one_route: str) -> str:
    """The methods of all routes of the request's path, where the framework names those of one route alone."""
    path = getattr(request.scope.get("route"), "path_format", "")
    methods = {method.upper() for method in request.app.openapi()["paths"].get(path, ())}
    methods = methods or {method.strip() for method in of_one_route.split(",")}
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def request_id_of(request: Request) -> str:
    """The id under which this request is logged."""
    return str(getattr(request.state, "request_id", ""))


def _validation_refusal(error: RequestValidationError, request: Request) -> Refusal:
    """Malformed JSON is 400, a body that is not declared as JSON 415, anything else 422 with the members at fault."""
    details = error.errors()
    if any(detail["type"] == "json_invalid" or _says_no_body(detail) for detail in details):
        return Refusal(MALFORMED_REQUEST, "The body is not JSON. Send a JSON object.")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if isinstance(error.body, bytes) and error.body and not content_type.endswith("json"):
        return Refusal(UNSUPPORTED_MEDIA_TYPE)
    fields = tuple(FieldError(_field_path(detail["loc"]), _message(detail)) for detail in details)
    return Refusal(INVALID_REQUEST, fields=fields)


def _says_no_body(detail: Mapping[str, Any]) -> bool:
    return (detail["type"], detail["loc"]) == ("missing", ("body",))


def _message(detail: Mapping[str, Any]) -> str:
    """What to do about one member: Pydantic's words, where it has any that a client can use."""
    if detail["type"] in _NO_OBJECT:
        return "Send a JSON object."
    if detail.get("ctx", {}).get("pattern") == f"^{ID_PATTERN}$":
        return NO_ID
    return _MESSAGES.get(detail["type"], str(detail["msg"]))


def _field_path(location: tuple[int | str, ...]) -> str:
    inside = location[1:] if location and location[0] in ("body", "query", "path", "header") else location
    return ".".join(str(part) for part in inside)


def _response(codes: list[ErrorCode]) -> dict[str, Any]:
    examples = {
        code.code: {
            "value": {
                "type": problem_type(ERROR_PAGE_PATH, code),
                "title": code.title,
                "status": status_of(code),
                "code": code.code,
                "detail": code.detail,
                "errors": [],
                "requestId": "0123456789abcdef0123456789abcdef",
            }
        }
        for code in codes
    }
    return {
        "description": "; ".join(f"`{code.code}`: {code.title}" for code in codes),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": _SCHEMA, "examples": examples}},
    }
