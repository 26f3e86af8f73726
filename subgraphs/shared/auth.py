"""Who is calling: user tokens and service tokens, signed with Ed25519 and verified without asking anybody.

    user token      issued by users, `typ: at+jwt`; verified with the keys of its JWK set
    service token   signed by the calling service with its OWN key, `typ: svc+jwt`; the receiver knows each service's
                    public key and decides by itself what that service may do: no claim in the token grants anything

The two kinds differ in type, issuer and audience, so one never passes for the other. Signatures of tokens seen before
are not verified again; their times are.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import jwt
import orjson

from subgraphs.shared.errors import (
    EXPIRED_TOKEN,
    FORBIDDEN,
    INVALID_TOKEN,
    UNAUTHENTICATED,
    UNAVAILABLE,
    Refusal,
)
from subgraphs.shared.keys import SigningKey, VerifyingKey, read_jwk_set
from subgraphs.shared.transport import PeerRequest, Transport, TransportFailed

LOGGER = logging.getLogger(__name__)

Seconds = Callable[[], float]

USER_ISSUER = "trifolio-users"
USER_AUDIENCE = "trifolio"
USER_TOKEN_TYPE = "at+jwt"  # noqa: S105  # a media type (RFC 9068), no secret
SERVICE_TOKEN_TYPE = "svc+jwt"  # noqa: S105  # a media type, no secret
ALGORITHM = "EdDSA"

USER_TOKEN_LIFETIME_S = 15 * 60
SERVICE_TOKEN_LIFETIME_S = 60
CLOCK_SKEW_S = 5
"""Tolerated difference between two machines' clocks at a token's end: none lives for much longer than it says."""
NOT_BEFORE_SKEW_S = 60
"""The same at its beginning: a clock a minute behind, after a bad boot, locks out nobody who has just logged in."""
TOKEN_CHARACTERS_MAX = 4_096
VERIFIED_TOKENS_MAX = 10_000
"""Verified tokens remembered; at about 500 bytes each this is 5 MB."""

JWKS_REFETCH_INTERVAL_S = 10.0
"""An unknown key id asks the issuer again at most this often, so that forged ids cannot flood it. A failure counts."""
JWKS_RETRY_INTERVAL_S = 1.0
"""An issuer that has never answered is asked again after this long."""
JWKS_AGE_S_MAX = 300.0
"""Keys older than this are fetched again; a withdrawn key is trusted no longer while the issuer can be reached."""
JWKS_TIMEOUT_S = 2.0
JWKS_PATIENCE_S = 0.25
"""How long a request waits for an issuer that failed the last time, or for newer keys than those that know its own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `id` is a user's id or a service's name, empty for an anonymous caller.

    `session` is the one that a user's token belongs to.
    """

    kind: Literal["anonymous", "user", "service"]
    id: str
    role: str | None = None
    session: str | None = field(default=None, compare=False)


ANONYMOUS = Caller(kind="anonymous", id="")


def require_user(caller: Caller) -> Caller:
    """The caller if it is a user; raises Refusal `unauthenticated` for nobody, `forbidden` for a service."""
    if caller.kind == "anonymous":
        raise Refusal(UNAUTHENTICATED, "Send an access token: Authorization: Bearer <token>.")
    if caller.kind != "user":
        raise Refusal(FORBIDDEN, "This is for users; a service token is not accepted.")
    return caller


def require_service(caller: Caller, *names: str) -> Caller:
    """The caller if it is one of the named services; raises Refusal `unauthenticated` or `forbidden`."""
    if caller.kind == "anonymous":
        raise Refusal(UNAUTHENTICATED, "Send a service token: Authorization: Bearer <token>.")
    if caller.kind != "service" or caller.id not in names:
        raise Refusal(FORBIDDEN, "This is a system operation; this caller may not use it.")
    return caller


class UserKeys(Protocol):
    """Where the keys that verify user tokens come from."""

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key of that id, None if its issuer has none; raises Refusal `unavailable` if that cannot be known."""
        ...


