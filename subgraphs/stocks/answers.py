"""How this service's routes read a body that depends on the caller, and write the documents they answer with."""

from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from subgraphs.shared.app import add_next_link
from subgraphs.shared.errors import (
    EXPIRED_TOKEN,
    FORBIDDEN,
    INVALID_TOKEN,
    MALFORMED_REQUEST,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ErrorCode,
    Refusal,
)
from subgraphs.shared.pagination import LIMIT_MAX
from subgraphs.stocks.documents import Document

BodyT = TypeVar("BodyT", bound=BaseModel)

IDENTITY_CODES: tuple[ErrorCode, ...] = (UNAUTHENTICATED, INVALID_TOKEN, EXPIRED_TOKEN, FORBIDDEN, UNAVAILABLE)

After = Annotated[str | None, Query(description="`nextCursor` of the page before.")]
Limit = Annotated[int | None, Query(description=f"1 to {LIMIT_MAX}.")]


def json_response(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response of a document that `documents` built."""
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def page_response(request: Request, items: list[Document], next_cursor: str | None) -> Response:
    """A page of a list, with its Link header."""
    response = json_response({"items": items, "nextCursor": next_cursor})
    add_next_link(request, response, next_cursor)
    return response


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body that a route reads by itself."""
    schema = model.model_json_schema(by_alias=True)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_body(request: Request, model: type[BodyT], *, system_member: str | None = None) -> BodyT:
    """Reads a JSON body after the caller was checked, where FastAPI would validate it before.

    Raises:
        Refusal: the body is no JSON object; or it holds `system_member`, which only services send.
        RequestValidationError: it does not fit `model`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json.")
    raw = await request.body()
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(MALFORMED_REQUEST, "The body is not JSON.") from error
    if system_member is not None and isinstance(document, dict) and system_member in document:
        raise Refusal(FORBIDDEN, "This is a system operation; this caller may not use it.")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False), body=document) from error
