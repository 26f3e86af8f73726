"""The GraphQL face: the committed schema, entities as the router asks for them, and who sees what of a user."""

import asyncio
import uuid

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.ext.asyncio import create_async_engine

from subgraphs.shared.database import asyncpg_url
from subgraphs.shared.graphql import sdl_is_current
from subgraphs.stocks import schema as schema_module
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.rules import ERROR_CODES
from subgraphs.stocks.tables import audit_log, metadata
from tests.stocks.conftest import ALBA, USERS, Desk, broker, investor

ENTITIES = "query($representations: [_Any!]!) { _entities(representations: $representations) { __typename %s } }"
HOLDINGS = """... on User { holdings { id quantity committedAmount averagePrice marketValue profitLoss
  stock { symbol name price } } }"""


def test_the_committed_schema_is_current() -> None:
    """`schema.graphql` is what the code prints."""
    assert sdl_is_current(schema_module.schema, schema_module.__file__)


def test_codes_are_unique() -> None:
    """One code has one meaning."""
    assert len({code.code for code in ERROR_CODES}) == len(ERROR_CODES)


async def test_the_portfolio_of_the_viewer(desk: Desk) -> None:
    """The stocks part of the Portfolio query: the viewer's holdings with their values and stocks."""
    alice = investor()
    await desk.bought(alice, "10")
    answer = await desk.graphql(alice, ENTITIES % HOLDINGS, representations=[{"__typename": "User", "id": alice.id}])
    assert "errors" not in answer
    (holding,) = answer["data"]["_entities"][0]["holdings"]
    assert holding["quantity"] == "10"
    assert (holding["averagePrice"], holding["marketValue"], holding["profitLoss"]) == ("84.0420", "839.58", "-0.84")
    assert holding["stock"] == {"symbol": "ALBA", "name": "Alba Windkraft SE", "price": "84.0000"}


async def test_nobody_sees_another_users_things(desk: Desk) -> None:
    """Each private field of another user is null with NOT_FOUND and its path; one's own beside it is answered."""
    alice, bob = investor(), investor()
    await desk.bought(alice, "10")
    await desk.bought(bob, "1")
    selection = "... on User { id holdings { id } orders { edges { node { id } } } portfolioValue { amount } }"
    users = [{"__typename": "User", "id": user.id} for user in (alice, bob)]
    answer = await desk.graphql(bob, ENTITIES % selection, representations=users)
    other, own = answer["data"]["_entities"]
    assert other == {"__typename": "User", "id": alice.id, "holdings": None, "orders": None, "portfolioValue": None}
    assert len(own["holdings"]) == len(own["orders"]["edges"]) == 1
    assert {tuple(error["path"]) for error in answer["errors"]} == {
        ("_entities", 0, name) for name in ("holdings", "orders", "portfolioValue")
    }
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"NOT_FOUND"}
    answer = await desk.graphql(None, ENTITIES % selection, representations=users)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"UNAUTHENTICATED"}


async def test_the_net_worth_adds_balances_and_shares(desk: Desk) -> None:
    """Per currency, with no exchange rates; without the wallet's balances it is null and says why."""
    alice = investor()
    await desk.bought(alice, "10")
    selection = "... on User { netWorth { currency amount } portfolioValue { currency amount } }"
    balances = [{"currency": "EUR", "total": "100.42"}, {"currency": "USD", "total": "7.00"}]
    user = {"__typename": "User", "id": alice.id}
    answer = await desk.graphql(alice, ENTITIES % selection, representations=[{**user, "balances": balances}])
    (found,) = answer["data"]["_entities"]
    assert found["portfolioValue"] == [{"currency": "EUR", "amount": "839.58"}]
    assert found["netWorth"] == [{"currency": "EUR", "amount": "940.00"}, {"currency": "USD", "amount": "7.00"}]
    answer = await desk.graphql(alice, ENTITIES % selection, representations=[{**user, "balances": None}])
    assert answer["data"]["_entities"][0]["netWorth"] is None
    assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    stranger = await desk.graphql(investor(), ENTITIES % selection, representations=[{**user, "balances": balances}])
    assert {error["extensions"]["code"] for error in stranger["errors"]} == {"NOT_FOUND"}


