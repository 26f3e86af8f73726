"""The JSON objects of the REST faces: camelCase names, exact types, nothing unknown."""

from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from subgraphs.shared.errors import FORBIDDEN, MALFORMED_REQUEST, UNSUPPORTED_MEDIA_TYPE, Refusal
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.money import AMOUNT_PATTERN, CURRENCIES, QUANTITY_PATTERN


class RequestBody(BaseModel):
    """A JSON body that a client sends. Types are not converted (`"1"` is no number) and unknown members are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class ResponseBody(BaseModel):
    """A JSON body that a service answers with, built by its Python names."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True)


Item = TypeVar("Item")
BodyT = TypeVar("BodyT", bound=BaseModel)


class PageBody(ResponseBody, Generic[Item]):
    """A page of a list. The next one is asked with `?after=<nextCursor>`, or by the Link header."""

    items: list[Item]
    next_cursor: str | None = Field(description="null on the last page.")


# What is documented here and not enforced by the model is enforced, in better words, where the value is read.
DecimalText = Annotated[
    str,
    Field(
        examples=["12.50"],
        description="A decimal number, written as a string.",
        json_schema_extra={"pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"},
    ),
]
AmountText = Annotated[
    str,
    Field(
        examples=["12.50"],
        description="An amount above zero as a string, with no more decimals than the currency has.",
        json_schema_extra={"pattern": AMOUNT_PATTERN},
    ),
]
QuantityText = Annotated[
    str,
    Field(
        examples=["1.5"],
        description="A quantity above zero as a string, with up to 6 decimals.",
        json_schema_extra={"pattern": QUANTITY_PATTERN},
    ),
]
CurrencyText = Annotated[
    str, Field(examples=["EUR"], description="ISO 4217.", json_schema_extra={"enum": sorted(CURRENCIES)})
]
TimestampText = Annotated[
    str,
    Field(
        examples=["2026-01-31T09:30:00.000Z"],
        description="RFC 3339, UTC, milliseconds.",
        json_schema_extra={"format": "date-time"},
    ),
]
MomentText = Annotated[
    str,
    Field(
        examples=["2026-01-31T09:30:00Z"],
        description="RFC 3339 with its offset, of the years 1970 to 9999.",
        json_schema_extra={"format": "date-time"},
    ),
]
IdText = Annotated[
    str,
    Field(
        examples=["7e57d004-2b97-5e7a-b45f-5387367791cd"],
        description="A UUID in lower case.",
        json_schema_extra={"format": "uuid", "pattern": f"^{ID_PATTERN}$"},
    ),
]


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body that a route reads by itself, for `openapi_extra`."""
    schema = model.model_json_schema(by_alias=True)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_body(request: Request, model: type[BodyT], *, system_member: str | None = None) -> BodyT:
    """Reads a JSON body after the caller was checked, where FastAPI would validate it before.

    Raises:
        Refusal: the body is no JSON object; or it holds `system_member`, which only services send.
        RequestValidationError: it does not fit `model`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(UNSUPPORTED_MEDIA_TYPE)
    try:
        document = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Refusal(MALFORMED_REQUEST, "The body is not JSON. Send a JSON object.") from error
    if system_member is not None and isinstance(document, dict) and system_member in document:
        raise Refusal(FORBIDDEN, "This is a system operation; this caller may not use it.")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False), body=document) from error
