"""From a request to an answer, without a word of HTTP: limits, plan (cached), variables, execution.

Everything that follows from the query's text alone is done once and kept: one dictionary look-up by `PlanKey` brings
the plan, ready to execute. What is left per request is to read the variables. Where plug-ins have hooks, a request goes
through them on its way; where none has, none of that is touched.
"""

import asyncio
import logging
import math
import re
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final
from weakref import WeakValueDictionary

from graphql.language import DocumentNode

from trifolio.api_schema import with_defer
from trifolio.authorization import Caller, GuardedFields, guarded_fields
from trifolio.bounded_cache import BoundedCache
from trifolio.config import Config
from trifolio.deadline import Deadline
from trifolio.document import check_text, choose_operation, read_document, without_name
from trifolio.errors import (
    AnswerError,
    ErrorCode,
    InternalError,
    InternalText,
    OperationError,
    PlanningError,
    RequestError,
    RouterError,
    Unauthorized,
)
from trifolio.executor import (
    Around,
    PreparedPlan,
    SubgraphRequest,
    SubgraphResponse,
    Trace,
    Transport,
    Watch,
    answer_event,
    execute,
    execute_in_parts,
    prepare,
)
from trifolio.executor.encoding import encode_json
from trifolio.executor.struct_answer import StructsRoom
from trifolio.hiding import SelectedFields, selected_fields, without_fields
from trifolio.observer import EngineState, Observer, Observers, OperationEnded, OperationPlanned
from trifolio.parts import Parts
from trifolio.planner import plan
from trifolio.plugins import Hooks, OperationContext, RequestContext
from trifolio.query_plan import Fetch, OperationKind, Plan
from trifolio.response import Response, ResponsePart
from trifolio.sharing import Sharing
from trifolio.subscription import Subscriptions
from trifolio.supergraph import Supergraph
from trifolio.traces import asks_for_trace, with_trace
from trifolio.turns import Turns
from trifolio.variables import (
    VariableDefinitions,
    check_conditions,
    coerce_variables,
    nullable_conditions,
    read_definitions,
)
from trifolio.work import Work

_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PreparedOperation:
    """What the cache keeps of an operation."""

    kind: OperationKind
    name: str | None
    plan: PreparedPlan
    variables: VariableDefinitions
    conditions: tuple[str, ...]
    """The variables that decide a condition and could be null."""
    selected: SelectedFields | None
    """What it selects, where plug-ins want to know."""
    guarded: GuardedFields | None
    """What of it the supergraph guards; None: nothing."""
    shut: frozenset[str]
    """Those of the guarded fields that the plan leaves out."""


@dataclass(slots=True)
class _Preparing:
    """An operation that is being prepared."""

    task: "asyncio.Task[PreparedOperation]"
    wanted: int = 0
    """By how many requests; when the last one has gone, it ends."""


PlanKey = tuple[str, str | None, frozenset[str], bool, frozenset[str], frozenset[str]]
"""What a plan follows from: the document's text, the operation's name, the @override labels that hold, whether what is
under @defer may come later, and the fields that the caller may not see, as `Type.field`: those that plug-ins hide, and
those that the supergraph's rules shut.

A plain tuple, as one is made for every request."""


_log: Final = logging.getLogger("trifolio.error")


