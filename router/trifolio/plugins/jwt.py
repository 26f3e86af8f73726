"""A plug-in that knows callers by their tokens: JSON Web Tokens of issuers whose keys the operator names.

    plugins:
      - python: trifolio.plugins.jwt:Jwt
        issuers:
          - issuer: https://login.example.com/
            jwks_url: https://login.example.com/.well-known/jwks.json
            algorithms: [RS256]
            audiences: [https://api.example.com]
        claims: {sub: x-user-id}

A token is good or the request is refused: there is no way from a bad token to an anonymous caller. What is good stands
in `RequestContext.claims`, and the claims that are mapped to headers go to every subgraph. A header of such a name that
a client sends is dropped from every request, however it is spelled: servers that hand headers on as variables (CGI,
WSGI) make one name of `x-user-id`, `X_User_Id` and `x.user.id`.

It needs PyJWT and cryptography: `trifolio[jwt]`.

Specification: RFC 6750 (bearer tokens), RFC 7519 (JWT), RFC 8725 (best practices).
"""

import asyncio
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from trifolio.errors import ConfigError, Refused
from trifolio.executor.transport import SubgraphResponse
from trifolio.header_fields import CONNECTION_FIELDS, SECRET_HEADER, is_field_name
from trifolio.limits import JwtLimits
from trifolio.plugins.contexts import FetchContext, RequestContext
from trifolio.plugins.jwks import Keys, KeysUnavailable, PublishedKeys, SecretKey, check_algorithms
from trifolio.plugins.plugin import Plugin, SendFetch
from trifolio.plugins.tokens import BadToken, check_claims, check_expiry, read_token

CLOCK_SKEW_S_MAX: Final = 300
"""5 min between the clocks of issuer and router: more is a clock that is wrong."""
_UNCLAIMED: Final = CONNECTION_FIELDS | {
    *(SECRET_HEADER, "accept", "content-type", "content-encoding", "cookie", "x-forwarded-for", "x-request-id"),
}
"""Headers that are the router's to say, or the client's: no claim becomes one."""
_PLAIN: Final = re.compile(r"[!#-~](?:[ -~]*[!-~])?")
"""Printable ASCII without space around it, and no quotation mark in front."""
_ENTRY_BYTES: Final = 500
"""What a remembered token takes beside its claims."""


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """Somebody whose tokens are believed; its keys are published (`jwks_url`, `jwks_file`) or a shared `secret`."""

    issuer: str
    """What stands in its tokens as `iss`, to the letter."""
    algorithms: Sequence[str]
    """How it signs: RS, PS and ES with 256, 384 or 512, and EdDSA; with a secret HS256, HS384 and HS512 instead."""
    audiences: Sequence[str] | None
    """For whom a token may be: one of these has to be in its `aud`. None, written out: for whom does not matter."""
    jwks_url: str | None = None
    """Where its JWK set is: an http or https URL. Redirects are not followed."""
    jwks_file: str | None = None
    """A file with its JWK set, relative to the current folder; read again as a URL is."""
    secret: str | None = field(default=None, repr=False)
    """What the issuer and the router share."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An issuer with its keys."""

    name: str
    algorithms: frozenset[str]
    audiences: frozenset[str] | None
    keys: Keys


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A token that was verified."""

    expires: float
    payload: bytes
    """The claims' JSON text: every request gets values of its own, which it may change."""
    headers: tuple[tuple[str, str], ...]
    keys: Keys
    version: int
    """The version of the keys that verified it."""

    @property
    def size(self) -> int:
        return len(self.payload) + sum(len(name) + len(value) for name, value in self.headers) + _ENTRY_BYTES


