"""What every service is told from outside: its mode, database, keys, secrets and peers.

Variables are named TRIFOLIO_..., but DATABASE_URL. A value may stand in a file instead: TRIFOLIO_ROUTER_SECRETS_FILE
names a file that holds what TRIFOLIO_ROUTER_SECRETS would. A mode that is not set means production, and production
refuses to start with development keys.
"""

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from subgraphs.shared.cors import checked_origins
from subgraphs.shared.keys import SigningKey, VerifyingKey, development_key, read_signing_key, read_verifying_key

DEVELOPMENT_ROUTER_SECRET = "development-router-secret"  # noqa: S105  # refused in production
ROUTER_SECRET_CHARACTERS_MIN = 24
DATABASE_FILES_SUFFIX = "_FILE"
PREFIX = "TRIFOLIO_"


class ServiceSettings(BaseSettings):
    """The settings that all services share; a service's own class sets `service` and the class variables."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # errors are logged, and some of what they would show is secret
    )

    services: ClassVar[tuple[str, ...]]
    """The names of all services: each signs with a key of its own, and development keys go by name."""
    roles: ClassVar[frozenset[str]]
    """What a user's token may say that its user is."""

    service: str
    mode: Literal["production", "development"] = "production"
    database_url: SecretStr = Field(validation_alias=AliasChoices("database_url", "DATABASE_URL"))
    router_secrets: SecretStr | None = None
    """One or two secrets, separated by a comma, that the router may show; two while one replaces the other."""
    service_signing_key: SecretStr | None = None
    """This service's own Ed25519 private key, PEM."""
    service_verifying_keys: dict[str, str] = Field(default_factory=dict)
    """The Ed25519 public key, PEM, of each service that may call this one, by name; JSON in the environment."""
    trusted_proxies: int | None = Field(default=None, ge=0, le=32)
    """How many proxies of ours stand in front, each adding the address that it saw to X-Forwarded-For: limits count by
    the client's address. With 0 the header is not believed. Production has to say it: behind a proxy that is not
    counted, all clients are one."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may read answers, each exactly as browsers send it; JSON in the environment."""
    problem_types_url: str | None = Field(default=None, pattern=r"^https?://[^\s#]+$")
    """Where the page of error codes is published, for the `type` of problems; the service's own page, if absent."""
    refusal_retention_days: int = Field(default=30, ge=1)
    """How long a refusal answers its Idempotency-Key; an accepted request's key lives as long as its object."""
    events_kept_days: int = Field(default=7, ge=1)
    """How long an event can be caught up with: who was away for longer is told that some are missing, and reads anew
    what they show. An order leaves some eight events of about 150 bytes."""
    streams_max: int = Field(default=10_000, ge=1)
    """How many streams (subscriptions, server-sent events) one process has at a time: each is a connection, and some
    20 kB."""
    streams_per_caller_max: int = Field(default=1_000, ge=1)
    """How many of them one user has, or one address without a token: behind one may be an office of hundreds."""
    access_log: bool = True
    """Whether every request gets a line in the log: method, path, status, time, request id, caller and operation."""
    in_process: bool = False
    """The router runs in this process: the GraphQL endpoint is not mounted, and pages carry the service's name."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the files that the environment names."""
        return init_settings, env_settings, _NamedFiles(settings_cls)

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_exact(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return checked_origins(origins)

    @model_validator(mode="after")
    def _production_is_guarded(self) -> Self:
        used = {self.signing_key().kid, *(key.kid for key in self.verifying_keys().values())}
        if self.mode == "development":
            return self
        secrets = self.router_secret_values()
        if any(len(s) < ROUTER_SECRET_CHARACTERS_MIN or s == DEVELOPMENT_ROUTER_SECRET for s in secrets):
            raise ValueError(
                f"Production needs router secrets of {ROUTER_SECRET_CHARACTERS_MIN} characters or more: "
                f"set {PREFIX}ROUTER_SECRETS or {PREFIX}ROUTER_SECRETS_FILE."
            )
        development = {development_key(name).kid for name in self.services}
        if used & development:
            raise ValueError(f"Production refuses development keys: make new ones, or set {PREFIX}MODE=development.")
        if self.trusted_proxies is None:
            raise ValueError(
                f"Say how many proxies are in front: {PREFIX}TRUSTED_PROXIES=0 where clients connect to this service."
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """The settings that the environment holds; raises pydantic's ValidationError naming what is missing."""
        given: dict[str, Any] = {}
        return cls(**given)

    @property
    def development(self) -> bool:
        """Whether development conveniences are allowed."""
        return self.mode == "development"

    def router_secret_values(self) -> tuple[str, ...]:
        """The secrets the router may show; none in production means that nobody gets in."""
        if self.router_secrets is None:
            return (DEVELOPMENT_ROUTER_SECRET,) if self.development else ()
        return tuple(part.strip() for part in self.router_secrets.get_secret_value().split(",") if part.strip())

    def signing_key(self) -> SigningKey:
        """This service's own key; raises ValueError when production has none."""
        if self.service_signing_key is not None:
            return read_signing_key(self.service_signing_key.get_secret_value())
        if self.development:
            return development_key(self.service)
        raise ValueError(f"Set {PREFIX}SERVICE_SIGNING_KEY_FILE to this service's Ed25519 private key (PEM).")

    def verifying_keys(self) -> dict[str, VerifyingKey]:
        """The public keys of the services that may call this one."""
        given = {name: read_verifying_key(pem) for name, pem in self.service_verifying_keys.items()}
        if given or not self.development:
            return given
        return {name: development_key(name).public for name in self.services if name != self.service}


def settings_fault(error: ValidationError) -> str:
    """What is wrong with which variables, for whoever sets them; nothing of what they were set to."""
    return "; ".join(_variable_fault(each["loc"], each["msg"]) for each in error.errors(include_input=False))


def _variable_fault(location: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    if not location:
        return words
    name = str(location[0])
    return f"{name if name.isupper() else PREFIX + name.upper()}: {words}"


class _NamedFiles(PydanticBaseSettingsSource):
    """Reads a field from the file that its variable with `_FILE` at the end names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = "DATABASE_URL" if field_name == "database_url" else f"{PREFIX}{field_name.upper()}"
        path = os.environ.get(variable + DATABASE_FILES_SUFFIX)
        text = Path(path).read_text(encoding="utf-8").strip() if path else None
        return text, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_complex = self.get_field_value(field, name)
            if value is not None:
                found[key] = self.prepare_field_value(name, field, value, is_complex)
        return found
