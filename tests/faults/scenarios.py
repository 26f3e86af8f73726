"""What the fault tests do to the brokerage: one scenario for each way an order or an authorization can go.

A scenario has two halves. `prepare` brings about what must be there before, undisturbed, and returns the ids it made;
its databases are copied for every run. `act` is what the faults hit. Ids derive from the requests' keys, so two runs
can be compared row by row.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from subgraphs.shared.timestamps import format_timestamp
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.rules import holding_id_of
from tests.faults.people import NAMES, Clients, Person

STOCK = next(company for company in COMPANIES if company.symbol == "ALBA")
SYMBOL = STOCK.symbol
CURRENCY = STOCK.currency
QUOTED = ("83.9000", "84.1000")
WAITING_PRICE = "70.0000"
"""The limit of an order that no scenario's price reaches."""

# The time in the world of the tests, in milliseconds since the epoch: 15 January 2027, from noon on.
BASE_AT_MS = 1_800_014_400_000
PREPARED_AT_MS = BASE_AT_MS + 5 * 60_000
OVERDUE_AT_MS = BASE_AT_MS + 10 * 60_000
"""When the order of the expiry scenario expires."""
ACTED_AT_MS = BASE_AT_MS + 15 * 60_000
ENDS_AT_MS = BASE_AT_MS + 6 * 3_600_000
"""When every mandate and every other working order ends: far from all the above, but a test may make it that late."""
ENDS = format_timestamp(ENDS_AT_MS)

