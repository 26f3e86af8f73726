"""Money, quantities and prices: integers inside, decimal strings on the wire, never a float in between.

    amount     minor units of a currency      12.50 EUR = 1250, 1250 JPY = 1250, 1.250 KWD = 1250
    quantity   millionths of a share          1.5 shares = 1_500_000
    price      ten-thousandths of the currency's major unit, per share

A client's number is read exactly or refused; it is never rounded. What we compute is rounded once: a cost half-even,
a fee upwards. Products are taken here, in Python's integers, and never in SQL, where SQLite would turn a large one into
a float.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from subgraphs.shared.errors import (
    INVALID_AMOUNT,
    INVALID_PRICE,
    INVALID_QUANTITY,
    UNKNOWN_CURRENCY,
    ErrorCode,
    FieldError,
    Refusal,
)

CURRENCIES: Mapping[str, int] = MappingProxyType(
    {"AUD": 2, "CAD": 2, "CHF": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "NOK": 2, "SEK": 2, "USD": 2}
)
"""ISO 4217 code -> number of decimals."""

QUANTITY_DECIMALS = 6
PRICE_DECIMALS = 4

# The maxima keep every sum of a long journal far below 2**63.
AMOUNT_MINOR_MAX = 10**13
QUANTITY_UNITS_MAX = 10**14
PRICE_UNITS_MAX = 10**10
RATE_PPM_ONE = 1_000_000
"""A rate of 100 %, in parts per million."""
WHOLE_DIGITS_MAX = 18
"""Digits before the point: more than any maximum has."""

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


def _pattern(whole_max: int, decimals: int, *, zero_allowed: bool = False) -> str:
    """How a number with so many decimals is written, to the digits of the largest; few that match are larger."""
    above_zero = "" if zero_allowed else "(?=.*[1-9])"
    return f"^{above_zero}(0|[1-9][0-9]{{0,{len(str(whole_max)) - 1}}})(\\.[0-9]{{1,{decimals}}})?$"


AMOUNT_PATTERN = _pattern(AMOUNT_MINOR_MAX // 10 ** min(CURRENCIES.values()), max(CURRENCIES.values()))
"""What documents say of an amount in any currency; each takes the decimals that it has."""
QUANTITY_PATTERN = _pattern(QUANTITY_UNITS_MAX // 10**QUANTITY_DECIMALS, QUANTITY_DECIMALS)
QUANTITY_OR_ZERO_PATTERN = _pattern(QUANTITY_UNITS_MAX // 10**QUANTITY_DECIMALS, QUANTITY_DECIMALS, zero_allowed=True)
AMOUNT_OR_QUANTITY_PATTERN = _pattern(AMOUNT_MINOR_MAX // 10 ** min(CURRENCIES.values()), QUANTITY_DECIMALS)
"""Of a number that is the one or the other, by what else is said."""
PRICE_PATTERN = _pattern(PRICE_UNITS_MAX // 10**PRICE_DECIMALS, PRICE_DECIMALS)


def parse_amount(text: str, currency: str, *, field: str = "amount", zero_allowed: bool = False) -> int:
    """Reads an amount of money: `"12.50"`, `"EUR"` is 1250 minor units.

    Raises:
        Refusal: `unknown-currency`, or `invalid-amount` when the text is no decimal number, has more decimals than the
            currency, is not above zero, or is above `AMOUNT_MINOR_MAX`.
    """
    decimals = decimals_of(currency)
    return _parse(text, decimals, AMOUNT_MINOR_MAX, INVALID_AMOUNT, field, zero_allowed=zero_allowed)


def format_amount(minor: int, currency: str) -> str:
    """Writes minor units with all decimals of the currency: 1250, `"EUR"` is `"12.50"`."""
    return _format(minor, CURRENCIES[currency])


def parse_quantity(text: str, *, field: str = "quantity", zero_allowed: bool = False) -> int:
    """Reads a number of shares: `"1.5"` is 1_500_000 units; raises Refusal `invalid-quantity`."""
    return _parse(text, QUANTITY_DECIMALS, QUANTITY_UNITS_MAX, INVALID_QUANTITY, field, zero_allowed=zero_allowed)


def format_quantity(units: int) -> str:
    """Writes a number of shares without trailing zeros: 1_500_000 is `"1.5"`, 2_000_000 is `"2"`."""
    text = _format(units, QUANTITY_DECIMALS)
    return text.rstrip("0").rstrip(".")


def parse_price(text: str, *, field: str = "price") -> int:
    """Reads a price per share: `"12.3"` is 123_000 units; raises Refusal `invalid-price`."""
    return _parse(text, PRICE_DECIMALS, PRICE_UNITS_MAX, INVALID_PRICE, field, zero_allowed=False)


def format_price(units: int) -> str:
    """Writes a price with four decimals: 123_000 is `"12.3000"`."""
    return _format(units, PRICE_DECIMALS)


def fee_minor(amount: int, rate_ppm: int, *, minimum: int = 0) -> int:
    """The fee on `amount` minor units at `rate_ppm` parts per million, rounded up, at least `minimum` minor units."""
    return max(-(-amount * rate_ppm // RATE_PPM_ONE), minimum)


def decimals_of(currency: str) -> int:
    """The number of decimals of a currency; raises Refusal `unknown-currency`."""
    decimals = CURRENCIES.get(currency)
    if decimals is None:
        raise _refused(UNKNOWN_CURRENCY, "currency", f"Use one of {', '.join(CURRENCIES)}.")
    return decimals


def _parse(text: str, decimals: int, maximum: int, code: ErrorCode, field: str, *, zero_allowed: bool) -> int:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise _refused(code, field, 'Write a plain decimal number as a string, such as "12.5".')
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if len(fraction) > decimals:
        raise _refused(code, field, f"At most {decimals} decimals are allowed here.")
    too_long = len(whole) > WHOLE_DIGITS_MAX  # `int` refuses what is much longer
    value: int = maximum + 1 if too_long else int(whole + fraction.ljust(decimals, "0"))
    if sign or (value == 0 and not zero_allowed):
        raise _refused(
            code, field, "The number must not be negative." if zero_allowed else "The number must be above zero."
        )
    if value > maximum:
        raise _refused(code, field, f"The largest number accepted is {_format(maximum, decimals)}.")
    return value


def _refused(code: ErrorCode, field: str, message: str) -> Refusal:
    return Refusal(code, message, fields=(FieldError(field, message),))


def _format(value: int, decimals: int) -> str:
    if value < 0:
        return f"-{_format(-value, decimals)}"
    # A page of holdings is a hundred numbers: this is one operation of C for each.
    return f"%d.%0{decimals}d" % divmod(value, 10**decimals) if decimals else str(value)
