"""Calls from one service to another: a system route over HTTP, with this service's token.

Every call may be sent again: the receiver answers a repetition with what it answered first. A call ends in one of
three ways:

    it returns        the peer did it, at this time or before
    PeerRefused       the peer said no, finally: 404, 409 or 422 with a code out of its catalogue
    PeerUnavailable   nobody knows whether the peer did it: no answer, another status, or an answer that makes no sense
"""

from collections.abc import Mapping
from typing import Any

import orjson

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.transport import PeerRequest, PeerResponse, Transport, TransportFailed

PEER_TIMEOUT_S = 1.0
"""A peer answers in milliseconds; one that takes longer leaves the request time for another attempt."""

_REFUSAL_STATUSES = (404, 409, 422)
_PASSING_STATUSES = (408, 429)
_UNAUTHENTICATED_STATUS = 401


class PeerRefused(Exception):
    """The peer's final no: its stable code and its words."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class PeerUnavailable(Exception):
    """No usable answer: the call may have been carried out or not, and is sent again."""


class PeerObjected(PeerUnavailable):
    """The peer says that the request is at fault, with no word of its catalogue: waiting alone mends nothing."""


class Peer:
    """One service that is called: its URL, what carries requests there, and this service's signature."""

    def __init__(self, name: str, url: str, transport: Transport, signer: ServiceSigner) -> None:
        self._name = name
        self._url = url
        self._transport = transport
        self._signer = signer

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None, refusals: frozenset[str]
    ) -> dict[str, Any]:
        """Sends one call and reads its JSON answer; raises PeerRefused or PeerUnavailable.

        Args:
            refusals: the codes that count as a final no; any other failure is worth another attempt.
        """
        content = b"" if body is None else orjson.dumps(body)
        response, answer = await self._send(method, path, content)
        if response.status == _UNAUTHENTICATED_STATUS:
            # Of two clocks one has stepped: a token signed now may do where one signed before did not.
            self._signer.forget(self._name)
            response, answer = await self._send(method, path, content)
        if 200 <= response.status < 300:
            return answer
        code = answer.get("code")
        if response.status in _REFUSAL_STATUSES and code in refusals:
            raise PeerRefused(str(code), str(answer.get("detail", "")))
        at_fault = 400 <= response.status < 500 and response.status not in _PASSING_STATUSES
        kind = PeerObjected if at_fault else PeerUnavailable
        raise kind(f"{self._name}: status {response.status}, code {code}")

    async def _send(self, method: str, path: str, content: bytes) -> tuple[PeerResponse, dict[str, Any]]:
        headers = {"authorization": f"Bearer {self._signer.token(self._name)}", "content-type": "application/json"}
        request = PeerRequest(method, self._url + path, PEER_TIMEOUT_S, headers, content)
        try:
            response = await self._transport.send(request)
            answer = orjson.loads(response.content)
        except (TransportFailed, orjson.JSONDecodeError) as error:
            raise PeerUnavailable(f"{self._name}: {error}") from error
        if not isinstance(answer, dict):
            raise PeerUnavailable(f"{self._name}: the answer is no object")
        return response, answer
