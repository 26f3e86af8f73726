"""The GraphQL face as the router uses it: entities, visibility, mutations and their payload errors."""

from typing import Any

import pytest

from subgraphs.shared.auth import ANONYMOUS, Caller
from subgraphs.shared.graphql import sdl_is_current
from subgraphs.wallet import schema as schema_module
from subgraphs.wallet.rules_operations import Close, Commit, Credit, Hold
from subgraphs.wallet.service import WalletService
from tests.driver_statements import heard_by
from tests.wallet.conftest import STOCKS, USERS, Client, broker, investor, new_id

ENTITIES = """
query Entities($representations: [_Any!]!) {
  _entities(representations: $representations) {
    ... on User { id balances { currency available committed held total } }
    ... on Authorization { id remainingCapital { currency amount } }
    ... on Transaction { id kind amount }
  }
}
"""
DEPOSIT = """
mutation Deposit($input: DepositInput!) {
  deposit(input: $input) {
    transaction { id kind direction currency amount createdAt order { id } authorization { id } }
    replayed
    errors { code message field }
  }
}
"""


def representation(typename: str, key: object) -> dict[str, object]:
    return {"__typename": typename, "id": key}


async def deposit(client: Client, caller: Caller, amount: str = "100.00", key: str | None = None) -> Any:
    """Deposits dollars; the mutation's payload."""
    sent = {"currency": "USD", "amount": amount, "idempotencyKey": key or new_id()}
    return (await client.graphql(caller, DEPOSIT, input=sent))["data"]["deposit"]


def codes(response: Any) -> list[tuple[str, list[Any] | None]]:
    return [(error["extensions"]["code"], error.get("path")) for error in response.get("errors", [])]


def test_the_committed_sdl_is_current() -> None:
    """`schema.graphql` is what the schema prints."""
    assert sdl_is_current(schema_module.schema, schema_module.__file__)


async def test_a_deposit_and_a_withdrawal_through_graphql(client: Client) -> None:
    """Mutations move money once per key, and tell a repetition."""
    alice = investor()
    first, again = [await deposit(client, alice, key="monday") for _ in range(2)]
    assert first["transaction"] == again["transaction"]
    assert (first["replayed"], again["replayed"], first["errors"]) == (False, True, [])
    assert (first["transaction"]["kind"], first["transaction"]["direction"]) == ("DEPOSIT", "IN")
    query = """mutation($input: WithdrawInput!) { withdraw(input: $input) {
      transaction { kind direction amount } replayed errors { code } } }"""
    sent = {"currency": "USD", "amount": "30", "idempotencyKey": "tuesday"}
    withdrawn = (await client.graphql(alice, query, input=sent))["data"]["withdraw"]
    assert withdrawn["transaction"] == {"kind": "WITHDRAW", "direction": "OUT", "amount": "30.00"}
    rest = (await client.send(alice, "GET", "/balance")).json()["balances"][0]
    assert rest["available"] == "70.00"


async def test_one_key_means_one_transaction_through_both_faces(client: Client) -> None:
    """A key used over REST is answered over GraphQL with the same transaction."""
    alice = investor()
    body = {"type": "deposit", "currency": "USD", "amount": "100.00"}
    rest = await client.send(alice, "POST", "/transactions", json=body, headers={"Idempotency-Key": "monday"})
    payload = await deposit(client, alice, key="monday")
    assert (payload["transaction"]["id"], payload["replayed"]) == (rest.json()["id"], True)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"amount": "0"}, "INVALID_AMOUNT", "amount"),
        ({"amount": "-1"}, "INVALID_AMOUNT", "amount"),
        ({"amount": "1e9"}, "INVALID_AMOUNT", "amount"),
        ({"amount": "9" * 18}, "INVALID_AMOUNT", "amount"),
        ({"amount": "1.001"}, "INVALID_AMOUNT", "amount"),
        ({"currency": "ZZZ"}, "UNKNOWN_CURRENCY", "currency"),
        ({"idempotencyKey": ""}, "INVALID_IDEMPOTENCY_KEY", None),
    ],
)
async def test_a_refused_deposit_is_a_payload_error(
    client: Client, change: dict[str, str], code: str, field: str | None
) -> None:
    """A business rule's refusal stands in the payload, with its code and field, and no money moves."""
    alice = investor()
    sent = {"currency": "USD", "amount": "5", "idempotencyKey": "key", **change}
    response = await client.graphql(alice, DEPOSIT, input=sent)
    payload = response["data"]["deposit"]
    assert "errors" not in response
    assert payload["transaction"] is None
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [(code, field)]
    assert (await client.send(alice, "GET", "/balance")).json() == {"balances": []}


