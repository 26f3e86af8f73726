"""Placing an order: what a client may ask for, and the order that it becomes.

intent      what the client asked for, read and checked on its own
mandate     under which authorization a broker acts, as users verified it
order       with everything pinned that must not change while its saga runs: price, fee rates, hold, last moment
"""

from dataclasses import dataclass

from subgraphs.shared.errors import INVALID_REQUEST, FieldError, Refusal
from subgraphs.shared.ids import id_errors
from subgraphs.shared.money import AMOUNT_MINOR_MAX, format_quantity
from subgraphs.stocks.rules import (
    AUTHORIZATION_INACTIVE,
    AUTHORIZATION_MISMATCH,
    CURRENCY_MISMATCH,
    MARKET_CLOSED,
    ORDER_TOO_SMALL,
    Quote,
    Stock,
    holding_id_of,
)
from subgraphs.stocks.rules_orders import Order, OrderState, OrderType, Side, TimeInForce, side_price
from subgraphs.stocks.rules_pricing import (
    MARKET_SLIPPAGE_PPM,
    STOP_SLIPPAGE_PPM,
    FeeRates,
    FeeSchedule,
    fees_within,
    settle_buy,
    settle_sell,
    smallest_quantity,
    with_slippage,
)
from subgraphs.stocks.rules_sessions import DAY_MS, Sessions

GTC_DAYS = 90
"""Days a good-till-cancelled order works."""

GTD_DAYS_MAX = 366
"""The furthest day a good-till-date order may name, so that no order works for ever."""

CLIENT_ORDER_ID_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What a client asks for. Prices and quantity are integers; `expires_at` is given for gtd alone."""

    stock_id: str
    side: Side
    type: OrderType
    quantity: int
    time_in_force: TimeInForce
    limit_price: int | None
    stop_price: int | None
    expires_at: int | None
    authorization_id: str | None
    client_order_id: str | None

    @property
    def automated(self) -> bool:
        """Whether it waits for a trigger."""
        return self.type is not OrderType.MARKET


def checked(intent: OrderIntent) -> OrderIntent:
    """The intent itself, when its parts fit together.

    Raises:
        Refusal: `invalid-request` naming every field that is missing or out of place.
    """
    errors = [*id_errors("stockId", intent.stock_id), *id_errors("authorizationId", intent.authorization_id)]
    errors += _price_errors("limitPrice", intent.limit_price, intent.type in (OrderType.LIMIT, OrderType.STOP_LIMIT))
    errors += _price_errors("stopPrice", intent.stop_price, intent.type in (OrderType.STOP, OrderType.STOP_LIMIT))
    if not intent.automated and intent.time_in_force is not TimeInForce.DAY:
        errors.append(FieldError("timeInForce", "A market order executes at once; leave timeInForce out."))
    if (intent.time_in_force is TimeInForce.GTD) is not (intent.expires_at is not None):
        errors.append(FieldError("expiresAt", "Give expiresAt with timeInForce gtd, and with no other."))
    if intent.client_order_id is not None and not _is_client_order_id(intent.client_order_id):
        errors.append(FieldError("clientOrderId", f"Use 1 to {CLIENT_ORDER_ID_CHARACTERS_MAX} printable characters."))
    if errors:
        raise Refusal(INVALID_REQUEST, fields=errors)
    return intent


def _is_client_order_id(text: str) -> bool:
    return 1 <= len(text) <= CLIENT_ORDER_ID_CHARACTERS_MAX and text.isprintable()


def _price_errors(field: str, price: int | None, wanted: bool) -> list[FieldError]:
    if wanted is (price is not None):
        return []
    return [FieldError(field, "This order type needs it." if wanted else "This order type has none.")]


def last_moment(intent: OrderIntent, now: int, day_end: int) -> int | None:
    """When an automated order expires, None for a market order. `day_end` is the end of the running or next session.

    Raises:
        Refusal: `invalid-request` when a gtd order ends in the past or beyond `GTD_DAYS_MAX` days.
    """
    if not intent.automated:
        return None
    if intent.time_in_force is TimeInForce.DAY:
        return day_end
    if intent.time_in_force is TimeInForce.GTC:
        return now + GTC_DAYS * DAY_MS
    assert intent.expires_at is not None
    if not now < intent.expires_at <= now + GTD_DAYS_MAX * DAY_MS:
        message = f"Name a time in the future, within {GTD_DAYS_MAX} days."
        raise Refusal(INVALID_REQUEST, message, fields=[FieldError("expiresAt", message)])
    return intent.expires_at


def hold_price(intent: OrderIntent, quote: Quote) -> int:
    """The highest price a buyer's hold covers, in price units."""
    if intent.type is OrderType.MARKET:
        return with_slippage(quote.ask, MARKET_SLIPPAGE_PPM)
    if intent.type is OrderType.STOP:
        assert intent.stop_price is not None
        return with_slippage(intent.stop_price, STOP_SLIPPAGE_PPM)
    assert intent.limit_price is not None
    return intent.limit_price


