"""Operations over WebSocket (`graphql-transport-ws`), by a real client on a socket, in order and out of it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.parts.world import complaints
from tests.server.conftest import OWN_WEBSOCKET, listening
from tests.subscriptions.test_stream import LogsIn
from tests.subscriptions.world import TICKED, World
from trifolio.config import Config, CorsConfig, SubscriptionsConfig
from trifolio.limits import Limits
from trifolio.plugins import Plugin, RequestContext
from trifolio.server.app import App

SUBPROTOCOL = websockets.Subprotocol("graphql-transport-ws")
INIT: dict[str, object] = {"type": "connection_init"}
PRICE = '{ price(symbol: "A") { company } }'


class Client:
    """A client that says what the test says."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, *messages: object) -> None:
        """Send messages: texts as they are, others as JSON."""
        for message in messages:
            await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        """The next message."""
        async with asyncio.timeout(20):
            return json.loads(await self.connection.recv())

    async def begin(self, query: str = TICKED, identity: str = "1", **payload: object) -> None:
        """Subscribe."""
        await self.say({"type": "subscribe", "id": identity, "payload": {"query": query, **payload}})

    async def closing(self) -> tuple[int, str]:
        """How the connection ends, whatever comes before."""
        async with asyncio.timeout(20):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()  # what comes before
        code, reason = self.connection.close_code, self.connection.close_reason
        assert code is not None
        return code, reason or ""


class Served:
    """The world on a socket."""

    def __init__(self, world: World, app: App, url: str) -> None:
        self.world = world
        self.app = app
        self.url = url

    @asynccontextmanager
    async def connected(self, *, init: object = INIT, **options: Any) -> AsyncIterator[Client]:
        """A client, initialised unless `init` is None."""
        options = {"subprotocols": [SUBPROTOCOL], "proxy": None, **options}
        async with connect(self.url, **options) as connection:
            client = Client(connection)
            if init is not None:
                await client.say(init)
                assert await client.hear() == {"type": "connection_ack"}
            yield client

    @property
    def open(self) -> bool:
        """Whether anything is."""
        return bool(self.world.router.state.subscriptions) or "router_websockets 0\n" not in self.app.metrics_text()

    async def is_left_alone(self) -> None:
        """Wait until nothing is left of any subscription, and of any connection."""
        async with asyncio.timeout(20):
            await self.world.exchange.has(0)
            while self.open:  # noqa: ASYNC110 # a count has no event
                await asyncio.sleep(0)
        self.world.holds_nothing()


@asynccontextmanager
async def serving(
    config: Config | None = None, plugins: tuple[object, ...] = (), *, ws: object = OWN_WEBSOCKET
) -> AsyncIterator[Served]:
    """The world on a free port."""
    world = World(config, plugins=plugins)
    app = world.router.asgi()
    async with listening(app, ws=ws) as url:
        yield Served(world, app, url.replace("http", "ws") + "/graphql")


SERVERS = {"own": OWN_WEBSOCKET, "uvicorn": "websockets-sansio"}


@pytest.mark.parametrize("ws", SERVERS.values(), ids=SERVERS)
async def test_events_come_as_they_happen(ws: str) -> None:
    """Whatever server has the socket: each event is one message, and the subgraph's end is the operation's."""
    with complaints() as found:
        async with serving(ws=ws) as served:
            async with served.connected() as client:
                assert client.connection.subprotocol == SUBPROTOCOL
                await client.begin()
                await served.world.exchange.has(1)
                for price in range(5):
                    served.world.exchange.tell("B", float(price))
                    payload = {"data": {"ticked": {"symbol": "B", "price": float(price), "company": "Beta"}}}
                    assert await client.hear() == {"type": "next", "id": "1", "payload": payload}
                served.world.exchange.end()
                assert await client.hear() == {"type": "complete", "id": "1"}
                await client.begin(PRICE)
                assert (await client.hear())["payload"] == {"data": {"price": {"company": "Alpha"}}}
                assert await client.hear() == {"type": "complete", "id": "1"}
            await served.is_left_alone()
    assert found == []


