"""`extensions.trace`: what a request that asks for it is told of its own plan and fetches.

A client asks with the header `trifolio-trace: 1`, and is told where the configuration permits it (`traces`). What it is
told stands beside data and errors, of an answer in parts with every part, of a subscription with every event. With
`trifolio-trace: live` it is told of each fetch as well when that begins and when it ends, where it takes an answer in
several messages.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from trifolio.executor.traces import Trace
from trifolio.parts import Later, Part, Parts
from trifolio.response import Response

TRACE_HEADER: Final = "trifolio-trace"
"""The request's header that asks for a trace, in lower case."""
_LIVE: Final = "live"
_ASKING: Final = ("1", _LIVE)
_KEY: Final = "trace"


def asks_for_trace(headers: Mapping[str, str]) -> bool:
    """Whether the client asks to be told."""
    return headers.get(TRACE_HEADER) in _ASKING


def asks_for_live_trace(headers: Mapping[str, str]) -> bool:
    """Whether the client asks to be told while its operation goes on, too."""
    return headers.get(TRACE_HEADER) == _LIVE


def with_trace(response: Response, trace: Trace) -> Response:
    """The response with what is known by now; what comes later says it again, as it is then."""
    later = None if response.later is None else _TracedLater(response.later, trace)
    return replace(response, later=later, extensions=_beside(response.extensions, trace.to_json()))


def extensions_of(told: Mapping[str, object]) -> Mapping[str, object]:
    """What is told before there is an answer, under the name that it has beside one."""
    return {_KEY: told}


def _beside(extensions: Mapping[str, object] | None, told: object) -> Mapping[str, object]:
    return {**(extensions or {}), _KEY: told}


class _TracedLater:
    """The later parts of an answer, the last of what comes at once with the trace."""

    def __init__(self, later: Later, trace: Trace) -> None:
        self._later = later
        self._trace = trace

    def __aiter__(self) -> "_TracedLater":
        return self

    async def __anext__(self) -> Parts:
        parts = await self._later.__anext__()
        if not parts.parts:
            return parts
        told = self._trace.to_json(with_plan=False)
        last: Part = replace(parts.parts[-1], extensions=_beside(parts.parts[-1].extensions, told))
        return replace(parts, parts=(*parts.parts[:-1], last))

    async def aclose(self) -> None:
        """As the parts themselves."""
        await self._later.aclose()
