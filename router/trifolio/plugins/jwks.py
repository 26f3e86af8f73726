"""The keys of those who issue tokens: read from a JWK set, fetched from a file or a URL, and kept current.

The problem. An issuer changes its keys when it likes, and a token names its key by an id that anybody can invent. To
fetch for every unknown id would let strangers ask the issuer through us; never to fetch would refuse good tokens.

How it works. Keys are fetched at the start, and again when they have become old: whoever asks then starts the fetch and
goes on with the old keys. An unknown id starts one too, and waits for it. All share one fetch, and between the
beginnings of two there is an interval, so the issuer is asked at most once in it, whatever comes. A fetch that fails
leaves the old keys in place, until they are too old to be believed; then nothing is verified, which is no fault of the
client.

Why it is right. A key serves the algorithms that its type and its own `alg` allow, out of those that the operator has
named: nothing in a token widens them, and a public key is never taken for a secret. Secrets are never read from a set.

Specification: RFC 7517 (JWK), RFC 7518 section 6, RFC 8037 section 2.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from trifolio.errors import ConfigError
from trifolio.executor.connection import ConnectionBroken, ResponseTooLarge
from trifolio.executor.pool import ConnectionPool, Origin
from trifolio.limits import JwtLimits

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FITTING: Final[dict[tuple[object, object], tuple[str, ...]]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""What keys of a type, on a curve, can verify."""
_PUBLIC: Final = frozenset({"kty", "crv", "n", "e", "x", "y"})
"""The members of a public key: no others are looked at, so a private key that was published by mistake is none here."""
_RSA_BITS: Final = range(2048, 8193)
"""2048 bits are the least that is safe (RFC 7518, section 3.3); beyond 8192 a verification takes milliseconds."""
_HEAD_BYTES_MAX: Final = 16_384
"""16 KiB for the headers of the response with the keys."""

ASYMMETRIC: Final = frozenset(name for names in _FITTING.values() for name in names)
"""The algorithms whose keys are published."""
SECRET_BYTES_MIN: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms that need a secret, and the fewest bytes that it may have (RFC 7518, section 3.2)."""

_log: Final = logging.getLogger("trifolio.plugins.jwt")


class KeysUnavailable(Exception):
    """There are no keys that can be believed: none was fetched, or too long ago."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key, and what it may verify."""

    kid: str | None
    """Its id; None where it has none."""
    algorithms: frozenset[str]
    material: Any

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, by an algorithm that it is for."""
        return algorithm in self.algorithms and implementations()[algorithm].verify(signed, self.material, signature)


class Keys(Protocol):
    """The keys of one issuer."""

    @property
    def version(self) -> int:
        """Another number whenever the keys are others."""

    async def start(self) -> None:
        """Have the keys. Raises ConfigError where they cannot be had."""

    async def check_current(self) -> None:
        """Make sure that the keys can be believed. Raises KeysUnavailable."""

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key with that id for that algorithm; without an id, the only one there is. Raises KeysUnavailable."""

    async def stop(self) -> None:
        """End what is under way."""


@cache
def implementations() -> "dict[str, Algorithm]":
    """How each algorithm verifies. Raises ConfigError where the libraries are not installed."""
    try:
        from jwt.algorithms import get_default_algorithms  # late: an extra, which only this plug-in needs
    except ImportError:
        found = {}
    else:
        found = get_default_algorithms()
    if not found.keys() >= ASYMMETRIC:
        raise ConfigError("it needs PyJWT and cryptography; install trifolio[jwt]")
    return found


def read_keys(text: bytes, algorithms: frozenset[str], keys_max: int) -> tuple[Key, ...]:
    """The keys of a JWK set that can verify one of the algorithms; others are left out (RFC 7517, section 5).

    Raises ValueError for what is no JWK set, has too many keys, or none that is of use.
    """
    document = orjson.loads(text)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("it is no JWK set: an object with a list of keys")
    if len(members) > keys_max:
        raise ValueError(f"it has {len(members)} keys, and at most {keys_max} are read")
    keys = [key for member in members if isinstance(member, dict) and (key := _key(member, algorithms)) is not None]
    if not keys:
        raise ValueError(f"it has no key for {', '.join(sorted(algorithms))}")
    return tuple(keys)


