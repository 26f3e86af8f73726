"""Keys of requests to place an order are kept, with the refusal if that was the final answer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "idempotency_keys",
        sa.Column("namespace", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("refusal", sa.Text()),
        sa.Column("refused_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("idempotency_keys_refused", "idempotency_keys", ["refused_at"])


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_table("idempotency_keys")
