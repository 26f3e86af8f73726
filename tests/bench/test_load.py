"""The clients of the benchmarks, in front of servers of a few lines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from bench.load import Clients, Question
from bench.processes import NotMeasured

QUESTION = Question.same("{ a }", lambda: {"a": 1})
RIGHT = b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"data":{"a":1}}'
SPACED = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n{"data\r\nc\r\n": {"a": 1}}\r\n0\r\n\r\n'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A server's URL."""
    served: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql"
        await asyncio.gather(*served)


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One request's head and body; empty at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length))


def answering(*responses: bytes, delay_s: float = 0.0) -> Serve:
    """Each connection gets these responses in turn."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while await request_of(reader):
            await asyncio.sleep(delay_s)
            writer.write(responses[number % len(responses)])
            number += 1
        writer.close()

    return serve


async def test_answers_may_differ_in_their_bytes() -> None:
    """What is compared is the value, however it is written and however it comes."""
    async with serving(answering(RIGHT, SPACED)) as url, Clients(url, QUESTION, 2) as clients:
        load = await clients.closed(requests=20)
    assert load.requests == 20
    assert list(load.latencies_ms) == sorted(load.latencies_ms)
    assert load.percentile(50) <= load.percentile(99) <= load.percentile(100) == load.latencies_ms[-1]


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (RIGHT.replace(b"1}}", b"2}}"), "other data"),
        (RIGHT.replace(b"200 OK", b"503 No"), "status 503"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", "no JSON"),
    ],
    ids=["another value", "another status", "no JSON"],
)
async def test_one_wrong_answer_among_many_is_found(response: bytes, problem: str) -> None:
    """Every answer is looked at, and not the first alone."""
    async with serving(answering(*[RIGHT] * 9, response)) as url, Clients(url, QUESTION, 1) as clients:
        with pytest.raises(NotMeasured, match=f"request 9: {problem}"):
            await clients.closed(requests=20)


async def test_what_is_no_http_is_a_failure() -> None:
    """A server that answers something else is said to."""
    async with serving(answering(b"SSH-2.0-x\r\n")) as url, Clients(url, QUESTION, 1) as clients:
        with pytest.raises(NotMeasured, match="no HTTP"):
            await clients.closed(requests=1)


async def test_a_connection_that_was_closed_is_opened_again() -> None:
    """A server may end a connection between two requests, and at the moment at which one is sent: it is sent again,
    with its number, once for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(RIGHT)
        await request_of(reader)
        writer.close()

    async with serving(serve) as url, Clients(url, QUESTION, 3) as clients:
        assert (await clients.closed(requests=4)).requests == 4
        assert clients.asked == 4
        with pytest.raises(NotMeasured, match="connections end before"):
            await clients.closed(requests=50)


async def test_a_pace_is_kept_whatever_the_answers() -> None:
    """Requests are counted from the moment at which they were due: one that found all connections busy has waited."""
    async with serving(answering(RIGHT, delay_s=0.1)) as url, Clients(url, QUESTION, 2) as clients:
        load = await clients.paced(per_s=100, seconds=0.1)
    assert load.requests == 10
    # Five by each connection, one after the other: the last were due long before they could be sent.
    assert load.percentile(100) > 3 * load.latencies_ms[0]


async def test_numbered_requests_have_numbered_answers() -> None:
    """The number of a request is in its body, and its answer is compared with what that number has to get."""
    question = Question(lambda n: b"%d" % n, lambda n: {"n": n}, varies=True)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            content = b'{"data":{"n":%b}}' % request.partition(b"\r\n\r\n")[2]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))
        writer.close()

    async with serving(echo) as url, Clients(url, question, 3) as clients:
        assert (await clients.closed(requests=30)).requests == 30
