"""GraphQL types that several subgraphs speak: scalars, Relay lists, and the errors inside a mutation's payload."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Annotated, Generic, NewType, TypeVar

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
E = TypeVar("E", bound=Enum)
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
ERRORS = "Why it was refused, one entry for each fault; empty where it was done."
"""The description of `errors` in the payload of every mutation."""
IDEMPOTENCY_KEY = (
    "1 to 255 printable characters, such as a UUID, that name this request among the caller's. The same key and "
    "input again has no second effect: "
    "it gets the first one's final answer, yes or no. The same key with another input is IDEMPOTENCY_KEY_REUSED."
)
"""The description of `idempotencyKey` in the input of every mutation that creates something."""
FOR_THE_USER_ALONE = "For the user alone: null, with NOT_FOUND, for anybody else."
"""How the description of a field ends that shows what nobody else may see."""
READS = (
    "Everything that can be read. A root field that cannot be answered is null, with an error; the others are answered."
)
"""The description of Query, which every subgraph extends."""
CHANGES = (
    "Everything that can be changed. What a rule refuses is told in `errors` of the field's payload. A field is null, "
    "with an error, where the access token is missing or not accepted, after too many requests, and when a service "
    "fails."
)
"""The description of Mutation, which every subgraph extends."""

TELLS = (
    "What is told as it happens. `cursor` says where an event stands: whoever was away subscribes again with the last "
    "one as `after`, and is told first of all that has happened meanwhile, in order and once."
)
"""The description of Subscription, which every subgraph extends."""
CURSOR = "Where the event stands, for `after`."
"""The description of `cursor` of every event."""
MISSED = (
    "Whether events before this one are no longer kept, or never were: read anew what you show. There is nothing else "
    "in such an event."
)
"""The description of `missed` of every event."""

AfterEvent = Annotated[
    str | None,
    strawberry.argument(
        description="`cursor` of the last event that you have: you get what came after it. Without it, from now on."
    ),
]
"""The argument `after` of every subscription to one's own."""
After = Annotated[
    str | None,
    strawberry.argument(description="`endCursor` of the page before; without it, the first page."),
]
"""The argument `after` of every list."""
First = Annotated[int, strawberry.argument(description="How many at most, from 1 to 100.")]
"""The argument `first` of a list."""
FirstOrDefault = Annotated[
    int | None, strawberry.argument(description="How many at most, from 1 to 100; without it, 20.")
]
"""The argument `first` of a list, where it may be null."""

_TOP_LEVEL = (UNAUTHENTICATED, INVALID_TOKEN, EXPIRED_TOKEN, FORBIDDEN, TOO_MANY_REQUESTS)

SCALARS: dict[object, ScalarDefinition] = {
    DecimalText: strawberry.scalar(
        name="Decimal",
        description='A decimal number as a string: "12.50". Amounts of money are in whole units of their currency '
        "(dollars, not cents) with all its decimals, prices have 4 decimals, numbers of shares up to 6.",
        serialize=str,
        parse_value=_read_decimal,
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
    amount: DecimalText = strawberry.field(description="In whole units of the currency, with all its decimals.")


@strawberry.federation.type(shareable=True, description="Why a mutation was refused.")
class MutationError:
    """One reason, for one input field or, without `field`, for the whole input."""

    code: str = strawberry.field(description="A stable code, such as INSUFFICIENT_FUNDS.")
    message: str = strawberry.field(description="What is wrong, and what to do about it.")
    field: str | None = strawberry.field(
        default=None, description="The input field at fault; null where it is the whole input."
    )


def describe_enum(enum: type[E], *, description: str, values: Mapping[E, str], name: str | None = None) -> None:
    """Makes an enum of the rules one of the schema, under its own or another name, with what each value means.

    Raises:
        KeyError: a value is not described.
    """
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]  # what strawberry.enum has set
        value.description = values[enum[value.name]]


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

    has_next_page: bool = strawberry.field(description="Whether there are more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for with `after`.")
    start_cursor: str | None = strawberry.field(description="The first item's cursor; null on an empty page.")
    end_cursor: str | None = strawberry.field(
        description="The last item's cursor, which `after` of the next page takes; null on an empty page."
    )


@strawberry.type(description="One item of a list, with the cursor to continue after it.")
class Edge(Generic[Node]):
    """Relay's Edge."""

    cursor: str = strawberry.field(description="Opaque; `after` takes it to read on behind this item.")
    node: Node = strawberry.field(description="The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[Node]):
    """Relay's Connection: `Connection[User]` is `UserConnection` in the schema."""

    edges: list[Edge[Node]] = strawberry.field(description="The items, each with its cursor.")
    page_info: PageInfo = strawberry.field(description="Where the page stands, and how to read on.")


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
