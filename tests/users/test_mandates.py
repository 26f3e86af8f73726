"""Giving, using up and ending mandates, with the real wallet and the real stocks beside users."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from subgraphs.shared.auth import LocalKeys
from subgraphs.shared.database import Connection, Database
from subgraphs.stocks.app import create_app as create_stocks
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.settings import Settings as StocksSettings
from subgraphs.users.saga import SWEEPER_LOCK
from subgraphs.users.settings import Settings
from subgraphs.users.tables import audit_log, idempotency_keys
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.settings import Settings as WalletSettings
from tests.conftest import DatabaseFactory
from tests.users.conftest import Client, Network
from tests.users.desk import ALBA, Desk

CREATE = """mutation Create($input: CreateAuthorizationInput!) {
  createAuthorization(input: $input) { authorization { id status amount } replayed errors { code field } } }"""
REVOKE = """mutation Revoke($id: ID!) {
  revokeAuthorization(input: {id: $id}) { authorization { status } errors { code } } }"""
NOWHERE = str(uuid.uuid4())
END = "2027-01-15T08:05:00.000Z"
"""Five minutes after the clock's start, while tokens still live."""


@pytest.fixture
def peer_urls(fresh_database: DatabaseFactory) -> dict[str, str]:
    """Fresh databases of the peers."""
    return {name: fresh_database(f"subgraphs.{name}") for name in ("wallet", "stocks")}


@pytest.fixture
async def desk(client: Client, peer_urls: dict[str, str]) -> AsyncIterator[Desk]:
    """The three services, an investor with 1000 EUR and a broker."""
    async with AsyncExitStack() as closing:
        databases = {name: Database.open(url, clock=client.clock) for name, url in peer_urls.items()}
        for database in databases.values():
            closing.push_async_callback(database.close)
        keys = LocalKeys(Settings(mode="development", database_url=SecretStr("sqlite:///unused")).published_keys())
        network = Network()
        wallet = create_wallet(
            WalletSettings(mode="development", database_url=SecretStr(peer_urls["wallet"]), users_url="http://users"),
            database=databases["wallet"],
            clock=client.clock,
            user_keys=keys,
            transport=network,
        )
        stocks = create_stocks(
            StocksSettings(
                mode="development",
                database_url=SecretStr(peer_urls["stocks"]),
                feed="manual",
                loops=False,
                wallet_url="http://wallet",
                users_url="http://users",
            ),
            database=databases["stocks"],
            clock=client.clock,
            user_keys=keys,
            transport=network,
        )
        await stocks.state.service.market.list_companies(COMPANIES)
        network.apps.update(users=client.app, wallet=wallet, stocks=stocks)
        client.network.apps.update(wallet=wallet, stocks=stocks)
        desk = Desk(client, await client.person(name="Alice"), await client.person("broker", name="Bob"))
        await desk.deposit(desk.alice, "1000.00")
        yield desk


async def test_a_capital_mandate_sets_money_aside(desk: Desk) -> None:
    """201 and active, with Location; the amount moves from available to committed."""
    response = await desk.create()
    body = response.json()
    assert (response.status_code, body["status"], body["amount"]) == (201, "active", "100.00")
    assert response.headers["location"] == f"/authorizations/{body['id']}"
    assert response.headers["idempotency-key"]
    assert await desk.money() == ("900.00", "100.00")
    assert (await desk.send(desk.bob, "GET", f"/authorizations/{body['id']}")).json()["status"] == "active"


async def test_a_share_mandate_commits_shares(desk: Desk) -> None:
    """The holding's commitedAmount rises, its quantity stays, and the stock is fixed in the mandate."""
    holding = await desk.buy("5")
    response = await desk.create(type="stockholding", stockholdingId=holding["id"], currency=None, amount="3.5")
    assert (response.status_code, response.json()["stockId"]) == (201, ALBA)
    after = await desk.holding()
    assert (after["quantity"], after["commitedAmount"]) == ("5", "3.5")
    given = {"type": "STOCKHOLDING", "brokerId": desk.bob.id, "stockholdingId": holding["id"], "amount": "1.5"}
    answer = await desk.client.graphql(CREATE, {"input": {**given, "idempotencyKey": "k"}}, person=desk.alice)
    assert answer["data"]["createAuthorization"]["authorization"]["status"] == "ACTIVE"
    assert (await desk.holding())["commitedAmount"] == "5"