async def test_many_operations_share_a_socket() -> None:
    """Queries, mutations and subscriptions, each under its id; one that is completed leaves the others alone."""
    async with serving() as served, served.connected() as client:
        for identity in ("a", "b", "c"):
            await client.begin("subscription { ticked { price } }", identity)
        await served.world.exchange.has(3)
        await client.begin(PRICE, "q")
        await client.begin('mutation { trade(symbol: "A") { symbol } }', "m")
        heard = [await client.hear() for _ in range(4)]
        assert {(each["type"], each["id"]) for each in heard} == {
            ("next", "q"), ("complete", "q"), ("next", "m"), ("complete", "m"),
        }  # fmt: skip
        await client.say({"type": "complete", "id": "b"})
        await served.world.exchange.has(2)
        served.world.exchange.tell()
        assert {(await client.hear())["id"] for _ in range(2)} == {"a", "c"}


async def test_pings_are_answered() -> None:
    """Those of the protocol; a pong needs no answer, nor does the end of what has ended."""
    async with serving() as served, served.connected() as client:
        await client.say({"type": "pong"}, {"type": "complete", "id": "x"}, {"type": "ping", "payload": {"a": 1}})
        assert await client.hear() == {"type": "pong"}


async def test_who_leaves_ends_every_subscription() -> None:
    """By an end, or by breaking off."""
    with complaints() as found:
        async with serving() as served:
            async with served.connected() as client:
                await client.begin(identity="1")
                await client.begin(identity="2")
                await served.world.exchange.has(2)
            await served.is_left_alone()
            async with served.connected() as client:
                await client.begin()
                await served.world.exchange.has(1)
                client.connection.transport.abort()
            await served.is_left_alone()
    assert found == []


BROKEN: dict[str, tuple[list[object], int]] = {
    "no JSON": (["{"], 4400),
    "no object": (["[]"], 4400),
    "no type": ([{"id": "1"}], 4400),
    "an unknown type": ([{"type": "start", "id": "1"}], 4400),
    "bytes": ([b'{"type":"ping"}'], 4400),
    "no id": ([INIT, {"type": "subscribe", "payload": {"query": TICKED}}], 4400),
    "an empty id": ([INIT, {"type": "subscribe", "id": "", "payload": {"query": TICKED}}], 4400),
    "a long id": ([INIT, {"type": "subscribe", "id": "x" * 129, "payload": {"query": TICKED}}], 4400),
    "a number as an id": ([INIT, {"type": "subscribe", "id": 1, "payload": {"query": TICKED}}], 4400),
    "no payload": ([INIT, {"type": "subscribe", "id": "1"}], 4400),
    "no query": ([INIT, {"type": "subscribe", "id": "1", "payload": {}}], 4400),
    "variables that are none": (
        [INIT, {"type": "subscribe", "id": "1", "payload": {"query": "q", "variables": 1}}],
        4400,
    ),
    "nested deep": (["[" * 100_000], 4400),
    "a payload of the beginning that is none": ([{**INIT, "payload": 1}], 4400),
    "a header that is none": ([{**INIT, "payload": {"authorization": "a\r\nb: c"}}], 4400),
    "a header that is an object": ([{**INIT, "payload": {"Authorization": {}}}], 4400),
    "before the beginning": ([{"type": "subscribe", "id": "1", "payload": {"query": TICKED}}], 4401),
    "an id that is in use": ([INIT, *[{"type": "subscribe", "id": "1", "payload": {"query": TICKED}}] * 2], 4409),
    "two beginnings": ([INIT, INIT], 4429),
}


