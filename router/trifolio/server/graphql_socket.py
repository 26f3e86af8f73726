"""Many operations on one WebSocket: the protocol `graphql-transport-ws`, over ASGI, whoever speaks WebSocket below.

    client                                  router
    connection_init {payload}       ->
                                    <-      connection_ack
    subscribe {id, payload}         ->
                                    <-      next {id, payload}    for each answer
    complete {id}                   ->                            the client has enough
                                    <-      error {id, payload}   refused, or ended for a reason
                                    <-      complete {id}         that was all

The problem. A stranger holds a connection that says nothing, or says too much: messages that are none, operations
without end, the same id twice, answers that nobody takes.

The idea. What is no message of the protocol ends the connection with the protocol's code. Each operation is a task, and
there are so many at a time; every answer is one message, and a client that takes none is gone. Each operation passes
through the plug-ins as a request of its own, with the headers of the handshake and those that `connection_init` has
brought, so that who was logged in by the one way or the other is the same to everybody behind this.

Specification: graphql-ws's PROTOCOL.md.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Final, Protocol, TypeVar

import msgspec

from trifolio.engine import Engine
from trifolio.errors import AnswerError, ErrorCode, RouterError
from trifolio.executor.encoding import encode_json
from trifolio.response import Response
from trifolio.server.http import ClientDisconnected, GraphQLRequest, Receive, Send
from trifolio.server.log import current_request_id, error_log, log_request, request_id

SUBPROTOCOL: Final = "graphql-transport-ws"


class Close(IntEnum):
    """Why a connection ends, as the protocol numbers it, and below 4000 WebSocket's own (RFC 6455, section 7.4)."""

    GOING_AWAY = 1001
    BAD_MESSAGE = 4400
    NOT_INITIALISED = 4401
    NO_SUBPROTOCOL = 4406
    INIT_TIMEOUT = 4408
    ID_IN_USE = 4409
    TOO_MANY_INITS = 4429


class _Message(msgspec.Struct):
    """A message of the protocol."""

    type: str
    id: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")


_DECODER: Final = msgspec.json.Decoder(_Message)
_REQUEST_DECODER: Final = msgspec.json.Decoder(GraphQLRequest)
_PAYLOAD_DECODER: Final[msgspec.json.Decoder[dict[str, object] | None]] = msgspec.json.Decoder(dict[str, object] | None)
_ACK: Final = '{"type":"connection_ack"}'
_PONG: Final = '{"type":"pong"}'
ID_CHARACTERS_MAX: Final = 128
"""128 characters of an operation's id, which is kept and repeated: clients number them, or use UUIDs."""


