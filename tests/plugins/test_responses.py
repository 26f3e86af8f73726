"""`on_response`: status, headers, cookies and extensions of an answer, and of each of its parts."""

import asyncio
import json
import re
from typing import Any

import pytest

from tests.plugins.graph import Ask, Graph, by_http, post
from trifolio import Config, Limits, Plugin, Refused, RequestContext, ResponseContext

DEFERRED = '{ me { name ... @defer(label: "a") { homes { city } } ... @defer(label: "b") { friends { name } } } }'


class Decorate(Plugin):
    """Says all that can be said beside an answer."""

    async def on_response(self, response: ResponseContext, /) -> None:
        response.status = 202
        response.add_header("X-One", "1")
        response.add_header("x-one", "2")
        response.add_header("Cache-Control", "private")
        response.set_cookie("session", "a b", max_age_s=60, same_site="strict")
        response.extensions["cost"] = {"total": 7}


async def test_status_headers_and_cookies_go_over_http() -> None:
    """What a hook sets is written: headers of one name several times, and in place of the router's own."""
    response = await post(Graph(Decorate()).router, "{ vault }")
    assert response.status_code == 202
    assert response.headers.get_list("x-one") == ["1", "2"]
    assert response.headers.get_list("cache-control") == ["private"]
    cookie = response.headers["set-cookie"]
    assert cookie.startswith('session="a b"; ')
    assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Max-Age=60", "Path=/", "SameSite=Strict", "Secure"}
    assert response.json() == {"data": {"vault": "gold"}, "extensions": {"cost": {"total": 7}}}


async def test_a_program_gets_them_as_values() -> None:
    """`Router.execute` has status, headers and extensions in its response, `Router.stream` the extensions."""
    graph = Graph(Decorate())
    response = await graph.router.execute("{ vault }")
    assert (response.status, response.extensions) == (202, {"cost": {"total": 7}})
    assert [value for name, value in response.headers if name == "x-one"] == ["1", "2"]
    parts = [part async for part in graph.router.stream("{ vault }")]
    assert [part.extensions for part in parts] == [{"cost": {"total": 7}}]


