"""One JSON Web Token: taken apart, and its claims judged. Whose signature it has is `jwks`' to say.

A token is decoded once, and strictly: what is verified and what is believed are the same bytes, and one token has one
spelling. Of its header only `alg` and `kid` are looked at, as names among those that are known; keys, and addresses of
keys, that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) mean nothing. What its header declares as critical, no
one here understands, so it is refused.

Specification: RFC 7515 (JWS), sections 4.1 and 7.1; RFC 7519 (JWT), section 4.1; RFC 8725 (best practices).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import orjson

_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
"""Three parts; one without a signature, one that is encrypted (five parts) and anything beside it does not match."""
_KID_LENGTH_MAX: Final = 256
"""256 characters of a key's id: those in use are fingerprints and dates."""


class BadToken(Exception):
    """A token that is not to be believed. The text is for tests and debuggers: no client and no log gets it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was taken apart; nothing of it is verified yet."""

    algorithm: str
    kid: str | None
    signed: bytes
    """What the signature is for."""
    signature: bytes
    payload: bytes
    """The claims' JSON text."""
    claims: Mapping[str, Any]
    expires: float
    """When it has expired, in seconds since 1970; a clock may be behind."""


def read_token(text: str) -> Token:
    """Take a token apart. Raises BadToken for what is none."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise BadToken("it has not three parts")
    header, claims, payload = _object(match[1])[0], *_object(match[2])
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise BadToken("its header has no alg, or a kid that is no text")
    if kid is not None and len(kid) > _KID_LENGTH_MAX:
        raise BadToken("its kid is too long")
    if "crit" in header or "b64" in header:
        raise BadToken("its header has extensions that have to be understood")
    signed = f"{match[1]}.{match[2]}".encode("ascii")
    return Token(algorithm, kid, signed, _decoded(match[3]), payload, claims, _time(claims, "exp"))


def check_claims(token: Token, issuer: str, audiences: frozenset[str] | None, now: float, skew_s: float) -> None:
    """Raises BadToken where the claims do not hold here and now; `audiences` None: for whom it is does not matter."""
    claims = token.claims
    if claims.get("iss") != issuer:
        raise BadToken("it is another issuer's")
    if audiences is not None:
        given = claims.get("aud")
        found = given if isinstance(given, list) else [given]
        if not any(isinstance(each, str) and each in audiences for each in found):
            raise BadToken("it is for somebody else")
    check_expiry(token.expires, now, skew_s)
    for name in ("nbf", "iat"):
        if name in claims and _time(claims, name) > now + skew_s:
            raise BadToken(f"its {name} is in the future")


def check_expiry(expires: float, now: float, skew_s: float) -> None:
    """Raises BadToken where it has expired."""
    if now >= expires + skew_s:
        raise BadToken("it has expired")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BadToken(f"its {name} is no time")
    return float(value)


def _object(part: str) -> tuple[dict[str, Any], bytes]:
    """The JSON object in one part, and its text."""
    text = _decoded(part)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadToken("a part of it is no JSON") from None
    if not isinstance(value, dict):
        raise BadToken("a part of it is no object")
    return value, text


def _decoded(part: str) -> bytes:
    """The bytes of a part; only their one canonical spelling is taken."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise BadToken("a part of it is no base64url") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
        raise BadToken("a part of it has another spelling")
    return decoded
