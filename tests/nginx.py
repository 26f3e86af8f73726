"""nginx as it comes with a system, in front of what a test serves."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import REQUIRED

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
START_S_MAX = 20
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{servers}
}}
"""


def program() -> str:
    """The program; without it the test is skipped, unless TRIFOLIO_REQUIRE names it."""
    if NGINX is None:
        assert "nginx" not in REQUIRED, "nginx has to be here"
        pytest.skip("nginx is not here")
    return NGINX


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def running(folder: Path, servers: str, port: int) -> AsyncIterator[None]:
    """nginx with these `upstream` and `server` blocks, one of which listens at `port`, from there on."""
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, servers=servers))
    process = await asyncio.create_subprocess_exec(program(), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log")
    try:
        async with asyncio.timeout(START_S_MAX):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        writer.close()
        yield
    finally:
        process.terminate()
        await process.wait()
