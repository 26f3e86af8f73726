"""Clients: connections that send requests, and look at every answer.

    closed    each of so many connections sends its next request when it has the answer to the last one
    paced     so many requests a second, whatever the answers; what finds no free connection waits, and that counts

Every answer is compared with the expected value: the first one as JSON, later ones by their bytes, and those whose
bytes are new as JSON again. One that is wrong ends the measurement.
"""

import asyncio
import gc
import json
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools
import orjson

from bench.processes import NotMeasured

_TICK_S = 0.001
_LATE_S = 0.002
"""A tick of the pace that comes later than this is the clients' fault; its requests began when they were due."""
_KNOWN_MAX = 16
"""Answers that are right and differ in their bytes, as in the order of their fields."""
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Question:
    """What clients ask. The number of a request, from 0, may be in its body and in the value of its answer."""

    body: Callable[[int], bytes]
    expected: Callable[[int], Any]
    """The answer's data; for something else than GraphQL, the whole answer."""
    errors: int = 0
    """How many errors the answer has."""
    varies: bool = False
    """Whether every answer differs from the others."""
    method: str = "POST"
    path: str = "/graphql"
    """Where it is asked, for something else than GraphQL."""
    is_graphql: bool = True

    @classmethod
    def same(cls, query: str, expected: Callable[[], Any], *, errors: int = 0) -> "Question":
        """One operation, again and again; what it has to be answered with is computed when it is wanted."""
        body = json.dumps({"query": query}).encode()
        return cls(lambda _: body, lambda _: expected(), errors)

    def problem(self, number: int, status: int, body: bytes) -> str:
        """What is wrong with an answer; empty where nothing is."""
        if status != 200:
            return f"status {status}"
        try:
            answer = orjson.loads(body)
        except ValueError:
            return "no JSON"
        expected = self.expected(number)
        if not self.is_graphql:
            return "" if answer == expected else "another answer than expected"
        if len(answer.get("errors", ())) != self.errors:
            return f"not {self.errors} errors"
        return "" if answer.get("data") == expected else "other data than expected"