async def test_plugins_add_to_one_another() -> None:
    """A hook sees what those before it have set; on the way out the last plug-in comes first."""
    seen: list[Any] = []

    class Tell(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            seen.append((response.status, dict(response.headers).get("x-one"), response.extensions["cost"]))
            response.status = 203

    response = await post(Graph(Tell(), Decorate()).router, "{ vault }")
    assert seen == [(202, "2", {"total": 7})]
    assert response.status_code == 203


async def test_a_refused_operation_has_a_response_too(ask: Ask) -> None:
    """The hook is called for what was refused, with the reason; it is asked about operations alone."""
    seen: list[Any] = []

    class See(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            code = response.refusal.code.name if response.refusal else None
            seen.append((response.data, code, len(response.errors), response.is_first, response.has_next))

    class Guard(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            if "x-no" in request.headers:
                raise Refused("NO", "No.")

    graph = Graph(See(), Guard())
    await ask(graph.router, "{ vault }", {"x-no": "1"})
    await ask(graph.router, "{ nothing }")
    await ask(graph.router, "{ vault }")
    assert seen == [
        (None, "PLUGIN_REFUSED", 1, True, False),
        (None, "GRAPHQL_VALIDATION_FAILED", 1, True, False),
        ({"vault": "gold"}, None, 0, True, False),
    ]
    await post(graph.router, "{ vault }", {"content-type": "text/plain"})
    assert len(seen) == 3


async def test_the_response_can_be_refused() -> None:
    """A refusal in `on_response` takes the answer's place, and nothing of it is shown."""

    class Guard(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            if response.is_first:
                raise Refused("TOO_MUCH", "Ask for less.", status=429)

    graph = Graph(Guard())
    response = await post(graph.router, "{ vault }")
    assert response.status_code == 429
    assert response.json() == {"errors": [{"message": "Ask for less.", "extensions": {"code": "TOO_MUCH"}}]}
    [part] = [part async for part in graph.router.stream(DEFERRED)]
    assert (part.data, part.has_next) == (None, False)


@pytest.mark.parametrize("bad", [Refused("NO", "No."), KeyError("secret")], ids=["refuses", "fails"])
async def test_outer_plugins_see_what_became_of_the_answer(bad: Exception) -> None:
    """Where an `on_response` refuses or fails, the outer ones are shown that, and what they add is the response's."""
    seen: list[Any] = []

    class Outer(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            seen.append((response.data, len(response.errors), response.headers, response.extensions, response.has_next))
            if response.is_first:
                response.add_header("x-outer", "1")

    class Middle(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            raise bad

    class Inner(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            response.extensions["inner"] = 1
            if response.is_first:
                response.add_header("x-inner", "1")

    graph = Graph(Outer(), Middle(), Inner())
    response = await post(graph.router, "{ vault }")
    assert response.status_code == (403 if isinstance(bad, Refused) else 500)
    assert (response.headers["x-outer"], "x-inner" in response.headers) == ("1", False)
    assert seen == [(None, 1, (), {}, False)]
    [part] = [part async for part in graph.router.stream(DEFERRED)]
    assert (part.data, part.has_next, len(seen)) == (None, False, 2)


async def test_outer_plugins_have_time_after_one_that_hangs() -> None:
    """An `on_response` that takes all of the time leaves the outer ones some of their own."""
    seen: list[Any] = []

    class Outer(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            await asyncio.sleep(0)
            seen.append(response.refusal)

    class Hang(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            await asyncio.Event().wait()

    config = Config(limits=Limits(operation_timeout_ms=20, plugin_response_timeout_ms=20))
    response = await post(Graph(Outer(), Hang(), config=config).router, "{ vault }")
    assert response.status_code == 500
    assert [refusal.code.name for refusal in seen] == ["INTERNAL_SERVER_ERROR"]


async def test_a_part_that_failed_is_shown_to_outer_plugins() -> None:
    """Where an `on_response` fails for a later part, the outer ones are shown the part without its data."""
    seen: list[Any] = []

    class Outer(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            seen.append((response.is_first, response.data is None, len(response.errors)))

    class Inner(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            if not response.is_first:
                raise Refused("NO", "No.")

    parts = [part async for part in Graph(Outer(), Inner()).router.stream(DEFERRED)]
    later = [(part.data is None, [error.own_code for error in part.errors]) for part in parts[1:]]
    assert later == [(True, ["NO"])] * 2
    assert seen == [(True, False, 0), (False, True, 1), (False, True, 1)]


# ---- parts ----


class PerPart(Plugin):
    """Numbers the parts, and notes what it sees of them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def on_response(self, response: ResponseContext, /) -> None:
        self.seen.append((response.is_first, response.label, response.path, response.has_next))
        response.extensions["part"] = response.label or "first"
        if response.is_first:
            response.add_header("x-first", "1")


async def test_each_part_passes_the_hook() -> None:
    """The first answer and every later part are shown, with label, path and whether more comes."""
    plugin = PerPart()
    parts = [part async for part in Graph(plugin).router.stream(DEFERRED)]
    assert {part.label or "first": (part.extensions or {})["part"] for part in parts} == {
        "first": "first",
        "a": "a",
        "b": "b",
    }
    assert plugin.seen[0] == (True, None, (), True)
    assert sorted(each[1] for each in plugin.seen[1:]) == ["a", "b"]
    assert [each[3] for each in plugin.seen] == [True, True, False]
    assert {each[2] for each in plugin.seen[1:]} == {("me",)}


@pytest.mark.parametrize("spec", ["deferSpec=20220824", "incrementalSpec=v0.2"])
async def test_parts_over_http_have_their_extensions(spec: str) -> None:
    """Over HTTP each part carries what was said about it, and the headers are those of the first."""
    response = await post(Graph(PerPart()).router, DEFERRED, {"accept": f"multipart/mixed;{spec}"})
    assert (response.status_code, response.headers["x-first"]) == (200, "1")
    bodies = [json.loads(text) for text in re.findall(r"^\{.*\}", response.text, flags=re.MULTILINE)]
    assert bodies[0]["extensions"] == {"part": "first"}
    items = [item["extensions"]["part"] for body in bodies[1:] for item in body["incremental"]]
    assert sorted(items) == ["a", "b"]
    assert [body["hasNext"] for body in bodies][-1] is False


@pytest.mark.parametrize("attempt", ["status", "add_header", "set_cookie"])
async def test_a_later_part_has_no_status_and_headers(attempt: str) -> None:
    """Setting them for a later part is a ValueError, and the plug-in can go on."""
    raised: list[ValueError] = []

    class Late(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            try:
                if attempt == "status":
                    response.status = 200
                elif attempt == "add_header":
                    response.add_header("x-a", "1")
                else:
                    response.set_cookie("a", "1")
            except ValueError as error:
                raised.append(error)

    parts = [part async for part in Graph(Late()).router.stream(DEFERRED)]
    assert [part.errors for part in parts] == [()] * 3
    assert len(raised) == 2


async def test_a_part_whose_hook_fails_has_no_data() -> None:
    """A hook that raises for one part fails that part, at its path; the others come."""

    class Fail(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            if response.label == "a":
                raise RuntimeError("secret")

    parts = {part.label: part async for part in Graph(Fail()).router.stream(DEFERRED)}
    assert parts["a"].data is None
    assert [(error.code.name, error.path) for error in parts["a"].errors] == [("INTERNAL_SERVER_ERROR", ("me",))]
    assert parts["b"].data == {"friends": [{"name": "Bob"}]}


WRONG = {
    "a status that is none": lambda response: setattr(response, "status", 99),
    "a status beyond": lambda response: setattr(response, "status", 600),
    "a status without a body": lambda response: setattr(response, "status", 204),
    "another status without a body": lambda response: setattr(response, "status", 304),
    "a status that is no number": lambda response: setattr(response, "status", "200"),
    "half a status": lambda response: setattr(response, "status", 200.5),
    "a header with a line break": lambda response: response.add_header("x-a", "1\r\nx-b: 2"),
    "a header that is no name": lambda response: response.add_header("x a", "1"),
    "a header of the connection": lambda response: response.add_header("Content-Length", "1"),
    "a header that is no text": lambda response: response.add_header("x-a", 5),
    "a header of half a character": lambda response: response.add_header("x-a", "\ud800"),
    "a cookie that is none": lambda response: response.set_cookie("a b", "1"),
    "a cookie with a line break": lambda response: response.set_cookie("a", "1", path="/\r\nx-b: 2"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_cannot_be_sent_is_refused_at_once(wrong: Any) -> None:
    """What is no status, header or cookie is an error where it is set, and never reaches the client."""

    class Try(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            with pytest.raises((ValueError, TypeError)):
                wrong(response)

    response = await post(Graph(Try()).router, "{ vault }")
    assert (response.status_code, response.json()) == (200, {"data": {"vault": "gold"}})
    assert not {"x-a", "x-b", "set-cookie"} & set(response.headers)


async def test_extensions_that_are_empty_are_left_out(ask: Ask) -> None:
    """Without extensions an answer has none."""

    class Nothing(Plugin):
        async def on_response(self, response: ResponseContext, /) -> None:
            assert response.extensions == {}

    assert await ask(Graph(Nothing()).router, "{ vault }") == {"data": {"vault": "gold"}}
    assert await by_http(Graph(Nothing()).router, "{ vault }") == {"data": {"vault": "gold"}}
