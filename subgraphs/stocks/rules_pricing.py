"""The arithmetic of orders: what is set aside, what it costs, what the fees are, and what a share has cost on average.

Everything is exact integer arithmetic, rounded once: costs half-even, fees and the prices that holds are computed with
upwards, so that what was set aside always covers what is paid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from subgraphs.shared.money import PRICE_DECIMALS, QUANTITY_DECIMALS, RATE_PPM_ONE, decimals_of, fee_minor

MARKET_SLIPPAGE_PPM = 20_000
"""A market order to buy sets aside 2 % more than its quote."""

STOP_SLIPPAGE_PPM = 50_000
"""A stop order to buy sets aside 5 % more than its stop price; a gap beyond it is `price-moved`."""


HALF_SPREAD_PPM = 500
"""Bid and ask of the invented market stand 0.05 % below and above its price."""


@dataclass(frozen=True, slots=True)
class FeeRates:
    """The fees of one order, pinned when it is placed.

    `rate_ppm` goes to the house, at least `minimum` minor units; `broker_rate_ppm` to the broker who placed the order,
    0 for an investor's own.
    """

    rate_ppm: int
    minimum: int
    broker_rate_ppm: int


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """The configured fees. `minimums` is in minor units per currency and order; a currency it lacks has none.

    `share_ppm_max` is the greatest share of a broker's order that its fees may take.
    """

    rate_ppm: int
    broker_rate_ppm: int
    minimums: Mapping[str, int]
    share_ppm_max: int = 50_000

    def rates(self, currency: str, *, for_broker: bool) -> FeeRates:
        """The rates that an order in `currency` is pinned to."""
        return FeeRates(self.rate_ppm, self.minimums.get(currency, 0), self.broker_rate_ppm if for_broker else 0)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one fill moves, in minor units: the shares' cost, the house's fee and the broker's."""

    cost: int
    fee: int
    broker_fee: int

    @property
    def paid(self) -> int:
        """What a buyer pays in all."""
        return self.cost + self.fee + self.broker_fee

    @property
    def received(self) -> int:
        """What a seller gets in the end."""
        return self.cost - self.fee - self.broker_fee


def spread_around(price: int) -> tuple[int, int]:
    """Bid and ask around a price, at least one price unit away from it each; a bid is never below one unit."""
    half = max(price * HALF_SPREAD_PPM // RATE_PPM_ONE, 1)
    return max(price - half, 1), price + half


def value_minor(quantity: int, price: int, currency: str) -> int:
    """What `quantity` shares are worth at `price`, in minor units, rounded half-even."""
    return divide_half_even(quantity * price, 10 ** (QUANTITY_DECIMALS + PRICE_DECIMALS - decimals_of(currency)))


def settle_buy(quantity: int, price: int, currency: str, rates: FeeRates) -> Settlement:
    """What buying `quantity` at `price` costs: fees come on top."""
    cost = value_minor(quantity, price, currency)
    return Settlement(
        cost, fee_minor(cost, rates.rate_ppm, minimum=rates.minimum), fee_minor(cost, rates.broker_rate_ppm)
    )


def settle_sell(quantity: int, price: int, currency: str, rates: FeeRates) -> Settlement:
    """What selling `quantity` at `price` brings: fees are capped at the proceeds, the broker's share first."""
    proceeds = value_minor(quantity, price, currency)
    broker_fee = min(fee_minor(proceeds, rates.broker_rate_ppm), proceeds)
    fee = min(fee_minor(proceeds, rates.rate_ppm, minimum=rates.minimum), proceeds - broker_fee)
    return Settlement(proceeds, fee, broker_fee)


Settle = Callable[[int, int, str, FeeRates], Settlement]
"""`settle_buy` or `settle_sell`."""


def fees_within(settlement: Settlement, share_ppm: int) -> bool:
    """Whether the fees take no more than that share of what the shares cost; of nothing they take too much."""
    fees = settlement.fee + settlement.broker_fee
    return settlement.cost > 0 and fees * RATE_PPM_ONE <= settlement.cost * share_ppm


def smallest_quantity(price: int, currency: str, rates: FeeRates, share_ppm: int, settle: Settle) -> int:
    """The least quantity whose fees at `price` are `fees_within` that share.

    Minimum and rounding weigh less the more is ordered, but not evenly: a cent more may round up two fees. So the
    search has two ends, where exact fees alone would do, and where fees rounded up by a whole unit each do certainly;
    between them costs are tried unit by unit, within reason.
    """
    rate = share_ppm - rates.broker_rate_ppm
    assert rate > rates.rate_ppm, "settings allow no share that the rates alone use up"
    least = max(_upwards(rates.minimum * RATE_PPM_ONE, rate), 1)
    enough = max(
        _upwards((rates.minimum + 1) * RATE_PPM_ONE, rate), _upwards(2 * RATE_PPM_ONE, rate - rates.rate_ppm), 1
    )
    tried = range(max(least, enough - COSTS_TRIED_MAX), enough + 1)
    quantities = (_quantity_worth(cost, price, currency) for cost in tried)
    found = (each for each in quantities if fees_within(settle(each, price, currency, rates), share_ppm))
    return next(found, _quantity_worth(enough, price, currency))


COSTS_TRIED_MAX = 1_000
"""Only rates that nearly use up the share need more; the answer is then a few minor units above the least."""


def _upwards(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _quantity_worth(cost: int, price: int, currency: str) -> int:
    """The least quantity worth `cost` minor units or more at `price`."""
    scale: int = 10 ** (QUANTITY_DECIMALS + PRICE_DECIMALS - decimals_of(currency))
    quantity = -(-(2 * cost - 1) * scale // (2 * price))
    return quantity if value_minor(quantity, price, currency) >= cost else quantity + 1


def with_slippage(price: int, slippage_ppm: int) -> int:
    """`price` raised by `slippage_ppm`, rounded up to a whole price unit."""
    return -(-price * (RATE_PPM_ONE + slippage_ppm) // RATE_PPM_ONE)


def average_price(cost: int, quantity: int, currency: str) -> int | None:
    """The average cost of a share in price units, rounded half-even; None when `quantity` is 0."""
    if quantity == 0:
        return None
    scale = 10 ** (QUANTITY_DECIMALS + PRICE_DECIMALS - decimals_of(currency))
    return divide_half_even(cost * scale, quantity)


def cost_of_sold(cost: int, quantity: int, sold: int) -> int:
    """The part of a holding's `cost` that leaves with `sold` of its `quantity` shares; all of it with the last one."""
    assert 0 < sold <= quantity
    return divide_half_even(cost * sold, quantity)


def divide_half_even(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, ties to even. `denominator` is above zero."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = remainder * 2
    return quotient + (doubled > denominator or (doubled == denominator and quotient % 2 == 1))