async def test_a_key_reused_with_another_amount_is_a_payload_error(client: Client) -> None:
    """The first deposit stays the only one."""
    alice = investor()
    await deposit(client, alice, "1", key="monday")
    payload = await deposit(client, alice, "2", key="monday")
    assert (payload["transaction"], [error["code"] for error in payload["errors"]]) == (
        None,
        ["IDEMPOTENCY_KEY_REUSED"],
    )
    assert (await client.send(alice, "GET", "/balance")).json()["balances"][0]["total"] == "1.00"


async def test_a_withdrawal_short_of_funds_is_a_payload_error(client: Client) -> None:
    """Short of funds is an answer, not a fault."""
    query = "mutation($input: WithdrawInput!) { withdraw(input: $input) { transaction { id } errors { code } } }"
    sent = {"currency": "USD", "amount": "30", "idempotencyKey": "key"}
    response = await client.graphql(investor(), query, input=sent)
    assert response == {"data": {"withdraw": {"transaction": None, "errors": [{"code": "INSUFFICIENT_FUNDS"}]}}}


async def test_a_users_entities_show_money_to_the_owner_alone(client: Client) -> None:
    """The owner reads the balances; for anybody else they are null with NOT_FOUND and the path, and the rest stays."""
    alice, mallory = investor(), investor()
    await deposit(client, alice)
    asked = [representation("User", alice.id), representation("User", mallory.id)]
    response = await client.graphql(mallory, ENTITIES, representations=asked)
    assert response["data"]["_entities"] == [{"id": alice.id, "balances": None}, {"id": mallory.id, "balances": []}]
    assert codes(response) == [("NOT_FOUND", ["_entities", 0, "balances"])]
    balance = {"currency": "USD", "available": "100.00", "committed": "0.00", "held": "0.00", "total": "100.00"}
    own = await client.graphql(alice, ENTITIES, representations=asked[:1])
    assert own == {"data": {"_entities": [{"id": alice.id, "balances": [balance]}]}}
    nobody = await client.graphql(ANONYMOUS, ENTITIES, representations=asked[:1])
    assert codes(nobody) == [("UNAUTHENTICATED", ["_entities", 0, "balances"])]


async def test_one_balance_is_zero_where_there_never_was_any(client: Client) -> None:
    """`balance(currency)` answers zero for a known currency and refuses an unknown one."""
    alice = investor()
    await deposit(client, alice)
    query = """query($r: [_Any!]!) { _entities(representations: $r) { ... on User {
      usd: balance(currency: "USD") { total } eur: balance(currency: "EUR") { total }
      zzz: balance(currency: "ZZZ") { total } } } }"""
    response = await client.graphql(alice, query, r=[representation("User", alice.id)])
    user = response["data"]["_entities"][0]
    assert user == {"usd": {"total": "100.00"}, "eur": {"total": "0.00"}, "zzz": None}
    assert codes(response) == [("UNKNOWN_CURRENCY", ["_entities", 0, "zzz"])]


async def test_transactions_are_a_relay_connection(client: Client) -> None:
    """Pages follow by endCursor, newest first, narrowed by kind; another's list is not found."""
    alice = investor()
    for amount in ("1", "2", "3"):
        await deposit(client, alice, amount)
    query = """query($r: [_Any!]!, $after: String) { _entities(representations: $r) { ... on User {
      transactions(first: 2, after: $after, kind: DEPOSIT) {
        edges { cursor node { amount } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } }"""
    asked = [representation("User", alice.id)]
    first = (await client.graphql(alice, query, r=asked))["data"]["_entities"][0]["transactions"]
    assert [edge["node"]["amount"] for edge in first["edges"]] == ["3.00", "2.00"]
    assert first["pageInfo"]["hasNextPage"]
    after = first["pageInfo"]["endCursor"]
    second = (await client.graphql(alice, query, r=asked, after=after))["data"]["_entities"][0]["transactions"]
    assert [edge["node"]["amount"] for edge in second["edges"]] == ["1.00"]
    assert second["pageInfo"]["hasNextPage"] is False
    other = await client.graphql(investor(), query, r=asked)
    assert codes(other) == [("NOT_FOUND", ["_entities", 0, "transactions"])]
    wrong = await client.graphql(alice, query.replace("first: 2", "first: 101"), r=asked)
    assert codes(wrong) == [("INVALID_REQUEST", ["_entities", 0, "transactions"])]


async def test_a_transaction_is_its_users_alone(client: Client) -> None:
    """By root field and by reference: the owner sees it, for others it is not found, like a missing one."""
    alice, mallory = investor(), investor()
    made = (await deposit(client, alice))["transaction"]
    query = "query($id: ID!) { transaction(id: $id) { id amount createdAt } }"
    assert (await client.graphql(alice, query, id=made["id"]))["data"]["transaction"]["amount"] == "100.00"
    for caller, key in ((mallory, made["id"]), (alice, new_id())):
        response = await client.graphql(caller, query, id=key)
        assert (response["data"], codes(response)) == ({"transaction": None}, [("NOT_FOUND", ["transaction"])])
        entities = await client.graphql(caller, ENTITIES, representations=[representation("Transaction", key)])
        assert codes(entities) == [("NOT_FOUND", ["_entities", 0])]
    anonymous = await client.graphql(ANONYMOUS, query, id=made["id"])
    assert codes(anonymous) == [("UNAUTHENTICATED", ["transaction"])]


