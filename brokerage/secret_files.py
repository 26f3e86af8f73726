"""The secrets of one deployment, each in a file of its own, as docker-compose.yml and the data folder use them.

token_signing_key         users' private key for access tokens
{service}_service_key     each service's own private key for its calls to the others
service_verifying_keys    the public halves, JSON, which every service reads
{service}_router_secret   by which a subgraph knows the router
stocks_feed_seed          decides the prices of the invented market, those to come included
{service}_database_url    PostgreSQL deployments only, with postgres_password
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from brokerage import SERVICE_NAMES

SECRET_BYTES = 32
FOLDER_MODE = 0o700
FILE_MODE = 0o444
"""The folder keeps other users out. A container's user, who is not the owner, reads the files it is given."""


def write_keys(folder: Path) -> None:
    """Makes the keys and router secrets that are missing; what is there stays as it is."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _write_missing(folder / "token_signing_key", _private_key)
    for service in SERVICE_NAMES:
        _write_missing(folder / f"{service}_service_key", _private_key)
        _write_missing(folder / f"{service}_router_secret", _secret)
    _write_missing(folder / "stocks_feed_seed", _secret)
    public = {service: _public_key((folder / f"{service}_service_key").read_text()) for service in SERVICE_NAMES}
    _write_missing(folder / "service_verifying_keys", lambda: json.dumps(public, indent=1))


def write_database_urls(folder: Path, host: str) -> None:
    """Makes a PostgreSQL role's URL for each service and the administrator's password, where they are missing."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _write_missing(folder / "postgres_password", _secret)
    for service in SERVICE_NAMES:
        # Bound as a default, or every URL would carry the last service's name.
        def url(service: str = service) -> str:
            return f"postgresql://{service}:{_secret()}@{host}:5432/{service}"

        _write_missing(folder / f"{service}_database_url", url)


def _write_missing(path: Path, make: Callable[[], str]) -> None:
    if path.exists():
        return
    path.touch(mode=FILE_MODE | 0o200)
    path.write_text(make() + "\n")
    path.chmod(FILE_MODE)


def _secret() -> str:
    return secrets.token_hex(SECRET_BYTES)


def _private_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def _public_key(private_pem: str) -> str:
    key = load_pem_private_key(private_pem.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
