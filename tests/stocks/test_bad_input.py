"""Input that no client of ours sends: ids that are none, characters that no database holds, forged cursors."""

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.pagination import encode_cursor
from tests.stocks.conftest import ALBA, Desk, broker, investor
from tests.stocks.test_broker_orders import authorize, parties

NUL = "a\0b"
PLACE = "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id } errors { code field } } }"


async def placed_by_graphql(desk: Desk, caller: Caller, **changes: object) -> list[tuple[str, str | None]]:
    """The codes and fields of the errors that an order through `placeOrder` gets."""
    given = {"stockId": ALBA, "side": "BUY", "quantity": "1", "idempotencyKey": "k", **changes}
    answer = await desk.graphql(caller, PLACE, input=given)
    assert "errors" not in answer, answer
    return [(error["code"], error["field"]) for error in answer["data"]["placeOrder"]["errors"]]


@pytest.mark.parametrize("text", ["", "ALBA", "../users", "a b", "?", ALBA.upper(), f"{ALBA}\n", NUL])
async def test_an_id_is_a_uuid_through_both_faces(desk: Desk, text: str) -> None:
    """Any other text is refused as such, and never becomes part of an address that users is asked under."""
    bob = broker()
    for field in ("stockId", "authorizationId"):
        answer = await desk.place(bob, **{field: text})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), field
        assert answer.json()["errors"] == [
            {"field": field, "message": "This is not an id: ids are UUIDs in lower case."}
        ]
        assert await placed_by_graphql(desk, bob, **{field: text}) == [("INVALID_REQUEST", field)]
    assert [call for call in desk.network.calls if call[0] == "users"] == []


async def test_a_client_order_id_is_printable(desk: Desk) -> None:
    """It is stored and shown again: control characters are refused on every database alike."""
    alice = investor()
    for text in (NUL, "a\nb", "", "x" * 65):
        answer = await desk.place(alice, clientOrderId=text)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "clientOrderId")
        assert await placed_by_graphql(desk, alice, clientOrderId=text) == [("INVALID_REQUEST", "clientOrderId")]
    assert (await desk.send(alice, "GET", "/orders")).json()["items"] == []


async def test_a_character_that_no_database_holds_is_no_fault_of_ours(desk: Desk) -> None:
    """In an id, a symbol or a filter it finds nothing, or is refused: never a server error."""
    alice = investor()
    for path in ("/orders/%00", "/orders?clientOrderId=%00", "/stocks/%00", "/stockholdings/%00"):
        answer = await desk.send(alice, "GET", path)
        assert answer.status_code in (200, 404, 422), answer.text
    for query in ("order(id: $text) { id }", "stockholding(id: $text) { id }", "stock(id: $text) { id }"):
        result = await desk.graphql(alice, f"query($text: ID!) {{ {query} }}", text=NUL)
        codes = {error["extensions"]["code"] for error in result.get("errors", [])}
        assert codes <= {"NOT_FOUND", "INVALID_REQUEST"}, result
    entities = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Stock { id } ... on Order { id } } }"
    asked = [{"__typename": name, "id": key} for name in ("Stock", "Order") for key in (NUL, ALBA)]
    result = await desk.graphql(alice, entities, r=asked)
    assert [entity is not None for entity in result["data"]["_entities"]] == [False, True, False, False]
    assert [error["extensions"]["code"] for error in result["errors"]] == ["INVALID_REQUEST"] * 2 + ["NOT_FOUND"]


async def test_a_filter_that_is_no_id_is_refused(desk: Desk) -> None:
    """?stockId=ALBA asks for a stock by its symbol and would find no order: it is told so."""
    answer = await desk.send(investor(), "GET", "/orders?stockId=ALBA")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert [error["field"] for error in answer.json()["errors"]] == ["stockId"]


async def test_a_cursor_of_another_list_is_refused(desk: Desk) -> None:
    """Each list takes its own cursors only, through both faces."""
    alice, now = investor(), desk.clock()
    cursors = {
        "orders": encode_cursor("orders", now, ALBA),
        "users": encode_cursor("users", now, ALBA),
        "authorizations": encode_cursor("authorizations", now, ALBA),
        "stocks": encode_cursor("stocks", "ALBA"),
        "stockholdings": encode_cursor("stockholdings", "ALBA"),
        "transactions": encode_cursor("transactions", 1),
    }
    fields = {
        "stocks": "query($after: String) { stocks(after: $after) { edges { cursor } } }",
        "orders": """query($after: String, $r: [_Any!]!) { _entities(representations: $r) { ... on User {
          orders(after: $after) { edges { cursor } } } } }""",
    }
    for name, cursor in cursors.items():
        for of in ("orders", "stocks", "stockholdings"):
            answer = await desk.send(alice, "GET", f"/{of}?after={cursor}")
            assert answer.status_code == (200 if of == name else 400), (of, name)
            assert of == name or answer.json()["code"] == "invalid-cursor"
        for of, query in fields.items():
            asked = {"r": [{"__typename": "User", "id": alice.id}]} if "$r" in query else {}
            result = await desk.graphql(alice, query, after=cursor, **asked)
            codes = [error["extensions"]["code"] for error in result.get("errors", [])]
            assert codes == ([] if of == name else ["INVALID_CURSOR"]), (of, name)


async def test_a_broker_cancels_nothing_after_the_mandates_end(desk: Desk) -> None:
    """Its last moment is the end, whether or not the sweeper has come; the investor may still cancel."""
    alice, bob = await parties(desk)
    capital = await authorize(desk, alice, bob, endsAt="2027-01-15T08:05:00Z")
    desk.network.cut("wallet")
    order = (await desk.place(bob, authorizationId=capital["id"])).json()["id"]
    desk.network.mend()
    desk.clock.advance(300)
    answer = await desk.send(bob, "PUT", f"/orders/{order}", {"status": "cancelled"})
    assert (answer.status_code, answer.json()["code"]) == (422, "authorization-inactive")
    mutation = "mutation($id: ID!) { cancelOrder(input: {id: $id}) { order { status } errors { code } } }"
    payload = (await desk.graphql(bob, mutation, id=order))["data"]["cancelOrder"]
    assert payload == {"order": None, "errors": [{"code": "AUTHORIZATION_INACTIVE"}]}
    payload = (await desk.graphql(alice, mutation, id=order))["data"]["cancelOrder"]
    assert payload == {"order": {"status": "CANCELLED"}, "errors": []}


async def test_a_member_at_fault_is_told_what_to_do(desk: Desk) -> None:
    """What is missing and what is too much, in words for people."""
    answer = await desk.send(investor(), "POST", "/orders", {"stockId": ALBA, "side": "buy", "userId": "x"})
    assert answer.json()["errors"] == [
        {"field": "quantity", "message": "This is required."},
        {"field": "userId", "message": "There is no such member. Leave it out."},
    ]