def hold_amount(intent: OrderIntent, quote: Quote, currency: str, rates: FeeRates) -> int:
    """What a buyer must set aside, in minor units; 0 for a seller.

    Raises:
        Refusal: `invalid-request` when the order is worth less than the smallest amount of the currency, or too much.
    """
    expected = (intent.limit_price or intent.stop_price or quote.ask) if intent.automated else quote.bid
    settlement = (settle_buy if intent.side is Side.BUY else settle_sell)(intent.quantity, expected, currency, rates)
    held = settle_buy(intent.quantity, hold_price(intent, quote), currency, rates).paid
    if settlement.cost == 0 or held > AMOUNT_MINOR_MAX:
        message = (
            "The order is worth less than the smallest amount: order more."
            if settlement.cost == 0
            else "The order is worth too much: order less."
        )
        raise Refusal(INVALID_REQUEST, message, fields=[FieldError("quantity", message)])
    return held if intent.side is Side.BUY else 0


@dataclass(frozen=True, slots=True)
class Mandate:
    """What an authorization lets a broker do, as users verified it when the order was placed; times in milliseconds."""

    authorization_id: str
    root_id: str
    investor_id: str
    broker_id: str
    type: str
    currency: str | None
    stockholding_id: str | None
    starts_at: int | None
    ends_at: int | None
    broker_registered_at: int | None


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """Which request places the order: the id and fingerprint that its idempotency key gives it, and the caller."""

    order_id: str
    fingerprint: str
    placed_by: str


def order_of(
    intent: OrderIntent,
    stock: Stock,
    mandate: Mandate | None,
    request: PlaceRequest,
    *,
    sessions: Sessions,
    fees: FeeSchedule,
    now: int,
) -> Order:
    """The order that an intent becomes at this time, in the state NEW.

    Raises:
        Refusal: `market-closed`, `invalid-request`, or why the mandate does not allow it: `authorization-inactive`,
            `authorization-mismatch`, `currency-mismatch`, `order-too-small`.
    """
    is_open = sessions.is_open(now)
    if not is_open and not intent.automated:
        raise Refusal(MARKET_CLOSED)
    if mandate is not None:
        _check_mandate(mandate, intent, stock, now)
    user_id = request.placed_by if mandate is None else mandate.investor_id
    rates = fees.rates(stock.currency, for_broker=mandate is not None)
    quote = stock.quote
    if mandate is not None:
        check_size(intent, stock, rates, fees.share_ppm_max)
    return Order(
        id=request.order_id,
        user_id=user_id,
        placed_by=request.placed_by,
        authorization_id=intent.authorization_id,
        authorization_ends_at=None if mandate is None else mandate.ends_at,
        stock_id=stock.id,
        symbol=stock.symbol,
        currency=stock.currency,
        side=intent.side,
        type=intent.type,
        time_in_force=intent.time_in_force,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        expires_at=last_moment(intent, now, sessions.day_end(now)),
        client_order_id=intent.client_order_id,
        state=OrderState.NEW,
        rejection=None,
        rates=rates,
        hold_amount=hold_amount(intent, quote, stock.currency, rates),
        price=None if intent.automated else side_price(intent.side, quote),
        price_seq=quote.seq,
        after_seq=quote.seq - 1 if is_open else quote.seq,
        stop_seq=None,
        holding_id=holding_id_of(user_id, stock.id),
        fill=None,
        rollover_id=None,
        fingerprint=request.fingerprint,
        answer=None,
        created_at=now,
        updated_at=now,
        executed_at=None,
        settled_at=None,
        attempts=0,
        placed_by_registered_at=None if mandate is None else mandate.broker_registered_at,
    )


def check_size(intent: OrderIntent, stock: Stock, rates: FeeRates, share_ppm: int) -> None:
    """R12: a broker's order is not so small that its fees, at the price that is known, take more than that share.

    A broker is paid per order and a fee has a minimum: in small orders a whole mandate would become fees.

    Raises:
        Refusal: `order-too-small`, with the smallest quantity that would do.
    """
    settle, price = settle_buy if intent.side is Side.BUY else settle_sell, side_price(intent.side, stock.quote)
    if fees_within(settle(intent.quantity, price, stock.currency, rates), share_ppm):
        return
    least = format_quantity(smallest_quantity(price, stock.currency, rates, share_ppm, settle))
    message = f"Order at least {least}: of less, fees would take more than {format_percent(share_ppm)}."
    fields, extra = [FieldError("quantity", message)], {"smallestQuantity": least}
    raise Refusal(ORDER_TOO_SMALL, f"{ORDER_TOO_SMALL.title}. {message}", fields=fields, extra=extra)


def format_percent(share_ppm: int) -> str:
    """A share in millionths as a percentage, such as `5 %`."""
    whole, rest = divmod(share_ppm, 10_000)
    return f"{whole}.{rest:04}".rstrip("0").rstrip(".") + " %"


def _check_mandate(mandate: Mandate, intent: OrderIntent, stock: Stock, now: int) -> None:
    if now < (mandate.starts_at or now) or now >= (mandate.ends_at or now + 1):
        raise Refusal(AUTHORIZATION_INACTIVE)
    wanted = "capital" if intent.side is Side.BUY else "stockholding"
    if mandate.type != wanted:
        raise Refusal(
            AUTHORIZATION_MISMATCH, f"A broker's order to {intent.side} needs a {wanted} authorization. Name one."
        )
    if intent.side is Side.BUY and mandate.currency != stock.currency:
        raise Refusal(
            CURRENCY_MISMATCH, f"The stock trades in {stock.currency}. Name an authorization in that currency."
        )
    if intent.side is Side.SELL and mandate.stockholding_id != holding_id_of(mandate.investor_id, stock.id):
        raise Refusal(AUTHORIZATION_MISMATCH, "The authorization is for another stock. Name one of this stock.")