class LocalKeys:
    """The issuer's own keys."""

    def __init__(self, keys: Mapping[str, VerifyingKey]) -> None:
        self._keys = keys

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key of that id, or None."""
        return self._keys.get(kid)


class RemoteKeys:
    """The issuer's JWK set, cached. While the issuer is down, the keys last seen keep serving.

    Keys are fetched beside the requests that need them, once for all of these. A request whose key is unknown waits
    for an issuer that answered the last time; one that did not is believed to be down, and nobody waits for it for
    long. Whose key is known is served from old keys where newer ones do not come at once.
    """

    def __init__(self, url: str, transport: Transport, *, monotonic: Seconds = time.monotonic) -> None:
        self._request = PeerRequest("GET", url, JWKS_TIMEOUT_S, headers={})
        self._transport = transport
        self._monotonic = monotonic
        self._keys: dict[str, VerifyingKey] | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._tried_at = self._fetched_at = -JWKS_AGE_S_MAX

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key of that id; asks the issuer if it is unknown or the set is old.

        Raises:
            Refusal: `unavailable` when the key is unknown and the issuer could not be asked.
        """
        if self._fetching is not None:
            if not self._knows(kid):
                await self._wait(self._fetching, kid)
        elif self._wants_fetch(kid):
            self._fetching = asyncio.create_task(self._fetch())
            await self._wait(self._fetching, kid)
        if self._keys is not None and kid in self._keys:
            return self._keys[kid]
        if self._keys is None or self._failed or self._fetching is not None:
            raise Refusal(UNAVAILABLE, "Tokens cannot be verified at the moment.", retry_after_s=1)
        return None

    def _knows(self, kid: str) -> bool:
        return self._keys is not None and kid in self._keys

    def _wants_fetch(self, kid: str) -> bool:
        interval = JWKS_RETRY_INTERVAL_S if self._keys is None else JWKS_REFETCH_INTERVAL_S
        if self._monotonic() - self._tried_at < interval:
            return False
        return not self._knows(kid) or self._monotonic() - self._fetched_at >= JWKS_AGE_S_MAX

    async def _wait(self, fetching: "asyncio.Task[None]", kid: str) -> None:
        """Waits for a fetch, which others wait for as well and which goes on when they have gone."""
        patient = not self._failed and not self._knows(kid)
        await asyncio.wait({fetching}, timeout=None if patient else JWKS_PATIENCE_S)

    async def _fetch(self) -> None:
        answered = False
        try:
            response = await self._transport.send(self._request)
            if response.status != 200:
                raise TransportFailed(f"status {response.status}")
            self._keys = read_jwk_set(orjson.loads(response.content))
            answered = True
            self._fetched_at = self._monotonic()
        except (TransportFailed, ValueError) as failure:
            LOGGER.warning("the keys of user tokens could not be fetched: %s", failure)
        finally:
            self._failed = not answered
            self._tried_at = self._monotonic()
            self._fetching = None


class TokenVerifier:
    """Turns an Authorization header into a Caller."""

    def __init__(
        self,
        user_keys: UserKeys,
        *,
        audience: str,
        service_keys: Mapping[str, VerifyingKey],
        roles: Collection[str],
        ended: Container[str] = (),
        seconds: Seconds = time.time,
    ) -> None:
        """
        Args:
            audience: this service's name; service tokens for another are refused.
            service_keys: the public key of each service that may call this one.
            roles: what a user may be; a user token that says anything else is refused.
            ended: the sessions whose tokens are refused before they expire.
            seconds: the time since the epoch, for tests.
        """
        self._user_keys = user_keys
        self._audience = audience
        self._service_keys = service_keys
        self._roles = frozenset(roles)
        self._ended = ended
        self._seconds = seconds
        self._verified: dict[str, tuple[Caller, float, float]] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """The caller that an Authorization header names; without a header, the anonymous one.

        Raises:
            Refusal: `invalid-token` or `expired-token`; `unavailable` when the signing key cannot be fetched.
        """
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise Refusal(INVALID_TOKEN, "Send Authorization: Bearer <token>.")
        caller, not_before, expires = await self._remembered(token)
        now = self._seconds()
        if now >= expires + CLOCK_SKEW_S:
            self._verified.pop(token, None)
            raise Refusal(EXPIRED_TOKEN, "Get a fresh access token with your refresh token.")
        if now < not_before - NOT_BEFORE_SKEW_S:
            raise Refusal(INVALID_TOKEN, "The token is not valid yet.")
        if caller.session is not None and caller.session in self._ended:
            raise Refusal(INVALID_TOKEN, "The session has ended. Log in again.")
        return caller

    async def left_s(self, authorization: str | None) -> float | None:
        """For how many seconds the header goes on naming its caller, as far as is known; None without a header.

        Raises:
            Refusal: as `caller` does, once it no longer does.
        """
        if authorization is None:
            return None
        await self.caller(authorization)
        _, _, expires = await self._remembered(authorization.partition(" ")[2].strip())
        return max(expires + CLOCK_SKEW_S - self._seconds(), 0.0)

    async def _remembered(self, token: str) -> tuple[Caller, float, float]:
        """Whose token it is, and from when to when: verified once."""
        remembered = self._verified.get(token)
        if remembered is None:
            remembered = await self._verify(token)
            if len(self._verified) >= VERIFIED_TOKENS_MAX:
                self._verified.clear()
            self._verified[token] = remembered
        return remembered

    async def _verify(self, token: str) -> tuple[Caller, float, float]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") == SERVICE_TOKEN_TYPE:
                claims, caller = self._verify_service(token)
            else:
                claims, caller = await self._verify_user(token, header)
        except jwt.PyJWTError as error:
            raise Refusal(INVALID_TOKEN, "The token was not issued for this service.") from error
        return caller, float(claims["nbf"]), float(claims["exp"])

    def _verify_service(self, token: str) -> tuple[dict[str, Any], Caller]:
        unverified = jwt.decode(token, options={"verify_signature": False})
        issuer = unverified.get("iss")
        key = self._service_keys.get(issuer) if isinstance(issuer, str) else None
        if key is None:
            raise jwt.InvalidIssuerError("unknown service")
        claims = _decode(token, key, issuer=str(issuer), audience=self._audience)
        # The issuer is what the signature proves; a service could write any other name into `sub`.
        return claims, Caller(kind="service", id=str(issuer))

    async def _verify_user(self, token: str, header: dict[str, Any]) -> tuple[dict[str, Any], Caller]:
        kid = header.get("kid")
        if header.get("typ") != USER_TOKEN_TYPE or header.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise jwt.InvalidTokenError("not an access token")
        key = await self._user_keys.find(kid)
        if key is None:
            raise jwt.InvalidKeyError("unknown key")
        claims = _decode(token, key, issuer=USER_ISSUER, audience=USER_AUDIENCE)
        role = claims.get("role")
        if role not in self._roles:
            raise jwt.InvalidTokenError("no role")
        session = claims.get("sid")
        if not isinstance(session, str | None):
            raise jwt.InvalidTokenError("no session")
        return claims, Caller(kind="user", id=claims["sub"], role=role, session=session)


