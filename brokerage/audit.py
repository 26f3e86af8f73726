"""The invariants of the whole brokerage, over the databases of its three services.

I1  wallet: every operation sums to zero per currency; every balance is the sum of its postings
I2  wallet: no account of a user is negative
I3  stocks: per stock, users' and the market's shares are those issued
I4  stocks and wallet: whatever is reserved or held belongs to an order that is not over
I5  committed money and shares belong to open commitments, and these to active authorizations
I6  a completed order moved money exactly once, and what its fill says; any other order never did
I7  every request that is over has its answer stored, which is what makes a repetition harmless
I8  a holding has cost what its purchases did, less what the shares of its sales had cost

What one database shows is checked by its service and holds at every moment. What takes two databases can be compared
when nothing moves: once all is quiet, as nobody sends a request and every saga has come to its end; or in databases of
one instant, a stopped brokerage's or a backup's, with all but what belongs to sagas that are under way. That a
repetition really gets the stored answer, and has no second effect, is what the tests of I7 try; the books show the
answer only.
"""

import asyncio
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from subgraphs.shared.database import Database
from subgraphs.shared.invariants import Violation
from subgraphs.stocks import audit as stocks_audit
from subgraphs.stocks.audit import OrderSummary, StocksSummary
from subgraphs.stocks.rules_orders import TERMINAL_STATES, OrderState, Side
from subgraphs.users import audit as users_audit
from subgraphs.users.audit import UsersSummary
from subgraphs.wallet import audit as wallet_audit
from subgraphs.wallet.audit import WalletSummary

V = TypeVar("V")

TRANSIENT_AUTHORIZATION_STATES = frozenset({"PENDING", "REVOKING", "EXPIRING"})


class Scope(Enum):
    """What may be going on while the books are read, and so what can be compared."""

    RUNNING = "running"
    """Anything: only what one database shows is checked."""
    STOPPED = "stopped"
    """Nothing moves, but sagas may be under way: the services are compared without what belongs to these."""
    QUIET = "quiet"
    """All sagas must have come to their end: one that has not is a broken invariant."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an examination found; `under_way` counts the orders and authorizations that were left out."""

    violations: tuple[Violation, ...]
    under_way: int = 0


async def examine(users: Database, wallet: Database, stocks: Database, *, scope: Scope) -> AuditReport:
    """Every broken invariant that can be seen in that situation."""
    if scope is not Scope.STOPPED:
        return AuditReport(await audit(users, wallet, stocks, quiet=scope is Scope.QUIET))
    alone = await audit(users, wallet, stocks, quiet=False)
    summaries = await asyncio.gather(
        users_audit.summarize(users), wallet_audit.summarize(wallet), stocks_audit.summarize(stocks)
    )
    under_way, settled = settled_part(*summaries)
    return AuditReport((*alone, *compare(*settled)), under_way)


def settled_part(
    users: UsersSummary, wallet: WalletSummary, stocks: StocksSummary
) -> tuple[int, tuple[UsersSummary, WalletSummary, StocksSummary]]:
    """How many sagas are under way, and books of one instant without what these have changed or may not have yet."""
    orders = {key for key, order in stocks.orders.items() if _is_under_way(order)}
    mandates = {key for key, (_, state) in users.authorizations.items() if state in TRANSIENT_AUTHORIZATION_STATES}
    # What an order under way rolls over to is active before money or shares are there.
    mandates_of_orders = {users.rollovers[key] for key in orders & users.rollovers.keys()}
    left_out = mandates | mandates_of_orders
    market, fees = dict(wallet.market), dict(wallet.fees)
    for key in orders:
        for moved in wallet.settlements.get(key, ()):
            currency = stocks.orders[key].currency
            market[currency] = market.get(currency, 0) - moved.market
            fees[currency] = fees.get(currency, 0) - moved.fees
    return len(orders) + len(mandates), (
        replace(users, authorizations=_without(users.authorizations, left_out), unanswered=()),
        replace(
            wallet,
            pending_holds=_without(wallet.pending_holds, orders),
            open_commitments=_without(wallet.open_commitments, left_out),
            settlements=_without(wallet.settlements, orders),
            market=market,
            fees=fees,
        ),
        replace(
            stocks,
            orders=_without(stocks.orders, orders),
            open_commitments=_without(stocks.open_commitments, left_out),
        ),
    )


def _is_under_way(order: OrderSummary) -> bool:
    return order.state not in TERMINAL_STATES and order.state is not OrderState.WORKING