async def test_stocks_have_two_keys(desk: Desk) -> None:
    """The router asks by id or by symbol; a bad representation fails alone."""
    answer = await desk.graphql(
        None,
        ENTITIES % "... on Stock { id symbol }",
        representations=[
            {"__typename": "Stock", "id": ALBA},
            {"__typename": "Stock", "symbol": "HANA"},
            {"__typename": "Stock", "symbol": "NONE"},
            {"__typename": "Stock", "id": 5},
            {"__typename": "Nonsense"},
        ],
    )
    found = answer["data"]["_entities"]
    assert [item and item["symbol"] for item in found] == ["ALBA", "HANA", None, None, None]
    assert [error["path"] for error in answer["errors"]] == [["_entities", 2], ["_entities", 3], ["_entities", 4]]


async def test_a_stock_is_named_by_id_or_symbol(desk: Desk) -> None:
    """Exactly one of the two; an unknown one is null."""
    answer = await desk.graphql(
        None, '{ a: stock(symbol: "ALBA") { id } b: stock(symbol: "NONE") { id } c: stock { id } }'
    )
    assert answer["data"] == {"a": {"id": ALBA}, "b": None, "c": None}
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [(["c"], "INVALID_REQUEST")]


async def test_stocks_come_in_pages(desk: Desk) -> None:
    """A Relay connection, forward only."""
    query = """query($after: String) { stocks(first: 20, after: $after) {
      edges { node { symbol } } pageInfo { hasNextPage endCursor } } }"""
    first = (await desk.graphql(None, query))["data"]["stocks"]
    assert first["pageInfo"]["hasNextPage"]
    second = (await desk.graphql(None, query, after=first["pageInfo"]["endCursor"]))["data"]["stocks"]
    symbols = [edge["node"]["symbol"] for page in (first, second) for edge in page["edges"]]
    assert symbols == [company.symbol for company in COMPANIES]
    assert not second["pageInfo"]["hasNextPage"]


async def test_a_bad_page_of_stocks_nulls_out_nothing_else(desk: Desk) -> None:
    """The list alone is null, with its error; the rest of the query is answered."""
    query = """query($after: String) {
      a: stocks(first: 101) { edges { cursor } } b: stocks(after: $after) { edges { cursor } }
      stock(symbol: "ALBA") { id } }"""
    answer = await desk.graphql(None, query, after="x")
    assert answer["data"] == {"a": None, "b": None, "stock": {"id": ALBA}}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_REQUEST", "INVALID_CURSOR"]


async def test_a_mandates_shares_are_seen_by_its_two_parties(desk: Desk) -> None:
    """Investor and broker see the stock and what remains; the holding itself only the investor; a stranger nothing."""
    alice, bob = investor(), broker()
    holding = await desk.bought(alice, "10")
    authorization = {"__typename": "Authorization", "id": str(uuid.uuid4())}
    body = {
        "op": "open",
        "authorizationId": authorization["id"],
        "investorId": alice.id,
        "brokerId": bob.id,
        "amount": "4",
    }
    assert (await desk.send(USERS, "PUT", f"/stockholdings/{holding['id']}", body)).status_code == 200
    selection = "... on Authorization { remainingQuantity stock { symbol } stockholding { id } }"
    shown = {"__typename": "Authorization", "remainingQuantity": "4", "stock": {"symbol": "ALBA"}}
    nothing = {"__typename": "Authorization", "remainingQuantity": None, "stock": None, "stockholding": None}
    for viewer, expected in (
        (alice, {**shown, "stockholding": {"id": holding["id"]}}),
        (bob, {**shown, "stockholding": None}),
        (investor(), nothing),
        (broker(), nothing),
    ):
        answer = await desk.graphql(viewer, ENTITIES % selection, representations=[authorization])
        assert answer["data"]["_entities"] == [expected]


async def test_orders_of_a_user_are_a_filtered_connection(desk: Desk) -> None:
    """Status, stock and side narrow the orders; each has its stock and its parties."""
    alice = investor()
    await desk.bought(alice, "10")
    desk.clock.advance(1)
    limit = await desk.place(alice, side="sell", type="limit", limitPrice="90", clientOrderId="mine")
    selection = """... on User { orders(first: 5, status: WORKING, side: SELL, clientOrderId: "mine") {
      edges { node { id status side type limitPrice timeInForce investor { id } placedBy { id } authorization { id }
      stock { symbol } } } } }"""
    answer = await desk.graphql(alice, ENTITIES % selection, representations=[{"__typename": "User", "id": alice.id}])
    (edge,) = answer["data"]["_entities"][0]["orders"]["edges"]
    assert edge["node"] == {
        "id": limit.json()["id"],
        "status": "WORKING",
        "side": "SELL",
        "type": "LIMIT",
        "limitPrice": "90.0000",
        "timeInForce": "DAY",
        "investor": {"id": alice.id},
        "placedBy": {"id": alice.id},
        "authorization": None,
        "stock": {"symbol": "ALBA"},
    }


