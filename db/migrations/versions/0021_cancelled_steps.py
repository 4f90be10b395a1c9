"""Narrow the index of steps that are to be cancelled.

Revision: 0021, after 0020.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = ()
_NAME = "ix_steps_cancelled"
_CONDITION = sa.text("finished_at IS NULL AND cancel_requested_at IS NOT NULL")


def _replace(columns: list[str]) -> None:
    op.drop_index(_NAME, table_name="steps")
    op.create_index(_NAME, "steps", columns, sqlite_where=_CONDITION, postgresql_where=_CONDITION)


def upgrade() -> None:
    """Go up."""
    _replace(["strategy_id"])


def downgrade() -> None:
    """Go down."""
    _replace(["strategy_id", "id"])
