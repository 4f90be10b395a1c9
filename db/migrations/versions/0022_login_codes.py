"""Add the codes of login links.

Revision: 0022, after 0021.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (("login links that were not used yet", "SELECT count(*) FROM login_codes"),)


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "login_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
    )


def downgrade() -> None:
    """Go down."""
    op.drop_table("login_codes")