class Engine:
    """Answers operations on one supergraph; safe for any number of requests at once on one event loop."""

    def __init__(
        self,
        supergraph: Supergraph,
        *,
        transports: Mapping[str, Transport],
        config: Config,
        observer: Observer | None = None,
        plugins: Sequence[object] = (),
    ) -> None:
        """Raises ConfigError for an object that is no plug-in."""
        self.supergraph = supergraph
        self.config = config
        self.transports = transports
        self._schema = with_defer(supergraph.api_schema)
        self._defers = self._schema is not supergraph.api_schema
        self._observer = observer
        limits = config.limits
        self._turns = Turns(
            computations_max=limits.computations_max, long_computations_max=limits.long_computations_max
        )
        self._plans: BoundedCache[PlanKey, PreparedOperation] = BoundedCache(
            entries_max=limits.plan_cache_entries_max, bytes_max=limits.plan_cache_bytes_max
        )
        self._refusals: BoundedCache[bytes, RouterError] = BoundedCache(
            entries_max=limits.refusal_cache_bytes_max, bytes_max=limits.refusal_cache_bytes_max
        )
        self._nameless: WeakValueDictionary[bytes, PreparedOperation] = WeakValueDictionary()
        """Kept operations by what is left of their keys without their names."""
        self._preparing: dict[PlanKey, _Preparing] = {}
        """What is being prepared: whoever asks for the same waits for it."""
        self._mutations: set[asyncio.Task[Response]] = set()
        """Those that are being executed."""
        self._fallbacks = 0
        self._structs_room = StructsRoom(self.config.limits.struct_fields_max)
        self._labels = LabelRules(supergraph.labels, config)
        own_timeouts = {name: own.timeout_ms for name, own in config.subgraphs.items() if own.timeout_ms is not None}
        self._hooks = Hooks(plugins, limits, own_timeouts) if plugins else None
        self._rejects = config.authorization.mode == "reject"
        self._traces = config.traces
        self._deciding_headers = self._read_deciding_headers() if config.sharing.queries else None
        """The headers that an answer may depend on; None: answers are not shared."""
        self.shared_answers: Sharing[Any] | None = None if self._deciding_headers is None else Sharing()
        """Where whoever serves this finds the answers under way, by `sharing_key`; None: they are not shared."""
        self._subscriptions = Subscriptions(transports, config)

    @property
    def state(self) -> EngineState:
        """What it holds at the moment."""
        subscriptions = self._subscriptions
        return EngineState(
            len(self._plans),
            self._plans.held_bytes,
            len(self._refusals),
            self._fallbacks,
            len(subscriptions),
            subscriptions.feeds,
            subscriptions.events,
            subscriptions.events_missed,
        )

    def add_observer(self, observer: Observer) -> None:
        """Report to `observer` as well, from the next request on."""
        self._observer = observer if self._observer is None else Observers((self._observer, observer))

    async def start(self) -> None:
        """Let the plug-ins open what they need; the first request does it where nobody did. Raises ConfigError."""
        if self._hooks is not None:
            await self._hooks.start()

    async def close(self) -> None:
        """End subscriptions, let the plug-ins close what they opened, and close every transport; nothing may be
        answered after that.

        Mutations whose clients have gone have until then `shutdown_timeout_ms` to end.
        """
        await self._subscriptions.close()
        if self._mutations:
            await asyncio.wait(self._mutations, timeout=self.config.limits.shutdown_timeout_ms / 1000)
        if self._hooks is not None:
            await self._hooks.stop()
        for transport in self.transports.values():
            await transport.close()

    def end_subscriptions(self) -> None:
        """End every subscription when its client has what waits for it, and begin none any more."""
        self._subscriptions.end_all()

    def answer(
        self,
        query: str,
        *,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        context: object = None,
        extensions: Mapping[str, object] | None = None,
        method: str | None = None,
        queries_only: bool = False,
        incremental: bool = False,
        as_text: bool = False,
        events: bool = False,
        watch: Watch | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Answer one operation; what is wrong with the request or a subgraph stands in the response, nothing raises.

        `headers` have names in lower case; the transports decide what of them goes on. `context` is handed to
        transports within this process, `extensions` and `method` to plug-ins. With `queries_only`, mutations are
        refused. With `incremental`, what is under @defer may come later (`Response.later`), with `events` a
        subscription is answered (`Response.events`), which else is refused; with `as_text`, the data may come as JSON
        text (`Response.text`), unless there are plug-ins. A `watch` is told of the fetches as they begin and end, where
        the client may have a trace, and no plug-in has a hook for what is answered: that could still choose a status
        and headers. Cancelling the call ends every fetch in flight; a mutation
        goes on to its end.
        """
        if self._hooks is None:
            return self._answer(
                query,
                variables,
                operation_name,
                headers,
                context,
                queries_only=queries_only,
                incremental=incremental,
                as_text=as_text,
                events=events,
                watch=watch,
            )
        request = RequestContext(
            query,
            operation_name,
            variables,
            dict(headers),
            request_id=headers.get("x-request-id"),
            extensions=extensions or {},
            context=context,
            method=method,
        )
        return self._answer_through(
            self._hooks, request, queries_only=queries_only, incremental=incremental, events=events, watch=watch
        )

    async def stream(
        self,
        query: str,
        *,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        context: object = None,
    ) -> AsyncGenerator[ResponsePart, None]:
        """Answer one operation in parts: the first has all that is not deferred; a subscription, event by event. As
        `answer`, nothing raises.

        Who stops reading closes the generator, which ends every fetch in flight, and the subscription.
        """
        response = await self.answer(
            query,
            variables=variables,
            operation_name=operation_name,
            headers=headers,
            context=context,
            incremental=True,
            events=True,
        )
        if response.events is not None:
            try:
                async for event in response.events:
                    has_next = event.refusal is None
                    yield ResponsePart(event.data, event.errors, has_next=has_next, extensions=event.extensions)
            finally:
                await response.events.aclose()
            return
        later = response.later
        if later is None:
            yield ResponsePart(response.data, response.errors, extensions=response.extensions)
            return
        try:
            yield ResponsePart(response.data, response.errors, has_next=True, extensions=response.extensions)
            async for parts in later:
                last = len(parts.parts) - 1
                for index, part in enumerate(parts.parts):
                    yield ResponsePart(
                        part.data,
                        part.errors,
                        part.pending.path,
                        part.pending.label,
                        has_next=parts.has_next or index < last,
                        extensions=part.extensions,
                    )
        finally:
            await later.aclose()

    def sharing_key(
        self,
        query: str,
        variables: Mapping[str, object] | None,
        operation_name: str | None,
        headers: Mapping[str, str],
    ) -> Hashable | None:
        """Everything that the answer to a query follows from, for `Sharing`; None where it is not to be shared.

        Shared are queries that have been planned, that no plug-in and no access rule has a say in, and whose subgraphs
        are all reached over HTTP, so that it is known what they can read of the client's headers.
        """
        names = self._deciding_headers
        if names is None or (self._traces and asks_for_trace(headers)):
            return None
        key = self._key(query, operation_name, headers, incremental=False)
        operation = self._plans.get(key)
        if operation is None or operation.kind != "query" or operation.guarded is not None:
            return None
        sent = encode_json(variables) if variables else b""
        return key, sent, tuple([headers.get(name) for name in names])

    def _read_deciding_headers(self) -> tuple[str, ...] | None:
        if self._hooks is not None:
            return None
        names: set[str] = set()
        for transport in self.transports.values():
            forwarded = getattr(transport, "forwarded_headers", None)
            if forwarded is None:
                return None
            names.update(forwarded)
        return tuple(sorted(names))

    def _key(self, query: str, operation_name: str | None, headers: Mapping[str, str], *, incremental: bool) -> PlanKey:
        labels = self._labels.decide(headers) if self._labels.in_use else _NOTHING
        return query, operation_name, labels, incremental and self._defers and "@defer" in query, _NOTHING, _NOTHING

    # ---- once per operation ----

    async def _prepared(self, key: PlanKey) -> PreparedOperation:
        """The operation as it is executed: kept, or prepared now, in turns with others.

        Raises:
            RouterError: it is refused, now or as it was before; or too many are being prepared, or for too long.
        """
        operation = self._plans.get(key)
        if operation is not None:
            return operation
        known = self._refusals.get(_digest(key))
        if known is not None:
            raise known.with_traceback(None)
        limits = self.config.limits
        preparing = self._preparing.get(key)
        if preparing is None:
            task = asyncio.create_task(self._turns.run(partial(self._prepare, key), limits.request_work_max))
            task.add_done_callback(partial(self._end_preparing, key))
            preparing = self._preparing[key] = _Preparing(task)
        preparing.wanted += 1
        try:
            async with asyncio.timeout(limits.operation_timeout_ms / 1000):
                return await asyncio.shield(preparing.task)  # others may wait for it
        except TimeoutError:
            raise RouterError(ErrorCode.OVERLOADED) from None
        finally:
            preparing.wanted -= 1
            if not preparing.wanted and not preparing.task.done():  # nobody is there any more
                del self._preparing[key]
                preparing.task.cancel()

    def _end_preparing(self, key: PlanKey, task: "asyncio.Task[PreparedOperation]") -> None:
        """Keep what came of it. A refusal follows from the text, unless it is the router's own trouble."""
        preparing = self._preparing.get(key)
        if preparing is not None and preparing.task is task:
            del self._preparing[key]
        failure = None if task.cancelled() else task.exception()
        if isinstance(failure, RequestError | PlanningError):
            _alone(failure)
            told = sum(len(error.message) + _ERROR_BYTES for error in failure.errors())
            self._refusals.put(_digest(key), failure, _REFUSAL_BYTES + told)

    def _prepare(self, key: PlanKey, work: Work) -> PreparedOperation:
        """Everything that follows from the text; kept for the next request. Raises RequestError or PlanningError.

        What differs from another operation in its name alone has that one's plan.
        """
        nameless, name = _without_name(key)
        known = None if nameless is None else self._nameless.get(nameless)
        if known is None:
            operation = self._prepare_anew(key, work)
        else:
            check_text(key[0], self.config.limits)
            operation = replace(known, name=name)
        held_bytes = _TEXT_COPIES * len(key[0].encode(errors="replace")) + operation.plan.held_bytes
        self._plans.put(key, operation, held_bytes)  # its plan may outlive that of the other name
        if nameless is not None and known is None:
            self._nameless[nameless] = operation
        return operation

    def _prepare_anew(self, key: PlanKey, work: Work) -> PreparedOperation:
        started = time.perf_counter()
        limits = self.config.limits
        text, operation_name, _, _, hidden, shut = key
        document = read_document(text, self._schema, limits, introspection=self.config.introspection, work=work)
        chosen = choose_operation(document, operation_name)
        name = chosen.name.value if chosen.name else None
        wants_fields = self._hooks is not None and self._hooks.sees_operations
        shown = without_fields(document, self._schema, hidden, shut, work)
        made = self._plan(shown, name, key, work)
        prepared = prepare(made, name=name or "", schema=self._schema, work=work, room=self._structs_room)
        operation = PreparedOperation(
            kind=made.kind,
            name=name,
            plan=prepared,
            variables=read_definitions(chosen.variable_definitions or ()),
            conditions=nullable_conditions(document, chosen.variable_definitions or ()),
            selected=selected_fields(document, self._schema, work) if wants_fields else None,
            guarded=guarded_fields(document, chosen, self.supergraph, work),
            shut=shut,
        )
        if self._observer is not None:
            seconds = time.perf_counter() - started
            self._observer.operation_planned(OperationPlanned(seconds, len(made.fetches), made.proven_minimal))
        return operation

    def _plan(self, document: DocumentNode, name: str | None, key: PlanKey, work: Work) -> Plan:
        """The operation's plan, in parts where that can be planned with half of the budget."""
        _, _, labels, incremental, _, _ = key
        selections_max = self.config.limits.operation_selections_max
        make = partial(plan, document, self.supergraph, name, labels, selections_max=selections_max)
        if incremental:
            half = work.half()
            try:
                return make(incremental=True, work=half)
            except PlanningError:
                pass  # parts are more work to plan; a server may answer at once
            finally:
                work.spend(min(half.spent, half.units_max))
        return make(work=work)

    # ---- once per request ----

    async def _answer(
        self,
        query: str,
        variables: Mapping[str, object] | None,
        operation_name: str | None,
        headers: Mapping[str, str],
        context: object,
        *,
        queries_only: bool,
        incremental: bool,
        events: bool,
        as_text: bool = False,
        request: RequestContext | None = None,
        deadline: float | None = None,
        watch: Watch | None = None,
    ) -> Response:
        """Answer one operation, for a `request` where plug-ins have hooks.

        It ends when the loop's time is `deadline`; None: when the fetches have taken as long as they may.
        """
        started = time.perf_counter()
        operation, is_cached = None, False
        try:
            key = self._key(query, operation_name, headers, incremental=incremental)
            operation = self._plans.get(key)
            is_cached = operation is not None
            if operation is None:
                operation = await self._prepared(key)
            if queries_only and operation.kind == "mutation":
                raise OperationError(ErrorCode.MUTATION_OVER_GET)
            if operation.selected is not None or operation.guarded is not None:
                operation = await self._shown(key, operation, request, deadline)
            coerced = coerce_variables(self._schema, operation.variables, variables, self.config.limits)
            if operation.conditions:
                check_conditions(operation.conditions, coerced)
            if operation.shut and self._rejects:
                self._reject(operation, coerced, request)
            trace = None
            if self._traces and asks_for_trace(headers):
                trace = self._trace(operation, started, is_cached, watch)
            around = None
            if self._hooks is not None and request is not None and deadline is not None:
                headers, context = request.headers, request.context
                around = self._hooks.around_fetches(request, deadline)
            if operation.kind == "subscription" and _source(operation, coerced) is not None:
                if not events:
                    raise OperationError(ErrorCode.SUBSCRIPTION_NEEDS_STREAM)
                ended = partial(self._subscription_ended, operation, started, is_cached)
                return self._subscribe(operation, variables or _EMPTY, coerced, headers, context, request, ended, trace)
            executing = self._execute(
                operation, variables or _EMPTY, coerced, headers, context, around, deadline, as_text, trace
            )
            response = await (self._to_its_end(executing) if operation.kind == "mutation" else executing)
            response = response if trace is None else with_trace(response, trace)
        except RouterError as refusal:
            response = Response(None, refusal.errors(), _alone(refusal), headers=refusal.headers)
        except Exception as bug:  # noqa: BLE001  # the last resort: any bug is logged with its request's id
            response = _failed(bug, headers)
        if self._observer is not None:
            if response.later is not None:
                return replace(response, later=_Observed(response, self._observer, operation, started, is_cached))
            self._observer.operation_ended(_ended(operation, response.errors, started, is_cached))
        return response

    def _trace(self, operation: PreparedOperation, started: float, is_cached: bool, watch: Watch | None) -> Trace:
        variables_bytes_max = self.config.limits.trace_variables_bytes_max
        return Trace(operation.plan.plan, is_cached, variables_bytes_max, started, watch=watch)

    async def _to_its_end(self, executing: Coroutine[Any, Any, Response]) -> Response:
        """What a mutation comes to. Who gives it up does not end it: half of its effects would be worse than all."""
        task = asyncio.create_task(executing)
        self._mutations.add(task)
        task.add_done_callback(self._have_ended)
        return await asyncio.shield(task)

    def _have_ended(self, mutation: "asyncio.Task[Response]") -> None:
        self._mutations.discard(mutation)
        if self.shared_answers is not None:
            self.shared_answers.part()
        if not mutation.cancelled():
            mutation.exception()  # who waits for it says it; who has gone does not

    async def _execute(
        self,
        operation: PreparedOperation,
        variables: Mapping[str, object],
        coerced: Mapping[str, object],
        headers: Mapping[str, str],
        context: object,
        around: Around | None,
        deadline: float | None,
        as_text: bool,
        trace: Trace | None,
    ) -> Response:
        limits = self.config.limits
        try:
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + limits.operation_timeout_ms / 1000
            if operation.plan.plan.deferred:
                return await self._execute_in_parts(
                    operation, variables, coerced, headers, context, around, deadline, trace
                )
            with Deadline(deadline):
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
                    around=around,
                    in_turns=self._turns.go_on,
                    as_text=as_text,
                    trace=trace,
                )
        except TimeoutError:
            return _timed_out()
        self._fallbacks += answer.fallbacks
        return Response(answer.data, answer.errors, text=answer.text)

    async def _execute_in_parts(
        self,
        operation: PreparedOperation,
        variables: Mapping[str, object],
        coerced: Mapping[str, object],
        headers: Mapping[str, str],
        context: object,
        around: Around | None,
        deadline: float,
        trace: Trace | None,
    ) -> Response:
        limits = self.config.limits
        first = await execute_in_parts(
            operation.plan,
            transports=self.transports,
            deadline=deadline,
            schema=self._schema,
            variables=variables,
            coerced=coerced,
            headers=headers,
            context=context,
            limits=limits,
            observer=self._observer,
            around=around,
            in_turns=self._turns.go_on,
            trace=trace,
        )
        self._fallbacks += first.answer.fallbacks
        return Response(first.answer.data, first.answer.errors, pending=first.pending, later=first.later)

    # ---- subscriptions ----

    def _subscribe(
        self,
        operation: PreparedOperation,
        variables: Mapping[str, object],
        coerced: Mapping[str, object],
        headers: Mapping[str, str],
        context: object,
        request: RequestContext | None,
        ended: Callable[[RouterError | None], None],
        trace: Trace | None,
    ) -> Response:
        """Begin a subscription; `ended` is told its end, and with a `trace` each event has its own. Raises RouterError
        where it cannot be had."""
        limits, loop = self.config.limits, asyncio.get_running_loop()
        fetch = operation.plan.fetches[0].fetch

        def around(deadline: float) -> Around | None:
            if self._hooks is None or request is None:
                return None
            return self._hooks.around_fetches(request, deadline)

        async def answer(event: SubgraphResponse) -> Response:
            deadline = loop.time() + limits.operation_timeout_ms / 1000
            own = None if trace is None else Trace(trace.plan, trace.is_cached, trace.variables_bytes_max)
            try:
                with Deadline(deadline):
                    answered = await answer_event(
                        operation.plan,
                        event,
                        transports=self.transports,
                        variables=variables,
                        coerced=coerced,
                        headers=headers,
                        context=context,
                        limits=limits,
                        observer=self._observer,
                        around=around(deadline),
                        in_turns=self._turns.go_on,
                        trace=own,
                    )
            except TimeoutError:
                return replace(_timed_out(), refusal=None)
            except Exception as bug:  # noqa: BLE001  # as in `_answer`; the next event may fare better
                return replace(_failed(bug, headers), refusal=None)
            self._fallbacks += answered.fallbacks
            response = Response(answered.data, answered.errors)
            return response if own is None else with_trace(response, own)

        joins = self.config.sharing.subscriptions and (self._hooks is None or not self._hooks.sees_fetches)
        answers_once = joins and self._hooks is None and trace is None  # a trace is of one answer, and for who asked
        sent = {name: variables[name] for name in fetch.variables if name in variables}
        asked = SubgraphRequest(fetch.subgraph, "subscription", fetch.operation, sent, headers, context)
        opening = around(loop.time() + limits.operation_timeout_ms / 1000)
        subscription = self._subscriptions.begin(
            asked,
            answer,
            around=opening,
            joins=joins,
            alike=self._alike(operation, variables, headers) if answers_once else None,
            client=_client(headers, request),
            left_s=_left_of_token(request),
            on_end=ended,
        )
        return Response(None, events=subscription)

    def _alike(
        self, operation: PreparedOperation, variables: Mapping[str, object], headers: Mapping[str, str]
    ) -> Hashable | None:
        """All that the answer to an event follows from, beside the event; None where that is not known."""
        names: set[str] = set()
        for each in operation.plan.fetches[1:]:
            forwarded = getattr(self.transports.get(each.fetch.subgraph), "forwarded_headers", None)
            if forwarded is None:
                return None
            names.update(forwarded)
        sent = tuple([headers.get(name) for name in sorted(names)])
        # Its number tells an operation from any other that is there at the same time, and a subscription keeps its own.
        # As a text, as what the encoder returns keeps the kilobytes that it had set aside.
        return id(operation), encode_json(dict(variables)).decode(), sent

    def _subscription_ended(
        self, operation: PreparedOperation, started: float, is_cached: bool, reason: RouterError | None
    ) -> None:
        """Take note of an end, and of its reason where there is one."""
        if reason is not None and reason.internal is not None:
            fields = {"code": reason.code.name, "cause": reason.internal.text, "operation": operation.name}
            _log.warning("a subscription failed", extra={"fields": fields})
        if self._observer is not None:
            errors = () if reason is None else reason.errors()
            self._observer.operation_ended(_ended(operation, errors, started, is_cached))

    # ---- where plug-ins have hooks ----

    async def _answer_through(
        self,
        hooks: Hooks,
        request: RequestContext,
        *,
        queries_only: bool,
        incremental: bool,
        events: bool,
        watch: Watch | None,
    ) -> Response:
        """Answer one operation through the hooks, all under one clock."""
        limits, loop = self.config.limits, asyncio.get_running_loop()
        started = time.perf_counter()
        deadline = loop.time() + limits.operation_timeout_ms / 1000
        try:
            await hooks.start_for(request, deadline)
            response = await hooks.on_request(request, deadline)
        except RouterError as refusal:
            response = Response(None, refusal.errors(), _alone(refusal), headers=refusal.headers)
        except Exception as bug:  # noqa: BLE001  # as in `_answer`
            response = _failed(bug, request.headers)
        if response is None:
            response = await self._answer(
                request.query,
                request.variables,
                request.operation_name,
                request.headers,
                request.context,
                queries_only=queries_only,
                incremental=incremental,
                events=events,
                request=request,
                deadline=deadline,
                watch=None if hooks.sees_responses else watch,
            )
        elif self._observer is not None:
            self._observer.operation_ended(_ended(None, response.errors, started, is_cached=False))
        grace = loop.time() + limits.plugin_response_timeout_ms / 1000
        return await hooks.on_response(request, response, max(deadline, grace))

    # ---- who may see what ----

    async def _shown(
        self, key: PlanKey, operation: PreparedOperation, request: RequestContext | None, deadline: float | None
    ) -> PreparedOperation:
        """The operation as its caller may have it. Raises RouterError where a plug-in refuses it."""
        text, operation_name, labels, incremental, _, _ = key
        guarded, hidden = operation.guarded, _NOTHING
        policies: Mapping[str, bool | None] = {}
        if operation.selected is not None and request is not None and deadline is not None:
            assert self._hooks is not None
            seen = OperationContext(
                request,
                operation.kind,
                operation.name,
                operation.selected.coordinates,
                operation.selected.introspects,
                self.supergraph.labels,
                set(labels),
                policies=dict.fromkeys(sorted(guarded.policies)) if guarded is not None else {},
            )
            await self._hooks.on_operation(seen, deadline, self.supergraph.has_field)
            hidden = operation.selected.coordinates.intersection(seen.hidden)
            labels, policies = frozenset(seen.labels), seen.policies
        shut = _NOTHING
        if guarded is not None:
            shut = guarded.shut(Caller(request.claims if request is not None else None, policies))
        wanted = text, operation_name, labels, incremental, hidden, shut
        if wanted == key:
            return operation
        return await self._prepared(wanted)

    def _reject(
        self, operation: PreparedOperation, coerced: Mapping[str, object], request: RequestContext | None
    ) -> None:
        """Refuse an operation that selects what its caller may not see. Raises Unauthorized."""
        assert operation.guarded is not None
        names = operation.guarded.selected(operation.shut, coerced)
        if names:
            is_known = request is not None and request.claims is not None
            raise Unauthorized(names[: self.config.limits.answer_errors_max], is_known=is_known)


