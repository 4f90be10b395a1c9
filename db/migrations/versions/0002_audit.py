"""Keep who asked what, and who asked for each strategy.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("entries of the audit", "SELECT count(*) FROM audit"),
    ("strategies whose requester is forgotten", "SELECT count(*) FROM strategies"),
)


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("command_id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    # Not in a batch, which would make the table anew on SQLite and lose its index over an expression.
    op.add_column("strategies", sa.Column("requested_by", sa.String(length=255), nullable=False, server_default=""))


def downgrade() -> None:
    """Go down; the audit is lost."""
    op.drop_column("strategies", "requested_by")
    op.drop_index("ix_audit_at", table_name="audit")
    op.drop_table("audit")
