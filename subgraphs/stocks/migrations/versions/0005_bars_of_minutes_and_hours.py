"""What prices did by minutes and hours is kept for charts, longer than the ticks are."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "bars",
        sa.Column("stock_id", sa.String(36), nullable=False),
        sa.Column("interval", sa.String(6), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("close", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("interval IN ('minute', 'hour')", name=op.f("ck_bars_interval")),
        sa.ForeignKeyConstraint(["stock_id"], ["stocks.id"], name=op.f("fk_bars_stock_id")),
        sa.PrimaryKeyConstraint("stock_id", "interval", "start", name=op.f("pk_bars")),
    )


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_table("bars")
