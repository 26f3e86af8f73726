"""Orders of investors: what is executed, what is refused, and what a repetition is answered."""

import asyncio

import pytest

from tests.stocks.conftest import ALBA, Desk, investor


async def test_a_market_order_to_buy_is_executed_at_once(desk: Desk) -> None:
    """A buyer pays the ask and the fee, gets the shares, and has nothing left on hold."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    response = await desk.place(alice, quantity="10")
    assert response.status_code == 201, response.text
    order = response.json()
    assert order["status"] == "completed"
    assert (order["price"], order["cost"], order["fee"]) == ("84.0420", "840.42", "4.21")
    assert response.headers["location"] == f"/orders/{order['id']}"
    balance = await desk.balance(alice)
    assert (balance["available"], balance["held"], balance["total"]) == ("155.37", "0.00", "155.37")
    holding = await desk.holding(alice)
    assert (holding["quantity"], holding["freeQuantity"], holding["averagePrice"]) == ("10", "10", "84.0420")
    await desk.check_books()