class Jwt(Plugin):
    """Knows callers by their tokens; see the module."""

    def __init__(
        self,
        issuers: Sequence[JwtIssuer | Mapping[str, object]],
        *,
        required: bool = True,
        header: str = "authorization",
        prefix: str = "Bearer",
        cookie: str | None = None,
        claims: Mapping[str, str] | None = None,
        clock_skew_s: int = 30,
        limits: JwtLimits | Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not `required`: who brings no token is anonymous. `claims` says which claim goes on in which header.

        Raises:
            ConfigError: something does not fit, or PyJWT is not installed.
        """
        self._limits = limits if isinstance(limits, JwtLimits) else _limits(limits or {})
        self._required = _checked("required", required, bool)
        self._header = _header_name("header", header)
        self._prefix = _prefix(prefix)
        self._cookie = None if cookie is None else _header_name("cookie", cookie, case=True)
        self._claims = _claim_headers(claims or {}, self._header)
        self._dropped = frozenset(_folded(name) for name in self._claims.values())
        self._skew_s = _checked("clock_skew_s", clock_skew_s, int)
        if not 0 <= self._skew_s <= CLOCK_SKEW_S_MAX:
            raise ConfigError(f"clock_skew_s has to be from 0 to {CLOCK_SKEW_S_MAX}")
        for function in (clock, timer):
            _check_function(function)
        self._clock = clock
        self._issuers = self._known(issuers, timer)
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._remembered_bytes = 0
        scheme = self._prefix or "Bearer"
        self._no_token = {"www-authenticate": scheme}
        self._bad_token = {"www-authenticate": f'{scheme} error="invalid_token"'}

    def _known(
        self, issuers: Sequence[JwtIssuer | Mapping[str, object]], timer: Callable[[], float]
    ) -> dict[str, _Known]:
        known: dict[str, _Known] = {}
        for index, given in enumerate(_list("issuers", issuers)):
            try:
                made = _issuer(given)
                if made.issuer in known:
                    raise ConfigError(f"{made.issuer!r} stands here twice")
                known[made.issuer] = _with_keys(made, self._limits, timer)
            except ConfigError as error:
                raise ConfigError(f"issuers[{index}]: {error.message}") from error
        if not known:
            raise ConfigError("issuers is empty; name at least one")
        return known

    # ---- hooks ----

    async def on_start(self) -> None:
        """Fetch the keys of every issuer. Raises ConfigError where some cannot be had."""
        await asyncio.gather(*(issuer.keys.start() for issuer in self._issuers.values()))

    async def on_stop(self) -> None:
        """End what is under way, and forget every token."""
        for issuer in self._issuers.values():
            await issuer.keys.stop()
        self._remembered.clear()
        self._remembered_bytes = 0

    async def on_request(self, request: RequestContext, /) -> None:
        """Verify the request's token. Raises Refused where it is bad, or is missing and required."""
        if self._dropped:
            for name in [name for name in request.headers if _folded(name) in self._dropped]:
                del request.headers[name]
        try:
            text = self._token(request.headers)
            if text is None:
                if self._required:
                    raise _refused(self._no_token)
                return
            verified = await self._verified(text)
        except BadToken:
            raise _refused(self._bad_token) from None
        except KeysUnavailable:
            message = "Tokens cannot be verified at the moment. Try again shortly."
            raise Refused("TOKENS_NOT_VERIFIABLE", message, status=503, headers={"retry-after": "5"}) from None
        request.claims = orjson.loads(verified.payload)
        request.state[self] = verified.headers

    async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> SubgraphResponse:
        """Send the mapped claims along."""
        for name, value in fetch.request.state.get(self, ()):
            fetch.headers[name] = value
        return await send(fetch)

    # ---- one token ----

    def _token(self, headers: MutableMapping[str, str]) -> str | None:
        """The request's token; None where it has none. Raises BadToken for two, or for what cannot be one."""
        found = []
        given = headers.get(self._header)
        if given is not None:
            scheme, _, rest = given.partition(" ") if self._prefix else (self._prefix, "", given)
            if scheme.lower() != self._prefix.lower():
                raise BadToken("it has another scheme")
            found.append(rest.strip(" "))
        if self._cookie is not None:
            pairs = (pair.partition("=") for pair in headers.get("cookie", "").split(";"))
            found += [value.strip() for name, _, value in pairs if name.strip() == self._cookie]
        if len(found) > 1:
            raise BadToken("there are several")
        return found[0] if found else None

    async def _verified(self, text: str) -> _Remembered:
        """What a good token says. Raises BadToken or KeysUnavailable."""
        if len(text) > self._limits.token_bytes_max:
            raise BadToken("it is too long")
        digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
        known = self._remembered.get(digest)
        if known is not None:
            await known.keys.check_current()
            if known.version == known.keys.version:
                self._check_remembered(digest, known)
                return known
            self._forget(digest)
        verified = await self._verify(text)
        self._remember(digest, verified)
        return verified

    async def _verify(self, text: str) -> _Remembered:
        token = read_token(text)
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None or token.algorithm not in issuer.algorithms:
            raise BadToken("nobody here issues such tokens")
        check_claims(token, issuer.name, issuer.audiences, self._clock(), self._skew_s)
        claims = ((name, token.claims.get(claim)) for claim, name in self._claims.items())
        headers = tuple((name, _header_value(claim)) for name, claim in claims if claim is not None and claim != "")
        key = await issuer.keys.find(token.kid, token.algorithm)
        version = issuer.keys.version
        if key is None or not key.verifies(token.algorithm, token.signed, token.signature):
            raise BadToken("nobody here has signed it")
        return _Remembered(token.expires, token.payload, headers, issuer.keys, version)

    # ---- tokens that were verified ----

    def _check_remembered(self, digest: bytes, known: _Remembered) -> None:
        try:
            check_expiry(known.expires, self._clock(), self._skew_s)
        except BadToken:
            self._forget(digest)
            raise
        if digest in self._remembered:
            self._remembered.move_to_end(digest)

    def _remember(self, digest: bytes, verified: _Remembered) -> None:
        self._forget(digest)  # several requests may have verified it at once
        self._remembered[digest] = verified
        self._remembered_bytes += verified.size
        limits = self._limits
        while (
            len(self._remembered) > limits.remembered_tokens_max or self._remembered_bytes > limits.remembered_bytes_max
        ):
            self._forget(next(iter(self._remembered)))

    def _forget(self, digest: bytes) -> None:
        known = self._remembered.pop(digest, None)
        if known is not None:
            self._remembered_bytes -= known.size


def _refused(headers: Mapping[str, str]) -> Refused:
    return Refused("UNAUTHENTICATED", "This request needs a valid token.", status=401, headers=headers)


def _folded(name: str) -> str:
    """The one name that servers make of several: what is no letter and no digit counts as the same sign."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def _header_value(value: object) -> str:
    """A claim as a header's value: a text as it is, everything else as JSON in ASCII.

    So is a text that would not arrive as it is, with space around it or letters beyond ASCII, or that looks like such
    JSON: two texts never become the same value.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, separators=(",", ":"))


