"""An answer as the engine hands it on: whole, or the first of several parts and what comes later.

`Response` is what everybody gets who asks for one answer. With @defer it is the first part, and `later` has the others;
`Router.stream` makes one sequence of `ResponsePart`s of both, for programs that read the parts as they come. A
subscription's response is only the beginning: `events` has one response for each event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trifolio.errors import AnswerError, PathKey, RouterError
from trifolio.executor.encoding import decode_json, encode_json
from trifolio.parts import Later, Pending


class Events(Protocol):
    """The answers to a subscription. Whoever does not read them to their end closes them."""

    def __aiter__(self) -> "Events": ...

    async def __anext__(self) -> "Response":
        """The answer to the next event. One with a `refusal` is the last: it says why the stream ends."""

    async def aclose(self) -> None:
        """End the subscription, at the subgraph as well. It may be called at any time, and more than once."""


@dataclass(slots=True)
class Response:
    """A GraphQL response (GraphQL specification, section 7.1); to change one, make another with `dataclasses.replace`.

    It is not frozen, as that would cost a call per field and request.
    """

    data: Mapping[str, object] | None
    """What was asked for; None where the operation was refused, or where null reached the root."""
    errors: tuple[AnswerError, ...] = ()
    """What went wrong, each with its code and, where it is about a field, with its path."""
    refusal: RouterError | None = None
    """Why the operation was not executed to its end; None where it was, whatever became of its fields."""
    extensions: Mapping[str, object] | None = None
    """What plug-ins say beside data and errors: JSON values by name; None: nothing."""
    status: int | None = None
    """The HTTP status that a plug-in has chosen; None leaves it to what happened."""
    headers: tuple[tuple[str, str], ...] = ()
    """The HTTP headers that plug-ins have added, names in lower case; one name may come several times."""
    pending: tuple[Pending, ...] = ()
    """The parts that are announced with this one; empty where the response is whole."""
    later: Later | None = None
    """The parts that come after this one. Whoever does not read them to their end closes them."""
    text: bytes | None = None
    """The data as JSON text, in place of `data`: only where it was asked for so."""
    events: Events | None = None
    """A subscription's answers, which come after this response: it has no data itself."""

    encoded: bytes | None = field(default=None, init=False, repr=False, compare=False)
    """What `encode_once` has made."""

    def to_json(self) -> dict[str, object]:
        """The response as JSON data: errors first, no `data` where the operation was refused."""
        body: dict[str, object] = {}
        if self.errors:
            body["errors"] = [error.to_json() for error in self.errors]
        if self.refusal is None:
            body["data"] = self.data if self.text is None else decode_json(self.text)
        if self.extensions:
            body["extensions"] = dict(self.extensions)
        return body

    def encode(self) -> bytes:
        """The response as JSON text."""
        if self.text is not None and not self.extensions:
            told = encode_json([error.to_json() for error in self.errors]) if self.errors else b""
            return (b'{"errors":' + told + b',"data":' if told else b'{"data":') + self.text + b"}"
        return encode_json(self.to_json())

    def encode_once(self) -> bytes:
        """The same, kept: an event's answer may be for many."""
        if self.encoded is None:
            self.encoded = self.encode()
        return self.encoded


@dataclass(frozen=True, slots=True)
class ResponsePart:
    """One part of an answer that comes in parts: the first has all that is not deferred. Or one event's answer."""

    data: Mapping[str, object] | None
    """What is new, to be merged into the object at `path`; None where the part, or the operation, failed."""
    errors: tuple[AnswerError, ...] = ()
    """What went wrong in this part; their paths begin at the answer's root."""
    path: tuple[PathKey, ...] = ()
    """The object of the answer that the part belongs to; empty is the root."""
    label: str | None = None
    """The label of its @defer."""
    has_next: bool = False
    """Whether another part comes after this one; of a subscription, whether another event may come."""
    extensions: Mapping[str, object] | None = None
    """What plug-ins say beside data and errors; None: nothing."""

    def to_json(self) -> dict[str, object]:
        """The part as JSON data, as clients of Apollo's `deferSpec=20220824` read it."""
        body: dict[str, object] = {"data": self.data, "path": list(self.path)}
        if self.label is not None:
            body["label"] = self.label
        if self.errors:
            body["errors"] = [error.to_json() for error in self.errors]
        if self.extensions:
            body["extensions"] = dict(self.extensions)
        return body
