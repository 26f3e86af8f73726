"""The wallet's tables: a double-entry journal (accounts, operations, postings) and the lists users read from it.

Amounts are BIGINT minor units, times BIGINT milliseconds since the epoch, ids lower-case UUID text.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from subgraphs.shared.audit import audit_table
from subgraphs.shared.idempotency import idempotency_table
from subgraphs.shared.outbox import Outbox

metadata = MetaData()

# SQLite numbers rows by itself only where the type is exactly INTEGER; its INTEGER has 64 bits.
_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

# Written out, not bound: a partial index is used only where the query shows the same constant.
IS_OPEN = text("state = 'open'")

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("owner_id", String(36)),
    Column("authorization_id", String(36)),
    Column("broker_id", String(36)),
    Column("state", String(8), nullable=False),
    Column("balance", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    CheckConstraint("balance >= 0 OR kind IN ('external', 'market')", name="accounts_balance_not_negative"),
    CheckConstraint("state = 'open' OR balance = 0", name="accounts_closed_is_empty"),
    # A user's money, without the holds and commitments of years past.
    Index("accounts_owner_open", "owner_id", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("op", String(8), primary_key=True),
    Column("actor", String(36), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    # One of the two is set by the transaction that inserts the row: the result as JSON, or the refusal's code.
    Column("answer", Text),
    Column("refusal", String(32)),
    Column("created_at", BigInteger, nullable=False),
)

postings = Table(
    "postings",
    metadata,
    Column("position", _ROW_NUMBER, primary_key=True),
    Column("operation_id", String(36), nullable=False),
    Column("op", String(8), nullable=False),
    Column("account_id", String(96), ForeignKey("accounts.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    ForeignKeyConstraint(["operation_id", "op"], ["operations.id", "operations.op"], name="postings_operation_exists"),
    CheckConstraint("amount <> 0", name="postings_amount_not_zero"),
    Index("postings_operation", "operation_id", "op"),
    Index("postings_account", "account_id"),
)

transactions = Table(
    "transactions",
    metadata,
    Column("position", _ROW_NUMBER, primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("user_id", String(36), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("order_id", String(36)),
    Column("authorization_id", String(36)),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("amount > 0", name="transactions_amount_positive"),
    Index("transactions_user", "user_id", "position"),
    Index("transactions_user_kind", "user_id", "kind", "position"),
)

idempotency_keys = idempotency_table(metadata)
audit_log = audit_table(metadata)
outbox = Outbox(metadata, "wallet events")
