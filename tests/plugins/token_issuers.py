"""Issuers of tokens for tests: their keys, what they publish, and tokens that are as good or as bad as a test wants."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000.0
ISSUER = "https://login.example.com/"
AUDIENCE = "https://api.example.com"
SECRET = "s" * 64
ALGORITHMS = get_default_algorithms()


def private_key(kind: str, number: int = 0) -> Any:
    """A key of a kind, always the same one for the same number."""
    return _private_key(kind, number)


@cache
def _private_key(kind: str, _number: int) -> Any:
    match kind:
        case "RSA":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "short":
            return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # to be refused
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind])


KIND_OF = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}


def public_jwk(kind: str = "RSA", number: int = 0, **members: object) -> dict[str, Any]:
    """A key as it is published."""
    implementation: Any = ALGORITHMS[next((name for name, of in KIND_OF.items() if of == kind), "EdDSA")]
    if kind == "short":
        implementation = ALGORITHMS["RS256"]
    found = implementation.to_jwk(private_key(kind, number).public_key(), as_dict=True)
    return {"kid": f"{kind}-{number}", **found, **members}


def jwks(*keys: Mapping[str, object]) -> bytes:
    """A JWK set."""
    return json.dumps({"keys": list(keys)}).encode()


def claims(**changed: object) -> dict[str, object]:
    """Good claims; a changed one that is None is left out."""
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": NOW + 600, "iat": NOW - 5, **changed}
    return {name: value for name, value in found.items() if value is not None}


def token(
    said: Mapping[str, object] | None = None,
    *,
    algorithm: str = "RS256",
    number: int = 0,
    kid: str | None = "",
    **header: object,
) -> str:
    """A token that is signed properly; `kid` "" is the key's own, None is none."""
    kind = KIND_OF[algorithm]
    fields = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid or f"{kind}-{number}"}), **header}
    return signed(fields, claims() if said is None else said, algorithm, private_key(kind, number))


def secret_token(said: Mapping[str, object], secret: str | bytes = SECRET, **header: object) -> str:
    """A token that is signed by a secret, with HS256."""
    key = secret.encode() if isinstance(secret, str) else secret
    return signed({"alg": "HS256", **header}, said, "HS256", key)


def signed(header: object, said: object, algorithm: str, key: Any) -> str:
    """Any header and any claims, signed."""
    text = f"{part(header)}.{part(said)}"
    implementation: Any = ALGORITHMS[algorithm]
    return f"{text}.{base64url(implementation.sign(text.encode(), key))}"


def part(value: object) -> str:
    """A part of a token; bytes as they are."""
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


def base64url(data: bytes) -> str:
    """As RFC 7515 has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def reference_claims(text: str, key: Any, algorithm: str) -> dict[str, Any]:
    """What PyJWT itself makes of a token, without a look at the clock."""
    options: Any = {"verify_exp": False, "verify_iat": False}
    found: dict[str, Any] = jwt.decode(
        text, key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER, options=options
    )
    return found
