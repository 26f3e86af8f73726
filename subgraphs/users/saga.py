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

`shared.driving` drives what a request began, and then the rest. A revoke counts from its first commit, whenever the
peer hears of it.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.driving import REQUEST_DRIVE_MS, Driver
from subgraphs.shared.errors import UNAVAILABLE, FieldError, Refusal
from subgraphs.shared.peers import PeerRefused, PeerUnavailable
from subgraphs.users.peers import Peers
from subgraphs.users.rules_authorizations import (
    AUTHORIZATION_TIMED_OUT,
    PENDING_MS_MAX,
    UNKNOWN_STOCKHOLDING,
    Authorization,
    MandateRequest,
    State,
)
from subgraphs.users.service_authorizations import AuthorizationsService, Creation
from subgraphs.users.steps import AuthorizationQueue, AuthorizationSteps, Leased

LOGGER = logging.getLogger(__name__)

EXPIRED_PER_STEP_MAX = 100
SWEEPER_LOCK = "authorizations sweeper"


AUTHORIZATION_IS_DUE = "an authorization is due"
"""What is woken when an authorization needs a driver at once."""


class AuthorizationSaga:
    """Creates and revokes authorizations; `driver` drives them, from here and in its loop."""

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
        self._steps = AuthorizationSteps(database)
        self.queue = AuthorizationQueue(database)
        """Which authorizations wait for a driver."""
        self.driver = Driver(self, database.wakening, AUTHORIZATION_IS_DUE, request_drive_ms=request_drive_ms)

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
        holding_id, owner = request.stockholding_id, str(uuid.uuid4())
        try:
            stock_id = None if holding_id is None else await self._stock_of(caller, holding_id)
            creation = await self._authorizations.create(caller, request, stock_id, claimed, owner)
        except Refusal as refusal:
            return await self._authorizations.refuse(caller, claimed, refusal)
        if not creation.replayed:
            await self._drive([creation.authorization], owner)
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
        await self._drive([await self._steps.load(each) for each in ended], owner)
        return await self._authorizations.authorization(caller, authorization_id)

    async def _drive(self, authorizations: Sequence[Authorization], owner: str) -> None:
        """Drives rows that are leased to `owner`, side by side, until the request's time is up."""
        began = [Leased(each, owner, each.created_at) for each in authorizations]
        await asyncio.gather(*(self.driver.drive_request(leased) for leased in began))

    # ---- what the driver asks ----

    async def end_overdue(self) -> None:
        """Expires what is over: one replica at a time."""
        if await self._steps.over_ids(EXPIRED_PER_STEP_MAX):
            await self._database.run_alone(SWEEPER_LOCK, self._sweep)

    async def _sweep(self) -> None:
        await self._steps.expire_due(EXPIRED_PER_STEP_MAX)

    async def take_due(self, limit: int) -> Sequence[Leased]:
        """Leases what is due, under a name that no other driver has."""
        return await self.queue.take_due(str(uuid.uuid4()), limit)

    def needs_driver(self, row: Leased) -> bool:
        """Whether its peer has still to answer."""
        return row.authorization.state in MOVES

    async def move(self, row: Leased) -> Leased:
        """Opens or ends it; a lost lease or state is no failure: others go on."""
        after = await MOVES[row.authorization.state](self, row)
        return replace(row, authorization=replace(row.authorization, state=after))

    async def postpone(self, row: Leased, pause_ms: int) -> None:
        """Gives the lease back."""
        await self.queue.postpone(row.authorization.id, row.owner, pause_ms)

    async def due_in_ms(self) -> int | None:
        """When the next one is due."""
        return await self.queue.due_in_ms()

    def key(self, row: Leased) -> str:
        """Its id."""
        return row.authorization.id

    def attempts(self, row: Leased) -> int:
        """How often it was postponed."""
        return row.attempts

    def report(self, row: Leased, failure: Exception) -> None:
        """Logs it; a revoke or an opening waits for its peer as long as it takes."""
        level = logging.ERROR if isinstance(failure, PeerRefused) else logging.INFO
        LOGGER.log(level, "authorization %s stays %s: %s", row.authorization.id, row.authorization.state, failure)

    # ---- moves ----

    async def _open(self, row: Leased) -> State:
        authorization, code = row.authorization, AUTHORIZATION_TIMED_OUT.code
        waited_ms = max(row.now - authorization.created_at, self.driver.patience.waited_ms(authorization.id))
        if waited_ms <= PENDING_MS_MAX:
            try:
                await self._peers.commit(authorization)
            except PeerRefused as refused:
                code = refused.code
            else:
                return await self._settle(row, "ACTIVE")
        await self._peers.close(authorization)
        return await self._settle(row, "FAILED", code)

    async def _end(self, row: Leased) -> State:
        await self._peers.close(row.authorization)
        return await self._settle(row, "REVOKED" if row.authorization.state == "REVOKING" else "EXPIRED")

    async def _settle(self, row: Leased, after: State, failure_code: str | None = None) -> State:
        await self._steps.settle(row.authorization, row.owner, after, failure_code)
        return after

    async def _stock_of(self, caller: Caller, stockholding_id: str) -> str:
        try:
            return await self._peers.stocks.stock_of(stockholding_id, caller.id)
        except PeerRefused as error:
            fields = (FieldError("stockholdingId", UNKNOWN_STOCKHOLDING.detail),)
            raise Refusal(UNKNOWN_STOCKHOLDING, fields=fields) from error
        except PeerUnavailable as error:
            raise Refusal(
                UNAVAILABLE, "Stockholdings cannot be read at the moment. Try again in a moment.", retry_after_s=1
            ) from error


MOVES: Mapping[State, Callable[[AuthorizationSaga, Leased], Awaitable[State]]] = MappingProxyType(
    {
        "PENDING": AuthorizationSaga._open,
        "REVOKING": AuthorizationSaga._end,
        "EXPIRING": AuthorizationSaga._end,
    }
)
"""What a driver does with an authorization in each state; states that are missing need no driver."""
