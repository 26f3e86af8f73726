"""The market: which companies are listed, how a price is stored, and which waiting orders it triggers.

One tick is one transaction under the lock of its stock: the tick is stored, then every working order that was placed
before it and whose condition it crosses is triggered by compare-and-set. An order that starts working takes the same
lock and looks at the ticks it has missed, so no order ever misses a tick, and none is triggered twice.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller, require_service
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import INVALID_PRICE, INVALID_REQUEST, FieldError, Refusal
from subgraphs.shared.pagination import CursorKey, decode_cursor, encode_cursor
from subgraphs.shared.wakening import SharedRead
from subgraphs.stocks import store, store_orders
from subgraphs.stocks.companies import Company
from subgraphs.stocks.rules import INTERVAL_MS, MARKET_CLOSED, UNKNOWN_STOCK, Day, Interval, Kept, Quote, Stock, Tick
from subgraphs.stocks.rules_orders import Order, OrderState, OrderType, limit_met, side_price
from subgraphs.stocks.rules_pricing import spread_around
from subgraphs.stocks.rules_sessions import Sessions, date_of
from subgraphs.stocks.steps import ORDER_IS_DUE
from subgraphs.stocks.tables import audit_log

DEFAULT_KEPT = Kept()
TICKED = "ticked"
"""What is woken when any price has moved; with a space and a symbol, when that stock's has."""
TICKS_STREAM = "prices"
"""What the cursors of price changes are marked with."""
SYMBOLS_MAX = 100
"""100 symbols: what one subscriber names; who wants more gets all."""


@dataclass(frozen=True, slots=True)
class StoredTick:
    """A tick as stored, and the orders it triggered; none for a tick that was stored before."""

    symbol: str
    quote: Quote
    triggered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A stock whose price has moved, and where that stands among all moves."""

    cursor: str
    stock: Stock


class MarketService:
    """The use cases of the market."""

    def __init__(self, database: Database, sessions: Sessions, kept: Kept = DEFAULT_KEPT) -> None:
        self._database = database
        self._kept = kept
        self.sessions = sessions
        self._prices = SharedRead(self._read_prices)

    async def list_companies(self, companies: Iterable[Company]) -> None:
        """Lists the companies that are not listed yet, each at its first price, with all its shares in the market."""

        async def work(connection: Connection) -> None:
            now = await connection.now()
            listed = await store.latest_seqs(connection)
            for company in companies:
                if company.stock_id in listed:
                    continue
                bid, ask = spread_around(company.price)
                quote = Quote(0, bid, ask, company.price, now)
                day = Day.opened(date_of(now), company.price)
                stock = Stock(
                    company.stock_id, company.symbol, company.name, company.currency, company.issued, quote, day, None
                )
                await store.insert_listing(connection, stock, now)

        await self._database.write(work)

    async def stored_seqs(self) -> dict[str, int]:
        """Each symbol's last stored tick: where a feed goes on."""
        async with self._database.reading() as connection:
            return await store.stored_seqs(connection)

    async def ticked(
        self, symbols: Sequence[str] | None, *, after: str | None = None
    ) -> AsyncGenerator[PriceChange, None]:
        """The stocks with those symbols, or all, each when its price has moved, for ever; public.

        A price that is no longer the newest when somebody gets to it is left out. All who are woken together read once.

        Args:
            after: the cursor of the last change that the caller knows: first come all whose price has moved since.

        Raises:
            Refusal: `invalid-cursor`, `unknown-stock`, and `invalid-request` for no symbols or too many.
        """
        known = None if after is None else decode_cursor(after, TICKS_STREAM, int, str, int)
        if symbols is not None and not 1 <= len(symbols) <= SYMBOLS_MAX:
            message = f"Name 1 to {SYMBOLS_MAX} symbols, or none at all for every stock."
            raise Refusal(INVALID_REQUEST, message, fields=(FieldError("symbols", message),))
        if symbols is not None and not (await self._prices.get()).keys() >= set(symbols):
            raise Refusal(UNKNOWN_STOCK)
        return self._follow(symbols, known)

    async def _follow(
        self, symbols: Sequence[str] | None, known: CursorKey | None
    ) -> AsyncGenerator[PriceChange, None]:
        topics = [TICKED] if symbols is None else [f"{TICKED} {symbol}" for symbol in symbols]
        with self._database.wakening.waiting(*topics) as waiter:
            prices = await self._prices.get()
            seen = {symbol: prices[symbol].quote.seq for symbol in symbols or prices}
            for symbol in seen if known is not None else ():
                if known is not None and _moved_since(prices[symbol], known):
                    yield _price_change(prices[symbol])
            while True:
                await waiter.wait()
                prices = await self._prices.get()
                for symbol in symbols or sorted(prices):
                    stock = prices[symbol]
                    if stock.quote.seq > seen.get(symbol, -1):
                        seen[symbol] = stock.quote.seq
                        yield _price_change(stock)

    async def _read_prices(self) -> dict[str, Stock]:
        async with self._database.reading() as connection:
            return await store.all_stocks(connection)

    async def now(self) -> int:
        """The database's time in milliseconds."""
        async with self._database.reading() as connection:
            return await connection.now()

    async def is_open(self) -> bool:
        """Whether a session runs."""
        return self.sessions.is_open(await self.now())

    async def store_tick(self, tick: Tick) -> StoredTick:
        """Stores one tick and triggers what it crosses; a tick at or below the stored seq changes nothing.

        Raises:
            Refusal: `unknown-stock`.
        """

        async def work(connection: Connection) -> StoredTick:
            stock = await store.lock_stock(connection, symbol=tick.symbol)
            if stock is None:
                raise Refusal(UNKNOWN_STOCK)
            if tick.seq <= stock.quote.seq:
                return StoredTick(stock.symbol, stock.quote, ())
            return await _store(connection, stock, Quote(tick.seq, tick.bid, tick.ask, tick.last, tick.ts))

        return await self._database.write(work)

    async def post_tick(
        self, caller: Caller, symbol: str, *, bid: int, ask: int, last: int, seq: int | None
    ) -> StoredTick:
        """Stores a price that an operator posts, with the stocks service's own key; without `seq`, as the next tick.

        Raises:
            Refusal: `forbidden`, `unknown-stock`, `market-closed`, `invalid-price` when bid is above ask.
        """
        require_service(caller, "stocks")
        if bid > ask:
            raise Refusal(INVALID_PRICE, fields=[FieldError("bid", "The bid must not be above the ask.")])

        async def work(connection: Connection) -> StoredTick:
            now = await connection.now()
            stock = await store.lock_stock(connection, symbol=symbol)
            if stock is None:
                raise Refusal(UNKNOWN_STOCK)
            if not self.sessions.is_open(now):
                raise Refusal(MARKET_CLOSED)
            number = stock.quote.seq + 1 if seq is None else seq
            if number <= stock.quote.seq:
                return StoredTick(stock.symbol, stock.quote, ())
            await record(connection, audit_log, AuditEntry("tick.posted", caller, stock.id, details={"seq": number}))
            return await _store(connection, stock, Quote(number, bid, ask, last, now))

        return await self._database.write(work)

    async def delete_old_bars(self) -> int:
        """Deletes the bars that are older than is kept; how many there were."""

        async def work(connection: Connection) -> int:
            now, day_ms = await connection.now(), INTERVAL_MS[Interval.DAY]
            return await store.delete_bars_before(
                connection, Interval.MINUTE, now - self._kept.minute_bar_days * day_ms
            ) + await store.delete_bars_before(connection, Interval.HOUR, now - self._kept.hour_bar_days * day_ms)

        return await self._database.write(work)

    async def delete_old_ticks(self, *, kept: int | None = None) -> int:
        """Deletes all but the latest `kept` ticks of each stock, and none that an order may still have to look at."""
        number = self._kept.ticks if kept is None else kept

        async def work(connection: Connection) -> int:
            needed, deleted = await store_orders.needed_seqs(connection), 0
            for stock_id, latest in sorted((await store.latest_seqs(connection)).items()):
                first = min(latest - number + 1, needed.get(stock_id, latest))
                deleted += await store.delete_ticks_below(connection, stock_id, first)
            return deleted

        return await self._database.write(work)


