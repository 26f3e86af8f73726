"""Where prices come from: a secret seed that nobody can foretell, and a recording that ships as an example."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from brokerage.development import Development
from brokerage.services import SettingsRefused, read_settings
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.feed import ReplaySource, synthetic_price
from subgraphs.stocks.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "market" / "prices.csv"


def settings(**values: Any) -> Settings:
    """The settings of a service in development."""
    return Settings(mode="development", database_url=SecretStr("sqlite:///unused.db"), **values)


def seed_in(folder: Path, *, in_process: bool) -> str:
    """The seed with which a brokerage on the folder starts its stocks service."""
    development = Development(folder, in_process=in_process)
    development.prepare()
    read = read_settings("stocks", development.settings("stocks"))
    assert isinstance(read, Settings)
    return read.seed()


@pytest.mark.parametrize("in_process", [False, True])
def test_every_brokerage_has_a_market_of_its_own(tmp_path: Path, in_process: bool) -> None:
    """A seed is drawn at the first start on a folder and kept there; no two folders have the same."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = seed_in(tmp_path / "one", in_process=in_process)
    assert seed_in(tmp_path / "one", in_process=in_process) == first
    assert len(first) >= 32
    assert seed_in(tmp_path / "two", in_process=in_process) != first


def test_no_seed_stands_in_the_source() -> None:
    """Without one that is set, two starts have two markets, and neither price follows from the other."""
    one, two = settings().seed(), settings().seed()
    prices = [[synthetic_price(seed, company, 1_000) for company in COMPANIES] for seed in (one, two)]
    assert prices[0] != prices[1]


def test_a_seed_that_is_set_is_the_same_market() -> None:
    """Tests and demonstrations set a seed, and get the market that they know."""
    assert settings(feed_seed="known").seed() == "known"
    assert "known" not in repr(settings(feed_seed="known"))


@pytest.mark.parametrize("seed", [None, "short"])
def test_production_needs_a_secret_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: str | None) -> None:
    """Replicas must have the same market, and nobody must guess it; with other prices there is nothing to guess."""
    development = Development(tmp_path)
    development.prepare()
    given = {**development.settings("stocks"), "mode": "production", "feed_seed": seed, "trusted_proxies": 0}
    with pytest.raises(SettingsRefused, match="TRIFOLIO_FEED_SEED_FILE"):
        read_settings("stocks", given)
    assert read_settings("stocks", {**given, "feed": "manual"}).mode == "production"


async def test_the_example_of_a_recording_replays() -> None:
    """The recording that ships has every company, in the same turns, with a bid below its ask."""
    ticks = [tick async for tick in ReplaySource(EXAMPLE, lambda: 7).ticks({})]
    assert [tick.symbol for tick in ticks[: len(COMPANIES)]] == [company.symbol for company in COMPANIES]
    assert len(ticks) % len(COMPANIES) == 0
    assert all(0 < tick.bid <= tick.last <= tick.ask for tick in ticks)