class _ClosedError(Exception):
    """The connection ends for something that the client did."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Counts(Protocol):
    """Where operations that are being answered are counted."""

    requests_in_flight: int


class GraphQLSocket:
    """One client's connection."""

    def __init__(
        self,
        engine: Engine,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
        *,
        path: str,
        counts: Counts,
    ) -> None:
        """`headers` are the handshake's, to which it adds; `send` raises ClientDisconnected where the client takes
        nothing."""
        self._counts = counts
        self._engine = engine
        self._limits = engine.config.limits
        self._headers = headers
        self._init_names = frozenset(map(str.lower, engine.config.subscriptions.init_headers))
        self._receive = receive
        self._send_message = send
        self._path = path
        self._is_initialised = False
        self._is_draining = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._ending: asyncio.Task[None] | None = None

    async def serve(self, subprotocols: list[str]) -> None:
        """From the handshake to the end."""
        if SUBPROTOCOL not in subprotocols:
            await self._accept(None)
            await self._close(Close.NO_SUBPROTOCOL, "Subprotocol not acceptable")
            return
        await self._accept(SUBPROTOCOL)
        try:
            async with asyncio.timeout(self._limits.websocket_init_timeout_ms / 1000) as clock:
                while not self._is_initialised:
                    if not await self._take_one():
                        return
                clock.reschedule(None)
                while await self._take_one():
                    pass
        except TimeoutError:
            await self._close(Close.INIT_TIMEOUT, "Connection initialisation timeout")
        except _ClosedError as closed:
            await self._close(closed.code, closed.reason)
        finally:
            if self._ending is not None:
                self._ending.cancel()
            tasks = list(self._operations.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def drain(self) -> None:
        """End the connection when its operations have ended."""
        self._is_draining = True
        self._end_if_drained()

    # ---- messages ----

    async def _accept(self, subprotocol: str | None) -> None:
        if (await self._receive())["type"] != "websocket.connect":
            raise ClientDisconnected
        await self._send_message({"type": "websocket.accept", "subprotocol": subprotocol})

    async def _close(self, code: Close, reason: str) -> None:
        await self._send_message({"type": "websocket.close", "code": int(code), "reason": reason})

    async def _send(self, text: str) -> None:
        await self._send_message({"type": "websocket.send", "text": text})

    async def _take_one(self) -> bool:
        """Do what the next message asks; False when there is none any more. Raises _ClosedError."""
        received = await self._receive()
        if received["type"] != "websocket.receive":
            return False
        text = received.get("text")
        if text is None:
            raise _ClosedError(Close.BAD_MESSAGE, "Messages are texts")
        if len(text) > self._limits.websocket_message_bytes_max:
            raise _ClosedError(Close.BAD_MESSAGE, "The message is too large")
        message = _decode(_DECODER, text, "The message is not one of the protocol's")
        kind = message.type
        if kind == "subscribe":
            await self._subscribe(message)
        elif kind == "complete":
            self._complete(_id_of(message))
        elif kind == "ping":
            await self._send(_PONG)
        elif kind == "connection_init":
            await self._initialise(message)
        elif kind != "pong":
            raise _ClosedError(Close.BAD_MESSAGE, "The message has a type that is not the protocol's")
        return True

    async def _initialise(self, message: _Message) -> None:
        if self._is_initialised:
            raise _ClosedError(Close.TOO_MANY_INITS, "Too many initialisation requests")
        payload = _decode(_PAYLOAD_DECODER, message.payload, "The payload is no object") or {}
        for name, value in payload.items():
            if name.lower() in self._init_names:
                if not _is_header(value, self._limits.header_bytes_max):
                    raise _ClosedError(Close.BAD_MESSAGE, f"{name} has to be a header's value")
                self._headers[name.lower()] = str(value)
        self._is_initialised = True
        await self._send(_ACK)

    async def _subscribe(self, message: _Message) -> None:
        if not self._is_initialised:
            raise _ClosedError(Close.NOT_INITIALISED, "Unauthorized")
        identity = _id_of(message)
        request = _decode(_REQUEST_DECODER, message.payload, "The payload is no GraphQL request")
        if request.query is None:
            raise _ClosedError(Close.BAD_MESSAGE, "The payload has no query")
        if identity in self._operations:
            raise _ClosedError(Close.ID_IN_USE, f"Subscriber for {identity} already exists"[:100])
        if len(self._operations) >= self._limits.websocket_operations_max:
            await self._refuse(identity, RouterError(ErrorCode.TOO_MANY_SUBSCRIPTIONS))
            return
        task = asyncio.create_task(self._operate(identity, request))
        self._operations[identity] = task
        task.add_done_callback(lambda ended: self._have_ended(identity, ended))

    def _complete(self, identity: str) -> None:
        """The client has enough; of what has ended already it may say so as well."""
        task = self._operations.pop(identity, None)
        if task is not None:
            task.cancel()

    def _have_ended(self, identity: str, task: "asyncio.Task[None]") -> None:
        if self._operations.get(identity) is task:
            del self._operations[identity]
        if not task.cancelled():
            task.exception()
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._is_draining and not self._operations and self._ending is None:
            self._ending = asyncio.create_task(self._close(Close.GOING_AWAY, "The router is about to stop"))
            self._ending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    # ---- one operation ----

    async def _operate(self, identity: str, request: GraphQLRequest) -> None:
        """Answer one operation to its end, and write down how that was."""
        started = time.perf_counter()
        own_id = request_id(None)
        current_request_id.set(own_id)
        answering = _Answering(identity, self._send)
        try:
            await answering.send_all(await self._answer(request, own_id))
            if not answering.is_refused:
                self._operations.pop(identity, None)  # from here on the client may use it again
                await self._send(_text({"type": "complete", "id": identity}))
        except ClientDisconnected:
            pass  # whoever waits for messages learns it, too
        except Exception as bug:  # noqa: BLE001  # the last resort: it is logged, and the client gets an end
            error_log.error("the router failed", exc_info=bug, extra={"fields": {"request_id": own_id}})
            with suppress(ClientDisconnected):
                await self._refuse(identity, RouterError(ErrorCode.INTERNAL_SERVER_ERROR))
        finally:
            if self._engine.config.access_log:
                fields: dict[str, object] = {
                    "request_id": own_id,
                    "path": self._path[:200],
                    "ms": round((time.perf_counter() - started) * 1000, 3),
                    "answers": answering.sent,
                }
                if answering.codes:
                    fields["codes"] = sorted(answering.codes)
                log_request("operation", fields)

    async def _answer(self, request: GraphQLRequest, own_id: str) -> Response:
        counts = self._counts
        if counts.requests_in_flight >= self._limits.requests_in_flight_max:
            refusal = RouterError(ErrorCode.OVERLOADED)
            return Response(None, refusal.errors(), refusal)
        counts.requests_in_flight += 1
        try:
            return await self._engine.answer(
                request.query or "",
                variables=request.variables,
                operation_name=request.operation_name,
                headers={**self._headers, "x-request-id": own_id},
                extensions=request.extensions,
                events=True,
            )
        finally:
            counts.requests_in_flight -= 1

    async def _refuse(self, identity: str, refusal: RouterError) -> None:
        await self._send(_error(identity, refusal.errors()))


CODES_MAX: Final = 100
"""100 codes of one operation are logged: a subgraph may give each of its errors another."""


class _Answering:
    """Sends the answers to one operation."""

    def __init__(self, identity: str, send: Callable[[str], Awaitable[None]]) -> None:
        self._identity = identity
        self._send = send
        self._next = b'{"type":"next","id":' + encode_json(identity) + b',"payload":'
        self.is_refused = False
        """Whether an error was the last message."""
        self.sent = 0
        self.codes: set[str] = set()

    async def send_all(self, response: Response) -> None:
        """A response, or one for each event."""
        if response.events is None:
            await self._tell(response)
            return
        try:
            async for answer in response.events:
                await self._tell(answer)
                if self.is_refused:
                    return
        finally:
            await response.events.aclose()

    async def _tell(self, answer: Response) -> None:
        for error in answer.errors:
            if len(self.codes) < CODES_MAX:
                self.codes.add(error.own_code or error.code.name)
        if answer.refusal is not None:
            self.is_refused = True
            await self._send(_error(self._identity, answer.errors))
            return
        self.sent += 1
        await self._send((self._next + answer.encode_once() + b"}").decode())


def _text(message: Mapping[str, object]) -> str:
    return encode_json(dict(message)).decode()


def _error(identity: str, errors: Sequence[AnswerError]) -> str:
    return _text({"type": "error", "id": identity, "payload": [error.to_json() for error in errors]})


_Decoded = TypeVar("_Decoded")


def _decode(decoder: "msgspec.json.Decoder[_Decoded]", text: "str | msgspec.Raw", problem: str) -> _Decoded:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise _ClosedError(Close.BAD_MESSAGE, problem) from None


def _id_of(message: _Message) -> str:
    if not message.id or len(message.id) > ID_CHARACTERS_MAX:
        raise _ClosedError(Close.BAD_MESSAGE, "The message has no id that can be used")
    return message.id


def _is_header(value: object, bytes_max: int) -> bool:
    """Whether it can go on to a subgraph as a header's value."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= bytes_max
