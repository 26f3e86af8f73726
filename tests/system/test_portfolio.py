"""The query that the project exists for: three services, one request."""

import json
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from brokerage.demo import COMMITTED_CAPITAL, COMMITTED_QUANTITY, COMMITTED_STOCK, DEPOSITS, PURCHASES
from tests.system.brokerages import PORTFOLIO, ROOT, Brokerage, running_brokerage
from tests.system.conftest import STILL_MARKET

SUPERGRAPH = ROOT / "supergraph.graphql"


def test_one_request_joins_profile_balances_and_holdings(brokerage: Brokerage) -> None:
    """The query brings alice's profile, her money in three currencies and her shares."""
    answer = brokerage.ask(PORTFOLIO, brokerage.fresh_token("alice"))
    assert "errors" not in answer
    me = answer["data"]["me"]
    assert (me["name"], me["email"]) == ("Alice", "alice@example.com")
    balances = {balance["currency"]: balance for balance in me["balances"]}
    assert balances.keys() == DEPOSITS["alice"].keys()
    assert balances["USD"]["committed"] == COMMITTED_CAPITAL["amount"]
    holdings = {holding["stock"]["symbol"]: holding for holding in me["holdings"]}
    assert {symbol: holding["quantity"] for symbol, holding in holdings.items()} == PURCHASES["alice"]
    assert holdings[COMMITTED_STOCK]["committedAmount"] == COMMITTED_QUANTITY


STATEMENT = """query($month: String!) { me { statement(month: $month) {
  currencies { currency opening closing } transactions { kind amount currency }
  trading { currency bought fees } trades { side cost fee currency }
} } }"""


def test_a_statement_joins_bookings_and_trades(brokerage: Brokerage) -> None:
    """One query has both sides of a month, and what trades cost is what the wallet booked for them."""
    month = f"{datetime.now(UTC):%Y-%m}"
    answer = brokerage.ask(STATEMENT, brokerage.fresh_token("alice"), variables={"month": month})
    assert "errors" not in answer
    statement = answer["data"]["me"]["statement"]
    assert len(statement["trades"]) == len(PURCHASES["alice"])
    for kind, spent in (("TRADE", "cost"), ("FEE", "fee")):
        booked: defaultdict[str, Decimal] = defaultdict(Decimal)
        traded: defaultdict[str, Decimal] = defaultdict(Decimal)
        for line in statement["transactions"]:
            if line["kind"] == kind:
                booked[line["currency"]] += Decimal(line["amount"])
        for trade in statement["trades"]:
            traded[trade["currency"]] += Decimal(trade[spent])
        assert booked == traded


def test_plan_asks_users_first_then_wallet_and_stocks_together(tmp_path: Path) -> None:
    """`trifolio plan` shows three fetches: one to users, then two that wait for it alone."""
    operation = tmp_path / "portfolio.graphql"
    operation.write_text(PORTFOLIO)
    command = (sys.executable, "-m", "trifolio", "plan", "--format", "json")
    files = ("--supergraph", str(SUPERGRAPH), "--operation", str(operation))
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=True)
    fetches = json.loads(done.stdout)["fetches"]
    first = fetches[0]
    assert [fetch["subgraph"] for fetch in fetches] == ["users", "stocks", "wallet"]
    assert [fetch["dependsOn"] for fetch in fetches] == [[], [first["id"]], [first["id"]]]


def test_four_processes_and_one_answer_alike(tmp_path: Path) -> None:
    """The same data folder, served both ways, gives byte for byte the same answer; it is seeded only once."""
    answers = []
    for options in ([], ["--in-process"]):
        with running_brokerage(tmp_path / "data", *options, environment=STILL_MARKET) as brokerage:
            answers.append(brokerage.ask(PORTFOLIO, brokerage.printed_token))
    assert answers[0] == answers[1]
    assert len(answers[0]["data"]["me"]["holdings"]) == len(PURCHASES["alice"])


def test_anonymous_query_is_refused_with_a_code(brokerage: Brokerage) -> None:
    """Without a token `me` is null, with an error that has the path and a code."""
    answer = brokerage.ask(PORTFOLIO)
    assert answer["data"] == {"me": None}
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [(["me"], "UNAUTHENTICATED")]


def test_others_money_and_shares_are_not_shown(brokerage: Brokerage) -> None:
    """Bob sees alice's public profile; what is hers is null, each with its path, NOT_FOUND and the same words."""
    alice = brokerage.ask("{ me { id } }", brokerage.fresh_token("alice"))["data"]["me"]["id"]
    query = "query ($id: ID!) { user(id: $id) { name email balances { total } holdings { id } } }"
    answer = brokerage.ask(query, brokerage.fresh_token("bob"), variables={"id": alice})
    assert answer["data"] == {"user": {"name": "Alice", "email": None, "balances": None, "holdings": None}}
    refusals = {(*error["path"], error["extensions"]["code"]) for error in answer["errors"]}
    assert refusals == {("user", name, "NOT_FOUND") for name in ("email", "balances", "holdings")}
    assert len({error["message"] for error in answer["errors"]}) == 1


def test_subgraphs_answer_the_router_only(four_processes: Brokerage) -> None:
    """A subgraph's own endpoint refuses whoever does not show the router's secret."""
    body = {"query": "{ _service { sdl } }"}
    for service in ("users", "wallet", "stocks"):
        response = httpx.post(f"{four_processes.urls[service]}/graphql", json=body)
        assert response.status_code == httpx.codes.UNAUTHORIZED
        assert "sdl" not in response.text


@pytest.mark.parametrize("path", ["/docs/users", "/docs/wallet", "/docs/stocks"])
def test_one_process_serves_every_page(one_process: Brokerage, path: str) -> None:
    """In one process the services' pages carry their names."""
    response = httpx.get(one_process.urls["router"] + path)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
