"""How a service sends a request to another one: the seam that tests put an unreliable network into.

An order costs two such calls, so their price is the order's. aiohttp reads a response with a parser in C and picks an
idle connection in constant time; httpx took a third of all the CPU that an order cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

CONNECTIONS_MAX = 100
"""Open connections of one process to all its peers; more calls at once than that wait for one to end."""

_SENT_BY_AIOHTTP = ("Accept", "Accept-Encoding", "User-Agent")
"""Headers that aiohttp adds by itself and no peer reads."""


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """One HTTP request; without a response in `timeout_s` seconds it counts as failed."""

    method: str
    url: str
    timeout_s: float
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class PeerResponse:
    """The whole response to it."""

    status: int
    content: bytes


class TransportFailed(Exception):
    """No whole response came: nobody knows whether the request arrived."""


class Transport(Protocol):
    """What carries requests to peers."""

    async def send(self, request: PeerRequest) -> PeerResponse:
        """The peer's response, whatever its status; raises TransportFailed."""
        ...

    async def close(self) -> None:
        """Gives up what it holds."""
        ...


class HttpTransport:
    """Requests over HTTP/1.1, on connections that are kept. It belongs to the event loop that first sends through it.

    A request that meets a connection which its peer has just closed is sent once more on a fresh one: PUT and GET only.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: PeerRequest) -> PeerResponse:
        """The peer's response; redirects are not followed. Raises TransportFailed."""
        if self._session is None:
            self._session = _open_session()
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.content or None,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
                allow_redirects=False,
            ) as response:
                return PeerResponse(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransportFailed(type(error).__name__) from error

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_SENT_BY_AIOHTTP,
    )
