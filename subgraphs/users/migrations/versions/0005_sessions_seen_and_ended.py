"""When a session was last used, and an index of those that have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SESSIONS = sa.table("sessions", sa.column("created_at", sa.BigInteger), sa.column("seen_at", sa.BigInteger))


def upgrade() -> None:
    """Applies the revision."""
    op.add_column("sessions", sa.Column("seen_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(sa.update(_SESSIONS).values(seen_at=_SESSIONS.c.created_at))
    op.create_index("sessions_revoked", "sessions", ["revoked_at"])


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_index("sessions_revoked", "sessions")
    op.drop_column("sessions", "seen_at")
