"""The keys of issuers: which of a JWK set are of use, and when they are fetched, from a URL and from a file."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import token_issuers as issuers
from tests.plugins.graph import Graph, People, by_execute, codes, post
from tests.plugins.http_subgraph import HttpSubgraph
from tests.plugins.token_issuers import ISSUER, NOW, claims, jwks, public_jwk, token
from tests.server.conftest import listening
from trifolio import ConfigError, Router
from trifolio.limits import JwtLimits
from trifolio.plugins.jwks import read_keys
from trifolio.plugins.jwt import Jwt, JwtIssuer

QUERY = "{ vault }"
GOLD: dict[str, Any] = {"data": {"vault": "gold"}}


class Time:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def timer(self) -> float:
        return 1000 + self.passed

    def clock(self) -> float:
        return NOW + self.passed


class Publisher(HttpSubgraph):
    """Publishes a JWK set, and tells when it is asked."""

    asked: asyncio.Condition | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        await super().__call__(scope, receive, send)
        if self.asked is not None:
            async with self.asked:
                self.asked.notify_all()

    async def has_received(self, count: int) -> None:
        """Wait until so many requests were answered."""
        self.asked = asyncio.Condition()
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.received) >= count)


class Desk:
    """A router whose plug-in fetches keys over HTTP, and the time that passes."""

    def __init__(self, publisher: Publisher, **limits: int) -> None:
        self.publisher, self.time = publisher, Time()
        self.plugin = Jwt(
            [JwtIssuer(ISSUER, ["RS256"], [issuers.AUDIENCE], jwks_url=f"{publisher.url}/jwks.json")],
            limits=JwtLimits(**limits),
            clock=self.time.clock,
            timer=self.time.timer,
        )
        self.graph = Graph(self.plugin)
        self.router: Router = self.graph.router

    @property
    def fetches(self) -> int:
        return len(self.publisher.received)

    def publish(self, *numbers: int) -> None:
        self.publisher.body = jwks(*(public_jwk("RSA", number) for number in numbers))

    async def ask(self, number: int = 0, **more: Any) -> Any:
        """The codes of the answer to a token of the key with this number; none where it is good."""
        said = claims(exp=NOW + 10**9, **more)
        body = await by_execute(self.router, QUERY, {"authorization": f"Bearer {token(said, number=number)}"})
        return codes(body) or body == GOLD

    async def settle(self) -> None:
        """Let a fetch in the background come to its end."""
        for keys in [issuer.keys for issuer in self.plugin._issuers.values()]:
            task = getattr(keys, "_fetching", None)
            if task is not None:
                await asyncio.wait([task])


@pytest.fixture
async def publisher() -> AsyncIterator["Publisher"]:
    """A server that publishes a JWK set."""
    found = Publisher(People().schema, body=jwks(public_jwk()))
    async with listening(found) as found.url:
        yield found


REFUSED = ["UNAUTHENTICATED"]


# ---- when keys are fetched ----


async def test_keys_are_fetched_at_the_start(publisher: Publisher) -> None:
    """One GET, before the first request; every token is verified with what came."""
    desk = Desk(publisher)
    async with desk.router:
        assert desk.fetches == 1
        for number in range(5):
            assert await desk.ask(sub=f"user-{number}") is True
    assert (desk.fetches, publisher.received[0].path) == (1, "/jwks.json")
    assert "authorization" not in publisher.received[0].headers


async def test_old_keys_are_used_while_new_ones_are_fetched(publisher: Publisher) -> None:
    """After `jwks_refresh_ms` a request starts a fetch and does not wait for it; the next one has the new keys."""
    desk = Desk(publisher, jwks_refresh_ms=60_000)
    async with desk.router:
        desk.time.passed = 59
        assert await desk.ask() is True
        assert desk.fetches == 1
        desk.publish(1)
        desk.time.passed = 60
        assert await desk.ask() is True
        await desk.settle()
        assert desk.fetches == 2
        assert await desk.ask(1) is True
        assert await desk.ask(0) == REFUSED
        assert desk.fetches == 2


async def test_a_remembered_token_is_forgotten_with_its_key(publisher: Publisher) -> None:
    """A token that was verified with a key that is withdrawn is refused from then on."""
    desk = Desk(publisher, jwks_refresh_ms=60_000)
    async with desk.router:
        assert await desk.ask() is True
        desk.publish(1)
        desk.time.passed = 60
        await desk.ask()
        await desk.settle()
        assert await desk.ask() == REFUSED


async def test_an_unknown_key_is_fetched_once_in_an_interval(publisher: Publisher) -> None:
    """A token of an unknown key has the keys fetched, and waits for them; however many there are, once an interval."""
    desk = Desk(publisher, jwks_retry_ms=30_000)
    async with desk.router:
        desk.publish(0, 1)
        assert await desk.ask(1) == REFUSED
        assert desk.fetches == 1
        desk.time.passed = 30
        answers = await asyncio.gather(*(desk.ask(1, sub=f"user-{each}") for each in range(20)))
        assert answers == [True] * 20
        assert desk.fetches == 2
        for passed in (31, 45, 59):
            desk.time.passed = passed
            for number in range(2, 5):
                assert await desk.ask(number) == REFUSED
        assert desk.fetches == 2
        desk.time.passed = 60
        assert await asyncio.gather(*(desk.ask(number) for number in range(2, 10))) == [REFUSED] * 8
        assert desk.fetches == 3
        assert await desk.ask(0) is True


async def test_bad_tokens_that_need_no_key_fetch_none(publisher: Publisher) -> None:
    """What is refused for its claims or algorithm asks the issuer nothing."""
    desk = Desk(publisher)
    async with desk.router:
        desk.time.passed = 100
        bad = [
            token(claims(aud="x"), kid="new"),
            token(algorithm="PS256", kid="new"),
            token(claims(iss="x"), kid="new"),
        ]
        bad.append(token(claims(exp=1), kid="new"))
        for text in bad:
            assert codes(await by_execute(desk.router, QUERY, {"authorization": f"Bearer {text}"})) == REFUSED
    assert desk.fetches == 1


FAILURES = {
    "an error": {"status": 500},
    "nobody there": {"status": 404},
    "a redirect": {"status": 302, "headers": {"location": "http://127.0.0.1:1/"}},
    "no JSON": {"body": b"<html>"},
    "no set": {"body": b'{"kty": "RSA"}'},
    "no keys": {"body": b'{"keys": []}'},
    "keys that are no list": {"body": b'{"keys": {"a": 1}}'},
    "no key of use": {"body": jwks(public_jwk("P-256"))},
    "too many bytes": {"body": b" " * 10_001},
    "too many keys": {"body": jwks(*[{"kty": "x"}] * 9)},
    "nested deep": {"body": b"[" * 5000},
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_fetch_that_fails_leaves_the_keys(
    publisher: Publisher, failure: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Old keys stay until `jwks_stale_ms`, the failure is logged; then requests are a 503 until there are keys."""
    limits = {"jwks_refresh_ms": 60_000, "jwks_stale_ms": 120_000, "jwks_retry_ms": 1_000}
    desk = Desk(publisher, **limits, jwks_bytes_max=10_000, jwks_keys_max=8)
    good = {"status": 200, "headers": {}, "body": publisher.body}
    async with desk.router:
        vars(publisher).update(failure)
        desk.time.passed = 60
        assert await desk.ask() is True
        await desk.settle()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        desk.time.passed = 119
        assert await desk.ask() is True
        await desk.settle()
        desk.time.passed = 120
        assert await desk.ask() == ["TOKENS_NOT_VERIFIABLE"]
        response = await post(desk.router, QUERY, {"authorization": f"Bearer {token()}"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        fetches = desk.fetches
        assert await desk.ask() == ["TOKENS_NOT_VERIFIABLE"]
        assert desk.fetches == fetches
        vars(publisher).update(good)
        desk.time.passed = 121
        assert await desk.ask() is True


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_without_keys_the_router_does_not_start(publisher: Publisher, failure: dict[str, Any]) -> None:
    """Where the keys cannot be had at the start there is no router; the text says where, without a query or a user."""
    vars(publisher).update(failure)
    desk = Desk(publisher, jwks_bytes_max=10_000, jwks_keys_max=8)
    with pytest.raises(ConfigError, match=r"the plug-in Jwt does not start: .*the keys at .*/jwks.json cannot"):
        async with desk.router:
            pass


async def test_a_router_that_nobody_started_asks_once_in_an_interval(publisher: Publisher) -> None:
    """Requests to a router that could not start are its own failure; the issuer is asked once an interval."""
    publisher.status = 500
    desk = Desk(publisher, jwks_retry_ms=30_000)
    for _ in range(3):
        assert await desk.ask() == ["INTERNAL_SERVER_ERROR"]
    assert desk.fetches == 1
    publisher.status = 200
    desk.time.passed = 30
    assert await desk.ask() is True
    await desk.router.close()


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"])
async def test_an_issuer_that_hangs_is_given_up(begins: bytes) -> None:
    """A server that says nothing, or only begins, fails the fetch when its time is over; known keys serve meanwhile."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begins)
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json?key=hidden"
    issuer = JwtIssuer(ISSUER, ["RS256"], None, jwks_url=url)
    with pytest.raises(ConfigError, match="TimeoutError") as raised:
        async with Graph(Jwt([issuer], limits={"jwks_timeout_ms": 50})).router:
            pass
    assert "hidden" not in str(raised.value)
    server.close()


async def test_who_gives_up_does_not_end_the_fetch(publisher: Publisher) -> None:
    """A request that is cancelled while it waits for new keys leaves the fetch to those who wait beside it."""
    desk = Desk(publisher)
    async with desk.router:
        desk.publish(0, 1)
        desk.time.passed = 30
        first, second = (asyncio.ensure_future(desk.ask(1, sub=name)) for name in ("ada", "bob"))
        await publisher.has_received(2)
        first.cancel()
        assert await second is True
        assert first.cancelled()


# ---- files ----


async def test_keys_in_a_file_are_read_again(tmp_path: Path) -> None:
    """A file is read as a URL is fetched: at the start, and again for an unknown key."""
    file, time = tmp_path / "jwks.json", Time()
    file.write_bytes(jwks(public_jwk()))
    issuer = JwtIssuer(ISSUER, ["RS256"], None, jwks_file=str(file))
    async with Graph(Jwt([issuer], clock=time.clock, timer=time.timer)).router as router:
        headers = {"authorization": f"Bearer {token(number=1)}"}
        assert codes(await by_execute(router, QUERY, headers)) == REFUSED
        file.write_bytes(jwks(public_jwk(), public_jwk("RSA", 1)))
        time.passed = 30
        assert await by_execute(router, QUERY, headers) == GOLD


@pytest.mark.parametrize("content", [None, b"", b" " * 2000])
async def test_a_file_without_keys_keeps_the_router_from_starting(tmp_path: Path, content: bytes | None) -> None:
    """No file, an empty one and one that is too large are told by name."""
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_bytes(content)
    issuer = JwtIssuer(ISSUER, ["RS256"], None, jwks_file=str(file))
    with pytest.raises(ConfigError, match=str(file)):
        async with Graph(Jwt([issuer], limits={"jwks_bytes_max": 1000})).router:
            pass


# ---- which keys are of use ----


def ids(*members: object, algorithms: tuple[str, ...] = tuple(issuers.KIND_OF)) -> list[tuple[Any, list[str]]]:
    """The ids of those that are of use, each with what it may verify."""
    found = read_keys(json.dumps({"keys": members}).encode(), frozenset(algorithms), 100)
    return [(key.kid, sorted(key.algorithms)) for key in found]


def test_a_key_serves_what_its_type_allows() -> None:
    """A key verifies by the algorithms of its type and curve, of its own `alg`, and of the operator's list."""
    rsa = ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]
    kinds = ("RSA", "P-256", "P-384", "P-521", "Ed25519", "Ed448")
    assert ids(*map(public_jwk, kinds)) == [
        *(("RSA-0", rsa), ("P-256-0", ["ES256"]), ("P-384-0", ["ES384"]), ("P-521-0", ["ES512"])),
        *(("Ed25519-0", ["EdDSA"]), ("Ed448-0", ["EdDSA"])),
    ]
    assert ids(public_jwk(alg="PS384"), public_jwk(use="sig", key_ops=["verify"], alg="RS256")) == [
        ("RSA-0", ["PS384"]),
        ("RSA-0", ["RS256"]),
    ]
    assert ids(public_jwk(), public_jwk("P-256"), algorithms=("RS256", "ES384")) == [("RSA-0", ["RS256"])]


USELESS = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
    "a secret that says it is RSA": {**public_jwk(), "alg": "HS256"},
    "alg none": public_jwk(alg="none"),
    "an alg that is no text": public_jwk(alg=["RS256"]),
    "another curve's alg": public_jwk("P-256", alg="ES384"),
    "for encryption": public_jwk(use="enc"),
    "for signing alone": public_jwk(key_ops=["sign"]),
    "key_ops that are no list": public_jwk(key_ops="verify"),
    "an id that is no text": public_jwk(kid=7),
    "too short": public_jwk("short"),
    "no modulus": {"kty": "RSA", "e": "AQAB", "kid": "a"},
    "a modulus that is no text": public_jwk(n=7),
    "a modulus that is no number": public_jwk(n="!"),
    "a point that is on no curve": public_jwk("P-256", x="A" * 43),
    "a point of another curve": public_jwk("P-256", crv="P-384"),
    "another curve": {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    "a curve that is no text": public_jwk("P-256", crv=["P-256"]),
    "an unknown type": {"kty": "lattice"},
    "no object": "RSA",
}


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS)
def test_a_key_of_no_use_is_left_out(useless: object) -> None:
    """What is no key, for something else, or too weak, is passed over, and by itself is none."""
    assert [kid for kid, _ in ids(useless, public_jwk("P-384", kid="good"))] == ["good"]
    with pytest.raises(ValueError, match="no key for"):
        ids(useless)


def test_a_private_key_is_read_as_its_public_half() -> None:
    """What is private in a set that should not have it is not looked at."""
    [key] = read_keys(jwks({**public_jwk(), "d": "AQAB", "p": "x"}), frozenset({"RS256"}), 1)
    assert not hasattr(key.material, "sign")


async def test_a_token_without_an_id_needs_the_only_key(tmp_path: Path) -> None:
    """A token that names no key is verified where one key fits its algorithm, and refused where several do."""
    file = tmp_path / "jwks.json"
    issuer = JwtIssuer(ISSUER, ["RS256", "ES256"], None, jwks_file=str(file))
    headers = {"authorization": f"Bearer {token(kid=None)}"}
    for keys, is_good in (
        ([public_jwk(), public_jwk("P-256")], True),
        ([public_jwk(kid=None)], True),
        ([public_jwk(), public_jwk("RSA", 1)], False),
    ):
        file.write_bytes(jwks(*keys))
        async with Graph(Jwt([issuer], clock=Time().clock)).router as router:
            assert (await by_execute(router, QUERY, headers) == GOLD) is is_good