async def test_what_remains_of_a_mandate_is_for_its_two_parties(client: Client, wallet: WalletService) -> None:
    """Investor and broker see what remains; for others, and where no money was set aside, it is null without error."""
    alice, bob, mandate, closed = investor(), broker(), new_id(), new_id()
    await deposit(client, alice)
    await wallet.apply(USERS, Commit(mandate, alice.id, bob.id, "USD", 8_000))
    await wallet.apply(USERS, Close(closed, alice.id, bob.id, "USD"))
    await wallet.apply(STOCKS, Hold(new_id(), alice.id, "USD", 3_000, mandate))
    asked = [representation("Authorization", key) for key in (mandate, closed, new_id())]
    for caller, shown in ((alice, "50.00"), (bob, "50.00"), (broker(), None)):
        response = await client.graphql(caller, ENTITIES, representations=asked)
        remaining = [entity["remainingCapital"] for entity in response["data"]["_entities"]]
        zero = None if shown is None else {"currency": "USD", "amount": "0.00"}
        assert remaining == [None if shown is None else {"currency": "USD", "amount": shown}, zero, None]
        assert "errors" not in response


async def test_a_brokers_trade_leads_to_its_order_and_mandate(client: Client, wallet: WalletService) -> None:
    """Transactions of a broker's sale name the order and the mandate, with what remains of it, in one statement."""
    alice, bob, order, child = investor(), broker(), new_id(), new_id()
    await wallet.apply(STOCKS, Credit(order, alice.id, "USD", 10_000, 50, 100, bob.id, child))
    query = """query($r: [_Any!]!) { _entities(representations: $r) { ... on User { transactions {
      edges { node { kind direction amount order { id }
        authorization { id remainingCapital { amount } } } } } } } }"""
    response = await client.graphql(alice, query, r=[representation("User", alice.id)])
    lines = [edge["node"] for edge in response["data"]["_entities"][0]["transactions"]["edges"]]
    assert [(line["kind"], line["direction"], line["amount"]) for line in lines] == [
        ("ROLLOVER", "WITHIN", "98.50"),
        ("COMMISSION", "OUT", "1.00"),
        ("FEE", "OUT", "0.50"),
        ("TRADE", "IN", "100.00"),
    ]
    mandate = {"id": child, "remainingCapital": {"amount": "98.50"}}
    assert all(line["order"] == {"id": order} and line["authorization"] == mandate for line in lines)


async def test_a_bad_representation_fails_alone(client: Client) -> None:
    """Each bad representation is an error in its own slot; the others are answered."""
    alice = investor()
    asked: list[object] = [
        representation("User", alice.id),
        representation("User", 7),
        representation("Nonsense", "x"),
        representation("Balance", "x"),
        {"id": alice.id},
        {"__typename": "Authorization"},
        representation("User", alice.id),
    ]
    response = await client.graphql(alice, ENTITIES, representations=asked)
    entities = response["data"]["_entities"]
    assert [entity is not None for entity in entities] == [True, False, False, False, False, False, True]
    assert [path for _, path in codes(response)] == [["_entities", slot] for slot in (1, 2, 3, 4, 5)]


@pytest.mark.one_execution
async def test_entities_of_one_type_cost_one_statement(client: Client, wallet: WalletService) -> None:
    """A hundred mandates are read by one statement."""
    alice, bob = investor(), broker()
    await deposit(client, alice)
    mandates = [new_id() for _ in range(100)]
    for mandate in mandates:
        await wallet.apply(USERS, Commit(mandate, alice.id, bob.id, "USD", 100))
    statements: list[str] = []
    with heard_by(lambda _connection, text, *_: statements.append(text)):
        response = await client.graphql(
            alice, ENTITIES, representations=[representation("Authorization", mandate) for mandate in mandates]
        )
    amounts = {entity["remainingCapital"]["amount"] for entity in response["data"]["_entities"]}
    assert (amounts, len(statements)) == ({"1.00"}, 1)


async def test_the_endpoint_answers_the_router_only(client: Client) -> None:
    """Without the router's secret the subgraph's endpoint is closed, to entities and to everything else."""
    for secret in (None, "", "guess"):
        headers = {} if secret is None else {"x-router-secret": secret}
        answer = await client.http.post("/graphql", json={"query": "{ _service { sdl } }"}, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
