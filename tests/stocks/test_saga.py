"""The saga of an order when something fails: whatever is lost or late, it ends and everything adds up."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

import orjson
import pytest

from subgraphs.shared.transport import PeerRequest, PeerResponse, TransportFailed
from subgraphs.stocks.rules_orders import Rejection
from tests.in_memory import operation_of
from tests.stocks.conftest import ALBA, Desk, DeskFactory, Network, investor


def losing(network: Network, operations: set[str], *, reply: bool, times: int = 1) -> None:
    """Makes the network lose that many wallet calls of those operations: before they arrive, or their replies."""
    left = times

    def meant(request: PeerRequest) -> bool:
        nonlocal left
        lost = operation_of(request) in operations and left > 0
        left -= lost
        return lost

    async def before(request: PeerRequest) -> PeerResponse | None:
        if not reply and meant(request):
            raise TransportFailed("lost")
        return None

    async def after(request: PeerRequest) -> None:
        if reply and meant(request):
            raise TransportFailed("lost")

    network.before, network.after = before, after


@pytest.mark.parametrize("reply", [False, True], ids=["call lost", "reply lost"])
@pytest.mark.parametrize("op", ["hold", "post", "credit"])
async def test_a_lost_call_or_reply_has_one_effect_in_the_end(desk: Desk, op: str, reply: bool) -> None:
    """The request answers 202; the loop sends the call again, and the order completes exactly as undisturbed."""
    alice = investor()
    await desk.bought(alice, "10")
    before = await desk.balance(alice)
    side = "sell" if op == "credit" else "buy"
    losing(desk.network, {op}, reply=reply)
    response = await desk.place(alice, key="k", side=side, quantity="2")
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/orders/{response.json()['id']}"
    assert response.json()["status"] == ("pending" if op == "hold" else "completed")
    assert response.json()["settledAt"] is None
    repeated = await desk.place(alice, key="k", side=side, quantity="2")
    assert (repeated.status_code, "idempotent-replayed" in repeated.headers) == (202, False)
    await desk.settle()
    order = await desk.order(alice, response.json()["id"])
    assert (order["status"], order["settledAt"] is not None) == ("completed", True)
    after = await desk.balance(alice)
    moved = "166.92" if side == "sell" else "-169.08"
    assert after["held"] == "0.00"
    assert float(after["available"]) - float(before["available"]) == pytest.approx(float(moved))
    final = await desk.place(alice, key="k", side=side, quantity="2")
    assert (final.status_code, final.json()["status"]) == (201, "completed")
    await desk.check_books()


async def test_a_request_tries_again_until_its_time_is_up(make_desk: DeskFactory) -> None:
    """A single lost call is repeated within the request, which then answers finally."""
    desk = await make_desk(request_drive_ms=2_000)
    alice = investor()
    await desk.deposit(alice)
    losing(desk.network, {"hold", "post"}, reply=True, times=2)
    response = await desk.place(alice)
    assert (response.status_code, response.json()["status"]) == (201, "completed")


async def test_cancelling_while_the_wallet_is_down_is_accepted(desk: Desk) -> None:
    """The cancellation is durable at once and answers 202; the money comes back when the wallet does."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    order = (await desk.place(alice, type="limit", limitPrice="80")).json()
    desk.network.cut("wallet")
    first = await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    assert (first.status_code, first.json()["status"], first.json()["settledAt"]) == (202, "cancelled", None)
    assert first.headers["location"] == f"/orders/{order['id']}"
    again = await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    assert again.status_code == 202
    assert (await desk.tick("70", "71"))["triggered"] == []
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, order["id"]))["settledAt"] is not None
    assert (await desk.balance(alice))["available"] == "1000.00"
    await desk.check_books()


