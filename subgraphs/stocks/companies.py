"""The invented companies that are listed from the start: 24 of them, in three currencies."""

import uuid
from dataclasses import dataclass

STOCK_NAMESPACE = uuid.UUID("6f0c8b52-1d7e-5a3c-9b44-2f6a0c1e7d10")
"""A company's stock has the same id on every machine: a UUID of this namespace and its symbol."""

SHARE = 1_000_000
"""One share in quantity units."""


@dataclass(frozen=True, slots=True)
class Company:
    """A listed company: its symbol, the price it starts at (price units) and the shares it issued (quantity units)."""

    symbol: str
    name: str
    currency: str
    price: int
    issued: int

    @property
    def stock_id(self) -> str:
        """The id of its stock."""
        return str(uuid.uuid5(STOCK_NAMESPACE, self.symbol))


def _company(symbol: str, name: str, currency: str, price: int, shares: int) -> Company:
    return Company(symbol, name, currency, price * 10_000, shares * SHARE)


COMPANIES: tuple[Company, ...] = (
    _company("ALBA", "Alba Windkraft SE", "EUR", 84, 4_000_000),
    _company("BRNO", "Brno Optics a.s.", "EUR", 37, 2_500_000),
    _company("CIRR", "Cirrus Cargo Drones", "USD", 142, 6_000_000),
    _company("DELV", "Delvaux Chocolatiers", "EUR", 212, 900_000),
    _company("ENKI", "Enki Desalination", "USD", 28, 9_000_000),
    _company("FJRD", "Fjordline Batteries", "EUR", 61, 5_200_000),
    _company("GLIM", "Glimmer Displays", "USD", 95, 7_000_000),
    _company("HANA", "Hanabira Robotics", "JPY", 4_820, 3_000_000),
    _company("IBEX", "Ibex Mountain Gear", "EUR", 19, 1_800_000),
    _company("JUNO", "Juno Satellite Networks", "USD", 318, 2_200_000),
    _company("KUMO", "Kumo Cloud Services", "JPY", 2_150, 8_000_000),
    _company("LUMA", "Luma Bioprinting", "USD", 76, 3_300_000),
    _company("MIRA", "Mira Railways", "EUR", 46, 6_500_000),
    _company("NORI", "Nori Sea Farms", "JPY", 1_275, 4_400_000),
    _company("ORCA", "Orca Marine Insurance", "USD", 54, 5_000_000),
    _company("PLUM", "Plum Street Homes", "USD", 33, 4_700_000),
    _company("QUIL", "Quillon Publishing", "EUR", 12, 2_000_000),
    _company("RUNE", "Rune Cryptography", "EUR", 128, 1_200_000),
    _company("SORA", "Sora Air Mobility", "JPY", 7_640, 1_500_000),
    _company("TERN", "Tern Logistics", "USD", 41, 8_500_000),
    _company("UMBR", "Umbra Sunscreens", "EUR", 23, 3_600_000),
    _company("VELA", "Vela Sailworks", "USD", 67, 1_100_000),
    _company("WREN", "Wren Acoustic Labs", "EUR", 155, 1_400_000),
    _company("YUZU", "Yuzu Beverages", "JPY", 930, 9_500_000),
)
