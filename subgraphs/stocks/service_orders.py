"""Orders as clients ask for them: reading, placing and cancelling; what follows in their saga stands in `steps`.

Nothing here needs another service; `saga` puts it together with what does.
"""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from functools import partial

from subgraphs.shared.auth import Caller, require_user
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.driving import LEASE_MS
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    NOT_FOUND,
    ONLY_THE_USER,
    RESULT_TOO_LARGE,
    TOO_MANY_REQUESTS,
    Refusal,
)
from subgraphs.shared.idempotency import IdempotencyKey, claim, forget_refusals, keep_refusal, stored_answer
from subgraphs.shared.months import LINES_MAX, Month
from subgraphs.shared.outbox import Change
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.stocks import service_shares, store, store_orders, store_statements
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    ORDER_COMPLETED,
    ORDER_FINAL,
    UNKNOWN_STOCK,
)
from subgraphs.stocks.rules_intents import Mandate, OrderIntent, PlaceRequest, order_of
from subgraphs.stocks.rules_orders import (
    CANCELLABLE_STATES,
    Order,
    OrderFilter,
    OrderState,
    OrderStatus,
)
from subgraphs.stocks.rules_pricing import FeeSchedule
from subgraphs.stocks.rules_sessions import Sessions
from subgraphs.stocks.rules_statements import Statement, statement_of
from subgraphs.stocks.steps import DRIVER, ORDER_EVENT, end, note_change, record_act, turn
from subgraphs.stocks.tables import idempotency_keys, outbox

ORDER_LIST = "orders"
"""The list's name in its cursors."""

MINUTE_MS = 60_000
PLACED = "placed"
"""What is stored under the key of an order that there is: its row has the rest."""


@dataclass(frozen=True, slots=True)
class Placement:
    """An order as a request found it; `fresh` when this request made it."""

    order: Order
    fresh: bool


