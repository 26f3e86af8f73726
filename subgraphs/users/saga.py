"""The saga of an authorization: how it moves over users and the peer that owns the money or the shares.

How it works. The authorization's row is the log. Its money or shares are another service's, so opening and ending it
are a local commit, a call to that peer, and another local commit; each may be repeated at any time, because the peer
answers a repetition with its first answer, and a local step is a compare-and-set.

    state       the call                                                then
    PENDING     wallet `commit` or stocks `open`                        ACTIVE
                refused: `close`                                        FAILED, with the peer's code
                after 30 s without an answer: `close`                   FAILED, `authorization-timed-out`
    REVOKING    wallet or stocks `close`                                REVOKED
    EXPIRING    the same                                                EXPIRED

`close` leaves a tombstone at the peer, so a `commit` or `open` that arrives after it is refused: therefore a failed
opening is closed too, and a revoke need not wait for an opening under way. A driver works under a lease, and moves the
row only while the lease is its own; one that lost it has done no harm, because the peer's steps only repeat or refuse.

A request drives what it began for up to two seconds; a loop drives the rest. A revoke counts from its first commit,
whenever the peer hears of it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import UNAVAILABLE, FieldError, Refusal
from subgraphs.shared.peers import PeerRefused, PeerUnavailable
from subgraphs.users.peers import Peers
from subgraphs.users.rules_authorizations import (
    AUTHORIZATION_TIMED_OUT,
    DRIVEN_STATES,
    PENDING_MS_MAX,
    UNKNOWN_STOCKHOLDING,
    Authorization,
    MandateRequest,
    State,
)
from subgraphs.users.service_authorizations import AuthorizationsService, Creation, Leased

LOGGER = logging.getLogger(__name__)

REQUEST_DRIVE_MS = 2_000
"""How long a request drives what it began before it answers 202."""
LOOP_INTERVAL_MS = 100
DRIVEN_PER_STEP_MAX = 32
"""Authorizations that one round of the loop drives side by side."""
EXPIRED_PER_STEP_MAX = 100
RETRY_MS_MIN = 50
RETRY_MS_MAX = 1_000
"""Pauses between attempts double from the least to the greatest."""
SWEEPER_LOCK = "authorizations sweeper"


class AuthorizationSaga:
    """Creates, revokes and drives authorizations. `step` is one round of the loop, `run` the loop."""

    def __init__(
        self,
        database: Database,
        authorizations: AuthorizationsService,
        peers: Peers,
        *,
        request_drive_ms: int = REQUEST_DRIVE_MS,
    ) -> None:
        self._database = database
        self._authorizations = authorizations
        self._peers = peers
        self._request_drive_ms = request_drive_ms

    async def create(self, caller: Caller, request: MandateRequest, *, key: str | None) -> Creation:
        """Creates an authorization and drives it until its answer is final or the request's time is up.

        An opening that the peer refuses is an answer too: the authorization is failed, and `refusal` says why.

        Raises:
            Refusal: what `AuthorizationsService.create` raises; `investors-only`, `unknown-stockholding`; or
                `unavailable` while stocks cannot be asked whose holding it is. Nothing was written then.
        """
        claimed = self._authorizations.creation_key(caller, request, key)
        earlier = await self._authorizations.created_before(caller, claimed)
        if earlier is not None:
            return earlier
        stock_id = None if request.stockholding_id is None else await self._stock_of(caller, request.stockholding_id)
        owner = str(uuid.uuid4())
        creation = await self._authorizations.create(caller, request, stock_id, claimed, owner)
        if not creation.replayed:
            await self._drive_request([creation.authorization.id], owner)
            driven = await self._authorizations.created_before(caller, claimed)
            assert driven is not None, "the key was claimed in the transaction that created the authorization"
            creation = Creation(driven.authorization, claimed.key, replayed=False, final=driven.final)
        return creation

    async def revoke(self, caller: Caller, authorization_id: str, *, cascade: bool) -> Authorization:
        """Revokes an authorization (with its family if `cascade`) and drives what it ended, while time allows.

        Returns the authorization: `revoked`, or `revoking` while its peer cannot be reached. Repeatable.

        Raises:
            Refusal: what `AuthorizationsService.revoke` raises.
        """
        owner = str(uuid.uuid4())
        ended = await self._authorizations.revoke(caller, authorization_id, owner, cascade=cascade)
        await self._drive_request(ended, owner)
        return await self._authorizations.authorization(caller, authorization_id)

    async def step(self) -> int:
        """One round: what is over is ended, by one replica at a time, and what is due is driven once; how many were."""
        if await self._authorizations.over_ids(EXPIRED_PER_STEP_MAX):
            async with self._database.advisory_lock(SWEEPER_LOCK) as held:
                if held:
                    await self._authorizations.expire_due(EXPIRED_PER_STEP_MAX)
        owner = str(uuid.uuid4())
        due = await self._authorizations.take_due(owner, DRIVEN_PER_STEP_MAX)
        await asyncio.gather(*(self._drive_or_postpone(leased, owner) for leased in due))
        return len(due)

    async def run(self) -> None:
        """Steps for ever, with a short pause between the rounds."""
        while True:
            await self.step()
            await asyncio.sleep(LOOP_INTERVAL_MS / 1_000)

    async def _stock_of(self, caller: Caller, stockholding_id: str) -> str:
        unknown = Refusal(UNKNOWN_STOCKHOLDING, fields=(FieldError("stockholdingId", UNKNOWN_STOCKHOLDING.detail),))
        try:
            holding = await self._peers.stocks.holding(stockholding_id)
        except PeerRefused as error:
            raise unknown from error
        except PeerUnavailable as error:
            raise Refusal(
                UNAVAILABLE, "Stockholdings cannot be read at the moment. Try again in a moment.", retry_after_s=1
            ) from error
        if holding.user_id != caller.id:
            raise unknown
        return holding.stock_id

    async def _drive_request(self, ids: Sequence[str], owner: str) -> None:
        """Drives rows that are leased to `owner`, again and again until the request's time is up."""
        deadline = time.monotonic() + self._request_drive_ms / 1_000
        await asyncio.gather(*(self._drive_until(each, owner, deadline) for each in ids))

    async def _drive_until(self, authorization_id: str, owner: str, deadline: float) -> None:
        pause_ms = RETRY_MS_MIN
        authorization = await self._authorizations.load(authorization_id)
        while not await self._drive(authorization, owner, timed_out=False):
            if time.monotonic() + pause_ms / 1_000 > deadline:
                await self._authorizations.postpone(authorization_id, owner, RETRY_MS_MIN)
                return
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms *= 2

    async def _drive_or_postpone(self, leased: Leased, owner: str) -> None:
        authorization = leased.authorization
        timed_out = authorization.state == "PENDING" and leased.now - authorization.created_at > PENDING_MS_MAX
        if not await self._drive(authorization, owner, timed_out=timed_out):
            pause_ms = min(RETRY_MS_MIN << min(leased.attempts, 5), RETRY_MS_MAX)
            await self._authorizations.postpone(authorization.id, owner, pause_ms)

    async def _drive(self, authorization: Authorization, owner: str, *, timed_out: bool) -> bool:
        """One attempt; False if the peer gave no usable answer. A lost lease or state is no failure: others go on."""
        try:
            if authorization.state == "PENDING":
                await self._open(authorization, owner, timed_out=timed_out)
            elif authorization.state in DRIVEN_STATES:
                await self._peers.close(authorization)
                final: State = "REVOKED" if authorization.state == "REVOKING" else "EXPIRED"
                await self._authorizations.settle(authorization, owner, final)
        except PeerUnavailable as error:
            LOGGER.info("authorization %s stays %s: %s", authorization.id, authorization.state, error)
            return False
        return True

    async def _open(self, authorization: Authorization, owner: str, *, timed_out: bool) -> None:
        code = AUTHORIZATION_TIMED_OUT.code
        if not timed_out:
            try:
                await self._peers.commit(authorization)
            except PeerRefused as refused:
                code = refused.code
            else:
                await self._authorizations.settle(authorization, owner, "ACTIVE")
                return
        await self._peers.close(authorization)
        await self._authorizations.settle(authorization, owner, "FAILED", code)
