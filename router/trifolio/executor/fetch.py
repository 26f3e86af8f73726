"""One fetch from its inputs to the merged tree: ask, send, absorb, and take note of what went wrong on the way."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from trifolio.errors import AnswerError, ErrorCode, InternalText, SubgraphError
from trifolio.executor.ask_text import UNEXPECTED
from trifolio.executor.asking import Ask, absorb, ask, ask_generated, ask_structs, fail, skip, whole_failure
from trifolio.executor.codegen import Program
from trifolio.executor.encoding import decode_json
from trifolio.executor.in_flight import HasEnded, InFlight
from trifolio.executor.prepare import PreparedFetch
from trifolio.executor.struct_answer import StructAnswer
from trifolio.executor.transport import BeginningTransport, SubgraphRequest, SubgraphResponse, Transport
from trifolio.executor.tree import MergedTree
from trifolio.limits import Limits
from trifolio.observer import FetchEnded, Observer

Send = Callable[[SubgraphRequest], Awaitable[SubgraphResponse]]
"""Carries a request to its subgraph."""
Around = Callable[[SubgraphRequest, Send], Awaitable[SubgraphResponse]]
"""Answers a request in its own way, by `Send` or without."""


@dataclass(slots=True)
class Execution:
    """What one client's request brings to a plan, and the tree that its fetches fill.

    Not to be changed; freezing it would cost a call per field and request.
    """

    transports: Mapping[str, Transport]
    variables: Mapping[str, object]
    """As the client sent them: forwarded untouched."""
    coerced: Mapping[str, object]
    """With defaults: what @skip and @include look at."""
    headers: Mapping[str, str]
    context: object
    limits: Limits
    observer: Observer | None
    tree: MergedTree
    program: Program | None
    around: Around | None = None
    """What stands between this and the transports."""
    structs: StructAnswer | None = None
    """The answer as structs, as long as nothing is out of the ordinary: until then the tree stays empty."""
    brought: tuple[tuple[PreparedFetch, SubgraphResponse | tuple[AnswerError, ...] | None], ...] = ()
    """What came of the fetches that the structs have absorbed, in this order; None where nothing was asked."""
    within: Callable[..., None] | None = None
    """Calls something in the context of the task that asks; without it every fetch is performed."""

    async def perform(self, prepared: PreparedFetch) -> None:
        """Send one fetch and merge its answer; whatever a subgraph or its transport does ends in the tree."""
        fetch = prepared.fetch
        if prepared.is_conditional and not fetch.condition.holds(self.coerced):
            if self.structs is None:
                skip(self.tree, prepared)
            else:
                self.brought += ((prepared, None),)
            return
        asked = self._ask(prepared)
        if asked is None:
            if self.structs is not None:
                self.brought += ((prepared, None),)
            return
        if asked.representations > self.limits.representations_max:
            self._fail_in_tree(asked, [_error(ErrorCode.TOO_MANY_REPRESENTATIONS, fetch.subgraph)])
            return
        started = time.perf_counter()
        is_shared = False
        try:
            response = await self._send(asked)
            is_shared = response.is_shared
            self._take_over(asked, response)
        except SubgraphError as error:  # kept in no variable: its traceback keeps this frame, and so the whole answer
            self._fail(asked, error.errors())
            self._tell(fetch.subgraph, started, error, is_shared=is_shared)
        else:
            self._tell(fetch.subgraph, started, None, is_shared=is_shared)

    def begin(self, prepared: PreparedFetch, has_ended: HasEnded) -> InFlight | None:
        """Send one fetch without a wait, and merge its answer when that comes, in the context of now.

        None where it is to be performed instead, which does the same: so where anything is out of the ordinary. Nothing
        has been changed then.
        """
        transport = self.transports.get(prepared.fetch.subgraph)
        if self.within is None or not isinstance(transport, BeginningTransport) or not transport.can_begin():
            return None
        asked = self._ask_by_structs(prepared)
        if asked is None or asked.representations > self.limits.representations_max:
            return None
        told = partial(self.within, self._told, asked, time.perf_counter(), has_ended)
        try:
            return transport.begin(self._request(asked), told)
        except SubgraphError:  # nothing was sent: it is raised again, and told of, where it is performed
            return None

    def _told(self, asked: Ask, started: float, has_ended: HasEnded, came: SubgraphResponse | Exception) -> None:
        """Merge what came of a fetch that was begun."""
        subgraph = asked.prepared.fetch.subgraph
        try:
            try:
                if isinstance(came, SubgraphResponse):
                    self._take_over(asked, came)
                    self._tell(subgraph, started, None, is_shared=came.is_shared)
                else:
                    failure = came if isinstance(came, SubgraphError) else _bug(subgraph, came)
                    self._fail(asked, failure.errors())
                    self._tell(subgraph, started, failure, is_shared=False)
            except SubgraphError as error:
                self._fail(asked, error.errors())
                self._tell(subgraph, started, error, is_shared=False)
        except BaseException as bug:  # noqa: BLE001  # raised where somebody waits, not where a connection reads
            has_ended(bug)
        else:
            has_ended(None)

    def _tell(self, subgraph: str, started: float, failure: SubgraphError | None, *, is_shared: bool) -> None:
        if self.observer is not None:
            code = None if failure is None else failure.code
            seconds = time.perf_counter() - started
            self.observer.fetch_ended(FetchEnded(subgraph, seconds, code, failure, is_shared))

    def take(self, prepared: PreparedFetch, event: SubgraphResponse) -> None:
        """Merge an event as the answer to a subscription's own fetch, which was sent when it began."""
        asked = ask(self.tree, prepared, self.variables, self.coerced)
        assert asked is not None, "there is a root to any answer"
        try:
            payload = _payload(event, prepared.fetch.subgraph)
            absorb(self.tree, asked, payload, errors_max=self.limits.answer_errors_max)
        except SubgraphError as error:
            fail(self.tree, asked, error.errors())

    def _ask(self, prepared: PreparedFetch) -> Ask | None:
        """By generated code where there is some and nothing is out of the ordinary, else by the interpreter."""
        if self.structs is not None:
            groups = self.structs.ask(prepared.fetch)
            if groups is not None:
                return ask_structs(prepared, groups, self.variables)
            self.leave_structs()
        find = self.program.asks.get(prepared.fetch.id) if self.program else None
        if find is not None:
            try:
                return ask_generated(prepared, find(self.tree.root), self.variables)
            except UNEXPECTED:
                self.tree.fallbacks += 1
        return ask(self.tree, prepared, self.variables, self.coerced)

    def _ask_by_structs(self, prepared: PreparedFetch) -> Ask | None:
        """Of structs, where nothing is out of the ordinary; None where something is, or nothing is to be asked."""
        if self.structs is None or (prepared.is_conditional and not prepared.fetch.condition.holds(self.coerced)):
            return None
        groups = self.structs.ask(prepared.fetch)
        return None if groups is None else ask_structs(prepared, groups, self.variables)

    def _take_over(self, asked: Ask, response: SubgraphResponse) -> None:
        """Merge what came; raises SubgraphError where that is no answer."""
        fetch = asked.prepared.fetch
        if self.structs is not None and self.structs.absorb(fetch, response, asked.structs or ()):
            self.brought += ((asked.prepared, response),)
            return
        payload = _payload(response, fetch.subgraph)
        errors_max = self.limits.answer_errors_max
        if self.structs is not None:  # that nothing came may be taken note of there
            failure = whole_failure(asked.prepared, payload, errors_max=errors_max)
            if failure is not None:
                self._fail(asked, failure)
                return
        again = self._in_tree(asked)
        if again is not None:
            absorb(self.tree, again, payload, errors_max=errors_max)

    def _fail(self, asked: Ask, errors: tuple[AnswerError, ...]) -> None:
        """Take note that nothing came."""
        if self.structs is not None and self.structs.fail(asked.prepared.fetch, errors, asked.structs or ()):
            self.brought += ((asked.prepared, errors),)
        else:
            self._fail_in_tree(asked, errors)

    def _fail_in_tree(self, asked: Ask, errors: Sequence[AnswerError]) -> None:
        again = self._in_tree(asked)
        if again is not None:
            fail(self.tree, again, errors)

    def _in_tree(self, asked: Ask) -> Ask | None:
        """The same request on behalf of objects of the tree, in which everything is from here on.

        None where none of them asks: structs have read what, looked at as a whole, is no answer.
        """
        self.leave_structs()
        return asked if asked.structs is None else self._ask(asked.prepared)

    def leave_structs(self) -> None:
        """Do what was absorbed so far once more, with the tree."""
        if self.structs is None:
            return
        left, self.structs = self.structs, None
        left.leave()
        for prepared, came in self.brought:
            if came is None and prepared.is_conditional and not prepared.fetch.condition.holds(self.coerced):
                skip(self.tree, prepared)
                continue
            asked = self._ask(prepared)
            if came is None or asked is None:
                continue
            if not isinstance(came, SubgraphResponse):
                fail(self.tree, asked, came)
                continue
            try:
                payload = _payload(came, prepared.fetch.subgraph)
            except SubgraphError as error:  # structs look at no more than they want
                fail(self.tree, asked, error.errors())
            else:
                absorb(self.tree, asked, payload, errors_max=self.limits.answer_errors_max)

    async def _send(self, asked: Ask) -> SubgraphResponse:
        """Hand the request to its transport; an exception other than `SubgraphError` is a bug and fails this fetch."""
        fetch = asked.prepared.fetch
        transport = self.transports.get(fetch.subgraph)
        if transport is None:
            raise SubgraphError(
                ErrorCode.SUBGRAPH_UNREACHABLE, fetch.subgraph, internal=InternalText("No transport is configured.")
            )
        request = self._request(asked)
        try:
            if self.around is not None:
                return await self.around(request, transport.send)
            return await transport.send(request)
        except SubgraphError:
            raise
        except Exception as error:
            raise _bug(fetch.subgraph, error) from error

    def _request(self, asked: Ask) -> SubgraphRequest:
        fetch = asked.prepared.fetch
        return SubgraphRequest(fetch.subgraph, fetch.kind, asked.operation, asked.variables, self.headers, self.context)


def _payload(response: SubgraphResponse, subgraph: str) -> object:
    if response.body is None:
        return response.payload
    try:
        return decode_json(response.body)
    except ValueError as error:
        raise SubgraphError(
            ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, subgraph, internal=InternalText(str(error))
        ) from error


def _bug(subgraph: str, error: Exception) -> SubgraphError:
    return SubgraphError(ErrorCode.INTERNAL_SERVER_ERROR, subgraph, internal=InternalText(repr(error)))


def _error(code: ErrorCode, subgraph: str) -> AnswerError:
    return AnswerError(code, code.text, subgraph=subgraph)
