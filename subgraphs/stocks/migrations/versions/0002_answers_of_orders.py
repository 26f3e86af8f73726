"""What an order was answered with is kept as the status it showed; receipts name members as rules do."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ORDERS = sa.table(
    "orders",
    sa.column("id", sa.String),
    sa.column("state", sa.String),
    sa.column("answer", sa.String),
    sa.column("answer_status", sa.Integer),
    sa.column("answer_body", sa.Text),
)
_OPERATIONS = sa.table("commitment_operations", sa.column("result", sa.Text))
_MEMBERS = {
    "authorizationId": "authorization_id",
    "stockholdingId": "stockholding_id",
    "stockId": "stock_id",
    "status": "state",
    "amount": "set_aside",
}


def upgrade() -> None:
    """Applies the revision."""
    op.add_column("orders", sa.Column("answer", sa.String(12)))
    connection = op.get_bind()
    for status in ("working", "completed", "cancelled", "expired"):
        shown = _ORDERS.c.answer_body.like(f'%"status":"{status}"%')
        connection.execute(sa.update(_ORDERS).where(_ORDERS.c.answer_status == 201, shown).values(answer=status))
    connection.execute(sa.update(_ORDERS).where(_ORDERS.c.answer_status == 422).values(answer="rejected"))
    op.drop_column("orders", "answer_status")
    op.drop_column("orders", "answer_body")
    result: sa.ColumnElement[str] = _OPERATIONS.c.result
    for before, after in _MEMBERS.items():
        result = sa.func.replace(result, f'"{before}":', f'"{after}":')
    connection.execute(sa.update(_OPERATIONS).values(result=result))


def downgrade() -> None:
    """Refuses: the documents of old answers are not kept."""
    raise NotImplementedError("answers as documents cannot be made again; restore a backup")