class OrdersService:
    """The use cases of orders that need no other service."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        fees: FeeSchedule,
        *,
        broker_orders_max: int = 30,
        refusal_retention_days: int = 30,
        events_kept_days: int = 7,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._fees = fees
        self._broker_orders_max = broker_orders_max
        self._refusal_retention_days = refusal_retention_days
        self._events_kept_days = events_kept_days

    # ---- reading ----

    async def orders(self, caller: Caller, wanted: OrderFilter, *, after: str | None, limit: int | None) -> Page[Order]:
        """The orders that the caller owns or placed, newest first, page by page."""
        user, count = require_user(caller), page_limit(limit)
        key = decode_cursor(after, ORDER_LIST, int, str) if after is not None else None
        behind = None if key is None else (int(key[0]), str(key[1]))
        async with self._database.reading() as connection:
            found = await store_orders.orders_after(connection, user.id, wanted, behind, count + 1)
        return page_of(found, [encode_cursor(ORDER_LIST, order.created_at, order.id) for order in found], count)

    async def order(self, caller: Caller, order_id: str) -> Order:
        """One order of the caller's; raises Refusal `not-found`."""
        found = await self.orders_by_id(caller, [order_id])
        if order_id not in found:
            raise Refusal(NOT_FOUND)
        return found[order_id]

    async def orders_by_id(self, caller: Caller, ids: Iterable[str]) -> dict[str, Order]:
        """Those of the orders that the caller owns or placed."""
        user = require_user(caller)
        async with self._database.reading() as connection:
            return await store_orders.orders_by_id(connection, ids, user.id)

    def changes(self, caller: Caller, after: str | None) -> AsyncGenerator[Change[Order], None]:
        """The orders that the caller owns or placed, each when it changes, for ever: see `Outbox.follow`.

        Args:
            after: the cursor of the last change that the caller knows; without it, from now on.

        Raises:
            Refusal: `unauthenticated`, `forbidden`, `invalid-cursor`, at once.
        """
        user = require_user(caller)
        load = partial(self.orders_by_id, user)
        return outbox.follow(self._database, user.id, ORDER_EVENT, outbox.position(after), load)

    async def statement(self, caller: Caller, month: Month, *, of_user: str | None = None) -> Statement:
        """The trades of a user's own orders in a month.

        Raises:
            Refusal: `not-found` for another user's; `result-too-large` for a month of more than `LINES_MAX` trades.
        """
        user = require_user(caller)
        if of_user not in (None, user.id):
            raise Refusal(NOT_FOUND, ONLY_THE_USER)
        async with self._database.reading() as connection:
            found = await store_statements.trades(
                connection, user.id, start=month.start, end=month.end, limit=LINES_MAX + 1
            )
        if len(found) > LINES_MAX:
            raise Refusal(RESULT_TOO_LARGE, f"This month has more than {LINES_MAX} trades. Read the list of orders.")
        return statement_of(user.id, month, found)

    async def placed_before(self, key: IdempotencyKey) -> Order | None:
        """The order that an earlier request with this key made.

        Raises:
            Refusal: why an earlier request was refused; `idempotency-key-reused` when that was another one.
        """
        async with self._database.reading() as connection:
            stored = await stored_answer(connection, idempotency_keys, key)
            return None if stored is None else await store_orders.order_by_id(connection, key.object_id)

    # ---- placing and cancelling ----

    async def place(
        self, caller: Caller, intent: OrderIntent, mandate: Mandate | None, key: IdempotencyKey
    ) -> Placement:
        """T0: writes the order with everything pinned, and reserves the shares; short of them it is REJECTED at once.

        A repetition, also a concurrent one, finds the first one's order.

        Raises:
            Refusal: what is wrong with the order itself (`unknown-stock`, `market-closed`, `invalid-request`, the
                mandate's codes, `order-too-small`, `too-many-requests`, `idempotency-key-reused`); nothing is written.
        """

        async def work(connection: Connection) -> Placement:
            if await claim(connection, idempotency_keys, key, result=PLACED) is not None:
                return Placement(await _found(connection, key), fresh=False)
            now = await connection.now()
            stock = await store.stock_by_id(connection, intent.stock_id)
            if stock is None:
                raise Refusal(UNKNOWN_STOCK)
            order = order_of(
                intent,
                stock,
                mandate,
                PlaceRequest(key.object_id, key.fingerprint, caller.id),
                sessions=self._sessions,
                fees=self._fees,
                now=now,
            )
            if mandate is not None:
                await self._count(connection, mandate, now)
            if not await store_orders.insert_order(connection, order, lease_until=now + LEASE_MS):
                return Placement(await _found(connection, key), fresh=False)
            details = {"side": order.side, "stockId": stock.id, "authorizationId": order.authorization_id}
            await record_act(connection, order, "order.placed", caller, now, details)
            note_change(connection, order, now)
            short = await service_shares.reserve(connection, order, now)
            if short is not None:
                await record_act(connection, order, "order.rejected", DRIVER, now, {"reason": short.code})
                order = await end(connection, replace(order, rejection=short), now)
            return Placement(order, fresh=True)

        return await self._database.write(work)

    async def _count(self, connection: Connection, mandate: Mandate, now: int) -> None:
        minute, passed_ms = divmod(now, MINUTE_MS)
        if await store_orders.count_broker_order(connection, mandate.root_id, minute) > self._broker_orders_max:
            wait_s = -((passed_ms - MINUTE_MS) // 1_000)
            message = (
                f"Only {self._broker_orders_max} orders a minute are placed under one mandate. Wait {wait_s} seconds."
            )
            raise Refusal(TOO_MANY_REQUESTS, message, retry_after_s=wait_s)

    async def refuse(self, key: IdempotencyKey, refusal: Refusal) -> Order:
        """Makes a refusal the final answer and raises it, unless another request with the key has placed the order."""
        async with self._database.reading() as connection:
            if await store_orders.order_by_id(connection, key.object_id) is not None:
                return await _found(connection, key)
        await keep_refusal(self._database, idempotency_keys, key, refusal)
        async with self._database.reading() as connection:
            return await _found(connection, key)

    async def forget(self) -> None:
        """Deletes refusals and events that are kept no longer, and counts of minutes that are over."""
        await outbox.purge(self._database, days=self._events_kept_days)
        await forget_refusals(self._database, idempotency_keys, days=self._refusal_retention_days)

        async def work(connection: Connection) -> None:
            await store_orders.delete_broker_orders_before(connection, await connection.now() // MINUTE_MS)

        await self._database.write(work)

    async def cancel(self, caller: Caller, order_id: str) -> Order:
        """Tc: the order -> CANCELLING; a repetition finds it cancelled.

        Raises:
            Refusal: `not-found`, `order-completed`, or `order-final` when it was rejected or has expired; for a broker
                whose mandate's end has come, `authorization-inactive`.
        """
        user = require_user(caller)

        async def work(connection: Connection) -> Order:
            order = await store_orders.lock_viewed_order(connection, order_id, user.id)
            if order is None:
                raise Refusal(NOT_FOUND)
            if order.status is OrderStatus.CANCELLED:
                return order
            if order.state not in CANCELLABLE_STATES:
                raise Refusal(ORDER_COMPLETED if order.status is OrderStatus.COMPLETED else ORDER_FINAL)
            now = await connection.now()
            if user.id != order.user_id and now >= (order.authorization_ends_at or now + 1):
                raise Refusal(AUTHORIZATION_INACTIVE)
            return await turn(connection, order, OrderState.CANCELLING, now, user, lease_until=now + LEASE_MS)

        return await self._database.write(work)


async def _found(connection: Connection, key: IdempotencyKey) -> Order:
    """The order that the key made; before keys were kept beside it, the order alone said which request that was."""
    order = await store_orders.order_by_id(connection, key.object_id)
    assert order is not None, "a key is claimed in the transaction that inserts its order, and orders are never deleted"
    if order.fingerprint != key.fingerprint:
        raise Refusal(IDEMPOTENCY_KEY_REUSED)
    return order
