"""Of a key the result or the refusal is kept, whichever was the final answer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEYS = sa.table(
    "idempotency_keys", sa.column("status", sa.Integer), sa.column("body", sa.Text), sa.column("result", sa.Text)
)


def upgrade() -> None:
    """Applies the revision."""
    op.add_column("idempotency_keys", sa.Column("result", sa.Text()))
    op.add_column("idempotency_keys", sa.Column("refusal", sa.Text()))
    op.add_column("idempotency_keys", sa.Column("refused_at", sa.BigInteger()))
    op.execute(sa.update(_KEYS).where(_KEYS.c.status.is_not(None)).values(result=_KEYS.c.body))
    op.drop_column("idempotency_keys", "status")
    op.drop_column("idempotency_keys", "body")
    op.create_index("idempotency_keys_refused", "idempotency_keys", ["refused_at"])


def downgrade() -> None:
    """Refuses: what was a refusal would be an open request."""
    raise NotImplementedError("refusals cannot be told from open requests any more; restore a backup")
