"""The services against a small model: whatever is asked in whatever order, both come to the same."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from subgraphs.shared.money import format_amount, format_price, format_quantity
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.rules import holding_id_of
from tests.faults.in_process import Brokerage, running
from tests.faults.model import SHARE, Model, Waiting, deal

STOCK = next(company for company in COMPANIES if company.symbol == "ALBA")

cents = st.integers(1, 400_000)
shares = st.sampled_from((SHARE // 4, SHARE, 2 * SHARE, 3 * SHARE, 10 * SHARE, 333_333))
# Prices move little, so that they often cross what waits for them; one is far off, a gap beyond any hold.
prices = st.integers(800, 880).map(lambda tenths: tenths * 1_000) | st.just(990_000)
sides = st.sampled_from(("buy", "sell"))
kinds = st.sampled_from(("limit", "stop", "stop_limit"))
distances = st.integers(-15, 15)
picks = st.integers(0, 1_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """A creating request and its one answer."""

    broker: bool
    service: str
    path: str
    body: dict[str, Any]
    key: str
    status: int
    answer: dict[str, Any]


def answered(response: httpx.Response) -> dict[str, Any]:
    """The answer without what names the single request."""
    return {name: value for name, value in response.json().items() if name != "requestId"}


class Machine(RuleBasedStateMachine):
    """Random requests, each of which must come to what the model says."""

    brokerage: ClassVar[Brokerage]
    runner: ClassVar[asyncio.Runner]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        number = next(self.numbers)
        self.keys = itertools.count()
        self.asked: list[Asked] = []
        self.alice = self.run(self.brokerage.person("investor", f"alice {number}"))
        self.carol = self.run(self.brokerage.person("broker", f"carol {number}"))
        self.holding = holding_id_of(self.alice.id, STOCK.stock_id)
        self.model = Model(bid=0, ask=0)
        self.move_price(840_000)
        self.deposit(1_500_000)
        self.trade("buy", 20 * SHARE)
        self.authorize_money(200_000)
        self.authorize_shares(3 * SHARE)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def post(self, path: str, *, broker: bool = False, service: str = "stocks", **body: Any) -> dict[str, Any]:
        """A request; its answer with the HTTP status."""
        person = self.carol if broker else self.alice
        key = str(next(self.keys))
        response = self.run(self.brokerage.send(person, service, "POST", path, body, key=key))
        self.asked.append(Asked(broker, service, path, body, key, response.status_code, answered(response)))
        self.repeat(-1)
        return {**response.json(), "http": response.status_code}

    @precondition(lambda self: self.asked)
    @rule(pick=picks)
    def repeat(self, pick: int) -> None:
        """Whatever has happened since, a request that is sent again gets its one answer, yes or no."""
        asked = self.asked[pick if pick < 0 else pick % len(self.asked)]
        person = self.carol if asked.broker else self.alice
        again = self.run(self.brokerage.send(person, asked.service, "POST", asked.path, asked.body, key=asked.key))
        assert (again.status_code, answered(again)) == (asked.status, asked.answer)
        assert again.headers["Idempotent-Replayed"] == "true"

    def order(self, *, broker: bool = False, **body: Any) -> tuple[str, str]:
        """Places an order; its id, and its status or why it was refused."""
        answer = self.post("/orders", broker=broker, stockId=STOCK.stock_id, **body)
        if answer["http"] == 201:
            return answer["id"], answer["status"]
        return answer.get("orderId", ""), answer["code"]

    # ---- the investor ----

    @rule(cents=cents)
    def deposit(self, cents: int) -> None:
        body: dict[str, Any] = {"type": "deposit", "currency": "EUR", "amount": format_amount(cents, "EUR")}
        assert self.post("/transactions", service="wallet", **body)["http"] == 201
        self.model.available += cents

    @rule(cents=cents)
    def withdraw(self, cents: int) -> None:
        body: dict[str, Any] = {"type": "withdraw", "currency": "EUR", "amount": format_amount(cents, "EUR")}
        answer = self.post("/transactions", service="wallet", **body)
        assert answer["http"] == (201 if self.model.withdraw(cents) else 422), answer

    @rule(side=sides, shares=shares)
    def trade(self, side: str, shares: int) -> None:
        _, status = self.order(side=side, quantity=format_quantity(shares))
        assert status == self.model.trade(side, shares)

    @rule(
        side=sides,
        kind=kinds,
        shares=shares,
        limit=distances,
        stop=distances,
        swing=st.lists(prices, min_size=1, max_size=3),
    )
    def wait_for_a_price(self, side: str, kind: str, shares: int, limit: int, stop: int, swing: list[int]) -> None:
        limit, stop = (self.model.price(side) + distance * 1_000 for distance in (limit, stop))
        body: dict[str, Any] = {"side": side, "type": kind, "quantity": format_quantity(shares)}
        if kind != "stop":
            body["limitPrice"] = format_price(limit)
        if kind != "limit":
            body["stopPrice"] = format_price(stop)
        order_id, status = self.order(**body, timeInForce="gtc")
        expected = self.model.wait(order_id, Waiting(side, kind, shares, limit, stop, held=0))
        assert status in (expected, "price-moved" if expected == "rejected" else expected)
        for price in swing:
            self.move_price(price)

    @precondition(lambda self: self.model.waiting)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        order_id = list(self.model.waiting)[pick % len(self.model.waiting)]
        path = f"/orders/{order_id}"
        response = self.run(self.brokerage.send(self.alice, "stocks", "PUT", path, {"status": "cancelled"}))
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
        self.model.cancel(order_id)

    @rule(price=prices)
    def move_price(self, price: int) -> None:
        bid, ask = price - 500, price + 500
        self.run(self.brokerage.tick(STOCK.symbol, format_price(bid), format_price(ask)))
        self.run(self.brokerage.come_to_rest())
        for order_id, status in self.model.move(bid, ask).items():
            order = self.run(self.brokerage.send(self.alice, "stocks", "GET", f"/orders/{order_id}")).json()
            assert order["status"] == status

    @precondition(lambda self: self.model.waiting)
    @rule(swing=st.lists(prices, min_size=2, max_size=4))
    def prices_swing(self, swing: list[int]) -> None:
        for price in swing:
            self.move_price(price)

    # ---- mandates ----

    @rule(cents=cents)
    def authorize_money(self, cents: int) -> None:
        self._authorize("capital", cents, currency="EUR", amount=format_amount(cents, "EUR"))

    @rule(shares=shares)
    def authorize_shares(self, shares: int) -> None:
        amount = format_quantity(shares)
        self._authorize("stockholding", shares, stockholdingId=self.holding, amount=amount)

    def _authorize(self, kind: str, granted: int, **body: Any) -> None:
        answer = self.post("/authorizations", service="users", type=kind, brokerId=self.carol.id, **body)
        if answer["http"] == 201:
            assert answer["status"] == "active"
            assert self.model.authorize(answer["id"], kind, granted)
        else:
            assert answer["code"] in ("insufficient-funds", "insufficient-shares"), answer
            assert not self.model.authorize("", kind, granted)

    @precondition(lambda self: self._mandates(active=True))
    @rule(pick=picks, shares=shares)
    def trade_for_her(self, pick: int, shares: int) -> None:
        self._trade_for_her(self._mandates(active=True), pick, shares)

    @precondition(lambda self: self._mandates(active=True))
    @rule(pick=picks, shares=shares)
    def trade_more_for_her(self, pick: int, shares: int) -> None:
        self._trade_for_her(self._mandates(active=True), pick, shares)

    @precondition(lambda self: self._mandates(active=False))
    @rule(pick=picks, shares=shares)
    def trade_for_her_after_all(self, pick: int, shares: int) -> None:
        self._trade_for_her(self._mandates(active=False), pick, shares)

    def _mandates(self, *, active: bool) -> list[str]:
        return [key for key, mandate in self.model.mandates.items() if mandate.active is active]

    def _trade_for_her(self, mandates: list[str], pick: int, shares: int) -> None:
        mandate_id = mandates[pick % len(mandates)]
        buys = self.model.mandates[mandate_id].kind == "capital"
        side = "buy" if buys else "sell"
        order_id, status = self.order(
            broker=True, side=side, quantity=format_quantity(shares), authorizationId=mandate_id
        )
        expected, continued = self.model.trade_for(mandate_id, shares)
        assert status == expected
        if status == "completed":
            order = self.run(self.brokerage.send(self.carol, "stocks", "GET", f"/orders/{order_id}")).json()
            found = order["rolloverAuthorizationId"]
            brought = shares if buys else deal("sell", shares, self.model.bid, by_broker=True).received
            assert (found is None) == (brought == 0)
            assert continued in ("", found) or brought == 0
            if brought:
                self.model.roll_over(mandate_id, found, brought)

    @precondition(lambda self: self._open_shares())
    @rule(pick=picks, shares=shares)
    def change_commitment(self, pick: int, shares: int) -> None:
        mandate_id = self._open_shares()[pick % len(self._open_shares())]
        body = {"authorizationId": mandate_id, "commitedAmount": format_quantity(shares)}
        path = f"/stockholdings/{self.holding}"
        response = self.run(self.brokerage.send(self.alice, "stocks", "PUT", path, body))
        assert response.status_code == (200 if self.model.change_commitment(mandate_id, shares) else 422)

    def _open_shares(self) -> list[str]:
        mandates = self.model.mandates.items()
        return [key for key, mandate in mandates if mandate.active and mandate.kind == "stockholding"]

    @precondition(lambda self: self.model.mandates)
    @rule(pick=picks, cascade=st.booleans())
    def revoke(self, pick: int, cascade: bool) -> None:
        mandate_id = list(self.model.mandates)[pick % len(self.model.mandates)]
        path = f"/authorizations/{mandate_id}/revoke" + ("" if cascade else "?cascade=false")
        response = self.run(self.brokerage.send(self.alice, "users", "PUT", path))
        assert (response.status_code, response.json()["status"]) == (200, "revoked")
        self.model.revoke(mandate_id, cascade=cascade)

    # ---- what must hold after each ----

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        """Balances, holdings and what remains of every mandate."""
        model = self.model
        balances = self.run(self.brokerage.send(self.alice, "wallet", "GET", "/balance")).json()["balances"]
        parts = (model.available, model.committed("capital"), model.held)
        expected = [format_amount(part, "EUR") for part in (*parts, sum(parts))]
        assert [balances[0][name] for name in ("available", "committed", "held", "total")] == expected
        earned = self.run(self.brokerage.send(self.carol, "wallet", "GET", "/balance")).json()["balances"]
        assert [item["available"] for item in earned] == ([format_amount(model.commissions, "EUR")] if earned else [])
        assert bool(earned) or model.commissions == 0
        if self.model.shares:
            held = self.run(self.brokerage.send(self.alice, "stocks", "GET", f"/stockholdings/{self.holding}")).json()
            names = ("quantity", "freeQuantity", "commitedAmount", "reservedQuantity")
            quantities = (model.shares, model.free, model.committed("stockholding"), model.reserved)
            assert [held[name] for name in names] == [format_quantity(part) for part in quantities]
            average = round(Fraction(model.cost * 100 * SHARE, model.shares))
            assert held["averagePrice"] == format_price(average)

    @invariant()
    def mandates_remain_as_the_model_says(self) -> None:
        """What wallet and stocks tell the investor of each mandate is what the model says; a closed one has nothing."""
        mandates, alice = self.model.mandates, self.alice.caller
        money = self.run(self.brokerage.apps["wallet"].state.service.commitments_by_id(alice, list(mandates)))
        parts = self.run(self.brokerage.apps["stocks"].state.service.stocks.commitments(alice, list(mandates)))
        remaining = {key: commitment.remaining for key, commitment in money.items()}
        remaining |= {key: commitment.remaining for key, (commitment, _) in parts.items()}
        assert remaining == {key: mandate.remaining for key, mandate in mandates.items()}

    def teardown(self) -> None:
        """The books are right; what still waits for a price goes, or the next example's prices would trigger it."""
        assert self.run(self.brokerage.violations()) == ()
        for order_id in self.model.waiting:
            path = f"/orders/{order_id}"
            self.run(self.brokerage.send(self.alice, "stocks", "PUT", path, {"status": "cancelled"}))


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_services_do_what_the_model_says(urls: dict[str, str]) -> None:
    """Orders, triggers, mandates, rollovers and revokes in any order, each repeated once, end as in the model."""
    with asyncio.Runner() as runner:
        context = running(urls)
        Machine.runner, Machine.brokerage = runner, runner.run(context.__aenter__())
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=30,
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(context.__aexit__(None, None, None))
