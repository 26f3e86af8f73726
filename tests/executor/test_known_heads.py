"""Responses whose heads came before are not parsed: they mean what the parser says they mean."""

import asyncio
from random import Random
from typing import Any

import pytest

from tests.server.wire import Wire
from trifolio.executor.connection import Connection, HttpResponse
from trifolio.message_heads import HEAD_BYTES_MAX, HEADS_MAX, Head, KnownHeads

BODY_BYTES_MAX = 50


class Forgetful(KnownHeads[HttpResponse]):
    """The twin: whatever comes is parsed."""

    def keep(self, head: Head, meaning: HttpResponse) -> None:
        """Nothing is known afterwards."""


HEADS = [
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nX-One: a\r\nx-one: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: {n}\r\n\r\n",
    "HTTP/1.1 500 No\r\ncontent-length: {n}\r\ncontent-encoding: gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0{n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length:{n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: {n} \r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: +{n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\ncontent-length: 3\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 204 No\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 103 Early\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.0 200 OK\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\nx: y\n\nab\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: y\r\n content-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx: y\0\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 101 Up\r\nupgrade: x\r\nconnection: upgrade\r\ncontent-length: {n}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx-long: " + "x" * HEAD_BYTES_MAX + "\r\ncontent-length: {n}\r\n\r\n",
    "HTTX/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n",
]
"""What peers send, and what they should not."""


def random_response(random: Random, heads: list[str]) -> list[bytes]:
    """The pieces in which a response arrives: mostly one, and mostly with the body that its head announces."""
    body = b"x" * random.choice((0, 2, 9, 10, 11, BODY_BYTES_MAX, BODY_BYTES_MAX + 1))
    said = len(body) + random.choice((0,) * 12 + (-1, 1, 3))
    text = random.choice(heads).format(n=max(said, 0)).encode("latin-1") + body
    if random.random() < 0.1:
        text += random.choice((b"\r\n", b"HTTP/1.1 200 OK\r\n", text))
    if random.random() < 0.2:
        at = random.randrange(len(text))
        return [text[:at], text[at:]]
    return [text]


async def heard(known: KnownHeads[HttpResponse], responses: list[list[bytes]]) -> list[object]:
    """What comes of requests, over a new connection wherever the one before cannot be used again."""
    told: list[object] = []
    connection: Connection | None = None
    for pieces in responses:
        if connection is None or not connection.is_usable:
            connection = Connection(lambda _: None, head_bytes_max=8_000, body_bytes_max=BODY_BYTES_MAX, known=known)
            wire = Wire()
            wire.protocol = connection
            connection.connection_made(wire)
        came: list[HttpResponse | Exception] = []
        connection.exchange(b"POST", asyncio.get_running_loop().time() + 60, came.append)
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
        if not came:
            wire.close()
        [outcome] = came
        told.append(meaning_of(outcome) if isinstance(outcome, HttpResponse) else type(outcome))
        told.append(connection.is_usable)
    return told


def meaning_of(response: HttpResponse) -> tuple[object, ...]:
    """All that a response says."""
    fields = list(response.headers.items())
    return (
        response.status,
        fields,
        response.content,
        response.content_type,
        response.content_coding,
        response.set_cookies,
    )


@pytest.mark.parametrize("seed", range(150))
async def test_what_is_known_means_what_the_parser_says(seed: int) -> None:
    """Random responses over kept connections, a few kinds of heads each time, so that most came before."""
    random = Random(seed)
    heads = random.sample(HEADS, 3)
    responses = [random_response(random, heads) for _ in range(40)]
    known = KnownHeads[HttpResponse]()
    assert await heard(known, responses) == await heard(Forgetful(), responses), f"seed {seed}"


async def test_a_head_is_known_whatever_its_length_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second response is not shown to the parser; its length is its own."""
    known = KnownHeads[HttpResponse]()
    [first, _] = await heard(known, [[HEADS[0].format(n=2).encode() + b"{}"]])
    monkeypatch.setattr(Connection, "_parse", never)
    [second, usable] = await heard(known, [[HEADS[0].format(n=13).encode() + b'{"data":null}']])
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert usable
    assert dict(second[1]) == dict(first[1]) | {"content-length": "13"}
    assert second[2] == b'{"data":null}'


def never(*_: Any) -> None:
    """What must not be called."""
    raise AssertionError("it was parsed")


async def test_what_is_known_is_bounded() -> None:
    """A peer whose heads all differ makes nothing grow."""
    known = KnownHeads[HttpResponse]()
    texts = [f"HTTP/1.1 200 OK\r\nx: {n}\r\ncontent-length: 2\r\n\r\n{{}}".encode() for n in range(3 * HEADS_MAX)]
    await heard(known, [[text] for text in texts])
    kept = [text for text in texts if (found := known.find(text)) is not None and found[3] is not None]
    assert 0 < len(kept) <= HEADS_MAX
    assert kept[-1] == texts[-1]
