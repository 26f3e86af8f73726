"""`on_fetch`: headers, URL, operation, retries, answers of one's own, and what a subgraph's HTTP status was."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.plugins.graph import Ask, Graph, People, by_execute, codes, paths
from tests.plugins.http_subgraph import HttpSubgraph, served
from trifolio import (
    Config,
    ErrorCode,
    FetchContext,
    HttpxTransport,
    Limits,
    Plugin,
    PooledTransport,
    Refused,
    RequestContext,
    RouterError,
    SendFetch,
    SubgraphConfig,
    SubgraphError,
    SubgraphResponse,
    Transport,
)
from trifolio.executor.pool import URLS_MAX

Hook = Callable[[FetchContext, SendFetch], Awaitable[SubgraphResponse]]
MakeTransport = Callable[..., Transport]


class OnFetch(Plugin):
    """A plug-in of one function."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> SubgraphResponse:
        return await self.hook(fetch, send)


@pytest.fixture
async def people() -> AsyncIterator[HttpSubgraph]:
    """The subgraph people, over HTTP."""
    async with served(People().schema) as subgraph:
        yield subgraph


@pytest.fixture(params=[PooledTransport, HttpxTransport])
def make_transport(request: pytest.FixtureRequest) -> MakeTransport:
    """Each of the transports over HTTP."""
    make: MakeTransport = request.param
    return make


# ---- headers ----