class ServiceSigner:
    """Signs this service's tokens for its peers; a token is reused for half its life.

    A clock that has stepped back stands before the token was signed: it is made anew then, and when a peer refuses it.
    """

    def __init__(self, name: str, key: SigningKey, *, seconds: Seconds = time.time) -> None:
        self._name = name
        self._key = key
        self._seconds = seconds
        self._tokens: dict[str, tuple[str, float]] = {}

    def token(self, audience: str) -> str:
        """A service token for the peer of that name."""
        now = self._seconds()
        token, signed_at = self._tokens.get(audience, ("", float("inf")))
        if not signed_at <= now < signed_at + SERVICE_TOKEN_LIFETIME_S / 2:
            claims = {"iss": self._name, "sub": self._name, "aud": audience}
            token = _sign(claims, self._key, now, SERVICE_TOKEN_LIFETIME_S, SERVICE_TOKEN_TYPE)
            self._tokens[audience] = (token, now)
        return token

    def forget(self, audience: str) -> None:
        """Makes the next token for that peer a new one: it has refused the last."""
        self._tokens.pop(audience, None)


def user_token(key: SigningKey, user_id: str, role: str, *, now: float, session: str | None = None) -> str:
    """A user's access token, valid for `USER_TOKEN_LIFETIME_S` from `now` (seconds since the epoch)."""
    claims = {"iss": USER_ISSUER, "aud": USER_AUDIENCE, "sub": user_id, "role": role}
    if session is not None:
        claims["sid"] = session
    return _sign(claims, key, now, USER_TOKEN_LIFETIME_S, USER_TOKEN_TYPE)


def _sign(claims: dict[str, str], key: SigningKey, now: float, lifetime_s: int, token_type: str) -> str:
    issued = int(now)
    times = {"iat": issued, "nbf": issued, "exp": issued + lifetime_s, "jti": str(uuid.uuid4())}
    headers = {"typ": token_type, "kid": key.kid}
    return jwt.encode({**claims, **times}, key.private, algorithm=ALGORITHM, headers=headers)


def _decode(token: str, key: VerifyingKey, *, issuer: str, audience: str) -> dict[str, Any]:
    """Verifies signature, issuer and audience; times are checked by the caller, against an injectable clock."""
    claims: dict[str, Any] = jwt.decode(
        token,
        key.public,
        algorithms=[ALGORITHM],
        issuer=issuer,
        audience=audience,
        options={
            "require": ["iss", "aud", "sub", "exp", "nbf", "jti"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
    if not all(isinstance(claims[name], int) for name in ("exp", "nbf")):
        raise jwt.InvalidTokenError("times must be integers")
    return claims
