"""Count the times that a step was begun anew, and link a strategy to the one that it retries.

Revision: 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("steps whose retries are not counted any more", "SELECT count(*) FROM steps WHERE series > 1"),
    (
        "strategies that no longer say which one they retry",
        "SELECT count(*) FROM strategies WHERE retry_of IS NOT NULL",
    ),
)


def upgrade() -> None:
    """Go up; no step of before was retried."""
    op.add_column("steps", sa.Column("series", sa.Integer(), nullable=False, server_default="1"))
    op.add_column(
        "strategies", sa.Column("retry_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
    )
    op.create_index("ix_strategies_retry_of", "strategies", ["retry_of"])


def downgrade() -> None:
    """Go down."""
    op.drop_index("ix_strategies_retry_of", "strategies")
    op.drop_column("strategies", "retry_of")
    op.drop_column("steps", "series")
