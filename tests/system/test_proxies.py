"""The brokerage behind nginx: limits count the client that nginx saw, through REST and GraphQL, however it is run."""

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from brokerage import SERVICE_NAMES
from brokerage.demo import DEMO_USERS, DemoUser
from tests import nginx
from tests.system.brokerages import Brokerage, running_brokerage

GUESSES_MAX = 3
SERVER = """
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
"""
LOGIN = "mutation Login($input: LoginInput!) { login(input: $input) { session { accessToken } errors { code } } }"
ALICE, BOB = DEMO_USERS["alice"], DEMO_USERS["bob"]
ADDRESSES = (f"127.0.0.{number}" for number in itertools.count(2))
"""Addresses of this machine; each is taken once, as guesses are counted for longer than a test takes."""


WINDOW_S = 900
"""What guesses are counted in, from one quarter of an hour to the next."""
SETTINGS = {
    "TRIFOLIO_TRUSTED_PROXIES": "1",
    "TRIFOLIO_LOGIN_ATTEMPTS_PER_ADDRESS_MAX": str(GUESSES_MAX),
    "TRIFOLIO_LOGIN_ATTEMPTS_PER_ACCOUNT_MAX": "1000",
}


async def within_one_window(scenario: Callable[[], Awaitable[None]]) -> None:
    """Does it, and again if meanwhile a window has begun in which nothing was counted yet."""
    while True:
        window = time.time() // WINDOW_S
        try:
            await scenario()
        except AssertionError:
            if time.time() // WINDOW_S == window:
                raise
        else:
            return


@pytest.fixture(scope="module", params=[(), ("--in-process",)], ids=["four processes", "one process"])
def brokerage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """A running brokerage that is told of one proxy."""
    nginx.program()
    with running_brokerage(tmp_path_factory.mktemp("data"), *request.param, environment=SETTINGS) as brokerage:
        yield brokerage


@pytest.fixture
async def proxied(brokerage: Brokerage, tmp_path: Path) -> AsyncIterator[Mapping[str, str]]:
    """nginx in front of each port of the brokerage: the URLs of the router and the services behind it."""
    ports = {url: nginx.free_port() for url in set(brokerage.urls.values())}
    servers = "".join(SERVER.format(port=port, url=url) for url, port in ports.items())
    async with nginx.running(tmp_path, servers, next(iter(ports.values()))):
        yield {name: f"http://127.0.0.1:{ports[url]}" for name, url in brokerage.urls.items()}


@asynccontextmanager
async def client_at(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connections come from that address."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(transport=transport) as client:
        yield client


async def log_in(
    urls: Mapping[str, str], address: str, user: DemoUser, password: str | None = None, *, forwarded: str = ""
) -> str:
    """A login over REST: `ok`, or the code of its refusal."""
    async with client_at(address) as client:
        body = {"email": user.email, "password": password or user.password}
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        response = await client.post(f"{urls['users']}/users/login", json=body, headers=headers)
    return "ok" if response.status_code == httpx.codes.OK else str(response.json()["code"])


async def log_in_by_graphql(
    urls: Mapping[str, str], address: str, user: DemoUser, password: str | None = None, *, forwarded: str = ""
) -> str:
    """The same through the router, its code as REST spells it."""
    async with client_at(address) as client:
        variables = {"input": {"email": user.email, "password": password or user.password}}
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        body = {"query": LOGIN, "variables": variables}
        answer = (await client.post(f"{urls['router']}/graphql", json=body, headers=headers)).json()
    payload = (answer.get("data") or {}).get("login")
    errors = [error["extensions"]["code"] for error in answer.get("errors", ())]
    errors += [] if payload is None else [error["code"] for error in payload["errors"]]
    return errors[0].lower().replace("_", "-") if errors else "ok"


Attempt = Callable[..., Awaitable[str]]
FACES = pytest.mark.parametrize("attempt", [log_in, log_in_by_graphql], ids=["REST", "GraphQL"])
WRONG = [*["invalid-credentials"] * GUESSES_MAX, "too-many-requests"]


@FACES
async def test_a_guesser_locks_nobody_else_out(proxied: Mapping[str, str], attempt: Attempt) -> None:
    """One address's guesses are its own: beyond them it is refused over both faces, and others log in."""

    async def scenario() -> None:
        guesser, neighbour = next(ADDRESSES), next(ADDRESSES)
        guesses = [await attempt(proxied, guesser, ALICE, f"a wrong guess, number {number}") for number in range(4)]
        assert guesses == WRONG
        for face in (log_in, log_in_by_graphql):
            assert await face(proxied, guesser, ALICE) == "too-many-requests"
            assert await face(proxied, neighbour, ALICE) == "ok"

    await within_one_window(scenario)


@FACES
async def test_a_forged_address_is_not_believed(proxied: Mapping[str, str], attempt: Attempt) -> None:
    """Whatever a client says of itself, its guesses count for the address that nginx saw, and for no other."""

    async def scenario() -> None:
        guesser, victim = next(ADDRESSES), next(ADDRESSES)
        forged = [victim, f"{victim}, {victim}", "10.0.0.1", victim]
        guesses = [await attempt(proxied, guesser, ALICE, "a wrong guess again", forwarded=each) for each in forged]
        assert guesses == WRONG
        assert await attempt(proxied, guesser, ALICE, forwarded=victim) == "too-many-requests"
        assert await attempt(proxied, victim, BOB, "a wrong guess by mistake") == "invalid-credentials"
        assert await attempt(proxied, victim, BOB) == "ok"

    await within_one_window(scenario)


async def test_every_service_answers_through_it(brokerage: Brokerage, proxied: Mapping[str, str]) -> None:
    """A client that is logged in reads at each service and in the graph, with its own request id in every answer."""
    headers = {"authorization": f"Bearer {brokerage.fresh_token('alice')}", "x-request-id": "behind-nginx"}
    paths = {"users": "/sessions", "wallet": "/balance", "stocks": "/stockholdings"}
    async with client_at(next(ADDRESSES)) as client:
        for service in SERVICE_NAMES:
            response = await client.get(proxied[service] + paths[service], headers=headers)
            assert (response.status_code, response.headers["x-request-id"]) == (200, "behind-nginx"), response.text
        body = {"query": "{ me { name balances { total } holdings { quantity } } }"}
        answer = await client.post(f"{proxied['router']}/graphql", json=body, headers=headers)
        assert answer.json()["data"]["me"]["holdings"]
