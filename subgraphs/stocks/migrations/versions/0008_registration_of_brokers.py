"""When the broker who placed an order registered is kept with it; of orders of before it is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.add_column("orders", sa.Column("placed_by_registered_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_column("orders", "placed_by_registered_at")
