"""From where users have logged in is remembered, hashed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "known_addresses",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("known_addresses_user_id_fkey")),
        sa.PrimaryKeyConstraint("user_id", "address", name=op.f("known_addresses_pkey")),
    )
    op.create_index("known_addresses_seen", "known_addresses", ["seen_at"])


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_table("known_addresses")
