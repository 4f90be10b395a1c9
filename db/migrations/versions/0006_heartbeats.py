"""Keep what the processes of an installation report of themselves.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A downgrade loses nothing: running processes report again after the next upgrade.
LOSSES = ()


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "heartbeats",
        sa.Column("process", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("running", sa.Integer(), nullable=True),
        sa.Column("prechecks", sa.Integer(), nullable=True),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("releases", sa.JSON(), nullable=True),
        sa.Column("feeds", sa.JSON(), nullable=True),
        sa.Column("playbooks_error", sa.Text(), nullable=True),
        sa.Column("key_ids", sa.JSON(), nullable=False),
        sa.Column("started_epoch", sa.Float(), nullable=False),
        sa.Column("seen_epoch", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_heartbeats")),
    )


def downgrade() -> None:
    """Go down; running processes report again after the next upgrade."""
    op.drop_table("heartbeats")
