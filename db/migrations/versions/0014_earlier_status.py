"""Keep what a subcloud showed before its prestage, find steps by their subcloud's name, and drop a column of no use.

Revision: 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "subclouds that show no earlier failure again when the prestage that goes on is cancelled",
        "SELECT count(*) FROM subclouds WHERE prestage_status = 'prestaging' AND earlier_prestage_status = 'failed'",
    ),
)


def upgrade() -> None:
    """Go up; of a prestage that goes on only what is recorded as staged is known of the time before."""
    op.add_column("subclouds", sa.Column("earlier_prestage_status", sa.String(length=16), nullable=True))
    op.execute(
        "UPDATE subclouds SET earlier_prestage_status = 'complete'"
        " WHERE prestage_status = 'prestaging' AND prestage_versions IS NOT NULL"
    )
    op.create_index("ix_steps_subcloud_name", "steps", ["subcloud_name", "id"])
    op.drop_column("strategies", "held_s")


def downgrade() -> None:
    """Go down; a cancel brings back what is recorded as staged alone."""
    op.add_column("strategies", sa.Column("held_s", sa.Float(), nullable=False, server_default="0"))
    op.drop_index("ix_steps_subcloud_name", "steps")
    op.drop_column("subclouds", "earlier_prestage_status")
