"""What users asks of wallet and stocks: setting a mandate's money or shares aside, and giving them back."""

from dataclasses import dataclass

from subgraphs.shared.money import format_amount, format_quantity
from subgraphs.shared.peers import Peer, PeerUnavailable
from subgraphs.users.rules_authorizations import Authorization

COMMIT_REFUSALS = frozenset({"insufficient-funds", "commitment-closed", "account-mismatch"})
OPEN_REFUSALS = frozenset({"insufficient-shares", "commitment-closed", "not-found"})


class WalletPeer:
    """The wallet's `PUT /balance`: commits money to a mandate, and closes the commitment."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def commit(self, authorization: Authorization) -> None:
        """Moves the mandate's amount from available to committed; raises PeerRefused or PeerUnavailable."""
        amount = format_amount(authorization.amount, _currency(authorization))
        await self._put(authorization, "commit", {"amount": amount}, COMMIT_REFUSALS)

    async def close(self, authorization: Authorization) -> None:
        """Gives back what remains of the commitment, and refuses a `commit` that comes late."""
        await self._put(authorization, "close", {}, frozenset())

    async def _put(
        self, authorization: Authorization, op: str, members: dict[str, str], refusals: frozenset[str]
    ) -> None:
        body = {
            "op": op,
            "id": authorization.id,
            "investorId": authorization.investor.id,
            "brokerId": authorization.broker.id,
            "currency": _currency(authorization),
            **members,
        }
        await self._peer.call("PUT", "/balance", body, refusals)


class StocksPeer:
    """The holdings of stocks: which stock they are of, commitments opened and closed."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def stock_of(self, stockholding_id: str, investor_id: str) -> str:
        """Which stock that investor's holding is of; raises PeerRefused `not-found` or PeerUnavailable."""
        path = f"/stockholdings/{stockholding_id}?investorId={investor_id}"
        answer = await self._peer.call("GET", path, None, frozenset({"not-found"}))
        try:
            return str(answer["stockId"])
        except KeyError as error:
            raise PeerUnavailable(f"stocks: the holding lacks {error}") from error

    async def open(self, authorization: Authorization) -> None:
        """Commits the mandate's shares; raises PeerRefused or PeerUnavailable."""
        await self._put(authorization, "open", {"amount": format_quantity(authorization.amount)}, OPEN_REFUSALS)

    async def close(self, authorization: Authorization) -> None:
        """Frees the shares that remain of the commitment, and refuses an `open` that comes late."""
        await self._put(authorization, "close", {}, frozenset())

    async def _put(
        self, authorization: Authorization, op: str, members: dict[str, str], refusals: frozenset[str]
    ) -> None:
        body = {
            "op": op,
            "authorizationId": authorization.id,
            "investorId": authorization.investor.id,
            "brokerId": authorization.broker.id,
            **members,
        }
        await self._peer.call("PUT", f"/stockholdings/{authorization.stockholding_id}", body, refusals)


@dataclass(frozen=True, slots=True)
class Peers:
    """The services that own what remains of a mandate, by its type."""

    wallet: WalletPeer
    stocks: StocksPeer

    async def commit(self, authorization: Authorization) -> None:
        """Sets the mandate's money or shares aside; raises PeerRefused or PeerUnavailable."""
        if authorization.type == "capital":
            await self.wallet.commit(authorization)
        else:
            await self.stocks.open(authorization)

    async def close(self, authorization: Authorization) -> None:
        """Gives back what remains of it; raises PeerUnavailable."""
        if authorization.type == "capital":
            await self.wallet.close(authorization)
        else:
            await self.stocks.close(authorization)


def _currency(authorization: Authorization) -> str:
    assert authorization.currency is not None, "a capital authorization has a currency"
    return authorization.currency
