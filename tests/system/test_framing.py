"""The services stand behind the router's HTTP protocol: what two servers could read differently is refused."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from brokerage.services import Edge
from tests.server.test_protocol import REFUSED
from tests.server.wire import statuses
from tests.system.brokerages import Brokerage
from trifolio.errors import ErrorCode as TrifolioCode
from trifolio.errors import RequestError

SMALL = {name: case for name, case in REFUSED.items() if len(case[0]) < 50_000}


CODES = {
    400: b"malformed-request",
    405: b"method-not-allowed",
    413: b"body-too-large",
    414: b"url-too-long",
    431: b"headers-too-large",
}
"""The services' codes; each of them is in the table."""


def exchange(url: str, sent: bytes) -> bytes:
    """All that comes back until the service ends the connection."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    received = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(sent)
        while data := connection.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize("service", ["router", "users", "wallet", "stocks"])
def test_every_part_refuses_what_could_be_smuggled(four_processes: Brokerage, service: str) -> None:
    """Each of the table's requests gets its one refusal with a code, and what is sent behind it gets no answer."""
    behind = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    for name, (sent, status) in SMALL.items():
        received = exchange(four_processes.urls[service], sent + behind)
        assert statuses(received) == [status], name
        assert b'"code":"' in received, name
        if service != "router":
            assert b'"code":"%s"' % CODES[status] in received, name
        assert b"\r\nx-request-id: " in received, name
        assert b"\r\nconnection: close\r\n" in received, name


@pytest.mark.parametrize("path", ["/users/login", "/graphql"])
def test_one_process_refuses_it_too(one_process: Brokerage, path: str) -> None:
    """Where everything is in one process the same protocol is in front of all of it."""
    for name, (sent, status) in SMALL.items():
        received = exchange(one_process.urls["router"], sent.replace(b"/a", path.encode()))
        assert statuses(received) == [status], name


def test_a_service_names_what_took_too_long() -> None:
    """What a service refuses on a connection is a problem document, whose id is the client's where it is one."""

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    for given, kept in (("abc123", True), (None, False), ("a\r\nb: c", False)):
        status, headers, body = Edge(never).refuse(RequestError(TrifolioCode.REQUEST_TIMEOUT), given)
        problem = json.loads(body)
        assert (status, problem["status"], problem["code"]) == (408, 408, "request-timeout")
        assert dict(headers)[b"x-request-id"].decode() == problem["requestId"]
        assert (problem["requestId"] == given) is kept
        assert dict(headers)[b"content-type"] == b"application/problem+json"
