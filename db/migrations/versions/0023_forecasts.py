"""Record when the active strategy is likely to end, and how many of its sites end per minute.

Revision: 0023, after 0022.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are: a forecast is made anew within seconds.
LOSSES = ()


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "forecasts",
        sa.Column(
            "strategy_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("strategies.id", name="fk_forecasts_strategy_id_strategies", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("made_epoch", sa.Float(), nullable=False),
        sa.Column("p10_at", sa.DateTime(), nullable=True),
        sa.Column("p50_at", sa.DateTime(), nullable=True),
        sa.Column("p90_at", sa.DateTime(), nullable=True),
        sa.Column("missing", sa.String(300), nullable=False),
        sa.Column("pace", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    """Go down."""
    op.drop_table("forecasts")
