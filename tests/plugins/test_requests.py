"""`on_request`: what it sees and may do, in which order, however the router is asked."""

from typing import Any

import pytest

from tests.plugins.graph import Ask, Graph, by_execute, post
from trifolio import (
    ErrorCode,
    FetchContext,
    OperationContext,
    Plugin,
    Refused,
    RequestContext,
    Response,
    ResponseContext,
    RouterError,
    SendFetch,
    SubgraphResponse,
)

BOTH = "query Q { me { name homes { city } } }"


class Noting(Plugin):
    """Notes every hook that is called, under a name."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    async def on_start(self) -> None:
        self.calls.append(f"start {self.name}")

    async def on_stop(self) -> None:
        self.calls.append(f"stop {self.name}")

    async def on_request(self, request: RequestContext, /) -> None:
        self.calls.append(f"request {self.name}")

    async def on_operation(self, operation: OperationContext, /) -> None:
        self.calls.append(f"operation {self.name}")

    async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> SubgraphResponse:
        self.calls.append(f"fetch {self.name}")
        response = await send(fetch)
        self.calls.append(f"fetched {self.name}")
        return response

    async def on_response(self, response: ResponseContext, /) -> None:
        self.calls.append(f"response {self.name}")


async def test_plugins_are_called_in_their_order(ask: Ask) -> None:
    """The first plug-in is the outermost: it is called first on the way in, and last on the way out."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls), Noting("b", calls))
    async with graph.router:
        assert (await ask(graph.router, "{ me { name } }"))["data"] == {"me": {"name": "Ada"}}
    assert calls == [
        *("start a", "start b", "request a", "request b", "operation a", "operation b"),
        *("fetch a", "fetch b", "fetched b", "fetched a", "response b", "response a", "stop b", "stop a"),
    ]


