"""Requests to a subgraph over HTTP with the httpx library: the plain transport that works everywhere.

A response is read up to a limit and judged by its status and media type (GraphQL over HTTP, section 6). One that speaks
GraphQL is an answer whatever its status; everything else is a `SubgraphError` whose text for clients names no address.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx

from router.errors import ClientText, ErrorCode, InternalText, SubgraphError
from router.executor.encoding import decode_json, encode_json
from router.executor.transport import SubgraphRequest, SubgraphResponse
from router.limits import Limits

_ACCEPT: Final = "application/graphql-response+json, application/json;q=0.9"
_DEFAULTS: Final = Limits()


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
        self._url = url
        self._forward_headers = forward_headers
        self._fixed_headers = {**(headers or {}), "accept": _ACCEPT, "content-type": "application/json"}
        self._timeout_s = timeout_ms / 1000
        self._response_bytes_max = response_bytes_max
        self._owned = client is None
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=connect_timeout_ms / 1000),
            limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max),
            trust_env=False,
        )

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Send one request; raises SubgraphError where no GraphQL answer comes back in time."""
        body: dict[str, object] = {"query": request.operation}
        if request.variables:
            body["variables"] = request.variables
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(request, encode_json(body))
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._failure(ErrorCode.SUBGRAPH_TIMEOUT, request, repr(error)) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._failure(ErrorCode.SUBGRAPH_UNREACHABLE, request, repr(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._client.aclose()

    async def _exchange(self, request: SubgraphRequest, body: bytes) -> SubgraphResponse:
        forwarded = {name: request.headers[name] for name in self._forward_headers if name in request.headers}
        headers = {**forwarded, **self._fixed_headers}
        async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
            content = await self._read(request, response)
        return self._judge(request, response, content)

    async def _read(self, request: SubgraphRequest, response: httpx.Response) -> bytes:
        """The body, decompressed, up to the limit."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > self._response_bytes_max:
                code = ErrorCode.SUBGRAPH_RESPONSE_TOO_LARGE
                raise self._failure(code, request, f"more than {self._response_bytes_max} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _judge(self, request: SubgraphRequest, response: httpx.Response, content: bytes) -> SubgraphResponse:
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        headers = {name.lower(): value for name, value in response.headers.items()}
        status = response.status_code
        is_json = media_type in {"application/json", "application/graphql-response+json"}
        if response.is_success:
            if media_type and not is_json and not content.lstrip().startswith(b"{"):
                raise self._failure(
                    ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, request, f"HTTP {status} with content type {media_type}"
                )
            return SubgraphResponse(body=content, headers=headers)
        payload = _graphql_payload(content) if is_json else None
        if payload is not None:
            return SubgraphResponse(payload=payload, headers=headers)
        text = ClientText(f"The subgraph answered with HTTP status {status}.")
        raise self._failure(ErrorCode.SUBGRAPH_HTTP_ERROR, request, f"HTTP {status} {media_type}", text)

    def _failure(
        self, code: ErrorCode, request: SubgraphRequest, internal: str, text: ClientText | None = None
    ) -> SubgraphError:
        return SubgraphError(code, request.subgraph, text, internal=InternalText(f"{self._url}: {internal}"))


def _graphql_payload(content: bytes) -> dict[str, object] | None:
    """What a response with an error status says in GraphQL: an object with errors; None for any other body."""
    try:
        payload = decode_json(content)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) and isinstance(payload.get("errors"), list) else None
