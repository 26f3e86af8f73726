"""GraphQL over HTTP: what makes a request, which media types, which status, and what a browser must not be made to do.

Everything here works on bytes and headers; `app.py` owns the ASGI conversation. Refusals are `RequestError`s of the
catalogue.

Specification: GraphQL over HTTP (September 2025 draft), sections 4 to 6; RFC 9110 section 12.5.1 (Accept).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from trifolio.errors import (
    ClientText,
    DocumentError,
    ErrorCode,
    OperationError,
    RequestError,
    RouterError,
    VariablesError,
)
from trifolio.limits import Limits
from trifolio.server.event_streams import EventsFormat
from trifolio.server.multipart import PartsFormat
from trifolio.variables import lone_surrogate

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Headers = Mapping[str, str]
"""A request's headers, names in lower case; fields that came several times are joined with a comma."""


class MediaType(Enum):
    """What an answer can be."""

    GRAPHQL_RESPONSE = "application/graphql-response+json"
    JSON = "application/json"

    def __init__(self, value: str) -> None:
        self.content_type = f"{value}; charset=utf-8".encode()


class GraphQLRequest(msgspec.Struct, frozen=True, rename={"operation_name": "operationName"}):
    """The parameters of a request; unknown ones are ignored, as the specification asks."""

    query: str | None = None
    operation_name: str | None = None
    variables: dict[str, object] | None = None
    extensions: dict[str, object] | None = None


class ClientDisconnected(Exception):
    """The client went away before its request was complete."""


# ---- what the client sends ----


def read_headers(scope: Scope, limits: Limits) -> dict[str, str]:
    """The request's headers. Raises RequestError where they, or the URL, are larger than the limits."""
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    if len(raw) > limits.header_count_max:
        raise RequestError(ErrorCode.HEADERS_TOO_LARGE)
    if len(b"".join(chain.from_iterable(raw))) > limits.header_bytes_max:
        raise RequestError(ErrorCode.HEADERS_TOO_LARGE)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) < len(raw):
        headers = _joined(raw)
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > limits.url_bytes_max:
        raise RequestError(ErrorCode.URL_TOO_LONG)
    return headers


