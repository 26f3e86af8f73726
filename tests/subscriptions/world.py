"""A router over two subgraphs: one has prices and tells when they change, the other knows the companies behind them."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from graphql import GraphQLSchema, build_schema

from trifolio.composer import Subgraph, compose
from trifolio.config import Config
from trifolio.executor.local import LocalTransport
from trifolio.executor.transport import SubgraphRequest, Transport
from trifolio.gateway import Router
from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned
from trifolio.supergraph import Supergraph

FEDERATION = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9",'
    ' import: ["@key", "@shareable", "@override", "@authenticated"])'
)
SDL = {
    "prices": """
        type Query { price(symbol: ID!): Stock }
        type Mutation { trade(symbol: ID!): Stock }
        type Subscription {
          ticked(symbols: [ID!]): Stock
          strict: Stock!
          private: Stock @authenticated
        }
        type Stock @key(fields: "symbol") { symbol: ID! price: Float exact: Float! }
    """,
    "companies": """
        type Stock @key(fields: "symbol") { symbol: ID! company: String sector: String! }
    """,
}
_MACHINERY = """
    directive @key(fields: String!) on OBJECT
    directive @authenticated on FIELD_DEFINITION
    scalar _Any
    union _Entity = Stock
    extend type Query { _entities(representations: [_Any!]!): [_Entity]! }
"""
COMPANIES = {"A": "Alpha", "B": "Beta"}
TICKED = "subscription { ticked { symbol price company } }"


@lru_cache(1)
def supergraph() -> Supergraph:
    """The two, composed."""
    subgraphs = [Subgraph(name, f"http://{name}.invalid", FEDERATION + sdl) for name, sdl in SDL.items()]
    result = compose(subgraphs)
    assert result.supergraph, result.diagnostics
    return Supergraph.parse(result.supergraph)


class Exchange:
    """Where prices change: everybody who subscribed is told, and it is known who is there."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.changed = asyncio.Event()
        """Set when somebody has come or gone."""
        self.begun = 0
        self.contexts: list[Any] = []

    def tell(self, symbol: str = "A", price: object = 1.0, **more: object) -> None:
        """An event for everybody."""
        event = {"__typename": "Stock", "symbol": symbol, "price": price, "exact": price, **more}
        for channel in self.channels:
            channel.events.append(event)
            channel.arrived.set()

    def end(self, failure: Exception | None = None) -> None:
        """No more events, for a reason or without."""
        for channel in self.channels:
            channel.events.append(failure or StopAsyncIteration())
            channel.arrived.set()

    async def has(self, count: int) -> None:
        """Wait until so many are subscribed."""
        async with asyncio.timeout(20):
            while len(self.channels) != count:
                self.changed.clear()
                await self.changed.wait()

    async def events(self) -> AsyncGenerator[Any, None]:
        """Another subscription."""
        channel = Channel()
        self.channels.append(channel)
        self.begun += 1
        self.changed.set()
        try:
            while True:
                while not channel.events:
                    channel.arrived.clear()
                    channel.idle.set()
                    await channel.arrived.wait()
                    channel.idle.clear()
                event = channel.events.popleft()
                if isinstance(event, StopAsyncIteration):
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.channels.remove(channel)
            self.changed.set()


class Channel:
    """The events that wait for one subscription."""

    def __init__(self) -> None:
        self.events: deque[Any] = deque()
        self.arrived = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while every event has been taken, and another is asked for."""


def prices(exchange: Exchange) -> GraphQLSchema:
    """The subgraph that subscriptions are made at."""
    schema = build_schema(SDL["prices"] + _MACHINERY)
    assert schema.subscription_type
    for field in schema.subscription_type.fields.values():

        async def subscribe(_: object, info: Any, **__: object) -> AsyncGenerator[Any, None]:
            exchange.contexts.append(info.context)
            return exchange.events()

        field.subscribe = subscribe
        field.resolve = lambda event, *_, **__: event
    assert schema.query_type
    assert schema.mutation_type
    stock = {"__typename": "Stock", "symbol": "A", "price": 1.0, "exact": 1.0}
    schema.query_type.fields["price"].resolve = lambda *_, **__: stock
    schema.mutation_type.fields["trade"].resolve = lambda *_, **__: stock
    return schema


def companies() -> GraphQLSchema:
    """The subgraph whose fields each event is joined with."""
    schema = build_schema("type Query { nothing: Int }" + SDL["companies"] + _MACHINERY)
    assert schema.query_type

    def resolve(_: object, __: object, representations: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [
            {"__typename": "Stock", "symbol": each["symbol"], "company": COMPANIES.get(each["symbol"]), "sector": "x"}
            for each in representations
        ]

    schema.query_type.fields["_entities"].resolve = resolve
    return schema


class Told:
    """An observer that keeps what it is told of operations."""

    def __init__(self) -> None:
        self.ended: list[OperationEnded] = []
        self.fetches: list[FetchEnded] = []

    def operation_planned(self, event: OperationPlanned, /) -> None:
        """Nothing."""

    def fetch_ended(self, event: FetchEnded, /) -> None:
        """Keep it."""
        self.fetches.append(event)

    def operation_ended(self, event: OperationEnded, /) -> None:
        """Keep it."""
        self.ended.append(event)


class World:
    """A router, and the exchange behind it."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        plugins: Sequence[object] = (),
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        self.exchange = Exchange()
        self.told = Told()
        own: dict[str, Transport] = {
            "prices": LocalTransport(prices(self.exchange)),
            "companies": LocalTransport(companies()),
        }
        self.router = Router(
            supergraph(), config=config, transports={**own, **(transports or {})}, plugins=plugins, observer=self.told
        )

    def holds_nothing(self) -> None:
        """Assert that nothing is left of any subscription."""
        state = self.router.state
        assert (state.subscriptions, state.upstream_subscriptions) == (0, 0)
        assert self.exchange.channels == []


__all__ = ["TICKED", "Exchange", "SubgraphRequest", "World"]
