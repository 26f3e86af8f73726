"""The GraphQL types of stocks, holdings and mandates, and how entities become them."""

from collections.abc import Collection
from enum import Enum
from typing import Annotated, Any

import strawberry

from subgraphs.shared.errors import NOT_FOUND, Refusal
from subgraphs.shared.graphql import RequestContext
from subgraphs.shared.graphql_types import DecimalText, Timestamp, amount_text, invalid_key, keys_of
from subgraphs.shared.money import format_price, format_quantity
from subgraphs.stocks import rules
from subgraphs.stocks.service import UseCases

Info = strawberry.Info[RequestContext[UseCases], None]


@strawberry.type(description="A trading day (UTC) of a stock.")
class TradingDay:
    """`rules.Day` in decimals."""

    date: str = strawberry.field(description="As 2026-01-31.")
    open: DecimalText = strawberry.field(description="The first price.")
    high: DecimalText = strawberry.field(description="The highest price.")
    low: DecimalText = strawberry.field(description="The lowest price.")
    close: DecimalText = strawberry.field(description="The last price so far while the day runs.")


@strawberry.enum(description="How long one bar of a chart lasts.")
class ChartInterval(Enum):
    """`rules.Interval`."""

    MINUTE = strawberry.enum_value("minute", description="A minute; kept for days.")
    HOUR = strawberry.enum_value("hour", description="An hour; kept for months.")
    DAY = strawberry.enum_value("day", description="A trading day (UTC); kept for ever.")


@strawberry.type(description="What a stock's price did for one interval, in which there was at least one price.")
class PriceBar:
    """`rules.Bar` in decimals."""

    start: Timestamp = strawberry.field(description="When the interval began.")
    open: DecimalText = strawberry.field(description="The first price.")
    high: DecimalText = strawberry.field(description="The highest price.")
    low: DecimalText = strawberry.field(description="The lowest price.")
    close: DecimalText = strawberry.field(description="The last price; the last so far while the interval runs.")


@strawberry.federation.type(keys=["id", "symbol"], description="A listed company's share.")
class Stock:
    """`rules.Stock` in decimals; public."""

    id: strawberry.ID = strawberry.field(description="The stock's id, a UUID.")
    symbol: str = strawberry.field(description="Its short name at the exchange, such as ALBA; unique.")
    name: str = strawberry.field(description="The company's name.")
    currency: str = strawberry.field(description="ISO 4217 code of the money that it is traded in.")
    price: DecimalText = strawberry.field(description="The last price.")
    bid: DecimalText = strawberry.field(description="What a seller gets.")
    ask: DecimalText = strawberry.field(description="What a buyer pays.")
    quoted_at: Timestamp = strawberry.field(description="When `price`, `bid` and `ask` were quoted.")
    day: TradingDay = strawberry.field(description="The latest trading day.")
    previous_close: DecimalText | None = strawberry.field(
        description="The last price of the trading day before; null on a stock's first day."
    )
    issued_quantity: DecimalText = strawberry.field(description="How many shares there are in all.")

    @strawberry.field(description="The latest trading days, newest first.")
    async def days(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description="How many at most; more than 30 are 30.")] = 30,
    ) -> list[TradingDay]:
        """The stock's history by day."""
        return [_day(day) for day in await info.context.service.stocks.days(self.id, max(first, 0))]

    @strawberry.field(description="For charts: the latest bars, newest first, as far back as they are kept.")
    async def history(
        self,
        info: Info,
        interval: Annotated[
            ChartInterval, strawberry.argument(description="How long one bar lasts.")
        ] = ChartInterval.HOUR,
        first: Annotated[int, strawberry.argument(description="How many at most; more than 500 are 500.")] = 100,
    ) -> list[PriceBar]:
        """The stock's history by minute, hour or day."""
        found = await info.context.service.stocks.history(self.id, rules.Interval[interval.name], max(first, 0))
        return [_bar(bar) for bar in found]

    @classmethod
    async def resolve_references(cls, info: Info, representations: list[dict[str, Any]]) -> list["Stock | Refusal"]:
        """Stocks by id or symbol, by one statement for each kind of key."""
        ids, symbols = keys_of(representations, "id"), keys_of(representations, "symbol")
        stocks = info.context.service.stocks
        by_id = await stocks.stocks_by_id({key for key in ids if key}) if any(ids) else {}
        by_symbol = await stocks.stocks_by_symbol({key for key in symbols if key}) if any(symbols) else {}

        def found(stock_id: str | None, symbol: str | None) -> Stock | Refusal:
            if stock_id is None and symbol is None:
                return invalid_key("id")
            stock = by_id.get(stock_id) if stock_id is not None else by_symbol.get(symbol or "")
            return Refusal(NOT_FOUND) if stock is None else stock_node(stock)

        return [found(stock_id, symbol) for stock_id, symbol in zip(ids, symbols, strict=True)]


