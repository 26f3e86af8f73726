"""Puts the users service together from its settings."""

from collections.abc import Callable

from fastapi import FastAPI

from subgraphs.shared.app import ServiceParts, build_app
from subgraphs.shared.auth import LocalKeys, TokenVerifier
from subgraphs.shared.database import Database
from subgraphs.shared.graphql import Subgraph
from subgraphs.users.attempts import AttemptLimit
from subgraphs.users.passwords import Passwords
from subgraphs.users.routes import routes_of
from subgraphs.users.schema import schema
from subgraphs.users.service import AccountLimits, UsersService
from subgraphs.users.service_authorizations import AuthorizationsService
from subgraphs.users.settings import Settings

QUARTER_HOUR_S = 900
HOUR_S = 3_600


def create_app(
    settings: Settings, *, database: Database | None = None, clock: Callable[[], int] | None = None
) -> FastAPI:
    """The users service as an ASGI application.

    Args:
        database: an open database, which the caller closes; by default the one that the settings name.
        clock: milliseconds since the epoch, in place of the database's time and the machine's; for tests.
    """
    opened = database or Database.open(settings.database_url.get_secret_value(), clock=clock)
    passwords = Passwords()
    service = UsersService(
        opened,
        passwords=passwords,
        token_key=settings.access_token_key(),
        limits=_limits(settings),
        authorizations=AuthorizationsService(opened),
    )
    keys = settings.published_keys()
    verifier = _verifier(settings, clock)
    parts = ServiceParts(
        title="Trifolio users",
        description="User accounts, and the authorizations that investors give to brokers.",
        routes=routes_of(service, keys),
        subgraph=Subgraph(schema, service, verifier),
        verifier=verifier,
        database=opened,
        closing=(passwords.close,) if database is not None else (passwords.close, opened.close),
    )
    return build_app(parts, settings)


def from_environment() -> FastAPI:
    """The application for `uvicorn --factory subgraphs.users.app:from_environment`."""
    return create_app(Settings.from_environment())


def _verifier(settings: Settings, clock: Callable[[], int] | None) -> TokenVerifier:
    keys, services = LocalKeys(settings.published_keys()), settings.verifying_keys()
    if clock is None:
        return TokenVerifier(keys, audience=settings.service, service_keys=services)
    return TokenVerifier(keys, audience=settings.service, service_keys=services, seconds=lambda: clock() / 1_000)


def _limits(settings: Settings) -> AccountLimits:
    return AccountLimits(
        login_per_account=AttemptLimit("login-account", settings.login_attempts_per_account_max, QUARTER_HOUR_S),
        login_per_address=AttemptLimit("login-address", settings.login_attempts_per_address_max, QUARTER_HOUR_S),
        registration_per_account=AttemptLimit("register-account", settings.registrations_per_account_max, HOUR_S),
        registration_per_address=AttemptLimit("register-address", settings.registrations_per_address_max, HOUR_S),
    )