async def test_more_than_available_is_refused_for_good(desk: Desk) -> None:
    """422 with the code and the id of the failed mandate; the same request gets the same answer, also when richer."""
    first = await desk.create(key="k", amount="1000.01")
    problem = first.json()
    assert (first.status_code, problem["code"]) == (422, "insufficient-funds")
    assert await desk.status(problem["authorizationId"]) == "failed"
    await desk.deposit(desk.alice, "500.00")
    again = await desk.create(key="k", amount="1000.01")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (422, "true")
    assert {**again.json(), "requestId": ""} == {**problem, "requestId": ""}
    assert await desk.money() == ("1500.00", "0.00")


async def test_more_than_the_free_shares_is_refused(desk: Desk) -> None:
    """Shares that are committed already do not count."""
    holding = await desk.buy("5")
    shares = {"type": "stockholding", "stockholdingId": holding["id"], "currency": None}
    await desk.granted(**shares, amount="3")
    response = await desk.create(**shares, amount="2.5")
    assert (response.status_code, response.json()["code"]) == (422, "insufficient-shares")
    assert (await desk.holding())["commitedAmount"] == "3"


async def test_anothers_holding_looks_like_none(desk: Desk) -> None:
    """A foreign and a missing holding are refused with the same body."""
    holding = await desk.buy("5")
    eve = await desk.client.person(name="Eve")
    bodies = []
    for stockholding in (holding["id"], NOWHERE):
        response = await desk.create(eve, type="stockholding", stockholdingId=stockholding, currency=None, amount="1")
        bodies.append({**response.json(), "requestId": ""})
    assert bodies[0] == bodies[1]
    assert (response.status_code, bodies[0]["code"]) == (422, "unknown-stockholding")


async def test_one_replica_at_a_time_ends_mandates(desk: Desk) -> None:
    """While another sweeps, a replica leaves to it the mandates whose end has come."""
    mandate = await desk.granted(endsAt=END)
    desk.client.clock.advance(300)
    async with desk.client.database.advisory_lock(SWEEPER_LOCK) as lock:
        assert lock.held
        await desk.saga.driver.step()
        assert await desk.status(mandate) == "active"
    await desk.saga.driver.step()
    assert await desk.status(mandate) == "expired"


Line = tuple[str, ...]
"""Action, subject, actor, on behalf of whom."""


async def lines_of(desk: Desk) -> list[Line]:
    """What the audit log has of mandates, oldest first."""
    shown = (audit_log.c.action, audit_log.c.subject, audit_log.c.actor_id, audit_log.c.on_behalf_of)
    statement = select(*shown).where(audit_log.c.action.startswith("authorization.")).order_by(audit_log.c.id)
    async with desk.client.database.reading() as connection:
        return [tuple(row) for row in (await connection.execute(statement)).all()]


async def test_each_step_of_a_mandate_is_in_the_audit_log(desk: Desk) -> None:
    """Given, active, rolled over, revoking and revoked: the investor's acts, and on the investor's behalf the rest."""
    alice = desk.alice.id
    mandate = await desk.granted()
    rolled = (await desk.roll_over(mandate, str(uuid.uuid4()), amount="10.00")).json()["authorizationId"]
    assert rolled == mandate
    await desk.revoke(mandate)
    await desk.revoke(mandate)
    assert await lines_of(desk) == [
        ("authorization.create", mandate, alice, ""),
        ("authorization.active", mandate, "users", alice),
        ("authorization.rollover", mandate, "stocks", alice),
        ("authorization.revoke", mandate, alice, ""),
        ("authorization.revoked", mandate, "users", alice),
    ]


