"""Record how long the phases usually take, and what the last event of the progress told.

Revision: 0024, after 0023.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are: a forecast is made anew within seconds.
LOSSES = ()


def upgrade() -> None:
    """Go up."""
    op.add_column("forecasts", sa.Column("usual", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("forecasts", sa.Column("told", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Go down."""
    op.drop_column("forecasts", "told")
    op.drop_column("forecasts", "usual")
