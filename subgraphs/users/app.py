"""Puts the users service together from its settings."""

import time
from collections.abc import Callable, Sequence

from fastapi import FastAPI

from subgraphs.shared.app import Background, Close, ServiceParts, build_app
from subgraphs.shared.auth import LocalKeys, ServiceSigner, TokenVerifier
from subgraphs.shared.database import Database
from subgraphs.shared.errors import codes_in
from subgraphs.shared.graphql import Subgraph
from subgraphs.shared.metrics import Metric
from subgraphs.shared.peers import Peer
from subgraphs.shared.sessions import EndedSessions
from subgraphs.shared.streaming import Streams
from subgraphs.shared.transport import HttpTransport, Transport
from subgraphs.users import rules, rules_authorizations
from subgraphs.users.bodies import AuthorizationProblem
from subgraphs.users.passwords import Passwords
from subgraphs.users.peers import Peers, StocksPeer, WalletPeer
from subgraphs.users.routes import routes_of
from subgraphs.users.saga import AuthorizationSaga
from subgraphs.users.schema import schema
from subgraphs.users.service import UseCases
from subgraphs.users.service_attempts import AttemptLimit
from subgraphs.users.service_authorizations import AuthorizationsService
from subgraphs.users.service_users import AccountLimits, UsersService
from subgraphs.users.settings import Settings

QUARTER_HOUR_S = 900
HOUR_S = 3_600

Clock = Callable[[], int]


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> FastAPI:
    """The users service as an ASGI application; its use cases are `app.state.service`, its driver `app.state.saga`.

    `app.state.user_keys` verify user tokens for other services in the same process.

    Args:
        database: an open database, which the caller closes; by default the one that the settings name.
        clock: milliseconds since the epoch, in place of the database's time and the machine's; for tests.
        transport: how wallet and stocks are reached, in place of the network.
    """
    opened = database or Database.open(settings.database_url.get_secret_value(), clock=clock)
    passwords, transport = Passwords(), transport or HttpTransport()
    use_cases = _use_cases(settings, opened, passwords, _peers(settings, transport, clock))
    ended = use_cases.accounts.ended
    verifier = _verifier(settings, ended, clock)
    closing: list[Close] = [passwords.close, transport.close]
    if database is None:
        closing.append(opened.close)
    streams = Streams(streams_max=settings.streams_max, per_caller_max=settings.streams_per_caller_max)
    parts = ServiceParts(
        title="Users",
        description="User accounts, and the authorizations that investors give to brokers.",
        routes=routes_of(use_cases, settings.published_keys()),
        subgraph=Subgraph(schema, use_cases, verifier, streams),
        streams=streams,
        verifier=verifier,
        database=opened,
        metrics=[_unfinished(use_cases), ended.metric],
        background=(use_cases.saga.driver.run, ended.run) if settings.loops else (),
        hourly=_hourly(use_cases) if settings.loops else (),
        closing=closing,
        problem=AuthorizationProblem,
        error_codes=codes_in(rules, rules_authorizations),
    )
    app = build_app(parts, settings)
    app.state.service, app.state.saga = use_cases, use_cases.saga
    app.state.user_keys = LocalKeys(settings.published_keys())
    return app


def from_environment() -> FastAPI:
    """The application for `uvicorn --factory subgraphs.users.app:from_environment`."""
    return create_app(Settings.from_environment())


def _use_cases(settings: Settings, database: Database, passwords: Passwords, peers: Peers) -> UseCases:
    authorizations = AuthorizationsService(database, events_kept_days=settings.events_kept_days)
    accounts = UsersService(
        database,
        passwords=passwords,
        token_key=settings.access_token_key(),
        limits=_limits(settings),
        refusal_retention_days=settings.refusal_retention_days,
    )
    saga = AuthorizationSaga(database, authorizations, peers, request_drive_ms=settings.request_drive_ms)
    return UseCases(accounts, authorizations, saga)


def _hourly(use_cases: UseCases) -> Sequence[Background]:
    accounts = use_cases.accounts
    return accounts.forget_expired_sessions, accounts.forget_refusals, use_cases.authorizations.forget_events


def _unfinished(use_cases: UseCases) -> Metric:
    return Metric(
        "trifolio_authorizations_unfinished",
        "gauge",
        "Authorizations that a driver has still to open or to end; it falls to 0 within seconds of the last request.",
        use_cases.saga.queue.count_unfinished,
    )


def _peers(settings: Settings, transport: Transport, clock: Clock | None) -> Peers:
    if clock is None:
        signer = ServiceSigner(settings.service, settings.signing_key())
    else:
        signer = ServiceSigner(settings.service, settings.signing_key(), seconds=lambda: clock() / 1_000)
    return Peers(
        wallet=WalletPeer(Peer("wallet", settings.wallet_url, transport, signer)),
        stocks=StocksPeer(Peer("stocks", settings.stocks_url, transport, signer)),
    )


def _verifier(settings: Settings, ended: EndedSessions, clock: Clock | None) -> TokenVerifier:
    return TokenVerifier(
        LocalKeys(settings.published_keys()),
        audience=settings.service,
        service_keys=settings.verifying_keys(),
        roles=settings.roles,
        ended=ended,
        seconds=time.time if clock is None else lambda: clock() / 1_000,
    )


def _limits(settings: Settings) -> AccountLimits:
    return AccountLimits(
        login_per_account=AttemptLimit("login-account", settings.login_attempts_per_account_max, QUARTER_HOUR_S),
        login_per_address=AttemptLimit("login-address", settings.login_attempts_per_address_max, QUARTER_HOUR_S),
        login_per_known_address=AttemptLimit("login-known", settings.login_attempts_per_account_max, QUARTER_HOUR_S),
        registration_per_account=AttemptLimit("register-account", settings.registrations_per_account_max, HOUR_S),
        registration_per_address=AttemptLimit("register-address", settings.registrations_per_address_max, HOUR_S),
    )
