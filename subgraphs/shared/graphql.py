"""The GraphQL face: a schema that is safe and fast by construction, and the endpoint that only the router reaches.

How it stays fast. Queries are compiled and kept by their text (`shared.graphql_execution`). Of what is not, mutations
above all, documents and validation results are cached by text; these caches hit only because the rules are built once
per process. `_entities` calls one resolver per type with all its representations, in one task, so that a hundred
entities cost one SQL statement. The endpoint is plain ASGI with orjson.

An entity is a type with a classmethod

    async def resolve_references(cls, info, representations) -> list[Self | None | Exception]      in the same order

that takes nothing from a representation but its key and decides in SQL what the viewer may see. A representation that
is no object, lacks its type or names no entity fails alone.

A subscription is executed event by event, compiled as queries are. Over HTTP it is asked for by
`Accept: text/event-stream` and answered in graphql-sse's mode of distinct connections, which is the endpoint's own
POST, with its secret and its headers; Strawberry's handler of WebSockets would need a handshake and a second way to say
who asks. What ends a stream for a reason, such as a token that expires, is a last event without data.
"""

import functools
import hmac
import logging
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import orjson
import strawberry
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    ValidationContext,
    ValidationRule,
    parse,
)
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, ParserCache, ValidationCache
from strawberry.extensions.max_aliases import create_validator as alias_rule
from strawberry.extensions.query_depth_limiter import create_validator as depth_rule
from strawberry.federation.schema import FederationAny
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionContext
from strawberry.types.graphql import OperationType

from subgraphs.shared.auth import ANONYMOUS, Caller, TokenVerifier, require_user
from subgraphs.shared.errors import (
    BODY_TOO_LARGE,
    INTERNAL_ERROR,
    MALFORMED_REQUEST,
    METHOD_NOT_ALLOWED,
    UNAUTHENTICATED,
    UNSUPPORTED_MEDIA_TYPE,
    ErrorCode,
    Refusal,
)
from subgraphs.shared.graphql_execution import CompiledOperations
from subgraphs.shared.graphql_types import SCALARS
from subgraphs.shared.request_log import logged_request, note_request
from subgraphs.shared.statuses import status_of
from subgraphs.shared.streaming import Streams
from subgraphs.shared.texts import text_refusal

S = TypeVar("S")
_QUALITY = re.compile(r"[01](\.\d{0,3})?")
LOGGER = logging.getLogger(__name__)

