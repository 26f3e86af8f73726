"""Statements of trades: what was bought and sold in a month, what fees took, and what sales gained."""

import csv
import io
import random
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from subgraphs.stocks import service_orders
from tests.stocks.conftest import ALBA, Desk, investor

QUERY = """query($months: [_Any!]!) { _entities(representations: $months) { ... on Statement {
  id trading { currency bought sold fees brokerFees profit } trades { order { id } side quantity price cost profit }
} } }"""


def month_of(desk: Desk) -> str:
    """The month that the desk's clock is in."""
    return f"{datetime.fromtimestamp(desk.clock() / 1_000, UTC):%Y-%m}"


async def statement(desk: Desk, caller: Any, month: str) -> dict[str, Any]:
    """A month over REST."""
    response = await desk.send(caller, "GET", f"/orders/statement?month={month}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_sale_gains_what_it_brings_above_its_average_cost(desk: Desk) -> None:
    """Bought at 100 and at 200, ten each: a share has cost 150, and five sold at 180 gain 150, before fees."""
    alice = investor()
    await desk.deposit(alice)
    for bid, ask, side, quantity in (
        ("99", "100", "buy", "10"),
        ("199", "200", "buy", "10"),
        ("180", "181", "sell", "5"),
    ):
        await desk.tick(bid, ask)
        assert (await desk.place(alice, side=side, quantity=quantity)).status_code == 201
    shown = await statement(desk, alice, month_of(desk))
    assert [(trade["side"], trade["cost"], trade["profit"]) for trade in shown["trades"]] == [
        ("buy", "1000.00", None),
        ("buy", "2000.00", None),
        ("sell", "900.00", "150.00"),
    ]
    [euros] = shown["totals"]
    assert (euros["bought"], euros["sold"], euros["profit"]) == ("3000.00", "900.00", "150.00")
    assert Decimal(euros["fees"]) == sum(Decimal(trade["fee"]) for trade in shown["trades"]) > 0
    await desk.check_books()


async def test_all_faces_show_the_same(desk: Desk) -> None:
    """JSON, the table and GraphQL say the same of a month; the month before had nothing."""
    alice = investor()
    await desk.bought(alice)
    month = month_of(desk)
    shown = await statement(desk, alice, month)
    table = await desk.send(alice, "GET", f"/orders/statement?month={month}", headers={"accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(table.text))
    assert row == {name: value or "" for name, value in shown["trades"][0].items()}
    answer = await desk.graphql(alice, QUERY, months=[{"__typename": "Statement", "id": f"{alice.id}:{month}"}])
    [found] = answer["data"]["_entities"]
    assert found["trading"] == shown["totals"]
    [trade] = found["trades"]
    assert trade["order"]["id"] == shown["trades"][0]["orderId"]
    assert (trade["quantity"], trade["price"], trade["cost"]) == tuple(
        shown["trades"][0][name] for name in ("quantity", "price", "cost")
    )
    assert await statement(desk, alice, "2001-01") == {"month": "2001-01", "totals": [], "trades": []}


async def test_a_statement_is_for_its_user_alone(desk: Desk) -> None:
    """Another user's is not found; what is no id of one is named; without a token there is none."""
    alice, carol = investor(), investor()
    await desk.bought(alice)
    keys = (f"{alice.id}:{month_of(desk)}", f"{carol.id}:2026-13", f"{carol.id}", f"{carol.id}:2026-01")
    months = [{"__typename": "Statement", "id": key} for key in keys]
    answer = await desk.graphql(carol, QUERY, months=months)
    assert [each and each["trades"] for each in answer["data"]["_entities"]] == [None, None, None, []]
    codes = [error["extensions"]["code"] for error in answer["errors"]]
    assert codes == ["NOT_FOUND", "INVALID_REQUEST", "INVALID_REQUEST"]
    assert (await statement(desk, carol, month_of(desk)))["trades"] == []
    assert (await desk.send(None, "GET", "/orders/statement?month=2026-01")).status_code == 401
    refused = await desk.send(alice, "GET", "/orders/statement?month=2026-1")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "month")


async def test_a_month_of_too_many_trades_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trade more than an answer holds, and the list of orders is the way to them."""
    monkeypatch.setattr(service_orders, "LINES_MAX", 1)
    alice = investor()
    await desk.bought(alice)
    assert len((await statement(desk, alice, month_of(desk)))["trades"]) == 1
    await desk.place(alice)
    refused = await desk.send(alice, "GET", f"/orders/statement?month={month_of(desk)}")
    assert (refused.status_code, refused.json()["code"]) == (422, "result-too-large")


@pytest.mark.parametrize("seed", range(3))
async def test_profits_and_costs_are_those_of_the_holding(desk: Desk, seed: int) -> None:
    """Whatever was traded at whatever prices, a holding has cost what was bought less what was sold had cost."""
    chance, alice = random.Random(seed), investor()
    await desk.deposit(alice, "1000000.00")
    for _ in range(12):
        price = chance.randint(1, 99_999)
        await desk.tick(f"{price / 100:.2f}", f"{(price + chance.randint(1, 50)) / 100:.2f}")
        side = chance.choice(["buy", "buy", "sell"])
        await desk.place(alice, side=side, quantity=f"{chance.randint(1, 3_000) / 100:.2f}")
    shown = await statement(desk, alice, month_of(desk))
    bought = sum(Decimal(trade["cost"]) for trade in shown["trades"] if trade["side"] == "buy")
    basis = sum(
        Decimal(trade["cost"]) - Decimal(trade["profit"]) for trade in shown["trades"] if trade["side"] == "sell"
    )
    holding = await desk.holding(alice, ALBA)
    cost = Decimal(holding["marketValue"]) - Decimal(holding["profitLoss"])
    assert cost == bought - basis, f"seed {seed}"
    await desk.check_books()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_sales_of_before_are_followed(desk: Desk, urls: dict[str, str]) -> None:
    """The migration finds for earlier sales what is kept for new ones."""
    chance, people = random.Random(5), [investor(), investor()]
    for person in people:
        await desk.deposit(person, "1000000.00")
    for _ in range(24):
        desk.clock.advance(1)
        await desk.tick(f"{chance.randint(100, 9_999) / 100:.2f}", "100.00")
        side = chance.choice(["buy", "buy", "sell"])
        await desk.place(chance.choice(people), side=side, quantity=f"{chance.randint(1, 300) / 100:.2f}")
    engine = create_engine(urls["stocks"])
    with engine.begin() as connection:
        kept = connection.execute(text("SELECT order_id, basis FROM fills ORDER BY order_id")).all()
        connection.execute(text("UPDATE fills SET basis = NULL"))
        import_module("subgraphs.stocks.migrations.versions.0006_basis_of_sales").follow_sales(connection)
        found = connection.execute(text("SELECT order_id, basis FROM fills ORDER BY order_id")).all()
    engine.dispose()
    assert found == kept
    assert len([row for row in kept if row.basis is not None]) > 2
