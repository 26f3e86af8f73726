"""Requests that nobody waits for: what they come to is what `send` would return or raise, and nothing outlives them."""

import asyncio
from typing import Any

import pytest

from tests.executor.peers import reply, server
from tests.executor.shop import Canned, plan
from tests.executor.test_pool import BODY, MUTATION, OK, QUERY, RESPONSES, WHOLE, Connections, pooled, raw
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor import execute, prepare
from trifolio.executor.in_flight import InFlight
from trifolio.executor.pool import PooledTransport, _Begun
from trifolio.executor.struct_answer import StructsRoom
from trifolio.executor.transport import BeginningTransport, SubgraphRequest, SubgraphResponse, Tell
from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned


class Told:
    """What a request came to, and who waits for that."""

    def __init__(self) -> None:
        self.came: list[SubgraphResponse | Exception] = []
        self._is_told = asyncio.Event()

    def __call__(self, came: SubgraphResponse | Exception) -> None:
        """It came to this."""
        self.came.append(came)
        self._is_told.set()

    async def one(self) -> SubgraphResponse | Exception:
        """What it came to, and that it is the only one."""
        await self._is_told.wait()
        await settle()
        [came] = self.came
        return came


async def settle() -> None:
    """Let all that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def sent(transport: PooledTransport, request: SubgraphRequest) -> SubgraphResponse | Exception:
    """What `send` makes of a request."""
    try:
        return await transport.send(request)
    except SubgraphError as error:
        return error


async def begun(transport: PooledTransport, request: SubgraphRequest) -> SubgraphResponse | Exception:
    """What a request comes to that nobody waits for."""
    told = Told()
    assert transport.begin(request, told) is not None
    assert not told.came, "it is told later"
    return await told.one()


def meaning_of(came: SubgraphResponse | Exception) -> tuple[object, ...]:
    """All that it says."""
    if isinstance(came, SubgraphResponse):
        return came.body, came.payload, dict(came.headers), came.status, came.set_cookies, came.is_shared
    assert isinstance(came, SubgraphError)
    return came.code, str(came), type(came.__cause__), came.http_status


CODED = {
    "a coding that nobody asked for": OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx",
    "no gzip": OK + b"content-encoding: gzip\r\ncontent-length: 7\r\n\r\nno gzip",
    "cookies": OK + b"set-cookie: a=b\r\nset-cookie: c=d\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY,
    "too large": OK + b"content-length: 20000\r\n\r\n" + b"x" * 20_000,
    "an endless head": OK + b"x: y\r\n" * 5_000,
    "GraphQL that failed": b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n"
    b'{"errors":[]}',
    "nothing": b"",
}


@pytest.mark.parametrize("name", [*RESPONSES, *CODED])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
async def test_what_a_request_comes_to(name: str, in_pieces: bool) -> None:
    """Whatever the subgraph does, it is what `send` makes of it on such a connection; and is that kept or not."""
    response = (RESPONSES | CODED)[name]
    size = max(1, len(response) // 20) if in_pieces else len(response) or 1
    parts = [response[at : at + size] for at in range(0, len(response), size)]
    outcomes = []
    for way in (sent, begun):
        seen = Connections(lambda number: raw(WHOLE) if number == 1 else raw(*parts, then_close=True))
        async with (
            server(seen) as (url, _),
            pooled(url, response_bytes_max=10_000, header_bytes_max=9_000) as transport,
        ):
            assert not transport.can_begin()
            await transport.send(MUTATION)
            assert transport.can_begin()
            outcomes.append((meaning_of(await way(transport, MUTATION)), seen.opened))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("request_", [QUERY, MUTATION], ids=["a query", "a mutation"])
async def test_a_connection_that_was_closed(request_: SubgraphRequest) -> None:
    """A query is sent once more, on a new connection; a mutation may have been carried out."""
    for way in (sent, begun):
        seen = Connections(lambda number: raw(WHOLE) if number == 1 else raw(then_close=True))
        async with server(seen) as (url, _), pooled(url) as transport:
            await transport.send(QUERY)
            came = await way(transport, request_)
            if request_ is QUERY:
                assert isinstance(came, SubgraphResponse)
                assert came.body == BODY
            else:
                assert isinstance(came, SubgraphError)
                assert came.code is ErrorCode.SUBGRAPH_UNREACHABLE
            assert seen.opened == (2 if request_ is QUERY else 1)


async def test_a_query_is_not_sent_a_third_time() -> None:
    """Where the new connection ends as the kept one did, that is what is told."""
    seen = Connections(lambda number: raw(WHOLE) if seen.requests == 1 else raw(then_close=True))
    async with server(seen) as (url, _), pooled(url) as transport:
        await transport.send(QUERY)
        came = await begun(transport, QUERY)
        assert isinstance(came, SubgraphError)
        assert came.code is ErrorCode.SUBGRAPH_UNREACHABLE
        assert seen.requests == 3


async def test_there_is_a_time_by_which_it_is_told() -> None:
    """A subgraph that does not answer is given up when `send` would give it up; the connection is not used again."""

    async def never(_: bytes, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    seen = Connections(lambda number: raw(WHOLE) if number == 1 else never)
    async with server(seen) as (url, _), pooled(url, timeout_ms=500) as transport:
        await transport.send(QUERY)
        came = await begun(transport, QUERY)
        assert isinstance(came, SubgraphError)
        assert came.code is ErrorCode.SUBGRAPH_TIMEOUT
        assert not transport.can_begin()


@pytest.mark.parametrize("when", ["under way", "sent again"])
async def test_who_gives_up_is_told_nothing(when: str) -> None:
    """The connection ends and its place is another's, at once or where a closed one is being replaced."""
    asked = asyncio.Event()

    async def hold(_: bytes, __: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    def respond(_: int) -> Any:
        if seen.requests == 1 or asked.is_set():
            return raw(WHOLE)
        return raw(then_close=True) if when == "sent again" and seen.requests == 2 else hold

    seen = Connections(respond)
    async with server(seen) as (url, _), pooled(url, connections_max=1) as transport:
        await transport.send(QUERY)
        told = Told()
        in_flight = transport.begin(QUERY, told)
        assert in_flight is not None
        await asked.wait()
        in_flight.cancel()
        came = await transport.send(QUERY)
        assert came.body == BODY
        await settle()
        assert not told.came


async def test_what_cannot_be_sent_is_refused_as_ever() -> None:
    """A header that would add a line is raised at once, takes no connection, and the next request goes out."""
    request = SubgraphRequest("users", "query", "{ me }", headers={"authorization": "a\r\nb: c"})
    async with server(reply(BODY)) as (url, seen), pooled(url) as transport:
        await transport.send(QUERY)
        with pytest.raises(SubgraphError) as failure:
            transport.begin(request, Told())
        assert failure.value.code is ErrorCode.SUBGRAPH_UNREACHABLE
        assert isinstance(await begun(transport, QUERY), SubgraphResponse)
        assert len(seen) == 2


async def test_what_is_for_send() -> None:
    """Without a connection that is kept, to another URL, and after the end there is nothing to begin."""
    async with server(reply(BODY)) as (url, _):
        async with pooled(url) as transport:
            told = Told()
            assert transport.begin(QUERY, told) is None
            await transport.send(QUERY)
            elsewhere = SubgraphRequest("users", "query", "{ me }", url=url)
            assert transport.begin(elsewhere, told) is None
        assert transport.begin(QUERY, told) is None
        assert not transport.can_begin()
        assert not told.came


async def test_the_next_request_may_go_out_within_the_call() -> None:
    """The connection is there for whoever is told, who gets the answer to their own request."""
    seen = Connections(lambda number: reply(b'{"data": %d}' % number))
    async with server(seen) as (url, _), pooled(url, connections_max=1) as transport:
        await transport.send(QUERY)
        answers: list[bytes | None] = []
        done = asyncio.Event()

        def told(came: SubgraphResponse | Exception) -> None:
            assert isinstance(came, SubgraphResponse)
            answers.append(came.body)
            if len(answers) == 5:
                done.set()
            else:
                assert transport.begin(QUERY, told) is not None

        assert transport.begin(QUERY, told) is not None
        await done.wait()
        assert answers == [b'{"data": %d}' % number for number in range(2, 7)]
        assert seen.opened == 1


async def test_who_gives_up_at_the_last_moment_is_told_nothing() -> None:
    """A query that was sent again has its answer, and nobody has been told yet."""
    seen = Connections(lambda number: raw(WHOLE) if seen.requests != 2 else raw(then_close=True))
    async with server(seen) as (url, _), pooled(url) as transport:
        await transport.send(QUERY)
        told = Told()
        in_flight = transport.begin(QUERY, told)
        assert isinstance(in_flight, _Begun)
        while in_flight._again is None or not in_flight._again.done():  # noqa: ASYNC110  # to the very round of its end
            await asyncio.sleep(0)
        in_flight.cancel()
        await settle()
        assert not told.came
        assert (await transport.send(QUERY)).body == BODY


class Beginning(BeginningTransport):
    """A transport that answers by and by whoever does not wait."""

    def __init__(self, came: SubgraphResponse | Exception) -> None:
        self._came = came
        self.asked = 0

    def can_begin(self) -> bool:
        """Always."""
        return True

    def begin(self, request: SubgraphRequest, tell: Tell, /) -> InFlight:
        """Tell in the next round."""
        self.asked += 1
        return asyncio.get_running_loop().call_soon(tell, self._came)

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Nothing has to wait here."""
        raise AssertionError(request)

    async def close(self) -> None:
        """Nothing is held."""


class Raising:
    """An observer with a bug."""

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Fail, where a fetch of reviews has ended."""
        if event.subgraph == "reviews":
            raise ZeroDivisionError

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Nothing."""

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Nothing."""


PRODUCTS = SubgraphResponse(b'{"data": {"products": [{"__typename": "Product", "id": "1", "name": "a", "weight": 1}]}}')
REVIEWS: dict[str, SubgraphResponse | Exception] = {
    "an answer": SubgraphResponse(b'{"data": {"_e": [{"price": 1, "stars": 1}]}}'),
    "no JSON": SubgraphResponse(b"{"),
    "a failure": SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "reviews"),
    "a bug of the transport": ValueError("no"),
}