_TEXT_COPIES: Final = 2
"""The key's text, and the parts of it in variables and messages."""
_REFUSAL_BYTES: Final = 600
"""What remembering a refusal takes beside its errors."""
_ERROR_BYTES: Final = 300
"""What one of its errors takes beside its message."""


def _source(operation: PreparedOperation, coerced: Mapping[str, object]) -> Fetch | None:
    """The fetch that a subscription's events come from; None where there is nothing to come, as its field is shut for
    the caller, or left out."""
    fetches = operation.plan.fetches
    if not fetches or not fetches[0].fetch.condition.holds(coerced):
        return None
    assert fetches[0].fetch.kind == "subscription", "events come from the root"
    return fetches[0].fetch


def _left_of_token(request: RequestContext | None) -> float:
    """How many seconds the caller's verified token is good for; without end where nobody knows an end."""
    expires = None if request is None or request.claims is None else request.claims.get("exp")
    return math.inf if isinstance(expires, bool) or not isinstance(expires, int | float) else expires - time.time()


def _client(headers: Mapping[str, str], request: RequestContext | None) -> object:
    """Who subscribes: the verified token's subject, else the address; None where neither is known."""
    subject = None if request is None or request.claims is None else request.claims.get("sub")
    return ("sub", subject) if isinstance(subject, str) else headers.get("x-forwarded-for") or None