def _key(member: dict[str, Any], algorithms: frozenset[str]) -> Key | None:
    """One key; None for one that is for something else, or that is none."""
    kind, kid = member.get("kty"), member.get("kid")
    curve = None if kind == "RSA" else member.get("crv")
    fitting = frozenset(_FITTING.get((kind, curve), ()) if isinstance(curve, str | None) else ()) & algorithms
    if "alg" in member:
        fitting &= {member["alg"]} if isinstance(member["alg"], str) else frozenset()
    operations = member.get("key_ops", ["verify"])
    is_for_signatures = member.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    if not fitting or not is_for_signatures or not isinstance(kid, str | None):
        return None
    try:
        implementation: Any = implementations()[min(fitting)]
        material = implementation.from_jwk({name: member[name] for name in _PUBLIC & member.keys()})
    except (ValueError, TypeError, KeyError, _invalid_key()):
        return None
    if kind == "RSA" and material.key_size not in _RSA_BITS:
        return None
    return Key(kid, fitting, material)


@cache
def _invalid_key() -> type[Exception]:
    from jwt.exceptions import InvalidKeyError

    return InvalidKeyError


class SecretKey:
    """A secret that the issuer and the router share: it never changes."""

    version = 0

    def __init__(self, secret: str, algorithms: frozenset[str]) -> None:
        """Raises ConfigError for a secret that is too short for one of the algorithms."""
        material = secret.encode()
        wanted = max(SECRET_BYTES_MIN[name] for name in algorithms)
        if len(material) < wanted:
            raise ConfigError(f"a secret for {', '.join(sorted(algorithms))} has at least {wanted} bytes")
        try:
            implementations()["HS256"].prepare_key(secret)
        except _invalid_key() as error:
            raise ConfigError("the secret is a public key, which everybody knows") from error
        self._key = Key(None, algorithms, material)

    async def start(self) -> None:
        """It is there."""

    async def check_current(self) -> None:
        """It always is."""

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The secret, whatever it is called."""
        return self._key

    async def stop(self) -> None:
        """Nothing is under way."""


class PublishedKeys:
    """The keys that an issuer publishes."""

    def __init__(
        self, place: str | Path, algorithms: frozenset[str], limits: JwtLimits, timer: Callable[[], float]
    ) -> None:
        """`place` is a URL or a file; `timer` is in seconds and never goes back.

        Raises ConfigError for a URL that cannot be asked.
        """
        self.version = 0
        self._place = place
        self._algorithms = algorithms
        self._limits = limits
        self._timer = timer
        self._keys: tuple[Key, ...] = ()
        self._text: bytes | None = None
        self._fetched: float | None = None
        self._next_fetch: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        implementations()
        if isinstance(place, str):
            try:
                self._origin = Origin.of(place)
                self._pool()  # reads the certificates that are trusted, once, while nobody is served
            except ValueError as error:
                raise ConfigError(f"the keys cannot be fetched: {error}") from error

    async def start(self) -> None:
        """Fetch the keys. Raises ConfigError where they cannot be had."""
        if self._fetched is not None:
            return
        now = self._timer()
        if self._next_fetch is not None and now < self._next_fetch:
            raise ConfigError(f"the keys at {self._shown} could not be had; they are asked for again soon")
        self._next_fetch = now + self._limits.jwks_retry_ms / 1000
        try:
            await self._fetch()
        except _FAILURES as error:
            raise ConfigError(f"the keys at {self._shown} cannot be had: {_cause(error)}") from error

    async def stop(self) -> None:
        """End the fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None

    async def check_current(self) -> None:
        """Start a fetch where the keys are old; wait for it where they are too old. Raises KeysUnavailable."""
        age = self._age()
        if age < self._limits.jwks_refresh_ms / 1000:
            return
        if age < self._limits.jwks_stale_ms / 1000:
            self._begin()
            return
        await self._wait()
        if self._age() >= self._limits.jwks_stale_ms / 1000:
            raise KeysUnavailable

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key with that id for that algorithm; without an id, the only one there is. Raises KeysUnavailable."""
        await self.check_current()
        key = self._known(kid, algorithm)
        if key is None:
            await self._wait()
            key = self._known(kid, algorithm)
        return key

    def _known(self, kid: str | None, algorithm: str) -> Key | None:
        fitting = [key for key in self._keys if algorithm in key.algorithms and kid in (None, key.kid)]
        return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._timer() - self._fetched

    # ---- fetching ----

    async def _wait(self) -> None:
        """Wait for a fetch, if there may be one now."""
        task = self._begin()
        if task is not None:
            await asyncio.shield(task)  # whoever gives up does not end it for the others

    def _begin(self) -> "asyncio.Task[None] | None":
        """The fetch that is under way, or a new one; None where the last one is too short a time ago."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._timer()
        if self._next_fetch is not None and now < self._next_fetch:
            return None
        self._next_fetch = now + self._limits.jwks_retry_ms / 1000
        self._fetching = asyncio.create_task(self._refresh())
        return self._fetching

    async def _refresh(self) -> None:
        try:
            await self._fetch()
        except _FAILURES as error:
            fields = {"place": self._shown, "cause": _cause(error)}
            _log.warning("the keys of an issuer cannot be had; the old ones stay", extra={"fields": fields})

    async def _fetch(self) -> None:
        limits = self._limits
        async with asyncio.timeout(limits.jwks_timeout_ms / 1000):
            place = self._place
            text = await (self._ask() if isinstance(place, str) else asyncio.to_thread(self._read, place))
            if text != self._text:
                keys = await asyncio.to_thread(read_keys, text, self._algorithms, limits.jwks_keys_max)
                self._keys, self._text = keys, text
                self.version += 1
        self._fetched = self._timer()

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            text = file.read(self._limits.jwks_bytes_max + 1)
        if len(text) > self._limits.jwks_bytes_max:
            raise ResponseTooLarge(f"more than {self._limits.jwks_bytes_max} bytes")
        return text

    async def _ask(self) -> bytes:
        """The body of the response, which has to be a 200: redirects are not followed."""
        origin, pool = self._origin, self._pool()
        lines = [f"GET {origin.target} HTTP/1.1", f"host: {origin.authority}", "connection: close"]
        lines.append("accept: application/jwk-set+json, application/json;q=0.9")
        if origin.credentials is not None:
            lines.append(f"authorization: {origin.credentials}")
        request = "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
        deadline = asyncio.get_running_loop().time() + self._limits.jwks_timeout_ms / 1000
        try:
            response = await pool.exchange(request, deadline, is_repeatable=True)
        finally:
            await pool.close()
        if response.status != 200:
            raise ConnectionBroken(f"HTTP status {response.status}")
        return response.content

    def _pool(self) -> ConnectionPool:
        timeout_s = self._limits.jwks_timeout_ms / 1000
        return ConnectionPool(
            self._origin,
            connections_max=1,
            connect_timeout_s=timeout_s,
            idle_timeout_s=timeout_s,
            head_bytes_max=_HEAD_BYTES_MAX,
            body_bytes_max=self._limits.jwks_bytes_max,
        )

    @property
    def _shown(self) -> str:
        """The place without a user or a query, which may be secrets."""
        if isinstance(self._place, Path):
            return str(self._place)
        return f"{self._origin.authority}{self._origin.target.partition('?')[0]}"


_FAILURES: Final = (OSError, TimeoutError, ConnectionBroken, ResponseTooLarge, ValueError)
"""What a fetch ends with where there are no keys to be had."""


def _cause(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")[:200]


def check_algorithms(names: Sequence[str], *, secret: bool) -> frozenset[str]:
    """The algorithms of an issuer, by name. Raises ConfigError for what is none, or needs the other kind of key."""
    known = SECRET_BYTES_MIN.keys() if secret else ASYMMETRIC
    for name in names:
        if name in known:
            continue
        kind = "a secret" if secret else "published keys"
        raise ConfigError(f"{name!r} is no algorithm for {kind}; known: {', '.join(sorted(known))}")
    if not names:
        raise ConfigError(f"algorithms is empty; known: {', '.join(sorted(known))}")
    return frozenset(names)
