"""What the fault tests take for quiet: they compare and audit only then, so it may not be said too early."""

from datetime import timedelta

from subgraphs.shared.timestamps import format_timestamp
from subgraphs.stocks.companies import COMPANIES
from tests.faults.books import is_quiet
from tests.faults.in_process import Brokerage, running

STOCK = COMPANIES[0]
HOUR = timedelta(hours=1).seconds


async def give(brokerage: Brokerage, *, order_ends_at: int, mandate_ends_at: int) -> None:
    """An order that waits and a mandate, to these moments; both are steady once every driver had its turn."""
    alice, carol = await brokerage.person("investor", "alice"), await brokerage.person("broker", "carol")
    await brokerage.tick(STOCK.symbol, "83.9", "84.1")
    requests = (
        ("wallet", "/transactions", {"type": "deposit", "currency": STOCK.currency, "amount": "900"}),
        (
            "stocks",
            "/orders",
            {
                "stockId": STOCK.stock_id,
                "side": "buy",
                "type": "limit",
                "limitPrice": "70",
                "quantity": "1",
                "timeInForce": "gtd",
                "expiresAt": format_timestamp(order_ends_at),
            },
        ),
        (
            "users",
            "/authorizations",
            {
                "brokerId": carol.id,
                "type": "capital",
                "currency": STOCK.currency,
                "amount": "100",
                "endsAt": format_timestamp(mandate_ends_at),
            },
        ),
    )
    for service, path, body in requests:
        response = await brokerage.send(alice, service, "POST", path, body)
        assert response.status_code in (201, 202), response.text
    await brokerage.come_to_rest()


async def test_order_past_its_last_moment_is_not_quiet(urls: dict[str, str]) -> None:
    """An order that works is quiet until its last moment, and then again once it has expired."""
    async with running(urls) as brokerage:
        ends_at = brokerage.clock() + HOUR * 1_000
        await give(brokerage, order_ends_at=ends_at, mandate_ends_at=ends_at + HOUR * 1_000)
        assert await is_quiet(brokerage.databases, ends_at - 1)
        assert not await is_quiet(brokerage.databases, ends_at)
        brokerage.clock.now = ends_at
        await brokerage.come_to_rest()
        assert await is_quiet(brokerage.databases, ends_at)


async def test_mandate_past_its_window_is_not_quiet(urls: dict[str, str]) -> None:
    """A mandate is quiet until its window ends, and then again once it has expired."""
    async with running(urls) as brokerage:
        ends_at = brokerage.clock() + HOUR * 1_000
        await give(brokerage, order_ends_at=ends_at + HOUR * 1_000, mandate_ends_at=ends_at)
        assert await is_quiet(brokerage.databases, ends_at - 1)
        assert not await is_quiet(brokerage.databases, ends_at)
        brokerage.clock.now = ends_at
        await brokerage.come_to_rest()
        assert await is_quiet(brokerage.databases, ends_at)