# ---- options ----


def _checked(name: str, value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ConfigError(f"{name} has to be a {kind.__name__}, not a {type(value).__name__}")
    return value


def _check_function(value: Any) -> None:
    if not callable(value):
        raise ConfigError("clock and timer are functions, for tests alone")


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name} has to be a list")
    return list(value)


def _texts(name: str, value: Any) -> list[str]:
    texts = _list(name, value)
    if not all(isinstance(each, str) and each for each in texts):
        raise ConfigError(f"{name}: each has to be a text")
    return texts


def _header_name(name: str, value: Any, *, case: bool = False) -> str:
    if not isinstance(value, str) or not is_field_name(value):
        raise ConfigError(f"{name}: {value!r} is no name")
    return value if case else value.lower()


def _prefix(value: Any) -> str:
    text: str = _checked("prefix", value, str)
    if text and not is_field_name(text):
        raise ConfigError(f"prefix: {value!r} is no scheme; it stands before the token, with a space between")
    return text


def _claim_headers(claims: Any, token_header: str) -> dict[str, str]:
    """Which claim goes on in which header; two of them in one would be anybody's guess."""
    if not isinstance(claims, Mapping):
        raise ConfigError("claims has to be a mapping of claims to headers")
    found: dict[str, str] = {}
    seen = {_folded(name): name for name in (*_UNCLAIMED, token_header)}
    for claim, header in claims.items():
        name = _header_name(f"claims.{claim}", header)
        if not isinstance(claim, str) or _folded(name) in seen:
            raise ConfigError(f"claims.{claim}: {name!r} is taken; name another header")
        seen[_folded(name)] = name
        found[claim] = name
    return found


def _made(cls: type, given: Any, what: str) -> Any:
    """A dataclass out of a mapping. Raises ConfigError for keys that it has not, or has to have."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} has to be a mapping")
    known = [each.name for each in fields(cls)]
    for key in given:
        if key not in known:
            raise ConfigError(f"{what}: unknown key {key!r}; known: {', '.join(known)}")
    try:
        return cls(**given)
    except TypeError as error:
        raise ConfigError(f"{what}: {str(error).partition('__init__() ')[2]}") from error


def _limits(given: Any) -> JwtLimits:
    limits: JwtLimits = _made(JwtLimits, given, "limits")
    for each in fields(limits):
        if _checked(f"limits.{each.name}", getattr(limits, each.name), int) < JwtLimits.MINIMUM:
            raise ConfigError(f"limits.{each.name} has to be at least {JwtLimits.MINIMUM}")
    if limits.jwks_refresh_ms > limits.jwks_stale_ms:
        raise ConfigError("limits.jwks_refresh_ms is never reached, limits.jwks_stale_ms is shorter")
    return limits


def _issuer(given: Any) -> JwtIssuer:
    made: JwtIssuer = given if isinstance(given, JwtIssuer) else _made(JwtIssuer, given, "an issuer")
    _texts("issuer", [made.issuer])
    return made


def _with_keys(made: JwtIssuer, limits: JwtLimits, timer: Callable[[], float]) -> _Known:
    places = [each for each in (made.jwks_url, made.jwks_file, made.secret) if each is not None]
    if len(_texts("jwks_url, jwks_file and secret", places)) != 1:
        raise ConfigError("give exactly one of jwks_url, jwks_file, secret")
    algorithms = check_algorithms(_texts("algorithms", made.algorithms), secret=made.secret is not None)
    audiences = None if made.audiences is None else frozenset(_texts("audiences", made.audiences))
    if audiences is not None and not audiences:
        raise ConfigError("audiences is empty; name one, or write null where it does not matter for whom a token is")
    keys: Keys
    if made.secret is not None:
        keys = SecretKey(made.secret, algorithms)
    else:
        keys = PublishedKeys(made.jwks_url or Path(made.jwks_file or ""), algorithms, limits, timer)
    return _Known(made.issuer, algorithms, audiences, keys)
