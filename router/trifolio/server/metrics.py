"""Counters and histograms in Prometheus' text form: an observer that adds up, and a page that prints.

Labels come from closed sets only (operation kinds, subgraph names, codes of the catalogue), never from a client's text,
so the number of series is bounded. Every process counts for itself.

Specification: Prometheus text exposition format 0.0.4.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from trifolio.errors import ErrorCode
from trifolio.observer import EngineState, FetchEnded, OperationEnded, OperationPlanned
from trifolio.server.edge import Held

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How long things took, in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The histogram's series: cumulative buckets, sum and count."""
        separator = "," if labels else ""
        cumulative = list(accumulate(self.counts))
        for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), cumulative, strict=True):
            yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {count}'
        suffix = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{suffix} {self.sum:.6f}"
        yield f"{name}_count{suffix} {cumulative[-1]}"


class Metrics:
    """Adds up what the engine and the server report; lives as long as the process."""

    def __init__(self, subgraphs: Iterable[str]) -> None:
        self._operations = _histograms(("query", "mutation", "unknown"))
        self._fetches = _histograms(sorted(subgraphs))
        self._shared_fetches: Counter[str] = Counter()
        self._fetch_failures: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._responses: Counter[int] = Counter()
        self._planning = Histogram()
        self._plan_cache: Counter[bool] = Counter()
        self.requests_in_flight = 0
        self.websockets = 0
        """Open WebSockets of clients."""
        self.shared_answers = 0
        """Answers to queries that another client's equal query brought."""
        self.connections: Held | None = None
        """Those of clients, where the server that they come through tells of them."""

    # ---- what is reported ----

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Count a plan that was made."""
        self._planning.observe(event.seconds)

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Count a request to a subgraph."""
        self._fetches[event.subgraph].observe(event.seconds)
        if event.is_shared:
            self._shared_fetches[event.subgraph] += 1
        if event.code is not None:
            self._fetch_failures[event.subgraph, event.code.name] += 1

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Count an answered operation and its errors."""
        self._operations[event.kind or "unknown"].observe(event.seconds)
        self._plan_cache[event.plan_cached] += 1
        for code in event.codes:
            self._errors[code if code in ErrorCode.__members__ else "subgraph_code"] += 1

    def response_sent(self, status: int) -> None:
        """Count an HTTP response."""
        self._responses[status] += 1

    # ---- what is printed ----

    def text(self, state: EngineState) -> str:
        """Everything, in Prometheus' text form; `state` is the engine's at the moment."""
        return "".join(f"{line}\n" for line in (*self._lines(), *_state_lines(state)))

    def _lines(self) -> Iterator[str]:
        yield from _head("router_http_responses_total", "counter", "HTTP responses by status.")
        for status, count in sorted(self._responses.items()):
            yield f'router_http_responses_total{{status="{status}"}} {count}'
        yield from _head("router_http_requests_in_flight", "gauge", "HTTP requests being served.")
        yield f"router_http_requests_in_flight {self.requests_in_flight}"
        yield from _value("router_websockets", "gauge", "Open WebSockets of clients.", self.websockets)
        if self.connections is not None:
            yield from _value("router_http_connections", "gauge", "Connections of clients.", len(self.connections))
            text = "Connections that were refused, as there were too many."
            yield from _value("router_http_connections_refused_total", "counter", text, self.connections.refused)
            text = "Bytes of requests that have not arrived whole."
            yield from _value("router_http_held_bytes", "gauge", text, self.connections.held_bytes)
        yield from _head("router_operation_seconds", "histogram", "GraphQL operations by kind.")
        for kind, histogram in self._operations.items():
            yield from histogram.lines("router_operation_seconds", f'kind="{kind}"')
        text = "Answers that were those to an equal query under way."
        yield from _value("router_shared_answers_total", "counter", text, self.shared_answers)
        yield from _head("router_errors_total", "counter", "Errors in answers by code.")
        for code, count in sorted(self._errors.items()):
            yield f'router_errors_total{{code="{code}"}} {count}'
        yield from _head("router_plan_cache_total", "counter", "Plan cache look-ups.")
        for hit in (True, False):
            yield f'router_plan_cache_total{{result="{"hit" if hit else "miss"}"}} {self._plan_cache[hit]}'
        yield from _head("router_planning_seconds", "histogram", "Parsing, validating and planning one operation.")
        yield from self._planning.lines("router_planning_seconds", "")
        yield from _head("router_fetch_seconds", "histogram", "Requests to subgraphs.")
        for subgraph, histogram in self._fetches.items():
            yield from histogram.lines("router_fetch_seconds", f'subgraph="{_escaped(subgraph)}"')
        yield from _head("router_shared_fetches_total", "counter", "Fetches that took the response to an equal one.")
        for subgraph, count in sorted(self._shared_fetches.items()):
            yield f'router_shared_fetches_total{{subgraph="{_escaped(subgraph)}"}} {count}'
        yield from _head("router_fetch_failures_total", "counter", "Requests to subgraphs that brought no answer.")
        for (subgraph, code), count in sorted(self._fetch_failures.items()):
            yield f'router_fetch_failures_total{{subgraph="{_escaped(subgraph)}",code="{code}"}} {count}'


def _histograms(labels: Iterable[str]) -> defaultdict[str, Histogram]:
    """One for each of these labels, in this order, and for any that comes."""
    return defaultdict(Histogram, {label: Histogram() for label in labels})


def _state_lines(state: EngineState) -> Iterator[str]:
    for name, kind, text, value in (
        ("router_plan_cache_entries", "gauge", "Operations in the plan cache.", state.plans),
        ("router_plan_cache_bytes", "gauge", "What they take in memory, by estimate.", state.plans_bytes),
        ("router_refusal_cache_entries", "gauge", "Operations that are known to be refused.", state.refusals),
        (
            "router_code_fallbacks_total",
            "counter",
            "Data that generated code left to the interpreter.",
            state.fallbacks,
        ),
        ("router_subscriptions", "gauge", "Open subscriptions of clients.", state.subscriptions),
        (
            "router_upstream_subscriptions",
            "gauge",
            "Open subscriptions at subgraphs.",
            state.upstream_subscriptions,
        ),
        ("router_subscription_events_total", "counter", "Events sent to clients.", state.events),
        (
            "router_subscription_events_missed_total",
            "counter",
            "Events left out, as their clients did not read.",
            state.events_missed,
        ),
    ):
        yield from _value(name, kind, text, value)


def _value(name: str, kind: str, text: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, text)
    yield f"{name} {value}"


def _head(name: str, kind: str, text: str) -> Sequence[str]:
    return (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
