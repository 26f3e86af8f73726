"""The wallet as an ASGI application."""

import time

from fastapi import FastAPI

from subgraphs.shared.app import ServiceParts, build_app
from subgraphs.shared.auth import RemoteKeys, ServiceSigner, TokenVerifier, UserKeys
from subgraphs.shared.database import Clock, Database
from subgraphs.shared.errors import codes_in
from subgraphs.shared.graphql import Subgraph
from subgraphs.shared.peers import Peer
from subgraphs.shared.sessions import EndedSessions, RemoteIssuer
from subgraphs.shared.streaming import Streams
from subgraphs.shared.transport import HttpTransport, Transport
from subgraphs.wallet import rules
from subgraphs.wallet.routes import routes
from subgraphs.wallet.schema import schema
from subgraphs.wallet.service import WalletService
from subgraphs.wallet.settings import Settings

DESCRIPTION = """Balances in currencies, deposits and withdrawals.

Amounts are decimal strings with an ISO 4217 currency code. Every POST takes an `Idempotency-Key`: a repetition with the
same body answers what the first request did and has no second effect.
"""


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    user_keys: UserKeys | None = None,
    transport: Transport | None = None,
) -> FastAPI:
    """Builds the service.

    Args:
        database: an open database, which the caller closes, in place of the one that the settings name.
        clock: milliseconds since the epoch in place of the real time, for tests.
        user_keys: where the keys of user tokens come from, in place of users' JWK set.
        transport: what fetches that JWK set, in place of the network.
    """
    opened = database or Database.open(settings.database_url.get_secret_value(), clock=clock)
    transport = transport or HttpTransport()
    seconds = time.time if clock is None else lambda: clock() / 1_000
    signer = ServiceSigner(settings.service, settings.signing_key(), seconds=seconds)
    ended = EndedSessions(RemoteIssuer(Peer("users", settings.users_url, transport, signer)))
    verifier = TokenVerifier(
        user_keys or RemoteKeys(f"{settings.users_url}/.well-known/jwks.json", transport),
        audience=settings.service,
        service_keys=settings.verifying_keys(),
        roles=settings.roles,
        ended=ended,
        seconds=seconds,
    )
    service = WalletService(
        opened,
        refusal_retention_days=settings.refusal_retention_days,
        events_kept_days=settings.events_kept_days,
    )
    streams = Streams(streams_max=settings.streams_max, per_caller_max=settings.streams_per_caller_max)
    app = build_app(
        ServiceParts(
            title="Wallet",
            description=DESCRIPTION,
            routes=routes(service),
            subgraph=Subgraph(schema, service, verifier, streams),
            streams=streams,
            verifier=verifier,
            database=opened,
            metrics=(ended.metric,),
            background=(ended.run,),
            hourly=(service.forget,),
            closing=(transport.close,) if database is not None else (transport.close, opened.close),
            error_codes=codes_in(rules),
        ),
        settings,
    )
    app.state.service, app.state.ended = service, ended
    return app


def from_environment() -> FastAPI:
    """The application for `uvicorn --factory subgraphs.wallet.app:from_environment`."""
    return create_app(Settings.from_environment())
