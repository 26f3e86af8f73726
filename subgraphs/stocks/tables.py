"""The stocks database. Integers as in `subgraphs.shared.money`; times are milliseconds; ids are lower-case UUID text.

stocks              a stock with its latest quote and its running day
ticks               what the market did;  bars, day_bars: the same by minutes and hours, and by days
holdings            who owns what; the market's own shares are the holding of `rules.MARKET`
share_commitments   what remains under each stockholding authorization; `commitment_operations` are its receipts
orders              the log of each order's saga;  fills: its one execution
broker_orders       how many a broker placed in which minute, for the limit
idempotency_keys    of requests to place an order: that there is one, or why there is none
events              who is to be told that an order or a holding has changed;  event_counters: how many times
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

from subgraphs.shared.audit import audit_table
from subgraphs.shared.idempotency import idempotency_table
from subgraphs.shared.outbox import Outbox

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

stocks = Table(
    "stocks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("symbol", String(12), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("bid", BigInteger, nullable=False),
    Column("ask", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("quoted_at", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("day_open", BigInteger, nullable=False),
    Column("day_high", BigInteger, nullable=False),
    Column("day_low", BigInteger, nullable=False),
    Column("day_close", BigInteger, nullable=False),
    Column("previous_close", BigInteger),
    CheckConstraint("bid > 0 AND ask >= bid AND last > 0", name="quote"),
)

ticks = Table(
    "ticks",
    metadata,
    Column("stock_id", String(36), ForeignKey("stocks.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("bid", BigInteger, nullable=False),
    Column("ask", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

bars = Table(
    "bars",
    metadata,
    Column("stock_id", String(36), ForeignKey("stocks.id"), primary_key=True),
    Column("interval", String(6), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("open", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("low", BigInteger, nullable=False),
    Column("close", BigInteger, nullable=False),
    CheckConstraint("interval IN ('minute', 'hour')", name="interval"),
)

day_bars = Table(
    "day_bars",
    metadata,
    Column("stock_id", String(36), ForeignKey("stocks.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("open", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("low", BigInteger, nullable=False),
    Column("close", BigInteger, nullable=False),
)

holdings = Table(
    "holdings",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), nullable=False),
    Column("stock_id", String(36), ForeignKey("stocks.id"), nullable=False),
    Column("free", BigInteger, nullable=False),
    Column("committed", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("free >= 0 AND committed >= 0 AND reserved >= 0 AND cost >= 0", name="amounts"),
    Index("uq_holdings_user_id_stock_id", "user_id", "stock_id", unique=True),
)

share_commitments = Table(
    "share_commitments",
    metadata,
    Column("authorization_id", String(36), primary_key=True),
    Column("investor_id", String(36), nullable=False),
    Column("broker_id", String(36), nullable=False),
    Column("holding_id", String(36), nullable=False),
    Column("state", String(8), nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("remaining >= 0 AND (state = 'open' OR remaining = 0)", name="remaining"),
    Index(None, "holding_id"),
)

commitment_operations = Table(
    "commitment_operations",
    metadata,
    Column("authorization_id", String(36), primary_key=True),
    Column("op", String(8), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("result", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), nullable=False),
    Column("placed_by", String(36), nullable=False),
    Column("authorization_id", String(36)),
    Column("authorization_ends_at", BigInteger),
    Column("stock_id", String(36), ForeignKey("stocks.id"), nullable=False),
    Column("symbol", String(12), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("side", String(4), nullable=False),
    Column("type", String(12), nullable=False),
    Column("time_in_force", String(4), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("limit_price", BigInteger),
    Column("stop_price", BigInteger),
    Column("expires_at", BigInteger),
    Column("client_order_id", String(64)),
    Column("state", String(12), nullable=False),
    Column("reason", String(64)),
    Column("reason_detail", Text),
    Column("fee_rate_ppm", BigInteger, nullable=False),
    Column("fee_minimum", BigInteger, nullable=False),
    Column("broker_rate_ppm", BigInteger, nullable=False),
    Column("hold_amount", BigInteger, nullable=False),
    Column("price", BigInteger),
    Column("price_seq", BigInteger, nullable=False),
    Column("after_seq", BigInteger, nullable=False),
    Column("stop_seq", BigInteger),
    Column("holding_id", String(36)),
    Column("rollover_id", String(36)),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", String(12)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("executed_at", BigInteger),
    Column("settled_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    # Of the broker who placed it; NULL if the investor did, and in orders of before it was kept.
    Column("placed_by_registered_at", BigInteger),
    CheckConstraint("quantity > 0 AND hold_amount >= 0", name="amounts"),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "placed_by", "created_at", "id"),
    Index(None, "stock_id", "state"),
    Index(None, "state", "next_attempt_at"),
    Index(None, "state", "expires_at"),
    Index(None, "placed_by", "client_order_id"),
)

fills = Table(
    "fills",
    metadata,
    Column("order_id", String(36), ForeignKey("orders.id"), primary_key=True),
    Column("stock_id", String(36), ForeignKey("stocks.id"), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("fee", BigInteger, nullable=False),
    Column("broker_fee", BigInteger, nullable=False),
    # What the shares of a sale had cost on average; NULL for a purchase.
    Column("basis", BigInteger),
    Column("executed_at", BigInteger, nullable=False),
)

# How many orders were placed under a mandate's family in each minute since the epoch.
broker_orders = Table(
    "broker_orders",
    metadata,
    Column("root_id", String(36), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("count", Integer, nullable=False),
    Index(None, "minute"),
)

idempotency_keys = idempotency_table(metadata)
audit_log = audit_table(metadata)
outbox = Outbox(metadata, "stocks events")