async def test_a_hook_sends_headers(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """Headers go as they are, in place of those that the transport has or forwards, whatever their case."""
    seen: list[dict[str, str]] = []

    async def add(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        seen.append(dict(fetch.headers))
        fetch.headers |= {"Authorization": "ours", "x-fixed": "changed", "x-new": "1"}
        return await send(fetch)

    transport = make_transport(people.url, headers={"X-Fixed": "was", "x-kept": "kept"})
    async with Graph(OnFetch(add), transports={"people": transport}).router as router:
        assert await by_execute(router, "{ vault }", {"authorization": "client's"}) == {"data": {"vault": "gold"}}
    sent = people.received[0].headers
    assert seen == [{}]
    assert (sent["authorization"], sent["x-fixed"], sent["x-kept"], sent["x-new"]) == ("ours", "changed", "kept", "1")


async def test_only_forwarded_headers_go_on(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """What `on_request` changes is forwarded where it is to be forwarded, and else stays with the router."""

    class Change(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            request.headers.update({"x-yes": "1", "x-no": "1"})
            del request.headers["authorization"]

    transport = make_transport(people.url, forward_headers=("authorization", "x-yes"))
    async with Graph(Change(), transports={"people": transport}).router as router:
        await by_execute(router, "{ vault }", {"authorization": "mine"})
    sent = people.received[0].headers
    assert sent["x-yes"] == "1"
    assert not {"x-no", "authorization"} & set(sent)


@pytest.mark.parametrize(
    ("name", "value"),
    [("x y", "1"), ("content-length", "1"), ("Host", "x"), ("x-a", "1\r\nx-b: 2"), ("x-a", "\0"), ("x-a", "\ud800")],
)
async def test_what_is_no_header_fails_the_fetch(
    people: HttpSubgraph, make_transport: MakeTransport, name: str, value: str
) -> None:
    """A header that cannot be, or is the connection's own, is not sent, and neither is the request."""

    async def add(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        fetch.headers[name] = value
        return await send(fetch)

    async with Graph(OnFetch(add), transports={"people": make_transport(people.url)}).router as router:
        assert codes(await by_execute(router, "{ me { name } }")) == ["INTERNAL_SERVER_ERROR"]
    assert people.received == []


# ---- another URL ----


async def test_a_hook_sends_elsewhere(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """A fetch goes to the URL that a hook gives it, with the same headers; the next goes where it always went."""

    async def elsewhere(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        if fetch.request.headers.get("x-region"):
            fetch.url = f"{other.url}/there?a=b"
        return await send(fetch)

    async with served(People().schema) as other:
        transport = make_transport(people.url, headers={"x-router-secret": "s"})
        async with Graph(OnFetch(elsewhere), transports={"people": transport}).router as router:
            for headers in ({"x-region": "1", "authorization": "a"}, {}, {"x-region": "1"}):
                assert await by_execute(router, "{ vault }", headers) == {"data": {"vault": "gold"}}
    assert [each.path for each in other.received] == ["/there", "/there"]
    assert (other.received[0].headers["authorization"], other.received[0].headers["x-router-secret"]) == ("a", "s")
    assert len(people.received) == 1


@pytest.mark.parametrize("url", ["", "ftp://a/", "//", "http://[", "http://a b/", "http://127.0.0.1:1/"])
async def test_a_url_that_cannot_be_asked_fails_the_fetch(
    people: HttpSubgraph, make_transport: MakeTransport, url: str
) -> None:
    """What is no URL, or where nobody listens, is a fetch that failed; the subgraph itself is not asked instead."""

    async def elsewhere(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        fetch.url = url
        return await send(fetch)

    async with Graph(OnFetch(elsewhere), transports={"people": make_transport(people.url)}).router as router:
        assert codes(await by_execute(router, "{ me { name } }")) == ["SUBGRAPH_UNREACHABLE"]
    assert people.received == []


async def test_other_urls_are_bounded(people: HttpSubgraph) -> None:
    """A subgraph's requests go to so many other URLs; one more is not asked, and those that are known still are."""

    async def elsewhere(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        fetch.url = f"{people.url}/{fetch.request.headers['x-tenant']}"
        return await send(fetch)

    async with Graph(OnFetch(elsewhere), transports={"people": PooledTransport(people.url)}).router as router:
        for tenant in range(URLS_MAX):
            assert codes(await by_execute(router, "{ vault }", {"x-tenant": str(tenant)})) == []
        assert codes(await by_execute(router, "{ me { name } }", {"x-tenant": "more"})) == ["SUBGRAPH_UNREACHABLE"]
        assert codes(await by_execute(router, "{ vault }", {"x-tenant": "0"})) == []


async def test_a_subgraph_in_memory_has_no_url(ask: Ask) -> None:
    """A fetch to a subgraph in memory cannot be sent elsewhere."""

    async def elsewhere(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        fetch.url = "http://127.0.0.1:1/"
        return await send(fetch)

    assert codes(await ask(Graph(OnFetch(elsewhere)).router, "{ me { name } }")) == ["SUBGRAPH_UNREACHABLE"]


# ---- what is asked, how often, and by whom it is answered ----


async def test_a_hook_sees_each_fetch(ask: Ask) -> None:
    """Every request to a subgraph passes the hook, with its subgraph, operation, variables and exact body."""
    seen: list[tuple[str, str, bytes]] = []

    async def note(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        seen.append((fetch.subgraph, fetch.kind, fetch.body))
        return await send(fetch)

    graph = Graph(OnFetch(note))
    await ask(graph.router, "{ me { name homes { city } } }")
    await ask(graph.router, "mutation { erase }")
    assert [(subgraph, kind) for subgraph, kind, _ in seen] == [
        ("people", "query"),
        ("places", "query"),
        ("people", "mutation"),
    ]
    assert b'"representations":[{"__typename":"Person","id":"1"}]' in seen[1][2]


async def test_the_body_is_what_is_sent(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """`FetchContext.body` has the very bytes that go over HTTP, also after operation and variables were changed."""
    bodies: list[bytes] = []

    async def change(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        fetch.operation = 'query ($n: String!) { vault header(name: $n) u: header(name: "é") }'
        fetch.variables = {"n": "x-ü"}
        bodies.append(fetch.body)
        return await send(fetch)

    async with Graph(OnFetch(change), transports={"people": make_transport(people.url)}).router as router:
        assert await by_execute(router, "{ vault }") == {"data": {"vault": "gold"}}
    assert [each.body for each in people.received] == bodies


async def test_a_hook_sends_again(ask: Ask) -> None:
    """A fetch can be sent several times; the response that the hook returns counts."""

    async def twice(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        await send(fetch)
        return await send(fetch)

    graph = Graph(OnFetch(twice))
    assert await ask(graph.router, "{ vault }") == {"data": {"vault": "gold"}}
    assert graph.asked == ["people", "people"]


async def test_a_failed_fetch_can_be_sent_again(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """A subgraph's failure is a `SubgraphError` that the hook can catch."""

    async def retry(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        try:
            return await send(fetch)
        except SubgraphError as error:
            if error.http_status != 503:
                raise
            people.status, people.body = 200, None
            return await send(fetch)

    people.status, people.body = 503, b"busy"
    async with Graph(OnFetch(retry), transports={"people": make_transport(people.url)}).router as router:
        assert await by_execute(router, "{ vault }") == {"data": {"vault": "gold"}}
    assert len(people.received) == 2


@pytest.mark.parametrize(
    "response",
    [SubgraphResponse(body=b'{"data":{"vault":"made"}}'), SubgraphResponse(payload={"data": {"vault": "made"}})],
    ids=["body", "payload"],
)
async def test_a_hook_answers_itself(ask: Ask, response: SubgraphResponse) -> None:
    """A response of the hook's own, as bytes or as values, is taken for the subgraph's, which is not asked."""

    async def answer(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        return response

    graph = Graph(OnFetch(answer))
    for _ in range(3):
        assert await ask(graph.router, "{ vault }") == {"data": {"vault": "made"}}
    assert graph.asked == []


@pytest.mark.parametrize(
    "response",
    [SubgraphResponse(), SubgraphResponse(body=b"{"), SubgraphResponse(payload=5), SubgraphResponse(payload={})],
)
async def test_an_answer_that_is_none_fails_the_fetch(ask: Ask, response: SubgraphResponse) -> None:
    """What is no GraphQL response fails the fetch as if the subgraph had sent it."""

    async def answer(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        return response

    body = await ask(Graph(OnFetch(answer)).router, "{ me { name } }")
    assert (body["data"], codes(body)) == ({"me": None}, ["SUBGRAPH_RESPONSE_MALFORMED"])


async def test_one_fetch_that_fails_leaves_the_others(ask: Ask) -> None:
    """Whatever a hook raises fails its fetch alone: null with an error that names the subgraph, and no text of it."""
    for error in (RouterError(ErrorCode.OVERLOADED), KeyError("secret"), TimeoutError("secret")):

        async def fail(fetch: FetchContext, send: SendFetch, error: Exception = error) -> SubgraphResponse:
            if fetch.subgraph == "places":
                raise error
            return await send(fetch)

        body = await ask(Graph(OnFetch(fail)).router, "{ me { name homes { city } } }")
        assert body["data"] == {"me": {"name": "Ada", "homes": None}}
        assert (codes(body), paths(body)) == (["INTERNAL_SERVER_ERROR"], [["me", "homes"]])
        assert "secret" not in str(body)


async def test_a_fetch_can_be_refused(ask: Ask) -> None:
    """`Refused` in `on_fetch` is the error of that fetch, with its code and text; the rest of the answer stands."""

    async def refuse(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        if fetch.subgraph == "places":
            raise Refused("QUOTA", "No more homes today.", status=429, headers={"retry-after": "9"})
        return await send(fetch)

    graph = Graph(OnFetch(refuse))
    for _ in range(3):
        body = await ask(graph.router, "{ me { name homes { city } } }")
        assert body["data"] == {"me": {"name": "Ada", "homes": None}}
        assert body["errors"] == [
            {
                "message": "No more homes today.",
                "path": ["me", "homes"],
                "extensions": {"code": "QUOTA", "subgraph": "places"},
            }
        ]
    assert "places" not in graph.asked


async def test_a_hook_that_hangs_costs_its_fetch(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that never ends has the fetch's time, the subgraph's own where it has one; the log says which it was."""

    async def hang(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        if fetch.subgraph == "places":
            await asyncio.Event().wait()
        return await send(fetch)

    for config in (
        Config(limits=Limits(fetch_timeout_ms=30)),
        Config(subgraphs={"places": SubgraphConfig(timeout_ms=30)}),
    ):
        caplog.clear()
        body = await ask(Graph(OnFetch(hang), config=config).router, "{ me { name homes { city } } }")
        assert body["data"] == {"me": {"name": "Ada", "homes": None}}
        assert (codes(body), paths(body)) == (["INTERNAL_SERVER_ERROR"], [["me", "homes"]])
        blamed = [fields for fields in map(_fields, caplog.records) if "plugin" in fields]
        assert [(fields["plugin"], fields["hook"]) for fields in blamed] == [("OnFetch", "on_fetch")]


def _fields(record: logging.LogRecord) -> dict[str, str]:
    found: dict[str, str] = getattr(record, "fields", {})
    return found


class Slow:
    """A subgraph in memory that answers when the loop has gone round for longer than a hook may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.sent = seconds, 0

    async def send(self, request: object, /) -> SubgraphResponse:
        """Answer after some time."""
        self.sent += 1
        await asyncio.sleep(self.seconds)
        return SubgraphResponse(payload={"data": {"vault": "slow"}})

    async def close(self) -> None: ...


async def test_waiting_for_the_subgraph_is_not_the_hooks_time() -> None:
    """What a hook waits for `send` is the subgraph's time: sending again has all of it again, also side by side."""

    async def again(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        await send(fetch)
        await asyncio.gather(send(fetch), send(fetch))
        return await send(fetch)

    slow = Slow(0.05)
    config = Config(limits=Limits(fetch_timeout_ms=40))
    graph = Graph(OnFetch(again), OnFetch(again), config=config, transports={"people": slow})
    assert await by_execute(graph.router, "{ vault }") == {"data": {"vault": "slow"}}
    assert slow.sent == 16


async def test_what_a_hook_leaves_behind_can_still_send(people: HttpSubgraph) -> None:
    """A task that a hook started may send when the hook is done; it harms nobody."""
    left: list[asyncio.Task[SubgraphResponse]] = []

    async def leave(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        left.append(asyncio.ensure_future(send(fetch)))
        return SubgraphResponse(payload={"data": {"vault": "made"}})

    async with Graph(OnFetch(leave), transports={"people": PooledTransport(people.url)}).router as router:
        assert await by_execute(router, "{ vault }") == {"data": {"vault": "made"}}
        assert (await left[0]).status == 200


# ---- the subgraph's HTTP response ----


async def test_cookies_stay_apart(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """Several Set-Cookie headers are several cookies, commas in them or not; they are not among the headers."""
    seen: list[SubgraphResponse] = []

    async def note(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        seen.append(await send(fetch))
        return seen[-1]

    cookies = ("a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2, 3", "c=4")
    people.more_headers = [*(("Set-Cookie", cookie) for cookie in cookies), ("x-own", "1"), ("x-own", "2")]
    async with Graph(OnFetch(note), transports={"people": make_transport(people.url)}).router as router:
        await by_execute(router, "{ vault }")
        people.status, people.body = 401, b'{"errors":[{"message":"Log in."}]}'
        await by_execute(router, "{ vault }")
        people.status, people.body, people.more_headers = 200, None, []
        await by_execute(router, "{ vault }")
    assert [each.set_cookies for each in seen] == [cookies, cookies, ()]
    assert ("set-cookie" in seen[0].headers, seen[0].headers["x-own"]) == (False, "1, 2")


async def test_the_response_has_status_and_headers(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """An answer's HTTP status and headers are there to be read, also where the status is an error's."""
    seen: list[tuple[int | None, str | None]] = []

    async def note(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        response = await send(fetch)
        seen.append((response.status, response.headers.get("x-own")))
        return response

    async with Graph(OnFetch(note), transports={"people": make_transport(people.url)}).router as router:
        people.headers = {"X-Own": "1"}
        await by_execute(router, "{ vault }")
        people.status, people.body = 401, b'{"errors":[{"message":"Log in."}]}'
        assert codes(await by_execute(router, "{ me { name } }")) == ["SUBGRAPH_ERROR"]
    assert seen == [(200, "1"), (401, "1")]


async def test_a_status_without_an_answer_is_in_the_error(people: HttpSubgraph, make_transport: MakeTransport) -> None:
    """Where an HTTP error brings no GraphQL, the status stands in the `SubgraphError`; without HTTP there is none."""
    seen: list[int | None] = []

    async def note(fetch: FetchContext, send: SendFetch) -> SubgraphResponse:
        try:
            return await send(fetch)
        except SubgraphError as error:
            seen.append(error.http_status)
            raise

    people.status, people.body = 401, b"Log in."
    transport = make_transport(people.url)
    async with Graph(OnFetch(note), transports={"people": transport}).router as router:
        assert codes(await by_execute(router, "{ me { name } }")) == ["SUBGRAPH_HTTP_ERROR"]
    nowhere = make_transport("http://127.0.0.1:1/")
    async with Graph(OnFetch(note), transports={"people": nowhere}).router as router:
        assert codes(await by_execute(router, "{ me { name } }")) == ["SUBGRAPH_UNREACHABLE"]
    assert seen == [401, None]
