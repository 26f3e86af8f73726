"""GraphQL over HTTP, whatever carries the bytes: what goes into a request, and what a response means.

A response that speaks GraphQL is an answer whatever its status (GraphQL over HTTP, section 6); everything else is a
`SubgraphError` whose text for clients names no address.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from trifolio.errors import ClientText, ErrorCode, InternalText, SubgraphError
from trifolio.executor.encoding import decode_json, encode_json
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse

JSON_HEADERS: Final = {
    "accept": "application/graphql-response+json, application/json;q=0.9",
    "content-type": "application/json",
}
"""What every request says of its body and of the answer."""

_JSON_TYPES: Final = frozenset({"application/json", "application/graphql-response+json"})


def request_body(operation: str, variables: Mapping[str, object]) -> bytes:
    """The body of a request: the same bytes for the same operation and variables."""
    body: dict[str, object] = {"query": operation}
    if variables:
        body["variables"] = variables
    return encode_json(body)


class HttpSubgraph:
    """One subgraph's end of the conversation: writes requests to `url`, judges responses from it."""

    def __init__(self, url: str, *, forward_headers: tuple[str, ...], response_bytes_max: int) -> None:
        self.url = url
        parts = urlsplit(url)
        self._address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # a URL may hold a password
        self.response_bytes_max = response_bytes_max
        self._forward_headers = forward_headers

    def forwarded(self, request: SubgraphRequest) -> dict[str, str]:
        """Those of the client's headers that may go on."""
        headers, found = request.headers, {}
        for name in self._forward_headers:
            if name in headers:
                found[name] = headers[name]
        return found

    def answer(
        self,
        request: SubgraphRequest,
        status: int,
        content_type: str,
        headers: Mapping[str, str],
        content: bytes,
        set_cookies: tuple[str, ...] = (),
    ) -> SubgraphResponse:
        """What a response means; its header names are in lower case, without its cookies. Raises SubgraphError if it is
        no answer."""
        media_type = content_type
        is_json = media_type in _JSON_TYPES
        if not is_json:
            media_type = content_type.partition(";")[0].strip().lower()
            is_json = media_type in _JSON_TYPES
        if 200 <= status < 300:
            if media_type and not is_json and not content.lstrip().startswith(b"{"):
                internal = f"HTTP {status} with content type {media_type}"
                raise self.failure(ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, request, internal)
            return SubgraphResponse(content, None, headers, status, set_cookies)
        payload = _graphql_payload(content) if is_json else None
        if payload is not None:
            return SubgraphResponse(None, payload, headers, status, set_cookies)
        text = ClientText(f"The subgraph answered with HTTP status {status}.")
        internal = f"HTTP {status} {media_type}"
        raise self.failure(ErrorCode.SUBGRAPH_HTTP_ERROR, request, internal, text, http_status=status)

    def failure(
        self,
        code: ErrorCode,
        request: SubgraphRequest,
        internal: str,
        text: ClientText | None = None,
        *,
        http_status: int | None = None,
    ) -> SubgraphError:
        """An error with this subgraph's address in the text that only logs show."""
        note = InternalText(f"{self._address}: {internal}")
        return SubgraphError(code, request.subgraph, text, internal=note, http_status=http_status)


def _graphql_payload(content: bytes) -> dict[str, object] | None:
    """What a response with an error status says in GraphQL: an object with errors; None for any other body."""
    try:
        payload = decode_json(content)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) and isinstance(payload.get("errors"), list) else None
