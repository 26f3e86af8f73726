"""Sessions: seen, ended one by one or all at once, and heard of by the other services before their tokens expire."""

from typing import Any

import httpx
import pytest

from subgraphs.shared.errors import UNAVAILABLE, Refusal
from subgraphs.shared.sessions import HEARINGS_PER_WHOLE, EndedSessions
from tests.users.conftest import PASSWORD, Client, ClientFactory, Person
from tests.users.test_mandates import desk, peer_urls

__all__ = ["desk", "peer_urls"]


async def login(client: Client, person: Person) -> Person:
    """Another session of the same user."""
    answer = (await client.http.post("/users/login", json={"email": person.email, "password": PASSWORD})).json()
    return Person(person.id, person.email, answer["accessToken"], answer["refreshToken"])


async def works(client: Client, person: Person) -> tuple[int, int]:
    """Whether a session's access token and its refresh token are accepted."""
    used = await client.http.get(f"/users/{person.id}", headers=person.bearer)
    refreshed = await client.http.post("/users/refresh", json={"refreshToken": person.refresh_token})
    return used.status_code, refreshed.status_code


async def test_a_logout_ends_its_session_alone(client: Client) -> None:
    """Access and refresh token of that session are refused from then on; the other goes on."""
    phone = await client.person()
    laptop = await login(client, phone)
    out = await client.http.post("/users/logout", json={}, headers=phone.bearer)
    assert (out.status_code, out.content) == (204, b"")
    assert await works(client, phone) == (401, 401)
    assert await works(client, laptop) == (200, 200)
    again = await client.http.post("/users/logout", json={}, headers=phone.bearer)
    assert (again.status_code, again.json()["code"]) == (401, "invalid-token")


async def test_a_logout_everywhere_ends_all_sessions(client: Client) -> None:
    """All of one's own, and nobody else's."""
    phone, other = await client.person(), await client.person()
    laptop = await login(client, phone)
    assert (await client.http.post("/users/logout", json={"all": True}, headers=phone.bearer)).status_code == 204
    assert [await works(client, each) for each in (phone, laptop, other)] == [(401, 401), (401, 401), (200, 200)]


async def test_ones_sessions_are_seen_and_ended_one_by_one(client: Client) -> None:
    """The list has one's own alone, the last used first; another's session cannot be ended, one's own twice."""
    phone, other = await client.person(), await client.person()
    client.clock.advance(60)
    laptop = await login(client, phone)
    found = (await client.http.get("/sessions", headers=phone.bearer)).json()["items"]
    assert [item["current"] for item in found] == [False, True]
    assert found[0]["createdAt"] == found[0]["lastUsedAt"] > found[1]["createdAt"]
    path = f"/sessions/{found[0]['id']}"
    assert (await client.http.delete(path, headers=other.bearer)).status_code == 404
    for _ in range(2):
        assert (await client.http.delete(path, headers=phone.bearer)).status_code == 204
    assert (await works(client, laptop), await works(client, phone)) == ((401, 401), (200, 200))
    left = (await client.http.get("/sessions", headers=phone.bearer)).json()["items"]
    assert [item["id"] for item in left] == [found[1]["id"]]


async def test_the_same_through_graphql(client: Client) -> None:
    """Sessions are listed, one ended, all ended."""
    phone = await client.person()
    laptop = await login(client, phone)
    listed = (await client.graphql("{ sessions { id current } }", person=phone))["data"]["sessions"]
    other = next(session["id"] for session in listed if not session["current"])
    query = "mutation($id: ID!) { endSession(id: $id) { errors { code } } }"
    assert (await client.graphql(query, {"id": other}, person=phone))["data"] == {"endSession": {"errors": []}}
    assert await works(client, laptop) == (401, 401)
    unknown = await client.graphql(query, {"id": "nothing"}, person=phone)
    assert unknown["data"]["endSession"]["errors"] == [{"code": "NOT_FOUND"}]
    ended = await client.graphql("mutation { logout(all: true) { errors { code } } }", person=phone)
    assert ended["data"] == {"logout": {"errors": []}}
    assert await works(client, phone) == (401, 401)


