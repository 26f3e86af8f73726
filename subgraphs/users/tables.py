"""The tables of the users service. Times are BIGINT milliseconds since the epoch; ids are UUID text."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

from subgraphs.shared.audit import audit_table
from subgraphs.shared.idempotency import idempotency_table
from subgraphs.shared.outbox import Outbox

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("email", String(254), nullable=False),
    Column("type", String(10), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("type IN ('investor', 'broker')", name="type"),
    Index("users_email", "email", unique=True),
    Index("users_listed", "registered_at", "id"),
    Index("users_listed_by_type", "type", "registered_at", "id"),
)

# A session is a family of refresh tokens, each of which replaces the one before it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False, server_default="0"),
    Column("revoked_at", BigInteger),
    Index("sessions_user", "user_id"),
    Index("sessions_revoked", "revoked_at"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("session_id", String(36), ForeignKey("sessions.id"), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Index("refresh_tokens_session", "session_id"),
    Index("refresh_tokens_expires", "expires_at"),
)

# One row per limited thing and window, such as the failed logins of one account in one quarter of an hour.
attempts = Table(
    "attempts",
    metadata,
    Column("subject", String(100), primary_key=True),
    Column("window_start", BigInteger, primary_key=True),
    Column("count", Integer, nullable=False),
    Index("attempts_window", "window_start"),
)

# From where a user has logged in before, hashed: there strangers' guesses lock nobody out.
known_addresses = Table(
    "known_addresses",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id"), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Index("known_addresses_seen", "seen_at"),
)

# `asset` is the currency of a capital authorization and the stock of a stockholding one: what a rollover matches on.
# `idempotency_key` is the investor's, null for what a rollover made.
# The last four columns are the saga's: who drives the row until when, and when it is driven again.
authorizations = Table(
    "authorizations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("root_id", String(36), ForeignKey("authorizations.id"), nullable=False),
    Column("parent_id", String(36), ForeignKey("authorizations.id")),
    Column("investor_id", String(36), ForeignKey("users.id"), nullable=False),
    Column("broker_id", String(36), ForeignKey("users.id"), nullable=False),
    Column("type", String(12), nullable=False),
    Column("asset", String(36), nullable=False),
    Column("currency", String(3)),
    Column("stockholding_id", String(36)),
    Column("stock_id", String(36)),
    Column("amount", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("failure_code", String(60)),
    Column("idempotency_key", String(255)),
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("lease_owner", String(36)),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),
    Column("drive_attempts", Integer, nullable=False, server_default="0"),
    Column("drive_at", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("type IN ('capital', 'stockholding')", name="type"),
    CheckConstraint(
        "state IN ('PENDING', 'ACTIVE', 'FAILED', 'REVOKING', 'REVOKED', 'EXPIRING', 'EXPIRED')", name="state"
    ),
    CheckConstraint("investor_id <> broker_id", name="parties"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("(type = 'capital') = (currency IS NOT NULL)", name="currency"),
    CheckConstraint("(type = 'stockholding') = (stockholding_id IS NOT NULL)", name="stockholding"),
    CheckConstraint("(type = 'stockholding') = (stock_id IS NOT NULL)", name="stock"),
    Index("authorizations_investor", "investor_id", "created_at", "id"),
    Index("authorizations_broker", "broker_id", "created_at", "id"),
    Index("authorizations_root", "root_id", "state"),
    Index("authorizations_ends", "state", "ends_at"),
    Index("authorizations_driven", "state", "drive_at"),
)
Index(
    "authorizations_active_asset",
    authorizations.c.root_id,
    authorizations.c.type,
    authorizations.c.asset,
    unique=True,
    sqlite_where=authorizations.c.state == "ACTIVE",
    postgresql_where=authorizations.c.state == "ACTIVE",
)

# The answer that each broker's order got, stored once and never recomputed; authorization_id is null for none.
rollovers = Table(
    "rollovers",
    metadata,
    Column("order_id", String(36), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("used_authorization_id", String(36), ForeignKey("authorizations.id"), nullable=False),
    Column("authorization_id", String(36), ForeignKey("authorizations.id")),
    Column("amount", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

idempotency_keys = idempotency_table(metadata)
audit_log = audit_table(metadata)
outbox = Outbox(metadata, "users events")
