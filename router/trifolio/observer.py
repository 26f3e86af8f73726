"""The protocol through which the phases report what they did; metrics, traces and logs listen above.

The core knows only this module. The engine's default is no observer at all (`None`), so that a request that nobody
watches pays one comparison per phase and no call; several observers are one (`Observers`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trifolio.errors import ErrorCode, SubgraphError

# What is told for every request and fetch is not frozen: that would cost a call per field.


@dataclass(slots=True)
class OperationEnded:
    """One operation was answered."""

    kind: str | None
    """`query`, `mutation`, `subscription`; None where the request was refused before that was known."""
    name: str | None
    """The operation's name as the client wrote it. It is the client's text: never a metric's label."""
    seconds: float
    """How long it took, plug-ins' time left out."""
    codes: tuple[str, ...]
    """The codes of the answer's errors, in order, repeated as often as they occurred."""
    plan_cached: bool
    """Whether its plan was there already."""


@dataclass(frozen=True, slots=True)
class OperationPlanned:
    """An operation was parsed, validated and planned, as it was not in the cache."""

    seconds: float
    """How long that took."""
    fetches: int
    """How many requests the plan has."""
    proven_minimal: bool
    """False where the search ended at its budget."""


@dataclass(slots=True)
class FetchEnded:
    """One request to a subgraph ended."""

    subgraph: str
    """The subgraph's name."""
    seconds: float
    """How long it took."""
    code: ErrorCode | None
    """None where the subgraph answered, even with GraphQL errors."""
    failure: SubgraphError | None = None
    """What the transport raised, with the internal text and the cause for the log."""
    is_shared: bool = False
    """Whether nothing was sent, as an equal request was under way."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """What an engine holds, and what has become of its requests: numbers for whoever watches."""

    plans: int
    """Operations in the plan cache."""
    plans_bytes: int
    """What they take in memory, by estimate."""
    refusals: int
    """Operations that are known to be refused."""
    fallbacks: int
    """How often generated code met data that it does not cover, and the interpreter read it: since the start."""
    subscriptions: int = 0
    """Subscriptions that are open."""
    upstream_subscriptions: int = 0
    """Subscriptions at subgraphs; less than the former where several clients' are one."""
    events: int = 0
    """Events that were answered: since the start."""
    events_missed: int = 0
    """Events that were left out, as their clients did not read: since the start."""


class Observer(Protocol):
    """What the engine and the executor tell. Methods must be quick and must not raise."""

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """An operation was planned."""

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """A request to a subgraph ended, well or badly."""

    def operation_ended(self, event: OperationEnded, /) -> None:
        """An operation was answered, or refused."""


class Observers:
    """Several observers as one."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Pass the event on to each."""
        for observer in self._observers:
            observer.operation_planned(event)

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Pass the event on to each."""
        for observer in self._observers:
            observer.fetch_ended(event)

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Pass the event on to each."""
        for observer in self._observers:
            observer.operation_ended(event)
