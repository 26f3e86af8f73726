"""What the stocks service is told from outside."""

import secrets
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from subgraphs.shared.keys import VerifyingKey
from subgraphs.shared.settings import ServiceSettings
from subgraphs.stocks.rules import Kept
from subgraphs.stocks.rules_pricing import FeeSchedule
from subgraphs.stocks.rules_sessions import sessions_from

FEED_SEED_CHARACTERS_MIN = 24


class Settings(ServiceSettings):
    """The shared settings, and those of the market and of orders."""

    services: ClassVar[tuple[str, ...]] = ("users", "wallet", "stocks")
    roles: ClassVar[frozenset[str]] = frozenset({"investor", "broker"})

    service: str = "stocks"
    users_url: str = "http://127.0.0.1:4001"
    wallet_url: str = "http://127.0.0.1:4002"
    feed: Literal["synthetic", "replay", "manual"] = "synthetic"
    """Where prices come from: invented, recorded in `feed_file`, or posted one by one."""
    feed_seed: SecretStr | None = None
    """Decides every price that is invented, those to come included, and so is a secret. Whoever runs the service keeps
    it, as the market goes on where it stopped only with the same one; without one, development draws one per start."""
    feed_file: Path | None = None
    """The CSV file of a replayed market, with the columns symbol, bid, ask and last."""
    feed_interval_ms: int = Field(default=100, ge=1)
    """The time from one tick to the next, over all stocks: 24 stocks move every 2.4 s, at 10 small commits a second."""
    ticks_kept: int = Field(default=10_000, ge=1)
    """The latest prices that are kept of each stock: at the default pace those of more than six hours."""
    minute_bars_kept_days: int = Field(default=7, ge=1)
    """A chart by minutes reaches back as far; of 24 stocks that is a quarter of a million rows."""
    hour_bars_kept_days: int = Field(default=365, ge=1)
    """A chart by hours reaches back as far; one by days to the first day."""
    market_sessions: str = "always"
    """When the market trades: `always`, or `09:00-17:30 mon-fri` in UTC."""
    fee_rate_ppm: int = Field(default=5_000, ge=0, le=1_000_000)
    """The house's fee: 0.5 % of an order's cost."""
    fee_minimums: dict[str, int] = Field(default_factory=lambda: {"EUR": 100, "USD": 100, "JPY": 100})
    """The least fee of an order per currency, in minor units; JSON in the environment."""
    broker_fee_rate_ppm: int = Field(default=10_000, ge=0, le=1_000_000)
    """The broker's fee on an order placed for an investor: 1 %."""
    fee_share_ppm_max: int = Field(default=50_000, ge=1, le=1_000_000)
    """The greatest share of a broker's order that fees may take, 5 %: a smaller order is refused."""
    broker_orders_per_minute_max: int = Field(default=30, ge=1)
    """Orders that a broker may place in a minute under one mandate and what it has rolled over into."""
    request_drive_ms: int = Field(default=2_000, ge=0)
    """How long a request drives its order before it answers 202: at most an order's lease. With 0 it tries once."""
    loops: bool = True
    """Whether this process drives orders and feeds ticks in the background; a test steps them by hand."""

    @field_validator("market_sessions")
    @classmethod
    def _sessions_are_readable(cls, text: str) -> str:
        sessions_from(text)
        return text

    @model_validator(mode="after")
    def _invented_prices_are_not_foreseen(self) -> "Settings":
        length = 0 if self.feed_seed is None else len(self.feed_seed.get_secret_value())
        if self.feed == "synthetic" and not self.development and length < FEED_SEED_CHARACTERS_MIN:
            raise ValueError(
                f"In production an invented market needs a seed of {FEED_SEED_CHARACTERS_MIN} characters or more that "
                "nobody can guess: set TRIFOLIO_FEED_SEED_FILE, or another TRIFOLIO_FEED."
            )
        return self

    @model_validator(mode="after")
    def _replay_has_a_file(self) -> "Settings":
        if self.feed == "replay" and self.feed_file is None:
            raise ValueError("A replayed market needs TRIFOLIO_FEED_FILE, a CSV file.")
        return self

    @model_validator(mode="after")
    def _rates_leave_room(self) -> "Settings":
        if self.fee_rate_ppm + self.broker_fee_rate_ppm >= self.fee_share_ppm_max:
            raise ValueError("No broker could place an order: fee_share_ppm_max must exceed both rates together.")
        return self

    def seed(self) -> str:
        """The seed of the invented market: the one that was set, or a new one."""
        return secrets.token_hex(16) if self.feed_seed is None else self.feed_seed.get_secret_value()

    @property
    def fees(self) -> FeeSchedule:
        """The configured fees."""
        return FeeSchedule(self.fee_rate_ppm, self.broker_fee_rate_ppm, self.fee_minimums, self.fee_share_ppm_max)

    @property
    def kept(self) -> Kept:
        """How much of the past is kept."""
        return Kept(self.ticks_kept, self.minute_bars_kept_days, self.hour_bars_kept_days)

    def verifying_keys(self) -> dict[str, VerifyingKey]:
        """The keys of the services that may call, and this service's own: whoever holds it may post prices by hand."""
        return {**super().verifying_keys(), self.service: self.signing_key().public}