async def test_the_audit_log_tells_a_failure_and_an_expiry(desk: Desk) -> None:
    """A mandate that its peer refuses has failed for a reason; one whose end has come expires, which users decides."""
    alice = desk.alice.id
    failed = (await desk.create(amount="5000.00")).json()["authorizationId"]
    over = await desk.granted(endsAt=END)
    desk.client.clock.advance(300)
    await desk.settle()
    assert await desk.status(over) == "expired"
    assert await lines_of(desk) == [
        ("authorization.create", failed, alice, ""),
        ("authorization.failed", failed, "users", alice),
        ("authorization.create", over, alice, ""),
        ("authorization.active", over, "users", alice),
        ("authorization.expire", over, "users", alice),
        ("authorization.expired", over, "users", alice),
    ]
    reason = select(audit_log.c.details).where(audit_log.c.action == "authorization.failed")
    async with desk.client.database.reading() as connection:
        details: str = (await connection.execute(reason)).scalar_one()
    assert orjson.loads(details) == {"reason": "insufficient-funds"}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"brokerId": NOWHERE}, "unknown-broker", "brokerId"),
    ({"brokerId": "../users"}, "invalid-request", "brokerId"),
    ({"currency": None}, "invalid-request", "currency"),
    ({"currency": "XXY"}, "unknown-currency", "currency"),
    ({"stockholdingId": NOWHERE}, "invalid-request", "stockholdingId"),
    ({"type": "stockholding"}, "invalid-request", "stockholdingId"),
    (
        {"type": "stockholding", "currency": None, "stockholdingId": "../market/ticks"},
        "invalid-request",
        "stockholdingId",
    ),
    ({"amount": "0"}, "invalid-amount", "amount"),
    ({"amount": "-1"}, "invalid-amount", "amount"),
    ({"amount": "1.001"}, "invalid-amount", "amount"),
    ({"amount": "99999999999999"}, "invalid-amount", "amount"),
    ({"endsAt": "2020-01-01T00:00:00Z"}, "invalid-window", "endsAt"),
    ({"startsAt": "2030-01-02T00:00:00Z", "endsAt": "2030-01-01T00:00:00Z"}, "invalid-window", "endsAt"),
]


async def test_bad_requests_are_refused_over_both_faces(desk: Desk) -> None:
    """422 over REST, a payload error over GraphQL, with the same code and field; nothing is written."""
    for changes, code, field in REFUSED:
        response = await desk.create(**changes)
        assert (response.status_code, response.json()["code"]) == (422, code), changes
        assert field in [error["field"] for error in response.json()["errors"]], changes
        body = {"type": "capital", "brokerId": desk.bob.id, "currency": "EUR", "amount": "100.00", **changes}
        given = {**body, "type": body["type"].upper(), "idempotencyKey": str(uuid.uuid4())}
        answer = await desk.client.graphql(CREATE, {"input": given}, person=desk.alice)
        payload = answer["data"]["createAuthorization"]
        assert payload["authorization"] is None, changes
        refusals = [(each["code"], each["field"]) for each in payload["errors"]]
        assert (code.replace("-", "_").upper(), field) in refusals, changes
    assert (await desk.send(desk.alice, "GET", "/authorizations")).json()["items"] == []


async def test_unreadable_members_are_refused(desk: Desk) -> None:
    """Numbers for strings, no times, unknown and missing members: 422, and the member is named."""
    unreadable: list[dict[str, Any]] = [{"amount": 100}, {"startsAt": "tomorrow"}, {"surprise": 1}, {"amount": None}]
    for changes in unreadable:
        response = await desk.create(**changes)
        assert (response.status_code, response.json()["code"]) == (422, "invalid-request"), changes
        assert [error["field"] for error in response.json()["errors"]] == list(changes)


async def test_only_investors_give_mandates(desk: Desk) -> None:
    """A broker is the wrong kind of caller; an investor is no broker to choose."""
    response = await desk.create(desk.bob, brokerId=desk.bob.id)
    assert (response.status_code, response.json()["code"]) == (403, "investors-only")
    eve = await desk.client.person()
    assert (await desk.create(brokerId=eve.id)).json()["code"] == "unknown-broker"
    assert (await desk.create(brokerId=desk.alice.id)).json()["code"] == "self-authorization"


async def test_a_repetition_gets_the_first_answer(desk: Desk) -> None:
    """Same key and body: one mandate and the answer of the first time, even after it was revoked."""
    first = await desk.create(key="k")
    await desk.revoke(first.json()["id"])
    again = await desk.create(key="k")
    assert (again.status_code, again.json()) == (201, first.json())
    assert (again.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)
    other = await desk.create(key="k", amount="7")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_mandate_leads_to_what_remains_of_it(desk: Desk) -> None:
    """Both parties read it at the wallet or at stocks; there is nothing there until something is set aside."""
    holding = await desk.buy("5")
    shares: dict[str, Any] = {"type": "stockholding", "stockholdingId": holding["id"], "currency": None, "amount": "2"}
    opened = (await desk.create(**shares)).json()
    desk.client.network.down.add("wallet")
    pending = (await desk.create()).json()
    assert (await desk.send(desk.alice, "GET", pending["commitmentPath"], host="wallet")).status_code == 404
    desk.client.network.down.clear()
    await desk.settle()
    for mandate, host, remaining in ((opened, "stocks", "2"), (pending, "wallet", "100.00")):
        for person in (desk.alice, desk.bob):
            found = (await desk.send(person, "GET", f"/authorizations/{mandate['id']}")).json()
            shown = await desk.send(person, "GET", found["commitmentPath"], host=host)
            assert (shown.status_code, shown.json()["remaining"], shown.json()["status"]) == (200, remaining, "open")


