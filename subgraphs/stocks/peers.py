"""What stocks asks of wallet and users: their system routes over HTTP, with service tokens.

Every call may be sent again: its key is the order's id, and the receiver answers a repetition with what it answered
first. A call ends in one of three ways:

    it returns        the peer did it, at this time or before
    PeerRefused       the peer said no, finally: 404, 409 or 422 with a code out of its catalogue
    PeerUnavailable   nobody knows whether the peer did it: no answer, another status, or an answer that is no sense
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.money import format_amount, format_quantity
from subgraphs.shared.timestamps import parse_timestamp
from subgraphs.stocks.pricing import Settlement
from subgraphs.stocks.rules_orders import Mandate, Order, Side

PEER_TIMEOUT_S = 1.0
"""A peer answers in milliseconds; one that takes longer leaves the request time for another attempt."""

WALLET_REFUSALS = frozenset(
    {"insufficient-funds", "commitment-closed", "hold-voided", "hold-posted", "account-mismatch", "hold-missing"}
)
USERS_REFUSALS = frozenset({"not-found"})
_REFUSAL_STATUSES = (404, 409, 422)


class PeerRefused(Exception):
    """The peer's final no: its stable code and its words."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class PeerUnavailable(Exception):
    """No usable answer: the call may have been carried out or not, and is sent again."""


@dataclass(frozen=True, slots=True)
class VerifiedMandate:
    """An authorization as users knows it at this moment."""

    mandate: Mandate
    active: bool


class Peer:
    """One service that is called: its URL, an HTTP client, and this service's signature."""

    def __init__(self, name: str, url: str, client: httpx.AsyncClient, signer: ServiceSigner) -> None:
        self._name = name
        self._url = url
        self._client = client
        self._signer = signer

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None, refusals: frozenset[str]
    ) -> dict[str, Any]:
        """Sends one call and reads its JSON answer; raises PeerRefused or PeerUnavailable."""
        headers = {"authorization": f"Bearer {self._signer.token(self._name)}", "content-type": "application/json"}
        content = None if body is None else orjson.dumps(body)
        try:
            response = await self._client.request(
                method, self._url + path, content=content, headers=headers, timeout=PEER_TIMEOUT_S
            )
            answer = orjson.loads(response.content)
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            raise PeerUnavailable(f"{self._name}: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise PeerUnavailable(f"{self._name}: the answer is no object")
        if response.is_success:
            return answer
        code = answer.get("code")
        if response.status_code in _REFUSAL_STATUSES and code in refusals:
            raise PeerRefused(str(code), str(answer.get("detail", "")))
        raise PeerUnavailable(f"{self._name}: status {response.status_code}, code {code}")


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
                investor_id=answer["investorId"],
                broker_id=answer["brokerId"],
                type=answer["type"],
                currency=answer.get("currency"),
                stockholding_id=answer.get("stockholdingId"),
                starts_at=_time(answer, "startsAt"),
                ends_at=_time(answer, "endsAt"),
            )
            return VerifiedMandate(mandate, active=answer["status"] == "active")
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