@strawberry.federation.type(
    keys=["id"], description="A user's shares of one stock: quantity = free + committed + reserved."
)
class StockHolding:
    """`rules.Holding` in decimals; its user alone sees it."""

    id: strawberry.ID = strawberry.field(description="The holding's id, a UUID.")
    stock: Stock = strawberry.field(description="What is held.")
    quantity: DecimalText = strawberry.field(description="Free, committed and reserved shares together.")
    free_quantity: DecimalText = strawberry.field(description="Shares that may be sold, or committed to a broker.")
    committed_amount: DecimalText = strawberry.field(description="Shares set aside for brokers.")
    reserved_quantity: DecimalText = strawberry.field(description="Shares set aside for orders.")
    average_price: DecimalText | None = strawberry.field(
        description="What a share now held has cost on average, without fees; null where none is held."
    )
    market_value: DecimalText = strawberry.field(
        description="What the shares would bring now: bid x quantity, before fees."
    )
    profit_loss: DecimalText = strawberry.field(description="Market value less what the shares now held have cost.")
    currency: str = strawberry.field(description="ISO 4217 code of the stock's currency.")
    version: int = strawberry.field(description="Changes with every change; for `expectedVersion`.")

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, Any]]
    ) -> list["StockHolding | Refusal"]:
        """The viewer's own holdings, by one statement; any other is not found."""
        keys = keys_of(representations, "id")
        found = await info.context.service.stocks.holdings_by_id(info.context.user, {key for key in keys if key})
        return [
            invalid_key("id") if key is None else holding_node(found[key]) if key in found else Refusal(NOT_FOUND)
            for key in keys
        ]


@strawberry.federation.type(keys=["id"], description="A mandate that an investor gives a broker.")
class Authorization:
    """What stocks knows of a mandate: the shares that remain of it. Its investor and its broker see it."""

    id: strawberry.ID = strawberry.field(description="The authorization's id, a UUID.")
    remaining_quantity: DecimalText | None = strawberry.field(
        default=None,
        description="What remains of a stockholding authorization's shares. Its investor and its broker see it; "
        "null for anybody else, and where no shares were set aside.",
    )
    stock: Stock | None = strawberry.field(
        default=None, description="The stock of a stockholding authorization; null where `remainingQuantity` is."
    )
    stockholding: StockHolding | None = strawberry.field(
        default=None,
        description="The investor's holding, for the investor alone: null for the broker, and where "
        "`remainingQuantity` is.",
    )

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, Any]]
    ) -> list["Authorization | Refusal"]:
        """The mandates with what remains of each, by at most three statements that filter by viewer."""
        keys = keys_of(representations, "id")
        nodes = await authorization_nodes(info, {key for key in keys if key is not None})
        return [invalid_key("id") if key is None else nodes[key] for key in keys]


def quantity_text(units: int) -> DecimalText:
    """A number of shares as GraphQL's Decimal."""
    return DecimalText(format_quantity(units))


def price_text(units: int) -> DecimalText:
    """A price as GraphQL's Decimal."""
    return DecimalText(format_price(units))


def _day(day: rules.Day) -> TradingDay:
    return TradingDay(
        date=day.date,
        open=price_text(day.open),
        high=price_text(day.high),
        low=price_text(day.low),
        close=price_text(day.close),
    )


def _bar(bar: rules.Bar) -> PriceBar:
    return PriceBar(
        start=Timestamp(bar.start),
        open=price_text(bar.open),
        high=price_text(bar.high),
        low=price_text(bar.low),
        close=price_text(bar.close),
    )


def stock_node(stock: rules.Stock) -> Stock:
    """A stock as its GraphQL type."""
    return Stock(
        id=strawberry.ID(stock.id),
        symbol=stock.symbol,
        name=stock.name,
        currency=stock.currency,
        price=price_text(stock.quote.last),
        bid=price_text(stock.quote.bid),
        ask=price_text(stock.quote.ask),
        quoted_at=Timestamp(stock.quote.at),
        day=_day(stock.day),
        previous_close=None if stock.previous_close is None else price_text(stock.previous_close),
        issued_quantity=quantity_text(stock.issued),
    )


def holding_node(holding: rules.Holding) -> StockHolding:
    """A holding as its GraphQL type."""
    average, currency = holding.average_price, holding.stock.currency
    return StockHolding(
        id=strawberry.ID(holding.id),
        stock=stock_node(holding.stock),
        quantity=quantity_text(holding.quantity),
        free_quantity=quantity_text(holding.free),
        committed_amount=quantity_text(holding.committed),
        reserved_quantity=quantity_text(holding.reserved),
        average_price=None if average is None else price_text(average),
        market_value=amount_text(holding.market_value, currency),
        profit_loss=amount_text(holding.profit_loss, currency),
        currency=currency,
        version=holding.version,
    )


async def authorization_nodes(info: Info, ids: Collection[str]) -> dict[str, Authorization]:
    """What stocks knows of those mandates, by id; of those that are not the viewer's, nothing."""
    stocks, viewer = info.context.service.stocks, info.context.user
    found = await stocks.commitments(viewer, ids) if ids else {}
    holding_ids = {item.holding_id for item, _ in found.values() if item.investor_id == viewer.id}
    holdings = await stocks.holdings_by_id(viewer, holding_ids) if holding_ids else {}
    nodes = {key: Authorization(id=strawberry.ID(key)) for key in ids}
    for key, (commitment, stock) in found.items():
        holding = holdings.get(commitment.holding_id)
        nodes[key] = Authorization(
            id=strawberry.ID(key),
            remaining_quantity=quantity_text(commitment.remaining),
            stock=stock_node(stock),
            stockholding=None if holding is None else holding_node(holding),
        )
    return nodes
