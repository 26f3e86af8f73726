"""Reading authorizations: who sees which, and what of it."""

import uuid
from typing import get_args

import pytest
from sqlalchemy.exc import IntegrityError

from subgraphs.users.rules_authorizations import PUBLIC_STATUS, STATUS_BEFORE, State, Status
from subgraphs.users.schema_users import AuthorizationStatus
from tests.users.conftest import Client
from tests.users.mandates import grant, stock_columns

HOLDING, STOCK = str(uuid.uuid4()), str(uuid.uuid4())


async def test_an_investor_sees_what_was_granted(client: Client) -> None:
    """All members of a capital authorization, the broker with the registration date, no holding."""
    alice, bob = await client.person(name="Alice"), await client.person("broker", name="Bob")
    mandate = await grant(client, alice, bob)
    response = await client.http.get(f"/authorizations/{mandate}", headers=alice.bearer)
    registered = "2027-01-15T08:00:00.000Z"
    assert response.json() == {
        "id": mandate,
        "type": "capital",
        "status": "active",
        "investor": {"id": alice.id, "name": "Alice", "type": "investor", "registeredAt": registered},
        "broker": {"id": bob.id, "name": "Bob", "type": "broker", "registeredAt": registered},
        "currency": "EUR",
        "stockId": None,
        "stockholdingId": None,
        "amount": "100.00",
        "startsAt": registered,
        "endsAt": None,
        "createdAt": registered,
        "parentId": None,
        "failureCode": None,
        "commitmentPath": f"/balance/commitments/{mandate}",
    }


async def test_a_broker_sees_the_stock_but_not_the_holding(client: Client) -> None:
    """The broker learns which stock may be traded; which holding it is stays the investor's."""
    alice, bob = await client.person(), await client.person("broker")
    mandate = await grant(client, alice, bob, **stock_columns(HOLDING, STOCK))
    seen = {}
    for person in (alice, bob):
        body = (await client.http.get(f"/authorizations/{mandate}", headers=person.bearer)).json()
        seen[person.id] = (body["stockId"], body["stockholdingId"], body["amount"])
    assert seen == {alice.id: (STOCK, HOLDING, "1.5"), bob.id: (STOCK, None, "1.5")}


async def test_a_strangers_authorization_looks_like_a_missing_one(client: Client) -> None:
    """404 with the same body for another's and for none, over REST and GraphQL."""
    alice, bob, eve = await client.person(), await client.person("broker"), await client.person("broker")
    mandate = await grant(client, alice, bob)
    bodies = []
    for path in (mandate, str(uuid.uuid4())):
        response = await client.http.get(f"/authorizations/{path}", headers=eve.bearer)
        assert response.status_code == 404
        bodies.append({**response.json(), "requestId": ""})
        answer = await client.graphql("query($id: ID!) { authorization(id: $id) { id } }", {"id": path}, person=eve)
        assert answer["data"] == {"authorization": None}
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
    assert bodies[0] == bodies[1]


async def test_the_list_holds_both_sides_newest_first(client: Client) -> None:
    """Investor and broker list the same mandate; others' are left out; pages do not overlap."""
    alice, bob, eve = await client.person(), await client.person("broker"), await client.person()
    made = []
    for number in range(3):
        client.clock.advance(number)
        made.append(await grant(client, alice, bob))
    await grant(client, eve, bob)
    first = await client.http.get("/authorizations?limit=2", headers=alice.bearer)
    second = await client.http.get(f"/authorizations?limit=2&after={first.json()['nextCursor']}", headers=alice.bearer)
    listed = [item["id"] for item in first.json()["items"] + second.json()["items"]]
    assert listed == made[::-1]
    assert len((await client.http.get("/authorizations", headers=bob.bearer)).json()["items"]) == 4


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=active", 2),
        ("status=scheduled", 1),
        ("status=pending", 1),
        ("status=revoked", 1),
        ("status=expired", 1),
        ("type=stockholding", 1),
        ("type=capital", 5),
        ("type=stockholding&status=scheduled", 0),
    ],
)
async def test_the_list_is_filtered(client: Client, query: str, count: int) -> None:
    """By public status, which covers several internal ones, and by type."""
    alice, bob = await client.person(), await client.person("broker")
    await grant(client, alice, bob)
    later = client.clock() + 60_000
    await grant(client, alice, bob, starts_at=later)
    await grant(client, alice, bob, state="PENDING", starts_at=later)
    await grant(client, alice, bob, state="REVOKED", starts_at=later)
    await grant(client, alice, bob, state="EXPIRING")
    await grant(client, alice, bob, **stock_columns(HOLDING, STOCK))
    response = await client.http.get(f"/authorizations?{query}", headers=alice.bearer)
    assert len(response.json()["items"]) == count


