"""An answer that says what becomes of its fetches while they are under way: `trifolio-trace: live`.

Until the first fetch begins nothing is sent, so what is refused is refused as ever, with its own status. From then on
the response is open: a message when a fetch begins and when it ends, then the answer as it comes without, whole or in
parts. A client that reads slowly is told of several fetches at once, and of none any more when the answer is there,
whose own trace has them all.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from trifolio.errors import AnswerError
from trifolio.executor import Watch
from trifolio.parts import Later, Parts
from trifolio.response import Response
from trifolio.server.event_streams import EventsFormat
from trifolio.server.multipart import PartsFormat
from trifolio.traces import extensions_of

_Step = TypeVar("_Step", Response, Parts)


class LiveAnswer:
    """One answer, and what there is to say before it; as a body, piece by piece, behind its format's opening."""

    heartbeat = b""

    def __init__(
        self, ask: Callable[[Watch], Coroutine[Any, Any, Response]], answer_format: PartsFormat | EventsFormat
    ) -> None:
        """It is begun at once: whoever does not read it to its end closes it."""
        self.codes: list[str] = []
        """The codes of the errors in what was read."""
        self._format = answer_format
        self._changed = asyncio.Event()
        self._watch = Watch(self._changed.set)
        self._step: asyncio.Task[Response] | asyncio.Task[Parts] | None = self._awaited(ask(self._watch))
        """What is waited for: the answer, then the next of its parts. None: there is nothing more."""
        self._later: Later | None = None
        """The other parts, when the first was read."""

    async def begin(self) -> Response | None:
        """The response, where it is there before any fetch has begun: it is the caller's to close then. Else None, and
        the pieces are to be read."""
        await self._changed.wait()
        if self._step is None or not self._step.done():
            return None
        response = self._step.result()
        assert isinstance(response, Response), "no part comes before the first"
        self._step = None
        return response

    def __aiter__(self) -> "LiveAnswer":
        return self

    async def __anext__(self) -> bytes:
        if self._step is None:
            raise StopAsyncIteration
        while not self._step.done():
            told = self._watch.take()
            if told is not None:
                return self._format.progress(extensions_of(told))
            self._changed.clear()
            await self._changed.wait()
        came = self._step.result()
        if isinstance(came, Parts):
            assert isinstance(self._format, PartsFormat), "parts are for clients that take them"
            self._note(error for part in came.parts for error in part.errors)
            body = self._format.following(came)
        else:
            self._later = came.later
            self._note(came.errors)
            body = self._format.answer(came)
        self._step = None if self._later is None else self._awaited(_next_of(self._later))
        return body

    async def aclose(self) -> None:
        """End what was to come; how it ends is nobody's business any more."""
        step, self._step = self._step, None
        if step is not None:
            step.cancel()
            await asyncio.wait([step])
            if not step.cancelled() and step.exception() is None:
                came = step.result()
                self._later = came.later if isinstance(came, Response) else self._later
        if self._later is not None:
            await self._later.aclose()

    def _awaited(self, step: Coroutine[Any, Any, _Step]) -> "asyncio.Task[_Step]":
        task = asyncio.create_task(step)
        task.add_done_callback(lambda _: self._changed.set())
        return task

    def _note(self, errors: Iterable[AnswerError]) -> None:
        self.codes += (error.own_code or error.code.name for error in errors)


async def _next_of(later: Later) -> Parts:
    return await later.__anext__()
