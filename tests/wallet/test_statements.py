"""Statements: a month's lines, and balances that agree with the journal to the cent."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.shared.errors import Refusal
from subgraphs.shared.money import format_amount
from subgraphs.shared.months import parse_month
from subgraphs.wallet import service as wallet_service
from subgraphs.wallet.rules_operations import Commit, Credit, Hold, Post
from subgraphs.wallet.service import WalletService
from tests.wallet.conftest import STOCKS, USERS, Client, broker, investor, new_id

QUERY = """query($users: [_Any!]!, $month: String!) { _entities(representations: $users) { ... on User {
  statement(month: $month) { id month currencies { currency opening credited debited closing }
  transactions { id amount } }
} } }"""


def moment(text: str) -> int:
    """Milliseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


class Calendar:
    """A clock that tests set."""

    now = 0

    def __call__(self) -> int:
        return self.now


async def test_a_month_has_its_lines_and_balances(database_url: str) -> None:
    """Opening, what came and went, and closing, which the next month opens with; other people's lines are not there."""
    calendar = Calendar()
    database = Database.open(database_url, clock=calendar)
    wallet, alice, carol = WalletService(database), investor(), investor()
    moves: tuple[tuple[str, Caller, Literal["deposit", "withdraw"], str], ...] = (
        ("2026-01-31T23:59:59.999", alice, "deposit", "100.00"),
        ("2026-02-01T00:00:00.000", alice, "withdraw", "30.50"),
        ("2026-02-10T12:00:00.000", carol, "deposit", "7.00"),
        ("2026-02-28T23:59:59.999", alice, "deposit", "0.01"),
        ("2026-03-01T00:00:00.000", alice, "deposit", "5.00"),
    )
    for at, who, kind, amount in moves:
        calendar.now = moment(at)
        await wallet.move(who, kind, "USD", amount, key=None)
    february = await wallet.statement(alice, parse_month("2026-02"))
    assert [(line.kind, line.amount) for line in february.lines] == [("withdraw", 3_050), ("deposit", 1)]
    [dollars] = february.currencies
    assert (dollars.opening, dollars.credited, dollars.debited, dollars.closing) == (10_000, 1, 3_050, 6_951)
    [march] = (await wallet.statement(alice, parse_month("2026-03"))).currencies
    assert (march.opening, march.closing) == (6_951, 7_451)
    assert (await wallet.statement(alice, parse_month("2025-12"))).currencies == ()
    await database.close()


async def test_both_faces_show_the_same(client: Client) -> None:
    """JSON, the table and GraphQL say the same of a month."""
    alice, month = investor(), f"{datetime.now(UTC):%Y-%m}"
    for amount in ("10.00", "2.50"):
        body = {"type": "deposit", "currency": "EUR", "amount": amount}
        assert (await client.send(alice, "POST", "/transactions", json=body)).status_code == 201
    shown = (await client.send(alice, "GET", f"/transactions/statement?month={month}")).json()
    sums = {"currency": "EUR", "opening": "0.00", "credited": "12.50", "debited": "0.00", "closing": "12.50"}
    assert (shown["month"], shown["currencies"]) == (month, [sums])
    table = await client.send(
        alice, "GET", f"/transactions/statement?month={month}", headers={"accept": "text/csv, */*;q=0.1"}
    )
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == f'attachment; filename="wallet-{month}.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["kind"], row["amount"], row["id"]) for row in rows] == [
        ("opening", "0.00", ""),
        *(("deposit", line["amount"], line["id"]) for line in shown["lines"]),
        ("closing", "12.50", ""),
    ]
    users = [{"__typename": "User", "id": alice.id}]
    [user] = (await client.graphql(alice, QUERY, users=users, month=month))["data"]["_entities"]
    assert user["statement"] == {
        "id": f"{alice.id}:{month}",
        "month": month,
        "currencies": [sums],
        "transactions": [{"id": line["id"], "amount": line["amount"]} for line in shown["lines"]],
    }