async def test_a_hold_that_comes_after_its_void_is_refused(desk: Desk) -> None:
    """A delayed hold cannot take money for an order that was cancelled meanwhile."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    late: list[PeerRequest] = []

    async def delay(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) == "hold" and not late:
            late.append(request)
            raise TransportFailed("delayed")
        return None

    desk.network.before = delay
    order = (await desk.place(alice)).json()
    cancelled = await desk.send(alice, "PUT", f"/orders/{order['id']}", {"status": "cancelled"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    answer = await desk.network.send(late[0])
    assert answer.status == 409
    assert (await desk.balance(alice))["available"] == "1000.00"
    await desk.check_books()


async def test_a_market_order_whose_price_is_stale_is_rejected(desk: Desk) -> None:
    """What could not be executed within 30 seconds is rejected, and what was set aside comes back."""
    alice = investor()
    await desk.deposit(alice, "1000.00")
    losing(desk.network, {"hold"}, reply=True)
    response = await desk.place(alice, key="k")
    assert response.status_code == 202
    desk.network.mend()
    desk.clock.advance(31)
    await desk.settle()
    order = await desk.order(alice, response.json()["id"])
    assert (order["status"], order["reason"]) == ("rejected", "stale-price")
    assert (await desk.balance(alice))["available"] == "1000.00"
    final = await desk.place(alice, key="k")
    assert (final.status_code, final.json()["code"]) == (422, "stale-price")
    await desk.check_books()


async def test_a_hold_that_takes_too_long_does_not_execute_at_an_old_price(desk: Desk) -> None:
    """The wallet answers only after 31 seconds: the order is rejected at the pivot, within its own request."""
    alice = investor()
    await desk.deposit(alice, "1000.00")

    async def wait(request: PeerRequest) -> None:
        desk.clock.advance(31 if operation_of(request) == "hold" else 0)

    desk.network.after = wait
    response = await desk.place(alice)
    assert (response.status_code, response.json()["code"]) == (422, "stale-price")
    assert (await desk.balance(alice))["available"] == "1000.00"
    await desk.check_books()


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 429, 500, 503])
async def test_only_a_catalogued_refusal_counts_as_a_no(desk: Desk, status: int) -> None:
    """An answer without a code of the catalogue, whatever its status, decides nothing: the order completes later."""
    alice = investor()
    await desk.deposit(alice)

    async def strange(request: PeerRequest) -> PeerResponse | None:
        return PeerResponse(status, orjson.dumps({"code": "what-is-this"}))

    desk.network.before = strange
    response = await desk.place(alice)
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, response.json()["id"]))["status"] == "completed"


async def test_after_the_pivot_a_refusal_raises_an_alarm_and_is_sent_again(desk: Desk) -> None:
    """An executed order only goes forward: even the wallet's no to a post is repeated, loudly."""
    alice = investor()
    await desk.deposit(alice)
    saga = desk.stocks.state.saga

    async def refuse(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) != "post":
            return None
        return PeerResponse(409, orjson.dumps({"code": "hold-missing", "detail": ""}))

    desk.network.before = refuse
    response = await desk.place(alice)
    assert (response.status_code, response.json()["status"]) == (202, "completed")
    assert saga.alarms == 1
    assert await metrics(desk) == {**ALARMED, "trifolio_orders_unfinished": 1}
    desk.network.mend()
    await desk.settle()
    assert (await desk.order(alice, response.json()["id"]))["settledAt"] is not None
    assert await metrics(desk) == {**ALARMED, "trifolio_orders_unfinished": 0}


ALARMED = {"trifolio_order_alarms_total": 1, "trifolio_clock_steps_total": 0, "trifolio_streams": 0}


@pytest.mark.parametrize(("status", "alarms"), [(None, 0), (500, 0), (503, 0), (429, 0), (401, 1), (403, 1), (422, 1)])
async def test_after_the_pivot_only_a_no_raises_an_alarm(desk: Desk, status: int | None, alarms: int) -> None:
    """A wallet that is away or busy comes back by itself; one that objects to a settlement needs somebody."""
    alice = investor()
    await desk.deposit(alice)

    async def answer(request: PeerRequest) -> PeerResponse | None:
        if operation_of(request) != "post":
            return None
        if status is None:
            raise TransportFailed("nobody answers")
        return PeerResponse(status, orjson.dumps({"code": "what-is-this"}))

    desk.network.before = answer
    await desk.place(alice)
    assert (await metrics(desk))["trifolio_order_alarms_total"] == alarms
    desk.network.mend()
    await desk.settle()
    assert (await metrics(desk))["trifolio_orders_unfinished"] == 0


