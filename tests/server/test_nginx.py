"""Behind nginx, as most stand: nobody gets another's answer, and replacing a router fails no request."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.nginx import free_port, program, running
from tests.server.conftest import serving
from tests.server.test_cli import started
from tests.server.test_protocol import REFUSED, SERVED
from tests.server.wire import statuses

HERE = Path(__file__).parent
SERVERS = """
  upstream routers {{ {servers} keepalive {keepalive}; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://routers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_request_buffering {buffering};
      # A connection that ends without an answer: what is asked here are queries, which may be asked again.
      proxy_next_upstream error timeout non_idempotent;
    }}
  }}
"""


@pytest.fixture(scope="module", autouse=True)
def nginx() -> str:
    """The program; without it the module's tests are skipped, unless TRIFOLIO_REQUIRE names it."""
    return program()


@asynccontextmanager
async def proxied(folder: Path, ports: list[int], *, keepalive: int, buffering: str = "on") -> AsyncIterator[int]:
    """nginx in front of the routers at these ports; yields its own."""
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=1 fail_timeout=1s;" for each in ports)
    text = SERVERS.format(servers=servers, keepalive=keepalive, port=port, buffering=buffering)
    async with running(folder, text, port):
        yield port


def tagged(tag: str) -> bytes:
    """A request whose answer has the tag in it."""
    body = json.dumps({"query": f"{{ {tag}: __typename }}"}).encode()
    return (
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    ) + body


async def exchange(port: int, sent: bytes) -> bytes:
    """All that comes back for these bytes until the connection ends, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(5):
            while data := await reader.read(65_536):
                received += data
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


@pytest.mark.parametrize("buffering", ["on", "off"])
async def test_nobody_gets_anothers_answer(tmp_path: Path, buffering: str) -> None:
    """Whatever is smuggled through a connection that clients share, each next client's answer is its own."""
    chance = random.Random(20_261_127)
    probes = [sent for sent, _ in (*REFUSED.values(), *SERVED.values()) if len(sent) < 10_000]
    smuggled = tagged("smuggled").replace(b"connection: close\r\n", b"")
    async with (
        serving() as served,
        proxied(tmp_path, [int(served.url.rpartition(":")[2])], keepalive=1, buffering=buffering) as port,
    ):
        for number, probe in enumerate(probes):
            ending = chance.choice([b"", smuggled, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"])
            probing = asyncio.ensure_future(exchange(port, probe.replace(b"/a", b"/graphql") + ending))
            answers = await asyncio.gather(*(exchange(port, tagged(f"own{number}x{n}")) for n in range(3)))
            probing.cancel()
            for n, answer in enumerate(answers):
                assert statuses(answer) == [200], probe
                assert re.findall(rb'"data":{"(\w+)"', answer) == [b"own%dx%d" % (number, n)], probe
        last = await exchange(port, tagged("last"))
    assert b'"last":"Query"' in last


async def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    """Two routers behind nginx are each replaced once under load, and every request is answered with 200."""
    settings = tmp_path / "router.yaml"
    # Longer than nginx takes a router for gone that it found gone: a second, and the rest of the one that has begun.
    settings.write_text("limits: {lame_duck_ms: 2500}\n")
    arguments = ("--supergraph", HERE / "supergraph.graphql", "--settings", settings)
    asked: list[int] = []
    over, fifty_more = asyncio.Event(), asyncio.Event()

    async def client(number: int, port: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            while not over.is_set():
                tag = f"c{number}n{len(asked)}"
                answer = await http.post(f"http://127.0.0.1:{port}/graphql", json={"query": f"{{ {tag}: __typename }}"})
                asked.append(answer.status_code)
                if len(asked) % 50 == 0:
                    fifty_more.set()
                assert answer.status_code == 200, answer.text
                assert answer.json() == {"data": {tag: "Query"}}

    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        routers = [await stack.enter_async_context(started(*arguments, "--port", str(port))) for port in ports]
        front = await stack.enter_async_context(proxied(tmp_path, ports, keepalive=4))
        async with asyncio.timeout(120), asyncio.TaskGroup() as clients:
            for number in range(6):
                clients.create_task(client(number, front))
            for place, port in enumerate(ports):
                before = len(asked)
                routers[place][0].terminate()
                assert await routers[place][0].wait() == 0
                routers[place] = await stack.enter_async_context(started(*arguments, "--port", str(port)))
                assert len(asked) > before
                fifty_more.clear()
                await fifty_more.wait()
            over.set()
    assert len(asked) > 100
    assert set(asked) == {200}
