"""Ed25519 keys: reading them, publishing them as a JWK set, and the development keys that production refuses.

A key's id (`kid`) is its RFC 7638 thumbprint, so it needs no configuration and never collides.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

JWK = dict[str, str]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its id."""

    kid: str
    private: Ed25519PrivateKey

    def secret(self, purpose: str) -> bytes:
        """32 bytes that only the key's holders can derive, others for each purpose; for message authentication."""
        seed = self.private.private_bytes_raw()
        return hashlib.sha256(f"trifolio {purpose}".encode() + b"\0" + seed).digest()

    @property
    def public(self) -> "VerifyingKey":
        """The half that may be published."""
        return VerifyingKey(kid=self.kid, public=self.private.public_key())


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its id."""

    kid: str
    public: Ed25519PublicKey


def signing_key(private: Ed25519PrivateKey) -> SigningKey:
    """A private key under its thumbprint."""
    return SigningKey(kid=_thumbprint(private.public_key()), private=private)


def read_signing_key(pem: str) -> SigningKey:
    """Reads an Ed25519 private key in PEM (PKCS 8); raises ValueError for anything else."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # whose words may hold bytes of the key
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("The signing key must be an Ed25519 private key (PEM).")
    return signing_key(key)


def read_verifying_key(pem: str) -> VerifyingKey:
    """Reads an Ed25519 public key in PEM (SubjectPublicKeyInfo); raises ValueError for anything else."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("The verifying key must be an Ed25519 public key (PEM).")
    return VerifyingKey(kid=_thumbprint(key), public=key)


def development_key(name: str) -> SigningKey:
    """The key of that name that every checkout derives alike: no secret, for development and tests only."""
    seed = hashlib.sha256(f"trifolio development key: {name}".encode()).digest()
    return signing_key(Ed25519PrivateKey.from_private_bytes(seed))


def jwk_set(keys: Iterable[VerifyingKey]) -> dict[str, list[JWK]]:
    """The keys as a JWK set (RFC 7517, RFC 8037)."""
    return {"keys": [{**_jwk(key.public), "kid": key.kid, "use": "sig", "alg": "EdDSA"} for key in keys]}


def read_jwk_set(document: object) -> dict[str, VerifyingKey]:
    """The Ed25519 keys of a JWK set by id; keys of other kinds are passed over. Raises ValueError if it is none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("The document is no JWK set.")
    keys = (_read_jwk(entry) for entry in entries if isinstance(entry, dict))
    return {key.kid: key for key in keys if key is not None}


def _read_jwk(entry: dict[str, object]) -> VerifyingKey | None:
    kid, x = entry.get("kid"), entry.get("x")
    if entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519" or not isinstance(kid, str) or not isinstance(x, str):
        return None
    raw = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
    return VerifyingKey(kid=kid, public=Ed25519PublicKey.from_public_bytes(raw))


def _jwk(key: Ed25519PublicKey) -> JWK:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def _thumbprint(key: Ed25519PublicKey) -> str:
    return _base64url(hashlib.sha256(orjson.dumps(_jwk(key), option=orjson.OPT_SORT_KEYS)).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
