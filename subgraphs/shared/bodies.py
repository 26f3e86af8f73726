"""The JSON objects of the REST faces: camelCase names, exact types, nothing unknown."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class RequestBody(BaseModel):
    """A JSON body that a client sends. Types are not converted (`"1"` is no number) and unknown members are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class ResponseBody(BaseModel):
    """A JSON body that a service answers with, built by its Python names."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True)


Item = TypeVar("Item")


class PageBody(ResponseBody, Generic[Item]):
    """A page of a list. The next one is asked with `?after=<nextCursor>`, or by the Link header."""

    items: list[Item]
    next_cursor: str | None = Field(description="null on the last page.")


DecimalText = Annotated[str, Field(examples=["12.50"], description="A decimal number, written as a string.")]
TimestampText = Annotated[str, Field(examples=["2026-01-31T09:30:00.000Z"], description="RFC 3339, UTC, milliseconds.")]
IdText = Annotated[str, Field(examples=["7e57d004-2b97-5e7a-b45f-5387367791cd"], description="A UUID in lower case.")]