async def test_a_hook_sees_the_request(ask: Ask) -> None:
    """Query, variables, name, headers in lower case and the request's id are what the client sent."""
    seen: list[RequestContext] = []

    class See(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            seen.append(request)

    graph = Graph(See())
    query = "query Q($n: String!) { header(name: $n) }"
    headers = {"Authorization": "me", "X-Request-Id": "request-1"}
    assert await ask(graph.router, query, headers, variables={"n": "authorization"}) == {"data": {"header": "me"}}
    [request] = seen
    assert (request.query, request.variables, request.operation_name) == (query, {"n": "authorization"}, None)
    assert (request.headers["authorization"], request.request_id) == ("me", "request-1")


async def test_http_requests_say_their_method_and_extensions() -> None:
    """Over HTTP the method and the body's extensions are known; in a program there is no method."""
    seen: list[tuple[str | None, dict[str, object]]] = []

    class See(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            seen.append((request.method, dict(request.extensions)))

    graph = Graph(See())
    await post(graph.router, "{ vault }", extensions={"a": 1})
    await by_execute(graph.router, "{ vault }")
    assert seen == [("POST", {"a": 1}), (None, {})]


async def test_the_query_can_be_another(ask: Ask) -> None:
    """What a hook puts in place of query, variables and name is executed, as with persisted operations."""

    class Replace(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            assert request.query == "known"
            request.query = "query A { vault } query B($n: String!) { header(name: $n) }"
            request.variables, request.operation_name = {"n": "x-a"}, "B"
            request.headers["x-a"] = "1"

    assert await ask(Graph(Replace()).router, "known") == {"data": {"header": "1"}}


class Early(Plugin):
    """Answers at once."""

    async def on_request(self, request: RequestContext, /) -> Response:
        return Response({"me": None}, status=203, headers=(("x-early", "1"),), extensions={"early": True})


async def test_an_answer_at_once_is_all_there_is(ask: Ask) -> None:
    """The first response that a hook returns is the answer: nothing is parsed or fetched, `on_response` sees it."""
    calls: list[str] = []
    graph = Graph(Noting("a", calls), Early(), Noting("b", calls))
    body = await ask(graph.router, "this is no GraphQL")
    assert body["data"] == {"me": None}
    assert graph.asked == []
    assert [call for call in calls if "start" not in call] == ["request a", "response b", "response a"]


async def test_an_answer_at_once_has_its_status_and_headers() -> None:
    """Over HTTP an answer at once has the status, headers and extensions that it was made with."""
    response = await post(Graph(Early()).router, "{ vault }")
    assert (response.status_code, response.headers["x-early"]) == (203, "1")
    assert response.json() == {"data": {"me": None}, "extensions": {"early": True}}


class Guard(Plugin):
    """Refuses, in the hook that it is told."""

    def __init__(self, hook: str, error: RouterError) -> None:
        self.hook, self.error = hook, error

    async def on_request(self, request: RequestContext, /) -> None:
        if self.hook == "on_request":
            raise self.error

    async def on_operation(self, operation: OperationContext, /) -> None:
        if self.hook == "on_operation":
            raise self.error


@pytest.mark.parametrize("hook", ["on_request", "on_operation"])
async def test_a_refusal_is_the_answer(ask: Ask, hook: str) -> None:
    """`Refused` becomes the only error, with its code and text; nothing is fetched."""
    graph = Graph(Guard(hook, Refused("UNAUTHENTICATED", "Log in first.", status=401)))
    body = await ask(graph.router, BOTH)
    assert body.get("data") is None
    assert body["errors"] == [{"message": "Log in first.", "extensions": {"code": "UNAUTHENTICATED"}}]
    assert graph.asked == []


@pytest.mark.parametrize("hook", ["on_request", "on_operation"])
@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_a_refusal_has_its_status_in_both_media_types(hook: str, accept: str) -> None:
    """A refusal is no answer to the operation: its status stands whatever the client takes."""
    for error, status in (
        (Refused("UNAUTHENTICATED", "Log in first.", status=401), 401),
        (Refused("NO", "No."), 403),
        (RouterError(ErrorCode.OVERLOADED), 503),
    ):
        response = await post(Graph(Guard(hook, error)).router, BOTH, {"accept": accept})
        assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (status, accept)
        assert "data" not in response.json()


class LateGuard(Plugin):
    """Refuses in `on_response`."""

    def __init__(self, error: RouterError) -> None:
        self.error = error

    async def on_response(self, response: ResponseContext, /) -> None:
        raise self.error


@pytest.mark.parametrize("hook", ["on_request", "on_operation", "on_response"])
async def test_a_refusal_has_its_headers(hook: str) -> None:
    """The headers that a refusal is made with are the response's; what cannot be one is the plug-in's bug."""

    def refusing(headers: dict[str, str]) -> Graph:
        error = Refused("UNAUTHENTICATED", "Log in first.", status=401, headers=headers)
        return Graph(LateGuard(error) if hook == "on_response" else Guard(hook, error))

    response = await post(refusing({"WWW-Authenticate": "Bearer"}).router, BOTH)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    for headers in ({"x y": "1"}, {"x-a": "1\r\nx-b: 2"}, {"content-length": "1"}):
        response = await post(refusing(headers).router, BOTH)
        assert (response.status_code, "www-authenticate" in response.headers) == (500, False)


async def test_a_refusal_reaches_who_reads_parts_only() -> None:
    """A client that takes nothing but parts gets a refusal as its first and last part, with the status."""
    accept = {"accept": "multipart/mixed;deferSpec=20220824"}
    response = await post(Graph(Guard("on_request", Refused("NO", "No."))).router, BOTH, accept)
    assert response.status_code == 403
    assert '"hasNext":false' in response.text


@pytest.mark.parametrize("status", [399, 600, 0])
def test_a_refusal_is_an_error(status: int) -> None:
    """No refusal has a status that is none of an error."""
    with pytest.raises(ValueError, match="no HTTP status of a refusal"):
        Refused("NO", "No.", status=status)


async def test_refusals_are_counted() -> None:
    """The metrics have what plug-ins refuse, under one code for all of them."""
    graph = Graph(Guard("on_request", Refused("NO", "No.")))
    ended: list[Any] = []

    class Count:
        def operation_planned(self, event: Any, /) -> None: ...
        def fetch_ended(self, event: Any, /) -> None: ...
        def operation_ended(self, event: Any, /) -> None:
            ended.append((event.kind, event.codes))

    graph.router.add_observer(Count())
    await by_execute(graph.router, BOTH)
    assert ended == [(None, ("PLUGIN_REFUSED",))]


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_changed_headers_are_forwarded(ask: Ask, name: str) -> None:
    """A header that is forwarded is forwarded as the hook left it, whatever the case in which it writes the name."""

    class Change(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            request.headers[name] = "changed"

    graph = Graph(Change())
    body = await ask(graph.router, '{ header(name: "authorization") }', {"authorization": "mine"})
    assert body == {"data": {"header": "changed"}}


async def test_the_context_reaches_resolvers(ask: Ask) -> None:
    """What a hook puts into the context, resolvers within this process find; the last hook to set it wins."""

    class Give(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            request.context = "first"

        async def on_operation(self, operation: OperationContext, /) -> None:
            assert operation.request.context == "first"
            operation.request.context = "last"

    assert await ask(Graph(Give()).router, "{ given }") == {"data": {"given": "last"}}


async def test_a_hook_sees_the_context_that_a_program_gave() -> None:
    """`Router.execute(context=...)` is in the request's context until a hook changes it."""
    seen = []

    class See(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            seen.append(request.context)

    assert await by_execute(Graph(See()).router, "{ given }", context="mine") == {"data": {"given": "mine"}}
    assert seen == ["mine"]


async def test_the_state_goes_from_hook_to_hook(ask: Ask) -> None:
    """What one hook writes into the request's state every later hook of that request reads, and no other request."""
    seen: list[object] = []

    class Remember(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            assert request.state == {}
            request.state[self] = ["request"]

        async def on_operation(self, operation: OperationContext, /) -> None:
            operation.request.state[self].append("operation")

        async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> SubgraphResponse:
            fetch.request.state[self].append("fetch")
            return await send(fetch)

        async def on_response(self, response: ResponseContext, /) -> None:
            seen.append(response.request.state[self])

    graph = Graph(Remember())
    for _ in range(2):
        await ask(graph.router, "{ vault }")
    assert seen == [["request", "operation", "fetch"]] * 2