ONE_ANSWER = frozenset({OperationType.QUERY, OperationType.MUTATION})
FEDERATION_VERSION: Literal["2.9"] = "2.9"
DOCUMENT_TOKENS_MAX = 10_000
"""A federated portfolio query has about 100 tokens; the router batches, so a request may hold several."""
DOCUMENT_DEPTH_MAX = 15
DOCUMENT_ALIASES_MAX = 200
"""The router aliases one `_entities` field per entry of a batched request."""
DOCUMENTS_CACHED_MAX = 512
LOGGED_FIELDS_MAX = 5
ACCEPTS_CACHED_MAX = 32
"""A router has one; what is no router's is as long as a head may be."""
REPRESENTATIONS_MAX = 1_000
GRAPHQL_BODY_BYTES_MAX = 1_048_576
"""A thousand representations of a few hundred bytes, and their document."""
ROUTER_SECRET_HEADER = b"x-router-secret"
JSON_TYPE = "application/json"
RESPONSE_TYPE = "application/graphql-response+json"
"""GraphQL's own media type: under it a status says whether a request was executed (GraphQL over HTTP, section 6)."""
EVENTS_TYPE = "text/event-stream"
EVENTS_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Nobody in between keeps events, or waits until there are more of them."""
HEARTBEAT = b":\n\n"
CLIENT_ADDRESS_HEADER = b"x-forwarded-for"
ADDRESS_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class RequestContext(Generic[S]):
    """What resolvers get as `info.context`. `identity` is a Refusal where the bearer token was not accepted."""

    service: S
    identity: Caller | Refusal
    client_address: str
    request_id: str

    @property
    def caller(self) -> Caller:
        """Who asks; raises the Refusal of a bad token, which public fields therefore never see."""
        if isinstance(self.identity, Refusal):
            raise self.identity
        return self.identity

    @property
    def known(self) -> Caller:
        """Who asks, as far as is known: nobody where the token was not accepted."""
        return self.identity if isinstance(self.identity, Caller) else ANONYMOUS

    @property
    def user(self) -> Caller:
        """The logged-in user who asks; raises Refusal `unauthenticated` or `forbidden`."""
        return require_user(self.caller)


class SubgraphSchema(strawberry.federation.Schema):
    """A federation schema with limits, caches that hit, batched `_entities` and the shared scalars."""

    def __init__(
        self,
        query: type,
        *,
        mutation: type | None = None,
        subscription: type | None = None,
        types: Iterable[type] = (),
        rules: Sequence[type[ValidationRule]] = (),
    ) -> None:
        """
        Args:
            rules: validation rules of this subgraph alone, such as `once_per_operation("login")`.
        """
        self.rules: tuple[type[ValidationRule], ...] = (
            depth_rule(DOCUMENT_DEPTH_MAX, None),
            alias_rule(DOCUMENT_ALIASES_MAX),
            NoSchemaIntrospectionCustomRule,
            *rules,
        )
        super().__init__(
            query=query,
            mutation=mutation,
            subscription=subscription,
            types=types,
            federation_version=FEDERATION_VERSION,
            config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
            extensions=[
                lambda: MaxTokensLimiter(max_token_count=DOCUMENT_TOKENS_MAX),
                lambda: AddValidationRules(list(self.rules)),
                lambda: ParserCache(DOCUMENTS_CACHED_MAX),
                lambda: ValidationCache(DOCUMENTS_CACHED_MAX),
            ],
        )

    async def execute(self, *args: Any, **options: Any) -> Any:
        """As the base does, but what has one answer alone: a subscription raises InvalidOperationTypeError."""
        return await super().execute(*args, **{"allowed_operation_types": ONE_ANSWER, **options})

    async def entities_resolver(  # type: ignore[override]  # the base resolves one at a time, in place
        self, info: strawberry.Info, representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Resolves all representations with one call per type; each failure stays in its own slot."""
        if len(representations) > REPRESENTATIONS_MAX:
            raise Refusal(MALFORMED_REQUEST, f"Ask for at most {REPRESENTATIONS_MAX} entities at a time.")
        found: list[Any] = [None] * len(representations)
        slots: dict[Any, list[int]] = {}
        for slot, representation in enumerate(representations):
            resolve = self._reference_resolver(representation)
            if resolve is None:
                found[slot] = Refusal(
                    MALFORMED_REQUEST,
                    "This representation is not of an entity of this subgraph. Send __typename and a key.",
                )
            else:
                slots.setdefault(resolve, []).append(slot)
        for resolve, places in slots.items():
            try:
                entities = await resolve(info, [representations[slot] for slot in places])
            except Exception as error:  # noqa: BLE001  # one type's failure leaves the other types their answers
                entities = [error] * len(places)
            for slot, entity in zip(places, entities, strict=True):
                found[slot] = entity
        return found

    def _reference_resolver(self, representation: object) -> Any:
        name = representation.get("__typename") if isinstance(representation, dict) else None
        definition = self.get_type_by_name(name) if isinstance(name, str) else None
        return getattr(getattr(definition, "origin", None), "resolve_references", None)

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Leaves logging to `client_error`, which logs our own faults and no refusals."""


def once_per_operation(*fields: str) -> type[ValidationRule]:
    """A rule that lets an operation select at most one of the root fields, once: so one request is one attempt."""

    class OncePerOperation(ValidationRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self._seen = 0

        def enter_operation_definition(self, _node: OperationDefinitionNode, *_: object) -> None:
            self._seen = 0

        def enter_field(self, node: FieldNode, *_: object) -> None:
            parent = self.context.get_parent_type()
            if parent is not None and parent is self.context.schema.mutation_type and node.name.value in fields:
                self._seen += 1
                if self._seen == 2:
                    self.report_error(GraphQLError(f"Send one of {', '.join(fields)} per operation.", node))

    return OncePerOperation


def client_error(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """The error as the client gets it: refusals with their code, our own faults masked and logged."""
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if isinstance(original, MissingQueryError | CannotGetOperationTypeError | InvalidOperationTypeError):
        original = Refusal(MALFORMED_REQUEST, "Send an operation of this kind; its name if there are several.")
    if isinstance(original, Exception):
        original = text_refusal(original) or original
    shown: dict[str, Any] = {"message": error.message}
    if isinstance(original, Refusal):
        shown["message"] = original.detail
        extensions = {**original.extra, "code": original.code.graphql}
        if original.retry_after_s is not None:
            extensions["retryAfterS"] = original.retry_after_s
    elif isinstance(original, Exception) and not isinstance(original, GraphQLError):
        LOGGER.error("request %s: a field failed", request_id, exc_info=original)
        shown["message"] = INTERNAL_ERROR.detail
        extensions = {"code": INTERNAL_ERROR.graphql, "requestId": request_id}
    else:
        extensions = {**(error.extensions or {}), "code": _document_code(error)}
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path:
        shown["path"] = error.path
    return {**shown, "extensions": extensions}


def _document_code(error: GraphQLError) -> str:
    if isinstance(error, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED"
    return "BAD_USER_INPUT" if error.message.startswith("Variable") or error.path else "GRAPHQL_VALIDATION_FAILED"


class Subgraph(Generic[S]):
    """A schema with its service: answers one GraphQL request, over HTTP or in memory."""

    def __init__(self, schema: SubgraphSchema, service: S, verifier: TokenVerifier, streams: Streams) -> None:
        self.schema = schema
        self._streams = streams
        self._operations = CompiledOperations(schema, rules=schema.rules, tokens_max=DOCUMENT_TOKENS_MAX)
        self._service = service
        self._verifier = verifier

    async def execute(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *,
        authorization: str | None = None,
        client_address: str = "",
        request_id: str = "",
    ) -> dict[str, Any]:
        """The response to one request, `{"data": ..., "errors": [...]}`; it raises for nothing a client can cause.

        Args:
            authorization: the request's Authorization header.
            client_address: the end client's network address, for limits.
        """
        with logged_request(request_id):
            return await self._execute(query, variables, operation_name, authorization, client_address, request_id)

    async def _execute(
        self,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        authorization: str | None,
        client_address: str,
        request_id: str,
    ) -> dict[str, Any]:
        context = await self._context(query, authorization, client_address, request_id)
        try:
            result = await self._operations.execute(query, variables, context, operation_name)
        except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError):
            return _refused(MALFORMED_REQUEST, "Send a query, and the name of its operation if it has several.")
        response: dict[str, Any] = {"data": result.data}
        if result.errors:
            response["errors"] = [client_error(error, request_id) for error in result.errors]
        return response

    async def subscribe(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *,
        authorization: str | None = None,
        client_address: str = "",
        request_id: str = "",
    ) -> AsyncGenerator[dict[str, Any] | None, None]:
        """The responses to one subscription, one per event, and None for each heartbeat; arguments as for `execute`.

        What refuses it or ends it for a reason is the last response; it has no data.
        """
        context = await self._context(query, authorization, client_address, request_id)
        bearer = authorization if isinstance(context.identity, Caller) else None
        holder = context.known
        try:
            with self._streams.place(f"{holder.kind} {holder.id or client_address}"):
                events = self._events(query, variables, context, operation_name)
                async with aclosing(self._streams.paced(events, lambda: self._verifier.left_s(bearer))) as paced:
                    async for response in paced:
                        yield response
        except Refusal as refusal:
            error = client_error(GraphQLError(refusal.detail, original_error=refusal), request_id)
            yield {"data": None, "errors": [error]}

    async def _events(
        self, query: str, variables: dict[str, Any] | None, context: RequestContext[S], operation_name: str | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async with aclosing(self._operations.subscribe(query, variables, context, operation_name)) as results:
                async for result in results:
                    response: dict[str, Any] = {"data": result.data}
                    if result.errors:
                        response["errors"] = [client_error(error, context.request_id) for error in result.errors]
                    yield response
        except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError):
            yield _refused(MALFORMED_REQUEST, "Send a subscription, and its name if there are several operations.")
        except GraphQLError as error:  # Strawberry raises here what it has as a result elsewhere: a text that is none
            yield {"data": None, "errors": [client_error(error, context.request_id)]}

    async def _context(
        self, query: str, authorization: str | None, client_address: str, request_id: str
    ) -> RequestContext[S]:
        """What resolvers get; who asks for what is noted for the log."""
        identity: Caller | Refusal
        try:
            identity = await self._verifier.caller(authorization)
        except Refusal as refusal:
            identity = refusal
        context = RequestContext(self._service, identity, client_address, request_id)
        note_request(caller_kind=context.known.kind, caller_id=context.known.id, operation=operation_text(query))
        return context


@functools.lru_cache(DOCUMENTS_CACHED_MAX)
def operation_text(query: str) -> str:
    """What a document does, for the log: `query me _entities`; nothing of its values."""
    try:
        document = parse(query, no_location=True, max_tokens=DOCUMENT_TOKENS_MAX)
    except GraphQLError:
        return ""
    operation = next((each for each in document.definitions if isinstance(each, OperationDefinitionNode)), None)
    if operation is None:
        return ""
    fields = [each.name.value for each in operation.selection_set.selections if isinstance(each, FieldNode)]
    return " ".join([operation.operation.value, *fields[:LOGGED_FIELDS_MAX]])


class GraphQLEndpoint:
    """POST /graphql as plain ASGI. It answers the router's secret only; without a configured secret, nobody."""

    def __init__(self, subgraph: Subgraph[Any], secrets: Sequence[str]) -> None:
        self._subgraph = subgraph
        self._secrets = tuple(secret.encode() for secret in secrets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        headers = dict(scope["headers"])
        accept = headers.get(b"accept", b"").decode("latin-1")
        request = await self._request(scope, headers, receive)
        if isinstance(request, _Request) and wants_events(accept):
            await self._stream(request, scope, receive, send)
            return
        media_type = preferred_type(accept)
        code, body = await self._answer(request, media_type) if isinstance(request, _Request) else request
        described = ((b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()))
        start = {"type": "http.response.start", "status": code, "headers": described}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _request(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> "_Request | tuple[int, bytes]":
        """The router's request; or what refuses what is none."""
        if not shows_secret(headers, self._secrets):
            return _http_refusal(UNAUTHENTICATED, "This endpoint answers the router only.")
        if scope["method"] != "POST":
            return _http_refusal(METHOD_NOT_ALLOWED, "Send a POST.")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != JSON_TYPE.encode():
            return _http_refusal(UNSUPPORTED_MEDIA_TYPE)
        body = await _read_body(receive)
        if body is None:
            return _http_refusal(BODY_TOO_LARGE, f"Send at most {GRAPHQL_BODY_BYTES_MAX} bytes.")
        operation = _read_request(body)
        if operation is None:
            return _http_refusal(
                MALFORMED_REQUEST, 'Send {"query": "...", "variables": {...}, "operationName": "..."}.'
            )
        authorization = headers.get(b"authorization")
        return _Request(
            operation,
            {
                "authorization": None if authorization is None else authorization.decode("latin-1"),
                "client_address": _told_address(scope, headers),
                "request_id": scope.get("state", {}).get("request_id", ""),
            },
        )

    async def _answer(self, request: "_Request", media_type: str) -> tuple[int, bytes]:
        response = await self._subgraph.execute(*request.operation, **request.sender)
        if media_type == RESPONSE_TYPE and not _is_executed(response):
            return status_of(MALFORMED_REQUEST), orjson.dumps({"errors": response["errors"]})
        return 200, orjson.dumps(response)

    async def _stream(self, request: "_Request", scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events, until the subscription ends or whoever asked has gone."""
        responses = self._subgraph.subscribe(*request.operation, **request.sender)

        async def written() -> AsyncGenerator[bytes, None]:
            async with aclosing(responses):
                async for response in responses:
                    yield HEARTBEAT if response is None else b"event: next\ndata: " + orjson.dumps(response) + b"\n\n"
            yield b"event: complete\ndata:\n\n"

        response = StreamingResponse(written(), media_type=EVENTS_TYPE, headers=EVENTS_HEADERS)
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Request:
    """What the router has sent: text, variables and name of an operation; and who and where it comes from."""

    operation: tuple[str, dict[str, Any] | None, str | None]
    sender: dict[str, Any]


def wants_events(accept: str) -> bool:
    """Whether an Accept header asks for server-sent events."""
    return any(each.partition(";")[0].strip().lower() == EVENTS_TYPE for each in accept.split(","))


def _is_executed(response: Mapping[str, Any]) -> bool:
    """Whether a response is of a request that was executed; else what was sent is no request that could be."""
    if response["data"] is not None:
        return True
    return any("path" in each or each["extensions"]["code"] == INTERNAL_ERROR.graphql for each in response["errors"])


@functools.lru_cache(ACCEPTS_CACHED_MAX)
def preferred_type(accept: str) -> str:
    """The media type of a response: GraphQL's own, where an Accept header names it and wants it no less than JSON."""
    qualities = {JSON_TYPE: 0.0, RESPONSE_TYPE: 0.0}
    for media_range in accept.lower().split(","):
        name, *parameters = (part.strip() for part in media_range.split(";"))
        quality = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
        if name in qualities:
            qualities[name] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    wanted = qualities[RESPONSE_TYPE]
    return RESPONSE_TYPE if wanted > 0 and wanted >= qualities[JSON_TYPE] else JSON_TYPE


def shows_secret(headers: Mapping[bytes, bytes], secrets: Sequence[bytes]) -> bool:
    """Whether the request carries one of the router's secrets; all of them are compared in constant time."""
    shown = headers.get(ROUTER_SECRET_HEADER, b"")
    matches = [hmac.compare_digest(shown, secret) for secret in secrets]
    return any(matches)


def client_address(scope: Scope, secrets: Sequence[bytes], trusted_proxies: int) -> str:
    """The end client's address: what the router passes on beside its secret, or what the proxies in front saw.

    Of X-Forwarded-For each proxy has added one address, the last one ours; so with two in front the second from the end
    is the client's, and whatever stands before it the client itself has sent. Without either it is the connection's.
    """
    headers = dict(scope["headers"])
    if CLIENT_ADDRESS_HEADER in headers and shows_secret(headers, secrets):
        return _told_address(scope, headers)
    if trusted_proxies:
        lines = b",".join(value for name, value in scope["headers"] if name == CLIENT_ADDRESS_HEADER)
        seen = [part.strip() for part in lines.split(b",")]
        if len(seen) >= trusted_proxies and seen[-trusted_proxies]:
            return _readable(seen[-trusted_proxies])
    return _connection_address(scope)


def _told_address(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """The same for a request that has shown the router's secret."""
    forwarded = headers.get(CLIENT_ADDRESS_HEADER)
    return _readable(forwarded.split(b",")[0]) if forwarded else _connection_address(scope)


def _connection_address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _readable(address: bytes) -> str:
    return address.strip().decode("latin-1")[:ADDRESS_CHARACTERS_MAX]


def write_sdl(schema: SubgraphSchema, module_file: str) -> None:
    """Writes the schema's SDL to `schema.graphql` beside the module that defines it."""
    _sdl_path(module_file).write_text(schema.as_str() + "\n", encoding="utf-8")


def sdl_is_current(schema: SubgraphSchema, module_file: str) -> bool:
    """Whether the committed `schema.graphql` beside the module is what the schema prints."""
    return _sdl_path(module_file).read_text(encoding="utf-8") == schema.as_str() + "\n"


def _sdl_path(module_file: str) -> Path:
    return Path(module_file).with_name("schema.graphql")


async def _read_body(receive: Receive) -> bytes | None:
    chunks, size = [], 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > GRAPHQL_BODY_BYTES_MAX:
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _read_request(body: bytes) -> tuple[str, dict[str, Any] | None, str | None] | None:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(request, dict):
        return None
    query, variables, name = request.get("query"), request.get("variables"), request.get("operationName")
    if not isinstance(query, str) or not isinstance(variables, dict | None) or not isinstance(name, str | None):
        return None
    if not isinstance(request.get("extensions"), dict | None):
        return None
    return query, variables, name


def _refused(code: ErrorCode, detail: str) -> dict[str, Any]:
    return {"data": None, "errors": [{"message": detail or code.detail, "extensions": {"code": code.graphql}}]}


def _http_refusal(code: ErrorCode, detail: str = "") -> tuple[int, bytes]:
    return status_of(code), orjson.dumps(_refused(code, detail))
