"""The saga of an order: how it moves over stocks, wallet and users so that no cent and no share is ever lost.

How it works. The order's row is the log. Each step is one local transaction here, or one call to a peer followed by
one; each may be repeated at any time, because peers answer a repetition with their first answer and local steps look
at the state they find. So whoever finds an unfinished order can drive it on from its state alone:

    state        what is done next                                                          then
    NEW          buyer: wallet `hold` (T2); broker: users again; local: start (T2')         RESERVED, WORKING, TRIGGERED
    RESERVED     local: execute, the pivot (T3)                                             EXECUTED
    TRIGGERED    the same                                                                   EXECUTED
    EXECUTED     broker: users `roll_over` (T4); wallet `post` or `credit` (T5); settle (T6)  COMPLETED
    REJECTING    buyer: wallet `void`; local: give back (T2x)                               REJECTED
    CANCELLING   the same (Tc)                                                              CANCELLED
    EXPIRING     the same (Tc)                                                              EXPIRED
    WORKING      nothing: a tick, a cancellation or its last day moves it

A mandate is verified before the order is written. The first attempt to reserve follows at once and asks no more; every
later one, after an outage or a crash, asks users again, when the money is held or the shares are set aside. So no order
that has waited is reserved under a mandate that was revoked meanwhile, whenever the wallet hears of that.

Before the pivot an order may only go back, after it only forward. `shared.driving` drives: the request that places an
order for up to two seconds, a loop what is left, after a crash, after an outage, after a trigger.

A refusal of a peer counts only where it has a meaning (the hold). Anything else is sent again, with growing pauses;
after the pivot a no raises an alarm, because nothing there can fail for a business reason. A peer that is away raises
none: it comes back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from subgraphs.shared.auth import Caller, require_user
from subgraphs.shared.database import Database
from subgraphs.shared.driving import REQUEST_DRIVE_MS, Driver
from subgraphs.shared.errors import UNAVAILABLE, ErrorCode, Refusal
from subgraphs.shared.idempotency import IdempotencyKey
from subgraphs.shared.peers import PeerObjected, PeerRefused, PeerUnavailable
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
from subgraphs.stocks.rules_intents import Mandate, OrderIntent
from subgraphs.stocks.rules_orders import (
    CANCELLABLE_STATES,
    MARKET_ORDER_AGE_MS_MAX,
    STALE_STATES,
    UNDRIVEN_STATES,
    Order,
    OrderState,
    Rejection,
    Side,
    brings_something,
)
from subgraphs.stocks.service_orders import OrdersService, Placement
from subgraphs.stocks.steps import ORDER_IS_DUE, OrderQueue, OrderSteps, Rollover

LOGGER = logging.getLogger(__name__)

OVERDUE_PER_STEP_MAX = 32
"""Orders of either kind that one round of the loop gives up."""
SWEEPER_LOCK = "orders sweeper"

HOLD_REFUSALS: Mapping[str, ErrorCode] = MappingProxyType(
    {
        "insufficient-funds": INSUFFICIENT_FUNDS,
        "commitment-closed": AUTHORIZATION_INACTIVE,
        "account-mismatch": AUTHORIZATION_MISMATCH,
    }
)
"""The wallet's final answers to a hold, and what the order is rejected with."""