async def metrics(desk: Desk) -> dict[str, int]:
    """What the service tells its monitoring."""
    response = await desk.http["stocks"].get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line.split(" ") for line in response.text.splitlines() if not line.startswith("#")]
    return {name: int(value) for name, value in lines if name != "trifolio_sessions_unheard_seconds"}


async def test_pauses_grow_while_a_peer_is_down(desk: Desk) -> None:
    """An order that cannot be moved on is tried less and less often, but at least once a second."""
    alice = investor()
    await desk.deposit(alice)
    desk.network.cut("wallet")
    await desk.place(alice, type="limit", limitPrice="80")
    tried = []
    for _ in range(200):
        desk.clock.advance(0.1)
        if await desk.stocks.state.saga.driver.step():
            tried.append(desk.clock.now)
    pauses = [later - sooner for sooner, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (100, 1_000)


async def test_a_leased_order_is_left_alone(desk: Desk) -> None:
    """While a driver holds the lease the loop passes the order over; when the lease ends, the loop takes it."""
    alice = investor()
    await desk.deposit(alice)
    queue = desk.stocks.state.saga.queue
    desk.network.cut("wallet")
    order = (await desk.place(alice)).json()
    desk.network.mend()
    desk.clock.advance(1)
    assert await queue.take_due(10) == [order["id"]]
    assert await queue.take_due(10) == []
    assert await desk.stocks.state.saga.driver.step() == 0
    desk.clock.advance(2)
    assert await desk.stocks.state.saga.driver.step() == 1
    assert (await desk.order(alice, order["id"]))["status"] == "completed"


async def test_two_replicas_driving_one_order_do_no_harm(make_desk: DeskFactory) -> None:
    """Both drive every step of the same order at the same time; money and shares move once."""
    one, two = await make_desk(), await make_desk()
    alice = investor()
    await one.deposit(alice, "1000.00")
    one.network.cut("wallet")
    order_id = (await one.place(alice, quantity="2")).json()["id"]
    one.network.mend()
    sagas = [desk.stocks.state.saga for desk in (one, two, one, two)]
    rows = [await saga.steps.load(order_id) for saga in sagas]
    await asyncio.gather(*(saga.driver.drive_leased(row) for saga, row in zip(sagas, rows, strict=True)))
    order = await one.order(alice, order_id)
    assert (order["status"], order["cost"]) == ("completed", "168.08")
    assert (await one.balance(alice))["total"] == "830.92"
    await one.check_books()


Decide = Callable[[], Awaitable[object]]


async def test_cancel_expiry_trigger_and_rejection_compete_for_one_outcome(desk: Desk) -> None:
    """Whatever comes first decides, the others find it decided, and everything is accounted for."""
    orders = desk.stocks.state.saga.steps
    for first in range(4):
        await desk.tick("83.9580", "84.0420")
        alice = investor()
        await desk.bought(alice, "10")
        order_id = (await desk.place(alice, type="limit", limitPrice="80")).json()["id"]
        decisions: list[Decide] = [
            partial(desk.send, alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"}),
            partial(orders.expire, order_id),
            partial(desk.tick, "70", "71"),
            partial(orders.reject, order_id, Rejection("stale-price", "")),
        ]
        await asyncio.gather(*(decide() for decide in decisions[first:] + decisions[:first]))
        await desk.settle()
        order = await desk.order(alice, order_id)
        assert order["settledAt"] is not None
        assert (await desk.balance(alice))["held"] == "0.00"
        assert (await desk.holding(alice))["quantity"] == ("11" if order["status"] == "completed" else "10")
        await desk.check_books()


async def test_steps_that_are_repeated_change_nothing(desk: Desk) -> None:
    """Every local step finds the state it left and leaves it; the order is as it was."""
    alice = investor()
    await desk.deposit(alice)
    order_id = (await desk.place(alice)).json()["id"]
    orders = desk.stocks.state.saga.steps
    done = await orders.load(order_id)
    for step in (
        orders.start(done),
        orders.execute(done),
        orders.settle(done, None),
        orders.reject(order_id, Rejection("stale-price", "")),
        orders.expire(order_id),
        orders.give_back(order_id),
    ):
        assert await step == done
    assert await orders.load(order_id) == done
    assert (await desk.holding(alice, ALBA))["quantity"] == "1"