async def test_a_mandate_that_begins_later_is_scheduled(desk: Desk) -> None:
    """201 and scheduled, its money set aside; a repetition says so for ever, while the mandate becomes active."""
    first = await desk.create(key="k", startsAt=END)
    assert (first.status_code, first.json()["status"]) == (201, "scheduled")
    assert await desk.money() == ("900.00", "100.00")
    desk.client.clock.advance(300)
    assert await desk.status(first.json()["id"]) == "active"
    again = await desk.create(key="k", startsAt=END)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
    given = {"type": "CAPITAL", "brokerId": desk.bob.id, "currency": "EUR", "amount": "100.00", "startsAt": END}
    answer = await desk.client.graphql(CREATE, {"input": {**given, "idempotencyKey": "k"}}, person=desk.alice)
    payload = answer["data"]["createAuthorization"]
    assert (payload["authorization"]["status"], payload["replayed"]) == ("SCHEDULED", True)


async def test_an_answer_of_before_there_was_scheduled_stays_as_it_was(desk: Desk) -> None:
    """What was stored without it had been shown as active, and a repetition is equal to the first answer."""
    mandate = (await desk.create(key="k", startsAt=END)).json()["id"]

    async def forget_begun(connection: Connection) -> None:
        of_key = idempotency_keys.c.key == "k"
        stored = orjson.loads((await connection.execute(select(idempotency_keys.c.result).where(of_key))).scalar_one())
        assert stored.pop("begun") is False
        await connection.execute(update(idempotency_keys).where(of_key).values(result=orjson.dumps(stored).decode()))

    await desk.client.database.write(forget_begun)
    again = await desk.create(key="k", startsAt=END)
    assert (again.status_code, again.json()["status"]) == (201, "active")
    assert await desk.status(mandate) == "scheduled"


async def test_a_mandate_that_begins_while_it_is_opened_is_active(desk: Desk) -> None:
    """The first answer says how it stands when it is opened, not when it was asked for."""
    desk.client.network.down.add("wallet")
    begins = "2027-01-15T08:00:02.000Z"
    assert (await desk.create(key="k", startsAt=begins)).json()["status"] == "pending"
    desk.client.network.down.clear()
    await desk.settle()
    assert (await desk.create(key="k", startsAt=begins)).json()["status"] == "active"


async def test_a_scheduled_mandate_is_revoked_as_an_active_one_is(desk: Desk) -> None:
    """The money is the investor's again, and the beginning of the window changes nothing any more."""
    mandate = (await desk.create(startsAt=END)).json()["id"]
    assert (await desk.revoke(mandate)).json()["status"] == "revoked"
    assert await desk.money() == ("1000.00", "0.00")
    desk.client.clock.advance(300)
    assert await desk.status(mandate) == "revoked"


async def test_concurrent_duplicates_have_one_effect(desk: Desk) -> None:
    """Five at once with one key make one mandate and commit its amount once."""
    responses = await asyncio.gather(*(desk.create(key="k") for _ in range(5)))
    assert {response.status_code for response in responses} <= {201, 202}
    assert len({response.json()["id"] for response in responses}) == 1
    await desk.settle()
    assert await desk.money() == ("900.00", "100.00")