def _alone(refusal: RouterError) -> RouterError:
    """The refusal without the frames that it has come through and what it came from: they hold the whole document."""
    refusal.__traceback__ = refusal.__context__ = refusal.__cause__ = None
    return refusal


def _without_name(key: PlanKey) -> tuple[bytes | None, str | None]:
    """The identity of what is left of a key without the name of its only operation, and that name; None where it is not
    the only one, or another was asked for."""
    text, operation_name, labels, incremental, hidden, shut = key
    named = without_name(text)
    if named is None or operation_name not in (None, "", named[0]):
        return None, None
    return _digest((named[1], None, labels, incremental, hidden, shut)), named[0]


def _digest(key: PlanKey) -> bytes:
    """A key's identity, for operations that are not worth keeping their texts."""
    text, name, labels, incremental, hidden, shut = key
    sets = (*sorted(labels), "", *sorted(hidden), "", *sorted(shut), "")
    parts = (text, name or "", *sets, str(incremental), str(name is None))
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()


def _failed(bug: Exception, headers: Mapping[str, str]) -> Response:
    """What the client gets of a bug, while the log gets the rest."""
    fields = {"request_id": headers.get("x-request-id")}
    _log.error("the router failed", exc_info=bug, extra={"fields": fields})
    failure = InternalError(InternalText(repr(bug)))
    return Response(None, failure.errors(), failure)


