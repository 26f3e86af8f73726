"""Refresh tokens are found by their expiry, so that expired ones can be forgotten."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    with op.batch_alter_table("refresh_tokens", schema=None) as batch_op:
        batch_op.create_index("refresh_tokens_expires", ["expires_at"], unique=False)


def downgrade() -> None:
    """Takes the revision back."""
    with op.batch_alter_table("refresh_tokens", schema=None) as batch_op:
        batch_op.drop_index("refresh_tokens_expires")
