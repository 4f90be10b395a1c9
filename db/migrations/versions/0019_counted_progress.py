"""Index what pages and the progress of a strategy read, so that neither reads all its steps.

Revision: 0019, after 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# An index holds nothing that is lost.
LOSSES = ()

_PUT_BACK = "finished_at IS NULL AND state = 'initial' AND run_id IS NULL AND updated_at IS NOT NULL"
# Columns and condition of each index of steps.
_INDEXES = {
    "ix_steps_strategy": (["strategy_id", "id"], None),
    "ix_steps_started": (["strategy_id", "started_at"], "started_at IS NOT NULL"),
    "ix_steps_finished": (["strategy_id", "finished_at"], "finished_at IS NOT NULL"),
    "ix_steps_put_back": (["strategy_id", "updated_at"], _PUT_BACK),
}


def upgrade() -> None:
    """Go up."""
    for name, (columns, condition) in _INDEXES.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(name, "steps", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Go down."""
    for name in _INDEXES:
        op.drop_index(name, "steps")
