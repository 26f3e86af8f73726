"""Requests between services over real connections, to servers that answer well, badly, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from subgraphs.shared.transport import HttpTransport, PeerRequest, PeerResponse, TransportFailed

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TIMEOUT_S = 5.0


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[str]:
    """A server whose every connection is handled by `serve`, and its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A transport that is closed after the test."""
    opened = HttpTransport()
    yield opened
    await opened.close()


def request_to(
    url: str, *, method: str = "PUT", content: bytes = b'{"a":1}', timeout_s: float = TIMEOUT_S
) -> PeerRequest:
    """A request with a header of its own."""
    return PeerRequest(method, f"{url}/balance", timeout_s, {"authorization": "Bearer x"}, content)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of one request, as they came over the wire."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [line.partition(":")[2] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return head, await reader.readexactly(int(lengths[0]) if lengths else 0)


def response(status: int, body: bytes, *headers: str) -> bytes:
    """A response as it goes over the wire."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_a_request_arrives_whole_and_its_response_comes_back(transport: HttpTransport) -> None:
    """Method, path, headers and body are what was asked; one connection serves several requests."""
    seen: list[tuple[str, bytes]] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            try:
                seen.append(await read_request(reader))
            except asyncio.IncompleteReadError:
                return
            writer.write(response(409, b'{"code":"hold-voided"}'))

    async with peer(serve) as url:
        answers = [await transport.send(request_to(url)) for _ in range(3)]
        assert answers == [PeerResponse(409, b'{"code":"hold-voided"}')] * 3
        head, body = seen[0]
        assert head.startswith("PUT /balance HTTP/1.1\r\n")
        assert "authorization: bearer x" in head.lower()
        assert body == b'{"a":1}'
        assert connections == 1


async def test_a_redirect_is_an_answer_and_is_not_followed(transport: HttpTransport) -> None:
    """Tokens go to the configured peer and nowhere that an answer points to."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(307, b"", "location: http://127.0.0.1:9/elsewhere", "connection: close"))

    async with peer(serve) as url:
        assert (await transport.send(request_to(url))).status == 307


async def test_nobody_listening_is_a_failure(transport: HttpTransport) -> None:
    """A peer that is not there fails at once."""
    async with peer(_silent) as url:
        pass
    with pytest.raises(TransportFailed):
        await transport.send(request_to(url))


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing, until the other side goes."""
    await reader.read()


async def test_silence_is_a_failure_after_its_time(transport: HttpTransport) -> None:
    """A peer that takes the request and never answers is given up."""
    async with peer(_silent) as url:
        with pytest.raises(TransportFailed):
            await transport.send(request_to(url, timeout_s=0.05))


async def test_half_a_response_is_a_failure(transport: HttpTransport) -> None:
    """A body that ends before its announced length was never an answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(200, b'{"op":"hold"}')[:-4])

    async with peer(serve) as url:
        with pytest.raises(TransportFailed):
            await transport.send(request_to(url))


async def test_something_that_is_no_http_is_a_failure(transport: HttpTransport) -> None:
    """Whatever listens there speaks another language."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    async with peer(serve) as url:
        with pytest.raises(TransportFailed):
            await transport.send(request_to(url))


async def test_a_connection_that_was_closed_meanwhile_is_replaced(transport: HttpTransport) -> None:
    """A restarted peer is reached by the next request, though the kept connection is gone."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(200, b"{}"))
        await writer.drain()

    async with peer(serve) as url:
        for _ in range(3):
            assert await transport.send(request_to(url)) == PeerResponse(200, b"{}")