@pytest.mark.parametrize("change", [{"email": "new@example.com"}, {"newPassword": "another password"}])
async def test_a_new_address_or_password_ends_the_other_sessions(client: Client, change: dict[str, str]) -> None:
    """It needs the password; the session that changed it goes on."""
    phone = await client.person()
    laptop = await login(client, phone)
    path = f"/users/{phone.id}"
    for wrong in ({}, {"currentPassword": "not my password"}):
        refused = await client.http.put(path, json={**change, **wrong}, headers=phone.bearer)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "currentPassword")
    assert (await client.http.get(path, headers=laptop.bearer)).status_code == 200
    changed = await client.http.put(path, json={**change, "currentPassword": PASSWORD}, headers=phone.bearer)
    assert changed.status_code == 200, changed.text
    assert (await works(client, laptop), await works(client, phone)) == ((401, 401), (200, 200))


async def test_a_name_is_changed_without_a_password(client: Client) -> None:
    """What is no way in needs none, and ends no session."""
    phone = await client.person()
    laptop = await login(client, phone)
    same = {"name": "Alice B.", "email": phone.email}
    assert (await client.http.put(f"/users/{phone.id}", json=same, headers=phone.bearer)).status_code == 200
    assert await works(client, laptop) == (200, 200)


async def test_a_stolen_token_ends_with_its_session(client: Client) -> None:
    """A refresh token that is shown again later ends the access tokens of its session, too."""
    phone = await client.person()
    fresh = (await client.http.post("/users/refresh", json={"refreshToken": phone.refresh_token})).json()
    client.clock.advance(11)
    assert (await works(client, phone))[1] == 401
    headers = {"authorization": f"Bearer {fresh['accessToken']}"}
    assert (await client.http.get(f"/users/{phone.id}", headers=headers)).status_code == 401


async def test_other_replicas_hear_of_it(make_client: ClientFactory) -> None:
    """What one replica has ended another refuses as soon as it has asked."""
    one, two = await make_client(), await make_client()
    phone = await one.person()
    await one.http.post("/users/logout", json={}, headers=phone.bearer)
    assert (await two.http.get(f"/users/{phone.id}", headers=phone.bearer)).status_code == 200
    await two.app.state.service.accounts.ended.hear()
    assert (await two.http.get(f"/users/{phone.id}", headers=phone.bearer)).status_code == 401


async def test_wallet_and_stocks_hear_of_it(desk: Any) -> None:
    """They ask users, each with its own key, and refuse the session's tokens; nobody else may ask."""
    apps, alice, client = desk.client.network.apps, desk.alice, desk.client
    asked = {"wallet": "/balance", "stocks": "/orders"}

    async def codes() -> list[int]:
        return [(await desk.send(alice, "GET", path, host=host)).status_code for host, path in asked.items()]

    assert await codes() == [200, 200]
    assert (await client.http.post("/users/logout", json={}, headers=alice.bearer)).status_code == 204
    for host in asked:
        await apps[host].state.ended.hear()
    assert await codes() == [401, 401]
    bob: httpx.Response = await client.http.get("/sessions/ended", headers=desk.bob.bearer)
    assert bob.status_code == 403


class Issuer:
    """Ends, and whether one can ask for them."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, int]] = []
        self.down = False
        self.asked: list[int] = []

    async def ended_since(self, after: int) -> list[tuple[str, int]]:
        """Those that ended later."""
        self.asked.append(after)
        if self.down:
            raise Refusal(UNAVAILABLE)
        return [(session_id, at) for session_id, at in self.ends if at > after]


async def test_one_that_cannot_hear_goes_on_and_says_so() -> None:
    """What was heard stays refused; the metric counts the seconds of silence, and 0 when it is over."""
    now = 0.0
    issuer = Issuer()
    ended = EndedSessions(issuer, monotonic=lambda: now)
    issuer.ends.append(("a", 1_000_000))
    await ended.hear()
    issuer.down, now = True, 60.0
    with pytest.raises(Refusal):
        await ended.hear()
    assert "a" in ended
    assert await ended.metric.read() == 60
    issuer.down = False
    await ended.hear()
    assert await ended.metric.read() == 0


async def test_only_news_are_asked_for_and_all_now_and_then() -> None:
    """An issuer whose clock was set back is heard, too; what no token can be left of is forgotten."""
    now = 0.0
    issuer = Issuer()
    ended = EndedSessions(issuer, monotonic=lambda: now)
    issuer.ends.append(("a", 5_000_000))
    await ended.hear()
    issuer.ends.append(("set back", 1_000_000))
    for _ in range(HEARINGS_PER_WHOLE):
        await ended.hear()
    assert issuer.asked == [0, *[4_990_000] * (HEARINGS_PER_WHOLE - 1), 0]
    assert ("a" in ended, "set back" in ended) == (True, True)
    issuer.ends.clear()
    now = 1_201.0
    await ended.hear()
    assert ("a" in ended, "set back" in ended) == (False, False)
