"""What stocks asks of wallet and users; `subgraphs.shared.peers` says how a call ends and that it may be repeated.

The key of every call is the order's id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from subgraphs.shared.money import format_amount, format_quantity
from subgraphs.shared.peers import Peer, PeerUnavailable
from subgraphs.shared.timestamps import parse_timestamp
from subgraphs.stocks.rules_intents import Mandate
from subgraphs.stocks.rules_orders import Order, Side
from subgraphs.stocks.rules_pricing import Settlement

WALLET_REFUSALS = frozenset(
    {"insufficient-funds", "commitment-closed", "hold-voided", "hold-posted", "account-mismatch", "hold-missing"}
)
USERS_REFUSALS = frozenset({"not-found"})
STANDING = frozenset({"active", "scheduled"})
"""Statuses of mandates that stand. Whether the window has begun is told by the clock here, as whether it is over."""


@dataclass(frozen=True, slots=True)
class VerifiedMandate:
    """An authorization as users knows it at this moment."""

    mandate: Mandate
    active: bool


class WalletPeer:
    """The wallet's `PUT /balance`: money set aside, spent, given back, or credited, once per order."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def hold(self, order: Order) -> None:
        """T2: sets the buyer's money aside, out of the mandate's commitment if a broker placed the order."""
        await self._put(
            order,
            "hold",
            amount=format_amount(order.hold_amount, order.currency),
            authorizationId=order.authorization_id,
        )

    async def void(self, order: Order) -> None:
        """T2x and Tc: gives back what was set aside, and refuses a hold that comes late."""
        await self._put(order, "void")

    async def post(self, order: Order) -> None:
        """T5 of a purchase: the hold pays cost and fees; what remains goes back to where it came from."""
        settlement = _settlement(order)
        await self._put(order, "post", cost=format_amount(settlement.cost, order.currency), **_fees(order, settlement))

    async def credit(self, order: Order, authorization_id: str | None) -> None:
        """T5 of a sale: the proceeds less fees, to the rollover's commitment if there is one, else available."""
        settlement = _settlement(order)
        proceeds = format_amount(settlement.cost, order.currency)
        fees = _fees(order, settlement)
        await self._put(order, "credit", proceeds=proceeds, authorizationId=authorization_id, **fees)

    async def _put(self, order: Order, op: str, **members: str | None) -> None:
        body = {"op": op, "id": order.id, "investorId": order.user_id, "currency": order.currency, **members}
        await self._peer.call("PUT", "/balance", body, WALLET_REFUSALS)


class UsersPeer:
    """The authorizations of users: what a mandate allows, and how it rolls over."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def verify(self, authorization_id: str) -> VerifiedMandate:
        """V: the authorization as it stands; raises PeerRefused `not-found`."""
        answer = await self._peer.call("GET", f"/authorizations/{authorization_id}", None, USERS_REFUSALS)
        try:
            mandate = Mandate(
                authorization_id=answer["id"],
                root_id=answer["rootId"],
                investor_id=answer["investorId"],
                broker_id=answer["brokerId"],
                type=answer["type"],
                currency=answer.get("currency"),
                stockholding_id=answer.get("stockholdingId"),
                starts_at=_time(answer, "startsAt"),
                ends_at=_time(answer, "endsAt"),
                broker_registered_at=_time(answer, "brokerRegisteredAt"),
            )
            return VerifiedMandate(mandate, active=answer["status"] in STANDING)
        except KeyError as error:
            raise PeerUnavailable(f"users: the authorization lacks {error}") from error

    async def roll_over(self, order: Order) -> str | None:
        """T4: continues the mandate with what the order brought; the authorization it went on in, None if it ended."""
        settlement = _settlement(order)
        buying = order.side is Side.BUY
        amount = format_quantity(order.quantity) if buying else format_amount(settlement.received, order.currency)
        body = {
            "orderId": order.id,
            "authorizationId": order.authorization_id,
            "type": "stockholding" if buying else "capital",
            "stockholdingId": order.holding_id if buying else None,
            "stockId": order.stock_id if buying else None,
            "currency": order.currency,
            "amount": amount,
        }
        answer = await self._peer.call("POST", "/authorizations", body, frozenset())
        rolled = answer.get("authorizationId")
        return None if rolled is None else str(rolled)


@dataclass(frozen=True, slots=True)
class Peers:
    """The services that the saga calls."""

    wallet: WalletPeer
    users: UsersPeer


def _settlement(order: Order) -> Settlement:
    assert order.fill is not None, "only an executed order is settled"
    return order.fill.settlement


def _fees(order: Order, settlement: Settlement) -> dict[str, str | None]:
    return {
        "fee": format_amount(settlement.fee, order.currency),
        "brokerFee": format_amount(settlement.broker_fee, order.currency),
        "brokerId": order.placed_by if order.by_broker else None,
    }


def _time(answer: Mapping[str, Any], name: str) -> int | None:
    text = answer.get(name)
    return None if text is None else parse_timestamp(text, field=name)
