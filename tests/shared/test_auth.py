"""Tokens are believed for their signature, kind, issuer, audience and time, and for nothing else."""

import asyncio
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest

from subgraphs.shared.auth import (
    ANONYMOUS,
    Caller,
    LocalKeys,
    RemoteKeys,
    ServiceSigner,
    TokenVerifier,
    require_service,
    require_user,
    user_token,
)
from subgraphs.shared.errors import Refusal
from subgraphs.shared.keys import VerifyingKey, development_key, jwk_set, read_jwk_set
from subgraphs.shared.peers import Peer, PeerUnavailable
from subgraphs.shared.statuses import status_of
from subgraphs.shared.transport import PeerRequest, PeerResponse

NOW = 1_800_000_000.0
KEY, OTHER = development_key("users-tokens"), development_key("another")
STOCKS = development_key("stocks")
SERVICES = {"stocks": STOCKS.public, "users": development_key("users").public}


class Seconds:
    """A clock in seconds that moves when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def verifier(seconds: Seconds | None = None, keys: dict[str, VerifyingKey] | None = None) -> TokenVerifier:
    """A wallet's verifier."""
    return TokenVerifier(
        LocalKeys(keys or {KEY.kid: KEY.public}),
        audience="wallet",
        service_keys=SERVICES,
        roles=("investor", "broker"),
        seconds=seconds or Seconds(NOW),
    )


def forged(claims: dict[str, Any], *, key: Any = None, algorithm: str = "EdDSA", **header: Any) -> str:
    """A user token with some claims and headers changed; None leaves one out."""
    full = {
        "iss": "trifolio-users",
        "aud": "trifolio",
        "sub": "u1",
        "role": "investor",
        "jti": "j",
        "iat": int(NOW),
        "nbf": int(NOW),
        "exp": int(NOW) + 900,
        **claims,
    }
    kept = {name: value for name, value in full.items() if value is not None}
    headers = {name: value for name, value in {"typ": "at+jwt", "kid": KEY.kid, **header}.items() if value is not None}
    return jwt.encode(kept, KEY.private if key is None else key, algorithm=algorithm, headers=headers)


async def code_of(check: TokenVerifier, header: str) -> str:
    """The code with which a header is refused."""
    with pytest.raises(Refusal) as caught:
        await check.caller(header)
    return caught.value.code.code


async def test_a_users_token_names_the_user_and_the_role() -> None:
    """The caller has the token's subject and role; without a header, none. The case of the scheme does not matter."""
    token = user_token(KEY, "u1", "broker", now=NOW)
    check = verifier()
    assert await check.caller(f"Bearer {token}") == Caller("user", "u1", "broker")
    assert await check.caller(f"bearer {token}") == Caller("user", "u1", "broker")
    assert await check.caller(None) == ANONYMOUS


async def test_times_are_checked_also_when_the_signature_is_remembered() -> None:
    """A token is good until it expires, not until it is forgotten."""
    seconds = Seconds(NOW)
    check, token = verifier(seconds), user_token(KEY, "u1", "investor", now=NOW)
    await check.caller(f"Bearer {token}")
    seconds.now = NOW + 906
    assert await code_of(check, f"Bearer {token}") == "expired-token"
    seconds.now = NOW - 61
    assert await code_of(check, f"Bearer {token}") == "invalid-token"


@pytest.mark.parametrize(
    "token",
    [
        forged({"iss": "somebody"}),
        forged({"aud": "wallet"}),
        forged({"sub": None}),
        forged({"sub": 7}),
        forged({"role": "admin"}),
        forged({"role": None}),
        forged({"exp": None}),
        forged({"nbf": None}),
        forged({"jti": None}),
        forged({"exp": "soon"}),
        forged({}, kid="unknown"),
        forged({}, kid=None),
        forged({}, typ="JWT"),
        forged({}, typ="svc+jwt"),
        forged({}, key=OTHER.private),
        forged({}, key="a shared secret of sufficient length", algorithm="HS256"),
        forged({}, key="", algorithm="none"),
        forged({}) + "x",
        "",
        "a.b.c",
        "x" * 5_000,
        "\u00fc.\u00fc.\u00fc",
    ],
)
async def test_forged_tokens_are_refused(token: str) -> None:
    """Anything but our own signature over our own claims is invalid, never a server error."""
    assert await code_of(verifier(), f"Bearer {token}") == "invalid-token"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Token abc"])
async def test_other_schemes_are_refused(header: str) -> None:
    """Only bearer tokens are read."""
    assert await code_of(verifier(), header) == "invalid-token"


async def test_a_service_is_who_signed() -> None:
    """A service token names its issuer, whatever its subject claims, and works for its audience only."""
    signer = ServiceSigner("stocks", STOCKS, seconds=Seconds(NOW))
    assert await verifier().caller(f"Bearer {signer.token('wallet')}") == Caller("service", "stocks")
    assert await code_of(verifier(), f"Bearer {signer.token('users')}") == "invalid-token"
    claims = {"iss": "stocks", "aud": "wallet", "sub": "users"}
    pretender = forged(claims, key=STOCKS.private, typ="svc+jwt")
    assert (await verifier().caller(f"Bearer {pretender}")).id == "stocks"
    stolen_name = forged({**claims, "iss": "users"}, key=STOCKS.private, typ="svc+jwt")
    assert await code_of(verifier(), f"Bearer {stolen_name}") == "invalid-token"


