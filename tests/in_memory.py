"""Requests between services of one process, given to the peer's application as a server would."""

from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp

from subgraphs.shared.settings import ServiceSettings
from subgraphs.shared.transport import PeerRequest, PeerResponse


def host_of(request: PeerRequest) -> str:
    """The host that a request is for: in these tests, the name of a service."""
    return urlsplit(request.url).netloc


def path_of(request: PeerRequest) -> str:
    """The path that a request is for."""
    return urlsplit(request.url).path


def operation_of(request: PeerRequest) -> str | None:
    """Which of the wallet's operations a request asks for, if any."""
    if (host_of(request), path_of(request)) != ("wallet", "/balance"):
        return None
    operation: str = orjson.loads(request.content)["op"]
    return operation


async def deliver(app: ASGIApp, request: PeerRequest) -> PeerResponse:
    """What an application answers."""
    status, body = 0, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        body += message.get("body", b"")

    await app(_scope(request), receive, send)
    return PeerResponse(status, body)


def _scope(request: PeerRequest) -> dict[str, Any]:
    url = urlsplit(request.url)
    headers = {"host": url.netloc, "content-length": str(len(request.content)), **request.headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 4711),
        "server": (url.netloc, 80),
    }


PEER_URLS = ("users_url", "wallet_url", "stocks_url")


def peers_of(settings: type[ServiceSettings]) -> dict[str, Any]:
    """The URLs of those services that one calls, each under a host of its name."""
    return {name: f"http://{name.removesuffix('_url')}" for name in settings.model_fields if name in PEER_URLS}