async def test_while_the_wallet_is_down_a_mandate_is_pending(desk: Desk) -> None:
    """202 with Location, the same for a repetition; once the wallet is back the loop makes it active, and then 201."""
    desk.client.network.down.add("wallet")
    first = await desk.create(key="k")
    assert (first.status_code, first.json()["status"]) == (202, "pending")
    assert (await desk.create(key="k")).status_code == 202
    given = {"type": "CAPITAL", "brokerId": desk.bob.id, "currency": "EUR", "amount": "100.00", "idempotencyKey": "k"}
    answer = await desk.client.graphql(CREATE, {"input": given}, person=desk.alice)
    payload = answer["data"]["createAuthorization"]
    assert (payload["authorization"]["id"], payload["authorization"]["status"]) == (first.json()["id"], "PENDING")
    assert (payload["replayed"], payload["errors"]) == (True, [])
    assert "\ntrifolio_authorizations_unfinished 1\n" in (await desk.client.http.get("/metrics")).text
    desk.client.network.down.clear()
    await desk.settle()
    assert "\ntrifolio_authorizations_unfinished 0\n" in (await desk.client.http.get("/metrics")).text
    again = await desk.create(key="k")
    assert (again.status_code, again.json()["status"]) == (201, "active")
    assert again.json()["id"] == first.json()["id"]
    assert await desk.money() == ("900.00", "100.00")


async def test_a_lost_reply_commits_once(desk: Desk) -> None:
    """The wallet did it and its answer was lost: the next attempt finds it done."""
    desk.client.network.losing.add("wallet")
    created = await desk.create()
    assert created.status_code == 202
    assert await desk.money() == ("900.00", "100.00")
    desk.client.network.losing.clear()
    await desk.settle()
    assert await desk.status(created.json()["id"]) == "active"
    assert await desk.money() == ("900.00", "100.00")


@pytest.mark.parametrize("trouble", ["down", "losing"])
async def test_a_mandate_that_cannot_be_opened_in_time_fails(desk: Desk, trouble: str) -> None:
    """After 30 s it is closed and failed, whether or not the wallet had committed the money, which is free again."""
    getattr(desk.client.network, trouble).add("wallet")
    created = await desk.create(key="k")
    desk.client.clock.advance(31)
    await desk.saga.driver.step()
    assert await desk.status(created.json()["id"]) == "pending"
    getattr(desk.client.network, trouble).clear()
    await desk.settle()
    assert await desk.status(created.json()["id"]) == "failed"
    assert (await desk.create(key="k")).json()["code"] == "authorization-timed-out"
    assert await desk.money() == ("1000.00", "0.00")


async def test_without_stocks_a_share_mandate_writes_nothing(desk: Desk) -> None:
    """503 with Retry-After before anything is written: the same key works later."""
    holding = await desk.buy("5")
    desk.client.network.down.add("stocks")
    shares = {"type": "stockholding", "stockholdingId": holding["id"], "currency": None, "amount": "1"}
    refused = await desk.create(key="k", **shares)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "unavailable", "1")
    desk.client.network.down.clear()
    assert (await desk.create(key="k", **shares)).status_code == 201


async def test_a_revoke_gives_the_rest_back_and_is_repeatable(desk: Desk) -> None:
    """200 revoked, the money available again, and the same answer at every repetition."""
    mandate = await desk.granted()
    responses = [await desk.revoke(mandate) for _ in range(2)]
    assert [response.status_code for response in responses] == [200, 200]
    assert [response.json()["status"] for response in responses] == ["revoked", "revoked"]
    assert responses[0].json() == responses[1].json()
    assert await desk.money() == ("1000.00", "0.00")


async def test_only_the_investor_revokes(desk: Desk) -> None:
    """The broker is told that this is the investor's to do, a stranger that there is nothing; the mandate stays."""
    mandate = await desk.granted()
    eve = await desk.client.person()
    answers = [(await desk.revoke(mandate, person)) for person in (desk.bob, eve)]
    assert [answer.status_code for answer in answers] == [403, 404]
    assert answers[0].json()["code"] == "not-the-investor"
    assert await desk.status(mandate) == "active"


async def test_a_revoke_counts_while_the_wallet_is_down(desk: Desk) -> None:
    """202 revoking at once, revoked once the wallet answers."""
    mandate = await desk.granted()
    desk.client.network.down.add("wallet")
    response = await desk.revoke(mandate)
    assert (response.status_code, response.json()["status"]) == (202, "revoking")
    desk.client.network.down.clear()
    await desk.settle()
    assert (await desk.revoke(mandate)).status_code == 200
    assert await desk.money() == ("1000.00", "0.00")


