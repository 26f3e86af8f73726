"""What both faces of the stocks service call."""

from dataclasses import asdict, dataclass

from subgraphs.shared.auth import Caller, require_user
from subgraphs.shared.errors import ErrorCode, Refusal
from subgraphs.shared.idempotency import idempotency_key
from subgraphs.stocks.rules import ERROR_CODES
from subgraphs.stocks.rules_intents import OrderIntent
from subgraphs.stocks.rules_orders import Order, OrderStatus
from subgraphs.stocks.saga import OrderSaga
from subgraphs.stocks.service_market import MarketService
from subgraphs.stocks.service_orders import OrdersService
from subgraphs.stocks.service_stocks import StocksService

PLACE_ROUTE = "POST /orders"
"""The namespace of idempotency keys, for both faces: a key sent to either names the same order."""

_CODES: dict[str, ErrorCode] = {code.code: code for code in ERROR_CODES}


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order as a request to place it found it; `replayed` when an earlier request with the key had placed it."""

    order: Order
    key: str
    replayed: bool

    @property
    def answered(self) -> Order:
        """The order as the first request was answered, if that is final; else as it stands."""
        return self.order.answered if self.replayed else self.order

    @property
    def rejection(self) -> Refusal | None:
        """The final answer as a refusal, if the order was rejected; it carries the order's id."""
        if self.order.answer is not OrderStatus.REJECTED:
            return None
        assert self.order.rejection is not None
        code, detail = _CODES[self.order.rejection.code], self.order.rejection.detail
        return Refusal(code, detail, extra={"orderId": self.order.id})


@dataclass(frozen=True, slots=True)
class UseCases:
    """The service by subject: stocks and holdings, orders as they stand, prices, and placing and cancelling orders."""

    stocks: StocksService
    orders: OrdersService
    market: MarketService
    saga: OrderSaga

    async def place_order(self, caller: Caller, intent: OrderIntent, key: str | None) -> PlacedOrder:
        """Places an order once per key; without a key it is an order of its own. Raises what `OrderSaga.place` does."""
        user = require_user(caller)
        idempotency = idempotency_key(user.id, PLACE_ROUTE, key, asdict(intent))
        placement = await self.saga.place(user, intent, idempotency)
        return PlacedOrder(placement.order, idempotency.key, replayed=not placement.fresh)
