"""Sessions that have ended while access tokens of theirs still run: heard of within seconds, believed at once.

An access token names its session and lives for minutes; who logs out, or whose token was stolen, should not wait for
it. Every verifier asks the issuer every `HEAR_S` seconds which sessions have ended, and refuses their tokens. One that
cannot ask goes on accepting until the tokens expire: a login service that is down must not stop trading. It says so in
a metric and in the log.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from subgraphs.shared.errors import Refusal
from subgraphs.shared.metrics import Metric
from subgraphs.shared.peers import Peer, PeerRefused, PeerUnavailable

LOGGER = logging.getLogger(__name__)

HEAR_S = 2.0
KEPT_S = 20 * 60.0
"""Longer than any access token lives, with what clocks may differ by."""
OVERLAP_MS = 10_000
"""Asked for again each time: an end is stamped before its transaction commits."""
HEARINGS_PER_WHOLE = 15
"""Every so often all is asked for: the issuer's clock may have been set back since the latest end."""
SILENCE_S = 10.0
"""Without an answer for so long it is worth an alarm."""

Ends = Iterable[tuple[str, int]]
"""Ids of sessions, and when they ended in the issuer's milliseconds."""


class Issuer(Protocol):
    """Who knows which sessions have ended."""

    async def ended_since(self, after: int) -> Ends:
        """Those that ended after that time; raises Refusal, PeerRefused or PeerUnavailable."""
        ...


class RemoteIssuer:
    """The issuer as another service."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def ended_since(self, after: int) -> Ends:
        """What `GET /sessions/ended` says."""
        answer = await self._peer.call("GET", f"/sessions/ended?after={after}", None, frozenset())
        try:
            return [(str(item["id"]), int(item["endedAt"])) for item in answer["items"]]
        except (KeyError, TypeError, ValueError) as error:
            raise PeerUnavailable(f"the list of ended sessions makes no sense: {error}") from error


class EndedSessions:
    """The sessions whose tokens are refused although they still run. `hear` asks once, `run` for ever."""

    def __init__(self, issuer: Issuer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._monotonic = monotonic
        self._ended: dict[str, float] = {}
        self._latest = self._hearings = 0
        self._heard_at = monotonic()

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._ended

    def add(self, session_ids: Iterable[str]) -> None:
        """Believes at once what this process itself has ended."""
        now = self._monotonic()
        self._ended.update((session_id, now) for session_id in session_ids if session_id not in self._ended)

    async def hear(self) -> None:
        """Asks what has ended since the last time, and forgets what no token can be left of."""
        whole = self._hearings % HEARINGS_PER_WHOLE == 0
        ends = list(await self._issuer.ended_since(0 if whole else max(self._latest - OVERLAP_MS, 0)))
        self._hearings += 1
        self.add(session_id for session_id, _ in ends)
        self._latest = max((ended_at for _, ended_at in ends), default=self._latest)
        self._heard_at = now = self._monotonic()
        for session_id in [each for each, since in self._ended.items() if now - since > KEPT_S]:
            del self._ended[session_id]

    async def run(self) -> None:
        """Hears for ever; a failure is no reason to stop."""
        while True:
            try:
                await self.hear()
            except (PeerUnavailable, PeerRefused, Refusal) as failure:
                if self.silence_s() > SILENCE_S:
                    LOGGER.error("which sessions have ended is not known for %.0f s: %s", self.silence_s(), failure)
            await asyncio.sleep(HEAR_S)

    def silence_s(self) -> float:
        """The seconds since the issuer was last heard."""
        return self._monotonic() - self._heard_at

    @property
    def metric(self) -> Metric:
        """An alarm: it stands at 0 while the issuer is heard."""

        async def silence() -> int:
            silence_s = self.silence_s()
            return int(silence_s) if silence_s > SILENCE_S else 0

        text = (
            "Seconds for which nobody could say which sessions have ended: their tokens are accepted until they expire."
        )
        return Metric("trifolio_sessions_unheard_seconds", "gauge", text, silence)
