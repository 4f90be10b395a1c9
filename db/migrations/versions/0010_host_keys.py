"""Record the SSH host keys of subclouds.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "subclouds whose SSH host keys are forgotten (the older program checks none)",
        "SELECT count(*) FROM subclouds WHERE host_keys IS NOT NULL",
    ),
)


def upgrade() -> None:
    """Go up; no key is known of any subcloud, so its next precheck is its first contact."""
    op.add_column("subclouds", sa.Column("host_keys", sa.Text(), nullable=True))
    op.add_column("subclouds", sa.Column("host_keys_origin", sa.String(length=16), nullable=True))
    op.add_column("subclouds", sa.Column("host_keys_at", sa.DateTime(), nullable=True))
    op.add_column("subclouds", sa.Column("host_keys_version", sa.String(length=255), nullable=True))
    # Who set the version of a known subcloud is not recorded, so it counts as set by anybody.
    op.add_column(
        "subclouds",
        sa.Column("version_by_administrator", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Go down; recorded keys are forgotten."""
    for column in (
        "version_by_administrator",
        "host_keys_version",
        "host_keys_at",
        "host_keys_origin",
        "host_keys",
    ):
        op.drop_column("subclouds", column)
