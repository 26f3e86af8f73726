"""Requests whose head came twice before on their connection are not parsed: they are served as if they were."""

from random import Random
from typing import Any

import pytest

from tests.server.wire import Echo, Server
from trifolio.limits import Limits
from trifolio.message_heads import HEAD_BYTES_MAX
from trifolio.server import protocol
from trifolio.server.protocol import HttpProtocol

LIMITS = Limits(body_bytes_max=50, header_count_max=8)
HEADS = [
    "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n",
    "POST /b%20c?d=e HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\nX-One: a \r\nx-one: b\r\n\r\n",
    "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n",
    "GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.0\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\ncontent-length: 3\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\ntransfer-encoding: chunked\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0{n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {n} \r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nx: y\r\n content-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\nhost: x\n\nab\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\n" + "x: y\r\n" * 8 + "content-length: {n}\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: x\r\nx-long: " + "x" * HEAD_BYTES_MAX + "\r\ncontent-length: {n}\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n",
]
"""What clients send, and what attackers do."""


def random_requests(random: Random) -> list[list[bytes]]:
    """What arrives in one go each: mostly one request, and mostly with the body that its head names."""
    heads = random.sample(HEADS, 2)
    arriving: list[list[bytes]] = []
    for _ in range(25):
        body = b"x" * random.choice((0, 2, 9, 10, 11, 50, 51))
        said = max(0, len(body) + random.choice((0,) * 15 + (-1, 1)))
        text = random.choice(heads).format(n=said).encode() + body
        if random.random() < 0.1:
            text += random.choice((b"\r\n", b"POST /c HTTP/1.1\r\n", text))
        at = random.randrange(len(text)) if random.random() < 0.15 else 0
        arriving.append([text[:at], text[at:]] if at else [text])
    return arriving


async def served(arriving: list[list[bytes]]) -> list[object]:
    """What the application is handed and the client is told, over a new connection where one has ended."""
    app = Echo(LIMITS)
    seen: list[object] = []

    async def tell(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append({**scope, "asgi": None})
        seen.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(message["body"])})

    app.own = tell
    server = Server(app)
    wire = server.connect()
    for pieces in arriving:
        if wire.is_over:
            wire = server.connect()
        seen.append(await server.send(wire, *pieces))
        seen.append(wire.is_over)
    return seen


@pytest.mark.parametrize("seed", range(100))
async def test_what_is_known_is_served_as_if_parsed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random requests over kept connections, two kinds of heads each time, so that most came before."""
    arriving = random_requests(Random(seed))
    quick = await served(arriving)
    monkeypatch.setattr(protocol, "split", lambda _: None)
    assert quick == await served(arriving), f"seed {seed}"


async def test_a_head_is_parsed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is the same and its length its own."""
    texts = [HEADS[1].format(n=len(body)).encode() + body for body in (b"{}", b"0123456789", b"{}")]
    server = Server(Echo())
    wire = server.connect()
    for _ in range(2):
        await server.send(wire, texts[0])
    monkeypatch.setattr(HttpProtocol, "_parse", None)
    for text in texts[1:]:
        await server.send(wire, text)
    assert [(path, len(body)) for _, path, body in server.app.asked][2:] == [("/b c", 10), ("/b c", 2)]
    assert [dict(each)[b"content-length"] for each in server.app.headers][2:] == [b"10", b"2"]
