"""Services refuse to start half configured."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr, ValidationError

from subgraphs.shared.keys import development_key
from subgraphs.users.settings import Settings as UsersSettings
from subgraphs.wallet.settings import Settings as WalletSettings


def pem(key: Ed25519PrivateKey) -> str:
    """A private key as it stands in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with which a service starts in production: no mode is set."""
    for name in ("TRIFOLIO_MODE", "DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/users")
    monkeypatch.setenv("TRIFOLIO_ROUTER_SECRETS", "one-secret-of-the-router-1,another-secret-of-the-router")
    monkeypatch.setenv("TRIFOLIO_SERVICE_SIGNING_KEY", pem(Ed25519PrivateKey.generate()))
    monkeypatch.setenv("TRIFOLIO_TRUSTED_PROXIES", "0")
    monkeypatch.setenv("TRIFOLIO_TOKEN_SIGNING_KEY", pem(Ed25519PrivateKey.generate()))
    return monkeypatch


def test_an_unset_mode_is_production(production: pytest.MonkeyPatch) -> None:
    """Everything given, the service starts, in production, and knows its peers only by keys it was given."""
    settings = UsersSettings.from_environment()
    assert settings.mode == "production"
    assert settings.router_secret_values() == ("one-secret-of-the-router-1", "another-secret-of-the-router")
    assert settings.verifying_keys() == {}


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "TRIFOLIO_SERVICE_SIGNING_KEY", "TRIFOLIO_TOKEN_SIGNING_KEY", "TRIFOLIO_TRUSTED_PROXIES"]
)
def test_production_needs_its_keys_and_database(production: pytest.MonkeyPatch, name: str) -> None:
    """Without its database or one of its keys a service does not start, and names what is missing."""
    production.delenv(name)
    with pytest.raises(ValidationError, match=name.removeprefix("TRIFOLIO_").lower() + "|" + name):
        UsersSettings.from_environment()


@pytest.mark.parametrize("name", ["SERVICE_SIGNING_KEY", "TOKEN_SIGNING_KEY"])
def test_production_refuses_development_keys(production: pytest.MonkeyPatch, name: str) -> None:
    """A key that everybody can derive signs nothing in production."""
    key = development_key("users" if name == "SERVICE_SIGNING_KEY" else "users-tokens")
    production.setenv(f"TRIFOLIO_{name}", pem(key.private))
    with pytest.raises(ValidationError, match="development key"):
        UsersSettings.from_environment()


@pytest.mark.parametrize("secret", ["short", "development-router-secret"])
def test_production_refuses_weak_router_secrets(production: pytest.MonkeyPatch, secret: str) -> None:
    """The development secret and short ones open nothing in production."""
    production.setenv("TRIFOLIO_ROUTER_SECRETS", secret)
    with pytest.raises(ValidationError, match="router secrets"):
        UsersSettings.from_environment()


def test_without_router_secrets_production_lets_nobody_in(production: pytest.MonkeyPatch) -> None:
    """Unset secrets are none, not a default."""
    production.delenv("TRIFOLIO_ROUTER_SECRETS")
    assert UsersSettings.from_environment().router_secret_values() == ()


def test_a_secret_may_stand_in_a_file(production: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NAME_FILE is read where NAME is not set, the database's URL and JSON values included."""
    url = tmp_path / "url"
    url.write_text("postgresql://db/from_file\n")
    keys = tmp_path / "keys"
    keys.write_text('{"stocks": "pem"}')
    production.delenv("DATABASE_URL")
    production.setenv("DATABASE_URL_FILE", str(url))
    production.setenv("TRIFOLIO_SERVICE_VERIFYING_KEYS_FILE", str(keys))
    with pytest.raises(ValidationError, match=r"PEM|pem|deserialize"):
        UsersSettings.from_environment()
    production.delenv("TRIFOLIO_SERVICE_VERIFYING_KEYS_FILE")
    assert UsersSettings.from_environment().database_url.get_secret_value() == "postgresql://db/from_file"


def test_development_needs_a_database_only() -> None:
    """Keys and secrets that every checkout derives alike let development start without any setup."""
    settings = WalletSettings(mode="development", database_url=SecretStr("sqlite:///x.db"))
    assert settings.signing_key().kid == development_key("wallet").kid
    assert set(settings.verifying_keys()) == {"users", "stocks"}
    assert settings.router_secret_values() == ("development-router-secret",)