class Answers:
    """Looks at answers to one question."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._known: list[bytes] = []
        self.read_as_json = 0

    def check(self, number: int, status: int, body: bytes) -> None:
        """Raises NotMeasured for an answer that is not what was expected."""
        if status == 200 and body in self._known:
            return
        problem = self._question.problem(number, status, body)
        if problem:
            raise NotMeasured(f"request {number}: {problem}: {body[:500]!r}")
        self.read_as_json += 1
        if not self._question.varies and len(self._known) < _KNOWN_MAX:
            self._known.append(body)


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw of one measurement."""

    requests: int
    seconds: float
    latencies_ms: "array[float]"
    """Sorted."""

    @property
    def per_s(self) -> float:
        """Answers in a second."""
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many of a hundred had their answers."""
        return self.latencies_ms[min(int(len(self.latencies_ms) * percent / 100), len(self.latencies_ms) - 1)]


class Clients:
    """Connections to one URL, kept from one measurement to the next."""

    def __init__(
        self, url: str, question: Question, connections: int, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._place = parts.hostname, parts.port
        fields = {"host": parts.netloc, "accept": "application/json", **(headers or {})}
        if question.method == "POST":
            fields["content-type"] = "application/json"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        self._head = f"{question.method} {path} HTTP/1.1\r\n{lines}".encode()
        self._question = question
        self._answers = Answers(question)
        self._connections = [_Connection(self) for _ in range(connections)]
        self.asked = 0
        self._in_flight = 0
        self._repeated = 0
        self._repeating: set[asyncio.Task[None]] = set()
        self._latencies = array("d")
        self._done: asyncio.Future[None] | None = None
        self._when_free: Callable[[_Connection], None] = self._rest

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._done = None
        for connection in self._connections:
            connection.close()

    async def _connect(self) -> None:
        """Opens what is not open: some servers close what was idle for a few seconds."""
        for connection in self._connections:
            if not connection.is_open:
                await self._open(connection)

    async def _open(self, connection: "_Connection") -> None:
        await asyncio.get_running_loop().create_connection(lambda: connection, *self._place)

    async def closed(self, *, seconds: float = 0.0, requests: int = 0) -> Load:
        """Asks for so many seconds, or so often; each connection sends one request after the other."""
        await self._connect()
        stop_at: float | None = None
        left = requests

        def ask(connection: _Connection) -> None:
            nonlocal left
            now = time.perf_counter()
            if now < stop_at if stop_at is not None else left > 0:
                left -= 1
                connection.send(now)
            elif not self._in_flight:
                self._finish()

        with self._measuring(ask) as done:
            began = time.perf_counter()
            stop_at = began + seconds if seconds else None
            for connection in self._connections:
                ask(connection)
            await self._wait(done)
        return self._load(began)

    async def paced(self, *, per_s: float, seconds: float) -> Load:
        """Asks at this pace for so many seconds."""
        await self._connect()
        total, sent, tick = max(round(per_s * seconds), 1), 0, 0
        idle, due = deque(self._connections), deque[float]()

        def ask(connection: _Connection) -> None:
            if due:
                connection.send(due.popleft())
            else:
                idle.append(connection)
                if sent >= total and not self._in_flight:
                    self._finish()

        with self._measuring(ask) as done:
            began = time.perf_counter()
            while sent < total and not done.done():
                tick += 1
                scheduled = began + tick * _TICK_S
                await asyncio.sleep(max(scheduled - time.perf_counter(), 0))
                now = time.perf_counter()
                begun = scheduled if now - scheduled > _LATE_S else now
                while sent < min(per_s * tick * _TICK_S, total):
                    sent += 1
                    due.append(begun)
                while due and idle:
                    idle.popleft().send(due.popleft())
            await self._wait(done)
        return self._load(began)

    @contextmanager
    def _measuring(self, when_free: Callable[["_Connection"], None]) -> Iterator["asyncio.Future[None]"]:
        self._when_free = when_free
        self._in_flight = 0
        self._repeated = 0
        self._latencies = array("d")
        self._done = asyncio.get_running_loop().create_future()
        gc.collect()
        gc.disable()
        try:
            yield self._done
        finally:
            gc.enable()
            self._done, self._when_free = None, self._rest

    async def _wait(self, done: "asyncio.Future[None]") -> None:
        """Until all have their answers; raises NotMeasured when none comes any more."""
        before = -1
        while not done.done():
            if before == len(self._latencies):
                raise NotMeasured(f"no answer within {ANSWER_TIMEOUT_S:.0f} s, {self._in_flight} are waited for")
            before = len(self._latencies)
            await asyncio.wait([done], timeout=ANSWER_TIMEOUT_S)
        done.result()

    def _load(self, began: float) -> Load:
        seconds = time.perf_counter() - began
        return Load(len(self._latencies), seconds, array("d", sorted(each * 1e3 for each in self._latencies)))

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _rest(self, _connection: "_Connection") -> None:
        """Between measurements nobody asks."""

    # What connections call.

    def next_number(self) -> int:
        """The number of the next request."""
        self.asked += 1
        self._in_flight += 1
        return self.asked - 1

    def request(self, number: int) -> bytes:
        """The request of a number."""
        body = self._question.body(number)
        return b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body)

    def answered(self, connection: "_Connection", number: int, begun: float, status: int, body: bytes) -> None:
        """Looks at an answer, and lets the connection ask again."""
        self._latencies.append(time.perf_counter() - begun)
        self._in_flight -= 1
        try:
            self._answers.check(number, status, body)
        except NotMeasured as error:
            self.failed(str(error))
        else:
            self._when_free(connection)

    def lost(self, connection: "_Connection", number: int, begun: float) -> None:
        """Asks again over a new connection, as every client does: a server may close one that has been idle at the very
        moment at which a request is sent. One for each connection is by chance, more of them are a failure."""
        self._repeated += 1
        if self._done is None or self._done.done():
            return
        if self._repeated > len(self._connections):
            self.failed("connections end before their answers are there")
            return
        task = asyncio.get_running_loop().create_task(self._repeat(connection, number, begun))
        self._repeating.add(task)
        task.add_done_callback(self._repeating.discard)

    async def _repeat(self, connection: "_Connection", number: int, begun: float) -> None:
        try:
            await self._open(connection)
        except OSError as error:
            self.failed(f"no connection is opened: {error}")
        else:
            connection.send(begun, number)

    def failed(self, reason: str) -> None:
        """Ends the measurement."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(NotMeasured(reason))


class _Connection(asyncio.Protocol):
    """One connection, which waits for one answer at a time."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self._number: int | None = None
        self._begun = 0.0
        self._body: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, begun: float, number: int | None = None) -> None:
        """Sends the next request, or that of a number again; its time counts from `begun`."""
        number = self._clients.next_number() if number is None else number
        if self._transport is None or self._transport.is_closing():
            self._clients.lost(self, number, begun)
            return
        self._number, self._begun = number, begun
        self._transport.write(self._clients.request(number))

    def close(self) -> None:
        """Nothing more is asked."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._number = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        number, self._number = self._number, None
        if number is not None:
            self._clients.lost(self, number, self._begun)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._clients.failed(f"an answer is no HTTP: {error}")

    def on_message_begin(self) -> None:
        self._body = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        number, self._number = self._number, None
        if number is not None:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._clients.answered(self, number, self._begun, self._parser.get_status_code(), body)
