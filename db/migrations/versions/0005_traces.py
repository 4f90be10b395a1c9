"""Keep where strategies, steps, runs, messages and events are in traces.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (("strategies whose traces fall apart", "SELECT count(*) FROM strategies WHERE trace IS NOT NULL"),)

_TABLES = ("strategies", "steps", "runs", "outbox", "events")


def upgrade() -> None:
    """Go up."""
    for table in _TABLES:
        op.add_column(table, sa.Column("trace", sa.String(length=55), nullable=True))


def downgrade() -> None:
    """Go down; traces that are going on fall apart."""
    for table in reversed(_TABLES):
        op.drop_column(table, "trace")
