"""Keep which steps may pass phases, by which run and content, and until which run a site's content is doubted.

Revision: 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("steps that no longer say by which run they passed a phase", "SELECT count(*) FROM steps WHERE proved_by > 0"),
    (
        "subclouds whose content is doubted no longer",
        "SELECT count(*) FROM subclouds WHERE doubted_to > 0",
    ),
)
# Of a step that has passed the packages the older program would not look at the site for them.
REFUSALS = (
    (
        "Strategy {id} has sites that passed phases by the proof of earlier runs: let it end, or cancel it, first.",
        "SELECT DISTINCT strategy_id FROM steps WHERE finished_at IS NULL AND proved_by IS NOT NULL",
    ),
)

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go up; runs of before brought content whose digest is not known, and prove nothing."""
    op.add_column("steps", sa.Column("resumes", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("steps", sa.Column("proved_by", _ID, nullable=True))
    op.add_column("steps", sa.Column("passed_content", sa.String(64), nullable=True))
    op.add_column("preparations", sa.Column("content", sa.String(64), nullable=True))
    op.add_column("subclouds", sa.Column("doubted_to", _ID, nullable=False, server_default="0"))


def downgrade() -> None:
    """Go down; each retry begins with the packages."""
    op.drop_column("subclouds", "doubted_to")
    op.drop_column("preparations", "content")
    op.drop_column("steps", "passed_content")
    op.drop_column("steps", "proved_by")
    op.drop_column("steps", "resumes")
