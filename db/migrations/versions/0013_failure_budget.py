"""Count the failure budget, find the steps that are to be cancelled, and fill what older programs left out.

Revision: 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "strategies whose failure budget is not counted any more",
        "SELECT count(*) FROM strategies WHERE max_failures IS NOT NULL",
    ),
)

_COUNTED = (
    "SELECT id FROM strategies WHERE deleted_at IS NULL AND max_failures IS NOT NULL"
    " AND state IN ('initial', 'applying', 'abort requested', 'aborting')"
)
# What a downgrade is refused for: why and what to do, about the strategies that a statement names.
REFUSALS = (
    (
        "Strategy {id} has a failure budget, which the older program forgets; wait for its end, abort it or delete it",
        _COUNTED,
    ),
)

_CANCELLED = sa.text("finished_at IS NULL AND cancel_requested_at IS NOT NULL")


def upgrade() -> None:
    """Go up; steps that a program of before moved since revision 0012 get their outcomes and places."""
    op.add_column("strategies", sa.Column("max_failures", sa.Integer(), nullable=True))
    op.create_index(
        "ix_steps_cancelled",
        "steps",
        ["strategy_id", "id"],
        sqlite_where=_CANCELLED,
        postgresql_where=_CANCELLED,
    )
    op.execute("UPDATE steps SET position = id WHERE position = 0")
    # A complete step with details was skipped (contract 3.2).
    op.execute(
        "UPDATE steps SET outcome = CASE WHEN state = 'complete' AND details <> '' THEN 'skipped' ELSE state END"
        " WHERE outcome IS NULL AND state IN ('complete', 'failed', 'aborted')"
    )
    op.execute(
        "UPDATE steps SET attempt = coalesce((SELECT runs.attempt FROM runs WHERE runs.id = steps.run_id), 1),"
        " preparing = (state = 'prestage-prepare' AND run_id IS NULL) WHERE finished_at IS NULL"
    )


def downgrade() -> None:
    """Go down; limits stay in the options of the rollout."""
    op.drop_index("ix_steps_cancelled", "steps")
    op.drop_column("strategies", "max_failures")
