"""Streams over REST: server-sent events (HTML, section 9.2), each with the id to go on from.

    id: WyJzdG9ja3MgZXZlbnRzIiwxMl0
    event: order
    data: {"id": "5f...", "status": "completed", ...}

A client that has lost the connection sends the last id as `Last-Event-ID`, as browsers do by themselves. While nothing
happens there is a comment. What ends a stream for a reason, such as a token that has expired, is an event `end` with
the code of a problem; without one, the connection is to be made again.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Header, Request
from starlette.responses import Response, StreamingResponse

from subgraphs.shared.app import current_address
from subgraphs.shared.auth import ANONYMOUS, Caller, TokenVerifier
from subgraphs.shared.errors import Refusal
from subgraphs.shared.graphql import EVENTS_HEADERS, EVENTS_TYPE, HEARTBEAT
from subgraphs.shared.pagination import CURSOR_CHARACTERS_MAX
from subgraphs.shared.streaming import Streams

T = TypeVar("T")

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The id of the last event that you have: you get what came after it. Without it, from now on.",
        json_schema_extra={"maxLength": CURSOR_CHARACTERS_MAX, "pattern": "^[A-Za-z0-9_-]+$"},
    ),
]
EVENTS_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {EVENTS_TYPE: {"schema": {"type": "string"}}}}
}
"""What a route that answers with a stream documents."""

Write = Callable[[T], Awaitable[tuple[str, str, object]]]
"""The id, the name and the document of an event."""


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = EVENTS_TYPE


def events_response(request: Request, caller: Caller, source: AsyncGenerator[T, None], write: Write[T]) -> Response:
    """The stream of what the source yields, for a caller whose token was accepted.

    Raises:
        Refusal: `too-many-requests` or `unavailable` where there is no place for it.
    """
    streams: Streams = request.app.state.streams
    holder = f"{caller.kind} {caller.id or current_address(request)}"
    streams.require_place(holder)
    if request.scope.get("state", {}).get("head"):
        return Response(media_type=EVENTS_TYPE, headers=EVENTS_HEADERS)
    verifier: TokenVerifier = request.app.state.verifier
    authorization = None if caller == ANONYMOUS else request.headers.get("authorization")

    async def written() -> AsyncGenerator[bytes, None]:
        yield HEARTBEAT  # something at once: clients wait for it to know that they are connected
        try:
            with streams.place(holder):
                async with aclosing(streams.paced(source, lambda: verifier.left_s(authorization))) as paced:
                    async for item in paced:
                        yield HEARTBEAT if item is None else _event(*await write(item))
        except Refusal as refusal:
            yield b"event: end\ndata: " + orjson.dumps({"code": refusal.code.code, "detail": refusal.detail}) + b"\n\n"

    return EventStream(written(), headers=EVENTS_HEADERS)


def _event(id_: str, name: str, document: object) -> bytes:
    return f"id: {id_}\nevent: {name}\ndata: ".encode() + orjson.dumps(document) + b"\n\n"