def _timed_out() -> Response:
    refusal = RouterError(ErrorCode.OPERATION_TIMEOUT)
    return Response(None, refusal.errors(), refusal)


def _ended(
    operation: PreparedOperation | None, errors: Sequence[AnswerError], started: float, is_cached: bool
) -> OperationEnded:
    def code_of(error: AnswerError) -> str:
        is_plugins = error.code is ErrorCode.PLUGIN_REFUSED
        return error.code.name if is_plugins or error.own_code is None else error.own_code

    return OperationEnded(
        kind=operation.kind if operation else None,
        name=operation.name if operation else None,
        seconds=time.perf_counter() - started,
        codes=tuple(map(code_of, errors)),
        plan_cached=is_cached,
    )


class _Observed:
    """The later parts of an answer; when they end, however they end, the operation has ended."""

    def __init__(
        self,
        response: Response,
        observer: Observer,
        operation: PreparedOperation | None,
        started: float,
        is_cached: bool,
    ) -> None:
        assert response.later is not None
        self._later = response.later
        self._observer: Observer | None = observer
        self._operation = operation
        self._started = started
        self._is_cached = is_cached
        self._errors = list(response.errors)

    def __aiter__(self) -> "_Observed":
        return self

    async def __anext__(self) -> Parts:
        try:
            parts = await self._later.__anext__()
        except BaseException:
            self._end()
            raise
        for part in parts.parts:
            self._errors += part.errors
        return parts

    async def aclose(self) -> None:
        await self._later.aclose()
        self._end()

    def _end(self) -> None:
        if self._observer is not None:
            self._observer.operation_ended(_ended(self._operation, self._errors, self._started, self._is_cached))
            self._observer = None


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
