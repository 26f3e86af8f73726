"""Looking at users and changing one's own profile."""

from typing import Any

import pytest

from tests.users.conftest import PASSWORD, Client, Person


async def test_everybody_sees_public_fields_only(client: Client) -> None:
    """Another user's profile has no e-mail address, one's own has."""
    alice, bob = await client.person(name="Alice"), await client.person("broker", name="Bob")
    seen = (await client.http.get(f"/users/{bob.id}", headers=alice.bearer)).json()
    own = (await client.http.get(f"/users/{alice.id}", headers=alice.bearer)).json()
    assert seen == {"id": bob.id, "name": "Bob", "type": "broker", "registeredAt": "2027-01-15T08:00:00.000Z"}
    assert own["email"] == alice.email


async def test_a_missing_user_is_not_found(client: Client) -> None:
    """An id that no user has answers 404 as a problem document."""
    alice = await client.person()
    response = await client.http.get("/users/nobody", headers=alice.bearer)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert response.json()["requestId"] == response.headers["x-request-id"]


async def test_the_list_is_walked_by_cursor_and_by_link(client: Client) -> None:
    """Pages follow each other without gap or overlap; the Link header leads to the next one, the last has none."""
    people = []
    for number in range(5):
        client.clock.advance(number % 2)
        people.append((await client.person(name=f"Person {number}")).id)
    viewer = await client.person()
    people.append(viewer.id)
    seen: list[str] = []
    path = "/users?limit=4"
    for _ in range(2):
        response = await client.http.get(path, headers=viewer.bearer)
        seen += [item["id"] for item in response.json()["items"]]
        link = response.headers.get("link", "")
        path = link.removeprefix("<").partition(">")[0]
    assert sorted(seen) == sorted(people)
    assert (link, response.json()["nextCursor"]) == ("", None)


@pytest.mark.parametrize("role", ["investor", "broker"])
async def test_the_list_is_limited_to_a_type(client: Client, role: str) -> None:
    """?type= leaves investors or brokers only."""
    people = {"investor": await client.person("investor"), "broker": await client.person("broker")}
    response = await client.http.get(f"/users?type={role}", headers=people["broker"].bearer)
    assert [item["id"] for item in response.json()["items"]] == [people[role].id]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("type=admin", 422, "invalid-request"),
        ("limit=0", 422, "invalid-request"),
        ("limit=101", 422, "invalid-request"),
        ("limit=x", 422, "invalid-request"),
        ("after=x", 400, "invalid-cursor"),
        ("after=WzFd", 400, "invalid-cursor"),
        ("after=%22", 400, "invalid-cursor"),
    ],
)
async def test_bad_list_parameters_are_refused(client: Client, query: str, status: int, code: str) -> None:
    """Each has its status and code; a forged cursor is no server error."""
    alice = await client.person()
    response = await client.http.get(f"/users?{query}", headers=alice.bearer)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def update(client: Client, person: Person, **change: Any) -> Any:
    """PUTs a person's profile with some changes."""
    headers = {**person.bearer, **change.pop("headers", {})}
    body = {"name": "Alice Example", "email": person.email, **change}
    return await client.http.put(f"/users/{change.pop('id', person.id)}", json=body, headers=headers)


async def test_a_profile_is_replaced_and_its_version_moves(client: Client) -> None:
    """PUT returns the new profile with the next ETag, and it is what GET then shows."""
    alice = await client.person()
    response = await update(client, alice, name="Alice  Changed", headers={"if-match": '"1"'})
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')
    assert (await client.http.get(f"/users/{alice.id}", headers=alice.bearer)).json() == response.json()
    assert response.json()["name"] == "Alice Changed"


async def test_anothers_version_is_not_shown(client: Client) -> None:
    """How often a user has changed their profile is seen by them alone: to others an unseen change changes no tag."""
    alice, bob = await client.person(), await client.person()
    path = f"/users/{alice.id}"
    before = (await client.http.get(path, headers=bob.bearer)).headers["etag"]
    assert len(before) > len('"999"')
    await update(client, alice, email=f"new-{alice.email}", currentPassword=PASSWORD)
    assert (await client.http.get(path, headers=bob.bearer)).headers["etag"] == before
    assert (await client.http.get(path, headers=alice.bearer)).headers["etag"] == '"2"'
    known = {**bob.bearer, "if-none-match": before}
    assert (await client.http.get(path, headers=known)).status_code == 304
    await update(client, alice, email=f"new-{alice.email}", name="Alicia")
    assert (await client.http.get(path, headers=known)).json()["name"] == "Alicia"