@pytest.mark.parametrize("trouble", ["down", "losing"])
async def test_a_pending_mandate_can_be_revoked(desk: Desk, trouble: str) -> None:
    """Whether or not its opening had reached the wallet, nothing stays committed, and the creation's answer is kept."""
    getattr(desk.client.network, trouble).add("wallet")
    created = await desk.create(key="k")
    mandate = created.json()["id"]
    accepted = await desk.revoke(mandate)
    assert (accepted.status_code, accepted.headers["location"]) == (202, f"/authorizations/{mandate}")
    getattr(desk.client.network, trouble).clear()
    await desk.settle()
    assert await desk.status(mandate) == "revoked"
    assert await desk.money() == ("1000.00", "0.00")
    repeated = [await desk.create(key="k") for _ in range(2)]
    assert [(each.status_code, each.json()["status"]) for each in repeated] == [(201, "revoked")] * 2


async def test_a_mandate_ends_by_itself(desk: Desk) -> None:
    """When its end has come the sweeper closes it: expired, and the money is free."""
    mandate = await desk.granted(endsAt=END)
    desk.client.clock.advance(299)
    await desk.saga.driver.step()
    assert await desk.status(mandate) == "active"
    desk.client.clock.advance(1)
    await desk.saga.driver.step()
    assert await desk.status(mandate) == "expired"
    assert await desk.money() == ("1000.00", "0.00")
    assert (await desk.revoke(mandate)).json()["status"] == "expired"


async def test_a_rollover_extends_the_mandate_over_the_same_asset(desk: Desk) -> None:
    """Proceeds in the mandate's own currency are added to it; the order's answer never changes."""
    mandate, order = await desk.granted(), str(uuid.uuid4())
    answers = [await desk.roll_over(mandate, order) for _ in range(2)]
    assert [answer.json() for answer in answers] == [
        {"authorizationId": mandate, "investorId": desk.alice.id, "brokerId": desk.bob.id}
    ] * 2
    assert (await desk.send(desk.alice, "GET", f"/authorizations/{mandate}")).json()["amount"] == "140.00"


async def test_a_rollover_into_another_asset_makes_a_child(desk: Desk) -> None:
    """The child has the same broker and end and names its parent; the next one of the asset extends it."""
    mandate = await desk.granted(endsAt=END)
    holding = str(uuid.uuid4())
    shares = {"type": "stockholding", "stockholdingId": holding, "stockId": ALBA, "amount": "2"}
    child = (await desk.roll_over(mandate, str(uuid.uuid4()), **shares)).json()["authorizationId"]
    body = (await desk.send(desk.alice, "GET", f"/authorizations/{child}")).json()
    assert (body["parentId"], body["status"], body["amount"]) == (mandate, "active", "2")
    assert (body["broker"]["id"], body["endsAt"], body["stockholdingId"]) == (
        desk.bob.id,
        END,
        holding,
    )
    assert (await desk.roll_over(mandate, str(uuid.uuid4()), **shares)).json()["authorizationId"] == child
    back = await desk.roll_over(child, str(uuid.uuid4()))
    assert back.json()["authorizationId"] == mandate


async def test_no_rollover_after_the_end(desk: Desk) -> None:
    """Once the used mandate is revoked or over, or nothing came in, the answer is none, and stays none."""
    revoked, over = await desk.granted(), await desk.granted(endsAt=END)
    alive = await desk.granted()
    await desk.revoke(revoked)
    desk.client.clock.advance(300)
    orders = {mandate: str(uuid.uuid4()) for mandate in (revoked, over, alive)}
    amounts = {revoked: "40.00", over: "40.00", alive: "0.00"}
    for _ in range(2):
        for mandate, order in orders.items():
            answer = await desk.roll_over(mandate, order, amount=amounts[mandate])
            assert (answer.status_code, answer.json()["authorizationId"]) == (200, None)


async def test_a_rollover_is_a_system_operation(desk: Desk) -> None:
    """Users and other services get 403, nobody 401; an order cannot roll over twice, differently, or from nowhere."""
    mandate, order = await desk.granted(), str(uuid.uuid4())
    body = {"orderId": order, "authorizationId": mandate, "type": "capital", "currency": "EUR", "amount": "40.00"}
    callers = [desk.bob.bearer, desk.alice.bearer, desk.client.service_bearer("wallet"), {}]
    codes = [
        (await desk.client.http.post("/authorizations", json=body, headers=headers)).status_code for headers in callers
    ]
    assert codes == [403, 403, 403, 401]
    await desk.roll_over(mandate, order)
    assert (await desk.roll_over(mandate, order, amount="41.00")).json()["code"] == "idempotency-key-reused"
    assert (await desk.roll_over(NOWHERE, str(uuid.uuid4()))).status_code == 404
    halves = await desk.roll_over(mandate, str(uuid.uuid4()), type="stockholding")
    assert (halves.status_code, halves.json()["code"]) == (422, "invalid-request")


