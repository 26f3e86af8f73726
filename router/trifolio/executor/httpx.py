"""Requests to a subgraph over HTTP with the httpx library: the plain transport, with all that httpx can be told.

`PooledTransport` does the same with a tenth of the work; this one is for what it does not do (proxies, HTTP/2, an
authentication of one's own) and the twin that tests compare it with.
"""

import asyncio
from collections.abc import Mapping

import httpx

from trifolio.errors import ErrorCode
from trifolio.executor.http import JSON_HEADERS, HttpSubgraph, request_body
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits

_DEFAULTS = Limits()


class HttpxTransport:
    """POSTs to one subgraph's URL over kept-alive connections."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        forward_headers: tuple[str, ...] = ("authorization",),
        timeout_ms: int = _DEFAULTS.fetch_timeout_ms,
        connect_timeout_ms: int = _DEFAULTS.fetch_connect_timeout_ms,
        response_bytes_max: int = _DEFAULTS.fetch_response_bytes_max,
        connections_max: int = _DEFAULTS.fetch_connections_max,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """`headers` go with every request, `forward_headers` (lower case) are taken over from the client's.

        A `client` that is handed in decides about connections itself and is closed by whoever made it.
        """
        self._subgraph = HttpSubgraph(url, forward_headers=forward_headers, response_bytes_max=response_bytes_max)
        self._fixed_headers = {**{name.lower(): value for name, value in (headers or {}).items()}, **JSON_HEADERS}
        self._timeout_s = timeout_ms / 1000
        self._owned = client is None
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=connect_timeout_ms / 1000),
            limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max),
            trust_env=False,
        )

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send one request; raises SubgraphError where no GraphQL answer comes back in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_TIMEOUT, request, repr(error)) from error
        except (httpx.DecodingError, httpx.RemoteProtocolError, _BrokenBody) as error:
            if _is_unanswered(error):
                raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, request, repr(error)) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._subgraph.failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._client.aclose()

    async def _exchange(self, request: SubgraphRequest) -> SubgraphResponse:
        body = request_body(request.operation, request.variables)
        headers = {**self._subgraph.forwarded(request), **self._fixed_headers, **(request.own_headers or {})}
        url = self._subgraph.url if request.url is None else request.url
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            content = await self._read(request, response)
        found = {name.lower(): value for name, value in response.headers.items()}
        cookies = tuple(response.headers.get_list("set-cookie"))
        found.pop("set-cookie", None)
        content_type = found.get("content-type", "")
        return self._subgraph.answer(request, response.status_code, content_type, found, content, cookies)

    async def _read(self, request: SubgraphRequest, response: httpx.Response) -> bytes:
        """The body, decompressed, up to the limit."""
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > self._subgraph.response_bytes_max:
                    internal = f"more than {self._subgraph.response_bytes_max} bytes"
                    raise self._subgraph.failure(ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE, request, internal)
                chunks.append(chunk)
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise _BrokenBody(repr(error)) from error
        return b"".join(chunks)


class _BrokenBody(Exception):
    """A response began, and its body did not come to its end."""


def _is_unanswered(error: Exception) -> bool:
    """Whether the connection ended before there was a response: httpx tells it by its text alone."""
    return isinstance(error, httpx.RemoteProtocolError) and "without sending a response" in str(error)