async def test_a_service_token_is_reused_for_half_its_life() -> None:
    """Signing is spared while the token has time left, and it never reaches its end in use."""
    seconds = Seconds(NOW)
    signer = ServiceSigner("stocks", STOCKS, seconds=seconds)
    first = signer.token("wallet")
    seconds.now += 29
    assert signer.token("wallet") == first
    seconds.now += 2
    assert signer.token("wallet") != first


def test_kinds_of_callers_are_kept_apart() -> None:
    """Nobody is 401, the wrong kind 403."""
    user, stocks = Caller("user", "u1", "investor"), Caller("service", "stocks")
    assert require_user(user) is user
    assert require_service(stocks, "stocks") is stocks
    checks: tuple[tuple[Callable[[], Caller], int], ...] = (
        (lambda: require_user(ANONYMOUS), 401),
        (lambda: require_user(stocks), 403),
        (lambda: require_service(ANONYMOUS, "stocks"), 401),
        (lambda: require_service(user, "stocks"), 403),
        (lambda: require_service(stocks, "users"), 403),
    )
    for check, status in checks:
        with pytest.raises(Refusal) as caught:
            check()
        assert status_of(caught.value.code) == status


class Issuer:
    """The users service's JWK set, which can be changed and taken down."""

    def __init__(self) -> None:
        self.keys = [KEY.public]
        self.down = False
        self.asked = 0
        self.seconds = Seconds(0)
        self.hangs: asyncio.Future[None] | None = None
        """Where it is, answers wait for it."""

    async def send(self, _request: PeerRequest) -> PeerResponse:
        """What the issuer says."""
        self.asked += 1
        await (asyncio.sleep(0) if self.hangs is None else self.hangs)
        if self.down:
            return PeerResponse(503, b"")
        return PeerResponse(200, orjson.dumps(jwk_set(self.keys)))

    async def close(self) -> None:
        """Holds nothing."""

    def remote(self) -> RemoteKeys:
        """A cache of its keys."""
        return RemoteKeys("http://users/.well-known/jwks.json", self, monotonic=self.seconds)


async def test_keys_are_fetched_once_and_again_when_one_is_unknown() -> None:
    """A rotated key is found at its first use; forged ids ask the issuer at most once per ten seconds."""
    issuer = Issuer()
    keys = issuer.remote()
    for _ in range(3):
        assert await keys.find(KEY.kid) is not None
    assert issuer.asked == 1
    issuer.keys = [KEY.public, OTHER.public]
    issuer.seconds.now = 11
    assert await keys.find(OTHER.kid) is not None
    for number in range(100):
        assert await keys.find(f"forged{number}") is None
    assert issuer.asked == 2


async def test_requests_that_come_together_ask_once_and_all_get_the_answer() -> None:
    """The first requests after a start do not fail for each other."""
    issuer = Issuer()
    keys = issuer.remote()
    found = await asyncio.gather(*(keys.find(KEY.kid) for _ in range(10)))
    assert (issuer.asked, None in found) == (1, False)


async def test_stale_keys_serve_while_the_issuer_is_down() -> None:
    """Known keys keep verifying; an unknown one cannot be judged and is 503, not 401."""
    issuer = Issuer()
    keys = issuer.remote()
    await keys.find(KEY.kid)
    issuer.down, issuer.seconds.now = True, 10_000
    assert await keys.find(KEY.kid) is not None
    with pytest.raises(Refusal) as caught:
        await keys.find("unknown")
    assert status_of(caught.value.code) == 503


async def test_an_issuer_that_failed_is_not_asked_by_every_request() -> None:
    """While it is down, unknown keys ask once in ten seconds; all others are told at once, from what is known."""
    issuer = Issuer()
    keys = issuer.remote()
    await keys.find(KEY.kid)
    issuer.down, issuer.seconds.now = True, 20
    for second in range(20, 41):
        issuer.seconds.now = second
        for number in range(10):
            with pytest.raises(Refusal) as caught:
                await keys.find(f"unknown{second}-{number}")
            assert (status_of(caught.value.code), caught.value.retry_after_s) == (503, 1)
        assert await keys.find(KEY.kid) is not None
    assert issuer.asked == 1 + 3
    issuer.down, issuer.keys = False, [KEY.public, OTHER.public]
    issuer.seconds.now = 50
    assert await keys.find(OTHER.kid) is not None
    assert await keys.find("forged") is None
    assert issuer.asked == 5


