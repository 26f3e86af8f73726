"""Subscribers on sockets: what they see is counted, and what is missing is told."""

from pathlib import Path

import pytest

from bench.alone import Figure
from bench.subscribers import Subscribers, _OverEvents, measure_subscribers

pytestmark = pytest.mark.no_cover


async def test_subscribers_are_measured(tmp_path: Path) -> None:
    """Some hundred, whose CPU is more than a tick of the clock, at a shared subgraph: none misses an event."""
    figures: list[Figure] = []
    await measure_subscribers(300, 1.2, figures.append, tmp_path, [("shared", "websocket")])
    [figure] = figures
    assert (figure["name"], figure["subscribers"]) == ("shared_websocket", 300)
    assert figure["cpu_ms"] > 0
    assert figure["p50_ms"] <= figure["p99_ms"]


def test_an_event_that_is_missing_is_told() -> None:
    """By its number, in whatever pieces the events come."""
    seen = Subscribers(_OverEvents, 0)
    subscriber = _OverEvents(seen)
    events = b"".join(b'data: {"tick":{"number":%d,"at":1.5,"symbol":"X"}}\n\n' % number for number in (7, 8, 9))
    for at in range(len(events)):
        subscriber.data_received(events[at : at + 1])
    assert (seen.events, seen.begun, seen.problem) == (3, 1, "")
    subscriber.data_received(events)
    assert seen.problem == "event 7 came where 10 was due"