async def test_a_mandate_is_scheduled_until_its_window_begins(client: Client) -> None:
    """For both parties, in the list and by id, over both faces; one that began at once has no such time before."""
    alice, bob = await client.person(), await client.person("broker")
    mandate = await grant(client, alice, bob, starts_at=client.clock() + 60_000)
    at_once = await grant(client, alice, bob)
    query = (
        "query($id: ID!) { authorization(id: $id) { status } me { authorizations(status: %s) { edges { cursor } } } }"
    )
    for seconds, status, counts in ((59.999, "scheduled", (1, 1)), (0.001, "active", (2, 0))):
        client.clock.advance(seconds)
        for person in (alice, bob):
            shown = await client.http.get(f"/authorizations/{mandate}", headers=person.bearer)
            listed = (await client.http.get(f"/authorizations?status={status}", headers=person.bearer)).json()["items"]
            assert (shown.json()["status"], {each["status"] for each in listed}) == (status, {status})
            assert mandate in {each["id"] for each in listed}
            for wanted, count in zip(("ACTIVE", "SCHEDULED"), counts, strict=True):
                answer = await client.graphql(query % wanted, {"id": mandate}, person=person)
                assert answer["data"]["authorization"]["status"] == status.upper()
                assert len(answer["data"]["me"]["authorizations"]["edges"]) == count
    client.clock.advance(-30)
    back = [await client.http.get(f"/authorizations/{each}", headers=alice.bearer) for each in (at_once, mandate)]
    assert [each.json()["status"] for each in back] == ["active", "scheduled"]


def test_every_state_has_one_public_status() -> None:
    """Two tables, before and in the window, name every state; what they say is what both faces can say."""
    for table in (PUBLIC_STATUS, STATUS_BEFORE):
        assert set(table) == set(get_args(State))
    statuses = {*PUBLIC_STATUS.values(), *STATUS_BEFORE.values()}
    assert statuses == set(get_args(Status)) == {each.value for each in AuthorizationStatus}


async def test_graphql_lists_ones_own(client: Client) -> None:
    """`me.authorizations` shows the mandate with both parties; of the addresses, the viewer sees only their own."""
    alice, bob = await client.person(), await client.person("broker", name="Bob")
    mandate = await grant(client, alice, bob)
    query = """{ me { authorizations(status: ACTIVE) { edges { node {
      id type status currency amount endsAt investor { email } broker { name registeredAt } } } } } }"""
    answer = await client.graphql(query, person=alice)
    assert answer == {
        "data": {
            "me": {
                "authorizations": {
                    "edges": [
                        {
                            "node": {
                                "id": mandate,
                                "type": "CAPITAL",
                                "status": "ACTIVE",
                                "currency": "EUR",
                                "amount": "100.00",
                                "endsAt": None,
                                "investor": {"email": alice.email},
                                "broker": {"name": "Bob", "registeredAt": "2027-01-15T08:00:00.000Z"},
                            }
                        }
                    ]
                }
            }
        }
    }


async def test_stocks_verifies_any_authorization(client: Client) -> None:
    """The stocks service reads what it needs before a broker's order, and nothing that only people need.

    A mandate that began at once has no beginning: a clock that is set back does not put it into the future.
    """
    alice, bob = await client.person(), await client.person("broker")
    mandate = await grant(client, alice, bob, ends_at=client.clock() + 5_000)
    response = await client.http.get(f"/authorizations/{mandate}", headers=client.service_bearer("stocks"))
    assert response.json() == {
        "id": mandate,
        "rootId": mandate,
        "type": "capital",
        "status": "active",
        "investorId": alice.id,
        "brokerId": bob.id,
        "brokerRegisteredAt": "2027-01-15T08:00:00.000Z",
        "currency": "EUR",
        "stockholdingId": None,
        "stockId": None,
        "startsAt": None,
        "endsAt": "2027-01-15T08:00:05.000Z",
    }


async def test_no_other_service_reads_authorizations(client: Client) -> None:
    """The wallet has no business here: 403."""
    response = await client.http.get("/authorizations/x", headers=client.service_bearer("wallet"))
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_a_family_has_one_active_mandate_per_asset(client: Client) -> None:
    """The database itself refuses a second ACTIVE authorization of the same root, type and asset, and no other."""
    alice, bob = await client.person(), await client.person("broker")
    root = await grant(client, alice, bob)
    await grant(client, alice, bob, root_id=root, state="REVOKED")
    await grant(client, alice, bob, root_id=root, **stock_columns(HOLDING, STOCK))
    with pytest.raises(IntegrityError):
        await grant(client, alice, bob, root_id=root)