class OrderSaga:
    """Places and cancels orders; `driver` drives them, from here and in its loop."""

    def __init__(
        self,
        database: Database,
        orders: OrdersService,
        steps: OrderSteps,
        queue: OrderQueue,
        peers: Peers,
        *,
        request_drive_ms: int = REQUEST_DRIVE_MS,
    ) -> None:
        self._database = database
        self._orders = orders
        self._peers = peers
        self.steps, self.queue = steps, queue
        self.driver = Driver(self, database.wakening, ORDER_IS_DUE, request_drive_ms=request_drive_ms)
        self._just_verified: set[str] = set()
        """Orders whose first attempt to reserve is still to come, in the request that has verified their mandates."""
        self.alarms = 0
        """Refusals of peers where only success makes sense: each needs somebody's attention."""

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
        try:
            mandate = None
            if intent.authorization_id is not None:
                mandate = await self._verified(user, intent.authorization_id)
            placement = await self._orders.place(user, intent, mandate, key)
        except Refusal as refusal:
            return Placement(await self._orders.refuse(key, refusal), fresh=False)
        if not placement.fresh:
            return placement
        self._just_verified.add(placement.order.id)
        try:
            return Placement(await self.driver.drive_request(placement.order), fresh=True)
        finally:
            self._just_verified.discard(placement.order.id)

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
        return await self.driver.drive_request(await self._orders.cancel(user, order_id))

    # ---- what the driver asks ----

    async def end_overdue(self) -> None:
        """Gives up orders whose time is over or whose price is stale: one replica at a time."""
        if any(await self.queue.overdue(OVERDUE_PER_STEP_MAX)):
            await self._database.run_alone(SWEEPER_LOCK, self._sweep)

    async def _sweep(self) -> None:
        expired, stale = await self.queue.overdue(OVERDUE_PER_STEP_MAX)
        for order_id in expired:
            await self.steps.expire(order_id)
        for order_id in stale:
            await self.steps.reject_stale(order_id)

    async def take_due(self, limit: int) -> Sequence[Order]:
        """Leases what is due."""
        if not await self.queue.has_due():
            return ()
        return await asyncio.gather(*(self.steps.load(each) for each in await self.queue.take_due(limit)))

    def needs_driver(self, row: Order) -> bool:
        """Whether its state has a move."""
        return row.state not in UNDRIVEN_STATES

    async def move(self, row: Order) -> Order:
        """Makes the move of its state; a market order that has waited for too long is given up, whatever time it is."""
        ages = row.state in STALE_STATES and not row.automated
        if ages and self.driver.patience.waited_ms(row.id) > MARKET_ORDER_AGE_MS_MAX:
            return await self.steps.reject_stale(row.id)
        return await MOVES[row.state](self, row)

    async def postpone(self, row: Order, pause_ms: int) -> None:
        """Gives it back to the loop."""
        await self.queue.postpone(row.id, pause_ms)

    async def due_in_ms(self) -> int | None:
        """When the next one is due."""
        return await self.queue.due_in_ms()

    def key(self, row: Order) -> str:
        """Its id."""
        return row.id

    def attempts(self, row: Order) -> int:
        """How often it was postponed."""
        return row.attempts

    def report(self, row: Order, failure: Exception) -> None:
        """Logs it, as an alarm where a peer says no and nothing but yes was to be expected."""
        objected = row.state is OrderState.EXECUTED and isinstance(failure, PeerObjected)
        if objected or isinstance(failure, PeerRefused):
            self.alarms += 1
            LOGGER.error("order %s stays %s: %s", row.id, row.state, failure)
        else:
            LOGGER.info("order %s stays %s: %s", row.id, row.state, failure)

    # ---- moves ----

    async def _reserve(self, order: Order) -> Order:
        just_verified = order.id in self._just_verified
        self._just_verified.discard(order.id)
        if order.side is Side.BUY:
            try:
                await self._peers.wallet.hold(order)
            except PeerRefused as refused:
                if refused.code == "hold-voided":  # whoever gave the order up has changed its state
                    return await self.steps.load(order.id)
                if refused.code not in HOLD_REFUSALS:
                    raise
                code = HOLD_REFUSALS[refused.code]
                return await self.steps.reject(order.id, Rejection(code.code, code.detail))
        if order.authorization_id is not None and not just_verified and not await self._stands(order.authorization_id):
            return await self.steps.reject(
                order.id, Rejection(AUTHORIZATION_INACTIVE.code, AUTHORIZATION_INACTIVE.detail)
            )
        return await self.steps.start(order)

    async def _execute(self, order: Order) -> Order:
        return await self.steps.execute(order)

    async def _settle(self, order: Order) -> Order:
        rollover = None
        if order.by_broker and brings_something(order):
            rollover = Rollover(await self._peers.users.roll_over(order))
        if order.side is Side.BUY:
            await self._peers.wallet.post(order)
        else:
            await self._peers.wallet.credit(order, None if rollover is None else rollover.authorization_id)
        return await self.steps.settle(order, rollover)

    async def _give_back(self, order: Order) -> Order:
        if order.side is Side.BUY:
            await self._peers.wallet.void(order)
        return await self.steps.give_back(order.id)

    async def _stands(self, authorization_id: str) -> bool:
        """Whether users still has the mandate of an order that has waited."""
        try:
            return (await self._peers.users.verify(authorization_id)).active
        except PeerRefused:
            return False

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
