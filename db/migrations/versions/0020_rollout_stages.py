"""Record whether a strategy goes stage by stage, and the failure budgets of its stages.

Revision: 0020, after 0019.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "stages that no longer have a failure budget of their own",
        "SELECT count(*) FROM strategy_stages WHERE max_failures IS NOT NULL",
    ),
)
_GOES_ON = "deleted_at IS NULL AND state IN ('initial', 'applying', 'abort requested', 'aborting')"
# The older program would start each stage while the one before it goes on.
REFUSALS = (
    (
        "Strategy {id} goes through stages of its own; wait for its end, or abort or delete it",
        f"SELECT id FROM strategies WHERE stage_by_stage AND {_GOES_ON}",  # noqa: S608 - our own text
    ),
)


def upgrade() -> None:
    """Go up; no strategy of before has stages of its own."""
    op.add_column("strategies", sa.Column("stage_by_stage", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("strategy_stages", sa.Column("max_failures", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Go down."""
    op.drop_column("strategy_stages", "max_failures")
    op.drop_column("strategies", "stage_by_stage")
