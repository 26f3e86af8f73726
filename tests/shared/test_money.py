"""Money, quantities and prices are exact on the way in and out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraphs.shared.errors import Refusal
from subgraphs.shared.money import (
    AMOUNT_MINOR_MAX,
    CURRENCIES,
    PRICE_UNITS_MAX,
    QUANTITY_UNITS_MAX,
    fee_minor,
    format_amount,
    format_price,
    format_quantity,
    parse_amount,
    parse_price,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "EUR", 1250),
        ("12.5", "EUR", 1250),
        ("12", "EUR", 1200),
        ("0.01", "EUR", 1),
        ("7", "JPY", 7),
        ("1.001", "KWD", 1001),
    ],
)
def test_amount_is_read_in_minor_units(text: str, currency: str, minor: int) -> None:
    """Each currency's own number of decimals decides the scale."""
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    ["12.505", "1.", ".5", "", "1e3", "+1", "01", "1,5", "NaN", "Infinity", " 1", "1\n", "١", "-1", "0", "0.00", "-0"],
)
def test_amount_is_never_rounded_or_guessed(text: str) -> None:
    """Anything but a plain positive decimal number within the currency's decimals is refused."""
    with pytest.raises(Refusal) as caught:
        parse_amount(text, "EUR", field="amount")
    assert caught.value.code.code == "invalid-amount"
    assert [error.field for error in caught.value.fields] == ["amount"]


def test_yen_has_no_decimals() -> None:
    """A currency without minor units takes whole numbers only."""
    with pytest.raises(Refusal):
        parse_amount("1.0", "JPY")


def test_unknown_currency_is_refused() -> None:
    """A currency outside the list is refused by its own code."""
    with pytest.raises(Refusal) as caught:
        parse_amount("1", "ZZZ")
    assert caught.value.code.code == "unknown-currency"


def test_zero_is_read_where_it_is_allowed() -> None:
    """A commitment may be set to nothing."""
    assert parse_quantity("0", zero_allowed=True) == 0
    with pytest.raises(Refusal):
        parse_quantity("-1", zero_allowed=True)


def test_maxima_are_inclusive() -> None:
    """The named maximum itself is accepted, one unit more is not."""
    assert parse_amount(format_amount(AMOUNT_MINOR_MAX, "EUR"), "EUR") == AMOUNT_MINOR_MAX
    assert parse_quantity(format_quantity(QUANTITY_UNITS_MAX)) == QUANTITY_UNITS_MAX
    assert parse_price(format_price(PRICE_UNITS_MAX)) == PRICE_UNITS_MAX
    for parse, text in (
        (lambda value: parse_amount(value, "EUR"), format_amount(AMOUNT_MINOR_MAX + 1, "EUR")),
        (parse_quantity, format_quantity(QUANTITY_UNITS_MAX + 1)),
        (parse_price, format_price(PRICE_UNITS_MAX + 1)),
    ):
        with pytest.raises(Refusal):
            parse(text)


@pytest.mark.parametrize("digits", [14, 18, 19, 100, 60_000])
def test_a_number_of_any_length_is_told_the_maximum(digits: int) -> None:
    """However long it is, it is a number, and the message says how large one may be."""
    with pytest.raises(Refusal) as caught:
        parse_amount("9" * digits, "EUR")
    assert "100000000000.00" in caught.value.detail


@given(st.integers(1, AMOUNT_MINOR_MAX), st.sampled_from(sorted(CURRENCIES)))
def test_amounts_survive_the_wire(minor: int, currency: str) -> None:
    """What is written is read back as the same number."""
    assert parse_amount(format_amount(minor, currency), currency) == minor


@given(st.integers(1, QUANTITY_UNITS_MAX))
def test_quantities_survive_the_wire(units: int) -> None:
    """What is written is read back as the same number."""
    assert parse_quantity(format_quantity(units)) == units


@pytest.mark.parametrize(
    ("units", "text"), [(1_500_000, "1.5"), (10_000_000, "10"), (1, "0.000001"), (0, "0"), (-2_500_000, "-2.5")]
)
def test_quantity_is_written_short(units: int, text: str) -> None:
    """Trailing zeros of a quantity carry nothing and are left out, those of whole numbers stay."""
    assert format_quantity(units) == text


def test_negative_amounts_are_written() -> None:
    """A loss is shown with its sign, also below one unit."""
    assert (format_amount(-5, "EUR"), format_amount(-5, "JPY"), format_price(-5)) == ("-0.05", "-5", "-0.0005")


@pytest.mark.parametrize(("amount", "fee"), [(0, 100), (20_000, 100), (20_001, 101), (100_000, 500)])
def test_fee_rounds_up_to_at_least_its_minimum(amount: int, fee: int) -> None:
    """Half a percent with a minimum of 1.00."""
    assert fee_minor(amount, 5_000, minimum=100) == fee
