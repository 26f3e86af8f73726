"""How this service's routes write the documents they answer with."""

from typing import TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from subgraphs.shared.app import add_next_link
from subgraphs.stocks.documents import Document

BodyT = TypeVar("BodyT", bound=BaseModel)


def json_response(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response of a document that `documents` built."""
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def page_response(request: Request, items: list[Document], next_cursor: str | None) -> Response:
    """A page of a list, with its Link header."""
    response = json_response({"items": items, "nextCursor": next_cursor})
    add_next_link(request, response, next_cursor)
    return response