async def test_order_entities_are_for_their_parties(desk: Desk) -> None:
    """The router gets an order by its key for whoever may see it, and NOT_FOUND in its slot otherwise."""
    alice = investor()
    await desk.deposit(alice)
    order = (await desk.place(alice)).json()
    representations = [{"__typename": "Order", "id": order["id"]}, {"__typename": "Order", "id": str(uuid.uuid4())}]
    answer = await desk.graphql(alice, ENTITIES % "... on Order { status price }", representations=representations)
    assert answer["data"]["_entities"] == [
        {"__typename": "Order", "status": "COMPLETED", "price": "84.0420"},
        None,
    ]
    answer = await desk.graphql(investor(), ENTITIES % "... on Order { status }", representations=representations)
    assert answer["data"]["_entities"] == [None, None]


async def test_the_documentation_names_the_documented_routes_only(desk: Desk) -> None:
    """OpenAPI has every public route with the bearer scheme, and no system route or operation."""
    document = (await desk.http["stocks"].get("/openapi.json")).json()
    routes = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert routes >= {
        ("GET", "/stocks"),
        ("GET", "/stocks/{stockId}"),
        ("GET", "/stockholdings"),
        ("GET", "/stockholdings/{stockholdingId}"),
        ("PUT", "/stockholdings/{stockholdingId}"),
        ("GET", "/orders"),
        ("GET", "/orders/{orderId}"),
        ("POST", "/orders"),
        ("PUT", "/orders/{orderId}"),
    }
    assert not any(path.startswith("/market") or "graphql" in path for _, path in routes)
    assert "OpenBody" not in str(document)
    for method, path in routes:
        if path.startswith(("/orders", "/stockholdings")):
            assert document["paths"][path][method.lower()]["security"] == [{"HTTPBearer": []}], path
    assert (await desk.http["stocks"].get("/docs")).status_code == 200


async def test_answers_are_what_the_documentation_says(desk: Desk) -> None:
    """Stocks, holdings, orders and their lists have exactly the members that OpenAPI names."""
    alice = investor()
    await desk.bought(alice, "10")
    order = (await desk.place(alice)).json()
    schemas = (await desk.http["stocks"].get("/openapi.json")).json()["components"]["schemas"]
    answers = {
        "StockBody": (await desk.send(None, "GET", f"/stocks/{ALBA}")).json(),
        "HoldingBody": await desk.holding(alice),
        "OrderBody": order,
        "PageBody_OrderBody_": (await desk.send(alice, "GET", "/orders")).json(),
    }
    for name, answer in answers.items():
        assert set(answer) == set(schemas[name]["properties"]) == set(schemas[name]["required"]), name
    problem, missing = schemas["Problem"], (await desk.send(alice, "GET", "/orders/none")).json()
    assert set(missing) == set(problem["required"]) == set(problem["properties"]) - {"orderId", "smallestQuantity"}


async def test_acts_are_kept_in_the_audit_log(desk: Desk) -> None:
    """Who placed and cancelled which order for whom, and who posted a price."""
    alice = investor()
    await desk.deposit(alice)
    order_id = (await desk.place(alice, type="limit", limitPrice="1")).json()["id"]
    await desk.send(alice, "PUT", f"/orders/{order_id}", {"status": "cancelled"})
    await desk.tick("80", "81")
    columns = (audit_log.c.action, audit_log.c.actor_id, audit_log.c.on_behalf_of, audit_log.c.subject)
    async with desk.databases["stocks"].reading() as connection:
        rows = (await connection.execute(select(*columns).order_by(audit_log.c.id))).all()
    assert [tuple(row) for row in rows] == [
        ("order.placed", alice.id, alice.id, order_id),
        ("order.cancelled", alice.id, alice.id, order_id),
        ("tick.posted", "stocks", "", ALBA),
    ]


def test_the_migrations_make_the_tables(database_url: str) -> None:
    """A migrated database has exactly the tables, columns, indexes and constraints of `tables`."""
    if database_url.startswith("sqlite"):
        engine = create_engine(database_url)
        with engine.connect() as connection:
            assert differences(connection) == []
        engine.dispose()
    else:
        asyncio.run(differences_on_postgres(database_url))


def differences(connection: Connection) -> list[object]:
    """What Alembic would change."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def differences_on_postgres(url: str) -> None:
    """The same over asyncpg."""
    engine = create_async_engine(asyncpg_url(url))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
