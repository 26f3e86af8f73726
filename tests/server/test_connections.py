"""What a process does about all its connections at once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from trifolio.server.connections import ENDED_AT_ONCE, ENDED_EVERY_S, NEVER, TICK_S, Connections
from trifolio.server.edge import PlainEdge


@dataclass
class Timers:
    """A loop that only remembers what it should call, and when."""

    waiting: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        """Remember it."""
        self.waiting.append((delay, call))

    def take(self, delay: float) -> Callable[[], None]:
        """The only call that waits for so long."""
        (found,) = [each for each in self.waiting if each[0] == delay]
        self.waiting.remove(found)
        return found[1]


@dataclass(eq=False)
class Held:
    """A connection whose time comes with the first tick."""

    ended: list["Held"]
    deadline: int = 1
    write_deadline: int = NEVER

    def on_deadline(self) -> None:
        """It ends."""
        self.deadline = NEVER
        self.ended.append(self)

    def on_write_deadline(self) -> None:
        """It has no such deadline."""
        raise AssertionError

    def give_way(self) -> None:
        """Nobody needs its place."""
        raise AssertionError


def test_a_crowd_that_is_late_is_ended_in_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two groups the loop has time for others, further ticks start no second line, and nobody is forgotten."""
    timers = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    connections = Connections(PlainEdge())
    ended: list[Held] = []
    crowd = [Held(ended) for _ in range(2 * ENDED_AT_ONCE + 1)]
    for number, each in enumerate(crowd):
        assert connections.admit(each, f"10.0.0.{number % 100}")
    connections.advance()
    assert len(ended) == ENDED_AT_ONCE
    connections.advance()
    assert len(ended) == ENDED_AT_ONCE
    timers.take(ENDED_EVERY_S)()
    assert len(ended) == 2 * ENDED_AT_ONCE
    timers.take(ENDED_EVERY_S)()
    assert set(ended) == set(crowd)
    assert not [delay for delay, _ in timers.waiting if delay == ENDED_EVERY_S]


def test_a_bug_with_one_connection_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on, and so does the line of those that are late."""
    timers = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    connections = Connections(PlainEdge())
    ended: list[Held] = []

    class Fails(Held):
        """Cannot be ended."""

        def on_deadline(self) -> None:
            """Fail."""
            super().on_deadline()
            raise ValueError("a bug")

    crowd = [Fails(ended) for _ in range(3)]
    for each in crowd:
        connections.admit(each, None)
    tick = timers.waiting[0][1]
    timers.waiting.clear()
    with pytest.raises(ValueError, match="a bug"):
        tick()
    for _ in crowd[1:]:
        with pytest.raises(ValueError, match="a bug"):
            timers.take(ENDED_EVERY_S)()
    assert set(ended) == set(crowd)
    assert [delay for delay, _ in timers.waiting] == [TICK_S]


def test_who_has_moved_on_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was late, and whose request came whole before its group's turn, stays."""
    timers = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    connections = Connections(PlainEdge())
    ended: list[Held] = []
    crowd = [Held(ended) for _ in range(ENDED_AT_ONCE + 1)]
    for each in crowd:
        connections.admit(each, None)
    connections.advance()
    (left,) = set(crowd) - set(ended)
    left.deadline = NEVER
    timers.take(ENDED_EVERY_S)()
    assert left not in ended
