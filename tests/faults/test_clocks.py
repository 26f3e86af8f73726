"""Clocks that are set, back and forth, of one service or of all, at every call that a saga makes."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from subgraphs.shared.auth import user_token
from subgraphs.shared.transport import PeerRequest
from subgraphs.stocks.companies import COMPANIES
from tests.faults.in_process import SERVICES, TOKEN_KEY, Brokerage, Person, running

STOCK = next(company for company in COMPANIES if company.symbol == "ALBA")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CALLS_MAX = 20
"""More than the calls of the whole scenario."""


class Steps:
    """Sets clocks at one call between the services, in the order of the calls."""

    def __init__(self, brokerage: Brokerage, off: dict[str, int], who: str, step_ms: int, at: int) -> None:
        self.brokerage, self.off, self.at = brokerage, off, at
        self.set = {name: step_ms for name in SERVICES if who in (name, "all")}
        self.calls = 0

    def __call__(self, _request: PeerRequest) -> bool:
        """Nothing is cut; the clocks are set when it is time."""
        self.calls += 1
        if self.calls == self.at:
            for name, step_ms in self.set.items():
                self.off[name] += step_ms
        return False

    async def ask(self, person: Person, service: str, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """A request by somebody who has just logged in, by that service's time."""
        role = person.caller.role
        assert role is not None
        now = (self.brokerage.clock() + self.off[service]) / 1_000
        token = user_token(TOKEN_KEY, person.id, role, now=now)
        headers = {"authorization": f"Bearer {token}", "idempotency-key": f"{method} {path} {sorted(body.items())}"}
        return await self.brokerage.http.request(method, f"http://{service}{path}", json=dict(body), headers=headers)

    async def send(self, person: Person, service: str, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """The same, until the answer is final."""
        for _ in range(3):
            response = await self.ask(person, service, method, path, body)
            if response.status_code not in (202, 503):
                break
            await self.brokerage.come_to_rest()
        return response


async def scenario(steps: Steps, number: int) -> list[str]:
    """A mandate is given, a broker buys and sells, the rest is taken back: how each request ended."""
    brokerage = steps.brokerage
    alice = await brokerage.person("investor", f"alice {number}")
    carol = await brokerage.person("broker", f"carol {number}")
    deposit = {"type": "deposit", "currency": "EUR", "amount": "5000.00"}
    assert (await steps.send(alice, "wallet", "POST", "/transactions", deposit)).status_code == 201
    with brokerage.network.cut(steps):
        order = {"stockId": STOCK.stock_id, "quantity": "2"}
        ends = [await steps.send(alice, "stocks", "POST", "/orders", {**order, "side": "buy"})]
        given = {"type": "capital", "currency": "EUR", "amount": "1000.00", "brokerId": carol.id}
        mandate = await steps.send(alice, "users", "POST", "/authorizations", given)
        ends.append(mandate)
        if mandate.status_code == 201:
            under = {**order, "authorizationId": mandate.json()["id"]}
            ends.append(await steps.send(carol, "stocks", "POST", "/orders", {**under, "side": "buy"}))
            ends.append(await steps.send(alice, "users", "PUT", f"/authorizations/{mandate.json()['id']}/revoke", {}))
        ends.append(await steps.send(alice, "stocks", "POST", "/orders", {**order, "side": "sell"}))
        await brokerage.come_to_rest()
    return [str(end.json().get("code", end.json().get("status"))) for end in ends]


STEPS = [("all", -HOUR_MS), ("all", HOUR_MS), *((who, step) for who in SERVICES for step in (-MINUTE_MS, MINUTE_MS))]


@pytest.mark.parametrize(("who", "step_ms"), STEPS, ids=[f"{who} {step // 1_000} s" for who, step in STEPS])
async def test_no_step_of_a_clock_stops_a_saga(urls: dict[str, str], who: str, step_ms: int) -> None:
    """Every request ends as without it, at once or when it is sent again, and the books are right.

    A clock that is set forward may make the price of the order under way too old; that is a refusal with its reason.
    """
    off = dict.fromkeys(SERVICES, 0)
    async with running(urls, off) as brokerage:
        for at in itertools.count():
            off.update(dict.fromkeys(SERVICES, 0))
            steps = Steps(brokerage, off, who, step_ms, at)
            ended = await scenario(steps, at)
            if step_ms > 0:
                ended = ["completed" if end == "stale-price" else end for end in ended]
            assert ended == ["completed", "active", "completed", "revoked", "completed"], f"set at call {at}"
            assert await brokerage.violations() == ()
            if at > steps.calls:
                break
        assert 8 < at < CALLS_MAX


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS], ids=["back", "forth"])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_clock_that_is_far_off_alone_is_refused_until_it_is_right(
    urls: dict[str, str], service: str, step_ms: int
) -> None:
    """An hour apart, services refuse one another's tokens; nothing is lost, and all goes on when the clock is right."""
    off = dict.fromkeys(SERVICES, 0)
    async with running(urls, off) as brokerage:
        steps = Steps(brokerage, off, "", 0, at=0)
        alice = await brokerage.person("investor", "alice")
        deposit = {"type": "deposit", "currency": "EUR", "amount": "5000.00"}
        assert (await steps.send(alice, "wallet", "POST", "/transactions", deposit)).status_code == 201
        body = {"stockId": STOCK.stock_id, "side": "buy", "type": "limit", "quantity": "1", "limitPrice": "1"}
        off[service] += step_ms
        told = await steps.ask(alice, "stocks", "POST", "/orders", body)
        assert told.status_code == (201 if service == "users" else 202), told.text
        off[service] -= step_ms
        await brokerage.come_to_rest()
        again = await steps.ask(alice, "stocks", "POST", "/orders", body)
        assert (again.status_code, again.json()["status"]) == (201, "working")
        assert await brokerage.violations() == ()