async def test_what_a_profile_update_leaves_out_stays(client: Client) -> None:
    """The name alone may be sent, and so may the e-mail address."""
    alice = await client.person(name="Alice")
    for body in ({"name": "Alicia"}, {"email": f"new-{alice.email}", "currentPassword": PASSWORD}):
        response = await client.http.put(f"/users/{alice.id}", json=body, headers=alice.bearer)
        assert response.status_code == 200
    profile = (await client.http.get(f"/users/{alice.id}", headers=alice.bearer)).json()
    assert (profile["name"], profile["email"]) == ("Alicia", f"new-{alice.email}")


@pytest.mark.parametrize("tag", ['"1"', '"x"', '"99999999999999999999"'])
async def test_an_update_of_an_older_version_is_refused(client: Client, tag: str) -> None:
    """If-Match with another version is 412 and changes nothing."""
    alice = await client.person()
    await update(client, alice, name="Newer")
    response = await update(client, alice, name="Older", headers={"if-match": tag})
    assert (response.status_code, response.json()["code"]) == (412, "precondition-failed")
    assert (await client.http.get(f"/users/{alice.id}", headers=alice.bearer)).json()["name"] == "Newer"


async def test_anothers_profile_cannot_be_changed(client: Client) -> None:
    """403 for an existing user, 404 for none, and nothing changes."""
    alice, bob = await client.person(name="Alice"), await client.person(name="Bob")
    body = {"name": "Mallory", "email": "mallory@example.com"}
    response = await client.http.put(f"/users/{bob.id}", json=body, headers=alice.bearer)
    assert (response.status_code, response.json()["code"]) == (403, "profile-not-yours")
    assert (await client.http.put("/users/nobody", json=body, headers=alice.bearer)).status_code == 404
    incomplete = await client.http.put(f"/users/{bob.id}", json={"type": "broker"}, headers=alice.bearer)
    assert (incomplete.status_code, incomplete.json()["code"]) == (403, "profile-not-yours")
    assert (await client.http.get(f"/users/{bob.id}", headers=alice.bearer)).json()["name"] == "Bob"


async def test_an_address_is_not_taken_from_another(client: Client) -> None:
    """Changing to a registered e-mail address is refused."""
    alice, bob = await client.person(), await client.person()
    response = await update(client, alice, email=bob.email, currentPassword=PASSWORD)
    assert (response.status_code, response.json()["code"]) == (409, "email-taken")


async def test_the_role_is_fixed(client: Client) -> None:
    """A profile update that names the type is refused: roles are chosen once."""
    alice = await client.person()
    response = await update(client, alice, type="broker")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "type")


async def test_a_new_password_needs_the_old_one_and_ends_the_other_sessions(client: Client) -> None:
    """Without or with a wrong current password nothing changes; with it, refresh tokens of elsewhere stop working."""
    alice = await client.person()
    elsewhere = await client.http.post("/users/login", json={"email": alice.email, "password": PASSWORD})
    new = "an entirely new password"
    assert (await update(client, alice, newPassword=new)).json()["errors"][0]["field"] == "currentPassword"
    wrong = await update(client, alice, newPassword=new, currentPassword="not my password")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "currentPassword")
    assert (await update(client, alice, newPassword=new, currentPassword=PASSWORD)).status_code == 200
    codes = [
        (await client.http.post("/users/login", json={"email": alice.email, "password": password})).status_code
        for password in (PASSWORD, new)
    ]
    assert codes == [401, 200]
    tokens = (elsewhere.json()["refreshToken"], alice.refresh_token)
    refreshed = [await client.http.post("/users/refresh", json={"refreshToken": token}) for token in tokens]
    assert [response.status_code for response in refreshed] == [401, 200]


async def test_guessing_the_current_password_is_limited(client: Client) -> None:
    """A stolen access token does not allow unlimited guesses of the password."""
    alice = await client.person()
    codes = [
        (await update(client, alice, newPassword="x" * 12, currentPassword="wrong password")).status_code
        for _ in range(11)
    ]
    assert codes == [422] * 10 + [429]