async def test_a_statement_is_for_its_user_alone(client: Client) -> None:
    """Another user's is not found, and nobody's without a token."""
    alice, carol = investor(), investor()
    users = [{"__typename": "User", "id": alice.id}]
    answer = await client.graphql(carol, QUERY, users=users, month="2026-01")
    assert answer["data"]["_entities"] == [{"statement": None}]
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
    nobody = await client.send(Caller(kind="anonymous", id=""), "GET", "/transactions/statement?month=2026-01")
    assert nobody.status_code == 401


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "1969-01", "2026-01-01"])
async def test_what_is_no_month_is_refused(client: Client, month: str) -> None:
    """The parameter is named by both faces."""
    alice = investor()
    refused = await client.send(alice, "GET", f"/transactions/statement?month={month}")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "month")
    users = [{"__typename": "User", "id": alice.id}]
    answer = await client.graphql(alice, QUERY, users=users, month=month)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_REQUEST"]


async def test_a_month_of_too_many_lines_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line more than an answer holds, and the list is the way to them."""
    monkeypatch.setattr(wallet_service, "LINES_MAX", 1)
    alice, month = investor(), f"{datetime.now(UTC):%Y-%m}"
    body = {"type": "deposit", "currency": "EUR", "amount": "1.00"}
    statuses = []
    for _ in range(2):
        await client.send(alice, "POST", "/transactions", json=body)
        statuses.append(await client.send(alice, "GET", f"/transactions/statement?month={month}"))
    assert [each.status_code for each in statuses] == [200, 422]
    assert statuses[1].json()["code"] == "result-too-large"


DAY_MS = 86_400_000
Kind = Literal["deposit", "withdraw", "buy", "sell", "commit"]
KINDS: tuple[Kind, ...] = ("deposit", "withdraw", "buy", "sell", "commit")
steps = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(KINDS), st.integers(1, 500)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_sums_are_those_of_the_journal(database_url: str, taken: list[tuple[int, Kind, int]]) -> None:
    """Whatever moved, the months follow one another without a gap, and the last one closes with the balance."""
    asyncio.run(_check(database_url, taken))


async def _check(database_url: str, taken: list[tuple[int, Kind, int]]) -> None:
    calendar = Calendar()
    calendar.now = moment("2026-01-15T00:00:00")
    database = Database.open(database_url, clock=calendar)
    wallet, alice, bob = WalletService(database), investor(), broker()
    try:
        for days, kind, amount in taken:
            calendar.now += days * DAY_MS
            await _move(wallet, alice, bob, kind, amount)
        await _compare(wallet, alice)
        await _compare(wallet, bob)
    finally:
        await database.close()


async def _move(wallet: WalletService, alice: Caller, bob: Caller, kind: Kind, amount: int) -> None:
    order = new_id()
    try:
        if kind == "deposit" or kind == "withdraw":
            await wallet.move(alice, kind, "USD", format_amount(amount, "USD"), key=None)
        elif kind == "buy":
            await wallet.apply(STOCKS, Hold(order, alice.id, "USD", amount + 9, None))
            await wallet.apply(STOCKS, Post(order, alice.id, "USD", amount, 2, 3, bob.id))
        elif kind == "sell":
            await wallet.apply(STOCKS, Credit(order, alice.id, "USD", amount + 9, 2, 3, bob.id, None))
        else:
            await wallet.apply(USERS, Commit(order, alice.id, bob.id, "USD", amount))
    except Refusal:
        pass  # there was not enough: nothing moved


async def _compare(wallet: WalletService, user: Caller) -> None:
    left: dict[str, int] = {}
    seen: list[str] = []
    for number in range(24):
        month = parse_month(f"{2026 + number // 12}-{number % 12 + 1:02}")
        statement = await wallet.statement(user, month)
        assert {each.currency: each.opening for each in statement.currencies if each.opening} == left
        left = {each.currency: each.closing for each in statement.currencies if each.closing}
        seen += [line.id for line in statement.lines]
    listed: list[str] = []
    after = None
    while True:
        page = await wallet.transactions(user, after=after, limit=100)
        listed += [line.id for line in page.items]
        after = page.next_cursor
        if after is None:
            break
    assert sorted(seen) == sorted(listed)
    assert left == {each.currency: each.total for each in await wallet.balances(user) if each.total}
