"""Who sees what of Alice's money: every route and every root field, asked by everybody there is.

The callers are walked over the application's own routes and the schema's own root fields, so a new one that nobody
has thought about here fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from graphql import GraphQLUnionType

from subgraphs.shared.auth import ANONYMOUS, Caller
from subgraphs.wallet.rules_operations import Close, Commit, Credit
from subgraphs.wallet.schema import schema
from subgraphs.wallet.service import WalletService
from tests.walked_routes import routes_of
from tests.wallet.conftest import STOCKS, USERS, Client, broker, investor, new_id

REFUSED = {"anonymous": "UNAUTHENTICATED", "service": "FORBIDDEN", "user": "NOT_FOUND"}
"""Kind of caller -> the code that stands for what such a caller may not see."""


@dataclass(frozen=True, slots=True)
class World:
    """Alice, what is hers, and everybody who asks for it."""

    alice: Caller
    watchers: Mapping[str, Caller]
    deposit: str
    trade: str
    mandate: str
    revoked: str
    expired: str


@pytest.fixture
async def world(wallet: WalletService) -> World:
    """Alice has money, an active mandate with one broker, a revoked one with another, and one that is over."""
    alice, bob, carol, dave = investor(), broker(), broker(), broker()
    deposit = (await wallet.move(alice, "deposit", "USD", "100.00", key=None)).transaction.id
    mandate, revoked, expired = new_id(), new_id(), new_id()
    await wallet.apply(USERS, Commit(mandate, alice.id, bob.id, "USD", 1_000))
    await wallet.apply(USERS, Commit(revoked, alice.id, carol.id, "USD", 1_000))
    await wallet.apply(USERS, Close(revoked, alice.id, carol.id, "USD"))
    await wallet.apply(USERS, Commit(expired, alice.id, dave.id, "USD", 1_000))
    await wallet.apply(USERS, Close(expired, alice.id, dave.id, "USD"))
    await wallet.apply(STOCKS, Credit(new_id(), alice.id, "USD", 500, 5, 10, bob.id, mandate))
    trade = (await wallet.transactions(alice, kind="trade")).items[0].id
    watchers = {
        "anonymous": ANONYMOUS,
        "other investor": investor(),
        "other broker": broker(),
        "her broker": bob,
        "revoked broker": carol,
        "expired broker": dave,
        "stocks": STOCKS,
        "users": USERS,
    }
    return World(alice, watchers, deposit, trade, mandate, revoked, expired)


MONTH = f"{datetime.now(UTC):%Y-%m}"

# Route -> what each watcher gets, by kind or by name; "own" is an answer about the watcher's own money.
NOT_FOR_SERVICES = {"anonymous": 401, "user": "own", "service": 403}
HIDDEN = {"anonymous": 401, "user": 404, "service": 403}
ROUTES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("GET", "/balance"): NOT_FOR_SERVICES,
    ("GET", "/balance/commitments/{authorizationId}"): {**HIDDEN, "her broker": 200},
    ("PUT", "/balance"): {"anonymous": 401, "user": 403, "service": 422},
    ("GET", "/transactions"): NOT_FOR_SERVICES,
    ("GET", "/transactions/statement"): NOT_FOR_SERVICES,
    ("GET", "/transactions/{transactionId}"): HIDDEN,
    ("POST", "/transactions"): {"anonymous": 401, "user": 422, "service": 403},
    ("GET", "/health"): {"anonymous": 200, "user": 200, "service": 200},
    ("GET", "/ready"): {"anonymous": 200, "user": 200, "service": 200},
    ("GET", "/metrics"): {"anonymous": 200, "user": 200, "service": 200},
}


def test_every_route_is_walked(app: FastAPI) -> None:
    """The table names every route of the application, that which no document names included."""
    assert routes_of(app) == set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_route_shows_nobody_elses_money(client: Client, world: World, method: str, path: str) -> None:
    """Each watcher gets the documented status, and nothing that is Alice's."""
    body: dict[str, object] | None = {} if method in ("PUT", "POST") else None
    for watcher, caller in world.watchers.items():
        target = path.replace("{transactionId}", world.trade).replace("/statement", f"/statement?month={MONTH}")
        target = target.replace("{authorizationId}", world.mandate)
        answer = await client.send(caller, method, target, json=body)
        expected = ROUTES[method, path].get(watcher, ROUTES[method, path][caller.kind])
        assert answer.status_code == (200 if expected == "own" else expected), watcher
        for secret in (world.alice.id, world.deposit, world.trade, "100.00", "104."):
            assert secret not in answer.text, watcher


