"""The saga of an order: how it moves over stocks, wallet and users so that no cent and no share is ever lost.

How it works. The order's row is the log. Each step is one local transaction here, or one call to a peer followed by
one; each may be repeated at any time, because peers answer a repetition with their first answer and local steps look
at the state they find. So whoever finds an unfinished order can drive it on from its state alone:

    state        what is done next                                                          then
    NEW          buyer: wallet `hold` (T2); local: start (T2')                              RESERVED, WORKING, TRIGGERED
    RESERVED     local: execute, the pivot (T3)                                             EXECUTED
    TRIGGERED    the same                                                                   EXECUTED
    EXECUTED     broker: users `roll_over` (T4); wallet `post` or `credit` (T5); settle (T6)  COMPLETED
    REJECTING    buyer: wallet `void`; local: give back (T2x)                               REJECTED
    CANCELLING   the same (Tc)                                                              CANCELLED
    EXPIRING     the same (Tc)                                                              EXPIRED
    WORKING      nothing: a tick, a cancellation or its last day moves it

Before the pivot an order may only go back, after it only forward. Two drivers of one order do no harm; a lease keeps
them apart because it is cheaper. The request that places an order drives it for up to two seconds; a loop drives what
is left: after a crash, after an outage, after a trigger.

A refusal of a peer counts only where it has a meaning (the hold). Anything else is sent again, with growing pauses;
after the pivot that raises an alarm, because nothing there can fail for a business reason.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from subgraphs.shared.auth import Caller, require_user
from subgraphs.shared.errors import UNAVAILABLE, ErrorCode, Refusal
from subgraphs.shared.idempotency import IdempotencyKey
from subgraphs.shared.peers import PEER_TIMEOUT_S, PeerRefused, PeerUnavailable
from subgraphs.stocks.peers import Peers
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    AUTHORIZATION_MISMATCH,
    AUTHORIZATION_NOT_ALLOWED,
    AUTHORIZATION_REQUIRED,
    AUTOMATED_ORDER_INVALID,
    INSUFFICIENT_FUNDS,
    UNKNOWN_AUTHORIZATION,
)
from subgraphs.stocks.rules_orders import (
    CANCELLABLE_STATES,
    UNDRIVEN_STATES,
    Order,
    OrderState,
    Rejection,
    Side,
    brings_something,
)
from subgraphs.stocks.rules_placing import Mandate, OrderIntent
from subgraphs.stocks.service_orders import LEASE_MS, OrdersService, Placement, Rollover

LOGGER = logging.getLogger(__name__)

REQUEST_DRIVE_MS = LEASE_MS
"""How long a request drives its order before it answers 202; the order is leased to it for as long."""

LOOP_INTERVAL_MS = 100
ORDERS_PER_STEP_MAX = 32
"""Orders that one round of the loop drives side by side."""

RETRY_MS_MIN = 50
RETRY_MS_MAX = 1_000
"""Pauses between attempts double from the least to the greatest."""

HOLD_REFUSALS: Mapping[str, ErrorCode] = MappingProxyType(
    {
        "insufficient-funds": INSUFFICIENT_FUNDS,
        "commitment-closed": AUTHORIZATION_INACTIVE,
        "account-mismatch": AUTHORIZATION_MISMATCH,
    }
)
"""The wallet's final answers to a hold, and what the order is rejected with."""