async def test_nobody_waits_for_an_issuer_that_hangs() -> None:
    """While one question is open, known keys are served and unknown ones told to come back; its answer is not lost."""
    issuer = Issuer()
    keys = issuer.remote()
    await keys.find(KEY.kid)
    issuer.down, issuer.seconds.now = True, 400
    with pytest.raises(Refusal):
        await keys.find("unknown")
    issuer.hangs, issuer.seconds.now = asyncio.get_running_loop().create_future(), 800
    assert await keys.find(KEY.kid) is not None
    for kid in ("unknown", OTHER.kid):
        with pytest.raises(Refusal) as caught:
            await keys.find(kid)
        assert status_of(caught.value.code) == 503
    assert issuer.asked == 3
    issuer.down, issuer.keys = False, [OTHER.public]
    issuer.hangs.set_result(None)
    assert await keys.find(OTHER.kid) is not None
    assert await keys.find(KEY.kid) is None
    assert issuer.asked == 3


async def test_a_request_that_goes_away_takes_no_answer_from_others() -> None:
    """The first that asked is cancelled; those that wait with it, and those that come later, have the keys."""
    issuer = Issuer()
    issuer.hangs = asyncio.get_running_loop().create_future()
    keys = issuer.remote()
    first, second = (asyncio.create_task(keys.find(KEY.kid)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.hangs.set_result(None)
    assert await second is not None
    assert await keys.find(KEY.kid) is not None
    assert issuer.asked == 1


async def test_without_any_keys_tokens_are_503() -> None:
    """A service that starts before users tells clients to come back, and recovers by itself."""
    issuer = Issuer()
    issuer.down = True
    keys = issuer.remote()
    with pytest.raises(Refusal) as caught:
        await keys.find(KEY.kid)
    assert status_of(caught.value.code) == 503
    issuer.down, issuer.seconds.now = False, 0.5
    with pytest.raises(Refusal):
        await keys.find(KEY.kid)
    issuer.seconds.now = 1
    assert await keys.find(KEY.kid) is not None
    assert issuer.asked == 2


async def test_a_withdrawn_key_is_forgotten() -> None:
    """Once the set is old it is fetched again, and a key that is no longer in it is unknown."""
    issuer = Issuer()
    keys = issuer.remote()
    await keys.find(KEY.kid)
    issuer.keys, issuer.seconds.now = [OTHER.public], 301
    assert await keys.find(KEY.kid) is None


def test_a_jwk_set_survives_the_wire() -> None:
    """Published keys are read back under their thumbprints; keys of other kinds are passed over."""
    document = orjson.loads(orjson.dumps(jwk_set([KEY.public])))
    document["keys"].append({"kty": "RSA", "kid": "r", "n": "x", "e": "AQAB"})
    assert set(read_jwk_set(document)) == {KEY.kid}
    with pytest.raises(ValueError, match="JWK set"):
        read_jwk_set([])


@pytest.mark.parametrize("step", [-60, -3_600, 60, 3_600])
def test_a_clock_that_was_set_gets_a_token_of_its_time(step: int) -> None:
    """A token that the own clock calls not valid yet, or over, is made anew."""
    seconds = Seconds(NOW)
    signer = ServiceSigner("stocks", STOCKS, seconds=seconds)
    signer.token("wallet")
    seconds.now += step
    claims = jwt.decode(signer.token("wallet"), options={"verify_signature": False})
    assert claims["nbf"] <= seconds.now < claims["exp"]


async def test_a_refused_token_is_made_anew_once() -> None:
    """A peer whose clock was set refuses the token that is kept; the call is sent again with a new one, once."""
    seconds, sent = Seconds(NOW), []

    class Refusing:
        def __init__(self, times: int) -> None:
            self.times = times

        async def send(self, request: PeerRequest) -> PeerResponse:
            sent.append(request.headers["authorization"])
            if len(sent) <= self.times:
                return PeerResponse(401, b'{"code": "invalid-token"}')
            return PeerResponse(200, b"{}")

        async def close(self) -> None:
            """Holds nothing."""

    signer = ServiceSigner("stocks", STOCKS, seconds=seconds)
    peer = Peer("wallet", "http://wallet", Refusing(1), signer)
    assert await peer.call("PUT", "/balance", {}, frozenset()) == {}
    assert len(set(sent)) == 2
    sent.clear()
    with pytest.raises(PeerUnavailable):
        await Peer("wallet", "http://wallet", Refusing(9), signer).call("PUT", "/balance", {}, frozenset())
    assert len(sent) == 2


@pytest.mark.parametrize("skew", [-60, 60])
async def test_a_fresh_login_is_good_where_the_clock_is_a_minute_off(skew: int) -> None:
    """A minute's difference locks nobody out; beyond it the token is refused in clear words."""
    token = user_token(KEY, "u1", "investor", now=NOW)
    assert (await verifier(Seconds(NOW + skew)).caller(f"Bearer {token}")).id == "u1"
    with pytest.raises(Refusal) as caught:
        await verifier(Seconds(NOW - 61)).caller(f"Bearer {token}")
    assert "not valid yet" in caught.value.detail
