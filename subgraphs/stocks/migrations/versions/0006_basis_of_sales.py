"""What the shares of a sale had cost is kept with its fill.

Sales of before are followed from each holding's first purchase on, as they were executed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    with op.batch_alter_table("fills") as batch:
        batch.add_column(sa.Column("basis", sa.BigInteger(), nullable=True))
    follow_sales(op.get_bind())


def follow_sales(connection: sa.Connection) -> None:
    """Writes the basis of every sale."""
    executed = connection.execute(
        sa.text(
            "SELECT orders.id, orders.holding_id, orders.side, fills.quantity, fills.cost"
            " FROM fills JOIN orders ON orders.id = fills.order_id ORDER BY fills.executed_at, fills.seq, orders.id"
        )
    ).all()
    shares: dict[str, int] = {}
    costs: dict[str, int] = {}
    for order_id, holding_id, side, quantity, cost in executed:
        if side == "buy":
            shares[holding_id] = shares.get(holding_id, 0) + quantity
            costs[holding_id] = costs.get(holding_id, 0) + cost
            continue
        held, paid = shares.get(holding_id, 0), costs.get(holding_id, 0)
        basis = _half_even(paid * quantity, held) if held >= quantity else paid
        shares[holding_id], costs[holding_id] = max(held - quantity, 0), paid - basis
        connection.execute(
            sa.text("UPDATE fills SET basis = :basis WHERE order_id = :id"), {"basis": basis, "id": order_id}
        )


def _half_even(numerator: int, denominator: int) -> int:
    quotient, remainder = divmod(numerator, denominator)
    doubled = remainder * 2
    return quotient + (doubled > denominator or (doubled == denominator and quotient % 2 == 1))


def downgrade() -> None:
    """Takes the revision back."""
    with op.batch_alter_table("fills") as batch:
        batch.drop_column("basis")