@pytest.mark.parametrize(("query", "child_status"), [("", "revoked"), ("?cascade=false", "active")])
async def test_a_revoke_takes_the_family_along_unless_told_not_to(desk: Desk, query: str, child_status: str) -> None:
    """Everything rolled over from the same root ends too; with cascade=false the children stay."""
    mandate = await desk.granted()
    child = (await desk.roll_over(mandate, str(uuid.uuid4()), currency="USD")).json()["authorizationId"]
    response = await desk.revoke(mandate, query=query)
    assert (response.status_code, response.json()["status"]) == (200, "revoked")
    await desk.settle()
    assert await desk.status(child) == child_status


async def test_a_revoke_of_a_child_takes_the_root_along(desk: Desk) -> None:
    """The family is that of the root, whichever member is named."""
    mandate = await desk.granted()
    child = (await desk.roll_over(mandate, str(uuid.uuid4()), currency="USD")).json()["authorizationId"]
    await desk.revoke(child)
    await desk.settle()
    assert await desk.status(mandate) == "revoked"


async def test_a_kept_child_rolls_over_although_its_root_is_revoked(desk: Desk) -> None:
    """Only the used mandate has to be active: what it brings in the root's asset becomes a new child of the family."""
    mandate = await desk.granted()
    child = (await desk.roll_over(mandate, str(uuid.uuid4()), currency="USD")).json()["authorizationId"]
    await desk.revoke(mandate, query="?cascade=false")
    grandchild = (await desk.roll_over(child, str(uuid.uuid4()))).json()["authorizationId"]
    assert grandchild not in (None, mandate, child)
    shown = (await desk.send(desk.alice, "GET", f"/authorizations/{grandchild}")).json()
    assert (shown["parentId"], shown["status"], shown["amount"]) == (child, "active", "40.00")
    assert (await desk.roll_over(child, str(uuid.uuid4()))).json()["authorizationId"] == grandchild
    await desk.revoke(mandate)
    await desk.settle()
    assert {await desk.status(each) for each in (mandate, child, grandchild)} == {"revoked"}


async def test_a_rollover_racing_a_revoke_leaves_no_orphan(desk: Desk) -> None:
    """Whoever comes first: no child stays active under a revoked root."""
    for number in range(10):
        mandate = await desk.granted(amount="1.00")
        rolled, _ = await asyncio.gather(
            desk.roll_over(mandate, str(uuid.uuid4()), currency="USD"), desk.revoke(mandate)
        )
        child = rolled.json()["authorizationId"]
        await desk.settle()
        assert child is None or await desk.status(child) == "revoked", f"round {number}"


async def test_two_drivers_of_one_mandate_do_it_once(desk: Desk) -> None:
    """Two replicas that step at once share the work; the money is committed once."""
    desk.client.network.down.add("wallet")
    for _ in range(5):
        await desk.create(amount="10.00")
    desk.client.network.down.clear()
    desk.client.network.calls.clear()
    desk.client.clock.advance(3)
    driven = await asyncio.gather(desk.saga.driver.step(), desk.saga.driver.step())
    assert sum(driven) == 5
    assert desk.client.network.calls.count("wallet PUT /balance") == 5
    assert await desk.money() == ("950.00", "50.00")


async def test_a_driver_that_lost_its_lease_decides_nothing(desk: Desk) -> None:
    """A driver that was paused past its lease finds that the next one has decided, and leaves it so."""
    desk.client.network.down.add("wallet")
    created = (await desk.create()).json()
    desk.client.clock.advance(3)
    slow = (await desk.saga.queue.take([created["id"]], "slow driver"))[0]
    desk.client.clock.advance(31)
    desk.client.network.down.clear()
    await desk.saga.driver.step()
    assert await desk.status(created["id"]) == "failed"
    assert await desk.saga._steps.settle(slow.authorization, "slow driver", "ACTIVE") is False
    assert await desk.status(created["id"]) == "failed"


