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
from subgraphs.stocks.pricing import cost_of_sold
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    INSUFFICIENT_LIQUIDITY,
    INSUFFICIENT_SHARES,
    MARKET,
    Commitment,
    CommitmentState,
    Holding,
    holding_id_of,
)
from subgraphs.stocks.rules_orders import Fill, Order, Rejection, Side


async def reserve(connection: Connection, order: Order, now: int) -> Rejection | None:
    """Sets the order's shares aside; the rejection when there are too few."""
    owner = MARKET if order.side is Side.BUY else order.user_id
    holding_id = holding_id_of(owner, order.stock_id)
    holding = await store.lock_holding(connection, holding_id)
    code = INSUFFICIENT_LIQUIDITY if order.side is Side.BUY else INSUFFICIENT_SHARES
    if holding is None:
        return Rejection(code.code, code.detail)
    if order.side is Side.SELL and order.authorization_id is not None:
        commitment = await store.lock_commitment(connection, order.authorization_id)
        if commitment is None or not commitment.open or commitment.holding_id != holding_id:
            return Rejection(AUTHORIZATION_INACTIVE.code, AUTHORIZATION_INACTIVE.detail)
        if commitment.remaining < order.quantity:
            return Rejection(code.code, "Fewer shares remain under the authorization. Sell fewer.")
        left = replace(commitment, remaining=commitment.remaining - order.quantity)
        await store.save_commitment(connection, left, now)
        holding = replace(holding, committed=holding.committed - order.quantity)
    elif holding.free < order.quantity:
        return Rejection(code.code, code.detail)
    else:
        holding = replace(holding, free=holding.free - order.quantity)
    await store.save_holding(connection, replace(holding, reserved=holding.reserved + order.quantity), now)
    return None


async def exchange(connection: Connection, order: Order, fill: Fill, now: int) -> None:
    """Moves the reserved shares between the market and the investor, and his cost with them."""
    assert order.holding_id is not None
    if order.side is Side.BUY:
        await store.insert_holding(connection, order.holding_id, order.user_id, order.stock_id, 0, now)
    market_id = holding_id_of(MARKET, order.stock_id)
    found = await store.lock_holdings(connection, [market_id, order.holding_id])
    market, own, quantity = found[market_id], found[order.holding_id], order.quantity
    if order.side is Side.BUY:
        market = replace(market, reserved=market.reserved - quantity)
        own = replace(own, reserved=own.reserved + quantity, cost=own.cost + fill.settlement.cost)
    else:
        market = replace(market, free=market.free + quantity)
        cost = own.cost - cost_of_sold(own.cost, own.quantity, quantity)
        own = replace(own, reserved=own.reserved - quantity, cost=cost)
    await store.save_holding(connection, market, now)
    await store.save_holding(connection, own, now)


async def give_back(connection: Connection, order: Order, now: int) -> None:
    """Returns what an order that was given up has reserved."""
    if order.side is Side.SELL:
        await release(connection, order, order.authorization_id, now, opening=False)
        return
    market = await _locked(connection, holding_id_of(MARKET, order.stock_id))
    moved = replace(market, free=market.free + order.quantity, reserved=market.reserved - order.quantity)
    await store.save_holding(connection, moved, now)


async def release(
    connection: Connection, order: Order, authorization_id: str | None, now: int, *, opening: bool
) -> None:
    """Moves the investor's reserved shares to that commitment if it is open, else to free.

    `opening`: a commitment that is not there yet is opened (a rollover's child); a tombstone diverts to free.
    """
    assert order.holding_id is not None
    holding = await _locked(connection, order.holding_id)
    holding = replace(holding, reserved=holding.reserved - order.quantity)
    commitment = await _commitment_of(connection, order, authorization_id, now, opening=opening)
    if commitment is not None and commitment.open and commitment.holding_id == holding.id:
        more = replace(commitment, remaining=commitment.remaining + order.quantity)
        await store.save_commitment(connection, more, now)
        holding = replace(holding, committed=holding.committed + order.quantity)
    else:
        holding = replace(holding, free=holding.free + order.quantity)
    await store.save_holding(connection, holding, now)


async def _locked(connection: Connection, holding_id: str) -> Holding:
    holding = await store.lock_holding(connection, holding_id)
    assert holding is not None, "what holds reserved shares is there"
    return holding


async def _commitment_of(
    connection: Connection, order: Order, authorization_id: str | None, now: int, *, opening: bool
) -> Commitment | None:
    if authorization_id is None:
        return None
    if not opening:
        return await store.lock_commitment(connection, authorization_id)
    assert order.holding_id is not None
    empty = Commitment(
        authorization_id, order.user_id, order.placed_by, order.holding_id, CommitmentState.OPEN, remaining=0
    )
    return (await store.insert_or_lock_commitment(connection, empty, now))[1]