@pytest.mark.parametrize("name", REVIEWS)
async def test_a_bug_where_an_answer_is_taken_over_reaches_who_asked(name: str) -> None:
    """Whatever came, and however it is told of, the execution ends at once, with the bug."""
    made = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    transports = {"products": Beginning(PRODUCTS), "reviews": Beginning(REVIEWS[name])}
    executing = execute(made, transports=transports, as_text=True, observer=Raising())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(30):
            await executing
    assert [each.asked for each in transports.values()] == [1, 1]


@pytest.mark.parametrize("name", REVIEWS)
async def test_a_fetch_that_was_begun_comes_to_what_it_would_have_come_to(name: str) -> None:
    """The answer, with its errors, is that of fetches that are performed."""
    made = prepare(plan(), interpretations=0, room=StructsRoom(10_000), structs_after=0)
    begun_ones = {"products": Beginning(PRODUCTS), "reviews": Beginning(REVIEWS[name])}
    came = REVIEWS[name]
    performed = {
        "products": Canned(PRODUCTS.body),
        "reviews": Canned(came.body if isinstance(came, SubgraphResponse) else came),
    }
    answers = [await execute(made, transports=each, as_text=True) for each in (begun_ones, performed)]
    assert answers[0].to_json() == answers[1].to_json()
    assert answers[0].text == answers[1].text
