"""What prices did: every one as far back as it is kept, and bars for charts."""

from typing import Any

import pytest

from subgraphs.stocks.rules import Interval
from tests.stocks.conftest import ALBA, Desk, DeskFactory

HISTORY = """query($id: ID!, $interval: ChartInterval!, $first: Int!) {
  stock(id: $id) { history(interval: $interval, first: $first) { start open high low close } } }"""


async def trade(desk: Desk, *prices: int, pause_s: float = 0) -> None:
    """Posts prices, with time between them."""
    for price in prices:
        await desk.tick(str(price), str(price))
        desk.clock.advance(pause_s)


async def history(desk: Desk, interval: str, first: int = 100) -> list[list[str]]:
    """A chart's bars, without their beginnings."""
    answer = await desk.graphql(None, HISTORY, id=ALBA, interval=interval, first=first)
    assert "errors" not in answer, answer
    bars = answer["data"]["stock"]["history"]
    assert [bar["start"] for bar in bars] == sorted({bar["start"] for bar in bars}, reverse=True)
    return [[str(int(float(bar[name]))) for name in ("open", "high", "low", "close")] for bar in bars]


async def ticks(desk: Desk, **parameters: Any) -> dict[str, Any]:
    """A page of prices; anybody may ask."""
    response = await desk.http["stocks"].get(f"/stocks/{ALBA}/ticks", params=parameters)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def test_bars_have_first_highest_lowest_and_last(desk: Desk) -> None:
    """Each interval with a price is a bar, newest first; one without is none."""
    desk.clock.now += 3_600_000 - desk.clock.now % 3_600_000
    await trade(desk, 90, 95, 85, 88, pause_s=10)
    desk.clock.advance(120)
    await trade(desk, 70, 75)
    assert (await history(desk, "MINUTE"))[:2] == [["70", "75", "70", "75"], ["90", "95", "85", "88"]]
    assert (await history(desk, "HOUR"))[0] == ["90", "95", "70", "75"]
    desk.clock.advance(3_600)
    await trade(desk, 80)
    assert (await history(desk, "HOUR"))[:2] == [["80", "80", "80", "80"], ["90", "95", "70", "75"]]
    assert await history(desk, "MINUTE", first=1) == [["80", "80", "80", "80"]]
    assert await history(desk, "MINUTE", first=-1) == []


async def test_bars_of_days_are_the_trading_days(desk: Desk) -> None:
    """A chart by days has the days that the stock has, beginning at midnight UTC."""
    await trade(desk, 90, 95)
    desk.clock.advance(86_400)
    await trade(desk, 70)
    query = "query($id: ID!) { stock(id: $id) { days { date close } history(interval: DAY) { start close } } }"
    stock = (await desk.graphql(None, query, id=ALBA))["data"]["stock"]
    assert [bar["start"] for bar in stock["history"]] == [f"{day['date']}T00:00:00.000Z" for day in stock["days"]]
    assert [bar["close"] for bar in stock["history"]] == [day["close"] for day in stock["days"]]
    assert len(stock["history"]) >= 2


async def test_bars_are_kept_for_the_configured_time(make_desk: DeskFactory) -> None:
    """Minutes and hours are forgotten when they are older than is kept, each after its own time; days never."""
    desk = await make_desk(minute_bars_kept_days=1, hour_bars_kept_days=2)
    await trade(desk, 90, 91, 92, pause_s=86_400)
    await trade(desk, 93)
    market = desk.stocks.state.service.market
    before = {interval: len(await history(desk, interval.name)) for interval in Interval}
    assert await market.delete_old_bars() > 0
    after = {interval: len(await history(desk, interval.name)) for interval in Interval}
    assert (after[Interval.MINUTE], after[Interval.HOUR]) == (2, 3)
    assert after[Interval.DAY] == before[Interval.DAY]
    assert await market.delete_old_bars() == 0


async def test_prices_are_read_page_by_page(desk: Desk) -> None:
    """Newest first, over the pages of a cursor, each once."""
    await trade(desk, 90, 91, 92, 93, pause_s=1)
    first = await ticks(desk, limit=3)
    assert [item["last"] for item in first["items"]] == ["93.0000", "92.0000", "91.0000"]
    assert first["items"][0].keys() == {"seq", "bid", "ask", "last", "at"}
    second = await ticks(desk, limit=3, after=first["nextCursor"])
    assert second["items"][0]["last"] == "90.0000"
    assert first["items"][-1]["seq"] - 1 == second["items"][0]["seq"]


async def test_prices_of_a_window(desk: Desk) -> None:
    """`from` is the first moment that is wanted, `to` the first that is not."""
    await trade(desk, 90, 91, 92, 93, pause_s=1)
    moments = [item["at"] for item in (await ticks(desk, limit=4))["items"]][::-1]
    window = await ticks(desk, **{"from": moments[1], "to": moments[3]})
    assert [item["last"] for item in window["items"]] == ["92.0000", "91.0000"]
    assert window["nextCursor"] is None


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("ticks?from=yesterday", 422, "from"),
        ("ticks?to=2027-01-15", 422, "to"),
        ("ticks?from=2027-01-15T00:00:00Z&to=2027-01-15T00:00:00Z", 422, "to"),
        ("ticks?limit=101", 422, "limit"),
        ("ticks?after=what", 400, None),
        ("ticks?since=2027-01-15T00:00:00Z", 422, "since"),
    ],
)
async def test_a_window_that_is_none_is_refused(desk: Desk, path: str, status: int, field: str | None) -> None:
    """Times are RFC 3339 with an offset and in order; the member at fault is named as the route spells it."""
    response = await desk.http["stocks"].get(f"/stocks/{ALBA}/{path}")
    assert response.status_code == status
    assert field is None or [error["field"] for error in response.json()["errors"]] == [field]


async def test_there_are_no_prices_of_no_stock(desk: Desk) -> None:
    """An unknown stock is not found."""
    assert (await desk.http["stocks"].get("/stocks/none/ticks")).status_code == 404
