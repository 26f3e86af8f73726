"""What becomes of each fetch of one operation, for those who ask to be told.

A trace is made for a request that asks for one, and for no other: its execution is a `TracedExecution`, and every other
is an `Execution` that knows nothing of this.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from trifolio.errors import SubgraphError
from trifolio.executor.asking import Ask
from trifolio.executor.encoding import decode_json, encode_json
from trifolio.executor.fetch import Execution
from trifolio.executor.prepare import PreparedFetch
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
from trifolio.query_plan import Fetch, Plan, path_text


class _Told(msgspec.Struct):
    """Of a subgraph's answer, how many errors are in it; the rest is not decoded."""

    errors: list[msgspec.Raw] | None = None


_TOLD = msgspec.json.Decoder(_Told)


@dataclass(slots=True)
class FetchTrace:
    """One fetch that was performed."""

    fetch: Fetch
    """What the plan says of it."""
    operation: str
    """What was sent."""
    variables: bytes | None
    """The variables that were sent, as JSON; None where they are large."""
    variables_bytes: int
    """How much JSON they are."""
    entities: int
    """How many entities were asked for."""
    started: float
    """When it began."""
    ended: float | None = None
    """When it ended; None while it goes on."""
    requests: int = 0
    """How many requests were sent: none where a plug-in has answered, several where one tries again."""
    response_bytes: int | None = None
    """The length of the answer's JSON; None where there was none, or no JSON."""
    is_shared: bool = False
    """Whether an equal request brought the answer, which was under way already."""
    code: str | None = None
    """Why there was no answer."""
    errors: int = 0
    """How many errors are in the answer."""

    def end(self, response: SubgraphResponse) -> None:
        """Take note of an answer."""
        self.ended = time.perf_counter()
        self.is_shared = response.is_shared
        if response.body is not None:
            self.response_bytes = len(response.body)
        self.errors = _errors_in(response)

    def fail(self, code: str) -> None:
        """Take note that there is none."""
        self.ended = time.perf_counter()
        self.code = code

    def to_json(self, origin: float) -> dict[str, object]:
        """What is known of it by now; times count from `origin`."""
        ended = time.perf_counter() if self.ended is None else self.ended
        told: dict[str, object] = {
            "id": self.fetch.id,
            "subgraph": self.fetch.subgraph,
            "startMs": _ms(self.started - origin),
            "durationMs": _ms(ended - self.started),
            "ended": self.ended is not None,
            "requests": self.requests,
            "entities": self.entities,
            "bytes": self.response_bytes,
            "shared": self.is_shared,
            "cached": self.ended is not None and self.code is None and self.requests == 0,
            "code": self.code,
            "errors": self.errors,
            "variables": None if self.variables is None else decode_json(self.variables),
            "variablesBytes": self.variables_bytes,
        }
        if self.operation != self.fetch.operation:
            told["operation"] = self.operation
        return told


class Watch:
    """What is new of one operation's trace, for whoever tells it while the operation goes on.

    What nobody has taken is kept once for each fetch, as it is when it is taken: a plan's fetches are all that there
    can ever be of it.
    """

    def __init__(self, on_news: Callable[[], None]) -> None:
        """`on_news` is called whenever there is something to take."""
        self._on_news = on_news
        self._trace: Trace | None = None
        self._news: dict[int, FetchTrace] = {}
        self._has_told = False

    def tell(self, trace: "Trace", record: FetchTrace) -> None:
        """Take note that a fetch has begun, or ended."""
        self._trace = trace
        self._news[record.fetch.id] = record
        self._on_news()

    def take(self) -> dict[str, object] | None:
        """The fetches that are new or have ended since the last time, as JSON values, the first time with the plan;
        None where there are none."""
        if self._trace is None or not self._news:
            return None
        news, self._news = self._news, {}
        with_plan, self._has_told = not self._has_told, True
        return self._trace.to_json(with_plan=with_plan, fetches=news.values())


