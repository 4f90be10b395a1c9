"""Keep what running phases print, and how far they are.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("runs whose output so far is forgotten", "SELECT count(DISTINCT run_id) FROM live_outputs"),
    (
        "outputs that no longer say where they are shortened",
        "SELECT count(*) FROM run_outputs WHERE left_out_bytes > 0",
    ),
)

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "live_outputs",
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("end_bytes", _BIG, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_live_outputs_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "end_bytes", name=op.f("pk_live_outputs")),
    )
    op.add_column("runs", sa.Column("progress", sa.JSON(), nullable=True))
    for name in ("left_out_at_bytes", "left_out_bytes"):
        op.add_column("run_outputs", sa.Column(name, _BIG, nullable=False, server_default="0"))


def downgrade() -> None:
    """Go down; what runs that go on have printed so far is lost."""
    for name in ("left_out_bytes", "left_out_at_bytes"):
        op.drop_column("run_outputs", name)
    op.drop_column("runs", "progress")
    op.drop_table("live_outputs")