class OrderSaga:
    """Places, cancels and drives orders. `step` is one round of the loop, `run` the loop."""

    def __init__(
        self,
        orders: OrdersService,
        peers: Peers,
        *,
        request_drive_ms: int = REQUEST_DRIVE_MS,
        loop_interval_ms: int = LOOP_INTERVAL_MS,
    ) -> None:
        self._orders = orders
        self._peers = peers
        self._request_drive_ms = request_drive_ms
        self._loop_interval_ms = loop_interval_ms
        self.alarms = 0
        """Attempts after the pivot that a peer did not answer with success: each needs somebody's attention."""

    async def place(self, caller: Caller, intent: OrderIntent, key: IdempotencyKey) -> Placement:
        """Places an order and drives it until it is final or the request's time is up.

        Raises:
            Refusal: the order is not accepted, and nothing was written: what `OrdersService.place` raises,
                `automated-order-invalid`, `authorization-required`, `authorization-not-allowed`,
                `unknown-authorization`, `authorization-inactive`, and `unavailable` while users cannot be asked.
        """
        user = require_user(caller)
        _check_caller(user, intent)
        earlier = await self._orders.placed_before(key)
        if earlier is not None:
            return Placement(earlier, fresh=False)
        mandate = None
        if intent.authorization_id is not None:
            mandate = await self._verified(user, intent.authorization_id)
        placement = await self._orders.place(user, intent, mandate, key)
        if not placement.fresh:
            return placement
        return Placement(await self._drive_request(placement.order), fresh=True)

    async def cancel(self, caller: Caller, order_id: str) -> Order:
        """Cancels an order and drives it until all is given back or the request's time is up.

        Raises:
            Refusal: what `OrdersService.cancel` raises; for a broker whose mandate has ended,
                `authorization-inactive`; `unavailable` while users cannot be asked about it.
        """
        user = require_user(caller)
        order = await self._orders.order(user, order_id)
        if order.user_id != user.id and order.state in CANCELLABLE_STATES:
            assert order.authorization_id is not None
            await self._verified(user, order.authorization_id)
        return await self._drive_request(await self._orders.cancel(user, order_id))

    async def step(self) -> int:
        """One round: orders that are overdue are given up, and every order that is due is driven once; how many."""
        expired, stale = await self._orders.overdue(ORDERS_PER_STEP_MAX)
        for order_id in expired:
            await self._orders.expire(order_id)
        for order_id in stale:
            await self._orders.reject_stale(order_id)
        if not await self._orders.has_due():
            return 0
        due = await self._orders.take_due(ORDERS_PER_STEP_MAX)
        await asyncio.gather(*(self._drive_leased(order_id) for order_id in due))
        return len(due)

    async def run(self) -> None:
        """Steps for ever, with a short pause between the rounds."""
        while True:
            await self.step()
            await asyncio.sleep(self._loop_interval_ms / 1_000)

    async def _drive_request(self, order: Order) -> Order:
        """Drives within the request's time: no call begins that could outlast it. Without such time, it drives once."""
        allowed_s = self._request_drive_ms / 1_000 - PEER_TIMEOUT_S
        last_start = None if self._request_drive_ms == 0 else time.monotonic() + allowed_s
        pause_ms = RETRY_MS_MIN
        while True:
            order, done = await self._drive(order, until=last_start)
            if done:
                return order
            if last_start is None or time.monotonic() + pause_ms / 1_000 >= last_start:
                await self._orders.postpone(order.id, RETRY_MS_MIN)
                return order
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms *= 2

    async def _drive_leased(self, order_id: str) -> None:
        order, done = await self._drive(await self._orders.load(order_id))
        if not done:
            await self._orders.postpone(order_id, min(RETRY_MS_MIN << min(order.attempts, 5), RETRY_MS_MAX))

    async def _drive(self, order: Order, *, until: float | None = None) -> tuple[Order, bool]:
        """Moves an order from state to state; and whether it came to where no driver is needed.

        It stops where a peer fails, and before the first move that would begin after `until` (monotonic seconds).
        """
        while order.state not in UNDRIVEN_STATES:
            if until is not None and time.monotonic() > until:
                return order, False
            try:
                order = await MOVES[order.state](self, order)
            except (PeerUnavailable, PeerRefused) as failure:
                self._report(order, failure)
                return order, False
        return order, True

    def _report(self, order: Order, failure: Exception) -> None:
        if order.state is OrderState.EXECUTED or isinstance(failure, PeerRefused):
            self.alarms += 1
            LOGGER.error("order %s stays %s: %s", order.id, order.state, failure)
        else:
            LOGGER.info("order %s stays %s: %s", order.id, order.state, failure)

    async def _reserve(self, order: Order) -> Order:
        if order.side is Side.BUY:
            try:
                await self._peers.wallet.hold(order)
            except PeerRefused as refused:
                if refused.code == "hold-voided":  # whoever gave the order up has changed its state
                    return await self._orders.load(order.id)
                if refused.code not in HOLD_REFUSALS:
                    raise
                code = HOLD_REFUSALS[refused.code]
                return await self._orders.reject(order.id, Rejection(code.code, code.detail))
        return await self._orders.start(order)

    async def _execute(self, order: Order) -> Order:
        return await self._orders.execute(order)

    async def _settle(self, order: Order) -> Order:
        rollover = None
        if order.by_broker and brings_something(order):
            rollover = Rollover(await self._peers.users.roll_over(order))
        if order.side is Side.BUY:
            await self._peers.wallet.post(order)
        else:
            await self._peers.wallet.credit(order, None if rollover is None else rollover.authorization_id)
        return await self._orders.settle(order, rollover)

    async def _give_back(self, order: Order) -> Order:
        if order.side is Side.BUY:
            await self._peers.wallet.void(order)
        return await self._orders.give_back(order.id)

    async def _verified(self, caller: Caller, authorization_id: str) -> Mandate:
        """V: the caller's active mandate; a foreign one looks like a missing one."""
        try:
            verified = await self._peers.users.verify(authorization_id)
        except PeerRefused as refused:
            raise Refusal(UNKNOWN_AUTHORIZATION) from refused
        except PeerUnavailable as failure:
            raise Refusal(
                UNAVAILABLE, "Authorizations cannot be verified at the moment. Try again in a moment.", retry_after_s=1
            ) from failure
        if verified.mandate.broker_id != caller.id:
            raise Refusal(UNKNOWN_AUTHORIZATION)
        if not verified.active:
            raise Refusal(AUTHORIZATION_INACTIVE)
        return verified.mandate


MOVES: Mapping[OrderState, Callable[[OrderSaga, Order], Awaitable[Order]]] = MappingProxyType(
    {
        OrderState.NEW: OrderSaga._reserve,
        OrderState.RESERVED: OrderSaga._execute,
        OrderState.TRIGGERED: OrderSaga._execute,
        OrderState.EXECUTED: OrderSaga._settle,
        OrderState.REJECTING: OrderSaga._give_back,
        OrderState.CANCELLING: OrderSaga._give_back,
        OrderState.EXPIRING: OrderSaga._give_back,
    }
)
"""What a driver does with an order in each state; states that are missing need no driver."""


def _check_caller(caller: Caller, intent: OrderIntent) -> None:
    """R7 before R6: who may place which order."""
    if intent.automated and (intent.authorization_id is not None or caller.role != "investor"):
        raise Refusal(AUTOMATED_ORDER_INVALID)
    if caller.role == "broker" and intent.authorization_id is None:
        raise Refusal(AUTHORIZATION_REQUIRED)
    if caller.role != "broker" and intent.authorization_id is not None:
        raise Refusal(AUTHORIZATION_NOT_ALLOWED)
