"""A subscription's answers over HTTP: as server-sent events, or as `multipart/mixed`, as the Accept header asks.

Server-sent events follow graphql-sse's protocol in its mode of distinct connections, one operation per response:

    event: next
    data: {"data": {"ticked": {"price": 1.5}}}

    event: complete
    data:

Multipart follows Apollo's protocol for subscriptions (`subscriptionSpec=1.0`), where every answer is a `payload`, and
what ends the stream stands beside it:

    {"payload": {"data": {"ticked": {"price": 1.5}}}}
    {"payload": null, "errors": [{"message": "The router is about to stop. Subscribe again."}]}

Both have something to send while nothing happens, so that nobody in between takes the connection for dead, and who
has gone is noticed: a comment, and the part `{}`.

With a live trace, what is known of an answer before it is there comes in the same way, under another name than an
answer (server-sent events), or as a payload without data:

    event: trace
    data: {"extensions": {"trace": {"fetches": []}}}

Specifications: HTML, section 9.2 (server-sent events); graphql-sse's PROTOCOL.md; Apollo's "HTTP multipart
subscription protocol".
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from trifolio.executor.encoding import encode_json
from trifolio.response import Response

_PART_HEAD: Final = b"\r\ncontent-type: application/json; charset=utf-8\r\n\r\n"
_BOUNDARY: Final = b"\r\n--graphql"


class EventsFormat(Enum):
    """How the answers are written."""

    SSE = "text/event-stream"
    MULTIPART = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'

    @property
    def content_type(self) -> bytes:
        """The response's Content-Type."""
        return self.value.encode()

    @property
    def opening(self) -> bytes:
        """The body's beginning: something at once, as some clients wait for it to see that they are connected."""
        return b":\n\n" if self is EventsFormat.SSE else _BOUNDARY

    @property
    def heartbeat(self) -> bytes:
        """What says that there is nothing to say."""
        return b":\n\n" if self is EventsFormat.SSE else _PART_HEAD + b"{}" + _BOUNDARY

    @property
    def ending(self) -> bytes:
        """The body's end."""
        return b"event: complete\ndata:\n\n" if self is EventsFormat.SSE else b"--\r\n"

    def progress(self, extensions: Mapping[str, object]) -> bytes:
        """What there is to say before an answer."""
        told = encode_json({"extensions": extensions})
        if self is EventsFormat.SSE:
            return b"event: trace\ndata: " + told + b"\n\n"
        return _PART_HEAD + b'{"payload":' + told + b"}" + _BOUNDARY

    def answer(self, response: Response) -> bytes:
        """An answer that comes whole, and the end after it."""
        return self.event(response) + self.ending

    def event(self, response: Response) -> bytes:
        """The answer to one event, or the reason of the end."""
        if self is EventsFormat.SSE:
            return b"event: next\ndata: " + response.encode_once() + b"\n\n"
        if response.refusal is None:
            return _PART_HEAD + b'{"payload":' + response.encode_once() + b"}" + _BOUNDARY
        return _PART_HEAD + encode_json({"payload": None, **response.to_json()}) + _BOUNDARY