@pytest.mark.parametrize("ws", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(("messages", "code"), BROKEN.values(), ids=BROKEN)
async def test_what_is_no_message_ends_the_connection(messages: list[object], code: int, ws: str) -> None:
    """With the protocol's code, and nothing is left behind."""
    with complaints() as found:
        async with serving(ws=ws) as served:
            async with served.connected(init=None) as client:
                await client.say(*messages)
                assert (await client.closing())[0] == code
            await served.is_left_alone()
    assert found == []


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"], ["chat", "graphql-ws"]])
async def test_another_subprotocol_is_not_spoken(subprotocols: Any) -> None:
    """The end says so."""
    async with serving() as served:
        async with served.connected(init=None, subprotocols=subprotocols) as client:
            assert (await client.closing())[0] == 4406
        await served.is_left_alone()


async def test_who_never_begins_is_let_go() -> None:
    """After the limit's time, whatever else is said."""
    async with serving(Config(limits=Limits(websocket_init_timeout_ms=50))) as served:
        async with served.connected(init=None) as client:
            await client.say({"type": "ping"})
            assert await client.closing() == (4408, "Connection initialisation timeout")
        async with served.connected() as client:
            await client.say({"type": "ping"})
            assert await client.hear() == {"type": "pong"}


async def test_one_socket_has_so_many_operations() -> None:
    """A thousand in one socket: those beyond the limit are refused one by one, and the others go on."""
    async with serving(Config(limits=Limits(websocket_operations_max=10))) as served:
        async with served.connected() as client:
            for number in range(1_000):
                await client.begin("subscription { ticked { price } }", str(number))
            refused = [await client.hear() for _ in range(990)]
            assert {each["type"] for each in refused} == {"error"}
            assert {each["payload"][0]["extensions"]["code"] for each in refused} == {"TOO_MANY_SUBSCRIPTIONS"}
            await served.world.exchange.has(10)
            served.world.exchange.tell()
            assert sorted([int((await client.hear())["id"]) for _ in range(10)]) == list(range(10))
        await served.is_left_alone()


async def test_there_are_so_many_sockets() -> None:
    """One too many is refused before it is one; when one ends there is room."""
    async with serving(Config(limits=Limits(websockets_max=1))) as served:
        async with served.connected():
            with pytest.raises(InvalidStatus) as refused:
                async with served.connected():
                    pass
            assert refused.value.response.status_code == 403
        await served.is_left_alone()
        async with served.connected():
            pass


async def test_what_is_refused_is_an_error_message() -> None:
    """Before there is an answer, an operation ends with its errors; a mistake in one is no end to the socket."""
    async with serving() as served, served.connected() as client:
        await client.begin("subscription { nothing }")
        heard = await client.hear()
        assert (heard["type"], heard["id"]) == ("error", "1")
        assert heard["payload"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        await client.begin("subscription { strict { exact } }")
        await served.world.exchange.has(1)
        served.world.exchange.tell(price=None)
        failed = await client.hear()
        assert failed["type"] == "next"
        assert failed["payload"]["data"] is None


class Asks(Plugin):
    """Keeps the headers that requests come with."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def on_request(self, request: RequestContext) -> None:
        """Keep them."""
        self.headers.append(dict(request.headers))


async def test_who_asks_is_said_at_the_beginning_or_in_the_handshake() -> None:
    """The payload's keys that the settings name are headers of every operation, in place of the handshake's."""
    plugin = Asks()
    config = Config(subscriptions=SubscriptionsConfig(init_headers=("Authorization", "x-tenant")))
    async with serving(config, (plugin,)) as served:
        init = {**INIT, "payload": {"authorization": "Bearer 1", "X-Tenant": "t", "cookie": "no", "x": {"y": 1}}}
        async with served.connected(init=init, additional_headers={"authorization": "Bearer 0"}) as client:
            for identity in ("1", "2"):
                await client.begin(PRICE, identity)
                await client.hear()
                await client.hear()
        async with served.connected(additional_headers={"authorization": "Bearer 0"}) as client:
            await client.begin(PRICE)
            await client.hear()
        one, two, three = plugin.headers
        assert (one["authorization"], one["x-tenant"], one.get("cookie")) == ("Bearer 1", "t", None)
        assert three["authorization"] == "Bearer 0"
        assert one["x-request-id"] != two["x-request-id"]
        assert one["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("ws", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(
    ("origin", "config", "is_let_in"),
    [
        ("https://evil.example", Config(), False),
        ("null", Config(), False),
        ("https://evil.example", Config(csrf_protection=False), True),
        ("https://app.example", Config(cors=CorsConfig(origins=("https://app.example",))), True),
        ("https://evil.example", Config(cors=CorsConfig(origins=("https://app.example",))), False),
        ("https://any.example", Config(cors=CorsConfig(origins=("*",))), True),
        ("own", Config(), True),
    ],
)
async def test_pages_of_other_origins_are_kept_out(origin: str, config: Config, is_let_in: bool, ws: str) -> None:
    """A page can open a WebSocket anywhere, and the browser sends cookies along: its origin has to be let in."""
    async with serving(config, ws=ws) as served:
        own = served.url.replace("ws", "http", 1).removesuffix("/graphql")
        given = own if origin == "own" else origin
        if is_let_in:
            async with served.connected(origin=given) as client:
                await client.say({"type": "ping"})
                assert await client.hear() == {"type": "pong"}
        else:
            with pytest.raises(InvalidStatus) as refused:
                async with served.connected(origin=given):
                    pass
            assert refused.value.response.status_code == 403


async def test_there_is_a_socket_at_the_endpoint_alone() -> None:
    """Any other path is refused before it is one."""
    async with serving() as served:
        for path in ("/", "/health", "/nothing"):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(served.url.removesuffix("/graphql") + path, proxy=None):
                    pass
            assert refused.value.response.status_code == 403


async def test_a_token_that_expires_ends_its_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other."""
    monkeypatch.setattr("trifolio.engine.time", SimpleNamespace(time=lambda: 1_000.0, perf_counter=time.perf_counter))
    async with serving(plugins=(LogsIn(1_000.05),)) as served, served.connected() as client:
        await client.begin()
        heard = await client.hear()
        assert heard["type"] == "error"
        assert heard["payload"][0]["extensions"]["code"] == "SUBSCRIPTION_EXPIRED"
        await client.say({"type": "ping"})
        assert await client.hear() == {"type": "pong"}


async def test_a_router_that_ends_says_so() -> None:
    """Each operation ends with a code, then the socket; one without operations ends at once."""
    async with serving() as served, served.connected() as client, served.connected() as idle:
        await client.begin()
        await served.world.exchange.has(1)
        served.app.end_streams()
        heard = await client.hear()
        assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", "SUBSCRIPTION_DRAINED")
        assert (await client.closing())[0] == 1001
        assert (await idle.closing())[0] == 1001
        await served.is_left_alone()


async def test_a_large_message_ends_the_connection() -> None:
    """In one frame or in several, and before it is whole."""
    config = Config(limits=Limits(websocket_message_bytes_max=1_000))
    async with serving(config) as served:
        async with served.connected() as client:
            await client.say("x" * 1_001)
            assert (await client.closing())[0] == 1009
        async with served.connected() as client:
            with suppress(ConnectionClosed):
                await client.connection.send("x" * 100 for _ in range(20))
            assert (await client.closing())[0] == 1009
        await served.is_left_alone()


async def test_the_log_has_a_line_per_operation(caplog: pytest.LogCaptureFixture) -> None:
    """When it ends: how many answers were sent, and the codes of what went wrong."""
    with caplog.at_level(logging.INFO, "trifolio.access"):
        async with serving() as served, served.connected() as client:
            await client.begin()
            await served.world.exchange.has(1)
            served.world.exchange.tell()
            await client.hear()
            served.world.router.end_subscriptions()
            await client.hear()
    [line] = [record.fields for record in caplog.records if record.message == "operation"]  # type: ignore[attr-defined]  # its own
    assert (line["answers"], line["codes"], line["path"]) == (1, ["SUBSCRIPTION_DRAINED"], "/graphql")