async def test_a_commitment_is_for_the_parties_of_its_mandate(client: Client, world: World) -> None:
    """Each broker sees what remains of the own mandate, of an ended one nothing; Alice sees both, and others none."""
    active, closed = ("14.85", "open"), ("0.00", "closed")
    expected = {
        "her broker": (active, None, None),
        "revoked broker": (None, closed, None),
        "expired broker": (None, None, closed),
        "Alice": (active, closed, closed),
    }
    mandates = (world.mandate, world.revoked, world.expired)
    for watcher, caller in {**world.watchers, "Alice": world.alice}.items():
        for mandate, shown in zip(mandates, expected.get(watcher, (None, None, None)), strict=True):
            answer = await client.send(caller, "GET", f"/balance/commitments/{mandate}")
            found = answer.json()
            assert ((found["remaining"], found["status"]) if answer.is_success else None) == shown, watcher


FIELDS: Mapping[str, str] = {
    "transaction": "{ transaction(id: $transaction) { id amount } }",
    "deposit": 'mutation { deposit(input: {currency: "USD", amount: "0", idempotencyKey: "k"}) { errors { code } } }',
    "withdraw": 'mutation { withdraw(input: {currency: "USD", amount: "0", idempotencyKey: "k"}) { errors { code } } }',
    "User": '{ _entities(representations: [{__typename: "User", id: $alice}]) { ... on User { '
    'id balances { total } balance(currency: "USD") { total } transactions { edges { node { amount } } } '
    f'statement(month: "{MONTH}") {{ currencies {{ closing }} transactions {{ id }} }} }} }} }}',
    "Transaction": '{ _entities(representations: [{__typename: "Transaction", id: $transaction}]) { '
    "... on Transaction { id amount } } }",
    "Authorization": '{ _entities(representations: [{__typename: "Authorization", id: $mandate}, '
    '{__typename: "Authorization", id: $revoked}]) { ... on Authorization { id remainingCapital { amount } } } }',
}


def test_every_root_field_and_entity_is_walked() -> None:
    """The table names every root field and every entity that can be resolved by its key here."""
    graphql = schema._schema
    assert graphql.query_type is not None
    assert graphql.mutation_type is not None
    roots = {*graphql.query_type.fields, *graphql.mutation_type.fields} - {"_entities", "_service"}
    entity = graphql.type_map["_Entity"]
    assert isinstance(entity, GraphQLUnionType)
    entities = {kind.name for kind in graphql.get_possible_types(entity)} - {
        "Order",
        "Statement",
    }  # not resolvable here
    assert roots | entities == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
async def test_a_field_shows_nobody_elses_money(client: Client, world: World, name: str) -> None:
    """Each watcher gets null with a code, or what a party of the mandate may see; the rest of the answer stays."""
    query = FIELDS[name]
    for variable, value in (
        ("$transaction", world.trade),
        ("$alice", world.alice.id),
        ("$mandate", world.mandate),
        ("$revoked", world.revoked),
    ):
        query = query.replace(variable, f'"{value}"')
    for watcher, caller in world.watchers.items():
        response = await client.graphql(caller, query)
        found = {error["extensions"]["code"] for error in response.get("errors", [])}
        refused = {REFUSED[caller.kind]}
        if caller.kind == "user" and name in ("deposit", "withdraw"):
            assert (response["data"][name]["errors"], found) == ([{"code": "INVALID_AMOUNT"}], set()), watcher
        elif caller.kind == "user" and name == "Authorization":
            remaining = [entity["remainingCapital"] for entity in response["data"]["_entities"]]
            assert (remaining, found) == (remaining_for(watcher), set()), watcher
        else:
            assert found == refused, watcher
            assert hidden(response["data"]), watcher


def remaining_for(watcher: str) -> list[Any]:
    """What a user sees of the two mandates: their own alone, of a closed one that nothing remains."""
    active = {"amount": "14.85"} if watcher == "her broker" else None
    closed = {"amount": "0.00"} if watcher == "revoked broker" else None
    return [active, closed]


def hidden(data: Any) -> bool:
    """Whether nothing but ids that the watcher sent is left."""
    if isinstance(data, dict):
        return all(hidden(value) for key, value in data.items() if key != "id")
    if isinstance(data, list):
        return all(hidden(item) for item in data)
    return data is None