@dataclass(slots=True)
class Trace:
    """What becomes of one operation, or of one event of a subscription."""

    plan: Plan
    """What was to be done."""
    is_cached: bool
    """Whether the plan was there already."""
    variables_bytes_max: int
    """Variables that are more JSON are left out."""
    started: float = field(default_factory=time.perf_counter)
    """What times count from."""
    fetches: list[FetchTrace] = field(default_factory=list)
    """The fetches that were performed, in the order in which they began."""
    watch: Watch | None = None
    """Who is told of a fetch when it begins and when it ends."""

    def begin(self, asked: Ask) -> FetchTrace:
        """Take note that a fetch begins."""
        try:
            sent = encode_json(asked.variables)
        except TypeError:  # objects of whoever embeds the router
            sent = b"null"
        record = FetchTrace(
            asked.prepared.fetch,
            asked.operation,
            sent if len(sent) <= self.variables_bytes_max else None,
            len(sent),
            asked.representations,
            time.perf_counter(),
        )
        self.fetches.append(record)
        self.tell(record)
        return record

    def tell(self, record: FetchTrace) -> None:
        """Tell who watches, if anybody does, what has become of a fetch."""
        if self.watch is not None:
            self.watch.tell(self, record)

    def event(self, fetch: Fetch, event: SubgraphResponse) -> None:
        """Take note of a subscription's event: it came by itself."""
        record = FetchTrace(fetch, fetch.operation, b"{}", 2, 0, self.started)
        self.fetches.append(record)
        record.requests = 1
        record.end(event)
        record.ended = record.started

    def to_json(self, *, with_plan: bool = True, fetches: Iterable[FetchTrace] | None = None) -> dict[str, object]:
        """What is known by now, of all fetches or of some, as JSON values."""
        told: dict[str, object] = {"durationMs": _ms(time.perf_counter() - self.started), "planCached": self.is_cached}
        if with_plan:
            told["plan"] = [_planned(fetch) for fetch in self.plan.fetches]
        told["fetches"] = [each.to_json(self.started) for each in (self.fetches if fetches is None else fetches)]
        return told


@dataclass(slots=True)
class TracedExecution(Execution):
    """An execution that tells a trace of each of its fetches."""

    trace: Trace | None = None

    def take(self, prepared: PreparedFetch, event: SubgraphResponse) -> None:
        """As of any execution, and told."""
        assert self.trace is not None
        self.trace.event(prepared.fetch, event)
        Execution.take(self, prepared, event)

    async def _send(self, asked: Ask) -> SubgraphResponse:
        assert self.trace is not None
        record = self.trace.begin(asked)
        subgraph = asked.prepared.fetch.subgraph
        transport = self.transports.get(subgraph)
        counted = {} if transport is None else {subgraph: _Counted(transport, record)}
        sender = replace(self, transports=counted)  # which is for this fetch alone
        try:
            response = await Execution._send(sender, asked)
        except SubgraphError as error:
            record.fail(error.code.name)
            self.trace.tell(record)
            raise
        record.end(response)
        self.trace.tell(record)
        return response


class _Counted:
    """A transport whose requests are counted."""

    def __init__(self, transport: Transport, record: FetchTrace) -> None:
        self._transport = transport
        self._record = record

    async def send(self, request: SubgraphRequest) -> SubgraphResponse:
        self._record.requests += 1
        return await self._transport.send(request)

    async def close(self) -> None:
        await self._transport.close()


def _planned(fetch: Fetch) -> dict[str, object]:
    return {
        "id": fetch.id,
        "subgraph": fetch.subgraph,
        "kind": fetch.kind,
        "dependsOn": list(fetch.depends_on),
        "deferred": fetch.deferred is not None,
        "entities": fetch.is_entity_fetch,
        "paths": sorted({path_text(path) for entry in fetch.entries for path in entry.paths}),
        "operation": fetch.operation,
    }


def _errors_in(response: SubgraphResponse) -> int:
    if response.body is not None:
        try:
            return len(_TOLD.decode(response.body).errors or ())
        except (msgspec.MsgspecError, RecursionError):
            return 0  # whoever reads it says what is wrong
    payload: Any = response.payload
    errors = payload.get("errors") if isinstance(payload, dict) else None
    return len(errors) if isinstance(errors, list) else 0


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
