"""Stocks and their prices, holdings and share commitments, orders and fills, and the audit log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("actor_kind", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.String(length=36), nullable=False),
        sa.Column("on_behalf_of", sa.String(length=36), nullable=False),
        sa.Column("subject", sa.String(length=36), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index("audit_log_actor", ["actor_id", "id"], unique=False)
        batch_op.create_index("audit_log_subject", ["subject", "id"], unique=False)

    op.create_table(
        "commitment_operations",
        sa.Column("authorization_id", sa.String(length=36), nullable=False),
        sa.Column("op", sa.String(length=8), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authorization_id", "op", name="pk_commitment_operations"),
    )
    op.create_table(
        "share_commitments",
        sa.Column("authorization_id", sa.String(length=36), nullable=False),
        sa.Column("investor_id", sa.String(length=36), nullable=False),
        sa.Column("broker_id", sa.String(length=36), nullable=False),
        sa.Column("holding_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "remaining >= 0 AND (state = 'open' OR remaining = 0)", name="ck_share_commitments_remaining"
        ),
        sa.PrimaryKeyConstraint("authorization_id", name="pk_share_commitments"),
    )
    with op.batch_alter_table("share_commitments", schema=None) as batch_op:
        batch_op.create_index("ix_share_commitments_holding_id", ["holding_id"], unique=False)

    op.create_table(
        "stocks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("bid", sa.BigInteger(), nullable=False),
        sa.Column("ask", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("quoted_at", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("day_open", sa.BigInteger(), nullable=False),
        sa.Column("day_high", sa.BigInteger(), nullable=False),
        sa.Column("day_low", sa.BigInteger(), nullable=False),
        sa.Column("day_close", sa.BigInteger(), nullable=False),
        sa.Column("previous_close", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("bid > 0 AND ask >= bid AND last > 0", name="ck_stocks_quote"),
        sa.PrimaryKeyConstraint("id", name="pk_stocks"),
        sa.UniqueConstraint("symbol", name="uq_stocks_symbol"),
    )
    op.create_table(
        "day_bars",
        sa.Column("stock_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("close", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name="fk_day_bars_stock_id"),
        sa.PrimaryKeyConstraint("stock_id", "day", name="pk_day_bars"),
    )
    op.create_table(
        "holdings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("stock_id", sa.String(length=36), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("free >= 0 AND committed >= 0 AND reserved >= 0 AND cost >= 0", name="ck_holdings_amounts"),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name="fk_holdings_stock_id"),
        sa.PrimaryKeyConstraint("id", name="pk_holdings"),
    )
    with op.batch_alter_table("holdings", schema=None) as batch_op:
        batch_op.create_index("uq_holdings_user_id_stock_id", ["user_id", "stock_id"], unique=True)

    op.create_table(
        "orders",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("placed_by", sa.String(length=36), nullable=False),
        sa.Column("authorization_id", sa.String(length=36), nullable=True),
        sa.Column("authorization_ends_at", sa.BigInteger(), nullable=True),
        sa.Column("stock_id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=12), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("side", sa.String(length=4), nullable=False),
        sa.Column("type", sa.String(length=12), nullable=False),
        sa.Column("time_in_force", sa.String(length=4), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("limit_price", sa.BigInteger(), nullable=True),
        sa.Column("stop_price", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("client_order_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("reason_detail", sa.Text(), nullable=True),
        sa.Column("fee_rate_ppm", sa.BigInteger(), nullable=False),
        sa.Column("fee_minimum", sa.BigInteger(), nullable=False),
        sa.Column("broker_rate_ppm", sa.BigInteger(), nullable=False),
        sa.Column("hold_amount", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=True),
        sa.Column("price_seq", sa.BigInteger(), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("stop_seq", sa.BigInteger(), nullable=True),
        sa.Column("holding_id", sa.String(length=36), nullable=True),
        sa.Column("rollover_id", sa.String(length=36), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("answer_status", sa.Integer(), nullable=True),
        sa.Column("answer_body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("executed_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0 AND hold_amount >= 0", name="ck_orders_amounts"),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name="fk_orders_stock_id"),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index("ix_orders_placed_by_client_order_id", ["placed_by", "client_order_id"], unique=False)
        batch_op.create_index("ix_orders_placed_by_created_at_id", ["placed_by", "created_at", "id"], unique=False)
        batch_op.create_index("ix_orders_state_expires_at", ["state", "expires_at"], unique=False)
        batch_op.create_index("ix_orders_state_next_attempt_at", ["state", "next_attempt_at"], unique=False)
        batch_op.create_index("ix_orders_stock_id_state", ["stock_id", "state"], unique=False)
        batch_op.create_index("ix_orders_user_id_created_at_id", ["user_id", "created_at", "id"], unique=False)

    op.create_table(
        "ticks",
        sa.Column("stock_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("bid", sa.BigInteger(), nullable=False),
        sa.Column("ask", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name="fk_ticks_stock_id"),
        sa.PrimaryKeyConstraint("stock_id", "seq", name="pk_ticks"),
    )
    op.create_table(
        "fills",
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("stock_id", sa.String(length=36), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=False),
        sa.Column("broker_fee", sa.BigInteger(), nullable=False),
        sa.Column("executed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_fills_order_id"),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name="fk_fills_stock_id"),
        sa.PrimaryKeyConstraint("order_id", name="pk_fills"),
    )


def downgrade() -> None:
    op.drop_table("fills")
    op.drop_table("ticks")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index("ix_orders_user_id_created_at_id")
        batch_op.drop_index("ix_orders_stock_id_state")
        batch_op.drop_index("ix_orders_state_next_attempt_at")
        batch_op.drop_index("ix_orders_state_expires_at")
        batch_op.drop_index("ix_orders_placed_by_created_at_id")
        batch_op.drop_index("ix_orders_placed_by_client_order_id")

    op.drop_table("orders")
    with op.batch_alter_table("holdings", schema=None) as batch_op:
        batch_op.drop_index("uq_holdings_user_id_stock_id")

    op.drop_table("holdings")
    op.drop_table("day_bars")
    op.drop_table("stocks")
    with op.batch_alter_table("share_commitments", schema=None) as batch_op:
        batch_op.drop_index("ix_share_commitments_holding_id")

    op.drop_table("share_commitments")
    op.drop_table("commitment_operations")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index("audit_log_subject")
        batch_op.drop_index("audit_log_actor")

    op.drop_table("audit_log")
