"""GraphQL types that several subgraphs speak: scalars, Relay lists, and the errors inside a mutation's payload."""

from collections.abc import Awaitable, Callable
from typing import Generic, NewType, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from subgraphs.shared.errors import (
    EXPIRED_TOKEN,
    FORBIDDEN,
    INVALID_REQUEST,
    INVALID_TOKEN,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    FieldError,
    Kind,
    Refusal,
)
from subgraphs.shared.money import format_amount
from subgraphs.shared.pagination import Page
from subgraphs.shared.timestamps import TIMESTAMP_MS_MAX, format_timestamp, parse_timestamp

T = TypeVar("T")
Node = TypeVar("Node")
Entity = TypeVar("Entity")

DecimalText = NewType("DecimalText", str)
"""GraphQL's `Decimal`: a decimal number as text, formatted and parsed by `subgraphs.shared.money`."""
Timestamp = NewType("Timestamp", int)
"""GraphQL's `DateTime`: milliseconds since the epoch inside, RFC 3339 on the wire."""


def amount_text(minor: int, currency: str) -> DecimalText:
    """Minor units as GraphQL's `Decimal`, with all decimals of the currency."""
    return DecimalText(format_amount(minor, currency))


def _read_decimal(value: object) -> str:
    if not isinstance(value, str):
        raise GraphQLError('A Decimal is written as a string, such as "12.50".')
    return value


def _read_timestamp(value: object) -> int:
    try:
        return parse_timestamp(value if isinstance(value, str) else "", field="")
    except Refusal as refusal:
        raise GraphQLError(refusal.detail) from refusal


def _write_timestamp(value: int) -> str:
    if not 0 <= value <= TIMESTAMP_MS_MAX:
        raise GraphQLError("The time cannot be written.")
    return format_timestamp(value)


REPLAYED = "Whether this is the answer of an earlier request with that key."
"""The description of `replayed` in the payload of every mutation that creates something."""

_TOP_LEVEL = (UNAUTHENTICATED, INVALID_TOKEN, EXPIRED_TOKEN, FORBIDDEN, TOO_MANY_REQUESTS)

SCALARS: dict[object, ScalarDefinition] = {
    DecimalText: strawberry.scalar(
        name="Decimal", description='A decimal number as a string: "12.50".', serialize=str, parse_value=_read_decimal
    ),
    Timestamp: strawberry.scalar(
        name="DateTime",
        description='RFC 3339 in UTC with milliseconds: "2026-01-31T09:30:00.000Z".',
        serialize=_write_timestamp,
        parse_value=_read_timestamp,
    ),
}


@strawberry.federation.type(shareable=True, description="An amount of one currency.")
class Money:
    """An amount with its currency."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    amount: DecimalText


@strawberry.federation.type(shareable=True, description="Why a mutation was refused.")
class MutationError:
    """One reason, for one input field or, without `field`, for the whole input."""

    code: str = strawberry.field(description="A stable code, such as INSUFFICIENT_FUNDS.")
    message: str = strawberry.field(description="What is wrong, and what to do about it.")
    field: str | None = strawberry.field(default=None, description="The input field at fault.")


def mutation_errors(refusal: Refusal) -> list[MutationError]:
    """The refusal of a business rule as payload errors.

    What is no business rule is raised again and becomes a top-level error: no access token, a bad one or a service's,
    too many attempts, and our own or a peer's failure.
    """
    if refusal.code in _TOP_LEVEL or refusal.code.kind in (Kind.FAILED, Kind.UNAVAILABLE):
        raise refusal
    code = refusal.code.graphql
    if not refusal.fields:
        return [MutationError(code=code, message=refusal.detail)]
    return [MutationError(code=code, message=error.message, field=error.field) for error in refusal.fields]


async def attempt(work: Awaitable[T]) -> tuple[T | None, list[MutationError]]:
    """Awaits a use case for a mutation: its result and no errors, or None and the errors of the payload."""
    try:
        return await work, []
    except Refusal as refusal:
        return None, mutation_errors(refusal)


async def attempt_once(work: Awaitable[T]) -> tuple[T | None, list[MutationError], bool]:
    """`attempt` for what has an idempotency key: and whether the errors are those of an earlier request."""
    try:
        return await work, [], False
    except Refusal as refusal:
        return None, mutation_errors(refusal), refusal.replayed


@strawberry.federation.type(shareable=True, description="Where a page of a list stands in it.")
class PageInfo:
    """Relay's PageInfo; lists are read forward only."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="One item of a list, with the cursor to continue after it.")
class Edge(Generic[Node]):
    """Relay's Edge."""

    cursor: str
    node: Node


@strawberry.type(description="A page of a list.")
class Connection(Generic[Node]):
    """Relay's Connection: `Connection[User]` is `UserConnection` in the schema."""

    edges: list[Edge[Node]]
    page_info: PageInfo


def connection(page: Page[Entity], node: Callable[[Entity], Node], *, after: str | None) -> Connection[Node]:
    """A page of entities as a Relay connection; `node` turns an entity into its GraphQL type."""
    edges = [Edge(cursor=cursor, node=node(item)) for item, cursor in zip(page.items, page.cursors, strict=True)]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.next_cursor is not None,
            has_previous_page=after is not None,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        ),
    )


def invalid_key(name: str) -> Refusal:
    """What a representation without a usable key gets in its slot of `_entities`."""
    message = f"The representation's `{name}` must be a string, without the character U+0000."
    return Refusal(INVALID_REQUEST, message, fields=(FieldError(name, message),))


def keys_of(representations: list[dict[str, object]], name: str) -> list[str | None]:
    """The key field of every representation, in order; None where it is missing or no text that can be looked up."""
    values = (representation.get(name) for representation in representations)
    return [value if isinstance(value, str) and "\0" not in value else None for value in values]
