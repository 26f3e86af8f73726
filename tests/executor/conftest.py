"""On which event loops the tests here run."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

WITH_SOCKETS = frozenset({"test_begun.py", "test_pool.py", "test_transports.py"})


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What talks to sockets runs on the loop that the server uses, too; the rest on the standard library's alone."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in WITH_SOCKETS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories
