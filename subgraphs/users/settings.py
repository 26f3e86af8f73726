"""What the users service is told from outside, beyond what every service is."""

from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from subgraphs.shared.keys import SigningKey, VerifyingKey, development_key, read_signing_key, read_verifying_key
from subgraphs.shared.settings import PREFIX, ServiceSettings
from subgraphs.users.rules import ROLES

DEVELOPMENT_TOKEN_KEY = "users-tokens"  # noqa: S105  # the name of the key that production refuses


class Settings(ServiceSettings):
    """Settings of the users service. See `ServiceSettings` for names, files and modes.

    To rotate the key of user tokens: add the next public key to `token_verifying_keys` everywhere; a few minutes later
    make the next key `token_signing_key` and keep the old public key in `token_verifying_keys`; drop it when the last
    token it signed has expired, 15 minutes later.
    """

    services: ClassVar[tuple[str, ...]] = ("users", "wallet", "stocks")
    roles: ClassVar[frozenset[str]] = frozenset(ROLES)

    service: str = "users"
    wallet_url: str = "http://127.0.0.1:4002"
    stocks_url: str = "http://127.0.0.1:4003"
    token_signing_key: SecretStr | None = None
    """The Ed25519 private key, PEM, that signs access tokens."""
    token_verifying_keys: tuple[str, ...] = ()
    """More public keys, PEM, to publish: the previous and the next one; JSON in the environment."""
    login_attempts_per_account_max: int = Field(default=10, ge=1)
    """Wrong passwords on one account per quarter of an hour: a person mistypes a few, a guesser needs millions."""
    login_attempts_per_address_max: int = Field(default=100, ge=1)
    """Wrong passwords from one address per quarter of an hour: an office shares one."""
    registrations_per_account_max: int = Field(default=10, ge=1)
    """Attempts to register one e-mail address per hour."""
    registrations_per_address_max: int = Field(default=100, ge=1)
    """Registrations from one address per hour."""

    loops: bool = True
    """Whether this process drives and ends authorizations in the background; a test steps them by hand."""
    request_drive_ms: int = Field(default=2_000, ge=0)
    """How long a request drives the authorization it began before it answers 202."""

    @model_validator(mode="after")
    def _token_key_is_guarded(self) -> Self:
        if not self.development and self.access_token_key().kid == development_key(DEVELOPMENT_TOKEN_KEY).kid:
            raise ValueError(f"Production refuses the development key: set {PREFIX}TOKEN_SIGNING_KEY_FILE.")
        return self

    def access_token_key(self) -> SigningKey:
        """The key that signs access tokens; raises ValueError when production has none."""
        if self.token_signing_key is not None:
            return read_signing_key(self.token_signing_key.get_secret_value())
        if self.development:
            return development_key(DEVELOPMENT_TOKEN_KEY)
        raise ValueError(f"Set {PREFIX}TOKEN_SIGNING_KEY_FILE to an Ed25519 private key (PEM).")

    def published_keys(self) -> dict[str, VerifyingKey]:
        """The public keys of the JWK set by id: the signing key's, then the previous and the next ones."""
        keys = (self.access_token_key().public, *(read_verifying_key(pem) for pem in self.token_verifying_keys))
        return {key.kid: key for key in keys}
