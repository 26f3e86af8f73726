"""How the shares of an order move, inside the transactions of `service_orders`.

Shares move between three parts of a holding: free, committed, reserved. The market's own shares are a holding too.

    placed     BUY: market free -> reserved                      SELL: investor free or commitment -> reserved
    executed   BUY: market reserved -> investor reserved         SELL: investor reserved -> market free
    settled    BUY: investor reserved -> free or commitment      SELL: nothing
    ended      what was reserved goes back to where it came from; a closed commitment's shares become free

Holdings are locked in the order of their ids, then commitments.
"""

from dataclasses import replace

from subgraphs.shared.database import Connection
from subgraphs.stocks import store
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    INSUFFICIENT_LIQUIDITY,
    INSUFFICIENT_SHARES,
    MARKET,
    Commitment,
    CommitmentState,
    holding_id_of,
)
from subgraphs.stocks.rules_orders import Fill, Order, Rejection, Side
from subgraphs.stocks.rules_pricing import cost_of_sold
from subgraphs.stocks.store import Shift


async def reserve(connection: Connection, order: Order, now: int) -> Rejection | None:
    """Sets the order's shares aside; the rejection when there are too few."""
    if order.side is Side.SELL and order.authorization_id is not None:
        return await _reserve_committed(connection, order, order.authorization_id, now)
    owner = MARKET if order.side is Side.BUY else order.user_id
    aside = Shift(free=-order.quantity, reserved=order.quantity)
    if await store.shift_holding(connection, holding_id_of(owner, order.stock_id), aside, now):
        return None
    code = INSUFFICIENT_LIQUIDITY if order.side is Side.BUY else INSUFFICIENT_SHARES
    return Rejection(code.code, code.detail)


async def _reserve_committed(connection: Connection, order: Order, authorization_id: str, now: int) -> Rejection | None:
    holding = await store.lock_holding(connection, holding_id_of(order.user_id, order.stock_id))
    if holding is None:
        return Rejection(INSUFFICIENT_SHARES.code, INSUFFICIENT_SHARES.detail)
    commitment = await store.lock_commitment_over(connection, holding.id, authorization_id)
    if commitment is None or not commitment.open:
        return Rejection(AUTHORIZATION_INACTIVE.code, AUTHORIZATION_INACTIVE.detail)
    if commitment.remaining < order.quantity:
        return Rejection(INSUFFICIENT_SHARES.code, "Fewer shares remain under the authorization. Sell fewer.")
    left = replace(commitment, remaining=commitment.remaining - order.quantity)
    await store.save_commitment(connection, left, now)
    await _shift(connection, holding.id, Shift(committed=-order.quantity, reserved=order.quantity), now)
    return None


async def exchange(connection: Connection, order: Order, fill: Fill, now: int) -> int | None:
    """Moves the reserved shares between the market and the investor, and their cost with them.

    Returns what the shares of a sale had cost, in minor units; None for a purchase.
    """
    assert order.holding_id is not None
    basis = None
    market_id, own_id, quantity = holding_id_of(MARKET, order.stock_id), order.holding_id, order.quantity
    if order.side is Side.BUY:
        await store.insert_holding(connection, own_id, order.user_id, order.stock_id, 0, now)
        shifts = {
            market_id: Shift(reserved=-quantity),
            own_id: Shift(reserved=quantity, cost=fill.settlement.cost),
        }
    else:
        own = (await store.lock_holdings(connection, [market_id, own_id]))[own_id]
        basis = cost_of_sold(own.cost, own.quantity, quantity)
        shifts = {market_id: Shift(free=quantity), own_id: Shift(reserved=-quantity, cost=-basis)}
    for holding_id in sorted(shifts):
        await _shift(connection, holding_id, shifts[holding_id], now)
    return basis


async def give_back(connection: Connection, order: Order, now: int) -> None:
    """Returns what an order that was given up has reserved."""
    if order.side is Side.SELL:
        await release(connection, order, order.authorization_id, now, opening=False)
        return
    back = Shift(free=order.quantity, reserved=-order.quantity)
    await _shift(connection, holding_id_of(MARKET, order.stock_id), back, now)


async def release(
    connection: Connection, order: Order, authorization_id: str | None, now: int, *, opening: bool
) -> None:
    """Moves the investor's reserved shares to that commitment if it is open, else to free.

    `opening`: a commitment that is not there yet is opened (a rollover's child); a tombstone diverts to free.
    """
    assert order.holding_id is not None
    released = Shift(free=order.quantity, reserved=-order.quantity)
    if authorization_id is not None:
        await store.lock_holding(connection, order.holding_id)
        commitment = await _commitment_of(connection, order, authorization_id, now, opening=opening)
        if commitment is not None and commitment.open and commitment.holding_id == order.holding_id:
            more = replace(commitment, remaining=commitment.remaining + order.quantity)
            await store.save_commitment(connection, more, now)
            released = Shift(committed=order.quantity, reserved=-order.quantity)
    await _shift(connection, order.holding_id, released, now)


async def _shift(connection: Connection, holding_id: str, shift: Shift, now: int) -> None:
    moved = await store.shift_holding(connection, holding_id, shift, now)
    assert moved, "what holds reserved shares is there"


async def _commitment_of(
    connection: Connection, order: Order, authorization_id: str, now: int, *, opening: bool
) -> Commitment | None:
    if not opening:
        return await store.lock_commitment(connection, authorization_id)
    assert order.holding_id is not None
    empty = Commitment(
        authorization_id, order.user_id, order.placed_by, order.holding_id, CommitmentState.OPEN, remaining=0
    )
    return (await store.insert_or_lock_commitment(connection, empty, now))[1]
