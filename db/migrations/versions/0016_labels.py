"""Add labels of subclouds, by which strategies select them.

Revision: 0016, after 0015.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("subclouds whose labels are forgotten", "SELECT count(*) FROM subclouds WHERE CAST(labels AS TEXT) <> '{}'"),
)


def upgrade() -> None:
    """Go up; no subcloud has a label."""
    op.add_column("subclouds", sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Go down."""
    op.drop_column("subclouds", "labels")