def _without(found: Mapping[str, V], left_out: Set[str]) -> dict[str, V]:
    return {key: value for key, value in found.items() if key not in left_out}


async def audit(users: Database, wallet: Database, stocks: Database, *, quiet: bool) -> tuple[Violation, ...]:
    """Every broken invariant.

    Args:
        quiet: whether all is quiet; while it is not, only what one database shows is checked.
    """
    found = (*await wallet_audit.audit(wallet), *await stocks_audit.audit(stocks))
    if not quiet:
        return found
    summaries = await asyncio.gather(
        users_audit.summarize(users), wallet_audit.summarize(wallet), stocks_audit.summarize(stocks)
    )
    return (*found, *compare(*summaries))


def compare(users: UsersSummary, wallet: WalletSummary, stocks: StocksSummary) -> tuple[Violation, ...]:
    """Every contradiction between the books of the three services, once all is quiet."""
    return (
        *_unfinished(users, stocks),
        *_wrong_holds(wallet, stocks),
        *_wrong_commitments(users, wallet, stocks),
        *_wrong_settlements(wallet, stocks),
        *_wrong_sums(wallet, stocks),
    )


def _unfinished(users: UsersSummary, stocks: StocksSummary) -> Iterator[Violation]:
    for order_id, order in stocks.orders.items():
        if _is_under_way(order):
            yield Violation("I4", f"order {order_id}", f"is still {order.state}")
    for authorization_id, (_, state) in users.authorizations.items():
        if state in TRANSIENT_AUTHORIZATION_STATES:
            yield Violation("I5", f"authorization {authorization_id}", f"is still {state}")
    for namespace in users.unanswered:
        yield Violation("I7", f"a key of {namespace}", "has no stored answer")


def _wrong_holds(wallet: WalletSummary, stocks: StocksSummary) -> Iterator[Violation]:
    expected = {
        order_id: order.hold_amount
        for order_id, order in stocks.orders.items()
        if order.state is OrderState.WORKING and order.side is Side.BUY
    }
    for order_id, held, wanted in _differences(wallet.pending_holds, expected):
        yield Violation("I4", f"order {order_id}", f"holds {held}, should hold {wanted}")


def _wrong_commitments(users: UsersSummary, wallet: WalletSummary, stocks: StocksSummary) -> Iterator[Violation]:
    open_ids = {"capital": set(wallet.open_commitments), "stockholding": set(stocks.open_commitments)}
    for kind, ids in open_ids.items():
        active = {key for key, (of, state) in users.authorizations.items() if (of, state) == (kind, "ACTIVE")}
        for key in ids - active:
            yield Violation("I5", f"authorization {key}", f"has an open {kind} commitment and is not active")
        for key in active - ids:
            yield Violation("I5", f"authorization {key}", f"is active and has no open {kind} commitment")


def _wrong_settlements(wallet: WalletSummary, stocks: StocksSummary) -> Iterator[Violation]:
    for order_id in sorted(wallet.settlements.keys() | stocks.orders.keys()):
        moved = [(each.op, each.market, each.fees) for each in wallet.settlements.get(order_id, ())]
        order = stocks.orders.get(order_id)
        expected = [_settlement(order)] if order is not None and order.state is OrderState.COMPLETED else []
        if moved != expected:
            state = "unknown" if order is None else order.state
            yield Violation("I6", f"order {order_id}", f"is {state} and moved {moved}, should have moved {expected}")


def _settlement(order: OrderSummary) -> tuple[str, int, int]:
    return ("post", order.cost, order.fee) if order.side is Side.BUY else ("credit", -order.cost, order.fee)


def _wrong_sums(wallet: WalletSummary, stocks: StocksSummary) -> Iterator[Violation]:
    market: dict[str, int] = {}
    fees: dict[str, int] = {}
    for order in stocks.orders.values():
        if order.state is OrderState.COMPLETED:
            _, to_market, to_fees = _settlement(order)
            market[order.currency] = market.get(order.currency, 0) + to_market
            fees[order.currency] = fees.get(order.currency, 0) + to_fees
    for name, accounts, sums in (("market", wallet.market, market), ("fees", wallet.fees, fees)):
        for currency, balance, total in _differences(accounts, sums):
            yield Violation("I6", f"account {name} {currency}", f"has {balance}, orders sum to {total}")


def _differences(first: Mapping[str, int], second: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Keys whose numbers differ; a missing number counts as zero."""
    for key in sorted(first.keys() | second.keys()):
        if first.get(key, 0) != second.get(key, 0):
            yield key, first.get(key, 0), second.get(key, 0)
