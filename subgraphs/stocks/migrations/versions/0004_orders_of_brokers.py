"""How many orders a broker placed under a mandate in a minute is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "broker_orders",
        sa.Column("root_id", sa.String(length=36), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("root_id", "minute", name=op.f("pk_broker_orders")),
    )
    op.create_index("ix_broker_orders_minute", "broker_orders", ["minute"])


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_table("broker_orders")
