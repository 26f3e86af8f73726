"""A user's month: what there was of each currency before and after it, and every line in between."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from subgraphs.shared.months import Month
from subgraphs.wallet.rules import Transaction


@dataclass(frozen=True, slots=True)
class CurrencyStatement:
    """One currency's month in minor units: `opening` and what the lines add to it and take from it."""

    currency: str
    opening: int
    credited: int
    debited: int

    @property
    def closing(self) -> int:
        """The total balance at the end of the month, which the next one begins with."""
        return self.opening + self.credited - self.debited


@dataclass(frozen=True, slots=True)
class Statement:
    """A user's month: its currencies by name, and its lines in the order in which they were booked."""

    user_id: str
    month: Month
    currencies: tuple[CurrencyStatement, ...]
    lines: tuple[Transaction, ...]


def statement_of(user_id: str, month: Month, opening: Mapping[str, int], lines: Iterable[Transaction]) -> Statement:
    """The statement of a month's lines, and of what there was of each currency before it."""
    booked = tuple(lines)
    names = sorted({*opening, *(line.currency for line in booked)})
    currencies = (
        CurrencyStatement(
            currency,
            opening.get(currency, 0),
            credited=sum(line.amount for line in booked if (line.currency, line.direction) == (currency, "in")),
            debited=sum(line.amount for line in booked if (line.currency, line.direction) == (currency, "out")),
        )
        for currency in names
    )
    return Statement(user_id, month, tuple(currencies), booked)
