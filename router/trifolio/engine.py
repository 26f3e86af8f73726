"""From a request to an answer, without a word of HTTP: limits, plan (cached), variables, execution.

Everything that follows from the query's text alone is done once and kept: one dictionary look-up by text, operation
name and @override labels brings the plan, ready to execute. What is left per request is to read the variables.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from graphql import OperationType

from trifolio.config import Config
from trifolio.document import choose_operation, read_document
from trifolio.errors import (
    AnswerError,
    ErrorCode,
    OperationError,
    PlanningError,
    RequestError,
    RouterError,
)
from trifolio.executor import PreparedPlan, Transport, execute, prepare
from trifolio.executor.encoding import encode_json
from trifolio.limits import Limits
from trifolio.observer import Observer, Observers, OperationEnded, OperationPlanned
from trifolio.planner import plan
from trifolio.query_plan import OperationKind
from trifolio.supergraph import Supergraph
from trifolio.variables import VariableDefinitions, coerce_variables, read_definitions

_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_NO_LABELS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Response:
    """A GraphQL response (GraphQL specification, section 7.1)."""

    data: Mapping[str, object] | None
    """What was asked for; None where the operation was refused, or where null reached the root."""
    errors: tuple[AnswerError, ...] = ()
    """What went wrong, each with its code and, where it is about a field, with its path."""
    refusal: RouterError | None = None
    """Why the operation was not executed to its end; None where it was, whatever became of its fields."""

    def to_json(self) -> dict[str, object]:
        """The response as JSON data: errors first, no `data` where the operation was refused."""
        body: dict[str, object] = {}
        if self.errors:
            body["errors"] = [error.to_json() for error in self.errors]
        if self.refusal is None:
            body["data"] = self.data
        return body

    def encode(self) -> bytes:
        """The response as JSON text."""
        return encode_json(self.to_json())


@dataclass(frozen=True, slots=True)
class PreparedOperation:
    """What the cache keeps of an operation."""

    kind: OperationKind
    name: str | None
    plan: PreparedPlan
    variables: VariableDefinitions


PlanKey = tuple[str, str | None, frozenset[str]]
"""What a plan follows from: the document's text, the operation's name, the @override labels that hold."""


class PlanCache:
    """The operations that were asked for last, bounded in number and in the length of their texts."""

    def __init__(self, limits: Limits) -> None:
        self._entries_max = limits.plan_cache_entries_max
        self._text_bytes_max = limits.plan_cache_text_bytes_max
        self._entries: OrderedDict[PlanKey, PreparedOperation] = OrderedDict()
        self._text_bytes = 0

    def get(self, key: PlanKey) -> PreparedOperation | None:
        """The operation, which is the last one used from here on; None where it is not kept."""
        operation = self._entries.get(key)
        if operation is not None:
            self._entries.move_to_end(key)
        return operation

    def put(self, key: PlanKey, operation: PreparedOperation) -> None:
        """Keep an operation that `get` did not find; those used longest ago make room for it."""
        self._entries[key] = operation
        self._text_bytes += len(key[0])
        while len(self._entries) > self._entries_max or self._text_bytes > self._text_bytes_max:
            (text, _, _), _ = self._entries.popitem(last=False)
            self._text_bytes -= len(text)


class Engine:
    """Answers operations on one supergraph; safe for any number of requests at once on one event loop."""

    def __init__(
        self,
        supergraph: Supergraph,
        *,
        transports: Mapping[str, Transport],
        config: Config,
        observer: Observer | None = None,
    ) -> None:
        self.supergraph = supergraph
        self.config = config
        self.transports = transports
        self._schema = supergraph.api_schema
        self._observer = observer
        self._plans = PlanCache(config.limits)
        self._labels = LabelRules(supergraph.labels, config)

    def add_observer(self, observer: Observer) -> None:
        """Report to `observer` as well, from the next request on."""
        self._observer = observer if self._observer is None else Observers((self._observer, observer))

    async def answer(
        self,
        query: str,
        *,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        context: object = None,
        queries_only: bool = False,
    ) -> Response:
        """Answer one operation; what is wrong with the request or a subgraph stands in the response, nothing raises.

        `headers` have names in lower case; the transports decide what of them goes on. `context` is handed to
        transports within this process. With `queries_only`, mutations are refused.
        """
        started = time.perf_counter()
        key = self._key(query, operation_name, headers)
        operation = self._plans.get(key)
        is_cached = operation is not None
        try:
            if operation is None:
                operation = self._prepare(*key)
            if queries_only and operation.kind != "query":
                raise OperationError(ErrorCode.MUTATION_OVER_GET)
            coerced = coerce_variables(self._schema, operation.variables, variables, self.config.limits)
        except (RequestError, PlanningError) as refusal:
            response = Response(None, refusal.errors(), refusal)
        else:
            response = await self._execute(operation, variables or _EMPTY, coerced, headers, context)
        if self._observer is not None:
            self._observer.operation_ended(_ended(operation, response, time.perf_counter() - started, is_cached))
        return response

    def kind_of(self, query: str, operation_name: str | None, headers: Mapping[str, str]) -> OperationKind | None:
        """What `answer` would execute, without executing it; None where it would refuse."""
        key = self._key(query, operation_name, headers)
        try:
            return (self._plans.get(key) or self._prepare(*key)).kind
        except (RequestError, PlanningError):
            return None

    async def close(self) -> None:
        """Close every transport; nothing may be answered after that."""
        for transport in self.transports.values():
            await transport.close()

    def _key(self, query: str, operation_name: str | None, headers: Mapping[str, str]) -> PlanKey:
        return (query, operation_name, self._labels.decide(headers) if self._labels.in_use else _NO_LABELS)

    # ---- once per operation ----

    def _prepare(self, query: str, operation_name: str | None, labels: frozenset[str]) -> PreparedOperation:
        """Everything that follows from the text; kept for the next request. Raises RequestError or PlanningError."""
        started = time.perf_counter()
        limits = self.config.limits
        document = read_document(query, self._schema, limits, introspection=self.config.introspection)
        chosen = choose_operation(document, operation_name)
        if chosen.operation is OperationType.SUBSCRIPTION:
            raise OperationError(ErrorCode.SUBSCRIPTION_NOT_SUPPORTED)
        name = chosen.name.value if chosen.name else None
        made = plan(document, self.supergraph, operation_name=name, labels=labels)
        operation = PreparedOperation(
            kind=made.kind,
            name=name,
            plan=prepare(made, name=name or ""),
            variables=read_definitions(chosen.variable_definitions or ()),
        )
        self._plans.put((query, operation_name, labels), operation)
        if self._observer is not None:
            seconds = time.perf_counter() - started
            self._observer.operation_planned(OperationPlanned(seconds, len(made.fetches), made.proven_minimal))
        return operation

    # ---- once per request ----

    async def _execute(
        self,
        operation: PreparedOperation,
        variables: Mapping[str, object],
        coerced: Mapping[str, object],
        headers: Mapping[str, str],
        context: object,
    ) -> Response:
        limits = self.config.limits
        try:
            async with asyncio.timeout(limits.operation_timeout_ms / 1000):
                answer = await execute(
                    operation.plan,
                    transports=self.transports,
                    schema=self._schema,
                    variables=variables,
                    coerced=coerced,
                    headers=headers,
                    context=context,
                    limits=limits,
                    observer=self._observer,
                )
        except TimeoutError:
            refusal = RouterError(ErrorCode.OPERATION_TIMEOUT)
            return Response(None, refusal.errors(), refusal)
        return Response(answer.data, answer.errors)


def _ended(operation: PreparedOperation | None, response: Response, seconds: float, is_cached: bool) -> OperationEnded:
    return OperationEnded(
        kind=operation.kind if operation else None,
        name=operation.name if operation else None,
        seconds=seconds,
        codes=tuple(error.subgraph_code or error.code.name for error in response.errors),
        plan_cached=is_cached,
    )


# ---- progressive @override ----

_PERCENT: Final = re.compile(r"percent\((\d{1,3}(?:\.\d+)?)\)")


class LabelRules:
    """Which @override labels hold for a request: once per request, and the same for the same sticky header.

    A `percent(n)` label holds for those whose hash falls into the first n percent, so that whoever is in percent(10) is
    in percent(20) too.
    """

    def __init__(self, labels: frozenset[str], config: Config) -> None:
        configured = config.override.labels
        percents = {label: match for label in labels if (match := _PERCENT.fullmatch(label))}
        self.always = frozenset(label for label in labels if configured.get(label))
        self.percents = [(float(match[1]), label) for label, match in percents.items()]
        self.sticky_header = config.override.sticky_header.lower()
        self.in_use = bool(self.always or self.percents)

    def decide(self, headers: Mapping[str, str]) -> frozenset[str]:
        """The labels that hold for a request with these headers."""
        if not self.percents:
            return self.always
        key = headers.get(self.sticky_header) or headers.get("x-request-id", "")
        position = int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) / 2**64 * 100
        return self.always.union(label for percent, label in self.percents if position < percent)