async def test_the_same_through_graphql(desk: Desk) -> None:
    """A mandate is created and revoked through mutations; refusals are payload errors, no token is a top-level one."""
    given = {"type": "CAPITAL", "brokerId": desk.bob.id, "currency": "EUR", "amount": "50.00", "idempotencyKey": "k"}
    created = (await desk.client.graphql(CREATE, {"input": given}, person=desk.alice))["data"]["createAuthorization"]
    assert created["errors"] == []
    assert (created["authorization"]["status"], created["authorization"]["amount"]) == ("ACTIVE", "50.00")
    again = (await desk.client.graphql(CREATE, {"input": given}, person=desk.alice))["data"]["createAuthorization"]
    assert (created["replayed"], again) == (False, {**created, "replayed": True})
    over_rest = await desk.create(key="k", amount="50.00")
    assert over_rest.json()["id"] == created["authorization"]["id"]
    short = {**given, "amount": "5000.00", "idempotencyKey": "l"}
    refused = (await desk.client.graphql(CREATE, {"input": short}, person=desk.alice))["data"]["createAuthorization"]
    assert refused["errors"] == [{"code": "INSUFFICIENT_FUNDS", "field": None}]
    assert refused["authorization"]["status"] == "FAILED"
    variables = {"id": created["authorization"]["id"]}
    by_broker = await desk.client.graphql(REVOKE, variables, person=desk.bob)
    assert by_broker["data"]["revokeAuthorization"]["errors"] == [{"code": "NOT_THE_INVESTOR"}]
    revoked = await desk.client.graphql(REVOKE, variables, person=desk.alice)
    assert revoked["data"]["revokeAuthorization"] == {"authorization": {"status": "REVOKED"}, "errors": []}
    nobody = await desk.client.graphql(REVOKE, variables)
    assert nobody["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_mandate_refused_for_its_time_stays_refused(desk: Desk) -> None:
    """A window that is over is refused under its key; the same words come back on both faces."""
    over = "2020-01-01T00:00:00Z"
    first = await desk.create(key="k", endsAt=over)
    again = await desk.create(key="k", endsAt=over)
    assert (first.status_code, first.json()["code"]) == (422, "invalid-window")
    assert ("idempotent-replayed" in first.headers, "idempotent-replayed" in again.headers) == (False, True)
    assert {**again.json(), "requestId": ""} == {**first.json(), "requestId": ""}
    reused = await desk.create(key="k")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_holding_that_was_not_there_stays_unknown(desk: Desk) -> None:
    """A mandate over shares that the investor has since bought is refused as it was; under another key it is given."""
    holding: dict[str, Any] = {"type": "stockholding", "currency": None, "amount": "1"}
    unknown = "00000000-0000-4000-8000-000000000000"
    first = await desk.create(key="k", stockholdingId=unknown, **holding)
    assert first.json()["code"] == "unknown-stockholding"
    again = await desk.create(key="k", stockholdingId=unknown, **holding)
    assert (again.json()["code"], again.headers["idempotent-replayed"]) == ("unknown-stockholding", "true")


async def test_while_stocks_is_down_nothing_is_kept(desk: Desk) -> None:
    """A mandate over shares is 503 while stocks cannot be asked, and given under the same key afterwards."""
    holding_id = (await desk.buy("3"))["id"]
    over: dict[str, Any] = {"type": "stockholding", "currency": None, "amount": "1", "stockholdingId": holding_id}
    desk.client.network.down.add("stocks")
    assert (await desk.create(key="k", **over)).status_code == 503
    desk.client.network.down.clear()
    given = await desk.create(key="k", **over)
    assert given.status_code == 201, given.text
    assert "idempotent-replayed" not in given.headers


async def test_too_little_money_stays_too_little(desk: Desk) -> None:
    """A mandate that the wallet refused fails again after a deposit, over REST and as a mutation."""
    first = await desk.create(key="k", amount="5000.00")
    assert (first.status_code, first.json()["code"]) == (422, "insufficient-funds")
    await desk.deposit(desk.alice, "9000.00")
    again = await desk.create(key="k", amount="5000.00")
    assert (again.status_code, again.json()["code"]) == (422, "insufficient-funds")
    given = {"type": "CAPITAL", "brokerId": desk.bob.id, "currency": "EUR", "amount": "5000.00", "idempotencyKey": "k"}
    answer = (await desk.client.graphql(CREATE, {"input": given}, person=desk.alice))["data"]["createAuthorization"]
    assert [error["code"] for error in answer["errors"]] == ["INSUFFICIENT_FUNDS"]
