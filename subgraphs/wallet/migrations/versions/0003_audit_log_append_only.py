"""The database itself keeps the audit log append-only."""

from alembic import op

from subgraphs.shared.migrations import allow_changes, make_append_only

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    make_append_only(op.get_bind(), "audit_log")


def downgrade() -> None:
    """Takes the revision back."""
    allow_changes(op.get_bind(), "audit_log")