Ids = dict[str, str]
Prepare = Callable[[Clients], Awaitable[Ids]]
Act = Callable[[Clients, Ids], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens in the brokerage."""

    name: str
    act: Act
    prepare: Prepare


async def register_everybody(clients: Clients) -> dict[str, Person]:
    """The people, in the users service."""
    return {name: await clients.register(name) for name in NAMES}


async def prepare_base(clients: Clients) -> Ids:
    """Alice has money, ten shares, two mandates with Carol and an order that waits; Bob has a little money."""
    await clients.tick(SYMBOL, *QUOTED, seq=1)
    await clients.deposit("alice", "50000.00", CURRENCY, "alice's money")
    await clients.deposit("bob", "100.00", CURRENCY, "bob's money")
    await _traded(clients, "alice", "alice's shares", side="buy", quantity="10")
    capital = await _mandate(clients, "alice's capital mandate", type="capital", currency=CURRENCY, amount="5000.00")
    holding = holding_id_of(clients.people["alice"].id, STOCK.stock_id)
    shares = await _mandate(clients, "alice's shares mandate", type="stockholding", stockholdingId=holding, amount="4")
    await _working(clients, "waiting order", side="buy", type="limit", limitPrice=WAITING_PRICE, quantity="1")
    return {"capital": capital, "shares": shares, "holding": holding}


# ---- parts ----


async def _order(clients: Clients, person: str, key: str, **body: object) -> dict[str, Any]:
    return await clients.order(person, key, stockId=STOCK.stock_id, **body)


async def _traded(clients: Clients, person: str, key: str, **body: object) -> str:
    order = await _order(clients, person, key, **body)
    assert (order["http"], order.get("status")) in ((200, "completed"), (201, "completed")), order
    return str(order["id"])


async def _working(clients: Clients, key: str, **body: object) -> str:
    terms = {"timeInForce": "gtd", "expiresAt": ENDS, **body}
    order = await _order(clients, "alice", key, **terms)
    assert (order["http"], order.get("status")) in ((200, "working"), (201, "working")), order
    return str(order["id"])


async def _refused(clients: Clients, code: str, person: str, key: str, **body: object) -> None:
    order = await _order(clients, person, key, **body)
    assert (order["http"] >= 400, order.get("code")) == (True, code), order


async def _mandate(clients: Clients, key: str, **body: object) -> str:
    created = await clients.authorize("alice", key, brokerId=clients.people["carol"].id, endsAt=ENDS, **body)
    assert (created["http"], created.get("status")) in ((200, "active"), (201, "active")), created
    return str(created["id"])


async def _prepare_nothing(_clients: Clients) -> Ids:
    return {}


async def _prepare_limit_order(clients: Clients) -> Ids:
    order = await _working(clients, "limit order", side="buy", type="limit", limitPrice="80.0000", quantity="2")
    return {"order": order}


async def _prepare_expiring_order(clients: Clients) -> Ids:
    terms = {"side": "sell", "type": "limit", "limitPrice": "99.0000", "quantity": "2"}
    order = await _working(clients, "expiring order", expiresAt=format_timestamp(OVERDUE_AT_MS), **terms)
    return {"order": order}


async def _prepare_revoked_capital(clients: Clients) -> Ids:
    mandate = await _mandate(clients, "short mandate", type="capital", currency=CURRENCY, amount="300.00")
    revoked = await clients.revoke("alice", mandate)
    assert revoked.status_code == 200, revoked.text
    return {"revoked": mandate}


# ---- what the faults hit ----


async def _buy(clients: Clients, _ids: Ids) -> None:
    await _traded(clients, "alice", "buy", side="buy", quantity="3")


async def _buy_short(clients: Clients, _ids: Ids) -> None:
    await _refused(clients, "insufficient-funds", "bob", "buy short", side="buy", quantity="3")


async def _sell(clients: Clients, _ids: Ids) -> None:
    await _traded(clients, "alice", "sell", side="sell", quantity="2.5")


async def _broker_buys(clients: Clients, ids: Ids) -> None:
    await _traded(clients, "carol", "broker buys", side="buy", quantity="7", authorizationId=ids["capital"])


async def _broker_sells(clients: Clients, ids: Ids) -> None:
    await _traded(clients, "carol", "broker sells", side="sell", quantity="3", authorizationId=ids["shares"])


async def _broker_after_revoke(clients: Clients, ids: Ids) -> None:
    await _refused(
        clients,
        "authorization-inactive",
        "carol",
        "after revoke",
        side="buy",
        quantity="1",
        authorizationId=ids["revoked"],
    )


async def _wrong_broker(clients: Clients, ids: Ids) -> None:
    await _refused(
        clients,
        "unknown-authorization",
        "mallory",
        "wrong broker",
        side="buy",
        quantity="1",
        authorizationId=ids["capital"],
    )


async def _failed_authorization(clients: Clients, _ids: Ids) -> None:
    terms = {"type": "capital", "currency": CURRENCY, "amount": "1000.00", "endsAt": ENDS}
    created = await clients.authorize("bob", "too much", brokerId=clients.people["carol"].id, **terms)
    assert (created["http"], created.get("code")) == (422, "insufficient-funds"), created


async def _authorizes_capital(clients: Clients, _ids: Ids) -> None:
    await _mandate(clients, "another mandate", type="capital", currency=CURRENCY, amount="700.00")


async def _authorizes_shares(clients: Clients, ids: Ids) -> None:
    await _mandate(clients, "another share mandate", type="stockholding", stockholdingId=ids["holding"], amount="2")


async def _revokes_capital(clients: Clients, ids: Ids) -> None:
    revoked = await clients.revoke("alice", ids["capital"])
    assert (revoked.status_code, revoked.json().get("status")) == (200, "revoked"), revoked.text


async def _revokes_shares(clients: Clients, ids: Ids) -> None:
    revoked = await clients.revoke("alice", ids["shares"])
    assert (revoked.status_code, revoked.json().get("status")) == (200, "revoked"), revoked.text


async def _cancels(clients: Clients, ids: Ids) -> None:
    cancelled = await clients.cancel("alice", ids["order"])
    assert (cancelled.status_code, cancelled.json().get("status")) == (200, "cancelled"), cancelled.text


async def _expires(clients: Clients, ids: Ids) -> None:
    await clients.order_with_status("alice", ids["order"], "expired")


async def _triggers(clients: Clients, _ids: Ids) -> None:
    await clients.tick(SYMBOL, "79.5000", "79.7000", seq=2)


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("buy", _buy, _prepare_nothing),
        Scenario("buy short of funds", _buy_short, _prepare_nothing),
        Scenario("sell", _sell, _prepare_nothing),
        Scenario("broker buys", _broker_buys, _prepare_nothing),
        Scenario("broker sells", _broker_sells, _prepare_nothing),
        Scenario("broker after revoke", _broker_after_revoke, _prepare_revoked_capital),
        Scenario("wrong broker", _wrong_broker, _prepare_nothing),
        Scenario("capital authorization", _authorizes_capital, _prepare_nothing),
        Scenario("stockholding authorization", _authorizes_shares, _prepare_nothing),
        Scenario("failed authorization", _failed_authorization, _prepare_nothing),
        Scenario("revoke of capital", _revokes_capital, _prepare_nothing),
        Scenario("revoke of shares", _revokes_shares, _prepare_nothing),
        Scenario("cancel", _cancels, _prepare_limit_order),
        Scenario("expiry", _expires, _prepare_expiring_order),
        Scenario("trigger", _triggers, _prepare_limit_order),
    )
}
