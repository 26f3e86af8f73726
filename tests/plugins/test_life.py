"""`on_start` and `on_stop`: when they are called, how often, and what becomes of a router that cannot start."""

import asyncio
import logging
from typing import Any

import httpx
import pytest

from tests.plugins.graph import Graph, by_execute, codes, post
from tests.plugins.test_requests import Noting
from tests.server.conftest import listening
from trifolio import Config, ConfigError, Limits, Plugin

GOOD = {"data": {"vault": "gold"}}


class Fussy(Plugin):
    """Does not start as long as there are errors for it to raise."""

    def __init__(self, calls: list[str], *errors: BaseException) -> None:
        self.calls, self.errors = calls, list(errors)

    async def on_start(self) -> None:
        self.calls.append("start fussy")
        if self.errors:
            raise self.errors.pop(0)

    async def on_stop(self) -> None:
        self.calls.append("stop fussy")


async def test_a_router_starts_and_stops_its_plugins() -> None:
    """`async with` calls `on_start` before anything else and `on_stop` at its end, once each."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls), Noting("b", calls))
    async with graph.router:
        assert calls == ["start a", "start b"]
        await graph.router.start()
    await graph.router.close()
    assert calls == ["start a", "start b", "stop b", "stop a"]


async def test_a_server_starts_and_stops_its_plugins() -> None:
    """Served by itself, the application calls them at its start and its end."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls))
    async with listening(graph.router.asgi()) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert calls == ["start a"]
        assert (await client.post("/graphql", json={"query": "{ vault }"})).json() == GOOD
    assert (calls[0], calls[-1], calls.count("start a"), calls.count("stop a")) == ("start a", "stop a", 1, 1)


async def test_the_first_request_starts_what_nobody_has_started() -> None:
    """Where nobody starts the router, its first request does, however many come at once."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls))
    bodies = await asyncio.gather(*(by_execute(graph.router, "{ vault }") for _ in range(5)))
    assert bodies == [GOOD] * 5
    assert calls.count("start a") == 1
    await graph.router.close()
    assert calls[-1] == "stop a"


async def test_requests_wait_until_all_have_started() -> None:
    """No request passes a hook before every plug-in has started."""
    calls: list[str] = []
    may_start = asyncio.Event()

    class Slow(Plugin):
        async def on_start(self) -> None:
            await may_start.wait()
            calls.append("started")

        async def on_request(self, request: object, /) -> None:
            calls.append("request")

    graph = Graph(Slow())
    asking = [asyncio.ensure_future(by_execute(graph.router, "{ vault }")) for _ in range(2)]
    await asyncio.wait(asking, timeout=0)
    may_start.set()
    assert await asyncio.gather(*asking) == [GOOD] * 2
    assert calls == ["started", "request", "request"]


async def test_what_was_not_started_is_not_stopped() -> None:
    """A router that nobody asked anything stops no plug-in that would have had to start; one without `on_start` may
    hold something all the same."""
    calls: list[str] = []

    class OnlyStop(Plugin):
        async def on_stop(self) -> None:
            calls.append("stop only")

    await Graph(Noting("a", calls), OnlyStop()).router.close()
    assert calls == ["stop only"]


@pytest.mark.parametrize("error", [OSError("no\ndatabase"), TimeoutError("no\ndatabase"), ConfigError("no database")])
async def test_a_router_that_cannot_start_says_which_plugin(error: Exception) -> None:
    """What `on_start` raises keeps the router from starting, in one line; those that had started are stopped."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls), Fussy(calls, error), Noting("c", calls))
    with pytest.raises(ConfigError) as raised:
        await graph.router.__aenter__()
    assert str(raised.value) == f"the plug-in Fussy does not start: {type(error).__name__}: no database"
    assert calls == ["start a", "start fussy", "stop a"]


async def test_a_plugin_has_a_time_to_start() -> None:
    """A plug-in that does not come to an end keeps the router from starting after its time."""

    class Stuck(Plugin):
        async def on_start(self) -> None:
            await asyncio.Event().wait()

    graph = Graph(Stuck(), config=Config(limits=Limits(plugin_start_timeout_ms=20)))
    with pytest.raises(ConfigError, match="the plug-in Stuck did not start within 20 ms"):
        await graph.router.__aenter__()


async def test_a_server_that_cannot_start_says_so() -> None:
    """The lifespan protocol's start fails with the reason, and what had started is stopped."""
    calls: list[str] = []
    app = Graph(Noting("a", calls), Fussy(calls, OSError("no database"))).router.asgi()
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    text = "the plug-in Fussy does not start: OSError: no database"
    assert sent == [{"type": "lifespan.startup.failed", "message": text}]
    assert calls == ["start a", "start fussy", "stop a"]


async def test_a_request_that_cannot_start_it_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """At the first request a plug-in that does not start is a 500, logged with the request's id; the next request tries
    that one again, and those that had started are not started twice."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls), Fussy(calls, OSError("secret")))
    response = await post(graph.router, "{ vault }", {"x-request-id": "request-1"})
    assert (response.status_code, codes(response.json())) == (500, ["INTERNAL_SERVER_ERROR"])
    assert "secret" not in response.text
    [record] = [each for each in caplog.records if each.getMessage() == "a plug-in failed"]
    assert getattr(record, "fields", None) == {"request_id": "request-1", "plugin": "Fussy", "hook": "on_start"}
    assert await by_execute(graph.router, "{ vault }") == GOOD
    assert [call for call in calls if call.startswith("start")] == ["start a", "start fussy", "start fussy"]


async def test_starting_counts_in_the_requests_time(caplog: pytest.LogCaptureFixture) -> None:
    """A plug-in that takes longer to start than the first request may, fails that request, and not the next."""

    class Slow(Plugin):
        ready = False

        async def on_start(self) -> None:
            if not self.ready:
                await asyncio.Event().wait()

    slow = Slow()
    graph = Graph(slow, config=Config(limits=Limits(operation_timeout_ms=500)))
    assert codes(await by_execute(graph.router, "{ vault }")) == ["INTERNAL_SERVER_ERROR"]
    assert [getattr(each, "fields", {}).get("hook") for each in caplog.records] == ["on_start"]
    slow.ready = True
    assert await by_execute(graph.router, "{ vault }") == GOOD


async def _hang() -> None:
    await asyncio.Event().wait()


async def _raise() -> None:
    raise OSError("gone")


async def _stopped() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


@pytest.mark.parametrize("bad", [_hang, _raise, _stopped])
async def test_one_that_does_not_stop_keeps_no_other_from_it(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Every plug-in is stopped, whatever another one does; the log has the one that failed."""
    calls: list[str] = []

    class Bad(Plugin):
        async def on_stop(self) -> None:
            await bad()

    graph = Graph(Noting("a", calls), Bad(), config=Config(limits=Limits(shutdown_timeout_ms=20)))
    async with graph.router:
        pass
    assert calls == ["start a", "stop a"]
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert getattr(record, "fields", None) == {"plugin": "Bad", "hook": "on_stop"}