def _joined(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers where some came several times."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def client_address(scope: Scope, headers: Headers, trusted_proxies: int) -> str | None:
    """Where the request comes from: the connection's other end, or what the proxies in front saw; None if unknown."""
    if trusted_proxies:
        seen = [part.strip() for part in headers.get("x-forwarded-for", "").split(",")]
        if len(seen) >= trusted_proxies and seen[-trusted_proxies]:
            return seen[-trusted_proxies][:64]
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else None


def whole_body(body: bytes, limits: Limits) -> bytes:
    """A body that has come whole. Raises RequestError where it is too large."""
    if len(body) > limits.body_bytes_max:
        raise RequestError(ErrorCode.BODY_TOO_LARGE)
    return body


async def read_body(receive: Receive, headers: Headers, limits: Limits) -> bytes:
    """The request's body. Raises RequestError where it is too large (as soon as that is known) or too slow."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes_max:
        raise RequestError(ErrorCode.BODY_TOO_LARGE)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return whole_body(body, limits)
    try:
        async with asyncio.timeout(limits.body_timeout_ms / 1000):
            return await _read_rest(message, receive, limits)
    except TimeoutError:
        raise RequestError(ErrorCode.REQUEST_TIMEOUT) from None


async def _read_rest(message: Message, receive: Receive, limits: Limits) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientDisconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes_max:
            raise RequestError(ErrorCode.BODY_TOO_LARGE)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


_REQUEST_DECODER: Final = msgspec.json.Decoder(GraphQLRequest)
_OBJECT_DECODER: Final[msgspec.json.Decoder[dict[str, object] | None]] = msgspec.json.Decoder(dict[str, object] | None)


def decode_body(body: bytes) -> GraphQLRequest:
    """A POST's body as a request. Raises RequestError where it is no JSON, or no GraphQL request."""
    try:
        return _with_query(_REQUEST_DECODER.decode(body))
    except msgspec.ValidationError as error:
        text = "Batches of operations are not served." if body.lstrip()[:1] == b"[" else f"{error}."
        raise _bad_request(text) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise _bad_request(_half_character(body) or "The body is not JSON in UTF-8.") from None


def decode_query_string(query_string: bytes) -> GraphQLRequest:
    """A GET's query string as a request. Raises RequestError where it has no query, or variables that are no JSON."""
    try:
        parameters = dict(parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict"))
    except (UnicodeDecodeError, ValueError):
        raise _bad_request("The query string is not URL-encoded UTF-8.") from None
    return _with_query(
        GraphQLRequest(
            query=parameters.get("query"),
            operation_name=parameters.get("operationName") or None,
            variables=_parameter(parameters, "variables"),
            extensions=_parameter(parameters, "extensions"),
        )
    )


def _parameter(parameters: Mapping[str, str], name: str) -> dict[str, object] | None:
    text = parameters.get(name)
    if not text:
        return None
    try:
        return _OBJECT_DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise _bad_request(_half_character(text) or f"The parameter {name} is not a JSON object.") from None


def _half_character(text: str | bytes) -> str:
    """What is wrong with JSON that is read but for a lone surrogate, which no text in UTF-8 can hold; else empty."""
    try:
        text = text if isinstance(text, str) else text.decode()
        if "\\ud" not in text and "\\uD" not in text:
            return ""
        return lone_surrogate(json.dumps(json.loads(text), ensure_ascii=False))
    except (ValueError, RecursionError):
        return ""


def _with_query(request: GraphQLRequest) -> GraphQLRequest:
    if request.query is None:
        raise _bad_request("The parameter query is missing.")
    return request


def _bad_request(text: str) -> RequestError:
    return RequestError(ErrorCode.BAD_REQUEST, ClientText(f"{ErrorCode.BAD_REQUEST.text} {text}"))


def check_content_type(headers: Headers) -> None:
    """A POST's body is JSON, in UTF-8 where the charset is given, not compressed. Raises RequestError (415)."""
    content_type = headers.get("content-type", "")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    if content_type == "application/json":
        return
    media_type, _, parameters = content_type.partition(";")
    names = [part.partition("=") for part in parameters.lower().split(";")]
    charsets = {value.strip().strip('"') for name, _, value in names if name.strip() == "charset"}
    if media_type.strip().lower() != "application/json" or not charsets <= {"utf-8", "utf8"}:
        raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)


_SIMPLE_CONTENT_TYPES: Final = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
_PREFLIGHT_HEADERS: Final = ("apollo-require-preflight", "x-apollo-operation-name")


def is_preflighted(headers: Headers) -> bool:
    """Whether no page of another origin can have made a browser send this without asking first.

    A browser asks first (CORS preflight) where a request has a content type other than a form's, or a header that is
    not on the Fetch standard's safelist.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type not in _SIMPLE_CONTENT_TYPES:
        return True
    return any(headers.get(name) for name in _PREFLIGHT_HEADERS)


# ---- what the client gets ----


@lru_cache(maxsize=256)
def negotiate(accept: str) -> MediaType | None:
    """The media type that `accept` prefers; None where it takes neither. Without an Accept header it is JSON."""
    if not accept.strip():
        return MediaType.JSON
    ranges = _ranges(accept)
    graphql = _quality(ranges, "application", "graphql-response+json")
    json = _quality(ranges, "application", "json")
    if max(graphql, json) <= 0:
        return None
    named = any(kind == "graphql-response+json" for _, kind, _ in ranges)
    return MediaType.GRAPHQL_RESPONSE if named and graphql >= json else MediaType.JSON if json > 0 else None


@lru_cache(maxsize=256)
def prefers_html(accept: str) -> bool:
    """Whether a browser's page load is asking: text/html by name, and no JSON wanted more."""
    ranges = _ranges(accept)
    html = max((quality for family, kind, quality in ranges if (family, kind) == ("text", "html")), default=0.0)
    return html > 0 and html >= _quality(ranges, "application", "json")


@lru_cache(maxsize=256)
def takes_coding(accept_encoding: str, coding: str) -> bool:
    """Whether a client says that it takes content in a coding (RFC 9110, section 12.5.3)."""
    qualities = {name: _quality_in(parameters) for name, parameters in _items(accept_encoding)}
    return bool(qualities.get(coding, qualities.get("*")))


@lru_cache(maxsize=256)
def negotiate_parts(accept: str) -> PartsFormat | None:
    """The format of an answer in parts that `accept` asks for by name; None where it asks for none of ours."""
    wanted: list[tuple[float, PartsFormat]] = []
    for media_range, parameters in _items(accept):
        quality = _quality_in(parameters)
        if media_range == "multipart/mixed" and quality:
            wanted += [(quality, each) for each in PartsFormat if parameters.get(each.parameter) == each.value_asked]
    return max(wanted, key=lambda item: item[0])[1] if wanted else None


@lru_cache(maxsize=256)
def negotiate_events(accept: str) -> EventsFormat | None:
    """The format of a subscription's answers that `accept` asks for by name; None where it asks for none of ours."""
    wanted: list[tuple[float, EventsFormat]] = []
    for media_range, parameters in _items(accept):
        quality = _quality_in(parameters)
        if quality and media_range == "text/event-stream":
            wanted.append((quality, EventsFormat.SSE))
        elif quality and media_range == "multipart/mixed" and parameters.get("subscriptionspec") == "1.0":
            wanted.append((quality, EventsFormat.MULTIPART))
    return max(wanted, key=lambda item: item[0])[1] if wanted else None


@dataclass(frozen=True, slots=True)
class Streams:
    """The formats of answers that do not come at once: at least one is given."""

    parts: PartsFormat | None
    events: EventsFormat | None


@lru_cache(maxsize=256)
def negotiate_streams(accept: str) -> Streams | None:
    """What `accept` asks for beside one answer; None where that is all."""
    parts, events = negotiate_parts(accept), negotiate_events(accept)
    return None if parts is None and events is None else Streams(parts, events)


def _items(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The Accept header's media ranges, each with its parameters; in lower case, without quotation marks."""
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in parameters)
        yield media_range, {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _quality_in(parameters: Mapping[str, str]) -> float | None:
    """The quality that a media range has; None where it cannot be read."""
    try:
        return min(max(float(parameters.get("q", "1")), 0.0), 1.0)
    except ValueError:
        return None


def _ranges(accept: str) -> list[tuple[str, str, float]]:
    """The Accept header's media ranges as (type, subtype, quality); what cannot be read is left out."""
    ranges = []
    for media_range, parameters in _items(accept):
        family, separator, kind = media_range.partition("/")
        quality = _quality_in(parameters)
        if separator and parameters.get("charset", "utf-8") in {"utf-8", "utf8"} and quality is not None:
            ranges.append((family, kind, quality))
    return ranges


def _quality(ranges: list[tuple[str, str, float]], family: str, kind: str) -> float:
    """The quality of a media type: the most specific range that covers it decides."""
    for candidate in ((family, kind), (family, "*"), ("*", "*")):
        found = [quality for first, second, quality in ranges if (first, second) == candidate]
        if found:
            return max(found)
    return 0.0


def status_of(refusal: RouterError | None, media_type: MediaType) -> int:
    """The HTTP status of an answer: 200 where the operation was executed, whatever became of its fields.

    To `application/json` a GraphQL answer about a well-formed request is a 200, even one that only refuses; the newer
    media type says what it was (GraphQL over HTTP, section 6.4).
    """
    if refusal is None:
        return 200
    is_graphql = isinstance(refusal, DocumentError | OperationError | VariablesError)
    if is_graphql and media_type is MediaType.JSON and refusal.code is not ErrorCode.MUTATION_OVER_GET:
        return 200
    return refusal.status
