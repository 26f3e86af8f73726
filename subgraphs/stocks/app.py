"""The stocks service as an ASGI application, with its two loops: the driver of orders and the feeder of ticks."""

import time

from fastapi import FastAPI

from subgraphs.shared.app import Background, ServiceParts, build_app
from subgraphs.shared.auth import RemoteKeys, ServiceSigner, TokenVerifier, UserKeys
from subgraphs.shared.database import Clock, Database
from subgraphs.shared.errors import codes_in
from subgraphs.shared.graphql import Subgraph
from subgraphs.shared.metrics import Metric
from subgraphs.shared.peers import Peer
from subgraphs.shared.sessions import EndedSessions, RemoteIssuer
from subgraphs.shared.streaming import Streams
from subgraphs.shared.transport import HttpTransport, Transport
from subgraphs.stocks import rules
from subgraphs.stocks.bodies import OrderProblem
from subgraphs.stocks.companies import COMPANIES
from subgraphs.stocks.feed import ManualSource, ReplaySource, SyntheticSource, TickSource
from subgraphs.stocks.feeder import Feeder
from subgraphs.stocks.peers import Peers, UsersPeer, WalletPeer
from subgraphs.stocks.routes import routes
from subgraphs.stocks.rules_sessions import sessions_from
from subgraphs.stocks.saga import OrderSaga
from subgraphs.stocks.schema import schema
from subgraphs.stocks.service import UseCases
from subgraphs.stocks.service_market import MarketService
from subgraphs.stocks.service_orders import OrdersService
from subgraphs.stocks.service_stocks import StocksService
from subgraphs.stocks.settings import Settings
from subgraphs.stocks.steps import OrderQueue, OrderSteps

DESCRIPTION = """Stocks and their prices, holdings, and orders to buy and sell.

Quantities, prices and amounts are decimal strings. `POST /orders` takes an `Idempotency-Key`: a repetition with the
same body answers what the first request did and has no second effect. An order that cannot be finished at once answers
202; follow its Location.
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
        transport: what carries the calls to users and wallet, in place of the network: their applications in this
            process, or a faulty one in tests.
    """
    opened = database or Database.open(settings.database_url.get_secret_value(), clock=clock)
    transport = transport or HttpTransport()
    seconds = time.time if clock is None else lambda: clock() / 1_000
    signer = ServiceSigner(settings.service, settings.signing_key(), seconds=seconds)
    users = Peer("users", settings.users_url, transport, signer)
    ended = EndedSessions(RemoteIssuer(users))
    verifier = TokenVerifier(
        user_keys or RemoteKeys(f"{settings.users_url}/.well-known/jwks.json", transport),
        audience=settings.service,
        service_keys=settings.verifying_keys(),
        roles=settings.roles,
        ended=ended,
        seconds=seconds,
    )
    sessions = sessions_from(settings.market_sessions)
    market = MarketService(opened, sessions, settings.kept)
    orders = OrdersService(
        opened,
        sessions,
        settings.fees,
        broker_orders_max=settings.broker_orders_per_minute_max,
        refusal_retention_days=settings.refusal_retention_days,
        events_kept_days=settings.events_kept_days,
    )
    peers = Peers(
        wallet=WalletPeer(Peer("wallet", settings.wallet_url, transport, signer)),
        users=UsersPeer(users),
    )
    steps, queue = OrderSteps(opened), OrderQueue(opened)
    saga = OrderSaga(opened, orders, steps, queue, peers, request_drive_ms=settings.request_drive_ms)
    feeder = Feeder(market, _source(settings, clock), opened, interval_ms=settings.feed_interval_ms)
    use_cases = UseCases(StocksService(opened), orders, market, saga)
    background: tuple[Background, ...] = (saga.driver.run, feeder.run, ended.run) if settings.loops else ()
    streams = Streams(streams_max=settings.streams_max, per_caller_max=settings.streams_per_caller_max)
    app = build_app(
        ServiceParts(
            title="Stocks",
            description=DESCRIPTION,
            routes=routes(use_cases),
            subgraph=Subgraph(schema, use_cases, verifier, streams),
            streams=streams,
            verifier=verifier,
            database=opened,
            metrics=(*_metrics(saga), ended.metric),
            background=background,
            hourly=(orders.forget,) if settings.loops else (),
            closing=(transport.close,) if database is not None else (transport.close, opened.close),
            problem=OrderProblem,
            error_codes=codes_in(rules),
        ),
        settings,
    )
    app.state.service, app.state.saga, app.state.feeder = use_cases, saga, feeder
    app.state.ended = ended
    return app


def from_environment() -> FastAPI:
    """The application for `uvicorn --factory subgraphs.stocks.app:from_environment`."""
    return create_app(Settings.from_environment())


def _metrics(saga: OrderSaga) -> tuple[Metric, ...]:
    async def alarms() -> int:
        return saga.alarms

    return (
        Metric(
            "trifolio_order_alarms_total",
            "counter",
            "Refusals of peers for which an executed order waits; somebody should look.",
            alarms,
        ),
        Metric(
            "trifolio_orders_unfinished",
            "gauge",
            "Orders that a driver has still to move on; it falls to 0 within seconds of the last order.",
            saga.queue.count_unfinished,
        ),
    )


def _source(settings: Settings, clock: Clock | None) -> TickSource:
    now = clock or (lambda: time.time_ns() // 1_000_000)
    if settings.feed == "manual":
        return ManualSource()
    if settings.feed == "replay":
        assert settings.feed_file is not None
        return ReplaySource(settings.feed_file, now)
    return SyntheticSource(settings.seed(), COMPANIES, now)