def _price_change(stock: Stock) -> PriceChange:
    return PriceChange(encode_cursor(TICKS_STREAM, stock.quote.at, stock.symbol, stock.quote.seq), stock)


def _moved_since(stock: Stock, known: CursorKey) -> bool:
    """Whether a price is of the moment of the known one or of a later one, and not the known one itself."""
    at, symbol, seq = known
    return stock.quote.at >= int(at) and (stock.symbol, stock.quote.seq) != (symbol, seq)


async def _store(connection: Connection, stock: Stock, quote: Quote) -> StoredTick:
    date = date_of(quote.at)
    same_day = date <= stock.day.date  # a clock that stepped back over midnight opens no day anew
    day = stock.day.with_price(quote.last) if same_day else Day.opened(date, quote.last)
    previous_close = stock.previous_close if same_day else stock.day.close
    await store.store_tick(connection, stock, quote, day, previous_close)
    connection.wakes.update((TICKED, f"{TICKED} {stock.symbol}"))
    triggered = []
    for order_id in await store_orders.crossed_ids(connection, stock.id, quote):
        order = await store_orders.lock_order(connection, order_id)
        if order is not None and order.state is OrderState.WORKING and await _cross(connection, order, quote):
            triggered.append(order_id)
    if triggered:
        connection.wakes.add(ORDER_IS_DUE)
    return StoredTick(stock.symbol, quote, tuple(triggered))


async def _cross(connection: Connection, order: Order, quote: Quote) -> bool:
    """Moves a (locked) working order on by a tick that crosses its condition; whether it is triggered."""
    price, now = side_price(order.side, quote), await connection.now()
    if order.type is OrderType.STOP_LIMIT and order.stop_seq is None:
        assert order.limit_price is not None
        if not limit_met(order.side, price, order.limit_price):
            await store_orders.save_order(connection, order.id, OrderState.WORKING, now, stop_seq=quote.seq)
            return False
    pinned = {"price": price, "price_seq": quote.seq, "lease_until": 0}
    if order.type is OrderType.STOP_LIMIT and order.stop_seq is None:
        pinned["stop_seq"] = quote.seq
    await store_orders.save_order(connection, order.id, OrderState.TRIGGERED, now, **pinned)
    return True
