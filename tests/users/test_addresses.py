"""Whose address limits count: through proxies, and where a user has been before."""

from collections.abc import Sequence

import pytest

from tests.users.conftest import Client, ClientFactory

PASSWORD = "correct horse battery"
HOME, AWAY = "198.51.100.7", "203.0.113.9"


async def login(client: Client, email: str, forwarded: str | Sequence[str], *, right: bool = True) -> int:
    """The status of a login that comes through proxies."""
    lines = [forwarded] if isinstance(forwarded, str) else forwarded
    body = {"email": email, "password": PASSWORD if right else "a wrong password"}
    headers = [("x-forwarded-for", line) for line in lines]
    return (await client.http.post("/users/login", json=body, headers=headers)).status_code


async def register(client: Client, email: str) -> None:
    """A user with that e-mail address."""
    body = {"name": "Somebody", "email": email, "password": PASSWORD, "type": "investor"}
    assert (await client.http.post("/users/register", json=body)).status_code == 201


async def test_clients_behind_one_proxy_are_counted_apart(make_client: ClientFactory) -> None:
    """One client's guesses are its own; the others log in."""
    client = await make_client(trusted_proxies=1, login_attempts_per_address_max=2)
    await register(client, "a@example.com")
    guesses = [await login(client, f"{number}@example.com", AWAY, right=False) for number in range(4)]
    assert guesses == [401, 401, 429, 429]
    assert await login(client, "a@example.com", HOME) == 200


@pytest.mark.parametrize(
    ("proxies", "forged"),
    [
        (1, lambda number: f"10.0.0.{number}, {AWAY}"),
        (1, lambda number: (f"10.0.0.{number}", AWAY)),
        (2, lambda number: f"10.0.0.{number}, {AWAY}, 192.0.2.1"),
        (0, lambda number: f"10.0.0.{number}"),
        (2, lambda _number: AWAY),
    ],
    ids=["one proxy", "two header lines", "two proxies", "no proxy", "fewer than there should be"],
)
async def test_what_a_client_writes_itself_is_not_believed(
    make_client: ClientFactory, proxies: int, forged: object
) -> None:
    """Only our proxies' part of X-Forwarded-For counts, so no client gets new attempts by naming new addresses."""
    assert callable(forged)
    client = await make_client(trusted_proxies=proxies, login_attempts_per_address_max=2)
    guesses = [await login(client, f"{number}@example.com", forged(number), right=False) for number in range(4)]
    assert guesses == [401, 401, 429, 429]


async def test_strangers_guesses_lock_nobody_out_at_home(make_client: ClientFactory) -> None:
    """Where a user has logged in before, the right password is right, whatever happens elsewhere or beside them."""
    client = await make_client(trusted_proxies=1, login_attempts_per_account_max=3, login_attempts_per_address_max=5)
    await register(client, "a@example.com")
    assert await login(client, "a@example.com", HOME) == 200
    elsewhere = [await login(client, "a@example.com", AWAY, right=False) for _ in range(5)]
    assert elsewhere == [401, 401, 401, 429, 429]
    beside = [await login(client, f"{number}@example.com", HOME, right=False) for number in range(6)]
    assert beside[-1] == 429
    assert await login(client, "a@example.com", HOME) == 200
    assert await login(client, "a@example.com", "192.0.2.44") == 429


async def test_at_home_guesses_are_limited_too(make_client: ClientFactory) -> None:
    """A known address is no licence to guess: as many attempts as on an account, and others' accounts are not known."""
    client = await make_client(trusted_proxies=1, login_attempts_per_account_max=3)
    await register(client, "a@example.com")
    assert await login(client, "a@example.com", HOME) == 200
    guesses = [await login(client, "a@example.com", HOME, right=False) for _ in range(4)]
    assert guesses == [401, 401, 401, 429]
    assert await login(client, "a@example.com", HOME) == 429


async def test_an_address_is_known_for_a_quarter_of_a_year(make_client: ClientFactory) -> None:
    """After that it is as good as new."""
    client = await make_client(trusted_proxies=1, login_attempts_per_account_max=1)
    await register(client, "a@example.com")
    assert await login(client, "a@example.com", HOME) == 200
    client.clock.advance(90 * 86_400 + 1)
    await client.app.state.service.accounts.forget_expired_sessions()
    assert await login(client, "a@example.com", AWAY, right=False) == 401
    assert await login(client, "a@example.com", HOME) == 429
