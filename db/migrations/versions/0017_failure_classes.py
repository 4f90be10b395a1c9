"""Record why runs and steps did not succeed: class, problem, task and text.

Revision: 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "steps whose class of failure and problem are forgotten",
        "SELECT count(*) FROM steps WHERE problem IS NOT NULL",
    ),
)

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_RUN_COLUMNS = {"failure_class": 16, "failure_task": 120, "failure_text": 300, "problem": 12}
_STEP_COLUMNS = {"failure_class": 16, "problem": 12}
_INDEXES = {
    "ix_steps_problem": (["strategy_id", "problem", "finished_at"], sa.text("problem IS NOT NULL")),
    "ix_steps_failure_class": (["strategy_id", "failure_class", "id"], sa.text("failure_class IS NOT NULL")),
}


def upgrade() -> None:
    """Go up; what failed before has no class and no problem."""
    for name, length in _RUN_COLUMNS.items():
        op.add_column("runs", sa.Column(name, sa.String(length), nullable=True))
    for name, length in _STEP_COLUMNS.items():
        op.add_column("steps", sa.Column(name, sa.String(length), nullable=True))
    for name, (columns, where) in _INDEXES.items():
        op.create_index(name, "steps", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "problems",
        sa.Column("strategy_id", _ID, sa.ForeignKey("strategies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("failure_class", sa.String(16), nullable=False),
        sa.Column("task", sa.String(120), nullable=False),
        sa.Column("text", sa.String(300), nullable=False),
    )


def downgrade() -> None:
    """Go down."""
    op.drop_table("problems")
    for name in _INDEXES:
        op.drop_index(name, "steps")
    for name in _STEP_COLUMNS:
        op.drop_column("steps", name)
    for name in _RUN_COLUMNS:
        op.drop_column("runs", name)
