"""What happens in the brokerage reaches clients through the router, in one process as in four."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from subgraphs.shared.auth import ServiceSigner
from subgraphs.shared.keys import read_signing_key
from subgraphs.shared.pagination import encode_cursor
from tests.system.brokerages import Brokerage

PATIENCE_S = 30.0
ORDERS = """subscription($after: String) { orderChanged(after: $after) {
  cursor missed order { id status settledAt investor { name } stock { symbol } } } }"""
PLACE = """mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id } errors { code } } }"""
TICKS = "subscription($symbols: [String!]) { priceTicked(symbols: $symbols) { symbol price } }"


async def events(
    brokerage: Brokerage, query: str, token: str = "", **variables: object
) -> AsyncGenerator[dict[str, Any], None]:
    """The answers over server-sent events."""
    headers = {"accept": "text/event-stream", **({"authorization": f"Bearer {token}"} if token else {})}
    body = {"query": query, "variables": variables}
    url = f"{brokerage.urls['router']}/graphql"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        client.stream("POST", url, json=body, headers=headers) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


async def place(brokerage: Brokerage, token: str, stock_id: str, quantity: str = "1") -> str:
    """Buys at market; the order's id."""
    given = {"stockId": stock_id, "side": "BUY", "quantity": quantity, "idempotencyKey": str(uuid.uuid4())}
    answer = await asyncio.to_thread(brokerage.ask, PLACE, token, variables={"input": given})
    payload = answer["data"]["placeOrder"]
    assert payload["errors"] == [], payload
    placed: str = payload["order"]["id"]
    return placed


async def stock(brokerage: Brokerage) -> tuple[str, str]:
    """The id and the symbol of a stock."""
    answer = await asyncio.to_thread(brokerage.ask, '{ stock(symbol: "ALBA") { id symbol } }')
    return answer["data"]["stock"]["id"], answer["data"]["stock"]["symbol"]


async def test_an_order_is_followed_and_caught_up_with(brokerage: Brokerage) -> None:
    """From a cursor on every event of one's own orders comes once and in order, joined with what users knows."""
    token = brokerage.fresh_token("alice")
    stock_id, symbol = await stock(brokerage)
    first = await place(brokerage, token, stock_id)
    async with asyncio.timeout(PATIENCE_S):
        # A cursor that is ahead of everything is told so, with the one of now.
        async with aclosing(events(brokerage, ORDERS, token, after=encode_cursor("stocks events", 10**6))) as told:
            answer = await anext(told)
            start = answer["data"]["orderChanged"]
            assert (start["missed"], start["order"]) == (True, None), answer
        ids = [await place(brokerage, token, stock_id) for _ in range(2)]
        found = []
        async with aclosing(events(brokerage, ORDERS, token, after=start["cursor"])) as told:
            async for answer in told:
                assert "errors" not in answer, answer
                found.append(answer["data"]["orderChanged"])
                if len(found) == 6:
                    break
        assert [event["order"]["id"] for event in found] == [ids[0]] * 3 + [ids[1]] * 3
        assert first not in ids
        assert all(event["order"]["investor"] == {"name": "Alice"} for event in found)
        assert {event["order"]["stock"]["symbol"] for event in found} == {symbol}
        async with aclosing(events(brokerage, ORDERS, token, after=found[3]["cursor"])) as told:
            again = [(await anext(told))["data"]["orderChanged"]["cursor"] for _ in range(2)]
        assert again == [event["cursor"] for event in found[4:]]


async def test_nobody_is_told_without_a_token(brokerage: Brokerage) -> None:
    """One answer with a code, and the end."""
    async with asyncio.timeout(PATIENCE_S):
        answers = [answer async for answer in events(brokerage, ORDERS)]
    assert [answer["errors"][0]["extensions"]["code"] for answer in answers] == ["UNAUTHENTICATED"]


async def test_prices_come_over_a_websocket(brokerage: Brokerage) -> None:
    """Of everybody's market, with no token: what an operator posts is told."""
    signer = ServiceSigner(
        "stocks", read_signing_key((brokerage.folder / "secrets" / "stocks_service_key").read_text())
    )
    url = "ws" + brokerage.urls["router"].removeprefix("http") + "/graphql"
    async with asyncio.timeout(PATIENCE_S), connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": TICKS, "variables": {"symbols": ["ALBA"]}}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        heard = asyncio.ensure_future(socket.recv())
        while not heard.done():
            body = {"symbol": "ALBA", "bid": "80.0000", "ask": "80.2000", "last": "80.1000"}
            headers = {"authorization": f"Bearer {signer.token('stocks')}"}
            async with httpx.AsyncClient(trust_env=False) as client:
                posted = await client.post(f"{brokerage.urls['stocks']}/market/ticks", json=body, headers=headers)
            assert posted.status_code == 200, posted.text
            await asyncio.wait({heard}, timeout=0.2)
        message = json.loads(heard.result())
    assert message["type"] == "next"
    assert message["payload"]["data"]["priceTicked"] == {"symbol": "ALBA", "price": "80.1000"}
