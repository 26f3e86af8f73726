"""Users, sessions, attempts, authorizations, rollovers, idempotency keys and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "attempts",
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "window_start", name=op.f("attempts_pkey")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("attempts_window", ["window_start"], unique=False)

    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("actor_kind", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.String(length=36), nullable=False),
        sa.Column("on_behalf_of", sa.String(length=36), nullable=False),
        sa.Column("subject", sa.String(length=36), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index("audit_log_actor", ["actor_id", "id"], unique=False)
        batch_op.create_index("audit_log_subject", ["subject", "id"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("namespace", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("type", sa.String(length=10), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("type IN ('investor', 'broker')", name=op.f("users_type_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
    )
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.create_index("users_email", ["email"], unique=True)
        batch_op.create_index("users_listed", ["registered_at", "id"], unique=False)
        batch_op.create_index("users_listed_by_type", ["type", "registered_at", "id"], unique=False)

    op.create_table(
        "authorizations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("root_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("investor_id", sa.String(length=36), nullable=False),
        sa.Column("broker_id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=12), nullable=False),
        sa.Column("asset", sa.String(length=36), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("stockholding_id", sa.String(length=36), nullable=True),
        sa.Column("stock_id", sa.String(length=36), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("failure_code", sa.String(length=60), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("drive_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("drive_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("(type = 'capital') = (currency IS NOT NULL)", name=op.f("authorizations_currency_check")),
        sa.CheckConstraint("(type = 'stockholding') = (stock_id IS NOT NULL)", name=op.f("authorizations_stock_check")),
        sa.CheckConstraint(
            "(type = 'stockholding') = (stockholding_id IS NOT NULL)", name=op.f("authorizations_stockholding_check")
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ACTIVE', 'FAILED', 'REVOKING', 'REVOKED', 'EXPIRING', 'EXPIRED')",
            name=op.f("authorizations_state_check"),
        ),
        sa.CheckConstraint("type IN ('capital', 'stockholding')", name=op.f("authorizations_type_check")),
        sa.CheckConstraint("amount > 0", name=op.f("authorizations_amount_check")),
        sa.CheckConstraint("investor_id <> broker_id", name=op.f("authorizations_parties_check")),
        sa.ForeignKeyConstraint(["broker_id"], ["users.id"], name=op.f("authorizations_broker_id_fkey")),
        sa.ForeignKeyConstraint(["investor_id"], ["users.id"], name=op.f("authorizations_investor_id_fkey")),
        sa.ForeignKeyConstraint(["parent_id"], ["authorizations.id"], name=op.f("authorizations_parent_id_fkey")),
        sa.ForeignKeyConstraint(["root_id"], ["authorizations.id"], name=op.f("authorizations_root_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("authorizations_pkey")),
    )
    with op.batch_alter_table("authorizations", schema=None) as batch_op:
        batch_op.create_index(
            "authorizations_active_asset",
            ["root_id", "type", "asset"],
            unique=True,
            sqlite_where=sa.text("state = 'ACTIVE'"),
            postgresql_where=sa.text("state = 'ACTIVE'"),
        )
        batch_op.create_index("authorizations_broker", ["broker_id", "created_at", "id"], unique=False)
        batch_op.create_index("authorizations_driven", ["state", "drive_at"], unique=False)
        batch_op.create_index("authorizations_ends", ["state", "ends_at"], unique=False)
        batch_op.create_index("authorizations_investor", ["investor_id", "created_at", "id"], unique=False)
        batch_op.create_index("authorizations_root", ["root_id", "state"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index("sessions_user", ["user_id"], unique=False)

    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("refresh_tokens_session_id_fkey")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("refresh_tokens_pkey")),
    )
    with op.batch_alter_table("refresh_tokens", schema=None) as batch_op:
        batch_op.create_index("refresh_tokens_session", ["session_id"], unique=False)

    op.create_table(
        "rollovers",
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("used_authorization_id", sa.String(length=36), nullable=False),
        sa.Column("authorization_id", sa.String(length=36), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["authorization_id"], ["authorizations.id"], name=op.f("rollovers_authorization_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["used_authorization_id"], ["authorizations.id"], name=op.f("rollovers_used_authorization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("rollovers_pkey")),
    )


def downgrade() -> None:
    """Takes the revision back."""
    op.drop_table("rollovers")
    with op.batch_alter_table("refresh_tokens", schema=None) as batch_op:
        batch_op.drop_index("refresh_tokens_session")

    op.drop_table("refresh_tokens")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index("sessions_user")

    op.drop_table("sessions")
    with op.batch_alter_table("authorizations", schema=None) as batch_op:
        batch_op.drop_index("authorizations_root")
        batch_op.drop_index("authorizations_investor")
        batch_op.drop_index("authorizations_ends")
        batch_op.drop_index("authorizations_driven")
        batch_op.drop_index("authorizations_broker")
        batch_op.drop_index(
            "authorizations_active_asset",
            sqlite_where=sa.text("state = 'ACTIVE'"),
            postgresql_where=sa.text("state = 'ACTIVE'"),
        )

    op.drop_table("authorizations")
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_index("users_listed_by_type")
        batch_op.drop_index("users_listed")
        batch_op.drop_index("users_email")

    op.drop_table("users")
    op.drop_table("idempotency_keys")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index("audit_log_subject")
        batch_op.drop_index("audit_log_actor")

    op.drop_table("audit_log")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("attempts_window")

    op.drop_table("attempts")
